import { describe, expect, it } from "vitest";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import world from "world-atlas/countries-50m.json";
import { cutLand, cutLine, cutLines, cutPolygon } from "./antimeridian";

const topology = world as unknown as Topology;
const land = cutLand(feature(topology, topology.objects.land!) as GeoJSON.FeatureCollection);
/** Edges longer than half the world; along the pole one is right. */
const steps = (line: number[][]): number => line.filter((at, i) => i > 0 && Math.abs(at[1]!) < 90 && Math.abs(at[0]! - line[i - 1]![0]!) > 180).length;

/** Even-odd over every ring, as a flat map fills. */
function isLand(lon: number, lat: number): boolean {
  let inside = false;
  for (const ring of land.geometry.coordinates.flat())
    for (let i = 1; i < ring.length; i += 1) {
      const [x0, y0] = ring[i - 1] as [number, number];
      const [x1, y1] = ring[i] as [number, number];
      if (y0 > lat !== y1 > lat && lon < x0 + ((lat - y0) / (y1 - y0)) * (x1 - x0)) inside = !inside;
    }
  return inside;
}

describe("the built-in base map", () => {
  it("has no ring and no border that runs round the world", () => {
    expect(land.geometry.coordinates.flat().filter((ring) => steps(ring) > 0)).toEqual([]);
    const borders = cutLines(mesh(topology, topology.objects.countries as GeometryCollection, (a, b) => a !== b));
    expect(borders.coordinates.filter((line) => steps(line) > 0)).toEqual([]);
  });

  it.each([
    ["Hudson Bay", -85, 60], ["Beaufort Sea", -140, 71.5], ["Labrador Sea", -52, 60], ["Norwegian Sea", 2, 68], ["Bering Sea", -178, 58],
    ["north of Wrangel", -179, 73], ["Pacific south of Fiji", 179, -30], ["Caspian Sea", 51, 42],
  ])("%s is sea", (_name, lon, lat) => expect(isLand(lon, lat)).toBe(false));

  it.each([
    ["Nunavut", -98, 64], ["Yukon", -135, 65], ["Chukotka, west of 180", 178, 67], ["Chukotka, east of 180", -172.5, 65.7], ["Wrangel", 179.5, 71.2],
    ["Wrangel, east of 180", -178.5, 71.2], ["Siberia", 100, 65], ["South Pole", 0, -89.5], ["Antarctica", 179, -85], ["Sri Lanka", 80.7, 7.5],
  ])("%s is land", (_name, lon, lat) => expect(isLand(lon, lat)).toBe(true));
});

describe("cutting at the 180th meridian", () => {
  it("leaves alone what does not touch it, its hole included", () => {
    const square = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], [[2, 2], [4, 2], [4, 4], [2, 2]]];
    expect(cutPolygon(square)).toEqual([square]);
  });

  it("cuts in two with the crossing where it is, and gives a hole to its part", () => {
    const made = cutPolygon([[[170, 0], [-170, 0], [-170, 10], [170, 10], [170, 0]], [[-176, 2], [-174, 2], [-174, 4], [-176, 2]]]);
    expect(made.length).toBe(2);
    const areas = made.map(([ring]) => Math.abs(ring!.reduce((sum, at, i) => (i === 0 ? 0 : sum + (ring![i - 1]![0]! * at[1]! - at[0]! * ring![i - 1]![1]!) / 2), 0)));
    expect(areas).toEqual([100, 100]);
    expect(made.map((part) => part.length).sort()).toEqual([1, 2]);
    expect(made.flat(2).every(([lon]) => Math.abs(lon!) <= 180)).toBe(true);
  });

  it("parts a line", () => expect(cutLine([[170, 1], [179, 1], [-179, 1], [-170, 1]])).toEqual([[[170, 1], [179, 1]], [[-179, 1], [-170, 1]]]));
});
