"""Five covers and their terms, held against figures worked by hand."""

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from itops.losses import Capped, DamageShare, LogNormal, Tabulated
from itops.policy import BadTerms, BusinessInterruption, Credit, EventTerms, PhysicalDamage, SystemAvailability
from itops.submission import BadSubmission, submission_from
from itops.underwrite import load_priors, price_request

D = Decimal


def terms(**changes: Any) -> EventTerms:
    return EventTerms(**({"deductible": D(1000), "coinsurance": D("0.2"), "limit": D(5000)} | changes))


@pytest.mark.parametrize(
    ("order", "loss", "paid"),
    [
        # (X - 1,000) x 0.8, then at most 5,000
        ("deductible_coinsurance_limit", 900, 0),
        ("deductible_coinsurance_limit", 3000, 1600),
        ("deductible_coinsurance_limit", 10_000, 5000),
        # min(X, 5,000), less 1,000, x 0.8: Klugman, Panjer & Willmot's order
        ("limit_deductible_coinsurance", 900, 0),
        ("limit_deductible_coinsurance", 3000, 1600),
        ("limit_deductible_coinsurance", 10_000, 3200),
    ],
)
def test_terms_act_in_the_stated_order(order: Any, loss: float, paid: float) -> None:
    made = terms(order=order)
    assert made.paid(np.array([float(loss)]))[0] == pytest.approx(paid)
    hours = BusinessInterruption(
        revenue_per_hour=D(100), affected_share={"server": D(1)}, waiting_period_h=0, waiting_period_type="retention",
        indemnity_period_h=1000, terms=made,
    ).schedule("server")  # fmt: skip
    assert hours.amount(np.array([loss / 100]))[0] == pytest.approx(paid)
    assert made.largest == (5000 if order.startswith("deductible") else 3200)


def test_a_sublimit_acts_on_its_cause_alone() -> None:
    made = terms(sublimits={"site": D(2000)})
    assert made.paid(np.array([10_000.0]), "site")[0] == 2000
    assert made.paid(np.array([10_000.0]), "network")[0] == 5000
    with pytest.raises(BadTerms, match="not a cause"):
        terms(sublimits={"meteor": D(2000)})
    with pytest.raises(BadTerms, match="not above the limit"):
        terms(sublimits={"site": D(6000)})
    with pytest.raises(BadTerms, match="aggregate_limit is below limit"):
        terms(aggregate_limit=D(4000))


def test_waiting_period_as_retention_and_as_qualifying_period() -> None:
    def paid(kind: Any, hours: float) -> float:
        cover = BusinessInterruption(
            revenue_per_hour=D(1000), affected_share={"server": D("0.5")}, waiting_period_h=8, waiting_period_type=kind,
            indemnity_period_h=72, terms=terms(deductible=D(0), coinsurance=D(0), limit=D(10**6)),
        )  # fmt: skip
        return float(cover.schedule("server").amount(np.array([hours]))[0])

    # 0.5 x 1,000 x (10 - 8) against 0.5 x 1,000 x 10; at 8 h neither; beyond 72 h (72 - 8) and 72
    assert [paid("retention", h) for h in (8, 10, 100)] == [0, 1000, 32_000]
    assert [paid("qualifying", h) for h in (8, 10, 100)] == [0, 5000, 36_000]


def test_service_credits_take_the_highest_step_the_outage_reaches() -> None:
    cover = SystemAvailability(
        restoration_target_h=4, compensation_per_breach=D(200), compensation_per_hour=D(50), monthly_fee=D(10_000),
        credits=(Credit(below=0.999, share=D("0.1")), Credit(below=0.99, share=D("0.25")),
                 Credit(below=0.95, share=D("0.5"))),
        terms=terms(deductible=D(0), coinsurance=D(0), limit=D(100_000)),
    )  # fmt: skip
    # A month has 730.5 h: 99.9 % is 0.7305 h down, 99 % 7.305 h, 95 % 36.525 h.
    paid = cover.outage().amount(np.array([0.5, 1.0, 5.0, 8.0, 40.0]))
    assert paid == pytest.approx([0, 1000, 1000 + 200 + 50, 2500 + 200 + 200, 5000 + 200 + 1800])


def test_actual_cash_value_falls_to_a_tenth() -> None:
    cover = PhysicalDamage(valuation="actual_cash_value", useful_life_years=5, terms=terms(), deductible_share=D("0.1"))
    assert cover.insured_value(1000, 2) == pytest.approx(600)
    assert cover.insured_value(1000, 9) == pytest.approx(100)
    assert cover.deductible_of(50_000) == 5000  # the larger of 1,000 and a tenth


@pytest.mark.parametrize(
    "law", [DamageShare(a=0.8, b=1.6, total=0.125), LogNormal(median=2750, sigma=1.1, fixed=400, cap=9000)]
)
def test_limited_means_are_the_integral_of_the_survival_function(law: Any) -> None:
    top = 1.0 if isinstance(law, DamageShare) else 9000.0
    for x in np.linspace(0.03, 1.2, 7) * top:
        area, _ = integrate.quad(
            lambda t: float(law.survival(np.array([t]))[0]), 0, x, limit=300, points=[min(400.0, x / 2)]
        )
        assert law.limited_mean(np.array([x]))[0] == pytest.approx(area, rel=2e-6)


def test_limited_mean_of_a_log_normal_bahnemann_6_3() -> None:
    law = LogNormal(median=math.exp(7), sigma=2.4)
    got = law.limited_mean(np.array([1e5, 5e5, 1e6, 2e6, 5e6]))
    assert got == pytest.approx([8896.0, 13625.6, 15345.2, 16737.9, 18048.0], abs=0.05)


def test_capped_and_tabulated_laws_keep_their_area() -> None:
    h = np.linspace(0, 10, 11)
    law = Tabulated(h, 1 - h / 10)
    assert law.limited_mean(np.array([10.0]))[0] == pytest.approx(5.0)
    assert Capped(law, 5.0).mean == pytest.approx(3.75)


# ---------------------------------------------------------------- a whole quote
FLEET = "asset_id,device_class,commissioned_on,site,value\n" + "".join(
    f"s{k},{'server' if k % 2 else 'disk'},2023-01-01,A,{1000 + 10 * (k % 3)}\n" for k in range(40)
)
INCIDENTS = "asset_id,opened,restored\ns1,2024-03-01 10:00,2024-03-01 15:00\n"


def asked(*covers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {
        "insured": "X", "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"}, "as_of": "2026-01-02",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"}, "currency": "EUR", "usd_rate": 0.9,
        "covers": list(covers), "expenses": {"acquisition": 0.15, "administration": 0.1, "profit": 0.05},
    }  # fmt: skip
    return {k: v for k, v in (base | changes).items() if v is not None}


SECURITY = {"cover": "information_security", "annual_revenue": 90_000_000, "limit": 1_000_000, "deductible": 50_000,
            "posture": {"mfa": True}}  # fmt: skip
DAMAGE = {"cover": "physical_damage", "valuation": "replacement_new", "deductible": 100, "limit": 2000}
RECOVERY = {"cover": "data_recovery", "limit": 20_000, "deductible": 500, "recreation_hours": 10,
            "recreation_cost_per_hour": 40}  # fmt: skip


def result(*covers: dict[str, Any], fleet: str = FLEET, **changes: Any) -> dict[str, Any]:
    return price_request(asked(*covers, **changes), fleet, INCIDENTS).result()


def test_information_security_is_the_published_prior_and_says_so() -> None:
    made = result(SECURITY)
    # Revenue 100 M USD: 10 % a year, x 0.80 for MFA; median 270,000 USD x 0.9; sigma 2.4; layer 50,000 to 1.05 M.
    law = stats.lognorm(2.4, scale=243_000)
    layer, _ = integrate.quad(law.sf, 50_000, 1_050_000)
    assert made["expected_loss"] == pytest.approx(0.10 * 0.80 * layer * 365 / 365.25, rel=1e-5)
    assert made["covers"][0]["prior_only"] is True
    assert made["prior_share"] == 1.0
    assert any("device telemetry does not change this premium" in note for note in made["notes"])
    assert {e["edition"] for e in made["parameter_range"]["security_editions"]} == {
        "IRIS 20/20",
        "IRIS 2022",
        "IRIS 2025",
    }
    alarm = [{"asset_id": "s0", "signal": "smart_197", "value": 5}]
    assert result(SECURITY, alarms=alarm)["premium"] == made["premium"]
    assert next(r for r in made["rules"] if r["rule"] == "prior-only")["state"] == "fired"


def test_physical_damage_is_rate_times_value_times_share() -> None:
    made = result(DAMAGE)
    law, total = stats.beta(0.8, 1.6), 0.0
    for name, rate in (("server", 0.015), ("disk", 0.01)):
        values = [1000 + 10 * (k % 3) for k in range(40) if (k % 2 == 1) == (name == "server")]
        for v in values:
            part, _ = integrate.quad(lambda s, v=v: law.pdf(s) * max(v * s - 100, 0), 100 / v, 1)
            total += rate * (0.875 * part + 0.125 * (v - 100))
    assert made["expected_loss"] == pytest.approx(total * 365 / 365.25, rel=1e-4)


def test_damage_of_a_device_without_a_value_is_refused() -> None:
    with pytest.raises(BadTerms, match=r"asset 's0', value: is blank"):
        result(DAMAGE, fleet=FLEET.replace("s0,disk,2023-01-01,A,1000", "s0,disk,2023-01-01,A,"))


def test_data_recovery_is_failures_times_lost_backups_times_cost() -> None:
    made = result(RECOVERY)
    law = stats.lognorm(1.1, scale=2750 * 0.9)
    # 400 of typing in again; deductible 500, limit 20,000: the layer of the cost from 100 to 20,100
    layer, _ = integrate.quad(law.sf, 100, 20_100)
    n = {c["device_class"]: c["expected_incidents"] for c in made["classes"]}
    assert made["expected_loss"] == pytest.approx((n["disk"] * 1.0 + n["server"] * 0.3) * 0.08 * layer, rel=1e-4)


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        (asked(SECURITY, usd_rate=None), "usd_rate", "is missing"),
        (asked(SECURITY | {"limit": 10_000_000}), "covers.0.limit", "above a tenth of annual_revenue"),
        (asked(DAMAGE | {"valuation": None}), "covers.0.valuation", "Input should be"),
        (asked(DAMAGE | {"limit": 50}), "covers.0.limit", "limit is below deductible"),
        (asked({"cover": "meteor"}), "covers.0.cover", "not a cover that is priced"),
        (asked(RECOVERY | {"limit_per_tb": 5}), "covers.0.limit_per_tb", "belong together"),
        (asked(DAMAGE, market={"factor": 2}), "market.factor", "outside 0.85 to 1.25"),
        (asked(DAMAGE, options=[{"name": "o", "covers": {"data_recovery": {}}}]), "options.0.covers.data_recovery",
         "is not among"),
        (asked(DAMAGE, sites=[{"site": "A", "pga_g": {"0.5": 0.1}}]), "sites.0.pga_g.0.5", "above 1 year"),
        (asked(DAMAGE, sites=[{"site": "A", "pga_g": {"10": 0.3, "100": 0.1}}]), "sites.0.pga_g", "intensity falls"),
        (asked(DAMAGE, claims_history=[{"opened_on": "2020-01-01", "amount": 1}]), "claims_history.0.opened_on",
         "outside the exposure window"),
        (asked(DAMAGE, services=[{"service": "x", "revenue_per_hour": 1}]), "services.0", "needs either assets"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(raw: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(BadSubmission) as caught:
        submission_from(json.loads(json.dumps(raw)), known_classes=load_priors()[0].classes())
    assert any(at == field and reason in why for at, why in caught.value.problems), str(caught.value)
