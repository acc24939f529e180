"""Stations and their readings."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Query

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.common import Point
from api.schemas.responses import READ, READ_ONE
from api.schemas.station import (
    ObservationOut,
    ObservationSeries,
    StationCollection,
    StationFeature,
    StationProperties,
)
from api.show import forecast_steps, rfc3339, shown_level
from core.errors import InvalidInput, NotFound

router = noun("stations")


@router.get("/stations", responses=READ)
async def stations(ctx: Annotated[Context, needs("read", "station")]) -> StationCollection:
    """Every station with its state, its level and its newest readings."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.stations(conn, now=now)
    features = []
    for row in rows:
        shown = shown_level(row["state"], row["rules"], has_reading=bool(row["latest"]))
        features.append(
            StationFeature(
                id=str(row["station_id"]),
                geometry=None if row["lon"] is None else Point(coordinates=[row["lon"], row["lat"]]),
                properties=StationProperties(
                    station_id=row["station_id"],
                    code=row["code"],
                    name=row["name"],
                    river=row["river"],
                    state=row["state"],
                    state_since=row["state_since"],
                    level=shown.level,
                    held_level=shown.held_level,
                    phase=shown.phase,
                    held=shown.held,
                    latest=row["latest"],
                    thresholds=shown.thresholds,
                    threshold_quantity=shown.quantity,
                ),
            )
        )
    return StationCollection(as_of=rfc3339(now), features=features)


@router.get("/stations/{station_id}/observations", responses=READ_ONE)
async def observations(
    station_id: UUID,
    ctx: Annotated[Context, needs("read", "station")],
    quantity: Annotated[str, Query(max_length=64)] = "level",
    since: Annotated[datetime | None, Query(alias="from")] = None,
    until: Annotated[datetime | None, Query(alias="to")] = None,
    limit: Annotated[int, Query(ge=1, le=20_000)] = 2000,
) -> ObservationSeries:
    """The newest readings of one quantity between two times, oldest first."""
    for name, value in (("from", since), ("to", until)):
        if value is not None and value.tzinfo is None:
            raise InvalidInput(f"{name}: a time needs its offset from UTC, such as 2026-07-01T04:00:00Z.")
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        stream = await repository.find_datastream(conn, station_id, quantity)
        if stream is None:
            raise NotFound
        rows = await repository.observations(
            conn, datastream_id=stream["datastream_id"], since=since, until=until, limit=limit + 1
        )
        told = await repository.latest_forecast(conn, datastream_id=stream["datastream_id"], now=now)
    kept = rows[:limit]
    return ObservationSeries(
        station_id=station_id,
        quantity=quantity,
        unit=stream["unit"],
        as_of=now,
        items=[ObservationOut(**row) for row in reversed(kept)],
        truncated=len(rows) > limit,
        forecast=None if told is None or (until is not None and until < now) else forecast_steps(told, now),
    )
