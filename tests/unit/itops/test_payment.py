"""Payment schedules: terms against their formulas, and the law of a payment against simulation."""

from decimal import Decimal

import numpy as np
import pytest

from core.errors import InvalidInput
from itops.payment import PaymentLaw, PaymentSchedule, Piece, UnboundedPayment, nothing, total
from itops.policy import BadTerms, BusinessInterruption, EventTerms, SystemAvailability, WaitingPeriod
from itops.severity import Spliced

REPAIR = Spliced(
    body_mu=0.5, body_sigma=1.2, threshold_h=8.0, probability_above=0.1, tail_shape=1.1, tail_scale_h=6.0
)  # fmt: skip
HOURS = np.array([0.0, 1.0, 3.9, 4.0, 4.1, 7.0, 8.0, 9.0, 24.0, 72.0, 80.0, 5000.0])


def interruption(
    kind: WaitingPeriod = "retention", deductible: int = 0, coinsurance: str = "0", limit: int = 10**9
) -> BusinessInterruption:
    return BusinessInterruption(
        revenue_per_hour=Decimal(1000),
        affected_share={"server": Decimal("0.1")},
        waiting_period_h=4.0,
        waiting_period_type=kind,
        indemnity_period_h=72.0,
        terms=EventTerms(deductible=Decimal(deductible), coinsurance=Decimal(coinsurance), limit=Decimal(limit)),
    )


def availability(limit: int = 2000) -> SystemAvailability:
    return SystemAvailability(
        restoration_target_h=4.0,
        compensation_per_breach=Decimal(300),
        compensation_per_hour=Decimal(50),
        terms=EventTerms(deductible=Decimal(0), coinsurance=Decimal(0), limit=Decimal(limit)),
    )


def test_a_retention_pays_the_hours_beyond_the_waiting_period() -> None:
    paid = interruption().schedule("server").amount(HOURS)
    assert paid == pytest.approx(100 * np.maximum(np.minimum(HOURS, 72) - 4, 0))


def test_a_qualifying_period_pays_from_the_first_hour() -> None:
    paid = interruption("qualifying").schedule("server").amount(HOURS)
    assert paid == pytest.approx(100 * np.minimum(HOURS, 72) * (HOURS > 4))


def test_deductible_then_share_then_limit() -> None:
    paid = interruption(deductible=150, coinsurance="0.2", limit=3000).schedule("server").amount(HOURS)
    ground_up = 100 * np.maximum(np.minimum(HOURS, 72) - 4, 0)
    assert paid == pytest.approx(np.minimum(0.8 * np.maximum(ground_up - 150, 0), 3000))


def test_sla_compensation() -> None:
    paid = availability().schedule("server").amount(HOURS)
    owed = np.where(HOURS > 4, 300 + 50 * (HOURS - 4), 0)
    assert paid == pytest.approx(np.minimum(owed, 2000))


def test_covers_add_up_on_the_same_outage() -> None:
    both = total([interruption("qualifying").schedule("server"), availability().schedule("server")])
    apart = interruption("qualifying").schedule("server").amount(HOURS) + availability().schedule("server").amount(
        HOURS
    )
    assert both.amount(HOURS) == pytest.approx(apart)


@pytest.mark.parametrize("kind", ["retention", "qualifying"])
def test_the_payment_law_agrees_with_a_large_sample(kind: WaitingPeriod) -> None:
    schedule = total(
        [
            interruption(kind, deductible=150, coinsurance="0.2", limit=3000).schedule("server"),
            availability().schedule("server"),
        ]
    )
    law = PaymentLaw(schedule, REPAIR)
    # Stratified draws of D by inverting its survival function on a fine table.
    table = np.concatenate([np.linspace(0, 100, 200_001), np.geomspace(100.001, 1e9, 50_000)])
    u = (np.arange(400_000) + 0.5) / 400_000
    hours = np.interp(u, 1 - REPAIR.survival(table), table)
    paid = schedule.amount(hours)
    assert law.mean == pytest.approx(np.mean(paid), rel=2e-4)
    for x in (0.0, 299.0, 350.0, 1000.0, 2500.0, 4000.0):
        assert law.survival(np.array([x]))[0] == pytest.approx(np.mean(paid > x), abs=2e-4)
        assert law.limited_mean(np.array([x]))[0] == pytest.approx(np.mean(np.minimum(paid, x)), rel=5e-4, abs=1e-9)


def test_nothing_costs_nothing() -> None:
    law = PaymentLaw(nothing(), REPAIR)
    assert law.mean == 0.0
    assert law.survival(np.array([0.0]))[0] == 0.0
    assert total([]).largest == 0.0


def test_a_payment_without_limit_is_refused() -> None:
    open_ended = PaymentSchedule((Piece(start_h=0.0, amount=0.0, slope_per_h=1.0),))
    with pytest.raises(UnboundedPayment):
        PaymentLaw(open_ended, REPAIR)


def test_a_falling_payment_is_refused() -> None:
    with pytest.raises(InvalidInput):
        PaymentSchedule(
            (Piece(start_h=0.0, amount=0.0, slope_per_h=1.0), Piece(start_h=5.0, amount=3.0, slope_per_h=0.0))
        )


def test_a_limit_below_its_deductible_is_refused() -> None:
    with pytest.raises(BadTerms, match="limit is below deductible"):
        interruption(deductible=5000, limit=3000)


def test_a_waiting_period_as_long_as_the_indemnity_period_is_refused() -> None:
    with pytest.raises(BadTerms, match="waiting_period_h"):
        BusinessInterruption(
            revenue_per_hour=Decimal(1),
            affected_share={},
            waiting_period_h=72.0,
            waiting_period_type="retention",
            indemnity_period_h=72.0,
            terms=EventTerms(deductible=Decimal(0), coinsurance=Decimal(0), limit=Decimal(1)),
        )


def test_a_class_without_a_share_is_refused_not_zero() -> None:
    with pytest.raises(BadTerms, match="blank is unknown, not zero"):
        interruption().schedule("switch")
