"""Score, tiers, rules, questionnaire, counter-offer, experience, commercial premium, work orders, options."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from itops import reference, rules
from itops.alarms import averaged
from itops.fitted import fit
from itops.fleet import read_fleet, site_days
from itops.incident import read_incidents
from itops.portfolio import MixedCurrencies, accumulate, simulate
from itops.stress import SCENARIOS, expected_at, reverse_stress, stress
from itops.submission import submission_from
from itops.underwrite import Priced, load_book, load_priors, price_inputs, price_request

BOOK = load_book()[0]
FLEET = "asset_id,device_class,commissioned_on,site,manufacturer,model,value,monitored\n" + "".join(
    f"d{k},{'server' if k % 3 else 'disk'},2024-0{1 + k % 6}-01,S{k % 2},Alder,A{k % 2},1000,yes\n" for k in range(60)
)
INCIDENTS = "asset_id,opened,restored\n" + "".join(
    f"d{k},2025-0{1 + k % 9}-0{1 + k % 8} 03:00,2025-0{1 + k % 9}-0{1 + k % 8} {5 + k % 17:02d}:00\n"
    for k in range(0, 60, 7)
)


def priced(**changes: Any) -> Priced:
    base: dict[str, Any] = {
        "insured": "Example", "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"}, "as_of": "2026-01-02",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"}, "currency": "USD",
        "covers": [{"cover": "business_interruption", "revenue_per_hour": 10000, "waiting_period_h": 4,
                    "affected_share": {"server": 0.05, "disk": 0.01}, "indemnity_period_h": 72, "limit": 300000}],
        "expenses": {"acquisition": 0.15, "administration": 0.1, "profit": 0.05},
        "questionnaire": {"climate_control": "good", "power_feeds": "one_with_ups"},
    }  # fmt: skip
    return price_request({k: v for k, v in (base | changes).items() if v is not None}, FLEET, INCIDENTS)


BAD = {"climate_control": "faults", "power_feeds": "one", "change_control": "none", "spares_on_site": "no"}


@pytest.mark.parametrize(
    ("relativity", "score"), [(1.0, 80.0), (2.0, 40.0), (2**0.5, 60.0), (0.01, 100.0), (100.0, 0.0)]
)
def test_score_is_80_less_40_for_each_doubling(relativity: float, score: float) -> None:
    assert rules.score(relativity, BOOK.rules) == pytest.approx(score)


@pytest.mark.parametrize(
    ("score", "tier"),
    [(39.999, "decline"), (40.0, "load"), (59.999, "load"), (60.0, "standard"), (100.0, "standard"), (0.0, "decline")],
)
def test_a_boundary_belongs_to_the_better_tier(score: float, tier: str) -> None:
    assert rules.tier(score, BOOK.rules) == tier


def test_load_is_the_relativity_and_discount_ends_at_15_percent() -> None:
    assert rules.tier_factor(45.0, 1.8, BOOK.rules) == Decimal("1.8")
    assert rules.tier_factor(80.0, 1.0, BOOK.rules) == 1
    assert rules.tier_factor(95.0, 0.5, BOOK.rules) == Decimal("0.85")


def test_an_unknown_fact_is_unknown_and_not_passed() -> None:
    made = rules.evaluate(BOOK.rules, {"score": 50.0}, date(2026, 5, 1))
    state = {item.rule: item.state for item in made}
    assert state["score-load"] == "fired"
    assert state["score-decline"] == "passed"
    assert state["sum-insured"] == "unknown"
    assert rules.evaluate(BOOK.rules, {"score": 50.0}, date(2025, 1, 1)) == ()  # not yet in effect


@pytest.mark.parametrize(
    ("change", "field"),
    [({"version": ""}, "version"), ({"rules": [{"id": "x"}]}, r"rules\.0\.effective_from"),
     ({"rules": [dict(BOOK.rules["rules"][0]) | {"op": "~"}]}, r"rules\.0\.op")],
)  # fmt: skip
def test_bad_rules_are_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(rules.BadRules, match=field):
        rules.check_rules(dict(BOOK.rules) | change)


def test_a_poor_risk_is_asked_more_and_offered_a_way_to_standard() -> None:
    good, poor = priced().result(), priced(questionnaire=BAD).result()
    assert good["score"]["tier"] == "standard"
    assert good["questionnaire"]["depth"] == "simple"
    assert good["counter_offer"] is None
    assert poor["score"]["tier"] == "decline"
    assert poor["questionnaire"]["depth"] == "survey"
    assert poor["decision"] == "decline"
    offer = poor["counter_offer"]
    assert offer["reachable"] is True
    assert {step["kind"] for step in offer["steps"]} >= {"deductible", "waiting_period", "condition"}
    # Doing what it says does bring the risk to standard.
    best = {q["id"]: min(q["answers"], key=q["answers"].get) for q in BOOK.questionnaire["questions"]}
    mended = BAD | {name: best[name] for name in offer["to_standard"]}
    assert priced(questionnaire=mended).result()["score"]["tier"] == "standard"


def test_a_load_tier_loads_the_premium() -> None:
    answers = {"climate_control": "faults", "power_feeds": "one", "spares_on_site": "yes", "change_control": "informal"}
    made = priced(questionnaire=answers).result()
    assert made["score"]["tier"] == "load"
    assert made["commercial_premium"] == pytest.approx(made["premium"] * made["score"]["relativity"], abs=0.02)
    assert made["counter_offer"]["steps"][0]["kind"] == "price"


def test_an_unknown_question_or_answer_is_named() -> None:
    with pytest.raises(Exception, match=r"questionnaire\.colour: is not a question"):
        priced(questionnaire={"colour": "blue"})
    with pytest.raises(Exception, match=r"questionnaire\.power_feeds: 'three' is not an answer"):
        priced(questionnaire={"power_feeds": "three"})


def test_the_floor_holds_unless_a_named_person_approves() -> None:
    # Expenses so low that the technical premium x 0.85 falls below expected loss / (1 - expenses).
    thin = {"expenses": {"acquisition": 0, "administration": 0, "profit": 0, "loss_adjustment": 0},
            "risk_load": {"cost_of_capital": 0}}  # fmt: skip
    held = priced(**thin, market={"factor": 0.85}).result()
    assert held["commercial"]["below_floor"] is True
    assert held["commercial_premium"] == held["commercial"]["floor"]
    assert held["commercial"]["floor"] == pytest.approx(held["expected_loss"], abs=0.01)
    usual = priced().result()  # 15 % acquisition and 10 % administration, not the profit
    assert usual["commercial"]["floor"] == pytest.approx(usual["expected_loss"] / 0.75, abs=0.02)
    assert usual["commercial"]["below_floor"] is False
    assert next(r for r in held["rules"] if r["rule"] == "below-floor")["state"] == "fired"
    signed = priced(**thin, market={"factor": 0.85, "approved_by": "M. Chen"}).result()
    assert signed["commercial"]["approved_by"] == "M. Chen"
    assert signed["commercial_premium"] == pytest.approx(0.85 * signed["premium"], abs=0.01)


def test_levies_stand_on_the_commercial_premium() -> None:
    made = priced(levies=[{"name": "VAT", "rate": 0.06}]).result()
    assert made["payable"] == pytest.approx(1.06 * made["commercial_premium"], abs=0.01)


def test_experience_moves_the_premium_within_its_swing_and_leaves_shocks_out() -> None:
    plain = priced().result()
    assert plain["experience"] is None
    none = priced(claims_history=[{"opened_on": "2025-01-01", "amount": 0}]).result()
    e = none["experience"]
    assert e["credibility"] == pytest.approx(e["expected_claims"] / (e["expected_claims"] + 20), abs=1e-5)
    assert e["modification"] == pytest.approx(max(1 - e["credibility"], 0.7), abs=1e-5)
    assert none["waterfall"]["experience"] < 0
    many = [{"opened_on": f"2025-0{1 + k % 9}-01", "amount": 50000} for k in range(30)]
    assert priced(claims_history=many).result()["experience"]["modification"] == 1.5
    # One claim of 500,000 counts as a quarter of the limit of 300,000; M = Z A / E + 1 - Z.
    one = priced(claims_history=[{"opened_on": "2025-03-01", "amount": 500000}]).result()["experience"]
    assert one["actual_capped"] == 75_000
    by_hand = one["credibility"] * 75_000 / one["expected"] + 1 - one["credibility"]
    assert one["modification"] == pytest.approx(min(max(by_hand, 0.7), 1.5), abs=1e-4)
    site = [c | {"cause": "site"} for c in many]
    assert priced(claims_history=site).result()["experience"]["n_left_out"] == 30


def test_an_alarm_halves_its_excess_every_half_life() -> None:
    # Integral of 2^(-t/90) over 90 days is 90 / ln 2 / 2.
    assert averaged(10.0, 90, 90) == pytest.approx(1 + 10 * 0.5 / 0.6931471805599453)
    assert averaged(10.0, 1e-9, 90) == pytest.approx(11.0)


def test_alarms_become_work_orders_whose_effect_is_priced() -> None:
    alarms = [{"asset_id": "d0", "signal": "smart_197", "value": 120}, {"asset_id": "d0", "signal": "smart_5", "value": 2},
              {"asset_id": "d1", "signal": "inlet_temperature", "value": 33}]  # fmt: skip
    base, alarmed = priced().result(), priced(alarms=alarms).result()
    assert alarmed["premium"] > base["premium"]
    orders = {order["asset_id"]: order for order in alarmed["work_orders"]}
    assert orders["d0"]["action"] == "replace"
    assert orders["d0"]["signal"] == "smart_197"
    assert orders["d0"]["hazard_after"] == 1.0
    assert orders["d1"]["action"] == "inspect"
    assert 1.0 < orders["d1"]["hazard_after"] < orders["d1"]["hazard_before"]
    assert alarmed["after_work_orders"]["premium"] < alarmed["commercial_premium"]
    assert alarmed["after_work_orders"]["saves"] > 0
    assert next(r for r in alarmed["rules"] if r["rule"] == "alarms")["state"] == "fired"
    with pytest.raises(Exception, match="'smart_999' is not a known signal"):
        priced(alarms=[{"asset_id": "d0", "signal": "smart_999", "value": 1}])
    with pytest.raises(Exception, match=r"alarms\.0\.asset_id: 'zz' is not in the fleet"):
        priced(alarms=[{"asset_id": "zz", "signal": "smart_5", "value": 1}])


def test_options_stand_side_by_side() -> None:
    own = [{"name": "a day", "covers": {"business_interruption": {"waiting_period_h": 24}}}]
    made = priced(options=own).result()
    names = [option["name"] for option in made["options"]]
    assert names == ["as_asked", "waiting_period_x2", "deductible_x2", "a day"]
    premiums = [option["technical_premium"] for option in made["options"]]
    assert premiums[0] == made["premium"]
    assert premiums[3] < premiums[1] < premiums[0]
    again = priced(covers=[dict(made["options"][3]["terms"][0])]).result()
    assert again["premium"] == premiums[3]


def test_a_burst_is_a_site_shock_and_not_thirty_failures() -> None:
    burst = INCIDENTS + "".join(f"d{k},2025-11-11 10:0{k % 9},2025-11-11 12:00\n" for k in range(0, 60, 2))
    base = {"insured": "X", **{k: v for k, v in priced().inputs["submission"].items() if k != "insured"}}
    made = price_request(base, FLEET, burst).result()
    assert any("30 incidents in 1 bursts" in note for note in made["notes"])
    assert sum(c["n_incidents"] for c in made["classes"]) == sum(c["n_incidents"] for c in priced().result()["classes"])
    assert made["causes"]["site"] > priced().result()["causes"]["site"]


def test_natural_hazard_at_a_site_is_a_shock_with_damage() -> None:
    damage = {"cover": "physical_damage", "valuation": "replacement_new", "deductible": 0, "limit": 10**6}
    made = priced(
        covers=[damage], sites=[{"site": "S0", "flood_depth_m": {"100": 1.0}, "wind_m_s": {"50": 20}, "pga_g": {}}]
    ).result()
    # 30 devices of 1,000 under 1 m of water: the JRC curve takes 54 % of their value once in 100 years.
    assert made["causes"]["flood"] == pytest.approx(0.01 * 0.54 * 30_000 * 365 / 365.25, rel=1e-3)
    assert "wind" not in made["causes"]  # below the curve's threshold


def test_wind_and_shaking_at_a_site_by_hand() -> None:
    """30 devices of 1,000. Wind (Emanuel 2011, v_half 74.7): at 50.2 m/s v = 24.5 / 49 = 1/2 and 1/8 / (9/8) = 1/9 is lost,
    at 74.7 m/s a half; between the return periods the lower one stands: (1/50 - 1/200) x 3,333.33 + 1/200 x 15,000.

    Shaking of 0.35 g (HAZUS C1L, high code, medians 0.21, 0.35, 0.70, 1.37 g, beta 0.64): the states are passed with
    Phi(0.798) = 0.7876, 0.5, Phi(-1.083) = 0.1394 and Phi(-2.132) = 0.0165, and lose 2, 10, 50 and 100 %:
    0.02 x 0.7876 + 0.08 x 0.5 + 0.4 x 0.1394 + 0.5 x 0.0165 = 0.1198 of 30,000.
    """
    damage = {"cover": "physical_damage", "valuation": "replacement_new", "deductible": 0, "limit": 10**6}
    site = {"site": "S0", "wind_m_s": {"50": 50.2, "200": 74.7}, "pga_g": {"475": 0.35}}
    made = priced(covers=[damage], sites=[site]).result()
    assert made["causes"]["wind"] == pytest.approx(125.0 * 365 / 365.25, rel=1e-4)
    assert made["causes"]["shaking"] == pytest.approx(0.119755 * 30_000 / 475 * 365 / 365.25, abs=0.006)  # cents


def test_services_bought_cost_and_cut_failures() -> None:
    base, bought = priced().result(), priced(service_plan=["health_care"]).result()
    assert {s["service"] for s in base["services"]} == {"insurance", "health_care", "managed"}
    assert bought["waterfall"]["service_cost"] == next(
        s["cost"] for s in base["services"] if s["service"] == "health_care"
    )
    assert bought["causes"]["attritional"] == pytest.approx(0.88 * base["causes"]["attritional"], abs=0.02)


def test_no_saving_without_its_denominator() -> None:
    contract = {"annual_price": 500000, "scope": "same list", "same_assets": True, "same_sla": False}
    made = priced(maintenance_contract=contract).result()["maintenance_comparison"]
    assert made["saving"] is None
    assert made["denominator"] == 500000
    assert "no saving is shown" in made["why_not"]
    full = contract | {"same_sla": True, "service_credit": 0}
    made = priced(maintenance_contract=full).result()
    shown = made["maintenance_comparison"]
    assert shown["saving"] == pytest.approx(1 - (made["payable"] + shown["retained"]) / 500000, abs=1e-5)
    assert priced().result()["maintenance_comparison"] is None


def test_the_range_holds_the_premium_and_widens_with_less_record() -> None:
    made = priced().result()
    r = made["parameter_range"]["premium"]
    assert r["p05"] < made["premium"] < r["p95"]
    # A month of record instead of two years: the range is wider beside the premium it is a range of.
    thin = priced(exposure_window={"from": "2025-12-01", "to": "2026-01-01"}).result()
    less = thin["parameter_range"]["premium"]
    assert (less["p95"] - less["p05"]) / thin["premium"] > 1.02 * (r["p95"] - r["p05"]) / made["premium"]


def test_stress_set_and_reverse_stress() -> None:
    quote = priced().quote
    made = {o.scenario: o for o in stress(quote)}
    assert set(made) == {s.name for s in SCENARIOS}
    assert made["base"].expected_loss == pytest.approx(quote.expected_loss)
    assert made["rate_cut"].loss_ratio == pytest.approx(made["base"].loss_ratio / 0.8)
    assert made["supplier_insolvency"].expected_loss > made["base"].expected_loss
    assert made["inflation"].expected_loss > 1.1 * made["base"].expected_loss
    # 24 h of the worse of two sites: 20 servers and 10 disks stop everything; 10,000 x 1 x (24 - 4).
    assert made["region_power"].event_loss == pytest.approx(200_000, rel=1e-6)
    factor = reverse_stress(quote)
    assert factor is not None
    assert expected_at(quote, factor) == pytest.approx(float(quote.commercial.premium.amount), rel=1e-3)


def test_a_limit_of_the_year_may_keep_the_reverse_stress_out_of_reach() -> None:
    quote = priced(annual={"limit": 1000}, expenses={"acquisition": 0.3, "administration": 0.3, "profit": 0.3}).quote
    assert reverse_stress(quote) is None


@pytest.mark.parametrize("name", reference.NAMES)
def test_reference_portfolios_are_priced_labelled_and_repeat(name: str) -> None:
    made = price_request(*reference.portfolio(name, load_priors()[0], scale=0.25))
    result = made.result()
    assert "SIMULATED" in result["insured"]
    assert price_inputs(json.loads(json.dumps(made.inputs))).result() == result
    assert all(
        a["basis"] and a["kind"] in ("source", "judgement", "declared", "default", "limit")
        for a in result["assumptions"]
    )
    assert {a["kind"] for a in result["assumptions"]} >= {"judgement", "source"}
    assert sum(c["premium"] for c in result["covers"]) + result["waterfall"]["service_cost"] / 0.69 == pytest.approx(
        result["premium"], rel=1e-4
    )
    assert sum(c["risk_load"] for c in result["covers"]) == pytest.approx(
        result["risk_load"]["cost_of_capital"], abs=0.05
    )
    assert all(check["holds"] for check in result["validation"] if check["moment"] == "mean")


def test_accumulation_names_what_two_policies_share() -> None:
    one, two = priced().quote, priced(insured="Other").quote
    made = {(a.kind, a.name): a for a in accumulate([one, two], capacity=10**6)}
    assert made["site", "S0"].clash
    assert made["site", "S0"].n_devices == 60
    assert made["vendor", "Alder"].n_quotes == 2
    assert made["site", "S0"].share_of_capacity == pytest.approx(made["site", "S0"].amount / 10**6)
    sim = simulate([one, two], n_years=4000, seed=2)
    premium = float(one.commercial.premium.amount) * 2
    assert sim.mean == pytest.approx(2 * one.expected_loss / premium, rel=0.15)
    assert sim == simulate([one, two], n_years=4000, seed=2)


def test_accumulation_by_hand_and_a_clash_only_where_a_name_is_shared() -> None:
    here = [{"site": "S0", "region": "east"}, {"site": "S1", "region": "east"}]
    there = [{"site": "S0", "region": "west"}]
    quotes = [priced(sites=here).quote, priced(insured="Other", sites=there).quote]
    made = {(a.kind, a.name): a for a in accumulate(quotes)}
    # 20 of the 40 servers and 10 of the 20 disks of S0 stop all of 10,000 an hour, for 24 - 4 hours, in each policy.
    assert made["site", "S0"].amount == pytest.approx(2 * 200_000, rel=1e-6)
    assert made["site", "S0"].share_of_capacity is None  # the capacity is not known
    assert (made["region", "east"].n_devices, made["region", "east"].clash) == (60, False)
    assert (made["region", "west"].n_devices, made["region", "west"].clash) == (30, False)
    assert made["region", "west"].amount == pytest.approx(200_000, rel=1e-6)
    assert (made["vendor", "Alder"].n_devices, made["vendor", "Alder"].clash) == (120, True)
    with pytest.raises(MixedCurrencies, match="EUR"):
        accumulate([quotes[0], priced(currency="EUR").quote])


def test_relativities_of_age_redundancy_and_monitoring_multiply() -> None:
    fleet = "asset_id,device_class,commissioned_on,site,redundancy,monitored\n" + "".join(
        f"{row}\n"
        for row in (
            "new,server,2025-06-01,A,N,no", "grown,server,2022-08-01,A,,", "old,server,2020-08-01,A,2N,yes",
            "oldest,server,2018-01-01,A,N+1,no",
        )
    )  # fmt: skip
    request = {"insured": "X", **{k: v for k, v in priced().inputs["submission"].items() if k != "insured"}}
    fitted = price_request(request, fleet, "asset_id,opened,restored\n").quote.fitted
    got = {device.asset.asset_id: device.relativity for device in fitted.devices}
    # Ages at the middle of 2026-02 to 2027-02: 1.2, 4.0, 6.0 and 8.6 years. Unknown redundancy and monitoring move nothing.
    assert got == pytest.approx({"new": 1.05, "grown": 1.0, "old": 1.35 * 0.55 * 0.92, "oldest": 1.9 * 0.75})
    model = fitted.classes["server"]
    assert model.weighted_years == pytest.approx(sum(got.values()) * 365 / 365.25)
    assert model.expected_incidents == pytest.approx(model.frequency.rate_per_year * model.weighted_years)


@pytest.mark.long
def test_the_page_shows_what_the_reference_portfolios_earn() -> None:
    """About ten seconds of processor time: all three at their full size, simulated and stressed."""
    from benchmarks import itops_portfolio

    page = (Path(__file__).resolve().parents[3] / "docs/methods/itops.md").read_text(encoding="utf-8")
    assert itops_portfolio.table(itops_portfolio.quotes()) in page


def test_the_smallest_reference_portfolio_still_holds_what_its_services_name() -> None:
    made = price_request(*reference.portfolio("data_centre", load_priors()[0], scale=0.01))
    assert made.result()["premium"] > 0


def test_a_site_counts_while_it_has_a_device_in_service() -> None:
    """2024 has 366 days. A from the start; B from 1 July (184 days); C in two spells that overlap by ten days and one
    later, 40 + 30 - 10 + 5 = 65; D only before and after; one device without a site."""
    rows = [
        ("a", "A", "2020-01-01", ""),
        ("b1", "B", "2024-07-01", ""), ("b2", "B", "2024-09-01", "2024-10-01"),
        ("c1", "C", "2024-01-11", "2024-02-20"), ("c2", "C", "2024-02-10", "2024-03-11"),
        ("c3", "C", "2024-12-01", "2024-12-06"),
        ("d1", "D", "2019-01-01", "2023-06-01"), ("d2", "D", "2025-01-01", ""),
        ("e", "", "2020-01-01", ""),
    ]  # fmt: skip
    text = "asset_id,site,commissioned_on,retired_on,device_class\n" + "".join(
        ",".join((*row, "disk\n")) for row in rows
    )
    fleet = read_fleet(text, known_classes=("disk",))
    assert site_days(fleet.assets, date(2024, 1, 1), date(2025, 1, 1)) == {"A": 366, "B": 184, "C": 65}


def test_a_site_that_came_late_has_its_own_years_and_earlier_models_keep_the_whole_window() -> None:
    """Two sites of 30 devices over 731 days; S1's devices, which came on 1 July 2025, stood 184 days of them."""
    late = FLEET.replace(",S1,", ",late,")
    for month in "123456":
        late = "\n".join(
            line.replace(f"2024-0{month}-01,late", "2025-07-01,late") for line in late.split("\n")
        ).replace(f"2024-0{month}-01,S0", "2023-01-01,S0")  # fmt: skip
    known = priced().inputs["submission"]
    wire = submission_from(dict(known), known_classes=BOOK.priors.classes())
    fleet = read_fleet(late, known_classes=BOOK.priors.classes())
    none = read_incidents("asset_id,opened,restored\n", fleet=fleet, time_zone=wire.time_zone)
    now, before = (fit(wire, fleet, none, BOOK, model) for model in ("itops-2026.5", "itops-2026.4"))
    assert now.site_years == pytest.approx((731 + 184) / 365.25)
    assert before.site_years == pytest.approx(2 * 731 / 365.25)
