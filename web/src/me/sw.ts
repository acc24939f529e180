/// <reference lib="webworker" />
/** The phone page's service worker: keeps the page itself for when there is no network, shows pushes, sends what waits. */

import { kept, keep, outboxStore } from "../lib/device";
import { Outbox } from "../lib/outbox";
import { type AnswerBody, fetchNow, type Recorded, sendAnswer, sendReceipt } from "./api";

declare const self: ServiceWorkerGlobalScope;
declare const __PRECACHE__: string[];
declare const __VERSION__: string;

const CACHE = `tocsin-me-${__VERSION__}`;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(__PRECACHE__.map((url) => new Request(url, { cache: "reload" }))))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name.startsWith("tocsin-me-") && name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin || url.pathname.startsWith("/v1/")) return;
  const wanted = event.request.mode === "navigate" ? "/me" : url.pathname;
  if (!__PRECACHE__.includes(wanted)) return;
  event.respondWith(caches.open(CACHE).then(async (cache) => (await cache.match(wanted)) ?? fetch(event.request)));
});

/** What a push carries; everything needed to act is inside it. */
interface PushMessage {
  headline?: string;
  instruction?: string;
  level?: string;
  language?: string;
  warning_id?: string;
  delivery_id?: string;
  url?: string;
}

self.addEventListener("push", (event) => {
  event.waitUntil(shown(event.data));
});

async function shown(data: PushMessageData | null): Promise<void> {
  let message: PushMessage = {};
  try {
    message = (data?.json() as PushMessage | undefined) ?? {};
  } catch {
    message = { headline: data?.text() ?? "" };
  }
  await keep("push", { message, at: Date.now() });
  // Every push must show something: a silent one costs the permission on some phones.
  await self.registration.showNotification(message.headline ?? "Tocsin", {
    body: message.instruction ?? "",
    tag: message.warning_id ?? "tocsin",
    icon: "/icon.svg",
    lang: message.language ?? "",
    requireInteraction: message.level === "red" || message.level === "orange",
    data: { url: message.url ?? "/me" },
  });
  for (const client of await self.clients.matchAll({ type: "window" })) client.postMessage({ kind: "push" });
  const token = await kept<string>("token");
  if (token === null) return;
  if (message.delivery_id !== undefined) await sendReceipt(token, message.delivery_id, "displayed");
  await fetchNow(token).then(
    (now) => keep("now", { now, at: Date.now() }),
    () => undefined,
  );
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const asked = new URL((event.notification.data as { url?: string } | null)?.url ?? "/me", self.location.origin);
  const url = asked.origin === self.location.origin && asked.pathname === "/me" ? asked.href : "/me";
  event.waitUntil(
    self.clients.matchAll({ type: "window" }).then((clients) => {
      const open = clients.find((client) => new URL(client.url).pathname === "/me");
      return open === undefined ? self.clients.openWindow(url) : open.focus();
    }),
  );
});

self.addEventListener("sync", ((event: ExtendableEvent) => {
  event.waitUntil(
    (async () => {
      const token = await kept<string>("token");
      const outbox = new Outbox<AnswerBody, Recorded>(outboxStore<AnswerBody>(), (item) => sendAnswer(token, item));
      const settled = await outbox.flush();
      for (const client of await self.clients.matchAll({ type: "window" })) client.postMessage({ kind: "settled", settled });
    })(),
  );
}) as EventListener);
