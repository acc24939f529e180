"""The only SQL of ingest: stations, stored readings as the memory wants them, and a batch's rows on their way in."""

import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.json import Jsonb

from core.errors import Conflict, Unavailable
from core.ids import new_id
from core.units import quantity
from ingest.forecast.outlook import Outlook, outlook
from ingest.observation import CLOCK_SUSPECT, MICROSECOND
from ingest.series import KNOWN_DTYPE, Known
from ingest.station import PUBLIC, Station
from store import queries
from store.pool import AsyncConnection, DatabaseUnavailable

_SQL = queries.load("ingest")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: PostgreSQL counts its timestamps from 2000-01-01 in microseconds.
_PG_EPOCH_US = 946_684_800 * MICROSECOND


class AlreadyStored(Conflict):
    """A row with this key is there already."""


class ConnectionLost(Unavailable):
    """The database went away; whether the last transaction was committed is not known."""


class DoesNotFit(Unavailable):
    """The database lacks what this version needs, or refuses it the right to it: run `tocsin migrate`."""


def moment(us: int) -> datetime:
    """Microseconds since 1970 as an aware time."""
    return _EPOCH + timedelta(microseconds=us)


class errors_as_kinds:
    """Turns the driver's errors into AlreadyStored, DoesNotFit and ConnectionLost."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, psycopg.errors.UniqueViolation):
            raise AlreadyStored(table=error.diag.table_name, key=error.diag.message_detail) from error
        if isinstance(error, psycopg.ProgrammingError):
            raise DoesNotFit(reason=str(error).strip().splitlines()[:1]) from error
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | DatabaseUnavailable):
            raise ConnectionLost(reason=str(error).strip().splitlines()[-1:]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A datastream as ingest needs it."""

    datastream_id: int
    quantity: str
    interval_s: float
    thresholds: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A station as ingest needs it."""

    station_id: UUID
    tenant_id: UUID | None
    code: str
    streams: dict[str, Stream]


async def is_exercise(conn: AsyncConnection) -> bool:
    row = await (await conn.execute(_SQL["exercise"])).fetchone()
    return bool(row and row[0])


async def find_sites(conn: AsyncConnection, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Site]:
    """Stations by (tenant slug, topic segment); those that are not registered are absent."""
    found: dict[tuple[str, str], Site] = {}
    rows = await conn.execute(_SQL["sites"], {"slugs": [w[0] for w in wanted], "segments": [w[1] for w in wanted]})
    async for slug, segment, station_id, tenant_id, code, datastream_id, name, interval_s, thresholds in rows:
        site = found.setdefault(
            (slug, segment), Site(station_id=station_id, tenant_id=tenant_id, code=code, streams={})
        )
        if datastream_id is not None:
            site.streams[name] = Stream(
                datastream_id=datastream_id, quantity=name, interval_s=interval_s, thresholds=thresholds
            )
    return found


async def add_datastream(conn: AsyncConnection, station_id: UUID, name: str) -> None:
    """Makes the station's datastream of this quantity, where it has none."""
    await conn.execute(
        _SQL["add_datastream"], {"station_id": station_id, "quantity": name, "unit": quantity(name).unit}
    )


def _known(rows: Iterable[tuple[Any, ...]]) -> dict[int, Known]:
    by_stream: dict[int, list[tuple[Any, ...]]] = {}
    for ds, us, value, original, flag, tests, revision, flags_version, awaited in rows:
        by_stream.setdefault(ds, []).append(
            (
                us,
                np.nan if value is None else value,
                np.nan if original is None else original,
                flag,
                tests,
                revision,
                flags_version,
                awaited,
                0,
                np.nan,
            )
        )
    return {ds: np.array(found, dtype=KNOWN_DTYPE) for ds, found in by_stream.items()}


async def recent(conn: AsyncConnection, datastream_ids: Sequence[int], n: int) -> dict[int, Known]:
    """The newest `n` readings of each datastream whose clock was right, oldest first."""
    params = {"datastream_ids": list(datastream_ids), "n": n, "clock_suspect": int(CLOCK_SUSPECT)}
    return _known(await (await conn.execute(_SQL["recent"], params)).fetchall())


async def window(
    conn: AsyncConnection, spans: dict[int, tuple[int, int]], *, n_before: int, n_after: int
) -> dict[int, Known]:
    """Readings around each datastream's span (microseconds since 1970, both ends in it), oldest first."""
    params = {
        "datastream_ids": list(spans),
        "since": [moment(a) for a, _ in spans.values()],
        "until": [moment(b) for _, b in spans.values()],
        "n_before": n_before,
        "n_after": n_after,
        "clock_suspect": int(CLOCK_SUSPECT),
    }
    return _known(await (await conn.execute(_SQL["window"], params)).fetchall())


async def by_key(conn: AsyncConnection, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], np.void]:
    """Single stored readings by (datastream, microseconds since 1970)."""
    params = {"datastream_ids": [k[0] for k in keys], "times": [moment(k[1]) for k in keys]}
    known = _known(await (await conn.execute(_SQL["by_key"], params)).fetchall())
    return {(ds, int(row["observed_us"])): row for ds, rows in known.items() for row in rows}


async def wrong_clocks(
    conn: AsyncConnection, datastream_ids: npt.NDArray[np.int64], observed_us: npt.NDArray[np.int64], clock_suspect: int
) -> dict[tuple[int, int], int]:
    """Which of these readings are stored with a wrong clock: failed clock checks by (datastream, microseconds)."""
    times = [moment(us) for us in observed_us.tolist()]
    params = {"datastream_ids": datastream_ids.tolist(), "times": times, "clock_suspect": clock_suspect}
    rows = await fetch(conn, "wrong_clocks", params)
    return {(int(datastream_ids[n - 1]), int(observed_us[n - 1])): int(bits) for n, bits in rows}


_FIELDS = (
    ("ds", ">i8"),
    ("observed", ">i8"),
    ("value", ">f8"),
    ("quality", ">i2"),
    ("tests", ">i4"),
    ("received", ">i8"),
)


def _tuple_dtype(with_value: bool) -> np.dtype[np.void]:
    parts: list[tuple[str, str]] = [("n_fields", ">i2")]
    for name, kind in _FIELDS:
        parts.append((f"{name}_length", ">i4"))
        if name != "value" or with_value:
            parts.append((name, kind))
    return np.dtype(parts)


_WITH_VALUE, _WITHOUT_VALUE = _tuple_dtype(True), _tuple_dtype(False)
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"


def copy_buffer(
    datastream_ids: npt.NDArray[np.int64],
    observed_us: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    quality_: npt.NDArray[np.uint8],
    tests: npt.NDArray[np.int64],
    received_us: npt.NDArray[np.int64],
) -> bytes:
    """Rows of `observation` in PostgreSQL's binary COPY format (COPY, "Binary Format"); NaN becomes null."""
    missing = np.isnan(values)
    out = [_SIGNATURE]
    for which, dtype in ((~missing, _WITH_VALUE), (missing, _WITHOUT_VALUE)):
        n = int(which.sum())
        if n == 0:
            continue
        rows = np.zeros(n, dtype=dtype)
        rows["n_fields"] = len(_FIELDS)
        for name, kind in _FIELDS:
            rows[f"{name}_length"] = np.dtype(kind).itemsize
        rows["ds"] = datastream_ids[which]
        rows["observed"] = observed_us[which] - _PG_EPOCH_US
        if dtype is _WITH_VALUE:
            rows["value"] = values[which]
        else:
            rows["value_length"] = -1
        rows["quality"] = quality_[which]
        rows["tests"] = tests[which]
        rows["received"] = received_us[which] - _PG_EPOCH_US
        out.append(rows.tobytes())
    out.append(_TRAILER)
    return b"".join(out)


_LEDGER_KEY = struct.Struct(">iqiqiq")  # datastream, observed and received, each after its length
_LENGTH = struct.Struct(">i")


def ledger_buffer(
    keys: Iterable[tuple[str, str]],
    datastream_ids: Sequence[int],
    observed_us: Sequence[int],
    received_us: Sequence[int],
    *,
    numbers: Sequence[int] | None = None,
) -> bytes:
    """Rows of `ingest_ledger` in binary COPY format; with `numbers`, of its staging table, which counts its rows."""
    out = [_SIGNATURE]
    head = struct.pack(">h", 5 if numbers is None else 6)
    length, key = _LENGTH.pack, _LEDGER_KEY.pack
    for i, ((source, message_id), ds, observed, received) in enumerate(
        zip(keys, datastream_ids, observed_us, received_us, strict=True)
    ):
        a, b = source.encode(), message_id.encode()
        number = b"" if numbers is None else struct.pack(">ii", 4, numbers[i])
        out += (
            head,
            number,
            length(len(a)),
            a,
            length(len(b)),
            b,
            key(8, ds, 8, observed - _PG_EPOCH_US, 8, received - _PG_EPOCH_US),
        )
    out.append(_TRAILER)
    return b"".join(out)


async def copy_bytes(conn: AsyncConnection, name: str, buffer: bytes) -> None:
    """Runs the named binary COPY with a packed buffer."""
    async with conn.cursor() as cursor, cursor.copy(_SQL[name]) as copy:
        await copy.write(buffer)


async def copy_rows(conn: AsyncConnection, name: str, rows: Iterable[Sequence[Any]]) -> None:
    """Runs the named text COPY row by row."""
    async with conn.cursor() as cursor, cursor.copy(_SQL[name]) as copy:
        for row in rows:
            await copy.write_row(row)


async def execute(conn: AsyncConnection, name: str, params: dict[str, Any] | None = None) -> int:
    """Runs the named statement; how many rows it touched."""
    return (await conn.execute(_SQL[name], params)).rowcount


async def fetch(conn: AsyncConnection, name: str, params: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Rows of the named statement."""
    return await (await conn.execute(_SQL[name], params)).fetchall()


async def make_staging(conn: AsyncConnection) -> None:
    """The temporary tables of the staged path, once for each connection."""
    await conn.execute(_SQL["make_staging"])


async def ensure_partitions(conn: AsyncConnection, days: Sequence[str]) -> None:
    """Asks for the daily partitions of these days, where the engine has such (store/migrations)."""
    await conn.execute("SELECT ensure_reading_partitions(%s::date[])", [list(days)])


async def tenant_id(conn: AsyncConnection, slug: str) -> UUID | None:
    """A tenant's id; none for "public" or where there is no such tenant."""
    if slug == PUBLIC:
        return None
    row = await (await conn.execute(_SQL["tenant_id"], {"slug": slug})).fetchone()
    return None if row is None else row[0]


async def add_tenant(conn: AsyncConnection, slug: str, name: str) -> UUID:
    """The tenant of this slug, made where it is missing."""
    await conn.execute(_SQL["add_tenant"], {"tenant_id": new_id(), "slug": slug, "name": name})
    found = await tenant_id(conn, slug)
    assert found is not None
    return found


async def keep_station(conn: AsyncConnection, station: Station, tenant: UUID | None) -> tuple[UUID, int]:
    """Registers a station with its datastream or renews them; gives (station_id, datastream_id)."""
    try:
        rows = await fetch(
            conn,
            "keep_station",
            {
                "station_id": new_id(),
                "tenant_id": tenant,
                "code": station.code,
                "name": station.name,
                "lon": station.lon,
                "lat": station.lat,
                "river": station.river,
                "basin": station.basin,
            },
        )
    except psycopg.errors.UniqueViolation as error:
        raise AlreadyStored("Another station has the same name in a topic.", code=station.code) from error
    station_id: UUID = rows[0][0]
    rows = await fetch(
        conn,
        "keep_datastream",
        {
            "station_id": station_id,
            "tenant_id": tenant,
            "quantity": station.quantity,
            "unit": quantity(station.quantity).unit,
            "interval_s": station.interval_s,
            "thresholds": Jsonb(dict(station.thresholds)),
        },
    )
    return station_id, int(rows[0][0])


async def export_observations(
    conn: AsyncConnection,
    *,
    slug: str | None = None,
    name: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AsyncIterator[tuple[Any, ...]]:
    """(station, quantity, observed_at, value, quality, revision) of every reading as it stands, read in pieces."""
    async with conn.transaction(), conn.cursor(name="export_observations") as cursor:
        await cursor.execute(
            _SQL["export_observations"], {"slug": slug, "quantity": name, "since": since, "until": until}
        )
        cursor.itersize = 10_000
        async for row in cursor:
            yield row


async def forecast_streams(
    conn: AsyncConnection, datastream_ids: Sequence[int]
) -> list[tuple[int, UUID | None, str | None]]:
    """(datastream, tenant, basin) of those that measure water level."""
    rows = await conn.execute(_SQL["forecast_streams"], {"datastream_ids": list(datastream_ids)})
    return [(one[0], one[1], one[2]) for one in await rows.fetchall()]


async def forecast_readings(
    conn: AsyncConnection, since: dict[int, datetime], until: datetime
) -> list[tuple[int, datetime, datetime, float]]:
    """(datastream, observed, received, value) of good readings after each datastream's time, in order of time."""
    values = {"datastream_ids": list(since), "since": list(since.values()), "until": until}
    rows = await conn.execute(_SQL["forecast_readings"], values)
    return [(one[0], one[1], one[2], one[3]) for one in await rows.fetchall()]


async def keep_forecasts(conn: AsyncConnection, rows: Sequence[tuple[int, UUID | None, Outlook]]) -> None:
    """Stores forecasts; one that is there already stays as it is."""
    async with conn.cursor() as cursor:
        await cursor.executemany(
            _SQL["keep_forecasts"],
            [
                {
                    "datastream_id": datastream_id,
                    "tenant_id": tenant_id,
                    "made_at": told.made_at,
                    "known_at": told.known_at,
                    "model": told.model,
                    "value": told.value,
                    "horizons_h": list(told.horizons_h),
                    "path": list(told.path),
                    "reach": list(told.reach),
                    "taus": list(told.taus),
                    "quantiles": [one for row in told.quantiles for one in row],
                }
                for datastream_id, tenant_id, told in rows
            ],
        )


async def outlooks_since(conn: AsyncConnection, since: dict[int, datetime]) -> dict[int, list[Outlook]]:
    """What was forecast for each datastream since its time, oldest first."""
    found: dict[int, list[Outlook]] = {one: [] for one in since}
    values = {"datastream_ids": list(since), "since": list(since.values())}
    names = ("made_at", "known_at", "model", "value", "horizons_h", "path", "reach", "taus", "quantiles")
    for row in await (await conn.execute(_SQL["outlooks_since"], values)).fetchall():
        found[row[0]].append(outlook(**dict(zip(names, row[1:], strict=True))))
    return found
