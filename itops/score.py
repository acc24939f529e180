"""How good forecasts of counts, amounts and risks were: actual to expected, ranking, sharpness, exceedances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from core.errors import InvalidInput
from itops.severity import FloatArray

#: A count law with a smaller squared coefficient of variation is Poisson.
_POISSON_BELOW = 1e-9


class BadScore(InvalidInput):
    """Forecasts and facts must be finite, not negative, of one length, and not empty."""


def _checked(*columns: FloatArray) -> tuple[FloatArray, ...]:
    out = tuple(np.asarray(each, dtype=np.float64) for each in columns)
    if not len(out[0]) or any(each.shape != out[0].shape for each in out):
        raise BadScore(lengths=str([len(each) for each in out]))
    if any(not np.all(np.isfinite(each)) or np.any(each < 0) for each in out):
        raise BadScore
    return out


def _law(mean: FloatArray, cv2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(size, p) of scipy's negative binomial."""
    size = 1.0 / np.maximum(cv2, _POISSON_BELOW)
    return size, size / (size + mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActualToExpected:
    """Failures seen over failures forecast in a segment, and the band in which the ratio lies if the forecast holds."""

    segment: str
    n_actual: float
    expected: float
    ratio: float  #: nan: nothing was expected
    low: float  #: 5 % and 95 % points of the ratio under the forecast
    high: float
    inside: bool


def actual_to_expected(segment: str, n_actual: float, expected: float, cv2: float = 0.0) -> ActualToExpected:
    """A/E with the exact 90 % band of a Poisson count, or of a negative binomial one where the level is uncertain."""
    _checked(np.array([n_actual]), np.array([expected]), np.array([cv2]))
    if expected == 0:
        return ActualToExpected(
            segment=segment, n_actual=n_actual, expected=0.0, ratio=float("nan"), low=float("nan"),
            high=float("nan"), inside=n_actual == 0,
        )  # fmt: skip
    size, p = _law(np.array([expected]), np.array([cv2]))
    law = stats.poisson(expected) if cv2 < _POISSON_BELOW else stats.nbinom(size[0], p[0])
    low, high = float(law.ppf(0.05)), float(law.ppf(0.95))
    return ActualToExpected(
        segment=segment,
        n_actual=float(n_actual),
        expected=float(expected),
        ratio=float(n_actual / expected),
        low=low / expected,
        high=high / expected,
        inside=low <= n_actual <= high,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenth:
    """One tenth of the exposure, the riskiest by forecast first."""

    exposure: float
    expected: float
    n_actual: float
    share_of_actual: float
    lift: float  #: its rate over the overall rate


def tenths(n_actual: FloatArray, expected: FloatArray, exposure: FloatArray) -> list[Tenth]:
    """Calibration and lift by tenths of exposure in falling order of forecast rate; a unit at an edge is split."""
    a, e, w = _checked(n_actual, expected, exposure)
    keep = w > 0
    a, e, w = a[keep], e[keep], w[keep]
    order = np.argsort(-e / w, kind="stable")
    ends = np.concatenate([[0.0], np.cumsum(w[order])])
    edges = np.linspace(0.0, ends[-1], 11)
    sums = [np.interp(edges, ends, np.concatenate([[0.0], np.cumsum(x[order])])) for x in (a, e, w)]
    total = float(np.sum(a))
    return [
        Tenth(
            exposure=float(dw),
            expected=float(de),
            n_actual=float(da),
            share_of_actual=float(da / total) if total else float("nan"),
            lift=float(da / dw / (total / ends[-1])) if total else float("nan"),
        )
        for da, de, dw in zip(*(np.diff(x) for x in sums), strict=True)
    ]


def gini(n_actual: FloatArray, expected: FloatArray, exposure: FloatArray) -> float:
    """Gini index of the ordered Lorenz curve: 0 where the order says nothing; negative where it misleads.

    Frees, Meyers & Cummings (2011), J. Am. Stat. Assoc. 106: exposure against failures, ordered by forecast rate.
    """
    a, e, w = _checked(n_actual, expected, exposure)
    keep = w > 0
    a, e, w = a[keep], e[keep], w[keep]
    if not np.sum(a) > 0:
        raise BadScore("Without a single failure an order cannot be judged")
    # Units of equal rate are one step of the curve: their order in the file must not matter.
    _, tie = np.unique(e / w, return_inverse=True)
    x = np.concatenate([[0.0], np.cumsum(np.bincount(tie, w))]) / np.sum(w)
    y = np.concatenate([[0.0], np.cumsum(np.bincount(tie, a))]) / np.sum(a)
    return float(1.0 - np.sum(np.diff(x) * (y[1:] + y[:-1])))


def crps_counts(n_actual: FloatArray, mean: FloatArray, cv2: FloatArray) -> FloatArray:
    """(n,) continuous ranked probability score of Poisson or negative binomial forecasts.

    Sum over k of (F(k) - 1[n <= k])^2: Czado, Gneiting & Held (2009), Biometrics 65 (the ranked probability score of
    counts); summed to where both tails are below 1e-9.
    """
    n, mu, c = _checked(n_actual, mean, cv2)
    out = np.empty(len(n))
    for i in range(len(n)):
        size, p = _law(mu[i : i + 1], c[i : i + 1])
        law = stats.poisson(mu[i]) if c[i] < _POISSON_BELOW else stats.nbinom(size[0], p[0])
        top = int(max(law.ppf(1 - 1e-9) if mu[i] > 0 else 0, n[i])) + 1
        k = np.arange(top + 1)
        out[i] = float(np.sum((law.cdf(k) - (n[i] <= k)) ** 2))
    return out


def crps_draws(fact: float, draws: FloatArray) -> float:
    """CRPS of a forecast given as draws: E|X - y| - E|X - X'| / 2 (Gneiting & Raftery 2007, eq. 21)."""
    x = np.sort(np.asarray(draws, dtype=np.float64))
    n = len(x)
    spread = float(np.sum((2 * np.arange(1, n + 1) - n - 1) * x)) / n**2
    return float(np.mean(np.abs(x - fact))) - spread


def randomised_pit(n_actual: FloatArray, mean: FloatArray, cv2: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(n,) F(n - 1) + U (F(n) - F(n - 1)): uniform where the forecasts are right (Czado, Gneiting & Held 2009)."""
    n, mu, c = _checked(n_actual, mean, cv2)
    size, p = _law(mu, c)
    poisson = c < _POISSON_BELOW

    def below(k: FloatArray) -> FloatArray:
        return np.asarray(np.where(poisson, stats.poisson.cdf(k, mu), stats.nbinom.cdf(k, size, p)), dtype=np.float64)

    low, high = below(n - 1), below(n)
    return np.asarray(low + rng.uniform(size=len(n)) * (high - low), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kupiec:
    """Exceedances of a value at risk beside how many there should be."""

    n_exceedances: int
    n: int
    expected: float
    statistic: float  #: likelihood ratio, chi-squared with one degree of freedom
    p_value: float


def kupiec(exceeded: NDArray[np.bool_], level: float) -> Kupiec:
    """Kupiec (1995), J. Derivatives 3: proportion of failures against 1 - level."""
    n, x = len(exceeded), int(np.count_nonzero(exceeded))
    if n == 0 or not 0 < level < 1:
        raise BadScore(n=n, level=level)
    p = 1.0 - level
    told = 2.0 * float(
        special.xlogy(x, x / n) + special.xlogy(n - x, 1 - x / n) - special.xlogy(x, p) - special.xlogy(n - x, 1 - p)
    )
    told = max(told, 0.0)
    return Kupiec(n_exceedances=x, n=n, expected=n * p, statistic=told, p_value=float(stats.chi2.sf(told, 1)))


def poisson_deviance(n_actual: FloatArray, expected: FloatArray) -> float:
    """2 sum (n log(n / mu) - n + mu)."""
    n, mu = _checked(n_actual, expected)
    if np.any((mu == 0) & (n > 0)):
        return float("inf")
    return float(2.0 * np.sum(special.xlogy(n, n / np.where(mu > 0, mu, 1.0)) - n + mu))
