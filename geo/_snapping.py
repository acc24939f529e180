"""Nearest roads of many points over a grid of segments, compiled. Its plain twin in the tests is shapely's distance."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


@njit(cache=True)
def fill_cells(
    x1: FloatArray, y1: FloatArray, x2: FloatArray, y2: FloatArray, west: float, south: float, cell_m: float, nx: int,
    ny: int,
) -> Any:  # fmt: skip
    """(cell_start, cell_segment): the segments whose bounding box touches each cell, as a CSR."""
    count = np.zeros(nx * ny + 1, dtype=np.int64)
    segment = np.empty(0, dtype=np.int32)
    for turn in range(2):
        for s in range(len(x1)):
            c0 = int((min(x1[s], x2[s]) - west) / cell_m)
            c1 = int((max(x1[s], x2[s]) - west) / cell_m)
            r0 = int((min(y1[s], y2[s]) - south) / cell_m)
            r1 = int((max(y1[s], y2[s]) - south) / cell_m)
            for r in range(r0, r1 + 1):
                for c in range(c0, c1 + 1):
                    if turn == 0:
                        count[r * nx + c + 1] += 1
                    else:
                        segment[count[r * nx + c]] = s
                        count[r * nx + c] += 1
        if turn == 0:
            count = np.cumsum(count)
            segment = np.empty(count[-1], dtype=np.int32)
    start = np.empty_like(count)
    start[0] = 0
    start[1:] = count[:-1]
    return start, segment


@njit(cache=True)
def nearest(
    x1: FloatArray, y1: FloatArray, x2: FloatArray, y2: FloatArray, road: Int32Array, along_m: FloatArray,
    cell_start: IntArray, cell_segment: Int32Array, west: float, south: float, nx: int, ny: int, cell_m: float,
    x: FloatArray, y: FloatArray, k: int, max_m: float, others_m: float, all_to_max: bool,
) -> Any:  # fmt: skip
    """(road, along_m, distance_m), each (n, k): the k nearest roads of each point, ascending; road -1 fills up.

    The first may be `max_m` away, the others `others_m`; with `all_to_max` all may be `max_m` away.
    """
    n = len(x)
    best_road = np.full((n, k), -1, dtype=np.int32)
    best_along, best_m = np.zeros((n, k)), np.full((n, k), np.inf)
    for i in range(n):
        if not (np.isfinite(x[i]) and np.isfinite(y[i])):
            continue
        column, row = int(np.floor((x[i] - west) / cell_m)), int(np.floor((y[i] - south) / cell_m))
        ring = 0
        while True:
            reach = (ring - 1) * cell_m  # everything nearer than this has been seen
            limit = max_m
            if best_road[i, 0] >= 0 and not all_to_max:
                limit = min(max_m, max(best_m[i, 0], others_m if k > 1 else 0.0))
            if best_road[i, k - 1] >= 0:
                limit = min(limit, best_m[i, k - 1])
            if reach > limit:
                break
            for r in range(row - ring, row + ring + 1):
                if r < 0 or r >= ny:
                    continue
                edge = r == row - ring or r == row + ring
                for c in range(column - ring, column + ring + 1):
                    if not edge and c != column - ring and c != column + ring:
                        continue
                    if c < 0 or c >= nx:
                        continue
                    for at in range(cell_start[r * nx + c], cell_start[r * nx + c + 1]):
                        s = cell_segment[at]
                        dx, dy = x2[s] - x1[s], y2[s] - y1[s]
                        square = dx * dx + dy * dy
                        t = 0.0
                        if square > 0.0:
                            t = ((x[i] - x1[s]) * dx + (y[i] - y1[s]) * dy) / square
                            t = min(max(t, 0.0), 1.0)
                        away = np.hypot(x1[s] + t * dx - x[i], y1[s] + t * dy - y[i])
                        if away > max_m:
                            continue
                        along = along_m[s] + t * np.sqrt(square)
                        _keep(best_road[i], best_along[i], best_m[i], road[s], along, away)
            ring += 1
        for j in range(1, k):
            if not all_to_max and best_m[i, j] > others_m:
                best_road[i, j] = -1
                best_m[i, j] = np.inf
    return best_road, best_along, best_m


@njit(cache=True)
def _keep(road: Int32Array, along: FloatArray, away: FloatArray, road_: int, along_: float, away_: float) -> None:
    """Puts a hit into the short list of different roads, ascending by distance and then by road and place."""
    k = len(road)
    at = k
    for j in range(k):
        if road[j] == road_:
            if away_ < away[j] or (away_ == away[j] and along_ < along[j]):
                at = j
                break
            return
    if at == k:
        if not (away_ < away[k - 1] or (away_ == away[k - 1] and (road[k - 1] < 0 or road_ < road[k - 1]))):
            return
        at = k - 1
    while at > 0 and (away_ < away[at - 1] or (away_ == away[at - 1] and road_ < road[at - 1])):
        road[at], along[at], away[at] = road[at - 1], along[at - 1], away[at - 1]
        at -= 1
    road[at], along[at], away[at] = road_, along_, away_


@njit(cache=True)
def point_at(
    shape_x: FloatArray, shape_y: FloatArray, shape_start: IntArray, road: Int32Array, along_m: FloatArray,
    x: FloatArray, y: FloatArray,
) -> Any:  # fmt: skip
    """(x, y, left) of the points `along_m` on the roads; left: where (x, y) lies, looking along the shape."""
    n = len(road)
    px, py, left = np.empty(n), np.empty(n), np.zeros(n, dtype=np.bool_)
    for i in range(n):
        rest = along_m[i]
        at = shape_start[road[i]]
        last = shape_start[road[i] + 1] - 2
        while True:
            dx, dy = shape_x[at + 1] - shape_x[at], shape_y[at + 1] - shape_y[at]
            length = np.sqrt(dx * dx + dy * dy)
            if rest <= length or at >= last:
                t = min(max(rest / length, 0.0), 1.0) if length > 0.0 else 0.0
                px[i], py[i] = shape_x[at] + t * dx, shape_y[at] + t * dy
                left[i] = dx * (y[i] - py[i]) - dy * (x[i] - px[i]) > 0.0
                break
            rest -= length
            at += 1
    return px, py, left
