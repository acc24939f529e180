/** What the phone asks and sends. Small on purpose: it is shared with the service worker and belongs to the first load. */

import type { components } from "../lib/api";
import { mayRetry, type Outcome, type Waiting } from "../lib/outbox";

type Schemas = components["schemas"];
export type Now = Schemas["PublicNow"];
export type PublicWarning = Schemas["PublicWarning"];
export type AnswerBody = Omit<Schemas["AnswerIn"], "idempotency_key">;
export type Recorded = Schemas["AnswerRecorded"];
export type AnswerKind = AnswerBody["kind"];

/** The last situation that reached this device, and when (the device's clock, ms). */
export interface Kept {
  now: Now;
  at: number;
}

export class LinkRefused extends Error {}

const TIMEOUT_MS = 8000;
const PHOTO_TIMEOUT_MS = 60_000;

/** A call for help goes before all else, a photo after all else. */
export function rank(body: AnswerBody): number {
  if (body.kind === "help") return 0;
  return body.photo == null ? 1 : 2;
}

async function ask(token: string, path: string, body?: unknown, language?: string, timeout = TIMEOUT_MS): Promise<Response> {
  const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
  if (language !== undefined) headers["Accept-Language"] = language;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return fetch(path, {
    method: body === undefined ? "GET" : "POST",
    headers,
    body: body === undefined ? null : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
    signal: AbortSignal.timeout(timeout),
  });
}

/** The situation now. Raises LinkRefused where the link is not valid any more; any other error means not reached. */
export async function fetchNow(token: string, language?: string): Promise<Now> {
  const answer = await ask(token, "/v1/public/now", undefined, language);
  if (answer.status === 401 || answer.status === 403) throw new LinkRefused();
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return (await answer.json()) as Now;
}

export async function sendAnswer(token: string | null, item: Waiting<AnswerBody>): Promise<Outcome<Recorded>> {
  if (token === null) return { kind: "later" };
  try {
    const answer = await ask(token, "/v1/public/answers", { ...item.body, idempotency_key: item.key }, undefined, item.body.photo == null ? TIMEOUT_MS : PHOTO_TIMEOUT_MS);
    if (answer.ok) return { kind: "sent", result: (await answer.json()) as Recorded };
    if (mayRetry(answer.status)) return { kind: "later" };
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string };
    return { kind: "refused", reason: problem.detail ?? `HTTP ${answer.status}` };
  } catch {
    return { kind: "later" };
  }
}

/** Says that a step against loss is done; null: it will never be taken, so that it need not be sent again. */
export async function sendStep(token: string, warningId: string, step: string): Promise<Schemas["StepDone"] | "later" | null> {
  try {
    const answer = await ask(token, "/v1/public/steps", { warning_id: warningId, step });
    if (answer.ok) return (await answer.json()) as Schemas["StepDone"];
    return mayRetry(answer.status) ? "later" : null;
  } catch {
    return "later";
  }
}

/** Says that a message was shown. Its loss changes nothing for the person, so it is not queued. */
export async function sendReceipt(token: string, deliveryId: string, kind: "delivered" | "displayed"): Promise<void> {
  await ask(token, "/v1/public/receipts", { delivery_id: deliveryId, kind }).catch(() => undefined);
}

export async function sendSubscription(token: string, subscription: PushSubscriptionJSON): Promise<boolean> {
  const body = { endpoint: subscription.endpoint, keys: subscription.keys };
  return ask(token, "/v1/public/push-subscription", body).then((answer) => answer.ok, () => false);
}

export async function vapidKey(): Promise<string | null> {
  const answer = await fetch("/v1/ui-config", { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (answer === null || !answer.ok) return null;
  return ((await answer.json()) as Schemas["UiConfig"]).vapid_public_key;
}
