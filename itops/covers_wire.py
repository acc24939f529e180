"""The covers of a submission, as they are sent and as they are priced."""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from itops.policy import (
    BadTerms,
    BusinessInterruption,
    Cover,
    Credit,
    DataRecovery,
    EventTerms,
    InformationSecurity,
    PhysicalDamage,
    SystemAvailability,
)
from itops.wire import STRICT, Amount, Hours, Part, Positive, PositiveHours, Share, Truth

#: Steps of the service credit that stand where a fee is given and no steps are.
DEFAULT_CREDITS = ((0.999, Decimal("0.10")), (0.99, Decimal("0.25")), (0.95, Decimal("0.50")))
#: What a backup restores and what a device costs to recover where nobody said otherwise; itops/data/tariff.json.
DEFAULT_RESTORABLE, DEFAULT_COST_USD, DEFAULT_COST_SIGMA = Decimal("0.92"), Decimal(2750), 1.1


class _Event(BaseModel):
    model_config = STRICT

    deductible: Amount = Decimal(0)
    coinsurance: Share = Decimal(0)
    limit: Positive
    order: Literal["deductible_coinsurance_limit", "limit_deductible_coinsurance"] = "deductible_coinsurance_limit"
    aggregate_deductible: Amount = Decimal(0)
    aggregate_limit: Positive | None = None
    sublimits: dict[str, Positive] = Field(default_factory=dict)

    def terms(self) -> EventTerms:
        return EventTerms(
            deductible=self.deductible,
            coinsurance=self.coinsurance,
            limit=self.limit,
            order=self.order,
            aggregate_deductible=self.aggregate_deductible,
            aggregate_limit=self.aggregate_limit,
            sublimits=dict(sorted(self.sublimits.items())),
        )


class BusinessInterruptionIn(_Event):
    """Business interruption as it is sent."""

    cover: Literal["business_interruption"]
    revenue_per_hour: Amount | None = None
    affected_share: dict[str, Part] | None = None
    waiting_period_h: Hours
    waiting_period_type: Literal["retention", "qualifying"] = "retention"
    indemnity_period_h: PositiveHours


class PhysicalDamageIn(_Event):
    """Physical damage as it is sent."""

    cover: Literal["physical_damage"]
    valuation: Literal["replacement_new", "actual_cash_value"]
    useful_life_years: Annotated[float, Field(gt=0, le=50, allow_inf_nan=False)] = 5.0
    deductible_share: Share = Decimal(0)


class InformationSecurityIn(_Event):
    """Information security as it is sent."""

    cover: Literal["information_security"]
    annual_revenue: Positive
    posture: dict[Literal["mfa", "edr", "backups_offline", "patch_sla"], Truth] = Field(default_factory=dict)


class CreditIn(BaseModel):
    """One step of a service credit, as it is sent."""

    model_config = STRICT

    below: Annotated[float, Field(gt=0, lt=1)]
    share: Annotated[Decimal, Field(gt=0, le=1)]


class SystemAvailabilityIn(_Event):
    """System availability as it is sent."""

    cover: Literal["system_availability"]
    restoration_target_h: Hours
    compensation_per_breach: Amount = Decimal(0)
    compensation_per_hour: Amount = Decimal(0)
    monthly_fee: Amount = Decimal(0)
    credits: list[CreditIn] | None = None


class DataRecoveryIn(_Event):
    """Data recovery as it is sent."""

    cover: Literal["data_recovery"]
    backup_restorable: Part = DEFAULT_RESTORABLE
    cost_median: Positive | None = None
    cost_sigma: Annotated[float, Field(gt=0, le=4)] = DEFAULT_COST_SIGMA
    recreation_hours: Amount = Decimal(0)
    recreation_cost_per_hour: Amount = Decimal(0)
    limit_per_tb: Positive | None = None
    tb_per_device: Positive | None = None


AnyCover = BusinessInterruptionIn | PhysicalDamageIn | InformationSecurityIn | SystemAvailabilityIn | DataRecoveryIn

_DEFAULTED = {
    "business_interruption": ("waiting_period_type",),
    "physical_damage": ("useful_life_years", "deductible_share"),
    "information_security": ("posture",),
    "system_availability": (),
    "data_recovery": ("backup_restorable", "cost_sigma", "recreation_hours"),
}


def given_defaults(item: AnyCover) -> tuple[str, ...]:
    """Fields of a cover whose default is worth a line on the quote where they were left out."""
    return ("deductible", "coinsurance", "order", *_DEFAULTED[item.cover])


def cover_from(item: AnyCover, usd_rate: Decimal | None, *, mapped: bool) -> Cover:
    """The cover that is priced; `mapped` says that a service map stands in for affected_share. Raises BadTerms."""
    terms = item.terms()
    if isinstance(item, BusinessInterruptionIn):
        if not mapped and item.revenue_per_hour is None:
            raise BadTerms("revenue_per_hour is missing, and there are no services to take it from")
        if not mapped and item.affected_share is None:
            raise BadTerms("affected_share is missing, and there are no services to take it from")
        return BusinessInterruption(
            revenue_per_hour=item.revenue_per_hour or Decimal(0),
            affected_share=dict(sorted((item.affected_share or {}).items())),
            waiting_period_h=item.waiting_period_h,
            waiting_period_type=item.waiting_period_type,
            indemnity_period_h=item.indemnity_period_h,
            terms=terms,
        )
    if isinstance(item, PhysicalDamageIn):
        return PhysicalDamage(
            valuation=item.valuation,
            useful_life_years=item.useful_life_years,
            deductible_share=item.deductible_share,
            terms=terms,
        )
    if isinstance(item, InformationSecurityIn):
        return InformationSecurity(
            annual_revenue=item.annual_revenue, posture=dict(sorted(item.posture.items())), terms=terms
        )
    if isinstance(item, SystemAvailabilityIn):
        steps = [(c.below, c.share) for c in item.credits] if item.credits is not None else DEFAULT_CREDITS
        return SystemAvailability(
            restoration_target_h=item.restoration_target_h,
            compensation_per_breach=item.compensation_per_breach,
            compensation_per_hour=item.compensation_per_hour,
            monthly_fee=item.monthly_fee,
            credits=tuple(Credit(below=b, share=s) for b, s in steps) if item.monthly_fee > 0 else (),
            terms=terms,
        )
    median = item.cost_median if item.cost_median is not None else DEFAULT_COST_USD * (usd_rate or Decimal(1))
    return DataRecovery(
        restorable=item.backup_restorable,
        cost_median=float(median),
        cost_sigma=item.cost_sigma,
        recreation_hours=item.recreation_hours,
        recreation_cost_per_hour=item.recreation_cost_per_hour,
        limit_per_tb=item.limit_per_tb,
        tb_per_device=item.tb_per_device,
        terms=terms,
    )


def _number(value: Decimal) -> str:
    """One spelling for one number: 1.50, 1.5 and 15e-1 are the same."""
    return format(value.normalize(), "f")


def plain_cover(cover: Cover) -> dict[str, Any]:
    """A cover in plain JSON values, one spelling for one meaning; it is a submission's cover again."""
    t = cover.terms
    out: dict[str, Any] = {
        "cover": cover.name,
        "deductible": _number(t.deductible),
        "coinsurance": _number(t.coinsurance),
        "limit": _number(t.limit),
        "order": t.order,
        "aggregate_deductible": _number(t.aggregate_deductible),
        "sublimits": {name: _number(amount) for name, amount in sorted(t.sublimits.items())},
    }
    if t.aggregate_limit is not None:
        out["aggregate_limit"] = _number(t.aggregate_limit)
    if isinstance(cover, SystemAvailability):
        return out | {
            "restoration_target_h": cover.restoration_target_h,
            "compensation_per_breach": _number(cover.compensation_per_breach),
            "compensation_per_hour": _number(cover.compensation_per_hour),
            "monthly_fee": _number(cover.monthly_fee),
            "credits": [{"below": c.below, "share": _number(c.share)} for c in cover.credits],
        }
    if isinstance(cover, PhysicalDamage):
        return out | {
            "valuation": cover.valuation,
            "useful_life_years": cover.useful_life_years,
            "deductible_share": _number(cover.deductible_share),
        }
    if isinstance(cover, InformationSecurity):
        return out | {
            "annual_revenue": _number(cover.annual_revenue),
            "posture": dict(sorted(cover.posture.items())),
        }
    if isinstance(cover, DataRecovery):
        own = {} if cover.limit_per_tb is None or cover.tb_per_device is None else {
            "limit_per_tb": _number(cover.limit_per_tb), "tb_per_device": _number(cover.tb_per_device),
        }  # fmt: skip
        return out | own | {
            "backup_restorable": _number(cover.restorable),
            "cost_median": repr(cover.cost_median),
            "cost_sigma": cover.cost_sigma,
            "recreation_hours": _number(cover.recreation_hours),
            "recreation_cost_per_hour": _number(cover.recreation_cost_per_hour),
        }  # fmt: skip
    return out | {
        "revenue_per_hour": _number(cover.revenue_per_hour),
        "affected_share": {name: _number(share) for name, share in sorted(cover.affected_share.items())},
        "waiting_period_h": cover.waiting_period_h,
        "waiting_period_type": cover.waiting_period_type,
        "indemnity_period_h": cover.indemnity_period_h,
    }
