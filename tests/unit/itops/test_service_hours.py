"""What an outage costs in service hours: by hand, and against the service-level clock counting each outage."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy.special import ndtri

from itops import reference
from itops.events import Builder
from itops.losses import LogNormal
from itops.payment import PaymentLaw
from itops.policy import Credit, EventTerms, SystemAvailability
from itops.service_hours import InService, NeverInService, ServiceCalendar, ServiceHours
from itops.sla import WorkingCalendar, working_time
from itops.submission import BadSubmission
from itops.underwrite import Priced, load_priors, price_inputs, price_request

DAY = ((time(8), time(18)),)
SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
OFFICE = ServiceCalendar(
    name="office", calendar=WorkingCalendar(version="1", zone=SHANGHAI, week=dict.fromkeys(range(5), DAY))
)
#: National Day of 2026 in China: seven days off, a Sunday before and a Saturday after worked.
CHINA = ServiceCalendar(
    name="china",
    calendar=WorkingCalendar(
        version="1", zone=SHANGHAI, week=dict.fromkeys(range(5), DAY),
        holidays=frozenset(date(2026, 10, d) for d in range(1, 8)),
        extra={date(2026, 9, 20): DAY, date(2026, 10, 10): DAY},
    ),
)  # fmt: skip
#: Service through the night in which clocks change.
NIGHTS = ServiceCalendar(
    name="nights",
    calendar=WorkingCalendar(
        version="1", zone=NEW_YORK, week={5: ((time(20), time(0)),), 6: ((time(0), time(6)),)}
    ),
    by_hour=tuple(float(8 <= h < 20) + 0.5 for h in range(24)), by_weekday=(1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0),
)  # fmt: skip
YEAR = datetime(2026, 2, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)


def hours(service: ServiceCalendar = OFFICE) -> ServiceHours:
    return ServiceHours(service, *YEAR)


def test_an_outage_of_twelve_hours_by_hand() -> None:
    """Monday to Friday 8 to 18. A start at hour h of a working day loses h + 4 (0 to 6), 10 (6 to 8), 18 - h (8 to 18),
    0 (18 to 20) and, before another working day, h - 20 (20 to 24); other starts lose 0, or h - 20 on a Sunday."""
    at = hours()
    lost = at.lost(np.array([12.0]))[:, 0]
    assert at.n_starts == 7 * 96
    assert not at.dated
    assert at.share == pytest.approx(50 / 168)
    assert np.mean(lost) == pytest.approx(12 * 50 / 168, rel=1e-12)
    half = 0.5 / len(lost)
    assert np.mean(lost > 4) == pytest.approx(5 * 14 / 168, abs=half)
    assert np.mean(lost > 8) == pytest.approx(5 * 6 / 168, abs=half)
    assert np.max(lost) == pytest.approx(10.0)
    # (S - 4)+: 18 from the hours 0 to 6, 12 from 6 to 8, 18 from 8 to 14 of each working day.
    assert np.mean(np.maximum(lost - 4, 0)) == pytest.approx(5 * 48 / 168, rel=2e-3)
    law = InService(LogNormal(median=12.0, sigma=1e-7), at)
    assert law.limited_mean(np.array([1e6]))[0] == pytest.approx(12 * 50 / 168, rel=1e-6)


def counted(service: ServiceCalendar, law: LogNormal, n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Service hours of n outages by the service-level clock, and the weight of each: a lattice of starts and lengths."""
    k = np.arange(n)
    lengths = law.median * np.exp(law.sigma * ndtri((k + 0.5) / n))
    starts = [YEAR[0] + (YEAR[1] - YEAR[0]) * float(u) for u in (0.5 + k * 0.6180339887498949) % 1.0]
    run = [
        working_time(at, at + timedelta(hours=float(h)), service.calendar) / timedelta(hours=1)
        for at, h in zip(starts, lengths, strict=True)
    ]
    local = [at.astimezone(service.calendar.zone) for at in starts]
    weight = np.array(
        [
            (1.0 if service.by_hour is None else service.by_hour[at.hour])
            * (1.0 if service.by_weekday is None else service.by_weekday[at.weekday()])
            for at in local
        ]
    )
    return np.array(run), weight / np.sum(weight)


@pytest.mark.parametrize("service", [OFFICE, CHINA, NIGHTS], ids=lambda one: one.name)
def test_the_law_is_that_of_outages_counted_one_by_one(service: ServiceCalendar) -> None:
    law = LogNormal(median=7.0, sigma=1.1)
    lost, weight = counted(service, law, 8000)
    told = InService(law, hours(service))
    at = np.array([0.5, 1.0, 4.0, 8.0, 12.0, 30.0])
    survival = [float(np.sum(weight[lost > s])) for s in at]
    limited = [float(np.sum(weight * np.minimum(lost, s))) for s in at]
    assert told.survival(at) == pytest.approx(survival, abs=6e-3)
    assert told.limited_mean(at) == pytest.approx(limited, rel=2e-2)
    cover = SystemAvailability(
        restoration_target_h=4.0, compensation_per_breach=Decimal(1000), compensation_per_hour=Decimal(100),
        terms=EventTerms(deductible=Decimal(200), coinsurance=Decimal("0.1"), limit=Decimal(2000)),
    )  # fmt: skip
    paid = float(np.sum(weight * cover.outage().amount(lost)))
    assert PaymentLaw(cover.outage(), told).mean == pytest.approx(paid, rel=1.5e-2)


@pytest.mark.parametrize("service", [CHINA, NIGHTS], ids=lambda one: one.name)
def test_dated_days_and_clock_changes_are_in_the_cycle(service: ServiceCalendar) -> None:
    at = hours(service)
    assert at.dated
    whole = working_time(*YEAR, service.calendar) / (YEAR[1] - YEAR[0])
    assert at.share == pytest.approx(whole, rel=1e-12)


def test_survival_is_the_slope_of_the_limited_mean() -> None:
    law = InService(LogNormal(median=7.0, sigma=1.1), hours())
    s = np.linspace(0.01, 60.0, 400)
    slope = (law.limited_mean(s + 1e-5) - law.limited_mean(s - 1e-5)) / 2e-5
    assert slope == pytest.approx(law.survival(s), abs=2e-3)
    assert np.all(np.diff(law.survival(s)) <= 1e-12)


# ---------------------------------------------------------------- in a quote
def asked(name: str = "data_centre", calendar: dict[str, Any] | None = None, **more: Any) -> Priced:
    submission, fleet, incidents = reference.portfolio(name, load_priors()[0], scale=0.1)
    own = {} if calendar is None else {"service_calendar": calendar}
    return price_request(json.loads(json.dumps(submission)) | own | more, fleet, incidents)


WEEK = {day: ["08:00-18:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday")}
ALWAYS = {
    day: ["00:00-24:00"] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
}


def availability(priced: Priced) -> float:
    return float(next(c["expected_loss"] for c in priced.result()["covers"] if c["cover"] == "system_availability"))


def test_a_calendar_of_every_hour_is_no_calendar() -> None:
    plain, always = asked(), asked(calendar={"name": "always", "week": ALWAYS})
    assert availability(always) == pytest.approx(availability(plain), rel=1e-3)
    assert plain.result()["service_hours"]["counted"] == "elapsed"
    assert always.result()["service_hours"]["hours_per_month"] == pytest.approx(730.5)


@pytest.mark.parametrize("name", ["data_centre", "branch"])
def test_a_quote_pays_for_service_hours(name: str) -> None:
    """`branch` has no service map: one outage pays interruption by elapsed and compensation by service hours."""
    plain, office = asked(name), asked(name, {"name": "office", "week": WEEK})
    assert 0 < availability(office) < availability(plain)
    figures = office.quote.figures
    cover = next(c for c in figures.covers if isinstance(c, SystemAvailability))
    assert cover.month_h == pytest.approx(730.5 * 50 / 168)
    at = figures.covers.index(cover)
    for kind in figures.kinds:
        if kind.name.startswith("outage of a "):
            model = figures.fitted.classes[kind.device_class]
            exact = PaymentLaw(cover.outage(), InService(model.repair, figures.builder.service_hours)).mean
            assert kind.mean[at] == pytest.approx(exact, rel=1e-3)
            if name == "branch":
                interruption = figures.covers[1 - at] if len(figures.covers) == 2 else figures.covers[0]
                schedule = interruption.schedule(kind.device_class)
                assert kind.mean[figures.covers.index(interruption)] == pytest.approx(
                    PaymentLaw(schedule, model.repair).mean, rel=1e-9
                )
    told = office.result()
    assert told["service_hours"]["calendar"]["week"]["monday"] == ["08:00-18:00"]
    assert "monday to friday 08:00-18:00 (Asia/Shanghai)" in told["service_hours"]["en"]
    assert any(a["name"] == "service hours, office" and a["kind"] == "declared" for a in told["assumptions"])
    assert told["model_version"] == "itops-2026.5"
    again = price_inputs(json.loads(json.dumps(office.inputs)))
    assert again.result() == told
    assert again.quote.inputs_sha256 == office.quote.inputs_sha256 != plain.quote.inputs_sha256


def test_service_credits_stand_on_the_service_hours_of_a_month() -> None:
    """Below 99 %: more than a hundredth of 217.4 h, so 2.17 service hours and not 7.3 elapsed ones."""
    priced = asked(calendar={"name": "office", "week": WEEK})
    cover = next(c for c in priced.quote.figures.covers if isinstance(c, SystemAvailability))
    assert [(c.below, c.share) for c in cover.credits][1] == (0.99, Decimal("0.25"))
    bare = SystemAvailability(
        restoration_target_h=1000.0, compensation_per_breach=Decimal(0), compensation_per_hour=Decimal(0),
        monthly_fee=Decimal(1000), credits=(Credit(below=0.99, share=Decimal("0.25")),), month_h=cover.month_h,
        terms=EventTerms(deductible=Decimal(0), coinsurance=Decimal(0), limit=Decimal(10_000)),
    )  # fmt: skip
    assert bare.outage().amount(np.array([2.17, 2.18])) == pytest.approx([0.0, 250.0])


def test_options_and_stress_are_counted_by_the_same_calendar() -> None:
    priced = asked(calendar={"name": "office", "week": WEEK})
    base = priced.quote.figures.builder
    for option in priced.quote.options:
        assert option.figures.builder.service_hours is base.service_hours
    assert isinstance(base, Builder)


@pytest.mark.parametrize(
    ("calendar", "field", "reason"),
    [
        ({"name": "x", "week": {"mon": ["08:00-18:00"]}}, "service_calendar.week.mon", "is not a day"),
        ({"name": "x", "week": {"monday": ["8-18"]}}, "service_calendar.week.monday.0", "is not a span of one day"),
        ({"name": "x", "week": {"monday": ["22:00-06:00"]}}, "service_calendar.week.monday.0", "ends before it begins"),
        ({"name": "x", "week": {"monday": ["08:00-24:30"]}}, "service_calendar.week.monday.0", "is not a span"),
        (
            {"name": "x", "week": {"monday": ["08:00-12:00", "11:00-18:00"]}},
            "service_calendar.week.monday.1", "does not begin after the end",
        ),
        ({"name": "x"}, "service_calendar.week", "has no service hours"),
        ({"name": "x", "week": {"monday": []}}, "service_calendar.week", "has no service hours"),
        ({"name": "x", "week": WEEK, "time_zone": "Mars/Base"}, "service_calendar.time_zone", "is not a time zone"),
        (
            {"name": "x", "week": WEEK, "working_days": {"10 October": ["08:00-18:00"]}},
            "service_calendar.working_days.10 October", "is not a day of the form",
        ),
        (
            {"name": "x", "week": WEEK, "holidays": ["2026-10-10"], "working_days": {"2026-10-10": ["08:00-18:00"]}},
            "service_calendar.working_days.2026-10-10", "is among the holidays too",
        ),
        ({"name": "x", "week": WEEK, "holidays": ["2026-02-30"]}, "service_calendar.holidays.0", ""),
        ({"name": "x", "week": WEEK, "incidents_by_hour": [1.0] * 23}, "service_calendar.incidents_by_hour", "24"),
        ({"name": "x", "week": WEEK, "incidents_by_hour": [0.0] * 24}, "service_calendar.incidents_by_hour", "all zero"),
        (
            {"name": "x", "week": WEEK, "incidents_by_weekday": [-1.0] + [1.0] * 6},
            "service_calendar.incidents_by_weekday.0", "greater than or equal to 0",
        ),
        ({"week": WEEK}, "service_calendar.name", "is missing"),
    ],
)  # fmt: skip
def test_a_bad_calendar_names_field_and_reason(calendar: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(BadSubmission) as told:
        asked(calendar=calendar)
    assert (field, True) in [(name, reason in why) for name, why in told.value.problems]


def test_a_calendar_without_the_cover_that_counts_by_it_is_refused() -> None:
    submission, fleet, incidents = reference.portfolio("branch", load_priors()[0], scale=0.1)
    covers = [c for c in submission["covers"] if c["cover"] != "system_availability"]
    with pytest.raises(BadSubmission, match="service_calendar: is given, and there is no system_availability"):
        price_request(
            json.loads(json.dumps(submission | {"covers": covers})) | {"service_calendar": {"name": "x", "week": WEEK}},
            fleet, incidents,
        )  # fmt: skip


def test_a_calendar_that_serves_on_days_outside_the_policy_alone_is_refused() -> None:
    with pytest.raises(NeverInService, match="service_calendar: has no service hours in the policy period"):
        asked(calendar={"name": "x", "working_days": {"2030-01-01": ["08:00-18:00"]}})
