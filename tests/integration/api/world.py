"""Two tenants with one of everything each, and a client that speaks to the application in this process."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import h3
import httpx
import psycopg
import shapely
from argon2 import PasswordHasher
from psycopg import sql
from psycopg.types.json import Jsonb

from alerts.links import Link, secret_key, sign_link
from alerts.rule_desk import rule_sha256
from api import auth
from api.app import create_app
from api.sse import Hub
from core.ids import derived_id, new_id
from core.settings import Settings
from geo.network import Road, RoadNetwork, build
from store.pool import worker_pool

PASSWORD = "correct horse battery staple"
ROLES = ("insurer", "approver", "underwriter", "partner", "admin", "operator")
NOW = datetime.now(UTC).replace(microsecond=0)
#: Real argon2id, with costs that a test can pay.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

Sync = psycopg.Connection[tuple[Any, ...]]


@dataclass
class World:
    """Ids of one tenant's rows."""

    slug: str
    tenant_id: UUID
    lon: float
    ids: dict[str, Any] = field(default_factory=dict)
    principals: dict[str, UUID] = field(default_factory=dict)


def town() -> RoadNetwork:
    """Roads from the household to the safe zone of both tenants: Main Street, then right into School Lane."""
    roads = []
    for lon in (79.9, 101.5):
        names = {"en": "Main Street", "zh": "主街"}
        roads.append(Road(points=[(lon, 6.9), (lon, 6.94)], speed_kmh=40, names=names))
        lane = [(lon, 6.94), (lon + 0.01, 6.94), (lon + 0.01, 6.95), (lon, 6.95)]
        roads.append(Road(points=lane, speed_kmh=40, names={"en": "School Lane"}))
    return build(roads, barriers=[[(79.95, 6.9), (79.95, 6.95)]])


TOWN = town().to_bytes()


def square(lon: float, lat: float, half: float) -> bytes:
    return shapely.to_wkb(shapely.MultiPolygon([shapely.box(lon - half, lat - half, lon + half, lat + half)]))


def insert(conn: Sync, table: str, *, returning: str | None = None, **columns: Any) -> Any:
    """Inserts one row; dicts and lists of dicts go in as jsonb."""
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    marks = sql.SQL(", ").join(sql.Placeholder() for _ in columns)
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, marks)
    if returning:
        query += sql.SQL(" RETURNING {}").format(sql.Identifier(returning))
    values = [
        Jsonb(one) if isinstance(one, dict) or (isinstance(one, list) and one and isinstance(one[0], dict)) else one
        for one in columns.values()
    ]
    row = conn.execute(query, values)
    return row.fetchone()[0] if returning else None  # type: ignore[index]


TEXTS = {
    "en": {"headline": "Leave now", "description": "The river rises.", "instruction": "Go to School."},
    "zh": {"headline": "立即撤离", "description": "河水上涨。", "instruction": "前往学校。"},
}


def seed(conn: Sync, slug: str, *, exercise: bool = True, lon: float = 79.9) -> World:
    """One of everything for a tenant around (lon, 6.9): three locations, a silent and a live station, warnings."""
    tenant = derived_id("tenant", slug)
    world = World(slug, tenant, lon)
    insert(conn, "tenant", tenant_id=tenant, slug=slug, name=slug.title())
    for role in (*ROLES, "approver2"):
        world.principals[role] = new_id()
        insert(
            conn, "principal", principal_id=world.principals[role], tenant_id=tenant, login=f"{role}@{slug}",
            display_name=f"{role} of {slug}", password_hash=CHEAP.hash(PASSWORD), roles=[role.rstrip("2")],
        )  # fmt: skip
    _seed_book(conn, world)
    _seed_stations(conn, world)
    _seed_hazard(conn, world)
    _seed_warnings(conn, world, exercise=exercise)
    _seed_decisions(conn, world)
    world.ids["quote"] = new_id()
    insert(
        conn, "quote", quote_id=world.ids["quote"], tenant_id=tenant, inputs_sha256=slug.encode()[:1] * 32,
        submission={"insured": slug}, result={"premium": 1234.56}, as_of="2026-01-31", exposure_from="2025-01-01",
        exposure_to="2026-01-01", model_version="test-1", premium="1234.56", currency="EUR", issued_at=NOW,
    )  # fmt: skip
    return world


def _seed_book(conn: Sync, world: World) -> None:
    ids, tenant, lon = world.ids, world.tenant_id, world.lon
    ids["portfolio"], ids["policy"] = new_id(), new_id()
    insert(
        conn, "portfolio", portfolio_id=ids["portfolio"], tenant_id=tenant, name="Book", currency="LKR",
        source_sha256=b"\1" * 32,
    )  # fmt: skip
    ids["locations"] = [
        insert(
            conn, "location", tenant_id=tenant, portfolio_id=ids["portfolio"], acc_number="A1", loc_number=f"L{number}",
            lon=x, lat=None if x is None else 6.9, building_tiv=tiv, currency="LKR",
            h3=None if x is None else h3.str_to_int(h3.latlng_to_cell(6.9, x, 9)), returning="location_id",
        )
        for number, (x, tiv) in enumerate(((lon, 1000), (lon + 0.001, 250), (None, 77)), start=1)
    ]  # fmt: skip
    insert(
        conn, "policy", policy_id=ids["policy"], tenant_id=tenant, portfolio_id=ids["portfolio"], acc_number="A1",
        pol_number="P1",
    )  # fmt: skip
    for name, language in (("person", "en"), ("neighbour", "zh")):
        ids[name], ids[f"{name}_household"], ids[f"{name}_contact"] = new_id(), new_id(), new_id()
        insert(
            conn, "policyholder", policyholder_id=ids[name], tenant_id=tenant, policy_id=ids["policy"],
            location_id=ids["locations"][0], name=f"{name} {world.slug}", language=language,
        )  # fmt: skip
        insert(
            conn, "household", household_id=ids[f"{name}_household"], tenant_id=tenant, policyholder_id=ids[name],
            lon=lon, lat=6.9, people=3,
        )  # fmt: skip
        insert(
            conn, "contact_point", contact_point_id=ids[f"{name}_contact"], tenant_id=tenant, policyholder_id=ids[name],
            channel="fake", address={"to": name}, consent_at=NOW,
        )  # fmt: skip


def _seed_stations(conn: Sync, world: World) -> None:
    ids, tenant, lon = world.ids, world.tenant_id, world.lon
    for name, state, phase, level in (
        ("station", "online", "active", "red"),
        ("dead_station", "silent", "stale", "orange"),
    ):
        ids[name], ids[f"{name}_rule"] = new_id(), new_id()
        insert(
            conn, "station", station_id=ids[name], tenant_id=tenant, code=f"{name}-{world.slug}", name=name, lon=lon,
            lat=6.9, river="Kelani", state=state, state_since=NOW,
        )  # fmt: skip
        stream = ids[f"{name}_datastream"] = insert(
            conn, "datastream", station_id=ids[name], tenant_id=tenant, quantity="level", unit="m",
            returning="datastream_id",
        )  # fmt: skip
        for step in range(5):
            insert(
                conn, "observation", datastream_id=stream, observed_at=NOW - timedelta(minutes=10 * step),
                value=2.0 + step, quality=1, tests=0, received_at=NOW,
            )  # fmt: skip
        insert(conn, "latest_observation", datastream_id=stream, observed_at=NOW, value=2.0, quality=1, received_at=NOW)
        insert(
            conn, "rule", rule_id=ids[f"{name}_rule"], version=1, tenant_id=tenant, code=f"rule-{name}",
            datastream_id=stream, area=square(lon, 6.9, 0.01), area_desc={"en": "Low town", "zh": "低城"},
            definition={"quantity": "level", "thresholds": {"yellow": 3.0, "red": 5.0}, "interval_s": 600},
            effective_from=NOW - timedelta(days=1),
        )  # fmt: skip
        insert(
            conn, "rule_state", rule_id=ids[f"{name}_rule"], tenant_id=tenant, updated_at=NOW,
            state={"phase": phase, "level": level, "evaluated_until": NOW.isoformat()},
        )  # fmt: skip


def _seed_hazard(conn: Sync, world: World) -> None:
    ids, tenant, lon = world.ids, world.tenant_id, world.lon
    insert(
        conn, "feed_state", feed=f"stations:{tenant}", tenant_id=tenant, state="down", since=NOW, n_stations=2,
        detail="all stations fell silent",
    )  # fmt: skip
    ids["event"] = new_id()
    insert(
        conn, "hazard_event", hazard_event_id=ids["event"], tenant_id=tenant, code="E1", peril="flood",
        name="Kelani flood", started_at=NOW - timedelta(hours=2),
    )  # fmt: skip
    later = json.loads(shapely.to_geojson(shapely.from_wkb(square(lon, 6.9, 0.02))))
    for version in (1, 2):
        ids["footprint"] = new_id()
        insert(
            conn, "footprint", footprint_id=ids["footprint"], hazard_event_id=ids["event"], tenant_id=tenant,
            version=version, valid_at=NOW, made_how="test", geometry=square(lon, 6.9, 0.01),
            zones=[{"arrival_min": 60, "intensity": 0.5, "unit": "m", "geometry": later}],
        )  # fmt: skip
    ids["assessment"] = new_id()
    insert(
        conn, "assessment", assessment_id=ids["assessment"], tenant_id=tenant, portfolio_id=ids["portfolio"],
        footprint_id=ids["footprint"], n_locations=2, n_policies=1, exposed_tiv=1250, n_unknown=1, unknown_tiv=77,
        currency="LKR", computed_at=NOW,
    )  # fmt: skip
    insert(
        conn, "assessment_location", assessment_id=ids["assessment"], tenant_id=tenant,
        location_id=ids["locations"][0], exposed_tiv=1000, rank=1,
    )  # fmt: skip
    ids["network"], ids["zone"], ids["plan"] = new_id(), new_id(), new_id()
    insert(
        conn, "road_network", road_network_id=ids["network"], tenant_id=tenant, code="roads", version=1,
        sha256=hashlib.sha256(TOWN).digest(), file="town.roads", n_nodes=6, n_edges=8,
    )  # fmt: skip
    insert(
        conn, "safe_zone", safe_zone_id=ids["zone"], tenant_id=tenant, code="Z1", names={"en": "School", "zh": "学校"},
        lon=lon, lat=6.95, seats=100,
    )  # fmt: skip
    insert(
        conn, "evacuation_plan", evacuation_plan_id=ids["plan"], footprint_id=ids["footprint"],
        road_network_id=ids["network"], tenant_id=tenant, counts={"clear": 1}, computed_at=NOW,
        closed_edges=shapely.to_wkb(shapely.MultiLineString([[(lon, 6.9), (lon, 6.91)]])),
    )  # fmt: skip
    insert(
        conn, "household_route", evacuation_plan_id=ids["plan"], household_id=ids["person_household"], tenant_id=tenant,
        status="clear", safe_zone_id=ids["zone"], travel_s=600, distance_m=5500, leave_by=NOW + timedelta(minutes=40),
        geometry=shapely.to_wkb(shapely.LineString([(lon, 6.9), (lon, 6.95)])),
        roads=[0, 2] if lon < 100 else [4, 6], first_share=1.0, last_share=1.0,
    )  # fmt: skip
    ids["override"], ids["order"] = new_id(), new_id()
    insert(
        conn, "road_override", road_override_id=ids["override"], tenant_id=tenant, road_network_id=ids["network"],
        roads=[1], action="close", reason="a tree", made_by=world.principals["operator"], made_at=NOW,
    )  # fmt: skip
    insert(
        conn, "official_order", official_order_id=ids["order"], tenant_id=tenant, kind="evacuate",
        area=square(lon, 6.9, 0.01), authority=f"Council of {world.slug}", issued_at=NOW,
        expires_at=NOW + timedelta(hours=6), made_by=world.principals["operator"],
    )  # fmt: skip


PROPOSED = {"code": "seeded", "kind": "bulletin", "senders": ["met"], "automatic": True}


def _seed_decisions(conn: Sync, world: World) -> None:
    ids, tenant = world.ids, world.tenant_id
    for name in ("proposal", "other_proposal"):
        ids[name] = new_id()
        insert(
            conn, "rule_proposal", proposal_id=ids[name], tenant_id=tenant, code="seeded", told=PROPOSED,
            content_sha256=rule_sha256(PROPOSED), proposed_by=world.principals["operator"], proposed_at=NOW,
        )  # fmt: skip
    for name in ("silence", "other_silence"):
        ids[name] = new_id()
        insert(
            conn, "silence", silence_id=ids[name], tenant_id=tenant, peril="flood", up_to="red", starts_at=NOW,
            ends_at=NOW + timedelta(days=6), author=world.principals["operator"], reason="seeded",
        )  # fmt: skip


def _seed_warnings(conn: Sync, world: World, *, exercise: bool) -> None:
    ids, tenant = world.ids, world.tenant_id
    for name, state, rule in (("warning", "released", "station_rule"), ("draft", "draft", "dead_station_rule")):
        ids[name] = new_id()
        insert(
            conn, "warning", warning_id=ids[name], version=1, tenant_id=tenant, rule_id=ids[rule],
            hazard_event_id=ids["event"], exercise=exercise, status="Exercise" if exercise else "Actual",
            msg_type="Alert", level="red", reason="level_reached", state=state, identifier=f"urn:uuid:{ids[name]}",
            sender="ops@example.org", sent_at=NOW, expires_at=NOW + timedelta(hours=6),
            area=square(world.lon, 6.9, 0.01), area_desc={"en": "Low town", "zh": "低城"}, texts=TEXTS, n_people=2,
            content_sha256=(b"\7" if state == "draft" else b"\t") * 32, approvals_needed=2 if state == "draft" else 0,
            drafted_at=NOW, released_at=NOW if state == "released" else None,
        )  # fmt: skip
        for who, language in (("person", "en"), ("neighbour", "zh")):
            insert(
                conn, "warning_recipient", tenant_id=tenant, warning_id=ids[name], version=1, policyholder_id=ids[who],
                channel="fake", contact_point_id=ids[f"{who}_contact"], language=language, priority=1,
            )  # fmt: skip
        insert(
            conn, "decision", decision_id=new_id(), tenant_id=tenant, rule_id=ids[rule], at=NOW, reason="level_reached",
            level_before="none", level_after="red", warning_id=ids[name], version=1,
        )  # fmt: skip
    ids["delivery"], ids["answer"] = new_id(), new_id()
    insert(
        conn, "delivery", delivery_id=ids["delivery"], tenant_id=tenant, warning_id=ids["warning"], version=1,
        policyholder_id=ids["person"], contact_point_id=ids["person_contact"], channel="fake", provider="fake",
        exercise=exercise, state="accepted", available_at=NOW, queued_at=NOW, accepted_at=NOW,
    )  # fmt: skip
    insert(
        conn, "answer", answer_id=ids["answer"], tenant_id=tenant, policyholder_id=ids["neighbour"],
        warning_id=ids["warning"], kind="help", idempotency_key=f"seed-{world.slug}", answered_at=NOW,
    )  # fmt: skip
    ids["notice"] = new_id()
    insert(
        conn, "operator_notice", notice_id=ids["notice"], tenant_id=tenant, kind="siren_silent",
        subject=f"tower@{world.slug}", detail={"device": "tower"}, at=NOW,
    )  # fmt: skip


class Console:
    """The application in this process, and clients signed in as this or that."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("203.0.113.7", 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://tocsin.test", headers=headers)

    @asynccontextmanager
    async def as_role(self, world: World, role: str) -> AsyncIterator[httpx.AsyncClient]:
        async with self.client() as client:
            answer = await client.post("/v1/session", json={"login": f"{role}@{world.slug}", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            yield client

    @asynccontextmanager
    async def as_key(self, world: World, *roles: str) -> AsyncIterator[httpx.AsyncClient]:
        async with worker_pool(self.settings, size=1) as pool:
            key = await auth.create_key(pool, name=f"key-{new_id()}", tenant=world.slug, roles=list(roles))
        async with self.client(Authorization=f"Bearer {key}") as client:
            yield client

    def token(self, world: World, person: str = "person", *, valid: timedelta = timedelta(hours=6)) -> str:
        link = Link(
            tenant_id=world.tenant_id,
            policyholder_id=world.ids[person],
            warning_id=None,
            expires_at=datetime.now(UTC) + valid,
        )
        return sign_link(link, key=secret_key(self.settings))

    def phone(self, world: World, person: str = "person") -> httpx.AsyncClient:
        return self.client(Authorization=f"Bearer {self.token(world, person)}")


@asynccontextmanager
async def running(settings: Settings, hub: Hub | None = None) -> AsyncIterator[Console]:
    """The application, started."""
    app = create_app(settings, hasher=CHEAP, hub=hub)
    async with app.router.lifespan_context(app):
        yield Console(app, settings)
