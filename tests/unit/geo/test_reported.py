"""What people report conditions a footprint as a weak sensor: by hand, and the limits it must keep."""

import numpy as np
import pytest

from geo.conditioning import condition
from geo.hazard_field import HIT, OUTSIDE, PolygonField
from geo.reported import CORRELATION_KM, BadReports, ReportedField, Reports
from tests.integration.geo.test_geo import box

AREA = box(-1, -1, 2, 2)  # about 330 m wide, at 20 E 10 N


def reports(*rows: tuple[float, float, float], weight: float = 0.2, floor: float = 0.3) -> Reports:
    lon, lat, inside = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    n = len(rows)
    return Reports(
        lon, lat, inside, np.full(n, 0.1), np.full(n, floor), np.full(n, 0.15), np.full(n, weight, dtype=float)
    )


def field(depth_m: float) -> PolygonField:
    return PolygonField.make([(AREA, depth_m)], "m", 0.3)


HERE = np.array([20.0]), np.array([10.0])


def test_one_report_at_the_place_by_hand() -> None:
    """Two measurements of one quantity: the weights are the inverse variances of its logarithm."""
    told = reports((20.0, 10.0, 0.95))
    after, sigma, status = ReportedField(field(0.5), told).at(*HERE)
    error = np.sqrt(np.log1p((0.1**2 + 0.15**2) / 0.2 / 1.25**2))
    gain = 0.3**2 / (0.3**2 + error**2)
    assert status.tolist() == [HIT]
    assert after[0] == pytest.approx(0.5 * (1.25 / 0.5) ** gain)
    assert sigma[0] == pytest.approx(0.3 * np.sqrt(1 - gain))
    assert 0.5 < after[0] < 0.5 + (1.25 - 0.5) / 2  # weak: the footprint keeps most of the word
    heavier, *_ = ReportedField(field(0.5), reports((20.0, 10.0, 0.95), weight=1.0)).at(*HERE)
    assert heavier[0] > after[0]


def test_far_away_nothing_changes_and_nowhere_does_it_wet_what_is_dry() -> None:
    told = reports((20.0, 10.0, 0.95), (20.5, 10.0, 1.6))  # the second home lies outside the footprint
    lit = ReportedField(field(0.5), told)
    after, sigma, status = lit.at(np.array([20.5, np.nan]), np.array([10.0, 10.0]))
    assert status[0] == OUTSIDE
    assert after.tolist() == [0.0, 0.0]
    wide = PolygonField.make([(box(-1000, -1, 1000, 2), 0.5)], "m", 0.3)
    after, *_ = ReportedField(wide, told).at(np.array([19.9]), np.array([10.0]))  # 11 km, L is half a kilometre
    assert after[0] == pytest.approx(0.5, rel=1e-6)
    assert CORRELATION_KM < 1
    assert lit.told() == {
        "n": 2, "n_used": 1, "n_agree": 0, "n_water_where_dry": 1, "n_doubtful": 0, "n_outside_grid": 0,
        "correlation_km": CORRELATION_KM,
    }  # fmt: skip
    assert sigma[0] == 0.3


def test_no_water_inside_is_an_upper_bound() -> None:
    """It lowers a footprint that has water above the floor, and says nothing to one that stays below it."""
    dry = reports((20.0, 10.0, 0.0))
    deep, _, _ = ReportedField(field(0.9), dry).at(*HERE)
    shallow, sigma, _ = ReportedField(field(0.2), dry).at(*HERE)
    assert deep[0] < 0.9
    assert (shallow[0], sigma[0]) == (0.2, 0.3)
    assert ReportedField(field(0.2), dry).told()["n_agree"] == 1


def test_what_cannot_be_is_left_out_and_told() -> None:
    wild = reports((20.0, 10.0, 25.0), weight=1.0)
    lit = ReportedField(field(0.1), wild)
    assert lit.at(*HERE)[0].tolist() == [0.1]
    assert lit.told()["n_doubtful"] == 1


def test_each_reading_has_its_own_error() -> None:
    """Two readings at one place of two errors are one of their inverse variances' mean."""
    one = np.zeros(1)
    base = {"lon": one, "lat": one, "median": np.array([1.0]), "sigma_ln": np.array([0.4]), "correlation_km": 1.0}
    both, spread, _ = condition(
        **base, sensor_lon=np.zeros(2), sensor_lat=np.zeros(2), sensor_median=np.ones(2),
        sensor_sigma_ln=np.full(2, 0.4), reading=np.array([2.0, 3.0]), error_ln=np.array([0.3, 0.6]),
    )  # fmt: skip
    w = np.array([1 / 0.3**2, 1 / 0.6**2])
    mean, error = (w @ np.log([2.0, 3.0])) / w.sum(), 1 / np.sqrt(w.sum())
    single, alone, _ = condition(
        **base, sensor_lon=one, sensor_lat=one, sensor_median=np.ones(1), sensor_sigma_ln=np.full(1, 0.4),
        reading=np.exp([mean]), error_ln=float(error),
    )  # fmt: skip
    assert both == pytest.approx(single)
    assert spread == pytest.approx(alone)


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(BadReports, match="weight"):
        reports((20.0, 10.0, 0.1), weight=0.0)
    with pytest.raises(BadReports, match="depth below 0"):
        reports((20.0, 10.0, -0.1))
