"""What the operator on duty must see: kept once for each subject, and told to the desks at once."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from alerts import delivery_repository
from core.events import OperatorNoticed
from core.ids import new_id
from core.log import get_logger
from store import outbox
from store.pool import AsyncConnection

log = get_logger("notices")


async def tell(
    conn: AsyncConnection,
    tenant_id: UUID | None,
    kind: str,
    subject: str,
    *,
    now: datetime,
    detail: Mapping[str, Any] | None = None,
) -> bool:
    """Keeps a notice, in the transaction that `conn` is in; False when this was told before."""
    notice_id = new_id()
    new = await delivery_repository.add_notice(
        conn, notice_id=notice_id, tenant_id=tenant_id, kind=kind, subject=subject, detail=detail or {}, at=now
    )
    if new:
        log.error("the operator must look", kind=kind, subject=subject)
        await outbox.publish(
            conn, OperatorNoticed(notice_id=notice_id), ordering_key=f"notice:{notice_id}", tenant_id=tenant_id
        )
    return new
