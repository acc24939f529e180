"""Warnings: reading, releasing, rejecting, stopping."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel

from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.responses import ACT, READ, READ_ONE
from api.schemas.warning import (
    Approve,
    Approved,
    Pause,
    Reject,
    Rejected,
    SendingState,
    State,
    WarningOut,
    WarningPage,
    WarningSummary,
    WarningVersion,
)
from api.show import area_json
from core.errors import NotFound

router = noun("warnings")


@router.get("/warnings", responses=READ)
async def warnings(
    ctx: Annotated[Context, needs("read", "warning")],
    state: Annotated[State | None, Query(description="Only warnings whose newest version is in this state.")] = None,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> WarningPage:
    """The newest version of each warning, newest first."""
    before = read_cursor(cursor)
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.warnings(conn, state=state, before=before, limit=limit + 1)
    kept = rows[:limit]
    last = kept[-1] if len(rows) > limit else None
    return WarningPage(
        as_of=now,
        items=[WarningSummary(**row) for row in kept],
        next_cursor=write_cursor(last["drafted_at"], last["warning_id"]) if last else None,
    )


@router.get("/warnings/{warning_id}", responses=READ_ONE)
async def warning(warning_id: UUID, ctx: Annotated[Context, needs("read", "warning")]) -> WarningOut:
    """One warning: every version, every decision with its reason, approvals and deliveries."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        versions, decisions = await repository.warning(conn, warning_id)
    if not versions:
        raise NotFound
    shown = [
        WarningVersion(
            **{key: value for key, value in row.items() if key not in {"area", "content_sha256"}},
            area=area_json(row["area"]),
            content_sha256=bytes(row["content_sha256"]).hex(),
            cap_url=f"/v1/warnings/{warning_id}/{row['version']}/cap.xml",
        )
        for row in versions
    ]
    return WarningOut(warning_id=warning_id, as_of=now, versions=shown, decisions=decisions)


@router.get(
    "/warnings/{warning_id}/{version}/cap.xml",
    response_class=Response,
    responses={**READ_ONE, 200: {"content": {"application/cap+xml": {}}, "description": "A CAP 1.2 message."}},
)
async def cap(warning_id: UUID, version: int, ctx: Annotated[Context, needs("read", "warning")]) -> Response:
    """The CAP 1.2 message of one version."""
    xml = await repository.cap_xml(ctx, warning_id, version)
    return Response(xml, media_type="application/cap+xml")


@router.post("/warnings/{warning_id}/{version}/approve", responses=ACT, response_model=Approved)
async def approve(
    warning_id: UUID, version: int, body: Approve, ctx: Annotated[Context, needs("approve", "warning")]
) -> Response:
    """Approves exactly the content one has read; the last approval that is needed releases it."""

    async def act(conn: repository.Connection) -> BaseModel:
        return Approved()

    return await ctx.once(act)


@router.post("/warnings/{warning_id}/{version}/reject", responses=ACT, response_model=Rejected)
async def reject(
    warning_id: UUID, version: int, body: Reject, ctx: Annotated[Context, needs("reject", "warning")]
) -> Response:
    """Rejects a draft, with the reason that the log keeps."""

    async def act(conn: repository.Connection) -> BaseModel:
        return Rejected()

    return await ctx.once(act)


@router.get("/sending", responses=READ)
async def sending(ctx: Annotated[Context, needs("read", "warning")]) -> list[SendingState]:
    """What is stopped now; an empty list: nothing."""
    async with ctx.transaction() as conn:
        return [SendingState(**row) for row in await repository.pauses(conn)]


@router.post("/sending/pause", responses=ACT, response_model=SendingState)
async def pause(body: Pause, ctx: Annotated[Context, needs("pause", "sending")]) -> Response:
    """Stops sending at once; one person is enough."""

    async def act(conn: repository.Connection) -> BaseModel:
        return SendingState()

    return await ctx.once(act)


@router.post("/sending/resume", responses=ACT, response_model=SendingState)
async def resume(body: Pause, ctx: Annotated[Context, needs("resume", "sending")]) -> Response:
    """Asks to send again; it takes a second person who asks too."""

    async def act(conn: repository.Connection) -> BaseModel:
        return SendingState()

    return await ctx.once(act)
