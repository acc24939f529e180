"""Two people release, one stops, and nothing goes round them."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from alerts import answer, release
from core.errors import Conflict, NotFound, NotPermitted
from core.ids import new_id
from store import audit


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def red_draft(valley: Any, **more: Any) -> dict[str, Any]:
    await valley.save_rule(**more)
    await valley.see((0.0, 2.0), (10.0, 6.5))
    return newest(valley)


def newest(valley: Any) -> dict[str, Any]:
    row: dict[str, Any] = valley.rows("SELECT * FROM warning ORDER BY version DESC LIMIT 1")[0]
    return row


async def approve(valley: Any, who: Any, row: dict[str, Any], **more: Any) -> release.Approved:
    given = {"content_sha256": bytes(row["content_sha256"]), "version": row["version"], "now": valley.at(12)} | more
    async with valley.app() as conn:
        return await release.approve(conn, principal_id=who, warning_id=row["warning_id"], **given)


def n_released(valley: Any) -> int:
    return len(valley.rows("SELECT * FROM outbox WHERE consumer = 'deliver'"))


def test_two_different_people_release_a_red_warning(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        first = await approve(valley, valley.approvers[0], row)
        assert (first.released, first.n_approvals, first.n_approvals_needed) == (False, 1, 2)
        again = await approve(valley, valley.approvers[0], row)
        assert (again.released, again.n_approvals) == (False, 1)
        assert n_released(valley) == 0
        second = await approve(valley, valley.approvers[1], row)
        assert (second.released, second.state) == (True, "released")

    go(story())
    assert newest(valley)["state"] == "released"
    assert n_released(valley) == 1
    assert "released_by_people" in valley.reasons()
    actions = [row["action"] for row in valley.rows("SELECT action FROM audit ORDER BY seq")]
    assert actions == ["warning.approve", "warning.approve", "warning.release"]

    async def chain() -> None:
        async with valley.worker() as conn:
            await audit.verify(conn, valley.tenant_id)

    go(chain())


def test_who_may_not(valley: Any) -> None:
    insurer = valley.add_principal("ida", ["insurer", "admin"])

    async def story() -> None:
        row = await red_draft(valley)
        with pytest.raises(release.NotAnApprover):
            await approve(valley, insurer, row)
        with pytest.raises(release.NotAnApprover):
            await approve(valley, new_id(), row)
        with pytest.raises(release.ContentChanged):
            await approve(valley, valley.approvers[0], row, content_sha256=b"\0" * 32)
        with pytest.raises(NotFound):
            await approve(valley, valley.approvers[0], row, version=9)
        with pytest.raises(release.Expired):
            await approve(valley, valley.approvers[0], row, now=valley.at(60 * 24))
        await approve(valley, valley.approvers[0], row)
        # a role that is taken away between the two counts no more from then on, nor does a disabled account
        valley.conn.execute("UPDATE principal SET roles = '{insurer}' WHERE principal_id = %s", [valley.approvers[1]])
        with pytest.raises(release.NotAnApprover):
            await approve(valley, valley.approvers[1], row)
        valley.conn.execute(
            "UPDATE principal SET roles = '{approver}', disabled_at = now() WHERE principal_id = %s",
            [valley.approvers[1]],
        )
        with pytest.raises(release.NotAnApprover):
            await approve(valley, valley.approvers[1], row)

    go(story())
    assert newest(valley)["state"] == "draft"
    assert n_released(valley) == 0


def test_an_approval_does_not_carry_over_to_a_new_version(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule()
        await valley.see((0.0, 2.0), (10.0, 4.5))
        old = newest(valley)
        await approve(valley, valley.approvers[0], old)
        await valley.see((20.0, 6.5))
        new = newest(valley)
        assert new["version"] == old["version"] + 1
        with pytest.raises(release.NotADraft):
            await approve(valley, valley.approvers[1], old)
        with pytest.raises(release.ContentChanged):
            await approve(valley, valley.approvers[1], new, content_sha256=bytes(old["content_sha256"]))
        got = await approve(valley, valley.approvers[1], new)
        assert (got.released, got.n_approvals) == (False, 1)

    go(story())
    assert n_released(valley) == 0


def test_people_changed_behind_the_back_void_the_approval(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        valley.conn.execute("DELETE FROM warning_recipient WHERE policyholder_id = %s", [valley.people[0]])
        with pytest.raises(release.ContentChanged):
            await approve(valley, valley.approvers[0], row)

    go(story())


def test_one_person_in_two_sessions_at_once_is_one_person(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        got = await asyncio.gather(*(approve(valley, valley.approvers[0], row) for _ in range(4)))
        assert not any(one.released for one in got)

    go(story())
    assert n_released(valley) == 0


def test_the_database_guards_what_code_might_forget(valley: Any) -> None:
    row = go(red_draft(valley))
    key = [row["warning_id"], row["version"]]
    attempts = [
        ("UPDATE warning SET state = 'released', released_at = now() WHERE warning_id = %s AND version = %s", key),
        ("UPDATE warning SET approvals_needed = 0 WHERE warning_id = %s AND version = %s", key),
        ("UPDATE warning SET texts = '{}' WHERE warning_id = %s AND version = %s", key),
    ]
    for sql, values in attempts:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            valley.conn.execute(sql, values)
    # approvals for another content, and those of the same person, do not count
    for who, content in itertools.product(valley.approvers[:1], [bytes(row["content_sha256"])]):
        valley.conn.execute(
            "INSERT INTO approval VALUES (%s, %s, %s, %s, %s, now())", [valley.tenant_id, *key, who, content]
        )
    valley.conn.execute(
        "INSERT INTO approval VALUES (%s, %s, %s, %s, %s, now())",
        [valley.tenant_id, *key, valley.approvers[1], b"\0" * 32],
    )
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="needs 2 approvals and has 1"):
        valley.conn.execute(*attempts[0])


def test_a_person_cannot_insert_a_released_warning(valley: Any) -> None:
    row = go(red_draft(valley))
    columns = [
        name for name in row if name not in ("version", "state", "identifier", "approvals_needed", "released_at")
    ]

    async def forge(**changes: Any) -> None:
        async with valley.app() as conn:
            await conn.execute(
                f"INSERT INTO warning (version, state, identifier, approvals_needed, released_at, {', '.join(columns)})"
                f" SELECT %s, %s, 'x', %s, %s, {', '.join(columns)} FROM warning WHERE version = 1",
                [1 + row["version"], changes["state"], changes["needed"], changes["released_at"]],
            )

    for changes in (
        {"state": "released", "needed": 0, "released_at": valley.at(1)},
        {"state": "draft", "needed": 0, "released_at": None},
        {"state": "draft", "needed": 2, "released_at": None},  # a draft of nobody's
    ):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            go(forge(**changes))


@pytest.mark.parametrize("held", ["held_area_missing", "held_area_too_large"])
def test_a_draft_whose_area_is_wrong_cannot_be_released_by_anybody(valley: Any, held: str) -> None:
    from shapely.geometry import box

    async def story() -> None:
        await valley.save_rule(None if held == "held_area_missing" else box(-170, -80, 170, 80))
        await valley.see((0.0, 2.0), (10.0, 6.5))
        row = newest(valley)
        for who in valley.approvers:
            with pytest.raises(release.CannotBeReleased):
                await approve(valley, who, row)

    go(story())
    assert n_released(valley) == 0


def test_below_the_ceiling_one_person_is_enough_where_the_rule_is_not_automatic(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic=False)
        await valley.see((0.0, 2.0), (10.0, 3.5))
        assert (await approve(valley, valley.approvers[0], newest(valley))).released

    go(story())


def test_a_rejected_draft_stays_rejected(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        async with valley.app() as conn:
            await release.reject(
                conn,
                principal_id=valley.approvers[0],
                warning_id=row["warning_id"],
                version=1,
                reason="sensor",
                now=valley.at(12),
            )
        with pytest.raises(release.NotADraft):
            await approve(valley, valley.approvers[1], row)

    go(story())
    assert newest(valley)["state"] == "rejected"
    assert "rejected" in valley.reasons()


def test_cancel_takes_another_person_and_goes_to_exactly_those_who_were_told(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        for who in valley.approvers:
            await approve(valley, who, row)
        late = valley.add_person(80.06, 7.06)  # moved in afterwards: was never told
        async with valley.app() as conn:
            version = await release.draft_cancel(
                conn,
                principal_id=valley.approvers[0],
                warning_id=row["warning_id"],
                why="gauge was hit",
                now=valley.at(15),
            )
        cancel = newest(valley)
        assert (cancel["msg_type"], cancel["state"], cancel["version"]) == ("Cancel", "draft", version)
        with pytest.raises(release.OwnDraft):
            await approve(valley, valley.approvers[0], cancel)
        assert (await approve(valley, valley.approvers[1], cancel, now=valley.at(16))).released
        people = {
            one["policyholder_id"] for one in valley.rows("SELECT * FROM warning_recipient WHERE version = %s", version)
        }
        assert people == set(valley.people[:3])
        assert late not in people
        # the readings that were judged wrong do not raise it again; new ones do, as a new warning
        await valley.see((15.0, 6.4), late_min=2)
        assert len({one["warning_id"] for one in valley.rows("SELECT warning_id FROM warning")}) == 1
        await valley.see((20.0, 6.4))
        assert len({one["warning_id"] for one in valley.rows("SELECT warning_id FROM warning")}) == 2
        # nothing is left to take back
        async with valley.app() as conn:
            with pytest.raises(Conflict):
                await release.draft_cancel(
                    conn, principal_id=valley.approvers[0], warning_id=row["warning_id"], why="again", now=valley.at(30)
                )

    go(story())


def test_one_person_stops_and_two_go_on(valley: Any) -> None:
    ann, bo = valley.approvers

    async def act(what: Any, who: Any, scope: str = "tenant") -> Any:
        async with valley.app() as conn:
            return await what(conn, principal_id=who, tenant_id=valley.tenant_id, scope=scope, now=valley.at(20))

    async def story() -> None:
        await valley.save_rule()
        with pytest.raises(NotFound):
            await act(release.resume, ann)
        assert (await act(release.pause, ann)).paused
        asked = await act(release.resume, ann)
        assert (asked.paused, asked.needs_second_person) == (True, True)
        assert (await act(release.resume, ann)).paused  # asking twice is one person
        await act(release.pause, bo)  # stopping again voids the request
        assert (await act(release.resume, bo)).paused
        assert not (await act(release.resume, ann)).paused
        with pytest.raises(NotPermitted):
            await act(release.pause, ann, "all")

    go(story())
    assert valley.rows("SELECT * FROM sending_pause") == []
    assert [row["action"] for row in valley.rows("SELECT action FROM audit ORDER BY seq")] == [
        "sending.pause",
        "sending.ask_resume",
        "sending.pause",
        "sending.ask_resume",
        "sending.resume",
    ]


def test_an_answer_is_kept_once(valley: Any) -> None:
    async def give(**changes: Any) -> answer.Answer:
        given = {
            "tenant_id": valley.tenant_id,
            "policyholder_id": valley.people[0],
            "warning_id": newest(valley)["warning_id"],
            "kind": "help",
            "detail": {"people": 2},
            "idempotency_key": "phone-1",
            "now": valley.at(30),
        } | changes
        async with valley.app() as conn:
            return await answer.give_answer(conn, **given)

    async def story() -> None:
        await valley.save_rule()
        await valley.see((0.0, 2.0), (10.0, 3.5))
        first = await give()
        again = await give(now=valley.at(31))
        assert (first.new, again.new) == (True, False)
        assert again.answer_id == first.answer_id
        with pytest.raises(answer.KeyReused):
            await give(kind="safe")
        with pytest.raises(answer.BadAnswer):
            await give(kind="fine", idempotency_key="phone-2")
        with pytest.raises(answer.BadAnswer):
            await give(detail={"note": "x" * 9000}, idempotency_key="phone-3")
        with pytest.raises(NotFound):
            await give(policyholder_id=valley.people[3], idempotency_key="phone-4")
        async with valley.app() as conn:
            done = await answer.mark_handled(
                conn, answer_id=first.answer_id, principal_id=valley.approvers[0], now=valley.at(40)
            )
            again_done = await answer.mark_handled(
                conn, answer_id=first.answer_id, principal_id=valley.approvers[1], now=valley.at(50)
            )
        assert done == again_done == (valley.at(40), valley.approvers[0])

    go(story())
    assert len(valley.rows("SELECT * FROM answer")) == 1


def test_another_tenants_people_cannot_touch_it(valley: Any) -> None:
    other = new_id()
    valley.conn.execute("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, 'other', 'Other')", [other])
    principal = new_id()
    valley.conn.execute(
        "INSERT INTO principal VALUES (%s, %s, 'eve', 'Eve', '', '{approver}', NULL, now())", [principal, other]
    )

    async def story() -> None:
        row = await red_draft(valley)
        with pytest.raises(release.NotAnApprover):
            await approve(valley, principal, row)
        valley.tenant_id, mine = other, valley.tenant_id
        with pytest.raises(NotFound):
            await approve(valley, principal, row)
        valley.tenant_id = mine

    go(story())


def test_renewal_of_what_two_people_released_asks_them_again_in_time(valley: Any) -> None:
    async def story() -> None:
        row = await red_draft(valley)
        for who in valley.approvers:
            await approve(valley, who, row)
        await valley.tick(10 + 180)

    go(story())
    row = newest(valley)
    assert (row["state"], row["reason"], row["approvals_needed"]) == ("draft", "renewed", 2)
    first = valley.rows("SELECT expires_at FROM warning WHERE version = 1")[0]
    assert first["expires_at"] - row["sent_at"] >= timedelta(hours=2)
