/** What a push carries, made into the situation it tells of: a phone that gets a push and nothing else can act on it. */

import { lines, type Position } from "../lib/geojson";
import type { Level } from "../lib/levels";
import type { Now, PublicWarning } from "./api";
import { standing } from "./situation";

/** As alerts/payload.py builds it. Route and description may be missing: a push holds 4 KB. */
export interface PushMessage {
  id?: string; // of the delivery
  warning_id?: string;
  version?: number;
  exercise?: boolean;
  level?: Level;
  all_clear?: boolean;
  cancelled?: boolean;
  language?: string;
  headline?: string;
  instruction?: string;
  description?: string;
  sent?: string;
  expires?: string;
  route?: { status: NonNullable<Now["route"]>["status"]; leave_by: string | null; polyline: string | null } | null;
  safe_zones?: { name: string; lon: number; lat: number }[];
  steps?: { step: string; minutes: number; text: string }[];
  official_order?: { kind: "evacuate" | "stay"; authority: string; issued: string; expires?: string };
  as_of?: string; // when route and order were read
  url?: string;
}

/** [lon, lat] places of an encoded polyline (1e-5 degree a unit, latitude first). */
export function decodePolyline(text: string): Position[] {
  const places: Position[] = [];
  let at = 0;
  let lat = 0;
  let lon = 0;
  const next = (): number => {
    let value = 0;
    let shift = 0;
    for (;;) {
      const part = text.charCodeAt(at) - 63;
      at += 1;
      if (!(part >= 0 && part < 64)) return Number.NaN; // also the end of the text
      value += (part & 0x1f) * 2 ** shift;
      shift += 5;
      if (part < 0x20) return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
    }
  };
  while (at < text.length) {
    lat += next();
    lon += next();
    if (Number.isNaN(lat) || Number.isNaN(lon)) break; // cut short: what came is still true
    places.push([Math.round(lon) / 1e5, Math.round(lat) / 1e5]);
  }
  return places;
}

/** What an authority ordered, as the push carries it. */
function order(message: PushMessage): Now["order"] {
  const said = message.official_order;
  if (said === undefined) return null;
  return { kind: said.kind, authority: said.authority, issued_at: said.issued, expires_at: said.expires ?? message.expires ?? said.issued };
}

/** The situation after this push; null where the push tells of no warning. */
export function situationFrom(message: PushMessage, before: Now | null): Now | null {
  if (message.warning_id === undefined || message.headline === undefined || message.sent === undefined || message.expires === undefined) return null;
  const language = message.language ?? before?.language ?? "en";
  const over = message.all_clear === true || message.cancelled === true;
  const warning: PublicWarning = {
    warning_id: message.warning_id,
    version: message.version ?? 1,
    level: over ? "none" : (message.level ?? "none"),
    all_clear: over,
    headline: message.headline,
    description: message.description ?? "",
    instruction: message.instruction ?? "",
    area_desc: "",
    language,
    sent_at: message.sent,
    expires_at: message.expires,
    sender: before?.warnings[0]?.sender ?? "Tocsin",
    delivery_id: message.id ?? null,
    answered: null,
  };
  const others = (before?.warnings ?? []).filter((one) => one.warning_id !== message.warning_id);
  const newer = before?.warnings.find((one) => one.warning_id === message.warning_id && one.version > warning.version);
  if (newer !== undefined) return null; // pushes may overtake each other
  const read = message.as_of ?? message.sent;
  const same = before?.warnings.find((one) => one.warning_id === message.warning_id && one.version === warning.version);
  // of two messages of one version the one with the newer route counts, however they arrive
  if (same !== undefined && message.as_of !== undefined && before?.route && Date.parse(before.route.checked_at) > Date.parse(read)) return null;
  const line = message.route?.polyline ? decodePolyline(message.route.polyline) : [];
  const zones: Now["safe_zones"] = (message.safe_zones ?? []).map((zone, i) => ({
    safe_zone_id: `push-${i}`,
    names: { [language]: zone.name },
    lon: zone.lon,
    lat: zone.lat,
    distance_m: null,
    opens_at: null,
  }));
  const end = line[line.length - 1];
  const goal = end === undefined ? undefined : zones.find((zone) => Math.abs(zone.lon - (end[0] ?? 0)) < 0.005 && Math.abs(zone.lat - (end[1] ?? 0)) < 0.005);
  const route: Now["route"] = message.route
    ? {
        status: message.route.status,
        safe_zone: goal ?? null,
        leave_by: message.route.leave_by,
        last_way_out: null,
        travel_s: null,
        distance_m: null,
        inside_m: 0,
        reason: "",
        geometry: line.length > 1 ? { type: "LineString", coordinates: line } : null,
        checked_at: read,
        turns: [], footprint: null,
      }
    : (before?.route ?? null);
  const situation: Now = {
    name: before?.name ?? null,
    order: order(message) ?? (message.as_of === undefined ? (before?.order ?? null) : null),
    language,
    exercise: message.exercise ?? before?.exercise ?? false,
    state: "warning",
    state_reason: "",
    checked_at: read,
    home: before?.home ?? line[0] ?? lines(before?.route?.geometry)[0]?.[0] ?? null,
    warnings: [warning, ...others],
    route,
    safe_zones: zones.length > 0 ? zones : (before?.safe_zones ?? []),
    steps: message.steps?.map((one) => ({ step: one.step, minutes: one.minutes, avoided_loss: null, currency: null, done_at: before?.steps?.find((old) => old.step === one.step)?.done_at ?? null })) ?? before?.steps ?? [],
    channels: before?.channels ?? [],
    sending_paused: before?.sending_paused ?? false,
    taken_back: before?.taken_back ?? null,
  };
  if (standing(situation).length === 0) situation.state = "all_clear";
  return situation;
}
