"""What policyholders answer: safe, help, damage. Given once, kept once, told to the desk at once."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from alerts import answer_repository, delivery_repository, repository
from alerts.damage_report import reported
from alerts.photo import clean
from core.errors import Conflict, InvalidInput, NotFound
from core.events import AnswerGiven
from core.ids import new_id
from store import outbox
from store.pool import AsyncConnection

Kind = Literal["safe", "help", "damage"]
MAX_DETAIL_BYTES = 8 * 1024


class BadAnswer(InvalidInput):
    """This is not an answer."""


class KeyReused(Conflict):
    """This idempotency key was used for another answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it is kept."""

    answer_id: UUID
    kind: str
    answered_at: datetime
    new: bool  #: False: it was kept before, under the same key


async def give_answer(
    conn: AsyncConnection,
    *,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID | None,
    kind: str,
    detail: Mapping[str, Any],
    idempotency_key: str,
    now: datetime,
    photo: bytes | None = None,
) -> Answer:
    """Keeps an answer, in the transaction that `conn` is in; the same key and content again gives the first one back.

    A photo is kept beside it without its metadata, and named in the detail by the hash of what was kept. Raises
    BadAnswer naming the field, BadPhoto, NotFound when the warning was not for this person, KeyReused.
    """
    if "photo" in detail:
        raise BadAnswer("A photo is a field of its own.", field="detail.photo")
    shown = clean(photo) if photo is not None else None
    if shown is not None:
        detail = {**detail, "photo": hashlib.sha256(shown.body).hexdigest()}
    if kind not in get_args(Kind):
        raise BadAnswer("An answer is safe, help or damage.", kind=kind)
    if not 1 <= len(idempotency_key) <= 200:
        raise BadAnswer("An idempotency key has 1 to 200 characters.", field="idempotency_key")
    try:
        size = len(json.dumps(dict(detail), allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise BadAnswer("The detail of an answer must be JSON.", field="detail") from error
    if size > MAX_DETAIL_BYTES:
        raise BadAnswer("The detail of an answer is too long.", n_bytes=size, limit=MAX_DETAIL_BYTES)
    if warning_id is not None and not await delivery_repository.is_recipient(conn, warning_id, policyholder_id):
        raise NotFound("There is no such warning for this person.", warning_id=str(warning_id))
    answer_id = new_id()
    added = await delivery_repository.add_answer(
        conn,
        answer_id=answer_id,
        tenant_id=tenant_id,
        policyholder_id=policyholder_id,
        warning_id=warning_id,
        kind=kind,
        detail=detail,
        idempotency_key=idempotency_key,
        at=now,
    )
    if not added:
        return await _given_before(conn, tenant_id, policyholder_id, warning_id, kind, detail, idempotency_key)
    if shown is not None:
        await answer_repository.keep_photo(
            conn,
            tenant_id=tenant_id,
            policyholder_id=policyholder_id,
            media_type=shown.media_type,
            body=shown.body,
            at=now,
        )
    if kind == "damage":
        await _observe(conn, tenant_id, policyholder_id, warning_id, answer_id, detail, now)
    if kind == "help":
        await answer_repository.open_case(conn, answer_id, tenant_id)
    if warning_id is not None:
        await delivery_repository.mark_answered(conn, tenant_id, policyholder_id, warning_id, now)
    await outbox.publish(
        conn, AnswerGiven(answer_id=answer_id), ordering_key=f"answer:{policyholder_id}", tenant_id=tenant_id
    )
    return Answer(answer_id=answer_id, kind=kind, answered_at=now, new=True)


async def _observe(
    conn: AsyncConnection,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID | None,
    answer_id: UUID,
    detail: Mapping[str, Any],
    now: datetime,
) -> None:
    """A told depth is a reading of the home, in the answer's own transaction; without one there is no row."""
    if reported(detail, {}) is None:
        return
    told = reported(detail, await answer_repository.home_oed(conn, tenant_id, policyholder_id))
    assert told is not None
    await answer_repository.keep_reported(
        conn,
        answer_id=answer_id,
        tenant_id=tenant_id,
        policyholder_id=policyholder_id,
        warning_id=warning_id,
        value=told.value,
        error=told.error,
        weight=told.weight,
        floor_m=told.floor_m,
        floor_error_m=told.floor_error_m,
        at=now,
    )


async def _given_before(
    conn: AsyncConnection,
    tenant_id: UUID,
    policyholder_id: UUID,
    warning_id: UUID | None,
    kind: str,
    detail: Mapping[str, Any],
    idempotency_key: str,
) -> Answer:
    row = await delivery_repository.find_answer(conn, tenant_id, idempotency_key)
    if row is None or (row["policyholder_id"], row["warning_id"], row["kind"], row["detail"]) != (
        policyholder_id,
        warning_id,
        kind,
        json.loads(json.dumps(dict(detail))),
    ):
        raise KeyReused
    return Answer(answer_id=row["answer_id"], kind=row["kind"], answered_at=row["answered_at"], new=False)


async def mark_handled(
    conn: AsyncConnection, *, answer_id: UUID, principal_id: UUID, now: datetime
) -> tuple[datetime, UUID]:
    """(when, by whom) the answer was taken care of; the first to do so stays named. Raises NotFound."""
    fresh = await delivery_repository.handle_answer(conn, answer_id, principal_id, now)
    row = await delivery_repository.read_answer(conn, answer_id)
    if row is None:
        raise NotFound("There is no such answer.", answer_id=str(answer_id))
    if fresh:
        await answer_repository.close_case(conn, answer_id, now)
        # the stream shows the desk that somebody has it
        tenant_id = (await repository.read_principal(conn, principal_id) or {}).get("tenant_id")
        await outbox.publish(
            conn, AnswerGiven(answer_id=answer_id), ordering_key=f"answer:{answer_id}", tenant_id=tenant_id
        )
    return row["handled_at"], row["handled_by"]
