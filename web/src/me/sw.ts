/// <reference lib="webworker" />
/** The phone page's service worker: keeps the page itself for when there is no network, shows pushes, sends what waits. */

import { kept, keep, outboxStore } from "../lib/device";
import { Outbox } from "../lib/outbox";
import { type AnswerBody, fetchNow, type Kept, type Recorded, sendAnswer, sendReceipt } from "./api";
import { type PushMessage, situationFrom } from "./push";
import { tokenOf } from "./situation";

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
  const url = ownPage(message.url);
  // Every push must show something: a silent one costs the permission on some phones.
  await self.registration.showNotification(message.headline ?? "Tocsin", {
    body: message.instruction ?? "",
    tag: message.warning_id ?? "tocsin",
    icon: "/icon.svg",
    lang: message.language ?? "",
    requireInteraction: message.level === "red" || message.level === "orange",
    data: { url },
  });
  const before = await kept<Kept>("now");
  const now = situationFrom(message, before?.now ?? null);
  if (now !== null) await keep("now", { now, at: Date.now() });
  const token = (await kept<string>("token")) ?? tokenOf(new URL(url, self.location.origin).hash);
  if (token !== null) await keep("token", token);
  for (const client of await self.clients.matchAll({ type: "window" })) client.postMessage({ kind: "push" });
  if (token === null) return;
  if (message.id !== undefined) await sendReceipt(token, message.id, "displayed");
  await fetchNow(token).then(
    (told) => keep("now", { now: told, at: Date.now() }),
    () => undefined,
  );
}

/** The phone page with the token of a message's link; anything else becomes the plain page. */
function ownPage(url: string | undefined): string {
  try {
    const asked = new URL(url ?? "/me", self.location.origin);
    return asked.origin === self.location.origin && ["/me", "/now"].includes(asked.pathname) ? `/me${asked.hash}` : "/me";
  } catch {
    return "/me";
  }
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = ownPage((event.notification.data as { url?: string } | null)?.url);
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
