/** Numbers, money, times and ages for people. Unknown is null here and a word on the page, never zero. */

export function count(value: number, language: string): string {
  return new Intl.NumberFormat(language).format(value);
}

/** `1.24 bn`-style money with its currency code: a code is clear in every language, "$" is not. */
export function money(value: number | string, currency: string | null, language: string, digits = 4): string {
  const amount = typeof value === "string" ? Number(value) : value;
  const short = new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: digits }).format(amount);
  return currency === null ? short : `${currency} ${short}`;
}

export function moneyExact(value: number | string, currency: string | null, language: string): string {
  const text = new Intl.NumberFormat(language, { maximumFractionDigits: 0 }).format(Number(value));
  return currency === null ? text : `${currency} ${text}`;
}

export function clockTime(at: Date, language: string, seconds = false): string {
  const parts: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(language, seconds ? { ...parts, second: "2-digit" } : parts).format(at);
}

/** Time of day, with the date where it is not the day of `now`. */
export function when(at: Date, now: Date, language: string): string {
  if (at.toDateString() === now.toDateString()) return clockTime(at, language);
  const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" }).format(at);
  return `${day} ${clockTime(at, language)}`;
}

/** A span of time in its largest sensible unit: "45 sec", "12 min", "3 hr". */
export function span(seconds: number, language: string): string {
  const s = Math.abs(seconds);
  const [value, unit] =
    s < 60 ? [s, "second"] : s < 5400 ? [s / 60, "minute"] : s < 129_600 ? [s / 3600, "hour"] : [s / 86_400, "day"];
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit,
    unitDisplay: "short",
    maximumFractionDigits: 0,
  }).format(Math.floor(value as number));
}

export function distance(metres: number, language: string): string {
  const far = metres >= 1000;
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: far ? "kilometer" : "meter",
    unitDisplay: "short",
    maximumFractionDigits: far ? 1 : 0,
  }).format(far ? metres / 1000 : Math.round(metres / 10) * 10);
}

/** A reading with the digits its size deserves. */
export function reading(value: number, unit: string, language: string): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const text = new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
  return `${text} ${unit}`;
}
