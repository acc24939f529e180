"""Signing in, signing out, and who one is."""

from typing import Annotated

from fastapi import Response

from api import policy, repository
from api.deps import Context, needs
from api.identity import COOKIE
from api.routing import noun
from api.schemas.responses import READ, problems
from api.schemas.session import Login, Me, TenantOut

router = noun("session")


@router.post("/session", responses=problems(401, 403, 408, 413, 429))
async def sign_in(body: Login, ctx: Annotated[Context, needs("open", "session")], response: Response) -> Me:
    """Opens a session and sets its cookie. Slows down, then locks for a while, after wrong passwords."""
    token, actor = await ctx.services.authenticator.sign_in(
        ctx.request, login=body.login, password=body.password.get_secret_value()
    )
    opened = Context(ctx.request, ctx.services, actor)
    me = await _me(opened)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(ctx.settings.api.session_hours * 3600),
        httponly=True,
        samesite="strict",
        secure=ctx.services.authenticator.secure_cookie(ctx.request),
        path="/",
    )
    return me


@router.delete("/session", status_code=204, responses=READ)
async def sign_out(ctx: Annotated[Context, needs("close", "session")], response: Response) -> None:
    """Ends this session at once."""
    await ctx.services.authenticator.sign_out(ctx.request)
    ctx.services.hub.end_session(ctx.request.cookies.get(COOKIE))
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


@router.get("/me", responses=READ)
async def me(ctx: Annotated[Context, needs("read", "me")]) -> Me:
    """Who is signed in, and what they may do."""
    return await _me(ctx)


async def _me(ctx: Context) -> Me:
    async with ctx.transaction() as conn:
        tenant = await repository.find_tenant(conn, ctx.tenant_id)
    return Me(
        principal_id=ctx.actor.principal_id,
        login=ctx.actor.login,
        display_name=ctx.actor.display_name,
        roles=sorted(ctx.actor.roles),
        may=policy.allowed(ctx.actor.roles),
        tenant=TenantOut(**tenant),
        exercise=ctx.services.installation.exercise,
        expires_at=ctx.actor.expires_at,
    )
