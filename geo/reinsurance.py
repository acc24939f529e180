"""Reinsurance on top of insured losses: treaties by inuring priority, what they take and what stays net.

Kinds (OED ReinsType): facultative FAC, surplus share SS, quota share QS, per-risk excess PR, catastrophe excess CXL,
aggregate excess AXL.
Contracts of one inuring priority and risk level look at the same loss; the next ones look at what these leave.
Arithmetic as OasisLMF's reinsurance layer (oasislmf/preparation/reinsurance_layer.py, calculation rules 23 and 24):
a risk's ceded loss is clip(ceded share x loss - attachment, 0, limit); the contract's occurrence terms then apply to
the sum over risks, and the placed share to what is left. Between the two stand the aggregate terms (OED 5,
reinsurance, order of application): attachment and limit of the year's sum, in which an event takes what earlier ones
left; reinstatements bound the year's sum likewise, and cost a premium pro rata as to amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo.terms import BadTerms, FloatArray, IntArray, _ratio, sums

RISK_LEVELS = ("LOC", "LGR", "POL", "ACC", "SEL")
KINDS = ("FAC", "SS", "QS", "PR", "CXL", "AXL")


@dataclass(frozen=True)
class Treaty:
    """One contract over some rows, or many facultative contracts at once (each its own risk, no occurrence terms)."""

    name: str
    rows: IntArray  #: (m,) rows in scope; a row may stand more than once when several facultatives cover it
    risk: IntArray  #: (m,) risk of each
    ceded: FloatArray  #: (n_risks,) share of each risk's loss
    attachment: FloatArray  #: (n_risks,) per risk, of the ceded share
    limit: FloatArray  #: (n_risks,) per risk, infinite where there is none
    placed_of_risk: FloatArray  #: (n_risks,) placed share where it acts on the risk (facultative), else 1
    occurrence_ceded: float = 1.0
    occurrence_attachment: float = 0.0
    occurrence_limit: float = np.inf
    placed: float = 1.0
    franchise: float = 0.0  #: nothing is recovered of an occurrence up to it, and all above it
    reverse_franchise: float = np.inf  #: nothing is recovered of an occurrence above it
    year_attachment: float = 0.0  #: of the year's sum of occurrences
    year_limit: float = np.inf
    reinstatement: "Reinstatement | None" = None

    @property
    def annual(self) -> bool:
        """Whether earlier events of a year change what an event recovers."""
        return self.year_attachment > 0 or bool(np.isfinite(self.year_limit))

    @property
    def plain(self) -> bool:
        """Whether nothing but terms of single risks holds."""
        return (
            np.isinf(self.occurrence_limit) and self.occurrence_attachment == 0 and self.occurrence_ceded == 1
            and self.placed == 1 and self.franchise == 0 and np.isinf(self.reverse_franchise) and not self.annual
        )  # fmt: skip

    def ceded_loss(self, loss: FloatArray, used: "TreatyUse | None" = None) -> FloatArray:
        """(m,) what the treaty takes of each of its rows, from all rows' losses.

        `used` is what it has seen of the year, and is brought up to date; without it the event is the year's first.
        """
        mine = loss[self.rows]
        total = sums(self.risk, mine, len(self.ceded))
        taken = np.clip(total * self.ceded - self.attachment, 0.0, self.limit) * self.placed_of_risk
        whole = float(taken.sum())
        occurrence = self.occurrence_ceded * whole
        if occurrence <= self.franchise or occurrence > self.reverse_franchise:
            occurrence = 0.0
        recovered = min(max(occurrence - self.occurrence_attachment, 0.0), self.occurrence_limit)
        if self.annual:
            used = used or TreatyUse()
            recovered = used.take(recovered, self)
        recovered *= self.placed
        share = recovered / whole if whole > 0 else 0.0
        out: FloatArray = mine * (_ratio(taken, total) * share)[self.risk]
        return out


@dataclass(frozen=True)
class Reinstatement:
    """How often a limit is paid again in a year, and at what premium."""

    limit: float  #: what is reinstated
    times: int
    premium: float = 0.0  #: for the whole limit, before reinstatements
    charges: tuple[float, ...] = ()  #: share of the premium for each reinstatement; the last one holds on

    def charged(self, recovered: float) -> float:
        """The premium for what has been recovered in a year (before the placed share)."""
        if not self.charges:
            return 0.0
        due = 0.0
        for number in range(self.times):
            part = min(max(recovered - number * self.limit, 0.0), self.limit) / self.limit
            due += part * self.charges[min(number, len(self.charges) - 1)] * self.premium
        return due


@dataclass
class TreatyUse:
    """What a treaty has seen of a year so far."""

    occurrences: float = 0.0  #: sum after occurrence terms, before those of the year
    premium: float = 0.0  #: reinstatement premium due so far

    def take(self, occurrence: float, treaty: Treaty) -> float:
        """What of an occurrence is recovered within the year's terms, before the placed share."""
        before, after = self.occurrences, self.occurrences + occurrence
        low, high = (min(max(x - treaty.year_attachment, 0.0), treaty.year_limit) for x in (before, after))
        self.occurrences = after
        if treaty.reinstatement is not None:
            self.premium = treaty.reinstatement.charged(high) * treaty.placed
        return max(high - low, 0.0)


@dataclass(frozen=True)
class Tier:
    """The treaties of one inuring priority and risk level: all look at the same loss."""

    priority: int
    risk_level: str
    treaties: tuple[Treaty, ...]


@dataclass(frozen=True)
class Outward:
    """A book's outward reinsurance, tiers in the order in which they answer."""

    n_rows: int
    tiers: tuple[Tier, ...]
    notes: tuple[str, ...] = ()  #: what of the files does not act on one event

    @property
    def annual(self) -> bool:
        """Whether a treaty answers to the year."""
        return any(treaty.annual for tier in self.tiers for treaty in tier.treaties)

    def new_year(self) -> "OutwardYear":
        """A year in which nothing has happened yet."""
        return OutwardYear(tuple(tuple(TreatyUse() for _ in tier.treaties) for tier in self.tiers))

    def net(self, insured: FloatArray, year: "OutwardYear | None" = None) -> FloatArray:
        """(n_rows,) insured loss net of reinsurance; with a `year` treaties hold what its earlier events left."""
        if insured.shape != (self.n_rows,):
            raise BadTerms(f"insured loss has {insured.shape}, the reinsurance knows {self.n_rows} rows")
        left = insured.copy()
        for number, tier in enumerate(self.tiers):
            start = left.copy() if len(tier.treaties) > 1 else left
            uses = (None,) * len(tier.treaties) if year is None else year.uses[number]
            taken = [(treaty, treaty.ceded_loss(start, use)) for treaty, use in zip(tier.treaties, uses, strict=True)]
            for treaty, ceded in taken:
                if _distinct(treaty.rows):
                    left[treaty.rows] = np.maximum(left[treaty.rows] - ceded, 0.0)
                else:
                    np.subtract.at(left, treaty.rows, ceded)
                    np.maximum(left, 0.0, out=left)
        return left


@dataclass(frozen=True)
class OutwardYear:
    """What the treaties have seen of a year so far."""

    uses: tuple[tuple[TreatyUse, ...], ...]  #: of each tier and treaty

    @property
    def premium(self) -> float:
        """Reinstatement premium due so far."""
        return sum(use.premium for tier in self.uses for use in tier)


def _distinct(rows: IntArray) -> bool:
    return len(rows) < 2 or bool((rows[1:] > rows[:-1]).all())


def order(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """By priority, then location, group, policy, account, portfolio."""
    return tuple(sorted(tiers, key=lambda tier: (tier.priority, RISK_LEVELS.index(tier.risk_level))))
