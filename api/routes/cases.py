"""Calls for help as work, and what the operator on duty must see."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from alerts import answer_repository, cases
from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.case import AvoidedLoss, CaseAct, CaseOut, CasePage, NoticeOut, NoticeSeen
from api.schemas.responses import ACT, READ
from core.errors import NotFound

router = noun("cases")


@router.get("/cases", responses=READ)
async def help_cases(ctx: Annotated[Context, needs("read", "case")]) -> CasePage:
    """Calls for help, the most urgent first."""
    async with ctx.transaction() as conn:
        return CasePage(
            as_of=await repository.now(conn), items=[CaseOut.from_row(row) for row in await cases.cases(conn)]
        )


@router.post("/cases/{answer_id}", responses=ACT, response_model=CaseOut)
async def act_on_case(answer_id: UUID, body: CaseAct, ctx: Annotated[Context, needs("handle", "case")]) -> Response:
    """Takes a case, marks the person as reached, hands over to responders, or closes it."""

    async def act(conn: repository.Connection) -> CaseOut:
        row = await cases.act(
            conn,
            answer_id=answer_id,
            principal_id=ctx.principal_id,
            what=body.act,
            handed_to=body.handed_to,
            note=body.note,
            now=await repository.now(conn),
        )
        return CaseOut.from_row(row)

    return await ctx.once(act)


@router.get("/notices", responses=READ)
async def notices(ctx: Annotated[Context, needs("read", "notice")]) -> list[NoticeOut]:
    """What the operator must see, unseen first."""
    async with ctx.transaction() as conn:
        return [NoticeOut(**row) for row in await answer_repository.notices(conn)]


@router.post("/notices/{notice_id}/seen", responses=ACT, response_model=NoticeSeen)
async def see_notice(notice_id: UUID, ctx: Annotated[Context, needs("see", "notice")]) -> Response:
    """Somebody has seen it; the first stays named."""

    async def act(conn: repository.Connection) -> NoticeSeen:
        await answer_repository.see_notice(conn, notice_id, ctx.principal_id, await repository.now(conn))
        found = [row for row in await answer_repository.notices(conn) if row["notice_id"] == notice_id]
        if not found or found[0]["seen_at"] is None:
            raise NotFound
        return NoticeSeen(notice_id=notice_id, seen_at=found[0]["seen_at"])

    return await ctx.once(act)


@router.get("/avoided-losses", responses=READ)
async def avoided_losses(
    ctx: Annotated[Context, needs("read", "case")], warning_id: Annotated[UUID | None, Query()] = None
) -> list[AvoidedLoss]:
    """What steps that people say are done are estimated to have saved, by warning and step."""
    async with ctx.transaction() as conn:
        return [AvoidedLoss(**row) for row in await answer_repository.avoided_by_warning(conn, warning_id)]
