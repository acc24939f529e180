"""Depths at points from a raster of depths, or of ground and gauges; needs the extra `raster` (rasterio)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput, Unavailable
from geo.crs import WGS84
from geo.flood_damage import FOOT_M
from geo.water_surface import BadGauges, Gauges, depth_m, surface_m

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class BadRaster(InvalidInput):
    """This raster cannot be used."""


class RasterExtraMissing(Unavailable):
    """Rasters need the package rasterio; install the extra: tocsin[raster]."""


def _rasterio() -> Any:
    try:
        import rasterio
    except ImportError as error:
        raise RasterExtraMissing from error
    return rasterio


def _open(path: Path, unit: str, option: str) -> Any:
    """The raster, checked, to be closed by whoever asked; raises BadRaster, RasterExtraMissing."""
    rasterio = _rasterio()
    try:
        source = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise BadRaster(f"{path.name}: {error}") from error
    try:
        _check(source, path, unit, option)
    except BadRaster:
        source.close()
        raise
    return source


def _cells(inverse: Any, shape: tuple[int, int], x: FloatArray, y: FloatArray) -> tuple[IntArray, IntArray, BoolArray]:
    """(row, column, inside) of the cell in which each point of the raster's own system lies; 0, 0 where outside."""
    with np.errstate(invalid="ignore"):
        column = np.floor(inverse.a * x + inverse.b * y + inverse.c)
        row = np.floor(inverse.d * x + inverse.e * y + inverse.f)
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    return np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int), inside


def _check(source: Any, path: Path, unit: str, option: str) -> None:
    if source.crs is None:
        raise BadRaster(f"{path.name}: has no coordinate system")
    if source.count != 1:
        raise BadRaster(f"{path.name}: has {source.count} bands; there must be one")
    said = (source.units[0] or source.tags().get("units") or "").strip().lower()
    own = "ft" if said in ("ft", "feet", "foot", "us-ft") else "m" if said.startswith(("m", "met")) else ""
    if said and own and own != unit:
        raise BadRaster(f"{path.name}: {option} {unit}, but the raster says its unit is {said}")


def read_grid(path: Path, unit: str) -> tuple[FloatArray, float, float, float, float]:
    """(values from north to south, NaN without data; west, north, step of longitude, step of latitude).

    A raster in another coordinate system is laid over degrees of WGS84 cell by cell (nearest). Raises as `sample`.
    """
    with _open(path, unit, "--unit") as source:
        if source.crs.to_epsg() != WGS84 or source.transform.b or source.transform.d or source.transform.e > 0:
            from rasterio.vrt import WarpedVRT

            with WarpedVRT(source, crs="EPSG:4326") as laid:
                band, at = laid.read(1, masked=True), laid.transform
        else:
            band, at = source.read(1, masked=True), source.transform
    values: FloatArray = band.astype(float).filled(np.nan)
    return values, at.c, at.f, at.a, -at.e


def sample(path: Path, lon: FloatArray, lat: FloatArray, unit: str) -> tuple[FloatArray, BoolArray, BoolArray]:
    """(value, inside, nodata) of the cell each WGS84 point lies in; value is NaN outside and where there is no data.

    Raises BadRaster for a file without a coordinate system, with several bands' meaning open, or whose own unit tag
    contradicts `unit` (ft or m); RasterExtraMissing.
    """
    with _open(path, unit, "--depth-unit") as source:
        band = source.read(1).astype(float)
        x, y = lon, lat
        if source.crs.to_epsg() != WGS84:
            from pyproj import Transformer

            x, y = Transformer.from_crs(WGS84, source.crs.to_wkt(), always_xy=True).transform(lon, lat)
        row, column, inside = _cells(~source.transform, band.shape, x, y)
        value = np.where(inside, band[row, column], np.nan)
        missing = inside & (~np.isfinite(value) | (value == source.nodata if source.nodata is not None else False))
        value[missing] = np.nan
    check_depths(path, value, unit)
    return value, inside, missing


#: No flood stands deeper over the ground of buildings; a reservoir's valley behind a broken dam does not reach it.
DEEPEST_M = 100.0


def check_depths(path: Path, value: FloatArray, unit: str) -> None:
    """Raises BadRaster where depths above ground (in `unit`) are more than any flood's."""
    deepest = float(np.nanmax(value, initial=0.0))
    if deepest * (FOOT_M if unit == "ft" else 1.0) > DEEPEST_M:
        raise BadRaster(
            f"{path.name}: --depth-unit {unit}: a depth of {deepest:g} {unit} above ground is no flood: is it another "
            "unit, or the height of the water's surface?"
        )


#: Cells of a terrain that are held at once; a larger one has to be cut to the place in question.
MAX_TERRAIN_CELLS = 60_000_000


def depth_from_gauges(
    terrain: Path, unit: str, gauges: Gauges, lon: FloatArray, lat: FloatArray, reach_km: float
) -> tuple[FloatArray, BoolArray, BoolArray, dict[str, int]]:
    """(depth in m, inside, unknown, counts) at WGS84 points, from levels at gauges and a raster of the ground's height.

    Raises BadRaster, RasterExtraMissing, BadGauges.
    """
    with _open(terrain, unit, "--terrain-unit") as source:
        if source.width * source.height > MAX_TERRAIN_CELLS:
            raise BadRaster(f"{terrain.name}: {source.width} x {source.height} cells are too many; cut it to the place")
        ground = source.read(1).astype(float) * (FOOT_M if unit == "ft" else 1.0)
        if source.nodata is not None:
            ground[source.read(1) == source.nodata] = np.nan
        column, row = np.meshgrid(np.arange(source.width) + 0.5, np.arange(source.height) + 0.5)
        t, inverse = source.transform, ~source.transform
        x, y = t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f
        there: Any = lambda a, b: (a, b)  # noqa: E731
        if source.crs.to_epsg() != WGS84:
            from pyproj import Transformer

            x, y = Transformer.from_crs(source.crs.to_wkt(), WGS84, always_xy=True).transform(x, y)
            there = Transformer.from_crs(WGS84, source.crs.to_wkt(), always_xy=True).transform

    def cells(a: FloatArray, b: FloatArray) -> tuple[IntArray, IntArray, BoolArray]:
        return _cells(inverse, ground.shape, *there(a, b))

    surface = surface_m(gauges, x, y, reach_km)
    gauge_row, gauge_column, gauge_inside = cells(gauges.lon, gauges.lat)
    heard = gauge_inside & np.isfinite(gauges.level_m)
    at = [(int(gauge_row[i]), int(gauge_column[i])) for i in np.flatnonzero(heard)]
    if not at:
        raise BadGauges("gauges: none that speaks lies on the terrain")
    depth, apart, without = depth_m(ground, surface, at)
    rows, columns, inside = cells(lon, lat)
    value = np.where(inside, depth[rows, columns], np.nan)
    counts = {
        "n_gauges": len(gauges.lon),
        "n_gauges_silent": int(np.isnan(gauges.level_m).sum()),
        "n_gauges_off_terrain": int((~gauge_inside).sum()),
        "n_gauges_without_water": len(without),
        "n_points_low_but_apart": int((inside & apart[rows, columns]).sum()),
    }
    return value, inside, inside & np.isnan(value), counts
