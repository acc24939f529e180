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


@dataclass(frozen=True, slots=True, kw_only=True)
class GammaPoisson:
    """Rates of groups within classes: a class's rates are gamma around its mean."""

    mean: dict[str, float]  #: of each class, per unit of exposure
    overall: float
    shape: float  #: of the gamma law: 1 / (squared coefficient of variation between groups of a class)

    def posterior(self, kind: str, n_events: float, exposure: float) -> tuple[float, float]:
        """(mean, shape) of a group's rate: Z own + (1 - Z) class with Z = w / (w + shape / class mean)."""
        prior = self.mean.get(kind, self.overall)
        shape = self.shape + n_events
        return shape / (self.shape / prior + exposure), shape


def fit_gamma_poisson(n_events: FloatArray, exposure: FloatArray, kind: tuple[str, ...]) -> GammaPoisson:
    """Class means and the spread of groups within a class, by maximum likelihood of negative binomial counts.

    Klugman, Panjer & Willmot, Loss Models, 4th ed., sections 18.7 and 19.4 (parametric empirical Bayes). A class mean
    is the credibility-weighted mean of its groups, itself drawn to the overall one by the spread between classes; with
    one class it is the overall mean. A lone group has its own rate and an exponential law around it (judgement), for
    nothing tells how far another would be off. Raises BadCredibility.
    """
    from scipy import optimize
    from scipy.special import gammaln

    n, w = np.asarray(n_events, dtype=np.float64), np.asarray(exposure, dtype=np.float64)
    if np.any(n < 0) or np.any(w < 0) or np.any((w == 0) & (n > 0)):
        raise BadCredibility("A count or an exposure is negative, or a failure has no exposure", groups=len(n))
    if not np.sum(n) > 0:
        raise BadCredibility("Without a single failure no rate can be fitted; use a prior", groups=len(n))
    names = sorted(set(kind))
    if np.count_nonzero(w > 0) == 1:
        rate = float(np.sum(n) / np.sum(w))
        return GammaPoisson(mean=dict.fromkeys(names, rate), overall=rate, shape=1.0)
    code = np.array([names.index(each) for each in kind])

    def means(shape: float) -> tuple[FloatArray, float]:
        overall = float(np.sum(n) / np.sum(w))
        mean = np.full(len(names), overall)
        for _ in range(100):
            z = w / (w + shape / mean[code])
            weight = np.bincount(code, z, len(names))
            summed = np.bincount(code, np.where(w > 0, z * n / np.where(w > 0, w, 1.0), 0.0), len(names))
            own = summed / np.maximum(weight, 1e-12)
            overall = float(np.sum(weight * own) / np.sum(weight))
            # Classes differ by as much as groups do: a class with the weight of one group is believed by half.
            mixed = (weight * own + overall) / (weight + 1.0) if len(names) > 1 else own
            if np.max(np.abs(mixed / mean - 1.0)) < 1e-10:
                break
            mean = np.asarray(np.maximum(mixed, 1e-12), dtype=np.float64)
        return mean, overall

    def cost(log_shape: float) -> float:
        shape = float(np.exp(log_shape))
        mu = means(shape)[0][code] * w
        some = w > 0
        told = gammaln(n + shape) - gammaln(shape) - gammaln(n + 1.0) + shape * np.log(shape / (shape + mu))
        told = told + np.where(n > 0, n * np.log(np.where(some, mu, 1.0) / (shape + mu)), 0.0)
        return -float(np.sum(told[some]))

    found = optimize.minimize_scalar(cost, bounds=(np.log(0.02), np.log(200.0)), method="bounded")
    shape = float(np.exp(found.x))
    mean, overall = means(shape)
    return GammaPoisson(mean=dict(zip(names, (float(v) for v in mean), strict=True)), overall=overall, shape=shape)
