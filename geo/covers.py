"""What happens to occurrences in a year: hours clause, demand surge, excess with reinstatements, aggregate covers.

Every function takes a year loss table and gives one with the same occurrences, so that the steps can be chained and
each can be left out. Reinstatements: Swiss Re (1996), An introduction to reinsurance; the reinstated limit and premium
pro rata as to amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import InvalidInput
from geo.ep import BadLossTable, FloatArray, YearLosses


class BadCover(InvalidInput):
    """This cover cannot be applied."""


@dataclass(frozen=True)
class Excess:
    """An occurrence excess of loss in a year: limit xs attachment, paid again so often, at a reinstatement premium."""

    attachment: float
    limit: float
    reinstatements: int | None = None  #: None: without end
    annual_deductible: float = 0.0
    share: float = 1.0  #: placed
    premium: float = 0.0  #: for the whole limit, before reinstatements
    reinstatement_rates: tuple[float, ...] = ()  #: share of the premium for each reinstatement; the last one holds on

    def __post_init__(self) -> None:
        if self.attachment < 0 or self.annual_deductible < 0 or self.premium < 0:
            raise BadCover("attachment, annual deductible and premium are not negative")
        if not self.limit > 0:
            raise BadCover(f"limit: {self.limit:g} is not more than zero")
        if not 0 < self.share <= 1:
            raise BadCover(f"share: {self.share:g} is not in (0, 1]")
        if self.reinstatements is not None and self.reinstatements < 0:
            raise BadCover(f"reinstatements: {self.reinstatements} is negative")

    @property
    def annual_limit(self) -> float:
        """What the layer pays in a year at most: its limit and each reinstatement."""
        return np.inf if self.reinstatements is None else self.limit * (1 + self.reinstatements)


def _running(years: YearLosses, amounts: FloatArray) -> FloatArray:
    """Sum of a year's amounts up to and with each occurrence."""
    if not len(amounts):
        return amounts.copy()
    total = np.cumsum(amounts)
    starts = np.flatnonzero(np.r_[True, years.year[1:] != years.year[:-1]])
    before = np.r_[0.0, total][starts]
    counts = np.diff(np.r_[starts, len(amounts)])
    found: FloatArray = total - np.repeat(before, counts)
    return found


def recovered(years: YearLosses, cover: Excess) -> YearLosses:
    """What the excess pays of each occurrence, in the order in which they happen in the year."""
    layer = np.clip(years.loss - cover.attachment, 0.0, cover.limit)
    after = np.clip(_running(years, layer) - cover.annual_deductible, 0.0, cover.annual_limit)
    first = np.r_[True, years.year[1:] != years.year[:-1]] if len(layer) else np.zeros(0, dtype=bool)
    before = np.where(first, 0.0, np.r_[0.0, after[:-1]]) if len(layer) else after
    # a sum of floats can fall by its last digit
    return years.with_loss(np.maximum(after - before, 0.0) * cover.share)


def reinstatement_premium(years: YearLosses, cover: Excess) -> FloatArray:
    """(n_years,) premium for reinstated limit, pro rata as to amount: nothing is reinstated after the last one."""
    if cover.reinstatements is None or not cover.reinstatement_rates:
        return np.zeros(years.n_years)
    used = recovered(years, cover).annual() / cover.share
    premium = np.zeros(years.n_years)
    for number in range(cover.reinstatements):
        rate = cover.reinstatement_rates[min(number, len(cover.reinstatement_rates) - 1)]
        part = np.clip(used - number * cover.limit, 0.0, cover.limit) / cover.limit
        premium += part * rate * cover.premium * cover.share
    return premium


def aggregate_recovered(years: YearLosses, attachment: float, limit: float, share: float = 1.0) -> FloatArray:
    """(n_years,) what an annual aggregate cover pays: limit xs attachment of the year's sum."""
    if attachment < 0 or not limit > 0 or not 0 < share <= 1:
        raise BadCover("an aggregate cover needs attachment >= 0, limit > 0 and a share in (0, 1]")
    paid: FloatArray = np.clip(years.annual() - attachment, 0.0, limit) * share
    return paid


def hours_clause(years: YearLosses, hours: float) -> YearLosses:
    """Losses within so many hours of the first one are one occurrence, as the reinsured would choose the window.

    Windows are laid from the first loss of the year on; the window's sum stands on its first occurrence and the others
    become zero. Needs the days of the occurrences.
    """
    if years.day is None:
        raise BadLossTable("the hours clause needs the day of each occurrence")
    if not hours > 0:
        raise BadCover(f"hours: {hours:g} is not more than zero")
    days, year, loss = years.day, years.year, years.loss.copy()
    order = np.lexsort((days, year))
    head, start_year, start_day = -1, -1, 0.0
    for i in order.tolist():
        if head >= 0 and year[i] == start_year and days[i] - start_day <= hours / 24:
            loss[head] += loss[i]
            loss[i] = 0.0
        else:
            head, start_year, start_day = i, int(year[i]), float(days[i])
    return years.with_loss(loss)


def demand_surge(years: YearLosses, bands: Sequence[tuple[float, float]]) -> YearLosses:
    """Losses with the factor of their band: (loss from which it holds, factor), ascending; 1 below the first.

    A stated assumption of the user, never applied unasked: prices of repair rise after large events, and how much is
    not measured by this program.
    """
    if not bands:
        return years
    starts = np.array([start for start, _ in bands], dtype=float)
    factors = np.array([1.0, *(factor for _, factor in bands)], dtype=float)
    if (np.diff(starts) <= 0).any() or (starts < 0).any():
        raise BadCover("demand surge: thresholds ascend and are not negative")
    if (np.diff(factors) < 0).any():
        raise BadCover("demand surge: factors are at least 1 and do not fall")
    return years.with_loss(years.loss * factors[np.searchsorted(starts, years.loss, side="right")])
