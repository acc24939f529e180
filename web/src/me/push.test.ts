import { describe, expect, it } from "vitest";
import { decodePolyline, situationFrom, type PushMessage } from "./push";
import { face } from "./situation";

const message: PushMessage = {
  id: "d", warning_id: "w", version: 2, exercise: true, level: "red", all_clear: false, cancelled: false, language: "en", headline: "Leave now", instruction: "Go up.",
  description: "", sent: "2026-06-14T09:00:00+00:00", expires: "2026-06-14T12:00:00+00:00",
  route: { status: "clear", leave_by: "2026-06-14T10:00:00+00:00", polyline: "_p~iF~ps|U_ulLnnqC_mqNvxq`@" },
  safe_zones: [{ name: "Hall", lon: -126.453, lat: 43.252 }, { name: "School", lon: 1, lat: 2 }], url: "/me#t=abc",
};

describe("a push", () => {
  it("decodes the published example of the polyline format", () => {
    // Google, "Encoded Polyline Algorithm Format": (38.5, -120.2), (40.7, -120.95), (43.252, -126.453)
    expect(decodePolyline("_p~iF~ps|U_ulLnnqC_mqNvxq`@")).toEqual([[-120.2, 38.5], [-120.95, 40.7], [-126.453, 43.252]]);
    expect(decodePolyline("_p~iF~ps|U_ulL")).toEqual([[-120.2, 38.5]]);
    expect(decodePolyline("")).toEqual([]);
  });

  it("is enough to show the warning and the way on a phone that knew nothing", () => {
    const now = situationFrom(message, null);
    expect(now?.route?.geometry?.coordinates).toHaveLength(3);
    expect(now?.route?.safe_zone?.names).toEqual({ en: "Hall" });
    expect(now?.home).toEqual([-120.2, 38.5]);
    const shown = face({ hasToken: true, kept: now && { now, at: 0 }, unreachable: true, stale: true, time: new Date("2026-06-14T09:10:00Z") });
    expect(shown).toMatchObject({ kind: "warning", warning: { level: "red", headline: "Leave now", delivery_id: "d" }, expired: false });
  });

  it("replaces its own warning and leaves the others", () => {
    const first = situationFrom(message, null);
    const other = situationFrom({ ...message, warning_id: "x", level: "blue" }, first);
    const lifted = situationFrom({ ...message, version: 3, all_clear: true, level: "none", route: null }, other);
    expect(lifted?.warnings.map((one) => [one.warning_id, one.all_clear])).toEqual([["w", true], ["x", false]]);
    expect(lifted?.state).toBe("warning");
    expect(situationFrom({ ...message, warning_id: "x", version: 3, cancelled: true }, lifted)?.state).toBe("all_clear");
  });

  it("that is overtaken by a newer one, or tells of no warning, changes nothing", () => {
    expect(situationFrom({ ...message, version: 1 }, situationFrom(message, null))).toBeNull();
    expect(situationFrom({ headline: "hello" }, null)).toBeNull();
  });

  it("shows an authority's order, and drops it with the next message that carries none", () => {
    const told = { ...message, as_of: "2026-06-14T09:01:00+00:00", official_order: { kind: "stay" as const, authority: "Civil Protection", issued: "2026-06-14T08:50:00+00:00", expires: "2026-06-14T11:00:00+00:00" } };
    const now = situationFrom(told, null);
    expect(now?.order).toEqual({ kind: "stay", authority: "Civil Protection", issued_at: "2026-06-14T08:50:00+00:00", expires_at: "2026-06-14T11:00:00+00:00" });
    expect(situationFrom({ ...message, as_of: "2026-06-14T09:05:00+00:00" }, now)?.order).toBeNull();
    expect(situationFrom(message, now)?.order?.authority).toBe("Civil Protection"); // an older server says nothing of orders
  });

  it("of the same version takes the newer route, whichever comes last", () => {
    const first = situationFrom({ ...message, as_of: "2026-06-14T09:01:00+00:00" }, null);
    const newer = situationFrom({ ...message, id: "e", as_of: "2026-06-14T09:20:00+00:00", route: { status: "clear", leave_by: "2026-06-14T09:40:00+00:00", polyline: "_p~iF~ps|U_ulLnnqC" } }, first);
    expect(newer?.route?.leave_by).toBe("2026-06-14T09:40:00+00:00");
    expect(newer?.route?.checked_at).toBe("2026-06-14T09:20:00+00:00");
    expect(situationFrom({ ...message, as_of: "2026-06-14T09:01:00+00:00" }, newer)).toBeNull();
  });
});
