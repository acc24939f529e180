"""A released version becomes deliveries: one row a person and channel, each with its own time.

Caps stand here: a person gets at most three pushes in ten minutes, unless the level rises; what takes a warning back or
over is never held. A Cancel goes to exactly those who were sent something, on the channels that carried it.
"""

from datetime import timedelta
from uuid import UUID

from alerts import delivery_repository, repository
from alerts.alert import UNREACHABLE, Alert, Recipient
from alerts.delivery_repository import Planned
from alerts.escalation import rungs
from alerts.level import Level
from alerts.repository import StoredWarning
from core.clock import Clock
from core.events import WarningReleased
from core.ids import derived_id
from store.pool import AsyncConnection

FAKE = "fake"
SIREN = "siren"
#: Which provider carries a channel, outside exercises.
PROVIDERS = {"web_push": "webpush", "email": "smtp"}

ESCALATE_S = 30.0
PUSH_CAP = 3
PUSH_WINDOW = timedelta(minutes=10)


def delivery_id(warning_id: UUID, version: int, policyholder_id: UUID, channel: str) -> UUID:
    """The key of one message to one person on one channel: the same on every attempt, machine and run."""
    return derived_id("delivery", warning_id, version, policyholder_id, channel)


def provider_of(channel: str, *, exercise: bool) -> str:
    """Who carries this channel; in an exercise nobody but the fake provider."""
    return FAKE if exercise else PROVIDERS.get(channel, channel)


async def plan(
    conn: AsyncConnection,
    event: WarningReleased,
    *,
    clock: Clock,
    escalate_s: float = ESCALATE_S,
    first_people: int | None = None,
) -> int:
    """Makes the deliveries of a released version, in the transaction that `conn` is in; gives how many are new.

    With `first_people` only those of so many people, whom the hazard reaches first; a version to no more than that is
    left whole, and 0 given. Planning all afterwards, or twice, plans each once.
    Deliveries of earlier versions that have not begun are stopped: whoever was to get them gets this one.
    """
    warning = await repository.read_warning(conn, event.warning_id, event.version)
    if warning.released_at is None:
        return 0
    if first_people is not None and warning.n_people <= first_people:
        return 0
    await delivery_repository.stop_older_deliveries(conn, event.warning_id, event.version)
    if warning.state != "released":
        return 0  # a newer version is out already, and is planned by its own event
    alert = warning.alert
    told = await delivery_repository.told_on(conn, alert.warning_id, alert.version)
    left_out = await repository.left_out(conn, alert.warning_id, alert.version)
    people: dict[UUID, list[Recipient]] = {}
    for one in await repository.recipients(conn, alert.warning_id, alert.version, first_people=first_people):
        if one.channel == UNREACHABLE or one.policyholder_id in left_out:
            continue
        if alert.msg_type == "Cancel" and (one.policyholder_id, one.channel) not in told:
            continue  # nothing reached them, so there is nothing to take back
        people.setdefault(one.policyholder_id, []).append(one)
    told_by_person: dict[UUID, list[str]] = {}
    for who, channel in told:
        told_by_person.setdefault(who, []).append(channel)
    capped = await _capped(conn, alert, list(people), clock)
    ended = alert.all_clear or alert.msg_type == "Cancel"
    rows: list[Planned] = []
    for person, addresses in people.items():
        ladder = rungs(
            [one.channel for one in addresses],
            level=alert.level,
            ended=ended,
            told_on=told_by_person.get(person, ()) if ended else (),
            wait_s=escalate_s,
        )
        rows += [
            Planned(
                delivery_id=_id(warning, one),
                recipient=one,
                provider=provider_of(one.channel, exercise=alert.exercise),
                rung=ladder[one.channel],
                held=f"{PUSH_CAP} pushes in {PUSH_WINDOW.seconds // 60} minutes are enough at this level"
                if person in capped and one.channel == "web_push"
                else None,
            )
            for one in addresses
        ]
    return await delivery_repository.plan_deliveries(conn, alert, rows, now=clock.now())


def _id(warning: StoredWarning, one: Recipient) -> UUID:
    return delivery_id(warning.alert.warning_id, warning.alert.version, one.policyholder_id, one.channel)


async def _capped(conn: AsyncConnection, alert: Alert, people: list[UUID], clock: Clock) -> set[UUID]:
    """Who has had enough pushes lately, and hears nothing worse from this one."""
    if alert.all_clear or alert.msg_type == "Cancel" or not people:
        return set()
    lately = await delivery_repository.pushes_lately(
        conn, people, since=clock.now() - PUSH_WINDOW, warning_id=alert.warning_id, version=alert.version
    )
    return {
        row["policyholder_id"]
        for row in lately
        if row["n"] >= PUSH_CAP and alert.level <= max(Level[word.upper()] for word in row["levels"])
    }
