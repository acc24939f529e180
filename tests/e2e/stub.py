"""A small stand-in for the API, for tests of the pages: one flood at its peak, held in memory.

It answers with the API's own wire models (api/schemas), so what the pages are tested with is what they will be given. It
runs in a thread on a free port of the loopback interface.
"""

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import h3
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from api.schemas import answer as an
from api.schemas import evacuation as ev
from api.schemas import exposure as ex
from api.schemas import hazard as hz
from api.schemas import public as pu
from api.schemas import session as se
from api.schemas import station as st
from api.schemas import ui
from api.schemas import warning as wa

STATIC = Path(__file__).resolve().parents[2] / "api" / "static"
START = datetime(2026, 6, 14, 5, 0, tzinfo=UTC)
SPEED = 60
TOKEN = "link-token-of-amara"
#: The strictest policy that both pages must live with; the served one may allow the basemap's origin beside it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
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
    north = [river(s, width * (0.75 + 0.35 * math.sin(s * 23)) * math.sin(math.pi * (s - start) / (end - start)) ** 0.4) for s in steps]
    south = [river(s, -width * (0.8 + 0.3 * math.cos(s * 19)) * math.sin(math.pi * (s - start) / (end - start)) ** 0.4) for s in steps]
    ring = north + south[::-1]
    return [*ring, ring[0]]


STATIONS: list[dict[str, Any]] = [
    {"code": "AR-01", "name": "Hilltop Weir", "share": 0.05, "level": "none", "state": "online", "peak": 1.6},
    {"code": "AR-02", "name": "Quarry Ford", "share": 0.25, "level": "yellow", "state": "online", "peak": 3.3},
    {"code": "AR-03", "name": "Millbridge", "share": 0.45, "level": "unknown", "state": "silent", "held": "red", "peak": 5.9},
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


@dataclass
class World:
    """What the stand-in knows; tests change it."""

    started: float = field(default_factory=time.monotonic)
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
    phone_state: str = "warning"
    phone_reason: str = ""
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    last_event_ids: list[str | None] = field(default_factory=list)
    extra_warning: bool = False

    def now(self) -> datetime:
        return at(190) + timedelta(seconds=(time.monotonic() - self.started) * SPEED)

    def emit(self, kind: str, payload: dict[str, Any]) -> None:
        self.events.append((len(self.events) + 1, kind, payload))


HASH = "9f2c41d0a7be58f3c6d41e0b7a92f8355d0c1b7e64a3928fb0e17cd6543a8b19"
RED_TEXTS = {
    "en": wa.WarningText(
        headline="Flood at Millbridge: leave now",
        description="The river Ar at Millbridge reached 5.42 m at 08:00, above the red level of 5.00 m. The gauge has been silent since.",
        instruction="Leave low ground by the marked way. Take your medicine and papers. Do not drive through water.",
    ),
    "zh": wa.WarningText(
        headline="磨坊桥洪水：立即撤离",
        description="阿尔河磨坊桥站 08:00 水位 5.42 米，超过红色阈值 5.00 米，此后测站失联。",
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
        wa.ApprovalOut(principal_id=key(name), display_name=name, content_sha256=HASH, approved_at=at(186)) for name in world.approvals
    ]
    red = wa.WarningVersion(
        warning_id=key("red"), version=1, level="red", all_clear=False, state=red_state, msg_type="Alert", reason="draft_above_ceiling",
        identifier="tocsin-red-1", area_desc={"en": "Millbridge, low ground on both banks", "zh": "磨坊桥两岸低洼处"}, texts=RED_TEXTS, n_people=412,
        n_approvals=len(approvals), n_approvals_needed=2, station_code="AR-03", station_name="Millbridge", sent_at=at(184), expires_at=at(600),
        drafted_at=at(184), released_at=at(191) if world.released else None, content_sha256=HASH, area=area,
        audience={"by_channel": {"fake": 412}, "by_language": {"en": 263, "zh": 149}}, approvals=approvals,
        deliveries=[wa.DeliveryCount(channel="fake", state="accepted", n=409), wa.DeliveryCount(channel="fake", state="failed", n=3)] if world.released else [],
        receipts={"displayed": 288} if world.released else {}, **common,
    )  # fmt: skip
    orange = wa.WarningVersion(
        warning_id=key("orange"), version=2, level="orange", all_clear=False, state="released", msg_type="Update", reason="escalated",
        identifier="tocsin-orange-2", area_desc={"en": "Old Town", "zh": "老城"}, texts=ORANGE_TEXTS, n_people=187, n_approvals=0, n_approvals_needed=0,
        station_code="AR-04", station_name="Old Town", sent_at=at(160), expires_at=at(500), drafted_at=at(160), released_at=at(160), content_sha256="a" * 64,
        area={"type": "Polygon", "coordinates": [valley(0.024, 0.55, 0.8)]}, audience={"by_channel": {"fake": 187}, "by_language": {"en": 120, "zh": 67}},
        approvals=[], deliveries=[wa.DeliveryCount(channel="fake", state="accepted", n=187)], receipts={"displayed": 140, "answered": 61}, **common,
    )  # fmt: skip
    yellow = orange.model_copy(
        update={"version": 1, "level": "yellow", "state": "superseded", "msg_type": "Alert", "reason": "level_reached", "sent_at": at(118)}
    )
    clear = orange.model_copy(
        update={
            "warning_id": key("clear"), "version": 3, "level": "none", "all_clear": True, "state": "ended", "reason": "all_clear", "n_people": 35,
            "station_code": "AR-01", "station_name": "Hilltop Weir", "sent_at": at(95), "deliveries": [], "receipts": {},
            "texts": {"en": wa.WarningText(headline="All clear at Hilltop Weir", description="The river is below all levels.", instruction="You may go back."),
                      "zh": wa.WarningText(headline="山顶堰预警解除", description="河水已低于各阈值。", instruction="可以返回。")},
        }
    )  # fmt: skip
    found = {str(key("red")): [red], str(key("orange")): [orange, yellow], str(key("clear")): [clear]}
    if world.extra_warning:
        found[str(key("new"))] = [
            yellow.model_copy(
                update={
                    "warning_id": key("new"), "level": "yellow", "state": "released", "sent_at": world.now(),
                    "texts": {"en": wa.WarningText(headline="River rising at Harbour Gate", description="", instruction="Get ready."),
                              "zh": wa.WarningText(headline="港口闸河水上涨", description="", instruction="做好准备。")},
                }
            )
        ]  # fmt: skip
    return found


def level_at(station: dict[str, Any], minutes: float) -> float:
    rise = 1 / (1 + math.exp(-(minutes - 120) / 26))
    return round(0.8 + (station["peak"] - 0.8) * rise + 0.03 * math.sin(minutes / 7), 3)


def last_minute(world: World, station: dict[str, Any]) -> float:
    now = (world.now() - START).total_seconds() / 60
    return min(180.0, now) if station["state"] == "silent" else now


def make_app(world: World, static: Path = STATIC) -> FastAPI:
    """The stand-in as an application."""
    app = FastAPI()
    sessions: set[str] = set()

    @app.middleware("http")
    async def edge(request: Request, proceed: Any) -> Response:
        path = request.url.path
        if path in world.fail:
            body = {"type": "urn:tocsin:problem:unavailable", "title": "Unavailable", "status": 500, "detail": "The database does not answer.", "request_id": "req-42", "errors": []}
            return JSONResponse(body, status_code=500, media_type="application/problem+json")
        if world.slow_s and path.startswith("/v1/"):
            await asyncio.sleep(world.slow_s)
        open_paths = {"/v1/session", "/v1/ui-config"}
        if path.startswith("/v1/public/"):
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return JSONResponse({"detail": "This link is not valid.", "status": 401}, status_code=401)
        elif path.startswith("/v1/") and path not in open_paths and request.cookies.get("tocsin_session") not in sessions:
            return JSONResponse({"detail": "Sign in first.", "status": 401}, status_code=401)
        response: Response = await proceed(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def me() -> se.Me:
        may = ["approve warning", "reject warning", "pause sending", "resume sending", "handle answer", "read warning"]
        return se.Me(
            principal_id=key("me"), login="approver", display_name="Bo Chen", roles=["approver"], may=may,
            tenant=se.TenantOut(tenant_id=key("tenant"), slug="ar", name="Ar Valley Mutual"), exercise=True, expires_at=None,
        )  # fmt: skip

    @app.post("/v1/session")
    async def sign_in(body: se.Login, response: Response) -> se.Me:
        if body.password.get_secret_value() != "right":
            return JSONResponse({"detail": "The name or the password is wrong.", "status": 401}, status_code=401)  # type: ignore[return-value]
        sessions.add("s1")
        response.set_cookie("tocsin_session", "s1", httponly=True, samesite="strict")
        return me()

    @app.delete("/v1/session", status_code=204)
    async def sign_out(response: Response) -> None:
        sessions.clear()
        response.delete_cookie("tocsin_session")

    @app.get("/v1/me")
    async def who() -> se.Me:
        return me()

    @app.get("/v1/ui-config")
    async def config() -> ui.UiConfig:
        return ui.UiConfig(
            installation_name="Ar Valley drill", exercise=True, version="0.1.0", basemap=ui.Basemap(kind="bundled"), attribution="Natural Earth",
            bounds=[LON - 0.125, LAT - 0.075, LON + 0.125, LAT + 0.085], languages=["en", "zh"], vapid_public_key=None,
        )  # fmt: skip

    @app.get("/v1/overview")
    async def overview() -> ex.Overview:
        if world.empty:
            return ex.Overview(
                as_of=world.now(), source=None, exposed_tiv=None, currency=None, n_locations=None, n_policies=None, unknown_tiv=None, n_unknown=None,
                n_warnings_live=0, n_drafts_waiting=0, n_people_warned=0, n_answers=ex.AnswerCounts(safe=0, help=0, damage=0, unanswered=0), n_help_open=0,
                n_stations=ex.StationCounts(online=0, silent=0, unknown=0), messages_stored=None, sending_paused=False,
            )  # fmt: skip
        kinds = [item["kind"] for item in world.answers]
        n_help_open = sum(1 for item in world.answers if item["kind"] == "help" and item["handled_at"] is None)
        source: dict[str, Any] = {
            "hazard_event": "ar-2026", "ended_at": None, "footprint_version": 4, "valid_at": at(180), "computed_at": at(181), "n_portfolios": 1,
        }  # fmt: skip
        return ex.Overview(
            as_of=world.now(), source=ex.NumberSource(**source), exposed_tiv="1284600000.00", currency="LKR", n_locations=1847, n_policies=1620, unknown_tiv="8100000",
            n_unknown=23, n_warnings_live=2 if not world.released else 3, n_drafts_waiting=0 if world.released or world.rejected else 1,
            n_people_warned=187 + (412 if world.released else 0), n_answers=ex.AnswerCounts(safe=54 + kinds.count("safe"), help=kinds.count("help"),
            damage=kinds.count("damage"), unanswered=126), n_help_open=n_help_open, n_stations=ex.StationCounts(online=4, silent=1, unknown=1),
            messages_stored=48211 + int((world.now() - START).total_seconds() // 60), sending_paused=world.paused,
        )  # fmt: skip

    @app.get("/v1/stations")
    async def stations() -> st.StationCollection:
        features = []
        for station in [] if world.empty else STATIONS:
            minutes = last_minute(world, station)
            latest = [] if station["state"] == "unknown" else [
                st.Reading(quantity="level", unit="m", value=level_at(station, minutes), quality=1, observed_at=at(minutes), received_at=at(minutes))
            ]  # fmt: skip
            held = station.get("held")
            features.append(
                st.StationFeature(
                    id=station["code"],
                    geometry={"type": "Point", "coordinates": river(station["share"])},
                    properties=st.StationProperties(
                        station_id=key(station["code"]), code=station["code"], name=station["name"], river="Ar", state=station["state"],
                        state_since=at(180) if held else at(0), level=station["level"], held_level=held, phase="stale" if held else "active",
                        held=bool(held), latest=latest, thresholds=THRESHOLDS, threshold_quantity="level",
                    ),
                )
            )  # fmt: skip
        return st.StationCollection(as_of=world.now().isoformat(), features=features)

    @app.get("/v1/stations/{station_id}/observations")
    async def observations(station_id: UUID) -> st.ObservationSeries:
        station = next(one for one in STATIONS if key(one["code"]) == station_id)
        until = int(last_minute(world, station)) if station["state"] != "unknown" else 0
        items = [
            st.ObservationOut(observed_at=at(m), received_at=at(m), value=level_at(station, m) + (1.4 if m == 90 else 0), quality=3 if m == 90 else 1)
            for m in range(0, until + 1, 5)
        ]
        return st.ObservationSeries(station_id=station_id, quantity="level", unit="m", as_of=world.now(), items=items, truncated=False)

    @app.get("/v1/footprints/latest")
    async def footprints() -> hz.FootprintCollection:
        event = hz.HazardEventOut(hazard_event_id=key("event"), code="ar-2026", peril="river_flood", name="Ar flood", started_at=at(60), ended_at=None)
        feature = hz.FootprintFeature(
            id="f4",
            geometry={"type": "Polygon", "coordinates": [valley(0.018)]},
            properties=hz.FootprintProperties(
                footprint_id=key("f4"), version=4, valid_at=at(180), made_how="gauges and terrain", created_at=at(181), hazard_event=event,
                zones=[hz.Zone(arrival_min=30, intensity=0.3, unit="m", geometry={"type": "Polygon", "coordinates": [valley(0.025)]})],
            ),
        )  # fmt: skip
        return hz.FootprintCollection(as_of=world.now().isoformat(), features=[] if world.empty else [feature])

    @app.get("/v1/exposure/cells")
    async def cells() -> ex.CellCollection:
        features = []
        middle = h3.latlng_to_cell(LAT, LON, 8)
        for cell in [] if world.empty else h3.grid_disk(middle, 16):
            lat, lon = h3.cell_to_latlng(cell)
            along = (LON + 0.11 - lon) / 0.22
            if not 0 <= along <= 1:
                continue
            aside = abs(lat - river(along)[1])
            density = math.exp(-((along - 0.6) ** 2) / 0.05) * math.exp(-(aside / 0.03) ** 2) * (0.6 + 0.4 * math.sin(lon * 900) * math.cos(lat * 1300))
            if density < 0.03:
                continue
            ring = [[b, a] for a, b in h3.cell_to_boundary(cell)]
            tiv = round(density * 9e7)
            features.append(
                ex.CellFeature(
                    id=cell,
                    geometry={"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                    properties=ex.CellProperties(cell=cell, n_locations=int(density * 80) + 1, tiv=tiv, currency="LKR", tiv_by_currency={"LKR": str(tiv)}),
                )
            )
        return ex.CellCollection(as_of=world.now().isoformat(), features=features, resolution=8, n_unmapped=23, unmapped_tiv_by_currency={"LKR": "8100000"})

    @app.get("/v1/locations")
    async def locations() -> ex.LocationCollection:
        return ex.LocationCollection(as_of=world.now().isoformat(), features=[])

    def route(i: int) -> list[list[float]]:
        share = 0.34 + 0.035 * i
        zone = ZONES[i % 2]
        home, goal = river(share, 0.006 + 0.002 * (i % 3)), river(zone[3], zone[4])
        bend = [home[0], round(home[1] + 0.012 + 0.002 * i, 6)]
        return [home, bend, [round((bend[0] * 2 + goal[0]) / 3, 6), round(bend[1] + 0.006, 6)], [goal[0], round(goal[1] - 0.008, 6)], goal]

    @app.get("/v1/evacuation-plans/latest")
    async def plan() -> Any:
        if world.empty:
            return JSONResponse({"detail": "There is no such thing, or it is not yours.", "status": 404}, status_code=404)
        return ev.PlanOut(
            evacuation_plan_id=key("plan"), footprint_id=key("f4"), footprint_version=4, hazard_event="ar-2026", counts={"clear": 380, "cut-off": 9, "shelter-in-place": 23},
            closed_roads={"type": "MultiLineString", "coordinates": [[river(s, -0.03), river(s, -0.005), river(s + 0.004, 0.02)] for s in (0.41, 0.58, 0.77)]},
            computed_at=at(182), as_of=world.now(),
        )  # fmt: skip

    @app.get("/v1/evacuation-plans/latest/routes")
    async def routes() -> Any:
        if world.empty:
            return JSONResponse({"detail": "There is no such thing, or it is not yours.", "status": 404}, status_code=404)
        return ev.RouteCollection(
            as_of=world.now().isoformat(),
            features=[
                ev.RouteFeature(
                    id=str(i),
                    geometry={"type": "LineString", "coordinates": route(i)},
                    properties=ev.RouteProperties(
                        household_id=key(f"h{i}"), status="through-hazard" if i == 4 else "clear", safe_zone_id=key(ZONES[i % 2][0]), safe_zone_names={"en": ZONES[i % 2][1]},
                        travel_s=600, distance_m=4200, leave_by=at(230), inside_m=120 if i == 4 else 0, reason="",
                    ),
                )
                for i in range(10)
            ],
        )  # fmt: skip

    @app.get("/v1/safe-zones")
    async def safe_zones() -> ev.SafeZoneCollection:
        return ev.SafeZoneCollection(
            as_of=world.now().isoformat(),
            features=[
                ev.SafeZoneFeature(
                    id=code,
                    geometry={"type": "Point", "coordinates": river(share, aside)},
                    properties=ev.SafeZoneProperties(
                        safe_zone_id=key(code), code=code, names={"en": name, "zh": zh}, seats=seats, accessible_seats=20, opens_at=None, n_households=60, n_people=150
                    ),
                )
                for code, name, zh, share, aside, seats in ([] if world.empty else ZONES)
            ],
        )  # fmt: skip

    @app.get("/v1/warnings")
    async def warnings() -> wa.WarningPage:
        items = [] if world.empty else [wa.WarningSummary(**versions[0].model_dump()) for versions in warning_versions(world).values()]
        return wa.WarningPage(as_of=world.now(), items=items, next_cursor=None)

    @app.get("/v1/warnings/{warning_id}")
    async def warning(warning_id: UUID) -> wa.WarningOut:
        versions = warning_versions(world)[str(warning_id)]
        decisions = [
            wa.DecisionOut(at=at(184), reason="draft_above_ceiling", level_before="orange", level_after="red", version=1, detail={}),
            wa.DecisionOut(at=at(183), reason="held_on_silence", level_before="orange", level_after="orange", version=None, detail={}),
            wa.DecisionOut(at=at(181), reason="awaiting_confirmation", level_before="orange", level_after="orange", version=None, detail={}),
        ]
        return wa.WarningOut(warning_id=warning_id, as_of=world.now(), versions=versions, decisions=decisions)

    @app.post("/v1/warnings/{warning_id}/{version}/approve")
    async def approve(warning_id: UUID, version: int, body: wa.Approve) -> Any:
        if body.content_sha256 != HASH:
            return JSONResponse({"detail": "It changed meanwhile; reload and decide again.", "status": 409}, status_code=409)
        world.approvals.append("Bo Chen")
        world.released = True
        world.emit("warning_changed", {"warning_id": str(warning_id), "version": version})
        return wa.Approved(warning_id=warning_id, version=version, state="released", n_approvals=2, n_approvals_needed=2, released=True)

    @app.post("/v1/warnings/{warning_id}/{version}/reject")
    async def reject(warning_id: UUID, version: int, body: wa.Reject) -> wa.Rejected:
        world.rejected = True
        world.emit("warning_changed", {"warning_id": str(warning_id), "version": version})
        return wa.Rejected(warning_id=warning_id, version=version, state="rejected")

    @app.post("/v1/sending/pause")
    async def pause() -> wa.SendingState:
        world.paused = True
        return wa.SendingState(scope="tenant", paused=True, paused_at=world.now(), resume_asked_by=None, needs_second_person=True)

    @app.post("/v1/sending/resume")
    async def resume() -> wa.SendingState:
        world.resume_asked = True
        return wa.SendingState(scope="tenant", paused=True, paused_at=world.now(), resume_asked_by=key("me"), needs_second_person=True)

    @app.get("/v1/answers")
    async def answers() -> an.AnswerPage:
        return an.AnswerPage(as_of=world.now(), items=[an.AnswerOut(**item) for item in reversed(world.answers)], next_cursor=None)

    @app.post("/v1/answers/{answer_id}/handled")
    async def handled(answer_id: UUID) -> an.Handled:
        item = next(one for one in world.answers if one["answer_id"] == answer_id)
        item.update(handled_at=world.now(), handled_by="Bo Chen")
        return an.Handled(answer_id=answer_id, handled_at=item["handled_at"], handled_by="Bo Chen")

    @app.get("/v1/stream")
    async def stream(request: Request) -> StreamingResponse:
        last = request.headers.get("last-event-id")
        world.last_event_ids.append(last)

        async def told() -> AsyncIterator[str]:
            sent = int(last) if last else len(world.events)
            yield ": hello\n\n"
            while True:
                for number, kind, payload in world.events[sent:]:
                    yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(payload)}\n\n"
                    sent = number
                await asyncio.sleep(0.05)

        return StreamingResponse(told(), media_type="text/event-stream")

    @app.get("/v1/public/now")
    async def public_now() -> Any:
        zones = [
            pu.PublicSafeZone(safe_zone_id=key(code), names={"en": name, "zh": zh}, lon=river(share, aside)[0], lat=river(share, aside)[1], distance_m=1900 + 1300 * i, opens_at=None)
            for i, (code, name, zh, share, aside, _) in enumerate(ZONES[:3])
        ]
        texts = RED_TEXTS["en"]
        warned = world.phone_state in ("warning", "warning_silent")
        warnings = [
            pu.PublicWarning(
                warning_id=key("red"), version=1, level="red", all_clear=False, headline=texts.headline, description=texts.description, instruction=texts.instruction,
                area_desc="Millbridge, low ground on both banks", language="en", sent_at=at(184), expires_at=at(600), sender="flood-desk@example.org",
                delivery_id=key("delivery"), answered=None,
            )
        ]  # fmt: skip
        leave = world.now() + timedelta(minutes=34)
        body = pu.PublicNow(
            name="Amara", language="en", exercise=True, state="warning" if warned else world.phone_state, state_reason=world.phone_reason, checked_at=world.now(),
            home=route(1)[0], warnings=warnings if warned else [],
            route=pu.PublicRoute(
                status="clear", safe_zone=zones[1], leave_by=leave, travel_s=780, distance_m=4350, inside_m=0, reason="",
                geometry={"type": "LineString", "coordinates": route(1)}, checked_at=at(182), footprint={"type": "Polygon", "coordinates": [valley(0.018)]},
            ) if warned else None,
            safe_zones=zones, channels=[pu.ChannelCheck(channel="fake", address_hint="…4711", last_accepted_at=at(185))], sending_paused=False,
        )  # fmt: skip
        return body

    @app.post("/v1/public/answers", status_code=201)
    async def public_answer(body: pu.AnswerIn) -> pu.AnswerRecorded:
        known = world.answered_keys.get(body.idempotency_key)
        if known is None:
            known = key(body.idempotency_key)
            world.answered_keys[body.idempotency_key] = known
            world.answers.append(
                {
                    "answer_id": known, "policyholder_id": key("amara"), "name": "Amara Silva", "language": "en", "warning_id": body.warning_id, "kind": body.kind,
                    "detail": body.detail, "lon": None, "lat": None, "answered_at": world.now(), "handled_at": None, "handled_by": None,
                }
            )  # fmt: skip
            world.emit("answer_given", {"answer_id": str(known)})
        return pu.AnswerRecorded(answer_id=known, kind=body.kind, received_at=world.now())

    @app.post("/v1/public/receipts", status_code=201)
    async def receipt(body: pu.ReceiptIn) -> pu.Recorded:
        world.receipts.append(body.model_dump(mode="json"))
        return pu.Recorded()

    @app.post("/v1/public/push-subscription", status_code=201)
    async def subscription(body: pu.PushSubscriptionIn) -> pu.Recorded:
        world.subscriptions.append(body.model_dump(mode="json"))
        return pu.Recorded()

    @app.get("/{name:path}")
    async def file(name: str) -> Response:
        wanted = static / {"": "index.html", "me": "me.html"}.get(name, name)
        types = {".mjs": "text/javascript", ".js": "text/javascript", ".webmanifest": "application/manifest+json"}
        if not wanted.is_file():
            return JSONResponse({"detail": "not here"}, status_code=404)
        return FileResponse(wanted, media_type=types.get(wanted.suffix))

    return app


class Server:
    """The stand-in, served; stopping and starting again keeps its port and its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        config = uvicorn.Config(make_app(self.world), host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=0)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the stand-in did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._thread.join(10)
        self._server = self._thread = None
