"""Laws of pricing that hold for every term and every record."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itops.aggregate import LossGroup, compound, discretise, grid_step, moments
from itops.incident import RepairTimes
from itops.payment import PaymentLaw
from itops.policy import BusinessInterruption, EventTerms, WaitingPeriod
from itops.pricing import CapitalCharge, Loadings, exact, risk_load_by_capital, technical_premium
from itops.severity import Spliced, Updated

PRIOR = Spliced(
    body_mu=0.0, body_sigma=1.2, threshold_h=8.0, probability_above=0.06, tail_shape=1.3, tail_scale_h=6.6
)  # fmt: skip
LOADINGS = Loadings(acquisition=Decimal("0.15"), administration=Decimal("0.1"), profit=Decimal("0.05"))
CHARGE = CapitalCharge(rate=Decimal("0.1"), level=0.99)

hours = st.floats(min_value=0.0, max_value=2000.0, allow_nan=False)
tickets = st.lists(st.tuples(hours, st.booleans()), max_size=40)
kinds = st.sampled_from(["retention", "qualifying"])


def repair(record: list[tuple[float, bool]]) -> Updated:
    times = RepairTimes(
        hours=np.array([h for h, _ in record], dtype=float), restored=np.array([r for _, r in record], dtype=bool)
    )
    return Updated(PRIOR, 10.0, times)


def interruption(waiting_h: float, kind: WaitingPeriod, deductible: int, limit: int) -> BusinessInterruption:
    return BusinessInterruption(
        revenue_per_hour=Decimal(1000),
        affected_share={"server": Decimal("0.5")},
        waiting_period_h=waiting_h,
        waiting_period_type=kind,
        indemnity_period_h=96.0,
        terms=EventTerms(deductible=Decimal(deductible), coinsurance=Decimal(0), limit=Decimal(limit)),
    )


def premium(cover: BusinessInterruption, law: Updated, n_incidents: float) -> float:
    payment = PaymentLaw(cover.schedule("server"), law)
    mean = n_incidents * payment.mean
    step = grid_step(mean, (mean * payment.largest + mean**2) ** 0.5, payment.largest)
    group = LossGroup(
        expected_count=n_incidents,
        mixing_cv2=0.3,
        probability=discretise(payment.limited_mean, payment.largest, step),
    )
    year = compound([group], step=step, regime_cv=0.25)
    load = risk_load_by_capital(year, CHARGE)
    return float(technical_premium(exact(year.mean), exact(load), LOADINGS, "EUR").technical_premium.amount)


@given(record=tickets, kind=kinds, low=st.floats(0, 40), more=st.floats(0.1, 40), count=st.floats(0.05, 200))
@settings(max_examples=25, deadline=None)
def test_a_longer_waiting_period_never_costs_more(
    record: list[tuple[float, bool]], kind: WaitingPeriod, low: float, more: float, count: float
) -> None:
    law = repair(record)
    short, long = (interruption(w, kind, 0, 40_000) for w in (low, low + more))
    assert PaymentLaw(long.schedule("server"), law).mean <= PaymentLaw(short.schedule("server"), law).mean * (1 + 1e-12)
    # The money grid moves the tail by a step at most.
    assert premium(long, law, count) <= premium(short, law, count) * 1.001 + 0.01


@given(record=tickets, low=st.integers(0, 20_000), more=st.integers(1, 19_000), count=st.floats(0.05, 200))
@settings(max_examples=25, deadline=None)
def test_a_higher_deductible_never_costs_more(
    record: list[tuple[float, bool]], low: int, more: int, count: float
) -> None:
    law = repair(record)
    small, large = (interruption(8.0, "retention", d, 40_000) for d in (low, low + more))
    assert PaymentLaw(large.schedule("server"), law).mean <= PaymentLaw(small.schedule("server"), law).mean * (
        1 + 1e-12
    )
    assert premium(large, law, count) <= premium(small, law, count) * 1.001 + 0.01


@given(
    record=tickets,
    kind=kinds,
    waiting=st.floats(0, 90),
    deductible=st.integers(0, 30_000),
    limit=st.integers(30_000, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_the_insured_loss_never_exceeds_the_ground_up_loss(
    record: list[tuple[float, bool]], kind: WaitingPeriod, waiting: float, deductible: int, limit: int
) -> None:
    cover = interruption(waiting, kind, deductible, limit)
    at = np.linspace(0.0, 300.0, 601)
    paid, lost = cover.schedule("server").amount(at), cover.ground_up("server").amount(at)
    assert np.all(paid <= lost + 1e-9)
    assert np.all(paid >= 0)
    law = repair(record)
    assert PaymentLaw(cover.schedule("server"), law).mean <= PaymentLaw(cover.ground_up("server"), law).mean + 1e-9


@given(
    counts=st.lists(st.tuples(st.floats(0.0, 300.0), st.floats(0.0, 2.0)), min_size=1, max_size=5),
    weights=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=30).filter(lambda w: sum(w) > 0.1),
    step=st.floats(0.5, 1e5),
    regime=st.floats(0.0, 0.6),
)
@settings(max_examples=40, deadline=None)
def test_the_mean_by_fft_is_the_analytic_mean(
    counts: list[tuple[float, float]], weights: list[float], step: float, regime: float
) -> None:
    probability = np.array(weights) / sum(weights)
    groups = [LossGroup(expected_count=n, mixing_cv2=c, probability=probability) for n, c in counts]
    law = compound(groups, step=step, regime_cv=regime, n_nodes=4096)
    mean, variance = moments(groups, step, regime)
    assert law.mean == pytest.approx(mean, rel=1e-8, abs=1e-7 * step)
    assert law.variance == pytest.approx(variance, rel=1e-6, abs=1e-4 * step**2)
    assert np.sum(law.probability) == pytest.approx(1.0, abs=1e-12)
    assert np.all(law.probability >= 0)


@given(record=tickets)
@settings(max_examples=60, deadline=None)
def test_an_updated_repair_law_is_a_law(record: list[tuple[float, bool]]) -> None:
    law = repair(record)
    survival = law.survival(np.linspace(0.0, 3000.0, 3001))
    assert np.all(np.diff(survival) <= 1e-12)
    assert survival[0] <= 1.0 + 1e-12
    assert survival[-1] > 0
    # Closing an open ticket at the time it was last seen open can only shorten repairs.
    closed = repair([(h, True) for h, _ in record])
    at = np.array([10.0, 100.0, 1000.0])
    assert np.all(law.limited_mean(at) >= closed.limited_mean(at) - 1e-9)
