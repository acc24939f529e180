"""Chinese datums against published values, slips in coordinates, the quality score."""

from pathlib import Path

import numpy as np
import pytest

from geo.chinese_datum import UnknownDatum, gcj02_to_bd09, to_wgs84, wgs84_to_gcj02
from geo.crs import geodesic_m
from geo.oed import BadRow, LocationRow, Reconciliation, read_locations
from geo.plausibility import Codes, Quality, doubtful_coordinates, doubtful_values, outside_country


def test_forward_shifts_are_the_published_ones() -> None:
    """Values of the readme of github wandergis/coordtransform for 116.404, 39.915."""
    lon, lat = np.array([116.404]), np.array([39.915])
    assert np.concatenate(wgs84_to_gcj02(lon, lat)) == pytest.approx([116.41024449916938, 39.91640428150164], abs=1e-9)
    assert np.concatenate(gcj02_to_bd09(lon, lat)) == pytest.approx([116.41036949371029, 39.92133699351021], abs=1e-9)


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
def test_there_and_back_is_the_same_place(datum: str) -> None:
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(75, 134, 500), rng.uniform(18, 53, 500)
    a, b = wgs84_to_gcj02(lon, lat)
    if datum == "bd09":
        a, b = gcj02_to_bd09(a, b)
    x, y = to_wgs84(a, b, datum)
    assert geodesic_m(lon, lat, x, y).max() < 1e-3
    assert geodesic_m(lon, lat, a, b).min() > 10  # the shift is real


def test_outside_china_gcj02_is_wgs84_and_other_datums_are_refused() -> None:
    lon, lat = to_wgs84(np.array([-0.9]), np.array([52.8]), "gcj02")
    assert (lon[0], lat[0]) == (-0.9, 52.8)
    with pytest.raises(UnknownDatum, match="nad27"):
        to_wgs84(lon, lat, "nad27")


def test_declared_gcj02_is_converted_and_the_original_kept(tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text(
        "PortNumber,AccNumber,LocNumber,CountryCode,LocPerilsCovered,LocCurrency,BuildingTIV,Longitude,Latitude\n"
        "1,A,1,CN,WTC,CNY,100,116.41024449916938,39.91640428150164\n1,A,2,CN,WTC,CNY,100,,\n"
    )
    refused: list[BadRow] = []
    first, second = next(read_locations(file, refused, Reconciliation(), datum="gcj02"))
    assert (first.lon, first.lat) == pytest.approx((116.404, 39.915), abs=1e-8)
    assert first.extra["Longitude"] == "116.41024449916938"
    assert second.lon is None
    assert not refused


@pytest.fixture
def england() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.uniform(-1.2, -0.6, 40), rng.uniform(52.5, 53.0, 40)


@pytest.mark.parametrize(
    ("lon", "lat", "told"),
    [(52.8, -0.9, "exchanged"), (-0.9, -52.8, "sign of the latitude"), (-0.9, 5.28, "decimal point of the latitude"),
     (-90.1, 52.8, "decimal point of the longitude")],
)  # fmt: skip
def test_slips_are_told(england: tuple[np.ndarray, np.ndarray], lon: float, lat: float, told: str) -> None:
    x, y = (np.append(column, value) for column, value in zip(england, (lon, lat), strict=True))
    (doubt,) = doubtful_coordinates(list(range(2, 43)), x, y, ["GB"] * 41)
    assert told in doubt.reason
    assert doubt.line == 42


def test_a_far_place_without_a_slip_is_left_alone(england: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = np.append(england[0], -57.85), np.append(england[1], -51.7)  # Stanley
    assert doubtful_coordinates(list(range(41)), x, y, ["GB"] * 41) == []
    assert doubtful_coordinates(list(range(40)), *england, ["GB"] * 40) == []
    nowhere = np.full(3, np.nan)
    assert doubtful_coordinates([1, 2, 3], nowhere, nowhere, ["GB"] * 3) == []


def test_quality_is_weighted_by_value() -> None:
    quality = Quality()
    full = {"NumberOfStoreys": "2", "YearBuilt": "1990", "PostalCode": "X"}
    row = LocationRow(2, "A", "1", 1.2345, 52.7654, "GB", 1050, 5100, 300, 0, 0, 0, "GBP", "WW1", full)
    quality.add([row, row._replace(lon=None, lat=None, occupancy_code=1000, construction_code=None, building_cents=100,
                                   extra={})])  # fmt: skip
    told = quality.as_json()
    assert (told["score"], told["score_by_value"]) == (50.0, 75.0)
    assert told["lacking"]["OccupancyCode"] == 1
    assert Quality().as_json()["score"] is None


def test_coordinates_with_few_decimals_are_worth_half() -> None:
    row = LocationRow(2, "A", "1", 1.2345, 52.7654, "GB", None, None, 100, 0, 0, 0, "GBP", "WW1", {})
    for lon, share in ((1.2345, 40.0), (1.23, 20.0), (1.2300, 20.0)):
        quality = Quality()
        quality.add([row._replace(lon=lon)])
        assert quality.as_json()["score"] == share


def test_a_whole_file_with_exchanged_axes_is_seen_by_the_country_it_names() -> None:
    lat, lon = np.linspace(-1.2, -0.8, 120), np.linspace(52.6, 52.9, 120)  # named the wrong way round
    found = outside_country(list(range(2, 122)), lon, lat, ["GB"] * 120)
    assert doubtful_coordinates(list(range(2, 122)), lon, lat, ["GB"] * 120) == []
    assert len(found) == 50  # told row by row up to there, and then counted
    assert (found[0].line, found[0].field) == (2, "Longitude")
    assert "outside GB: longitude and latitude look exchanged" in found[0].reason
    assert found[-1].reason.endswith("and so in 70 more rows below")


def test_a_place_in_another_country_is_told_and_one_on_the_coast_is_not() -> None:
    lon, lat = np.array([116.4, 1.9, -0.1, np.nan]), np.array([39.9, 51.0, 51.5, np.nan])
    (doubt,) = outside_country([2, 3, 4, 5], lon, lat, ["GB"] * 4)
    assert (doubt.line, doubt.field) == (2, "CountryCode")
    assert "far outside GB" in doubt.reason
    # a country across the antimeridian, a country of islands that the table does not have
    assert outside_country([2, 3], np.array([179.9, -179.9]), np.array([-17.0, -17.0]), ["FJ", "FJ"]) == []
    assert outside_country([2], np.array([0.0]), np.array([50.0]), ["MV"]) == []


def test_values_unlike_the_others_are_told() -> None:
    n = 12
    building = np.full(n, 10_000_000)
    contents = np.full(n, 2_500_000)
    building[3], contents[5] = 10**14, 10_000_000 * 30
    found = doubtful_values(list(range(2, 14)), building, contents, ["GBP"] * n, np.full(n, 1050))
    assert [(d.line, d.field) for d in found] == [(5, "BuildingTIV"), (7, "ContentsTIV")]
    assert "1e+07 times the median" in found[0].reason
    assert "30 times the building's value" in found[1].reason
    # a yen is no pound, machines are worth more than their hall, and four rows are no sample
    currency = ["JPY" if i == 3 else "GBP" for i in range(n)]
    assert [d.line for d in doubtful_values(list(range(2, 14)), building, contents, currency, np.full(n, 1150))] == []
    assert doubtful_values([2, 3], np.array([1, 10**12]), np.zeros(2, int), ["GBP"] * 2, np.full(2, 1050)) == []


def test_codes_that_are_none_are_told_once_with_their_count() -> None:
    row = LocationRow(2, "A", "1", 1.2, 52.7, "GB", 1050, None, 100, 0, 0, 0, "GBP", "WW1;OO1", {})
    codes = Codes()
    codes.add([row, row._replace(line=3, currency="ZZZ", perils="WW1;QQQ", country_code="ZZ")])
    codes.add([row._replace(line=9, currency="ZZZ")])
    assert [(d.line, d.field, d.reason) for d in codes.doubtful()] == [
        (3, "CountryCode", "'ZZ' is not a country code of OED"),
        (3, "LocCurrency", "'ZZZ' is not a currency of ISO 4217; and so in 1 more rows"),
        (3, "LocPerilsCovered", "'QQQ' is not an OED peril code"),
    ]
