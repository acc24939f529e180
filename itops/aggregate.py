"""The law of a year's total loss: compound counts on a money grid, by fast Fourier transform."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from itops.severity import FloatArray

ComplexArray = NDArray[np.complex128]

#: Grid nodes of one cover; and the most that are tried before the grid is given up as too short.
N_NODES = 1 << 15
_MAX_NODES = 1 << 21
#: How far the mean on the grid may be from the exact mean, and the variance from that of the same grid's losses.
_MEAN_TOLERANCE = 1e-9
_VARIANCE_TOLERANCE = 1e-7
#: A mixing variance below this changes no figure that is shown: the count is Poisson.
_POISSON_BELOW = 1e-12


class BadCompound(InvalidInput):
    """Counts, severities and the grid of a compound law do not fit together."""


class GridTooShort(InvalidInput):
    """The money grid does not hold the year's total loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossGroup:
    """Outages of one kind: how many in a year, and what one costs on a money grid."""

    expected_count: float  #: mean number in the period, >= 0
    mixing_cv2: float  #: squared coefficient of variation of its rate; 0: Poisson, else negative binomial
    probability: FloatArray  #: (m,) of a loss of 0, step, 2 step, ...; sums to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLaw:
    """A discrete law of money: atoms in ascending order."""

    loss: FloatArray  #: (n,)
    probability: FloatArray  #: (n,) sums to 1

    @property
    def mean(self) -> float:
        return float(np.sum(self.loss * self.probability))

    @property
    def variance(self) -> float:
        return float(np.sum((self.loss - self.mean) ** 2 * self.probability))

    def cumulative(self) -> FloatArray:
        """P(S <= loss) at each atom."""
        return np.minimum(np.cumsum(self.probability), 1.0)

    def quantile(self, level: float) -> float:
        """The smallest loss x with P(S <= x) >= level (value at risk)."""
        k = int(np.searchsorted(self.cumulative(), level, side="left"))
        return float(self.loss[min(k, len(self.loss) - 1)])

    def tail_mean(self, level: float) -> float:
        """TVaR: the mean of the worst 1 - level of years, an atom at the quantile being split.

        (E[S; S > q] + q (P(S <= q) - level)) / (1 - level): Acerbi & Tasche (2002), eq. 4.12.
        """
        cumulative = self.cumulative()
        k = min(int(np.searchsorted(cumulative, level, side="left")), len(self.loss) - 1)
        q = float(self.loss[k])
        beyond = float(np.sum(self.loss[k + 1 :] * self.probability[k + 1 :]))
        weight = 1.0 - level - float(np.sum(self.probability[k + 1 :]))
        return (beyond + q * weight) / (1.0 - level)

    def stop_loss(self, retention: float) -> float:
        """E[(S - retention)+]."""
        return float(np.sum(np.maximum(self.loss - retention, 0.0) * self.probability))

    def layered(self, retention: float, limit: float | None) -> "LossLaw":
        """The law of min(max(S - retention, 0), limit)."""
        loss = np.maximum(self.loss - retention, 0.0)
        return LossLaw(loss=loss if limit is None else np.minimum(loss, limit), probability=self.probability)


def discretise(limited_mean: Callable[[FloatArray], FloatArray], largest: float, step: float) -> FloatArray:
    """Probabilities on 0, step, 2 step, ... of a bounded loss, with the same mean.

    Local moment matching of the first order (Gerber 1982; Klugman, Panjer & Willmot, Loss Models, 4th ed., section
    9.6.5.2): p_0 = 1 - E[min(X, h)] / h, p_j = (2 E[min(X, jh)] - E[min(X, (j-1)h)] - E[min(X, (j+1)h)]) / h.
    """
    if not (step > 0 and np.isfinite(step) and largest >= 0 and np.isfinite(largest)):
        raise BadCompound(step=step, largest=largest)
    m = int(np.ceil(largest / step - 1e-9)) + 1
    at = limited_mean(np.arange(m + 1, dtype=np.float64) * step)
    change = np.diff(at) / step
    probability = np.empty(m)
    probability[0] = 1.0 - change[0]
    probability[1:] = change[:-1] - change[1:]
    # Differences of nearly equal limited means leave a few ulps below zero. They stay: cutting them off would add up
    # to a bias of the mean, and the transform does not mind.
    if np.min(probability) < -1e-9:
        raise BadCompound("limited means must be concave", lowest=float(np.min(probability)))
    return probability


def _log_transform(group: LossGroup, transform: ComplexArray) -> ComplexArray:
    """log of the group's characteristic function.

    Poisson lambda (f - 1), negative binomial -log(1 - c lambda (f - 1)) / c.

    Re(f) <= 1, so the argument of the logarithm never leaves the half plane Re >= 1.
    """
    exponent: ComplexArray = group.expected_count * (transform - 1.0)
    return _mixed(exponent, group.mixing_cv2)


def _mixed(exponent: ComplexArray, cv2: float) -> ComplexArray:
    """-log(1 - c z) / c, the exponent z under a gamma mixture of squared coefficient of variation c; z where c is 0.

    The complex log1p of numpy loses all relative accuracy near 0, and 1 / c would blow that up; here Re(z) <= 0, so
    log |1 - c z| = log1p(2 a + a^2 + b^2) / 2 with a = -c Re(z) >= 0 has no cancellation.
    """
    if cv2 < _POISSON_BELOW:
        return exponent
    a, b = -cv2 * np.minimum(exponent.real, 0.0), -cv2 * exponent.imag
    out = np.empty(exponent.shape, dtype=np.complex128)
    out.real = np.log1p(2.0 * a + a * a + b * b) / (-2.0 * cv2)
    out.imag = np.arctan2(b, 1.0 + a) / -cv2
    return out


def moments(groups: Sequence[LossGroup], step: float, regime_cv: float) -> tuple[float, float]:
    """Mean and variance of the total on the grid, from the moments of counts and losses alone."""
    mean = variance = 0.0
    for group in groups:
        loss = np.arange(len(group.probability)) * step
        first = group.expected_count * float(np.sum(loss * group.probability))
        mean += first
        variance += group.expected_count * float(np.sum(loss**2 * group.probability)) + group.mixing_cv2 * first**2
    return mean, variance + regime_cv**2 * mean**2


def compound(groups: Sequence[LossGroup], *, step: float, regime_cv: float, n_nodes: int = N_NODES) -> LossLaw:
    """The law of the year's total loss over all groups.

    Counts are negative binomial within a group (its rate is uncertain and differs by year). A regime common to all
    groups, gamma with mean 1 and coefficient of variation `regime_cv`, runs the year's operational clock: with
    psi the sum of the groups' log characteristic functions the total has E exp(theta psi) = (1 - r psi)^(-1/r),
    r = regime_cv^2 (a gamma-subordinated compound law: exact, no quadrature; variance sum(lambda m2 + c (lambda m1)^2)
    + r mean^2). FFT on a cyclic grid wraps what it cannot hold: mean and variance are compared with the exact
    ones, and the grid is doubled until they agree (Grubel & Hermesmeier 1999 on the aliasing error).

    Raises BadCompound, GridTooShort.
    """
    for group in groups:
        total = float(np.sum(group.probability))
        if group.expected_count < 0 or group.mixing_cv2 < 0 or abs(total - 1.0) > 1e-9 or step <= 0:
            raise BadCompound(expected_count=group.expected_count, probability=total, step=step)
    mean, variance = moments(groups, step, regime_cv)
    longest = max((len(group.probability) for group in groups), default=1)
    n = n_nodes
    while n <= _MAX_NODES:
        if n >= longest:
            law = _compound_on(groups, step=step, regime_cv=regime_cv, n=n)
            if abs(law.mean - mean) <= _MEAN_TOLERANCE * mean + 1e-12 * step * n and (
                abs(law.variance - variance) <= _VARIANCE_TOLERANCE * variance + 1e-12 * (step * n) ** 2
            ):
                return law
        n *= 2
    raise GridTooShort(expected=mean, standard_deviation=variance**0.5, grid_end=step * _MAX_NODES)


def _compound_on(groups: Sequence[LossGroup], *, step: float, regime_cv: float, n: int) -> LossLaw:
    psi = np.zeros(n // 2 + 1, dtype=np.complex128)
    for group in groups:
        if group.expected_count > 0:
            psi += _log_transform(group, np.asarray(np.fft.rfft(group.probability, n), dtype=np.complex128))
    transform = np.exp(_mixed(psi, regime_cv**2))
    probability = np.maximum(np.fft.irfft(transform, n), 0.0)
    return LossLaw(loss=np.arange(n, dtype=np.float64) * step, probability=probability / np.sum(probability))


def grid_step(groups_mean: float, groups_sd: float, largest: float, n_nodes: int = N_NODES) -> float:
    """A step with which `n_nodes` reach the mean, eight standard deviations and three largest losses.

    Rounded up to a power of two, so that a slightly different quote is computed on the same grid.
    """
    reach = groups_mean + 8.0 * groups_sd + 3.0 * largest
    if not (reach > 0 and np.isfinite(reach)):
        return 1.0
    return float(2.0 ** np.ceil(np.log2(reach / n_nodes)))


def panjer(group: LossGroup, n: int) -> FloatArray:
    """P(S = 0), ..., P(S = (n - 1) step) of one group by recursion: the check on the transform.

    Panjer (1981), ASTIN Bulletin 12: Poisson a = 0, b = lambda; negative binomial with r = 1/c, beta = c lambda:
    a = beta / (1 + beta), b = (r - 1) a. It underflows where P(no loss at all) does: use it on small expected counts.
    """
    f = group.probability
    if group.mixing_cv2 < _POISSON_BELOW:
        a, b = 0.0, group.expected_count
        start = np.exp(-group.expected_count * (1.0 - f[0]))
    else:
        beta = group.mixing_cv2 * group.expected_count
        a = beta / (1.0 + beta)
        b = (1.0 / group.mixing_cv2 - 1.0) * a
        start = (1.0 + beta * (1.0 - f[0])) ** (-1.0 / group.mixing_cv2)
    if not start > 0:
        raise BadCompound("Panjer's recursion underflows at this expected count", expected_count=group.expected_count)
    g = np.zeros(n)
    g[0] = start
    for s in range(1, n):
        y = np.arange(1, min(s, len(f) - 1) + 1)
        g[s] = np.sum((a + b * y / s) * f[y] * g[s - y]) / (1.0 - a * f[0])
    return g
