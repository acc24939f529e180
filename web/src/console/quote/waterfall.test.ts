import { describe, expect, it } from "vitest";
import { barsOf, stepsOf } from "./waterfall";

const waterfall = { expected_loss: 50, experience: 0, risk_load: 30, acquisition: 20, technical_premium: 100 };

describe("the waterfall", () => {
  it("leaves out steps of nothing and ends at the commercial premium", () => {
    const steps = stepsOf(waterfall, { market: -10, tier: 0, held_at_floor: 0, premium: 90 });
    expect(steps.map((step) => step.name)).toEqual(["expected_loss", "risk_load", "acquisition", "technical_premium", "market", "commercial_premium"]);
  });

  it("begins with the expected loss in whatever order the stored result has its keys", () => {
    const stored = { profit: 5, risk_load: 30, new_step: 1, acquisition: 20, expected_loss: 44, technical_premium: 100 };
    const names = stepsOf(stored, { market: 0, tier: 0, held_at_floor: 0, premium: 100 }).map((step) => step.name);
    expect(names).toEqual(["expected_loss", "risk_load", "acquisition", "profit", "new_step", "technical_premium", "commercial_premium"]);
  });

  it("puts each bar on the sum of those before it", () => {
    const bars = barsOf(stepsOf(waterfall, { market: -10, tier: 0, held_at_floor: 0, premium: 90 }));
    expect(bars.map((bar) => [bar.from, bar.width].map((x) => Math.round(x * 100)))).toEqual([[0, 50], [50, 30], [80, 20], [0, 100], [90, 10], [0, 90]]);
  });
});
