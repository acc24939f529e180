"""Rain to river: a moving storm, runoff by curve number, a cascade of reservoirs, Muskingum routing, rating curves.

Sources: effective rain, USDA NRCS National Engineering Handbook part 630 ch. 10 (2004); catchment response,
Nash (1957), IAHS 45:114; routing, McCarthy (1938) as in Chow, Maidment & Mays (1988) section 8.4; stage from
discharge, Manning's formula by the divided-channel method (Chow 1959, ch. 6), over the terrain itself.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from geo.crs import FloatArray
from tocsin.drill.terrain import CELL_M, MAIN, NORTH, SOUTH, Terrain, centres

STEP_S = 300.0
N_STEPS = 444  # 37 h: the drill's 30 and the reach of its last forecast
BASEFLOW_M3_S_KM2 = 0.03
CURVE_NUMBER = 82.0  # pasture and villages on clayey soil, wet before the storm (NEH 630 ch. 9)
_WAVE_M_S = 1.4  # of a flood wave that spills over its banks and is slowed there
_MUSKINGUM_X = 0.2
_N_CHANNEL, _N_FLOODPLAIN = 0.035, 0.075  # Manning's n, Chow (1959) table 5-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A place where the stage is measured."""

    code: str
    names: dict[str, str]
    channel: int
    s: float  #: metres along the channel
    basin: str
    gateway: str  #: gauges of one gateway fall silent together
    upstream: tuple[int, ...] = ()  #: indices of the gauges above, next to it


#: (code, English, Chinese, channel, share of the channel's length, basin, gateway, upstream)
_GAUGES = (
    ("TR-01", "Tarn Head", "塔恩源", MAIN, 0.07, "west", "gw-west", ()),
    ("TR-02", "Gorge Mouth", "峡口", MAIN, 0.26, "west", "gw-west", (0,)),
    ("TR-03", "Millbrook Weir", "磨溪堰", MAIN, 0.38, "middle", "gw-west", (1,)),
    ("NB-01", "Upper North Brook", "北溪上游", NORTH, 0.30, "north", "gw-north", ()),
    ("NB-02", "Stonefold", "石圈", NORTH, 0.62, "north", "gw-north", (3,)),
    ("NB-03", "Brookfoot", "溪脚", NORTH, 0.92, "north", "gw-north", (4,)),
    ("TR-04", "Longford Bridge", "朗津桥", MAIN, 0.52, "middle", "gw-east", (2, 5)),
    ("TR-05", "Harbury Quay", "哈布里码头", MAIN, 0.63, "middle", "gw-east", (6,)),
    ("SB-01", "Upper South Brook", "南溪上游", SOUTH, 0.35, "south", "gw-south", ()),
    ("SB-02", "Southbrook Mill", "南溪磨坊", SOUTH, 0.88, "south", "gw-south", (8,)),
    ("TR-06", "Eastmere Lock", "东湖闸", MAIN, 0.78, "lower", "gw-east", (7, 9)),
    ("TR-07", "Tarnmouth", "塔恩口", MAIN, 0.95, "lower", "gw-east", (10,)),
)
BASINS = ("west", "north", "middle", "south", "lower")
#: The gauge that stops reporting above its red level, before the peak.
DYING_GAUGE = 7


def gauges_of(terrain: Terrain) -> tuple[Gauge, ...]:
    """The twelve gauges, each after those above it."""
    return tuple(
        Gauge(
            code=code, names={"en": en, "zh": zh}, channel=channel, s=share * float(terrain.channels[channel].s[-1]),
            basin=basin, gateway=gateway, upstream=upstream,
        )
        for code, en, zh, channel, share, basin, gateway, upstream in _GAUGES
    )  # fmt: skip


def catchments(terrain: Terrain, gauges: tuple[Gauge, ...]) -> npt.NDArray[np.int64]:
    """(NY, NX) index of the first gauge each cell's water passes; -1 below the last."""
    result = np.full(terrain.hand.shape, -1, dtype=np.int64)
    for channel in range(len(terrain.channels)):
        own = sorted((g.s, i) for i, g in enumerate(gauges) if g.channel == channel)
        bounds = np.array([s for s, _ in own])
        index = np.array([i for _, i in own] + [_below(terrain, gauges, channel)])
        here = terrain.drain_channel == channel
        result[here] = index[np.searchsorted(bounds, terrain.drain_s[here])]
    return result


def _below(terrain: Terrain, gauges: tuple[Gauge, ...], channel: int) -> int:
    joins, at = terrain.channels[channel].joins, terrain.channels[channel].joins_s
    after = sorted((g.s, i) for i, g in enumerate(gauges) if g.channel == joins and g.s > at)
    return after[0][1] if after else -1


# -------------------------------------------------------------------- rain
def storm(rng: np.random.Generator) -> FloatArray:
    """(6, 2) parameters of a storm: two rain cells, each (start h, hours, x0 km, y0 km, speed km/h, peak mm/h)."""
    first = [2.0 + rng.uniform(-0.3, 0.3), 14.0, -2 + rng.uniform(-1, 1), 4.5 + rng.uniform(-1, 1), 1.5, 20.0]
    second = [7.0 + rng.uniform(-0.4, 0.4), 8.0, 8 + rng.uniform(-1, 1), 8 + rng.uniform(-1, 1), 1.2, 13.0]
    return np.array([first, second])


def rain_mm_h(cells: FloatArray, areas: npt.NDArray[np.int64], n_areas: int) -> FloatArray:
    """(n_areas, N_STEPS) area-mean rain of a storm over the cells of each area; moving Gaussian cells, sigma 6.5 km."""
    x, y = (a[2::5, 2::5].ravel() / 1000.0 for a in centres())
    area = areas[2::5, 2::5].ravel()
    hours = (np.arange(N_STEPS) + 0.5) * STEP_S / 3600.0
    total = np.zeros((len(x), N_STEPS))
    for start, length, x0, y0, speed, peak in cells:
        t = (hours - start) / length
        cx, cy = x0 + speed * (hours - start), y0 + 0.2 * speed * (hours - start)
        shape = np.where((t > 0) & (t < 1), np.sin(np.pi * np.clip(t, 0, 1)) ** 2, 0.0)
        d2 = (x[:, None] - cx[None, :]) ** 2 + (y[:, None] - cy[None, :]) ** 2
        total += peak * shape[None, :] * np.exp(-d2 / (2 * 6.5**2))
    return np.stack(
        [total[area == i].mean(axis=0) if (area == i).any() else total.mean(axis=0) for i in range(n_areas)]
    )


def effective_rain(rain: FloatArray) -> FloatArray:
    """Runoff depth in mm per step from rain in mm per step, along the last axis.

    Pe = (P - 0.2 S)^2 / (P + 0.8 S) on accumulated depths, S = 25400 / CN - 254 mm.
    """
    retention = 25400.0 / CURVE_NUMBER - 254.0
    total = np.cumsum(rain, axis=-1)
    above = np.maximum(total - 0.2 * retention, 0.0)
    excess = above**2 / (above + retention)
    result: FloatArray = np.diff(excess, axis=-1, prepend=0.0)
    return result


def cascade(inflow: FloatArray, k_s: float, n: int = 3) -> FloatArray:
    """Outflow of n equal linear reservoirs (S = k Q) along the last axis; exact for inflow constant in each step."""
    keep = np.exp(-STEP_S / k_s)
    flow = inflow
    for _ in range(n):
        stored = lfilter([k_s * (1 - keep)], [1.0, -keep], flow, axis=-1)
        flow = flow - np.diff(stored, axis=-1, prepend=0.0) / STEP_S
    return flow


def muskingum(inflow: FloatArray, length_m: float) -> FloatArray:
    """Outflow of a reach along the last axis, from rest. Cut into pieces for which no coefficient is negative."""
    travel_s = length_m / _WAVE_M_S
    n = max(1, int(travel_s // (STEP_S / (2 * (1 - _MUSKINGUM_X)) * 2)))
    k = max(travel_s / n, STEP_S / (2 * (1 - _MUSKINGUM_X)))
    x = min(_MUSKINGUM_X, STEP_S / (2 * k))
    below = 2 * k * (1 - x) + STEP_S
    c0, c1, c2 = (STEP_S - 2 * k * x) / below, (STEP_S + 2 * k * x) / below, (2 * k * (1 - x) - STEP_S) / below
    flow = inflow
    for _ in range(n):
        flow = lfilter([c0, c1], [1.0, -c2], flow, axis=-1)
    return flow


@dataclass(frozen=True)
class Rivers:
    """What turns rain into stage, built once for a world."""

    gauges: tuple[Gauge, ...]
    area_km2: FloatArray  #: (n_gauges,) between a gauge and those above it
    total_km2: FloatArray  #: (n_gauges,) everything above
    reach_m: dict[tuple[int, int], float]  #: (upper, lower) -> metres along the river
    rating_stage: FloatArray  #: (n_stages,) m above the bed
    rating_flow: FloatArray  #: (n_gauges, n_stages) m3/s, rising

    def quick_flow(self, rain: FloatArray) -> FloatArray:
        """(..., n_gauges, N_STEPS) m3/s above baseflow from (..., n_gauges, N_STEPS) rain in mm/h."""
        excess = effective_rain(rain * (STEP_S / 3600.0))
        local = excess * (self.area_km2[:, None] * 1000.0 / STEP_S)
        flow = np.zeros_like(local)
        for i, gauge in enumerate(self.gauges):
            # response time grows with the catchment (Nash 1960 found a power of 0.3)
            own = cascade(local[..., i, :], 2600.0 * max(self.area_km2[i], 1.0) ** 0.3)
            for upper in gauge.upstream:
                own = own + muskingum(flow[..., upper, :], self.reach_m[(upper, i)])
            flow[..., i, :] = own
        return flow

    def flow(self, rain: FloatArray) -> FloatArray:
        """(..., n_gauges, N_STEPS) m3/s."""
        return self.quick_flow(rain) + (BASEFLOW_M3_S_KM2 * self.total_km2)[:, None]

    def stage(self, flow: FloatArray) -> FloatArray:
        """(..., n_gauges, N_STEPS) m above the bed."""
        result = np.empty_like(flow)
        for i in range(len(self.gauges)):
            result[..., i, :] = np.interp(flow[..., i, :], self.rating_flow[i], self.rating_stage)
        return result


def build(terrain: Terrain) -> tuple[Rivers, npt.NDArray[np.int64]]:
    """The rivers of a terrain, and the catchment of each gauge (NY, NX)."""
    gauges = gauges_of(terrain)
    areas = catchments(terrain, gauges)
    area = np.array([(areas == i).sum() for i in range(len(gauges))]) * (CELL_M / 1000.0) ** 2
    total = area.copy()
    reach: dict[tuple[int, int], float] = {}
    for i, gauge in enumerate(gauges):
        for upper in gauge.upstream:
            total[i] += total[upper]
            above = gauges[upper]
            if above.channel == gauge.channel:
                reach[(upper, i)] = gauge.s - above.s
            else:
                channel = terrain.channels[above.channel]
                reach[(upper, i)] = float(channel.s[-1]) - above.s + gauge.s - channel.joins_s
    stage = np.arange(0.0, 14.01, 0.05)
    rating = np.stack([_rating(terrain, gauge, stage) for gauge in gauges])
    return Rivers(gauges, area, total, reach, stage, rating), areas


def _rating(terrain: Terrain, gauge: Gauge, stage: FloatArray) -> FloatArray:
    """Discharge at each stage from the valley's own cells within 1 km along the river (as Zheng et al. 2018 build
    synthetic ratings from height above nearest drainage), the channel below the grid's size apart."""
    channel = terrain.channels[gauge.channel]
    near = np.abs(channel.s - gauge.s) <= 1000.0
    slope = max(float(np.polyfit(channel.s[near], -channel.bed[near], 1)[0]), 5e-4)
    width = float(np.interp(gauge.s, channel.s, channel.width))
    length = float(np.ptp(channel.s[near]))
    cells = (
        (terrain.drain_channel == gauge.channel) & (np.abs(terrain.drain_s - gauge.s) <= 1000.0) & ~terrain.is_channel
    )
    heights = np.sort(terrain.hand[cells])
    depth = np.maximum(stage[:, None] - heights[None, heights < stage[-1]], 0.0)
    floodplain = (depth ** (5 / 3)).sum(axis=1) * CELL_M**2 / length / _N_FLOODPLAIN
    flow: FloatArray = np.sqrt(slope) * (width * stage ** (5 / 3) / _N_CHANNEL + floodplain)
    return flow + np.arange(len(stage)) * 1e-9  # rising even where the bed is dry, so that it can be inverted
