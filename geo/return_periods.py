"""Hazard maps by return period, read as a frequency: average annual loss by integration, and an event table.

A map of 1 in T years says that its intensity is exceeded with frequency f = 1/T a year at each place. Between two maps
a place's intensity is linear in ln(T) (a straight line on Gumbel paper for long periods); losses are summed over the
places at each frequency and integrated over it by the trapezoid rule. Adding places at one frequency takes them as
flooded together: it does not touch the average annual loss, and makes every other figure of the year an upper one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]

#: Frequencies put between two maps: a damage curve is not linear between their depths.
STEPS_BETWEEN = 8


class BadMaps(InvalidInput):
    """These maps cannot be read as frequencies."""


@dataclass(frozen=True)
class FrequencyCurve:
    """Loss by frequency, the most frequent first."""

    frequency_per_year: FloatArray  #: (n,) falling
    loss: FloatArray  #: (n,) of the book

    @property
    def aal(self) -> float:
        """Area under the loss over frequency; beyond the rarest map its loss stays as it is."""
        f, y = self.frequency_per_year, self.loss
        return float(np.sum((f[:-1] - f[1:]) * (y[:-1] + y[1:]) / 2.0) + self.beyond)

    @property
    def beyond(self) -> float:
        """What of the average annual loss lies beyond the rarest map: at least this much."""
        return float(self.frequency_per_year[-1] * self.loss[-1])

    def events(self) -> tuple[FloatArray, FloatArray]:
        """(rate, mean loss) of one event for each interval of frequency and one beyond the rarest map.

        Their rates times losses add up to the average annual loss.
        """
        f, y = self.frequency_per_year, self.loss
        rate = np.append(f[:-1] - f[1:], f[-1])
        mean = np.append((y[:-1] + y[1:]) / 2.0, y[-1])
        return rate, mean


def check_periods(years: FloatArray) -> FloatArray:
    """The periods, rising; raises BadMaps."""
    years = np.asarray(years, dtype=float)
    if len(years) < 2:
        raise BadMaps("maps: at least two return periods are needed")
    if not np.isfinite(years).all() or (years <= 0.0).any():
        raise BadMaps("maps: a return period is above zero years")
    if (np.diff(years) <= 0.0).any():
        raise BadMaps("maps: return periods must differ and rise")
    return years


def check_rising(years: FloatArray, depth: FloatArray) -> int:
    """How many places have less water in a rarer map, which maps of one study do not have; raises BadMaps for most.

    depth : (n_maps, n_places), NaN where unknown
    """
    with np.errstate(invalid="ignore"):
        falling = (np.diff(depth, axis=0) < -1e-6).any(axis=0)
    wet = np.nan_to_num(depth).max(axis=0) > 0.0
    n, n_wet = int(falling.sum()), int(wet.sum())
    if n_wet and n > 0.5 * n_wet:
        raise BadMaps(f"maps: {n} of {n_wet} wet places have less water in a rarer map: are the periods exchanged?")
    return n


def integrate(
    years: FloatArray,
    depth: FloatArray,
    loss_at: Callable[[FloatArray], float],
    *,
    dry_at_years: float | None = None,
    steps: int = STEPS_BETWEEN,
) -> FrequencyCurve:
    """Loss by frequency of a book whose places have `depth` (n_maps, n_places) in maps of rising return periods.

    `loss_at` gives the book's loss for (n_places,) depths. `dry_at_years` is a period at which nothing is flooded yet,
    shorter than the first map's; without it nothing more frequent than the first map does any damage.
    """
    years = check_periods(years)
    if dry_at_years is not None:
        if not 0.0 < dry_at_years < years[0]:
            raise BadMaps(f"dry at: {dry_at_years:g} years does not lie below the first map's {years[0]:g}")
        years = np.r_[dry_at_years, years]
        depth = np.vstack([np.zeros(depth.shape[1]), depth])
        # what is unknown in every map is unknown here too
        depth[0, np.isnan(depth[1:]).any(axis=0)] = np.nan
    f: list[float] = []
    y: list[float] = []
    for i in range(len(years) - 1):
        for k in range(steps):
            share = k / steps
            at = np.exp((1.0 - share) * np.log(years[i]) + share * np.log(years[i + 1]))
            f.append(1.0 / float(at))
            y.append(loss_at((1.0 - share) * depth[i] + share * depth[i + 1]))
    f.append(1.0 / float(years[-1]))
    y.append(loss_at(depth[-1]))
    return FrequencyCurve(np.array(f), np.array(y))
