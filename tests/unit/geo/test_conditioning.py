"""Sensor readings condition a footprint: against the textbook's joint normal law, and the limits it must keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from geo.conditioning import EARTH_RADIUS_KM, condition, correlation
from geo.wind import _unit_vectors


def setting(n: int = 12, m: int = 4, seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "lon": rng.uniform(179.5, 180.5, n) - 360.0 * (np.arange(n) % 2), "lat": rng.uniform(-1, 1, n),
        "median": rng.uniform(0.1, 1.0, n), "sigma_ln": rng.uniform(0.3, 0.7, n),
        "sensor_lon": rng.uniform(179.5, 180.0, m), "sensor_lat": rng.uniform(-1, 1, m),
        "sensor_median": rng.uniform(0.1, 1.0, m), "sensor_sigma_ln": rng.uniform(0.3, 0.7, m),
        "reading": rng.uniform(0.1, 1.0, m),
    }  # fmt: skip


def test_it_is_the_conditional_of_the_joint_normal_law() -> None:
    """Brute force: the covariance of all places and readings together, its precision matrix, and its Schur complement."""
    s = setting()
    n = len(s["lon"])
    after, spread, _ = condition(**s, error_ln=0.15, correlation_km=40.0)
    x = _unit_vectors(np.r_[s["lon"], s["sensor_lon"]], np.r_[s["lat"], s["sensor_lat"]])
    chord = np.linalg.norm(x[:, None] - x[None, :], axis=-1)  # the arc cosine loses a small distance's digits
    h = 2 * np.arcsin(chord / 2) * EARTH_RADIUS_KM
    sd = np.r_[s["sigma_ln"], s["sensor_sigma_ln"]]
    joint = np.exp(-h / 40.0) * np.outer(sd, sd)
    joint[n:, n:] += np.eye(len(sd) - n) * 0.15**2
    precision = np.linalg.inv(joint)
    inner = np.linalg.inv(precision[:n, :n])
    residual = np.log(s["reading"] / s["sensor_median"])
    mean = -inner @ precision[:n, n:] @ residual
    assert np.log(after / s["median"]) == pytest.approx(mean, abs=1e-6)
    assert spread == pytest.approx(np.sqrt(np.diag(inner)), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 2.0), st.floats(1.0, 500.0))
def test_more_is_known_afterwards_and_a_chunk_changes_nothing(seed: int, error: float, length: float) -> None:
    s = setting(seed=seed)
    after, spread, departure = condition(**s, error_ln=error, correlation_km=length)
    assert (spread <= s["sigma_ln"] + 1e-12).all()
    assert np.isfinite(departure).all()
    again = condition(**s, error_ln=error, correlation_km=length, chunk=5)
    assert again[0] == pytest.approx(after)
    assert again[1] == pytest.approx(spread)


def test_one_reading_by_hand() -> None:
    """A sensor at the place itself: the weights are those of two measurements of one quantity."""
    one = np.array([0.0])
    s = {"lon": one, "lat": one, "median": np.array([0.2]), "sigma_ln": np.array([0.5]), "sensor_lon": one,
         "sensor_lat": one, "sensor_median": np.array([0.2]), "sensor_sigma_ln": np.array([0.5]),
         "reading": np.array([0.4])}  # fmt: skip
    after, spread, departure = condition(**s, error_ln=0.5, correlation_km=10.0)
    assert after[0] == pytest.approx(0.2 * np.sqrt(2.0)), "halfway in the logarithm: it is never overwritten"
    assert spread[0] == pytest.approx(0.5 / np.sqrt(2.0))
    assert departure[0] == pytest.approx(np.log(2.0) / np.hypot(0.5, 0.5))
    near = condition(**s, error_ln=0.001, correlation_km=10.0)[0][0]
    assert near < 0.4
    assert near == pytest.approx(0.4, rel=1e-4)


def test_far_from_sensors_and_under_silent_ones_the_footprint_stays() -> None:
    s = setting()
    far = s | {"lon": s["lon"] - 90.0}
    after, spread, _ = condition(**far, error_ln=0.1, correlation_km=20.0)
    assert after == pytest.approx(s["median"])
    assert spread == pytest.approx(s["sigma_ln"])
    silent = s | {"reading": np.full(4, np.nan)}
    after, spread, departure = condition(**silent, error_ln=0.1, correlation_km=20.0)
    assert (after == s["median"]).all()
    assert np.isnan(departure).all()
    unknown = s | {"median": np.where(np.arange(12) == 3, np.nan, np.where(np.arange(12) == 4, 0.0, s["median"]))}
    after, _, _ = condition(**unknown, error_ln=0.1, correlation_km=20.0)
    assert np.isnan(after[3])
    assert after[4] == 0.0


def test_an_exact_sensor_or_a_reading_below_zero_is_refused() -> None:
    s = setting()
    with pytest.raises(InvalidInput, match="sensor error: 0 is not above zero"):
        condition(**s, error_ln=0.0, correlation_km=20.0)
    with pytest.raises(InvalidInput, match="correlation length: -1"):
        condition(**s, error_ln=0.1, correlation_km=-1.0)
    with pytest.raises(InvalidInput, match="reading 2: -1 is not above zero"):
        condition(**(s | {"reading": np.array([1.0, -1.0, 1.0, 1.0])}), error_ln=0.1, correlation_km=20.0)


def test_correlation_across_the_antimeridian() -> None:
    pair = correlation(np.array([179.9]), np.array([0.0]), np.array([-179.9]), np.array([0.0]), 22.24)
    assert pair[0, 0] == pytest.approx(np.exp(-1.0), rel=1e-3), "0.2 degrees of the equator are 22.24 km"
