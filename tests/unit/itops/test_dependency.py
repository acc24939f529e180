"""Services as k of n: against the textbook's closed forms and a simulated service."""

from decimal import Decimal

import numpy as np
import pytest

from itops.dependency import HOURS_PER_YEAR, BadService, Service, Unit, outage
from itops.losses import Capped
from itops.severity import FloatArray


class Exponential:
    def __init__(self, mean_h: float) -> None:
        self.mean_h = mean_h

    def survival(self, hours: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-np.asarray(hours) / self.mean_h))

    def limited_mean(self, hours: FloatArray) -> FloatArray:
        return np.asarray(self.mean_h * -np.expm1(-np.asarray(hours) / self.mean_h))


def unit(rate: float, mean_h: float) -> Unit:
    return Unit(rate_per_year=rate, repair=Capped(Exponential(mean_h), 5000.0))


def test_one_device_is_its_own_service() -> None:
    law = outage([unit(1.0, 4.0)], 1)
    a = HOURS_PER_YEAR / (HOURS_PER_YEAR + 4.0)  # MTBF / (MTBF + MTTR), known answer 13
    assert law.unavailability == pytest.approx(1 - a, rel=1e-9)
    assert law.rate_per_year == pytest.approx(a, rel=1e-9)


def test_two_in_parallel_is_the_known_answer() -> None:
    law = outage([unit(HOURS_PER_YEAR / 8760.0, 4.0)] * 2, 1)
    assert 1 - law.unavailability == pytest.approx(0.99999979169, abs=5e-12)
    # With exponential repairs the service is down for the minimum of two: half the mean repair time.
    assert law.law.limited_mean(np.array([1000.0]))[0] == pytest.approx(2.0, rel=2e-3)
    # Renewal theory: share of time down = outages x mean length.
    assert law.rate_per_year * 2.0 / HOURS_PER_YEAR == pytest.approx(law.unavailability, rel=2e-3)


def test_two_of_three_against_simulation() -> None:
    rng = np.random.default_rng(5)
    rates, means = np.array([30.0, 60.0, 45.0]), np.array([20.0, 12.0, 30.0])
    years = 3000.0
    changes = []
    for rate, mean in zip(rates, means, strict=True):
        up = rng.exponential(HOURS_PER_YEAR / rate, int(rate * years * 1.2))
        down = rng.exponential(mean, len(up))
        failed = np.cumsum(up + np.concatenate([[0.0], down[:-1]]))
        changes += [(t, 1) for t in failed] + [(t, -1) for t in failed + down]
    end = years * HOURS_PER_YEAR * 0.9
    n = starts = 0
    for _t, step in sorted(change for change in changes if change[0] < end):
        n += step
        starts += step == 1 and n == 2
    law = outage([unit(r, m) for r, m in zip(rates, means, strict=True)], 2)
    assert law.rate_per_year == pytest.approx(starts / (end / HOURS_PER_YEAR), rel=0.03)


def test_all_needed_adds_the_rates() -> None:
    law = outage([unit(0.1, 1.0)] * 5, 5)
    assert law.rate_per_year == pytest.approx(0.5, rel=1e-3)


def test_a_service_that_needs_more_than_it_has_is_refused() -> None:
    with pytest.raises(BadService, match="needed must be from 1 to the 2 devices"):
        Service(name="x", revenue_per_hour=Decimal(1), assets=("a", "b"), needed=3)
