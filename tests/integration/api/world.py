"""Two tenants with one of everything each, and a client that speaks to the application in this process."""

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
from psycopg.types.json import Jsonb

from alerts.links import Link, secret_key, sign_link
from api import auth
from api.app import create_app
from api.sse import Hub
from core.ids import derived_id, new_id
from core.settings import Settings
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


def square(lon: float, lat: float, half: float) -> bytes:
    return shapely.to_wkb(shapely.MultiPolygon([shapely.box(lon - half, lat - half, lon + half, lat + half)]))


def seed(conn: Sync, slug: str, *, exercise: bool = True, lon: float = 79.9) -> World:
    """One of everything for a tenant around (lon, 6.9): three locations, a silent and a live station, warnings."""
    tenant = derived_id("tenant", slug)
    world = World(slug, tenant, lon)
    ids = world.ids
    run = conn.execute
    run("INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, %s, %s)", [tenant, slug, slug.title()])
    for role in (*ROLES, "approver2"):
        person = new_id()
        world.principals[role] = person
        run(
            "INSERT INTO principal (principal_id, tenant_id, login, display_name, password_hash, roles)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [person, tenant, f"{role}@{slug}", f"{role} of {slug}", CHEAP.hash(PASSWORD), [role.rstrip("2")]],
        )
    ids["portfolio"] = new_id()
    run(
        "INSERT INTO portfolio (portfolio_id, tenant_id, name, currency, source_sha256) VALUES (%s, %s, 'Book', 'LKR', %s)",
        [ids["portfolio"], tenant, b"\1" * 32],
    )
    ids["locations"] = []
    for number, (x, tiv) in enumerate(((lon, 1000), (lon + 0.001, 250), (None, 77)), start=1):
        cell = None if x is None else h3.str_to_int(h3.latlng_to_cell(6.9, x, 9))
        row = run(
            "INSERT INTO location (tenant_id, portfolio_id, acc_number, loc_number, lon, lat, h3, building_tiv, currency)"
            " VALUES (%s, %s, 'A1', %s, %s, %s, %s, %s, 'LKR') RETURNING location_id",
            [tenant, ids["portfolio"], f"L{number}", x, None if x is None else 6.9, cell, tiv],
        ).fetchone()
        assert row is not None
        ids["locations"].append(row[0])
    ids["policy"] = new_id()
    run(
        "INSERT INTO policy (policy_id, tenant_id, portfolio_id, acc_number, pol_number) VALUES (%s, %s, %s, 'A1', 'P1')",
        [ids["policy"], tenant, ids["portfolio"]],
    )
    for name, language in (("person", "en"), ("neighbour", "zh")):
        ids[name], ids[f"{name}_household"], ids[f"{name}_contact"] = new_id(), new_id(), new_id()
        run(
            "INSERT INTO policyholder (policyholder_id, tenant_id, policy_id, location_id, name, language)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [ids[name], tenant, ids["policy"], ids["locations"][0], f"{name} {slug}", language],
        )
        run(
            "INSERT INTO household (household_id, tenant_id, policyholder_id, lon, lat, people) VALUES (%s, %s, %s, %s, 6.9, 3)",
            [ids[f"{name}_household"], tenant, ids[name], lon],
        )
        run(
            "INSERT INTO contact_point (contact_point_id, tenant_id, policyholder_id, channel, address, consent_at)"
            " VALUES (%s, %s, %s, 'fake', %s, %s)",
            [ids[f"{name}_contact"], tenant, ids[name], Jsonb({"to": name}), NOW],
        )
    for name, state in (("station", "online"), ("dead_station", "silent")):
        ids[name] = new_id()
        run(
            "INSERT INTO station (station_id, tenant_id, code, name, lon, lat, river, state, state_since)"
            " VALUES (%s, %s, %s, %s, %s, 6.9, 'Kelani', %s, %s)",
            [ids[name], tenant, f"{name}-{slug}", name, lon, state, NOW],
        )
        row = run(
            "INSERT INTO datastream (station_id, tenant_id, quantity, unit) VALUES (%s, %s, 'level', 'm')"
            " RETURNING datastream_id",
            [ids[name], tenant],
        ).fetchone()
        assert row is not None
        ids[f"{name}_datastream"] = row[0]
        for minutes in range(5):
            run(
                "INSERT INTO observation (datastream_id, observed_at, value, quality, tests, received_at)"
                " VALUES (%s, %s, %s, 1, 0, %s)",
                [row[0], NOW - timedelta(minutes=10 * minutes), 2.0 + minutes, NOW],
            )
        run(
            "INSERT INTO latest_observation (datastream_id, observed_at, value, quality, received_at)"
            " VALUES (%s, %s, 2.0, 1, %s)",
            [row[0], NOW, NOW],
        )
    area = square(lon, 6.9, 0.01)
    for station, phase, level in (("station", "active", "red"), ("dead_station", "stale", "orange")):
        rule = new_id()
        ids[f"{station}_rule"] = rule
        run(
            "INSERT INTO rule (rule_id, version, tenant_id, code, datastream_id, definition, area, area_desc, effective_from)"
            " VALUES (%s, 1, %s, %s, %s, %s, %s, %s, %s)",
            [
                rule,
                tenant,
                f"rule-{station}",
                ids[f"{station}_datastream"],
                Jsonb({"quantity": "level", "thresholds": {"yellow": 3.0, "red": 5.0}, "interval_s": 600}),
                area,
                Jsonb({"en": "Low town", "zh": "低城"}),
                NOW - timedelta(days=1),
            ],
        )
        run(
            "INSERT INTO rule_state (rule_id, tenant_id, state, updated_at) VALUES (%s, %s, %s, %s)",
            [rule, tenant, Jsonb({"phase": phase, "level": level, "evaluated_until": NOW.isoformat()}), NOW],
        )
    ids["event"] = new_id()
    run(
        "INSERT INTO hazard_event (hazard_event_id, tenant_id, code, peril, name, started_at)"
        " VALUES (%s, %s, 'E1', 'flood', 'Kelani flood', %s)",
        [ids["event"], tenant, NOW - timedelta(hours=2)],
    )
    for version in (1, 2):
        ids["footprint"] = new_id()
        run(
            "INSERT INTO footprint (footprint_id, hazard_event_id, tenant_id, version, valid_at, made_how, geometry, zones)"
            " VALUES (%s, %s, %s, %s, %s, 'test', %s, %s)",
            [
                ids["footprint"],
                ids["event"],
                tenant,
                version,
                NOW,
                area,
                Jsonb(
                    [
                        {
                            "arrival_min": 60,
                            "intensity": 0.5,
                            "unit": "m",
                            "geometry": json.loads(shapely.to_geojson(shapely.from_wkb(square(lon, 6.9, 0.02)))),
                        }
                    ]
                ),
            ],
        )
    ids["assessment"] = new_id()
    run(
        "INSERT INTO assessment (assessment_id, tenant_id, portfolio_id, footprint_id, n_locations, n_policies, exposed_tiv,"
        " n_unknown, unknown_tiv, currency, computed_at) VALUES (%s, %s, %s, %s, 2, 1, 1250, 1, 77, 'LKR', %s)",
        [ids["assessment"], tenant, ids["portfolio"], ids["footprint"], NOW],
    )
    run(
        "INSERT INTO assessment_location (assessment_id, tenant_id, location_id, exposed_tiv, rank) VALUES (%s, %s, %s, 1000, 1)",
        [ids["assessment"], tenant, ids["locations"][0]],
    )
    ids["network"], ids["zone"], ids["plan"] = new_id(), new_id(), new_id()
    run(
        "INSERT INTO road_network (road_network_id, tenant_id, code, version, sha256, file, n_nodes, n_edges)"
        " VALUES (%s, %s, 'roads', 1, %s, 'roads.npz', 4, 6)",
        [ids["network"], tenant, b"\2" * 32],
    )
    run(
        "INSERT INTO safe_zone (safe_zone_id, tenant_id, code, names, lon, lat, seats) VALUES (%s, %s, 'Z1', %s, %s, 6.95, 100)",
        [ids["zone"], tenant, Jsonb({"en": "School", "zh": "学校"}), lon],
    )
    run(
        "INSERT INTO evacuation_plan (evacuation_plan_id, footprint_id, road_network_id, tenant_id, counts, closed_edges,"
        " computed_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            ids["plan"],
            ids["footprint"],
            ids["network"],
            tenant,
            Jsonb({"clear": 1}),
            shapely.to_wkb(shapely.MultiLineString([[(lon, 6.9), (lon, 6.91)]])),
            NOW,
        ],
    )
    run(
        "INSERT INTO household_route (evacuation_plan_id, household_id, tenant_id, status, safe_zone_id, travel_s, distance_m,"
        " leave_by, geometry) VALUES (%s, %s, %s, 'clear', %s, 600, 5500, %s, %s)",
        [
            ids["plan"],
            ids["person_household"],
            tenant,
            ids["zone"],
            NOW + timedelta(minutes=40),
            shapely.to_wkb(shapely.LineString([(lon, 6.9), (lon, 6.95)])),
        ],
    )
    for name, state, level, rule in (
        ("warning", "released", "red", "station_rule"),
        ("draft", "draft", "red", "dead_station_rule"),
    ):
        ids[name] = new_id()
        run(
            "INSERT INTO warning (warning_id, version, tenant_id, rule_id, hazard_event_id, exercise, status, msg_type, level,"
            " reason, state, identifier, sender, sent_at, expires_at, area, area_desc, texts, n_people, content_sha256,"
            " drafted_at, released_at) VALUES (%s, 1, %s, %s, %s, %s, %s, 'Alert', %s, 'level_reached', %s, %s, 'ops@example',"
            " %s, %s, %s, %s, %s, 2, %s, %s, %s)",
            [
                ids[name],
                tenant,
                ids[rule],
                ids["event"],
                exercise,
                "Exercise" if exercise else "Actual",
                level,
                state,
                f"urn:{ids[name]}",
                NOW,
                NOW + timedelta(hours=6),
                area,
                Jsonb({"en": "Low town", "zh": "低城"}),
                Jsonb(
                    {
                        "en": {"headline": "Leave now", "description": "The river rises.", "instruction": "Go to School."},
                        "zh": {"headline": "立即撤离", "description": "河水上涨。", "instruction": "前往学校。"},
                    }
                ),
                bytes([7 if name == "draft" else 9]) * 32,
                NOW,
                NOW if state == "released" else None,
            ],
        )
        run(
            "INSERT INTO decision (decision_id, tenant_id, rule_id, at, reason, level_before, level_after, warning_id, version)"
            " VALUES (%s, %s, %s, %s, 'level_reached', 'none', %s, %s, 1)",
            [new_id(), tenant, ids[rule], NOW, level, ids[name]],
        )
    ids["delivery"] = new_id()
    run(
        "INSERT INTO delivery (delivery_id, tenant_id, warning_id, version, policyholder_id, contact_point_id, channel, provider,"
        " exercise, state, available_at, queued_at, accepted_at) VALUES (%s, %s, %s, 1, %s, %s, 'fake', 'fake', %s,"
        " 'accepted', %s, %s, %s)",
        [ids["delivery"], tenant, ids["warning"], ids["person"], ids["person_contact"], exercise, NOW, NOW, NOW],
    )
    ids["answer"] = new_id()
    run(
        "INSERT INTO answer (answer_id, tenant_id, policyholder_id, warning_id, kind, idempotency_key, answered_at)"
        " VALUES (%s, %s, %s, %s, 'help', %s, %s)",
        [ids["answer"], tenant, ids["neighbour"], ids["warning"], f"seed-{slug}", NOW],
    )
    ids["quote"] = new_id()
    run(
        "INSERT INTO quote (quote_id, tenant_id, inputs_sha256, submission, result, as_of, exposure_from, exposure_to,"
        " model_version, premium, currency, issued_at) VALUES (%s, %s, %s, %s, %s, '2026-01-31', '2025-01-01', '2026-01-01',"
        " 'test-1', 1234.56, 'EUR', %s)",
        [ids["quote"], tenant, bytes([slug.encode()[0]]) * 32, Jsonb({"insured": slug}), Jsonb({"premium": 1234.56}), NOW],
    )
    return world


class Console:
    """The application in this process, and clients signed in as this or that."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    def client(self, **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=("203.0.113.7", 40000))
        return httpx.AsyncClient(transport=transport, base_url="http://tocsin.test", headers=headers)

    async def as_role(self, world: World, role: str) -> httpx.AsyncClient:
        client = self.client()
        answer = await client.post("/v1/session", json={"login": f"{role}@{world.slug}", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return client

    async def as_key(self, world: World, *roles: str) -> httpx.AsyncClient:
        async with worker_pool(self.settings, size=1) as pool:
            key = await auth.create_key(pool, name=f"key-{'-'.join(roles)}", tenant=world.slug, roles=list(roles))
        return self.client(Authorization=f"Bearer {key}")

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
