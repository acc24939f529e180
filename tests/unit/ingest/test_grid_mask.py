"""Gridded forecasts and masks: places, units, and what is not known."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point, box

from ingest.weather import grid, mask
from ingest.weather.items import BadFeed


def dataset(file: Path, **units: str) -> Path:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    lon, lat = np.arange(0.0, 360.0, 10.0), np.arange(90.0, -91.0, -10.0)  # 0 to 360, falling
    x, y = np.meshgrid((lon + 180) % 360 - 180, lat)
    plane = 273.15 + 0.1 * x + 0.5 * y
    rain = np.stack([np.full_like(x, 0.001), np.full_like(x, 0.004), np.full_like(x, 0.003)])
    times = np.array(["2026-03-01T00", "2026-03-01T06", "2026-03-01T12"], dtype="datetime64[ns]")
    dims = ("time", "latitude", "longitude")
    made = xarray.Dataset(
        {"t2m": (dims, np.stack([plane, plane + 1, np.where(y > 80, np.nan, plane)]), {"units": units.get("t2m", "K")}),
         "tp": (dims, rain, {"units": "m"})},
        coords={"time": times, "latitude": lat, "longitude": lon},
    )  # fmt: skip
    made.to_netcdf(file)
    return file


def test_a_grid_is_turned_and_read_between_its_cells(tmp_path: Path) -> None:
    found = grid.read(dataset(tmp_path / "a.nc"), "t2m", "temperature")
    assert found.valid_at[1] == datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert found.lon[0] == -180
    assert list(found.lat) == sorted(found.lat)
    at = found.at(-75.5, 45.2)  # west, between cells: a plane is met exactly
    assert at[0] == pytest.approx(0.1 * -75.5 + 0.5 * 45.2, abs=1e-9)
    assert at[1] == pytest.approx(at[0] + 1)
    assert np.isnan(found.at(0.0, 85.0)[2])  # a missing cell is no value
    assert np.isnan(found.at(0.0, 91.0)).all()


def test_a_running_sum_becomes_steps(tmp_path: Path) -> None:
    found = grid.read(dataset(tmp_path / "a.nc"), "tp", "rain", accumulated=True)
    steps = found.at(10.5, 10.5)
    assert steps[:2] == pytest.approx([1.0, 3.0])  # mm
    assert np.isnan(steps[2])  # the sum fell: begun anew


def test_grids_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    file = dataset(tmp_path / "a.nc", t2m="furlong")
    with pytest.raises(BadFeed, match="unit"):
        grid.read(file, "t2m", "temperature")
    with pytest.raises(BadFeed, match="known"):
        grid.read(file, "u10", "wind_speed")
    (tmp_path / "b.nc").write_bytes(b"not a grid")
    with pytest.raises(BadFeed, match="cannot be read"):
        grid.read(tmp_path / "b.nc", "t2m", "temperature")


def test_a_geojson_mask_is_polygons_in_lon_lat() -> None:
    area = box(80.0, 6.9, 80.1, 7.0)
    found = mask.from_geojson(json.dumps(area.__geo_interface__).encode())
    assert found.inside.equals(area)
    for wrong, why in (
        ({"type": "Point", "coordinates": [1, 2]}, "polygons"),
        ({"type": "FeatureCollection", "features": []}, "empty"),
        (box(6.9, 80.0, 7.0, 100.0).__geo_interface__, "longitude first"),
        ({**area.__geo_interface__, "crs": {"properties": {"name": "EPSG:3857"}}}, "WGS 84"),
        ({"type": "Polygon"}, "geometry"),
    ):
        with pytest.raises(BadFeed, match=why):
            mask.from_geojson(json.dumps(wrong).encode())


def raster(file: Path, crs: str | None) -> Path:
    rasterio = pytest.importorskip("rasterio")
    cells = np.zeros((50, 50), dtype=np.uint8)
    cells[10:20, 10:30] = 1
    cells[40, 40] = 1  # one cell: noise
    cells[:, 45:] = 255  # no data: a cloud
    transform = rasterio.transform.from_origin(400_000, 770_000, 30, 30)
    with rasterio.open(
        file, "w", driver="GTiff", width=50, height=50, count=1, dtype="uint8", nodata=255, transform=transform, crs=crs
    ) as out:
        out.write(cells, 1)
    return file


def test_a_raster_mask_keeps_apart_dry_and_not_seen(tmp_path: Path) -> None:
    found = mask.from_geotiff(raster(tmp_path / "a.tif", "EPSG:32644"))
    pyproj = pytest.importorskip("pyproj")
    turn = pyproj.Transformer.from_crs(32644, 4326, always_xy=True).transform

    def cell(row: int, column: int) -> Point:
        return Point(turn(400_000 + 30 * (column + 0.5), 770_000 - 30 * (row + 0.5)))

    assert found.looked_at is not None
    assert found.inside.contains(cell(15, 20))
    assert not found.inside.intersects(cell(5, 5))
    assert found.looked_at.contains(cell(5, 5))  # dry
    assert not found.looked_at.intersects(cell(5, 47))  # nobody saw it
    assert not found.inside.intersects(cell(40, 40))
    area = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(found.inside)[0]
    assert abs(area) == pytest.approx(200 * 900, rel=0.005)


def test_a_mask_is_read_by_its_name_and_an_empty_one_is_no_footprint(tmp_path: Path) -> None:
    polygon = tmp_path / "a.GeoJSON"
    polygon.write_text(json.dumps(box(80.0, 6.9, 80.1, 7.0).__geo_interface__))
    assert mask.area_km2(mask.read(polygon).inside) == pytest.approx(122.2, rel=0.002)  # 11.046 km by 11.059 km
    for name, why in (("nothing.tif", "no such file"), ("a.png", "a mask is a GeoTIFF")):
        if name == "a.png":
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(BadFeed, match=why):
            mask.read(tmp_path / name)
    cells = raster(tmp_path / "a.tif", "EPSG:32644")
    assert mask.area_km2(mask.read(cells).inside) == pytest.approx(0.18, rel=0.005)
    with pytest.raises(BadFeed, match="no patch of 4 cells or more has the value 7"):
        mask.read(cells, value=7.0)


def test_a_raster_without_a_coordinate_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFeed, match="coordinate system"):
        mask.from_geotiff(raster(tmp_path / "a.tif", None))
    (tmp_path / "b.tif").write_bytes(b"no raster")
    with pytest.raises(BadFeed, match="no raster"):
        mask.from_geotiff(tmp_path / "b.tif")
