/** Colours and layers of the ground under our data. Pure. */

import type { LayerSpecification } from "maplibre-gl";

export const FONT = ["Noto Sans", "sans-serif"];

export interface Ground {
  land: string;
  sea: string;
  line: string;
  road: string;
  ink: string;
  halo: string;
}
export const ground = (dark: boolean): Ground =>
  dark
    ? { land: "#1b222b", sea: "#0c1620", line: "#4a5563", road: "#2d3641", ink: "#a3adb9", halo: "#10151b" }
    : { land: "#f3f1ea", sea: "#cfdfe9", line: "#a9a395", road: "#ffffff", ink: "#57606a", halo: "#ffffff" };

/** The base's layers among `names`, land first, places last. */
export function tileLayers(names: ReadonlySet<string>, dark: boolean): LayerSpecification[] {
  const look = ground(dark);
  const layers: LayerSpecification[] = [{ id: "sea", type: "background", paint: { "background-color": look.sea } }];
  const fill = (name: string, color: string): void => {
    if (names.has(name)) layers.push({ id: `base-${name}`, type: "fill", source: "base", "source-layer": name, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": color, "fill-antialias": false } });
  };
  const line = (name: string, color: string, width: number, dash?: number[]): void => {
    if (names.has(name)) layers.push({ id: `base-${name}-line`, type: "line", source: "base", "source-layer": name, filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": color, "line-width": ["interpolate", ["linear"], ["zoom"], 6, width, 14, width * 3], ...(dash ? { "line-dasharray": dash } : {}) } });
  };
  fill("land", look.land);
  fill("earth", look.land);
  fill("urban", dark ? "#222a34" : "#e9e5da");
  fill("lake", look.sea);
  fill("water", look.sea);
  line("river", look.sea, 1);
  line("water", look.sea, 1);
  line("roads", look.road, 0.8);
  line("admin1", look.line, 0.4, [3, 3]);
  line("border", look.line, 0.8);
  line("boundaries", look.line, 0.8);
  for (const name of ["place", "places"]) {
    if (names.has(name)) layers.push({ id: `base-${name}`, type: "symbol", source: "base", "source-layer": name, layout: { "text-field": ["coalesce", ["get", "name"], ""], "text-font": FONT, "text-size": 11, "text-max-width": 8 }, paint: { "text-color": look.ink, "text-halo-color": look.halo, "text-halo-width": 1.4 } });
  }
  return layers;
}

/** A font that the style's own glyphs surely have: one that its labels use. */
export function fontOf(layers: readonly LayerSpecification[]): string[] {
  for (const layer of layers) {
    const font = layer.type === "symbol" ? layer.layout?.["text-font"] : undefined;
    const names = Array.isArray(font) ? (font as unknown[]) : [];
    if (names.length > 0 && names[0] !== "literal" && names.every((name) => typeof name === "string")) return names as string[];
  }
  return FONT;
}
