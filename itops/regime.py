"""Failure levels that wander: credibility by unit, recency, and the risk that next year is another regime."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, pdtr

from core.errors import InvalidInput
from itops.severity import FloatArray

#: Length of the periods in which a record is read, years.
STEP_YEARS = 0.25
#: A unit younger than this is new: its level is less steady (burn-in, installation), and told apart in the fit.
NEW_YEARS = 1.0
#: Centres of the penalty on the three spreads: annual regime 0.25, 0.6 in the first year of a new model (judgement),
#: and the clustering of failures in a period. Each counts for one observation of log variance with this standard error.
_PRIOR = np.log(np.array([0.25, 0.30, 0.60]) ** 2)
_PRIOR_SE = 1.5
#: Levels of units in a group, and of groups in a class: standard deviation of the log, and for how many it counts.
_WITHIN, _BETWEEN = (0.25, 2.0), (0.5, 2.0)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)
_WEIGHTS = _WEIGHTS / np.sum(_WEIGHTS)


class BadPanel(InvalidInput):
    """Counts and exposures by unit and period must be finite, not negative, and of one shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Failures and exposure of units over periods of STEP_YEARS, the last of which ends at the as-of moment."""

    n_failures: FloatArray  #: (units, periods)
    exposure: FloatArray  #: (units, periods), unit-years; 0: not in service or not watched
    age: FloatArray  #: (units, periods), years in service at the middle of the period; nan: unknown, read as not new
    group: tuple[str, ...]  #: (units,) units of one group have like levels; groups "class/type" of one class are kin
    size: FloatArray  #: (units,) > 0, parts per unit (processors of a node): priors carry over per part

    def __post_init__(self) -> None:
        n, e = self.n_failures, self.exposure
        if n.shape != e.shape or n.shape != self.age.shape or n.ndim != 2 or len(self.group) != len(n):
            raise BadPanel(shapes=str((n.shape, e.shape, self.age.shape, len(self.group))))
        if not (np.all(np.isfinite(n)) and np.all(np.isfinite(e)) and np.all(n >= 0) and np.all(e >= 0)):
            raise BadPanel
        if np.any((n > 0) & (e == 0)):
            unit, period = (int(each) for each in np.argwhere((n > 0) & (e == 0))[0])
            raise BadPanel("A failure in a period without exposure", unit=unit, period=period)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreads:
    """What is estimated of how levels move; standard deviations of the log rate."""

    drift: float  #: per square root of a year: the level of one unit wanders by this
    cluster: float  #: of a period around its level: failures come in bursts
    cluster_new: float  #: the same in the first year of service
    within: float  #: of levels between units of a group
    between: float  #: of groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Where each unit's rate stands at the as-of moment, and how surely."""

    log_rate: FloatArray  #: (units,) posterior mean of the log of failures per unit-year
    variance: FloatArray  #: (units,) of it
    credibility: FloatArray  #: (units,) share of the prior's variance that the own record removed, 0-1
    prior: dict[str, tuple[float, float]]  #: of a further unit of a group, a class ("class/") or any ("/"): per part
    spreads: Spreads
    log_likelihood: float


def _filter(
    panel: Panel,
    mean: FloatArray,
    variance: FloatArray,
    drift2: float,
    cluster2: float,
    cluster2_new: float,
    *,
    robust: bool = True,
) -> tuple[FloatArray, FloatArray, float]:
    """Level and variance of each unit's log rate after its last period, and the log-likelihood.

    A local-level model for counts (Harvey 1989, Forecasting, Structural Time Series Models, section 6.6; Durbin &
    Koopman 2012, section 9.3): n ~ Poisson(e exp(x + eps)); x moves by N(-q dt / 2, q dt), so that the rate itself is a
    martingale; eps ~ N(-s / 2, s) has mean one on the rate. Each update is Laplace's approximation at the mode of
    x + eps, exact in the limit of many failures.
    """
    m, p = mean.copy(), variance.copy()
    seen = np.zeros(len(m), dtype=bool)
    told = 0.0
    for t in range(panel.exposure.shape[1]):
        n, e = panel.n_failures[:, t], panel.exposure[:, t]
        on = e > 0
        move = seen * drift2 * STEP_YEARS  # a unit's level starts to wander when it is first watched
        m, p = m - 0.5 * move, p + move
        s = np.where(panel.age[:, t] < NEW_YEARS, cluster2_new, cluster2)
        centre = m - 0.5 * s
        if robust:
            # One period is not believed beyond two standard deviations: it takes two to move a level far.
            noise = p + s + 1.0 / (n + 0.5)
            gap = np.log((n + 0.5) / np.where(on, e, 1.0)) - centre
            s = s + np.where(on, np.maximum((gap / 2.0) ** 2 - noise, 0.0), 0.0)
        total = p + s
        z = np.where(n > 0, np.log(np.where(on & (n > 0), n / np.where(on, e, 1.0), 1.0)), centre)
        z = np.clip(z, centre - 20.0, centre + 20.0)
        for _ in range(50):
            expected = e * np.exp(z)
            step = (n - expected - (z - centre) / total) / (expected + 1.0 / total)
            step = np.clip(step, -2.0, 2.0)
            z = z + step
            if np.max(np.abs(step)) < 1e-9:
                break
        v = 1.0 / (e * np.exp(z) + 1.0 / total)
        log_e = np.log(np.where(on, e, 1.0))
        density = n * (log_e + z) - e * np.exp(z) - gammaln(n + 1.0) - 0.5 * (z - centre) ** 2 / total
        told += float(np.sum(np.where(on, density + 0.5 * np.log(v / total), 0.0)))
        gain = p / total
        m = np.where(on, m + gain * (z - centre), m)
        p = np.where(on, p - gain * p + gain**2 * v, p)
        seen |= on
    return m, p, told


def fit_levels(panel: Panel) -> Levels:
    """Levels of units at the as-of moment by hierarchical credibility with recency, all spreads estimated.

    A unit's prior is its group's level without the unit itself, a group's prior the level of all. How much an old
    period counts follows from the drift that the record shows: there is no half-life to choose.
    """
    from scipy import optimize

    some = np.sum(panel.exposure, axis=1) > 0
    if not np.any(panel.n_failures > 0):
        raise BadPanel("Without a single failure no level can be fitted; use a prior")
    size = np.log(panel.size)
    overall = float(np.log(np.sum(panel.n_failures) / np.sum(panel.exposure * panel.size[:, None])))
    wide = np.full(len(some), 4.0)

    def cost(p: FloatArray) -> float:
        told = _filter(panel, overall + size, wide, *(float(each) for each in np.exp(p)))[2]
        return -told + 0.5 * float(np.sum(((p - _PRIOR) / _PRIOR_SE) ** 2))

    found = optimize.minimize(
        cost, _PRIOR, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3, "maxiter": 400}
    )
    moves = tuple(float(each) for each in np.exp(found.x))
    m, p, _ = _filter(panel, overall + size, wide, *moves)
    alone = Kin.of(m - size, p, panel.group, some)
    prior = [
        alone.prior(group, use=some & (np.arange(len(some)) != u), fallback=overall)
        for u, group in enumerate(panel.group)
    ]
    prior_mean = np.array([each[0] for each in prior]) + size
    prior_variance = np.array([each[1] for each in prior])
    m, p, told = _filter(panel, prior_mean, prior_variance, *moves)
    kin = Kin(log_rate=m - size, variance=p, group=panel.group, within=alone.within, between=alone.between)
    names = sorted(set(panel.group))
    kinds = sorted({name.split("/")[0] for name in names})
    priors = {name: kin.prior(name, use=some, fallback=overall) for name in [*names, *(f"{k}/" for k in kinds), "/"]}
    return Levels(
        log_rate=m,
        variance=p,
        credibility=np.clip(1.0 - p / prior_variance, 0.0, 1.0),
        prior=priors,
        spreads=Spreads(
            drift=moves[0] ** 0.5,
            cluster=moves[1] ** 0.5,
            cluster_new=moves[2] ** 0.5,
            within=alone.within**0.5,
            between=alone.between**0.5,
        ),
        log_likelihood=told,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """Levels per part of units in groups, and what they say about another unit of a group."""

    log_rate: FloatArray  #: (units,) per part
    variance: FloatArray
    group: tuple[str, ...]
    within: float  #: variance of levels between units of a group
    between: float  #: variance of levels between groups of a class

    @classmethod
    def of(cls, m: FloatArray, p: FloatArray, group: tuple[str, ...], use: NDArray[np.bool_]) -> "Kin":
        """With both variances estimated by moments, each shrunk to a judgement that counts for a few units."""
        names = np.array(group)
        square, freedom = _WITHIN[0] ** 2 * _WITHIN[1], _WITHIN[1]
        for name in np.unique(names[use]):
            mine = use & (names == name)
            k = int(np.count_nonzero(mine)) - 1
            square += max(float(np.sum((m[mine] - np.mean(m[mine])) ** 2)) - k * float(np.mean(p[mine])), 0.0)
            freedom += k
        within = square / freedom
        square, freedom = _BETWEEN[0] ** 2 * _BETWEEN[1], _BETWEEN[1]
        kinds = np.array([name.split("/")[0] for name in group])
        for kind in np.unique(kinds[use]):
            top = [_mean(m[mine], p[mine], within) for name in np.unique(names[use & (kinds == kind)])
                   for mine in [use & (names == name)]]  # fmt: skip
            k = len(top) - 1
            value = np.array([each[0] for each in top])
            noise = float(np.mean([each[1] for each in top]))
            square += max(float(np.sum((value - np.mean(value)) ** 2)) - k * noise, 0.0)
            freedom += k
        return cls(log_rate=m, variance=p, group=group, within=float(within), between=float(square / freedom))

    def prior(self, group: str, *, use: NDArray[np.bool_], fallback: float) -> tuple[float, float]:
        """Mean and variance of the level per part of a further unit of `group`, from the units in `use`."""
        names = np.array(self.group)
        kinds = np.array([name.split("/")[0] for name in self.group])
        kin = use & (kinds == group.split("/")[0])
        if not np.any(kin):
            kin = use  # nothing of its class is known: all classes together
        if not np.any(kin):
            return fallback, 4.0
        top = []
        for name in np.unique(names[kin]):
            mine = kin & (names == name)
            top.append((name, *_mean(self.log_rate[mine], self.variance[mine], self.within)))
        values, variances = np.array([each[1] for each in top]), np.array([each[2] for each in top])
        overall, overall_variance = _mean(values, variances, self.between)
        if group.split("/")[0] not in kinds[use]:
            # A further class may be far off, yet not knowing it must not raise what is expected of it.
            overall, overall_variance = overall - 0.5, overall_variance + 1.0
        own = [(mean, variance) for name, mean, variance in top if name == group]
        if not own:
            return overall, overall_variance + self.between + self.within
        mean, variance = own[0]
        z = self.between / (self.between + variance)
        return z * mean + (1 - z) * overall, z * variance + (1 - z) ** 2 * overall_variance + self.within


def _mean(value: FloatArray, variance: FloatArray, between: float) -> tuple[float, float]:
    """Mean of values that differ by `between` (variance) beside their own variances, and its variance."""
    weight = 1.0 / (variance + between)
    return float(np.sum(weight * value) / np.sum(weight)), float(1.0 / np.sum(weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class CountLaw:
    """A Poisson count whose mean is log-normal: mean `expected`, the mean's log with variance `log_variance`."""

    expected: float
    log_variance: float

    def _means(self) -> FloatArray:
        s = self.log_variance**0.5
        return np.asarray(self.expected * np.exp(s * _NODES - 0.5 * s * s), dtype=np.float64)

    def cdf(self, n: float) -> float:
        """P(count <= n)."""
        if n < 0:
            return 0.0
        if self.expected == 0:
            return 1.0
        return float(np.sum(_WEIGHTS * pdtr(np.floor(n), self._means())))

    def quantile(self, probability: float) -> int:
        """The smallest n with P(count <= n) >= probability, by bisection."""
        if self.expected == 0:
            return 0
        low, high = -1, max(4, int(2 * self.expected))
        while self.cdf(high) < probability:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.cdf(middle) < probability else (low, middle)
        return high


def predict(
    log_rate: float, variance: float, spreads: Spreads, exposure: float, horizon_years: float, *, new: bool
) -> CountLaw:
    """The law of a unit's failures over the next `horizon_years` in which it has `exposure` unit-years.

    The mean over the horizon of a level that wanders has variance P + q h / 3; bursts average out over the periods.
    """
    cluster2 = (spreads.cluster_new if new else spreads.cluster) ** 2
    s2 = variance + spreads.drift**2 * horizon_years / 3.0 + cluster2 / max(horizon_years / STEP_YEARS, 1.0)
    return CountLaw(expected=float(exposure * np.exp(log_rate + 0.5 * variance)), log_variance=float(s2))
