"""Common shocks: one event that takes many devices at once, as a layer of its own in the year's total."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.errors import InvalidInput
from itops.aggregate import ComplexArray, LossGroup
from itops.severity import FloatArray

#: The grid of one event is doubled until the mean is right to this.
_MEAN_TOLERANCE = 1e-9
_MAX_NODES = 1 << 21


class BadShock(InvalidInput):
    """A shock needs a rate of at least 0, and members with a hit probability between 0 and 1."""


class ShockKind(StrEnum):
    """What strikes many devices at once."""

    SITE_POWER_COOLING = "site power/cooling"
    NETWORK = "network"
    FIRMWARE_BATCH = "firmware batch"
    CLOUD_REGION = "cloud region"
    HUMAN_CHANGE = "human change"
    NATURAL_HAZARD = "natural hazard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """Like devices (or services) in reach of a shock."""

    n: int  #: how many
    hit_probability: float  #: of each, given the shock; independent given the shock
    probability: FloatArray  #: (m,) of a loss of 0, step, 2 step, ... of one that is hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Shock:
    """N_i = N_i0 + sum_s B_is N_s: a Poisson number of shocks a year, each hits its members or spares them."""

    name: str
    kind: ShockKind
    rate_per_year: float
    members: tuple[Struck, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.rate_per_year < np.inf:
            raise BadShock(shock=self.name, rate_per_year=self.rate_per_year)
        for each in self.members:
            if each.n < 0 or not 0 <= each.hit_probability <= 1 or abs(float(np.sum(each.probability)) - 1.0) > 1e-9:
                raise BadShock(shock=self.name, n=each.n, hit_probability=each.hit_probability)


def count_moments(independent: FloatArray, shocks: Sequence[tuple[float, FloatArray]]) -> tuple[float, float]:
    """Mean and variance of the number of failures of devices with their own Poisson means and common shocks.

    `shocks` are (rate, hit probability of each device). Variance sum m_i + sum_s lam_s ((sum p)^2 + sum p (1 - p)),
    with m_i the device's own failures: Lindskog & McNeil (2003), ASTIN Bulletin 33, section 3.
    """
    mean = variance = float(np.sum(independent))
    for rate, hit in shocks:
        total = float(np.sum(hit))
        mean += rate * total
        variance += rate * (total**2 + float(np.sum(hit * (1.0 - hit))))
    return mean, variance


def event_loss(shock: Shock) -> FloatArray:
    """Probabilities on 0, step, 2 step, ... of the loss of one shock: the sum over members that are hit.

    The transform of a member is 1 - p + p f; members multiply. The grid is cut where nothing of weight lies beyond,
    and what is cut goes to its last node, so that the mean stands. Raises BadShock where the grid would be too long.
    """
    mean, variance, longest = 0.0, 0.0, 0
    for each in shock.members:
        at = np.arange(len(each.probability), dtype=np.float64)
        m1, m2 = float(np.sum(at * each.probability)), float(np.sum(at**2 * each.probability))
        p = each.hit_probability
        mean += each.n * p * m1
        variance += each.n * (p * m2 - (p * m1) ** 2)
        longest += each.n * (len(each.probability) - 1)
    n = 1 << int(np.ceil(np.log2(min(longest, mean + 40.0 * variance**0.5 + 64.0) + 2.0)))
    while n <= _MAX_NODES:
        whole = np.ones(n // 2 + 1, dtype=np.complex128)
        for each in shock.members:
            if len(each.probability) > n:
                break
            f: ComplexArray = np.asarray(np.fft.rfft(each.probability, n), dtype=np.complex128)
            whole *= (1.0 + each.hit_probability * (f - 1.0)) ** each.n
        else:
            out = np.asarray(np.fft.irfft(whole, n), dtype=np.float64)
            at = np.arange(n, dtype=np.float64)
            off = abs(float(np.sum(at * out)) - mean)
            spread = abs(float(np.sum((at - mean) ** 2 * out)) - variance)
            if off <= _MEAN_TOLERANCE * max(mean, 1.0) and spread <= 1e-7 * max(variance, 1.0):
                last = int(np.flatnonzero(np.abs(out) > 1e-18)[-1])
                return out[: last + 1] / float(np.sum(out[: last + 1]))
        n *= 2
    raise BadShock("The loss of one shock does not fit the money grid: take a larger step", shock=shock.name)


def shock_group(shock: Shock, *, rate_cv: float = 0.0) -> LossGroup:
    """The shock as a group of the compound law: its count is Poisson (or mixed), its loss that of all it strikes.

    Put beside the groups of independent failures in `aggregate.compound`: a policy's shocks, and those that policies
    of a portfolio share, are then summed exactly and not by a copula.
    """
    return LossGroup(expected_count=shock.rate_per_year, mixing_cv2=rate_cv**2, probability=event_loss(shock))
