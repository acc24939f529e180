/** The installation's time between two answers of the server.
 *
 * An exercise runs on a scenario clock, often many times faster than the wall's, so the browser's own clock must never
 * be read for ages. Speed is learnt from the answers themselves.
 */
export class ServerTime {
  #at = 0; // the installation's time, ms
  #local = 0; // our monotonic time when it was told, ms
  #speed = 1;
  #anchor: { at: number; local: number } | null = null;

  /** Takes in one `as_of`. Times that go back by more than a little start anew: another scenario was begun. */
  tell(asOf: string | Date, local: number): void {
    const at = new Date(asOf).getTime();
    if (!Number.isFinite(at)) return;
    const anchor = this.#anchor;
    if (anchor === null || at < anchor.at - 60_000) {
      this.#anchor = { at, local };
      this.#speed = 1;
    } else if (local - anchor.local >= 2000) {
      this.#speed = Math.min(Math.max((at - anchor.at) / (local - anchor.local), 0), 5000);
      this.#anchor = { at, local };
    }
    this.#at = at;
    this.#local = local;
  }

  get known(): boolean {
    return this.#anchor !== null;
  }

  get speed(): number {
    return this.#speed;
  }

  now(local: number): Date {
    return new Date(this.#at + (local - this.#local) * this.#speed);
  }
}

/** More than twice the expected interval without news: stale. Never known counts as stale. */
export function isStale(ageSeconds: number | null, expectedIntervalSeconds: number): boolean {
  return ageSeconds === null || ageSeconds > 2 * expectedIntervalSeconds;
}
