"""The console's numbers, assessments, cells and locations."""

from typing import Annotated

from fastapi import Query

from api import repository
from api.deps import Context, needs
from api.losses import losses_json
from api.routing import noun
from api.schemas.common import Point, Polygon
from api.schemas.exposure import (
    AnswerCounts,
    AssessmentOut,
    Assessments,
    CellCollection,
    CellFeature,
    CellProperties,
    FeedOut,
    LatestLosses,
    LocationCollection,
    LocationFeature,
    LocationProperties,
    NumberSource,
    Overview,
    StationCounts,
)
from api.schemas.responses import READ
from api.show import cell_ring, cell_text, parse_bbox, rfc3339

router = noun("exposure")


@router.get("/overview", responses=READ)
async def overview(ctx: Annotated[Context, needs("read", "overview")]) -> Overview:
    """The numbers of the console. Null is unknown, never zero."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        row = await repository.overview(conn, now=now)
    source = NumberSource(**{name: row[name] for name in NumberSource.model_fields}) if row["n_portfolios"] else None
    return Overview(
        as_of=now,
        source=source,
        exposed_tiv=row["exposed_tiv"],
        currency=row["currency"],
        exposed_by_currency=row["exposed_by_currency"],
        n_locations=row["n_locations"],
        n_policies=row["n_policies"],
        unknown_tiv=row["unknown_tiv"],
        n_unknown=row["n_unknown"],
        n_warnings_live=row["n_warnings_live"],
        n_drafts_waiting=row["n_drafts_waiting"],
        n_people_warned=row["n_people_warned"],
        n_answers=AnswerCounts(**row["n_answers"]),
        n_help_open=row["n_help_open"],
        n_stations=StationCounts(**row["n_stations"]),
        messages_stored=row["messages_stored"],
        feeds=[FeedOut(**feed) for feed in row["feeds"]],
        sending_paused=row["sending_paused"],
    )


@router.get("/assessments/latest", responses=READ)
async def latest_assessments(ctx: Annotated[Context, needs("read", "assessment")]) -> Assessments:
    """What the newest footprint of every open hazard event exposes, portfolio by portfolio."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.latest_assessments(conn, now=now)
    return Assessments(as_of=now, items=[AssessmentOut(**row) for row in rows])


@router.get("/assessments/latest/losses", responses=READ)
async def latest_losses(
    ctx: Annotated[Context, needs("read", "assessment")], limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> LatestLosses:
    """Losses of the newest footprint of every open hazard event: distributions, locations, and policies by rank.

    `limit` holds for locations and for policies of each assessment.
    """
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.latest_losses(conn, now=now, limit=limit)
    return LatestLosses(as_of=now, items=[losses_json(row) for row in rows])


@router.get("/exposure/cells", responses=READ)
async def cells(
    ctx: Annotated[Context, needs("read", "location")], resolution: Annotated[int, Query(ge=0, le=9)] = 7
) -> CellCollection:
    """Insured value by H3 cell at a resolution from 0 (continents) to 9 (city blocks)."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows, unmapped = await repository.exposure_cells(conn, resolution)
    features = []
    for row in rows:
        single = len(row["tiv_by_currency"]) == 1
        cell = cell_text(row["cell"])
        features.append(
            CellFeature(
                id=cell,
                geometry=Polygon(coordinates=[cell_ring(cell)]),
                properties=CellProperties(
                    cell=cell,
                    n_locations=row["n_locations"],
                    tiv=float(next(iter(row["tiv_by_currency"].values()))) if single else None,
                    currency=next(iter(row["tiv_by_currency"])) if single else None,
                    tiv_by_currency=row["tiv_by_currency"],
                ),
            )
        )
    return CellCollection(
        as_of=rfc3339(now),
        features=features,
        resolution=resolution,
        n_unmapped=unmapped["n_locations"],
        unmapped_tiv_by_currency=unmapped["tiv_by_currency"],
    )


@router.get("/locations", responses=READ)
async def locations(
    ctx: Annotated[Context, needs("read", "location")],
    bbox: Annotated[
        str | None, Query(description="west,south,east,north in degrees", max_length=200, examples=["79.8,6.8,80.1,7"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=5000)] = 1000,
) -> LocationCollection:
    """Insured locations inside a box, largest value first."""
    box = parse_bbox(bbox)
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.locations(conn, box=box, limit=limit + 1)
    return LocationCollection(
        as_of=rfc3339(now),
        truncated=len(rows) > limit,
        features=[
            LocationFeature(
                id=str(row["location_id"]),
                geometry=Point(coordinates=[row["lon"], row["lat"]]),
                properties=LocationProperties(**{k: v for k, v in row.items() if k not in {"lon", "lat"}}),
            )
            for row in rows[:limit]
        ],
    )
