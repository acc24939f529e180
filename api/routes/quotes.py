"""Quotes: reading and issuing."""

import asyncio
from typing import Annotated, Final
from uuid import UUID

from fastapi import Query, Response

from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.quote import QuoteOut, QuotePage, QuoteRequest, QuoteSummary
from api.schemas.responses import ACT, READ, READ_ONE
from core.errors import NotFound, Unavailable

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
    from itops import underwrite  # brings scipy, which nothing else here needs

    async def act(conn: repository.Connection) -> QuoteOut:
        priced = await asyncio.to_thread(underwrite.price_request, body.submission, body.fleet_csv, body.incidents_csv)
        stored = await underwrite.issue_quote(conn, priced, tenant_id=ctx.tenant_id, now=await repository.now(conn))
        row = await repository.find_quote(conn, stored.quote_id)
        assert row is not None  # stored in this transaction, or before it
        return QuoteOut(**row)

    try:
        await asyncio.wait_for(ctx.services.pricing.acquire(), _PRICING_WAIT_S)
    except TimeoutError:
        raise Busy(retry_after_s=_PRICING_WAIT_S) from None
    try:
        return await ctx.once(act, status=201)
    finally:
        ctx.services.pricing.release()
