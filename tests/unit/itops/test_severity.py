"""Repair-time laws: against quadrature, the Kaplan-Meier limit, and a published posterior."""

import math

import numpy as np
import pytest
from scipy import integrate

from itops.incident import RepairTimes
from itops.severity import BadRepairLaw, FloatArray, Spliced, Updated, kaplan_meier


class Exponential:
    """Repair times without memory, mean 1/rate."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def survival(self, hours: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-self.rate * np.asarray(hours)))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return np.asarray(-np.expm1(-self.rate * np.asarray(hours)) / self.rate)


def spliced(shape: float = 1.297546) -> Spliced:
    return Spliced(
        body_mu=-0.026437, body_sigma=1.197432, threshold_h=8.0, probability_above=0.0586317, tail_shape=shape,
        tail_scale_h=6.574504,
    )  # fmt: skip


def record(*hours: float, still_open: tuple[float, ...] = ()) -> RepairTimes:
    return RepairTimes(
        hours=np.array([*hours, *still_open], dtype=float),
        restored=np.array([True] * len(hours) + [False] * len(still_open), dtype=bool),
    )


@pytest.mark.parametrize("shape", [0.0, 0.3, 1.0, 1.297546])
def test_limited_mean_is_the_integral_of_survival(shape: float) -> None:
    law = spliced(shape)
    for end in (0.5, 8.0, 30.0, 500.0):
        expected, _ = integrate.quad(
            lambda h: float(law.survival(np.array([h]))[0]), 0, end, points=[min(8.0, end)], limit=400
        )
        assert law.limited_mean(np.array([end]))[0] == pytest.approx(expected, rel=1e-8)


def test_the_splice_is_continuous_and_falls() -> None:
    law = spliced()
    low, high = law.survival(np.array([8.0, 8.0 + 1e-9]))
    assert low == pytest.approx(0.0586317, abs=1e-12)
    assert high == pytest.approx(low, abs=1e-9)
    values = law.survival(np.linspace(0, 500, 5000))
    assert values[0] == 1.0
    assert np.all(np.diff(values) <= 0)


def test_without_open_tickets_the_update_is_a_weighted_mean() -> None:
    law = Updated(spliced(), 20.0, record(0.5, 1.0, 1.0, 12.0, 30.0))
    at = np.array([0.0, 0.7, 1.0, 11.9, 12.0, 30.0, 300.0])
    empirical = np.array([1.0, 0.8, 0.4, 0.4, 0.2, 0.0, 0.0])
    assert law.survival(at) == pytest.approx((20 * spliced().survival(at) + 5 * empirical) / 25)
    assert law.prior_share == pytest.approx(0.8)


def test_susarla_and_van_ryzin_by_hand() -> None:
    """Their eq. 2.8 written out: repairs at 1 h and 3 h, a ticket open at 2 h; exponential prior, weight 4."""
    prior, a = Exponential(0.5), 4.0
    law = Updated(prior, a, record(1.0, 3.0, still_open=(2.0,)))

    def tail(hours: float) -> float:
        return a * math.exp(-0.5 * hours)

    jump = (tail(2) + 1 + 1) / (tail(2) + 1)
    expected = {
        0.5: (tail(0.5) + 3) / (a + 3),
        1.5: (tail(1.5) + 2) / (a + 3),
        2.5: (tail(2.5) + 1) / (a + 3) * jump,
        5.0: tail(5.0) / (a + 3) * jump,
    }
    for at, value in expected.items():
        assert law.survival(np.array([at]))[0] == pytest.approx(value, rel=1e-12)


def test_with_a_weightless_prior_it_is_kaplan_meier() -> None:
    rng = np.random.default_rng(7)
    hours = np.round(rng.lognormal(0.5, 1.2, 200), 1) + 0.1
    times = RepairTimes(hours=hours, restored=rng.random(200) < 0.7)
    at, survival = kaplan_meier(times)
    inside = at < np.max(hours)
    law = Updated(spliced(), 1e-9, times)
    assert law.survival(at[inside]) == pytest.approx(survival[inside], abs=1e-8)


def test_kaplan_meier_of_the_textbook_leukaemia_trial() -> None:
    """6-MP arm of Freireich et al. (1963); Klein & Moeschberger, Survival Analysis, example 4.1."""
    closed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    still_open = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    at, survival = kaplan_meier(record(*closed, still_open=tuple(still_open)))
    assert at.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert survival == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)


def test_limited_mean_of_the_update_is_the_integral_of_its_survival() -> None:
    law = Updated(spliced(), 5.0, record(0.5, 1.0, 9.0, 12.0, still_open=(2.0, 12.0, 40.0)))
    for end in (0.3, 1.0, 10.0, 40.0, 90.0):
        knots = [k for k in (0.5, 1.0, 2.0, 8.0, 9.0, 12.0, 40.0) if k < end]
        expected = sum(
            integrate.quad(lambda h: float(law.survival(np.array([h]))[0]), a, b)[0]
            for a, b in zip([0.0, *knots], [*knots, end], strict=True)
        )
        assert law.limited_mean(np.array([end]))[0] == pytest.approx(expected, rel=1e-8)
        assert law.limited_mean(np.array([end]))[0] == pytest.approx(
            law.prior_part().limited_mean(np.array([end]))[0] + law.limited_mean_parts(np.array([end]))[1][0]
        )


def test_reading_open_tickets_as_closed_would_be_too_cheap() -> None:
    at = np.array([72.0])
    as_open = Updated(spliced(), 5.0, record(1.0, 2.0, still_open=(20.0, 30.0))).limited_mean(at)
    as_closed = Updated(spliced(), 5.0, record(1.0, 2.0, 20.0, 30.0)).limited_mean(at)
    assert as_open[0] > as_closed[0] * 1.3


def test_no_tickets_at_all_leave_the_prior() -> None:
    at = np.array([0.0, 1.0, 8.0, 100.0])
    assert Updated(spliced(), 20.0, record()).survival(at) == pytest.approx(spliced().survival(at))


@pytest.mark.parametrize("hours", [-1.0, math.nan, math.inf])
def test_impossible_durations_are_refused(hours: float) -> None:
    with pytest.raises(BadRepairLaw):
        Updated(spliced(), 20.0, record(hours))
