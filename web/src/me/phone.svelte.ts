/** The phone page's state. */

import { keep, kept, outboxStore } from "../lib/device";
import { chooseLanguage, makeTranslate, type Translate } from "../lib/i18n";
import { newKey, Outbox, type Settled } from "../lib/outbox";
import { isStale, ServerTime } from "../lib/servertime";
import { type AnswerBody, type AnswerKind, fetchNow, type Kept, LinkRefused, rank, type Recorded, sendAnswer, sendReceipt, sendStep, sendSubscription, vapidKey } from "./api";
import ar from "./catalogue/ar.json";
import en from "./catalogue/en.json";
import es from "./catalogue/es.json";
import fr from "./catalogue/fr.json";
import zh from "./catalogue/zh.json";
import { type Face, face, pollSeconds, tokenOf } from "./situation";

export const CATALOGUES: Record<string, Record<string, string>> = { en, zh, fr, es, ar };
export const LANGUAGES = Object.keys(CATALOGUES);

export interface Sent {
  kind: AnswerKind;
  state: "waiting" | "received" | "refused" | "not_kept";
  at: number; // device's clock, ms
  reason?: string;
  key: string;
}

class Phone {
  language = $state("en");
  token = $state<string | null>(null);
  ready = $state(false);
  kept = $state.raw<Kept | null>(null);
  unreachable = $state(false);
  linkRefused = $state(false);
  sent = $state.raw<Partial<Record<AnswerKind, Sent>>>({});
  push = $state<"unknown" | "off" | "asking" | "on" | "unavailable">("unknown");
  /** The device's clock; moves once a second. */
  tick = $state(Date.now());
  stepsWaiting = $state.raw<string[]>([]);
  readonly time = new ServerTime();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #receipts = new Set<string>();
  #languageChosen = false;
  readonly #outbox = new Outbox<AnswerBody, Recorded>(outboxStore<AnswerBody>(), (item) => sendAnswer(this.token, item), rank);

  readonly t: Translate = (key, params) => this.#translate(key, params);
  #translate = $derived(makeTranslate(this.language, CATALOGUES[this.language] ?? en, en));

  ageSeconds = $derived(this.kept === null ? null : Math.max(0, (this.tick - this.kept.at) / 1000));
  stale = $derived(isStale(this.ageSeconds, pollSeconds(this.kept?.now ?? null)) || (this.unreachable && (this.ageSeconds ?? 0) > 20));

  now(): Date {
    void this.tick;
    if (this.time.known) return this.time.now(performance.now());
    return new Date(this.tick);
  }

  face = $derived.by(
    (): Face =>
      this.ready
        ? face({ hasToken: this.token !== null, kept: this.kept, unreachable: this.unreachable, stale: this.stale, time: this.now() })
        : { kind: "loading" },
  );

  async start(): Promise<void> {
    const fromLink = tokenOf(location.hash);
    if (fromLink !== null) {
      history.replaceState(null, "", location.pathname + location.search);
      try {
        sessionStorage.setItem("tocsin.token", fromLink);
      } catch {
        // private window: the token lives as long as the page
      }
      const before = await kept<string>("token");
      if (before !== fromLink) await keep("now", null); // another person's link: nothing of the last one is shown
      await keep("token", fromLink);
    }
    let inSession: string | null = null;
    try {
      inSession = sessionStorage.getItem("tocsin.token");
    } catch {
      inSession = null;
    }
    this.token = fromLink ?? inSession ?? (await kept<string>("token"));
    const [last, sent, language] = await Promise.all([kept<Kept>("now"), kept<Partial<Record<AnswerKind, Sent>>>("sent"), kept<string>("language")]);
    this.kept = last;
    this.sent = sent ?? {};
    await this.#stillWaiting();
    this.#steps = (await kept<{ warning: string; step: string }[]>("steps")) ?? [];
    this.stepsWaiting = this.#steps.map((one) => one.step);
    if (last !== null) {
      // Until the server is heard, its clock is taken to have run at the wall's speed since then.
      this.time.tell(last.now.checked_at, performance.now() - (Date.now() - last.at));
    }
    this.#languageChosen = language !== null;
    this.setLanguage(chooseLanguage([new URLSearchParams(location.search).get("lang"), language, last?.now.language, ...navigator.languages], LANGUAGES), false);
    this.ready = true;
    setInterval(() => {
      this.tick = Date.now();
    }, 1000);
    const look = (): void => {
      if (document.visibilityState === "visible") void this.refresh();
    };
    document.addEventListener("visibilitychange", look);
    addEventListener("online", look);
    addEventListener("offline", () => {
      this.unreachable = true;
    });
    navigator.serviceWorker?.addEventListener("message", (event: MessageEvent<{ kind: string; settled?: Settled<AnswerBody, Recorded>[] }>) => {
      if (event.data.kind === "push") void this.#pushed().then(look);
      if (event.data.kind === "settled") void this.#settle(event.data.settled ?? []);
    });
    void this.#pushState();
    await this.refresh();
  }

  /** Shows as waiting what lies in the outbox, also where the page was closed before it could note so itself. */
  async #stillWaiting(): Promise<void> {
    const waiting = await this.#outbox.waiting().catch(() => []);
    for (const item of waiting.sort((a, b) => a.madeAt.localeCompare(b.madeAt))) {
      const kind = item.body.kind;
      const at = Date.parse(item.madeAt);
      if ((this.sent[kind]?.at ?? 0) <= at) this.sent = { ...this.sent, [kind]: { kind, state: "waiting", at, key: item.key } };
    }
  }

  /** Takes up what the service worker kept from a push: it may be all that gets through. */
  async #pushed(): Promise<void> {
    const last = await kept<Kept>("now");
    if (last === null || last.at <= (this.kept?.at ?? 0)) return;
    this.kept = last;
    this.time.tell(last.now.checked_at, performance.now());
  }

  async refresh(): Promise<void> {
    if (this.token === null || this.#running) return;
    this.#running = true;
    clearTimeout(this.#timer);
    try {
      const now = await fetchNow(this.token, this.#languageChosen ? this.language : undefined);
      this.kept = { now, at: Date.now() };
      this.tick = Date.now();
      this.unreachable = false;
      this.linkRefused = false;
      this.time.tell(now.checked_at, performance.now());
      await keep("now", { now, at: Date.now() });
      if (!this.#languageChosen) this.setLanguage(chooseLanguage([new URLSearchParams(location.search).get("lang"), now.language], LANGUAGES), false);
      void this.#receipt();
    } catch (error) {
      this.linkRefused = error instanceof LinkRefused;
      this.unreachable = true;
    } finally {
      this.#running = false;
      const jitter = 0.85 + Math.random() * 0.3;
      this.#timer = setTimeout(() => void this.refresh(), pollSeconds(this.kept?.now ?? null) * 1000 * jitter);
    }
    await this.flush();
  }

  async #receipt(): Promise<void> {
    if (document.visibilityState !== "visible" || this.token === null) return;
    for (const warning of this.kept?.now.warnings ?? []) {
      const id = warning.delivery_id;
      if (id === null || this.#receipts.has(id)) continue;
      this.#receipts.add(id);
      await sendReceipt(this.token, id, "displayed");
    }
  }

  async answer(kind: AnswerKind, detail: Record<string, unknown>, photo: string | null = null): Promise<void> {
    const key = newKey();
    const standing = this.face.kind === "warning" ? this.face.warning.warning_id : null;
    const item = { key, body: { kind, detail, warning_id: standing, ...(photo === null ? {} : { photo }) }, madeAt: new Date().toISOString(), tries: 0 };
    try {
      await this.#outbox.add(item);
      this.#mark({ kind, state: "waiting", at: Date.now(), key }); // not before it is kept: the phone may go dark now
    } catch {
      // This browser keeps nothing: it must go now or the person must know that it has not.
      const outcome = await sendAnswer(this.token, item);
      if (outcome.kind === "later") this.#mark({ kind, state: "not_kept", at: Date.now(), key });
      else await this.#settle([{ item, outcome }]);
      return;
    }
    await this.flush();
    const registration = await navigator.serviceWorker?.getRegistration("/me").catch(() => undefined);
    await (registration as { sync?: { register(tag: string): Promise<void> } } | undefined)?.sync?.register("answers").catch(() => undefined);
  }

  /** Steps that are done and not yet told. Sent again until they arrive: the server keeps each once. */
  #steps: { warning: string; step: string }[] = [];

  async stepDone(warning: string, step: string): Promise<void> {
    this.#steps = [...this.#steps.filter((one) => one.step !== step), { warning, step }];
    // Not shown as kept before it is kept; where the browser keeps nothing it is told now or stays open.
    if (await keep("steps", this.#steps)) this.stepsWaiting = this.#steps.map((one) => one.step);
    await this.#tellSteps();
  }

  async #tellSteps(): Promise<void> {
    for (const one of [...this.#steps]) {
      if (this.token === null) return;
      const told = await sendStep(this.token, one.warning, one.step);
      if (told === "later") return;
      this.#steps = this.#steps.filter((other) => other !== one);
      if (told !== null && this.kept !== null) {
        const steps = (this.kept.now.steps ?? []).map((each) => (each.step === told.step ? { ...each, done_at: told.done_at, avoided_loss: told.avoided_loss } : each));
        this.kept = { ...this.kept, now: { ...this.kept.now, steps } };
      }
      this.stepsWaiting = this.#steps.map((each) => each.step);
      await keep("steps", this.#steps);
    }
  }

  async flush(): Promise<void> {
    await this.#tellSteps();
    const settled = await this.#outbox.flush().catch(() => []);
    await this.#settle(settled);
  }

  async #settle(settled: Settled<AnswerBody, Recorded>[]): Promise<void> {
    for (const { item, outcome } of settled) {
      const kind = item.body.kind;
      if (this.sent[kind] !== undefined && this.sent[kind].key !== item.key) continue; // a newer answer of this kind is shown
      if (outcome.kind === "sent") this.#mark({ kind, state: "received", at: Date.now(), key: item.key });
      else if (outcome.kind === "refused") this.#mark({ kind, state: "refused", at: Date.now(), key: item.key, reason: outcome.reason });
    }
  }

  #mark(sent: Sent): void {
    this.sent = { ...this.sent, [sent.kind]: sent };
    void keep("sent", this.sent);
  }

  async #pushState(): Promise<void> {
    const registration = await navigator.serviceWorker?.getRegistration("/me").catch(() => undefined);
    if (!("PushManager" in globalThis) || !("Notification" in globalThis)) this.push = "unavailable";
    else this.push = (await registration?.pushManager.getSubscription().catch(() => null)) ? "on" : "off";
  }

  /** Asks for pushes; a browser that does not answer in 8 s is taken as one that cannot. */
  async askPush(): Promise<void> {
    if (this.token === null) return;
    this.push = "asking";
    try {
      const key = await vapidKey();
      const registration = await navigator.serviceWorker.ready;
      if (key === null || (await Notification.requestPermission()) !== "granted") throw new Error("no push");
      const asked = registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
      const late = new Promise<never>((_resolve, reject) => setTimeout(() => reject(new Error("late")), 8000));
      const subscription = await Promise.race([asked, late]);
      this.push = (await sendSubscription(this.token, subscription.toJSON())) ? "on" : "unavailable";
    } catch {
      this.push = "unavailable";
    }
  }

  setLanguage(language: string, chosen: boolean): void {
    this.language = language;
    document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
    document.documentElement.dir = CATALOGUES[language]?.["language.dir"] ?? "ltr";
    if (chosen) {
      this.#languageChosen = true;
      void keep("language", language);
      void this.refresh(); // the warning's own text in that language, where there is one
    }
  }
}

export const phone = new Phone();
