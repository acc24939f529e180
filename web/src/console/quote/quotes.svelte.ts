/** The underwriter's desk: the submission that is worked on, its price, and the quotes that are stored. */

import { client, ProblemError, take, type Schemas } from "../../lib/client";
import { desk, Resource } from "../desk.svelte";
import type { Commercial } from "./waterfall";

export type Summary = Schemas["QuoteSummary"];

/** What a quote's result holds, as far as the desk shows it (itops/shown.py). */
export interface Result {
  insured: string;
  currency: string;
  premium: number;
  commercial_premium: number;
  payable: number;
  decision: "quote" | "refer" | "decline";
  waterfall: Record<string, number>;
  commercial: Commercial & { floor: number; approved_by: string | null };
  build_up: { step: string; amount: number }[];
  risk_load: { cost_of_capital: number; wang: number };
  prior_share: number;
  parameter_range: { premium: { p05: number; p95: number } };
  score: { value: number; tier: string; relativity: number };
  questionnaire: { depth: string; questions: { id: string; answer: string | null; factor: number; en: string; zh: string }[] };
  /** Of other records; results of earlier models have none. */
  fits?: { kind: string; device_class: string; version: string; as_of: string | null; sha256: string; share: number }[];
  rules: { rule: string; state: string; action: string; fact: string; value: number | null; op: string; threshold: number; en: string; zh: string }[];
  counter_offer: { reachable: boolean; steps: { en: string; zh: string; score: number; premium: number | null }[] } | null;
  related_covers: string[];
  options: { name: string; changed: string[]; technical_premium: number; commercial_premium: number; expected_loss: number; quantile_99: number }[];
  services: { service: string; cost: number; bought: boolean }[];
  work_orders: { asset_id: string; signal: string; value: number; action: string; hazard_before: number; hazard_after: number }[];
  after_work_orders: { premium: number; saves: number } | null;
  covers: { cover: string; expected_loss: number; premium: number; prior_only: boolean; quantile_99: number }[];
  assumptions: { kind: string; name: string; value: string; basis: string }[];
  notes: string[];
  validation: { moment: string; covers: string; relative_error: number; holds: boolean }[];
  versions: Record<string, string>;
  inputs_sha256: string;
  model_version: string;
  as_of: string;
  exposure_window: { from: string; to: string };
  policy_period: { from: string; to: string };
}

export interface Stress {
  scenarios: { scenario: string; en: string; zh: string; event_loss: number; expected_loss: number; loss_ratio: number; solvency_ratio: number }[];
  reverse_stress: { frequency_multiplier: number | null };
}

type Cover = Record<string, unknown>;

class QuoteDesk {
  submission = $state("");
  fleet = $state("");
  incidents = $state("");
  names = $state({ submission: "", fleet: "", incidents: "" });
  /** The price that is shown; never an old one beside a new submission. */
  result = $state.raw<Result | null>(null);
  quoteId = $state<string | null>(null);
  actions = $state.raw<Schemas["QuoteActionOut"][]>([]);
  orders = $state.raw<Schemas["WorkOrderOut"][]>([]);
  stressed = $state.raw<Stress | null>(null);
  busy = $state("");
  error = $state.raw<ProblemError | null>(null);
  told = $state("");

  readonly stored = new Resource(() => take(client.GET("/v1/quotes", { params: { query: { limit: 50 } } })));

  parsed = $derived.by((): { covers: Cover[] } | null => {
    try {
      const value: unknown = JSON.parse(this.submission);
      return typeof value === "object" && value !== null && Array.isArray((value as { covers?: unknown }).covers)
        ? (value as { covers: Cover[] })
        : null;
    } catch {
      return null;
    }
  });

  /** Whatever was asked for changed: the old figures are of something else. */
  touched(): void {
    this.result = null;
    this.quoteId = null;
    this.stressed = null;
    this.told = "";
  }

  setTerm(index: number, name: string, value: number): void {
    const parsed = this.parsed;
    if (parsed === null || Number.isNaN(value)) return;
    const covers = parsed.covers.map((cover, at) => (at === index ? { ...cover, [name]: value } : cover));
    this.submission = JSON.stringify({ ...parsed, covers }, null, 2);
    this.touched();
  }

  async #do(what: string, act: () => Promise<void>): Promise<void> {
    if (this.busy !== "") return;
    this.busy = what;
    this.error = null;
    this.told = "";
    try {
      await act();
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.error = error;
      if (error.status === 401) desk.signedOut();
    } finally {
      this.busy = "";
    }
  }

  #body(): { submission: Record<string, unknown>; fleet_csv: string; incidents_csv: string } {
    let submission: Record<string, unknown>;
    try {
      submission = JSON.parse(this.submission) as Record<string, unknown>;
    } catch (error) {
      throw new ProblemError(`submission: ${(error as Error).message}`, 422, null);
    }
    return { submission, fleet_csv: this.fleet, incidents_csv: this.incidents };
  }

  price(): Promise<void> {
    return this.#do("price", async () => {
      this.touched();
      const told = await take(client.POST("/v1/quotes/preview", { body: this.#body() }));
      this.result = told.result as unknown as Result;
    });
  }

  store(): Promise<void> {
    return this.#do("store", async () => {
      const told = await take(client.POST("/v1/quotes", { body: this.#body() }));
      await this.#show(told.quote_id, told.result as unknown as Result);
      void this.stored.load();
    });
  }

  open(quoteId: string): Promise<void> {
    return this.#do("open", async () => {
      const params = { path: { quote_id: quoteId } };
      const told = await take(client.GET("/v1/quotes/{quote_id}", { params }));
      const result = told.result as unknown as Result;
      await this.#show(quoteId, "commercial_premium" in told.result ? result : null);
      if (this.result === null) this.told = "quote.earlier_model";
    });
  }

  async #show(quoteId: string, result: Result | null): Promise<void> {
    const params = { path: { quote_id: quoteId } };
    this.stressed = null;
    this.quoteId = quoteId;
    this.result = result;
    this.actions = (await take(client.GET("/v1/quotes/{quote_id}/actions", { params }))).items;
    this.orders = (await take(client.GET("/v1/quotes/{quote_id}/work-orders", { params }))).items;
  }

  rerun(): Promise<void> {
    const id = this.quoteId;
    return this.#do("rerun", async () => {
      if (id === null) return;
      await take(client.POST("/v1/quotes/{quote_id}/rerun", { params: { path: { quote_id: id } } }));
      this.told = "quote.same";
    });
  }

  stress(): Promise<void> {
    const id = this.quoteId;
    return this.#do("stress", async () => {
      if (id === null) return;
      const told = await take(client.POST("/v1/quotes/{quote_id}/stress", { params: { path: { quote_id: id } } }));
      this.stressed = told.result as unknown as Stress;
    });
  }

  act(action: "refer" | "approve" | "decline", reason: string): Promise<void> {
    const id = this.quoteId;
    return this.#do(action, async () => {
      if (id === null) return;
      const given = { params: { path: { quote_id: id } }, body: { reason } };
      const asked = {
        refer: () => client.POST("/v1/quotes/{quote_id}/refer", given),
        approve: () => client.POST("/v1/quotes/{quote_id}/approve", given),
        decline: () => client.POST("/v1/quotes/{quote_id}/decline", given),
      }[action];
      this.actions = (await take(asked())).items;
    });
  }

  close(orderId: string, state: "done" | "cancelled", evidence: string): Promise<void> {
    const id = this.quoteId;
    return this.#do("close", async () => {
      if (id === null) return;
      const path = { quote_id: id, work_order_id: orderId };
      const asked = client.POST("/v1/quotes/{quote_id}/work-orders/{work_order_id}/close", { params: { path }, body: { state, evidence } });
      this.orders = (await take(asked)).items;
    });
  }

  bind(option: string, reason: string): Promise<void> {
    const id = this.quoteId;
    return this.#do("bind", async () => {
      if (id === null) return;
      const given = { params: { path: { quote_id: id } }, body: { reason, option } };
      this.actions = (await take(client.POST("/v1/quotes/{quote_id}/bind", given))).items;
      this.orders = (await take(client.GET("/v1/quotes/{quote_id}/work-orders", { params: { path: { quote_id: id } } }))).items;
      void this.stored.load();
    });
  }
}

export const quoteDesk = new QuoteDesk();
