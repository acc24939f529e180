"""What a policy pays: covers, their terms, and the payment schedule each gives for one outage."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from core.errors import InvalidInput
from itops.payment import PaymentSchedule, Piece, nothing

#: Covers that this model prices.
COVERS = ("business_interruption", "system_availability")

WaitingPeriod = Literal["retention", "qualifying"]


class BadTerms(InvalidInput):
    """The terms of a cover contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTerms:
    """Money terms of one event, applied in this order: deductible, insured's share, limit."""

    deductible: Decimal
    coinsurance: Decimal  #: share of the loss above the deductible that the insured keeps, in [0, 1)
    limit: Decimal

    def __post_init__(self) -> None:
        if self.deductible < 0 or self.limit <= 0:
            raise BadTerms("deductible must not be negative and limit must be positive", **self._told())
        if self.limit < self.deductible:
            raise BadTerms("limit is below deductible", **self._told())
        if not 0 <= self.coinsurance < 1:
            raise BadTerms("coinsurance is the share the insured keeps: at least 0, below 1", **self._told())

    def _told(self) -> dict[str, str]:
        return {
            "deductible": str(self.deductible),
            "limit": str(self.limit),
            "coinsurance": str(self.coinsurance),
        }

    def applied(self, ground_up: PaymentSchedule) -> PaymentSchedule:
        """What is paid of a ground-up loss."""
        above = ground_up.above(float(self.deductible))
        return above.scaled(1.0 - float(self.coinsurance)).up_to(float(self.limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessInterruption:
    """Pays revenue lost while service is down, between a waiting period and an indemnity period.

    With D the outage's hours, W the waiting period, I the indemnity period, r the revenue per hour and a the share of
    it that stands still when one device of a class is down: a r (min(D, I) - W)+ where the waiting period is a
    retention, and a r min(D, I) if D > W where it is a qualifying period. The two price differently.
    """

    revenue_per_hour: Decimal
    affected_share: Mapping[str, Decimal]  #: by device class, in [0, 1]
    waiting_period_h: float
    waiting_period_type: WaitingPeriod
    indemnity_period_h: float
    terms: EventTerms

    name = "business_interruption"

    def __post_init__(self) -> None:
        if not 0 <= self.waiting_period_h < self.indemnity_period_h:
            raise BadTerms(
                "waiting_period_h must be at least 0 and below indemnity_period_h",
                waiting_period_h=self.waiting_period_h,
                indemnity_period_h=self.indemnity_period_h,
            )
        if self.revenue_per_hour < 0:
            raise BadTerms("revenue_per_hour is negative", revenue_per_hour=str(self.revenue_per_hour))
        for device_class, share in self.affected_share.items():
            if not 0 <= share <= 1:
                raise BadTerms("affected_share must be from 0 to 1", device_class=device_class, share=str(share))

    def ground_up(self, device_class: str) -> PaymentSchedule:
        """Revenue lost in the indemnity period, with no waiting period."""
        return self._lost(device_class, 0.0)

    def schedule(self, device_class: str) -> PaymentSchedule:
        """What one outage of this class pays."""
        return self.terms.applied(self._lost(device_class, self.waiting_period_h))

    def _lost(self, device_class: str, waiting_h: float) -> PaymentSchedule:
        if device_class not in self.affected_share:
            raise BadTerms(
                f"affected_share has no entry for {device_class!r}: blank is unknown, not zero",
                given=sorted(self.affected_share),
            )
        per_hour = float(self.revenue_per_hour * self.affected_share[device_class])
        if per_hour == 0:
            return nothing()
        kept = waiting_h * per_hour if self.waiting_period_type == "retention" else 0.0
        begins = Piece(start_h=waiting_h, amount=per_hour * waiting_h - kept, slope_per_h=per_hour)
        ends = Piece(start_h=self.indemnity_period_h, amount=per_hour * self.indemnity_period_h - kept, slope_per_h=0.0)
        before = (Piece(start_h=0.0, amount=0.0, slope_per_h=0.0),) if waiting_h > 0 else ()
        return PaymentSchedule((*before, begins, ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAvailability:
    """Pays a customer's compensation where service is not restored within the agreed hours.

    A fixed amount for the breach and an amount for each hour beyond the target: c0 1[D > T] + c1 (D - T)+.
    """

    restoration_target_h: float
    compensation_per_breach: Decimal
    compensation_per_hour: Decimal
    terms: EventTerms

    name = "system_availability"

    def __post_init__(self) -> None:
        if not self.restoration_target_h >= 0:
            raise BadTerms("restoration_target_h is negative", restoration_target_h=self.restoration_target_h)
        if self.compensation_per_breach < 0 or self.compensation_per_hour < 0:
            raise BadTerms(
                "compensation is negative",
                compensation_per_breach=str(self.compensation_per_breach),
                compensation_per_hour=str(self.compensation_per_hour),
            )

    def ground_up(self, device_class: str) -> PaymentSchedule:
        """The compensation owed up to the limit plus the deductible: beyond that it has no finite mean."""
        return self._owed().up_to(float(self.terms.limit / (1 - self.terms.coinsurance) + self.terms.deductible))

    def schedule(self, device_class: str) -> PaymentSchedule:
        """What one outage pays, whatever its class."""
        return self.terms.applied(self._owed())

    def _owed(self) -> PaymentSchedule:
        begins = Piece(
            start_h=self.restoration_target_h,
            amount=float(self.compensation_per_breach),
            slope_per_h=float(self.compensation_per_hour),
        )
        before = (Piece(start_h=0.0, amount=0.0, slope_per_h=0.0),) if self.restoration_target_h > 0 else ()
        return PaymentSchedule((*before, begins))


Cover = BusinessInterruption | SystemAvailability


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnualTerms:
    """Terms on the year's total over all covers: deductible, then limit."""

    deductible: Decimal = Decimal(0)
    limit: Decimal | None = None

    def __post_init__(self) -> None:
        if self.deductible < 0 or (self.limit is not None and self.limit <= 0):
            raise BadTerms("annual deductible must not be negative and annual limit must be positive")
