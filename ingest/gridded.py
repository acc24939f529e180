"""Gridded forecasts of a feed: read in a process of their own, cut to an area, kept by run, and read at a place.

A file of others is taken apart by native libraries, so that happens in a child with limits on memory and time and with
nothing but the file. The newest runs stay; older ones go.
"""

import asyncio
import multiprocessing
import resource
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from core.ids import new_id
from core.units import quantity
from ingest import repository
from ingest.feeds import FeedRow
from ingest.weather import grid
from ingest.weather.grid import Grid
from ingest.weather.items import BadFeed
from store.pool import AsyncConnection

#: Values of one variable of one run that are kept: a state at 0.1 degrees for ten days, and no globe.
MAX_VALUES = 8_000_000
KEPT_RUNS = 4
_MEMORY_BYTES = 4 * 1024**3
_CPU_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One variable as the feed's option `variables` asks for it."""

    variable: str
    quantity: str
    accumulated: bool = False  #: it sums up since the start of the run


def wanted(options: Mapping[str, Any]) -> list[Wanted]:
    """What is asked for; raises BadFeed naming what is wrong."""
    told = options.get("variables")
    if not isinstance(told, Mapping) or not told:
        raise BadFeed('A grid feed needs the option variables, e.g. {"t2m": "temperature"}.')
    found = []
    for name, meant in told.items():
        how = meant if isinstance(meant, Mapping) else {"quantity": meant}
        quantity(str(how.get("quantity")))  # raises for one that is not known
        found.append(
            Wanted(variable=str(name), quantity=str(how["quantity"]), accumulated=bool(how.get("accumulated", False)))
        )
    return found


def area(options: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of the option `bbox`; raises BadFeed."""
    told = options.get("bbox")
    if told is None:
        return None
    try:
        west, south, east, north = (float(one) for one in told)
    except (TypeError, ValueError) as error:
        raise BadFeed("The option bbox is [west, south, east, north].") from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise BadFeed("The option bbox is [west, south, east, north].", bbox=list(told))
    return west, south, east, north


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


def _around(axis: grid.FloatArray, low: float, high: float) -> tuple[int, int]:
    first = max(0, int(np.searchsorted(axis, low, side="right")) - 1)
    return first, int(np.searchsorted(axis, high, side="left")) + 1


def suffix(body: bytes) -> str:
    """What kind of file this is, by its first bytes; raises BadFeed."""
    if body.startswith(b"GRIB"):
        return ".grib2"
    if body.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")):
        return ".nc"
    raise BadFeed("This is neither GRIB nor netCDF.", begins=body[:8].hex())


def _limit() -> None:
    for kind, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, _CPU_S), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (most, most))


def _read(file: Path, asked: Sequence[Wanted], box: tuple[float, float, float, float] | None) -> list[Grid]:
    return [cut(grid.read(file, one.variable, one.quantity, accumulated=one.accumulated), box) for one in asked]


async def read(body: bytes, options: Mapping[str, Any]) -> list[Grid]:
    """The grids of a body; raises BadFeed, NoGrids."""
    asked, box, ending = wanted(options), area(options), suffix(body)
    with tempfile.TemporaryDirectory(prefix="tocsin-grid-") as folder:
        file = Path(folder) / f"body{ending}"
        await asyncio.to_thread(file.write_bytes, body)
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=context, initializer=_limit)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _read, file, asked, box)
        except grid.NoGrids as error:
            raise BadFeed(error.message) from error
        except (BrokenProcessPool, MemoryError) as error:
            raise BadFeed("Reading this grid took too much time or memory.") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


async def keep(conn: AsyncConnection, feed: FeedRow, grids: Sequence[Grid], now: datetime) -> int:
    """Keeps grids that are new, as public or the feed's tenant's, and drops older runs; gives how many are new."""
    n_new = 0
    for one in grids:
        field = one.values.astype("<f4").tobytes()
        values = {
            "gridded_forecast_id": new_id(), "feed_id": feed.feed_id, "tenant_id": feed.tenant_id,
            "variable": one.variable, "quantity": one.quantity, "issued_at": one.issued_at or one.valid_at[0],
            "valid_at": list(one.valid_at), "lon": one.lon.tolist(), "lat": one.lat.tolist(),
            "field": await asyncio.to_thread(zlib.compress, field, 6), "now": now,
        }  # fmt: skip
        n_new += await repository.execute(conn, "keep_grid", values)
    await repository.execute(conn, "drop_grids", {"feed_id": feed.feed_id, "kept": KEPT_RUNS})
    return n_new


async def at(conn: AsyncConnection, feed_id: UUID, lon: float, lat: float) -> list[dict[str, Any]]:
    """The newest run of each variable at a place: its times and values, none where the grid says nothing."""
    told = []
    for row in await repository.fetch(conn, "newest_grids", {"feed_id": feed_id}):
        variable, kind, issued_at, valid_at, lons, lats, field, received_at = row
        found = Grid(
            variable=variable,
            quantity=kind,
            issued_at=issued_at,
            valid_at=tuple(valid_at),
            lon=np.asarray(lons, dtype=np.float64),
            lat=np.asarray(lats, dtype=np.float64),
            values=np.frombuffer(zlib.decompress(bytes(field)), dtype="<f4")
            .reshape(len(valid_at), len(lats), len(lons))
            .astype(np.float64),
        )
        told.append(
            {
                "variable": variable,
                "quantity": kind,
                "unit": quantity(kind).unit,
                "issued_at": issued_at.isoformat(),
                "received_at": received_at.isoformat(),
                "values": [
                    {"valid_at": when.isoformat(), "value": None if np.isnan(value) else round(float(value), 4)}
                    for when, value in zip(valid_at, found.at(lon, lat), strict=True)
                ],
            }
        )
    return told
