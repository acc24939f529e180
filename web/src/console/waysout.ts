/** What the newest plan and people's own words say of safe zones. Pure: tested without a browser. */

/** Every status a household may have, the best first; each household has exactly one. */
export const STATUSES = ["clear", "through-hazard", "shelter-in-place", "no-seat", "cut-off", "off-network"] as const;

export interface Zone {
  seats: number; // 0: not known
  n_people: number | null; // sent there by the newest plan and not arrived yet; null: no plan yet
  n_arrived: number;
}

export interface ZoneUse {
  state: "unknown" | "free" | "full" | "over";
  /** People beyond the seats. */
  over: number;
}

/** Whether those who came and those on their way fill a zone. */
export function zoneUse(zone: Zone): ZoneUse {
  if (zone.seats <= 0 || (zone.n_people === null && zone.n_arrived === 0)) return { state: "unknown", over: 0 };
  const over = (zone.n_people ?? 0) + zone.n_arrived - zone.seats;
  return { state: over > 0 ? "over" : over === 0 ? "full" : "free", over: Math.max(over, 0) };
}
