"""The drill as a show: a storm arrives in the drill region, through real MQTT, and every part of Tocsin answers.

Nothing here looks into the database to tell what happened: like a browser, it signs in and asks the API.
"""

import asyncio
import heapq
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import numpy as np
import paho.mqtt.client as mqtt
import shapely
from paho.mqtt.enums import CallbackAPIVersion

from core.errors import Unavailable
from core.log import get_logger
from store.clock import start_scenario
from store.pool import connect_worker, connect_worker_async
from tocsin.drill.play import PlayedFootprint, footprints, messages
from tocsin.drill.world import World

log = get_logger("demo")

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
        wall = datetime.now(tz=at.tzinfo)
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


@dataclass(slots=True)
class Story:
    """What has happened so far, as the API tells it."""

    overview: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    plan: dict[str, Any] | None = None
    quote: dict[str, Any] | None = None

    def as_json(self) -> str:
        return json.dumps(
            {"overview": self.overview, "warnings": self.warnings, "plan": self.plan, "quote": self.quote},
            ensure_ascii=False,
            indent=2,
        )


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
