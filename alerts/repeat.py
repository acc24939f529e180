"""A warning is said again to whoever has not answered, at an interval by its level, until it is over.

The same version, so the same words that were released, to people it was released for: a row of delivery of its own with
its own key, by the channel that took it before. A tenant may set other intervals (its setting `repeat_min`, minutes by
level; under 10 turns it off). A silence of its rule holds it back.
"""

from datetime import datetime, timedelta

from alerts import event_repository, rule_repository
from alerts.level import Level, level
from alerts.lifecycle import Decision, Reason
from alerts.silence import silencing
from alerts.voice import says_again
from core.ids import derived_id
from store.pool import AsyncConnection

#: Minutes by level, after WARNING practice: red half-hourly, orange every two hours, yellow every six; blue never.
REPEAT_MIN = {Level.RED: 30.0, Level.ORANGE: 120.0, Level.YELLOW: 360.0}
_AT_ONCE = 2000


async def repeat_due(conn: AsyncConnection, now: datetime) -> int:
    """Makes due what is to be said again, in the transaction of `conn`; gives how many messages."""
    rows = await event_repository.repeats_due(
        conn, {one.word: minutes for one, minutes in REPEAT_MIN.items()}, now, limit=_AT_ONCE
    )
    if not rows:
        return 0
    codes = await event_repository.rule_words(conn, sorted({row["rule_id"] for row in rows if row["rule_id"]}))
    silences = {
        tenant_id: await event_repository.live_silences(conn, tenant_id, now)
        for tenant_id in sorted({row["tenant_id"] for row in rows})
    }
    due = []
    for row in rows:
        stands = level(row["level"])
        if not says_again(
            level=stands,
            told_at=row["told_at"],
            answered=False,  # only what stands, and was not answered, was read
            over=False,
            every={stands: timedelta(minutes=row["every_min"])},
            at=now,
        ):
            continue
        if (
            silencing(
                silences[row["tenant_id"]],
                code=codes.get(row["rule_id"], ""),
                peril=row["event"],
                level=stands,
                at=now,
            )
            is not None
        ):
            continue
        key = (row["warning_id"], row["version"], row["policyholder_id"], row["channel"])
        # after the first messages of its level, before those of the next
        priority = min(row["priority"] + 50, row["priority"] // 100 * 100 + 99)
        due.append(row | {"delivery_id": derived_id("delivery", *key, "repeat", row["repeat"]), "priority": priority})
    if not due:
        return 0
    n_new = await event_repository.add_repeats(conn, due, now)
    for warning_id, version in sorted({(row["warning_id"], row["version"]) for row in due}):
        mine = [row for row in due if row["warning_id"] == warning_id and row["version"] == version]
        rule_id = mine[0]["rule_id"]
        if rule_id is None:
            continue
        stands = level(mine[0]["level"])
        decision = Decision(reason=Reason.REPEATED, at=now, before=stands, after=stands, detail={"n_people": len(mine)})
        await rule_repository.save_decision(
            conn,
            tenant_id=mine[0]["tenant_id"],
            rule_id=rule_id,
            decision=decision,
            warning_id=warning_id,
            version=version,
        )
    return n_new
