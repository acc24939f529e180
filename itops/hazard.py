"""Failure rates by age from start-stop records: left truncated, right censored, weighted, with covariates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from core.errors import InvalidInput
from itops.severity import FloatArray

#: log hazard ratio of one standard deviation beyond which a coefficient is running away, not being estimated
_LARGEST = 12.0


class BadRecord(InvalidInput):
    """A start-stop record cannot be used."""


class NoConvergence(InvalidInput):
    """The likelihood has no inner maximum: a covariate may separate failures from survivors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Spells of observation: unit i was watched from age start to age stop, and failed at stop or did not.

    Covariates are those at `start`: a value read at the failure would tell the future.
    """

    start: FloatArray  #: (n,) >= 0; above 0 the unit is left truncated: it is known only because it lived until then
    stop: FloatArray  #: (n,) > start
    failed: NDArray[np.bool_]  #: (n,)
    weight: FloatArray  #: (n,) > 0; 2 stands for two such units
    covariates: FloatArray  #: (n, p)

    def __post_init__(self) -> None:
        n = len(self.start)
        same = all(len(each) == n for each in (self.stop, self.failed, self.weight, self.covariates))
        if not same or self.covariates.ndim != 2 or n == 0:
            raise BadRecord("Columns of start-stop records differ in length, or there are none", n=n)
        wrong = (
            ("start", ~(np.isfinite(self.start) & (self.start >= 0)), "must be a finite age, not negative"),
            ("stop", ~(np.isfinite(self.stop) & (self.stop > self.start)), "must be finite and after start"),
            ("weight", ~(np.isfinite(self.weight) & (self.weight > 0)), "must be positive"),
            ("covariates", ~np.all(np.isfinite(self.covariates), axis=1), "blank is unknown, not zero"),
        )
        for field, bad, reason in wrong:
            if np.any(bad):
                rows = np.flatnonzero(bad)
                first = int(rows[0])
                raise BadRecord(
                    f"{field}: {reason}",
                    row=first,
                    value=str(getattr(self, field)[first]),
                    n_rows=len(rows),
                )
        if not np.any(self.failed):
            raise BadRecord("Without a single failure no rate can be fitted; use a prior")


def records(
    start: FloatArray,
    stop: FloatArray,
    failed: NDArray[np.bool_],
    *,
    weight: FloatArray | None = None,
    covariates: FloatArray | None = None,
) -> Records:
    """Records with weight 1 and no covariates where none are given; raises BadRecord naming field and row."""
    n = len(start)
    return Records(
        start=np.asarray(start, dtype=np.float64),
        stop=np.asarray(stop, dtype=np.float64),
        failed=np.asarray(failed, dtype=np.bool_),
        weight=np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64),
        covariates=np.zeros((n, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeibullFit:
    """A fitted Weibull proportional-hazards law: H(t | x) = (t / scale)^shape exp(x b)."""

    shape: float
    scale: float
    coefficient: FloatArray  #: (p,) b
    covariance: FloatArray  #: (2 + p, 2 + p) of (log shape, log scale, b), from the observed information
    log_likelihood: float
    n_failures: float  #: weighted


def fit_weibull(data: Records) -> WeibullFit:
    """Maximum likelihood: sum w (d log h(stop) - [H(stop) - H(start)]).

    Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data, section 3.3, with left truncation (Klein &
    Moeschberger, section 3.5). Newton's method with step halving on (log k, c, b), H = exp(c + x b) (t / s)^k with s a
    typical age. Raises NoConvergence.
    """
    w, d = data.weight, data.failed
    unit = float(np.sum(w * data.stop) / np.sum(w))
    t1, t0 = data.stop / unit, data.start / unit
    centre = np.average(data.covariates, axis=0, weights=w) if data.covariates.shape[1] else np.zeros(0)
    spread = np.sqrt(np.average((data.covariates - centre) ** 2, axis=0, weights=w)) if len(centre) else np.zeros(0)
    if np.any(spread == 0):
        raise BadRecord("A covariate is the same in every record", column=int(np.flatnonzero(spread == 0)[0]))
    design = np.column_stack([np.ones(len(w)), (data.covariates - centre) / spread])
    log1 = np.log(t1)
    log0 = np.log(t0, out=np.zeros_like(t0), where=t0 > 0)
    wd = w * d

    def at(p: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Log-likelihood, gradient, Hessian."""
        k = np.exp(p[0])
        risk = w * np.exp(design @ p[1:])
        h1, h0 = t1**k, np.where(t0 > 0, t0**k, 0.0)
        growth, slope = h1 - h0, h1 * log1 - h0 * log0
        bend = h1 * log1**2 - h0 * log0**2
        value = np.sum(wd * (p[0] + (k - 1.0) * log1 + design @ p[1:])) - np.sum(risk * growth)
        first = np.sum(wd * (1.0 + k * log1)) - k * np.sum(risk * slope)
        gradient = np.concatenate([[first], design.T @ (wd - risk * growth)])
        hessian = np.empty((len(p), len(p)))
        hessian[0, 0] = np.sum(wd * k * log1) - k * np.sum(risk * slope) - k * k * np.sum(risk * bend)
        hessian[0, 1:] = hessian[1:, 0] = -k * (design.T @ (risk * slope))
        hessian[1:, 1:] = -(design.T * (risk * growth)) @ design
        return float(value), gradient, hessian

    p = np.zeros(1 + design.shape[1])
    p[1] = np.log(np.sum(wd) / np.sum(w * (t1 - t0)))
    value, gradient, hessian = at(p)
    for _ in range(100):
        step = _ascent(gradient, hessian)
        size = 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            tried = at(p + step)
        while not (np.isfinite(tried[0]) and tried[0] >= value - 1e-12 * abs(value)):
            size /= 2
            if size < 1e-8:
                raise NoConvergence
            with np.errstate(over="ignore", invalid="ignore"):
                tried = at(p + size * step)
        moved = np.max(np.abs(size * step))
        p = p + size * step
        value, gradient, hessian = tried
        if np.max(np.abs(p[2:]), initial=0.0) > _LARGEST:
            raise NoConvergence
        if moved < 1e-9:
            break
    else:
        raise NoConvergence
    if np.max(np.abs(gradient)) > 1e-6 * np.sum(wd):
        raise NoConvergence
    k = float(np.exp(p[0]))
    b = p[2:] / spread
    intercept = float(p[1] - np.sum(b * centre))
    log_scale = np.log(unit) - intercept / k
    # (log k, c, b standardised) -> (log k, log eta, b): the delta method.
    turn = np.zeros((len(p), len(p)))
    turn[0, 0] = 1.0
    turn[1, 0], turn[1, 1] = intercept / k, -1.0 / k
    turn[1, 2:] = centre / spread / k
    turn[2:, 2:] = np.diag(1.0 / spread)
    covariance = turn @ np.linalg.inv(-hessian) @ turn.T
    # Densities were in units of `unit`.
    return WeibullFit(
        shape=k,
        scale=float(np.exp(log_scale)),
        coefficient=b,
        covariance=covariance,
        log_likelihood=value - float(np.sum(wd)) * float(np.log(unit)),
        n_failures=float(np.sum(wd)),
    )


def _ascent(gradient: FloatArray, hessian: FloatArray) -> FloatArray:
    """Newton's step, with as much of the identity added as makes it climb."""
    ridge = 0.0
    scale = float(np.max(np.abs(np.diag(hessian)))) or 1.0
    for _ in range(60):
        try:
            np.linalg.cholesky(-hessian + ridge * np.eye(len(gradient)))
        except np.linalg.LinAlgError:
            ridge = max(2.0 * ridge, 1e-8 * scale)
            continue
        return np.asarray(np.linalg.solve(-hessian + ridge * np.eye(len(gradient)), gradient), dtype=np.float64)
    raise NoConvergence


@dataclass(frozen=True, slots=True, kw_only=True)
class PiecewiseFit:
    """A hazard that is constant within age bands, times exp(x b)."""

    edges: FloatArray  #: (m + 1,) ages; the last may be infinite
    rate: FloatArray  #: (m,) per unit of age at x = 0; nan: the band was never observed
    exposure: FloatArray  #: (m,) weighted
    n_failures: FloatArray  #: (m,) weighted
    coefficient: FloatArray  #: (p,)
    log_likelihood: float


def fit_piecewise(data: Records, edges: FloatArray) -> PiecewiseFit:
    """Maximum likelihood of a piecewise-exponential hazard.

    Exactly a Poisson regression of failures per spell and band with offset log exposure (Holford 1980; Laird & Olivier
    1981), by Newton's method; without covariates failures over exposure. `edges` ascend and cover every age. Raises
    BadRecord, NoConvergence.
    """
    edges = np.asarray(edges, dtype=np.float64)
    if len(edges) < 2 or np.any(np.diff(edges) <= 0):
        raise BadRecord("Age bands must ascend", edges=edges.tolist())
    if np.min(data.start) < edges[0] or np.max(data.stop) > edges[-1]:
        raise BadRecord("Age bands must cover every age", edges=edges.tolist())
    m, p = len(edges) - 1, data.covariates.shape[1]
    row, band, time = [], [], []
    for j in range(m):
        inside = np.minimum(data.stop, edges[j + 1]) - np.maximum(data.start, edges[j])
        some = np.flatnonzero(inside > 0)
        row.append(some)
        band.append(np.full(len(some), j))
        time.append(inside[some])
    rows, bands, times = np.concatenate(row), np.concatenate(band), np.concatenate(time)
    # A failure belongs to the band that its age closes: (edge, next edge].
    last = np.searchsorted(edges, data.stop, side="left") - 1
    died = data.failed[rows] & (bands == last[rows])
    w = data.weight[rows]
    exposure = np.asarray(np.bincount(bands, weights=w * times, minlength=m), dtype=np.float64)
    n_failures = np.asarray(np.bincount(bands, weights=w * died, minlength=m), dtype=np.float64)
    x = data.covariates[rows]
    centre = np.average(x, axis=0, weights=w * times) if p else np.zeros(0)
    spread = np.std(x, axis=0) if p else np.zeros(0)
    if np.any(spread == 0):
        raise BadRecord("A covariate is the same in every record", column=int(np.flatnonzero(spread == 0)[0]))
    z = (x - centre) / spread if p else x

    def profile(b: FloatArray) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        """Log-likelihood with the bands' rates at their best for b; gradient, Hessian in b; rates."""
        risk = w * times * np.exp(z @ b)
        per_band = np.bincount(bands, weights=risk, minlength=m)
        rate = np.divide(n_failures, per_band, out=np.zeros(m), where=per_band > 0)
        logs = np.log(rate, out=np.zeros(m), where=rate > 0)
        value = float(np.sum(n_failures * logs) + np.sum(w * died * (z @ b)) - np.sum(n_failures))
        gradient, hessian = np.zeros(p), np.zeros((p, p))
        if p:
            expected = rate[bands] * risk
            gradient = z.T @ (w * died - expected)
            mean = np.column_stack([np.bincount(bands, weights=risk * z[:, j], minlength=m) for j in range(p)])
            mean = np.divide(mean, per_band[:, None], out=np.zeros((m, p)), where=per_band[:, None] > 0)
            hessian = -(z.T * expected) @ z + (mean.T * n_failures) @ mean
        return value, gradient, hessian, rate

    b = np.zeros(p)
    value, gradient, hessian, rate = profile(b)
    for _ in range(100 if p else 0):
        step = _ascent(gradient, hessian)
        size = 1.0
        while size > 1e-8 and profile(b + size * step)[0] < value - 1e-12 * abs(value):
            size /= 2
        b = b + size * step
        value, gradient, hessian, rate = profile(b)
        if np.max(np.abs(b)) > _LARGEST:
            raise NoConvergence
        if np.max(np.abs(size * step)) < 1e-9:
            break
    else:
        if p:
            raise NoConvergence
    if np.max(np.abs(gradient), initial=0.0) > 1e-6 * np.sum(n_failures):
        raise NoConvergence
    coefficient = b / spread if p else b
    seen = exposure > 0
    rate = np.where(seen, rate * np.exp(-np.sum(coefficient * centre)), np.nan)
    return PiecewiseFit(
        edges=edges,
        rate=rate,
        exposure=exposure,
        n_failures=n_failures,
        coefficient=coefficient,
        log_likelihood=value,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """A repairable unit's expected number of failures by age, (t / scale)^shape (non-homogeneous Poisson process)."""

    shape: float  #: above 1: failures come faster with age
    scale: float

    def expected(self, start: float, stop: float) -> float:
        """Expected failures between two ages."""
        return float((stop / self.scale) ** self.shape - (start / self.scale) ** self.shape)


def fit_power_law(start: FloatArray, stop: FloatArray, failure_age: FloatArray) -> PowerLaw:
    """Maximum likelihood from (n,) watched spells of ages and the (m,) ages at which watched units failed.

    Crow (1974): with Lambda(t) = (t / eta)^beta, sum(stop^beta - start^beta) = m eta^beta; beta by a scalar root.
    """
    start, stop, age = (np.asarray(each, dtype=np.float64) for each in (start, stop, failure_age))
    if np.any(start < 0) or np.any(stop <= start) or np.any(age <= 0) or len(age) < 2:
        raise BadRecord("Spells must run forward from an age of at least 0, with at least two failures after age 0")
    unit = float(np.max(stop))
    t1, t0, logs = stop / unit, start / unit, float(np.sum(np.log(age / unit)))
    log1 = np.log(t1)
    log0 = np.log(t0, out=np.zeros_like(t0), where=t0 > 0)

    def score(beta: float) -> float:
        h1, h0 = t1**beta, np.where(t0 > 0, t0**beta, 0.0)
        return float(len(age) / beta + logs - len(age) * np.sum(h1 * log1 - h0 * log0) / np.sum(h1 - h0))

    low, high = 1e-3, 1.0
    while score(high) > 0 and high < 1e3:
        high *= 2
    if score(low) <= 0 or score(high) > 0:
        raise NoConvergence
    beta = float(optimize.brentq(score, low, high, xtol=1e-12, rtol=1e-12))
    total = float(np.sum(t1**beta - np.where(t0 > 0, t0**beta, 0.0)))
    return PowerLaw(shape=beta, scale=unit * (total / len(age)) ** (1.0 / beta))
