"""Gridded forecasts of a feed: read in a process of their own, cut to an area, kept by run, and read at a place.

A file of others is taken apart by native libraries, so that happens in a child with limits on memory and time and with
nothing but the file. The newest runs stay; older ones go.
"""

import asyncio
import multiprocessing
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
from ingest.weather.grid import Grid, Wanted
from ingest.weather.items import BadFeed
from store.pool import AsyncConnection

KEPT_RUNS = 4
#: For one file; what takes longer is ended.
_READ_S = 120.0

_pool: ProcessPoolExecutor | None = None  # started by the first grid, kept: it takes seconds to start


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


def suffix(body: bytes) -> str:
    """What kind of file this is, by its first bytes; raises BadFeed."""
    if body.startswith(b"GRIB"):
        return ".grib2"
    if body.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")):
        return ".nc"
    raise BadFeed("This is neither GRIB nor netCDF.", begins=body[:8].hex())


async def read(body: bytes, options: Mapping[str, Any]) -> list[Grid]:
    """The grids of a body; raises BadFeed, NoGrids."""
    asked, box, ending = wanted(options), area(options), suffix(body)
    with tempfile.TemporaryDirectory(prefix="tocsin-grid-") as folder:
        file = Path(folder) / f"body{ending}"
        await asyncio.to_thread(file.write_bytes, body)
        try:
            return await _apart(file, asked, box)
        except grid.NoGrids as error:
            raise BadFeed(error.message) from error
        except (BrokenProcessPool, MemoryError, TimeoutError) as error:
            raise BadFeed("Reading this grid took too much time or memory.") from error


async def _apart(
    file: Path, asked: Sequence[Wanted], box: tuple[float, float, float, float] | None
) -> list[Grid]:  # fmt: skip
    """Reads in the process that has limits; ends it where it does not come back."""
    global _pool
    if _pool is None:
        context = multiprocessing.get_context("spawn")
        _pool = ProcessPoolExecutor(1, mp_context=context, initializer=grid.limit)
    pool = _pool
    try:
        work = asyncio.get_running_loop().run_in_executor(pool, grid.read_wanted, file, asked, box)
        return await asyncio.wait_for(work, _READ_S)
    except (BrokenProcessPool, TimeoutError):
        _pool = None
        for process in list(pool._processes.values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


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
