"""Event and year loss tables to average annual loss and exceedance curves, with their sampling error.

An event loss table (ELT) holds a rate, a mean and a standard deviation for each event; years are simulated from it
with Poisson counts. A year loss table (YLT) holds the losses of each occurrence in each simulated year. Curves are
read from the sorted years without smoothing. Grossi & Kunreuther (2005), Catastrophe Modeling, ch. 2; the order
statistic interval of a return level is David & Nagaraja (2003), Order Statistics, sec. 7.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RETURN_PERIODS = (2.0, 5.0, 10.0, 20.0, 25.0, 50.0, 100.0, 200.0, 250.0, 500.0, 1000.0)
_Z90 = 1.6448536269514722  #: normal quantile of 95 %


class BadLossTable(InvalidInput):
    """This is no event or year loss table."""


def descending(values: FloatArray) -> tuple[IntArray, FloatArray]:
    """(order, values in it) of finite values >= 0, largest first; equal ones in any order.

    Sorts one whole number for each value instead of an index by value: the bits of a float that is not negative
    ascend with it, and its lowest ones give way to the index. What that confuses is put right afterwards.
    """
    n = len(values)
    bits = np.uint64(max(int(n - 1).bit_length(), 1))
    key = (values + 0.0).view(np.uint64)  # + 0.0 makes a copy, and 0 of -0
    key >>= bits
    key <<= bits
    key |= np.arange(n, dtype=np.uint64)
    key.sort()
    order = (key[::-1] & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    found = values[order]
    if (found[1:] > found[:-1]).any():
        again = np.argsort(-found, kind="stable")
        order, found = order[again], found[again]
    return order, found


@dataclass(frozen=True)
class EventLosses:
    """An event loss table. Rates are events a year, losses in one currency."""

    rate_per_year: FloatArray  #: (n_events,) > 0
    mean: FloatArray  #: (n_events,) >= 0
    sd: FloatArray  #: (n_events,) >= 0, of the loss given the event
    exposed: FloatArray  #: (n_events,) largest loss the event can cause; infinite where unknown

    @classmethod
    def make(
        cls,
        rate_per_year: npt.ArrayLike,
        mean: npt.ArrayLike,
        sd: npt.ArrayLike | None = None,
        exposed: npt.ArrayLike | None = None,
    ) -> "EventLosses":
        """Checks and makes a table; raises BadLossTable naming the column."""
        rate, mu = np.asarray(rate_per_year, dtype=float), np.asarray(mean, dtype=float)
        spread = np.zeros_like(mu) if sd is None else np.asarray(sd, dtype=float)
        top = np.full_like(mu, np.inf) if exposed is None else np.asarray(exposed, dtype=float)
        if not len(mu):
            raise BadLossTable("there are no events")
        if not (rate.shape == mu.shape == spread.shape == top.shape):
            raise BadLossTable("columns of different length")
        for name, column, low in (("rate", rate, 0.0), ("mean", mu, 0.0), ("sd", spread, 0.0)):
            if not np.isfinite(column).all() or (column < low).any():
                raise BadLossTable(f"{name}: a value is negative or not a finite number")
        if (rate == 0).any():
            raise BadLossTable("rate: an event that never happens does not belong in the table")
        if (top < mu).any():
            raise BadLossTable("exposed: a mean loss is more than the exposed value")
        return cls(rate, mu, spread, top)

    @property
    def aal(self) -> float:
        """Average annual loss: sum of rate times mean."""
        return float(self.rate_per_year @ self.mean)

    @property
    def aal_sd(self) -> float:
        """Standard deviation of the annual loss: compound Poisson, sum of rate times second moment."""
        return float(np.sqrt(self.rate_per_year @ (self.mean**2 + self.sd**2)))

    def oep(self) -> tuple[FloatArray, FloatArray]:
        """(loss, exceedance probability), losses descending: P(largest loss of a year >= loss), mean losses.

        1 - exp(-sum of rates of events at least as large). Only the means enter, so that a table with large standard
        deviations needs `simulate`.
        """
        order, loss = descending(self.mean)
        rate = np.cumsum(self.rate_per_year[order])
        tied = loss[1:] == loss[:-1]
        if tied.any():  # equal losses share the rate of the last of them
            last = np.flatnonzero(np.r_[~tied, True])
            rate = np.repeat(rate[last], np.diff(np.r_[-1, last]))
        return loss, -np.expm1(-rate)

    def simulate(self, n_years: int, rng: np.random.Generator) -> "YearLosses":
        """Years with Poisson counts of events; beta-distributed losses where an sd and an exposed value are given,
        else gamma-distributed ones."""
        if n_years < 1:
            raise BadLossTable(f"n_years: {n_years} is less than 1")
        total = float(self.rate_per_year.sum())
        n = int(rng.poisson(total * n_years))
        if n > 200_000_000:
            raise BadLossTable(f"n_years: {n:,} occurrences are more than fit in memory; ask for fewer years")
        cumulative = np.cumsum(self.rate_per_year)
        event = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
        event = np.minimum(event, len(self.mean) - 1)
        year = np.sort(rng.integers(0, n_years, n))
        return YearLosses(year, self._draw(event, rng), n_years, rng.random(n) * 365.0, event)

    def _draw(self, event: IntArray, rng: np.random.Generator) -> FloatArray:
        mean, sd, top = self.mean[event], self.sd[event], self.exposed[event]
        loss = mean.copy()
        noisy = (sd > 0) & (mean > 0)
        bounded = noisy & np.isfinite(top) & (mean < top)
        if bounded.any():
            m = mean[bounded] / top[bounded]
            # a beta distribution cannot spread wider than this
            v = np.minimum((sd[bounded] / top[bounded]) ** 2, m * (1 - m) * 0.999)
            k = m * (1 - m) / v - 1
            loss[bounded] = top[bounded] * rng.beta(m * k, (1 - m) * k)
        free = noisy & ~np.isfinite(top)
        if free.any():
            shape = (mean[free] / sd[free]) ** 2
            loss[free] = rng.gamma(shape, mean[free] / shape)
        return loss


@dataclass(frozen=True)
class YearLosses:
    """A year loss table: every occurrence in simulated years 0 .. n_years - 1, sorted by year."""

    year: IntArray  #: (n,)
    loss: FloatArray  #: (n,) >= 0
    n_years: int
    day: FloatArray | None = None  #: (n,) day of the year, from 0
    event: IntArray | None = None

    @classmethod
    def make(
        cls, year: npt.ArrayLike, loss: npt.ArrayLike, n_years: int, day: npt.ArrayLike | None = None
    ) -> "YearLosses":
        """Checks, sorts and makes a table; raises BadLossTable."""
        y, x = np.asarray(year, dtype=np.int64), np.asarray(loss, dtype=float)
        if y.shape != x.shape:
            raise BadLossTable("columns of different length")
        if n_years < 1:
            raise BadLossTable(f"n_years: {n_years} is less than 1")
        if len(y) and (y.min() < 0 or y.max() >= n_years):
            raise BadLossTable(f"year: one lies outside the {n_years} years")
        if not np.isfinite(x).all() or (x < 0).any():
            raise BadLossTable("loss: a value is negative or not a finite number")
        d = None if day is None else np.asarray(day, dtype=float)
        order = np.lexsort((d, y)) if d is not None else np.argsort(y, kind="stable")
        return cls(y[order], x[order], n_years, None if d is None else d[order])

    def with_loss(self, loss: FloatArray) -> "YearLosses":
        """The same occurrences with other losses."""
        return YearLosses(self.year, loss, self.n_years, self.day, self.event)

    def annual(self) -> FloatArray:
        """(n_years,) sum of each year; years without an event are zero."""
        found: FloatArray = np.bincount(self.year, weights=self.loss, minlength=self.n_years).astype(np.float64)
        return found

    def largest(self) -> FloatArray:
        """(n_years,) largest occurrence of each year."""
        found = np.zeros(self.n_years)
        np.maximum.at(found, self.year, self.loss)
        return found


@dataclass(frozen=True)
class ReturnLevel:
    """A point of an exceedance curve."""

    return_period: float
    loss: float
    low: float  #: 90 % interval of the sampling error
    high: float
    tvar: float  #: mean of the years at or beyond it
    tvar_se: float


@dataclass(frozen=True)
class Curve:
    """Exceedance by simulated years, losses descending: the k-th largest is exceeded or met in k of n years."""

    loss: FloatArray  #: (n_years,) descending

    @classmethod
    def of(cls, per_year: FloatArray) -> "Curve":
        """A curve from one loss for each year."""
        return cls(-np.sort(-per_year))

    def exceedance(self, loss: float) -> float:
        """Share of years with at least this loss: a count."""
        return float(np.searchsorted(-self.loss, -loss, side="right")) / len(self.loss)

    def level(self, return_period: float) -> ReturnLevel:
        """The loss that is met or exceeded once in so many years, with its sampling error.

        The k-th largest of n years with k = n / return period, rounded down: no interpolation. The 90 % interval is
        between the order statistics k -+ 1.645 sqrt(n p (1-p)). A period beyond the simulated years is refused.
        """
        n = len(self.loss)
        if return_period <= 1 or return_period > n:
            raise BadLossTable(f"return period {return_period:g} needs more than the {n:,} simulated years")
        k = max(int(np.floor(n / return_period + 1e-9)), 1)
        half = _Z90 * np.sqrt(n / return_period * (1 - 1 / return_period))
        high = self.loss[max(int(np.floor(k - half)), 1) - 1]
        low = self.loss[min(int(np.ceil(k + half)), n) - 1]
        tail = self.loss[:k]
        # variance of the tail mean, with the threshold estimated too (Manistre & Hancock 2005, eq. 3)
        q = self.loss[k - 1]
        spread = float(tail.var(ddof=1)) if k > 1 else float("nan")
        se = np.sqrt((spread + (1 - k / n) * (float(tail.mean()) - q) ** 2) / k)
        return ReturnLevel(return_period, float(q), float(low), float(high), float(tail.mean()), float(se))


def summary(years: YearLosses, return_periods: Sequence[float] = RETURN_PERIODS) -> dict[str, Any]:
    """AAL with its standard error, sd, and return levels of AEP and OEP; periods beyond the years are left out."""
    annual = years.annual()
    told = [p for p in return_periods if 1 < p <= years.n_years]
    curves = {"AEP": Curve.of(annual), "OEP": Curve.of(years.largest())}
    sd = float(annual.std(ddof=1)) if years.n_years > 1 else float("nan")
    return {
        "n_years": years.n_years,
        "n_occurrences": len(years.loss),
        "aal": float(annual.mean()),
        "aal_se": sd / float(np.sqrt(years.n_years)),
        "sd": sd,
        "curves": {name: [curve.level(p) for p in told] for name, curve in curves.items()},
        "periods_left_out": [p for p in return_periods if p not in told],
    }
