"""Footprints of open hazard events."""

from typing import Annotated

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.hazard import FootprintCollection, FootprintFeature, FootprintProperties, HazardEventOut
from api.schemas.responses import READ
from api.show import area_json, rfc3339, zones_json

router = noun("hazards")


@router.get("/footprints/latest", responses=READ)
async def latest_footprints(ctx: Annotated[Context, needs("read", "footprint")]) -> FootprintCollection:
    """The newest footprint of every open hazard event."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await repository.latest_footprints(conn, now=now)
    return FootprintCollection(
        as_of=rfc3339(now),
        features=[
            FootprintFeature(
                id=str(row["footprint_id"]),
                geometry=area_json(row["geometry"]),
                properties=FootprintProperties(
                    footprint_id=row["footprint_id"],
                    version=row["version"],
                    valid_at=row["valid_at"],
                    made_how=row["made_how"],
                    created_at=row["created_at"],
                    zones=zones_json(row["zones"]),
                    hazard_event=HazardEventOut(**row["hazard_event"]),
                ),
            )
            for row in rows
        ],
    )
