"""How long repairs last where sites differ and change: credibility by site, recency, and the mix that is to come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from core.errors import InvalidInput
from itops.causes import CauseMixture, fit_causes, mixture_from
from itops.incident import RepairTimes
from itops.regime import STEP_YEARS, Panel, fit_levels
from itops.severity import BadRepairLaw, FloatArray, RepairLaw, Updated

_DAYS_PER_YEAR = 365.25
#: A repair counts for half after this many years, and the tickets at which a site's own record counts for half. Both
#: chosen on LANL's years 1999 to 2003 (17 quarterly origins, waiting periods of 4, 8 and 16 h; docs/methods).
HALF_LIFE_YEARS, SITE_TICKETS = np.inf, 5.0
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
    half_life_years: float = HALF_LIFE_YEARS  #: inf: a ticket counts the same however old it is
    causes: CauseMixture | None = None  #: in place of the tickets' law, where it forecast better
    scores: Mapping[str, float] = field(
        default_factory=dict
    )  #: of each law's best setting: root mean square of the log


def fit_from(document: Mapping[str, Any]) -> RepairFit:
    """A fit from its JSON document. Raises KeyError, TypeError or ValueError where it is not one."""
    sites = tuple(
        SiteRepairs(
            **{
                **site,
                "hours": np.array(site["hours"], dtype=np.float64),
                "restored": np.array(site["restored"], dtype=np.bool_),
                "weight": np.array(site["weight"], dtype=np.float64),
            }
        )
        for site in document["sites"]
    )
    return RepairFit(
        as_of=datetime.fromisoformat(document["as_of"]),
        sites=sites,
        k=document["k"],
        year_spread=document["year_spread"],
        half_life_years=float(document["half_life_years"]),
        causes=None if document["causes"] is None else mixture_from(document["causes"]),
        scores=dict(document["scores"]),
    )


def known_at(repairs: Sequence[Repair], moment: datetime) -> list[Repair]:
    """The repairs opened before a moment; those restored later were open then."""
    return [
        each if each.restored is None or each.restored <= moment
        else Repair(site=each.site, cause=each.cause, opened=each.opened, restored=None, group=each.group)
        for each in repairs
        if each.opened < moment
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a record is read: chosen by how well such forecasts did in the record's own past."""

    half_life_years: float  #: a repair counts for half after so many years; inf: all count the same
    k: float  #: tickets at which a site's own record counts for half, Buhlmann's k
    threshold_h: float | None = None  #: of the mixture by cause; None: the tickets' own law by site

    @property
    def by_cause(self) -> bool:
        return self.threshold_h is not None


#: Thresholds tried for the mixture by cause, and what it must gain (share of the root mean square error) before the
#: tickets' own law is left: with a smaller one, five past years choose by chance.
THRESHOLDS_H, _GAIN = (4.0, 8.0), 0.10
#: Waiting periods at which past forecasts are scored.
_SCORED_H = (4.0, 8.0, 16.0)


def fit_repairs(
    repairs: Sequence[Repair],
    as_of: datetime,
    *,
    rolling: bool = True,
    cut: bool = True,
    law: str = "auto",
) -> RepairFit:
    """Repair times by site with Buhlmann-Straub credibility, recency, and the mix of failures to come.

    The collective is the law of a typical site, not of a typical ticket: in a pooled fit the sites with many short
    repairs speak for those with few long ones. The mix comes from each site's filtered failure level (itops.regime).
    `cut` takes the repairs as they were known at the as-of moment; without it a later restoration counts.
    `rolling` chooses recency, credibility and (`law` auto) between the tickets' law by site and the mixture by cause by
    how forecasts from the record's own past origins did, and measures how far they missed. Raises BadRepairRecord.
    """
    known = known_at(repairs, as_of) if cut else list(repairs)
    if len(known) < 10:
        raise BadRepairRecord("Fewer than 10 repairs are known at the as-of moment", n=len(known))
    if law not in ("auto", "tickets", "causes"):
        raise BadRepairRecord(f"law: {law!r} is not auto, tickets or causes")
    past = _past(repairs, as_of) if rolling else []
    setting, scores, missed = _chosen(past, law)
    if setting is None:
        u = REFERENCE_WAITING_H if law == "causes" else None
        setting = Setting(half_life_years=HALF_LIFE_YEARS, k=SITE_TICKETS, threshold_h=u)
    view = _View.of(known, as_of, *_mix_of(known, as_of))
    sites = tuple(
        SiteRepairs(
            site=name,
            hours=view.hours[mine],
            restored=view.restored[mine],
            weight=view.weight(setting.half_life_years)[mine],
            credibility=float(z),
            share=float(view.share[i]),
            log_share_variance=float(view.variance[i]),
            group=view.group[i],
        )
        for i, (name, mine, z) in enumerate(zip(view.names, view.members, view.credibility(setting), strict=True))
    )
    return RepairFit(
        as_of=as_of,
        sites=sites,
        k=setting.k,
        year_spread=_missed(missed),
        half_life_years=setting.half_life_years,
        causes=view.causes(setting) if setting.by_cause else None,
        scores=scores,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A record at a moment, in arrays."""

    names: tuple[str, ...]
    group: tuple[str, ...]
    members: tuple["np.ndarray[tuple[int], np.dtype[np.bool_]]", ...]
    hours: FloatArray
    restored: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    years_ago: FloatArray
    cause: tuple[str, ...]
    share: FloatArray
    variance: FloatArray

    @classmethod
    def of(cls, known: Sequence[Repair], as_of: datetime, share: FloatArray, variance: FloatArray) -> "_View":
        names = tuple(sorted({each.site for each in known}))
        site = np.array([each.site for each in known])
        group = {each.site: each.group for each in known}
        return cls(
            names=names,
            group=tuple(group[name] for name in names),
            members=tuple(site == name for name in names),
            hours=np.array([((r.restored or as_of) - r.opened).total_seconds() / 3600.0 for r in known]),
            restored=np.array([r.restored is not None for r in known]),
            years_ago=np.array([(as_of - r.opened).total_seconds() / 86400.0 / _DAYS_PER_YEAR for r in known]),
            cause=tuple(r.cause or "unrecorded" for r in known),
            share=share,
            variance=variance,
        )

    def weight(self, half_life_years: float) -> FloatArray:
        return np.asarray(0.5 ** (self.years_ago / half_life_years), dtype=np.float64)

    def credibility(self, setting: Setting) -> FloatArray:
        w = self.weight(setting.half_life_years)
        n = np.array([float(np.sum(w[mine])) for mine in self.members])
        return np.asarray(n / (n + setting.k), dtype=np.float64)

    def forecast(self, setting: Setting, waiting_h: float) -> float:
        """Mean hours in the layer per failure; of the tickets' law without the built-in prior, which all share."""
        layer = np.clip(self.hours - waiting_h, 0.0, REFERENCE_INDEMNITY_H)
        w = self.weight(setting.half_life_years)
        if setting.by_cause:
            at = np.array([waiting_h, waiting_h + REFERENCE_INDEMNITY_H])
            return float(np.diff(self.causes(setting).law().limited_mean(at))[0])
        n = np.array([float(np.sum(w[mine])) for mine in self.members])
        mean = np.array([float(np.sum((w * layer)[mine])) for mine in self.members]) / np.maximum(n, 1e-12)
        z = n / (n + setting.k)
        overall = float(np.sum(z * mean) / np.sum(z))
        out = np.empty(len(n))
        groups = np.array(self.group)
        for i, name in enumerate(self.group):
            kin = groups == name
            base = overall
            if 1 < np.count_nonzero(kin) < len(kin):
                base = float(np.sum((n * mean)[kin]) + setting.k * overall) / (float(np.sum(n[kin])) + setting.k)
            out[i] = z[i] * mean[i] + (1.0 - z[i]) * base
        return float(np.sum(self.share * out))

    def causes(self, setting: Setting) -> CauseMixture:
        assert setting.threshold_h is not None
        return fit_causes(
            self.hours, self.restored, self.cause, self.weight(setting.half_life_years), setting.threshold_h
        )


def _past(repairs: Sequence[Repair], as_of: datetime, n_years: int = 5) -> list[tuple[_View, dict[float, float]]]:
    """The record at each half-year's origin of the past years, and the mean hours in the layers of the year after it.

    Years with fewer than 30 repairs before or in them are left out.
    """
    out = []
    for half in range(2, 2 * n_years + 1):
        begin = as_of - timedelta(days=_DAYS_PER_YEAR * half / 2.0)
        end = begin + timedelta(days=_DAYS_PER_YEAR)
        seen = [r for r in repairs if begin <= r.opened < end and r.restored is not None and r.restored <= as_of]
        before = known_at(repairs, begin)
        if len(seen) < 30 or len(before) < 30:
            continue
        hours = np.array([(r.restored - r.opened).total_seconds() / 3600.0 for r in seen if r.restored])
        facts = {h: float(np.mean(np.clip(hours - h, 0.0, REFERENCE_INDEMNITY_H))) for h in _SCORED_H}
        out.append((_View.of(before, begin, *_mix_of(before, begin)), facts))
    return out


def _chosen(
    past: Sequence[tuple[_View, dict[float, float]]], law: str
) -> tuple[Setting | None, dict[str, float], list[tuple[float, float]]]:
    """The setting of the least root mean square error of the log over origins and waiting periods, the score of each
    law's best, and (fact, forecast) in the reference layer by year; None where there is no past to judge by."""
    tried: dict[str, list[tuple[float, Setting]]] = {"tickets": [], "causes": []}
    settings = [Setting(half_life_years=HALF_LIFE_YEARS, k=SITE_TICKETS)]
    settings += [Setting(half_life_years=HALF_LIFE_YEARS, k=SITE_TICKETS, threshold_h=u) for u in THRESHOLDS_H]
    for setting in settings:
        kind = "causes" if setting.by_cause else "tickets"
        if law not in ("auto", kind):
            continue
        try:
            errors = [
                np.log(view.forecast(setting, h) / fact)
                for view, facts in past
                for h, fact in facts.items()
                if fact > 0 and view.forecast(setting, h) > 0
            ]
        except BadRepairLaw:
            continue  # too few long repairs for a tail of its own
        if len(errors) >= 2 * len(_SCORED_H):
            tried[kind].append((float(np.sqrt(np.mean(np.square(errors)))), setting))
    best = {kind: min(found, key=lambda item: item[0]) for kind, found in tried.items() if found}
    if not best:
        return None, {}, []
    kind = min(best, key=lambda name: best[name][0] * (1.0 - _GAIN if name == "tickets" else 1.0))
    setting = best[kind][1]
    whole_years = [item for k, item in enumerate(past) if k % 2 == 0]
    missed = [(facts[REFERENCE_WAITING_H], view.forecast(setting, REFERENCE_WAITING_H)) for view, facts in whole_years]
    return setting, {name: score for name, (score, _) in best.items()}, missed


def _missed(missed: Sequence[tuple[float, float]]) -> float:
    """Root mean square of the log of hours seen to hours forecast, with a judgement of 0.35 worth two years."""
    good = [(fact, made) for fact, made in missed if fact > 0 and made > 0]
    total = sum(float(np.log(fact / made)) ** 2 for fact, made in good) + _YEAR_SPREAD_COUNTS * _YEAR_SPREAD**2
    return float(np.sqrt(total / (len(good) + _YEAR_SPREAD_COUNTS)))


def _mix_of(known: Sequence[Repair], as_of: datetime) -> tuple[FloatArray, FloatArray]:
    return _mix(known, sorted({each.site for each in known}), as_of)


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

    In the collective every site counts by its credibility, spread over its tickets; it counts for as many tickets as
    weights so uneven are worth (Kish 1965). With a mixture by cause that is every site's law.
    """
    if fit.causes is not None:
        return [fit.causes.law()] * len(fit.sites)
    weights = [site.weight * (multipliers[i] if multipliers is not None else 1.0) for i, site in enumerate(fit.sites)]
    total = sum(site.credibility for site in fit.sites)
    pooled = [
        v / max(float(np.sum(v)), 1e-12) * site.credibility / max(total, 1e-12)
        for site, v in zip(fit.sites, weights, strict=True)
    ]
    n_effective = 1.0 / sum(float(np.sum(v**2)) for v in pooled)
    pooled = [v * n_effective for v in pooled]
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
        if fit.causes is not None:
            year = np.exp(rng.normal(0.0, fit.year_spread))
            mixed_law = fit.causes.law(fit.causes.draw_shares(rng))
            drawn[j] = min(float(np.diff(mixed_law.limited_mean(np.array([waiting_h, until])))[0]) * year, indemnity_h)
            continue
        multipliers = [rng.exponential(size=len(site.hours)) for site in fit.sites]
        mixed = share * np.exp([rng.normal(0.0, site.log_share_variance**0.5) for site in fit.sites])
        year = np.exp(rng.normal(0.0, fit.year_spread))
        hours = _layer(fit, law_of(fit, prior, multipliers), mixed / np.sum(mixed), waiting_h, until)[1]
        drawn[j] = min(hours * year, indemnity_h)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Layer(p_above=float(at[0]), expected_hours=float(at[1]), p05=float(low), p95=float(high))
