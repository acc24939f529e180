import { describe, expect, it } from "vitest";
import { fieldOf, levelsIn, place, toTold, toValues, versionStates, type Told } from "./ruleform";

const RULE: Told = {
  code: "kitulgala", station: "kitulgala", thresholds: { yellow: 3, red: 5.5 }, hysteresis: 0.2, k: 2, n: 3, clear_dwell_s: 5400, forecast_within_s: 21600,
  automatic: true, automatic_ceiling: "orange", area: { type: "Polygon", coordinates: [] }, area_desc: { en: "Kelani valley" }, late_after_s: 1800, usual_people: null,
};

describe("a rule as a form", () => {
  it("comes back as it was where nothing is changed, what the form has no field for included", () => {
    expect(toTold(toValues(RULE), RULE)).toEqual(RULE);
    for (const told of [{ code: "a", kind: "footprint", exposure: { red: { insured_value: "5000000" } } }, { code: "b", kind: "bulletin", senders: ["dmc.gov.lk", "met"], at_least: "yellow" }])
      expect(toTold(toValues(told), told)).toEqual({ automatic: false, ...told });
  });

  it("shows spans in people's units and keeps seconds", () => {
    expect(toValues(RULE).clear_dwell_s).toBe("90");
    expect(toValues(RULE).forecast_within_s).toBe("6");
    const told = toTold({ ...toValues(RULE), clear_dwell_s: "30", forecast_within_s: "" }, RULE);
    expect(told.clear_dwell_s).toBe(1800);
    expect(told).not.toHaveProperty("forecast_within_s");
  });

  it("sends what is no number as it was typed: the server says what is wrong with it", () => {
    expect((toTold({ ...toValues(RULE), "thresholds.red": "5,5" }, RULE).thresholds as Told).red).toBe("5,5");
    expect(toTold({ ...toValues(RULE), clear_dwell_s: "soon" }, RULE).clear_dwell_s).toBe("soon");
  });

  it("drops a level that is blank, and never its polygon but for a circle", () => {
    const told = toTold({ ...toValues(RULE), "thresholds.red": " " }, RULE);
    expect(told.thresholds).toEqual({ yellow: 3 });
    expect(told.area).toBe(RULE.area);
    const round = toTold({ ...toValues(RULE), radius_km: "4" }, RULE);
    expect(round.radius_km).toBe(4);
    expect(round).not.toHaveProperty("area");
  });

  it("does not change the version that it began from", () => {
    const before = JSON.stringify(RULE);
    toTold({ ...toValues(RULE), "thresholds.red": "9", "area_desc.en": "Elsewhere" }, RULE);
    expect(JSON.stringify(RULE)).toBe(before);
  });

  it("asks anew from when it holds", () => {
    expect(toValues({ ...RULE, effective_from: "2020-01-01T00:00:00Z" }).effective_from).toBe("");
    expect(toTold({ ...toValues(RULE), effective_from: "2030-05-01T10:00" }, RULE).effective_from).toMatch(/^2030-0.*Z$/);
  });
});

describe("errors", () => {
  it("mark the level that they name", () => {
    expect(levelsIn("red is not a number: 'a lot'")).toEqual(["red"]);
    expect(levelsIn("must rise with the level").length).toBe(4);
  });

  it("stand at the field that the server names, by whatever path", () => {
    expect(fieldOf("body.rule.thresholds")).toBe("thresholds");
    expect(fieldOf("n")).toBe("k");
    const placed = place([{ field: "thresholds", reason: "must rise" }, { field: "thresholds", reason: "again" }, { field: "timezone", reason: "unknown" }, { field: "", reason: "no" }], ["thresholds"]);
    expect(placed).toEqual({ at: { thresholds: "must rise; again" }, rest: ["timezone: unknown", "no"] });
  });
});

describe("where versions stand", () => {
  const at = (hour: number): string => new Date(Date.UTC(2026, 0, 1, hour)).toISOString();
  const states = (versions: [number, number, number | null][], hour: number): Record<number, string> =>
    Object.fromEntries(versionStates(versions.map(([version, from, to]) => ({ version, effective_from: at(from), effective_to: to === null ? null : at(to) })), new Date(at(hour))));

  it("has one in force, and others to come or replaced", () => {
    expect(states([[3, 20, null], [2, 5, 20], [1, 0, 5]], 10)).toEqual({ 3: "to_come", 2: "in_force", 1: "replaced" });
    expect(states([[3, 20, null], [2, 5, 20], [1, 0, 5]], 21)).toEqual({ 3: "in_force", 2: "replaced", 1: "replaced" });
  });

  it("knows one that was retired, and one that never began because a later one took its place", () => {
    expect(states([[2, 5, 8], [1, 0, 5]], 10)).toEqual({ 2: "retired", 1: "replaced" });
    // version 2 was to begin at 20; version 3 began at 6 and closed it; version 1 keeps the end that it was given
    expect(states([[3, 6, null], [2, 20, 6], [1, 0, 20]], 10)).toEqual({ 3: "in_force", 2: "replaced", 1: "replaced" });
  });
});
