"""What the drill's instruments send: stages and rain with noise, lost messages, an outage, and a gauge that dies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geo.crs import FloatArray
from tocsin.drill.hydrology import BASINS, DYING_GAUGE, STEP_S, Gauge, Rivers
from tocsin.drill.inundation import StageAlong, filled, multipolygon, to_lon_lat
from tocsin.drill.scenario import DURATION_H, Scenario
from tocsin.drill.terrain import PLANE, Terrain

INTERVAL_S = 600.0
NOISE_M = 0.008
_LOST = 0.012  # share of messages that never arrive
_OUTAGE = ("gw-north", 9.5, 10.4)  # gateway, from h, until h: its readings come in one pack afterwards
#: When a crew has put a new gauge in the place of the one that died, hours after the start.
REPLACED_AT_H = 22.0
_BASIN_NAMES = {
    "west": {"en": "West Basin Rain", "zh": "西区雨量站"},
    "north": {"en": "North Basin Rain", "zh": "北区雨量站"},
    "middle": {"en": "Middle Basin Rain", "zh": "中区雨量站"},
    "south": {"en": "South Basin Rain", "zh": "南区雨量站"},
    "lower": {"en": "Lower Basin Rain", "zh": "下区雨量站"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A station of the drill, with one datastream."""

    code: str
    names: dict[str, str]
    lon: float
    lat: float
    quantity: str  #: level or rain
    unit: str
    river: str
    basin: str
    gateway: str
    levels: dict[str, float]  #: official levels; empty for rain
    reach: BaseGeometry | None  #: lon, lat: who is warned at these levels
    gauge: int  #: index of the gauge or, for rain, of the gauge whose catchment it stands in


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of one sensor."""

    at_h: float  #: when it arrives
    sensor: int
    readings: tuple[tuple[float, float], ...]  #: (hours after the start, value in the sensor's unit)
    lost_until_h: float = 0.0


def sensors_of(terrain: Terrain, rivers: Rivers, scenario: Scenario) -> tuple[Sensor, ...]:
    """Twelve gauges and five rain stations."""
    along = StageAlong(terrain, rivers.gauges)
    found = []
    for i, gauge in enumerate(rivers.gauges):
        channel = terrain.channels[gauge.channel]
        x, y = np.interp(gauge.s, channel.s, channel.x), np.interp(gauge.s, channel.s, channel.y)
        lon, lat = PLANE.inverse(np.array([x]), np.array([y]))
        found.append(
            Sensor(
                code=gauge.code, names=gauge.names, lon=round(float(lon[0]), 6), lat=round(float(lat[0]), 6),
                quantity="level", unit="cm" if gauge.gateway == "gw-south" else "m", river=("Tarn River", "North Brook",
                "South Brook")[gauge.channel], basin=gauge.basin, gateway=gauge.gateway,
                levels=dict(scenario.levels[i]), reach=reach_of(along, rivers.gauges, scenario, i), gauge=i,
            )
        )  # fmt: skip
    for basin in BASINS:
        i = next(k for k, g in enumerate(rivers.gauges) if g.basin == basin)
        host = found[i]
        code = f"RG-{basin[0].upper()}"
        found.append(
            Sensor(
                code=code, names=_BASIN_NAMES[basin],
                lon=round(host.lon + 0.004, 6), lat=round(host.lat + 0.006, 6), quantity="rain", unit="mm", river="",
                basin=basin, gateway=host.gateway, levels={}, reach=None, gauge=i,
            )
        )  # fmt: skip
    return tuple(found)


def reach_of(along: StageAlong, gauges: tuple[Gauge, ...], scenario: Scenario, index: int) -> BaseGeometry:
    """Who a gauge's levels concern: ground within 1.2 m above its red level, from the gauge above to the one below.

    The polygon is a margin of 120 m wider: nobody is left out for standing just above the line.
    """
    terrain, gauge = along.terrain, gauges[index]
    same = sorted(g.s for g in gauges if g.channel == gauge.channel)
    k = same.index(gauge.s)
    first = (same[k - 1] + gauge.s) / 2 if k else max(gauge.s - 2500.0, 0.0)
    end = float(terrain.channels[gauge.channel].s[-1])
    last = (same[k + 1] + gauge.s) / 2 if k + 1 < len(same) else end
    height = scenario.levels[index]["red"] + 1.2
    here = (terrain.drain_channel == gauge.channel) & (terrain.drain_s >= first) & (terrain.drain_s <= last)
    field = np.where(here, height - terrain.hand, -1.0)
    area = shapely.union_all(filled(field, 0.0)).buffer(120.0, quad_segs=4).simplify(15.0)
    return to_lon_lat(multipolygon(area))


def messages_of(sensors: tuple[Sensor, ...], scenario: Scenario, seed: int) -> tuple[Sent, ...]:
    """Everything that arrives, in the order of arrival."""
    sent: list[Sent] = []
    for number, sensor in enumerate(sensors):
        # a generator for each sensor: one sensor's noise does not depend on the others
        rng = np.random.default_rng([seed, 77, number])
        sent += _of_sensor(number, sensor, scenario, rng)
    return tuple(sorted(sent, key=lambda m: (m.at_h, m.sensor)))


def died_at_h(scenario: Scenario) -> float:
    """When the dying gauge sends its last reading: the second that is above its red level."""
    step = int(INTERVAL_S / STEP_S)
    stage = scenario.stage_m[DYING_GAUGE, ::step]
    above = np.flatnonzero(stage >= scenario.levels[DYING_GAUGE]["red"] + 3 * NOISE_M)
    return float(above[1] * INTERVAL_S / 3600.0)


def _of_sensor(number: int, sensor: Sensor, scenario: Scenario, rng: np.random.Generator) -> Iterator[Sent]:
    step = int(INTERVAL_S / STEP_S)
    n = int(DURATION_H * 3600 / INTERVAL_S) + 1
    hours = np.arange(n) * INTERVAL_S / 3600.0
    if sensor.quantity == "level":
        value: FloatArray = scenario.stage_m[sensor.gauge, ::step][:n] + rng.normal(0.0, NOISE_M, n)
        value = np.maximum(value, 0.0).round(3)
        last_h = died_at_h(scenario) if sensor.gauge == DYING_GAUGE else np.inf
        for at in rng.choice(np.arange(12, n - 12), 1):  # one bad echo in the whole event
            if sensor.code == "SB-02":
                value[at] += 4.0
        if sensor.unit == "cm":
            value = (value * 100.0).round(1)
    else:
        mm = scenario.rain_mm_h[sensor.gauge] * STEP_S / 3600.0
        total = np.concatenate([[0.0], np.add.reduceat(mm, np.arange(0, len(mm), step))])[:n]
        value = ((total * rng.normal(1.0, 0.04, n) / 0.2).round() * 0.2).round(1)  # a tipping bucket of 0.2 mm
        last_h = np.inf
    lost = rng.random(n) < _LOST
    delay = rng.uniform(1.0, 12.0, n) / 3600.0
    gateway, gone, back = _OUTAGE
    held: list[tuple[float, float]] = []
    for k in range(n):
        if last_h < hours[k] < REPLACED_AT_H:
            continue
        reading = (float(hours[k]), float(value[k]))
        if sensor.gateway == gateway and sensor.quantity == "level" and gone <= hours[k] < back:
            held.append(reading)
            continue
        if held:
            yield Sent(back + float(delay[k]), number, tuple(held))
            held = []
        if not (lost[k] and 0 < k < n - 1):
            yield Sent(float(hours[k] + delay[k]), number, (reading,))


def payload(
    sensor: Sensor, sent: Sent, start_s: float, tenant: str
) -> tuple[str, list[dict[str, Any]] | dict[str, Any]]:
    """(topic, document): SenML (RFC 8428), or plain JSON from the southern gateway, whose gauges speak centimetres."""
    topic = f"tocsin/v1/{tenant}/obs/{sensor.code}/{sensor.quantity}"
    if sensor.gateway == "gw-south" and len(sent.readings) == 1:
        at_h, value = sent.readings[0]
        at = round(start_s + at_h * 3600.0)
        return topic, {"id": f"{sensor.code}:{at}", "station": sensor.code, "t": at, "v": value, "u": sensor.unit}
    base = {
        "bn": f"urn:dev:drill:{sensor.code}:",
        "bt": round(start_s + sent.readings[0][0] * 3600.0),
        "bu": sensor.unit,
    }
    first = sent.readings[0][0]
    records: list[dict[str, Any]] = [
        {"n": sensor.quantity, "v": value, **({"t": round((at_h - first) * 3600.0)} if at_h != first else {})}
        for at_h, value in sent.readings
    ]
    return topic, [{**base, **records[0]}, *records[1:]]
