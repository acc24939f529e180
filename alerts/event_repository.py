"""The rows of events without a gauge, of silences, of whom else people hear, and of what is said again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from alerts import lifecycle
from alerts.event_rule import FOOTPRINT, EventRule, event_rule
from alerts.level import level
from alerts.lifecycle import LifecycleState
from alerts.scheme import LevelScheme, read_scheme
from alerts.silence import Silence
from alerts.voice import Other
from store import queries
from store.pool import AsyncConnection
from store.queries import Row, id_array

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEventRule:
    """A rule of footprints or bulletins in force, and whose it is."""

    rule: EventRule
    tenant_slug: str
    tenant_name: str
    tenant_settings: Mapping[str, Any]
    scheme: LevelScheme


@dataclass(frozen=True, slots=True, kw_only=True)
class EventStanding:
    """Where a rule stands with one event; the row is locked."""

    subject: str
    bulletin_id: UUID | None
    state: LifecycleState
    warning_id: UUID | None


async def event_rules(conn: AsyncConnection, now: datetime) -> list[LiveEventRule]:
    """Rules without a gauge that are in force."""
    return [
        LiveEventRule(
            rule=event_rule(**{name: row[name] for name in ("rule_id", "version", "tenant_id", "code", "definition")}),
            tenant_slug=row["slug"],
            tenant_name=row["tenant_name"],
            tenant_settings=row["tenant_settings"],
            scheme=read_scheme(row["scheme"], row["scheme_version"] or 0),
        )
        for row in await _rows(conn, "event_rules", {"now": now})
    ]


async def lock_event_rule(conn: AsyncConnection, rule_id: UUID) -> bool:
    """This worker alone looks at the events of a rule until its transaction ends; False: another does."""
    row = await _row(conn, "lock_event_rule", {"rule_id": rule_id})
    return bool(row and row["mine"])


async def event_states(conn: AsyncConnection, rule_id: UUID) -> dict[str, EventStanding]:
    """Where a rule stands with each event it has spoken of."""
    found = {}
    for row in await _rows(conn, "event_states", {"rule_id": rule_id}):
        state = lifecycle.from_json(row["state"])
        if state.open:
            state = replace(state, live_until=row["live_until"])
        found[row["subject"]] = EventStanding(
            subject=row["subject"], bulletin_id=row["bulletin_id"], state=state, warning_id=row["warning_id"]
        )
    return found


async def save_event_state(conn: AsyncConnection, rule: EventRule, standing: EventStanding, at: datetime) -> None:
    """Where a rule stands with an event now."""
    await _do(
        conn,
        "save_event_state",
        {
            "rule_id": rule.rule_id,
            "subject": standing.subject,
            "tenant_id": rule.tenant_id,
            "bulletin_id": standing.bulletin_id,
            "state": Jsonb(lifecycle.to_json(standing.state)),
            "warning_id": standing.warning_id,
            "at": at,
        },
    )


async def event_states_of_warning(conn: AsyncConnection, warning_id: UUID) -> list[tuple[UUID, str, LifecycleState]]:
    """(rule, event, where it stands) of what speaks through a warning, locked."""
    rows = await _rows(conn, "event_states_of_warning", {"warning_id": warning_id})
    return [(row["rule_id"], row["subject"], lifecycle.from_json(row["state"])) for row in rows]


async def reset_event_state(
    conn: AsyncConnection, rule_id: UUID, subject: str, state: LifecycleState, at: datetime
) -> None:
    """Puts it elsewhere, as a warning taken back in error does."""
    values = {"rule_id": rule_id, "subject": subject, "state": Jsonb(lifecycle.to_json(state)), "at": at}
    await _do(conn, "reset_event_state", values)


async def footprints_met(conn: AsyncConnection, rule: EventRule, now: datetime) -> list[Row]:
    """What the newest footprint of each event touches of the tenant's books, a row an event and portfolio."""
    values = {"tenant_id": rule.tenant_id, "peril": rule.peril, "portfolio": rule.portfolio, "now": now}
    return await _rows(conn, "footprints_met", values)


async def bulletins_seen(conn: AsyncConnection, rule: EventRule, known: Sequence[UUID], now: datetime) -> list[Row]:
    """What a rule's authorities say now, oldest first, with what became of those it has spoken of (`known`)."""
    values = {"tenant_id": rule.tenant_id, "senders": list(rule.senders), "known": list(known), "now": now}
    return await _rows(conn, "bulletins_seen", values)


async def sights_before(conn: AsyncConnection, rule: EventRule, since: datetime, until: datetime) -> list[Row]:
    """What a rule would have looked at between two times, each with `known_at`."""
    values: dict[str, Any] = {"tenant_id": rule.tenant_id, "since": since, "until": until}
    if rule.kind == FOOTPRINT:
        return await _rows(conn, "footprints_before", {**values, "peril": rule.peril, "portfolio": rule.portfolio})
    return await _rows(conn, "bulletins_before", {**values, "senders": list(rule.senders)})


# ---------------------------------------------------------------- silences and whom else people hear


def _silence(row: Row) -> Silence:
    return Silence(
        up_to=level(row["up_to"]),
        **{
            name: row[name]
            for name in (
                "silence_id",
                "tenant_id",
                "rule_code",
                "peril",
                "starts_at",
                "ends_at",
                "author",
                "reason",
                "second",
                "ended_at",
            )
        },
    )


async def live_silences(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[Silence]:
    """What a tenant keeps from being said now."""
    return [_silence(row) for row in await _rows(conn, "live_silences", {"tenant_id": tenant_id, "now": now})]


async def list_silences(
    conn: AsyncConnection, slug: str | None, now: datetime, *, everything: bool = False
) -> list[Row]:
    """Silences that stand or are to come, or every one there ever was, with who stands for them."""
    return await _rows(conn, "list_silences", {"slug": slug, "now": now, "all": everything})


async def add_silence(conn: AsyncConnection, one: Silence) -> None:
    """Keeps a silence."""
    names = ("silence_id", "tenant_id", "rule_code", "peril", "starts_at", "ends_at", "author", "reason")
    await _do(conn, "add_silence", {**{name: getattr(one, name) for name in names}, "up_to": one.up_to.word})


async def lock_silence(conn: AsyncConnection, silence_id: UUID) -> Silence | None:
    """A silence, locked."""
    row = await _row(conn, "lock_silence", {"silence_id": silence_id})
    return _silence(row) if row is not None else None


async def second_silence(conn: AsyncConnection, silence_id: UUID, principal_id: UUID) -> None:
    """The second person agrees."""
    await _do(conn, "second_silence", {"silence_id": silence_id, "principal_id": principal_id})


async def end_silence(conn: AsyncConnection, one: Silence, principal_id: UUID, at: datetime) -> None:
    """Ends a silence now, and lets what it held look again at once."""
    await _do(conn, "end_silence", {"silence_id": one.silence_id, "principal_id": principal_id, "at": at})
    values = {"tenant_id": one.tenant_id, "rule_code": one.rule_code, "peril": one.peril, "at": at.isoformat()}
    await _do(conn, "wake_silenced", values)


async def others_told(
    conn: AsyncConnection, tenant_id: UUID, event: str, people: Iterable[UUID], *, warning_id: UUID, now: datetime
) -> dict[UUID, list[Other]]:
    """The other live warnings of the same hazard that speak to each of these people."""
    ids = list(people)
    found: dict[UUID, list[Other]] = {}
    if not ids:
        return found
    values = {"tenant_id": tenant_id, "event": event, "people": id_array(ids), "warning_id": warning_id, "now": now}
    for row in await _rows(conn, "others_told", values):
        found.setdefault(row["policyholder_id"], []).append(
            Other(
                warning_id=row["warning_id"],
                level=level(row["level"]),
                official=row["official"],
                first_sent=row["first_sent"],
            )
        )
    return found


async def keep_out(
    conn: AsyncConnection, tenant_id: UUID, warning_id: UUID, people: Iterable[UUID], word: str, at: datetime
) -> None:
    """Remembers whom a warning of this level would speak to, were they not told of worse."""
    values = {"tenant_id": tenant_id, "warning_id": warning_id, "people": sorted(people), "level": word, "at": at}
    await _do(conn, "keep_out", values)


async def kept_out_in_vain(conn: AsyncConnection, event: str, *, warning_id: UUID, now: datetime) -> bool:
    """Whether somebody is kept out of this warning although nothing as bad speaks to them any more."""
    row = await _row(conn, "kept_out_in_vain", {"event": event, "warning_id": warning_id, "now": now})
    return bool(row and row["in_vain"])


async def kept_out_by(conn: AsyncConnection, warning_id: UUID) -> set[UUID]:
    """The warnings that would speak to the people of this one, were they not told of it."""
    return {row["warning_id"] for row in await _rows(conn, "kept_out_by", {"warning_id": warning_id})}


async def let_in(conn: AsyncConnection, warning_id: UUID, people: Iterable[UUID]) -> None:
    """These people are told of the warning after all."""
    kept_out = {row["policyholder_id"] for row in await _rows(conn, "kept_out_of", {"warning_id": warning_id})}
    if let_in := kept_out.intersection(people):
        await _do(conn, "let_in", {"warning_id": warning_id, "people": id_array(let_in)})


# ---------------------------------------------------------------- said again


async def repeats_due(conn: AsyncConnection, minutes: Mapping[str, float], now: datetime, *, limit: int) -> list[Row]:
    """Whom to say a live warning again: told longer ago than its level's interval, and no answer."""
    values = {"levels": list(minutes), "minutes": list(minutes.values()), "now": now, "limit": limit}
    return await _rows(conn, "repeats_due", values)


async def add_repeats(conn: AsyncConnection, rows: Sequence[Row], now: datetime) -> int:
    """Makes these deliveries due; gives how many are new."""
    columns = {
        "delivery_ids": "delivery_id",
        "tenant_ids": "tenant_id",
        "warning_ids": "warning_id",
        "versions": "version",
        "policyholder_ids": "policyholder_id",
        "contact_point_ids": "contact_point_id",
        "channels": "channel",
        "providers": "provider",
        "exercises": "exercise",
        "priorities": "priority",
        "revisions": "revision",
        "repeats": "repeat",
    }
    values: dict[str, Any] = {name: [row[column] for row in rows] for name, column in columns.items()}
    return await _do(conn, "add_repeats", values | {"now": now})


async def rule_words(conn: AsyncConnection, rule_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The code of each rule."""
    return {row["rule_id"]: row["code"] for row in await _rows(conn, "rule_words", {"rule_ids": list(rule_ids)})}
