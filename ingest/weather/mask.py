"""Masks that a satellite or a drone made (GeoTIFF, GeoJSON) as the footprint of an event.

A raster's cell is inside where it has the value, outside elsewhere, and *not known* where there is no data: the ground
that was looked at is given beside, so that what nobody saw is not taken for dry. GeoTIFF needs the extra `raster`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import Geod
from shapely.geometry import MultiPolygon, Polygon, shape
from shapely.geometry.base import BaseGeometry

from core.errors import Unavailable
from ingest.weather.items import BadFeed, a_list, an_object, read_json

MAX_CELLS = 100_000_000
MAX_BYTES = 64 * 1024 * 1024


class NoRasters(Unavailable):
    """GeoTIFF masks need `pip install tocsin[raster]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Where the hazard was seen, and where was looked; lon, lat."""

    inside: MultiPolygon
    looked_at: MultiPolygon | None  #: none: the mask does not say


def read(file: Path, *, value: float = 1.0, at_least: bool = False, min_cells: int = 4) -> Mask:
    """The mask of a file, by its name: GeoTIFF (.tif, .tiff) or GeoJSON (.geojson, .json).

    value, at_least, min_cells : of a GeoTIFF, see `from_geotiff`

    Raises BadFeed, also where nothing is inside: that is no footprint, and no sign that the hazard is over.
    """
    name = file.name.lower()
    if not file.is_file():
        raise BadFeed(f"{file}: there is no such file.")
    if name.endswith((".tif", ".tiff")):
        found = from_geotiff(file, value=value, at_least=at_least, min_cells=min_cells)
        if found.inside.is_empty:
            wanted = f"{'at least ' if at_least else ''}{value:g}"
            raise BadFeed(f"{file.name}: no patch of {min_cells} cells or more has the value {wanted}.")
        return found
    if not name.endswith((".geojson", ".json")):
        raise BadFeed(f"{file.name}: a mask is a GeoTIFF (.tif) or GeoJSON (.geojson, .json).")
    if file.stat().st_size > MAX_BYTES:
        raise BadFeed(f"{file.name}: this mask is too large.", n_bytes=file.stat().st_size, limit=MAX_BYTES)
    try:
        return from_geojson(file.read_bytes())
    except BadFeed as error:
        raise BadFeed(f"{file.name}: {error}") from error


def area_km2(area: BaseGeometry) -> float:
    """Square kilometres of an area in lon, lat degrees, on the ellipsoid of WGS 84."""
    return float(abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.orient_polygons(area))[0])) / 1e6


def polygons(area: BaseGeometry) -> MultiPolygon:
    """The polygons of an area, valid."""
    whole = area if area.is_valid else shapely.make_valid(area)
    parts = [p for p in getattr(whole, "geoms", [whole]) if isinstance(p, Polygon) and p.area > 0]
    parts += [q for p in getattr(whole, "geoms", []) if isinstance(p, MultiPolygon) for q in p.geoms]
    return MultiPolygon(parts)


def from_geojson(body: bytes) -> Mask:
    """The polygons of a GeoJSON mask (RFC 7946: lon, lat in WGS 84); raises BadFeed."""
    if len(body) > MAX_BYTES:
        raise BadFeed("This mask is too large.", n_bytes=len(body), limit=MAX_BYTES)
    document = an_object(read_json(body), "mask")
    crs = ((document.get("crs") or {}).get("properties") or {}).get("name")
    if crs is not None and not str(crs).endswith(("CRS84", ":4326")):
        raise BadFeed("A GeoJSON mask is in WGS 84.", crs=str(crs)[:60])
    if document.get("type") == "FeatureCollection":
        found = [an_object(one, "feature").get("geometry") for one in a_list(document.get("features"), "features")]
    else:
        found = [document.get("geometry") if document.get("type") == "Feature" else document]
    areas = []
    for n, one in enumerate(found):
        try:
            area = shape(one)
        except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.GEOSException) as error:
            raise BadFeed("This is no geometry.", where=f"features[{n}]") from error
        if not isinstance(area, Polygon | MultiPolygon):
            raise BadFeed("A mask is made of polygons.", where=f"features[{n}]", kind=area.geom_type)
        west, south, east, north = area.bounds
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise BadFeed("A place off the earth; GeoJSON writes longitude first.", where=f"features[{n}]")
        areas.append(area)
    if not areas:
        raise BadFeed("This mask is empty.")
    return Mask(inside=polygons(shapely.union_all(areas)), looked_at=None)


def from_geotiff(file: Path, *, value: float = 1.0, at_least: bool = False, min_cells: int = 4) -> Mask:
    """The cells of a raster that have `value` (or at least it), in patches of `min_cells` or more; raises BadFeed.

    The raster must say its coordinate system; it is turned to lon, lat.
    """
    try:
        import rasterio
        from rasterio.features import shapes, sieve
        from rasterio.warp import transform_geom
    except ImportError as error:
        raise NoRasters from error
    try:
        with rasterio.open(file) as raster:
            if raster.crs is None:
                raise BadFeed(f"{file.name}: this raster does not say its coordinate system.")
            if raster.width * raster.height > MAX_CELLS:
                raise BadFeed(f"{file.name}: this raster is too large.", n_cells=raster.width * raster.height)
            band = raster.read(1, masked=True)
            crs, transform = raster.crs, raster.transform
    except rasterio.errors.RasterioError as error:
        raise BadFeed(f"{file.name}: this is no raster: {error}"[:200]) from error
    seen = ~np.ma.getmaskarray(band) & np.isfinite(np.asarray(band.data, dtype=np.float64))
    wet = seen & ((band.data >= value) if at_least else (band.data == value))
    kept = sieve(wet.astype(np.uint8), min_cells) if min_cells > 1 else wet.astype(np.uint8)

    def area(cells: Any) -> MultiPolygon:
        found = [
            shape(transform_geom(crs, "EPSG:4326", one))
            for one, inside in shapes(cells.astype(np.uint8), mask=cells.astype(bool), transform=transform)
            if inside
        ]
        return polygons(shapely.union_all(found)) if found else MultiPolygon()

    return Mask(inside=area(kept & seen), looked_at=area(seen))


def as_json(mask: Mask) -> str:
    """The mask's polygons as GeoJSON."""
    return json.dumps(json.loads(shapely.to_geojson(mask.inside)))
