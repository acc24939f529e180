"""Readings in, for devices without MQTT: the same payloads as over the broker."""

from typing import Annotated, Any, Final

from fastapi import Query, Request

from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.observation import ObservationsAccepted, PayloadProblem
from api.schemas.responses import problems
from core.errors import InvalidInput
from ingest.accept import Item, accept_payloads

router = noun("observations")

#: The bytes go to ingest's strict decoder as they came, so the framework must not read them first.
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "One payload, as it would be published over MQTT: a SenML JSON pack (RFC 8428) or plain JSON.",
        "content": {
            media: {"schema": {}, "examples": {"reading": {"value": example}}}
            for media, example in (
                ("application/senml+json", [{"n": "level", "u": "m", "t": 1785400000, "v": 2.31}]),
                ("application/json", {"quantity": "level", "observed_at": "2026-07-30T08:26:40Z", "v": 2.31, "u": "m"}),
            )
        },
    }
}


class PayloadRefused(InvalidInput):
    """The payload cannot be read. It is kept in quarantine, with the reason; sending it again changes nothing."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__()


@router.post("/observations", responses=problems(401, 403, 408, 413), openapi_extra=_BODY)
async def post_observations(
    request: Request,
    ctx: Annotated[Context, needs("write", "observation")],
    station: Annotated[str, Query(min_length=1, max_length=200, description="Code of the station that speaks.")],
    quantity: Annotated[
        str | None, Query(max_length=64, description="For a payload that does not say it, such as {t, v}.")
    ] = None,
) -> ObservationsAccepted:
    """Stores one payload of readings; answers after the commit. The same payload again changes nothing."""
    body = await request.body()
    async with ctx.services.worker_pool.connection() as conn:
        tenant = await repository.find_tenant(conn, ctx.tenant_id)
        now = await repository.now(conn)
        kept = await accept_payloads(
            conn, tenant["slug"], [Item(station, body, quantity)], round(now.timestamp() * 1_000_000)
        )
    refused = [(one.reason, one.detail) for one in kept.rejected]
    counts = kept.outcomes
    n_taken = sum(counts.values()) - counts["conflict"]
    if refused and not n_taken:
        raise PayloadRefused([(f"payload ({reason})", detail) for reason, detail in refused])
    return ObservationsAccepted(
        n_stored=counts["new"] + counts["correction_first"],
        n_duplicate=counts["same"],
        n_corrected=counts["correction"] + counts["original_late"],
        n_quarantined=len(refused),
        problems=[PayloadProblem(reason=reason, detail=detail) for reason, detail in refused],
    )
