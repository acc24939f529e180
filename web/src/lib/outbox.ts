/** Answers that wait for the network: kept on the device until the server has said that it has them.
 *
 * Each carries an idempotency key made once, so sending twice is one answer. Nothing is dropped because a try failed: only
 * a refusal that no retry can mend (4xx other than 401, 408, 425, 429) ends it, and the person is told.
 */

export interface Waiting<Body> {
  key: string; // idempotency key
  body: Body;
  madeAt: string; // RFC 3339, the device's clock
  tries: number;
}

export interface Store<Body> {
  all(): Promise<Waiting<Body>[]>;
  put(item: Waiting<Body>): Promise<void>;
  remove(key: string): Promise<void>;
}

export type Outcome<Result> = { kind: "sent"; result: Result } | { kind: "later" } | { kind: "refused"; reason: string };

/** Whether another try can succeed where the server answered with `status`. */
export function mayRetry(status: number): boolean {
  return status >= 500 || status === 401 || status === 408 || status === 425 || status === 429;
}

export interface Settled<Body, Result> {
  item: Waiting<Body>;
  outcome: Outcome<Result>;
}

export class Outbox<Body, Result> {
  #running: Promise<Settled<Body, Result>[]> | null = null;

  constructor(
    private readonly store: Store<Body>,
    private readonly send: (item: Waiting<Body>) => Promise<Outcome<Result>>,
    /** What goes first: lower goes before higher, whatever waited longer. */
    private readonly rank: (body: Body) => number = () => 0,
  ) {}

  async add(item: Waiting<Body>): Promise<void> {
    await this.store.put(item);
  }

  waiting(): Promise<Waiting<Body>[]> {
    return this.store.all();
  }

  async drop(key: string): Promise<void> {
    await this.store.remove(key);
  }

  /** Tries everything that waits, by rank and then oldest first; stops at the first that must wait longer, to keep the order. */
  flush(): Promise<Settled<Body, Result>[]> {
    this.#running ??= this.#flush().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #flush(): Promise<Settled<Body, Result>[]> {
    const settled: Settled<Body, Result>[] = [];
    const waiting = (await this.store.all()).sort((a, b) => this.rank(a.body) - this.rank(b.body) || a.madeAt.localeCompare(b.madeAt));
    for (const item of waiting) {
      const outcome = await this.send(item);
      if (outcome.kind === "later") {
        await this.store.put({ ...item, tries: item.tries + 1 });
        break;
      }
      await this.store.remove(item.key);
      settled.push({ item, outcome });
    }
    return settled;
  }
}

export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
