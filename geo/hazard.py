"""Where a hazard is and when it will be elsewhere: the polygons of one footprint version, checked.

A polygon that is wrong here would show the wrong people as safe, so nothing is mended in silence.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray

#: A footprint larger than this is a mistake: the widest cyclones and floods stay below (about the size of India).
MAX_AREA_KM2 = 3.0e6

#: Perils whose water passes under a bridge.
WATER_PERILS = frozenset({"flood", "river_flood", "surge", "tsunami"})


class BadFootprint(InvalidInput):
    """This is not a usable footprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalZone:
    """Ground the hazard is forecast to reach."""

    arrival_min: float  #: minutes after the footprint's valid_at, > 0
    geometry: BaseGeometry  #: polygon or multipolygon, lon and lat in degrees
    intensity: float | None = None
    unit: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As `footprint.zones` keeps it."""
        return {
            "arrival_min": self.arrival_min,
            "intensity": self.intensity,
            "unit": self.unit,
            "geometry": json.loads(shapely.to_geojson(self.geometry)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """One footprint version as the geometry that closes roads and exposes value."""

    geometry: BaseGeometry  #: multipolygon that is inside the hazard at valid_at; may be empty for an all-clear
    zones: tuple[ArrivalZone, ...] = ()
    peril: str = "flood"

    def layers(self) -> tuple[tuple[float, BaseGeometry], ...]:
        """(arrival_min, geometry), the present footprint first, ascending in time."""
        later = sorted(((z.arrival_min, z.geometry) for z in self.zones), key=lambda layer: layer[0])
        return ((0.0, self.geometry), *later)

    def present(self, now_s: float = 0.0) -> BaseGeometry:
        """What the hazard covers `now_s` seconds after valid_at: the footprint and the zones it has reached since."""
        reached = [geometry for arrival_min, geometry in self.layers() if arrival_min * 60.0 <= now_s]
        return reached[0] if len(reached) == 1 else shapely.union_all(reached) if reached else self.geometry


def check_polygon(geometry: BaseGeometry, *, field: str = "geometry") -> BaseGeometry:
    """The geometry as a multipolygon, or BadFootprint naming the field, the reason and where it goes wrong."""
    if geometry is None or geometry.is_empty:
        raise BadFootprint(f"{field}: it is empty")
    if geometry.geom_type not in ("Polygon", "MultiPolygon"):
        raise BadFootprint(f"{field}: a footprint is a Polygon or a MultiPolygon, not a {geometry.geom_type}")
    coordinates = shapely.get_coordinates(geometry)
    if not np.isfinite(coordinates).all():
        raise BadFootprint(f"{field}: a coordinate is not a finite number")
    lon_max, lat_max = np.abs(coordinates).max(axis=0)
    if lat_max > 90.0:
        swapped = lat_max <= 180.0 and lon_max <= 90.0
        hint = "; longitude and latitude look swapped" if swapped else "; is it in another coordinate system?"
        raise BadFootprint(f"{field}: latitude reaches {lat_max:g}, beyond 90{hint}")
    if lon_max > 180.0:
        raise BadFootprint(
            f"{field}: longitude reaches {lon_max:g}, beyond 180: cut it at the antimeridian (RFC 7946 section 3.1.9)"
        )
    if not geometry.is_valid:
        raise BadFootprint(f"{field}: {shapely.is_valid_reason(geometry)}")
    parts = shapely.get_parts(geometry)
    for part in parts:
        west, south, east, north = part.bounds
        if east - west > 180.0:
            raise BadFootprint(
                f"{field}: a part spans {east - west:.0f} degrees of longitude: it crosses the antimeridian and is "
                "not cut there (RFC 7946 section 3.1.9)"
            )
        if (east - west) * (north - south) == 0.0:
            raise BadFootprint(f"{field}: a part has no area")
    if area_km2(geometry) > MAX_AREA_KM2:
        raise BadFootprint(f"{field}: it covers {area_km2(geometry):.3g} km2, more than any one event can")
    return shapely.multipolygons(parts)


def check_not_swapped(geometry: BaseGeometry, near: tuple[float, float, float, float] | None) -> None:
    """Refuses a footprint that misses everything known of this event while its mirror image hits it.

    `near` is (west, south, east, north) of the places that this event can concern: stations, locations, roads.
    Axes swapped between -90 and 90 cannot be seen from the footprint alone.
    """
    if near is None:
        return
    box = shapely.box(*near)
    if geometry.intersects(box):
        return
    mirrored = shapely.transform(geometry, lambda xy: xy[:, ::-1])
    if mirrored.intersects(box):
        raise BadFootprint("geometry: longitude and latitude are swapped: turned round, it lies over the known places")


def area_km2(geometry: BaseGeometry) -> float:
    """Area on the sphere of equal area, in km2 (cylindrical equal-area projection, Snyder 1987, eq. 10-1)."""
    radius_km = 6371.0072

    def project(xy: FloatArray) -> FloatArray:
        return np.column_stack([np.radians(xy[:, 0]) * radius_km, np.sin(np.radians(xy[:, 1])) * radius_km])

    return float(shapely.area(shapely.transform(geometry, project)))


def check_zones(zones: Iterable[Mapping[str, Any] | ArrivalZone]) -> tuple[ArrivalZone, ...]:
    """Arrival zones, ascending in time; raises BadFootprint naming the zone and the field."""
    checked = []
    for index, zone in enumerate(zones):
        where = f"zones[{index}]"
        if isinstance(zone, ArrivalZone):
            arrival, raw, intensity, unit = zone.arrival_min, zone.geometry, zone.intensity, zone.unit
        else:
            try:
                arrival, raw = float(zone["arrival_min"]), zone["geometry"]
            except KeyError as error:
                raise BadFootprint(f"{where}: {error.args[0]} is missing") from error
            except (TypeError, ValueError) as error:
                raise BadFootprint(f"{where}.arrival_min: {zone['arrival_min']!r} is not a number") from error
            intensity, unit = zone.get("intensity"), zone.get("unit")
            raw = from_geojson(raw, field=f"{where}.geometry")
        if not (0.0 < arrival <= 14 * 24 * 60):
            raise BadFootprint(f"{where}.arrival_min: {arrival:g} is not within 0..20160 minutes, 0 excluded")
        geometry = check_polygon(raw, field=f"{where}.geometry")
        checked.append(ArrivalZone(arrival_min=arrival, geometry=geometry, intensity=intensity, unit=unit))
    return tuple(sorted(checked, key=lambda zone: zone.arrival_min))


def from_geojson(value: object, *, field: str = "geometry") -> BaseGeometry:
    """A geometry from a GeoJSON object or text; raises BadFootprint."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        geometry = shapely.from_geojson(text)
    except shapely.errors.GEOSException as error:
        raise BadFootprint(f"{field}: not GeoJSON: {error}") from error
    if geometry is None:
        raise BadFootprint(f"{field}: it is empty")
    return geometry


def inside(geometry: BaseGeometry, lon: FloatArray, lat: FloatArray) -> BoolArray:
    """(n,) True where a point is in the geometry or on its edge; NaN gives False."""
    hit: BoolArray = np.zeros(len(lon), dtype=bool)
    for part in shapely.get_parts(geometry):
        west, south, east, north = part.bounds
        with np.errstate(invalid="ignore"):
            near = np.flatnonzero((lon >= west) & (lon <= east) & (lat >= south) & (lat <= north) & ~hit)
        if len(near):
            shapely.prepare(part)
            hit[near] = shapely.intersects_xy(part, lon[near], lat[near])
    return hit


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A polygon with what it says: when the hazard is there, or how strong it is, or both."""

    geometry: BaseGeometry
    arrival_min: float = 0.0  #: minutes after the footprint's time; 0: now
    intensity: float | None = None
    unit: str | None = None
    number: int = 0  #: of its feature in the document, for people
    given: Mapping[str, Any] = field(default_factory=dict)  #: all properties of its feature


def read_layers(document: object, *, name: str, unit: str | None = None) -> list[Layer]:
    """Checked layers of a GeoJSON document: features with arrival_min, or intensity and unit, or neither (inside now).

    A collection, one feature, or one geometry. `unit` is that of intensities that carry none. Raises BadFootprint
    naming the feature and the field. One document has one unit.
    """
    if not isinstance(document, dict):
        raise BadFootprint(f"{name}: it is not GeoJSON")
    features = [document] if document.get("type") == "Feature" else document.get("features")
    if features is None:
        features = [{"geometry": document, "properties": {}}]
    found: list[Layer] = []
    for number, feature in enumerate(features):
        where = f"{name}: features[{number}]"
        if not isinstance(feature, dict):
            raise BadFootprint(f"{where}: it is not a feature")
        given = feature.get("properties") or {}
        polygon = check_polygon(
            from_geojson(feature.get("geometry"), field=f"{where}.geometry"), field=f"{where}.geometry"
        )
        arrival = _number(given, "arrival_min", where) or 0.0
        if not 0.0 <= arrival <= 14 * 24 * 60:
            raise BadFootprint(f"{where}.arrival_min: {arrival:g} is not within 0..20160 minutes")
        intensity = _number(given, "intensity", where)
        own = str(given.get("unit") or "").strip() or unit
        if intensity is not None and own is None:
            raise BadFootprint(f"{where}.unit: an intensity of {intensity:g} without its unit says nothing")
        found.append(
            Layer(geometry=polygon, arrival_min=arrival, intensity=intensity, unit=own, number=number, given=given)
        )
    if not found:
        raise BadFootprint(f"{name}: there are no polygons in it")
    units = sorted({layer.unit for layer in found if layer.intensity is not None and layer.unit})
    if len(units) > 1:
        raise BadFootprint(f"{name}: intensities in {' and '.join(units)}: one footprint has one unit")
    return found


def _number(given: Mapping[str, Any], name: str, where: str) -> float | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadFootprint(f"{where}.{name}: {value!r} is not a number") from None
    if not np.isfinite(number):
        raise BadFootprint(f"{where}.{name}: {value!r} is not a finite number")
    return number


def at_points(layers: Iterable[Layer], lon: FloatArray, lat: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray]:
    """(inside any, earliest arrival in minutes, largest intensity) of each point; NaN where no layer says it.

    A point without a place (NaN) is inside nothing here: the caller tells it as unknown.
    """
    within = np.zeros(len(lon), dtype=bool)
    arrival, intensity = np.full(len(lon), np.nan), np.full(len(lon), np.nan)
    for layer in layers:
        hit = inside(layer.geometry, lon, lat)
        within |= hit
        arrival[hit] = np.fmin(arrival[hit], layer.arrival_min)
        if layer.intensity is not None:
            intensity[hit] = np.fmax(intensity[hit], layer.intensity)
    return within, arrival, intensity
