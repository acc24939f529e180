"""The drill as a show: a storm arrives in the drill region, through real MQTT, and every part of Tocsin answers.

Nothing here looks into the database to tell what happened: like a browser, it signs in and asks the API.
"""

import asyncio
import csv
import heapq
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as mqtt
import shapely
from paho.mqtt.enums import CallbackAPIVersion

from alerts.links import Link, page_url, secret_key, sign_link
from api.auth import Passwords, create_account
from core.errors import Unavailable
from core.log import get_logger
from core.settings import Settings
from itops import issuing, underwrite
from store.clock import start_scenario
from store.pool import AsyncConnection, connect_worker, connect_worker_async, role_pool
from tocsin.drill.hydrology import DYING_GAUGE
from tocsin.drill.load import Loaded, load
from tocsin.drill.play import PlayedFootprint, footprints, messages
from tocsin.drill.sensors import died_at_h
from tocsin.drill.world import TENANT, World
from tocsin.services import Services

log = get_logger("demo")

#: With `--once`: thirty hours in less than two minutes.
ONCE_SPEED = 1200.0
#: The hours before the peak, which the show hurries through.
HURRIED_SPEED = 1000.0
#: Every process has read a new pace within this time; it begins only then, so that none goes by the old one.
_PACE_KNOWN_S = 2.5
#: At these speeds a quarter of a second is minutes of the scenario: batches are kept short.
BATCH_MS = 40

LEVELS = ("blue", "yellow", "orange", "red")

#: The two people of the demo who release what the rule alone may not.
ACCOUNTS = (("ann", "Ann Arden"), ("ben", "Ben Bosley"))


class ApiNotReady(Unavailable):
    """The API did not come up in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast scenario time runs: `hurried` until `until`, then `speed`."""

    speed: float
    hurried: float
    until: datetime

    def wall_seconds(self, world: World) -> float:
        """How long the whole storm takes."""
        before = max(timedelta(0), self.until - world.starts_at)
        after = world.ends_at - world.starts_at - before
        return before.total_seconds() / self.hurried + after.total_seconds() / self.speed


class Player(threading.Thread):
    """Publishes what the world's instruments send, and what its flood model finds, at scenario time."""

    def __init__(
        self,
        world: World,
        pace: Pace,
        *,
        worker_url: str,
        broker: tuple[str, int, str, str],
        publish_footprint: Callable[[Any, PlayedFootprint, datetime], Any],
        tail: timedelta,
    ) -> None:
        super().__init__(name="player", daemon=True)
        self.world, self.pace = world, pace
        self._worker_url, self._broker = worker_url, broker
        self._publish_footprint = publish_footprint
        self._tail = tail
        self.halt = threading.Event()
        self.done = threading.Event()
        self.failed: BaseException | None = None
        self.n_sent = 0
        self._wall_start = self._scenario_start = 0.0
        self._speed = 1.0

    def now(self) -> datetime:
        """Scenario time."""
        at = self._scenario_start + (time.time() - self._wall_start) * self._speed
        return datetime.fromtimestamp(at, tz=self.world.starts_at.tzinfo)

    def run(self) -> None:
        try:
            asyncio.run(self._play())
        except BaseException as error:
            self.failed = error
            log.error("the player failed", error=f"{type(error).__name__}: {error}")
        finally:
            self.done.set()

    def _set_pace(self, at: datetime, speed: float) -> None:
        wall = datetime.now(tz=at.tzinfo) + timedelta(seconds=_PACE_KNOWN_S)
        with connect_worker(self._worker_url) as conn:
            start_scenario(conn, at=at, speed=speed, wall=wall)
        self._wall_start, self._scenario_start, self._speed = wall.timestamp(), at.timestamp(), speed

    async def _play(self) -> None:
        host, port, username, password = self._broker
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"drill-{secrets.token_hex(4)}")
        client.username_pw_set(username, password)
        client.max_inflight_messages_set(200)
        client.connect(host, port)
        client.loop_start()
        conn = await connect_worker_async(self._worker_url)
        try:
            self._set_pace(self.world.starts_at, self.pace.hurried)
            hurried = True
            for at, what in _in_order(self.world):
                if hurried and at >= self.pace.until:
                    await self._until(self.pace.until)
                    self._set_pace(self.pace.until, self.pace.speed)
                    hurried = False
                await self._until(at)
                if self.halt.is_set():
                    return
                if isinstance(what, PlayedFootprint):
                    async with conn.transaction():
                        await self._publish_footprint(conn, what, at)
                else:
                    client.publish(what[0], what[1], qos=1)
                    self.n_sent += 1
            await self._until(self.world.ends_at + self._tail)
        finally:
            client.disconnect()
            client.loop_stop()
            await conn.close()

    async def _until(self, at: datetime) -> None:
        while not self.halt.is_set():
            left = (at.timestamp() - self._scenario_start) / self._speed - (time.time() - self._wall_start)
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.2))


def _in_order(world: World) -> Iterator[tuple[datetime, Any]]:
    """Messages and footprints merged by time."""
    readings = ((at, 0, (topic, body)) for at, topic, body in messages(world))
    floods = ((at, 1, found) for at, found in footprints(world))
    for at, _, what in heapq.merge(readings, floods, key=lambda item: item[:2]):
        yield at, what


class Desk:
    """One person at the console, by its API."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, timeout=15.0, headers={"Origin": base_url})

    def wait_ready(self, timeout_s: float, still_trying: Callable[[], None]) -> None:
        """Waits until the API says that it is ready; raises ApiNotReady."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            still_trying()
            try:
                if self.http.get("/v1/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise ApiNotReady(url=str(self.http.base_url))

    def sign_in(self, login: str, password: str) -> None:
        self.http.post("/v1/session", json={"login": login, "password": password}).raise_for_status()

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def get_or_none(self, path: str) -> Any:
        """None where there is no such thing yet."""
        answer = self.http.get(path)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def waiting(self) -> list[dict[str, Any]]:
        """Drafts that people could release, with all that an approver reads."""
        found = []
        for item in self.get("/v1/warnings", state="draft", limit=200)["items"]:
            if item["held"] is None:
                found.append(self.get(f"/v1/warnings/{item['warning_id']}")["versions"][0])
        return [version for version in found if version["state"] == "draft"]

    def approve(self, warning_id: str, version: int, content_sha256: str) -> bool:
        """Approves a draft; False where it changed meanwhile or was approved by this person before."""
        answer = self.http.post(
            f"/v1/warnings/{warning_id}/{version}/approve",
            json={"content_sha256": content_sha256},
            headers={"Idempotency-Key": f"demo-{self.http.cookies}-{warning_id}-{version}"[:200]},
        )
        if answer.status_code >= 500:
            answer.raise_for_status()
        return answer.status_code < 300


class Audience:
    """What the world knows and no system could: when water first reached a household of a warned area."""

    def __init__(self, world: World) -> None:
        self._homes = {}
        for sensor in world.sensors:
            if sensor.reach is not None:
                self._homes[sensor.code] = sensor.reach
        self._world = world
        lon = [world.locations[holder.location].lon for holder in world.policyholders]
        lat = [world.locations[holder.location].lat for holder in world.policyholders]
        self._points = shapely.points(np.array(lon, dtype=float), np.array(lat, dtype=float))

    def first_wet(self, station_code: str) -> datetime | None:
        """When the first insured household in that station's area stood in water; None: none ever did."""
        area = self._homes.get(station_code)
        if area is None:
            return None
        inside = self._points[shapely.intersects(area, self._points)]
        for footprint in self._world.scenario.footprints:
            if shapely.intersects(footprint.geometry, inside).any():
                return self._world.at(footprint.at_h)
        return None


def pace_of(world: World, *, once: bool, speed: float | None, hurry_until_h: float | None = None) -> Pace:
    """To the end at one speed with `once`; else the hours before the peak (or that hour) in a hurry, then 60x."""
    if once:
        steady = speed or ONCE_SPEED
        return Pace(speed=steady, hurried=steady, until=world.starts_at)
    # The gauge that dies is told of as silent after three of its intervals; a few minutes more, and all is on the map.
    peak = world.at(died_at_h(world.scenario)) + timedelta(minutes=50)
    if hurry_until_h is not None:
        peak = world.at(hurry_until_h)
    return Pace(speed=speed or 60.0, hurried=max(HURRIED_SPEED, speed or 0.0), until=peak)


def lead_rows(world: World, warnings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each warning: when it first went out and at which level, its highest level, its end, and its lead.

    `lead_min` is from the first release to the moment at which water first stood at an insured household of its area.
    """
    audience = Audience(world)
    rows = []
    for warning in warnings:
        out = [v for v in sorted(warning["versions"], key=lambda v: int(v["version"])) if v["released_at"] is not None]
        if not out or out[0]["all_clear"]:
            continue
        said = [v for v in out if not v["all_clear"]]
        highest = max(said, key=lambda v: LEVELS.index(v["level"]))
        code = out[0]["station_code"]
        wet = audience.first_wet(code) if code else None
        first = datetime.fromisoformat(out[0]["released_at"])
        decided = datetime.fromisoformat(out[0]["sent_at"])
        read = [
            datetime.fromisoformat(one["detail"]["reading_at"])
            for one in warning["decisions"]
            if one["version"] == out[0]["version"] and one["detail"].get("reading_at")
        ]
        rows.append(
            {
                "station": out[0]["station_name"],
                "first_level": out[0]["level"],
                "released_at": out[0]["released_at"],
                "reading_to_decision_min": round((decided - max(read)).total_seconds() / 60) if read else None,
                "decision_to_release_min": round((first - decided).total_seconds() / 60),
                "highest_level": highest["level"],
                "highest_released_at": highest["released_at"],
                "highest_released_by": [one["display_name"] for one in highest["approvals"]],
                "all_clear_at": out[-1]["released_at"] if out[-1]["all_clear"] else None,
                "n_people": max(v["n_people"] for v in said),
                "first_home_wet_at": wet.isoformat() if wet else None,
                "lead_min": round((wet - first).total_seconds() / 60) if wet else None,
            }
        )
    return sorted(rows, key=lambda row: str(row["released_at"]))


def why_late(row: Mapping[str, Any], speed: float) -> str | None:
    """Where the time went of a warning that came after the water; None of one that came before it.

    The clock of the scenario runs on while this machine works, so a busy machine shows as minutes of the storm.
    """
    if row["lead_min"] is None or row["lead_min"] >= 0:
        return None
    judged = row["reading_to_decision_min"]
    return (
        f"{row['station']}: {-row['lead_min']} min after the water: "
        f"{'unknown' if judged is None else judged} min from the reading to the decision, "
        f"{row['decision_to_release_min']} min from there to the release "
        f"(at {speed:g}x one second of this machine is {speed / 60:g} min of the storm; a lower --speed shows less)"
    )


def link_of(settings: Settings, loaded: Loaded, person: str, base_url: str) -> str:
    """The phone page of one policyholder."""
    link = Link(
        tenant_id=loaded.tenant_id,
        policyholder_id=loaded.policyholders[person],
        warning_id=None,
        expires_at=datetime.now(UTC) + timedelta(days=1),
    )
    return page_url(base_url, sign_link(link, key=secret_key(settings)))


def someone_near(world: World) -> str:
    """A policyholder who reads English and lives where the gauge that dies warns."""
    area = next(s.reach for s in world.sensors if s.gauge == DYING_GAUGE and s.reach is not None)
    wettest = max(world.scenario.footprints, key=lambda f: f.area_km2).geometry
    for holder in world.policyholders:
        home = world.locations[holder.location]
        point = shapely.Point(home.lon, home.lat)
        if holder.language == "en" and area.intersects(point) and wettest.intersects(point):
            return holder.code
    return world.policyholders[0].code


async def prepare(services: Services, world: World) -> tuple[Loaded, dict[str, Any], dict[str, str]]:
    """Loads the world, prices the fleet, makes the two accounts; gives keys, the quote and passwords."""
    conn = await connect_worker_async(services.urls.worker)
    try:
        # The scenario's time holds from the first moment: to a process that met the wall's, all would be long past.
        await start_scenario(conn, at=world.starts_at, speed=1.0)
        loaded = await load(conn, world, home=services.home)
        quote = await _quote(conn, world, loaded)
    finally:
        await conn.close()
    passwords = {}
    async with role_pool(services.urls.worker, "tocsin_worker", size=2) as pool:
        for login, name in ACCOUNTS:
            passwords[login] = await create_account(
                pool,
                Passwords(),
                login=login,
                tenant=TENANT,
                roles=["insurer", "approver", "underwriter", "operator"],
                display_name=name,
            )
    return loaded, quote, passwords


async def _quote(conn: AsyncConnection, world: World, loaded: Loaded) -> dict[str, Any]:
    fleet = world.fleet
    priced = await asyncio.to_thread(
        underwrite.price_request, fleet.submission, _csv(fleet.devices), _csv(fleet.incidents)
    )
    stored = await issuing.issue_quote(conn, priced, tenant_id=loaded.tenant_id, now=world.starts_at)
    return {"quote_id": str(stored.quote_id), **priced.result()}


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    out = io.StringIO()
    table = csv.DictWriter(out, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()
