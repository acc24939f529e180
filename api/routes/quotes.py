"""Quotes: reading and issuing."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel

from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.quote import QuoteOut, QuotePage, QuoteRequest, QuoteSummary
from api.schemas.responses import ACT, READ, READ_ONE
from core.errors import NotFound

router = noun("quotes")


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

    async def act(conn: repository.Connection) -> BaseModel:
        return QuoteOut()

    return await ctx.once(act, status=201)
