/** The console's state: what the server told last, what is selected, and how both stay fresh. */

import { client, ProblemError, type Schemas, take } from "../lib/client";
import { chooseLanguage, makeTranslate, type Translate } from "../lib/i18n";
import { ServerTime } from "../lib/servertime";
import { openStream, type StreamState } from "../lib/sse";
import { mostUrgentStation, mostUrgentWarning } from "../lib/urgent";
import { readSelection, writeSelection } from "../lib/urlstate";
import en from "./catalogue/en.json";
import zh from "./catalogue/zh.json";

export const CATALOGUES: Record<string, Record<string, string>> = { en, zh };
export const LANGUAGES = Object.keys(CATALOGUES);

/** Something fetched: the old data stays while a new try runs or after it failed. */
export class Resource<T> {
  data = $state.raw<T | null>(null);
  error = $state.raw<ProblemError | null>(null);
  loading = $state(false);
  /** performance.now() of the last good answer. */
  loadedAt = $state<number | null>(null);
  #again = false;

  constructor(
    private readonly ask: () => Promise<T>,
    private readonly arrived: (data: T) => void = () => undefined,
  ) {}

  async load(): Promise<void> {
    if (this.loading) {
      this.#again = true; // what runs may have read before the change that asks for this one
      return;
    }
    this.loading = true;
    try {
      do {
        this.#again = false;
        try {
          const data = await this.ask();
          this.data = data;
          this.error = null;
          this.loadedAt = performance.now();
          this.arrived(data);
        } catch (error) {
          if (!(error instanceof ProblemError)) throw error;
          this.error = error;
          if (error.status === 401) desk.signedOut();
        }
      } while (this.#again);
    } finally {
      this.loading = false;
    }
  }

  clear(): void {
    this.data = null;
    this.error = null;
    this.loadedAt = null;
  }
}

export type Station = Schemas["StationProperties"];
export type Warning = Schemas["WarningSummary"];
export type Answer = Schemas["AnswerOut"];

export const VIEWS = ["warnings", "rules", "quote", "feeds"] as const;
export type View = (typeof VIEWS)[number];
const viewOf = (told: string | null | undefined): View => VIEWS.find((view) => view === told) ?? "warnings";

/** Seconds between two reads of the numbers when the stream brings nothing. */
export const POLL_S = 15;
const NONE = { type: "FeatureCollection" as const, as_of: "", features: [], truncated: false };

async function orNone<T, N>(asked: Promise<T>, none: N): Promise<T | N> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof ProblemError && error.status === 404) return none;
    throw error;
  }
}

class Desk {
  language = $state("en");
  me = $state.raw<Schemas["Me"] | null>(null);
  /** Whether we know by now if somebody is signed in. */
  settled = $state(false);
  config = $state.raw<Schemas["UiConfig"] | null>(null);
  stream = $state<StreamState>("connecting");
  /** Which desk is open. */
  view = $state<View>("warnings");
  stationId = $state<string | null>(null);
  warningId = $state<string | null>(null);
  ruleId = $state<string | null>(null);
  /** Moves once a second; ages read it. */
  tick = $state(performance.now());
  readonly time = new ServerTime();
  /** What a person chose: it alone stands in the address, and nothing that follows by itself replaces it. */
  #chosen = { station: false, warning: false };
  #stop: (() => void)[] = [];
  #due = new Set<Resource<unknown>>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly t: Translate = (key, params) => this.#translate(key, params);
  #translate = $derived(makeTranslate(this.language, CATALOGUES[this.language] ?? en, en));

  readonly overview = new Resource(
    () => take(client.GET("/v1/overview")),
    (data) => this.time.tell(data.as_of, performance.now()),
  );
  readonly stations = new Resource(
    () => take(client.GET("/v1/stations")),
    () => this.#openUrgentStation(),
  );
  readonly warnings = new Resource(
    () => take(client.GET("/v1/warnings")),
    () => this.#openUrgentWarning(),
  );
  readonly warning = new Resource(async () => {
    const id = this.warningId;
    return id === null ? null : take(client.GET("/v1/warnings/{warning_id}", { params: { path: { warning_id: id } } }));
  });
  readonly series = new Resource(async () => {
    const station = this.station;
    if (station === null) return null;
    const quantity = station.threshold_quantity ?? station.latest[0]?.quantity;
    if (quantity === undefined) return null;
    const params = { path: { station_id: station.station_id }, query: { quantity, limit: 2000 } };
    return orNone(take(client.GET("/v1/stations/{station_id}/observations", { params })), null);
  });
  readonly answers = new Resource(() => take(client.GET("/v1/answers")));
  readonly cases = new Resource(() => orNone(take(client.GET("/v1/cases")), { as_of: "", items: [] }));
  readonly notices = new Resource(() => orNone(take(client.GET("/v1/notices")), []));
  readonly feeds = new Resource(() => orNone(take(client.GET("/v1/feeds")), []));
  readonly footprints = new Resource(() => take(client.GET("/v1/footprints/latest")));
  readonly cells = new Resource(() => take(client.GET("/v1/exposure/cells", { params: { query: { resolution: 8 } } })));
  readonly losses = new Resource(() => take(client.GET("/v1/assessments/latest/losses", { params: { query: { limit: 1000 } } })));
  readonly plan = new Resource(() => orNone(take(client.GET("/v1/evacuation-plans/latest")), null));
  readonly routes = new Resource(() =>
    orNone(take(client.GET("/v1/evacuation-plans/latest/routes", { params: { query: { limit: 1000 } } })), NONE),
  );
  /** The streets under all this: they change with an import of roads only, and are asked for once. */
  readonly roads = new Resource(() => orNone(take(client.GET("/v1/roads", { params: { query: { language: this.language } } })), null));
  readonly safeZones = new Resource(() => take(client.GET("/v1/safe-zones")));

  station = $derived.by((): Station | null => {
    const features = this.stations.data?.features ?? [];
    return features.find((feature) => feature.properties.station_id === this.stationId)?.properties ?? null;
  });

  /** The installation's time now; null until it has told it. */
  now(): Date | null {
    void this.overview.loadedAt; // read, so that what shows an age follows
    return this.time.known ? this.time.now(this.tick) : null;
  }

  may(action: string, object: string): boolean {
    return this.me?.may.includes(`${action} ${object}`) ?? false;
  }

  start(): void {
    const selection = readSelection(location.search);
    this.stationId = selection.station;
    this.warningId = selection.warning;
    this.view = viewOf(selection.desk);
    this.ruleId = selection.rule ?? null;
    this.#chosen = { station: selection.station !== null, warning: selection.warning !== null };
    this.setLanguage(chooseLanguage([selection.lang, remembered(), ...navigator.languages], LANGUAGES), false);
    addEventListener("popstate", () => {
      const back = readSelection(location.search);
      this.stationId = back.station;
      this.warningId = back.warning;
      this.view = viewOf(back.desk);
      this.ruleId = back.rule ?? null;
      void this.series.load();
      void this.warning.load();
    });
    setInterval(() => {
      this.tick = performance.now();
    }, 1000);
    void this.#enter();
  }

  async #enter(): Promise<void> {
    const config = take(client.GET("/v1/ui-config")).then(
      (told) => {
        this.config = told;
      },
      () => undefined,
    );
    try {
      this.me = await take(client.GET("/v1/me"));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.status !== 401 && error.status !== 403) this.stream = "offline";
    }
    await config;
    this.settled = true;
    if (this.me !== null) this.#follow();
  }

  async signIn(login: string, password: string): Promise<void> {
    this.me = await take(client.POST("/v1/session", { body: { login, password } }));
    if (this.config === null) this.config = await take(client.GET("/v1/ui-config")).catch(() => null);
    this.#follow();
  }

  async signOut(): Promise<void> {
    await take(client.DELETE("/v1/session"));
    this.signedOut();
  }

  /** The session is over: nothing of it stays on the screen. */
  signedOut(): void {
    for (const stop of this.#stop.splice(0)) stop();
    clearTimeout(this.#timer);
    this.#due.clear();
    this.me = null;
    for (const resource of [...this.#all(), this.roads]) resource.clear();
  }

  async retry(): Promise<void> {
    if (this.me === null) await this.#enter();
    else this.loadAll();
  }

  #all(): Resource<unknown>[] {
    return [
      this.overview, this.stations, this.warnings, this.warning, this.series, this.answers, this.cases, this.notices, ...(this.may("read", "feed") ? [this.feeds] : []),
      this.footprints, this.cells, this.losses, this.plan, this.routes, this.safeZones,
    ] as Resource<unknown>[];
  }

  loadAll(): void {
    for (const resource of this.#all()) void resource.load();
    if (this.roads.data === null) void this.roads.load();
  }

  #follow(): void {
    this.loadAll();
    const poll = setInterval(() => {
      void this.overview.load();
      void this.stations.load();
      if (this.view === "feeds") void this.feeds.load();
      if (this.stream !== "live") for (const resource of [this.warnings, this.warning, this.answers]) void resource.load();
    }, POLL_S * 1000);
    let lost = false;
    const close = openStream({
      url: "/v1/stream",
      onState: (state) => {
        if (state === "live" && lost) this.loadAll(); // what was missed beyond the server's replay
        lost = state === "offline";
        this.stream = state;
      },
      onEvent: (event) => this.#changed(event.event),
      onUnauthorised: () => this.signedOut(),
    });
    this.#stop.push(() => clearInterval(poll), close);
  }

  /** An event names what changed; the rows themselves are read again, at most once a second. */
  #changed(kind: string): void {
    const touched: Record<string, Resource<unknown>[]> = {
      observations_stored: [this.stations, this.series, this.overview],
      station_state_changed: [this.stations, this.overview],
      footprint_published: [this.footprints, this.overview],
      hazard_ended: [this.footprints, this.overview, this.losses, this.plan, this.routes],
      assessment_made: [this.overview, this.losses],
      loss_estimated: [this.losses],
      plan_made: [this.plan, this.routes, this.safeZones],
      warning_changed: [this.warnings, this.warning, this.overview, this.stations],
      answer_given: [this.answers, this.cases, this.overview],
      operator_noticed: [this.notices],
      feed_state_changed: [this.feeds, this.overview],
    } as Record<string, Resource<unknown>[]>;
    const urgent = kind === "warning_changed" || kind === "answer_given";
    for (const resource of touched[kind] ?? (kind === "reset" ? this.#all() : [])) this.#due.add(resource);
    if (urgent) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), 1000);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const resource of this.#due) void resource.load();
    this.#due.clear();
  }

  /** Until somebody chooses, the most urgent station is the one that is open. */
  #openUrgentStation(): void {
    if (this.#chosen.station) return;
    const found = mostUrgentStation((this.stations.data?.features ?? []).map((feature) => feature.properties));
    if (found !== null) this.#select({ station: found.station_id });
  }

  /** Likewise, but a draft that is open stays: another must not slip under a hand that is about to approve. */
  #openUrgentWarning(): void {
    const items = this.warnings.data?.items ?? [];
    const open = items.find((item) => item.warning_id === this.warningId);
    if (this.#chosen.warning || open?.state === "draft") return;
    const found = mostUrgentWarning(items);
    if (found !== null) this.#select({ warning: found.warning_id });
  }

  async see(noticeId: string): Promise<void> {
    await take(client.POST("/v1/notices/{notice_id}/seen", { params: { path: { notice_id: noticeId } } })).catch((error: unknown) => {
      if (!(error instanceof ProblemError)) throw error;
    });
    await this.notices.load();
  }

  showDesk(view: View): void {
    this.view = view;
    if (view === "feeds") void this.feeds.load();
    this.#address(true);
  }

  selectRule(id: string | null): void {
    if (id === this.ruleId) return;
    this.ruleId = id;
    this.#address(true);
  }

  /** Whether this person may look at a desk at all. */
  mayOpen(view: View): boolean {
    return view === "warnings" || this.may("read", { rules: "rule", quote: "quote", feeds: "feed" }[view]);
  }

  selectStation(id: string | null): void {
    this.#chosen.station = true;
    this.#select({ station: id });
    this.#address(true);
  }

  selectWarning(id: string | null): void {
    this.#chosen.warning = true;
    this.#select({ warning: id });
    this.#address(true);
  }

  /** Whoever is about to decide on the open warning keeps it open, and sees what came of it. */
  keepWarning(): void {
    this.#chosen.warning = true;
    this.#address(false);
  }

  #select(change: { station?: string | null; warning?: string | null }): void {
    if (change.station !== undefined && change.station !== this.stationId) {
      this.stationId = change.station;
      this.series.clear();
      void this.series.load();
    }
    if (change.warning !== undefined && change.warning !== this.warningId) {
      this.warningId = change.warning;
      this.warning.clear();
      void this.warning.load();
    }
  }

  #address(remember: boolean): void {
    const selection = {
      station: this.#chosen.station ? this.stationId : null,
      warning: this.#chosen.warning ? this.warningId : null,
      lang: readSelection(location.search).lang && this.language,
      desk: this.view === "warnings" ? null : this.view,
      rule: this.view === "rules" ? this.ruleId : null,
    };
    const url = `${location.pathname}${writeSelection(location.search, selection)}${location.hash}`;
    if (remember) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }

  setLanguage(language: string, chosen: boolean): void {
    this.language = language;
    document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
    if (!chosen) return;
    try {
      localStorage.setItem("tocsin.language", language);
    } catch {
      // private window: the choice lasts as long as the page
    }
    this.#address(false);
  }
}

function remembered(): string | null {
  try {
    return localStorage.getItem("tocsin.language");
  } catch {
    return null;
  }
}

export const desk = new Desk();
