"""The browsers' stream of what changed."""

from typing import Annotated

from fastapi import Header, Query
from fastapi.responses import StreamingResponse

from api.deps import Context, needs
from api.routing import noun
from api.schemas.responses import problems

router = noun("stream")


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        **problems(401, 403, 429),
        200: {
            "content": {"text/event-stream": {}},
            "description": "Events `observations_stored`, `station_state_changed`, `feed_state_changed`, "
            "`footprint_published`, `hazard_ended`, `assessment_made`, `loss_estimated`, `plan_made`, "
            "`warning_changed`, `answer_given` and `quote_issued`: `id` is the number to resume after, `data` is "
            "{at, ...keys of the rows}. `hello`: connected; load what is shown now, or what happened between loading "
            "and connecting is missed. `reset`: events are missing, load everything anew. `bye`: the stream has "
            "reached its age, connect again. Lines that begin with a colon are heartbeats.",
        },
    },
)
async def stream(
    ctx: Annotated[Context, needs("follow", "stream")],
    last_event_id: Annotated[str | None, Header(max_length=30, description="Resume after this event.")] = None,
    last_id: Annotated[
        int | None, Query(ge=0, description="The same, for a first connection that cannot set the header.")
    ] = None,
) -> StreamingResponse:
    """One stream per page, for this tenant and role. Without a last id it starts with what happens next."""
    return ctx.services.hub.respond(ctx, last_event_id, last_id)
