"""The rows of warnings, of the people they are for, and of their release."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import shapely
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from alerts.alert import Alert, Recipient, Text
from alerts.audience import area_of
from alerts.level import Level, level
from alerts.lifecycle import Reason
from core.errors import NotFound
from store import queries
from store.pool import DATABASE_AWAY as DATABASE_AWAY
from store.pool import AsyncConnection
from store.queries import Row, id_array

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


class GuardRefused(Exception):
    """The database's guard of warnings said no."""


# ---------------------------------------------------------------- lists


async def first_warnings(conn: AsyncConnection, tenant_id: UUID | None = None) -> list[Row]:
    """For each station and level of its rules: when a warning of at least that level was first issued, and released.

    Rows: station (code), datastream_id, level, issued_at, released_at (none while a draft waits).
    """
    return await _rows(conn, "first_warnings", {"tenant_id": tenant_id})


async def list_warnings(conn: AsyncConnection, state: str | None = None) -> list[Row]:
    """The newest version of each warning, newest first."""
    rows = await _rows(conn, "list_warnings", {"state": state})
    return sorted(rows, key=lambda row: (row["sent_at"], str(row["warning_id"])), reverse=True)


# ---------------------------------------------------------------- people


@dataclass(frozen=True, slots=True)
class People:
    """Policyholders and where they live; arrays of equal length, degrees in EPSG:4326 (nan: no place known)."""

    ids: list[UUID]
    languages: list[str]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]

    def only(self, which: NDArray[np.bool_]) -> "People":
        """Those of them, in order."""
        at = np.flatnonzero(which).tolist()
        return People([self.ids[i] for i in at], [self.languages[i] for i in at], self.lon[which], self.lat[which])

    def __add__(self, other: "People") -> "People":
        return People(
            self.ids + other.ids,
            self.languages + other.languages,
            np.concatenate([self.lon, other.lon]),
            np.concatenate([self.lat, other.lat]),
        )


def _people(rows: list[Row]) -> People:
    return People(
        ids=[row["policyholder_id"] for row in rows],
        languages=[row["language"] for row in rows],
        lon=np.array([np.nan if row["lon"] is None else row["lon"] for row in rows], dtype=np.float64),
        lat=np.array([np.nan if row["lat"] is None else row["lat"] for row in rows], dtype=np.float64),
    )


async def people_in_box(conn: AsyncConnection, tenant_id: UUID, area: BaseGeometry) -> People:
    """Policyholders whose home lies in the bounding box of the area."""
    west, south, east, north = area.bounds
    values = {"tenant_id": tenant_id, "west": west, "south": south, "east": east, "north": north}
    return _people(await _rows(conn, "people_in_box", values))


async def people_by_id(conn: AsyncConnection, tenant_id: UUID, ids: Iterable[UUID]) -> People:
    """These policyholders."""
    return _people(await _rows(conn, "people_by_id", {"tenant_id": tenant_id, "policyholder_ids": id_array(ids)}))


async def people_told(conn: AsyncConnection, warning_id: UUID) -> set[UUID]:
    """Who was to get any released version."""
    return {row["policyholder_id"] for row in await _rows(conn, "people_told", {"warning_id": warning_id})}


async def channels_of(
    conn: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]
) -> dict[UUID, list[tuple[str, UUID]]]:
    """(channel, contact point) of each person who can be reached."""
    found: dict[UUID, list[tuple[str, UUID]]] = {}
    for row in await _rows(conn, "channels_of", {"tenant_id": tenant_id, "policyholder_ids": id_array(ids)}):
        found.setdefault(row["policyholder_id"], []).append((row["channel"], row["contact_point_id"]))
    return found


async def usual_people(conn: AsyncConnection, rule_id: UUID, warning_id: UUID | None) -> float | None:
    """The median audience of the rule's earlier warnings; None before there were three."""
    row = await _row(conn, "usual_people", {"rule_id": rule_id, "warning_id": warning_id})
    return float(row["percentile_cont"]) if row else None


async def mass_lately(conn: AsyncConnection, tenant_id: UUID, since: datetime, warning_id: UUID, n_people: int) -> int:
    """How many other warnings of the tenant went out by themselves to so many people since then."""
    values = {"tenant_id": tenant_id, "since": since, "warning_id": warning_id, "n_people": n_people}
    row = await _row(conn, "mass_lately", values)
    assert row is not None
    return int(row["n"])


async def footprints_near(
    conn: AsyncConnection, tenant_id: UUID, now: datetime
) -> list[tuple[BaseGeometry, list[tuple[float, BaseGeometry]]]]:
    """Newest footprint of each event that goes on, with its zones (minutes until arrival, polygon)."""
    rows = await _rows(conn, "footprints_near", {"tenant_id": tenant_id, "now": now})
    return [
        (
            shapely.from_wkb(bytes(row["geometry"])),
            [(float(zone["arrival_min"]), shape(zone["geometry"])) for zone in row["zones"]],
        )
        for row in rows
    ]


# ---------------------------------------------------------------- warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWarning:
    """One version as it stands in the database."""

    alert: Alert
    state: str
    n_people: int
    n_unreachable: int
    content_sha256: bytes
    approvals_needed: int
    held: Reason | None
    drafted_by: UUID | None
    released_at: datetime | None
    tenant_name: str | None = None
    tenant_settings: Mapping[str, Any] | None = None


def _stored(row: Row) -> StoredWarning:
    area, _ = area_of(row["area"])
    alert = Alert(
        **{
            name: row[name]
            for name in (
                "warning_id",
                "version",
                "tenant_id",
                "rule_id",
                "exercise",
                "status",
                "msg_type",
                "all_clear",
                "reason",
                "identifier",
                "sender",
                "sent_at",
                "onset_at",
                "expires_at",
                "area_desc",
                "event",
                "hazard_event_id",
                "severity",
                "certainty",
                "authority",
                "incident",
            )
        },
        stage=row["stage"],
        level=level(row["level"]),
        area=area,
        texts={language: Text(**text) for language, text in row["texts"].items()},
        references=tuple(row["references_"]),
    )
    return StoredWarning(
        alert=alert,
        held=Reason(row["held"]) if row["held"] else None,
        content_sha256=bytes(row["content_sha256"]),
        tenant_name=row.get("tenant_name"),
        tenant_settings=row.get("tenant_settings"),
        **{
            name: row[name]
            for name in ("state", "n_people", "n_unreachable", "approvals_needed", "drafted_by", "released_at")
        },
    )


async def lock_warning(conn: AsyncConnection, warning_id: UUID) -> list[StoredWarning]:
    """Every version, oldest first, locked until the transaction ends."""
    return [_stored(row) for row in await _rows(conn, "lock_warning", {"warning_id": warning_id})]


async def newest_sent(conn: AsyncConnection, warning_id: UUID) -> tuple[datetime | None, Level]:
    """When the newest version of a warning was drafted, and at which level; (None, NONE) before there is one."""
    row = await _row(conn, "newest_sent", {"warning_id": warning_id})
    return (row["sent_at"], level(row["level"])) if row else (None, Level.NONE)


async def read_warning(conn: AsyncConnection, warning_id: UUID, version: int) -> StoredWarning:
    """One version with its tenant's name and settings; raises NotFound."""
    row = await _row(conn, "read_warning", {"warning_id": warning_id, "version": version})
    if row is None:
        raise NotFound("There is no such version of a warning.", warning_id=str(warning_id), version=version)
    return _stored(row)


async def add_warning(
    conn: AsyncConnection,
    alert: Alert,
    recipients: Sequence[Recipient],
    *,
    state: str,
    n_people: int,
    n_unreachable: int,
    content_sha256: bytes,
    approvals_needed: int,
    held: Reason | None,
    drafted_by: UUID | None = None,
) -> None:
    """Keeps a new version and who it is for."""
    at = alert.sent_at
    await _do(
        conn,
        "add_warning",
        {
            **{
                name: getattr(alert, name)
                for name in (
                    "warning_id",
                    "version",
                    "tenant_id",
                    "rule_id",
                    "hazard_event_id",
                    "exercise",
                    "status",
                    "msg_type",
                    "all_clear",
                    "reason",
                    "identifier",
                    "sender",
                    "sent_at",
                    "onset_at",
                    "expires_at",
                    "event",
                    "severity",
                    "certainty",
                    "authority",
                    "incident",
                )
            },
            "stage": Jsonb(dict(alert.stage)),
            "level": alert.level.word,
            "state": state,
            "references_": list(alert.references),
            "area": shapely.to_wkb(alert.area) if alert.area is not None else None,
            "area_desc": Jsonb(dict(alert.area_desc)),
            "texts": Jsonb({language: asdict(text) for language, text in alert.texts.items()}),
            "n_people": n_people,
            "n_unreachable": n_unreachable,
            "content_sha256": content_sha256,
            "approvals_needed": approvals_needed,
            "held": held.value if held else None,
            "drafted_by": drafted_by,
            "drafted_at": at,
            "released_at": at if state == "released" else None,
        },
    )
    await _do(
        conn,
        "add_recipients",
        {
            "tenant_id": alert.tenant_id,
            "warning_id": alert.warning_id,
            "version": alert.version,
            "policyholder_ids": id_array(one.policyholder_id for one in recipients),
            "channels": [one.channel for one in recipients],
            "contact_point_ids": id_array(one.contact_point_id for one in recipients),
            "languages": [one.language for one in recipients],
            "priorities": [one.priority for one in recipients],
        },
    )


async def recipients(
    conn: AsyncConnection, warning_id: UUID, version: int, *, first_people: int | None = None
) -> list[Recipient]:
    """Who a version is for; of these only so many people, whom the hazard reaches first."""
    names = {"warning_id": warning_id, "version": version, "n_people": first_people}
    rows = await _rows(conn, "recipients" if first_people is None else "first_recipients", names)
    return [Recipient(**row) for row in rows]


async def leave_out(conn: AsyncConnection, warning_id: UUID, version: int, stands: Mapping[UUID, UUID]) -> None:
    """Whom a version is not told to, and the warning that stands for each of them."""
    values = {"warning_id": warning_id, "version": version, "people": list(stands), "stands": list(stands.values())}
    await _do(conn, "leave_out", values)


async def left_out(conn: AsyncConnection, warning_id: UUID, version: int) -> set[UUID]:
    """Whom a version is not told to, although it was approved for them."""
    rows = await _rows(conn, "left_out", {"warning_id": warning_id, "version": version})
    return {row["policyholder_id"] for row in rows}


async def standing_levels(conn: AsyncConnection, warning_id: UUID) -> list[str]:
    """The level of each rule that speaks through a warning, as it is now."""
    return [row["level"] for row in await _rows(conn, "standing_levels", {"warning_id": warning_id})]


async def supersede(conn: AsyncConnection, warning_id: UUID, version: int, *, released: bool) -> None:
    """A newer version replaces the drafts before it, and once it is released also what was out."""
    await _do(conn, "supersede_drafts", {"warning_id": warning_id, "version": version})
    if released:
        await _do(conn, "supersede_released", {"warning_id": warning_id, "version": version})


async def mark_released(conn: AsyncConnection, warning_id: UUID, version: int, at: datetime) -> None:
    """The draft is out; raises GuardRefused when its approvals do not suffice."""
    try:
        await _do(conn, "release_warning", {"warning_id": warning_id, "version": version, "at": at})
    except psycopg.errors.IntegrityConstraintViolation as error:
        raise GuardRefused(str(error).splitlines()[0]) from error


async def close_drafts(conn: AsyncConnection, warning_id: UUID, state: str, version: int | None = None) -> int:
    """Ends or rejects the open drafts of a warning; gives how many."""
    return await _do(conn, "close_drafts", {"warning_id": warning_id, "state": state, "version": version})


# ---------------------------------------------------------------- release


async def read_principal(conn: AsyncConnection, principal_id: UUID) -> Row | None:
    """Login, roles and whether the account is disabled, as they are now."""
    return await _row(conn, "read_principal", {"principal_id": principal_id})


async def add_approval(
    conn: AsyncConnection, warning: StoredWarning, principal_id: UUID, content_sha256: bytes, at: datetime
) -> bool:
    """Keeps an approval; False when this person had given one already."""
    values = {
        "tenant_id": warning.alert.tenant_id,
        "warning_id": warning.alert.warning_id,
        "version": warning.alert.version,
        "principal_id": principal_id,
        "content_sha256": content_sha256,
        "at": at,
    }
    return await _do(conn, "add_approval", values) == 1


async def count_approvals(conn: AsyncConnection, warning: StoredWarning) -> int:
    """Different people, none of them the author, who approved exactly this content."""
    row = await _row(
        conn,
        "count_approvals",
        {
            "warning_id": warning.alert.warning_id,
            "version": warning.alert.version,
            "content_sha256": warning.content_sha256,
            "drafted_by": warning.drafted_by,
        },
    )
    assert row is not None
    return int(row["count"])


async def add_pause(conn: AsyncConnection, scope: str, tenant_id: UUID | None, principal_id: UUID, at: datetime) -> Row:
    """Stops sending in a scope; a request to resume it is void."""
    values = {"scope": scope, "tenant_id": tenant_id, "principal_id": principal_id, "at": at}
    row = await _row(conn, "add_pause", values)
    assert row is not None
    return row


async def lock_pause(conn: AsyncConnection, scope: str) -> Row | None:
    """A stop, locked."""
    return await _row(conn, "lock_pause", {"scope": scope})


async def ask_resume(conn: AsyncConnection, scope: str, principal_id: UUID) -> None:
    """The first of two people asks to send again."""
    await _do(conn, "ask_resume", {"scope": scope, "principal_id": principal_id})


async def end_pause(conn: AsyncConnection, scope: str) -> None:
    """Sending goes on."""
    await _do(conn, "end_pause", {"scope": scope})


async def is_exercise(conn: AsyncConnection) -> bool:
    """Whether this database is for exercises."""
    row = await _row(conn, "read_installation", {})
    assert row is not None
    return bool(row["exercise"])


# ---------------------------------------------------------------- tenants


async def tenant_by_slug(conn: AsyncConnection, slug: str) -> Row:
    """`tenant_id` and `settings` of the tenant; raises NotFound."""
    row = await _row(conn, "tenant_by_slug", {"slug": slug})
    if row is None:
        raise NotFound("There is no such tenant.", tenant=slug)
    return row


async def tenant_slug(conn: AsyncConnection, tenant_id: UUID) -> str:
    """A tenant's short name, as it stands in topics."""
    row = await _row(conn, "tenant_slug", {"tenant_id": tenant_id})
    assert row is not None
    return str(row["slug"])
