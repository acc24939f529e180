"""Footprints that must be refused, each with its reason."""

import numpy as np
import pytest
import shapely

from geo.crs import LocalPlane, geodesic_m, to_wgs84
from geo.hazard import (
    ArrivalZone,
    BadFootprint,
    Hazard,
    area_km2,
    check_not_swapped,
    check_polygon,
    check_zones,
    inside,
)

SQUARE = shapely.box(10, 20, 10.1, 20.1)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [
        (shapely.Polygon(), "empty"),
        (shapely.LineString([(0, 0), (1, 1)]), "not a LineString"),
        (shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]), "Self-intersection"),
        (shapely.box(-180, -90, 180, 90), "antimeridian"),
        (shapely.box(-60, -60, 100, 60), "more than any one event"),
        (shapely.box(179, 0, 181, 1), "cut it at the antimeridian"),
        (shapely.Polygon([(179.5, 0), (-179.5, 0), (-179.5, 1), (179.5, 1)]), "not cut there"),
        (shapely.box(48, 110, 49, 111), "swapped"),
        (shapely.box(500000, 4000000, 501000, 4001000), "another coordinate system"),
        (shapely.Polygon([(0, 0), (1, 0), (float("nan"), 1)]), "not a finite number"),
    ],
)
def test_a_footprint_that_cannot_be_right_is_refused(geometry: shapely.Geometry, reason: str) -> None:
    with pytest.raises(BadFootprint, match=reason):
        check_polygon(geometry)


def test_one_that_is_cut_at_the_antimeridian_is_taken() -> None:
    fiji = shapely.MultiPolygon([shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -179, -17)])
    assert check_polygon(fiji).geom_type == "MultiPolygon"
    assert inside(fiji, np.array([179.5, -179.5, 0.0]), np.array([-17.5] * 3)).tolist() == [True, True, False]


def test_swapped_axes_within_90_degrees_are_seen_from_the_known_places() -> None:
    near = (19.9, 9.9, 20.2, 10.2)  # lon 20, lat 10
    with pytest.raises(BadFootprint, match="swapped"):
        check_not_swapped(SQUARE, near)
    check_not_swapped(shapely.transform(SQUARE, lambda xy: xy[:, ::-1]), near)
    check_not_swapped(shapely.box(50, 50, 51, 51), near)  # far away either way: may be right
    check_not_swapped(SQUARE, None)


def test_zones_are_sorted_and_each_fault_names_its_zone() -> None:
    good = check_zones(
        [ArrivalZone(arrival_min=60, geometry=SQUARE), {"arrival_min": 30, "geometry": shapely.to_geojson(SQUARE)}]
    )
    assert [zone.arrival_min for zone in good] == [30, 60]
    assert check_zones([good[0].as_json()])[0].geometry.equals(good[0].geometry)
    for zone, reason in (
        ({"geometry": shapely.to_geojson(SQUARE)}, r"zones\[0\]: arrival_min is missing"),
        ({"arrival_min": -5, "geometry": shapely.to_geojson(SQUARE)}, r"zones\[0\].arrival_min: -5"),
        ({"arrival_min": "soon", "geometry": shapely.to_geojson(SQUARE)}, "'soon' is not a number"),
        ({"arrival_min": 5, "geometry": {"type": "Polygon"}}, r"zones\[0\].geometry"),
    ):
        with pytest.raises(BadFootprint, match=reason):
            check_zones([zone])


def test_present_grows_with_the_zones_that_arrived() -> None:
    later = shapely.box(10.1, 20, 10.2, 20.1)
    hazard = Hazard(geometry=shapely.MultiPolygon([SQUARE]), zones=(ArrivalZone(arrival_min=30, geometry=later),))
    assert hazard.present(0).equals(SQUARE)
    assert hazard.present(1800).equals(shapely.union(SQUARE, later))


def test_area_of_a_degree_cell_at_the_equator() -> None:
    # Snyder (1987): a one-degree cell at the equator on the sphere of 6371.0072 km has 12,364 km2
    assert area_km2(shapely.box(0, 0, 1, 1)) == pytest.approx(12363.7, rel=1e-3)


def test_local_metres_agree_with_the_geodesic_in_both_hemispheres_and_over_the_antimeridian() -> None:
    for lon0, lat0 in ((11.0, 47.0), (-123.5, -48.9), (179.99, 5.0)):
        plane = LocalPlane(lon0, lat0)
        lon = np.array([lon0 + 0.1, lon0 - 0.05, lon0 + 0.05])
        lon = np.where(lon > 180, lon - 360, lon)
        lat = np.array([lat0 + 0.05, lat0 - 0.1, lat0])
        x, y = plane.forward(lon, lat)
        real = geodesic_m(np.full(3, lon0), np.full(3, lat0), lon, lat)
        assert np.hypot(x, y) == pytest.approx(real, rel=2e-3)
        back_lon, back_lat = plane.inverse(x, y)
        assert (back_lon + 180) % 360 == pytest.approx((lon + 180) % 360)
        assert back_lat == pytest.approx(lat)


def test_wgs84_passes_through() -> None:
    x = np.array([1.0])
    assert to_wgs84(x, x, 4326) == (x, x)
