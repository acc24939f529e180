import { describe, expect, it } from "vitest";
import { distance, money, reading, span } from "./format";
import { bounds } from "./geojson";
import { chooseLanguage, makeTranslate, nameIn, pick } from "./i18n";
import { LEVELS, rank } from "./levels";
import { isStale, ServerTime } from "./servertime";
import { roundLength, sketch } from "./sketch";
import { mostUrgentStation, mostUrgentWarning, type UrgentStation, type UrgentWarning, warningsByUrgency } from "./urgent";
import { readSelection, writeSelection } from "./urlstate";
import { problemOf } from "./client";

describe("texts", () => {
  const en = { hello: "Hello {name}", "n.one": "{n} house", "n.other": "{n} houses", only: "only here" };
  const zh = { hello: "{name}，你好", "n.other": "{n} 栋" };

  it("fills in names and plural forms by the language's own rules", () => {
    expect(makeTranslate("en", en, en)("hello", { name: "Bo" })).toBe("Hello Bo");
    expect(makeTranslate("en", en, en)("n", { n: 1 })).toBe("1 house");
    expect(makeTranslate("en", en, en)("n", { n: 2500 })).toBe("2,500 houses");
    expect(makeTranslate("zh", zh, en)("n", { n: 1 })).toBe("1 栋");
  });

  it("sets a name apart in a language that is written from right to left", () => {
    expect(makeTranslate("ar", { hello: "مرحبا {name}" }, en)("hello", { name: "Council (exercise)" })).toBe("مرحبا \u2068Council (exercise)\u2069");
    expect(makeTranslate("en", en, en)("hello", { name: "Bo" })).toBe("Hello Bo");
  });

  it("falls back to English, then shows the key", () => {
    expect(makeTranslate("zh", zh, en)("only")).toBe("only here");
    expect(makeTranslate("zh", zh, en)("nowhere")).toBe("nowhere");
  });

  it("never reads an inserted value as a pattern", () => {
    expect(makeTranslate("en", en, en)("hello", { name: "{n} $& {name}" })).toBe("Hello {n} $& {name}");
  });

  it("chooses the first language of ours among those wanted", () => {
    expect(chooseLanguage([null, "pt-BR", "zh-Hans-CN", "en"], ["en", "zh"])).toBe("zh");
    expect(chooseLanguage(["pt"], ["en", "zh"])).toBe("en");
    expect(pick({ fr: "eau" }, "zh")).toBe("eau");
    expect(pick(null, "zh")).toBeUndefined();
  });
});

describe("names in two languages", () => {
  it("gives the half that is read, and leaves other names whole", () => {
    expect(nameIn("Stonefold / 石圈", "en")).toBe("Stonefold");
    expect(nameIn("Stonefold / 石圈", "zh")).toBe("石圈");
    expect(nameIn("石圈 / Stonefold", "zh")).toBe("石圈");
    expect(nameIn("Pier 4 / East", "zh")).toBe("Pier 4 / East");
    expect(nameIn("Kelani", "zh")).toBe("Kelani");
  });
});

describe("numbers", () => {
  it("carries the currency's code and the digits a value deserves", () => {
    expect(money("1284600000.00", "LKR", "en")).toBe("LKR 1.285B");
    expect(money("1284600000.00", "LKR", "zh")).toBe("LKR 12.85亿");
    expect(reading(5.4249, "m", "en")).toBe("5.42 m");
    expect(reading(1543.2, "m³/s", "en")).toBe("1,543 m³/s");
  });

  it("tells spans downwards: 119 s is one minute, not two", () => {
    expect(span(119, "en")).toBe("1 min");
    expect(span(59.9, "en")).toBe("59 sec");
    expect(span(7260, "en")).toBe("2 hr");
    expect(distance(4350, "en")).toBe("4.4 km");
    expect(distance(344, "en")).toBe("340 m");
  });
});

describe("the installation's time", () => {
  it("learns the speed of a scenario clock and runs on between answers", () => {
    const time = new ServerTime();
    time.tell("2026-06-14T05:00:00Z", 0);
    time.tell("2026-06-14T05:05:00Z", 5000); // 60 times the wall's speed
    expect(time.speed).toBeCloseTo(60);
    expect(time.now(6000).toISOString()).toBe("2026-06-14T05:06:00.000Z");
  });

  it("starts anew when another scenario begins earlier", () => {
    const time = new ServerTime();
    time.tell("2026-06-14T05:00:00Z", 0);
    time.tell("2026-06-14T09:00:00Z", 4000);
    time.tell("2026-06-14T05:00:00Z", 8000);
    expect(time.speed).toBe(1);
    expect(time.now(9000).toISOString()).toBe("2026-06-14T05:00:01.000Z");
  });

  it("is not moved by what is no time", () => {
    const time = new ServerTime();
    time.tell("soon", 0);
    expect(time.known).toBe(false);
  });

  it("calls stale what is older than twice its interval, and what was never known", () => {
    expect(isStale(30, 15)).toBe(false);
    expect(isStale(30.1, 15)).toBe(true);
    expect(isStale(null, 15)).toBe(true);
  });
});

describe("urgency", () => {
  const station = (code: string, more: Partial<UrgentStation>): UrgentStation => ({
    station_id: code, code, state: "online", level: "none", held: false, held_level: null, state_since: null, phase: "normal", ...more,
  });
  const warning = (id: string, more: Partial<UrgentWarning>): UrgentWarning => ({
    warning_id: id, level: "yellow", state: "released", n_people: 10, n_approvals: 0, n_approvals_needed: 0, drafted_at: "2026-01-01T00:00:00Z", ...more,
  });

  it("opens on the silent station whose warning is held, before any that still speaks", () => {
    const found = mostUrgentStation([
      station("A", { level: "red" }),
      station("B", { state: "silent", level: "unknown", held: true, held_level: "orange" }),
      station("C", { state: "silent", level: "unknown" }),
    ]);
    expect(found?.code).toBe("B");
  });

  it("opens nothing where nothing is the matter, and a silent station before none", () => {
    expect(mostUrgentStation([station("A", {}), station("B", { level: "unknown", state: "unknown" })])).toBeNull();
    expect(mostUrgentStation([station("A", {}), station("C", { state: "silent", level: "unknown" })])?.code).toBe("C");
  });

  it("puts the draft that waits for people before what is already out", () => {
    const all = [warning("out", { level: "red", n_people: 9000 }), warning("draft", { state: "draft", level: "orange" }), warning("old", { state: "ended", level: "red" })];
    expect(mostUrgentWarning(all)?.warning_id).toBe("draft");
    expect([...all].sort(warningsByUrgency).map((one) => one.warning_id)).toEqual(["draft", "out", "old"]);
    expect(mostUrgentWarning([warning("old", { state: "ended", level: "red" })])).toBeNull();
  });

  it("never sorts the unknown as safe", () => {
    expect(rank("unknown")).toBeGreaterThan(rank("none"));
    expect(new Set(Object.values(LEVELS).map((style) => style.shape)).size).toBe(Object.keys(LEVELS).length);
  });
});

describe("the address", () => {
  it("holds the selection and leaves other parameters alone", () => {
    const search = writeSelection("?x=1&warning=old", { station: "s 1", warning: null, lang: "zh" });
    expect(search).toBe("?x=1&station=s+1&lang=zh");
    expect(readSelection(search)).toEqual({ station: "s 1", warning: null, lang: "zh" });
    expect(writeSelection("?station=a", { station: null, warning: null, lang: null })).toBe("");
  });
});

describe("the route sketch", () => {
  const input = {
    home: [80, 7], safeZone: [80.02, 7.01], route: { type: "LineString", coordinates: [[80, 7], [80.02, 7], [80.02, 7.01]] },
    footprint: { type: "MultiPolygon", coordinates: [[[[79.99, 6.99], [80.005, 6.99], [80.005, 7.005], [79.99, 6.99]]]] }, others: [[81, 8]], width: 356, height: 250, margin: 40,
  };

  it("keeps north up, east right, and true proportions", () => {
    const drawn = sketch(input);
    expect(drawn?.safeZone && drawn.home && drawn.safeZone.x > drawn.home.x && drawn.safeZone.y < drawn.home.y).toBe(true);
    // 0.02 deg of longitude at 7 N is 2 x cos(7 deg) times 0.01 deg of latitude.
    const dx = (drawn?.safeZone?.x ?? 0) - (drawn?.home?.x ?? 0);
    const dy = (drawn?.home?.y ?? 0) - (drawn?.safeZone?.y ?? 0);
    expect(dx / dy).toBeCloseTo(2 * Math.cos((7.005 * Math.PI) / 180), 2);
    expect(drawn?.footprint.endsWith("Z")).toBe(true);
    expect(drawn?.others).toEqual([]); // far off: not drawn
  });

  it("draws a scale bar of a round length that is true", () => {
    const drawn = sketch(input);
    const metresPerPixel = (0.02 * Math.cos((7.005 * Math.PI) / 180) * 111_195) / ((drawn?.safeZone?.x ?? 0) - (drawn?.home?.x ?? 0));
    expect((drawn?.scale.metres ?? 0) / (drawn?.scale.pixels ?? 1)).toBeCloseTo(metresPerPixel, 0);
    expect([roundLength(999), roundLength(1999), roundLength(230), roundLength(100)]).toEqual([500, 1000, 200, 100]);
  });

  it("puts names on the side away from the way, and draws nothing of nothing", () => {
    expect(sketch(input)?.safeZoneNameAbove).toBe(true); // the way comes from below
    expect(sketch({ ...input, home: null, safeZone: null, route: null })).toBeNull();
    expect(sketch({ ...input, safeZone: null, route: null })).toBeNull();
    expect(bounds([null, { type: "Point", coordinates: [1, 2] }])).toEqual([1, 2, 1, 2]);
  });
});

describe("problems", () => {
  it("says what the server said, else its status", () => {
    expect(problemOf(409, { detail: "It changed.", request_id: "r1" })).toMatchObject({ message: "It changed.", status: 409, requestId: "r1" });
    expect(problemOf(502, "<html>").message).toBe("HTTP 502");
  });
});
