"""How strong a hazard is at a place, from polygons and grids; what lies outside; units."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from geo.field_files import footprint, polygon_field, shakemap, track
from geo.hazard import BadFootprint, read_layers
from geo.hazard_field import (
    HIT,
    NO_DATA,
    NO_PLACE,
    OUTSIDE,
    OUTSIDE_GRID,
    BadField,
    GridField,
    PolygonField,
    from_json,
    outline,
)

SQUARE = shapely.box(10.0, 50.0, 11.0, 51.0)
INNER = shapely.box(10.4, 50.4, 10.6, 50.6)
LON, LAT = np.array([10.5, 10.1, 12.0, np.nan]), np.array([50.5, 50.1, 50.5, 50.5])


def grid(**given: object) -> GridField:
    value = np.array([[1.0, 2.0], [0.0, np.nan]])
    made = {"west": 10.0, "north": 52.0, "step_lon": 1.0, "step_lat": 1.0, "smooth": False, **given}
    return GridField.make(value, str(made.pop("unit", "m")), **made)  # type: ignore[arg-type]


def test_the_strongest_polygon_counts_and_a_place_outside_is_not_hit() -> None:
    field = PolygonField.make([(SQUARE, 1.0), (INNER, 3.0), (SQUARE, 0.5)], "m")
    value, sigma, status = field.at(LON, LAT)
    assert status.tolist() == [HIT, HIT, OUTSIDE, NO_PLACE]
    assert value.tolist() == [3.0, 1.0, 0.0, 0.0]
    assert set(sigma.tolist()) == {0.3}


def test_units_are_converted_and_wrong_ones_refused() -> None:
    for unit, given, kept in (("ft", 10.0, 3.048), ("kt", 100.0, 51.444), ("km/h", 90.0, 25.0), ("%g", 30.0, 0.3)):
        field = PolygonField.make([(SQUARE, given)], unit)
        assert field.parts[0][1] == pytest.approx(kept, rel=1e-4)
    for unit, given, why in (("fathom", 1.0, "none of"), ("m", 40.0, "another unit"), ("damage_ratio", 25.0, "another unit"),
                             ("m/s", 200.0, "another unit"), ("m", -1.0, "negative"), ("g", float("nan"), "finite")):  # fmt: skip
        with pytest.raises(BadField, match=why):
            PolygonField.make([(SQUARE, given)], unit)


def test_outside_a_grid_is_unknown_and_a_cell_without_a_value_is_what_the_grid_says() -> None:
    lon, lat = np.array([10.5, 11.5, 10.5, 11.5, 9.0, np.nan]), np.array([51.5, 51.5, 50.5, 50.5, 51.5, 50.0])
    value, _, status = grid().at(lon, lat)
    assert status.tolist() == [HIT, HIT, OUTSIDE, NO_DATA, OUTSIDE_GRID, NO_PLACE]
    assert value.tolist() == [1.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    assert grid(dry_nodata=True).at(lon, lat)[2].tolist()[3] == OUTSIDE


def test_a_smooth_grid_is_bilinear_and_for_shaking_in_the_logarithm() -> None:
    value = np.array([[0.1, 0.4], [0.2, 0.8]])
    names = {"west": 10.0, "north": 52.0, "step_lon": 1.0, "step_lat": 1.0, "smooth": True}
    middle = (np.array([11.0]), np.array([51.0]))
    assert GridField.make(value, "g", **names).at(*middle)[0][0] == pytest.approx(
        np.exp(np.log(value).mean()), rel=1e-6
    )  # type: ignore[arg-type]
    assert GridField.make(value, "m", **names).at(*middle)[0][0] == pytest.approx(value.mean(), rel=1e-6)  # type: ignore[arg-type]
    corner = GridField.make(value, "m", **names).at(np.array([10.1]), np.array([51.9]))[0][0]  # type: ignore[arg-type]
    assert corner == pytest.approx(0.1)


def test_a_grid_across_the_antimeridian_is_found_from_both_sides() -> None:
    field = GridField.make(
        [[1.0, 2.0], [1.0, 2.0]], "m", west=179.0, north=1.0, step_lon=1.0, step_lat=1.0, smooth=False
    )
    value, _, status = field.at(np.array([179.5, -179.5]), np.array([0.5, 0.5]))
    assert status.tolist() == [HIT, HIT]
    assert value.tolist() == [1.0, 2.0]


def test_swapped_axes_and_empty_grids_are_refused() -> None:
    with pytest.raises(BadField, match="swapped"):
        grid(west=50.0, north=170.0)
    with pytest.raises(BadField, match="no value"):
        GridField.make([[np.nan, np.nan]] * 2, "m", west=0.0, north=1.0, step_lon=1.0, step_lat=1.0, smooth=False)
    with pytest.raises(BadField, match="nothing to publish"):
        outline(grid(), 5.0)


@pytest.mark.parametrize("sigma", [0.2, np.array([[0.1, 0.2], [0.3, 0.4]])])
def test_a_field_comes_back_from_json_and_bytes(sigma: object) -> None:
    lon, lat = np.array([10.5, 11.5]), np.array([51.5, 51.4])
    for field in (grid(sigma_ln=sigma, unit="ft"), PolygonField.make([(SQUARE, 2.0)], "m", 0.4)):
        again = from_json(json.loads(json.dumps(field.as_json())), field.blob())
        for a, b in zip(field.at(lon, lat), again.at(lon, lat), strict=True):
            assert np.array_equal(a, b)


def test_the_outline_is_the_cells_above_the_threshold() -> None:
    assert outline(grid(), 0.5).area == pytest.approx(2.0)
    assert outline(grid(), 1.5).bounds == (11.0, 51.0, 12.0, 52.0)


def feature(**properties: object) -> dict[str, object]:
    return {"type": "Feature", "properties": properties, "geometry": shapely.geometry.mapping(SQUARE)}


def test_features_carry_intensity_and_unit_or_none_of_them_does(tmp_path: Path) -> None:
    def of(features: list[dict[str, object]], unit: str | None = None) -> object:
        layers = read_layers({"type": "FeatureCollection", "features": features}, name="f", unit=unit)
        return polygon_field(layers, None, name="f")

    assert of([feature()]) is None
    field = of([feature(intensity=2), feature(arrival_min=30)], "m")
    assert isinstance(field, PolygonField)
    assert len(field.parts) == 1
    for features, why in (([feature(intensity=2)], "without its unit"),
                          ([feature(intensity=2, unit="m"), feature()], r"features\[1\].intensity: it is missing"),
                          ([feature(intensity=2, unit="m"), feature(intensity=2, unit="ft")], "one unit"),
                          ([feature(intensity="deep", unit="m")], "not a number")):  # fmt: skip
        with pytest.raises((BadField, BadFootprint), match=why):
            of(features)
    path = tmp_path / "f.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature(arrival_min=30)]}))
    with pytest.raises(BadFootprint, match="inside the hazard now"):
        footprint(path)
    # one feature without a collection around it keeps what it says
    path.write_text(json.dumps(feature(intensity=2, unit="m")))
    alone = footprint(path).field
    assert isinstance(alone, PolygonField)
    assert alone.parts[0][1] == 2.0


def test_a_track_makes_a_wind_field_and_an_ensemble_a_wider_one(tmp_path: Path) -> None:
    rows = "time,lat,lon,vmax_kt,pc_hpa,penv_hpa,rmw_nmile\n2026-09-01T00:00,-15,179.5,100,950,1008,20\n2026-09-01T06:00,-16,-179.5,100,950,1008,20\n"
    path = tmp_path / "t.csv"
    path.write_text(rows)
    field = track(path)
    assert field.unit == "m/s"
    value, sigma, status = field.at(np.array([-179.9, 179.9]), np.array([-15.5, -15.5]))
    assert status.tolist() == [HIT, HIT]
    assert (value > 20).all()
    assert sigma[0] == pytest.approx(0.1)


def test_a_shakemap_brings_its_own_sigma_and_places_outside_are_unknown(shared_data: Path) -> None:
    field = shakemap(shared_data / "cat" / "earthquake" / "shakemap_loma_prieta_1989_grid.xml.gz")
    value, sigma, status = field.at(np.array([-121.9, 0.0]), np.array([37.0, 0.0]))
    assert status.tolist() == [HIT, OUTSIDE_GRID]
    assert 0.2 < value[0] < 1.0
    assert 0 < sigma[0] < 1
