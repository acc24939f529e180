import { describe, expect, it } from "vitest";
import type { Now, PublicWarning } from "./api";
import { face, type Known, pollSeconds, tokenOf } from "./situation";

const warning = (more: Partial<PublicWarning> = {}): PublicWarning => ({
  warning_id: "w", version: 1, level: "orange", all_clear: false, headline: "h", description: "d", instruction: "i", area_desc: "a", language: "en",
  sent_at: "2026-06-14T08:00:00Z", expires_at: "2026-06-14T12:00:00Z", sender: "s", delivery_id: null, answered: null, ...more,
});
const now = (more: Partial<Now> = {}): Now => ({
  name: "n", language: "en", exercise: false, state: "no_warning", state_reason: "", checked_at: "2026-06-14T09:00:00Z", home: null, warnings: [], order: null, route: null,
  safe_zones: [], channels: [], steps: [], sending_paused: false, taken_back: null, ...more,
});
const known = (told: Now | null, more: Partial<Known> = {}): Known => ({
  hasToken: true, kept: told && { now: told, at: 0 }, unreachable: false, stale: false, time: new Date("2026-06-14T09:00:10Z"), ...more,
});

describe("what the phone says", () => {
  it("is calm only where the server has just said that there is no warning", () => {
    expect(face(known(now())).kind).toBe("no_warning");
    expect(face(known(now(), { stale: true }))).toMatchObject({ kind: "cannot_tell", reason: "unreachable", last: "no_warning" });
    expect(face(known(now({ state: "all_clear" }), { stale: true })).kind).toBe("cannot_tell");
    expect(face(known(now({ state: "cannot_tell", state_reason: "silent_station" })))).toMatchObject({ kind: "cannot_tell", reason: "silent_station" });
  });

  it("keeps a warning on the screen when nothing is heard, also past its end", () => {
    const told = now({ state: "warning", warnings: [warning()] });
    expect(face(known(told, { stale: true, unreachable: true }))).toMatchObject({ kind: "warning", expired: false });
    expect(face(known(told, { stale: true, time: new Date("2026-06-14T12:00:01Z") }))).toMatchObject({ kind: "warning", expired: true });
  });

  it("shows the worst warning first and never an all-clear before it", () => {
    const found = face(known(now({ state: "warning", warnings: [warning({ warning_id: "clear", level: "none", all_clear: true }), warning(), warning({ warning_id: "r", level: "red" })] })));
    expect(found).toMatchObject({ kind: "warning", warning: { warning_id: "r" }, others: [{ warning_id: "w" }] });
  });

  it("is unsure where the server says a warning stands and gives none", () => {
    expect(face(known(now({ state: "warning" }))).kind).toBe("cannot_tell");
  });

  it("says when it never reached the server, and when it came without a link", () => {
    expect(face(known(null)).kind).toBe("loading");
    expect(face(known(null, { unreachable: true })).kind).toBe("never_reached");
    expect(face(known(null, { hasToken: false })).kind).toBe("no_link");
  });

  it("asks more often in a warning, seldom enough for a country", () => {
    expect(pollSeconds(now({ state: "warning" }))).toBeLessThan(pollSeconds(now()));
    expect(pollSeconds(now())).toBe(60);
  });

  it("reads the token from the fragment only", () => {
    expect(tokenOf("#t=abc.def-_")).toBe("abc.def-_");
    expect(tokenOf("#other=1")).toBeNull();
    expect(tokenOf("")).toBeNull();
  });
});
