"""What providers report and people reply, signed, once, and never backwards; and photos of damage."""

import base64
import hashlib
import io
import json
import time
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from alerts.channels.webhook import signature
from core.ids import new_id
from tests.integration.api.world import NOW, Console, Sync, World, insert

pytestmark = pytest.mark.sql

SECRET = b"s" * 40


def message(
    worker: Sync, world: World, channel: str, state: str, number: str = "+49 170 0000001", rung: int = 0
) -> str:
    """One message on a channel of the person; the fake provider carries it, as in any exercise."""
    contact = new_id()
    insert(
        worker, "contact_point", contact_point_id=contact, tenant_id=world.tenant_id, policyholder_id=world.ids["person"],
        channel=channel, address={"phone": number}, consent_at=NOW,
    )  # fmt: skip
    key = new_id()
    insert(
        worker, "delivery", delivery_id=key, tenant_id=world.tenant_id, warning_id=world.ids["warning"], version=1,
        policyholder_id=world.ids["person"], contact_point_id=contact, channel=channel, provider="fake", exercise=True,
        state=state, available_at=NOW, queued_at=NOW, accepted_at=NOW, rung=rung,
    )  # fmt: skip
    worker.commit()
    return str(key)


async def post(app: Console, path: str, body: dict[str, Any], *, secret: bytes = SECRET, age_s: float = 0) -> Any:
    app.settings.deliver.callback_secret = SecretStr(SECRET.decode())
    raw, stamp = json.dumps(body).encode(), str(int(time.time() - age_s))
    headers = {
        "Content-Type": "application/json",
        "X-Tocsin-Timestamp": stamp,
        "X-Tocsin-Signature": signature(secret, stamp, raw),
    }
    async with app.client() as client:
        return await client.post(f"/v1/providers/{path}", content=raw, headers=headers)


def state(worker: Sync, key: str) -> Any:
    row = worker.execute("SELECT state, last_error FROM delivery WHERE delivery_id = %s", [key]).fetchone()
    worker.commit()
    return row


def test_a_report_is_signed_kept_once_and_never_moves_a_message_backwards(
    console: Any, world: World, worker: Sync
) -> None:
    arrived, failed = message(worker, world, "sms", "accepted"), message(worker, world, "voice", "accepted", rung=1)

    async def body(app: Console) -> None:
        told = {"reference": arrived, "status": "delivered"}
        assert (await post(app, "sms/status", told, secret=b"x" * 40)).status_code == 401
        assert (await post(app, "sms/status", told, age_s=301)).status_code == 401
        assert state(worker, arrived)[0] == "accepted"
        assert (await post(app, "voice/status", told)).status_code == 404  # of another channel
        assert (await post(app, "sms/status", {**told, "reference": str(new_id())})).status_code == 404
        assert (await post(app, "sms/status", {**told, "status": "lost"})).status_code == 422
        first = await post(app, "sms/status", told)
        assert (first.status_code, first.json()["state"], first.json()["new"]) == (200, "delivered", True)
        assert (await post(app, "sms/status", told)).json()["new"] is False
        late = await post(app, "sms/status", {"reference": arrived, "status": "failed", "reason": "expired"})
        assert late.json()["state"] == "delivered"
        assert (await post(app, "sms/status", {"reference": arrived, "status": "under_way"})).json()["new"] is False

        no = await post(app, "voice/status", {"reference": failed, "status": "failed", "reason": "no such number"})
        assert no.json()["state"] == "failed"
        assert "no such number" in state(worker, failed)[1]
        # it arrived after all: that is the truth, and the last word
        assert (await post(app, "voice/status", {"reference": failed, "status": "delivered"})).json()[
            "state"
        ] == "delivered"
        app.settings.deliver.callback_secret = None
        async with app.client() as client:
            assert (await client.post("/v1/providers/sms/status", json=told)).status_code == 404

    console(body)
    kinds = worker.execute("SELECT kind FROM receipt WHERE delivery_id = %s", [arrived]).fetchall()
    assert [row[0] for row in kinds] == ["delivered"]


def test_a_failure_makes_the_next_rung_due_at_once(console: Any, world: World, worker: Sync) -> None:
    sms, call = message(worker, world, "sms", "accepted"), message(worker, world, "voice", "queued", rung=1)
    worker.execute("UPDATE delivery SET available_at = now() + interval '1 hour' WHERE delivery_id = %s", [call])
    worker.commit()

    async def body(app: Console) -> None:
        assert (await post(app, "sms/status", {"reference": sms, "status": "failed"})).json()["state"] == "failed"

    console(body)
    row = worker.execute("SELECT available_at <= now() FROM delivery WHERE delivery_id = %s", [call]).fetchone()
    assert row == (True,)


def test_keys_and_replies_are_answers_once_and_what_is_unclear_is_for_the_operator(
    console: Any, world: World, worker: Sync
) -> None:
    call = message(worker, world, "voice", "accepted")
    message(worker, world, "sms", "accepted", number="+49 (170) 000-0002")

    async def body(app: Console) -> None:
        pressed = {"reply_id": "call-1", "reference": call, "key": "1"}
        first = (await post(app, "voice/reply", pressed)).json()
        assert first["meaning"] == "safe"
        assert (await post(app, "voice/reply", pressed)).json() == first
        assert (await post(app, "voice/reply", pressed, secret=b"y" * 40)).status_code == 401
        help_ = {"reply_id": "sms-1", "from_number": "+491700000002", "text": "HELP water in the house"}
        assert (await post(app, "sms/reply", help_)).json()["meaning"] == "help"
        odd = {"reply_id": "sms-2", "from_number": "+491700000002", "text": "safe? who is this"}
        assert (await post(app, "sms/reply", odd)).json() == {"meaning": None, "answer_id": None}
        assert (await post(app, "sms/reply", {**odd, "from_number": "+4917099999"})).status_code == 404

    console(body)
    answers = worker.execute(
        "SELECT kind, detail ->> 'by' FROM answer WHERE policyholder_id = %s ORDER BY answered_at",
        [world.ids["person"]],
    ).fetchall()
    assert sorted(answers) == [("help", "sms"), ("safe", "voice")]
    assert worker.execute("SELECT count(*) FROM help_case WHERE tenant_id = %s", [world.tenant_id]).fetchone() == (1,)
    notes = worker.execute(
        "SELECT detail ->> 'said' FROM operator_notice WHERE kind = 'reply_not_understood'"
    ).fetchall()
    assert notes == [("safe? who is this",)]


def jpeg() -> bytes:
    told = Image.Exif()
    told[0x010E] = "at 52.52N"
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 120, 40)).save(out, "JPEG", exif=told)
    return out.getvalue()


def test_a_photo_of_damage_is_cleaned_kept_once_and_shown_to_the_desk_alone(
    console: Any, world: World, other: World, worker: Sync
) -> None:
    answer = {
        "kind": "damage",
        "detail": {"depth": "knee"},
        "idempotency_key": "photo-0001",
        "warning_id": str(world.ids["warning"]),
        "photo": base64.b64encode(jpeg()).decode(),
    }

    async def body(app: Console) -> None:
        async with app.phone(world) as phone:
            first = await phone.post("/v1/public/answers", json=answer)
            assert first.status_code == 201, first.text
            again = await phone.post("/v1/public/answers", json=answer)
            assert again.json() == first.json()
            key = first.json()["answer_id"]
            forged = {**answer, "idempotency_key": "photo-0002", "detail": {"photo": "ab" * 32}, "photo": None}
            assert (await phone.post("/v1/public/answers", json=forged)).status_code == 422
            svg = {**answer, "idempotency_key": "photo-0003", "photo": base64.b64encode(b"<svg onload=x>").decode()}
            refused = await phone.post("/v1/public/answers", json=svg)
            assert refused.status_code == 422
            assert "JPEG" in refused.text
            assert (await phone.get(f"/v1/answers/{key}/photo")).status_code in (401, 403)
        async with app.as_role(world, "insurer") as desk:
            shown = await desk.get(f"/v1/answers/{key}/photo")
            assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
            assert "sandbox" in shown.headers["content-security-policy"]
            assert b"52.52N" not in shown.content
            assert Image.open(io.BytesIO(shown.content)).size == (40, 30)
            items = (await desk.get("/v1/answers", params={"kind": "damage"})).json()["items"]
            (one,) = [item for item in items if item["answer_id"] == key]
            assert one["detail"]["photo"] == hashlib.sha256(shown.content).hexdigest()
            assert (await desk.get(f"/v1/answers/{world.ids['answer']}/photo")).status_code == 404
        async with app.as_role(other, "insurer") as stranger:
            assert (await stranger.get(f"/v1/answers/{key}/photo")).status_code == 404
        async with app.as_role(world, "underwriter") as nobody:
            assert (await nobody.get(f"/v1/answers/{key}/photo")).status_code == 403

    console(body)
    assert worker.execute("SELECT count(*) FROM answer_photo").fetchone() == (1,)
