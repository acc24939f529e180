"""Feeds of others as they do."""

from typing import Annotated

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.feed import FeedOut
from api.schemas.responses import READ

router = noun("feeds")


@router.get("/feeds", responses=READ)
async def feeds(ctx: Annotated[Context, needs("read", "feed")]) -> list[FeedOut]:
    """The feeds that are on, by code, each with the age of its last good answer."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.feeds(conn, now=now)
    return [FeedOut(**row) for row in rows]
