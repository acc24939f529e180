"""Staffing of a station, and the downtime of a redundant service."""

import numpy as np
import pytest

from itops.reliability import BadReliability, annual_downtime, availability, engineers_needed, erlang_c, k_of_n


def test_the_fewest_engineers_that_keep_the_target() -> None:
    """Mitan's example: 55 agents answer 84.6 % of 360 calls in 30 minutes, of 240 s each, within 15 s."""
    station = engineers_needed(360 / 1800, 240.0, 15.0, 0.84)
    assert station.servers == 55
    assert station.within(15.0) == pytest.approx(0.845883, abs=1e-6)
    assert erlang_c(360 / 1800, 240.0, 54).within(15.0) < 0.84
    assert engineers_needed(360 / 1800, 240.0, 15.0, 0.85).servers == 56


def test_a_target_of_certainty_is_refused() -> None:
    with pytest.raises(BadReliability):
        engineers_needed(1.0, 1.0, 1.0, 1.0)


def test_downtime_of_two_of_three_has_the_mean_of_the_closed_form_whatever_the_repairs() -> None:
    """Availability does not depend on the law of repairs; how the year's downtime spreads does."""
    unit = availability(8766.0 / 6.0, 24.0)
    expected = (1.0 - k_of_n(2, 3, unit)) * 8766.0
    spreads = []
    for repair in (
        lambda rng, n: np.full(n, 24.0),
        lambda rng, n: rng.lognormal(np.log(24.0) - 1.5**2 / 2, 1.5, n),
    ):
        found = annual_downtime(2, 3, 6.0, repair, n_years=20_000, rng=np.random.default_rng(3))
        assert float(np.mean(found)) == pytest.approx(expected, rel=0.05)
        assert np.all(found >= 0)
        spreads.append(float(np.std(found)))
    assert spreads[1] > 1.3 * spreads[0]


def test_a_single_unit_is_down_for_its_repairs() -> None:
    found = annual_downtime(1, 1, 2.0, lambda rng, n: np.full(n, 10.0), n_years=5000, rng=np.random.default_rng(1))
    assert float(np.mean(found)) == pytest.approx((1 - availability(4383.0, 10.0)) * 8766, rel=0.05)
    assert float(np.mean(found == 0)) == pytest.approx(np.exp(-2.0), abs=0.03)
    assert annual_downtime(1, 2, 0.0, lambda rng, n: np.ones(n), n_years=3, rng=np.random.default_rng(1)).tolist() == [
        0.0, 0.0, 0.0
    ]  # fmt: skip


def test_impossible_redundancy_and_repairs_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(BadReliability):
        annual_downtime(3, 2, 1.0, lambda rng, n: np.ones(n), n_years=1, rng=rng)
    with pytest.raises(BadReliability):
        annual_downtime(1, 2, 1.0, lambda rng, n: np.full(n, -1.0), n_years=1, rng=rng)
