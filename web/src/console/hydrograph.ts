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

/** Room for the readings and for the thresholds above them: how far it still is belongs to the picture. */
export function yRange(min: number | null, max: number | null, thresholds: readonly number[]): [number, number] {
  const all = [...thresholds, ...(min === null ? [] : [min]), ...(max === null ? [] : [max])];
  if (all.length === 0) return [0, 1];
  const low = Math.min(...all);
  const high = Math.max(...all);
  const pad = Math.max((high - low) * 0.1, 0.1);
  return [low - pad, high + pad];
}
