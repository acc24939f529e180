"""The rows of deliveries, receipts and answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from alerts.alert import Alert, Recipient
from alerts.escalation import Rung
from alerts.siren import ANSWER_WITHIN_S
from store import queries
from store.pool import AsyncConnection
from store.queries import Row, id_array

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """One message to one person on one channel, leased to this worker. Its id is the idempotency key."""

    delivery_id: UUID
    tenant_id: UUID
    warning_id: UUID
    version: int
    policyholder_id: UUID
    contact_point_id: UUID
    channel: str
    provider: str
    exercise: bool
    priority: int
    attempts: int
    revision: int  #: above 0: told again because the way out changed
    in_doubt: int  #: attempts before this one that may have gone out: a sender died, or a provider did not answer
    address: Mapping[str, Any]
    language: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One delivery to be."""

    delivery_id: UUID
    recipient: Recipient
    provider: str
    rung: Rung
    held: str | None = None  #: why it is kept as stopped instead


async def plan_deliveries(conn: AsyncConnection, alert: Alert, rows: Sequence[Planned], *, now: datetime) -> int:
    """Keeps these deliveries; gives how many are new."""
    return await _do(
        conn,
        "plan_deliveries",
        {
            "tenant_id": alert.tenant_id,
            "warning_id": alert.warning_id,
            "version": alert.version,
            "exercise": alert.exercise,
            "now": now,
            "delivery_ids": id_array(one.delivery_id for one in rows),
            "policyholder_ids": id_array(one.recipient.policyholder_id for one in rows),
            "contact_point_ids": id_array(one.recipient.contact_point_id for one in rows),
            "channels": [one.recipient.channel for one in rows],
            "providers": [one.provider for one in rows],
            "priorities": [one.recipient.priority for one in rows],
            "rungs": [one.rung.rung for one in rows],
            "waits_s": [one.rung.wait_s for one in rows],
            "unless": [one.rung.unless for one in rows],
            "held": [one.held for one in rows],
        },
    )


async def told_on(conn: AsyncConnection, warning_id: UUID, version: int) -> set[tuple[UUID, str]]:
    """(person, channel) that an earlier version of this warning reached, or may have reached."""
    rows = await _rows(conn, "told_on", {"warning_id": warning_id, "version": version})
    return {(row["policyholder_id"], row["channel"]) for row in rows}


async def pushes_lately(
    conn: AsyncConnection, people: Sequence[UUID], *, since: datetime, warning_id: UUID, version: int
) -> list[Row]:
    """How many pushes each person was sent since then, and of which levels, this version aside."""
    values = {"people": id_array(people), "since": since, "warning_id": warning_id, "version": version}
    return await _rows(conn, "pushes_lately", values)


async def stop_needless(conn: AsyncConnection) -> int:
    """Stops what only waits for an answer or an acceptance that has come."""
    return await _do(conn, "stop_needless", {})


async def keep_delivered(conn: AsyncConnection, delivery_id: UUID, at: datetime) -> bool:
    """The far end itself says it has the message; False when there is no such delivery, or it was known."""
    return await _row(conn, "keep_delivered", {"delivery_id": delivery_id, "at": at}) is not None


async def silent_sirens(conn: AsyncConnection, now: datetime) -> list[Row]:
    """Commands to sirens that the broker has, that no siren has answered in time, and that nobody was told of."""
    return await _rows(conn, "silent_sirens", {"now": now, "within_s": ANSWER_WITHIN_S})


async def add_notice(
    conn: AsyncConnection,
    *,
    notice_id: UUID,
    tenant_id: UUID | None,
    kind: str,
    subject: str,
    detail: Mapping[str, Any],
    at: datetime,
) -> bool:
    """Keeps a notice for the operator; False when this subject was told before."""
    values = {"notice_id": notice_id, "tenant_id": tenant_id, "kind": kind, "subject": subject, "at": at}
    return await _do(conn, "add_notice", {**values, "detail": Jsonb(dict(detail))}) == 1


# ---------------------------------------------------------------- the fence


async def read_identity(conn: AsyncConnection) -> Row:
    """Which database this is, and how far its log has come."""
    row = await _row(conn, "read_identity", {})
    assert row is not None
    return {"identity": row["identity"], "lsn": int(row["lsn"])}


async def read_fence(conn: AsyncConnection) -> Row | None:
    """What a sender marked here."""
    return await _row(conn, "read_fence", {})


async def write_fence(conn: AsyncConnection, identity: str, at: datetime) -> None:
    """Marks this database as the one that is sent from."""
    await _do(conn, "write_fence", {"identity": identity, "at": at})


async def anything_sent(conn: AsyncConnection) -> bool:
    """Whether any delivery was ever begun here."""
    row = await _row(conn, "anything_sent", {})
    return bool(row and row["exists"])


async def raise_epoch(conn: AsyncConnection) -> int:
    """The next fencing epoch: whoever held an earlier one sends nothing."""
    row = await _row(conn, "raise_epoch", {})
    assert row is not None
    return int(row["fencing_epoch"])


async def hold_everything(conn: AsyncConnection, by: UUID, at: datetime) -> None:
    """Stops all sending."""
    await _do(conn, "hold_everything", {"by": by, "at": at})


async def stop_older_deliveries(conn: AsyncConnection, warning_id: UUID, version: int) -> int:
    """Versions before this one are not sent any more."""
    return await _do(conn, "stop_older_deliveries", {"warning_id": warning_id, "version": version})


async def claim_deliveries(
    conn: AsyncConnection, *, worker: str, limit: int, lease_s: float, now: datetime, leaves: Sequence[str] = ()
) -> list[DueDelivery]:
    """Leases what is due, worst first; nothing of what is stopped, expired, replaced or without consent.

    What goes through a provider in `leaves` is left to another process.
    """
    values = {"worker": worker, "limit": limit, "lease_s": lease_s, "now": now, "leaves": list(leaves)}
    async with conn.transaction():
        await _do(conn, "claim_in_order", {})
        found = [DueDelivery(**row) for row in await _rows(conn, "claim_deliveries", values)]
    return sorted(found, key=lambda one: (one.priority, one.delivery_id))


async def still_wanted(conn: AsyncConnection, ids: Sequence[UUID], worker: str, now: datetime) -> set[UUID]:
    """Which of these may still be sent this moment."""
    rows = await _rows(conn, "still_wanted", {"delivery_ids": id_array(ids), "worker": worker, "now": now})
    return {row["delivery_id"] for row in rows}


async def give_back(conn: AsyncConnection, ids: Sequence[UUID], worker: str) -> None:
    """What was claimed and not sent is due again."""
    if ids:
        await _do(conn, "give_back_deliveries", {"delivery_ids": id_array(ids), "worker": worker})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one send."""

    delivery_id: UUID
    state: str
    provider_ref: str | None = None
    error: str | None = None
    retry_after_s: float = 0.0
    shown: str | None = None  #: JSON: the way out that the message carried
    doubted: bool = False  #: nobody knows whether this attempt arrived


async def settle_deliveries(
    conn: AsyncConnection, outcomes: Sequence[Settled], *, worker: str, now: datetime
) -> set[UUID]:
    """Keeps outcomes and the receipts of what was accepted; gives those this worker still held."""
    if not outcomes:
        return set()
    values = {
        "worker": worker,
        "now": now,
        "delivery_ids": id_array(one.delivery_id for one in outcomes),
        "states": [one.state for one in outcomes],
        "provider_refs": [one.provider_ref for one in outcomes],
        "errors": [one.error[:500] if one.error else None for one in outcomes],
        "retry_after_s": [one.retry_after_s for one in outcomes],
        "shown": [one.shown for one in outcomes],
        "doubted": [one.doubted for one in outcomes],
    }
    return {row["delivery_id"] for row in await _rows(conn, "settle_deliveries", values)}


async def withdraw_contact_points(conn: AsyncConnection, ids: Sequence[UUID], now: datetime) -> None:
    """These addresses are gone, say their providers."""
    if ids:
        await _do(conn, "withdraw_contact_points", {"contact_point_ids": list(ids), "now": now})


async def routes_of(conn: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Row]:
    """Each person's newest way out."""
    rows = await _rows(conn, "routes_of", {"tenant_id": tenant_id, "policyholder_ids": id_array(ids)})
    return {row["policyholder_id"]: row for row in rows}


async def homes_of(conn: AsyncConnection, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, tuple[float, float]]:
    """(lon, lat) of each person's household."""
    rows = await _rows(conn, "homes_of", {"tenant_id": tenant_id, "policyholder_ids": id_array(ids)})
    return {row["policyholder_id"]: (row["lon"], row["lat"]) for row in rows}


async def safe_zones(conn: AsyncConnection, tenant_id: UUID) -> list[Row]:
    """Safe zones this tenant's people may use."""
    return await _rows(conn, "safe_zones", {"tenant_id": tenant_id})


# ---------------------------------------------------------------- answers


async def add_answer(
    conn: AsyncConnection,
    *,
    answer_id: UUID,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID | None,
    kind: str,
    detail: Mapping[str, Any],
    idempotency_key: str,
    at: datetime,
) -> bool:
    """Keeps an answer; False when one with this key is there already."""
    values = {
        "answer_id": answer_id,
        "tenant_id": tenant_id,
        "policyholder_id": policyholder_id,
        "warning_id": warning_id,
        "kind": kind,
        "detail": Jsonb(dict(detail)),
        "idempotency_key": idempotency_key,
        "at": at,
    }
    return await _row(conn, "add_answer", values) is not None


async def find_answer(conn: AsyncConnection, tenant_id: UUID, idempotency_key: str) -> Row | None:
    """The answer that was given under this key."""
    return await _row(conn, "find_answer", {"tenant_id": tenant_id, "idempotency_key": idempotency_key})


async def mark_answered(
    conn: AsyncConnection, tenant_id: UUID, policyholder_id: UUID, warning_id: UUID, at: datetime
) -> None:
    """This person's messages of the warning were answered."""
    values = {"tenant_id": tenant_id, "policyholder_id": policyholder_id, "warning_id": warning_id, "at": at}
    await _do(conn, "answered_receipts", values)


async def is_recipient(conn: AsyncConnection, warning_id: UUID, policyholder_id: UUID) -> bool:
    """Whether the warning is for this person."""
    values = {"warning_id": warning_id, "policyholder_id": policyholder_id}
    row = await _row(conn, "warning_of_person", values)
    return bool(row and row["exists"])


async def handle_answer(conn: AsyncConnection, answer_id: UUID, principal_id: UUID, at: datetime) -> bool:
    """Marks an answer as taken care of; False when it was, or is not there."""
    values = {"answer_id": answer_id, "principal_id": principal_id, "at": at}
    return await _row(conn, "handle_answer", values) is not None


async def read_answer(conn: AsyncConnection, answer_id: UUID) -> Row | None:
    """Whether and by whom an answer was handled."""
    return await _row(conn, "read_answer", {"answer_id": answer_id})
