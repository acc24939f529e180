import { describe, expect, it } from "vitest";
import type { Schemas } from "../lib/client";
import { makeTranslate } from "../lib/i18n";
import en from "./catalogue/en.json";
import { beyond, plotData, thresholdLines, yRange } from "./hydrograph";
import { fontOf, tileLayers } from "./map/baselayers";
import { areaFeatures, cellFeatures, classBreaks, closedFeatures, stationFeatures, stationWord } from "./map/features";

const t = makeTranslate("en", en, en);
const station = (more: Partial<Schemas["StationProperties"]>): Schemas["StationProperties"] => ({
  station_id: "s", code: "S", name: "Millbridge", river: null, state: "online", state_since: null, level: "none", held_level: null, phase: "normal", held: false,
  latest: [], thresholds: {}, threshold_quantity: null, ...more,
});

describe("stations on the map", () => {
  it("shows a silent or held station as unknown, never at its last level", () => {
    expect(stationWord(station({ state: "silent", level: "orange" }), t)).toEqual({ level: "unknown", word: "silent: unknown" });
    expect(stationWord(station({ state: "silent", level: "unknown", held: true, held_level: "red" }), t)).toEqual({ level: "unknown", word: "unknown, held at: Leave now" });
    expect(stationWord(station({ state: "unknown", level: "unknown" }), t).word).toBe("not heard yet");
    expect(stationWord(station({ level: "unknown", phase: null }), t).word).toBe("no warning level is set");
    expect(stationWord(station({ level: "unknown", phase: null, state: "silent" }), t).word).toBe("silent: unknown");
    expect(stationWord(station({ level: "yellow" }), t)).toEqual({ level: "yellow", word: "Prepare" });
  });

  it("leaves out what has no place and puts the held one on top", () => {
    const collection = {
      type: "FeatureCollection", as_of: "", truncated: false,
      features: [
        { type: "Feature", id: "1", geometry: null, properties: station({}) },
        { type: "Feature", id: "2", geometry: { type: "Point", coordinates: [80, 7] }, properties: station({ held: true, held_level: "red", state: "silent", level: "unknown" }) },
        { type: "Feature", id: "3", geometry: { type: "Point", coordinates: [80, 7] }, properties: station({ level: "red", station_id: "r" }) },
      ],
    } as Schemas["StationCollection"];
    const features = stationFeatures(collection, "r", t, false, "en");
    expect(features.map((one) => one.properties?.icon)).toEqual(["held-red", "station-red"]);
    expect((features[0]?.properties?.sort as number) > (features[1]?.properties?.sort as number)).toBe(true);
    expect(features.map((one) => one.properties?.selected)).toEqual([false, true]);
  });
});

describe("exposure classes", () => {
  it("hold about equal numbers of cells and end at the largest value", () => {
    const values = Array.from({ length: 100 }, (_, i) => (i + 1) ** 3);
    expect(classBreaks(values)).toEqual([20 ** 3, 40 ** 3, 60 ** 3, 80 ** 3, 100 ** 3]);
    expect(classBreaks([5, 5, 5])).toEqual([5]);
    expect(classBreaks([])).toEqual([]);
  });

  it("give the largest value the darkest colour and leave out cells without a value", () => {
    const cell = (tiv: number | null): Schemas["CellFeature"] => ({
      type: "Feature", id: String(tiv), geometry: { type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] },
      properties: { cell: "x", n_locations: 1, tiv, currency: tiv === null ? null : "LKR", tiv_by_currency: {} },
    });
    const collection = { type: "FeatureCollection", as_of: "", truncated: false, resolution: 8, n_unmapped: 0, unmapped_tiv_by_currency: {}, features: [cell(1), cell(9), cell(null)] } as Schemas["CellCollection"];
    const { features, breaks, currency } = cellFeatures(collection);
    expect(features.map((one) => one.properties?.class)).toEqual([3, 4]);
    expect(breaks).toEqual([1, 9]);
    expect(currency).toBe("LKR");
  });
});

describe("other layers", () => {
  it("marks each closed road at its middle and draws no area where there is none", () => {
    const plan = { closed_roads: { type: "MultiLineString", coordinates: [[[0, 0], [2, 0]], []] } } as unknown as Schemas["PlanOut"];
    expect(closedFeatures(plan).map((one) => one.geometry.type)).toEqual(["LineString", "Point"]);
    expect((closedFeatures(plan)[1]?.geometry as GeoJSON.Point).coordinates).toEqual([1, 0]);
    expect(areaFeatures({ level: "red", area: null } as unknown as Schemas["WarningVersion"])).toEqual([]);
  });
});

describe("the hydrograph", () => {
  it("breaks its line at missing and doubtful readings and keeps the doubtful apart", () => {
    const item = (value: number | null, quality: number) => ({ observed_at: "2026-06-14T09:00:00Z", received_at: "", value, quality });
    const [times, good, doubtful] = plotData([item(1, 1), item(9, 4), item(null, 9), item(2, 2)]);
    expect(times[0]).toBe(Date.parse("2026-06-14T09:00:00Z") / 1000);
    expect(good).toEqual([1, null, null, 2]);
    expect(doubtful).toEqual([null, 9, null, null]);
  });

  it("draws the forecast from the reading it was made from, and drops what has come since", () => {
    const at = (hour: number): string => `2026-06-14T${String(hour).padStart(2, "0")}:00:00Z`;
    const items = [9, 10, 11].map((hour) => ({ observed_at: at(hour), received_at: "", value: hour, quality: 1 }));
    const steps = [10, 11, 12, 14].map((hour) => ({ at: at(hour), low: hour - 1, middle: hour, high: hour + 1 }));
    const [times, good, , low, middle, high] = plotData(items, { made_at: at(10), model: "m", degraded: false, steps });
    expect(times.map((one) => new Date(one * 1000).getUTCHours())).toEqual([9, 10, 11, 12, 14]);
    expect(good).toEqual([9, 10, 11, null, null]);
    expect(low).toEqual([null, 10, null, 11, 13]);
    expect(middle).toEqual([null, 10, null, 12, 14]);
    expect(high).toEqual([null, 10, null, 13, 15]);
    expect(plotData(items)[3]).toEqual([null, null, null]);
  });

  it("has room for every threshold, and orders them", () => {
    const lines = thresholdLines({ red: 5, blue: 2, odd: 1 }, false);
    expect(lines.map((line) => line.level)).toEqual(["blue", "red"]);
    const [low, high] = yRange([0.5, null, 1.2], [], lines.map((line) => line.value));
    expect(low).toBeLessThan(0.5);
    expect(high).toBeGreaterThan(5);
    expect(yRange([null], [], [])).toEqual([0, 1]);
    // a forecast that runs far away leaves the readings and thresholds their room, and is told of in words
    const [, top] = yRange([0, 4], [0.2, 30], [3]);
    expect(top).toBeLessThan(10);
    expect(beyond(top, [null, 0.2, 30])).toBe(30);
    expect(beyond(yRange([0, 4], [5], [3])[1], [5])).toBeNull();
  });
});

describe("another base map", () => {
  it("draws what its tiles have, of either naming, and nothing that they have not", () => {
    const ids = (names: string[]): string[] => tileLayers(new Set(names), false).map((layer) => layer.id);
    expect(ids(["earth", "water", "roads", "boundaries", "places"])).toEqual(["sea", "base-earth", "base-water", "base-water-line", "base-roads-line", "base-boundaries-line", "base-places"]);
    expect(ids(["land", "lake", "place"])).toEqual(["sea", "base-land", "base-lake", "base-place"]);
    expect(ids([])).toEqual(["sea"]);
  });

  it("labels with a font that the style's glyphs have", () => {
    const layer = (font: unknown) => ({ id: "x", type: "symbol", source: "s", layout: { "text-font": font } }) as unknown as Parameters<typeof fontOf>[0][number];
    expect(fontOf([layer(["literal", ["A"]]), layer(["Open Sans Regular"])])).toEqual(["Open Sans Regular"]);
    expect(fontOf([])).toEqual(["Noto Sans", "sans-serif"]);
  });
});
