"""One flood at its peak, held in memory: what the stand-in API of the page tests tells (see stub.py)."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID, uuid5

from api.schemas import warning as wa

START = datetime(2026, 6, 14, 5, 0, tzinfo=UTC)
SPEED = 60
LON, LAT = 80.12, 6.95


def key(name: str) -> UUID:
    return uuid5(UUID(int=2), name)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def river(share: float, aside: float = 0.0) -> list[float]:
    """A place along the valley: 0 upstream in the east, 1 downstream in the west; `aside` in degrees northwards."""
    return [
        round(LON + 0.11 - 0.22 * share, 6),
        round(LAT + 0.022 * math.sin(share * 7) + 0.03 * (0.5 - share) + aside, 6),
    ]


def valley(width: float, start: float = 0.25, end: float = 0.95) -> list[list[float]]:
    steps = [start + (end - start) * i / 40 for i in range(41)]
    north = [
        river(s, width * (0.75 + 0.35 * math.sin(s * 23)) * math.sin(math.pi * (s - start) / (end - start)) ** 0.4)
        for s in steps
    ]
    south = [
        river(s, -width * (0.8 + 0.3 * math.cos(s * 19)) * math.sin(math.pi * (s - start) / (end - start)) ** 0.4)
        for s in steps
    ]
    ring = north + south[::-1]
    return [*ring, ring[0]]


STATIONS: list[dict[str, Any]] = [
    {"code": "AR-01", "name": "Hilltop Weir", "share": 0.05, "level": "none", "state": "online", "peak": 1.6},
    {"code": "AR-02", "name": "Quarry Ford", "share": 0.25, "level": "yellow", "state": "online", "peak": 3.3},
    {
        "code": "AR-03",
        "name": "Millbridge",
        "share": 0.45,
        "level": "unknown",
        "state": "silent",
        "held": "red",
        "peak": 5.9,
    },
    {"code": "AR-04", "name": "Old Town", "share": 0.65, "level": "orange", "state": "online", "peak": 4.3},
    {"code": "AR-05", "name": "Harbour Gate", "share": 0.9, "level": "blue", "state": "online", "peak": 2.4},
    {"code": "AR-06", "name": "Marsh Lock", "share": 0.98, "level": "unknown", "state": "unknown", "peak": 0.0},
]
THRESHOLDS = {"blue": 2.0, "yellow": 3.0, "orange": 4.0, "red": 5.0}
ZONES = [
    ("SZ-1", "Stadium", "体育场", 0.4, 0.052, 800),
    ("SZ-2", "North School", "北区学校", 0.62, 0.047, 450),
    ("SZ-3", "Hill Monastery", "山寺", 0.3, -0.05, 200),
    ("SZ-4", "Market Hall", "市场大厅", 0.8, -0.055, 350),
]


def route(i: int) -> list[list[float]]:
    share = 0.34 + 0.035 * i
    zone = ZONES[i % 2]
    home, goal = river(share, 0.006 + 0.002 * (i % 3)), river(zone[3], zone[4])
    bend = [home[0], round(home[1] + 0.012 + 0.002 * i, 6)]
    return [
        home,
        bend,
        [round((bend[0] * 2 + goal[0]) / 3, 6), round(bend[1] + 0.006, 6)],
        [goal[0], round(goal[1] - 0.008, 6)],
        goal,
    ]


#: code, kind, name, state, minutes since the last good answer, failures, what it said
FEEDS = (
    ("firms", "firms", "NASA FIRMS active fires", "unknown", None, 0, ""),
    ("hubeau", "hubeau", "Hub'Eau", "up", 40.0, 0, "12 readings"),
    ("nws", "nws", "National Weather Service", "up", 1.0, 0, "3 bulletins"),
    ("usgs", "usgs_quake", "USGS earthquakes", "down", 65.0, 4, "It answers 503."),
)


def feed(
    code: str, kind: str, name: str, state: str, age_min: float | None, n_failures: int, detail: str
) -> dict[str, Any]:
    """One feed of others as the API tells it."""
    answered = None if age_min is None else at(190) - timedelta(minutes=age_min)
    return {
        "code": code,
        "kind": kind,
        "name": name,
        "state": state,
        "since": at(150),
        "answered_at": answered,
        "age_s": None if age_min is None else age_min * 60,
        "stale": age_min is None or age_min > 15,
        "n_failures": n_failures,
        "due_at": None if state == "unknown" else at(196),
        "detail": detail,
    }


@dataclass
class World:
    """What the stand-in knows; tests change it."""

    started: float = field(default_factory=time.monotonic)
    asked: Counter[str] = field(default_factory=Counter)  #: requests by path
    fail: set[str] = field(default_factory=set)  #: paths that answer 500
    empty: bool = False  #: nothing has happened yet
    slow_s: float = 0.0
    approvals: list[str] = field(default_factory=lambda: ["Amal Perera"])
    released: bool = False
    rejected: bool = False
    paused: bool = False
    resume_asked: bool = False
    answers: list[dict[str, Any]] = field(default_factory=list)
    answered_keys: dict[str, UUID] = field(default_factory=dict)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    steps_done: dict[str, datetime] = field(default_factory=dict)
    phone_state: str = "warning"
    phone_reason: str = ""
    taken_back: bool = False  #: the red warning was sent in error
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    last_event_ids: list[str | None] = field(default_factory=list)
    extra_warning: bool = False
    broker_down: bool = False
    leave_in_min: float = 34
    route_status: Literal["clear", "through-hazard"] = "clear"
    photos: dict[UUID, bytes] = field(default_factory=dict)
    cases: list[dict[str, Any]] = field(default_factory=list)
    other_feeds: list[dict[str, Any]] = field(default_factory=lambda: [feed(*one) for one in FEEDS])
    basemap: Path | None = None  #: a PMTiles file; none: the built-in base
    may_more: list[str] = field(default_factory=list)  #: what the person may do beside warnings
    quotes: dict[UUID, Any] = field(default_factory=dict)  #: priced, by id
    book: Any = None  #: rules and silences (stub_rules.Book)
    orders: dict[UUID, list[dict[str, Any]]] = field(default_factory=dict)  #: work orders, by quote

    def now(self) -> datetime:
        return at(190) + timedelta(seconds=(time.monotonic() - self.started) * SPEED)

    def emit(self, kind: str, payload: dict[str, Any]) -> None:
        self.events.append((len(self.events) + 1, kind, payload))


HASH = "9f2c41d0a7be58f3c6d41e0b7a92f8355d0c1b7e64a3928fb0e17cd6543a8b19"
RED_TEXTS = {
    "en": wa.WarningText(
        headline="Flood at Millbridge: leave now",
        description="The river Ar at Millbridge reached 5.46 m at 08:00, above the red level of 5.00 m. "
        "The gauge has been silent since.",
        instruction="Leave low ground by the marked way. Take your medicine and papers. Do not drive through water.",
    ),
    "zh": wa.WarningText(
        headline="磨坊桥洪水：立即撤离",
        description="阿尔河磨坊桥站 08:00 水位 5.46 米，超过红色阈值 5.00 米，此后测站失联。",
        instruction="沿标示路线离开低洼处，带上药品和证件，切勿驾车涉水。",
    ),
}
ORANGE_TEXTS = {
    "en": wa.WarningText(
        headline="River rising in Old Town",
        description="The river Ar at Old Town is at 4.31 m, above the orange level of 4.00 m.",
        instruction="Move cars and stock to high ground. Keep your phone with you.",
    ),
    "zh": wa.WarningText(
        headline="老城河水上涨",
        description="阿尔河老城站水位 4.31 米，超过橙色阈值 4.00 米。",
        instruction="把车辆和货物移到高处，随身携带手机。",
    ),
}


def warning_versions(world: World) -> dict[str, list[wa.WarningVersion]]:
    area = {"type": "Polygon", "coordinates": [valley(0.03, 0.32, 0.62)]}
    red_state = "rejected" if world.rejected else "released" if world.released else "draft"
    common: dict[str, Any] = {
        "status": "Exercise",
        "sender": "flood-desk@example.org",
        "exercise": True,
        "onset_at": None,
        "n_unreachable": 0,
        "held": None,
        "event": "flood",
        "references": [],
        "cap_url": "/v1/warnings/x/1/cap.xml",
    }
    approvals = [
        wa.ApprovalOut(principal_id=key(name), display_name=name, content_sha256=HASH, approved_at=at(186))
        for name in world.approvals
    ]
    red = wa.WarningVersion(
        warning_id=key("red"),
        version=1,
        level="red",
        all_clear=False,
        state=red_state,
        msg_type="Alert",
        reason="draft_above_ceiling",
        identifier="tocsin-red-1",
        area_desc={"en": "Millbridge, low ground on both banks", "zh": "磨坊桥两岸低洼处"},
        texts=RED_TEXTS,
        n_people=412,
        n_approvals=len(approvals),
        n_approvals_needed=2,
        station_code="AR-03",
        station_name="Millbridge",
        sent_at=at(184),
        expires_at=at(600),
        drafted_at=at(184),
        released_at=at(191) if world.released else None,
        content_sha256=HASH,
        area=area,
        audience={"by_channel": {"fake": 412}, "by_language": {"en": 263, "zh": 149}},
        approvals=approvals,
        deliveries=[
            wa.DeliveryCount(channel="fake", state="accepted", n=409, n_in_doubt=0),
            wa.DeliveryCount(channel="fake", state="failed", n=3, n_in_doubt=2),
        ]
        if world.released
        else [],
        receipts={"displayed": 288} if world.released else {},
        **common,
    )
    orange = wa.WarningVersion(
        warning_id=key("orange"),
        version=2,
        level="orange",
        all_clear=False,
        state="released",
        msg_type="Update",
        reason="escalated",
        identifier="tocsin-orange-2",
        area_desc={"en": "Old Town", "zh": "老城"},
        texts=ORANGE_TEXTS,
        n_people=187,
        n_approvals=0,
        n_approvals_needed=0,
        station_code="AR-04",
        station_name="Old Town",
        sent_at=at(160),
        expires_at=at(500),
        drafted_at=at(160),
        released_at=at(160),
        content_sha256="a" * 64,
        area={"type": "Polygon", "coordinates": [valley(0.024, 0.55, 0.8)]},
        audience={"by_channel": {"fake": 187}, "by_language": {"en": 120, "zh": 67}},
        approvals=[],
        deliveries=[wa.DeliveryCount(channel="fake", state="accepted", n=187, n_in_doubt=0)],
        receipts={"displayed": 140, "answered": 61},
        **common,
    )
    yellow = orange.model_copy(
        update={
            "version": 1,
            "level": "yellow",
            "state": "superseded",
            "msg_type": "Alert",
            "reason": "level_reached",
            "sent_at": at(118),
        }
    )
    clear = orange.model_copy(
        update={
            "warning_id": key("clear"),
            "version": 3,
            "level": "none",
            "all_clear": True,
            "state": "ended",
            "reason": "all_clear",
            "n_people": 35,
            "station_code": "AR-01",
            "station_name": "Hilltop Weir",
            "sent_at": at(95),
            "deliveries": [],
            "receipts": {},
            "texts": {
                "en": wa.WarningText(
                    headline="All clear at Hilltop Weir",
                    description="The river is below all levels.",
                    instruction="You may go back.",
                ),
                "zh": wa.WarningText(
                    headline="山顶堰预警解除", description="河水已低于各阈值。", instruction="可以返回。"
                ),
            },
        }
    )
    found = {str(key("red")): [red], str(key("orange")): [orange, yellow], str(key("clear")): [clear]}
    if world.extra_warning:
        found[str(key("new"))] = [
            yellow.model_copy(
                update={
                    "warning_id": key("new"),
                    "level": "yellow",
                    "state": "released",
                    "sent_at": world.now(),
                    "texts": {
                        "en": wa.WarningText(
                            headline="River rising at Harbour Gate", description="", instruction="Get ready."
                        ),
                        "zh": wa.WarningText(headline="港口闸河水上涨", description="", instruction="做好准备。"),
                    },
                }
            )
        ]
    return found


def level_at(station: dict[str, Any], minutes: float) -> float:
    rise = 1 / (1 + math.exp(-(minutes - 120) / 26))
    return round(0.8 + (station["peak"] - 0.8) * rise + 0.03 * math.sin(minutes / 7), 3)


def last_minute(world: World, station: dict[str, Any]) -> float:
    now = (world.now() - START).total_seconds() / 60
    return min(180.0, now) if station["state"] == "silent" else now
