"""What people do with a stored quote (refer, approve, decline, bind), and the preventive work it asks for."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from core.ids import new_id
from itops import issuing, offers, repository, rules, underwrite
from itops.alarms import WorkOrder, work_orders
from itops.quote import Quote
from itops.repository import QuoteAction, StoredQuote
from itops.submission import Alarm
from store.pool import AsyncConnection

#: Approvals a decision needs before the quote may be bound.
NEEDED = {"quote": 0, "refer": 1, "decline": 2}


class AlreadyBound(Conflict):
    """The quote is bound; what is bound is not decided again."""


class WasDeclined(Conflict):
    """The quote was declined."""


class NeedsApproval(Conflict):
    """The quote was referred, and has not been approved by enough people yet."""


class OwnReferral(NotPermitted):
    """Who referred a quote may not approve it."""


class Expired(Conflict):
    """The quote's policy period has begun; it can no longer be bound."""


class UnknownOption(InvalidInput):
    """The quote has no option of this name."""


class UnknownOrder(NotFound):
    """There is no open work order of this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who acts."""

    principal_id: UUID
    name: str


async def act(
    conn: AsyncConnection,
    quote_id: UUID,
    *,
    action: str,
    person: Person,
    reason: str,
    now: datetime,
    option: str | None = None,
) -> list[QuoteAction]:
    """Does one thing with a quote, and gives back all that was done with it.

    Binding wants as many other people's approvals as the decision says (referred 1, declined 2), a policy period that
    has not begun, and the name of one of the quote's options; it opens the quote's work orders in the same
    transaction. Raises UnknownQuote, AlreadyBound, WasDeclined, OwnReferral, NeedsApproval, Expired, UnknownOption.
    """
    await repository.lock_quote(conn, quote_id)
    stored = await repository.find_quote(conn, quote_id)
    if stored is None:
        raise issuing.UnknownQuote(quote_id=str(quote_id))
    if not reason.strip():
        raise InvalidInput("reason: is blank; a decision that nobody explains cannot be followed later")
    done = await repository.actions_of(conn, quote_id)
    if any(item.action == "bind" for item in done):
        raise AlreadyBound(quote_id=str(quote_id))
    if any(item.action == "decline" for item in done):
        raise WasDeclined(quote_id=str(quote_id))
    premium = None
    if action == "approve" and any(
        item.action == "refer" and item.principal_id == person.principal_id for item in done
    ):
        raise OwnReferral
    if action == "bind":
        premium = _bindable(stored, done, person, option, now)
    await repository.add_action(
        conn,
        action_id=new_id(),
        tenant_id=stored.tenant_id,
        quote_id=quote_id,
        action=QuoteAction(
            action=action,
            option_name=option if action == "bind" else None,
            premium=premium,
            reason=reason.strip(),
            principal_id=person.principal_id,
            acted_by=person.name,
            acted_at=now,
        ),
    )
    if action == "bind":
        await open_orders(conn, stored, now=now)
    return await repository.actions_of(conn, quote_id)


def _bindable(
    stored: StoredQuote, done: Sequence[QuoteAction], person: Person, option: str | None, now: datetime
) -> Decimal:
    """The premium that is agreed; raises where the quote may not be bound."""
    result = stored.result
    voices = {item.principal_id for item in done if item.action == "approve"} - {person.principal_id}
    needed = NEEDED[str(result.get("decision", "refer"))]
    if any(item.action == "refer" for item in done):
        needed = max(needed, 1)
    if len(voices) < needed:
        raise NeedsApproval(
            f"The quote is decided '{result.get('decision', 'refer')}': it needs {needed} approval(s) by others than "
            f"who binds it, and has {len(voices)}"
        )
    if now.date().isoformat() > result["policy_period"]["from"]:
        raise Expired(policy_from=result["policy_period"]["from"])
    known = {item["name"]: item for item in result.get("options", [])}
    if option not in known:
        raise UnknownOption(f"option: {option!r} is not an option of this quote; there are {', '.join(known)}")
    return Decimal(str(known[option]["commercial_premium"]))


# ---------------------------------------------------------------- preventive work
async def open_orders(conn: AsyncConnection, stored: StoredQuote, *, now: datetime) -> int:
    """Opens the work orders of a quote's alarms at inception; the number that are new."""
    priced = await asyncio.to_thread(underwrite.price_inputs, stored.submission)
    return await _keep(conn, stored, priced.quote, priced.quote.orders, origin="inception", seen_at={}, now=now)


async def watch_alarms(conn: AsyncConnection, quote_id: UUID, *, now: datetime) -> int:
    """Reads the newest telemetry of a quote's devices and opens a work order for each alarm that asks for work.

    A device is the station whose code is its asset_id. Readings that failed their checks say nothing. Gives the number
    of orders that are new. Raises UnknownQuote.
    """
    stored = await repository.find_quote(conn, quote_id)
    if stored is None:
        raise issuing.UnknownQuote(quote_id=str(quote_id))
    priced = await asyncio.to_thread(underwrite.price_inputs, stored.submission)
    book = priced.quote.figures.book
    class_of = {device.asset.asset_id: device.asset.device_class for device in priced.quote.fitted.devices}
    readings = await repository.telemetry_of(
        conn, tenant_id=stored.tenant_id, asset_ids=sorted(class_of), signals=sorted(book.alarms["signals"]), until=now
    )
    seen_at = {(asset_id, signal): at for asset_id, signal, _, at in readings}
    alarms = [
        Alarm(asset_id=asset_id, signal=signal, value=value, seen_on=at.date())
        for asset_id, signal, value, at in readings
    ]
    length = (priced.quote.period_to - priced.quote.period_from).days
    orders = work_orders(alarms, class_of, length, book)
    return await _keep(conn, stored, priced.quote, orders, origin="in_force", seen_at=seen_at, now=now)


async def _keep(
    conn: AsyncConnection,
    stored: StoredQuote,
    quote: Quote,
    orders: Sequence[WorkOrder],
    *,
    origin: str,
    seen_at: Mapping[tuple[str, str], datetime],
    now: datetime,
) -> int:
    n = 0
    for order in orders:
        seen = seen_at.get((order.asset_id, order.signal))
        before, after = await asyncio.to_thread(effect, quote, order)
        n += await repository.add_work_order(
            conn,
            {
                "work_order_id": uuid5(stored.quote_id, f"{order.asset_id} {order.signal} {order.action} {seen or ''}"),
                "tenant_id": stored.tenant_id,
                "quote_id": stored.quote_id,
                "asset_id": order.asset_id,
                "signal": order.signal,
                "value": order.value,
                "action": order.action,
                "hazard_before": order.hazard_before,
                "hazard_after": order.hazard_after,
                "premium_before": before,
                "premium_after": after,
                "origin": origin,
                "seen_at": seen,
                "opened_at": now,
            },
        )
    return n


def effect(quote: Quote, order: WorkOrder) -> tuple[Decimal, Decimal]:
    """The commercial premium with this device's alarm, and with this one order done."""
    factor = rules.tier_factor(quote.assessment.score, quote.assessment.relativity, quote.figures.book.rules)
    premiums = []
    for hazard in (order.hazard_before, order.hazard_after):
        figures = offers.with_work_done(quote.figures, quote.fitted, {order.asset_id: hazard})
        premiums.append(offers.commercial(figures, factor).premium.amount)
    return premiums[0], premiums[1]


async def close_order(
    conn: AsyncConnection,
    quote_id: UUID,
    work_order_id: UUID,
    *,
    state: str,
    by: str,
    evidence: str,
    now: datetime,
) -> list[dict[str, Any]]:
    """Closes an open order as done or cancelled, with what shows it. Raises UnknownOrder."""
    if state not in ("done", "cancelled") or not evidence.strip():
        raise InvalidInput("state: is done or cancelled; evidence: says what shows it, and is not blank")
    closed = await repository.close_work_order(
        conn, quote_id=quote_id, work_order_id=work_order_id, state=state, closed_at=now, closed_by=by,
        evidence=evidence.strip(),
    )  # fmt: skip
    if not closed:
        raise UnknownOrder
    return await repository.work_orders_of(conn, quote_id)
