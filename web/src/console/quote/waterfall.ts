/** A premium's steps as bars: each stands on the sum of those before it, a total stands on the ground. */

export interface Step {
  name: string;
  amount: number;
  total: boolean;
}

export interface Bar extends Step {
  /** Left end and width as shares of the whole, 0 to 1. */
  from: number;
  width: number;
}

export interface Commercial {
  market: number;
  tier: number;
  held_at_floor: number;
  premium: number;
}

/** The order in which a premium is built: a stored result does not keep the order of its keys. */
const ORDER = ["expected_loss", "experience", "loss_adjustment", "service_cost", "risk_load", "acquisition", "administration", "profit", "technical_premium"];
const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length - 1.5);

/** The steps of a quote's result: to the technical premium, and from there to the commercial one. */
export function stepsOf(waterfall: Record<string, number>, commercial: Commercial): Step[] {
  const steps = Object.entries(waterfall)
    .filter(([name, amount]) => amount !== 0 || name === "technical_premium")
    .sort(([a], [b]) => place(a) - place(b))
    .map(([name, amount]) => ({ name, amount, total: name === "technical_premium" }));
  for (const name of ["market", "tier", "held_at_floor"] as const) {
    if (commercial[name] !== 0) steps.push({ name, amount: commercial[name], total: false });
  }
  steps.push({ name: "commercial_premium", amount: commercial.premium, total: true });
  return steps;
}

export function barsOf(steps: readonly Step[]): Bar[] {
  let at = 0;
  const ends = steps.map((step) => {
    const start = step.total ? 0 : at;
    at = step.total ? step.amount : at + step.amount;
    return { step, low: Math.min(start, at), high: Math.max(start, at) };
  });
  const lowest = Math.min(0, ...ends.map((end) => end.low));
  const span = Math.max(...ends.map((end) => end.high)) - lowest || 1;
  return ends.map(({ step, low, high }) => ({ ...step, from: (low - lowest) / span, width: (high - low) / span }));
}
