"""What people do: approve, reject, stop, handle, answer; and that doing it twice does it once."""

import asyncio
from typing import Any

import psycopg
import pytest
from lxml import etree

from alerts.alert import content_sha256
from alerts.repository import read_warning, recipients
from api import repository
from core.ids import new_id
from store.pool import worker_pool
from tests.integration.api.world import Console, Sync, World


async def true_hash(app: Console, world: World, name: str) -> str:
    """Gives a seeded version the hash of its content, as drafting would have, and returns it."""
    async with worker_pool(app.settings, size=1) as pool, pool.connection() as conn:
        stored = await read_warning(conn, world.ids[name], 1)
        digest = content_sha256(stored.alert, await recipients(conn, world.ids[name], 1))
    assert app.settings.database_url is not None
    with psycopg.connect(app.settings.database_url.get_secret_value(), autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")  # past the guard, which lets no content change
        owner.execute("UPDATE warning SET content_sha256 = %s WHERE warning_id = %s", [digest, world.ids[name]])
    return digest.hex()


def test_two_people_release_exactly_what_they_read(console: Any, world: World, worker: Sync) -> None:
    path = f"/v1/warnings/{world.ids['draft']}/1/approve"

    async def body(app: Console) -> None:
        digest = await true_hash(app, world, "draft")
        async with app.as_role(world, "approver") as first, app.as_role(world, "approver2") as second:
            stale = await first.post(path, json={"content_sha256": "ab" * 32})
            assert (stale.status_code, stale.json()["type"]) == (409, "urn:tocsin:problem:conflict")
            for _ in range(2):  # the same person again changes nothing
                told = (await first.post(path, json={"content_sha256": digest})).json()
                assert (told["n_approvals"], told["released"], told["state"]) == (1, False, "draft")
            shown = (await first.get(f"/v1/warnings/{world.ids['draft']}")).json()["versions"][0]
            assert shown["content_sha256"] == digest
            assert shown["cap_url"] is None
            assert [one["display_name"] for one in shown["approvals"]] == ["approver of acme"]
            cap = await first.get(f"/v1/warnings/{world.ids['draft']}/1/cap.xml")
            assert cap.status_code == 409  # a draft is no message
            told = (await second.post(path, json={"content_sha256": digest})).json()
            assert (told["n_approvals"], told["released"], told["state"]) == (2, True, "released")
            assert (await second.post(path, json={"content_sha256": digest})).status_code == 409
        kinds = {row[0] for row in worker.execute("SELECT kind FROM outbox WHERE consumer = 'deliver'").fetchall()}
        assert kinds == {"warning_released"}

    console(body)


def test_a_reason_belongs_to_every_rejection(console: Any, world: World) -> None:
    path = f"/v1/warnings/{world.ids['draft']}/1/reject"

    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as client:
            assert (await client.post(path, json={"reason": ""})).status_code == 422
            assert (await client.post(path, json={"reason": "wrong gauge"})).json()["state"] == "rejected"
            assert (await client.post(path, json={"reason": "again"})).status_code == 409

    console(body)


def test_a_released_version_is_a_cap_message(console: Any, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            answer = await client.get(f"/v1/warnings/{world.ids['warning']}/1/cap.xml")
        assert answer.headers["content-type"].startswith("application/cap+xml")
        root = etree.fromstring(answer.content)
        space = {"c": "urn:oasis:names:tc:emergency:cap:1.2"}
        assert root.findtext("c:status", namespaces=space) == "Exercise"
        assert root.findtext("c:identifier", namespaces=space) == f"urn:uuid:{world.ids['warning']}"

    console(body)


def test_one_person_stops_and_two_go_on(console: Any, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as first, app.as_role(world, "approver2") as second:
            assert (await first.post("/v1/sending/resume", json={})).status_code == 404
            told = (await first.post("/v1/sending/pause", json={})).json()
            assert (told["scope"], told["paused"]) == (f"tenant:{world.tenant_id}", True)
            assert (await first.get("/v1/overview")).json()["sending_paused"] is True
            async with app.phone(world) as phone:
                assert (await phone.get("/v1/public/now")).json()["sending_paused"] is True
            async with app.as_role(other, "approver") as stranger:
                assert (await stranger.get("/v1/sending")).json() == []
            for _ in range(2):
                told = (await first.post("/v1/sending/resume", json={})).json()
                assert (told["paused"], told["needs_second_person"]) == (True, True)
            assert (await second.get("/v1/sending")).json()[0]["resume_asked_by"] == str(world.principals["approver"])
            told = (await second.post("/v1/sending/resume", json={})).json()
            assert (told["paused"], told["needs_second_person"]) == (False, False)
            assert (await first.get("/v1/sending")).json() == []

    console(body)


def test_a_stop_of_everything_takes_an_operator_and_one_of_a_warning_its_own_tenant(
    console: Any, world: World, other: World
) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "approver") as approver:
            assert (await approver.post("/v1/sending/pause", json={"scope": "all"})).status_code == 403
            for body in ({"scope": "warning"}, {"warning_id": str(world.ids["warning"])}, {"scope": "moon"}):
                assert (await approver.post("/v1/sending/pause", json=body)).status_code == 422
            foreign = {"scope": "warning", "warning_id": str(other.ids["warning"])}
            assert (await approver.post("/v1/sending/pause", json=foreign)).status_code == 404
            own = {"scope": "warning", "warning_id": str(world.ids["warning"])}
            assert (await approver.post("/v1/sending/pause", json=own)).status_code == 200
        async with app.as_role(world, "operator") as operator:
            answer = await operator.post("/v1/sending/pause", json={"scope": "all"})
            assert (answer.status_code, answer.json()["scope"]) == (200, "all")
        async with app.as_role(other, "insurer") as stranger:
            assert [one["scope"] for one in (await stranger.get("/v1/sending")).json()] == ["all"]

    console(body)


def test_the_first_to_handle_an_answer_stays_named(console: Any, world: World) -> None:
    path = f"/v1/answers/{world.ids['answer']}/handled"

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as first, app.as_role(world, "operator") as second:
            told = (await first.post(path)).json()
            assert told["handled_by"] == "insurer of acme"
            assert (await second.post(path)).json() == told
            assert (await first.get("/v1/answers", params={"open_only": True})).json()["items"] == []
            assert (await second.post(f"/v1/answers/{new_id()}/handled")).status_code == 404

    console(body)


# ---------------------------------------------------------------- idempotency
def test_a_key_given_twice_acts_once_and_answers_the_same(console: Any, world: World, worker: Sync) -> None:
    path = f"/v1/answers/{world.ids['answer']}/handled"
    key = {"Idempotency-Key": "one-key-12345"}

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client, app.as_role(world, "operator") as second:
            first = await client.post(path, headers=key)
            again = await client.post(path, headers=key)
            assert (first.status_code, first.content) == (again.status_code, again.content)
            assert "idempotency-replayed" not in first.headers
            assert again.headers["idempotency-replayed"] == "true"
            # the key is this person's and this operation's
            mine = await second.post(path, headers=key)
            assert "idempotency-replayed" not in mine.headers
            reused = await client.post(path, headers=key, json={"other": "body"})
            assert (reused.status_code, reused.json()["type"]) == (409, "urn:tocsin:problem:conflict")
            for bad in ("short", "x" * 201, "tab\tinside-it"):
                assert (await client.post(path, headers={"Idempotency-Key": bad})).status_code == 422
        told = "SELECT (SELECT count(*) FROM outbox WHERE consumer = 'stream') + (SELECT count(*) FROM stream_event)"
        assert worker.execute(told).fetchone() == (1,)
        assert worker.execute("SELECT count(*) FROM outbox WHERE consumer = 'plan'").fetchone() == (1,)

    console(body)


def test_a_refused_act_leaves_its_key_free(console: Any, world: World, worker: Sync) -> None:
    path = f"/v1/warnings/{world.ids['draft']}/1/approve"
    key = {"Idempotency-Key": "try-again-1"}

    async def body(app: Console) -> None:
        digest = await true_hash(app, world, "draft")
        async with app.as_role(world, "approver") as client:
            assert (await client.post(path, headers=key, json={"content_sha256": "cd" * 32})).status_code == 409
            assert (await client.post(path, headers=key, json={"content_sha256": digest})).status_code == 200
        assert worker.execute("SELECT count(*) FROM idempotency").fetchone() == (1,)

    console(body)


def test_a_key_that_is_being_worked_on_says_so(console: Any, world: World) -> None:
    path = f"/v1/answers/{world.ids['answer']}/handled"

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            scoped = f"{world.principals['insurer']} POST {path} in-progress-1"
            async with repository.tenant_transaction(app.app.state.services.app_pool, world.tenant_id) as conn:
                assert await repository.hold_key(conn, world.tenant_id, scoped)
                busy = await client.post(path, headers={"Idempotency-Key": "in-progress-1"})
                assert (busy.status_code, busy.json()["type"]) == (409, "urn:tocsin:problem:conflict")
            assert (await client.post(path, headers={"Idempotency-Key": "in-progress-1"})).status_code == 200

    console(body)


def test_many_at_once_with_one_key_act_once(console: Any, world: World, worker: Sync) -> None:
    path = f"/v1/answers/{world.ids['answer']}/handled"

    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            key = {"Idempotency-Key": "all-at-once-1"}
            answers = await asyncio.gather(*(client.post(path, headers=key) for _ in range(20)))
        assert {one.status_code for one in answers} <= {200, 409}
        assert sum("idempotency-replayed" not in one.headers for one in answers if one.status_code == 200) == 1
        assert worker.execute("SELECT count(*) FROM idempotency").fetchone() == (1,)

    console(body)


# ---------------------------------------------------------------- the phone's acts
def test_an_answer_reaches_the_desk_once(console: Any, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        given = {
            "kind": "help",
            "detail": {"people": 3, "need": "boat"},
            "idempotency_key": "phone-key-1",
            "warning_id": str(world.ids["warning"]),
        }
        async with app.phone(world) as phone:
            first = await phone.post("/v1/public/answers", json=given)
            assert first.status_code == 201, first.text
            assert (await phone.post("/v1/public/answers", json=given)).json() == first.json()
            other_body = {**given, "kind": "safe"}
            assert (await phone.post("/v1/public/answers", json=other_body)).status_code == 409
            foreign = {**given, "idempotency_key": "phone-key-2", "warning_id": str(other.ids["warning"])}
            assert (await phone.post("/v1/public/answers", json=foreign)).status_code == 404
            for wrong in (
                {**given, "kind": "fine"},
                {**given, "idempotency_key": "x"},
                {**given, "idempotency_key": "phone-key-3", "detail": {"note": "x" * 9000}},
                {**given, "surplus": 1},
            ):
                answer = await phone.post("/v1/public/answers", json=wrong)
                assert answer.status_code == 422, wrong
            assert (await phone.get("/v1/public/now")).json()["warnings"][0]["answered"] == "help"
        async with app.as_role(world, "operator") as desk:
            listed = (await desk.get("/v1/answers")).json()["items"]
        assert [one["detail"] for one in listed if one["name"] == "person acme"] == [{"people": 3, "need": "boat"}]

    console(body)


def test_receipts_are_kept_once_and_only_of_ones_own(console: Any, world: World, other: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            mine = {"delivery_id": str(world.ids["delivery"]), "kind": "displayed"}
            for _ in range(2):
                assert (await phone.post("/v1/public/receipts", json=mine)).status_code == 201
            for delivery in (other.ids["delivery"], new_id()):
                answer = await phone.post("/v1/public/receipts", json={**mine, "delivery_id": str(delivery)})
                assert answer.status_code == 404
            assert (await phone.post("/v1/public/receipts", json={**mine, "kind": "answered"})).status_code == 422
        async with app.phone(world, "neighbour") as phone:
            assert (await phone.post("/v1/public/receipts", json=mine)).status_code == 404
        assert worker.execute("SELECT count(*) FROM receipt").fetchone() == (1,)

    console(body)


POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"


def subscription(number: int = 0, secret: str = "BTBZMqHH6r4Tts7J_aSIgg") -> dict[str, Any]:
    return {"endpoint": f"https://fcm.googleapis.com/{number}", "keys": {"p256dh": POINT, "auth": secret}}


def test_a_phone_can_be_pushed_to_at_a_listed_service_only(console: Any, world: World, worker: Sync) -> None:
    path = "/v1/public/push-subscription"

    async def body(app: Console) -> None:
        async with app.phone(world) as phone, app.phone(world, "neighbour") as neighbour:
            for _ in range(2):
                assert (await phone.post(path, json=subscription())).status_code == 201
            assert (await neighbour.post(path, json=subscription())).status_code == 409  # somebody else's device
            evil = {**subscription(), "endpoint": "https://169.254.169.254/latest"}
            refused = await phone.post(path, json=evil)
            assert refused.status_code == 422
            assert "169.254" not in refused.text
            renewed = subscription(secret="AAAAAAAAAAAAAAAAAAAAAA")
            assert (await phone.post(path, json=renewed)).status_code == 201
            rows = worker.execute(
                "SELECT address -> 'keys' ->> 'auth' FROM contact_point"
                " WHERE channel = 'web_push' AND withdrawn_at IS NULL"
            ).fetchall()
            assert rows == [("AAAAAAAAAAAAAAAAAAAAAA",)]
            codes = [(await phone.post(path, json=subscription(n))).status_code for n in range(1, 22)]
            assert codes == [201] * 19 + [422] * 2
            assert (await phone.post(path, json=renewed)).status_code == 201  # a known device may come back

    console(body)


# ---------------------------------------------------------------- quotes
SUBMISSION = {
    "insured": "Example Ltd",
    "exposure_window": {"from": "2025-01-01", "to": "2026-01-01"},
    "as_of": "2026-01-31",
    "policy_period": {"from": "2026-03-01", "to": "2027-03-01"},
    "currency": "EUR",
    "covers": [
        {
            "cover": "business_interruption",
            "revenue_per_hour": 5000,
            "affected_share": {"server": 0.1},
            "waiting_period_h": 4,
            "indemnity_period_h": 720,
            "limit": 500000,
        }
    ],
    "expenses": {"acquisition": 0.1, "administration": 0.1, "profit": 0.05},
}
FLEET = "asset_id,device_class,commissioned_on,retired_on\n" + "".join(f"a{n},server,2024-01-01,\n" for n in range(40))
INCIDENTS = "incident_id,asset_id,opened,restored\n" + "".join(
    f"i{n},a{n},2025-0{n + 1}-10T00:00:00Z,2025-0{n + 1}-10T0{n + 1}:30:00Z\n" for n in range(6)
)


def test_a_quote_is_priced_stored_and_the_same_again(console: Any, world: World, other: World) -> None:
    given = {"submission": SUBMISSION, "fleet_csv": FLEET, "incidents_csv": INCIDENTS}

    async def body(app: Console) -> None:
        async with app.as_role(world, "underwriter") as client:
            first = await client.post("/v1/quotes", json=given)
            assert first.status_code == 201, first.text
            told = first.json()
            assert float(told["premium"]) > 0
            assert told["result"]["insured"] == "Example Ltd"
            again = (await client.post("/v1/quotes", json=given)).json()
            assert (again["quote_id"], again["premium"]) == (told["quote_id"], told["premium"])
            assert (await client.get(f"/v1/quotes/{told['quote_id']}")).json() == told
            listed = (await client.get("/v1/quotes", params={"limit": 1})).json()
            assert listed["items"][0]["quote_id"] == told["quote_id"]
            assert (await client.get("/v1/quotes", params={"cursor": listed["next_cursor"]})).json()["items"]
            unwindowed = {**given, "submission": {k: v for k, v in SUBMISSION.items() if k != "exposure_window"}}
            refused = await client.post("/v1/quotes", json=unwindowed)
            assert refused.status_code == 422
            assert "exposure_window" in refused.json()["detail"]
        async with app.as_role(other, "underwriter") as stranger:
            assert (await stranger.get(f"/v1/quotes/{told['quote_id']}")).status_code == 404

    console(body)


def test_the_app_role_cannot_release_by_itself(console: Any, world: World) -> None:
    """The database's own guard: without approvals no statement of the API's role releases a draft."""

    async def body(app: Console) -> None:
        with pytest.raises(repository.DatabaseError):
            async with repository.tenant_transaction(app.app.state.services.app_pool, world.tenant_id) as conn:
                await conn.execute(
                    "UPDATE warning SET state = 'released', released_at = now() WHERE warning_id = %s",
                    [world.ids["draft"]],
                )

    console(body)


# ---------------------------------------------------------------- readings
def test_readings_come_in_over_http_and_once(console: Any, world: World, other: World, worker: Sync) -> None:
    pack = b'[{"n":"level","u":"m","t":1785400000,"v":4.5},{"n":"level","u":"ft","t":1785400600,"v":10}]'
    path = f"/v1/observations?station=station-{world.slug}"

    async def body(app: Console) -> None:
        async with app.as_key(world, "device") as device:
            first = await device.post(path, content=pack)
            assert first.status_code == 200, first.text
            assert (first.json()["n_stored"], first.json()["n_duplicate"]) == (2, 0)
            again = (await device.post(path, content=pack)).json()
            assert (again["n_stored"], again["n_duplicate"]) == (0, 2)
            plain = b'{"quantity":"level","observed_at":"2026-07-30T08:46:40Z","v":5}'
            assert (await device.post(path, content=plain)).json()["n_stored"] == 1
            mixed = b'[{"n":"level","t":1785400000,"v":9.9},{"n":"level","t":1785402400,"v":1}]'
            told = (await device.post(path, content=mixed)).json()
            assert (told["n_stored"], told["n_quarantined"]) == (1, 1)
            assert told["problems"][0]["reason"] == "conflict"
            for poison in (b"", b"nonsense", b'[{"n":"level","v":NaN}]', b"[" * 40, b"\xff\xfe", b'{"v":1}'):
                refused = await device.post(path, content=poison)
                assert refused.status_code == 422, poison
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.json()["errors"][0]["field"].startswith("payload (")
            foreign = await device.post(f"/v1/observations?station=station-{other.slug}", content=pack)
            assert foreign.status_code == 422
            assert "unknown_station" in foreign.text
            assert (await device.get("/v1/stations")).status_code == 403  # a device only sends
        async with app.as_role(world, "insurer") as client:
            assert (await client.post(path, content=pack)).status_code == 403
            series = await client.get(
                f"/v1/stations/{world.ids['station']}/observations",
                params={"from": "2026-07-30T08:00:00Z", "to": "2026-07-30T10:00:00Z"},
            )
            assert [one["value"] for one in series.json()["items"]] == [4.5, 3.048, 5.0, 1.0]
        n = worker.execute(
            "SELECT count(*) FROM observation WHERE datastream_id = %s", [other.ids["station_datastream"]]
        )
        assert n.fetchone() == (5,)

    console(body)
