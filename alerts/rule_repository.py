"""The rows of rules, of where each stands, and of what was decided."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import shapely
from psycopg.types.json import Jsonb
from shapely.geometry.base import BaseGeometry

from alerts import lifecycle
from alerts.audience import area_of
from alerts.event_rule import EventRule, event_definition
from alerts.level import Level
from alerts.lifecycle import Decision, LifecycleState, Reason
from alerts.quorum import Domains
from alerts.rule import LevelRule, Reading, SpeakingRule, definition, from_definition, group_key
from alerts.scheme import LevelScheme, read_scheme
from core.errors import NotFound
from core.ids import new_id
from store import queries
from store.pool import AsyncConnection
from store.queries import Row

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who speaks, for whom, and about what: all that a version is drafted from beside the decision."""

    rule: SpeakingRule
    area: BaseGeometry | None
    area_fault: Reason | None
    area_desc: Mapping[str, str]
    tenant_slug: str
    tenant_name: str
    tenant_settings: Mapping[str, Any]
    station_name: str
    scheme: LevelScheme = field(default_factory=LevelScheme)
    authority: str | None = None  #: where an official bulletin is passed on
    incident: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRule(Subject):
    """A rule in force, what it warns, and where its lifecycle stands; its state's row is locked."""

    rule: LevelRule
    state: LifecycleState
    warning_id: UUID | None
    group_key: str | None = None
    n_open: int | None = None  #: open rules of its group, wherever they are locked; only timers ask


async def save_rule(
    conn: AsyncConnection,
    rule: LevelRule | EventRule,
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
                "datastream_id": rule.datastream_id if isinstance(rule, LevelRule) else None,
                "definition": Jsonb(definition(rule) if isinstance(rule, LevelRule) else event_definition(rule)),
                "area": shapely.to_wkb(area) if area is not None else None,
                "area_desc": Jsonb(dict(area_desc)),
                "effective_from": effective_from,
            },
        )
    ).fetchone()
    assert row is not None
    if isinstance(rule, EventRule):
        return int(row[0])  # it stands somewhere else with each event
    state = LifecycleState(evaluated_until=effective_from)
    await _do(
        conn,
        "start_rule_state",
        {
            "rule_id": rule.rule_id,
            "tenant_id": rule.tenant_id,
            "state": Jsonb(lifecycle.to_json(state)),
            "group_key": group_key(rule, area),
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
        scheme=read_scheme(row["scheme"], row["scheme_version"] or 0),
        incident=row["group_key"] or f"rule:{rule.rule_id}",
        group_key=row["group_key"],
        n_open=row.get("n_open"),
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


async def rule_states_of_warning(conn: AsyncConnection, warning_id: UUID) -> list[tuple[UUID, LifecycleState]]:
    """Every rule that speaks through a warning and where it stands, locked."""
    rows = await _rows(conn, "rule_states_of_warning", {"warning_id": warning_id})
    return [(row["rule_id"], lifecycle.from_json(row["state"])) for row in rows]


async def wake(conn: AsyncConnection, warning_ids: Iterable[UUID], at: datetime) -> None:
    """Whoever speaks through these warnings looks again at once."""
    values = {"warning_ids": sorted(warning_ids), "at": at.isoformat()}
    await _do(conn, "wake_rules", values)
    await _do(conn, "wake_events", values)


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


async def rule_versions(conn: AsyncConnection, tenant_id: UUID, rule_id: UUID, now: datetime) -> list[Row]:
    """Every version of one rule, newest first; none where the tenant has no such rule."""
    return await _rows(conn, "rule_versions", {"tenant_id": tenant_id, "rule_id": rule_id, "now": now})


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


async def rule_by_code(conn: AsyncConnection, tenant_id: UUID, code: str) -> Row | None:
    """`rule_id`, newest `version` and its `effective_to`; None where there is no such rule."""
    return await _row(conn, "rule_by_code", {"tenant_id": tenant_id, "code": code})


# ---------------------------------------------------------------- proposals and tables of levels


async def add_proposal(
    conn: AsyncConnection, *, told: Mapping[str, Any], dry_run: Mapping[str, Any] | None, **values: Any
) -> None:
    """Keeps a rule that waits for a second person."""
    shown = Jsonb(dict(dry_run)) if dry_run is not None else None
    await _do(conn, "add_proposal", {**values, "told": Jsonb(dict(told)), "dry_run": shown})


async def lock_proposal(conn: AsyncConnection, proposal_id: UUID) -> Row | None:
    """A proposal, locked."""
    return await _row(conn, "lock_proposal", {"proposal_id": proposal_id})


async def decide_proposal(
    conn: AsyncConnection, proposal_id: UUID, *, state: str, by: UUID, at: datetime, why: str, version: int | None
) -> None:
    """What became of a proposal, and by whom."""
    values = {"proposal_id": proposal_id, "state": state, "by": by, "at": at, "why": why, "version": version}
    await _do(conn, "decide_proposal", values)


async def list_proposals(conn: AsyncConnection, tenant_id: UUID, *, everything: bool = False) -> list[Row]:
    """Proposals that wait, or every one there ever was, newest first."""
    return await _rows(conn, "list_proposals", {"tenant_id": tenant_id, "all": everything})


async def newest_scheme(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> Row | None:
    """`version` and `told` of a tenant's table of levels; None where it set none."""
    return await _row(conn, "newest_scheme", {"tenant_id": tenant_id, "now": now})


async def add_scheme(
    conn: AsyncConnection, tenant_id: UUID, told: Mapping[str, Any], *, effective_from: datetime, set_by: UUID | None
) -> int:
    """Keeps a table of levels as the next version, and gives it."""
    values = {"tenant_id": tenant_id, "told": Jsonb(dict(told)), "effective_from": effective_from, "set_by": set_by}
    row = await _row(conn, "add_scheme", values)
    assert row is not None
    return int(row["version"])


async def principal_by_login(conn: AsyncConnection, login: str) -> Row | None:
    """An account by its login."""
    return await _row(conn, "principal_by_login", {"login": login})


async def code_of(conn: AsyncConnection, tenant_id: UUID, rule_id: UUID) -> str:
    """A rule's code; raises NotFound."""
    row = await _row(conn, "code_of", {"tenant_id": tenant_id, "rule_id": rule_id})
    if row is None:
        raise NotFound("There is no such rule.", rule_id=str(rule_id))
    return str(row["code"])
