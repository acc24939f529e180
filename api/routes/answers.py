"""What people answered, and that it was taken care of."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from alerts import answer_repository
from alerts.answer import mark_handled
from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.answer import AnswerKind, AnswerOut, AnswerPage, Handled
from api.schemas.responses import ACT, READ, READ_ONE
from core.errors import NotFound

router = noun("answers")


@router.get("/answers", responses=READ)
async def answers(
    ctx: Annotated[Context, needs("read", "answer")],
    kind: Annotated[AnswerKind | None, Query()] = None,
    open_only: Annotated[bool, Query(description="Only those that nobody has handled.")] = False,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AnswerPage:
    """Answers, newest first."""
    before = read_cursor(cursor)
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.answers(conn, kind=kind, open_only=open_only, before=before, limit=limit + 1)
    kept = rows[:limit]
    last = kept[-1] if len(rows) > limit else None
    return AnswerPage(
        as_of=now,
        items=[AnswerOut(**row) for row in kept],
        next_cursor=write_cursor(last["answered_at"], last["answer_id"]) if last else None,
    )


@router.get(
    "/answers/{answer_id}/photo",
    responses=READ_ONE | {200: {"content": {"image/*": {}}, "description": "JPEG, PNG or WebP."}},
    response_class=Response,
)
async def answer_photo(answer_id: UUID, ctx: Annotated[Context, needs("read", "answer")]) -> Response:
    """The photo of an answer, without its metadata."""
    async with ctx.transaction() as conn:
        found = await answer_repository.photo_of(conn, answer_id)
    if found is None:
        raise NotFound
    # shown, never run: whatever the bytes are, they are one image and nothing else
    headers = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, max-age=3600"}
    return Response(bytes(found["body"]), media_type=found["media_type"], headers=headers)


@router.post("/answers/{answer_id}/handled", responses=ACT, response_model=Handled)
async def handled(answer_id: UUID, ctx: Annotated[Context, needs("handle", "answer")]) -> Response:
    """Marks an answer as taken care of; the first to do so stays named."""

    async def act(conn: repository.Connection) -> Handled:
        at, who = await mark_handled(
            conn, answer_id=answer_id, principal_id=ctx.principal_id, now=await repository.now(conn)
        )
        return Handled(answer_id=answer_id, handled_at=at, handled_by=await repository.display_name(conn, who))

    return await ctx.once(act)
