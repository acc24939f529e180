"""Points in one polygon, compiled: a ray to the east against the edges of the point's band of latitude.

The plain twin is shapely, in tests/unit/geo/test_accumulation.py. A point so near an edge that rounding could decide is
handed back, and the caller asks shapely.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@njit(cache=True)
def bands(y1: FloatArray, y2: FloatArray, south: float, north: float, n_bands: int) -> Any:
    """(start, edge): the edges that reach into each of n_bands equal bands of latitude, as compressed rows."""
    height = (north - south) / n_bands
    count = np.zeros(n_bands + 1, dtype=np.int64)
    for e in range(len(y1)):
        low = min(max(int((min(y1[e], y2[e]) - south) / height) - 1, 0), n_bands - 1)
        high = min(max(int((max(y1[e], y2[e]) - south) / height) + 1, 0), n_bands - 1)
        for b in range(low, high + 1):
            count[b + 1] += 1
    start = np.cumsum(count)
    edge = np.empty(start[-1], dtype=np.int64)
    at = start[:-1].copy()
    for e in range(len(y1)):
        low = min(max(int((min(y1[e], y2[e]) - south) / height) - 1, 0), n_bands - 1)
        high = min(max(int((max(y1[e], y2[e]) - south) / height) + 1, 0), n_bands - 1)
        for b in range(low, high + 1):
            edge[at[b]] = e
            at[b] += 1
    return start, edge


@njit(cache=True)
def sum_inside(
    lon: FloatArray,
    lat: FloatArray,
    cents: IntArray,
    x1: FloatArray,
    y1: FloatArray,
    x2: FloatArray,
    y2: FloatArray,
    start: IntArray,
    edge: IntArray,
    south: float,
    north: float,
    doubtful: IntArray,
) -> Any:
    """(count, high, low, n_doubtful) of the points that are surely inside; sums are high * 2**32 + low.

    The first n_doubtful entries of `doubtful` (as long as the points) are the rows that lie too near an edge to tell.
    """
    n_bands = len(start) - 1
    height = (north - south) / n_bands
    count, high, low, n_doubtful = 0, 0, 0, 0
    for i in range(len(lon)):
        y = lat[i]
        if y < south or y > north:
            continue
        x = lon[i]
        band = min(int((y - south) / height), n_bands - 1)
        inside = False
        near = False
        for k in range(start[band], start[band + 1]):
            e = edge[k]
            a, b, c, d = x1[e], y1[e], x2[e], y2[e]
            if max(b, d) < y or min(b, d) > y or max(a, c) < x:
                continue
            side = (c - a) * (y - b) - (x - a) * (d - b)
            scale = abs((c - a) * (y - b)) + abs((x - a) * (d - b))
            if abs(side) <= 1e-13 * scale and min(a, c) <= x:
                near = True
                break
            if (b > y) != (d > y) and (side > 0.0) != (d < b):
                inside = not inside
        if near:
            doubtful[n_doubtful] = i
            n_doubtful += 1
        elif inside:
            count += 1
            high += cents[i] >> 32
            low += cents[i] & 0xFFFFFFFF
    return count, high, low, n_doubtful
