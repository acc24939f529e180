"""What a policy pays: five covers, their terms, and the payment each gives for one event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal

import numpy as np

from core.errors import InvalidInput
from itops.payment import PaymentSchedule, Piece, nothing
from itops.severity import FloatArray

#: Covers that this model prices.
COVERS = (
    "business_interruption",
    "physical_damage",
    "information_security",
    "system_availability",
    "data_recovery",
)

WaitingPeriod = Literal["retention", "qualifying"]
#: The order in which the terms of one event act: a field of the contract.
Order = Literal["deductible_coinsurance_limit", "limit_deductible_coinsurance"]
#: What a damaged device is worth to the policy.
Valuation = Literal["replacement_new", "actual_cash_value"]
#: Shocks on which a cover may have a limit of its own for each event.
SUBLIMIT_CAUSES = ("site", "network", "firmware", "cloud_region", "human_change", "flood", "wind", "shaking")


class BadTerms(InvalidInput):
    """The terms of a cover contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTerms:
    """Money terms of one event and of a cover's year.

    One event, by default: deductible, insured's share, sublimit of its cause, limit. In the order
    `limit_deductible_coinsurance` (Klugman, Panjer & Willmot, Loss Models, section 8.5: alpha ((X ^ u) - (X ^ d)))
    limit and sublimit cap the loss before the deductible is taken off. Then the year: deductible, limit.
    """

    deductible: Decimal
    coinsurance: Decimal  #: share of the loss above the deductible that the insured keeps, in [0, 1)
    limit: Decimal
    order: Order = "deductible_coinsurance_limit"
    aggregate_deductible: Decimal = Decimal(0)
    aggregate_limit: Decimal | None = None
    sublimits: Mapping[str, Decimal] = field(default_factory=dict)  #: by cause, each event

    def __post_init__(self) -> None:
        if self.deductible < 0 or self.limit <= 0:
            raise BadTerms("deductible must not be negative and limit must be positive", **self._told())
        if self.limit < self.deductible:
            raise BadTerms("limit is below deductible", **self._told())
        if not 0 <= self.coinsurance < 1:
            raise BadTerms("coinsurance is the share the insured keeps: at least 0, below 1", **self._told())
        if self.aggregate_deductible < 0 or (self.aggregate_limit is not None and self.aggregate_limit <= 0):
            raise BadTerms("aggregate_deductible must not be negative and aggregate_limit must be positive")
        if self.aggregate_limit is not None and self.aggregate_limit < self.limit:
            raise BadTerms(
                "aggregate_limit is below limit: one event could never pay its limit",
                aggregate_limit=str(self.aggregate_limit), limit=str(self.limit),
            )  # fmt: skip
        for cause, amount in self.sublimits.items():
            if cause not in SUBLIMIT_CAUSES:
                raise BadTerms(f"sublimits: {cause!r} is not a cause; causes are {', '.join(SUBLIMIT_CAUSES)}")
            if not 0 < amount <= self.limit:
                raise BadTerms(f"sublimits.{cause} must be above 0 and not above the limit", sublimit=str(amount))

    def _told(self) -> dict[str, str]:
        return {
            "deductible": str(self.deductible),
            "limit": str(self.limit),
            "coinsurance": str(self.coinsurance),
        }

    def cap(self, cause: str | None = None) -> float:
        """The limit that acts on an event of this cause."""
        own = self.sublimits.get(cause) if cause else None
        return float(self.limit if own is None else min(own, self.limit))

    @property
    def largest(self) -> float:
        """The most one event pays."""
        if self.order == "limit_deductible_coinsurance":
            return float((self.limit - self.deductible) * (1 - self.coinsurance))
        return float(self.limit)

    def applied(self, ground_up: PaymentSchedule, cause: str | None = None) -> PaymentSchedule:
        """What is paid of a ground-up loss that is a function of hours."""
        kept, cap = 1.0 - float(self.coinsurance), self.cap(cause)
        if self.order == "limit_deductible_coinsurance":
            return ground_up.up_to(cap).above(float(self.deductible)).scaled(kept)
        return ground_up.above(float(self.deductible)).scaled(kept).up_to(cap)

    def paid(self, loss: FloatArray, cause: str | None = None, deductible: float | None = None) -> FloatArray:
        """What is paid of ground-up losses in money; `deductible` stands in place of the contract's where given."""
        d = float(self.deductible) if deductible is None else deductible
        kept, cap = 1.0 - float(self.coinsurance), self.cap(cause)
        if self.order == "limit_deductible_coinsurance":
            return np.asarray(np.maximum(np.minimum(loss, cap) - d, 0.0) * kept, dtype=np.float64)
        return np.asarray(np.minimum(np.maximum(loss - d, 0.0) * kept, cap), dtype=np.float64)

    def knots(self, deductible: float | None = None) -> tuple[float, ...]:
        """Ground-up losses at which the payment bends; above the last it stands still."""
        d = float(self.deductible) if deductible is None else deductible
        if self.order == "limit_deductible_coinsurance":
            return (d, max(float(self.limit), d))
        return (d, d + float(self.limit) / (1.0 - float(self.coinsurance)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessInterruption:
    """Pays revenue lost while service is down, between a waiting period and an indemnity period.

    With D the outage's hours, W the waiting period, I the indemnity period, r the revenue per hour and a the share of
    it that stands still when one device of a class is down: a r (min(D, I) - W)+ where the waiting period is a
    retention, and a r min(D, I) if D > W where it is a qualifying period. The two price differently. Where the
    submission has a service map, r and a are each service's own and `affected_share` is empty.
    """

    revenue_per_hour: Decimal
    affected_share: Mapping[str, Decimal]  #: by device class, in [0, 1]
    waiting_period_h: float
    waiting_period_type: WaitingPeriod
    indemnity_period_h: float
    terms: EventTerms

    name: ClassVar[str] = "business_interruption"

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

    def per_hour(self, device_class: str) -> float:
        """Revenue that stands still for an hour while one device of this class is down. Raises BadTerms."""
        if device_class not in self.affected_share:
            raise BadTerms(
                f"affected_share has no entry for {device_class!r}: blank is unknown, not zero",
                given=sorted(self.affected_share),
            )
        return float(self.revenue_per_hour * self.affected_share[device_class])

    def ground_up(self, device_class: str) -> PaymentSchedule:
        """Revenue lost in the indemnity period, with no waiting period."""
        return self.lost(self.per_hour(device_class), waiting_h=0.0)

    def schedule(self, device_class: str) -> PaymentSchedule:
        """What one outage of this class pays."""
        return self.outage(self.per_hour(device_class))

    def outage(self, per_hour: float, cause: str | None = None) -> PaymentSchedule:
        """What one outage pays that stops this revenue per hour."""
        return self.terms.applied(self.lost(per_hour, waiting_h=self.waiting_period_h), cause)

    def lost(self, per_hour: float, *, waiting_h: float) -> PaymentSchedule:
        """Revenue lost beyond the waiting period within the indemnity period."""
        if per_hour == 0:
            return nothing()
        kept = waiting_h * per_hour if self.waiting_period_type == "retention" else 0.0
        begins = Piece(start_h=waiting_h, amount=per_hour * waiting_h - kept, slope_per_h=per_hour)
        ends = Piece(start_h=self.indemnity_period_h, amount=per_hour * self.indemnity_period_h - kept, slope_per_h=0.0)
        before = (Piece(start_h=0.0, amount=0.0, slope_per_h=0.0),) if waiting_h > 0 else ()
        return PaymentSchedule((*before, begins, ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalDamage:
    """Pays accidental damage of insured devices: a share of their value, or all of it."""

    valuation: Valuation
    useful_life_years: float  #: over which the actual cash value falls in a straight line to its floor
    terms: EventTerms
    deductible_share: Decimal = Decimal(0)  #: of the device's value; the larger of this and the deductible acts

    name: ClassVar[str] = "physical_damage"

    def __post_init__(self) -> None:
        if not self.useful_life_years > 0 or not 0 <= self.deductible_share < 1:
            raise BadTerms("useful_life_years must be positive, and deductible_share at least 0 and below 1")

    def insured_value(self, value: float, age_years: float) -> float:
        """The value a claim is settled on; the actual cash value never falls below a tenth."""
        if self.valuation == "replacement_new":
            return value
        return value * max(1.0 - age_years / self.useful_life_years, 0.1)

    def deductible_of(self, value: float) -> float:
        return max(float(self.terms.deductible), float(self.deductible_share) * value)


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationSecurity:
    """Pays the loss of a significant security event. Priced from published figures alone: telemetry says nothing."""

    annual_revenue: Decimal
    posture: Mapping[str, bool]  #: answers to the posture questions; a question not answered counts as no
    terms: EventTerms

    name: ClassVar[str] = "information_security"

    def __post_init__(self) -> None:
        if self.annual_revenue <= 0:
            raise BadTerms("annual_revenue must be positive", annual_revenue=str(self.annual_revenue))
        if self.terms.limit > self.annual_revenue / 10:
            raise BadTerms(
                "limit is above a tenth of annual_revenue: published severities have no usable mean beyond it",
                limit=str(self.terms.limit), annual_revenue=str(self.annual_revenue),
            )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Service credit: a share of the monthly fee where the month's availability falls below a level."""

    below: float  #: availability in (0, 1)
    share: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAvailability:
    """Pays a customer's compensation where service is not restored within the agreed hours, and service credits.

    A fixed amount for the breach and an amount for each hour beyond the target: c0 1[D > T] + c1 (D - T)+. Credits: a
    share of the month's fee by the highest step that the outage alone reaches, a month having 730.5 hours round the
    clock; several outages in one month are not added up. With a service calendar D and the month are service hours.
    """

    restoration_target_h: float
    compensation_per_breach: Decimal
    compensation_per_hour: Decimal
    terms: EventTerms
    monthly_fee: Decimal = Decimal(0)
    credits: tuple[Credit, ...] = ()
    month_h: float = 730.5  #: hours in which service is due in a month

    name: ClassVar[str] = "system_availability"

    def __post_init__(self) -> None:
        if not self.restoration_target_h >= 0:
            raise BadTerms("restoration_target_h is negative", restoration_target_h=self.restoration_target_h)
        if self.compensation_per_breach < 0 or self.compensation_per_hour < 0:
            raise BadTerms(
                "compensation is negative",
                compensation_per_breach=str(self.compensation_per_breach),
                compensation_per_hour=str(self.compensation_per_hour),
            )
        below = [credit.below for credit in self.credits]
        shares = [credit.share for credit in self.credits]
        if any(not 0 < level < 1 for level in below) or below != sorted(below, reverse=True):
            raise BadTerms("credits: availabilities must lie between 0 and 1 and fall from one step to the next")
        if any(not 0 < share <= 1 for share in shares) or shares != sorted(shares):
            raise BadTerms("credits: shares of the fee must lie above 0, up to 1, and not fall from step to step")

    def ground_up(self, device_class: str) -> PaymentSchedule:
        """The compensation owed up to the limit plus the deductible: beyond that it has no finite mean."""
        return self._owed().up_to(float(self.terms.limit / (1 - self.terms.coinsurance) + self.terms.deductible))

    def schedule(self, device_class: str) -> PaymentSchedule:
        """What one outage pays, whatever its class."""
        return self.outage()

    def outage(self, cause: str | None = None) -> PaymentSchedule:
        """What one outage pays."""
        return self.terms.applied(self._owed(), cause)

    def _owed(self) -> PaymentSchedule:
        steps = [(self.month_h * (1 - credit.below), float(credit.share * self.monthly_fee)) for credit in self.credits]
        starts = sorted({0.0, self.restoration_target_h, *(at for at, _ in steps)})
        pieces = []
        for start in starts:
            fee = max((amount for at, amount in steps if at <= start), default=0.0)
            late = start >= self.restoration_target_h
            beyond = start - self.restoration_target_h
            breach = float(self.compensation_per_breach) + float(self.compensation_per_hour) * beyond if late else 0.0
            slope = float(self.compensation_per_hour) if late else 0.0
            pieces.append(Piece(start_h=start, amount=fee + breach, slope_per_h=slope))
        return PaymentSchedule(tuple(pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecovery:
    """Pays getting data back after a storage failure whose backup does not restore; never the value of the data."""

    restorable: Decimal  #: probability that a backup restores, in [0, 1]
    cost_median: float  #: of recovering one device, in the policy's currency
    cost_sigma: float
    recreation_hours: Decimal
    recreation_cost_per_hour: Decimal
    terms: EventTerms
    limit_per_tb: Decimal | None = None
    tb_per_device: Decimal | None = None

    name: ClassVar[str] = "data_recovery"

    def __post_init__(self) -> None:
        if not 0 <= self.restorable <= 1 or not self.cost_median > 0 or not self.cost_sigma > 0:
            raise BadTerms("backup_restorable must be from 0 to 1, and cost_median and cost_sigma positive")
        if (self.limit_per_tb is None) != (self.tb_per_device is None):
            raise BadTerms("limit_per_tb and tb_per_device belong together: one without the other limits nothing")

    @property
    def fixed(self) -> float:
        """Work of entering data again, for one event."""
        return float(self.recreation_hours * self.recreation_cost_per_hour)

    def cap(self) -> float | None:
        """Limit by volume on one event, before the other terms."""
        if self.limit_per_tb is None or self.tb_per_device is None:
            return None
        return float(self.limit_per_tb * self.tb_per_device)


Cover = BusinessInterruption | PhysicalDamage | InformationSecurity | SystemAvailability | DataRecovery


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnualTerms:
    """Terms on the year's total over all covers: deductible, then limit."""

    deductible: Decimal = Decimal(0)
    limit: Decimal | None = None

    def __post_init__(self) -> None:
        if self.deductible < 0 or (self.limit is not None and self.limit <= 0):
            raise BadTerms("annual deductible must not be negative and annual limit must be positive")


def names(covers: Sequence[Cover]) -> tuple[str, ...]:
    """The covers' names, in their order."""
    return tuple(cover.name for cover in covers)
