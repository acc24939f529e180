/** Texts by key, with {names} filled in and plural forms by the language's own rules (`key.one`, `key.other`). */

export type Catalogue = Record<string, string>;
export type Params = Record<string, string | number>;
export type Translate = (key: string, params?: Params) => string;

const RIGHT_TO_LEFT = new Set(["ar", "fa", "he", "ur"]);
const NAME = /\{(\w+)\}/g;

export function makeTranslate(language: string, catalogue: Catalogue, fallback: Catalogue): Translate {
  const plural = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  // A name in another script keeps its own direction, and its brackets their side (UAX #9, isolates).
  const apart = RIGHT_TO_LEFT.has(language) ? (text: string): string => `\u2068${text}\u2069` : (text: string): string => text;
  return (key, params) => {
    const forms = typeof params?.n === "number" ? [`${key}.${plural.select(params.n)}`, `${key}.other`, key] : [key];
    const found = forms.find((form) => form in catalogue) ?? forms.find((form) => form in fallback);
    if (found === undefined) return key;
    const text = catalogue[found] ?? fallback[found] ?? key;
    return text.replace(NAME, (whole, name: string) => {
      const value = params?.[name];
      if (value === undefined) return whole;
      return typeof value === "number" ? number.format(value) : apart(value);
    });
  };
}

/** The first language of ours among those wanted: `zh-Hans-CN` finds `zh`. */
export function chooseLanguage(wanted: readonly (string | null | undefined)[], ours: readonly string[]): string {
  for (const tag of wanted) {
    const base = tag?.toLowerCase().split("-")[0];
    if (base !== undefined && ours.includes(base)) return base;
  }
  return ours[0] ?? "en";
}

const HAN = /\p{Script=Han}/u;

/** A name kept as "English / 中文": the half that the language reads; any other name as it is. */
export function nameIn(name: string, language: string): string {
  const halves = name.split(" / ");
  if (halves.length !== 2) return name;
  const han = halves.map((half) => HAN.test(half));
  if (han[0] === han[1]) return name;
  return halves[han.indexOf(language === "zh")] ?? name;
}

/** The text in `language`, else English, else any. */
export function pick<T>(byLanguage: Record<string, T> | null | undefined, language: string): T | undefined {
  if (!byLanguage) return undefined;
  return byLanguage[language] ?? byLanguage.en ?? Object.values(byLanguage)[0];
}
