/** The map's style: the base (base.ts), then our own layers. */

import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import type { ShownLevel } from "../../lib/levels";
import type { Base } from "./base";
import { FONT } from "./baselayers";

/** ColorBrewer BuPu, five classes: light to dark, readable without telling red from green. */
export const RAMP = ["#edf8fb", "#b3cde3", "#8c96c6", "#8856a7", "#810f7c"] as const;
const RAMP_DARK = ["#2a3a4a", "#3f5a86", "#6a68b8", "#9a5fc0", "#d183d8"] as const;
export const ramp = (dark: boolean): readonly string[] => (dark ? RAMP_DARK : RAMP);

export const SOURCES = ["roads", "cells", "locations", "losses", "footprint", "zones", "area", "closed", "routes", "safe-zones", "stations"] as const;
export type SourceName = (typeof SOURCES)[number];

/** Which layers each switch of the legend turns on and off. */
export const GROUPS: Record<string, string[]> = {
  roads: ["rivers", "roads-small", "roads-main", "roads-label"],
  exposure: ["cells-fill", "locations"],
  losses: ["losses"],
  footprint: ["footprint-fill", "footprint-hatch", "footprint-line", "zones-line", "zones-label"],
  area: ["area-hatch", "area-line"],
  routes: ["routes-case", "routes", "routes-arrow"],
  closed: ["closed-case", "closed-line", "closed-mark"],
  safe_zones: ["safe-zones", "safe-zones-label"],
  stations: ["stations-selected", "stations", "stations-label"],
};

export function makeStyle(base: Base, dark: boolean): StyleSpecification {
  const font = base.font ?? FONT;
  const ink = dark ? "#e6eaf0" : "#1b1f24";
  const halo = dark ? "#10151b" : "#ffffff";
  const green = dark ? "#6fd39b" : "#0b6b3a";
  const hazard = dark ? "#7cc4ff" : "#0a5c9e";
  const road = dark ? "#ffb4a8" : "#8c0016";
  const exposure = ["match", ["get", "class"], ...ramp(dark).flatMap((color, i) => [i, color]), "transparent"] as unknown as ExpressionSpecification;
  const empty: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };
  const levelColor = ["match", ["get", "level"], "blue", "#1d4ed8", "yellow", "#5c4700", "orange", "#c2410c", "red", "#b3001b", "#57606a"] as unknown as ExpressionSpecification;
  const named = ["format", ["get", "name"], { "font-scale": 1 }, ["get", "word"], { "font-scale": 0.92, "text-color": ["get", "ink"] }];
  const main = ["in", ["get", "kind"], ["literal", ["motorway", "trunk", "primary", "secondary", "tertiary"]]] as unknown as ExpressionSpecification;
  const river = ["==", ["get", "kind"], "river"] as unknown as ExpressionSpecification;
  const street = dark ? "#4d5866" : "#b4b8bf";
  const layers: LayerSpecification[] = [
    { id: "cells-fill", type: "fill", source: "cells", paint: { "fill-color": exposure, "fill-opacity": ["interpolate", ["linear"], ["zoom"], 12.5, 0.58, 15, 0.2], "fill-outline-color": dark ? "#10151b" : "#ffffff" } },
    { id: "rivers", type: "line", source: "roads", filter: river, paint: { "line-color": dark ? "#2f6f9f" : "#8fbfe0", "line-width": ["interpolate", ["linear"], ["zoom"], 9, 1, 14, 4] } },
    { id: "roads-small", type: "line", source: "roads", minzoom: 9.5, filter: ["all", ["!", main], ["!", river]] as unknown as ExpressionSpecification, paint: { "line-color": street, "line-width": ["interpolate", ["linear"], ["zoom"], 9.5, 0.3, 15, 2] } },
    { id: "roads-main", type: "line", source: "roads", filter: main, paint: { "line-color": street, "line-width": ["interpolate", ["linear"], ["zoom"], 9, 0.8, 15, 3.5] } },
    { id: "roads-label", type: "symbol", source: "roads", minzoom: 13.5, filter: ["!=", ["get", "name"], ""], layout: { "symbol-placement": "line", "text-field": ["get", "name"], "text-font": font, "text-size": 11 }, paint: { "text-color": ink, "text-halo-color": halo, "text-halo-width": 1.4 } },
    { id: "footprint-fill", type: "fill", source: "footprint", paint: { "fill-color": hazard, "fill-opacity": 0.16 } },
    { id: "footprint-hatch", type: "fill", source: "footprint", paint: { "fill-pattern": "hazard", "fill-opacity": 0.75 } },
    { id: "zones-line", type: "line", source: "zones", paint: { "line-color": hazard, "line-width": 1.2, "line-dasharray": [3, 2] } },
    { id: "footprint-line", type: "line", source: "footprint", paint: { "line-color": hazard, "line-width": 2.2 } },
    { id: "area-hatch", type: "fill", source: "area", paint: { "fill-pattern": ["concat", "area-", ["get", "level"]], "fill-opacity": 0.28 } },
    { id: "area-line", type: "line", source: "area", paint: { "line-color": levelColor, "line-width": 2, "line-dasharray": [4, 2] } },
    { id: "locations", type: "circle", source: "locations", minzoom: 12.5, paint: {
      "circle-radius": ["interpolate", ["linear"], ["zoom"], 12.5, 2, 16, 5], "circle-color": dark ? "#d183d8" : "#810f7c",
      "circle-stroke-color": ["case", ["get", "exposed"], ink, halo], "circle-stroke-width": ["case", ["get", "exposed"], 1.6, 0.7] } },
    { id: "losses", type: "circle", source: "losses", paint: {
      "circle-radius": ["get", "size"], "circle-color": dark ? "#ffb454" : "#b45309", "circle-opacity": 0.62, "circle-stroke-color": halo, "circle-stroke-width": 0.7 } },
    { id: "closed-case", type: "line", source: "closed", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": halo, "line-width": 4.5 } },
    { id: "closed-line", type: "line", source: "closed", filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": road, "line-width": 2.2, "line-dasharray": [1.2, 1] } },
    { id: "routes-case", type: "line", source: "routes", layout: { "line-cap": "round", "line-join": "round" }, paint: { "line-color": halo, "line-width": ["interpolate", ["linear"], ["zoom"], 9, 2, 14, 6] } },
    { id: "routes", type: "line", source: "routes", layout: { "line-cap": "round", "line-join": "round" }, paint: {
      "line-color": ["case", ["==", ["get", "status"], "clear"], green, dark ? "#ff9b5e" : "#c2410c"], "line-width": ["interpolate", ["linear"], ["zoom"], 9, 1, 14, 3.2] } },
    { id: "routes-arrow", type: "symbol", source: "routes", minzoom: 13, layout: { "symbol-placement": "line", "symbol-spacing": 120, "text-field": "›", "text-font": font, "text-size": 20, "text-keep-upright": false, "text-offset": [0, -0.12] }, paint: { "text-color": green, "text-halo-color": halo, "text-halo-width": 1.5 } },
    { id: "closed-mark", type: "symbol", source: "closed", filter: ["==", ["geometry-type"], "Point"], layout: { "icon-image": "closed", "icon-padding": 6 } },
    { id: "zones-label", type: "symbol", source: "zones", minzoom: 11, layout: { "symbol-placement": "line", "text-field": ["get", "label"], "text-font": font, "text-size": 11 }, paint: { "text-color": hazard, "text-halo-color": halo, "text-halo-width": 1.5 } },
    { id: "safe-zones", type: "symbol", source: "safe-zones", layout: { "icon-image": "safe-zone", "icon-allow-overlap": true, "icon-size": ["interpolate", ["linear"], ["zoom"], 8, 0.6, 12, 0.9] } },
    { id: "stations-selected", type: "circle", source: "stations", filter: ["==", ["get", "selected"], true], paint: { "circle-radius": 22, "circle-color": "transparent", "circle-stroke-width": 3.5, "circle-stroke-color": dark ? "#ffd60a" : "#0b57d0" } },
    { id: "stations", type: "symbol", source: "stations", layout: { "icon-image": ["get", "icon"], "icon-allow-overlap": true, "symbol-sort-key": ["get", "sort"] } },
    { id: "stations-label", type: "symbol", source: "stations", layout: {
      // Names of stations with nothing to tell wait until there is room for them.
      "text-field": ["step", ["zoom"], ["case", ["get", "quiet"], "", named], 11.5, named] as unknown as ExpressionSpecification,
      "text-font": font, "text-size": 12, "text-variable-anchor": ["left", "right", "top", "bottom"], "text-radial-offset": 1.5, "text-justify": "auto",
      "symbol-sort-key": ["-", 0, ["get", "sort"]], "text-max-width": 12 }, paint: { "text-color": ink, "text-halo-color": halo, "text-halo-width": 1.8 } },
    { id: "safe-zones-label", type: "symbol", source: "safe-zones", minzoom: 10.5, layout: { "text-field": ["get", "name"], "text-font": font, "text-size": 11.5, "text-variable-anchor": ["top", "bottom", "left", "right"], "text-radial-offset": 1.3, "text-max-width": 9 }, paint: { "text-color": green, "text-halo-color": halo, "text-halo-width": 1.8 } },
  ];
  return {
    version: 8,
    sources: {
      ...base.sources,
      ...Object.fromEntries(SOURCES.map((name) => [name, { type: "geojson", data: empty }])),
    },
    layers: [...base.layers(dark), ...layers],
    ...(base.glyphs === undefined ? {} : { glyphs: base.glyphs }),
    ...(base.sprite === undefined ? {} : { sprite: base.sprite }),
  } as StyleSpecification;
}

/** Ink of a level's word on the map, on a halo. */
export function labelInk(level: ShownLevel, dark: boolean): string {
  const light: Record<ShownLevel, string> = { none: "#3d444d", unknown: "#5b21b6", blue: "#14388f", yellow: "#5c4700", orange: "#8a2c07", red: "#8c0016" };
  const night: Record<ShownLevel, string> = { none: "#a3adb9", unknown: "#c4a6ff", blue: "#8fb4ff", yellow: "#ffd60a", orange: "#ff9b5e", red: "#ff8a94" };
  return (dark ? night : light)[level];
}
