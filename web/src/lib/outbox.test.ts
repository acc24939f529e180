import { describe, expect, it } from "vitest";
import { mayRetry, newKey, Outbox, type Outcome, type Store, type Waiting } from "./outbox";

function memory(): Store<string> & { items: Map<string, Waiting<string>> } {
  const items = new Map<string, Waiting<string>>();
  return {
    items,
    all: async () => [...items.values()],
    put: async (item) => {
      items.set(item.key, item);
    },
    remove: async (key) => {
      items.delete(key);
    },
  };
}

const item = (key: string, madeAt: string): Waiting<string> => ({ key, body: key, madeAt, tries: 0 });

describe("answers that wait", () => {
  it("are sent oldest first with the key they were made with, and kept until the server has them", async () => {
    const store = memory();
    const sent: string[] = [];
    let online = false;
    const outbox = new Outbox<string, string>(store, async (one): Promise<Outcome<string>> => {
      if (!online) return { kind: "later" };
      sent.push(one.key);
      return { kind: "sent", result: "ok" };
    });
    await outbox.add(item("b", "2026-01-02"));
    await outbox.add(item("a", "2026-01-01"));
    expect(await outbox.flush()).toEqual([]);
    expect([...store.items.keys()].sort()).toEqual(["a", "b"]);
    expect(store.items.get("a")?.tries).toBe(1);
    online = true;
    expect((await outbox.flush()).map((one) => one.item.key)).toEqual(["a", "b"]);
    expect(sent).toEqual(["a", "b"]);
    expect(store.items.size).toBe(0);
  });

  it("are told as refused where no retry can mend it, and do not block the next", async () => {
    const store = memory();
    const outbox = new Outbox<string, string>(store, async (one): Promise<Outcome<string>> => (one.key === "a" ? { kind: "refused", reason: "no" } : { kind: "sent", result: "ok" }));
    await outbox.add(item("a", "1"));
    await outbox.add(item("b", "2"));
    expect((await outbox.flush()).map((one) => one.outcome.kind)).toEqual(["refused", "sent"]);
  });

  it("are sent once by two flushes at a time", async () => {
    const store = memory();
    let n = 0;
    const outbox = new Outbox<string, string>(store, async (): Promise<Outcome<string>> => {
      n += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return { kind: "sent", result: "ok" };
    });
    await outbox.add(item("a", "1"));
    await Promise.all([outbox.flush(), outbox.flush()]);
    expect(n).toBe(1);
  });

  it("retry what time or a new link can mend, and nothing else", () => {
    expect([500, 503, 429, 408, 401].every(mayRetry)).toBe(true);
    expect([400, 404, 409, 413, 422].some(mayRetry)).toBe(false);
    expect(newKey()).toMatch(/^[0-9a-f]{32}$/);
    expect(newKey()).not.toBe(newKey());
  });
});
