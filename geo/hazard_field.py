"""How strong a hazard is at a place: polygons that carry an intensity, or a grid, and what lies outside is told apart.

A place outside the polygons is not hit. A place outside a grid is unknown: nobody computed anything there.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from geo.crs import FloatArray
from geo.hazard import check_polygon, from_geojson, inside
from geo.reasons import tell

#: Units of an intensity: what is kept, and the factor from what may be given.
UNITS: dict[str, tuple[str, float]] = {
    "m": ("m", 1.0), "ft": ("m", 0.3048), "m/s": ("m/s", 1.0), "kt": ("m/s", 1852 / 3600), "km/h": ("m/s", 1 / 3.6),
    "mph": ("m/s", 0.44704), "g": ("g", 1.0), "%g": ("g", 0.01), "damage_ratio": ("damage_ratio", 1.0),
}  # fmt: skip
#: Above this an intensity is in another unit than it says, or wrong.
LARGEST = {"m": 30.0, "m/s": 120.0, "g": 5.0, "damage_ratio": 1.0}
#: Standard deviation of the logarithm where a footprint carries none: assumptions, see docs/methods/loss.md.
SIGMA_LN = {"m": 0.3, "m/s": 0.1, "g": 0.5, "damage_ratio": 0.0}
#: OED perils of the words that hazard events use; what is not here has no curve and no peril filter.
OED_PERIL = {
    "flood": "ORF", "river_flood": "ORF", "flash_flood": "OSF", "surge": "WSS", "tsunami": "QTS", "wind": "WTC",
    "cyclone": "WTC", "tropical_cyclone": "WTC", "hurricane": "WTC", "typhoon": "WTC", "storm": "WEC",
    "windstorm": "WEC", "earthquake": "QEQ", "wildfire": "BBF", "hail": "XHL", "landslide": "MNT",
}  # fmt: skip
MAX_GRID_CELLS = 25_000_000

IntStatus = npt.NDArray[np.int8]
OUTSIDE, HIT, NO_PLACE, OUTSIDE_GRID, NO_DATA = 0, 1, 2, 3, 4
REASONS = {NO_PLACE: tell("no_place"), OUTSIDE_GRID: tell("outside_grid"), NO_DATA: tell("no_data")}


class BadField(InvalidInput):
    """This hazard field cannot be used."""


def unit_of(unit: str, *, field: str = "unit") -> tuple[str, float]:
    """(unit kept, factor to it); raises BadField for an unknown one."""
    found = UNITS.get(unit.strip().lower() if unit.strip().lower() in UNITS else unit.strip())
    if found is None:
        raise BadField(f"{field}: {unit!r} is none of {', '.join(UNITS)}")
    return found


def _check(values: FloatArray, unit: str, field: str) -> None:
    known = values[np.isfinite(values)]
    if len(known) and known.min() < 0 and unit != "m":
        raise BadField(f"{field}: {known.min():g} {unit} is negative")
    if len(known) and known.max() > LARGEST[unit]:
        raise BadField(f"{field}: {known.max():g} {unit} is more than any event reaches: is it in another unit?")


@dataclass(frozen=True)
class PolygonField:
    """Polygons with an intensity each; where they overlap the strongest counts."""

    unit: str
    parts: tuple[tuple[BaseGeometry, float], ...]
    sigma_ln: float

    @classmethod
    def make(
        cls, parts: Iterable[tuple[BaseGeometry, float]], unit: str, sigma_ln: float | None = None
    ) -> "PolygonField":
        """Checks and converts; raises BadField."""
        kept, factor = unit_of(unit)
        made = []
        for number, (geometry, intensity) in enumerate(parts):
            where = f"intensity[{number}]"
            if not np.isfinite(intensity) or intensity < 0:
                raise BadField(f"{where}: {intensity!r} is negative or not a finite number")
            _check(np.array([intensity * factor]), kept, where)
            made.append((check_polygon(geometry, field=where), intensity * factor))
        if not made:
            raise BadField("there is no polygon with an intensity")
        return cls(kept, tuple(made), _sigma(sigma_ln, kept))

    def at(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int8]]:
        """(intensity, sigma of its logarithm, status), each (n,)."""
        value = np.full(len(lon), np.nan)
        for geometry, intensity in self.parts:
            hit = inside(geometry, lon, lat)
            value[hit] = np.fmax(value[hit], intensity)
        status = np.where(np.isfinite(value) & (value > 0), HIT, OUTSIDE).astype(np.int8)
        status[~(np.isfinite(lon) & np.isfinite(lat))] = NO_PLACE
        return np.where(status == HIT, value, 0.0), np.full(len(lon), self.sigma_ln), status

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": "polygons", "unit": self.unit, "sigma_ln": self.sigma_ln,
            "parts": [{"intensity": v, "geometry": shapely.geometry.mapping(g)} for g, v in self.parts],
        }  # fmt: skip

    def blob(self) -> bytes | None:
        """What does not go into JSON."""
        return None


def _sigma(given: float | None, unit: str) -> float:
    sigma = SIGMA_LN[unit] if given is None else float(given)
    if not 0 <= sigma <= 3:
        raise BadField(f"sigma_ln: {sigma:g} is not within 0..3")
    return sigma


@dataclass(frozen=True)
class GridField:
    """A regular grid of degrees (WGS84): values at cell centres, rows from north to south. NaN is no value."""

    unit: str
    west: float  #: of the western cell edge
    north: float  #: of the northern cell edge
    step_lon: float
    step_lat: float
    value: npt.NDArray[np.float32]  #: (n_lat, n_lon)
    sigma_ln: float | npt.NDArray[np.float32]  #: one for all, or (n_lat, n_lon)
    smooth: bool  #: bilinear (in the logarithm for g); else the cell's value
    dry_nodata: bool = False  #: a cell without a value is not hit (depth rasters), and not unknown

    @classmethod
    def make(
        cls,
        value: npt.ArrayLike,
        unit: str,
        *,
        west: float,
        north: float,
        step_lon: float,
        step_lat: float,
        sigma_ln: float | npt.ArrayLike | None = None,
        smooth: bool,
        dry_nodata: bool = False,
    ) -> "GridField":
        """Checks and converts; raises BadField."""
        kept, factor = unit_of(unit)
        grid = np.asarray(value, dtype=np.float32) * np.float32(factor)
        if grid.ndim != 2 or min(grid.shape) < 2:
            raise BadField(f"grid: {grid.shape} is no grid of at least 2 by 2 cells")
        if grid.size > MAX_GRID_CELLS:
            raise BadField(f"grid: {grid.size:,} cells are more than {MAX_GRID_CELLS:,}; make it coarser or smaller")
        if not (step_lon > 0 and step_lat > 0):
            raise BadField("grid: its steps are not positive degrees")
        south, east = north - step_lat * grid.shape[0], west + step_lon * grid.shape[1]
        if not (south >= -90.001 and north <= 90.001 and west >= -180.001 and east <= 540.001):
            raise BadField(f"grid: it reaches from {west:g}, {south:g} to {east:g}, {north:g}: are its axes swapped?")
        if not np.isfinite(grid).any():
            raise BadField("grid: it has no value")
        _check(grid[np.isfinite(grid)].astype(float), kept, "grid")
        sigma: float | npt.NDArray[np.float32]
        if sigma_ln is None or np.ndim(sigma_ln) == 0:
            sigma = _sigma(None if sigma_ln is None else float(sigma_ln), kept)  # type: ignore[arg-type]
        else:
            sigma = np.asarray(sigma_ln, dtype=np.float32)
            if sigma.shape != grid.shape:
                raise BadField("sigma_ln: it has another shape than the grid")
            sigma = np.clip(np.where(np.isfinite(sigma), sigma, np.float32(SIGMA_LN[kept])), 0.0, 3.0)
        return cls(kept, west, north, step_lon, step_lat, grid, sigma, smooth, dry_nodata)

    def at(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int8]]:
        """(intensity, sigma of its logarithm, status), each (n,)."""
        n_lat, n_lon = self.value.shape
        placed = np.isfinite(lon) & np.isfinite(lat)
        x = np.where(placed, lon, self.west)
        x = np.where(x < self.west - 1e-12, x + 360.0, x)
        column = (x - self.west) / self.step_lon
        row = (self.north - np.where(placed, lat, self.north)) / self.step_lat
        within = placed & (column >= 0) & (column <= n_lon) & (row >= 0) & (row <= n_lat)
        i = np.clip(np.where(within, row, 0).astype(np.int64), 0, n_lat - 1)
        j = np.clip(np.where(within, column, 0).astype(np.int64), 0, n_lon - 1)
        value = self.value[i, j].astype(np.float64)
        if self.smooth:
            value = self._between(np.where(within, row, 0.5) - 0.5, np.where(within, column, 0.5) - 0.5)
        sigma = np.full(len(lon), self.sigma_ln) if isinstance(self.sigma_ln, float) else self.sigma_ln[i, j]
        status = np.where(value > 0, HIT, OUTSIDE).astype(np.int8)
        status[~np.isfinite(value)] = OUTSIDE if self.dry_nodata else NO_DATA
        status[~within] = OUTSIDE_GRID
        status[~placed] = NO_PLACE
        return np.where(status == HIT, value, 0.0), sigma.astype(np.float64), status

    def _between(self, row: FloatArray, column: FloatArray) -> FloatArray:
        """Bilinear between cell centres, flat in the outer half cells; NaN where one of the four is."""
        n_lat, n_lon = self.value.shape
        r, c = np.clip(row, 0, n_lat - 1), np.clip(column, 0, n_lon - 1)
        i, j = np.minimum(r.astype(np.int64), n_lat - 2), np.minimum(c.astype(np.int64), n_lon - 2)
        v, u = r - i, c - j
        grid = self.value
        if self.unit == "g":
            with np.errstate(divide="ignore"):
                grid = np.log(grid)
        corners = [grid[i + a, j + b].astype(np.float64) for a in (0, 1) for b in (0, 1)]
        weights = [(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u]
        with np.errstate(invalid="ignore"):
            parts = [np.where(w > 0, x * w, 0.0) for x, w in zip(corners, weights, strict=True)]
            found: FloatArray = parts[0] + parts[1] + parts[2] + parts[3]
        return np.exp(found) if self.unit == "g" else found

    def as_json(self) -> dict[str, Any]:
        single = isinstance(self.sigma_ln, float)
        return {
            "kind": "grid", "unit": self.unit, "west": self.west, "north": self.north, "step_lon": self.step_lon,
            "step_lat": self.step_lat, "n_lat": self.value.shape[0], "n_lon": self.value.shape[1],
            "sigma_ln": self.sigma_ln if single else None, "smooth": self.smooth, "dry_nodata": self.dry_nodata,
        }  # fmt: skip

    def blob(self) -> bytes | None:
        """Values, and sigmas where they differ, as little-endian float32, compressed."""
        raw = self.value.astype("<f4").tobytes()
        if not isinstance(self.sigma_ln, float):
            raw += self.sigma_ln.astype("<f4").tobytes()
        return zlib.compress(raw, 6)


HazardField = PolygonField | GridField


def from_json(document: Mapping[str, Any], blob: bytes | None) -> HazardField:
    """A field as `as_json` and `blob` gave it."""
    if document["kind"] == "polygons":
        parts = tuple((from_geojson(p["geometry"]), float(p["intensity"])) for p in document["parts"])
        return PolygonField(document["unit"], parts, float(document["sigma_ln"]))
    shape = (document["n_lat"], document["n_lon"])
    n = shape[0] * shape[1]
    values = np.frombuffer(zlib.decompress(blob or b""), dtype="<f4")
    sigma = document["sigma_ln"]
    return GridField(
        document["unit"], document["west"], document["north"], document["step_lon"], document["step_lat"],
        values[:n].reshape(shape), float(sigma) if sigma is not None else values[n:].reshape(shape),
        document["smooth"], document["dry_nodata"],
    )  # fmt: skip


def outline(field: GridField, threshold: float) -> BaseGeometry:
    """The cells whose value is above `threshold`, as a multipolygon: what the hazard covers. Or BadField."""
    hit = np.nan_to_num(field.value) > threshold
    if not hit.any():
        raise BadField(f"grid: no cell is above {threshold:g} {field.unit}: there is nothing to publish")
    boxes = []
    for i in range(hit.shape[0]):
        edges = np.flatnonzero(np.diff(np.r_[0, hit[i].astype(np.int8), 0]))
        north = field.north - i * field.step_lat
        for a, b in edges.reshape(-1, 2):
            boxes.append((field.west + a * field.step_lon, north - field.step_lat,
                          field.west + b * field.step_lon, north))  # fmt: skip
    xy = np.array(boxes)
    return check_polygon(shapely.union_all(shapely.box(xy[:, 0], xy[:, 1], xy[:, 2], xy[:, 3])))
