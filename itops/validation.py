"""Checks on a compound law that say which moment is off, and a simulation beside the transform."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itops.aggregate import LossGroup, LossLaw
from itops.severity import FloatArray

#: Relative differences that are told. A grid's rounding of losses moves the variance by a share of step^2 / m2.
TOLERANCES = {"probability": 1e-9, "mean": 1e-6, "variance": 1e-4, "skewness": 1e-3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment of a compound law beside its exact value."""

    name: str
    exact: float
    found: float
    good: bool

    def __str__(self) -> str:
        return f"{self.name} {'agrees' if self.good else 'is off'}: {self.found:.8g}, exact {self.exact:.8g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMoments:
    """The first three raw moments of one loss, from its law and not from the grid."""

    first: float
    second: float
    third: float


def raw_moments(group: LossGroup, step: float) -> RawMoments:
    """Those of the group's loss on the grid."""
    loss = np.arange(len(group.probability)) * step
    return RawMoments(
        first=float(np.sum(loss * group.probability)),
        second=float(np.sum(loss**2 * group.probability)),
        third=float(np.sum(loss**3 * group.probability)),
    )


def cumulants(
    counts: Sequence[tuple[float, float]], losses: Sequence[RawMoments], regime_cv: float
) -> tuple[float, float, float]:
    """Mean, variance and third central moment of the total.

    With psi = lambda (M - 1) and a gamma mixture -log(1 - c psi) / c the cumulants are psi', psi'' + c psi'^2 and
    psi''' + 3 c psi' psi'' + 2 c^2 psi'^3 (derivatives at 0); the regime is such a mixture of the sum.
    """
    k1 = k2 = k3 = 0.0
    for (count, c), m in zip(counts, losses, strict=True):
        a, b, d = count * m.first, count * m.second, count * m.third
        k1, k2, k3 = k1 + a, k2 + b + c * a * a, k3 + d + 3 * c * a * b + 2 * c * c * a**3
    r = regime_cv**2
    return k1, k2 + r * k1 * k1, k3 + 3 * r * k1 * k2 + 2 * r * r * k1**3


def check_law(
    law: LossLaw,
    groups: Sequence[LossGroup],
    *,
    step: float,
    regime_cv: float,
    exact: Sequence[RawMoments] | None = None,
) -> tuple[Moment, ...]:
    """Total probability, mean, variance and skewness of `law` beside the exact ones, each with whether it agrees.

    `exact` are the moments of the losses before they were put on the grid; without them the grid's own are used, and
    only the transform is judged. A mean that is low tells of a severity cut at the limit or of a loss rounded down, a
    variance that is off beside a good mean of a step too coarse, a skewness of a grid too short.
    """
    losses = [raw_moments(group, step) for group in groups] if exact is None else list(exact)
    k1, k2, k3 = cumulants([(g.expected_count, g.mixing_cv2) for g in groups], losses, regime_cv)
    found_mean, found_variance = law.mean, law.variance
    third = float(np.sum((law.loss - found_mean) ** 3 * law.probability))
    pairs = (
        ("probability", 1.0, float(np.sum(law.probability))),
        ("mean", k1, found_mean),
        ("variance", k2, found_variance),
        ("skewness", k3 / k2**1.5 if k2 > 0 else 0.0, third / found_variance**1.5 if found_variance > 0 else 0.0),
    )
    return tuple(
        Moment(name=name, exact=true, found=got, good=abs(got - true) <= TOLERANCES[name] * max(abs(true), 1e-300))
        for name, true, got in pairs
    )


def simulate(
    groups: Sequence[LossGroup], *, step: float, regime_cv: float, n_years: int, rng: np.random.Generator
) -> FloatArray:
    """(n_years,) totals drawn: a gamma clock common to all groups, then each group's rate, count and losses."""
    r = regime_cv**2
    clock = rng.gamma(1.0 / r, r, n_years) if r > 0 else np.ones(n_years)
    total = np.zeros(n_years)
    for group in groups:
        c = group.mixing_cv2
        rate = group.expected_count * (rng.gamma(np.maximum(clock / c, 1e-12), c) if c > 0 else clock)
        counts = rng.poisson(rate)
        p = np.maximum(group.probability, 0.0)
        losses = rng.choice(len(p), size=int(np.sum(counts)), p=p / np.sum(p)) * step
        total += np.bincount(np.repeat(np.arange(n_years), counts), losses, n_years)
    return total
