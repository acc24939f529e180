"""Who did what, in a chain that shows a change, a removal or an insertion.

    row_hash = SHA-256(prev_hash || canonical JSON of the row)

one chain for each tenant, beginning with 32 zero bytes. Canonical JSON: keys sorted, no spaces, UTF-8, integral numbers
without a fraction (after RFC 8785, but numbers as PostgreSQL's jsonb gives them back). A chain cannot show that its
last rows were cut off: for that, keep the head that `append` returns somewhere else and give it to `verify`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from core.errors import Conflict, InvalidInput
from store import queries
from store.pool import AsyncConnection

GENESIS = bytes(32)
_SQL = queries.load("store")


class AuditBroken(Conflict):
    """The audit chain does not hold: rows were changed, removed or inserted behind its back."""


class BadDetail(InvalidInput):
    """An audit row's detail must be JSON: text keys, finite numbers, text without NUL."""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest row of a chain; seq 0 and zero bytes for an empty one."""

    seq: int
    row_hash: bytes


async def append(
    conn: AsyncConnection,
    tenant_id: UUID,
    actor: str,
    action: str,
    object: str,  # the audit's word
    detail: dict[str, Any] | None = None,
    *,
    at: datetime | None = None,
) -> AuditHead:
    """Adds a row in the transaction of the deed itself and gives the chain's new head; raises BadDetail.

    Appends of one tenant wait for each other until that transaction ends, so call it late. `at`: aware, default the
    wall's now.
    """
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    clean = _clean(detail or {})
    async with conn.transaction():
        await conn.execute(_SQL["audit_lock"], {"tenant_id": tenant_id})
        # A statement of its own: its snapshot is taken when the lock is ours.
        row = await (await conn.execute(_SQL["audit_head"], {"tenant_id": tenant_id})).fetchone()
        seq, prev_hash = (row[0] + 1, bytes(row[1])) if row else (1, GENESIS)
        row_hash = _row_hash(prev_hash, tenant_id, seq, moment, actor, action, object, clean)
        try:
            await conn.execute(
                _SQL["audit_append"],
                {
                    "tenant_id": tenant_id,
                    "seq": seq,
                    "at": moment,
                    "actor": actor,
                    "action": action,
                    "object": object,
                    "detail": Jsonb(clean),
                    "prev_hash": prev_hash,
                    "row_hash": row_hash,
                },
            )
        except (psycopg.errors.UntranslatableCharacter, psycopg.DataError) as error:
            raise BadDetail(action=action) from error
    return AuditHead(seq, row_hash)


async def verify(conn: AsyncConnection, tenant_id: UUID, *, head: AuditHead | None = None) -> AuditHead:
    """Recomputes the chain from its first row and gives its head; raises AuditBroken naming row and reason.

    `head` was kept elsewhere: the chain must still contain it.
    """
    seq, prev_hash, met = 0, GENESIS, head is None or head == AuditHead(0, GENESIS)
    async with conn.transaction(), conn.cursor(name="audit_rows") as cursor:
        await cursor.execute(_SQL["audit_rows"], {"tenant_id": tenant_id})
        async for row in cursor:
            found_seq, at, actor, action, object_, detail, found_prev, found_hash = row
            if found_seq != seq + 1:
                raise AuditBroken(tenant_id=str(tenant_id), seq=seq + 1, reason="the row is missing")
            if bytes(found_prev) != prev_hash:
                raise AuditBroken(tenant_id=str(tenant_id), seq=found_seq, reason="it does not follow the one before")
            seq = found_seq
            expected = _row_hash(prev_hash, tenant_id, seq, at, actor, action, object_, detail)
            if bytes(found_hash) != expected:
                raise AuditBroken(tenant_id=str(tenant_id), seq=seq, reason="the row was changed")
            prev_hash = expected
            met = met or (head is not None and (seq, prev_hash) == (head.seq, head.row_hash))
    if not met:
        assert head is not None
        raise AuditBroken(tenant_id=str(tenant_id), seq=head.seq, reason="the head kept elsewhere is not in the chain")
    return AuditHead(seq, prev_hash)


def _row_hash(
    prev_hash: bytes, tenant_id: UUID, seq: int, at: datetime, actor: str, action: str, object_: str, detail: Any
) -> bytes:
    row = {
        "tenant_id": str(tenant_id),
        "seq": seq,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "object": object_,
        "detail": detail,
    }
    return hashlib.sha256(prev_hash + canonical_json(row)).digest()


def canonical_json(value: Any) -> bytes:
    """One spelling for equal values, before and after they have been through jsonb."""
    return json.dumps(
        _canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(each) for each in value]
    return value


def _clean(detail: dict[str, Any]) -> dict[str, Any]:
    """As it will come back from the database."""
    try:
        text = json.dumps(detail, allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:  # not JSON, or a lone surrogate
        raise BadDetail(reason=str(error)) from error
    if "\\u0000" in text:
        raise BadDetail(reason="text holds NUL")
    made: dict[str, Any] = json.loads(text)
    return made
