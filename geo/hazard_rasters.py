"""A hazard as a sequence of rasters with times: depth of water, or fire; needs the extra `raster` (rasterio).

A table (CSV) names them: `arrival_min`, `raster` (a file beside the table), and, the same in every line, `peril`
(flood, fire). Water closes a road from CLOSING_DEPTH_M and an underpass from any depth; fire closes wherever the raster
is above 0. Ground that a raster has closed stays closed, also where a later one shows it free: roads do not reopen
within a plan.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geo.closing import PartialLayer
from geo.hazard import WATER_PERILS, ArrivalZone, BadFootprint, Hazard
from geo.raster import BadRaster, _rasterio

PERILS = {"flood": "flood", "fire": "wildfire"}
#: More cells than this are not made into polygons.
MAX_CELLS = 50_000_000


def read_sequence(table: Path, closing_depth_m: float) -> tuple[Hazard, tuple[PartialLayer, ...]]:
    """(hazard, layers that close underpasses only); raises BadFootprint or BadRaster naming file, line and field."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFootprint(f"{table.name}: {error}") from error
    if not rows:
        raise BadFootprint(f"{table.name}: it names no raster; columns: arrival_min, raster, peril")
    steps: list[tuple[float, Path]] = []
    perils = set()
    for line, row in enumerate(rows, start=2):
        where = f"{table.name}, line {line}"
        try:
            minute = float(row["arrival_min"])
        except (KeyError, TypeError, ValueError):
            raise BadFootprint(f"{where}.arrival_min: {row.get('arrival_min')!r} is not a number") from None
        if not 0.0 <= minute <= 14 * 24 * 60:
            raise BadFootprint(f"{where}.arrival_min: {minute:g} is not within 0..20160 minutes")
        name = (row.get("raster") or "").strip()
        if not name:
            raise BadFootprint(f"{where}.raster: it is empty")
        peril = (row.get("peril") or "flood").strip()
        if peril not in PERILS:
            raise BadFootprint(f"{where}.peril: {peril!r} is not one of {', '.join(sorted(PERILS))}")
        perils.add(PERILS[peril])
        steps.append((minute, table.parent / name))
    if len(perils) > 1:
        raise BadFootprint(f"{table.name}: its rasters are of several perils: one a file")
    peril = perils.pop()
    water = peril in WATER_PERILS
    present: Any = shapely.MultiPolygon()
    zones, partial = [], []
    for minute, path in sorted(steps, key=lambda step: step[0]):
        closes = areas(path, closing_depth_m if water else 0.0, strict=not water)
        if not closes.is_empty:
            if minute > 0.0:
                zones.append(ArrivalZone(arrival_min=minute, geometry=closes))
            else:
                present = shapely.union(present, closes)
        shallow = areas(path, 0.0, strict=True) if water else shapely.MultiPolygon()
        if not shallow.is_empty:
            partial.append(PartialLayer(arrival_min=minute, geometry=shallow, only="underpass"))
    parts = shapely.multipolygons(shapely.get_parts(present)) if not present.is_empty else shapely.MultiPolygon()
    return Hazard(geometry=parts, zones=tuple(zones), peril=peril), tuple(partial)


def areas(path: Path, least: float, *, strict: bool) -> Any:
    """The ground (multipolygon, WGS 84) of cells at or above `least`, or with `strict` above it; no data is dry.

    Raises BadRaster naming the file.
    """
    rasterio = _rasterio()
    from rasterio.features import shapes

    try:
        source = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise BadRaster(f"{path.name}: {error}") from error
    with source:
        if source.crs is None:
            raise BadRaster(f"{path.name}: has no coordinate system")
        if source.count != 1:
            raise BadRaster(f"{path.name}: has {source.count} bands; intensity is one")
        if source.width * source.height > MAX_CELLS:
            raise BadRaster(f"{path.name}: {source.width * source.height:,} cells are more than {MAX_CELLS:,}")
        band = source.read(1, masked=True).astype(float).filled(np.nan)
        with np.errstate(invalid="ignore"):
            hit = band > least if strict else band >= least
        found = [shapely.geometry.shape(geometry) for geometry, value in
                 shapes(hit.astype(np.uint8), mask=hit, transform=source.transform) if value]  # fmt: skip
        if not found:
            return shapely.MultiPolygon()
        ground = shapely.union_all(found)
        if source.crs.to_epsg() != 4326:
            from pyproj import Transformer

            turn = Transformer.from_crs(source.crs.to_wkt(), "EPSG:4326", always_xy=True)
            ground = shapely.transform(ground, lambda xy: np.column_stack(turn.transform(xy[:, 0], xy[:, 1])))
        return shapely.multipolygons(shapely.get_parts(shapely.make_valid(ground)))
