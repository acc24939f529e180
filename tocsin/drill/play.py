"""The drill in time order: what the instruments send and what the flood model publishes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shapely.geometry.base import BaseGeometry

from geo.hazard import ArrivalZone
from tocsin.drill.world import TENANT, World


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedFootprint:
    """Arguments for geo.assess.publish_footprint."""

    geometry: BaseGeometry
    zones: tuple[ArrivalZone, ...]
    made_how: str


def messages(world: World) -> Iterator[tuple[datetime, str, bytes]]:
    """(scenario time of arrival, topic, payload), in time order; SenML or plain JSON."""
    from tocsin.drill.sensors import payload

    start_s = world.starts_at.timestamp()
    for sent in world.sent:
        topic, document = payload(world.sensors[sent.sensor], sent, start_s, TENANT)
        yield world.at(sent.at_h), topic, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def footprints(world: World) -> Iterator[tuple[datetime, PlayedFootprint]]:
    """(scenario time at which it is valid, footprint), one an hour while the rivers are over their banks."""
    for footprint in world.scenario.footprints:
        yield (
            world.at(footprint.at_h),
            PlayedFootprint(
                geometry=footprint.geometry,
                zones=tuple(
                    ArrivalZone(arrival_min=float(arrival), geometry=geometry) for arrival, geometry in footprint.zones
                ),
                made_how=(
                    "EXERCISE: stages at 12 gauges over height above nearest drainage; coming hours by curve number "
                    f"and Muskingum with the rain to come taken at {footprint.forecast_error:.2f} of what fell"
                ),
            ),
        )


def summary(world: World) -> dict[str, Any]:
    """The world in figures, for people."""
    peak = max(world.scenario.footprints, key=lambda f: f.area_km2)
    return {
        "seed": world.seed,
        "exercise": True,
        "starts_at": world.starts_at.isoformat(),
        "ends_at": world.ends_at.isoformat(),
        "stations": len(world.sensors),
        "messages": len(world.sent),
        "readings": sum(len(sent.readings) for sent in world.sent),
        "locations": len(world.locations),
        "policyholders": len(world.policyholders),
        "safe_zones": len(world.safe_zones),
        "roads": world.network.n_roads,
        "edges": world.network.n_edges,
        "bridges": int(world.network.road_bridge.sum()),
        "footprints": len(world.scenario.footprints),
        "peak_area_km2": round(peak.area_km2, 2),
        "peak_at": world.at(peak.at_h).isoformat(),
        "devices": len(world.fleet.devices),
        "incidents": len(world.fleet.incidents),
    }
