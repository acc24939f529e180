"""The loss of an event as a distribution: ground-up, gross and net, what makes it wide, and tables of events and years.

Every sample draws a hazard, a curve and damage for each place, and sends the items' losses through terms and
reinsurance. Draws belong to seed, event, place and sample (geo/chance.py): order, chunks and workers change nothing.
Method, sources and what is left out: docs/methods/loss.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from core.errors import InvalidInput
from geo import chance
from geo._compiled_loss import sample_binned, sample_items
from geo.chance import KeyArray
from geo.covers import Bands, surge_factors
from geo.damage_spread import DamageSpread, quantile_table, shifted_curve
from geo.ep import YearLosses
from geo.reinsurance import Outward, OutwardYear
from geo.terms import FloatArray, IntArray, Programme, ProgrammeYear, sums

PERSPECTIVES = ("gul", "il", "ri")  #: ground-up, insured (gross), net of reinsurance
SAMPLES_PER_CHUNK = 10
QUANTILES = (0.05, 0.5, 0.95)


class BadLossInput(InvalidInput):
    """A loss cannot be computed from this."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """Shares of the variance that a whole event, and that a neighbourhood, has in common."""

    event: float = 0.0
    local: float = 0.0

    def __post_init__(self) -> None:
        if self.event < 0 or self.local < 0 or self.event + self.local > 1:
            raise BadLossInput(f"correlation: {self.event:g} and {self.local:g} are not shares that add to at most 1")

    @property
    def weights(self) -> FloatArray:
        """(3,) weights of event, neighbourhood and own part."""
        found: FloatArray = np.sqrt(np.array([self.event, self.local, max(1.0 - self.event - self.local, 0.0)]))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """How uncertain a loss is assumed to be, and how it is sampled. Every figure here is an assumption, stated."""

    n_samples: int = 100
    seed: int = 1
    damage: DamageSpread = field(default_factory=DamageSpread)
    curve_sigma: float = 0.5  #: of the curve's log odds, for the whole event
    hazard_correlation: Correlation = field(default_factory=lambda: Correlation(0.3, 0.5))
    damage_correlation: Correlation = field(default_factory=lambda: Correlation(0.1, 0.2))
    neighbourhood_km: float = 2.0

    def __post_init__(self) -> None:
        if not 2 <= self.n_samples <= 100_000:
            raise BadLossInput(f"samples: {self.n_samples} is not within 2..100000")
        if not 0.01 <= self.neighbourhood_km <= 1000:
            raise BadLossInput(f"neighbourhood: {self.neighbourhood_km:g} km is not within 0.01..1000")


@dataclass(frozen=True, slots=True)
class Sources:
    """Which sources of uncertainty speak."""

    hazard: bool = True
    curve: bool = True
    damage: bool = True
    correlation: bool = True


ALL_SOURCES = Sources()
#: What each source does by itself, and all of them without what places share.
CONTRIBUTIONS: dict[str, Sources] = {
    "hazard": Sources(True, False, False),
    "curve": Sources(False, True, False),
    "damage": Sources(False, False, True),
    "all_independent": Sources(True, True, True, False),
}


class GroundUp(Protocol):
    """Draws the ground-up losses of one event."""

    @property
    def event(self) -> int: ...

    @property
    def exposed(self) -> float:
        """The largest ground-up loss the event can cause."""
        ...

    def draw(self, sample: int, sources: Sources, out: FloatArray) -> None:
        """Writes the loss of each item of the book (n_items,) to `out`."""
        ...


@dataclass(frozen=True)
class CurveSet:
    """Damage ratio by intensity, linear between knots, zero below the first and flat above the last."""

    x: FloatArray  #: (n_curves, n_knots) ascending, in the unit of the intensity
    y: FloatArray  #: (n_curves, n_knots) in [0, 1]
    n: IntArray  #: (n_curves,) knots in use

    @classmethod
    def make(cls, curves: Sequence[tuple[Sequence[float] | FloatArray, Sequence[float] | FloatArray]]) -> "CurveSet":
        """Curves from (intensities, ratios); raises BadLossInput where more hazard would be less damage."""
        width = max(len(x) for x, _ in curves)
        x, y = np.zeros((len(curves), width)), np.zeros((len(curves), width))
        for row, (xs, ys) in enumerate(curves):
            if len(xs) != len(ys) or len(xs) < 2 or (np.diff(xs) <= 0).any():
                raise BadLossInput(f"curve {row}: intensities do not ascend")
            if np.min(ys) < 0 or np.max(ys) > 1 or (np.diff(ys) < -1e-12).any():
                raise BadLossInput(f"curve {row}: ratios fall, or lie outside 0..1")
            x[row, : len(xs)], y[row, : len(xs)] = xs, np.maximum.accumulate(np.asarray(ys, dtype=float))
        return cls(x, y, np.array([len(xs) for xs, _ in curves], dtype=np.int64))

    def mean(self, curve: IntArray, intensity: FloatArray) -> FloatArray:
        """(n,) damage ratios without uncertainty."""
        out = np.empty(len(curve))
        for c in np.unique(curve):
            mine = curve == c
            n = self.n[c]
            out[mine] = np.interp(intensity[mine], self.x[c, :n], self.y[c, :n], left=0.0)
        return out


@dataclass(frozen=True)
class Felt:
    """What an event does at places, and the items that stand there. Implements GroundUp.

    Everything here is known: places whose hazard, curve or position is unknown are counted by the caller.
    """

    event: int
    item: IntArray  #: (m,) item of the book, ascending
    item_place: IntArray  #: (m,) place of each; items of one place stand together
    item_curve: IntArray  #: (m,)
    value: FloatArray  #: (m,) insured value
    key: KeyArray  #: (n_places,)
    cell: KeyArray  #: (n_places,)
    intensity: FloatArray  #: (n_places,) or (n_members, n_places): median, or the members of an ensemble
    sigma_ln: FloatArray  #: (n_places,) sd of the logarithm of the intensity around it
    curves: CurveSet
    assumed: Uncertainty
    _room: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.intensity).all() and np.isfinite(self.sigma_ln).all()):
            raise BadLossInput("an intensity is unknown: leave the place out by name before")
        if (self.intensity < 0).any() or (self.sigma_ln < 0).any():
            raise BadLossInput("an intensity or its sigma is negative")
        object.__setattr__(self, "_room", np.empty(len(self.item)))

    @property
    def exposed(self) -> float:
        return float(self.value.sum())

    def draw(self, sample: int, sources: Sources, out: FloatArray) -> None:
        a = self.assumed
        one = np.array([sample], dtype=np.int64)
        event_h, event_d = (float(z[0]) for z in chance.event_normals(a.seed, self.event, chance.EVENT, one))
        shift = float(chance.event_normals(a.seed, self.event, chance.CURVE, one)[0][0])
        hazard, damage = a.hazard_correlation, a.damage_correlation
        if not sources.correlation:
            hazard = damage = Correlation()
        felt = self.intensity
        if felt.ndim == 2:
            felt = felt[sample % len(felt)] if sources.hazard else np.median(felt, axis=0)
        sample_items(
            np.uint64(sample), self.item_place, self.item_curve, self.value, self.key, self.cell, felt,
            self.sigma_ln if sources.hazard else np.zeros_like(self.sigma_ln), self.curves.x, self.curves.y,
            self.curves.n, event_h, event_d, hazard.weights, damage.weights,
            chance.start_of(a.seed, self.event, chance.LOCAL), chance.start_of(a.seed, self.event, chance.OWN),
            shifted_curve(a.curve_sigma if sources.curve else 0.0, shift), quantile_table(a.damage), sources.damage,
            self._room,
        )  # fmt: skip
        out[:] = 0.0
        out[self.item] = self._room


@dataclass(frozen=True)
class Binned:
    """An event whose model gives damage as chances of bins: hazard, curve and damage in one. Implements GroundUp."""

    event: int
    item: IntArray  #: (m,) item of the book; one for each peril that hits it
    item_place: IntArray
    item_law: IntArray  #: (m,) row of `cdf`
    value: FloatArray
    key: KeyArray
    cell: KeyArray
    cdf: FloatArray  #: (n_laws, n_bins) cumulative chances
    bin_from: FloatArray
    bin_to: FloatArray
    assumed: Uncertainty

    @property
    def exposed(self) -> float:
        return float(self.value[np.unique(self.item, return_index=True)[1]].sum())

    @property
    def means(self) -> FloatArray:
        """(m,) mean loss of each entry: no sampling, and no cap where several perils hit one item."""
        chances = np.diff(self.cdf, axis=1, prepend=0.0)
        found: FloatArray = (chances @ ((self.bin_from + self.bin_to) / 2))[self.item_law] * self.value
        return found

    def draw(self, sample: int, sources: Sources, out: FloatArray) -> None:
        a = self.assumed
        out[:] = 0.0
        if not (sources.hazard or sources.curve or sources.damage):
            np.add.at(out, self.item, self.means)
            return
        one = np.array([sample], dtype=np.int64)
        event_d = float(chance.event_normals(a.seed, self.event, chance.EVENT, one)[1][0])
        weights = (a.damage_correlation if sources.correlation else Correlation()).weights
        room = np.empty(len(self.item))
        # one item may be hit by several perils: its losses add up, to its value at most
        sample_binned(
            np.uint64(sample), self.item_place, self.item_law, self.value, self.key, self.cell, self.cdf,
            self.bin_from, self.bin_to, event_d, weights, chance.start_of(a.seed, self.event, chance.LOCAL),
            chance.start_of(a.seed, self.event, chance.OWN), room,
        )  # fmt: skip
        np.add.at(out, self.item, room)
        out[self.item] = np.minimum(out[self.item], self.value)


@dataclass(frozen=True)
class Chain:
    """From ground-up losses of items to money: the terms and the reinsurance, and by what sums are kept."""

    programme: Programme
    outward: Outward | None
    row_policy: IntArray  #: (n_rows,)
    n_policies: int
    item_group: IntArray | None = None  #: (n_items,) group of an item
    row_group: IntArray | None = None  #: (n_rows,)
    n_groups: int = 0
    surge: Bands = ()  #: demand surge by the event's ground-up loss; empty: none
    factor: FloatArray | None = None  #: (n_items,) what stated steps (debris removal) make of each item's loss

    def raise_costs(self, ground_up: FloatArray) -> None:
        """Applies stated steps and demand surge to ground-up losses, in place."""
        if self.factor is not None:
            ground_up *= self.factor
        if self.surge:
            ground_up *= surge_factors(ground_up.sum(keepdims=True), self.surge)

    @property
    def annual(self) -> bool:
        """Whether terms or reinsurance answer to the sum of a year."""
        return self.programme.annual or (self.outward is not None and self.outward.annual)

    def new_year(self) -> tuple[ProgrammeYear, OutwardYear | None]:
        """A year in which nothing has happened yet."""
        return self.programme.new_year(), None if self.outward is None else self.outward.new_year()

    def apply(
        self, ground_up: FloatArray, year: tuple[ProgrammeYear, OutwardYear | None] | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """(insured, net) of each row; in a `year`, what its earlier events left of the year's terms."""
        direct, outward = (None, None) if year is None else year
        insured = self.programme.insured(ground_up, direct)
        return insured, insured if self.outward is None else self.outward.net(insured, outward)


@dataclass(frozen=True)
class Samples:
    """Losses of samples: totals one by one, everything else as sums over them."""

    sample: IntArray  #: (n,)
    total: FloatArray  #: (3, n) ground-up, gross, net
    group: FloatArray  #: (3, n_groups, n)
    item_gul: FloatArray  #: (n_items,) sum over samples
    row_il: FloatArray  #: (n_rows,)
    row_ri: FloatArray
    policy_sq: FloatArray  #: (n_policies,) sum of squares of the policy's gross loss
    policy_hit: IntArray  #: (n_policies,) samples in which it pays

    def plus(self, other: "Samples") -> "Samples":
        """These and those that follow them. Sums are added in place: these are not to be used afterwards."""
        for name in ("item_gul", "row_il", "row_ri", "policy_sq", "policy_hit"):
            mine = getattr(self, name)
            np.add(mine, getattr(other, name), out=mine)
        return replace(
            self,
            sample=np.concatenate([self.sample, other.sample]),
            total=np.concatenate([self.total, other.total], axis=1),
            group=np.concatenate([self.group, other.group], axis=2),
        )


def run_chunk(chain: Chain, ground_up: GroundUp, samples: Sequence[int], sources: Sources = ALL_SOURCES) -> Samples:
    """The losses of some samples: what a worker does."""
    p = chain.programme
    total, group = np.zeros((3, len(samples))), np.zeros((3, chain.n_groups, len(samples)))
    item_gul, row_il, row_ri = np.zeros(p.n_items), np.zeros(p.n_rows), np.zeros(p.n_rows)
    policy_sq, policy_hit = np.zeros(chain.n_policies), np.zeros(chain.n_policies, dtype=np.int64)
    out = np.empty(p.n_items)
    for at, sample in enumerate(samples):
        ground_up.draw(sample, sources, out)
        chain.raise_costs(out)
        insured, net = chain.apply(out)
        total[:, at] = out.sum(), insured.sum(), net.sum()
        if chain.item_group is not None and chain.row_group is not None:
            group[0, :, at] = sums(chain.item_group, out, chain.n_groups)
            group[1, :, at] = sums(chain.row_group, insured, chain.n_groups)
            group[2, :, at] = sums(chain.row_group, net, chain.n_groups)
        item_gul += out
        row_il += insured
        row_ri += net
        of_policy = sums(chain.row_policy, insured, chain.n_policies)
        policy_sq += of_policy**2
        policy_hit += of_policy > 0
    return Samples(np.asarray(samples, dtype=np.int64), total, group, item_gul, row_il, row_ri, policy_sq, policy_hit)


#: Runs (chain, ground_up, samples, sources) for each list of samples and gives the results in that order.
Mapper = Callable[[Chain, GroundUp, list[list[int]], Sources], Iterable[Samples]]


def in_process(chain: Chain, ground_up: GroundUp, chunks: list[list[int]], sources: Sources) -> Iterable[Samples]:
    """One chunk after the other, here."""
    return (run_chunk(chain, ground_up, chunk, sources) for chunk in chunks)


def simulate(
    chain: Chain,
    ground_up: GroundUp,
    n_samples: int,
    *,
    sources: Sources = ALL_SOURCES,
    mapper: Mapper = in_process,
    progress: Callable[[int], None] | None = None,
) -> Samples:
    """The losses of samples 0 .. n_samples - 1. Chunks have a fixed size, so that sums are the same bits anywhere."""
    chunks = [
        list(range(first, min(first + SAMPLES_PER_CHUNK, n_samples)))
        for first in range(0, n_samples, SAMPLES_PER_CHUNK)
    ]
    whole: Samples | None = None
    for part in mapper(chain, ground_up, chunks, sources):
        whole = part if whole is None else whole.plus(part)
        del part  # a chunk of a large book is large
        if progress is not None:
            progress(len(whole.sample))
    assert whole is not None
    return whole


def quantiles(losses: FloatArray) -> dict[str, float]:
    """Mean with its standard error, sd, P5, P50 and P95 of sampled losses (n,), n >= 2."""
    p5, p50, p95 = np.quantile(losses, QUANTILES)
    sd = float(losses.std(ddof=1))
    return {
        "mean": float(losses.mean()), "mean_se": sd / float(np.sqrt(len(losses))), "sd": sd,
        "p5": float(p5), "p50": float(p50), "p95": float(p95),
    }  # fmt: skip


def distribution(samples: Samples) -> dict[str, dict[str, float]]:
    """`quantiles` of ground-up, gross and net."""
    return {name: quantiles(samples.total[i]) for i, name in enumerate(PERSPECTIVES)}


def contributions(
    chain: Chain, ground_up: GroundUp, n_samples: int, *, mapper: Mapper = in_process
) -> dict[str, dict[str, float]]:
    """The standard deviation of ground-up, gross and net with one source of uncertainty at a time.

    `all_independent` is all of them with nothing shared between places: what it lacks of the whole is what
    correlation adds. Standard deviations of single sources do not add up: losses are not linear in them.
    """
    told = {}
    for name, sources in CONTRIBUTIONS.items():
        total = simulate(chain, ground_up, n_samples, sources=sources, mapper=mapper).total
        told[name] = {p: float(total[i].std(ddof=1)) for i, p in enumerate(PERSPECTIVES)}
    return told


@dataclass(frozen=True)
class EventLoss:
    """An event of a set with its sampled losses."""

    event: int
    rate_per_year: float
    total: FloatArray  #: (3, n_samples)
    exposed: float


def event_table(events: Sequence[EventLoss], perspective: str) -> dict[str, list[Any]]:
    """Columns of an event loss table as `tocsin ep` reads it; events that cost nothing are left out."""
    i = PERSPECTIVES.index(perspective)
    kept = [e for e in events if e.total[i].any()]
    return {
        "event_id": [e.event for e in kept],
        "rate": [e.rate_per_year for e in kept],
        "mean": [float(e.total[i].mean()) for e in kept],
        "sd": [float(e.total[i].std(ddof=1)) for e in kept],
        "exposed": [max(e.exposed, float(e.total[i].max())) for e in kept],
    }


@dataclass(frozen=True)
class Occurrences:
    """Which event happens in which year: years 0 .. n_years - 1."""

    year: IntArray
    event: IntArray
    n_years: int
    day: FloatArray | None = None


def year_table(
    events: Sequence[EventLoss], occurrences: Occurrences, perspective: str, *, seed: int
) -> tuple[YearLosses, IntArray]:
    """(year losses, sample of each): each occurrence takes one of its event's samples, the same in every perspective.

    An event that is not among `events` costs nothing.
    """
    i = PERSPECTIVES.index(perspective)
    at = {e.event: index for index, e in enumerate(events)}
    index = np.array([at.get(int(e), -1) for e in occurrences.event], dtype=np.int64)
    n = np.array([len(e.total[0]) for e in events] or [1], dtype=np.int64)
    draw = chance.mix_array(np.arange(len(index), dtype=np.uint64) ^ chance.start_of(seed, 0, 0))
    sample = (draw % n[np.maximum(index, 0)].astype(np.uint64)).astype(np.int64)
    loss = np.array([events[k].total[i, s] if k >= 0 else 0.0 for k, s in zip(index, sample, strict=True)])
    kept = loss > 0
    day = None if occurrences.day is None else occurrences.day[kept]
    order = np.argsort(occurrences.year[kept], kind="stable")
    years = YearLosses(
        occurrences.year[kept][order], loss[kept][order], occurrences.n_years, None if day is None else day[order],
        occurrences.event[kept][order],
    )  # fmt: skip
    return years, sample[kept][order]


def every_sample(
    events: Sequence[EventLoss], occurrences: Occurrences, perspective: str, n_samples: int
) -> tuple[YearLosses, IntArray]:
    """As `year_table`, but each sample of each year is a year of its own: year x n_samples + sample."""
    i = PERSPECTIVES.index(perspective)
    at = {e.event: e for e in events}
    years, losses, ids, days, drawn = [], [], [], [], []
    for row in range(len(occurrences.year)):
        event = at.get(int(occurrences.event[row]))
        if event is None:
            continue
        hit = np.flatnonzero(event.total[i, :n_samples])
        years.append(occurrences.year[row] * n_samples + hit)
        losses.append(event.total[i, hit])
        drawn.append(hit)
        ids.append(np.full(len(hit), event.event))
        if occurrences.day is not None:
            days.append(np.full(len(hit), occurrences.day[row]))
    if not years:
        none = np.zeros(0, dtype=np.int64)
        return YearLosses(none, np.zeros(0), occurrences.n_years * n_samples), none
    year = np.concatenate(years)
    order = np.argsort(year, kind="stable")
    return (
        YearLosses(
            year[order], np.concatenate(losses)[order], occurrences.n_years * n_samples,
            np.concatenate(days)[order] if days else None, np.concatenate(ids)[order],
        ),
        np.concatenate(drawn)[order],
    )  # fmt: skip


@dataclass(frozen=True)
class YearRun:
    """Occurrences that went through their years one after the other."""

    events: list[EventLoss]  #: one for each occurrence, numbered from 0
    occurrences: Occurrences  #: likewise numbered
    event_id: IntArray  #: (n,) the event of each
    premium: FloatArray  #: (n, n_samples) reinstatement premium that each makes due


def year_losses(
    chain: Chain, events: Sequence[GroundUp], occurrences: Occurrences, n_samples: int,
    progress: Callable[[int, int], None] | None = None,
) -> YearRun:  # fmt: skip
    """Losses of each occurrence in its year, where terms or treaties answer to the sum of a year.

    Each sample of each year goes through its events in the order of days, and what earlier ones used of annual
    aggregates and treaties is gone. Occurrences that do not touch the book are left out.
    """
    at = {event.event: event for event in events}
    rows = np.array([row for row, event in enumerate(occurrences.event.tolist()) if event in at], dtype=np.int64)
    day = np.zeros(len(occurrences.year)) if occurrences.day is None else occurrences.day
    rows = rows[np.lexsort((day[rows], occurrences.year[rows]))]
    total, premium = np.zeros((len(rows), 3, n_samples)), np.zeros((len(rows), n_samples))
    out = np.empty(chain.programme.n_items)
    starts = np.flatnonzero(np.r_[True, np.diff(occurrences.year[rows]) != 0]) if len(rows) else rows
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        for sample in range(n_samples):
            year, due = chain.new_year(), 0.0
            for number in range(first, last):
                at[int(occurrences.event[rows[number]])].draw(sample, ALL_SOURCES, out)
                chain.raise_costs(out)
                insured, net = chain.apply(out, year)
                total[number, :, sample] = out.sum(), insured.sum(), net.sum()
                if year[1] is not None:
                    premium[number, sample], due = year[1].premium - due, year[1].premium
        if progress is not None:
            progress(last, len(rows))
    made = [EventLoss(number, 0.0, total[number], float(total[number, 0].max())) for number in range(len(rows))]
    numbered = Occurrences(
        occurrences.year[rows], np.arange(len(rows)), occurrences.n_years,
        None if occurrences.day is None else occurrences.day[rows],
    )  # fmt: skip
    return YearRun(made, numbered, occurrences.event[rows], premium)


def told(assumed: Uncertainty) -> Mapping[str, Any]:
    """The assumptions for people and programs."""
    return {
        "n_samples": assumed.n_samples, "seed": assumed.seed, "curve_sigma": assumed.curve_sigma,
        "damage": {name: getattr(assumed.damage, name) for name in ("spread", "zero", "one", "power")},
        "hazard_correlation": {"event": assumed.hazard_correlation.event, "local": assumed.hazard_correlation.local},
        "damage_correlation": {"event": assumed.damage_correlation.event, "local": assumed.damage_correlation.local},
        "neighbourhood_km": assumed.neighbourhood_km,
    }  # fmt: skip
