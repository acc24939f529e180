"""Calls for help as work, steps against loss, receipts, notices, and taking a warning back, over HTTP."""

from datetime import timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from alerts.cases import ordered, priority
from api import repository
from tests.integration.api.world import NOW, Console, Sync, World

_ = repository


def answer_of(kind: str, world: World, **detail: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "detail": detail,
        "idempotency_key": f"key-{kind}-{len(detail)}",
        "warning_id": str(world.ids["warning"]),
    }


def test_a_call_for_help_is_work_with_a_priority_an_owner_and_a_hand_over(
    console: Any, world: World, other: World, worker: Sync
) -> None:
    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            told = await phone.post("/v1/public/answers", json=answer_of("help", world, need="trapped", people=3))
            again = await phone.post("/v1/public/answers", json=answer_of("help", world, need="trapped", people=3))
        assert told.status_code == 201
        key = told.json()["answer_id"]
        assert again.json()["answer_id"] == key
        path = f"/v1/cases/{key}"
        async with app.as_role(world, "insurer") as first, app.as_role(world, "operator") as second:
            items = (await first.get("/v1/cases")).json()["items"]
            (one,) = [item for item in items if item["answer_id"] == key]
            assert (one["state"], one["assigned_to"], one["time_to_contact_s"]) == ("open", None, None)
            assert one["priority"] > 40
            taken = (await first.post(path, json={"act": "assign"})).json()
            assert (taken["state"], taken["assigned_to"]) == ("assigned", "insurer of acme")
            reached = (await second.post(path, json={"act": "contact", "note": "on the roof"})).json()
            assert reached["state"] == "contacted"
            assert reached["assigned_to"] == "insurer of acme"  # who took it keeps it
            assert reached["time_to_contact_s"] is not None
            assert reached["time_to_contact_s"] >= 0
            bare = await first.post(path, json={"act": "hand_over"})
            assert bare.status_code == 422
            assert "handed_to" in bare.text
            over = (await first.post(path, json={"act": "hand_over", "handed_to": "Fire brigade 3"})).json()
            assert (over["state"], over["handed_to"]) == ("handed_over", "Fire brigade 3")
            assert over["note"] == "on the roof"
            assert (await first.post(path, json={"act": "close"})).json()["state"] == "closed"
            assert (await first.post(path, json={"act": "assign"})).status_code == 409
        async with app.as_role(other, "insurer") as stranger:
            assert (await stranger.post(path, json={"act": "assign"})).status_code == 404
        async with app.as_role(world, "underwriter") as nobody:
            assert (await nobody.get("/v1/cases")).status_code == 403

    console(body)
    acts = [
        row[0] for row in worker.execute("SELECT action FROM audit WHERE action LIKE 'case.%' ORDER BY seq").fetchall()
    ]
    assert acts == ["case.assign", "case.contact", "case.hand_over", "case.close"]


def test_the_most_urgent_come_first_and_who_is_safe_again_last() -> None:
    def case(n: int, **more: Any) -> dict[str, Any]:
        base = {"answer_id": n, "state": "open", "answered_at": NOW + timedelta(minutes=n), "detail": {}, "needs": []}
        return base | more

    rows = [
        case(1, detail={"need": "transport"}),
        case(2, detail={"need": "trapped"}, level="red", route_status="cut-off"),
        case(3, detail={"need": "trapped"}, level="red", route_status="cut-off", needs=["wheelchair"]),
        case(4, detail={"need": "trapped"}, safe_since=True),
        case(5, detail={"need": "trapped"}, level="red", state="closed"),
        case(6, detail={"need": "trapped"}, level="red", state="handed_over"),
        case(7, detail={"need": "trapped"}, level="red", route_status="cut-off"),
    ]
    assert [row["answer_id"] for row in ordered(rows)] == [3, 2, 7, 1, 4, 6, 5]
    assert priority({"detail": {"people": True, "need": 7}}) == 15  # nonsense counts as not said


def test_delivered_is_what_the_phone_says_and_nothing_else(console: Any, world: World, worker: Sync) -> None:
    delivery = world.ids["delivery"]
    worker.execute("UPDATE delivery SET state = 'accepted' WHERE delivery_id = %s", [delivery])

    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            before = worker.execute("SELECT state FROM delivery WHERE delivery_id = %s", [delivery]).fetchone()
            assert before == ("accepted",)
            told = await phone.post("/v1/public/receipts", json={"delivery_id": str(delivery), "kind": "displayed"})
            assert told.status_code == 201

    console(body)
    assert worker.execute("SELECT state FROM delivery WHERE delivery_id = %s", [delivery]).fetchone() == ("delivered",)


def test_taking_a_warning_back_stops_it_at_once_and_waits_for_another(console: Any, world: World, worker: Sync) -> None:
    path = f"/v1/warnings/{world.ids['warning']}/cancel"

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as insurer:
            assert (await insurer.post(path, json={"reason": "wrong"})).status_code == 403
        async with app.as_role(world, "approver") as ann:
            told = await ann.post(path, json={"reason": "wrong gauge"})
            assert told.status_code == 200, told.text
            version = told.json()["version"]
            assert [one["scope"] for one in (await ann.get("/v1/sending")).json()] == [
                f"warning:{world.ids['warning']}"
            ]
            shown = (await ann.get(f"/v1/warnings/{world.ids['warning']}")).json()["versions"][0]
            assert (shown["version"], shown["msg_type"], shown["state"]) == (version, "Cancel", "draft")
            own = await ann.post(
                f"/v1/warnings/{world.ids['warning']}/{version}/approve",
                json={"content_sha256": shown["content_sha256"]},
            )
            assert own.status_code == 403  # nobody approves what they drafted
        async with app.as_role(world, "approver2") as bo:
            done = await bo.post(
                f"/v1/warnings/{world.ids['warning']}/{version}/approve",
                json={"content_sha256": shown["content_sha256"]},
            )
            n_live = (await bo.get("/v1/overview")).json()["n_warnings_live"]
            assert done.json()["released"], done.text
            assert (await bo.get("/v1/sending")).json() == []
        # whoever was told opens the page and reads that it was an error, not simply that there is no warning
        async with app.phone(world) as phone:
            now = (await phone.get("/v1/public/now")).json()
        assert now["taken_back"]["warning_id"] == str(world.ids["warning"])
        assert now["taken_back"]["headline"] == shown["texts"]["en"]["headline"]
        assert str(world.ids["warning"]) not in [one["warning_id"] for one in now["warnings"]]
        assert n_live == 0  # a warning that was taken back is not out

    console(body)


def test_notices_are_seen_once(console: Any, world: World, worker: Sync) -> None:
    notice = world.ids["warning"]  # any id
    worker.execute(
        "INSERT INTO operator_notice (notice_id, tenant_id, kind, subject, detail, at) VALUES (%s, %s, 'siren_silent', 's', %s, %s)",
        [notice, world.tenant_id, Jsonb({"device": "tower"}), NOW],
    )

    async def body(app: Console) -> None:
        async with app.as_role(world, "operator") as client:
            listed = (await client.get("/v1/notices")).json()
            (one,) = (row for row in listed if row["notice_id"] == str(notice))
            assert (one["kind"], one["seen_at"]) == ("siren_silent", None)
            first = (await client.post(f"/v1/notices/{notice}/seen")).json()
            assert (await client.post(f"/v1/notices/{notice}/seen")).json() == first

    console(body)


def test_a_step_is_credited_once_with_what_it_saved(console: Any, world: World, worker: Sync) -> None:
    worker.execute(
        "UPDATE tenant SET settings = settings || %s WHERE tenant_id = %s",
        [Jsonb({"prevention": {"car_value": 10000}}), world.tenant_id],
    )
    worker.execute("UPDATE household SET mode = 'car', needs = '{}'")
    # a metre of water in four hours, everywhere
    zone = {"type": "Polygon", "coordinates": [[[-179, -89], [179, -89], [179, 89], [-179, 89], [-179, -89]]]}
    worker.execute(
        "UPDATE footprint SET zones = %s, valid_at = %s, geometry = '\\x010600000000000000'::bytea WHERE footprint_id IN"
        " (SELECT f.footprint_id FROM footprint AS f JOIN hazard_event AS e ON e.hazard_event_id = f.hazard_event_id)",
        [Jsonb([{"arrival_min": 240, "intensity": 0.9144, "unit": "m", "geometry": zone}]), NOW],
    )
    worker.execute(
        "UPDATE hazard_event SET peril = 'flood', started_at = %s, ended_at = NULL", [NOW - timedelta(hours=1)]
    )
    worker.execute("UPDATE household_route SET leave_by = NULL")

    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            shown = (await phone.get("/v1/public/now")).json()["steps"]
            assert shown[0]["step"] == "cut_power"
            car = next(one for one in shown if one["step"] == "move_car")
            assert car["avoided_loss"] == pytest.approx(6220)  # USACE: 62.2 % at three feet
            done = {"warning_id": str(world.ids["warning"]), "step": "move_car"}
            first = await phone.post("/v1/public/steps", json=done)
            assert first.status_code == 201, first.text
            assert first.json()["avoided_loss"] == pytest.approx(6220)
            assert (await phone.post("/v1/public/steps", json=done)).json() == first.json()
            assert (await phone.post("/v1/public/steps", json=done | {"step": "dance"})).status_code == 422
            again = (await phone.get("/v1/public/now")).json()["steps"]
            assert next(one for one in again if one["step"] == "move_car")["done_at"] is not None
        async with app.as_role(world, "insurer") as client:
            (row,) = (await client.get("/v1/avoided-losses")).json()
            assert (row["step"], row["n_done"], row["n_known"], float(row["avoided_loss"])) == (
                "move_car",
                1,
                1,
                6220.0,
            )

    console(body)
