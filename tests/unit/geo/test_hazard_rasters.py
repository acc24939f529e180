"""Rasters with times as a hazard: depth closes roads, shallow water underpasses, ground once closed stays so."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from geo.closing import closures
from geo.evacuate import read_hazard
from geo.hazard import BadFootprint
from geo.network import Road, build
from geo.raster import BadRaster

rasterio = pytest.importorskip("rasterio")
D = 0.001


def raster(path: Path, values: list[list[float]], *, crs: str | None = "EPSG:4326") -> None:
    band = np.array(values, dtype="float32")
    with rasterio.open(
        path, "w", driver="GTiff", height=band.shape[0], width=band.shape[1], count=1, dtype="float32", crs=crs,
        nodata=-9.0, transform=rasterio.transform.from_origin(0.0, 10 + 2 * D, D, D),
    ) as out:  # fmt: skip
        out.write(band, 1)


def test_depth_and_time_close_roads(tmp_path: Path) -> None:
    raster(tmp_path / "a.tif", [[0, 0, 0.1, -9], [0, 0, 0, 0]])
    raster(tmp_path / "b.tif", [[0, 0.5, 0.1, -9], [0, 0, 0, 0]])
    raster(tmp_path / "c.tif", [[0, 0, 0, -9], [0, 0, 0, 0.3]])  # cell 1 is dry again: it stays closed
    (tmp_path / "h.csv").write_text("arrival_min,raster\n30,b.tif\n0,a.tif\n60,c.tif\n")
    hazard, partial = read_hazard(tmp_path / "h.csv")
    assert hazard.geometry.is_empty
    assert [zone.arrival_min for zone in hazard.zones] == [30, 60]
    assert shapely.area(hazard.zones[0].geometry) == pytest.approx(D * D)
    top, low = 10 + 1.5 * D, 10 + 0.5 * D

    def road(x: float, y: float, **more: bool) -> Road:
        return Road(points=[(x * D + 0.2 * D, y), (x * D + 0.8 * D, y)], speed_kmh=36, **more)

    roads = [road(0, low), road(1, top), road(2, top), road(2, top - 0.1 * D, tunnel=True), road(3, top), road(3, low)]
    close = closures(build(roads), hazard, partial=partial).close_s / 60
    # the shallow water of minute 0 closes the underpass at once; the depth that stops a car is CLOSING_DEPTH_M
    assert close.tolist() == [np.inf, 30, np.inf, 0, np.inf, 60]


def test_another_coordinate_system_and_fire(tmp_path: Path) -> None:
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True).transform(0.5, 10.0)
    with rasterio.open(
        tmp_path / "f.tif", "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8", crs="EPSG:32631",
        transform=rasterio.transform.from_origin(x, y, 100, 100),
    ) as out:  # fmt: skip
        out.write(np.array([[1, 0], [0, 0]], dtype="uint8"), 1)
    (tmp_path / "h.csv").write_text("arrival_min,raster,peril\n0,f.tif,fire\n")
    hazard, partial = read_hazard(tmp_path / "h.csv")
    assert hazard.peril == "wildfire"
    assert partial == ()
    west, _, _, north = hazard.geometry.bounds
    assert (west, north) == pytest.approx((0.5, 10.0), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("arrival_min,raster\n", "names no raster"),
        ("arrival_min,raster\nsoon,a.tif\n", r"line 2\.arrival_min: 'soon' is not a number"),
        ("arrival_min,raster\n-5,a.tif\n", "not within 0"),
        ("arrival_min,raster\n5,\n", r"raster: it is empty"),
        ("arrival_min,raster,peril\n5,a.tif,wind\n", "'wind' is not one of fire, flood"),
        ("arrival_min,raster\n5,gone.tif\n", "gone.tif"),
        ("arrival_min,raster\n5,bare.tif\n", "has no coordinate system"),
    ],
)
def test_a_bad_table_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    raster(tmp_path / "bare.tif", [[1]], crs=None)
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises((BadFootprint, BadRaster), match=told):
        read_hazard(tmp_path / "h.csv")
