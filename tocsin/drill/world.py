"""The drill's world: everything that a seed decides, built in a few seconds and the same every time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from core.errors import InvalidInput
from geo.crs import FloatArray
from geo.network import RoadNetwork
from tocsin.drill import fleet, hydrology, people, roads, scenario, sensors, terrain
from tocsin.drill.fleet import Fleet
from tocsin.drill.hydrology import Rivers
from tocsin.drill.people import Location, Policyholder, SafeZone
from tocsin.drill.roads import Town
from tocsin.drill.scenario import Scenario
from tocsin.drill.sensors import Sensor, Sent
from tocsin.drill.terrain import Terrain

TENANT = "drill"
TENANT_NAME = "Tarn Valley Mutual (exercise)"
EVENT_CODE = "tarn-flood-drill"
EVENT_NAME = "EXERCISE: Tarn Valley flood / 演习：塔恩河谷洪水"
PORTFOLIO = "Tarn Valley book (exercise)"
STARTS_AT = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
DURATION = timedelta(hours=scenario.DURATION_H)


class BadSeed(InvalidInput):
    """A seed is a whole number from 0 to 2**63 - 1."""


@dataclass(frozen=True)
class World:
    """All of it."""

    seed: int
    starts_at: datetime
    terrain: Terrain
    rivers: Rivers
    scenario: Scenario
    towns: tuple[Town, ...]
    network: RoadNetwork
    locations: tuple[Location, ...]
    location_x: FloatArray  #: local metres, also of locations whose place the file does not tell
    location_y: FloatArray
    policyholders: tuple[Policyholder, ...]
    safe_zones: tuple[SafeZone, ...]
    sensors: tuple[Sensor, ...]
    sent: tuple[Sent, ...]
    fleet: Fleet

    @property
    def ends_at(self) -> datetime:
        return self.starts_at + DURATION

    def at(self, hours: float) -> datetime:
        """Scenario time, `hours` after the start, to the millisecond."""
        return self.starts_at + timedelta(milliseconds=round(hours * 3_600_000))


def build(seed: int = 1, *, starts_at: datetime = STARTS_AT) -> World:
    """The world of a seed; raises BadSeed. Parts have generators of their own, so that one does not move another."""
    if not 0 <= seed < 2**63:
        raise BadSeed(seed=seed)
    chance = [np.random.default_rng([seed, part]) for part in range(8)]
    ground = terrain.build(chance[0])
    rivers, areas = hydrology.build(ground)
    event = scenario.run(ground, rivers, areas, chance[1])
    towns = roads.towns_of(ground)
    network = roads.build_roads(ground, towns, chance[2])
    locations, x, y = people.locations_of(ground, network, towns, chance[3])
    instruments = sensors.sensors_of(ground, rivers, event)
    return World(
        seed=seed,
        starts_at=starts_at,
        terrain=ground,
        rivers=rivers,
        scenario=event,
        towns=towns,
        network=network,
        locations=locations,
        location_x=x,
        location_y=y,
        policyholders=people.policyholders_of(ground, locations, x, y, chance[4]),
        safe_zones=people.safe_zones_of(ground, network, towns, event.largest, chance[5]),
        sensors=instruments,
        sent=sensors.messages_of(instruments, event, seed),
        fleet=fleet.build(chance[6], starts_at.date()),
    )
