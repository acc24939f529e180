/** What lies under our own layers: the built-in coast, a PMTiles file, or another style (TOCSIN_BASEMAP). */

import * as maplibregl from "maplibre-gl";
import type { LayerSpecification, SourceSpecification, StyleSpecification } from "maplibre-gl";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import worldUrl from "world-atlas/countries-50m.json?url";
import type { Schemas } from "../../lib/client";
import { cutLand, cutLines } from "./antimeridian";
import { fontOf, ground, tileLayers } from "./baselayers";

export interface Base {
  sources: Record<string, SourceSpecification>;
  layers: (dark: boolean) => LayerSpecification[];
  /** Of a style that brings its own glyphs; without them the page's own fonts draw the labels. */
  glyphs?: string;
  sprite?: StyleSpecification["sprite"];
  font?: string[];
}

const NOTHING: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };
/** The base that the settings name. One that cannot be had gives bare ground: our own data is drawn all the same. */
export async function loadBase(basemap: Schemas["Basemap"] | null): Promise<Base> {
  try {
    if (basemap?.kind === "pmtiles" && basemap.url !== null) return await tiles(basemap.url);
    if (basemap?.kind === "style" && basemap.url !== null) return await style(basemap.url);
    return await builtIn();
  } catch {
    return { sources: {}, layers: (dark) => [{ id: "sea", type: "background", paint: { "background-color": ground(dark).land } }] };
  }
}

async function builtIn(): Promise<Base> {
  const topology = (await (await fetch(worldUrl)).json()) as Topology;
  const land = topology.objects.land;
  const countries = topology.objects.countries as GeometryCollection | undefined;
  return {
    sources: {
      "world-land": { type: "geojson", data: land === undefined ? NOTHING : cutLand(feature(topology, land)), maxzoom: 9 },
      "world-borders": { type: "geojson", data: countries === undefined ? NOTHING : cutLines(mesh(topology, countries, (a, b) => a !== b)), maxzoom: 9 },
    },
    // This coast is meant for whole regions. Closer than that it says nothing true, so it fades into plain ground.
    layers: (dark) => {
      const { land: ink, sea, line } = ground(dark);
      return [
        { id: "sea", type: "background", paint: { "background-color": ["interpolate", ["linear"], ["zoom"], 7, sea, 9, ink] } },
        { id: "land", type: "fill", source: "world-land", maxzoom: 9, paint: { "fill-color": ink, "fill-antialias": false } },
        { id: "borders", type: "line", source: "world-borders", maxzoom: 9, paint: { "line-color": line, "line-width": 0.8 } },
      ];
    },
  };
}

/** Layer names of Protomaps tiles, and beside them the plain names of tiles made straight from Natural Earth. */
async function tiles(url: string): Promise<Base> {
  const { PMTiles, Protocol } = await import("pmtiles");
  const address = new URL(url, location.href).href;
  const protocol = new Protocol();
  const file = new PMTiles(address);
  protocol.add(file);
  maplibregl.addProtocol("pmtiles", protocol.tile);
  const told = (await file.getMetadata()) as { vector_layers?: { id: string }[] };
  const names = new Set((told.vector_layers ?? []).map((layer) => layer.id));
  return { sources: { base: { type: "vector", url: `pmtiles://${address}` } }, layers: (dark) => tileLayers(names, dark) };
}

/** Another map's whole style under ours. Relative addresses in it are of its own place. */
async function style(url: string): Promise<Base> {
  const address = new URL(url, location.href).href;
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`style: HTTP ${answer.status}`);
  const found = (await answer.json()) as StyleSpecification;
  const here = (part: string): string => decodeURI(new URL(part, address).href); // keeps {z} and {fontstack} as they are
  const base: Base = { sources: found.sources, layers: () => found.layers };
  if (found.glyphs !== undefined) {
    base.glyphs = here(found.glyphs);
    base.font = fontOf(found.layers);
  }
  if (typeof found.sprite === "string") base.sprite = here(found.sprite);
  else if (found.sprite !== undefined) base.sprite = found.sprite;
  return base;
}
