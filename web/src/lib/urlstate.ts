/** What is selected lives in the address, so that a view can be sent to a colleague. */

export interface Selection {
  station: string | null;
  warning: string | null;
  lang: string | null;
  /** Which desk is open; none: the warnings. */
  desk?: string | null;
  /** Which rule is read at the desk of rules. */
  rule?: string | null;
}

const NAMES = ["station", "warning", "lang", "desk", "rule"] as const;

export function readSelection(search: string): Selection {
  const params = new URLSearchParams(search);
  const more = Object.fromEntries((["desk", "rule"] as const).filter((name) => params.has(name)).map((name) => [name, params.get(name)]));
  return { station: params.get("station"), warning: params.get("warning"), lang: params.get("lang"), ...more };
}

/** `search` with the selection in it; other parameters stay. */
export function writeSelection(search: string, selection: Selection): string {
  const params = new URLSearchParams(search);
  for (const name of NAMES) {
    const value = selection[name];
    if (value === undefined) continue;
    if (value === null) params.delete(name);
    else params.set(name, value);
  }
  const text = params.toString();
  return text === "" ? "" : `?${text}`;
}
