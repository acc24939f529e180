"""Money paid for one outage as a function of its hours, and the law of that payment."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from itops.severity import FloatArray, RepairLaw


class UnboundedPayment(InvalidInput):
    """A payment without a limit has no price: repair times may have an infinite mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """From `start_h` (not included) to the next piece's start (included): amount + slope_per_h x (hours - start_h)."""

    start_h: float
    amount: float
    slope_per_h: float


@dataclass(frozen=True, slots=True)
class PaymentSchedule:
    """A payment that never falls as the outage lengthens, piecewise linear in its hours; nothing is paid for 0 hours.

    Every waiting period, SLA compensation, deductible, share and limit is such a function, and so is a sum of them on
    the same outage; therefore dependence between covers inside one event is exact and needs no copula.
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        ends = _amounts_at_ends(self.pieces)
        good = bool(self.pieces) and self.pieces[0].start_h == 0.0
        previous = 0.0
        for piece, end in zip(self.pieces, ends, strict=True):
            # A relative hair of slack: sums and differences of amounts are floating point.
            good = good and piece.slope_per_h >= 0 and piece.amount >= previous - 1e-9 * max(abs(previous), 1.0)
            previous = end
        starts = [piece.start_h for piece in self.pieces]
        if not good or starts != sorted(set(starts)):
            raise InvalidInput("A payment schedule must start at 0 hours and never fall", pieces=self.pieces)

    def amount(self, hours: FloatArray) -> FloatArray:
        """The payment for outages of these lengths."""
        h = np.asarray(hours, dtype=np.float64)
        starts = np.array([piece.start_h for piece in self.pieces])
        k = np.maximum(np.searchsorted(starts, h, side="left") - 1, 0)
        amounts = np.array([piece.amount for piece in self.pieces])
        slopes = np.array([piece.slope_per_h for piece in self.pieces])
        return np.where(h > 0, amounts[k] + slopes[k] * (h - starts[k]), 0.0)

    @property
    def largest(self) -> float:
        """The most it can pay; raises UnboundedPayment."""
        last = self.pieces[-1]
        if last.slope_per_h > 0:
            raise UnboundedPayment(pieces=self.pieces)
        return last.amount

    def scaled(self, factor: float) -> "PaymentSchedule":
        """`factor` times the payment."""
        return PaymentSchedule(
            tuple(
                Piece(start_h=p.start_h, amount=p.amount * factor, slope_per_h=p.slope_per_h * factor)
                for p in self.pieces
            )
        )

    def above(self, deductible: float) -> "PaymentSchedule":
        """max(payment - deductible, 0)."""
        split = _split_at_amount(self.pieces, deductible)
        return PaymentSchedule(
            tuple(
                Piece(start_h=p.start_h, amount=p.amount - deductible, slope_per_h=p.slope_per_h)
                if p.amount >= deductible
                else Piece(start_h=p.start_h, amount=0.0, slope_per_h=0.0)
                for p in split
            )
        )

    def up_to(self, limit: float) -> "PaymentSchedule":
        """min(payment, limit)."""
        split = _split_at_amount(self.pieces, limit)
        return PaymentSchedule(
            tuple(p if p.amount < limit else Piece(start_h=p.start_h, amount=limit, slope_per_h=0.0) for p in split)
        )


def _amounts_at_ends(pieces: Sequence[Piece]) -> list[float]:
    """What each piece pays at its end; the last one's end is infinity."""
    ends = [a.amount + a.slope_per_h * (b.start_h - a.start_h) for a, b in pairwise(pieces)]
    return [*ends, float("inf") if pieces and pieces[-1].slope_per_h > 0 else (pieces[-1].amount if pieces else 0.0)]


def _split_at_amount(pieces: Sequence[Piece], level: float) -> list[Piece]:
    """The same pieces with a knot where the payment passes `level` inside a piece."""
    out: list[Piece] = []
    for piece, end in zip(pieces, _amounts_at_ends(pieces), strict=True):
        out.append(piece)
        if piece.amount < level < end:
            at_h = piece.start_h + (level - piece.amount) / piece.slope_per_h
            out.append(Piece(start_h=at_h, amount=level, slope_per_h=piece.slope_per_h))
    return out


def nothing() -> PaymentSchedule:
    """Pays nothing, ever."""
    return PaymentSchedule((Piece(start_h=0.0, amount=0.0, slope_per_h=0.0),))


def total(schedules: Sequence[PaymentSchedule]) -> PaymentSchedule:
    """The sum of several payments for the same outage."""
    starts = sorted({piece.start_h for schedule in schedules for piece in schedule.pieces})
    if not starts:
        return nothing()
    pieces = []
    for start in starts:
        amount = slope = 0.0
        for schedule in schedules:
            piece = [p for p in schedule.pieces if p.start_h <= start][-1]
            amount += piece.amount + piece.slope_per_h * (start - piece.start_h)
            slope += piece.slope_per_h
        pieces.append(Piece(start_h=start, amount=amount, slope_per_h=slope))
    return PaymentSchedule(tuple(pieces))


class PaymentLaw:
    """The law of a bounded payment X = g(D) for one outage whose length follows a repair-time law.

    P(X > x) = P(D > a(x)), where a(x) is the longest outage that pays at most x; so E[min(X, x)] is a sum of
    limited expected values of D, exact up to rounding.
    """

    def __init__(self, schedule: PaymentSchedule, law: RepairLaw) -> None:
        self.schedule, self.law = schedule, law
        self.largest = schedule.largest
        # Segments of the payment axis: over [x0, x1) the outage hours run from `hour` at `slope` money per hour, or
        # stand still (slope 0) where the payment jumps.
        levels, hours, slopes = [], [], []
        reached = 0.0
        for piece, end in zip(schedule.pieces, _amounts_at_ends(schedule.pieces), strict=True):
            if piece.amount > reached:
                levels.append(reached)
                hours.append(piece.start_h)
                slopes.append(0.0)
                reached = piece.amount
            if end > reached:
                levels.append(reached)
                hours.append(piece.start_h)
                slopes.append(piece.slope_per_h)
                reached = end
        self._level = np.array([*levels, reached])
        self._hour = np.array([*hours, np.inf])
        self._slope = np.array([*slopes, 0.0])
        finite = self._hour[:-1]
        self._survival_at = law.survival(finite) if len(finite) else np.zeros(0)
        self._limited_at = law.limited_mean(finite) if len(finite) else np.zeros(0)
        self._area = np.zeros(len(self._level))
        for k in range(len(finite)):
            self._area[k + 1] = self._area[k] + self._area_within(np.array([k]), self._level[k + 1 : k + 2])[0]

    def _area_within(self, k: NDArray[np.intp], x: FloatArray) -> FloatArray:
        """The integral of P(X > s) over [level k, x], segment by segment."""
        width = x - self._level[k]
        slope = self._slope[k]
        run = np.divide(width, slope, out=np.zeros_like(width), where=slope > 0)
        rising = slope * (self.law.limited_mean(self._hour[k] + run) - self._limited_at[k])
        return np.asarray(np.where(slope > 0, rising, self._survival_at[k] * width), dtype=np.float64)

    def limited_mean(self, amounts: FloatArray) -> FloatArray:
        """E[min(X, x)]."""
        x = np.clip(np.asarray(amounts, dtype=np.float64), 0.0, self.largest)
        n = len(self._level) - 1
        if n == 0:
            return np.zeros_like(x)
        k = np.clip(np.searchsorted(self._level, x, side="right") - 1, 0, n - 1)
        return np.asarray(self._area[k] + self._area_within(k, x), dtype=np.float64)

    def survival(self, amounts: FloatArray) -> FloatArray:
        """P(X > x)."""
        x = np.asarray(amounts, dtype=np.float64)
        n = len(self._level) - 1
        if n == 0:
            return np.zeros_like(x)
        k = np.clip(np.searchsorted(self._level, x, side="right") - 1, 0, n - 1)
        slope = self._slope[k]
        run = np.divide(x - self._level[k], slope, out=np.zeros_like(x), where=slope > 0)
        return np.where(x >= self.largest, 0.0, self.law.survival(self._hour[k] + np.maximum(run, 0.0)))

    @property
    def mean(self) -> float:
        """E[X]."""
        return float(self._area[-1])
