"""Push, then a text message, then a call; caps; the fence; and a retraction for exactly those who were told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alerts import deliver, delivery_repository, fence, release
from alerts.answer import give_answer
from alerts.channels import Outcome, Outgoing, Result
from core.clock import FixedClock
from core.events import WarningReleased
from store.pool import role_pool

pytestmark = pytest.mark.sql
KEY = b"k" * 40


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


class Recorder:
    """Keeps what it is given; channels in `down` get their result instead."""

    provider, honours_keys = "fake", True

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.down: dict[str, Result] = {}

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        self.sent.append(message)
        return Outcome(result=self.down.get(message.channel, Result.ACCEPTED))

    def channels(self) -> list[str]:
        return [one.channel for one in self.sent]


@contextlib.asynccontextmanager
async def sending(valley: Any, recorder: Recorder) -> AsyncIterator[deliver.Sender]:
    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at) VALUES (now(), %s, 1, %s) ON CONFLICT DO NOTHING",
        [valley.at(0), valley.at(12)],
    )
    async with role_pool(valley.url, "tocsin_worker", size=3) as pool:
        yield deliver.Sender(pool=pool, channels={"fake": recorder}, key=KEY, public_url="http://here")


async def out(valley: Any, value: float = 6.5, minute: float = 10.0) -> dict[str, Any]:
    """A warning that is out, and planned."""
    if valley.rule is None:
        await valley.save_rule(automatic_ceiling=valley.level("red"))
        await valley.see((minute - 10, 2.0))
    await valley.see((minute, value))
    return await plan_newest(valley, minute + 1)


async def plan_newest(valley: Any, minute: float) -> dict[str, Any]:
    row: dict[str, Any] = valley.rows("SELECT * FROM warning WHERE state = 'released' ORDER BY version DESC LIMIT 1")[0]
    async with valley.worker() as conn:
        event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
        await deliver.plan(conn, event, clock=FixedClock(valley.at(minute)))
    return row


def one_with_a_ladder(valley: Any) -> Any:
    valley.conn.execute("DELETE FROM contact_point")
    return valley.add_person(80.06, 7.05, channels=("voice", "sms", "web_push"))


def due_now(valley: Any) -> None:
    valley.conn.execute("UPDATE delivery SET available_at = now() WHERE state = 'queued'")


def test_red_goes_up_the_ladder_until_the_person_answers(valley: Any) -> None:
    person = one_with_a_ladder(valley)
    recorder = Recorder()

    async def story() -> None:
        row = await out(valley)
        async with sending(valley, recorder) as one:
            await one.send_due("w")
            assert recorder.channels() == ["web_push"]
            waits = valley.rows(
                "SELECT channel, extract(epoch FROM available_at - now()) AS s FROM delivery WHERE state = 'queued' ORDER BY rung"
            )
            assert [each["channel"] for each in waits] == ["sms", "voice"]
            assert 25 < waits[0]["s"] <= 30 < 55 < waits[1]["s"] <= 60
            valley.conn.execute("UPDATE delivery SET available_at = now() WHERE channel = 'sms'")
            await one.send_due("w")
            assert recorder.channels() == ["web_push", "sms"]
            async with valley.app() as conn:
                await give_answer(
                    conn,
                    tenant_id=valley.tenant_id,
                    policyholder_id=person,
                    warning_id=row["warning_id"],
                    kind="safe",
                    detail={},
                    idempotency_key="answer-1",
                    now=valley.at(12),
                )
            due_now(valley)
            assert await one.send_due("w") == 0
        async with valley.worker() as conn:
            assert await delivery_repository.stop_needless(conn) <= 1

    go(story())
    assert recorder.channels() == ["web_push", "sms"]
    (last,) = valley.rows("SELECT state, last_error FROM delivery WHERE channel = 'voice'")
    assert last["state"] == "stopped"
    assert "answered" in last["last_error"]


def test_below_red_a_text_message_is_only_the_way_round_a_push_that_fails(valley: Any) -> None:
    one_with_a_ladder(valley)
    recorder = Recorder()

    async def story() -> None:
        await out(valley, 3.5)
        async with sending(valley, recorder) as one:
            await one.send_due("w")
            due_now(valley)
            assert await one.send_due("w") == 0  # the push was accepted
        async with valley.worker() as conn:
            assert await delivery_repository.stop_needless(conn) == 2

    go(story())
    assert recorder.channels() == ["web_push"]


@pytest.mark.parametrize("value", [3.5, 6.5], ids=["yellow", "red"])
def test_a_channel_that_fails_hands_on_at_once(valley: Any, value: float) -> None:
    one_with_a_ladder(valley)
    recorder = Recorder()
    recorder.down = {"web_push": Result.GONE, "sms": Result.REFUSED}

    async def story() -> None:
        await out(valley, value)
        async with sending(valley, recorder) as one:
            for _ in range(3):
                await one.send_due("w")  # without waiting for anything

    go(story())
    assert recorder.channels() == ["web_push", "sms", "voice"]


def test_three_pushes_in_ten_minutes_are_enough_unless_it_gets_worse(valley: Any) -> None:
    valley.conn.execute("DELETE FROM contact_point")
    valley.add_person(80.06, 7.05, channels=("web_push", "email"))
    recorder = Recorder()

    async def story() -> None:
        await out(valley, 3.5)
        async with sending(valley, recorder) as one:
            await one.send_due("w")
            # three more of the same level, told within ten minutes
            for n in range(3):
                valley.conn.execute("UPDATE delivery SET warning_id = warning_id")  # the chain stays as it is
                await _again(valley, n)
                await one.send_due("w")
            assert recorder.channels().count("web_push") == 3
            assert recorder.channels().count("email") == 4  # the cap is about pushes
            await valley.see((13.0, 6.5))
            await plan_newest(valley, 13.5)
            await one.send_due("w")
            assert recorder.channels().count("web_push") == 4

    async def _again(valley: Any, n: int) -> None:
        """The next version of the warning, released as a renewal is."""
        valley.conn.execute(
            "INSERT INTO warning SELECT (jsonb_populate_record(w, jsonb_build_object('version', w.version + 1, 'identifier',"
            " w.identifier || '.' || (w.version + 1), 'msg_type', 'Update', 'references_', ARRAY['a,b,c'], 'reason', 'renewed'))).*"
            " FROM warning AS w ORDER BY version DESC LIMIT 1"
        )
        valley.conn.execute(
            "UPDATE warning SET state = 'superseded' WHERE version < (SELECT max(version) FROM warning) AND state = 'released'"
        )
        valley.conn.execute(
            "INSERT INTO warning_recipient SELECT tenant_id, warning_id, version + 1, policyholder_id, channel, contact_point_id,"
            " language, priority FROM warning_recipient WHERE version = (SELECT max(version) FROM warning_recipient)"
        )
        await plan_newest(valley, 11.2 + n / 10)

    go(story())
    (held,) = valley.rows("SELECT last_error FROM delivery WHERE channel = 'web_push' AND state = 'stopped'")
    assert "enough" in held["last_error"]


# ---------------------------------------------------------------- corrections


def test_a_retraction_reaches_exactly_those_who_were_told_and_nothing_more_goes_out(valley: Any) -> None:
    """Half of the people were sent something when an operator takes the warning back in error."""
    for n in range(40):
        valley.add_person(80.01 + n / 250, 7.05, channels=("web_push", "email"))
    recorder = Recorder()
    ann, bo = valley.approvers

    async def story() -> set[tuple[Any, str]]:
        row = await out(valley)
        async with sending(valley, recorder) as one:
            await one.send_due("w")  # one batch
            n_told = len(recorder.sent)
            assert 0 < n_told < 83
            told = {
                (each["policyholder_id"], each["channel"])
                for each in valley.rows("SELECT policyholder_id, channel FROM delivery WHERE state = 'accepted'")
            }
            async with valley.app() as conn:
                version = await release.draft_cancel(
                    conn, principal_id=ann, warning_id=row["warning_id"], why="wrong gauge", now=valley.at(12)
                )
            assert await one.send_due("w") == 0  # stopped with the draft, before anybody approved it
            drafted = valley.rows("SELECT * FROM warning WHERE version = %s", version)[0]
            async with valley.app() as conn:
                done = await release.approve(
                    conn,
                    principal_id=bo,
                    warning_id=row["warning_id"],
                    version=version,
                    content_sha256=bytes(drafted["content_sha256"]),
                    now=valley.at(12),
                )
            assert done.released
            assert valley.rows("SELECT * FROM sending_pause") == []
            await plan_newest(valley, 12)
            while await one.send_due("w"):
                pass
            assert len(recorder.sent) == 2 * n_told
            return told

    told = go(story())
    assert all(one.payload["cancelled"] for one in recorder.sent[len(told) :])
    got = valley.rows(
        "SELECT policyholder_id, channel FROM delivery AS d JOIN warning AS w USING (warning_id, version)"
        " WHERE w.msg_type = 'Cancel' AND d.state = 'accepted'"
    )
    assert {(each["policyholder_id"], each["channel"]) for each in got} == told
    stopped = valley.rows("SELECT count(*) AS n FROM delivery WHERE state = 'stopped'")[0]["n"]
    assert stopped == 83 - len(told)


# ---------------------------------------------------------------- the fence


def paused(valley: Any) -> bool:
    return bool(valley.rows("SELECT * FROM sending_pause WHERE scope = 'all'"))


async def check(valley: Any, home: Path, **more: Any) -> bool:
    async with valley.worker() as conn:
        return await fence.check(conn, home, now=valley.at(12), **more)


def test_a_sender_that_knows_its_database_goes_on(valley: Any, tmp_path: Path) -> None:
    assert go(check(valley, tmp_path, starting=True))
    go(out(valley))
    assert go(check(valley, tmp_path))
    assert go(check(valley, tmp_path, starting=True))
    assert not paused(valley)


@pytest.mark.parametrize("how", ["copied", "older", "unknown"])
def test_a_restored_database_sends_nothing_until_two_people_say_so(valley: Any, tmp_path: Path, how: str) -> None:
    recorder = Recorder()
    go(check(valley, tmp_path, starting=True))

    async def story() -> None:
        await out(valley)
        epoch = valley.rows("SELECT fencing_epoch FROM installation")[0]["fencing_epoch"]
        if how == "copied":
            valley.conn.execute("UPDATE sender_fence SET identity = 'another'")
        elif how == "older":
            mark = (tmp_path / fence.FILE).read_text()
            (tmp_path / fence.FILE).write_text(mark.replace('"lsn": ', '"lsn": 9'))
        else:
            valley.conn.execute("DELETE FROM sender_fence")
            valley.conn.execute("UPDATE delivery SET attempts = 1")
        assert not await check(valley, tmp_path, starting=True)
        assert paused(valley)
        assert valley.rows("SELECT fencing_epoch FROM installation")[0]["fencing_epoch"] == epoch + 1
        async with sending(valley, recorder) as one:
            assert await one.send_due("w") == 0
            assert await check(valley, tmp_path)  # told once; the stop stays
            assert paused(valley)
            who = [valley.add_principal(name, ["operator"]) for name in ("olga", "omar")]
            for person in who:
                async with valley.worker() as conn:
                    await release.resume(
                        conn, principal_id=person, tenant_id=valley.tenant_id, scope="all", now=valley.at(12)
                    )
            assert not paused(valley)
            assert await one.send_due("w") > 0

    go(story())
    assert [row["kind"] for row in valley.rows("SELECT kind FROM operator_notice")] == ["sending_held"]
    assert recorder.sent
