"""A way out that changed becomes a message by itself: to exactly those whose way changed after they were told.

The consumer `reroute` takes each plan that geo makes. Whom the plan names (`household_route.changed`), who was told an
earlier way under a warning that stands, and who has no message on its way that would carry the new one, gets one more
message of that warning's version. It says first that the way out changed, and carries the new route and leave-by, read
when it is sent. Nobody else hears anything. It goes by the channel that carried the warning, a push before a text
message before a call, with no second rung.

A person gets no more than the cap of pushes; a message beyond it waits until the window has room, and by then carries
the newest way.
"""

from uuid import UUID

from alerts import reroute_repository
from alerts.dispatch import PUSH_CAP, PUSH_WINDOW
from alerts.reroute_repository import Rerouted
from core.clock import Clock, ScenarioClock
from core.errors import InvalidInput
from core.events import PlanMade
from core.ids import derived_id
from core.log import get_logger
from store import outbox
from store.clock import read_clock
from store.pool import AsyncConnection

log = get_logger("reroute")


async def tell_changed(conn: AsyncConnection, event: PlanMade, *, clock: Clock) -> int:
    """Makes the messages that a plan's changed ways ask for, in the transaction of `conn`; gives how many are new.

    The same plan again makes none: their ids come from warning, version, person, channel and the time of the change.
    """
    now = clock.now()
    found = await reroute_repository.rerouted(conn, event.evacuation_plan_id, now=now, since=now - PUSH_WINDOW)
    if not found:
        return 0
    due = [(_key(one), one, wait_s(one, clock)) for one in found]
    return await reroute_repository.plan_revisions(conn, due, now=now)


def _key(one: Rerouted) -> UUID:
    return derived_id(
        "reroute", one.warning_id, one.version, one.policyholder_id, one.channel, one.changed_at.isoformat()
    )


def wait_s(one: Rerouted, clock: Clock) -> float:
    """Seconds on the wall until this push is within the cap: until the oldest of the last ones leaves the window."""
    if one.channel != "web_push" or len(one.pushed_at) < PUSH_CAP:
        return 0.0
    left_s = (one.pushed_at[PUSH_CAP - 1] + PUSH_WINDOW - clock.now()).total_seconds()
    return max(0.0, left_s) / (clock.speed if isinstance(clock, ScenarioClock) else 1.0)


async def handle(conn: AsyncConnection, work: outbox.Work) -> None:
    """Handler of the outbox consumer `reroute`; the sender looks for what is due several times a second."""
    event = outbox.decode(work)
    if not isinstance(event, PlanMade):
        raise InvalidInput("The reroute consumer takes plans only.", kind=work.kind)
    n_due = await tell_changed(conn, event, clock=await read_clock(conn))
    log.info("rerouted", evacuation_plan_id=str(event.evacuation_plan_id), deliveries=n_due)
