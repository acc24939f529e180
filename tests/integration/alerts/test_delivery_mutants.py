"""Named ways to break release and delivery, each caught: the guard holds, and goes red once the break is applied.

A mutant is a replacement in the source of one module, or in one SQL statement; the replaced text must be there.
"""

import asyncio
import contextlib
import inspect
import sys
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any

import psycopg
import pytest
from shapely.geometry import Polygon

from alerts import audience, deliver, delivery_repository, dispatch, release
from alerts.channels import Outcome, Result
from alerts.level import Level
from alerts.lifecycle import Reason
from core.clock import FixedClock
from core.events import WarningReleased
from core.ids import new_id
from store.pool import role_pool
from tests.integration.alerts.test_late_approval import WEST, told, waiting, worse
from tests.integration.alerts.test_late_approval import approve as approve_late

pytestmark = pytest.mark.sql
Guard = Callable[[Any], Coroutine[Any, Any, None]]


def mutate(monkeypatch: pytest.MonkeyPatch, module: ModuleType, old: str, new: str) -> None:
    """Runs the module's source anew with the replacement, in the module itself; undone after the test."""
    source = inspect.getsource(module)
    assert source.count(old) >= 1, f"the mutant's text is not in {module.__name__}"
    before = dict(vars(module))
    fresh = ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    monkeypatch.setitem(sys.modules, module.__name__, fresh)
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), vars(fresh))
    for name, value in vars(fresh).items():
        if callable(value) and name in before and getattr(value, "__module__", None) == module.__name__:
            monkeypatch.setattr(module, name, value)


def mutate_sql(monkeypatch: pytest.MonkeyPatch, statement: str, old: str, new: str) -> None:
    sql = delivery_repository._SQL
    assert old in sql[statement], f"the mutant's text is not in {statement}"
    monkeypatch.setitem(sql._statements, statement, sql[statement].replace(old, new))


# ---------------------------------------------------------------- scenes


async def draft(valley: Any) -> dict[str, Any]:
    """A red draft that two people must release."""
    await valley.save_rule()
    await valley.see((0.0, 2.0), (10.0, 6.5))
    row: dict[str, Any] = valley.rows("SELECT * FROM warning WHERE state = 'draft' ORDER BY version DESC LIMIT 1")[0]
    return row


async def approve(valley: Any, who: Any, row: dict[str, Any]) -> Any:
    async with valley.app() as conn:
        return await release.approve(
            conn,
            principal_id=who,
            warning_id=row["warning_id"],
            version=row["version"],
            content_sha256=bytes(row["content_sha256"]),
            now=valley.at(11),
        )


async def out(valley: Any) -> dict[str, Any]:
    await valley.save_rule(automatic_ceiling=Level.RED)
    await valley.see((0.0, 2.0), (10.0, 6.5))
    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at) VALUES (now(), %s, 1, %s)",
        [valley.at(0), valley.at(12)],
    )
    row: dict[str, Any] = valley.rows("SELECT * FROM warning WHERE state = 'released'")[0]
    await plan(valley, row)
    return row


async def plan(valley: Any, row: dict[str, Any]) -> None:
    async with valley.worker() as conn:
        event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
        await dispatch.plan(conn, event, clock=FixedClock(valley.at(11)))


class Died(BaseException):
    """The process was killed."""


class Dying:
    """A provider; the sender dies in its first send, before or after the message is out."""

    provider, honours_keys = "fake", True

    def __init__(self, *, die: bool = False, result: Result = Result.ACCEPTED) -> None:
        self.die, self.result = die, result
        self.keys: list[str] = []

    async def send(self, message: Any, idempotency_key: str) -> Outcome:
        if self.die:
            raise Died
        self.keys.append(idempotency_key)
        return Outcome(result=self.result)


async def send(valley: Any, provider: Dying) -> None:
    async with role_pool(valley.url, "tocsin_worker", size=2) as pool:
        sender = deliver.Sender(pool=pool, channels={"fake": provider}, key=b"k" * 40, public_url="http://here")
        with contextlib.suppress(Died, BaseExceptionGroup):
            await sender.send_due("w")


# ---------------------------------------------------------------- guards


async def a_release_is_an_event(valley: Any) -> None:
    row = await draft(valley)
    for who in valley.approvers:
        await approve(valley, who, row)
    assert [one["kind"] for one in valley.rows("SELECT kind FROM outbox WHERE consumer = 'deliver'")] == [
        "warning_released"
    ]


async def an_approval_is_of_what_is_sent(valley: Any) -> None:
    row = await draft(valley)
    valley.conn.execute("UPDATE warning_recipient SET channel = 'fake' WHERE channel = 'email'")
    with pytest.raises(release.ContentChanged):
        await approve(valley, valley.approvers[0], row)


async def nobody_approves_their_own(valley: Any) -> None:
    row = await out(valley)
    await send(valley, Dying())
    ann = valley.approvers[0]
    async with valley.app() as conn:
        version = await release.draft_cancel(
            conn, principal_id=ann, warning_id=row["warning_id"], why="x", now=valley.at(12)
        )
    (drafted,) = valley.rows("SELECT * FROM warning WHERE version = %s", version)
    with pytest.raises(release.OwnDraft):
        await approve(valley, ann, drafted)


async def a_retraction_is_sent(valley: Any) -> None:
    row = await out(valley)
    provider = Dying()
    await send(valley, provider)
    n_told = len(provider.keys)
    async with valley.app() as conn:
        version = await release.draft_cancel(
            conn, principal_id=valley.approvers[0], warning_id=row["warning_id"], why="x", now=valley.at(12)
        )
    (drafted,) = valley.rows("SELECT * FROM warning WHERE version = %s", version)
    await approve(valley, valley.approvers[1], drafted)
    await plan(valley, drafted)
    await send(valley, provider)
    assert n_told > 0
    assert len(provider.keys) == 2 * n_told


async def who_dies_while_sending_has_not_sent(valley: Any) -> None:
    await out(valley)
    await send(valley, Dying(die=True))
    valley.conn.execute("UPDATE delivery SET lease_until = now() - interval '1 s', available_at = now()")
    second = Dying()
    await send(valley, second)
    assert len(second.keys) == 3


async def a_retry_has_the_same_key(valley: Any) -> None:
    await out(valley)
    first, second = Dying(result=Result.RETRY), Dying()
    await send(valley, first)
    valley.conn.execute("UPDATE delivery SET available_at = now()")
    await send(valley, second)
    assert sorted(first.keys) == sorted(second.keys)


async def a_claim_does_not_wait_for_another(valley: Any) -> None:
    await out(valley)
    with psycopg.connect(valley.url) as other:
        other.execute("SELECT FROM delivery ORDER BY priority, queued_at, delivery_id LIMIT 1 FOR UPDATE")
        async with valley.worker() as conn:
            await conn.execute("SET LOCAL statement_timeout = '1500ms'")
            claimed = await delivery_repository.claim_deliveries(
                conn, worker="w", limit=10, lease_s=30, now=valley.at(12)
            )
        assert len(claimed) == 2


async def an_exercise_is_planned_for_the_fake_provider_alone(valley: Any) -> None:
    await out(valley)
    assert {row["provider"] for row in valley.rows("SELECT provider FROM delivery")} == {"fake"}


async def an_empty_area_warns_nobody(valley: Any) -> None:
    assert audience.hold_reason(Polygon(), 1e6) is Reason.HELD_AREA_EMPTY


async def retries_end(valley: Any) -> None:
    state, _ = deliver.settle(Outcome(result=Result.RETRY), attempts=30, keyed=True, level=Level.RED)
    assert state == "failed"


async def a_stop_holds(valley: Any) -> None:
    await out(valley)
    valley.conn.execute("INSERT INTO sending_pause VALUES ('all', NULL, %s, now())", [new_id()])
    provider = Dying()
    await send(valley, provider)
    assert provider.keys == []


async def a_late_approval_tells_nobody_less_than_they_hear(valley: Any) -> None:
    row = await waiting(valley)
    await worse(valley, WEST)
    await approve_late(valley, row)
    assert await told(valley, row) == {valley.people[1]}


async def a_draft_out_of_date_is_refused(valley: Any) -> None:
    row = await waiting(valley)
    valley.conn.execute("UPDATE rule_state SET state = jsonb_set(state, '{level}', '\"yellow\"')")
    with pytest.raises(release.BasisChanged):
        await approve_late(valley, row)


async def what_may_have_arrived_is_taken_back(valley: Any) -> None:
    row = await out(valley)
    provider = Dying(result=Result.UNCERTAIN)
    await send(valley, provider)
    async with valley.app() as conn:
        version = await release.draft_cancel(
            conn, principal_id=valley.approvers[0], warning_id=row["warning_id"], why="x", now=valley.at(12)
        )
    (drafted,) = valley.rows("SELECT * FROM warning WHERE version = %s", version)
    await approve(valley, valley.approvers[1], drafted)
    await plan(valley, drafted)
    assert len(valley.rows("SELECT FROM delivery WHERE version = %s", version)) == 3


MUTANTS: list[tuple[str, Guard, Any]] = [
    (
        "send without outbox",
        a_release_is_an_event,
        (release, "WarningReleased(warning_id", "WarningChanged(warning_id"),
    ),
    (
        "approval not bound to hash",
        an_approval_is_of_what_is_sent,
        (release, " or not await _is_what_it_was(conn, warning)", ""),
    ),
    ("approver=author", nobody_approves_their_own, (release, "if warning.drafted_by == principal_id:", "if False:")),
    ("cancel only stops the queue", a_retraction_is_sent, ("told_on", "'claimed', 'accepted'", "'claimed', 'none'")),
    (
        "mark-then-send",
        who_dies_while_sending_has_not_sent,
        ("claim_deliveries", "SET state = 'claimed', lease", "SET state = 'accepted', lease"),
    ),
    (
        "key regenerated on retry",
        a_retry_has_the_same_key,
        (
            deliver,
            "channel.send(message, str(one.delivery_id))",
            'channel.send(message, f"{one.delivery_id}{one.attempts}")',
        ),
    ),
    ("SKIP LOCKED removed", a_claim_does_not_wait_for_another, ("claim_deliveries", "SKIP LOCKED", "")),
    (
        "exercise flag ignored by one channel",
        an_exercise_is_planned_for_the_fake_provider_alone,
        (dispatch, "return FAKE if exercise else", 'return FAKE if exercise and channel != "email" else'),
    ),
    ("empty polygon => all", an_empty_area_warns_nobody, (audience, "if area.is_empty:", "if False:")),
    ("retry without cap", retries_end, (deliver, "if attempts >= MAX_ATTEMPTS:", "if False:")),
    (
        "who hears worse is told less after all",
        a_late_approval_tells_nobody_less_than_they_hear,
        (release, "n_left_out = await _leave_out(conn, warning, chain, now)", "pass"),
    ),
    (
        "a draft out of date is released",
        a_draft_out_of_date_is_refused,
        (release, "await _check_basis(conn, warning, chain)", "pass"),
    ),
    ("what was in doubt is not taken back", what_may_have_arrived_is_taken_back, ("told_on", "OR in_doubt > 0", "")),
    ("stop is not asked", a_stop_holds, ("claim_deliveries", "p.scope IN ('all',", "p.scope IN ('none',")),
]


@pytest.mark.parametrize(("name", "guard", "change"), MUTANTS, ids=[one[0] for one in MUTANTS])
def test_the_guard_holds(valley: Any, name: str, guard: Guard, change: Any) -> None:
    asyncio.run(guard(valley))


@pytest.mark.parametrize(("name", "guard", "change"), MUTANTS, ids=[one[0] for one in MUTANTS])
def test_the_mutant_is_caught(
    valley: Any, name: str, guard: Guard, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, old, new = change
    if isinstance(target, str):
        mutate_sql(monkeypatch, target, old, new)
        if name == "stop is not asked":
            mutate_sql(monkeypatch, "still_wanted", old, new)
    else:
        mutate(monkeypatch, target, old, new)
    # an assertion, an exception that should have come and did not, or the database itself says no
    with pytest.raises((AssertionError, pytest.fail.Exception, psycopg.Error, release.NotADraft)):
        asyncio.run(guard(valley))
