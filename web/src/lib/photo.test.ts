import { describe, expect, it } from "vitest";
import { rank, type AnswerBody } from "../me/api";
import { Outbox, type Waiting } from "./outbox";
import { fitted } from "./photo";

describe("a photo", () => {
  it("is made to fit and never larger", () => {
    expect(fitted(4000, 3000, 1280)).toEqual([1280, 960]);
    expect(fitted(3000, 4000, 1280)).toEqual([960, 1280]);
    expect(fitted(640, 480, 1280)).toEqual([640, 480]);
    expect(fitted(10000, 2, 1280)).toEqual([1280, 1]);
  });

  it("waits behind a call for help, however long it has waited", async () => {
    const kept = new Map<string, Waiting<AnswerBody>>();
    const store = { all: async () => [...kept.values()], put: async (item: Waiting<AnswerBody>) => void kept.set(item.key, item), remove: async (key: string) => void kept.delete(key) };
    const sent: string[] = [];
    const outbox = new Outbox<AnswerBody, null>(store, async (item) => {
      sent.push(item.key);
      return item.body.photo == null ? { kind: "sent", result: null } : { kind: "later" };
    }, rank);
    const add = (key: string, minute: number, body: AnswerBody) => outbox.add({ key, body, madeAt: `2026-01-01T00:0${minute}:00Z`, tries: 0 });
    await add("photo", 1, { kind: "damage", detail: {}, warning_id: null, photo: "x" });
    await add("safe", 2, { kind: "safe", detail: {}, warning_id: null });
    await add("help", 3, { kind: "help", detail: {}, warning_id: null });
    await outbox.flush();
    expect(sent).toEqual(["help", "safe", "photo"]);
    expect([...kept.keys()]).toEqual(["photo"]);
  });
});
