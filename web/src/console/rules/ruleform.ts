/** A rule as a form: one text for each field, and back to what a rule file has. Pure: tested without a browser.
 *
 * Whatever the form has no field for stays as it was. Nothing is judged here: a number that is none goes to the server
 * as it was typed, and the server's word on it is shown at its field.
 */

export type Told = Record<string, unknown>;
export type Values = Record<string, string | boolean>;
export type Kind = "level" | "footprint" | "bulletin";

export const LEVELS = ["blue", "yellow", "orange", "red"] as const;

export interface Field {
  /** Path in the rule: `thresholds.red`. */
  path: string;
  /** How its text is read: as it is, a number, a span in that unit, yes or no, a level, one text a line, a time. */
  as: "text" | "number" | "hours" | "minutes" | "check" | "level" | "lines" | "time";
}

export interface Group {
  /** The rule's own field, which the server's errors name. */
  name: string;
  fields: Field[];
}

const one = (name: string, as: Field["as"]): Group => ({ name, fields: [{ path: name, as }] });
const byLevel = (name: string, below: string[] = []): Group => ({
  name,
  fields: LEVELS.flatMap((level): Field[] => (below.length === 0 ? [{ path: `${name}.${level}`, as: "number" }] : below.map((part) => ({ path: `${name}.${level}.${part}`, as: part === "policies" ? "number" : "text" })))),
});
const RELEASE: Group[] = [one("automatic", "check"), one("automatic_ceiling", "level"), one("expires_after_s", "hours"), one("effective_from", "time")];

export const GROUPS: Record<Kind, Group[]> = {
  level: [
    one("station", "text"),
    byLevel("thresholds"),
    one("hysteresis", "number"),
    { name: "k", fields: [{ path: "k", as: "number" }, { path: "n", as: "number" }] },
    one("clear_dwell_s", "minutes"),
    one("raise_dwell_s", "minutes"),
    one("forecast_within_s", "hours"),
    one("cost_loss", "number"),
    one("independent", "number"),
    one("radius_km", "number"),
    { name: "area_desc", fields: [{ path: "area_desc.en", as: "text" }, { path: "area_desc.zh", as: "text" }] },
    ...RELEASE,
  ],
  footprint: [one("peril", "text"), byLevel("exposure", ["policies", "insured_value"]), one("portfolio", "text"), ...RELEASE],
  bulletin: [one("senders", "lines"), one("at_least", "level"), ...RELEASE],
};

export const kindOf = (told: Told): Kind => (told.kind === "footprint" || told.kind === "bulletin" ? told.kind : "level");
const UNIT = { hours: 3600, minutes: 60 };

function at(told: Told, path: string): unknown {
  return path.split(".").reduce<unknown>((found, part) => (typeof found === "object" && found !== null ? (found as Told)[part] : undefined), told);
}

/** What stands in each field; empty where the rule says nothing. When it begins is always asked anew. */
export function toValues(told: Told): Values {
  const values: Values = {};
  for (const { path, as } of GROUPS[kindOf(told)].flatMap((group) => group.fields)) {
    const value = at(told, path);
    if (as === "check") values[path] = value === true;
    else if (as === "time" || value === undefined || value === null) values[path] = "";
    else if (as === "lines") values[path] = Array.isArray(value) ? value.join("\n") : String(value);
    else if (as === "hours" || as === "minutes") values[path] = typeof value === "number" ? String(value / UNIT[as]) : String(value);
    else values[path] = String(value);
  }
  return values;
}

function read(as: Field["as"], value: string | boolean): unknown {
  if (typeof value === "boolean") return value;
  const text = value.trim();
  if (text === "") return undefined;
  if (as === "lines") return text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (as === "time") return Number.isNaN(Date.parse(text)) ? text : new Date(text).toISOString();
  if (as === "text" || as === "level" || as === "check") return text;
  const number = Number(text);
  if (Number.isNaN(number)) return text;
  return as === "number" ? number : number * UNIT[as];
}

function put(told: Told, path: string[], value: unknown): void {
  const [name, ...rest] = path;
  if (name === undefined) return;
  if (rest.length === 0) {
    if (value === undefined) delete told[name];
    else told[name] = value;
    return;
  }
  const below = { ...((told[name] ?? {}) as Told) };
  put(below, rest, value);
  if (Object.keys(below).length === 0) delete told[name];
  else told[name] = below;
}

/** The rule that the form stands for, on the ground of `base`. A circle that is given takes the place of the polygon. */
export function toTold(values: Values, base: Told): Told {
  const told: Told = { ...base };
  for (const { path, as } of GROUPS[kindOf(base)].flatMap((group) => group.fields)) put(told, path.split("."), read(as, values[path] ?? ""));
  if (told.radius_km !== undefined) delete told.area;
  return told;
}

/** The part of a server's error that belongs to a field of ours: `body.rule.thresholds` and `thresholds` are the same. */
export function fieldOf(named: string): string {
  const parts = named.split(".").filter((part) => part !== "body" && part !== "rule");
  return parts[0] === "n" ? "k" : (parts[0] ?? "");
}

/** Errors by field, and what names none of the fields that are shown. */
export function place(errors: readonly { field: string; reason: string }[], shown: readonly string[]): { at: Record<string, string>; rest: string[] } {
  const found: Record<string, string> = {};
  const rest: string[] = [];
  for (const { field, reason } of errors) {
    const name = fieldOf(field);
    if (shown.includes(name)) found[name] = found[name] === undefined ? reason : `${found[name]}; ${reason}`;
    else rest.push(name === "" ? reason : `${name}: ${reason}`);
  }
  return { at: found, rest };
}

/** The levels that a refusal names; all of them where it names none. */
export function levelsIn(error: string): readonly string[] {
  const named = LEVELS.filter((level) => new RegExp(`\\b${level}\\b`).test(error));
  return named.length > 0 ? named : LEVELS;
}

export interface Version {
  version: number;
  effective_from: string;
  effective_to: string | null;
}

/** Where each version stands at a time: in force is the newest that has begun and not ended, and never two of one rule. */
export function versionStates(versions: readonly Version[], now: Date): Map<number, "to_come" | "in_force" | "replaced" | "retired"> {
  const states = new Map<number, "to_come" | "in_force" | "replaced" | "retired">();
  let newest = true; // of those that have begun
  for (const { version, effective_from, effective_to } of [...versions].sort((a, b) => b.version - a.version)) {
    const begun = Date.parse(effective_from) <= now.getTime();
    const ended = effective_to !== null && Date.parse(effective_to) <= now.getTime();
    if (begun && newest) states.set(version, ended ? "retired" : "in_force");
    else states.set(version, begun || ended ? "replaced" : "to_come");
    if (begun) newest = false;
  }
  return states;
}
