"""The drill's event: the storm as it was, the stages it made, what was forecast when, and the footprints of both."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geo.crs import FloatArray
from tocsin.drill import hydrology
from tocsin.drill.hydrology import DYING_GAUGE, N_STEPS, STEP_S, Rivers
from tocsin.drill.inundation import StageAlong, multipolygon, to_lon_lat
from tocsin.drill.terrain import Terrain

DURATION_H = 30.0
#: Official levels above the banks, in metres: nearly full, into the lowest streets, into the towns.
LEVEL_ABOVE_BANK_M = {"yellow": -0.4, "orange": 0.3, "red": 1.4}
_PEAK_ABOVE_RED_M = 0.55  # at the gauge that dies: the storm is scaled to it
ARRIVAL_MIN = (60, 120, 180, 240, 360)
_EVERY_STEPS = 12  # a footprint an hour
_FLOOD_M2 = 50_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """One footprint version of the drill."""

    at_h: float  #: hours after the start
    geometry: BaseGeometry  #: lon, lat
    zones: tuple[tuple[int, BaseGeometry], ...]  #: (arrival_min, ground newly reached by then)
    area_km2: float
    forecast_error: float  #: what the forecast multiplied the coming rain by


@dataclass(frozen=True)
class Scenario:
    """What happened. Arrays are (n_gauges, N_STEPS), one column each STEP_S from the start."""

    rain_mm_h: FloatArray
    flow_m3_s: FloatArray
    stage_m: FloatArray
    levels: tuple[dict[str, float], ...]  #: official levels of each gauge, m above the bed
    footprints: tuple[Footprint, ...]
    largest: BaseGeometry  #: union of all footprints and all zones, local metres


def run(terrain: Terrain, rivers: Rivers, areas: npt.NDArray[np.int64], rng: np.random.Generator) -> Scenario:
    """Plays the storm once, scaled until the gauge that dies peaks a little above its red level."""
    levels = tuple(
        {name: round(float(np.interp(g.s, c.s, c.bank)) + above, 2) for name, above in LEVEL_ABOVE_BANK_M.items()}
        for g in rivers.gauges
        for c in [terrain.channels[g.channel]]
    )
    shape = hydrology.rain_mm_h(hydrology.storm(rng), areas, len(rivers.gauges))
    wanted = levels[DYING_GAUGE]["red"] + _PEAK_ABOVE_RED_M
    low, high = 0.05, 20.0
    for _ in range(30):
        scale = (low * high) ** 0.5
        peak = float(rivers.stage(rivers.flow(shape * scale))[DYING_GAUGE].max())
        low, high = (scale, high) if peak < wanted else (low, scale)
    rain = shape * high
    flow = rivers.flow(rain)
    stage = rivers.stage(flow)
    along = StageAlong(terrain, rivers.gauges)
    footprints, largest = _footprints(along, rivers, rain, stage, rng)
    return Scenario(rain, flow, stage, levels, footprints, largest)


def _footprints(
    along: StageAlong, rivers: Rivers, rain: FloatArray, stage: FloatArray, rng: np.random.Generator
) -> tuple[tuple[Footprint, ...], BaseGeometry]:
    last = int(DURATION_H * 3600 / STEP_S)
    issued = list(range(0, last + 1, _EVERY_STEPS))
    now = {k: along.flooded(stage[:, k]) for k in issued}
    # the forecast is the same model with the rain to come misjudged: more at the start of the storm than later
    error = np.exp(rng.normal(0.0, 0.18, len(issued)))
    after = np.arange(N_STEPS)[None, :] > np.array(issued)[:, None]
    factor = np.where(after, error[:, None], 1.0)
    forecast = rivers.stage(rivers.flow(rain[None, :, :] * factor[:, None, :]))
    found: list[Footprint] = []
    seen: list[BaseGeometry] = []
    for row, k in enumerate(issued):
        if now[k].area < _FLOOD_M2:
            continue
        coming: list[tuple[int, BaseGeometry]] = []
        known, known_stage = now[k], stage[:, k]
        for arrival in ARRIVAL_MIN:
            until = min(k + int(arrival * 60 / STEP_S), N_STEPS - 1)
            highest = forecast[row, :, k : until + 1].max(axis=1)
            if (highest - known_stage).max() < 0.02:
                continue  # falling, or risen no more than the gauges' own noise
            known_stage = np.maximum(highest, known_stage)
            reached = along.flooded(known_stage)
            # opened by 10 m: the contours of two stages run side by side for long stretches
            new = multipolygon(shapely.difference(reached, known).buffer(-10.0, quad_segs=2).buffer(9.0, quad_segs=2))
            if not new.is_empty:
                coming.append((arrival, new))
                known = shapely.union_all([known, new])
        seen.append(known)
        found.append(
            Footprint(
                at_h=k * STEP_S / 3600.0,
                geometry=to_lon_lat(now[k]),
                zones=tuple((arrival, to_lon_lat(zone)) for arrival, zone in coming),
                area_km2=now[k].area / 1e6,
                forecast_error=float(error[row]),
            )
        )
    return tuple(found), multipolygon(shapely.union_all(seen))
