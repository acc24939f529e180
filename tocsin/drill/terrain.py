"""The drill's ground: a river valley on a grid, which way water runs over it, and its height above the channel.

Local coordinates are metres east and north of the south-west corner, which lies in the open South Pacific, where no
land is: nobody can take the drill for a real place.
"""

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from geo.crs import FloatArray, LocalPlane

IntArray = npt.NDArray[np.int64]

NX, NY = 200, 140
CELL_M = 100.0
WIDTH_M, HEIGHT_M = NX * CELL_M, NY * CELL_M
#: South-west corner: near the pole of inaccessibility of the Pacific (48°52.6'S 123°23.6'W).
ORIGIN_LON, ORIGIN_LAT = -123.52, -48.94
PLANE = LocalPlane(ORIGIN_LON, ORIGIN_LAT)

_STEP_M = 25.0  # between points of a channel
MAIN, NORTH, SOUTH = 0, 1, 2
CHANNEL_NAMES = (
    {"en": "Tarn River", "zh": "塔恩河"},
    {"en": "North Brook", "zh": "北溪"},
    {"en": "South Brook", "zh": "南溪"},
)


@dataclass(frozen=True)
class Channel:
    """One river as points from its head to its mouth."""

    x: FloatArray  #: (n,)
    y: FloatArray
    s: FloatArray  #: (n,) metres along from the head
    bed: FloatArray  #: (n,) elevation of the bed, m, falling
    bank: FloatArray  #: (n,) height of the banks above the bed, m
    width: FloatArray  #: (n,) m
    joins: int | None  #: channel it flows into
    joins_s: float  #: metres along that channel

    @property
    def line(self) -> shapely.LineString:
        return shapely.LineString(np.column_stack([self.x, self.y]))


@dataclass(frozen=True)
class Terrain:
    """The grid. Arrays are (NY, NX): row 0 is the southernmost."""

    elevation: FloatArray
    hand: FloatArray  #: height above nearest drainage (Nobre et al. 2011): above the bed where the cell's water arrives
    drain_channel: IntArray  #: channel of that place
    drain_s: FloatArray  #: metres along it
    is_channel: npt.NDArray[np.bool_]
    channels: tuple[Channel, ...]

    @property
    def channel_lines(self) -> shapely.MultiLineString:
        return shapely.MultiLineString([c.line for c in self.channels])


def centres() -> tuple[FloatArray, FloatArray]:
    """(NY, NX) x and y of the cells' middles."""
    x, y = np.meshgrid((np.arange(NX) + 0.5) * CELL_M, (np.arange(NY) + 0.5) * CELL_M)
    return x, y


def cell_of(x: FloatArray, y: FloatArray) -> tuple[IntArray, IntArray]:
    """Row and column of places, clipped to the grid."""
    row = np.clip((np.asarray(y) // CELL_M).astype(int), 0, NY - 1)
    column = np.clip((np.asarray(x) // CELL_M).astype(int), 0, NX - 1)
    return row, column


def _resampled(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    s = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    even = np.arange(0.0, s[-1], _STEP_M)
    return np.interp(even, s, x), np.interp(even, s, y), even


def _channels(rng: np.random.Generator) -> tuple[Channel, ...]:
    phase = rng.uniform(0, 2 * np.pi, 4)
    x = np.arange(0.0, WIDTH_M + 1, 20.0)
    y = HEIGHT_M / 2 + 800 * np.sin(2 * np.pi * x / 9500 + phase[0]) + 260 * np.sin(2 * np.pi * x / 3700 + phase[1])
    mx, my, ms = _resampled(x, y)
    slope = 0.0012 + 0.0025 * (1 - ms / ms[-1]) ** 2
    bed = 40.0 + np.concatenate([np.cumsum((slope * _STEP_M)[::-1])[::-1][1:], [0.0]])
    # planned catchment in km2, with steps at the two mouths: sizes the channel only (hydraulic geometry)
    mouth_n, mouth_s = 9000.0 + rng.uniform(-400, 400), 14000.0 + rng.uniform(-400, 400)
    area = 18 + 110 * mx / WIDTH_M + 60 * (mx > mouth_n) + 55 * (mx > mouth_s)
    channels = [_channel(mx, my, ms, bed, area, None, 0.0)]
    for mouth_x, side, lean, k in ((mouth_n, 1, -2600.0, 2), (mouth_s, -1, -2200.0, 3)):
        at = int(np.argmin(np.abs(mx - mouth_x)))
        far = HEIGHT_M - 700 if side > 0 else 700.0
        t = np.linspace(0, 1, 400)
        ty = far + (my[at] - far) * t
        wave = 350 * np.sin(2 * np.pi * t * 1.6 + phase[k]) * np.sin(np.pi * t)
        tx, ty, ts = _resampled(mx[at] + lean * (1 - t) + wave, ty)
        tslope = 0.0035 + 0.012 * (1 - ts / ts[-1]) ** 1.5
        tbed = bed[at] + np.concatenate([np.cumsum((tslope * _STEP_M)[::-1])[::-1][1:], [0.0]])
        channels.append(_channel(tx, ty, ts, tbed, 6 + 52 * ts / ts[-1], MAIN, float(ms[at])))
    return tuple(channels)


def _channel(
    x: FloatArray, y: FloatArray, s: FloatArray, bed: FloatArray, area: FloatArray, joins: int | None, joins_s: float
) -> Channel:
    # downstream hydraulic geometry, exponents of Leopold & Maddock (1953), coefficients chosen for the drill
    return Channel(x, y, s, bed, 0.36 * area**0.33, 4.0 * area**0.4, joins, joins_s)


def _floodplain_m(channel: int, x: FloatArray) -> FloatArray:
    """Half-width of the flat valley floor: narrow in the gorge, wide below the confluences."""
    if channel != MAIN:
        return np.full_like(x, 170.0)
    gorge = np.exp(-(((x - 3300.0) / 900.0) ** 2))
    return 90.0 + (260.0 + 330.0 * np.clip(x / WIDTH_M, 0, 1)) * (1 - 0.97 * gorge)


def build(rng: np.random.Generator) -> Terrain:
    """Terrain of one world: each cell takes the lowest of the valleys it belongs to, so that divides are ridges."""
    channels = _channels(rng)
    x, y = centres()
    cells = np.column_stack([x.ravel(), y.ravel()])
    rough = gaussian_filter(rng.standard_normal((NY, NX)), 9)
    rough /= np.abs(rough).max()
    fine = gaussian_filter(rng.standard_normal((NY, NX)), 2.2)
    fine /= np.abs(fine).max()
    elevation = np.full((NY, NX), np.inf)
    for number, channel in enumerate(channels):
        away, nearest = cKDTree(np.column_stack([channel.x, channel.y])).query(cells)
        d, nearest = away.reshape(NY, NX), nearest.reshape(NY, NX)
        floor = _floodplain_m(number, x)
        beyond = np.maximum(d - floor, 0.0)
        plain = 2.6 * np.clip(d / floor, 0, 1) ** 1.3
        hill = 170.0 * (1 - np.exp(-beyond * (0.085 + 0.03 * rough) / 170.0))
        rise = channel.bank[nearest] + plain * (1 + 0.25 * fine) + hill * (1 + 0.22 * fine + 0.25 * rough)
        elevation = np.minimum(elevation, channel.bed[nearest] + rise)
    is_channel = np.zeros((NY, NX), dtype=bool)
    at_channel = np.full((NY, NX), -1, dtype=np.int64)
    at_s = np.zeros((NY, NX))
    bed = np.full((NY, NX), np.inf)
    for number in (NORTH, SOUTH, MAIN):  # the main river owns the cells where they meet
        channel = channels[number]
        row, column = cell_of(channel.x, channel.y)
        for k in range(len(channel.s)):
            r, c = row[k], column[k]
            is_channel[r, c] = True
            if at_channel[r, c] != number or channel.bed[k] < bed[r, c]:
                at_channel[r, c], at_s[r, c], bed[r, c] = number, channel.s[k], channel.bed[k]
    elevation[is_channel] = bed[is_channel]
    towards = flow_directions(elevation, outlet=(int(cell_of(channels[0].x[-1:], channels[0].y[-1:])[0][0]), NX - 1))
    drain = _follow(towards, is_channel)
    hand = elevation - elevation.ravel()[drain]
    return Terrain(
        elevation=elevation,
        hand=np.maximum(hand, 0.0),
        drain_channel=at_channel.ravel()[drain],
        drain_s=at_s.ravel()[drain],
        is_channel=is_channel,
        channels=channels,
    )


def flow_directions(elevation: FloatArray, outlet: tuple[int, int]) -> IntArray:
    """(NY * NX,) index of the neighbour each cell's water runs to; the outlet points at itself.

    Priority-flood from the outlet (Barnes, Lehman & Mulla 2014): a cell drains to the neighbour from
    which the rising flood reached it, so that every cell has a way out, pits included.
    """
    ny, nx = elevation.shape
    height = elevation.ravel().tolist()
    towards = np.full(ny * nx, -1, dtype=np.int64)
    start = outlet[0] * nx + outlet[1]
    towards[start] = start
    seen = bytearray(ny * nx)
    seen[start] = 1
    heap = [(height[start], 0, start)]
    count = 0
    while heap:
        level, _, cell = heapq.heappop(heap)
        r, c = divmod(cell, nx)
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                rr, cc = r + dr, c + dc
                if not (0 <= rr < ny and 0 <= cc < nx):
                    continue
                other = rr * nx + cc
                if seen[other]:
                    continue
                seen[other] = 1
                towards[other] = cell
                count += 1
                heapq.heappush(heap, (max(level, height[other]), count, other))
    return towards


def _follow(towards: IntArray, is_channel: npt.NDArray[np.bool_]) -> IntArray:
    """(NY, NX) index of the first channel cell on each cell's way: by doubling the steps."""
    jump = np.where(is_channel.ravel(), np.arange(len(towards)), towards)
    while True:
        further = jump[jump]
        if (further == jump).all():
            return jump.reshape(is_channel.shape)
        jump = further
