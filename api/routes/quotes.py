"""Quotes: reading and issuing."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import Query, Response

from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.quote import (
    QuoteAct,
    QuoteActionOut,
    QuoteActions,
    QuoteBind,
    QuoteOut,
    QuotePage,
    QuotePreview,
    QuoteRequest,
    QuoteRerun,
    QuoteStress,
    QuoteSummary,
    WorkOrderClose,
    WorkOrderOut,
    WorkOrders,
)
from api.schemas.responses import ACT, READ, READ_ONE
from core.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from itops.fit_use import FitUse
    from itops.repository import QuoteAction
    from itops.underwrite import Priced

router = noun("quotes")

_PRICING_WAIT_S: Final = 10.0


class Busy(Unavailable):
    """Other quotes are being priced; try again in a moment."""


@router.get("/quotes", responses=READ)
async def quotes(
    ctx: Annotated[Context, needs("read", "quote")],
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> QuotePage:
    """Stored quotes, newest first."""
    before = read_cursor(cursor)
    async with ctx.transaction() as conn:
        rows = await repository.quotes(conn, before=before, limit=limit + 1)
    kept = rows[:limit]
    last = kept[-1] if len(rows) > limit else None
    return QuotePage(
        items=[QuoteSummary(**row) for row in kept],
        next_cursor=write_cursor(last["issued_at"], last["quote_id"]) if last else None,
    )


@router.get("/quotes/{quote_id}", responses=READ_ONE)
async def quote(quote_id: UUID, ctx: Annotated[Context, needs("read", "quote")]) -> QuoteOut:
    """One quote with its submission and its result."""
    async with ctx.transaction() as conn:
        row = await repository.find_quote(conn, quote_id)
    if row is None:
        raise NotFound
    return QuoteOut(**row)


@router.post("/quotes", status_code=201, responses=ACT, response_model=QuoteOut)
async def issue(body: QuoteRequest, ctx: Annotated[Context, needs("issue", "quote")]) -> Response:
    """Prices a submission and stores the quote; the same submission gives the stored quote again."""
    from itops import issuing, underwrite  # brings scipy, which nothing else here needs

    async def act(conn: repository.Connection) -> QuoteOut:
        fits = await _fits(conn, ctx, body)
        priced = await asyncio.to_thread(
            underwrite.price_request, body.submission, body.fleet_csv, body.incidents_csv, fits
        )
        stored = await issuing.issue_quote(conn, priced, tenant_id=ctx.tenant_id, now=await repository.now(conn))
        row = await repository.find_quote(conn, stored.quote_id)
        assert row is not None  # stored in this transaction, or before it
        return QuoteOut(**row)

    async with _turn(ctx):
        return await ctx.once(act, status=201)


async def _fits(conn: repository.Connection, ctx: Context, body: QuoteRequest) -> "list[FitUse]":
    """The tenant's fits that were known on the submission's as-of day."""
    from itops import repository as quotes_kept

    try:
        as_of = date.fromisoformat(str(body.submission.get("as_of")))
    except ValueError:
        return []  # the submission is refused for it, with its own words
    return await quotes_kept.fitted_models(conn, tenant_id=ctx.tenant_id, as_of=as_of)


@asynccontextmanager
async def _turn(ctx: Context) -> AsyncIterator[None]:
    """One of the few places at pricing; raises Busy where none comes free."""
    try:
        await asyncio.wait_for(ctx.services.pricing.acquire(), _PRICING_WAIT_S)
    except TimeoutError:
        raise Busy(retry_after_s=_PRICING_WAIT_S) from None
    try:
        yield
    finally:
        ctx.services.pricing.release()


@router.post("/quotes/preview", responses=ACT)
async def preview(body: QuoteRequest, ctx: Annotated[Context, needs("issue", "quote")]) -> QuotePreview:
    """Prices a submission and stores nothing: the same figures that issuing it would store."""
    from itops import underwrite

    async with _turn(ctx):
        async with ctx.transaction() as conn:
            fits = await _fits(conn, ctx, body)
        priced = await asyncio.to_thread(
            underwrite.price_request, body.submission, body.fleet_csv, body.incidents_csv, fits
        )
        return QuotePreview(result=priced.result())


async def _stored(ctx: Context, quote_id: UUID) -> dict[str, Any]:
    async with ctx.transaction() as conn:
        row = await repository.find_quote(conn, quote_id)
    if row is None:
        raise NotFound
    return row


def _again(row: dict[str, Any]) -> "Priced":
    from itops import underwrite

    return underwrite.priced_again(
        row["submission"], row["result"], row["inputs_sha256"], row["model_version"], quote_id=str(row["quote_id"])
    )


@router.get(
    "/quotes/{quote_id}/pdf",
    responses={**READ_ONE, 200: {"content": {"application/pdf": {}}, "description": "The quote as a PDF."}},
    response_class=Response,
)
async def quote_pdf(
    quote_id: UUID,
    ctx: Annotated[Context, needs("read", "quote")],
    language: Annotated[Literal["en", "zh"], Query()] = "en",
) -> Response:
    """The quote as a PDF, from what was stored."""
    from itops import pdf

    row = await _stored(ctx, quote_id)
    if "commercial_premium" not in row["result"]:
        raise NotFound  # an earlier model's quote has not what a PDF shows
    made = await asyncio.to_thread(pdf.render, row["result"], language, quote_id=str(quote_id))
    name = f"quote-{quote_id}-{language}.pdf"
    return Response(made, media_type="application/pdf", headers={"Content-Disposition": f'inline; filename="{name}"'})


@router.post("/quotes/{quote_id}/rerun", responses=ACT)
async def rerun(quote_id: UUID, ctx: Annotated[Context, needs("read", "quote")]) -> QuoteRerun:
    """Computes a stored quote again from its inputs; a conflict where a cent differs or another model made it."""
    row = await _stored(ctx, quote_id)
    async with _turn(ctx):
        priced = await asyncio.to_thread(_again, row)
    quote = priced.quote
    return QuoteRerun(quote_id=quote_id, same=True, premium=quote.premium.amount, inputs_sha256=quote.inputs_sha256)


@router.post("/quotes/{quote_id}/stress", responses=ACT)
async def stress(quote_id: UUID, ctx: Annotated[Context, needs("read", "quote")]) -> QuoteStress:
    """The quote under the stress scenarios, and the frequency at which its loss ratio is 100 %."""
    from itops.stress import plain_stress

    row = await _stored(ctx, quote_id)
    async with _turn(ctx):
        told = await asyncio.to_thread(lambda: plain_stress(_again(row).quote))
    return QuoteStress(quote_id=quote_id, result=told)


@router.get("/quotes/{quote_id}/actions", responses=READ_ONE)
async def quote_actions(quote_id: UUID, ctx: Annotated[Context, needs("read", "quote")]) -> QuoteActions:
    """What was done with a quote."""
    from itops import repository as quotes_kept

    await _stored(ctx, quote_id)
    async with ctx.transaction() as conn:
        return _actions(await quotes_kept.actions_of(conn, quote_id))


def _actions(done: "Sequence[QuoteAction]") -> QuoteActions:
    return QuoteActions(
        items=[
            QuoteActionOut(
                action=item.action, option_name=item.option_name, premium=item.premium, reason=item.reason,
                acted_by=item.acted_by, acted_at=item.acted_at,
            )
            for item in done
        ]
    )  # fmt: skip


async def _act(ctx: Context, quote_id: UUID, action: str, reason: str, option: str | None = None) -> Response:
    from itops import bind

    person = bind.Person(principal_id=ctx.principal_id, name=ctx.actor.display_name or ctx.actor.login)

    async def act(conn: repository.Connection) -> QuoteActions:
        now = await repository.now(conn)
        return _actions(
            await bind.act(conn, quote_id, action=action, person=person, reason=reason, now=now, option=option)
        )

    return await ctx.once(act)


@router.post("/quotes/{quote_id}/refer", responses=ACT, response_model=QuoteActions)
async def refer_quote(quote_id: UUID, body: QuoteAct, ctx: Annotated[Context, needs("refer", "quote")]) -> Response:
    """Sends a quote to somebody else to decide."""
    return await _act(ctx, quote_id, "refer", body.reason)


@router.post("/quotes/{quote_id}/approve", responses=ACT, response_model=QuoteActions)
async def approve_quote(quote_id: UUID, body: QuoteAct, ctx: Annotated[Context, needs("approve", "quote")]) -> Response:
    """Approves a referred quote; who referred it may not, and one person is one voice."""
    return await _act(ctx, quote_id, "approve", body.reason)


@router.post("/quotes/{quote_id}/decline", responses=ACT, response_model=QuoteActions)
async def decline_quote(quote_id: UUID, body: QuoteAct, ctx: Annotated[Context, needs("decline", "quote")]) -> Response:
    """Declines a quote, for good."""
    return await _act(ctx, quote_id, "decline", body.reason)


@router.post("/quotes/{quote_id}/bind", responses=ACT, response_model=QuoteActions)
async def bind_quote(quote_id: UUID, body: QuoteBind, ctx: Annotated[Context, needs("bind", "quote")]) -> Response:
    """Brings one of a quote's options into force and opens its work orders."""
    async with _turn(ctx):
        return await _act(ctx, quote_id, "bind", body.reason, body.option)


def _orders(rows: "Sequence[dict[str, Any]]") -> WorkOrders:
    return WorkOrders(items=[WorkOrderOut(**{k: v for k, v in row.items() if k != "quote_id"}) for row in rows])


@router.get("/quotes/{quote_id}/work-orders", responses=READ_ONE)
async def quote_work_orders(quote_id: UUID, ctx: Annotated[Context, needs("read", "quote")]) -> WorkOrders:
    """The preventive work that a quote's alarms asked for."""
    from itops import repository as quotes_kept

    await _stored(ctx, quote_id)
    async with ctx.transaction() as conn:
        return _orders(await quotes_kept.work_orders_of(conn, quote_id))


@router.post("/quotes/{quote_id}/work-orders/{work_order_id}/close", responses=ACT, response_model=WorkOrders)
async def close_work_order(
    quote_id: UUID,
    work_order_id: UUID,
    body: WorkOrderClose,
    ctx: Annotated[Context, needs("close", "work-order")],
) -> Response:
    """Closes an open work order as done or cancelled, with what shows it."""
    from itops import bind

    async def act(conn: repository.Connection) -> WorkOrders:
        rows = await bind.close_order(
            conn, quote_id, work_order_id, state=body.state, evidence=body.evidence,
            by=ctx.actor.display_name or ctx.actor.login, now=await repository.now(conn),
        )  # fmt: skip
        return _orders(rows)

    return await ctx.once(act)
