"""What a policyholder's phone reads and sends. The signed link of the message says who it is; nobody signs in."""

from datetime import datetime
from typing import Annotated

import numpy as np
import shapely
from fastapi import Header, Query

from alerts import answer_repository
from alerts.answer import give_answer
from alerts.steps import home_of, mark_done, steps_for
from api import repository
from api.deps import Context, needs
from api.languages import LANGUAGES
from api.push import check_endpoint, check_keys
from api.routing import noun
from api.schemas.common import LineString
from api.schemas.public import (
    AnswerIn,
    AnswerRecorded,
    ChannelCheck,
    PublicNow,
    PublicOrder,
    PublicRoute,
    PublicSafeZone,
    PublicStep,
    PublicTurn,
    PublicWarning,
    PushSubscriptionIn,
    ReceiptIn,
    Recorded,
    StepDone,
    StepDoneIn,
)
from api.schemas.responses import problems
from api.show import Watch, area_json, covers, hint, in_language, line_json, phone_state
from core.errors import Conflict, InvalidInput, NotFound
from core.ids import derived_id
from geo import directions
from geo import network as roads

router = noun("phone")

_ACT = problems(401, 404, 408, 409, 413)
#: The signed link's token where no Authorization header can be set.
Token = Annotated[str | None, Query(alias="t", max_length=2000, description="Signed link token, instead of Bearer.")]
_MAX_DEVICES = 20


class TooManyDevices(InvalidInput):
    """endpoint: 20 devices are registered for you; remove one first."""


class EndpointTaken(Conflict):
    """endpoint: this device is registered for somebody else."""


@router.get("/public/now", responses=problems(401))
async def public_now(
    ctx: Annotated[Context, needs("read", "own-situation")],
    t: Token = None,
    language: Annotated[
        str | None, Query(max_length=35, description="Of the texts, where the person chose one on this phone.")
    ] = None,
    accept_language: Annotated[
        str | None, Header(description="The same, as one bare tag; what a browser sends by itself is not a choice.")
    ] = None,
) -> PublicNow:
    """Warnings, the way out and safe zones of this household."""
    chosen = language or (accept_language if accept_language in LANGUAGES else None)
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        person = await repository.person(conn, ctx.policyholder_id)
        told = await repository.person_warnings(conn, ctx.policyholder_id, now=now)
        warnings = [row for row in told if row["msg_type"] != "Cancel"]
        rules = await repository.person_rules(conn, now=now)
        channels = await repository.person_channels(conn, ctx.policyholder_id)
        paused = await repository.is_paused(conn)
        orders = await repository.official_orders(conn, now=now)
        route = zones = None
        if person["household_id"] is not None:
            route = await repository.person_route(conn, person["household_id"], now=now)
        home = None if person["lon"] is None else (person["lon"], person["lat"])
        steps = await _steps(conn, ctx, warnings, now)
        if home is not None:
            zones = await repository.nearest_safe_zones(conn, lon=home[0], lat=home[1])
    place = None if home is None else shapely.Point(home)
    order = next((row for row in orders if row["issued_at"] <= now and covers(row["area"], place)), None)
    mine = [row for row in warnings if row["mine"] or covers(row["area"], place)]
    watches = [
        Watch(
            phase=row["phase"],
            level=row["level"],
            evaluated_until=row["evaluated_until"],
            station_state=row["station_state"],
            interval_s=row["interval_s"],
        )
        for row in rules
        if covers(row["area"], place)
    ]
    taken_back = next((row for row in told if row["msg_type"] == "Cancel" and row["mine"]), None)
    n_all_clear = sum(row["all_clear"] for row in mine)
    state, reason = phone_state(
        n_warnings=len(mine) - n_all_clear,
        n_all_clear=n_all_clear,
        home_known=home is not None,
        watches=watches,
        now=now,
    )
    return PublicNow(
        name=person["name"],
        language=person["language"],
        exercise=ctx.services.installation.exercise,
        state=state,
        state_reason=reason,
        checked_at=now,
        home=None if home is None else list(home),
        warnings=[_warning(row, chosen or person["language"]) for row in mine],
        taken_back=None if taken_back is None else _warning(taken_back, chosen or person["language"]),
        order=None if order is None else PublicOrder(**{k: order[k] for k in PublicOrder.model_fields}),
        route=None if route is None else _route(ctx, route, chosen or person["language"], order),
        safe_zones=[PublicSafeZone(**zone) for zone in zones or []],
        steps=steps,
        channels=[
            ChannelCheck(
                channel=row["channel"],
                address_hint=hint(row["channel"], row["address"]),
                last_accepted_at=row["last_accepted_at"],
            )
            for row in channels
        ],
        sending_paused=paused,
    )


async def _steps(
    conn: repository.Connection, ctx: Context, warnings: list[repository.Row], now: datetime
) -> list[PublicStep]:
    """Steps against loss while a flood warning stands: what is worth doing, and what was done."""
    standing = [row for row in warnings if row["mine"] and not row["all_clear"]]
    if not standing:
        return []
    done = {}
    for row in standing:
        for one in await answer_repository.steps_done(conn, ctx.policyholder_id, row["warning_id"]):
            done[one["step"]] = one
    home = await home_of(conn, ctx.tenant_id, ctx.policyholder_id, now)
    found = await steps_for(conn, ctx.tenant_id, ctx.policyholder_id, now)
    shown = [
        PublicStep(
            step=one.step,
            minutes=one.minutes,
            avoided_loss=one.avoided_loss,
            currency=home.currency or None,
            done_at=done[one.step]["done_at"] if one.step in done else None,
        )
        for one in found
    ]
    # what was done stays to be seen when its time is over
    known = {one.step for one in found}
    return shown + [
        PublicStep(
            step=name,
            minutes=0,
            avoided_loss=float(row["avoided_loss"]) if row["avoided_loss"] is not None else None,
            currency=row["currency"],
            done_at=row["done_at"],
        )
        for name, row in done.items()
        if name not in known
    ]


@router.post("/public/steps", status_code=201, responses=_ACT)
async def public_step(
    body: StepDoneIn, ctx: Annotated[Context, needs("give", "own-step")], t: Token = None
) -> StepDone:
    """Keeps that a step against loss is done, with what it is estimated to save; once."""
    async with ctx.transaction() as conn:
        done = await mark_done(
            conn,
            tenant_id=ctx.tenant_id,
            policyholder_id=ctx.policyholder_id,
            warning_id=body.warning_id,
            step=body.step,
            now=await repository.now(conn),
        )
    saved = None if done.avoided_loss is None else float(done.avoided_loss)
    return StepDone(step=done.step, done_at=done.done_at, avoided_loss=saved, currency=done.currency)


def _warning(row: repository.Row, language: str) -> PublicWarning:
    spoken, text = in_language(row["texts"], language)
    _, area_desc = in_language(row["area_desc"], language)
    return PublicWarning(
        warning_id=row["warning_id"],
        version=row["version"],
        level=row["level"],
        all_clear=row["all_clear"],
        headline=text["headline"],
        description=text.get("description", ""),
        instruction=text.get("instruction", ""),
        area_desc=area_desc or "",
        language=spoken,
        sent_at=row["sent_at"],
        expires_at=row["expires_at"],
        sender=row["sender"],
        delivery_id=row["delivery_id"],
        answered=row["answered"],
    )


def _route(ctx: Context, row: repository.Row, language: str, order: repository.Row | None) -> PublicRoute:
    """The way out; under an order to stay it is not shown, also before the plan has been made again."""
    stay = order is not None and order["kind"] == "stay"
    if stay:
        row = {**row, "status": "shelter-in-place", "safe_zone_id": None, "geometry": None, "leave_by": None,
               "last_way_out": None, "reason": f"official order of {order['authority']}" if order else ""}  # fmt: skip
    if order is not None and not stay and row["leave_by"] is not None:
        row = {**row, "leave_by": min(row["leave_by"], max(order["issued_at"], row["computed_at"]))}
    zone = None
    if row["safe_zone_id"] is not None:
        zone = PublicSafeZone(
            safe_zone_id=row["safe_zone_id"],
            names=row["names"],
            lon=row["lon"],
            lat=row["lat"],
            opens_at=row["opens_at"],
        )
    drawn, turns = _course(ctx, row, language)
    return PublicRoute(
        status=row["status"],
        safe_zone=zone,
        leave_by=row["leave_by"],
        last_way_out=row["last_way_out"],
        travel_s=row["travel_s"],
        distance_m=row["distance_m"],
        inside_m=row["inside_m"],
        reason=row["reason"],
        geometry=line_json(row["geometry"]) or drawn,
        turns=turns,
        checked_at=row["computed_at"],
        footprint=area_json(row["footprint"]),
    )


def _course(ctx: Context, row: repository.Row, language: str) -> tuple[LineString | None, list[PublicTurn]]:
    """(the line, its turns) from the roads of the way: plans of many households keep no lines."""
    if not row["roads"] or row["safe_zone_id"] is None:
        return None, []
    try:
        network = roads.load(ctx.settings.home / "roads" / row["file"], bytes(row["sha256"]))
    except roads.BadNetwork:  # the page must come without its turns rather than not at all
        return None, []
    course = directions.course_of(
        network, row["roads"], row["first_share"], row["last_share"], (row["home_lon"], row["home_lat"]),
        (row["lon"], row["lat"]),
    )  # fmt: skip
    line = LineString(type="LineString", coordinates=np.round(course.points, 6).tolist())
    made = directions.turns(network, row["roads"], course, row["names"] or {}, language)
    return line, [PublicTurn(kind=t.kind, text=t.text, distance_m=t.distance_m) for t in made]


@router.post("/public/answers", status_code=201, responses=_ACT)
async def public_answer(
    body: AnswerIn, ctx: Annotated[Context, needs("give", "own-answer")], t: Token = None
) -> AnswerRecorded:
    """Keeps an answer; the same idempotency key gives the first answer again."""
    async with ctx.transaction() as conn:
        kept = await give_answer(
            conn,
            tenant_id=ctx.tenant_id,
            policyholder_id=ctx.policyholder_id,
            warning_id=body.warning_id,
            kind=body.kind,
            detail=body.detail,
            idempotency_key=body.idempotency_key,
            photo=body.photo,
            now=await repository.now(conn),
        )
    return AnswerRecorded(answer_id=kept.answer_id, kind=body.kind, received_at=kept.answered_at)


@router.post("/public/receipts", status_code=201, responses=_ACT)
async def public_receipt(
    body: ReceiptIn, ctx: Annotated[Context, needs("give", "own-receipt")], t: Token = None
) -> Recorded:
    """Keeps that a message reached the phone or was shown; once each."""
    async with ctx.transaction() as conn:
        if not await repository.delivery_exists(
            conn, delivery_id=body.delivery_id, policyholder_id=ctx.policyholder_id
        ):
            raise NotFound
        await repository.insert_receipt(
            conn,
            delivery_id=body.delivery_id,
            tenant_id=ctx.tenant_id,
            kind=body.kind,
            at=await repository.now(conn),
        )
    return Recorded()


@router.post("/public/push-subscription", status_code=201, responses=_ACT)
async def public_push_subscription(
    body: PushSubscriptionIn, ctx: Annotated[Context, needs("give", "own-push-subscription")], t: Token = None
) -> Recorded:
    """Keeps where this phone can be pushed to. Only the push services that the installation allows."""
    check_endpoint(body.endpoint, ctx.settings.deliver.webpush_hosts)
    check_keys(body.keys.p256dh, body.keys.auth)
    async with ctx.transaction() as conn:
        known = await repository.push_endpoints(conn, policyholder_id=ctx.policyholder_id, endpoint=body.endpoint)
        if known["taken"]:
            raise EndpointTaken
        if known["n_devices"] >= _MAX_DEVICES and not known["mine"]:
            raise TooManyDevices
        await repository.upsert_push(
            conn,
            contact_point_id=derived_id(
                "web_push", ctx.tenant_id, ctx.policyholder_id, body.endpoint, body.keys.p256dh, body.keys.auth
            ),
            tenant_id=ctx.tenant_id,
            policyholder_id=ctx.policyholder_id,
            address={"endpoint": body.endpoint, "keys": {"p256dh": body.keys.p256dh, "auth": body.keys.auth}},
            at=await repository.now(conn),
        )
    return Recorded()
