"""How buildings under the same hazard differ: a damage ratio around its mean, and a curve that may be wrong as a whole.

The damage ratio given its mean m is zero with a chance that falls with m, one with a chance that rises with it, and
otherwise beta distributed so that the mean is m: zero-one-inflated beta (Ospina & Ferrari 2010, Statistical Papers
51:111-126). The beta's variance is spread^2 mu (1 - mu). That a curve is wrong for a whole event is a shift of its log
odds, the same for all, chosen so that the mean over the shifts is the curve. For Emanuel's curve the shift is the same
as another v_half. Sizes of spread, inflation and shift are assumptions of whoever runs the model: docs/methods/loss.md.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, expit

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]

N_MEANS = 256  #: knots of the mean between 0 and 1, at (k / N_MEANS) ** 2: denser where damage is small
N_BINS = 1024  #: bins of equal chance


class BadSpread(InvalidInput):
    """These parameters describe no damage distribution."""


@dataclass(frozen=True, slots=True)
class DamageSpread:
    """Parameters of the zero-one-inflated beta distribution."""

    spread: float = 0.3  #: sd of the beta part over sqrt(mu (1 - mu)), in (0, 1)
    zero: float = 0.3  #: chance of no damage where the mean tends to zero, in [0, 1)
    one: float = 0.3  #: chance of a total loss where the mean tends to one, in [0, 1)
    power: float = 4.0  #: how fast both fall off: zero (1 - m) ** power, one m ** power

    def __post_init__(self) -> None:
        if not 0 < self.spread < 1:
            raise BadSpread(f"damage spread: {self.spread:g} is not between 0 and 1")
        for name in ("zero", "one"):
            if not 0 <= getattr(self, name) < 1:
                raise BadSpread(f"damage {name}: {getattr(self, name):g} is not in [0, 1)")
        if not self.power >= 2:
            raise BadSpread(f"damage power: {self.power:g} is less than 2")

    def parts(self, mean: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(chance of zero, chance of one, mean of the beta part) for means in (0, 1)."""
        p0, p1 = self.zero * (1 - mean) ** self.power, self.one * mean**self.power
        return p0, p1, (mean - p1) / (1 - p0 - p1)

    def variance(self, mean: FloatArray) -> FloatArray:
        """Variance of the damage ratio given its mean: of the distribution, without the table."""
        p0, p1, mu = self.parts(mean)
        second = (1 - p0 - p1) * (self.spread**2 * mu * (1 - mu) + mu**2) + p1
        found: FloatArray = second - mean**2
        return found


def means() -> FloatArray:
    """(N_MEANS + 1,) knots of the mean."""
    return (np.arange(N_MEANS + 1) / N_MEANS) ** 2


@lru_cache(maxsize=8)
def quantile_table(spread: DamageSpread) -> FloatArray:
    """(N_MEANS + 1, N_BINS): the mean of the damage ratio over each bin of equal chance, for each knot of the mean.

    Bins hold averages of the quantile function, not its value in the middle, so that the mean of a row is its knot to
    rounding, and between knots too. What varies within the last of 1024 bins is lost. Rises in both directions, so
    that more hazard is never less loss; raises BadSpread where the parameters would not let it.
    """
    mean = means()[1:-1]
    p0, p1, mu = spread.parts(mean)
    if (np.diff(mu) <= 0).any() or (mu <= 0).any() or (mu >= 1).any():
        raise BadSpread("the damage distribution does not rise with its mean: take smaller chances of zero and one")
    a = (mu * (1 / spread.spread**2 - 1))[:, None]
    b = ((1 - mu) * (1 / spread.spread**2 - 1))[:, None]
    edges = np.arange(N_BINS + 1) / N_BINS
    q = np.clip((edges - p0[:, None]) / (1 - p0 - p1)[:, None], 0.0, 1.0)
    # the integral of a beta's quantile function up to q is mu I(x; a + 1, b); by its complement where x is near one
    upper = mu[:, None] > 0.5
    x = betaincinv(np.where(upper, b, a), np.where(upper, a, b), np.where(upper, 1 - q, q))
    near = np.where(upper, 1 - mu[:, None], mu[:, None]) * betainc(np.where(upper, b, a) + 1, np.where(upper, a, b), x)
    inner = (1 - p0 - p1)[:, None] * np.where(upper, q - (1 - mu[:, None]) + near, near)
    whole = inner + np.maximum(edges - (1 - p1[:, None]), 0.0)
    table = np.zeros((N_MEANS + 1, N_BINS))
    table[1:-1] = np.clip(np.diff(whole, axis=1) * N_BINS, 0.0, 1.0)
    table[-1] = 1.0
    table[1:-1] *= mean[:, None] / table[1:-1].mean(axis=1, keepdims=True)  # rounding of the special functions
    table = np.maximum.accumulate(np.minimum(table, 1.0), axis=1)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=8)
def _centres(sigma: float) -> FloatArray:
    """(N_MEANS - 1,) the log odds whose expit, shifted by sigma N(0, 1), has each inner knot as its mean."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    mean = means()[1:-1]
    low, high = np.full_like(mean, -60.0 - 8 * sigma), np.full_like(mean, 60.0 + 8 * sigma)
    for _ in range(80):
        middle = (low + high) / 2
        above = expit(middle[:, None] + sigma * node) @ weight > mean
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    return (low + high) / 2


def shifted_curve(sigma: float, shift: float) -> FloatArray:
    """(N_MEANS + 1,) what each knot of the mean becomes under a shift of `sigma` times a standard normal `shift`."""
    if sigma == 0.0:
        return means()
    if not 0 < sigma <= 5:
        raise BadSpread(f"curve sigma: {sigma:g} is not between 0 and 5")
    out = means()
    out[1:-1] = expit(_centres(sigma) + sigma * shift)
    return out
