"""The rows of rules, of where each stands, and of what was decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import shapely
from psycopg.types.json import Jsonb
from shapely.geometry.base import BaseGeometry

from alerts import lifecycle
from alerts.audience import area_of
from alerts.level import Level
from alerts.lifecycle import Decision, LifecycleState, Reason
from alerts.quorum import Domains
from alerts.rule import LevelRule, Reading, definition, from_definition
from core.ids import new_id
from store import queries
from store.pool import AsyncConnection
from store.queries import Row

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


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
