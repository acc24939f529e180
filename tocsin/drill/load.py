"""The drill's world into an exercise database: tenant, stations, rules, book, roads, safe zones, people, event."""

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import alerts.rule_repository as alert_rows
import geo.repository as geo_rows
import ingest.repository as ingest_rows
from alerts.level import Level
from alerts.rule import level_rule
from core.errors import NotPermitted
from geo import imports
from geo.imports import ImportReport, Person
from ingest.station import Station
from store.pool import AsyncConnection
from tocsin.drill import files
from tocsin.drill.sensors import INTERVAL_S, Sensor
from tocsin.drill.world import EVENT_CODE, EVENT_NAME, PORTFOLIO, TENANT, TENANT_NAME, World

ROADS_CODE = "tarn-valley-drill"
#: How far below a level the river must fall, and for how long, before it is given up.
HYSTERESIS_M, CLEAR_DWELL = 0.1, timedelta(minutes=60)
#: A level that is forecast within this is warned of before the water is there.
FORECAST_WITHIN = timedelta(hours=3)


class NotAnExercise(NotPermitted):
    """A drill is loaded into a database made for exercises, and into no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Keys of what was loaded."""

    tenant_id: UUID
    hazard_event_id: UUID
    road_network_id: UUID
    stations: dict[str, UUID]  #: station code -> id
    datastreams: dict[str, int]  #: station code -> datastream
    policyholders: dict[str, UUID]  #: code -> id
    book: ImportReport


async def load(conn: AsyncConnection, world: World, *, home: Path) -> Loaded:
    """Loads everything but the readings and footprints, in one transaction; a second time changes nothing.

    `home` is TOCSIN_HOME: the road network goes to `roads/` there. Raises NotAnExercise.
    """
    if not await ingest_rows.is_exercise(conn):
        raise NotAnExercise
    async with geo_rows.transaction(conn):
        tenant_id = await ingest_rows.add_tenant(conn, TENANT, TENANT_NAME)
        event_id = await geo_rows.save_hazard_event(
            conn, tenant_id=tenant_id, code=EVENT_CODE, peril="flood", name=EVENT_NAME, started_at=world.starts_at
        )
        stations: dict[str, UUID] = {}
        streams: dict[str, int] = {}
        for sensor in world.sensors:
            stations[sensor.code], streams[sensor.code] = await ingest_rows.keep_station(
                conn, _station(sensor), tenant_id
            )
            if sensor.reach is not None:
                await _keep_rule(conn, world, sensor, tenant_id, streams[sensor.code], event_id)
        with tempfile.TemporaryDirectory(prefix="tocsin-drill-") as folder:
            locations = files.write_locations(world, Path(folder) / "locations.csv")
            book = await imports.import_oed(conn, locations, tenant_id=tenant_id, portfolio=PORTFOLIO)
        network_id, _, _ = await imports.import_roads(
            conn, world.network, home=home, code=ROADS_CODE, tenant_id=tenant_id, extract_date=world.starts_at.date()
        )
        zones = [
            {
                "code": z.code, "names": z.names, "lon": z.lon, "lat": z.lat, "seats": z.seats,
                "accessible_seats": z.accessible_seats,
            }
            for z in world.safe_zones
        ]  # fmt: skip
        await geo_rows.save_safe_zones(conn, tenant_id, zones)
        people = _people(world)
        ids = await imports.import_people(
            conn, people, tenant_id=tenant_id, portfolio_id=book.portfolio_id, consent_at=world.starts_at
        )
    return Loaded(
        tenant_id=tenant_id,
        hazard_event_id=event_id,
        road_network_id=network_id,
        stations=stations,
        datastreams=streams,
        policyholders={p.code: key for p, key in zip(people, ids, strict=True)},
        book=book,
    )


def _station(sensor: Sensor) -> Station:
    return Station(
        code=sensor.code,
        name=f"{sensor.names['en']} / {sensor.names['zh']}",
        lon=sensor.lon,
        lat=sensor.lat,
        river=sensor.river or None,
        basin=sensor.basin,
        quantity=sensor.quantity,
        interval_s=INTERVAL_S,
    )


async def _keep_rule(
    conn: AsyncConnection, world: World, sensor: Sensor, tenant_id: UUID, datastream_id: int, event_id: UUID
) -> None:
    rule = level_rule(
        tenant_id=tenant_id,
        code=f"level-{sensor.code}",
        datastream_id=datastream_id,
        thresholds=sensor.levels,
        hysteresis=HYSTERESIS_M,
        clear_dwell=CLEAR_DWELL,
        k=2,
        n=3,
        interval=timedelta(seconds=INTERVAL_S),
        forecast_within=FORECAST_WITHIN if sensor.quantity == "level" else None,
        automatic=True,
        automatic_ceiling=Level.YELLOW,
        place=sensor.names,
        source={"en": "Tarn Valley gauges (exercise)", "zh": "塔恩河谷水文站（演习）"},
        hazard_event_id=event_id,
    )
    await alert_rows.save_rule(
        conn,
        rule,
        area=sensor.reach,
        area_desc={
            "en": f"EXERCISE: {sensor.river} near {sensor.names['en']}",
            "zh": f"演习：{sensor.names['zh']}附近河段",
        },
        effective_from=world.starts_at,
    )


def _people(world: World) -> list[Person]:
    found = []
    for p in world.policyholders:
        home = world.locations[p.location]
        assert home.lon is not None
        assert home.lat is not None
        found.append(
            Person(
                code=p.code,
                name=p.name,
                language=p.language,
                lon=home.lon,
                lat=home.lat,
                people=p.people,
                mode="foot" if p.on_foot else "car",
                needs=p.needs,
                account=home.acc_number,
                location=home.loc_number,
                contacts=(("fake", {"to": f"{p.code.lower()}@drill.invalid"}),),
            )
        )
    return found
