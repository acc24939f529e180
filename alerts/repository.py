"""The rows of rules, warnings, deliveries and answers: the only part of this room that speaks SQL."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import shapely
from numpy.typing import NDArray
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from alerts import lifecycle
from alerts.alert import Alert, Recipient, Text
from alerts.audience import area_of
from alerts.level import Level, level
from alerts.lifecycle import Decision, LifecycleState, Reason
from alerts.quorum import Domains
from alerts.rule import LevelRule, Reading, definition, from_definition
from core.errors import NotFound
from core.ids import new_id
from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("alerts")
Row = dict[str, Any]

#: What a database that went away raises.
DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


class GuardRefused(Exception):
    """The database's guard of warnings said no."""


async def _rows(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[Row]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL[name], values)
        return await cursor.fetchall()


async def _row(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> Row | None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_SQL[name], values)
        return await cursor.fetchone()


async def _do(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> int:
    return (await conn.execute(_SQL[name], values)).rowcount


# ---------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRule:
    """A rule in force, what it warns, and where its lifecycle stands; its state's row is locked."""

    rule: LevelRule
    area: BaseGeometry | None
    area_fault: Reason | None
    area_desc: Mapping[str, str]
    state: LifecycleState
    warning_id: UUID | None
    tenant_slug: str
    tenant_name: str
    tenant_settings: Mapping[str, Any]
    station_name: str


async def save_rule(
    conn: AsyncConnection,
    rule: LevelRule,
    *,
    area: BaseGeometry | None,
    area_desc: Mapping[str, str],
    effective_from: datetime,
) -> int:
    """Keeps a rule, in force from `effective_from`, and gives its version; saving the same again changes nothing.

    `area` is a polygon in EPSG:4326 (none: nobody is warned and every draft is held). Readings received before
    `effective_from` are not judged: a replay starts its rules at its first arrival.
    """
    row = await (
        await conn.execute(
            _SQL["save_rule"],
            {
                "rule_id": rule.rule_id,
                "tenant_id": rule.tenant_id,
                "code": rule.code,
                "datastream_id": rule.datastream_id,
                "definition": Jsonb(definition(rule)),
                "area": shapely.to_wkb(area) if area is not None else None,
                "area_desc": Jsonb(dict(area_desc)),
                "effective_from": effective_from,
            },
        )
    ).fetchone()
    assert row is not None
    state = LifecycleState(evaluated_until=effective_from)
    await _do(
        conn,
        "start_rule_state",
        {
            "rule_id": rule.rule_id,
            "tenant_id": rule.tenant_id,
            "state": Jsonb(lifecycle.to_json(state)),
            "updated_at": effective_from,
        },
    )
    return int(row[0])


async def withdraw_rule(conn: AsyncConnection, rule_id: UUID, at: datetime) -> None:
    """The rule judges nothing any more from `at`."""
    await _do(conn, "withdraw_rule", {"rule_id": rule_id, "at": at})


async def live_rules(conn: AsyncConnection, datastream_ids: Sequence[int], now: datetime) -> list[LiveRule]:
    """Rules in force at `now` for these datastreams, locked in an order that cannot deadlock."""
    rows = await _rows(conn, "rules_of_datastreams", {"datastream_ids": list(datastream_ids), "now": now})
    return [_live_rule(row) for row in rows]


async def open_rules(conn: AsyncConnection, now: datetime) -> list[LiveRule]:
    """Rules whose warning is open or awaits confirmation; those that another worker holds are left to it."""
    return [_live_rule(row) for row in await _rows(conn, "rules_with_something_open", {"now": now})]


def _live_rule(row: Row) -> LiveRule:
    area, fault = area_of(row["area"])
    rule = from_definition(
        **{name: row[name] for name in ("rule_id", "version", "tenant_id", "code", "datastream_id", "definition")}
    )
    state = lifecycle.from_json(row["state"])
    if state.open:
        state = replace(state, live_until=row["live_until"])
    return LiveRule(
        rule=rule,
        area=area,
        area_fault=fault,
        area_desc=row["area_desc"],
        state=state,
        warning_id=row["warning_id"],
        tenant_slug=row["slug"],
        tenant_name=row["tenant_name"],
        tenant_settings=row["tenant_settings"],
        station_name=row["station_name"],
    )


async def readings_since(conn: AsyncConnection, since: Mapping[int, datetime]) -> dict[int, list[Reading]]:
    """Every version of each reading since a time of its datastream."""
    found: dict[int, list[Reading]] = {datastream_id: [] for datastream_id in since}
    rows = await (
        await conn.execute(_SQL["readings_since"], {"datastream_ids": list(since), "since": list(since.values())})
    ).fetchall()
    for datastream_id, observed_at, received_at, value, quality, revision, flags_version in rows:
        found[datastream_id].append(
            Reading(
                observed_at=observed_at,
                received_at=received_at,
                value=value,
                quality=quality,
                revision=revision,
                flags_version=flags_version,
            )
        )
    return found


async def save_states(
    conn: AsyncConnection, states: Sequence[tuple[UUID, LifecycleState, UUID | None]], at: datetime
) -> None:
    """Where these rules stand now."""
    if states:
        await _do(
            conn,
            "save_rule_states",
            {
                "rule_ids": [rule_id for rule_id, _, _ in states],
                "states": [Jsonb(lifecycle.to_json(state)) for _, state, _ in states],
                "warning_ids": [warning_id for _, _, warning_id in states],
                "at": at,
            },
        )


async def save_decision(
    conn: AsyncConnection,
    *,
    tenant_id: UUID,
    rule_id: UUID,
    decision: Decision,
    warning_id: UUID | None,
    version: int | None,
) -> None:
    """Keeps one decision and its reason."""
    detail: dict[str, Any] = {"operator": decision.operator, **decision.detail}
    if decision.value is not None:
        detail["value"] = decision.value
    if decision.reading_at is not None:
        detail["reading_at"] = decision.reading_at.isoformat()
    await _do(
        conn,
        "save_decision",
        {
            "decision_id": new_id(),
            "tenant_id": tenant_id,
            "rule_id": rule_id,
            "at": decision.at,
            "reason": decision.reason.value,
            "level_before": decision.before.word,
            "level_after": decision.after.word,
            "warning_id": warning_id,
            "version": version,
            "detail": Jsonb(detail),
        },
    )


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
    return _people(await _rows(conn, "people_by_id", {"tenant_id": tenant_id, "policyholder_ids": list(ids)}))


async def people_told(conn: AsyncConnection, warning_id: UUID) -> set[UUID]:
    """Who was to get any released version."""
    return {row["policyholder_id"] for row in await _rows(conn, "people_told", {"warning_id": warning_id})}


async def channels_of(
    conn: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]
) -> dict[UUID, list[tuple[str, UUID]]]:
    """(channel, contact point) of each person who can be reached."""
    found: dict[UUID, list[tuple[str, UUID]]] = {}
    for row in await _rows(conn, "channels_of", {"tenant_id": tenant_id, "policyholder_ids": list(ids)}):
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
            )
        },
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
                )
            },
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
            "policyholder_ids": [one.policyholder_id for one in recipients],
            "channels": [one.channel for one in recipients],
            "contact_point_ids": [one.contact_point_id for one in recipients],
            "languages": [one.language for one in recipients],
            "priorities": [one.priority for one in recipients],
        },
    )


async def recipients(conn: AsyncConnection, warning_id: UUID, version: int) -> list[Recipient]:
    """Who a version is for."""
    rows = await _rows(conn, "recipients", {"warning_id": warning_id, "version": version})
    return [Recipient(**row) for row in rows]


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


async def lock_rule_state(conn: AsyncConnection, rule_id: UUID) -> tuple[LifecycleState, UUID | None] | None:
    """Where a rule stands, locked."""
    row = await _row(conn, "lock_rule_state", {"rule_id": rule_id})
    return (lifecycle.from_json(row["state"]), row["warning_id"]) if row else None


async def reset_rule_state(
    conn: AsyncConnection, rule_id: UUID, state: LifecycleState, warning_id: UUID | None, at: datetime
) -> None:
    """Puts a rule's state, as a warning taken back in error does."""
    values = {"rule_id": rule_id, "state": Jsonb(lifecycle.to_json(state)), "warning_id": warning_id, "at": at}
    await _do(conn, "reset_rule_state", values)


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


# ---------------------------------------------------------------- rule files


async def tenant_by_slug(conn: AsyncConnection, slug: str) -> Row:
    """`tenant_id` and `settings` of the tenant; raises NotFound."""
    row = await _row(conn, "tenant_by_slug", {"slug": slug})
    if row is None:
        raise NotFound("There is no such tenant.", tenant=slug)
    return row


async def rule_sites(conn: AsyncConnection, tenant_id: UUID) -> list[Row]:
    """Stations and datastreams that rules of this tenant may be about."""
    return await _rows(conn, "rule_sites", {"tenant_id": tenant_id})


async def list_rules(
    conn: AsyncConnection, slug: str | None, now: datetime, *, all_versions: bool = False
) -> list[Row]:
    """Rules in force or to come, or every version ever."""
    return await _rows(conn, "list_rules", {"slug": slug, "now": now, "all_versions": all_versions})


async def standing_rule(conn: AsyncConnection, rule_id: UUID, now: datetime) -> LevelRule | None:
    """The rule as it stands at `now`; None where it does not."""
    row = await _row(conn, "standing_rule", {"rule_id": rule_id, "now": now})
    return None if row is None else from_definition(**row)


# ---------------------------------------------------------------- quorum


async def agreeing_stations(
    conn: AsyncConnection, tenant_id: UUID, datastream_id: int, levels: Sequence[Level], now: datetime
) -> tuple[Domains, list[Domains]]:
    """The datastream's own station, and the others of its basin that hold a warning of one of these levels."""
    own = await _row(conn, "domains_of_stream", {"datastream_id": datastream_id})
    assert own is not None
    values = {
        "tenant_id": tenant_id,
        "datastream_id": datastream_id,
        "levels": [one.word for one in levels],
        "now": now,
    }
    return Domains(**own), [Domains(**row) for row in await _rows(conn, "stations_that_agree", values)]


async def tenant_slug(conn: AsyncConnection, tenant_id: UUID) -> str:
    """A tenant's short name, as it stands in topics."""
    row = await _row(conn, "tenant_slug", {"tenant_id": tenant_id})
    assert row is not None
    return str(row["slug"])
