"""Plays a recording through the broker, as it happened, and tells what came of it.

Starts whatever is not there (database, broker, ingest, watch) in the exercise database of TOCSIN_HOME, registers the
stations, makes level rules at their official levels, publishes over MQTT in order of arrival, waits until all of it is
stored and judged, and compares the warnings with the recorded crossings. Playing the same again changes nothing.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import paho.mqtt.client as paho
import shapely
from paho.mqtt.enums import CallbackAPIVersion

from alerts.repository import first_warnings
from alerts.rule import level_rule
from alerts.rule_repository import save_rule
from core.clock import ScenarioClock
from core.errors import Unavailable
from core.ids import new_id
from core.log import get_logger
from core.settings import Settings
from ingest import repository
from store.clock import read_clock, start_scenario
from store.pool import AsyncConnection, connect_worker_async
from tocsin import recording as recordings
from tocsin import services
from tocsin.recording import Recording

log = get_logger("replay")

#: A batch of a replay at full speed spans half of the shortest interval, so that silence and order show as they did.
_STEP_INTERVALS = 0.5
_IN_FLIGHT = 2000
_STALLED_AFTER_S = 60.0
#: How far around a gauge its replay rules warn, in degrees: a few kilometres, for want of a surveyed area.
_AREA_DEGREES = 0.03
_HYSTERESIS_M = 0.1


class ReplayStalled(Unavailable):
    """Nothing has moved for a while: the messages were published but are not being stored."""


@dataclass(slots=True, kw_only=True)
class Crossing:
    """One official level at one station: when it was first passed, and when we said so."""

    station: str
    level: str
    threshold: float
    crossed_at: datetime | None
    warned_at: datetime | None

    @property
    def difference_s(self) -> float | None:
        """Seconds from the crossing to the warning; below 0: before it."""
        if self.crossed_at is None or self.warned_at is None:
            return None
        return (self.warned_at - self.crossed_at).total_seconds()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a replay came to."""

    source: str
    speed: float | None  #: none: as fast as it goes
    n_messages: int
    n_new: int  #: readings stored by this replay
    n_readings: int  #: readings stored in all
    n_corrections: int
    n_quarantined: int  #: by this replay
    seconds: float
    crossings: list[Crossing] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """For --json."""

        def iso(at: datetime | None) -> str | None:
            return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")

        return {
            "source": self.source,
            "speed": "max" if self.speed is None else self.speed,
            "messages": self.n_messages,
            "readings_new": self.n_new,
            "readings_stored": self.n_readings,
            "corrections": self.n_corrections,
            "quarantined": self.n_quarantined,
            "seconds": round(self.seconds, 2),
            "crossings": [
                {
                    "station": c.station,
                    "level": c.level,
                    "threshold": c.threshold,
                    "official_first_crossing": iso(c.crossed_at),
                    "warning_issued": iso(c.warned_at),
                    "difference_s": c.difference_s,
                }
                for c in self.crossings
            ],
            "notices": self.notices,
        }


def replay(
    settings: Settings, recording: Recording, *, speed: float | None, say: Callable[[str], None], keep: bool = False
) -> Outcome:
    """Plays the recording and gives what came of it; with `keep` everything then runs on until Ctrl-C.

    speed : scenario seconds in a second; none: as fast as it goes
    """
    stop = services.wait_for_stop()
    with services.running(settings, "exercise", say) as running:
        running.start_processes(("ingest", "watch"))
        outcome = _Player(running, recording, speed, say, stop).play()
        outcome.notices += running.notices
        if keep:
            say("replayed; Ctrl-C stops")
            while not stop.wait(0.5):
                running.check()
    return outcome


class _Player:
    def __init__(
        self,
        running: services.Services,
        recording: Recording,
        speed: float | None,
        say: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._running = running
        self._recording = recording
        self._speed = speed
        self._say = say
        self._stop = stop
        self._mark = str(new_id())

    def play(self) -> Outcome:
        return asyncio.run(self._play())

    async def _play(self) -> Outcome:
        began = time.monotonic()
        conn = await connect_worker_async(self._running.urls.worker)
        try:
            before = (await repository.fetch(conn, "counts"))[0]
            await self._register(conn)
            await self._set_clock(conn)
            heard = asyncio.Event()
            conn.add_notify_handler(lambda note: heard.set() if note.payload == self._mark else None)
            await repository.execute(conn, "listen_replay")
            client = self._connect()
            try:
                await self._wait_listening(conn, client)
                await self._publish(client)
            finally:
                client.disconnect()
                client.loop_stop()
            await self._wait_stored(conn, heard)
            await self._wait_judged(conn)
            after = (await repository.fetch(conn, "counts"))[0]
            crossings = await self._crossings(conn)
        finally:
            await conn.close()
        return Outcome(
            source=self._recording.name,
            speed=self._speed,
            n_messages=len(self._recording.messages),
            n_new=after[0] - before[0],
            n_readings=after[0],
            n_corrections=after[1],
            n_quarantined=after[2] - before[2],
            seconds=time.monotonic() - began,
            crossings=crossings,
        )

    # ------------------------------------------------------------------ before
    async def _register(self, conn: AsyncConnection) -> None:
        """Stations, and rules at their official levels."""
        recording = self._recording
        starts = datetime.fromtimestamp(recording.messages[0].arrival_s, UTC) - timedelta(seconds=1)
        n_rules = 0
        async with conn.transaction():
            tenant: UUID | None = None
            if not recordings.public_tenant(recording.tenant):
                tenant = await repository.add_tenant(conn, recording.tenant, recording.tenant)
            for station in recording.stations:
                _, datastream_id = await repository.keep_station(conn, station, tenant)
                if not station.official_levels or tenant is None:
                    continue
                rule = level_rule(
                    tenant_id=tenant,
                    code=f"official:{station.code}",
                    datastream_id=datastream_id,
                    thresholds=dict(station.official_levels),
                    quantity=station.quantity,
                    hysteresis=_HYSTERESIS_M,
                    interval=timedelta(seconds=station.interval_s),
                    automatic=True,
                    place={"en": station.name},
                )
                area = None
                if station.lon is not None and station.lat is not None:
                    area = shapely.Point(station.lon, station.lat).buffer(_AREA_DEGREES)
                await save_rule(conn, rule, area=area, area_desc={"en": station.name}, effective_from=starts)
                n_rules += 1
        self._say(f"registered {len(recording.stations)} stations and {n_rules} rules at official levels")

    async def _set_clock(self, conn: AsyncConnection) -> None:
        """The scenario's clock starts at the first arrival; one that stands later already is left where it is."""
        first = datetime.fromtimestamp(self._recording.messages[0].arrival_s, UTC)
        if self._speed is not None:
            await start_scenario(conn, at=first, speed=self._speed)
            return
        clock = await read_clock(conn)
        if isinstance(clock, ScenarioClock) and clock.held_at is not None and clock.held_at >= first:
            return
        await start_scenario(conn, at=first, speed=1.0, held=True)

    # ------------------------------------------------------------------ playing
    def _connect(self) -> paho.Client:
        env, mqtt = self._running.env, self._running.settings.mqtt
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"tocsin-replay-{self._mark[-8:]}")
        user = env.get("TOCSIN_MQTT__USERNAME", mqtt.username)
        secret = env.get("TOCSIN_MQTT__PASSWORD", None if mqtt.password is None else mqtt.password.get_secret_value())
        if user is not None:
            client.username_pw_set(user, secret)
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.connect(
            env.get("TOCSIN_MQTT__HOST", mqtt.host or "127.0.0.1"), int(env.get("TOCSIN_MQTT__PORT", mqtt.port))
        )
        client.loop_start()
        return client

    async def _wait_listening(self, conn: AsyncConnection, client: paho.Client) -> None:
        """Asks until ingest answers: what is published before it has ever subscribed reaches nobody."""
        heard: set[str] = set()
        conn.add_notify_handler(lambda note: heard.add(note.payload))
        first = self._recording.messages[0]
        mark = f"ready-{self._mark}"
        body = b'{"replay":{"arrival":%.3f,"mark":"%b"},"payload":null}' % (first.arrival_s, mark.encode())
        began = time.monotonic()
        while mark not in heard:
            self._check_stop()
            if time.monotonic() - began > _STALLED_AFTER_S:
                raise ReplayStalled("ingest does not answer.", log=self._running.supervisor.last_words("ingest"))
            client.publish(first.topic, body, qos=1)
            for _ in range(5):
                await asyncio.sleep(0.1)
                await repository.fetch(conn, "counts")  # takes in notifications
                if mark in heard:
                    break

    def _check_stop(self) -> None:
        self._running.check()
        if self._stop.is_set():
            raise KeyboardInterrupt

    async def _publish(self, client: paho.Client) -> None:
        """Every message over MQTT at QoS 1, in order of arrival; at a speed each waits for its time."""
        messages = self._recording.messages
        step_s = max(60.0, _STEP_INTERVALS * min(s.interval_s for s in self._recording.stations))
        first, began = messages[0].arrival_s, time.monotonic()
        waiting: list[paho.MQTTMessageInfo] = []
        said = began
        for n, (message, body) in enumerate(recordings.enveloped(messages, step_s=step_s, mark=self._mark)):
            if self._speed is not None:
                due = began + (message.arrival_s - first) / self._speed
                while (left := due - time.monotonic()) > 0:
                    self._check_stop()
                    await asyncio.sleep(min(left, 0.5))
            waiting.append(client.publish(message.topic, body, qos=1))
            if len(waiting) >= _IN_FLIGHT:
                self._check_stop()
                await asyncio.to_thread(waiting[0].wait_for_publish, 30.0)
                waiting = [w for w in waiting if not w.is_published()]
            if time.monotonic() - said > 2:
                said = time.monotonic()
                self._say(f"published {n + 1} of {len(messages)} messages")
        for each in waiting:
            await asyncio.to_thread(each.wait_for_publish, 60.0)
            if not each.is_published():
                raise ReplayStalled("The message broker does not take the messages.")

    # ------------------------------------------------------------------ after
    async def _wait_stored(self, conn: AsyncConnection, heard: asyncio.Event) -> None:
        """Until ingest has committed the last message."""
        moved, last = time.monotonic(), (-1, -1)
        while not heard.is_set():
            self._check_stop()
            row = (await repository.fetch(conn, "counts"))[0]  # also takes in notifications
            if (row[0], row[2]) != last:
                last, moved = (row[0], row[2]), time.monotonic()
            if time.monotonic() - moved > _STALLED_AFTER_S:
                raise ReplayStalled(log=self._running.supervisor.last_words("ingest"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(heard.wait(), 0.1)

    async def _wait_judged(self, conn: AsyncConnection) -> None:
        """Until watch has judged every batch."""
        moved, last = time.monotonic(), -1
        while (left := (await repository.fetch(conn, "waiting_work", {"consumer": "watch"}))[0][0]) > 0:
            self._check_stop()
            if left != last:
                last, moved = left, time.monotonic()
            if time.monotonic() - moved > _STALLED_AFTER_S:
                raise ReplayStalled(
                    "The readings are stored but not judged.", log=self._running.supervisor.last_words("watch")
                )
            await asyncio.sleep(0.1)

    async def _crossings(self, conn: AsyncConnection) -> list[Crossing]:
        """Recorded crossings beside the warnings, and warnings without a crossing."""
        tenant = await repository.tenant_id(conn, self._recording.tenant)
        levels = {s.code: s.official_levels for s in self._recording.stations}
        warned: dict[tuple[str, str], datetime] = {}
        for row in await first_warnings(conn, tenant):
            warned[str(row["station"]), str(row["level"])] = row["issued_at"]
        found = []
        crossed = {(s, name): t for s, name, _, t in recordings.official_crossings(self._recording)}
        for code, official in levels.items():
            for name, threshold in official.items():
                at = crossed.get((code, name))
                told = warned.get((code, _word(name)))
                if at is None and told is None:
                    continue
                found.append(
                    Crossing(
                        station=code,
                        level=name,
                        threshold=threshold,
                        crossed_at=None if at is None else datetime.fromtimestamp(at, UTC),
                        warned_at=told,
                    )
                )
        return found


def _word(stage: str) -> str:
    from alerts.level import level_of_stage

    return level_of_stage(stage).word
