"""How long repairs last where sites differ and change: credibility by site, recency, and the mix that is to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from core.errors import InvalidInput
from itops.incident import RepairTimes
from itops.regime import STEP_YEARS, Panel, fit_levels
from itops.severity import FloatArray, RepairLaw, Updated

_DAYS_PER_YEAR = 365.25
#: A repair counts for half after this many years (judgement).
HALF_LIFE_YEARS = 2.0
#: Repairs that the prior law counts for in the collective of all sites.
PRIOR_TICKETS = 50.0
#: The layer in which sites are compared: hours above 8, 64 of them.
REFERENCE_WAITING_H, REFERENCE_INDEMNITY_H = 8.0, 64.0
#: Spread of the log of a year's hours in the layer about its forecast, worth two years of history (judgement).
_YEAR_SPREAD, _YEAR_SPREAD_COUNTS = 0.35, 2.0


class BadRepairRecord(InvalidInput):
    """A record of repairs cannot be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One outage of a site (a system, a place): open where `restored` is None."""

    site: str
    cause: str
    opened: datetime
    restored: datetime | None
    group: str = ""  #: sites of one group (hardware type) are kin


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRepairs:
    """What is kept of a site: its tickets with their weights, how far they are believed, its share to come."""

    site: str
    hours: FloatArray
    restored: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    weight: FloatArray  #: by age of the ticket
    credibility: float  #: Z, 0-1
    share: float  #: of next year's failures
    log_share_variance: float
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairFit:
    """Repair times by site as of a moment."""

    as_of: datetime
    sites: tuple[SiteRepairs, ...]
    k: float  #: tickets at which a site's own record counts for half, Buhlmann's k
    year_spread: float  #: standard deviation of the log of a year's hours about the forecast


def known_at(repairs: Sequence[Repair], moment: datetime) -> list[Repair]:
    """The repairs opened before a moment; those restored later were open then."""
    return [
        each if each.restored is None or each.restored <= moment
        else Repair(site=each.site, cause=each.cause, opened=each.opened, restored=None, group=each.group)
        for each in repairs
        if each.opened < moment
    ]  # fmt: skip


def fit_repairs(repairs: Sequence[Repair], as_of: datetime, *, rolling: bool = True, cut: bool = True) -> RepairFit:
    """Repair times by site with Buhlmann-Straub credibility, recency, and the mix of failures to come.

    The collective is the law of a typical site, not of a typical ticket: in a pooled fit the sites with many short
    repairs speak for those with few long ones. The mix comes from each site's filtered failure level (itops.regime).
    `cut` takes the repairs as they were known at the as-of moment; without it a later restoration counts.
    `rolling` measures on the record's own past years how far such forecasts miss. Raises BadRepairRecord.
    """
    known = known_at(repairs, as_of) if cut else list(repairs)
    if len(known) < 10:
        raise BadRepairRecord("Fewer than 10 repairs are known at the as-of moment", n=len(known))
    names = sorted({each.site for each in known})
    hours, restored, weight = [], [], []
    for name in names:
        mine = [each for each in known if each.site == name]
        hours.append(np.array([((r.restored or as_of) - r.opened).total_seconds() / 3600.0 for r in mine]))
        restored.append(np.array([r.restored is not None for r in mine]))
        old = np.array([(as_of - r.opened).total_seconds() / 86400.0 / _DAYS_PER_YEAR for r in mine])
        weight.append(0.5 ** (old / HALF_LIFE_YEARS))
    layer = [np.clip(h - REFERENCE_WAITING_H, 0.0, REFERENCE_INDEMNITY_H) for h in hours]
    w = np.array([float(np.sum(each)) for each in weight])
    mean = np.array([float(np.average(x, weights=v)) for x, v in zip(layer, weight, strict=True)])
    k = _k(layer, weight, w, mean)
    share, variance = _mix(known, names, as_of)
    group = {each.site: each.group for each in known}
    z = w / (w + k)
    sites = tuple(
        SiteRepairs(
            site=name,
            hours=hours[i],
            restored=restored[i],
            weight=weight[i],
            credibility=float(z[i]),
            share=float(share[i]),
            log_share_variance=float(variance[i]),
            group=group[name],
        )
        for i, name in enumerate(names)
    )
    fit = RepairFit(as_of=as_of, sites=sites, k=k, year_spread=_YEAR_SPREAD)
    if not rolling:
        return fit
    spread = year_spread(repairs, as_of)
    return RepairFit(as_of=as_of, sites=sites, k=k, year_spread=spread)


def _k(layer: Sequence[FloatArray], weight: Sequence[FloatArray], w: FloatArray, mean: FloatArray) -> float:
    """Buhlmann & Straub's s2 / a of the hours in the reference layer, tickets as the unit of weight; 10-500.

    With one site, or sites that do not differ, 500: the own record then is the collective's.
    """
    if len(w) < 2:
        return 500.0
    count = np.array([len(each) for each in layer])
    squares = sum(float(np.sum(v * (x - m) ** 2)) for x, v, m in zip(layer, weight, mean, strict=True))
    s2 = squares / max(float(np.sum(w * (1.0 - 1.0 / np.maximum(count, 2)))), 1e-9)
    overall = float(np.sum(w * mean) / np.sum(w))
    total = float(np.sum(w))
    a = (float(np.sum(w * (mean - overall) ** 2)) - (len(w) - 1) * s2) / (total - float(np.sum(w**2)) / total)
    return float(np.clip(s2 / a, 10.0, 500.0)) if a > 0 else 500.0


def _mix(known: Sequence[Repair], names: Sequence[str], as_of: datetime) -> tuple[FloatArray, FloatArray]:
    """Each site's share of the failures to come, and the variance of its log."""
    ago = {name: [] for name in names}  # type: dict[str, list[float]]
    for each in known:
        ago[each.site].append((as_of - each.opened).total_seconds() / 86400.0 / _DAYS_PER_YEAR)
    first = np.array([max(ago[name]) for name in names])
    n_periods = max(1, int(np.ceil(float(np.max(first)) / STEP_YEARS)))
    old = np.arange(n_periods - 1, -1, -1) * STEP_YEARS
    # In service since its first failure; a lone young failure is not a rate, so at least a tenth of a period.
    exposure = np.array([np.clip(np.minimum(old + STEP_YEARS, f) - old, 0.0, STEP_YEARS) for f in first])
    counts = np.array(
        [
            np.bincount(
                n_periods - 1 - np.clip((np.array(ago[name]) / STEP_YEARS).astype(np.int64), 0, n_periods - 1),
                minlength=n_periods,
            )
            for name in names
        ],
        dtype=np.float64,
    )
    exposure = np.where((counts > 0) & (exposure < 0.1 * STEP_YEARS), 0.1 * STEP_YEARS, exposure)
    age = first[:, None] - old[None, :] - 0.5 * STEP_YEARS
    panel = Panel(
        n_failures=counts, exposure=exposure, age=age, group=tuple("site/" for _ in names), size=np.ones(len(names))
    )
    levels = fit_levels(panel)
    rate = np.exp(levels.log_rate + 0.5 * levels.variance)
    return np.asarray(rate / np.sum(rate)), np.asarray(levels.variance + levels.spreads.drift**2 / 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Hours of an outage above a waiting period, as far as the indemnity period reaches."""

    p_above: float  #: P(D > waiting)
    expected_hours: float  #: E[min((D - waiting)+, indemnity)] per failure
    p05: float  #: of next year's mean hours in the layer per failure
    p95: float


def law_of(fit: RepairFit, prior: RepairLaw, multipliers: Sequence[FloatArray] | None = None) -> list[RepairLaw]:
    """Each site's law: its tickets over its group's law, that over the collective's, and that over the prior.

    In the collective every site counts by its credibility, spread over its tickets.
    """
    weights = [site.weight * (multipliers[i] if multipliers is not None else 1.0) for i, site in enumerate(fit.sites)]
    total = sum(site.credibility for site in fit.sites)
    n_effective = sum(min(float(np.sum(v)), fit.k) for v in weights)
    pooled = [
        v / max(float(np.sum(v)), 1e-12) * site.credibility / max(total, 1e-12) * n_effective
        for site, v in zip(fit.sites, weights, strict=True)
    ]
    record = RepairTimes(
        hours=np.concatenate([site.hours for site in fit.sites]),
        restored=np.concatenate([site.restored for site in fit.sites]),
    )
    collective = Updated(prior, PRIOR_TICKETS, record, np.concatenate(pooled))
    bases = dict[str, RepairLaw]()
    for name in {site.group for site in fit.sites}:
        mine = [i for i, site in enumerate(fit.sites) if site.group == name]
        if len(mine) == 1 or len(mine) == len(fit.sites):
            bases[name] = collective  # a group of one says no more than its site does
            continue
        inside = RepairTimes(
            hours=np.concatenate([fit.sites[i].hours for i in mine]),
            restored=np.concatenate([fit.sites[i].restored for i in mine]),
        )
        bases[name] = Updated(collective, fit.k, inside, np.concatenate([weights[i] for i in mine]))
    return [
        Updated(bases[site.group], fit.k, RepairTimes(hours=site.hours, restored=site.restored), v)
        for site, v in zip(fit.sites, weights, strict=True)
    ]


def _layer(
    fit: RepairFit, laws: Sequence[RepairLaw], share: FloatArray, waiting_h: float, until_h: float
) -> FloatArray:
    """(P(D > waiting), hours in the layer) over the mix of sites."""
    at = np.array([waiting_h, until_h])
    out = np.zeros(2)
    for law, part in zip(laws, share, strict=True):
        out += part * np.array([float(law.survival(at)[0]), float(np.diff(law.limited_mean(at))[0])])
    return out


def price_layer(
    fit: RepairFit, prior: RepairLaw, waiting_h: float, indemnity_h: float, *, seed: int = 1, n_draws: int = 200
) -> Layer:
    """Hours in the layer per failure of next year's mix of sites.

    p05 and p95 join three things that are not known: the tickets (Bayesian bootstrap, Rubin 1981), the mix (each
    site's level), and the year (log-normal with the spread that past forecasts missed by).
    """
    if not (0 <= waiting_h < np.inf and 0 < indemnity_h < np.inf):
        raise BadRepairRecord("waiting must not be negative, indemnity must be positive", waiting_h=waiting_h)
    until = waiting_h + indemnity_h
    share = np.array([site.share for site in fit.sites])
    at = _layer(fit, law_of(fit, prior), share, waiting_h, until)
    rng = np.random.default_rng(seed)
    drawn = np.empty(n_draws)
    for j in range(n_draws):
        multipliers = [rng.exponential(size=len(site.hours)) for site in fit.sites]
        mixed = share * np.exp([rng.normal(0.0, site.log_share_variance**0.5) for site in fit.sites])
        year = np.exp(rng.normal(0.0, fit.year_spread))
        hours = _layer(fit, law_of(fit, prior, multipliers), mixed / np.sum(mixed), waiting_h, until)[1]
        drawn[j] = min(hours * year, indemnity_h)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Layer(p_above=float(at[0]), expected_hours=float(at[1]), p05=float(low), p95=float(high))


def year_spread(repairs: Sequence[Repair], as_of: datetime, n_years: int = 5) -> float:
    """Root mean square of the log of seen to forecast hours in the reference layer, over past years, with a judgement.

    Each year is forecast from what was known before it; years with fewer than 30 repairs before or in them are left.
    """
    missed = []
    for back in range(1, n_years + 1):
        begin = as_of - timedelta(days=_DAYS_PER_YEAR * back)
        end = begin + timedelta(days=_DAYS_PER_YEAR)
        seen = [r for r in repairs if begin <= r.opened < end and r.restored is not None and r.restored <= as_of]
        before = [r for r in repairs if r.opened < begin]
        if len(seen) < 30 or len(before) < 30:
            break
        fit = fit_repairs(before, begin, rolling=False)
        forecast = sum(site.share * _blended(fit, i) for i, site in enumerate(fit.sites))
        hours = np.array([(r.restored - r.opened).total_seconds() / 3600.0 for r in seen if r.restored])
        fact = float(np.mean(np.clip(hours - REFERENCE_WAITING_H, 0.0, REFERENCE_INDEMNITY_H)))
        if fact > 0 and forecast > 0:
            missed.append(np.log(fact / forecast) ** 2)
    total = sum(missed) + _YEAR_SPREAD_COUNTS * _YEAR_SPREAD**2
    return float(np.sqrt(total / (len(missed) + _YEAR_SPREAD_COUNTS)))


def _blended(fit: RepairFit, i: int) -> float:
    """A site's mean hours in the reference layer, its own and the collective's blended by credibility."""
    means = [
        float(np.average(np.clip(s.hours - REFERENCE_WAITING_H, 0, REFERENCE_INDEMNITY_H), weights=s.weight))
        for s in fit.sites
    ]
    z = np.array([s.credibility for s in fit.sites])
    collective = float(np.sum(z * means) / np.sum(z))
    return float(z[i] * means[i] + (1.0 - z[i]) * collective)
