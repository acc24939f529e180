"""Reinsurance on top of insured losses: treaties by inuring priority, what they take and what stays net.

Kinds (OED ReinsType): facultative FAC, surplus share SS, quota share QS, per-risk excess PR, catastrophe excess CXL.
Contracts of one inuring priority and risk level look at the same loss; the next ones look at what these leave.
Arithmetic as OasisLMF's reinsurance layer (oasislmf/preparation/reinsurance_layer.py, calculation rules 23 and 24):
a risk's ceded loss is clip(ceded share x loss - attachment, 0, limit); the contract's occurrence terms then apply to
the sum over risks, and the placed share to what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geo.terms import BadTerms, FloatArray, IntArray, _ratio, sums

RISK_LEVELS = ("LOC", "LGR", "POL", "ACC", "SEL")
KINDS = ("FAC", "SS", "QS", "PR", "CXL")


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

    def ceded_loss(self, loss: FloatArray) -> FloatArray:
        """(m,) what the treaty takes of each of its rows, from all rows' losses."""
        mine = loss[self.rows]
        total = sums(self.risk, mine, len(self.ceded))
        taken = np.clip(total * self.ceded - self.attachment, 0.0, self.limit) * self.placed_of_risk
        whole = float(taken.sum())
        recovered = (
            min(max(self.occurrence_ceded * whole - self.occurrence_attachment, 0.0), self.occurrence_limit)
            * self.placed
        )
        share = recovered / whole if whole > 0 else 0.0
        out: FloatArray = mine * (_ratio(taken, total) * share)[self.risk]
        return out


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

    def net(self, insured: FloatArray) -> FloatArray:
        """(n_rows,) insured loss net of reinsurance."""
        if insured.shape != (self.n_rows,):
            raise BadTerms(f"insured loss has {insured.shape}, the reinsurance knows {self.n_rows} rows")
        left = insured.copy()
        for tier in self.tiers:
            start = left.copy() if len(tier.treaties) > 1 else left
            taken = [(treaty, treaty.ceded_loss(start)) for treaty in tier.treaties]
            for treaty, ceded in taken:
                if _distinct(treaty.rows):
                    left[treaty.rows] = np.maximum(left[treaty.rows] - ceded, 0.0)
                else:
                    np.subtract.at(left, treaty.rows, ceded)
                    np.maximum(left, 0.0, out=left)
        return left


def _distinct(rows: IntArray) -> bool:
    return len(rows) < 2 or bool((rows[1:] > rows[:-1]).all())


def order(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """By priority, then location, group, policy, account, portfolio."""
    return tuple(sorted(tiers, key=lambda tier: (tier.priority, RISK_LEVELS.index(tier.risk_level))))
