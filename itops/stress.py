"""The sandbox: what scenarios do to a quote, and how bad failures must get before the premium is gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from itops.aggregate import LossLaw
from itops.events import Climate
from itops.figures import Figures, mean_without_year_terms
from itops.population import Together
from itops.quote import Quote
from itops.year import CoverTerms, EventKind, year

#: Frequency above which reverse stress stops looking.
_MOST = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario of the set."""

    name: str
    en: str
    zh: str
    climate: Climate = field(default_factory=Climate)
    events: Callable[[Figures], float] | None = None  #: loss of the events that happen for certain
    premium: float = 1.0  #: factor on the premium
    kept: float = 1.0  #: share of the premium that stays with the insurer


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A quote under a scenario."""

    scenario: str
    en: str
    zh: str
    event_loss: float  #: of the events that happen for certain
    expected_loss: float  #: of the year, these included
    tail_mean: float
    premium: float
    loss_ratio: float
    solvency_ratio: float  #: (capital + premium net of expenses - expected loss) / the scenario's own capital
    note: str = ""


def _largest_region(figures: Figures) -> Together:
    """Devices of the largest region; of the largest site where no region is known."""
    groups = figures.builder.scopes("region") or figures.builder.scopes("site")
    losses = {name: float(np.sum(figures.builder.site_loss(members, 24.0))) for name, members in groups.items()}
    return groups[max(losses, key=lambda name: (losses[name], name))]


def _region_power(figures: Figures) -> float:
    return float(np.sum(figures.builder.site_loss(_largest_region(figures), 24.0)))


def _cloud_region(figures: Figures) -> float:
    return float(np.sum(figures.builder.site_loss(_largest_region(figures), 12.0)))


def _ransomware(figures: Figures) -> float:
    """Everything is down for ten days, and the security cover pays its limit."""
    outage = float(np.sum(figures.builder.site_loss(figures.builder.devices, 240.0)))
    return outage + sum(float(cover.terms.limit) for cover in figures.covers if cover.name == "information_security")


def _firmware(figures: Figures) -> float:
    """Half of the most numerous model's devices fail together for the shock's median time."""
    groups = figures.builder.scopes("model")
    if not groups:
        return 0.0
    members = max(groups.values(), key=len).members
    return float(np.sum(figures.builder.site_loss(members[: max(len(members) // 2, 1)], 24.0)))


#: The set; ids are used by the API and stay.
SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="base", en="the model as it is", zh="模型现状"),
    Scenario(
        name="region_power", en="the largest region (or site) without power for 24 h",
        zh="最大区域（或站点）断电24小时", events=_region_power,
    ),
    Scenario(
        name="firmware_batch", en="a firmware batch takes half of the most numerous model for 24 h",
        zh="固件批次缺陷：数量最多型号的一半停机24小时", events=_firmware, climate=Climate(firmware_hit=0.5),
    ),
    Scenario(
        name="ransomware", en="ransomware: everything down for 10 days", zh="勒索软件：全部停机10天",
        events=_ransomware,
    ),
    Scenario(
        name="supplier_insolvency", en="a supplier fails: spare parts take four times as long, every repair twice",
        zh="供应商倒闭：备件交期四倍，维修时长两倍", climate=Climate(repair_h=2.0),
    ),
    Scenario(name="cloud_region", en="a cloud region down for 12 h", zh="云区域停机12小时", events=_cloud_region),
    Scenario(
        name="heatwave", en="heatwave: failures x 1.3, site shocks x 2", zh="热浪：故障率×1.3，站点冲击×2",
        climate=Climate(frequency=1.3, shock=(("site", 2.0),)),
    ),
    Scenario(name="inflation", en="inflation of amounts by 15 %", zh="损失金额通胀15%", climate=Climate(amounts=1.15)),
    Scenario(name="rate_cut", en="premium cut by 20 %", zh="费率下调20%", premium=0.8),
    Scenario(
        name="lapse_selection", en="the best 20 % leave: expected loss stays at 92 %, premium at 80 %",
        zh="优质客户流失20%：预期损失留存92%，保费留存80%", kept=0.8, climate=Climate(frequency=0.92, shocks=0.92),
    ),
)  # fmt: skip


def stress(quote: Quote, names: Sequence[str] | None = None) -> tuple[Outcome, ...]:
    """The quote under each scenario of the set (or of `names`), on its own submission, fleet and book.

    The premium is the commercial one that was quoted: a scenario changes what happens, not what was charged.
    """
    base = quote.figures
    out = []
    capital = max(quote.tail_mean - quote.expected_loss, 0.0)
    loadings = base.submission.loadings
    costs = float(loadings.acquisition + loadings.administration)
    for scenario in SCENARIOS:
        if names is not None and scenario.name not in names:
            continue
        changed = scenario.climate != Climate()
        figures = base
        if changed:
            figures = Figures(base.submission, base.fitted, base.book, scenario.climate, like=base)
        event_loss = 0.0 if scenario.events is None else scenario.events(figures)
        annual = base.submission.annual
        if annual.limit is not None:
            event_loss = min(event_loss, float(annual.limit))
        law = figures.net
        expected = law.mean + event_loss
        tail = law.tail_mean(base.submission.charge.level) + event_loss
        if annual.limit is not None:
            expected, tail = min(expected, float(annual.limit)), min(tail, float(annual.limit))
        premium = float(quote.commercial.premium.amount) * scenario.premium * scenario.kept
        need = max(law.tail_mean(base.submission.charge.level) - law.mean, 1e-9)
        out.append(
            Outcome(
                scenario=scenario.name,
                en=scenario.en,
                zh=scenario.zh,
                event_loss=event_loss,
                expected_loss=expected,
                tail_mean=tail,
                premium=premium,
                loss_ratio=expected / premium if premium > 0 else float("inf"),
                solvency_ratio=(capital + premium * (1.0 - costs) - expected) / need,
                note="" if scenario.events is None or event_loss > 0 else "no cover of this quote pays for the event",
            )
        )
    return tuple(out)


def reverse_stress(quote: Quote, loss_ratio: float = 1.0) -> float | None:
    """The factor on every failure and shock at which the expected loss is `loss_ratio` of the commercial premium.

    Covers' limits of the year act, so that the loss is computed anew at each factor tried. None where even a factor
    of 1,000 does not reach it: the limits of the year are below it.
    """
    target = float(quote.commercial.premium.amount) * loss_ratio
    low, high = 0.0, 1.0
    while expected_at(quote, high) < target:
        low, high = high, high * 2.0
        if high > _MOST:
            return None
    for _ in range(40):
        middle = (low + high) / 2.0
        if expected_at(quote, middle) < target:
            low = middle
        else:
            high = middle
        if high - low < 1e-4 * high:
            break
    return (low + high) / 2.0


def expected_at(quote: Quote, factor: float) -> float:
    """The expected loss with every event a factor more often."""
    base = quote.figures
    annual = base.submission.annual
    kinds: list[EventKind] = [replace(kind, expected_count=kind.expected_count * factor) for kind in base.kinds]
    plain = annual.limit is None and annual.deductible == 0 and not any(term.act for term in base.terms)
    if plain:
        return mean_without_year_terms(kinds)
    terms: tuple[CoverTerms, ...] = base.terms
    law: LossLaw = year(
        kinds, terms, regime_cv=base.book.priors.regime_cv, names=[cover.name for cover in base.covers]
    ).total
    return law.layered(float(annual.deductible), None if annual.limit is None else float(annual.limit)).mean


def plain_stress(quote: Quote) -> dict[str, Any]:
    """The whole set and the reverse stress as plain JSON values."""
    outcomes = stress(quote)
    factor = reverse_stress(quote)
    return {
        "insured": quote.insured,
        "currency": quote.premium.currency,
        "premium": float(quote.commercial.premium.amount),
        "scenarios": [
            {
                "scenario": o.scenario,
                "en": o.en,
                "zh": o.zh,
                "event_loss": round(o.event_loss, 2),
                "expected_loss": round(o.expected_loss, 2),
                "tail_mean": round(o.tail_mean, 2),
                "premium": round(o.premium, 2),
                "loss_ratio": round(o.loss_ratio, 6),
                "solvency_ratio": round(o.solvency_ratio, 6),
                "note": o.note,
            }
            for o in outcomes
        ],
        "reverse_stress": {
            "loss_ratio": 1.0,
            "frequency_multiplier": None if factor is None else round(factor, 4),
            "meaning": "every failure and shock this much more often brings the expected loss to the whole premium"
            if factor is not None
            else "not reached: the limits of the year keep the expected loss below the premium",
        },
        "inputs_sha256": quote.inputs_sha256,
        "model_version": quote.model_version,
    }
