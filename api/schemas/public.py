"""What a policyholder's phone reads and sends, by signed link."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Base64Bytes, Field

from api.schemas.common import Area, In, Level, Line, Out
from api.schemas.evacuation import RouteStatus


class PublicWarning(Out):
    """A warning that reaches this person, in their language."""

    warning_id: UUID
    version: int
    level: Level
    all_clear: bool
    headline: str
    description: str
    instruction: str
    area_desc: str
    language: str = Field(description="Of the texts; may differ from the person's where there is no translation.")
    sent_at: datetime
    expires_at: datetime
    sender: str
    delivery_id: UUID | None = Field(description="Name it in receipts.")
    answered: Literal["safe", "help", "damage"] | None


class PublicSafeZone(Out):
    """A place to go to."""

    safe_zone_id: UUID
    names: dict[str, str]
    lon: float
    lat: float
    distance_m: float | None = Field(default=None, description="Straight line from the household.")
    opens_at: datetime | None = None


class PublicTurn(Out):
    """One line of directions."""

    kind: str
    text: str
    distance_m: float = Field(description="Until the next turn.")


class PublicOrder(Out):
    """What an authority ordered for this household's place; it goes before our advice."""

    kind: Literal["evacuate", "stay"]
    authority: str
    issued_at: datetime
    expires_at: datetime


class PublicRoute(Out):
    """This household's way out."""

    status: RouteStatus
    safe_zone: PublicSafeZone | None
    leave_by: datetime | None = Field(description="By when this route must be begun; none: nothing on it closes.")
    last_way_out: datetime | None = Field(description="When the last way by any road closes; none: never.")
    travel_s: float | None
    distance_m: float | None
    inside_m: float
    reason: str
    geometry: Line | None
    turns: list[PublicTurn] = Field(description="In the language of the page where we have it, else in English.")
    checked_at: datetime = Field(description="Checked against the hazard at this time; obey police and fire service.")
    footprint: Area | None = Field(description="Where the hazard is, in the version the route was checked against.")


class PublicStep(Out):
    """Something that still saves loss, if there is time."""

    step: str = Field(description="move_car, move_contents, move_stock, fit_barriers or cut_power.")
    minutes: int
    avoided_loss: float | None = Field(description="Estimate; none: not known, or it protects people.")
    currency: str | None
    done_at: datetime | None


class StepDoneIn(In):
    """A step is done."""

    warning_id: UUID
    step: str = Field(min_length=1, max_length=40)


class StepDone(Out):
    """It was kept, once."""

    step: str
    done_at: datetime
    avoided_loss: float | None = Field(description="What it is estimated to have saved, given the steps before it.")
    currency: str | None


class ChannelCheck(Out):
    """One channel we can reach this person by."""

    channel: str
    address_hint: str = Field(description="Never the whole address.")
    last_accepted_at: datetime | None


class PublicNow(Out):
    """All that the phone page shows."""

    name: str | None
    language: str
    exercise: bool
    state: Literal["warning", "all_clear", "no_warning", "cannot_tell"] = Field(
        description="`cannot_tell`: a station this household depends on is silent or was never heard. Show it as such: "
        "it is not `no_warning`."
    )
    state_reason: Literal[
        "", "silent_station", "not_watched", "no_place", "not_checked", "being_checked", "expired"
    ] = Field(
        description="Why we cannot tell. `silent_station`: a gauge is not heard. `not_watched`: no gauge watches this "
        "place. `no_place`: we do not know where the person lives. `not_checked`: nobody has looked lately. "
        "`being_checked`: a warning may be coming. `expired`: the last warning ran out without a word."
    )
    checked_at: datetime
    home: list[float] | None = Field(description="[lon, lat] of the household; none: not known.")
    warnings: list[PublicWarning]
    taken_back: PublicWarning | None = Field(
        default=None, description="The newest of this person's warnings that was sent in error, until it expires."
    )
    order: PublicOrder | None = Field(description="An official order; it goes before the route.")
    route: PublicRoute | None
    safe_zones: list[PublicSafeZone] = Field(description="The three nearest, nearest first.")
    steps: list[PublicStep] = Field(default=[], description="What still saves loss, in the order to do it.")
    channels: list[ChannelCheck]
    sending_paused: bool = Field(description="The operator has stopped sending: messages may be missing.")


class AnswerIn(In):
    """What the person says."""

    kind: Literal["safe", "help", "damage"]
    detail: dict[str, Any] = Field(default={}, description="E.g. people, need, note; at most 8 KiB.")
    idempotency_key: str = Field(min_length=8, max_length=200, description="Made by the phone; sent again on retry.")
    warning_id: UUID | None = None
    photo: Base64Bytes | None = Field(
        default=None, description="JPEG, PNG or WebP in base64, 700 KB at most; kept without its metadata."
    )


class AnswerRecorded(Out):
    """It has reached us."""

    answer_id: UUID
    kind: Literal["safe", "help", "damage"]
    received_at: datetime


class ReceiptIn(In):
    """The phone showed the message, or the person opened it."""

    delivery_id: UUID
    kind: Literal["delivered", "displayed"]


class PushKeys(In):
    p256dh: str = Field(min_length=80, max_length=100, pattern="^[A-Za-z0-9_-]+=*$")
    auth: str = Field(min_length=16, max_length=40, pattern="^[A-Za-z0-9_-]+=*$")


class PushSubscriptionIn(In):
    """What pushManager.subscribe gave."""

    endpoint: Annotated[str, Field(min_length=10, max_length=2000)]
    keys: PushKeys
    expirationTime: float | None = None


class Recorded(Out):
    """It was kept."""

    recorded: Literal[True] = True
