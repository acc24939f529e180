"""Several quotes together: what one site, vendor or region can cost, what a new quote adds, and the year simulated."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InvalidInput
from itops.quote import Quote
from itops.severity import FloatArray
from itops.stress import stress


class MixedCurrencies(InvalidInput):
    """Quotes in different currencies do not add up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulation:
    """What one shared thing can cost at once."""

    kind: str  #: "site", "vendor", "region"
    name: str
    n_quotes: int
    n_devices: int
    amount: float  #: of one outage of 24 h of all its devices, after each policy's terms
    share_of_capacity: float | None
    clash: bool  #: more than one policy is hit


def accumulate(quotes: Sequence[Quote], capacity: float | None = None, hours: float = 24.0) -> tuple[Accumulation, ...]:
    """Accumulations by site, vendor and region, the largest first. Sites and regions are the same by their names.

    Raises MixedCurrencies.
    """
    if len({quote.premium.currency for quote in quotes}) > 1:
        raise MixedCurrencies(currencies=sorted({quote.premium.currency for quote in quotes}))
    amount: dict[tuple[str, str], float] = defaultdict(float)
    hit: dict[tuple[str, str], set[int]] = defaultdict(set)
    count: dict[tuple[str, str], int] = defaultdict(int)
    for index, quote in enumerate(quotes):
        builder = quote.figures.builder
        vendors: dict[str, list[Any]] = defaultdict(list)
        for device in builder.devices:
            if device.asset.manufacturer:
                vendors[device.asset.manufacturer].append(device)
        groups: dict[str, Mapping[str, Any]] = {
            "site": builder.scopes("site"), "region": builder.scopes("region"), "vendor": vendors,
        }  # fmt: skip
        for kind, members in groups.items():
            for name, devices in members.items():
                key = (kind, name)
                amount[key] += float(np.sum(builder.site_loss(devices, hours)))
                count[key] += len(devices)
                hit[key].add(index)
    out = [
        Accumulation(
            kind=kind, name=name, n_quotes=len(hit[kind, name]), n_devices=count[kind, name], amount=value,
            share_of_capacity=None if capacity is None else value / capacity, clash=len(hit[kind, name]) > 1,
        )
        for (kind, name), value in amount.items()
    ]  # fmt: skip
    return tuple(sorted(out, key=lambda item: (-item.amount, item.kind, item.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The loss ratio a portfolio would earn under the model."""

    n_years: int
    seed: int
    premium: float
    mean: float
    p05: float
    p50: float
    p95: float
    p995: float
    above_100: float  #: share of years whose losses are above the premium


def simulate(quotes: Sequence[Quote], *, n_years: int = 20_000, seed: int = 1) -> Simulated:
    """Years of all policies, each drawn from its own law; one regime of failures is shared by all.

    The regime is drawn first, and each policy's year at a quantile that depends on it: a Gaussian rank correlation
    whose size is that which the regime has in the policy's own variance, r / cv^2.
    """
    if len({quote.premium.currency for quote in quotes}) > 1:
        raise MixedCurrencies(currencies=sorted({quote.premium.currency for quote in quotes}))
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    shared = rng.standard_normal(n_years)
    losses: FloatArray = np.zeros(n_years)
    for quote in quotes:
        law = quote.figures.net
        cv2 = law.variance / law.mean**2 if law.mean > 0 else np.inf
        rho = min(quote.figures.book.priors.regime_cv**2 / cv2, 1.0)
        at = ndtr(np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * rng.standard_normal(n_years))
        losses += law.loss[np.minimum(np.searchsorted(law.cumulative(), at), len(law.loss) - 1)]
    premium = sum(float(quote.commercial.premium.amount) for quote in quotes)
    ratio = losses / premium
    return Simulated(
        n_years=n_years, seed=seed, premium=premium, mean=float(np.mean(ratio)),
        p05=float(np.quantile(ratio, 0.05)), p50=float(np.quantile(ratio, 0.5)), p95=float(np.quantile(ratio, 0.95)),
        p995=float(np.quantile(ratio, 0.995)), above_100=float(np.mean(ratio > 1.0)),
    )  # fmt: skip


def plain_portfolio(quotes: Sequence[Quote], *, n_years: int, seed: int, capacity: float | None) -> dict[str, Any]:
    """The portfolio as plain JSON values: loss ratio under the model and under the stress set, accumulation, clash."""
    sim = simulate(quotes, n_years=n_years, seed=seed)
    outcomes = [stress(quote) for quote in quotes]
    scenarios = []
    for index, first in enumerate(outcomes[0]):
        premium = sum(one[index].premium for one in outcomes)
        loss = sum(one[index].expected_loss for one in outcomes)
        scenarios.append(
            {
                "scenario": first.scenario, "en": first.en, "zh": first.zh, "expected_loss": round(loss, 2),
                "premium": round(premium, 2), "loss_ratio": round(loss / premium, 6),
            }
        )  # fmt: skip
    return {
        "quotes": [
            {
                "insured": q.insured, "premium": float(q.commercial.premium.amount),
                "expected_loss": round(q.expected_loss, 2), "inputs_sha256": q.inputs_sha256,
            }
            for q in quotes
        ],
        "currency": quotes[0].premium.currency,
        "loss_ratio": {
            "n_years": sim.n_years, "seed": sim.seed, "mean": round(sim.mean, 6), "p05": round(sim.p05, 6),
            "p50": round(sim.p50, 6), "p95": round(sim.p95, 6), "p995": round(sim.p995, 6),
            "share_of_years_above_1": round(sim.above_100, 6),
        },
        "stress": scenarios,
        "accumulation": [
            {
                "kind": a.kind, "name": a.name, "n_quotes": a.n_quotes, "n_devices": a.n_devices,
                "amount": round(a.amount, 2),
                "share_of_capacity": None if a.share_of_capacity is None else round(a.share_of_capacity, 6),
                "clash": a.clash,
            }
            for a in accumulate(quotes, capacity)
        ],
        "accumulation_event": "one outage of 24 h of all devices that share the site, vendor or region",
    }  # fmt: skip
