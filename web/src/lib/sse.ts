/** Server-sent events over fetch: the browser's EventSource cannot name its Last-Event-ID or its backoff. */

export interface StreamEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Turns chunks of text into events (WHATWG HTML, 9.2.6). Comments keep the line alive and are dropped. */
export class EventParser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string | null = null;
  retryMs: number | null = null;

  push(chunk: string): StreamEvent[] {
    const found: StreamEvent[] = [];
    this.#rest += chunk;
    for (;;) {
      const end = this.#rest.search(/\r\n|\n|\r/);
      // A lone \r at the end of a chunk may be half of \r\n: wait for the next one.
      if (end < 0 || (this.#rest[end] === "\r" && end === this.#rest.length - 1)) break;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
      const event = this.#line(line);
      if (event !== null) found.push(event);
    }
    return found;
  }

  #line(line: string): StreamEvent | null {
    if (line === "") {
      const whole = this.#data.length > 0 ? { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") } : null;
      this.#event = "";
      this.#data = [];
      return whole;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return null;
  }
}

/** 1, 2, 4 ... 30 s, each shortened by chance by up to a half, or every console would come back at once. */
export function backoffMs(failures: number, chance: () => number = Math.random): number {
  const whole = Math.min(30_000, 1000 * 2 ** Math.min(failures, 10));
  return whole * (1 - chance() / 2);
}

export type StreamState = "connecting" | "live" | "offline";

export interface StreamOptions {
  url: string;
  onEvent: (event: StreamEvent) => void;
  onState: (state: StreamState) => void;
  onUnauthorised: () => void;
  /** No byte for so long: the line is dead though nobody said so. The server sends a comment more often than this. */
  silenceMs?: number;
  fetch?: typeof fetch;
}

/** Keeps one stream open until the returned function is called; resumes after the last event that was seen. */
export function openStream(options: StreamOptions): () => void {
  const doFetch = options.fetch ?? fetch;
  let lastId: string | null = null;
  let failures = 0;
  let stopped = false;
  let abort = new AbortController();
  let wake: (() => void) | null = null;

  const once = async (): Promise<void> => {
    abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), options.silenceMs ?? 45_000);
    };
    try {
      alive();
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId !== null) headers["Last-Event-ID"] = lastId;
      const answer = await doFetch(options.url, { headers, signal: abort.signal, cache: "no-store", credentials: "same-origin" });
      if (answer.status === 401) {
        stopped = true;
        options.onUnauthorised();
        return;
      }
      if (!answer.ok || answer.body === null) throw new Error(`stream: ${answer.status}`);
      failures = 0;
      options.onState("live");
      const parser = new EventParser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return; // the server ends every stream at its longest age; come back
        alive();
        for (const event of parser.push(value)) {
          if (event.id !== null) lastId = event.id;
          options.onEvent(event);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  };

  const run = async (): Promise<void> => {
    options.onState("connecting");
    while (!stopped) {
      try {
        await once();
      } catch {
        failures += 1;
        if (!stopped) options.onState("offline");
      }
      if (stopped) return;
      const pause = backoffMs(failures === 0 ? 0 : failures - 1);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      wake = null;
    }
  };

  const online = (): void => wake?.();
  globalThis.addEventListener?.("online", online);
  void run();
  return () => {
    stopped = true;
    globalThis.removeEventListener?.("online", online);
    abort.abort();
    wake?.();
  };
}
