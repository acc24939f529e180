"""What is asked to be priced, read strictly: every wrong field is named with its reason."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import InvalidInput
from itops.policy import (
    COVERS,
    AnnualTerms,
    BusinessInterruption,
    Cover,
    EventTerms,
    SystemAvailability,
)
from itops.pricing import CapitalCharge, Loadings


class BadSubmission(InvalidInput):
    """The submission cannot be priced."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("submission: " + "; ".join(f"{field}: {reason}" for field, reason in self.problems))


class NoExposureWindow(BadSubmission):
    """There is no premium without an exposure window."""

    def __init__(self) -> None:
        reason = (
            "there is no premium without an exposure window: a count of incidents says nothing until it is known over "
            'which days they were counted. Give {"from": "YYYY-MM-DD", "to": "YYYY-MM-DD"}, "to" not included'
        )
        super().__init__([("exposure_window", reason)])


class NoAsOfDate(BadSubmission):
    """There is no premium without an as-of date."""

    def __init__(self) -> None:
        reason = (
            "there is no premium without an as-of date: tickets still open and facts not yet known depend on it. "
            'Give the last day up to which the tables are complete, "YYYY-MM-DD"'
        )
        super().__init__([("as_of", reason)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request for a quote, without its tables."""

    insured: str
    exposure_from: date
    exposure_to: date  #: not included
    as_of: date  #: the tables say what was known at the end of this day
    period_from: date
    period_to: date  #: not included
    time_zone: ZoneInfo
    currency: str
    covers: tuple[Cover, ...]
    annual: AnnualTerms
    loadings: Loadings
    charge: CapitalCharge
    assumed: tuple[tuple[str, str], ...]  #: (field, value) of what was not given and was filled by a default
    fleet_file: str | None = None
    incidents_file: str | None = None


_STRICT = ConfigDict(extra="forbid", frozen=True)
Amount = Annotated[Decimal, Field(ge=0, le=Decimal(10) ** 15, allow_inf_nan=False)]
Share = Annotated[Decimal, Field(ge=0, lt=1, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=87_660, allow_inf_nan=False)]


class _Span(BaseModel):
    model_config = _STRICT

    from_: Annotated[date, Field(alias="from", strict=False)]
    to: date


class _Event(BaseModel):
    model_config = _STRICT

    deductible: Amount = Decimal(0)
    coinsurance: Share = Decimal(0)
    limit: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 15, allow_inf_nan=False)]


class _BusinessInterruption(_Event):
    cover: Literal["business_interruption"]
    revenue_per_hour: Amount
    affected_share: dict[str, Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)]]
    waiting_period_h: Hours
    waiting_period_type: Literal["retention", "qualifying"] = "retention"
    indemnity_period_h: Annotated[float, Field(gt=0, le=87_660, allow_inf_nan=False)]


class _SystemAvailability(_Event):
    cover: Literal["system_availability"]
    restoration_target_h: Hours
    compensation_per_breach: Amount = Decimal(0)
    compensation_per_hour: Amount = Decimal(0)


class _Annual(BaseModel):
    model_config = _STRICT

    deductible: Amount = Decimal(0)
    limit: Annotated[Decimal, Field(gt=0, le=Decimal(10) ** 15, allow_inf_nan=False)] | None = None


class _Expenses(BaseModel):
    model_config = _STRICT

    acquisition: Share
    administration: Share
    profit: Share
    loss_adjustment: Share = Decimal("0.08")
    service_cost: Amount = Decimal(0)


class _RiskLoad(BaseModel):
    model_config = _STRICT

    cost_of_capital: Share = Decimal("0.10")
    tvar_level: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.99


class _Submission(BaseModel):
    model_config = _STRICT

    insured: Annotated[str, Field(min_length=1, max_length=200)]
    fleet: str | None = None
    incidents: str | None = None
    exposure_window: _Span
    as_of: date
    policy_period: _Span
    time_zone: str = "UTC"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    covers: Annotated[
        list[Annotated[_BusinessInterruption | _SystemAvailability, Field(discriminator="cover")]],
        Field(min_length=1),
    ]
    annual: _Annual = Field(default_factory=_Annual)
    expenses: _Expenses
    risk_load: _RiskLoad = Field(default_factory=_RiskLoad)


def read_submission(text: str, *, known_classes: Collection[str]) -> Submission:
    """The submission in a JSON text; docs/methods/itops.md section 3 lists its fields.

    Raises NoExposureWindow, NoAsOfDate, or BadSubmission naming every wrong field.
    """
    try:
        raw = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, ValueError) as error:
        raise BadSubmission([("file", f"is not JSON: {error}")]) from error
    return submission_from(raw, known_classes=known_classes)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def submission_from(raw: Any, *, known_classes: Collection[str]) -> Submission:
    """The submission in a decoded JSON object; raises as read_submission."""
    if not isinstance(raw, Mapping):
        raise BadSubmission([("file", "must hold one JSON object")])
    if not raw.get("exposure_window"):
        raise NoExposureWindow
    if not raw.get("as_of"):
        raise NoAsOfDate
    try:
        wire = _Submission.model_validate(raw)
    except ValidationError as error:
        raise BadSubmission([_told(problem) for problem in error.errors()]) from error
    return _checked(wire, known_classes)


def _told(problem: Any) -> tuple[str, str]:
    field = ".".join(str(part) for part in problem["loc"] if part not in COVERS)
    if problem["type"] == "union_tag_invalid":
        return (
            f"{field}.cover",
            f"{problem['ctx']['tag']!r} is not a cover that is priced; these are: {', '.join(COVERS)}",
        )
    if problem["type"] == "union_tag_not_found":
        return f"{field}.cover", f"is missing; it is one of: {', '.join(COVERS)}"
    if problem["type"] == "missing":
        return field, "is missing"
    if problem["type"] == "extra_forbidden":
        return field, "is not a field of a submission"
    return field, str(problem["msg"])


def _checked(wire: _Submission, known_classes: Collection[str]) -> Submission:
    problems: list[tuple[str, str]] = []
    window, period = wire.exposure_window, wire.policy_period
    for name, span in (("exposure_window", window), ("policy_period", period)):
        if span.to <= span.from_:
            problems.append((name, f"ends {span.to}, which is not after its start {span.from_}"))
    if wire.as_of < window.to:
        problems.append(
            ("as_of", f"{wire.as_of} is before the exposure window ends ({window.to}): its end is not known yet")
        )
    if period.from_ < wire.as_of:
        problems.append(
            ("policy_period.from", f"{period.from_} is before as_of {wire.as_of}: part of it is already known")
        )
    try:
        zone = ZoneInfo(wire.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")
        problems.append(("time_zone", f"{wire.time_zone!r} is not a time zone of the IANA database"))
    covers: list[Cover] = []
    for index, item in enumerate(wire.covers):
        try:
            covers.append(_cover(item))
        except InvalidInput as error:
            problems.append((f"covers.{index}", str(error)))
        if isinstance(item, _BusinessInterruption):
            problems += [
                (
                    f"covers.{index}.affected_share.{name}",
                    f"is not a known class; known are {', '.join(sorted(known_classes))}",
                )
                for name in sorted(item.affected_share)
                if name not in known_classes
            ]
    names = [item.cover for item in wire.covers]
    problems += [("covers", f"{name} comes twice") for name in sorted(set(names)) if names.count(name) > 1]
    loadings = None
    try:
        loadings = Loadings(**wire.expenses.model_dump())
    except InvalidInput as error:
        problems.append(("expenses", str(error)))
    if problems or loadings is None:
        raise BadSubmission(problems)
    return Submission(
        insured=wire.insured,
        exposure_from=window.from_,
        exposure_to=window.to,
        as_of=wire.as_of,
        period_from=period.from_,
        period_to=period.to,
        time_zone=zone,
        currency=wire.currency,
        covers=tuple(covers),
        annual=AnnualTerms(deductible=wire.annual.deductible, limit=wire.annual.limit),
        loadings=loadings,
        charge=CapitalCharge(rate=wire.risk_load.cost_of_capital, level=wire.risk_load.tvar_level),
        assumed=_assumed(wire),
        fleet_file=wire.fleet,
        incidents_file=wire.incidents,
    )


def _cover(item: _BusinessInterruption | _SystemAvailability) -> Cover:
    terms = EventTerms(deductible=item.deductible, coinsurance=item.coinsurance, limit=item.limit)
    if isinstance(item, _BusinessInterruption):
        return BusinessInterruption(
            revenue_per_hour=item.revenue_per_hour,
            affected_share=dict(sorted(item.affected_share.items())),
            waiting_period_h=item.waiting_period_h,
            waiting_period_type=item.waiting_period_type,
            indemnity_period_h=item.indemnity_period_h,
            terms=terms,
        )
    return SystemAvailability(
        restoration_target_h=item.restoration_target_h,
        compensation_per_breach=item.compensation_per_breach,
        compensation_per_hour=item.compensation_per_hour,
        terms=terms,
    )


def _assumed(wire: _Submission) -> tuple[tuple[str, str], ...]:
    """What was left out and what stands in its place, so that the quote can say so."""
    groups: list[tuple[str, BaseModel, tuple[str, ...]]] = [
        ("", wire, ("time_zone",)),
        ("expenses.", wire.expenses, ("loss_adjustment", "service_cost")),
        ("risk_load.", wire.risk_load, ("cost_of_capital", "tvar_level")),
    ]
    groups += [(f"{c.cover}.", c, ("waiting_period_type", "deductible", "coinsurance")) for c in wire.covers]
    return tuple(
        (f"{prefix}{name}", str(getattr(item, name)))
        for prefix, item, names in groups
        for name in names
        if name in type(item).model_fields and name not in item.model_fields_set
    )
