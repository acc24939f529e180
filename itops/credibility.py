"""How far a group's own record is believed against the collective: Buhlmann and Straub."""

from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput
from itops.severity import FloatArray


class BadCredibility(InvalidInput):
    """Credibility needs at least two groups with positive weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Structure parameters of a collective of groups."""

    within: float  #: s2, expected variance of one unit of weight within a group
    between: float  #: a, variance of the groups' true means; 0: the groups do not differ

    @property
    def k(self) -> float:
        """Weight at which the own record counts for half, s2 / a."""
        return self.within / self.between if self.between > 0 else float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credibility:
    """Groups' means shrunk towards the collective."""

    z: FloatArray  #: (g,) weight of the own record, 0-1
    collective: float
    mean: FloatArray  #: (g,) z x own mean + (1 - z) x collective


def structure(weight: FloatArray, value: FloatArray) -> Structure:
    """Unbiased structure parameters from (g, n) weights and values of g groups over n periods; a weight may be 0.

    Buhlmann & Straub (1970); Klugman, Panjer & Willmot, Loss Models, 4th ed., section 19.2. A negative estimate of the
    variance between groups is set to 0. Raises BadCredibility.
    """
    w, x = _checked(weight, value)
    seen = w > 0
    group_weight = np.sum(w, axis=1)
    group_mean = np.sum(w * x, axis=1) / group_weight
    degrees = np.sum(np.count_nonzero(seen, axis=1) - 1)
    if degrees < 1:
        raise BadCredibility("The spread within a group needs a group with two periods")
    within = float(np.sum(w * (x - group_mean[:, None]) ** 2) / degrees)
    return Structure(within=within, between=_between(group_weight, group_mean, within))


def poisson_structure(n_events: FloatArray, exposure: FloatArray) -> Structure:
    """Structure parameters of groups' rates from (g,) counts and exposures: within a group the variance is the mean."""
    if np.any(n_events < 0):
        raise BadCredibility("A count is negative")
    w, x = _checked(exposure[:, None], (n_events / np.where(exposure > 0, exposure, 1.0))[:, None])
    rate = float(np.sum(n_events) / np.sum(exposure))
    return Structure(within=rate, between=_between(w[:, 0], x[:, 0], rate))


def _between(weight: FloatArray, mean: FloatArray, within: float) -> float:
    total = np.sum(weight)
    overall = np.sum(weight * mean) / total
    spread = np.sum(weight * (mean - overall) ** 2) - (len(weight) - 1) * within
    return max(float(spread / (total - np.sum(weight**2) / total)), 0.0)


def shrink(weight: FloatArray, mean: FloatArray, parameters: Structure) -> Credibility:
    """Credibility means of (g,) groups; the collective is the credibility-weighted mean, so that nothing is lost.

    With groups that do not differ everyone gets the weighted mean. Raises BadCredibility.
    """
    w, x = _checked(weight[:, None], mean[:, None])
    w, x = w[:, 0], x[:, 0]
    if parameters.between == 0:
        overall = float(np.sum(w * x) / np.sum(w))
        return Credibility(z=np.zeros_like(w), collective=overall, mean=np.full_like(w, overall))
    z = w / (w + parameters.k)
    collective = float(np.sum(z * x) / np.sum(z))
    return Credibility(z=z, collective=collective, mean=np.asarray(z * x + (1 - z) * collective, dtype=np.float64))


def _checked(weight: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    w = np.asarray(weight, dtype=np.float64)
    x = np.where(w > 0, np.asarray(value, dtype=np.float64), 0.0)
    if w.shape != x.shape or w.shape[0] < 2 or not np.all(np.isfinite(w)) or not np.all(np.isfinite(x)):
        raise BadCredibility(shape=w.shape)
    if np.any(w < 0) or np.any(np.sum(w, axis=1) <= 0):
        raise BadCredibility("Every group needs positive weight")
    return w, x
