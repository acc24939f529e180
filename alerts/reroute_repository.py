"""The rows of messages that a changed way out makes due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store import queries
from store.pool import AsyncConnection

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerouted:
    """One person on one channel, whose way out changed after they were told."""

    tenant_id: UUID
    warning_id: UUID
    version: int
    exercise: bool
    policyholder_id: UUID
    changed_at: datetime
    channel: str
    provider: str
    contact_point_id: UUID
    priority: int
    rung: int
    revision: int
    pushed_at: list[datetime]  #: pushes to this person within the window of the cap, newest first


async def rerouted(
    conn: AsyncConnection, evacuation_plan_id: UUID, *, now: datetime, since: datetime
) -> list[Rerouted]:
    """Whom a plan makes a message due to; pushes are counted from `since`."""
    values = {"evacuation_plan_id": evacuation_plan_id, "now": now, "since": since}
    return [Rerouted(**row) for row in await _rows(conn, "rerouted", values)]


async def plan_revisions(conn: AsyncConnection, due: Sequence[tuple[UUID, Rerouted, float]], *, now: datetime) -> int:
    """Keeps (delivery id, whom, seconds to wait); gives how many are new."""
    return await _do(
        conn,
        "plan_revisions",
        {
            "now": now,
            "delivery_ids": [key for key, _, _ in due],
            "waits_s": [wait_s for _, _, wait_s in due],
            "tenant_ids": [one.tenant_id for _, one, _ in due],
            "warning_ids": [one.warning_id for _, one, _ in due],
            "versions": [one.version for _, one, _ in due],
            "policyholder_ids": [one.policyholder_id for _, one, _ in due],
            "contact_point_ids": [one.contact_point_id for _, one, _ in due],
            "channels": [one.channel for _, one, _ in due],
            "providers": [one.provider for _, one, _ in due],
            "exercises": [one.exercise for _, one, _ in due],
            "priorities": [one.priority for _, one, _ in due],
            "revisions": [one.revision for _, one, _ in due],
        },
    )
