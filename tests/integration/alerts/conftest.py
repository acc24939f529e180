"""A small valley: one gauge, one rule, policyholders along the river, and people who may release."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from alerts import rule_repository
from alerts.alert import Text
from alerts.channels import Outgoing
from alerts.level import Level, level
from alerts.lifecycle import Decision
from alerts.rule import LevelRule, level_rule
from alerts.watch import tick, watch_batch
from core.clock import Clock, FixedClock, ScenarioClock
from core.events import ObservationsStored
from core.ids import new_id
from store.pool import AsyncConnection, Connection, connect_worker, connect_worker_async, role_pool, tenant_transaction

T0 = datetime(2025, 11, 28, 6, tzinfo=UTC)
AREA: BaseGeometry = box(80.0, 7.0, 80.2, 7.1)


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


@dataclass
class Valley:
    """What the tests act on."""

    url: str
    conn: Connection
    tenant_id: UUID
    station_id: UUID
    datastream_id: int
    approvers: list[UUID] = field(default_factory=list)
    people: list[UUID] = field(default_factory=list)
    rule: LevelRule | None = None

    @staticmethod
    def at(minute: float) -> datetime:
        return at(minute)

    @staticmethod
    def level(word: str) -> Level:
        return level(word)

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, values).fetchall()  # type: ignore[arg-type]

    def warnings(self) -> list[tuple[int, str, str, str]]:
        return [
            (row["version"], row["level"], row["state"], row["reason"])
            for row in self.rows("SELECT * FROM warning ORDER BY sent_at, version")
        ]

    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rows("SELECT reason FROM decision ORDER BY at, decision_id")]

    def add_person(
        self, lon: float, lat: float, *, language: str = "en", channels: tuple[str, ...] = ("web_push",)
    ) -> UUID:
        person = new_id()
        self.conn.execute(
            "INSERT INTO policyholder (policyholder_id, tenant_id, name, language) VALUES (%s, %s, %s, %s)",
            [person, self.tenant_id, f"Person {len(self.people)}", language],
        )
        self.conn.execute(
            "INSERT INTO household (household_id, tenant_id, policyholder_id, lon, lat) VALUES (%s, %s, %s, %s, %s)",
            [new_id(), self.tenant_id, person, lon, lat],
        )
        for channel in channels:
            self.conn.execute(
                "INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, consent_at)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [new_id(), self.tenant_id, person, channel, Jsonb({"to": f"{channel}:{person}"}), T0],
            )
        self.people.append(person)
        return person

    def add_principal(self, login: str, roles: list[str]) -> UUID:
        principal = new_id()
        self.conn.execute(
            "INSERT INTO principal (principal_id, tenant_id, login, display_name, password_hash, roles)"
            " VALUES (%s, %s, %s, %s, '', %s)",
            [principal, self.tenant_id, login, login.title(), roles],
        )
        return principal

    def store(self, *readings: tuple[float, float | None], quality: int = 1, late_min: float = 0) -> ObservationsStored:
        for minute, value in readings:
            self.conn.execute(
                "INSERT INTO observation (datastream_id, observed_at, value, quality, tests, received_at)"
                " VALUES (%s, %s, %s, %s, 0, %s) ON CONFLICT DO NOTHING",
                [self.datastream_id, at(minute), value, quality, at(minute + late_min)],
            )
        times = [at(minute) for minute, _ in readings]
        return ObservationsStored(
            datastream_ids=[self.datastream_id],
            observed_from=min(times),
            observed_until=max(times),
            received_until=max(times) + timedelta(minutes=late_min),
        )

    async def save_rule(self, area: BaseGeometry | None = AREA, **more: Any) -> LevelRule:
        given: dict[str, Any] = {
            "hysteresis": 0.2,
            "clear_dwell": timedelta(minutes=30),
            "automatic": True,
            "timezone": "Asia/Colombo",
            "place": {"en": "Kitulgala", "zh": "基图尔加勒"},
        } | more
        self.rule = level_rule(
            tenant_id=self.tenant_id,
            code="kitulgala",
            datastream_id=self.datastream_id,
            thresholds={"alert": 3.0, "minor": 4.0, "major": 6.0},
            **given,
        )
        async with self.worker() as conn:
            await rule_repository.save_rule(
                conn, self.rule, area=area, area_desc={"en": "Kelani valley", "zh": "凯拉尼河谷"}, effective_from=at(-1)
            )
        return self.rule

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[AsyncConnection]:
        conn = await connect_worker_async(self.url)
        try:
            async with conn.transaction():
                yield conn
        finally:
            await conn.close()

    @asynccontextmanager
    async def app(self) -> AsyncIterator[AsyncConnection]:
        async with (
            role_pool(self.url, "tocsin_app", size=2) as pool,
            tenant_transaction(pool, self.tenant_id) as conn,
        ):
            yield conn

    async def see(
        self,
        *readings: tuple[float, float | None],
        quality: int = 1,
        clock: Clock | None = None,
        limit: int = 500,
        late_min: float = 0,
    ) -> list[Decision]:
        event = self.store(*readings, quality=quality, late_min=late_min)
        return await self.watch(event, clock=clock, limit=limit)

    async def watch(self, event: ObservationsStored, *, clock: Clock | None = None, limit: int = 500) -> list[Decision]:
        async with self.worker() as conn:
            return await watch_batch(
                conn, event, clock=clock or FixedClock(event.received_until), auto_release_people=limit
            )

    async def tick(self, minute: float, *, limit: int = 500) -> list[Decision]:
        async with self.worker() as conn:
            return await tick(conn, at(minute), clock=FixedClock(at(minute)), auto_release_people=limit)


def make_valley(url: str) -> Valley:
    conn = connect_worker(url)
    tenant_id, station_id = new_id(), new_id()
    conn.execute(
        "INSERT INTO tenant (tenant_id, slug, name, settings) VALUES (%s, 'kelani', 'Kelani Mutual', %s)",
        [tenant_id, Jsonb({"timezone": "Asia/Colombo"})],
    )
    conn.execute(
        "INSERT INTO station (station_id, code, name, lon, lat) VALUES (%s, 'kitulgala', 'Kitulgala', 80.1, 7.05)",
        [station_id],
    )
    row = conn.execute(
        "INSERT INTO datastream (station_id, quantity, unit, interval_s) VALUES (%s, 'level', 'm', 600) RETURNING datastream_id",
        [station_id],
    ).fetchone()
    assert row is not None
    valley = Valley(url=url, conn=conn, tenant_id=tenant_id, station_id=station_id, datastream_id=row[0])
    valley.approvers = [valley.add_principal("ann", ["approver"]), valley.add_principal("bo", ["approver", "insurer"])]
    valley.add_person(80.05, 7.05)
    valley.add_person(80.15, 7.08, language="zh", channels=("web_push", "email"))
    valley.add_person(80.19, 7.09, language="ta", channels=())
    valley.add_person(80.50, 7.05)  # outside
    return valley


@pytest.fixture
def valley(postgres_url: str) -> Any:
    made = make_valley(postgres_url)
    yield made
    made.conn.close()


@pytest.fixture
def outgoing() -> Any:
    """Makes one message as channels get it."""

    def make(**more: Any) -> Outgoing:
        text = Text(headline="Leave now", description="d", instruction="Go.", sms="s", timezone="UTC")
        told = {"route": None, "all_clear": False, "cancelled": False, "version": 1, "headline": "Leave now"}
        base: dict[str, Any] = {
            "channel": "web_push",
            "address": {},
            "exercise": True,
            "warning_id": UUID(int=5),
            "level": Level.RED,
            "language": "en",
            "text": text,
            "sent_at": T0,
            "ttl_s": 600,
            "payload": told,
            "line": None,
            "cap_xml": b"",
            "url": "http://here/me#t=x",
        }
        return Outgoing(**(base | more))

    return make


def held_clock(minute: float) -> ScenarioClock:
    return ScenarioClock(wall_start=datetime.now(UTC), scenario_start=T0, speed=1.0, held_at=at(minute))


__all__ = [
    "AREA",
    "T0",
    "UUID",
    "FixedClock",
    "Polygon",
    "Valley",
    "at",
    "held_clock",
    "level",
    "level_rule",
    "make_valley",
    "psycopg",
]
