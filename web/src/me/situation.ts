/** What the phone page says, decided from what is known and how old it is. Pure.
 *
 * The one law: what is old, expired or not known is never shown as safe.
 */

import { type Level, rank } from "../lib/levels";
import type { Kept, Now, PublicWarning } from "./api";

export type Face =
  | { kind: "no_link" }
  | { kind: "loading" }
  | { kind: "never_reached" }
  | { kind: "warning"; warning: PublicWarning; others: PublicWarning[]; expired: boolean }
  | { kind: "all_clear"; warning: PublicWarning | null }
  | { kind: "no_warning" }
  | { kind: "cannot_tell"; reason: string; last: "warning" | "no_warning" | null; warning: PublicWarning | null };

export interface Known {
  hasToken: boolean;
  kept: Kept | null;
  /** The newest try to reach the server failed, or none has ended yet for too long. */
  unreachable: boolean;
  stale: boolean;
  /** The installation's time, as well as it can be told. */
  time: Date;
}

/** Standing warnings, the worst first. */
export function standing(now: Now): PublicWarning[] {
  return now.warnings
    .filter((warning) => !warning.all_clear && warning.level !== "none")
    .sort((a, b) => rank(b.level as Level) - rank(a.level as Level) || b.sent_at.localeCompare(a.sent_at));
}

export function face(known: Known): Face {
  if (!known.hasToken) return { kind: "no_link" };
  if (known.kept === null) return known.unreachable ? { kind: "never_reached" } : { kind: "loading" };
  const { now } = known.kept;
  const [worst, ...others] = standing(now);
  if (worst !== undefined) {
    const expired = known.time.getTime() > Date.parse(worst.expires_at);
    if (now.state !== "cannot_tell" || !expired) return { kind: "warning", warning: worst, others, expired };
  }
  if (known.stale) return { kind: "cannot_tell", reason: "unreachable", last: "no_warning", warning: null };
  if (now.state === "cannot_tell") return { kind: "cannot_tell", reason: now.state_reason, last: null, warning: worst ?? null };
  if (now.state === "all_clear") return { kind: "all_clear", warning: now.warnings.find((warning) => warning.all_clear) ?? null };
  if (now.state === "no_warning") return { kind: "no_warning" };
  // It says there is a warning and gives none that stands: we do not know.
  return { kind: "cannot_tell", reason: "", last: null, warning: null };
}

/** Whether the plan found no seat for this household at any safe zone it can reach: then none is shown as if it had one. */
export const withoutSeat = (now: Now): boolean => now.route?.status === "no-seat";

/** Seconds between two looks: a storm of phones must not drown the server that warns them. */
export function pollSeconds(now: Now | null): number {
  if (now === null || now.exercise) return 5;
  return now.state === "warning" ? 30 : 60;
}

/** Takes the link's token out of the address, where it would be seen and shared. */
export function tokenOf(hash: string): string | null {
  const token = new URLSearchParams(hash.replace(/^#/, "")).get("t");
  return token === null || token === "" ? null : token;
}
