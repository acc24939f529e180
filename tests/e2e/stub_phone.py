"""The stand-in's side for the phone page: one household of the flood in world.py."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from api.schemas import public as pu
from tests.e2e.world import RED_TEXTS, ZONES, World, at, key, river, route, valley

TOKEN = "link-token-of-amara"


TAKEN_BACK = pu.PublicWarning(
    warning_id=key("red"), version=2, level="none", all_clear=False, headline="Flood warning sent in error. Millbridge",
    description="", instruction="You need do nothing. If you left, you may go back.", area_desc="Millbridge",
    language="en", sent_at=at(186), expires_at=at(600), sender="flood-desk@example.org", delivery_id=None, answered=None,
)  # fmt: skip


def add_phone_routes(app: FastAPI, world: World) -> None:
    """Adds what a signed link may read and send."""

    @app.get("/v1/public/now")
    async def public_now() -> Any:
        zones = [
            pu.PublicSafeZone(
                safe_zone_id=key(code),
                names={"en": name, "zh": zh},
                lon=river(share, aside)[0],
                lat=river(share, aside)[1],
                distance_m=1900 + 1300 * i,
                opens_at=None,
            )
            for i, (code, name, zh, share, aside, _) in enumerate(ZONES[:3])
        ]
        texts = RED_TEXTS["en"]
        warned = world.phone_state in ("warning", "warning_silent")
        warnings = [
            pu.PublicWarning(
                warning_id=key("red"),
                version=1,
                level="red",
                all_clear=False,
                headline=texts.headline,
                description=texts.description,
                instruction=texts.instruction,
                area_desc="Millbridge, low ground on both banks",
                language="en",
                sent_at=at(184),
                expires_at=at(600),
                sender="flood-desk@example.org",
                delivery_id=key("delivery"),
                answered=None,
            )
        ]
        leave = world.now() + timedelta(minutes=world.leave_in_min)
        body = pu.PublicNow(
            name="Amara",
            language="en",
            exercise=True,
            state="warning" if warned else world.phone_state,
            state_reason=world.phone_reason,
            checked_at=world.now(),
            home=route(1)[0],
            order=None,
            warnings=warnings if warned else [],
            taken_back=TAKEN_BACK if world.taken_back else None,
            route=pu.PublicRoute(
                status=world.route_status,
                safe_zone=zones[1],
                leave_by=leave,
                last_way_out=leave + timedelta(minutes=40),
                travel_s=780,
                distance_m=4350,
                inside_m=110,
                reason="",
                geometry={"type": "LineString", "coordinates": route(1)},
                turns=[
                    pu.PublicTurn(kind="depart", text="Start on River Road, going north", distance_m=1850),
                    pu.PublicTurn(kind="right", text="Turn right onto Temple Lane", distance_m=2500),
                    pu.PublicTurn(kind="arrive", text="Arrive at the safe zone", distance_m=0),
                ],
                checked_at=at(182),
                footprint={"type": "Polygon", "coordinates": [valley(0.018)]},
            )
            if warned
            else None,
            safe_zones=zones,
            steps=[
                pu.PublicStep(
                    step=name,
                    minutes=minutes,
                    avoided_loss=saved,
                    currency="EUR",
                    done_at=world.steps_done.get(name),
                )
                for name, minutes, saved in (
                    ("cut_power", 5, None),
                    ("move_car", 10, 6220.0),
                    ("move_contents", 45, 8100.0),
                )
            ]
            if warned
            else [],
            channels=[pu.ChannelCheck(channel="fake", address_hint="…4711", last_accepted_at=at(185))],
            sending_paused=False,
        )
        return body

    @app.post("/v1/public/answers", status_code=201)
    async def public_answer(body: pu.AnswerIn) -> pu.AnswerRecorded:
        known = world.answered_keys.get(body.idempotency_key)
        if known is None:
            known = key(body.idempotency_key)
            world.answered_keys[body.idempotency_key] = known
            detail = dict(body.detail)
            if body.photo is not None:
                world.photos[known] = body.photo
                detail["photo"] = "ab" * 32
            world.answers.append(
                {
                    "answer_id": known,
                    "policyholder_id": key("amara"),
                    "name": "Amara Silva",
                    "language": "en",
                    "warning_id": body.warning_id,
                    "kind": body.kind,
                    "detail": detail,
                    "lon": None,
                    "lat": None,
                    "answered_at": world.now(),
                    "handled_at": None,
                    "handled_by": None,
                }
            )
            world.emit("answer_given", {"answer_id": str(known)})
        return pu.AnswerRecorded(answer_id=known, kind=body.kind, received_at=world.now())

    @app.post("/v1/public/steps", status_code=201)
    async def step(body: pu.StepDoneIn) -> pu.StepDone:
        at_ = world.steps_done.setdefault(body.step, world.now())
        return pu.StepDone(step=body.step, done_at=at_, avoided_loss=6220.0, currency="EUR")

    @app.post("/v1/public/receipts", status_code=201)
    async def receipt(body: pu.ReceiptIn) -> pu.Recorded:
        world.receipts.append(body.model_dump(mode="json"))
        return pu.Recorded()

    @app.post("/v1/public/push-subscription", status_code=201)
    async def subscription(body: pu.PushSubscriptionIn) -> pu.Recorded:
        world.subscriptions.append(body.model_dump(mode="json"))
        return pu.Recorded()
