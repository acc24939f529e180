/** A series of readings as uPlot wants it, its threshold lines and its range. Pure. */

import type { Schemas } from "../lib/client";
import type { ShownLevel } from "../lib/levels";
import { labelInk } from "./map/style";

/** [times in s, values, doubtful values]. A null value breaks the line; values of quality 3 and 4 are drawn as rings, not joined. */
export function plotData(items: readonly Schemas["ObservationOut"][]): [number[], (number | null)[], (number | null)[]] {
  const times: number[] = [];
  const good: (number | null)[] = [];
  const doubtful: (number | null)[] = [];
  for (const item of items) {
    const bad = item.quality === 3 || item.quality === 4;
    times.push(Date.parse(item.observed_at) / 1000);
    good.push(bad || item.quality === 9 ? null : item.value);
    doubtful.push(bad ? item.value : null);
  }
  return [times, good, doubtful];
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
