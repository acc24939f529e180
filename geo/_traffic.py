"""A point-queue simulation of households on roads, compiled. Its plain twin is in tests/unit/geo/test_traffic.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from geo._compiled import pop, push

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]


@njit(cache=True)
def load(
    edges: Int32Array, start: IntArray, vehicles: FloatArray, rows: IntArray, sign: float, volume: FloatArray
) -> None:
    """Adds (sign 1) or takes away (-1) the vehicles of some ways to the volumes of their edges."""
    for r in rows:
        for k in range(start[r], start[r + 1]):
            volume[edges[k]] += sign * vehicles[r]


@njit(cache=True)
def point_queue(
    edges: Int32Array, start: IntArray, first_share: FloatArray, last_share: FloatArray, departs_s: FloatArray,
    vehicles: FloatArray, seconds: FloatArray, per_s: FloatArray,
) -> Any:  # fmt: skip
    """(n,) arrival times of vehicles that queue, first come first served, at the end of every edge.

    An edge lets `per_s` vehicles a second out. Households move in the order of the time at which they reach the end
    of their edge; equal times by the lower index. There is no spill-back: a queue has no length (Vickrey 1969).
    """
    n = len(start) - 1
    free = np.zeros(len(seconds))
    at = start[:-1].copy()
    arrival = np.full(n, np.nan)
    key, item = np.empty(n + 1), np.empty(n + 1, dtype=np.int32)
    size = 0
    for i in range(n):
        if start[i + 1] > start[i]:
            size = push(key, item, size, departs_s[i] + seconds[edges[at[i]]] * first_share[i], i)
    while size > 0:
        now, i = key[0], item[0]
        size = pop(key, item, size)
        e = edges[at[i]]
        if at[i] == start[i + 1] - 1:
            arrival[i] = now
            continue
        out = max(now, free[e])
        free[e] = out + vehicles[i] / per_s[e]
        at[i] += 1
        f = edges[at[i]]
        share = last_share[i] if at[i] == start[i + 1] - 1 else 1.0
        size = push(key, item, size, out + seconds[f] * share, i)
    return arrival
