import { describe, expect, it, vi } from "vitest";
import { backoffMs, EventParser, openStream, type StreamEvent, type StreamState } from "./sse";

describe("the event parser", () => {
  it("gives whole events whatever the chunks are", () => {
    const text = ": hello\r\nid: 7\nevent: warning_changed\ndata: {\"a\":\ndata: 1}\n\nretry: 500\rdata:x\r\r";
    for (let cut = 1; cut < text.length; cut += 1) {
      const parser = new EventParser();
      const found: StreamEvent[] = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut)), ...parser.push("\n")];
      expect(found).toEqual([
        { id: "7", event: "warning_changed", data: '{"a":\n1}' },
        { id: "7", event: "message", data: "x" },
      ]);
      expect(parser.retryMs).toBe(500);
    }
  });

  it("gives nothing for an event without data", () => {
    expect(new EventParser().push("event: bye\n\n")).toEqual([]);
  });
});

describe("backoff", () => {
  it("goes from 1 to 30 s and is shortened by chance", () => {
    expect([0, 1, 2, 5, 50].map((n) => backoffMs(n, () => 0))).toEqual([1000, 2000, 4000, 30_000, 30_000]);
    expect(backoffMs(0, () => 1)).toBe(500);
  });
});

describe("the stream", () => {
  const answer = (chunks: string[], status = 200): Response =>
    new Response(
      new ReadableStream({
        start(controller) {
          for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
          controller.close();
        },
      }),
      { status },
    );

  it("resumes after the last event it saw, and ends when told", async () => {
    vi.useFakeTimers();
    const asked: (string | undefined)[] = [];
    const states: StreamState[] = [];
    const seen: StreamEvent[] = [];
    const answers = [answer(["id: 41\ndata: a\n\n"]), "away", answer(["id: 42\ndata: b\n\n"])];
    const close = openStream({
      url: "/v1/stream",
      onEvent: (event) => seen.push(event),
      onState: (state) => states.push(state),
      onUnauthorised: () => undefined,
      fetch: ((_url: string, init: RequestInit) => {
        asked.push((init.headers as Record<string, string>)["Last-Event-ID"]);
        const next = answers.shift();
        if (next === undefined) return new Promise(() => undefined);
        return next === "away" ? Promise.reject(new Error("away")) : Promise.resolve(next);
      }) as unknown as typeof fetch,
    });
    await vi.advanceTimersByTimeAsync(10_000);
    close();
    vi.useRealTimers();
    expect(seen.map((event) => event.data)).toEqual(["a", "b"]);
    expect(asked.slice(0, 3)).toEqual([undefined, "41", "41"]);
    expect(states).toEqual(["connecting", "live", "offline", "live"]);
  });

  it("stops where the session is over", async () => {
    let over = 0;
    let tries = 0;
    openStream({
      url: "/v1/stream",
      onEvent: () => undefined,
      onState: () => undefined,
      onUnauthorised: () => {
        over += 1;
      },
      fetch: (() => {
        tries += 1;
        return Promise.resolve(answer([], 401));
      }) as unknown as typeof fetch,
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([over, tries]).toEqual([1, 1]);
  });
});
