/** The desk of rules and silences: what is in force, the draft that is worked on, and what waits for a second person. */

import { client, ProblemError, take, type Schemas } from "../../lib/client";
import { desk, Resource } from "../desk.svelte";
import { GROUPS, kindOf, place, toTold, toValues, type Told, type Values } from "./ruleform";

export type Rule = Schemas["RuleOut"];
export type RuleVersion = Schemas["RuleVersion"];
export type Proposal = Schemas["ProposalOut"];
export type Tried = Schemas["RuleTried"];
export type Silence = Schemas["SilenceOut"];

const NO_ERRORS = { at: {} as Record<string, string>, rest: [] as string[] };

class RulesDesk {
  tab = $state<"rules" | "silences">("rules");
  ruleId = $state<string | null>(null);
  /** The version that the draft began from; none: no draft is open. */
  from = $state.raw<RuleVersion | null>(null);
  values = $state<Values>({});
  days = $state("7");
  /** The outcome of exactly the draft that is shown; none once anything in it changed. */
  tried = $state.raw<Tried | null>(null);
  busy = $state("");
  errors = $state.raw(NO_ERRORS);
  /** What was refused and is not about a field. */
  problem = $state.raw<ProblemError | null>(null);
  /** What was done last: a text by its key, so that it follows the language. */
  told = $state.raw<{ key: string; params?: Record<string, string> } | null>(null);

  readonly rules = new Resource(() => take(client.GET("/v1/rules")));
  readonly proposals = new Resource(() => take(client.GET("/v1/rules/proposals")));
  readonly silences = new Resource(() => take(client.GET("/v1/silences")));
  readonly versions = new Resource(async () => {
    const id = this.ruleId;
    return id === null ? null : take(client.GET("/v1/rules/{rule_id}/versions", { params: { path: { rule_id: id } } }));
  });

  draft = $derived.by((): Told | null => (this.from === null ? null : toTold(this.values, this.from.told)));

  load(): void {
    for (const one of [this.rules, this.proposals, this.silences]) void one.load();
    if (this.ruleId !== null) void this.versions.load();
  }

  /** After an act: what began a moment ago has begun only by a clock that is read after it. */
  #after(): void {
    this.load();
    void desk.overview.load();
  }

  open(ruleId: string | null): void {
    if (ruleId !== this.ruleId) {
      this.ruleId = ruleId;
      this.close();
      this.versions.clear();
      this.told = null;
    }
    if (ruleId !== null) void this.versions.load();
    desk.selectRule(ruleId);
  }

  begin(version: RuleVersion): void {
    this.from = version;
    this.values = toValues(version.told);
    this.touched();
  }

  close(): void {
    this.from = null;
    this.touched();
  }

  /** Something of the draft changed: what was tried before was something else. */
  touched(): void {
    this.tried = null;
    this.errors = NO_ERRORS;
    this.problem = null;
    this.told = null;
  }

  /** Does one thing at a time; a refusal is shown at its fields, or as a whole where it names none. */
  async #do(what: string, shown: readonly string[], act: () => Promise<void>): Promise<boolean> {
    if (this.busy !== "") return false;
    this.busy = what;
    this.errors = NO_ERRORS;
    this.problem = null;
    this.told = null;
    try {
      await act();
      return true;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this.errors = place(error.errors, shown);
      if (Object.keys(this.errors.at).length === 0) this.problem = error;
      if (error.status === 401) desk.signedOut();
      return false;
    } finally {
      this.busy = "";
    }
  }

  #shown(): string[] {
    return this.from === null ? [] : [...GROUPS[kindOf(this.from.told)].map((group) => group.name), "days"];
  }

  #body(): { rule: Told; days: number } {
    return { rule: this.draft ?? {}, days: Number(this.days) };
  }

  tryOut(): Promise<boolean> {
    return this.#do("try", this.#shown(), async () => {
      this.tried = null;
      const asked = JSON.stringify(this.#body());
      const tried = await take(client.POST("/v1/rules/try", { body: this.#body() }));
      if (JSON.stringify(this.#body()) === asked) this.tried = tried;
    });
  }

  keep(): Promise<boolean> {
    return this.#do("keep", this.#shown(), async () => {
      const kept = await take(client.POST("/v1/rules", { body: this.#body() }));
      this.from = null;
      this.tried = null;
      this.told = { key: `rules.kept.${kept.state}`, params: { version: String(kept.version ?? "") } };
      this.#after();
    });
  }

  retire(ruleId: string, reason: string): Promise<boolean> {
    return this.#do("retire", ["reason"], async () => {
      const done = await take(client.POST("/v1/rules/{rule_id}/retire", { params: { path: { rule_id: ruleId } }, body: { reason } }));
      this.told = { key: "rules.retired", params: { code: done.code } };
      this.#after();
    });
  }

  agree(one: Proposal): Promise<boolean> {
    const params = { path: { proposal_id: one.proposal_id } };
    return this.#do("agree", [], async () => {
      const kept = await take(client.POST("/v1/rules/proposals/{proposal_id}/agree", { params, body: { content_sha256: one.content_sha256 } }));
      this.told = { key: "rules.kept.in_force", params: { version: String(kept.version ?? "") } };
      this.#after();
    });
  }

  reject(one: Proposal, reason: string): Promise<boolean> {
    const params = { path: { proposal_id: one.proposal_id } };
    return this.#do("reject", ["reason"], async () => {
      await take(client.POST("/v1/rules/proposals/{proposal_id}/reject", { params, body: { reason } }));
      this.told = { key: "rules.kept.rejected" };
      this.#after();
    });
  }

  silence(body: Schemas["SilenceIn"]): Promise<boolean> {
    return this.#do("silence", ["rule_code", "peril", "up_to", "ends_at", "reason"], async () => {
      const made = await take(client.POST("/v1/silences", { body }));
      this.told = { key: made.up_to === made.ceiling ? "silences.made" : "silences.made_second" };
      this.#after();
    });
  }

  settle(one: Silence, how: "agree" | "end"): Promise<boolean> {
    const params = { path: { silence_id: one.silence_id } };
    return this.#do(how, [], async () => {
      await take(how === "agree" ? client.POST("/v1/silences/{silence_id}/agree", { params }) : client.POST("/v1/silences/{silence_id}/end", { params }));
      this.told = { key: how === "agree" ? "silences.agreed" : "silences.ended" };
      this.#after();
    });
  }
}

export const rulesDesk = new RulesDesk();
