"""Credibility: groups that do not differ, counts, recovery of what was simulated, and what is refused."""

import numpy as np
import pytest

from itops.credibility import BadCredibility, poisson_structure, shrink, structure
from itops.reliability import BadReliability, erlang_c, k_of_n, spare_parts


def test_groups_that_do_not_differ_share_one_mean() -> None:
    found = structure(np.ones((3, 4)), np.array([[1.0, 2, 1, 2], [2, 1, 2, 1], [1, 1, 2, 2]]))
    assert found.between == 0.0
    assert found.k == float("inf")
    shrunk = shrink(np.array([4.0, 4, 8]), np.array([1.5, 1.5, 1.8]), found)
    assert shrunk.mean == pytest.approx(np.full(3, 1.65))
    assert shrunk.z == pytest.approx(np.zeros(3))


def test_poisson_structure_finds_the_spread_of_rates() -> None:
    rng = np.random.default_rng(8)
    exposure = rng.uniform(20, 400, 4000)
    rate = rng.gamma(4.0, 0.05 / 4.0, 4000)
    found = poisson_structure(rng.poisson(rate * exposure).astype(float), exposure)
    assert found.within == pytest.approx(0.05, rel=0.03)
    assert found.between == pytest.approx(0.05**2 / 4, rel=0.15)


def test_credibility_beats_raw_and_pooled_rates_on_counts_to_come() -> None:
    rng = np.random.default_rng(9)
    exposure = rng.uniform(2, 100, 300)
    rate = rng.gamma(3.0, 0.04 / 3.0, 300)
    seen, coming = rng.poisson(rate * exposure), rng.poisson(rate * exposure)
    shrunk = shrink(exposure, seen / exposure, poisson_structure(seen.astype(float), exposure)).mean

    def deviance(fitted: np.ndarray) -> float:
        mean = np.maximum(fitted * exposure, 1e-3)
        ratio = np.where(coming > 0, coming / mean, 1.0)
        return float(2 * np.sum(coming * np.log(ratio) - (coming - mean)))

    pooled = np.full(300, seen.sum() / exposure.sum())
    assert deviance(shrunk) < 0.8 * min(deviance(seen / exposure), deviance(pooled))


def test_the_premiums_balance() -> None:
    """The credibility-weighted collective gives back the total: sum w x = sum w m."""
    rng = np.random.default_rng(10)
    weight, value = rng.uniform(10, 500, (20, 6)), rng.normal(100, 20, (20, 1)) + rng.normal(0, 90, (20, 6))
    own = np.sum(weight * value, axis=1) / weight.sum(axis=1)
    found = shrink(weight.sum(axis=1), own, structure(weight, value))
    assert np.sum(weight.sum(axis=1) * found.mean) == pytest.approx(np.sum(weight * value), rel=1e-9)


def test_bad_groups_are_refused() -> None:
    with pytest.raises(BadCredibility):
        structure(np.ones((1, 4)), np.ones((1, 4)))
    with pytest.raises(BadCredibility):
        structure(np.array([[1.0, 1.0], [0.0, 0.0]]), np.ones((2, 2)))
    with pytest.raises(BadCredibility):
        poisson_structure(np.array([-1.0, 2.0]), np.array([1.0, 1.0]))


def test_redundancy_spares_and_an_overloaded_station() -> None:
    assert k_of_n(3, 3, 0.9) == pytest.approx(0.729)
    assert k_of_n(0, 3, 0.9) == 1.0
    # Poisson(2): P(<= 5) = 0.9834, P(<= 6) = 0.9955.
    assert spare_parts(24.0, 1 / 12, 0.99) == 6
    with pytest.raises(BadReliability, match="overloaded"):
        erlang_c(1.0, 10.0, 10)
    # One server: M/M/1 waits with probability rho for 1 / (mu - lambda).
    queue = erlang_c(0.5, 1.0, 1)
    assert (queue.wait_probability, queue.mean_wait) == pytest.approx((0.5, 1.0))
