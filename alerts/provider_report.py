"""What a provider of text messages, calls or mail tells afterwards: that a message arrived or failed, and who replied.

A report is kept once and never moves a message backwards: what arrived stays delivered, whatever comes late. A failure
makes the next rung due at once. A reply is an answer of the person like one on the phone page; one that is not
understood is for the operator, and never counts as safe.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from alerts import delivery_repository, notices, provider_repository
from alerts.answer import give_answer
from alerts.reply_words import KEYS, Meaning, meaning
from core.errors import NotFound
from store.pool import AsyncConnection
from store.queries import Row

Status = Literal["delivered", "failed", "under_way"]
#: A reply without our reference is about the last message of this time.
REPLY_WITHIN = timedelta(days=2)
_MAX_SAID = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What became of a report."""

    state: str  #: of the message, now
    new: bool  #: False: it was known


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """What a reply was taken for."""

    meaning: Meaning | None  #: None: not understood; the operator is told
    answer_id: UUID | None


async def report(
    conn: AsyncConnection, *, channel: str, reference: UUID, status: Status, reason: str, now: datetime
) -> Reported:
    """Keeps a provider's report, in the transaction of `conn` (role tocsin_worker); raises NotFound."""
    found = await provider_repository.reported_delivery(conn, reference, channel)
    if found is None:
        raise NotFound("There is no such message on this channel.", reference=str(reference))
    if status == "under_way":
        return Reported(state=found["state"], new=False)
    new = await provider_repository.keep_report(
        conn, delivery_id=reference, tenant_id=found["tenant_id"], kind=status, reason=reason[:300], now=now
    )
    if new and status == "delivered":
        await delivery_repository.keep_delivered(conn, reference, now)
    elif new:
        told = f"its provider says: {reason[:300]}" if reason else "its provider says that it failed"
        await provider_repository.report_failed(conn, reference, told)
    return Reported(state=await provider_repository.state_of(conn, reference), new=new)


async def reply(
    conn: AsyncConnection,
    *,
    channel: str,
    reply_id: str,
    reference: UUID | None,
    number: str | None,
    key: str | None,
    text: str,
    now: datetime,
) -> Replied:
    """Keeps what a person pressed or wrote back as their answer; the same `reply_id` again changes nothing.

    The message it is about is the one of `reference`, else the last to `number`; raises NotFound where there is none.
    """
    found = await _about(conn, channel, reference, number, now)
    understood = KEYS.get(key.strip()) if key else meaning(text)
    said = (key or text)[:_MAX_SAID]
    if understood is None:
        await notices.tell(
            conn,
            found["tenant_id"],
            "reply_not_understood",
            f"{channel}:{reply_id}"[:200],
            now=now,
            detail={"policyholder_id": str(found["policyholder_id"]), "channel": channel, "said": said},
        )
        return Replied(meaning=None, answer_id=None)
    kept = await give_answer(
        conn,
        tenant_id=found["tenant_id"],
        policyholder_id=found["policyholder_id"],
        warning_id=found["warning_id"],
        kind=understood,
        detail={"by": channel, "said": said},
        idempotency_key=f"{channel}:{reply_id}"[:200],
        now=now,
    )
    return Replied(meaning=understood, answer_id=kept.answer_id)


async def _about(conn: AsyncConnection, channel: str, reference: UUID | None, number: str | None, now: datetime) -> Row:
    found = None
    if reference is not None:
        found = await provider_repository.reported_delivery(conn, reference, channel)
    elif number is not None:
        plain = re.sub(r"[^0-9+]", "", number)
        found = await provider_repository.delivery_to_number(conn, plain, channel, now - REPLY_WITHIN)
    if found is None:
        raise NotFound("We sent no message that this is about.")
    return found
