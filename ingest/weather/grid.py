"""Gridded forecasts (GRIB through cfgrib, netCDF): one field a lead time, at places. Needs the extra `gridded`.

Longitudes of 0 to 360 and latitudes that fall are turned; units are turned to stored ones. A missing cell is no value.
A sum since the start of the run (ECMWF's `tp`) becomes a sum for each step.
"""

import resource
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import Unavailable
from core.units import to_stored
from ingest.weather.items import BadFeed

FloatArray = npt.NDArray[np.float64]
#: Values of one variable of one run that are kept: a state at 0.1 degrees for ten days, and no globe.
MAX_VALUES = 8_000_000
_MEMORY_BYTES = 4 * 1024**3
_CPU_S = 1800  # over its life; one file has its own time
_LON, _LAT = ("longitude", "lon", "x"), ("latitude", "lat", "y")
#: names of one unit in CF and GRIB -> ours
_UNITS = {
    "m s**-1": "m/s", "m s-1": "m/s", "m/s": "m/s", "K": "K", "Pa": "Pa", "hPa": "hPa", "degC": "Cel",
    "m": "m", "mm": "mm", "kg m**-2": "mm", "kg m-2": "mm",
}  # fmt: skip


class NoGrids(Unavailable):
    """Gridded forecasts need `pip install tocsin[gridded]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A variable of one run."""

    variable: str
    quantity: str
    issued_at: datetime | None
    valid_at: tuple[datetime, ...]
    lon: FloatArray  #: (n_lon,) rising, in [-180, 180)
    lat: FloatArray  #: (n_lat,) rising
    values: FloatArray  #: (n_times, n_lat, n_lon) in the stored unit of `quantity`; NaN: no value

    def at(self, lon: float, lat: float) -> FloatArray:
        """(n_times,) bilinear between the four cells around; NaN where one of them has no value or off the grid."""
        if not (self.lon[0] <= lon <= self.lon[-1] and self.lat[0] <= lat <= self.lat[-1]):
            return np.full(len(self.valid_at), np.nan)
        i = min(max(int(np.searchsorted(self.lon, lon)) - 1, 0), len(self.lon) - 2)
        j = min(max(int(np.searchsorted(self.lat, lat)) - 1, 0), len(self.lat) - 2)
        u = (lon - self.lon[i]) / (self.lon[i + 1] - self.lon[i])
        v = (lat - self.lat[j]) / (self.lat[j + 1] - self.lat[j])
        z = self.values
        found: FloatArray = (
            (1 - u) * (1 - v) * z[:, j, i] + u * (1 - v) * z[:, j, i + 1]
            + (1 - u) * v * z[:, j + 1, i] + u * v * z[:, j + 1, i + 1]
        )  # fmt: skip
        return found


def read(file: Path, variable: str, quantity: str, *, accumulated: bool = False) -> Grid:
    """One variable of a GRIB or netCDF file; raises BadFeed, NoGrids."""
    try:
        import xarray
    except ImportError as error:
        raise NoGrids from error
    engine = "cfgrib" if file.suffix.lower() in (".grib", ".grb", ".grib2", ".grb2") else None
    options: dict[str, Any] = {"engine": engine, "backend_kwargs": {"indexpath": ""}} if engine else {}
    try:
        opened = xarray.open_dataset(file, **options)
    except Exception as error:  # the libraries raise whatever their parsers meet
        raise BadFeed(f"{file.name}: this grid cannot be read: {error}"[:200]) from error
    with opened as data:
        if variable not in data:
            raise BadFeed(
                "This variable is not in the grid.", variable=variable, known=sorted(map(str, data.data_vars))
            )
        field = data[variable]
        x, y = _axis(field, _LON), _axis(field, _LAT)
        times, issued = _times(data, field)
        rest = [str(name) for name in field.dims if name not in (x, y)]
        if len(rest) > 1:
            raise BadFeed("A grid has one axis of time beside its place.", axes=rest)
        values = np.asarray(field.transpose(*rest, y, x).values, dtype=np.float64)
        values = values.reshape(len(times), len(field[y]), len(field[x]))
        lon, lat = np.asarray(field[x].values, dtype=np.float64), np.asarray(field[y].values, dtype=np.float64)
        told = str(field.attrs.get("units", ""))
    unit = _UNITS.get(told)
    if unit is None:
        raise BadFeed("This unit is not read.", variable=variable, units=told[:40])
    lon = (lon + 180.0) % 360.0 - 180.0
    values = values[:, :, np.argsort(lon)][:, np.argsort(lat), :]
    if accumulated:
        values = np.diff(values, axis=0, prepend=np.zeros_like(values[:1]))
        values = np.where(values < -1e-9, np.nan, np.maximum(values, 0.0))  # a sum that falls was begun anew
    zero, one = to_stored(quantity, 0.0, unit), to_stored(quantity, 1.0, unit)
    return Grid(
        variable=variable,
        quantity=quantity,
        issued_at=issued,
        valid_at=tuple(times),
        lon=np.sort(lon),
        lat=np.sort(lat),
        values=values * (one - zero) + zero,
    )


def _axis(field: Any, names: Sequence[str]) -> str:
    found = next((name for name in names if name in field.dims), None)
    if found is None:
        raise BadFeed("A grid has axes of longitude and latitude.", axes=[str(one) for one in field.dims])
    return found


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(np.datetime64(value, "us").astype("int64") / 1e6, UTC)


def _times(data: Any, field: Any) -> tuple[list[datetime], datetime | None]:
    issued = _moment(data["time"].values) if "time" in data and data["time"].ndim == 0 else None
    for name in ("valid_time", "time"):
        if name in field.coords:
            values = np.atleast_1d(field.coords[name].values)
            if np.issubdtype(values.dtype, np.datetime64):
                return [_moment(one) for one in values], issued
    raise BadFeed("A grid says when it is valid.", axes=[str(one) for one in field.dims])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One variable as the feed's option `variables` asks for it."""

    variable: str
    quantity: str
    accumulated: bool = False  #: it sums up since the start of the run


def cut(found: Grid, box: tuple[float, float, float, float] | None) -> Grid:
    """A grid over a box, with the cells around its edge; raises BadFeed where that is too little or too much."""
    if box is not None:
        west, south, east, north = box
        x0, x1 = _around(found.lon, west, east)
        y0, y1 = _around(found.lat, south, north)
        found = replace(found, lon=found.lon[x0:x1], lat=found.lat[y0:y1], values=found.values[:, y0:y1, x0:x1])
    if len(found.lon) < 2 or len(found.lat) < 2:
        raise BadFeed("The grid does not cover the area that is asked for.", variable=found.variable)
    if found.values.size > MAX_VALUES:
        raise BadFeed("The grid is too large: name an area by the option bbox.", n=found.values.size, limit=MAX_VALUES)
    return found


def _around(axis: FloatArray, low: float, high: float) -> tuple[int, int]:
    first = max(0, int(np.searchsorted(axis, low, side="right")) - 1)
    return first, int(np.searchsorted(axis, high, side="left")) + 1


def read_wanted(
    file: Path, asked: Sequence[Wanted], box: tuple[float, float, float, float] | None = None
) -> list[Grid]:  # fmt: skip
    """The variables that are asked for, cut to a box; raises BadFeed, NoGrids."""
    return [cut(read(file, one.variable, one.quantity, accumulated=one.accumulated), box) for one in asked]


def limit() -> None:
    """Holds this process to some memory and processor time: what it reads is from others."""
    for kind, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))
