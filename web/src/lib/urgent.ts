/** What the console opens on: the most urgent thing first. */

import { rank, type ShownLevel } from "./levels";

export interface UrgentStation {
  station_id: string;
  code: string;
  state: "unknown" | "online" | "silent";
  level: ShownLevel;
  held: boolean;
  held_level: ShownLevel | null;
  state_since: string | null;
  phase: string | null;
}

export interface UrgentWarning {
  warning_id: string;
  level: ShownLevel;
  state: string;
  n_people: number;
  n_approvals: number;
  n_approvals_needed: number;
  drafted_at: string;
}

/** How pressing a station is: a silent one whose warning is held comes before any that still speaks. */
function stationScore(station: UrgentStation): number {
  if (station.held) return 100 + rank(station.held_level ?? "unknown");
  const level = rank(station.level);
  if (level >= 1) return 10 + level;
  if (station.state === "silent") return 5;
  return station.level !== "unknown" ? 2 : station.phase === null ? 0 : 3; // watched stations before those that only measure
}

export function byUrgency(a: UrgentStation, b: UrgentStation): number {
  return stationScore(b) - stationScore(a) || a.code.localeCompare(b.code);
}

/** The station to open; none where nothing is the matter. */
export function mostUrgentStation<S extends UrgentStation>(stations: readonly S[]): S | null {
  const first = [...stations].sort(byUrgency)[0];
  return first !== undefined && stationScore(first) >= 5 ? first : null;
}

function warningScore(warning: UrgentWarning): number {
  const base = warning.state === "draft" ? 100 : warning.state === "released" ? 10 : 0;
  return base === 0 ? 0 : base + 10 * rank(warning.level);
}

/** Drafts that wait for a person come first, then what is out, highest level first, then the larger audience. */
export function warningsByUrgency(a: UrgentWarning, b: UrgentWarning): number {
  return warningScore(b) - warningScore(a) || b.n_people - a.n_people || b.drafted_at.localeCompare(a.drafted_at);
}

export function mostUrgentWarning<W extends UrgentWarning>(warnings: readonly W[]): W | null {
  const first = [...warnings].sort(warningsByUrgency)[0];
  return first !== undefined && warningScore(first) > 0 ? first : null;
}
