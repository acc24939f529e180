import { describe, expect, it } from "vitest";
import { zoneUse } from "./waysout";

describe("how full a safe zone is", () => {
  it("goes by those who came and those on their way", () => {
    expect(zoneUse({ seats: 100, n_people: 40, n_arrived: 0 })).toEqual({ state: "free", over: 0 });
    expect(zoneUse({ seats: 100, n_people: 80, n_arrived: 20 })).toEqual({ state: "full", over: 0 });
    expect(zoneUse({ seats: 100, n_people: 40, n_arrived: 63 })).toEqual({ state: "over", over: 3 });
  });

  it("is unknown without seats, or before a plan with nobody there", () => {
    expect(zoneUse({ seats: 0, n_people: 40, n_arrived: 3 }).state).toBe("unknown");
    expect(zoneUse({ seats: 50, n_people: null, n_arrived: 0 }).state).toBe("unknown");
    expect(zoneUse({ seats: 50, n_people: null, n_arrived: 51 })).toEqual({ state: "over", over: 1 });
  });
});
