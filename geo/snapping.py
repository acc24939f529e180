"""Places onto roads: for each the nearest roads with side, fraction and distance, found once and kept."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely

from geo.crs import BoolArray, FloatArray
from geo.network import Int32Array, RoadNetwork

_CELL_M = 200.0
_MAX_CELLS = 20_000_000


@dataclass(frozen=True)
class Snapped:
    """Places put on their nearest roads: column 0 is the nearest, `road` is -1 where there is none (near enough)."""

    road: Int32Array  #: (n, k)
    fraction: FloatArray  #: (n, k) along the road's shape from a to b, 0..1
    distance_m: FloatArray  #: (n, k) from the place to the road; inf where there is none
    lon: FloatArray  #: (n, k) the point on the road
    lat: FloatArray
    left: BoolArray  #: (n, k) the place lies on the left of the road, looking from a to b


class _Grid(NamedTuple):
    """Segments of roads in metres, and which of them touch each cell."""

    x1: FloatArray
    y1: FloatArray
    x2: FloatArray
    y2: FloatArray
    road: Int32Array
    along_m: FloatArray
    cell_start: np.ndarray
    cell_segment: Int32Array
    west: float
    south: float
    nx: int
    ny: int
    cell_m: float


def _grid(network: RoadNetwork, usable: BoolArray) -> tuple[_Grid, FloatArray]:
    """The grid over the usable roads, and each road's length in the plane."""
    from geo._snapping import fill_cells

    x, y = network.plane.forward(network.shape_lon, network.shape_lat)
    of = np.repeat(np.arange(network.n_roads, dtype=np.int32), np.diff(network.shape_start))
    step = np.hypot(np.diff(x), np.diff(y))
    same = of[1:] == of[:-1]
    step[~same] = 0.0
    along = np.concatenate([[0.0], np.cumsum(step)])
    length = along[network.shape_start[1:] - 1] - along[network.shape_start[:-1]]
    along = along - along[network.shape_start[:-1]][of]
    keep = np.flatnonzero(same & usable[of[1:]])
    x1, y1, x2, y2 = x[keep], y[keep], x[keep + 1], y[keep + 1]
    west, south = float(x.min()), float(y.min())
    cell = _CELL_M
    while ((float(x.max()) - west) / cell + 1) * ((float(y.max()) - south) / cell + 1) > _MAX_CELLS:
        cell *= 2.0
    nx, ny = int((float(x.max()) - west) / cell) + 1, int((float(y.max()) - south) / cell) + 1
    cell_start, cell_segment = fill_cells(x1, y1, x2, y2, west, south, cell, nx, ny)
    grid = _Grid(x1, y1, x2, y2, of[keep], along[keep], cell_start, cell_segment, west, south, nx, ny, cell)
    return grid, length


def snap(
    network: RoadNetwork,
    lon: FloatArray,
    lat: FloatArray,
    *,
    max_m: float,
    usable: BoolArray | None = None,
    n_roads: int = 1,
    others_m: float = 250.0,
) -> Snapped:
    """Each place on its nearest road, at most `max_m` away, and on up to n_roads - 1 others within `others_m`.

    `usable` (n_roads,) leaves roads out. The straight way to a road never crosses a river or canal of the network.
    Of equally near roads the first is taken: the same place, the same road.
    """
    from geo._snapping import nearest

    usable = np.ones(network.n_roads, dtype=bool) if usable is None else usable
    grid, length = _grid(network, usable)
    x, y = network.plane.forward(lon, lat)
    barriers = len(network.barrier_start) > 1

    def found(some: Any, wanted: int) -> tuple[list[Any], BoolArray]:
        """The columns of some places, and whose `wanted` nearest roads all lie behind a river."""
        px, py = x[some], y[some]
        road, along, away = nearest(*grid, px, py, wanted, max_m, others_m if n_roads > 1 else 0.0, barriers)
        safe = np.maximum(road, 0)
        fraction = np.clip(along / np.maximum(length[safe], 1e-9), 0.0, 1.0)
        columns: list[Any] = [road, fraction, away, *_points(network, safe, along, px, py)]
        if not barriers:
            return columns, np.zeros(len(px), dtype=bool)
        kept: list[Any] = [*_dry(network, px, py, n_roads, others_m, *columns)]
        behind: BoolArray = (road[:, -1] >= 0) & (kept[0][:, 0] < 0)
        return kept, behind

    wanted = n_roads + (4 if barriers else 0)
    columns, behind = found(slice(None), wanted)
    rest = np.flatnonzero(behind)
    while len(rest) and wanted < network.n_roads:
        wanted *= 4
        more, behind = found(rest, wanted)
        for column, value in zip(columns, more, strict=True):
            column[rest] = value
        rest = rest[behind]
    road, fraction, away, on_x, on_y, left = columns
    on_lon, on_lat = network.plane.inverse(on_x, on_y)
    none = road < 0
    on_lon[none] = np.broadcast_to(np.asarray(lon, dtype=float)[:, None], road.shape)[none]
    on_lat[none] = np.broadcast_to(np.asarray(lat, dtype=float)[:, None], road.shape)[none]
    return Snapped(road, np.where(none, 0.0, fraction), np.where(none, np.inf, away), on_lon, on_lat, left)


def _points(
    network: RoadNetwork, road: Int32Array, along: FloatArray, x: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The points on the roads at `along` metres, and on which side of the road the places lie."""
    from geo._snapping import point_at

    sx, sy = network.plane.forward(network.shape_lon, network.shape_lat)
    result: tuple[FloatArray, FloatArray, BoolArray] = point_at(
        sx, sy, network.shape_start, road.ravel(), along.ravel(), np.repeat(x, road.shape[1]),
        np.repeat(y, road.shape[1]),
    )  # fmt: skip
    return result[0].reshape(road.shape), result[1].reshape(road.shape), result[2].reshape(road.shape)


def _dry(
    network: RoadNetwork, x: FloatArray, y: FloatArray, n_roads: int, others_m: float, road: Int32Array,
    fraction: FloatArray, away: FloatArray, on_x: FloatArray, on_y: FloatArray, left: BoolArray,
) -> tuple[Int32Array, FloatArray, FloatArray, FloatArray, FloatArray, BoolArray]:  # fmt: skip
    """The same columns without the roads behind a river, the nearest `n_roads` of what is left."""
    bx, by = network.plane.forward(network.barrier_lon, network.barrier_lat)
    index = np.repeat(np.arange(len(network.barrier_start) - 1), np.diff(network.barrier_start))
    tree = shapely.STRtree(shapely.linestrings(np.column_stack([bx, by]), indices=index))
    row, column = np.nonzero(road >= 0)
    ends = np.stack(
        [np.column_stack([x[row], y[row]]), np.column_stack([on_x[row, column], on_y[row, column]])], axis=1
    )
    crossing = np.unique(tree.query(shapely.linestrings(ends), predicate="crosses")[0])
    away = away.copy()
    away[row[crossing], column[crossing]] = np.inf
    away[road < 0] = np.inf
    order = np.argsort(away, axis=1, kind="stable")[:, :n_roads]
    take: list[Any] = [np.take_along_axis(a, order, axis=1) for a in (road, fraction, away, on_x, on_y, left)]
    gone = np.isinf(take[2])
    gone[:, 1:] |= take[2][:, 1:] > others_m
    take[0] = np.where(gone, -1, take[0]).astype(np.int32)
    return take[0], take[1], take[2], take[3], take[4], take[5]
