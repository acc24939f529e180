"""The rows that providers' reports and people's replies touch."""

from datetime import datetime
from uuid import UUID

from store import queries
from store.pool import AsyncConnection
from store.queries import Row

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


async def reported_delivery(conn: AsyncConnection, delivery_id: UUID, channel: str) -> Row | None:
    """The message that this channel's provider knows under our reference, locked."""
    return await _row(conn, "reported_delivery", {"delivery_id": delivery_id, "channel": channel})


async def delivery_to_number(conn: AsyncConnection, number: str, channel: str, since: datetime) -> Row | None:
    """The last message to a number in E.164 on a channel, not older than `since`."""
    return await _row(conn, "delivery_to_number", {"number": number, "channel": channel, "since": since})


async def keep_report(
    conn: AsyncConnection, *, delivery_id: UUID, tenant_id: UUID, kind: str, reason: str, now: datetime
) -> bool:
    """Keeps what was reported; False when it was known."""
    values = {"delivery_id": delivery_id, "tenant_id": tenant_id, "kind": kind, "reason": reason, "now": now}
    return await _row(conn, "keep_report", values) is not None


async def report_failed(conn: AsyncConnection, delivery_id: UUID, reason: str) -> None:
    """Marks an accepted message as failed, unless it is known to have arrived."""
    await _row(conn, "report_failed", {"delivery_id": delivery_id, "reason": reason})


async def state_of(conn: AsyncConnection, delivery_id: UUID) -> str:
    """The state a message is in."""
    row = await _row(conn, "state_of_delivery", {"delivery_id": delivery_id})
    assert row is not None
    return str(row["state"])
