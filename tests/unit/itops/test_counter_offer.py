"""What a counter-offer promises, done; and what stands behind the price of a managed service."""

import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from itops import questions, reference, reliability
from itops.book import Book
from itops.offers import conditions
from itops.station import station_for
from itops.underwrite import Priced, load_book, load_priors, price_request
from tests.unit.itops.test_underwriting import BAD, priced

BOOK: Book = load_book()[0]
BEST = {q["id"]: min(q["answers"], key=q["answers"].get) for q in BOOK.questionnaire["questions"]}
BI = {"cover": "business_interruption", "revenue_per_hour": 10000, "waiting_period_h": 4,
      "affected_share": {"server": 0.05, "disk": 0.01}, "indemnity_period_h": 72, "limit": 300000}  # fmt: skip


def answers_of(covers: list[str], segment: str) -> list[dict[str, str]]:
    """Every set of answers, "not answered" included, to the questions of these covers and this segment."""
    asked = [
        q for q in BOOK.questionnaire["questions"]
        if segment in q["segments"] and any(name in q["covers"] for name in covers)
    ]  # fmt: skip
    choices = [[None, *q["answers"]] for q in asked]
    return [
        {q["id"]: a for q, a in zip(asked, found, strict=True) if a is not None}
        for found in itertools.product(*choices)
    ]


@pytest.mark.parametrize(
    ("covers", "segment"),
    [(["business_interruption"], "data_centre"), (["data_recovery", "physical_damage"], "end_user")],
)
def test_the_conditions_of_any_counter_offer_bring_the_risk_to_standard(covers: list[str], segment: str) -> None:
    """Every risk that the questionnaire can tell apart."""
    n = 0
    for answers in answers_of(covers, segment):
        found = questions.assess(covers, segment, answers, 1.0, BOOK)
        if found.tier == "standard":
            continue
        n += 1

        def judged(mended: Mapping[str, str], answers: Mapping[str, str] = answers) -> questions.Assessment:
            return questions.assess(covers, segment, {**answers, **mended}, 1.0, BOOK)

        named, reached, _ = conditions(found, BOOK, judged)
        again = questions.assess(covers, segment, answers | {name: BEST[name] for name in named}, 1.0, BOOK)
        assert (again.tier == "standard") == reached, (answers, named)
        # None of them is idle: without the last the risk is not standard yet.
        less = questions.assess(covers, segment, answers | {name: BEST[name] for name in named[:-1]}, 1.0, BOOK)
        assert less.tier != "standard" or not reached
    assert n > (100 if segment == "data_centre" else 0)


def test_the_prices_of_a_counter_offer_are_those_of_the_terms_it_names() -> None:
    loaded = {"climate_control": "faults", "power_feeds": "one", "spares_on_site": "yes", "change_control": "informal"}
    steps = {s["kind"]: s for s in priced(questionnaire=loaded).result()["counter_offer"]["steps"] if s["premium"]}
    assert set(steps) == {"price", "deductible", "waiting_period"}
    changed = {"deductible": {"deductible": 15000}, "waiting_period": {"waiting_period_h": 8}}
    for kind, terms in changed.items():
        made = priced(covers=[BI | terms]).result()  # a standard risk on these terms: no load on them
        assert steps[kind]["premium"] == pytest.approx(made["technical_premium"], abs=0.01)
        assert all(f"{value:g}" in steps[kind]["en"] for value in terms.values())


def concentrated(capacity: int, **terms: Any) -> Priced:
    return priced(
        covers=[BI | {"affected_share": {"server": 0.5, "disk": 0.5}} | terms], authority={"capacity": capacity}
    )


@pytest.mark.parametrize(("capacity", "sublimit"), [(2_000_000, "150000"), (1_100_000, "105000"), (400_000, "30000")])
def test_the_sublimit_that_is_offered_ends_the_concentration(capacity: int, sublimit: str) -> None:
    def state(of: Priced) -> str:
        return next(r["state"] for r in of.result()["rules"] if r["rule"] == "concentration")

    asked = concentrated(capacity)
    assert state(asked) == "fired"
    offer = asked.result()["counter_offer"]
    (step,) = [s for s in offer["steps"] if s["kind"] == "sublimit"]
    assert f"sublimits.site {sublimit}.00" in step["en"]
    assert offer["reachable"] is True
    agreed = concentrated(capacity, sublimits=dict.fromkeys(("site", "flood", "wind", "shaking"), sublimit))
    assert state(agreed) == "passed"
    assert agreed.result()["commercial_premium"] == step["premium"]


def test_a_capacity_that_no_sublimit_can_meet_is_said() -> None:
    assert concentrated(10_000).result()["counter_offer"]["reachable"] is False


def test_a_discount_of_fifteen_percent_is_not_more_than_fifteen() -> None:
    made = price_request(*reference.portfolio("data_centre", load_priors()[0], scale=0.1)).result()
    assert made["commercial"]["tier"] == pytest.approx(-0.15 * made["technical_premium"], abs=0.01)
    (rule,) = [r for r in made["rules"] if r["rule"] == "premium-gap"]
    assert (rule["state"], rule["value"]) == ("passed", 0.15)


def test_covers_that_belong_beside_the_asked_ones_are_suggested() -> None:
    assert priced().result()["related_covers"] == ["system_availability", "data_recovery"]


# ---------------------------------------------------------------- the managed service
def test_a_managed_service_costs_its_engineers_its_shelf_and_its_operation() -> None:
    made = priced(service_plan=["managed"], questionnaire=BAD | BEST)
    (service,) = [s for s in made.result()["services"] if s["service"] == "managed"]
    table = BOOK.tariff["station"]
    figures = made.quote.figures
    n = {name: model.expected_incidents / (365 / 365.25) for name, model in figures.fitted.classes.items()}
    arrivals = table["other_incidents_per_h"] + sum(n.values()) / 8766
    crew = reliability.engineers_needed(arrivals, table["hours_each"], table["wait_h"]["silver"], table["share"])
    station = service["station"]
    assert (station["engineers"], station["busy"]) == (crew.servers, pytest.approx(arrivals * table["hours_each"]))
    # One engineer fewer would miss the target.
    fewer = reliability.erlang_c(arrivals, table["hours_each"], crew.servers - 1)
    assert fewer.within(table["wait_h"]["silver"]) < table["share"] <= crew.within(table["wait_h"]["silver"])
    share = sum(n.values()) / 8766 / arrivals
    hours = 8766 * 365 / 365.25 * crew.servers
    assert station["engineers_cost"] == pytest.approx(share * hours * table["engineer_usd_per_h"], abs=0.006)
    parts = {one["device_class"]: one["parts"] for one in station["stock"]}
    assert parts == {
        name: reliability.spare_parts(k * table["part_share"], table["lead_time_days"] / 365.25, 0.99)
        for name, k in n.items()
    }
    shelf = sum(parts.values()) * 1000 * table["part_value_share"] * table["holding_share"] * 365 / 365.25
    assert station["spares_cost"] == pytest.approx(shelf, abs=0.01)
    operation = sum(
        table["operation_usd_per_device_year"][name] * count for name, count in (("server", 40), ("disk", 20))
    )
    assert service["cost"] == pytest.approx(
        operation * 365 / 365.25 + station["engineers_cost"] + station["spares_cost"], rel=1e-4
    )
    assert made.result()["waterfall"]["service_cost"] == service["cost"]
    assert {a["name"] for a in made.result()["assumptions"]} >= {
        "station: engineers (Erlang C)",
        "station: spare parts",
    }


def test_a_tighter_tier_needs_more_engineers_and_an_unknown_value_takes_the_tables() -> None:
    table = BOOK.tariff["station"]
    by_tier = {
        tier: station_for({"server": 4000.0}, {"server": 9000.0}, {tier}, 1.0, table) for tier in ("bronze", "platinum")
    }
    slow, fast = by_tier["bronze"], by_tier["platinum"]
    assert slow is not None
    assert fast is not None
    assert fast.engineers.servers > slow.engineers.servers
    unknown = station_for({"server": 4000.0}, {"server": None}, {None}, 1.0, table)
    assert unknown is not None
    assert unknown.spares_usd == pytest.approx(fast.spares_usd)  # the table's server is worth 9,000 too
    assert station_for({}, {}, {None}, 1.0, table) is None


def test_two_readings_of_one_submission_are_one_quote_under_the_new_model() -> None:
    submission, fleet, incidents = reference.portfolio("branch", load_priors()[0], scale=0.05)
    one = price_request(json.loads(json.dumps(submission)), fleet, incidents)
    two = price_request(submission, fleet, incidents)
    assert one.result() == two.result()
    assert one.result()["model_version"] == "itops-2026.5"
    assert Decimal(str(one.result()["premium"])) > 0


#: What is asked of one cover in one segment: simple, what a middling score adds, and what a low one adds.
_ROOM = ("data_centre", "branch")
ASKED = {
    "business_interruption": {
        _ROOM: (("climate_control", "power_feeds"), ("change_control", "spares_on_site"), ("survey",)),
        ("end_user",): (("spare_devices",), ("remote_restore",), ("device_audit",)),
    },
    "system_availability": {
        _ROOM: (("climate_control", "power_feeds"), ("change_control", "spares_on_site"), ("survey",)),
        ("end_user",): (("spare_devices",), ("remote_restore",), ("device_audit",)),
    },
    "physical_damage": {
        _ROOM: (("climate_control",), ("fire_suppression",), ("survey",)),
        ("end_user",): (("carry_cases",), ("device_register",), ("device_audit",)),
    },
    "data_recovery": {(*_ROOM, "end_user"): (("restore_test",), ("backup_copies",), ("data_audit",))},
    "information_security": {(*_ROOM, "end_user"): (("restore_test",), ("access_review",), ("data_audit",))},
}  # fmt: skip


@pytest.mark.parametrize("segment", ["data_centre", "branch", "end_user"])
@pytest.mark.parametrize("cover", sorted(ASKED))
def test_each_depth_of_the_questionnaire_asks_what_is_written(cover: str, segment: str) -> None:
    simple, full, survey = next(told for names, told in ASKED[cover].items() if segment in names)
    unknown = {q["id"]: float(q["unknown"]) for q in BOOK.questionnaire["questions"]}
    plain = np.prod([unknown[name] for name in simple])
    # The residual relativity is brought to 0.5 (score 120, cut to 100), 1.45 (58.6) and 5 (below 40).
    for relativity, depth, names in ((0.5, "simple", simple), (1.45, "full", simple + full),
                                     (5.0, "survey", simple + full + survey)):  # fmt: skip
        found = questions.assess([cover], segment, {}, relativity / float(plain), BOOK)
        assert found.depth == depth
        assert sorted(one.id for one in found.asked) == sorted(names), depth
        assert found.tier == {"simple": "standard", "full": "load", "survey": "decline"}[depth]
