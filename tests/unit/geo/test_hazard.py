"""Footprints that must be refused, each with its reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from geo.crs import LocalPlane, geodesic_m, to_wgs84
from geo.hazard import (
    ArrivalZone,
    BadFootprint,
    Hazard,
    area_km2,
    at_points,
    check_not_swapped,
    check_polygon,
    check_zones,
    inside,
    read_layers,
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


def layer_document(*features: tuple[tuple[float, float, float, float], dict[str, object]]) -> dict[str, object]:
    def polygon(x0: float, y0: float, x1: float, y1: float) -> dict[str, object]:
        return {"type": "Polygon", "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]]}

    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": p, "geometry": polygon(*box)} for box, p in features],
    }


def test_points_get_the_earliest_arrival_and_the_largest_intensity() -> None:
    layers = read_layers(
        layer_document(
            ((0, 0, 1, 1), {"intensity": 1.5, "unit": "m"}),
            ((0, 0, 2, 1), {"arrival_min": 90, "intensity": 2.5, "unit": "m"}),
            ((0, 0, 3, 1), {"arrival_min": 30}),
        ),
        name="f",
    )
    within, arrival, intensity = at_points(layers, np.array([0.5, 1.5, 2.5, 3.5, np.nan]), np.full(5, 0.5))
    assert within.tolist() == [True, True, True, False, False]
    assert arrival[:3].tolist() == [0.0, 30.0, 30.0]
    assert intensity[:2].tolist() == [2.5, 2.5]
    assert np.isnan(intensity[2:]).all()


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"intensity": 2}, r"features\[0\].unit: an intensity of 2 without its unit"),
        ({"intensity": "high", "unit": "m"}, "'high' is not a number"),
        ({"arrival_min": -5}, "arrival_min: -5 is not within"),
        ({"arrival_min": "soon"}, "'soon' is not a number"),
    ],
)
def test_a_layer_that_says_nothing_is_refused(properties: dict[str, object], told: str) -> None:
    with pytest.raises(BadFootprint, match=told):
        read_layers(layer_document(((0, 0, 1, 1), properties)), name="f")


def test_one_footprint_has_one_unit() -> None:
    both = layer_document(((0, 0, 1, 1), {"intensity": 1, "unit": "m"}), ((0, 0, 1, 1), {"intensity": 3, "unit": "ft"}))
    with pytest.raises(BadFootprint, match="intensities in ft and m"):
        read_layers(both, name="f")


def test_the_command_and_swapped_axes(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from tocsin.cli import app

    (tmp_path / "f.geojson").write_text(json.dumps(layer_document(((10, 50, 11, 51), {"arrival_min": 20}))))
    (tmp_path / "p.csv").write_text("lat,lon,value\n50.5,10.5,100\n52,10.5,7\n,,3\n")

    def run(points: str) -> Any:
        arguments = ["footprint-at", str(tmp_path / "f.geojson"), "--points", str(tmp_path / points), "--json"]
        return CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "o.csv")])

    done = run("p.csv")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert (told["n_inside"], told["value_inside"], told["value_unknown"]) == (1, 100.0, 3.0)
    assert [line.split(",")[2] for line in (tmp_path / "o.csv").read_text().splitlines()[1:]] == [
        "inside", "outside", "unknown_place",
    ]  # fmt: skip
    (tmp_path / "s.csv").write_text("lat,lon,value\n10.5,50.5,100\n")
    assert "swapped" in str(run("s.csv").exception)
