"""What is asked to be priced, read strictly: every wrong field is named with its reason."""

import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from core.errors import InvalidInput
from geo.codes import CURRENCIES
from itops.covers_wire import AnyCover, DataRecoveryIn, cover_from, given_defaults
from itops.fit_use import FitsIn, FitUse, problems_of, uses_of
from itops.policy import COVERS, SUBLIMIT_CAUSES, AnnualTerms, Cover
from itops.pricing import CapitalCharge, Loadings
from itops.service_hours import ServiceCalendar
from itops.service_wire import ServiceCalendarIn, service_calendar
from itops.wire import STRICT, Amount, Day, Positive, Reading, Share, Text, Truth


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


#: Services that may be bought with a cover, and segments of the questionnaire.
PLANS = ("insurance", "health_care", "managed")
SEGMENTS = ("data_centre", "branch", "end_user")
#: Causes of a past claim: single failures and accidents, security, and the events that are rated by site.
CLAIM_CAUSES = ("attritional", "security", *SUBLIMIT_CAUSES)
#: Perils with return levels of a site, and the field that holds them.
HAZARDS = {"flood": "flood_depth_m", "wind": "wind_m_s", "shaking": "pga_g"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place with devices, and what nature does there."""

    site: str
    region: str | None = None  #: of the cloud or power grid it hangs on
    #: by peril: (return period in years, intensity), rising; flood depth in m, 1-minute wind in m/s, PGA in g
    return_levels: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A device's telemetry that says more than its age does."""

    asset_id: str
    signal: str
    value: float
    seen_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the insured was paid, or would have been paid, under these covers in the exposure window."""

    opened_on: date
    amount: Decimal
    cause: str = "attritional"


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What competition does to the technical premium, and who approved a price below the floor."""

    factor: Decimal = Decimal(1)
    approved_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceContract:
    """The contract that the quote may be compared with: its price and its scope are the denominator."""

    annual_price: Decimal
    scope: str
    same_assets: bool
    same_sla: bool
    service_credit: Decimal | None
    exclusions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """How much one underwriter may sign, and what the insurer can hold at one site."""

    limit: Decimal | None = None
    capacity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Another set of terms to compare: fields of covers to change."""

    name: str
    covers: Mapping[str, Mapping[str, Any]]


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
    segment: str | None = None  #: "data_centre", "branch", "end_user"; None: not said
    usd_rate: Decimal | None = None  #: units of `currency` for one US dollar
    sites: tuple[Site, ...] = ()
    #: the service map as it was sent; `service_map` lays it on the fleet. Empty: affected_share stands in for it
    service_wires: tuple[Mapping[str, Any], ...] = ()
    plan: tuple[str, ...] = ()  #: services bought with the cover
    answers: tuple[tuple[str, str], ...] = ()  #: questionnaire: (question, answer)
    alarms: tuple[Alarm, ...] = ()
    claims: tuple[Claim, ...] = ()
    market: Market = Market()
    contract: MaintenanceContract | None = None
    authority: Authority = Authority()
    levies: tuple[tuple[str, Decimal], ...] = ()
    options: tuple[Option, ...] = ()
    service_calendar: ServiceCalendar | None = None  #: by which availability is counted; None: round the clock
    fits: tuple[FitUse, ...] = ()  #: of other records: failure rates, repair times

    def site(self, name: str | None) -> Site | None:
        """What is known of a site."""
        return next((site for site in self.sites if site.site == name), None)


class _Span(BaseModel):
    model_config = STRICT

    from_: Annotated[Day, Field(alias="from")]
    to: Day


class _Annual(BaseModel):
    model_config = STRICT

    deductible: Amount = Decimal(0)
    limit: Positive | None = None


class _Expenses(BaseModel):
    model_config = STRICT

    acquisition: Share
    administration: Share
    profit: Share
    loss_adjustment: Share = Decimal("0.08")
    service_cost: Amount = Decimal(0)


class _RiskLoad(BaseModel):
    model_config = STRICT

    cost_of_capital: Share = Decimal("0.10")
    tvar_level: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.99


class _Site(BaseModel):
    model_config = STRICT

    site: Text
    region: Text | None = None
    flood_depth_m: dict[str, Reading] = Field(default_factory=dict)
    wind_m_s: dict[str, Reading] = Field(default_factory=dict)
    pga_g: dict[str, Reading] = Field(default_factory=dict)


class _Selector(BaseModel):
    model_config = STRICT

    site: Text | None = None
    device_class: Text | None = None
    model: Text | None = None


class _Service(BaseModel):
    model_config = STRICT

    service: Text
    revenue_per_hour: Amount
    assets: list[Text] | None = None
    where: _Selector | None = None
    needed: Annotated[int, Field(ge=1, strict=True)] | None = None


class _Alarm(BaseModel):
    model_config = STRICT

    asset_id: Text
    signal: Text
    value: Reading
    seen_on: Day | None = None


class _Claim(BaseModel):
    model_config = STRICT

    opened_on: Day
    amount: Amount
    cause: Text = "attritional"


class _Market(BaseModel):
    model_config = STRICT

    factor: Annotated[Decimal, Field(gt=0, le=10, allow_inf_nan=False)] = Decimal(1)
    approved_by: Text | None = None


class _Contract(BaseModel):
    model_config = STRICT

    annual_price: Positive
    scope: Text
    same_assets: Truth
    same_sla: Truth
    service_credit: Amount | None = None
    exclusions: str = ""


class _Authority(BaseModel):
    model_config = STRICT

    limit: Positive | None = None
    capacity: Positive | None = None


class _Levy(BaseModel):
    model_config = STRICT

    name: Text
    rate: Share


class _Option(BaseModel):
    model_config = STRICT

    name: Text
    covers: dict[str, dict[str, Any]]


class _Submission(BaseModel):
    model_config = STRICT

    insured: Annotated[str, Field(min_length=1, max_length=200)]
    fleet: str | None = None
    incidents: str | None = None
    exposure_window: _Span
    as_of: Day
    policy_period: _Span
    time_zone: str = "UTC"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    covers: Annotated[list[Annotated[AnyCover, Field(discriminator="cover")]], Field(min_length=1)]
    annual: _Annual = Field(default_factory=_Annual)
    expenses: _Expenses
    risk_load: _RiskLoad = Field(default_factory=_RiskLoad)
    segment: Literal["data_centre", "branch", "end_user"] | None = None
    usd_rate: Annotated[Positive, Field(le=Decimal(10) ** 6)] | None = None
    sites: list[_Site] = Field(default_factory=list)
    services: list[_Service] = Field(default_factory=list)
    service_plan: list[Literal["insurance", "health_care", "managed"]] = Field(default_factory=list)
    questionnaire: dict[str, str] = Field(default_factory=dict)
    alarms: list[_Alarm] = Field(default_factory=list)
    claims_history: list[_Claim] = Field(default_factory=list)
    market: _Market = Field(default_factory=_Market)
    maintenance_contract: _Contract | None = None
    authority: _Authority = Field(default_factory=_Authority)
    levies: list[_Levy] = Field(default_factory=list)
    options: list[_Option] = Field(default_factory=list)
    service_calendar: ServiceCalendarIn | None = None
    fits: FitsIn = Field(default_factory=FitsIn)


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
    if problem["type"] == "string_pattern_mismatch":
        return field, f"{problem['input']!r} is not a currency of three capital letters (ISO 4217)"
    if problem["type"] == "value_error":
        return field, str(problem["ctx"]["error"])
    shown = problem.get("input")
    seen = f"{str(shown) if isinstance(shown, Decimal) else repr(shown)}: " if _short(shown) else ""
    return field, seen + re.sub(" or instance of _[A-Za-z]+", "", str(problem["msg"]))


def _short(shown: Any) -> bool:
    return isinstance(shown, str | int | float | Decimal) and len(str(shown)) <= 60


def _checked(wire: _Submission, known_classes: Collection[str]) -> Submission:
    problems: list[tuple[str, str]] = []
    window, period = wire.exposure_window, wire.policy_period
    for name, span, most in (("exposure_window", window, 50), ("policy_period", period, 5)):
        if span.to <= span.from_:
            problems.append((name, f"ends {span.to}, which is not after its start {span.from_}"))
        elif (span.to - span.from_).days > most * 366:
            problems.append((name, f"runs from {span.from_} to {span.to}; it may be at most {most} years long"))
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
    rate = Decimal(1) if wire.currency == "USD" else wire.usd_rate
    for index, item in enumerate(wire.covers):
        needs_rate = item.cover == "information_security" or (
            isinstance(item, DataRecoveryIn) and item.cost_median is None
        )
        if needs_rate and rate is None:
            reason = f"is missing: the prior of {item.cover} is in US dollars, and the policy in {wire.currency}"
            problems.append(("usd_rate", reason))
            continue
        try:
            covers.append(cover_from(item, rate, mapped=bool(wire.services)))
        except InvalidInput as error:
            field = str(error).split()[0].split(".")[0].rstrip(":")
            at = f"covers.{index}.{field}" if field in type(item).model_fields else f"covers.{index}"
            problems.append((at, str(error)))
    for index, item in enumerate(wire.covers):
        problems += [
            (
                f"covers.{index}.affected_share.{name}",
                f"is not a known class; known are {', '.join(sorted(known_classes))}",
            )
            for name in sorted(getattr(item, "affected_share", None) or {})
            if name not in known_classes
        ]
    sites = _sites(wire.sites, problems)
    problems += _oddities(wire)
    hours = None if wire.service_calendar is None else service_calendar(wire.service_calendar, zone, problems)
    fits = uses_of(wire.fits)
    problems += problems_of(fits, known_classes=known_classes, as_of=wire.as_of)
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
        # One order for every spelling of the same submission: the hash, and with it every cent, must not depend on it.
        covers=tuple(sorted(covers, key=lambda cover: cover.name)),
        annual=AnnualTerms(deductible=wire.annual.deductible, limit=wire.annual.limit),
        loadings=loadings,
        charge=CapitalCharge(rate=wire.risk_load.cost_of_capital, level=wire.risk_load.tvar_level),
        assumed=_assumed(wire),
        fleet_file=wire.fleet,
        incidents_file=wire.incidents,
        segment=wire.segment,
        usd_rate=wire.usd_rate,
        sites=sites,
        plan=tuple(name for name in PLANS if name in wire.service_plan),
        answers=tuple(sorted(wire.questionnaire.items())),
        alarms=tuple(
            sorted(
                (Alarm(asset_id=a.asset_id, signal=a.signal, value=a.value, seen_on=a.seen_on) for a in wire.alarms),
                key=lambda alarm: (alarm.asset_id, alarm.signal),
            )
        ),
        claims=tuple(
            sorted(
                (Claim(opened_on=c.opened_on, amount=c.amount, cause=c.cause) for c in wire.claims_history),
                key=lambda claim: (claim.opened_on, claim.amount),
            )
        ),
        market=Market(factor=wire.market.factor, approved_by=wire.market.approved_by),
        contract=None
        if wire.maintenance_contract is None
        else MaintenanceContract(**wire.maintenance_contract.model_dump()),
        authority=Authority(limit=wire.authority.limit, capacity=wire.authority.capacity),
        levies=tuple((levy.name, levy.rate) for levy in wire.levies),
        options=tuple(Option(name=o.name, covers=o.covers) for o in wire.options),
        service_calendar=hours,
        fits=fits,
        service_wires=tuple(item.model_dump(exclude_none=True) for item in wire.services),
    )


def _sites(wires: Sequence[_Site], problems: list[tuple[str, str]]) -> tuple[Site, ...]:
    out: dict[str, Site] = {}
    for index, item in enumerate(wires):
        levels = {}
        for peril, name in HAZARDS.items():
            pairs = []
            for period, intensity in getattr(item, name).items():
                try:
                    years = float(period)
                except ValueError:
                    years = float("nan")
                if not years > 1 or not 0 <= intensity < 1000:
                    reason = "a return period is above 1 year, an intensity at least 0 and below 1000"
                    problems.append((f"sites.{index}.{name}.{period}", reason))
                    continue
                pairs.append((years, float(intensity)))
            pairs.sort()
            if any(b[1] < a[1] for a, b in itertools.pairwise(pairs)):
                problems.append((f"sites.{index}.{name}", "intensity falls as the return period grows"))
            if pairs:
                levels[peril] = tuple(pairs)
        if item.site in out:
            problems.append((f"sites.{index}.site", f"{item.site!r} comes twice"))
        out[item.site] = Site(site=item.site, region=item.region, return_levels=levels)
    return tuple(out[name] for name in sorted(out))


def _oddities(wire: _Submission) -> list[tuple[str, str]]:
    """What contradicts the rest of the submission."""
    problems = []
    names = {item.cover for item in wire.covers}
    for index, option in enumerate(wire.options):
        for cover in option.covers:
            if cover not in names:
                problems.append((f"options.{index}.covers.{cover}", "is not among the submission's covers"))
    for index, claim in enumerate(wire.claims_history):
        if not wire.exposure_window.from_ <= claim.opened_on < wire.exposure_window.to:
            reason = f"{claim.opened_on} is outside the exposure window: there is no exposure to set it against"
            problems.append((f"claims_history.{index}.opened_on", reason))
        if claim.cause not in CLAIM_CAUSES:
            reason = f"{claim.cause!r} is not a cause of a claim; causes are {', '.join(CLAIM_CAUSES)}"
            problems.append((f"claims_history.{index}.cause", reason))
    for index, alarm in enumerate(wire.alarms):
        if alarm.seen_on is not None and alarm.seen_on > wire.as_of:
            problems.append((f"alarms.{index}.seen_on", f"{alarm.seen_on} is after as_of: it was not known then"))
    if wire.service_calendar is not None and "system_availability" not in names:
        problems.append(("service_calendar", "is given, and there is no system_availability to count by it"))
    if wire.currency not in CURRENCIES - {"XXX"}:
        problems.append(("currency", f"{wire.currency!r} is not a currency of ISO 4217"))
    if wire.currency == "USD" and wire.usd_rate not in (None, 1):
        problems.append(("usd_rate", f"is {wire.usd_rate} for a policy in US dollars; leave it out"))
    if not Decimal("0.85") <= wire.market.factor <= Decimal("1.25"):
        problems.append(("market.factor", f"{wire.market.factor} is outside 0.85 to 1.25"))
    services = [item.service for item in wire.services]
    problems += [("services", f"{name} comes twice") for name in sorted(set(services)) if services.count(name) > 1]
    for index, item in enumerate(wire.services):
        if (item.assets is None) == (item.where is None):
            problems.append((f"services.{index}", "needs either assets (a list) or where (site, device_class, model)"))
    return problems


def cover_again(raw: Mapping[str, Any], submission: Submission, *, at: str) -> Cover:
    """A cover from its fields, in a submission that was read already. Raises BadSubmission naming the field."""
    try:
        item: AnyCover = TypeAdapter(Annotated[AnyCover, Field(discriminator="cover")]).validate_python(raw)
    except ValidationError as error:
        problems = [_told(problem) for problem in error.errors()]
        raise BadSubmission([(f"{at}.{field}", reason) for field, reason in problems]) from error
    rate = Decimal(1) if submission.currency == "USD" else submission.usd_rate
    try:
        return cover_from(item, rate, mapped=bool(submission.service_wires))
    except InvalidInput as error:
        raise BadSubmission([(at, str(error))]) from error


def _assumed(wire: _Submission) -> tuple[tuple[str, str], ...]:
    """What was left out and what stands in its place, so that the quote can say so."""
    groups: list[tuple[str, BaseModel, tuple[str, ...]]] = [
        ("", wire, ("time_zone",)),
        ("expenses.", wire.expenses, ("loss_adjustment", "service_cost")),
        ("risk_load.", wire.risk_load, ("cost_of_capital", "tvar_level")),
    ]
    if wire.service_calendar is not None:
        groups.append(("service_calendar.", wire.service_calendar, ("time_zone",)))
    groups += [(f"{c.cover}.", c, given_defaults(c)) for c in sorted(wire.covers, key=lambda item: item.cover)]
    return tuple(
        (f"{prefix}{name}", str(getattr(item, name)))
        for prefix, item, names in groups
        for name in names
        if name in type(item).model_fields and name not in item.model_fields_set
    )
