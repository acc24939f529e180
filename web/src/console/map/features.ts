/** What the API tells, as features for the map's layers. Pure: tested without a browser. */

import type { Schemas } from "../../lib/client";
import { nameIn, pick, type Translate } from "../../lib/i18n";
import { rank, type ShownLevel } from "../../lib/levels";
import { labelInk } from "./style";

type Features = GeoJSON.Feature[];

/** The level a station is shown at and the word for it: a held or silent one is unknown, and says so. */
export function stationWord(station: Schemas["StationProperties"], t: Translate): { level: ShownLevel; word: string } {
  if (station.held) {
    const at = station.held_level;
    return { level: "unknown", word: at && at !== "unknown" ? t("station.held_at", { level: t(`level.short.${at}`) }) : t("station.held") };
  }
  if (station.state === "silent") return { level: "unknown", word: t("station.silent") };
  if (station.state === "unknown") return { level: "unknown", word: t("station.never") };
  if (unwatched(station)) return { level: "unknown", word: t("station.unwatched") };
  return { level: station.level, word: t(`level.short.${station.level}`) };
}

/** It speaks, and no rule watches it: a rain gauge, say. It has no level, and nothing is the matter with it. */
export function unwatched(station: Schemas["StationProperties"]): boolean {
  return station.phase === null && station.state === "online";
}

export function stationFeatures(collection: Schemas["StationCollection"] | null, selected: string | null, t: Translate, dark: boolean, language: string): Features {
  return (collection?.features ?? []).flatMap(({ geometry, properties }): Features => {
    if (geometry === null) return [];
    const { level, word } = stationWord(properties, t);
    const plain = unwatched(properties);
    const quiet = level === "none" || plain;
    return [
      {
        type: "Feature",
        geometry: { type: "Point", coordinates: geometry.coordinates },
        properties: {
          id: properties.station_id,
          name: nameIn(properties.name, language),
          quiet,
          word: quiet ? "" : `\n${word}`,
          ink: labelInk(level, dark),
          level,
          icon: plain ? "station-plain" : properties.held ? `held-${properties.held_level ?? "unknown"}` : `station-${level}`,
          sort: properties.held ? 10 + rank(properties.held_level ?? "unknown") : plain ? 0 : rank(level),
          selected: properties.station_id === selected,
        },
      },
    ];
  });
}

/** Upper bounds of five classes with about equal numbers of cells: a book's values are far too skew for equal steps. */
export function classBreaks(values: readonly number[], classes = 5): number[] {
  const sorted = values.filter((value) => value > 0).sort((a, b) => a - b);
  const found: number[] = [];
  for (let i = 1; i <= classes; i += 1) {
    const value = sorted[Math.min(Math.ceil((sorted.length * i) / classes) - 1, sorted.length - 1)];
    if (value !== undefined && value !== found[found.length - 1]) found.push(value);
  }
  return found;
}

export function cellFeatures(collection: Schemas["CellCollection"] | null): { features: Features; breaks: number[]; currency: string | null } {
  const cells = collection?.features ?? [];
  const breaks = classBreaks(cells.map((cell) => cell.properties.tiv ?? 0));
  const features = cells.flatMap(({ geometry, properties }): Features => {
    const tiv = properties.tiv;
    if (geometry === null || tiv === null || tiv <= 0) return [];
    const found = breaks.findIndex((limit) => tiv <= limit);
    return [
      {
        type: "Feature",
        geometry: { type: "Polygon", coordinates: geometry.coordinates },
        // Fewer classes than colours: the darkest ones are used, so that the highest value is always the darkest.
        properties: { class: 5 - breaks.length + (found < 0 ? breaks.length - 1 : found), tiv, n: properties.n_locations, currency: properties.currency },
      },
    ];
  });
  return { features, breaks, currency: cells.find((cell) => cell.properties.currency !== null)?.properties.currency ?? null };
}

export function footprintFeatures(collection: Schemas["FootprintCollection"] | null, t: Translate): { now: Features; zones: Features } {
  const now: Features = [];
  const zones: Features = [];
  for (const { geometry, properties } of collection?.features ?? []) {
    if (geometry !== null) now.push({ type: "Feature", geometry: geometry as GeoJSON.Geometry, properties: { version: properties.version } });
    for (const zone of properties.zones) {
      const label = zone.arrival_min === null ? "" : t("map.in_minutes", { n: Math.round(zone.arrival_min) });
      zones.push({ type: "Feature", geometry: zone.geometry as GeoJSON.Geometry, properties: { label } });
    }
  }
  return { now, zones };
}

export function routeFeatures(collection: Schemas["RouteCollection"] | null): Features {
  return (collection?.features ?? []).flatMap(({ geometry, properties }): Features =>
    geometry === null ? [] : [{ type: "Feature", geometry: geometry as GeoJSON.Geometry, properties: { status: properties.status } }],
  );
}

/** Streets and rivers of the network that plans are made on. */
export function roadFeatures(collection: Schemas["RoadCollection"] | null): Features {
  return (collection?.features ?? []).flatMap(({ geometry, properties }): Features =>
    geometry === null ? [] : [{ type: "Feature", geometry: geometry as GeoJSON.Geometry, properties: { kind: properties.kind, name: properties.name } }],
  );
}

/** Closed roads as lines, each with a mark at its middle. */
export function closedFeatures(plan: Schemas["PlanOut"] | null): Features {
  return (plan?.closed_roads.coordinates ?? []).flatMap((line): Features => {
    const middle = line[Math.floor((line.length - 1) / 2)];
    const next = line[Math.floor((line.length - 1) / 2) + 1] ?? middle;
    if (middle === undefined || next === undefined) return [];
    const at = [((middle[0] ?? 0) + (next[0] ?? 0)) / 2, ((middle[1] ?? 0) + (next[1] ?? 0)) / 2];
    return [
      { type: "Feature", geometry: { type: "LineString", coordinates: line }, properties: {} },
      { type: "Feature", geometry: { type: "Point", coordinates: at }, properties: {} },
    ];
  });
}

export function safeZoneFeatures(collection: Schemas["SafeZoneCollection"] | null, language: string): Features {
  return (collection?.features ?? []).flatMap(({ geometry, properties }): Features =>
    geometry === null
      ? []
      : [{ type: "Feature", geometry: { type: "Point", coordinates: geometry.coordinates }, properties: { name: pick(properties.names, language) ?? properties.code, id: properties.safe_zone_id } }],
  );
}

export function areaFeatures(warning: Schemas["WarningVersion"] | null): Features {
  if (warning === null || warning.level === "none" || warning.area === null) return [];
  return [{ type: "Feature", geometry: warning.area as GeoJSON.Geometry, properties: { level: warning.level } }];
}

/** Places with a loss as circles whose area grows with it: the largest ones and a sample of the others. */
export function lossFeatures(losses: Schemas["LatestLosses"] | null): Features {
  const found: Features = [];
  for (const item of losses?.items ?? []) {
    if (!item.loss || item.loss.problem) continue;
    const values = item.locations.map((place) => place.gross ?? place.ground_up);
    const top = Math.max(...values, 0);
    if (top <= 0) continue;
    item.locations.forEach((place, i) => {
      if (place.lon === null || place.lat === null) return;
      const mean = values[i] ?? 0;
      found.push({
        type: "Feature",
        geometry: { type: "Point", coordinates: [place.lon, place.lat] },
        properties: { mean, size: 2.5 + 8 * Math.sqrt(mean / top), currency: item.loss?.currency ?? "", number: place.loc_number, account: place.acc_number },
      });
    });
  }
  return found;
}

export function locationFeatures(collection: Schemas["LocationCollection"] | null): Features {
  return (collection?.features ?? []).flatMap(({ geometry, properties }): Features =>
    geometry === null
      ? []
      : [
          {
            type: "Feature",
            geometry: { type: "Point", coordinates: geometry.coordinates },
            properties: { exposed: properties.exposed_tiv !== null, tiv: properties.tiv, currency: properties.currency, number: properties.loc_number, account: properties.acc_number },
          },
        ],
  );
}
