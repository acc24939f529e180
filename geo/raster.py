"""Depths at points from a raster file; needs the extra `raster` (rasterio)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput, Unavailable
from geo.crs import WGS84

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


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


def _open(path: Path, unit: str) -> Any:
    rasterio = _rasterio()
    try:
        source = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise BadRaster(f"{path.name}: {error}") from error
    try:
        if source.crs is None:
            raise BadRaster(f"{path.name}: has no coordinate system")
        if source.count != 1:
            raise BadRaster(f"{path.name}: has {source.count} bands; depth is one")
        said = (source.units[0] or source.tags().get("units") or "").strip().lower()
        own = "ft" if said in ("ft", "feet", "foot", "us-ft") else "m" if said.startswith(("m", "met")) else ""
        if said and own and own != unit:
            raise BadRaster(f"{path.name}: --depth-unit {unit}, but the raster says its unit is {said}")
    except BadRaster:
        source.close()
        raise
    return source


def read_grid(path: Path, unit: str) -> tuple[FloatArray, float, float, float, float]:
    """(values from north to south, NaN without data; west, north, step of longitude, step of latitude).

    A raster in another coordinate system is laid over degrees of WGS84 cell by cell (nearest). Raises as `sample`.
    """
    with _open(path, unit) as source:
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
    with _open(path, unit) as source:
        band = source.read(1).astype(float)
        x, y = lon, lat
        if source.crs.to_epsg() != WGS84:
            from pyproj import Transformer

            x, y = Transformer.from_crs(WGS84, source.crs.to_wkt(), always_xy=True).transform(lon, lat)
        inverse = ~source.transform
        with np.errstate(invalid="ignore"):
            column, row = (
                np.floor(inverse.a * x + inverse.b * y + inverse.c),
                np.floor(inverse.d * x + inverse.e * y + inverse.f),
            )
            inside = (row >= 0) & (row < source.height) & (column >= 0) & (column < source.width)
        value = np.full(len(lon), np.nan)
        value[inside] = band[row[inside].astype(int), column[inside].astype(int)]
        missing = inside & (np.isnan(value) | (value == source.nodata if source.nodata is not None else False))
        value[missing] = np.nan
    return value, inside, missing
