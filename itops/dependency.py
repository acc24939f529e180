"""Services as k of n devices: how often one goes down, and for how long."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from core.errors import InvalidInput
from itops.losses import Capped, Mixture, Tabulated
from itops.severity import FloatArray, RepairLaw

HOURS_PER_YEAR = 8766.0


class BadService(InvalidInput):
    """A service's devices and the number it needs do not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A business service that stands on devices: it is up while at least `needed` of them are."""

    name: str
    revenue_per_hour: Decimal
    assets: tuple[str, ...]  #: asset_ids
    needed: int  #: 1 .. len(assets)

    def __post_init__(self) -> None:
        if not self.assets or not 1 <= self.needed <= len(self.assets):
            raise BadService(
                f"needed must be from 1 to the {len(self.assets)} devices it stands on", service=self.name,
                needed=self.needed,
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One device under a service."""

    rate_per_year: float
    repair: Capped  #: with replacement after its cap: an infinite mean has no availability


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How a service fails."""

    rate_per_year: float
    law: RepairLaw
    unavailability: float  #: share of time down


def _down(q: FloatArray) -> FloatArray:
    """P(0), P(1), ... units down: the Poisson-binomial law by convolution."""
    law = np.array([1.0])
    for one in q:
        law = np.convolve(law, [1.0 - one, one])
    return law


def outage(units: Sequence[Unit], needed: int) -> Outage:
    """The rate and length of outages of a service that needs `needed` of its units.

    In steady state with independent units the service goes down when a unit fails while exactly `needed` are up:
    rate = sum over i of lambda_i A_i P(needed - 1 of the others are up) (Barlow & Proschan 1975, ch. 7). It stays down
    while none of the n - needed + 1 units that are out comes back: the fresh repair time and, for the others, what is
    left of theirs, whose survival is the repair time's integrated tail over its mean (renewal theory; Feller II,
    XI.4); unlike units are taken as a mixture by rate. With needed = n it is the repair time itself.
    """
    n = len(units)
    if not 1 <= needed <= n:
        raise BadService(needed=needed, n_units=n)
    rates = np.array([unit.rate_per_year for unit in units])
    mean_h = np.array([unit.repair.mean for unit in units])
    q = rates * mean_h / HOURS_PER_YEAR
    q = q / (1.0 + q)
    out = n - needed
    whole = _down(q)
    if out == 0:
        alone = np.prod(1.0 - q) / (1.0 - q)
    else:
        alone = np.empty(n)
        found: dict[float, float] = {}
        for i in range(n):
            if q[i] not in found:
                others = _down(np.delete(q, i))
                found[q[i]] = float(others[out]) if out < len(others) else 0.0
            alone[i] = found[q[i]]
    rate = float(np.sum(rates * (1.0 - q) * alone))
    fresh = Mixture([unit.repair for unit in units], [max(r, 1e-300) for r in rates])
    law: RepairLaw = fresh
    if out > 0:
        cap = max(unit.repair.cap_h for unit in units)
        h = np.concatenate([[0.0], np.geomspace(0.01, cap, 600)])
        mean = float(fresh.limited_mean(np.array([cap]))[0])
        left = np.clip(1.0 - fresh.limited_mean(h) / mean, 0.0, 1.0)
        survival = np.minimum.accumulate(fresh.survival(h) * left**out)
        law = Tabulated(h, survival)
    return Outage(rate_per_year=rate, law=law, unavailability=float(np.sum(whole[out + 1 :])))
