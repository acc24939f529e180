"""The rows behind what people do and need: steps against loss, calls for help, notices, damage."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from store import queries
from store.pool import AsyncConnection
from store.queries import Row, id_array

_SQL = queries.load("alerts")
_rows, _row, _do = queries.runners(_SQL)


async def home_facts(conn: AsyncConnection, tenant_id: UUID, policyholder_ids: Sequence[UUID]) -> list[Row]:
    """What is known of these people's homes."""
    return await _rows(conn, "home_facts", {"tenant_id": tenant_id, "policyholder_ids": id_array(policyholder_ids)})


async def flood_zones(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> list[Row]:
    """Newest footprint of each flood that goes on."""
    return await _rows(conn, "flood_zones", {"tenant_id": tenant_id, "now": now})


async def steps_done(conn: AsyncConnection, policyholder_id: UUID, warning_id: UUID) -> list[Row]:
    """Steps this person says are done, in order."""
    return await _rows(conn, "steps_done", {"policyholder_id": policyholder_id, "warning_id": warning_id})


async def add_step_done(
    conn: AsyncConnection,
    *,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID,
    step: str,
    at: datetime,
    avoided_loss: Decimal | None,
    currency: str | None,
    estimate: Mapping[str, Any],
) -> bool:
    """Keeps a step as done; False when it was."""
    values = {
        "tenant_id": tenant_id,
        "policyholder_id": policyholder_id,
        "warning_id": warning_id,
        "step": step,
        "at": at,
        "avoided_loss": avoided_loss,
        "currency": currency,
        "estimate": Jsonb(dict(estimate)),
    }
    return await _do(conn, "add_step_done", values) == 1


async def avoided_by_warning(conn: AsyncConnection, warning_id: UUID | None) -> list[Row]:
    """What done steps are estimated to have saved."""
    return await _rows(conn, "avoided_by_warning", {"warning_id": warning_id})


async def open_case(conn: AsyncConnection, answer_id: UUID, tenant_id: UUID) -> None:
    """A call for help becomes work."""
    await _do(conn, "open_case", {"answer_id": answer_id, "tenant_id": tenant_id})


async def help_cases(conn: AsyncConnection, answer_id: UUID | None = None) -> list[Row]:
    """Calls for help, the newest 500."""
    return await _rows(conn, "help_cases", {"answer_id": answer_id})


async def lock_case(conn: AsyncConnection, answer_id: UUID) -> Row | None:
    """A case, locked until the transaction ends."""
    return await _row(conn, "lock_case", {"answer_id": answer_id})


async def move_case(
    conn: AsyncConnection,
    *,
    answer_id: UUID,
    state: str,
    assigned_to: UUID | None,
    handed_to: str | None,
    note: str,
    at: datetime,
) -> None:
    """Puts a case into a state; what is already known of it stays."""
    values = {
        "answer_id": answer_id,
        "state": state,
        "assigned_to": assigned_to,
        "handed_to": handed_to,
        "note": note,
        "at": at,
    }
    await _do(conn, "move_case", values)


async def close_case(conn: AsyncConnection, answer_id: UUID, at: datetime) -> None:
    """Its call for help is handled."""
    await _do(conn, "close_case", {"answer_id": answer_id, "at": at})


async def notices(conn: AsyncConnection) -> list[Row]:
    """What the operator must see, unseen first."""
    return await _rows(conn, "notices", {})


async def see_notice(conn: AsyncConnection, notice_id: UUID, principal_id: UUID, at: datetime) -> bool:
    """Somebody has seen it; False when somebody had."""
    return await _do(conn, "see_notice", {"notice_id": notice_id, "principal_id": principal_id, "at": at}) == 1


async def damage_answers(conn: AsyncConnection, warning_id: UUID | None) -> list[Row]:
    """What people said of water inside their homes."""
    return await _rows(conn, "damage_answers", {"warning_id": warning_id})


async def keep_reported(
    conn: AsyncConnection,
    *,
    answer_id: UUID,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID | None,
    value: float,
    error: float,
    weight: float,
    floor_m: float,
    floor_error_m: float,
    at: datetime,
) -> bool:
    """Keeps a told depth as a reading of the home; False where it was kept before, or the home has no place."""
    values = {
        "answer_id": answer_id,
        "tenant_id": tenant_id,
        "policyholder_id": policyholder_id,
        "warning_id": warning_id,
        "value": value,
        "error": error,
        "weight": weight,
        "floor_m": floor_m,
        "floor_error_m": floor_error_m,
        "at": at,
    }
    await _rows(conn, "take_turn_to_report", {"policyholder_id": policyholder_id})
    return await _do(conn, "keep_reported", values) == 1


async def home_oed(conn: AsyncConnection, tenant_id: UUID, policyholder_id: UUID) -> Mapping[str, Any]:
    """What the book says of this person's building; nothing where no building of theirs is known."""
    row = await _row(conn, "home_oed", {"tenant_id": tenant_id, "policyholder_id": policyholder_id})
    return (row["oed"] or {}) if row is not None else {}


async def keep_photo(
    conn: AsyncConnection, *, tenant_id: UUID, policyholder_id: UUID, media_type: str, body: bytes, at: datetime
) -> None:
    """Keeps a photo of a person, once by its content."""
    values = {
        "tenant_id": tenant_id,
        "policyholder_id": policyholder_id,
        "sha256": hashlib.sha256(body).digest(),
        "media_type": media_type,
        "body": body,
        "at": at,
    }
    await _do(conn, "keep_photo", values)


async def photo_of(conn: AsyncConnection, answer_id: UUID) -> Row | None:
    """The photo of an answer: media_type and body; none where it has none."""
    return await _row(conn, "photo_of_answer", {"answer_id": answer_id})
