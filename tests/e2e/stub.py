"""A small stand-in for the API, for tests of the pages.

It answers with the API's own wire models (api/schemas), so what the pages are tested with is what they will be given.
It runs in a thread on a free port of the loopback interface.
"""

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import h3
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from api.schemas import answer as an
from api.schemas import case as ca
from api.schemas import evacuation as ev
from api.schemas import exposure as ex
from api.schemas import feed as fe
from api.schemas import hazard as hz
from api.schemas import session as se
from api.schemas import station as st
from api.schemas import ui
from api.schemas import warning as wa
from tests.e2e.stub_phone import TOKEN, add_phone_routes
from tests.e2e.stub_quotes import add_quote_routes
from tests.e2e.stub_rules import Book, add_rule_routes
from tests.e2e.world import (
    HASH,
    LAT,
    LON,
    START,
    STATIONS,
    THRESHOLDS,
    ZONES,
    World,
    at,
    key,
    last_minute,
    level_at,
    river,
    route,
    valley,
    warning_versions,
)

STATIC = Path(__file__).resolve().parents[2] / "api" / "static"
#: The strictest policy that both pages must live with; the served one may allow the basemap's origin beside it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def make_app(world: World, sessions: set[str], static: Path = STATIC) -> FastAPI:
    """The stand-in as an application."""
    app = FastAPI()

    @app.middleware("http")
    async def edge(request: Request, proceed: Any) -> Response:
        path = request.url.path
        world.asked[path] += 1
        if path in world.fail:
            body = {
                "type": "urn:tocsin:problem:unavailable",
                "title": "Unavailable",
                "status": 500,
                "detail": "The database does not answer.",
                "request_id": "req-42",
                "errors": [],
            }
            return JSONResponse(body, status_code=500, media_type="application/problem+json")
        if world.slow_s and path.startswith("/v1/"):
            await asyncio.sleep(world.slow_s)
        open_paths = {"/v1/session", "/v1/ui-config"}
        if path.startswith("/v1/public/"):
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return JSONResponse({"detail": "This link is not valid.", "status": 401}, status_code=401)
        elif (
            path.startswith("/v1/") and path not in open_paths and request.cookies.get("tocsin_session") not in sessions
        ):
            return JSONResponse({"detail": "Sign in first.", "status": 401}, status_code=401)
        response: Response = await proceed(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    def me() -> se.Me:
        may = ["approve warning", "reject warning", "pause sending", "resume sending", "handle answer", "read warning"]
        may += ["read feed", "read case", "handle case"]
        return se.Me(
            principal_id=key("me"),
            login="approver",
            display_name="Bo Chen",
            roles=["approver"],
            may=[*may, *world.may_more],
            tenant=se.TenantOut(tenant_id=key("tenant"), slug="ar", name="Ar Valley Mutual"),
            exercise=True,
            expires_at=None,
        )

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
            installation_name="Ar Valley drill",
            exercise=True,
            version="0.1.0",
            basemap=ui.Basemap(kind="pmtiles", url="/basemap.pmtiles") if world.basemap else ui.Basemap(kind="bundled"),
            attribution="Natural Earth",
            bounds=[LON - 0.125, LAT - 0.075, LON + 0.125, LAT + 0.085],
            languages=["en", "zh"],
            vapid_public_key=None,
        )

    @app.get("/v1/overview")
    async def overview() -> ex.Overview:
        state = "down" if world.broker_down else "up"
        feeds = [ex.FeedOut(feed="broker", state=state, since=at(170), n_stations=6, detail="")]
        if world.empty:
            return ex.Overview(
                as_of=world.now(),
                source=None,
                exposed_tiv=None,
                currency=None,
                n_locations=None,
                n_policies=None,
                unknown_tiv=None,
                exposed_by_currency={},
                feeds=[],
                n_unknown=None,
                n_warnings_live=0,
                n_drafts_waiting=0,
                n_people_warned=0,
                n_answers=ex.AnswerCounts(safe=0, help=0, damage=0, unanswered=0),
                n_help_open=0,
                n_stations=ex.StationCounts(online=0, silent=0, unknown=0),
                messages_stored=None,
                sending_paused=False,
            )
        kinds = [item["kind"] for item in world.answers]
        n_help_open = sum(1 for item in world.answers if item["kind"] == "help" and item["handled_at"] is None)
        source: dict[str, Any] = {
            "hazard_event": "ar-2026",
            "n_events": 1,
            "ended_at": None,
            "footprint_version": 4,
            "valid_at": at(180),
            "computed_at": at(181),
            "n_portfolios": 1,
        }
        return ex.Overview(
            as_of=world.now(),
            source=ex.NumberSource(**source),
            exposed_tiv="1284600000.00",
            currency="LKR",
            n_locations=1847,
            n_policies=1620,
            unknown_tiv="8100000",
            exposed_by_currency={"LKR": "1284600000.00"},
            feeds=feeds,
            n_unknown=23,
            n_warnings_live=2 if not world.released else 3,
            n_drafts_waiting=0 if world.released or world.rejected else 1,
            n_people_warned=187 + (412 if world.released else 0),
            n_answers=ex.AnswerCounts(
                safe=54 + kinds.count("safe"), help=kinds.count("help"), damage=kinds.count("damage"), unanswered=126
            ),
            n_help_open=n_help_open,
            n_stations=ex.StationCounts(online=4, silent=1, unknown=1),
            messages_stored=48211 + int((world.now() - START).total_seconds() // 60),
            sending_paused=world.paused,
        )

    @app.get("/v1/stations")
    async def stations() -> st.StationCollection:
        features = []
        for station in [] if world.empty else STATIONS:
            minutes = last_minute(world, station)
            latest = (
                []
                if station["state"] == "unknown"
                else [
                    st.Reading(
                        quantity="level",
                        unit="m",
                        value=level_at(station, minutes),
                        quality=1,
                        observed_at=at(minutes),
                        received_at=at(minutes),
                    )
                ]
            )
            held = station.get("held")
            features.append(
                st.StationFeature(
                    id=station["code"],
                    geometry={"type": "Point", "coordinates": river(station["share"])},
                    properties=st.StationProperties(
                        station_id=key(station["code"]),
                        code=station["code"],
                        name=station["name"],
                        river="Ar",
                        state=station["state"],
                        state_since=at(180) if held else at(0),
                        level=station["level"],
                        held_level=held,
                        phase="stale" if held else "active",
                        held=bool(held),
                        latest=latest,
                        thresholds=THRESHOLDS,
                        threshold_quantity="level",
                    ),
                )
            )
        return st.StationCollection(as_of=world.now().isoformat(), features=features)

    @app.get("/v1/stations/{station_id}/observations")
    async def observations(station_id: UUID) -> st.ObservationSeries:
        station = next(one for one in STATIONS if key(one["code"]) == station_id)
        until = int(last_minute(world, station)) if station["state"] != "unknown" else 0
        items = [
            st.ObservationOut(
                observed_at=at(m),
                received_at=at(m),
                value=level_at(station, m) + (1.4 if m == 90 else 0),
                quality=3 if m == 90 else 1,
            )
            for m in range(0, until + 1, 5)
        ]
        return st.ObservationSeries(
            station_id=station_id, quantity="level", unit="m", as_of=world.now(), items=items, truncated=False
        )

    @app.get("/v1/footprints/latest")
    async def footprints() -> hz.FootprintCollection:
        event = hz.HazardEventOut(
            hazard_event_id=key("event"),
            code="ar-2026",
            peril="river_flood",
            name="Ar flood",
            started_at=at(60),
            ended_at=None,
        )
        feature = hz.FootprintFeature(
            id="f4",
            geometry={"type": "Polygon", "coordinates": [valley(0.018)]},
            properties=hz.FootprintProperties(
                footprint_id=key("f4"),
                version=4,
                valid_at=at(180),
                made_how="gauges and terrain",
                created_at=at(181),
                hazard_event=event,
                zones=[
                    hz.Zone(
                        arrival_min=30,
                        intensity=0.3,
                        unit="m",
                        geometry={"type": "Polygon", "coordinates": [valley(0.025)]},
                    )
                ],
            ),
        )
        return hz.FootprintCollection(as_of=world.now().isoformat(), features=[] if world.empty else [feature])

    @app.get("/v1/assessments/latest/losses")
    async def losses() -> ex.LatestLosses:
        return ex.LatestLosses(as_of=world.now(), items=[])

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
            density = (
                math.exp(-((along - 0.6) ** 2) / 0.05)
                * math.exp(-((aside / 0.03) ** 2))
                * (0.6 + 0.4 * math.sin(lon * 900) * math.cos(lat * 1300))
            )
            if density < 0.03:
                continue
            ring = [[b, a] for a, b in h3.cell_to_boundary(cell)]
            tiv = round(density * 9e7)
            features.append(
                ex.CellFeature(
                    id=cell,
                    geometry={"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                    properties=ex.CellProperties(
                        cell=cell,
                        n_locations=int(density * 80) + 1,
                        tiv=tiv,
                        currency="LKR",
                        tiv_by_currency={"LKR": str(tiv)},
                    ),
                )
            )
        return ex.CellCollection(
            as_of=world.now().isoformat(),
            features=features,
            resolution=8,
            n_unmapped=23,
            unmapped_tiv_by_currency={"LKR": "8100000"},
        )

    @app.get("/v1/locations")
    async def locations() -> ex.LocationCollection:
        return ex.LocationCollection(as_of=world.now().isoformat(), features=[])

    @app.get("/v1/evacuation-plans/latest")
    async def plan() -> Any:
        if world.empty:
            return JSONResponse(
                {"detail": "There is no such thing, or it is not yours.", "status": 404}, status_code=404
            )
        return ev.PlanOut(
            evacuation_plan_id=key("plan"),
            footprint_id=key("f4"),
            footprint_version=4,
            hazard_event="ar-2026",
            counts={"clear": 380, "cut-off": 9, "shelter-in-place": 23},
            closed_roads={
                "type": "MultiLineString",
                "coordinates": [
                    [river(s, -0.03), river(s, -0.005), river(s + 0.004, 0.02)] for s in (0.41, 0.58, 0.77)
                ],
            },
            computed_at=at(182),
            as_of=world.now(),
        )

    @app.get("/v1/evacuation-plans/latest/routes")
    async def routes() -> Any:
        if world.empty:
            return JSONResponse(
                {"detail": "There is no such thing, or it is not yours.", "status": 404}, status_code=404
            )
        return ev.RouteCollection(
            as_of=world.now().isoformat(),
            features=[
                ev.RouteFeature(
                    id=str(i),
                    geometry={"type": "LineString", "coordinates": route(i)},
                    properties=ev.RouteProperties(
                        household_id=key(f"h{i}"),
                        status="through-hazard" if i == 4 else "clear",
                        safe_zone_id=key(ZONES[i % 2][0]),
                        safe_zone_names={"en": ZONES[i % 2][1]},
                        travel_s=600,
                        distance_m=4200,
                        leave_by=at(230),
                        last_way_out=at(260),
                        inside_m=120 if i == 4 else 0,
                        reason="",
                    ),
                )
                for i in range(10)
            ],
        )

    @app.get("/v1/safe-zones")
    async def safe_zones() -> ev.SafeZoneCollection:
        return ev.SafeZoneCollection(
            as_of=world.now().isoformat(),
            features=[
                ev.SafeZoneFeature(
                    id=code,
                    geometry={"type": "Point", "coordinates": river(share, aside)},
                    properties=ev.SafeZoneProperties(
                        safe_zone_id=key(code),
                        code=code,
                        names={"en": name, "zh": zh},
                        seats=seats,
                        accessible_seats=20,
                        opens_at=None,
                        n_households=60,
                        n_people=150,
                        n_arrived=35,
                    ),
                )
                for code, name, zh, share, aside, seats in ([] if world.empty else ZONES)
            ],
        )

    @app.get("/v1/warnings")
    async def warnings() -> wa.WarningPage:
        items = (
            []
            if world.empty
            else [wa.WarningSummary(**versions[0].model_dump()) for versions in warning_versions(world).values()]
        )
        return wa.WarningPage(as_of=world.now(), items=items, next_cursor=None)

    @app.get("/v1/warnings/{warning_id}")
    async def warning(warning_id: UUID) -> wa.WarningOut:
        versions = warning_versions(world)[str(warning_id)]
        decisions = [
            wa.DecisionOut(
                at=at(184), reason="draft_above_ceiling", level_before="orange", level_after="red", version=1, detail={}
            ),
            wa.DecisionOut(
                at=at(183),
                reason="held_on_silence",
                level_before="orange",
                level_after="orange",
                version=None,
                detail={},
            ),
            wa.DecisionOut(
                at=at(181),
                reason="awaiting_confirmation",
                level_before="orange",
                level_after="orange",
                version=None,
                detail={},
            ),
        ]
        return wa.WarningOut(warning_id=warning_id, as_of=world.now(), versions=versions, decisions=decisions)

    @app.post("/v1/warnings/{warning_id}/{version}/approve")
    async def approve(warning_id: UUID, version: int, body: wa.Approve) -> Any:
        if body.content_sha256 != HASH:
            return JSONResponse(
                {"detail": "It changed meanwhile; reload and decide again.", "status": 409}, status_code=409
            )
        world.approvals.append("Bo Chen")
        world.released = True
        world.emit("warning_changed", {"warning_id": str(warning_id), "version": version})
        return wa.Approved(
            warning_id=warning_id,
            version=version,
            state="released",
            n_approvals=2,
            n_approvals_needed=2,
            released=True,
            n_left_out=0,
        )

    @app.post("/v1/warnings/{warning_id}/{version}/reject")
    async def reject(warning_id: UUID, version: int, body: wa.Reject) -> wa.Rejected:
        world.rejected = True
        world.emit("warning_changed", {"warning_id": str(warning_id), "version": version})
        return wa.Rejected(warning_id=warning_id, version=version, state="rejected")

    @app.post("/v1/sending/pause")
    async def pause() -> wa.SendingState:
        world.paused = True
        return wa.SendingState(
            scope="tenant", paused=True, paused_at=world.now(), resume_asked_by=None, needs_second_person=True
        )

    @app.post("/v1/sending/resume")
    async def resume() -> wa.SendingState:
        world.resume_asked = True
        return wa.SendingState(
            scope="tenant", paused=True, paused_at=world.now(), resume_asked_by=key("me"), needs_second_person=True
        )

    @app.get("/v1/answers")
    async def answers() -> an.AnswerPage:
        return an.AnswerPage(
            as_of=world.now(), items=[an.AnswerOut(**item) for item in reversed(world.answers)], next_cursor=None
        )

    @app.get("/v1/answers/{answer_id}/photo")
    async def answer_photo(answer_id: UUID) -> Response:
        return Response(world.photos[answer_id], media_type="image/jpeg")

    @app.get("/v1/cases")
    async def help_cases() -> ca.CasePage:
        return ca.CasePage(as_of=world.now(), items=[ca.CaseOut(**item) for item in world.cases])

    @app.get("/v1/feeds")
    async def other_feeds() -> list[fe.FeedOut]:
        return [fe.FeedOut(**item) for item in world.other_feeds]

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

    add_phone_routes(app, world)
    add_quote_routes(app, world)
    world.book = world.book or Book()
    add_rule_routes(app, world)

    @app.get("/{name:path}")
    async def file(name: str) -> Response:
        if name == "basemap.pmtiles" and world.basemap is not None:
            return FileResponse(world.basemap)
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
        self.sessions: set[str] = set()  #: kept over a stop, as a database keeps them
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        config = uvicorn.Config(
            make_app(self.world, self.sessions),
            host="127.0.0.1",
            port=self.port,
            log_level="error",
            timeout_graceful_shutdown=0,
        )
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
