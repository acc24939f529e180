/** A series of readings as uPlot wants it, its threshold lines and its range. Pure. */

import type { Schemas } from "../lib/client";
import type { ShownLevel } from "../lib/levels";
import { labelInk } from "./map/style";

type Column = (number | null)[];

/**
 * [times in s, values, doubtful values, forecast low, forecast middle, forecast high]. A null value breaks the line; values
 * of quality 3 and 4 are drawn as rings, not joined. The forecast begins at the reading it was made from.
 */
export function plotData(items: readonly Schemas["ObservationOut"][], forecast: Schemas["ForecastOut"] | null = null): [number[], Column, Column, Column, Column, Column] {
  const times: number[] = [];
  const good: Column = [];
  const doubtful: Column = [];
  const low: Column = [];
  const middle: Column = [];
  const high: Column = [];
  for (const item of items) {
    const bad = item.quality === 3 || item.quality === 4;
    const value = bad || item.quality === 9 ? null : item.value;
    const origin = forecast !== null && Date.parse(item.observed_at) === Date.parse(forecast.made_at) ? value : null;
    times.push(Date.parse(item.observed_at) / 1000);
    good.push(value);
    doubtful.push(bad ? item.value : null);
    low.push(origin);
    middle.push(origin);
    high.push(origin);
  }
  const last = times.at(-1) ?? -Infinity;
  for (const step of forecast?.steps ?? []) {
    const at = Date.parse(step.at) / 1000;
    if (at <= last) continue;
    times.push(at);
    good.push(null);
    doubtful.push(null);
    low.push(step.low);
    middle.push(step.middle);
    high.push(step.high);
  }
  return [times, good, doubtful, low, middle, high];
}

const DASH: Partial<Record<ShownLevel, number[]>> = { blue: [2, 4], yellow: [5, 4], orange: [9, 4], red: [] };

export interface ThresholdLine {
  level: ShownLevel;
  value: number;
  color: string;
  dash: number[];
}

export function thresholdLines(thresholds: Record<string, number>, dark: boolean): ThresholdLine[] {
  return Object.entries(thresholds)
    .filter((entry): entry is [ShownLevel, number] => entry[0] in DASH)
    .map(([level, value]) => ({ level, value, color: labelInk(level, dark), dash: DASH[level] ?? [] }))
    .sort((a, b) => a.value - b.value);
}

/**
 * Room for the readings and for the thresholds above them: how far it still is belongs to the picture. A forecast has as
 * much room again on either side and no more: one that runs far away must not press the rest into a line.
 */
export function yRange(readings: readonly (number | null)[], forecast: readonly (number | null)[], thresholds: readonly number[]): [number, number] {
  const known = (values: readonly (number | null)[]): number[] => values.filter((value): value is number => value !== null);
  const seen = [...thresholds, ...known(readings)];
  const all = seen.length > 0 ? seen : known(forecast);
  if (all.length === 0) return [0, 1];
  const ends = (values: number[]): [number, number] => values.reduce<[number, number]>(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const [low, high] = ends(all);
  const span = Math.max(high - low, 0.1);
  const [least, most] = ends([low, high, ...known(forecast)]);
  const bottom = Math.max(least, low - span);
  const top = Math.min(most, high + span);
  const pad = Math.max((top - bottom) * 0.1, 0.1);
  return [bottom - pad, top + pad];
}

/** The highest value of a forecast that lies above what is drawn; none where all of it is seen. */
export function beyond(top: number, forecast: readonly (number | null)[]): number | null {
  const most = forecast.reduce<number>((found, value) => (value === null ? found : Math.max(found, value)), -Infinity);
  return most > top ? most : null;
}
