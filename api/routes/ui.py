"""What a page needs before sign-in, and whether the process works."""

from typing import Annotated

from fastapi import Response

from api import repository
from api.deps import Context, needs
from api.languages import LANGUAGES
from api.routing import noun
from api.schemas.responses import problems
from api.schemas.ui import Basemap, Health, PartState, Ready, UiConfig
from api.version import VERSION

router = noun("installation")


def basemap_of(setting: str) -> Basemap:
    """The basemap setting as pages read it: a local PMTiles file is served from our own origin."""
    kind, _, where = setting.partition(":")
    if kind == "pmtiles" and where:
        remote = where.startswith(("http://", "https://"))
        return Basemap(kind="pmtiles", url=where if remote else "/basemap.pmtiles")
    if kind == "style" and where:
        return Basemap(kind="style", url=where)
    return Basemap(kind="bundled")


@router.get("/ui-config", responses=problems())
async def ui_config(ctx: Annotated[Context, needs("read", "ui-config")]) -> UiConfig:
    """Settings of the pages."""
    basemap = basemap_of(ctx.settings.basemap)
    async with ctx.services.worker_pool.connection() as conn:
        bounds = await repository.bounds(conn, exercise=ctx.services.installation.exercise)
    return UiConfig(
        installation_name=ctx.services.installation.name,
        exercise=ctx.services.installation.exercise,
        version=VERSION,
        basemap=basemap,
        attribution="Natural Earth" if basemap.kind == "bundled" else ctx.settings.basemap_attribution,
        bounds=bounds,
        languages=list(LANGUAGES),
        vapid_public_key=ctx.services.vapid_public_key,
    )


@router.get("/health")
async def health(ctx: Annotated[Context, needs("read", "health")]) -> Health:
    """Answers as long as the process lives."""
    return Health(version=VERSION)


@router.get("/ready", responses={503: {"model": Ready, "description": "A part does not work; `parts` says which."}})
async def ready(ctx: Annotated[Context, needs("read", "health")], response: Response) -> Ready:
    """Whether requests can be served now."""
    parts = {"stream": PartState(ok=ctx.services.hub.healthy, detail=ctx.services.hub.trouble)}
    try:
        async with ctx.services.app_pool.connection(timeout=2.0) as conn:
            await repository.ping(conn)
        parts["database"] = PartState(ok=True)
    except repository.DatabaseError as error:
        parts["database"] = PartState(ok=False, detail=type(error).__name__)
    answer = Ready(ready=all(part.ok for part in parts.values()), parts=parts)
    if not answer.ready:
        response.status_code = 503
    return answer
