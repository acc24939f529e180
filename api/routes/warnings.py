"""Warnings: reading, releasing, rejecting, stopping."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from alerts import release
from alerts.cap import of_alert, to_xml
from alerts.cap_feed import FeedEntry, atom_feed
from alerts.cap_sign import leaving, read_signer
from alerts.repository import read_warning
from api import repository
from api.cursors import read_cursor, write_cursor
from api.deps import Context, needs
from api.routing import noun
from api.schemas.responses import ACT, READ, READ_ONE, problems
from api.schemas.warning import (
    Approve,
    Approved,
    CancelDrafted,
    DecisionOut,
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
from core.errors import Conflict, NotFound

router = noun("warnings")


class NotReleased(Conflict):
    """This version was not released, so there is no message."""


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
            cap_url=f"/v1/warnings/{warning_id}/{row['version']}/cap.xml" if row["released_at"] else None,
        )
        for row in versions
    ]
    return WarningOut(
        warning_id=warning_id, as_of=now, versions=shown, decisions=[DecisionOut(**row) for row in decisions]
    )


@router.get(
    "/warnings/{warning_id}/{version}/cap.xml",
    response_class=Response,
    responses={
        **problems(401, 403, 404, 409),
        200: {"content": {"application/cap+xml": {}}, "description": "A CAP 1.2 message."},
    },
)
async def cap(warning_id: UUID, version: int, ctx: Annotated[Context, needs("read", "cap")]) -> Response:
    """The CAP 1.2 message of one version that was released; 409 for a draft, which must never pass for a warning."""
    async with ctx.transaction() as conn:
        stored = await read_warning(conn, warning_id, version)
    if stored.released_at is None:
        raise NotReleased
    document = to_xml(of_alert(stored.alert, sender_name=stored.tenant_name))
    signer = read_signer(ctx.settings.cap.signing_key, ctx.settings.cap.signing_certificate)
    headers = {"X-Tocsin-Signed": "yes" if signer is not None else "no"}
    return Response(leaving(document, signer), media_type="application/cap+xml", headers=headers)


@router.get(
    "/cap/feed",
    response_class=Response,
    responses={**problems(401, 403), 200: {"content": {"application/atom+xml": {}}, "description": "An Atom feed."}},
)
async def cap_feed(ctx: Annotated[Context, needs("read", "cap")]) -> Response:
    """What was released, newest first, as an Atom feed: each CAP message under its own address."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.cap_feed(conn, now=now, limit=200)
    api = ctx.settings.api
    base = (api.public_url or f"http://{api.host}:{api.port}").rstrip("/")
    entries = [
        FeedEntry(
            identifier=row["identifier"],
            title=next(iter(row["texts"].values()))["headline"],
            link=f"{base}/v1/warnings/{row['warning_id']}/{row['version']}/cap.xml",
            updated_at=row["released_at"],
        )
        for row in rows
    ]
    return Response(atom_feed(entries, base=base, now=now), media_type="application/atom+xml")


@router.post("/warnings/{warning_id}/{version}/approve", responses=ACT, response_model=Approved)
async def approve(
    warning_id: UUID, version: int, body: Approve, ctx: Annotated[Context, needs("approve", "warning")]
) -> Response:
    """Approves exactly the content one has read; the last approval that is needed releases it."""

    async def act(conn: repository.Connection) -> Approved:
        done = await release.approve(
            conn,
            principal_id=ctx.principal_id,
            warning_id=warning_id,
            version=version,
            content_sha256=bytes.fromhex(body.content_sha256),
            now=await repository.now(conn),
        )
        return Approved(**asdict(done))

    return await ctx.once(act)


@router.post("/warnings/{warning_id}/{version}/reject", responses=ACT, response_model=Rejected)
async def reject(
    warning_id: UUID, version: int, body: Reject, ctx: Annotated[Context, needs("reject", "warning")]
) -> Response:
    """Rejects a draft, with the reason that the log keeps."""

    async def act(conn: repository.Connection) -> Rejected:
        await release.reject(
            conn,
            principal_id=ctx.principal_id,
            warning_id=warning_id,
            version=version,
            reason=body.reason,
            now=await repository.now(conn),
        )
        return Rejected(warning_id=warning_id, version=version, state="rejected")

    return await ctx.once(act)


@router.post("/warnings/{warning_id}/cancel", responses=ACT, response_model=CancelDrafted)
async def cancel(warning_id: UUID, body: Reject, ctx: Annotated[Context, needs("cancel", "warning")]) -> Response:
    """Takes back a warning that was an error: stops its sending at once, and drafts a Cancel for another to approve."""

    async def act(conn: repository.Connection) -> CancelDrafted:
        version = await release.draft_cancel(
            conn,
            principal_id=ctx.principal_id,
            warning_id=warning_id,
            why=body.reason,
            now=await repository.now(conn),
        )
        return CancelDrafted(warning_id=warning_id, version=version)

    return await ctx.once(act)


@router.get("/sending", responses=READ)
async def sending(ctx: Annotated[Context, needs("read", "warning")]) -> list[SendingState]:
    """What is stopped now; an empty list: nothing."""
    async with ctx.transaction() as conn:
        return [SendingState(**row) for row in await repository.pauses(conn)]


@router.post("/sending/pause", responses=ACT, response_model=SendingState)
async def pause(body: Pause, ctx: Annotated[Context, needs("pause", "sending")]) -> Response:
    """Stops sending at once; one person is enough."""
    return await _stop_or_go_on(release.pause, body, ctx)


@router.post("/sending/resume", responses=ACT, response_model=SendingState)
async def resume(body: Pause, ctx: Annotated[Context, needs("resume", "sending")]) -> Response:
    """Asks to send again; it takes a second person who asks too. 404 where nothing is stopped."""
    return await _stop_or_go_on(release.resume, body, ctx)


async def _stop_or_go_on(verb: Callable[..., Awaitable[release.Pause]], body: Pause, ctx: Context) -> Response:
    async def act(conn: repository.Connection) -> SendingState:
        done = await verb(
            conn,
            principal_id=ctx.principal_id,
            tenant_id=ctx.tenant_id,
            scope=body.scope,
            warning_id=body.warning_id,
            now=await repository.now(conn),
        )
        return SendingState(**asdict(done), needs_second_person=done.needs_second_person)

    # A stop of everybody's sending is no tenant's row.
    return await ctx.once(act, as_system=body.scope == "all")
