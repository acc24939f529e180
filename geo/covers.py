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
    year_limit: float = np.inf  #: of the year's sum, beside what reinstatements leave
    ceded: float = 1.0  #: share of each occurrence that the cover looks at

    def __post_init__(self) -> None:
        if self.attachment < 0 or self.annual_deductible < 0 or self.premium < 0:
            raise BadCover("attachment, annual deductible and premium are not negative")
        if not self.limit > 0:
            raise BadCover(f"limit: {self.limit:g} is not more than zero")
        if not 0 < self.share <= 1:
            raise BadCover(f"share: {self.share:g} is not in (0, 1]")
        if not self.year_limit > 0:
            raise BadCover(f"year_limit: {self.year_limit:g} is not more than zero")
        if not 0 < self.ceded <= 1:
            raise BadCover(f"ceded: {self.ceded:g} is not in (0, 1]")
        if self.reinstatements is not None and not np.isfinite(self.limit):
            raise BadCover("reinstatements: there is no limit that could be reinstated")
        if self.reinstatements is not None and self.reinstatements < 0:
            raise BadCover(f"reinstatements: {self.reinstatements} is negative")

    @property
    def annual_limit(self) -> float:
        """What the layer pays in a year at most: its limit and each reinstatement, or its limit of the year."""
        reinstated = np.inf if self.reinstatements is None else self.limit * (1 + self.reinstatements)
        return min(self.year_limit, reinstated)


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
    layer = np.clip(years.loss * cover.ceded - cover.attachment, 0.0, cover.limit)
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


def hours_clause(years: YearLosses, hours: float, *, windows: str = "first") -> YearLosses:
    """Losses within so many hours are one occurrence: the window's sum on its first loss, zero on the others.

    Needs the days of the occurrences. `windows`: "first" lays them one after the other from the year's first loss on;
    "best" lets the reinsured choose, no two windows overlapping: the dearest window first, then the dearest of what is
    left. That is the best choice for one occurrence; for several under an attachment a search could do better still.
    """
    if years.day is None:
        raise BadLossTable("the hours clause needs the day of each occurrence")
    if not hours > 0:
        raise BadCover(f"hours: {hours:g} is not more than zero")
    if windows not in ("first", "best"):
        raise BadCover(f"windows: {windows!r} is neither first nor best")
    order = np.lexsort((years.day, years.year))
    days, year, loss = years.day[order], years.year[order], years.loss[order]
    joined = np.zeros_like(loss)
    starts = np.flatnonzero(np.r_[True, year[1:] != year[:-1]]) if len(year) else np.zeros(0, dtype=np.int64)
    for first, last in zip(starts.tolist(), [*starts[1:].tolist(), len(year)], strict=True):
        for head, tail in _windows(days[first:last], loss[first:last], hours / 24, windows):
            joined[first + head] = loss[first + head : first + tail].sum()
    out = np.empty_like(joined)
    out[order] = joined
    return years.with_loss(out)


def _windows(days: FloatArray, loss: FloatArray, length: float, windows: str) -> list[tuple[int, int]]:
    """[first, end) of the windows over one year's losses, which ascend by day."""
    ends = np.searchsorted(days, days + length, side="right")
    found: list[tuple[int, int]] = []
    if windows == "first":
        head = 0
        while head < len(days):
            found.append((head, int(ends[head])))
            head = int(ends[head])
        return found
    total = np.r_[0.0, np.cumsum(loss)]
    pieces = [(0, len(days))]
    while pieces:
        low, high = pieces.pop()
        if low >= high:
            continue
        tails = np.minimum(ends[low:high], high)
        worth = total[tails] - total[low:high]
        head = low + int(np.argmax(worth))
        tail = int(tails[head - low])
        found.append((head, tail))
        pieces += [(low, head), (tail, high)]
    return found


Bands = tuple[tuple[float, float], ...]


def read_bands(text: str) -> Bands:
    """Bands of demand surge from FROM:FACTOR,FROM:FACTOR; raises BadCover."""
    try:
        bands = tuple((float(a), float(b)) for a, _, b in (part.partition(":") for part in text.split(",")))
    except ValueError:
        raise BadCover(f"demand surge: {text!r} is not FROM:FACTOR,FROM:FACTOR") from None
    surge_factors(np.zeros(0), bands)
    return bands


def surge_factors(loss: FloatArray, bands: Sequence[tuple[float, float]]) -> FloatArray:
    """The factor of each loss's band: (loss from which it holds, factor), ascending; 1 below the first."""
    starts = np.array([start for start, _ in bands], dtype=float)
    factors = np.array([1.0, *(factor for _, factor in bands)], dtype=float)
    if not (np.isfinite(starts).all() and np.isfinite(factors).all()):
        raise BadCover("demand surge: a threshold or factor is not a finite number")
    if (np.diff(starts) <= 0).any() or (starts < 0).any():
        raise BadCover("demand surge: thresholds ascend and are not negative")
    if (np.diff(factors) < 0).any():
        raise BadCover("demand surge: factors are at least 1 and do not fall")
    found: FloatArray = factors[np.searchsorted(starts, loss, side="right")]
    return found


def demand_surge(years: YearLosses, bands: Sequence[tuple[float, float]]) -> YearLosses:
    """Occurrences with the factor of their band.

    A stated assumption of the user, never applied unasked: prices of repair rise after large events, and how much is
    not measured by this program.
    """
    if not bands:
        return years
    return years.with_loss(years.loss * surge_factors(years.loss, bands))
