"""A point-queue simulation of households on roads, compiled. Its plain twin is in tests/unit/geo/test_traffic.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from geo._compiled import pop, push

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]


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
    vehicles: FloatArray, seconds: FloatArray, per_s: FloatArray, close_s: FloatArray,
) -> Any:  # fmt: skip
    """(arrival, overtaken), (n,) each: when vehicles arrive that queue, first come first served, at the end of every
    edge, and which of them left an edge after it had closed (`close_s`): in truth they would not get through.

    An edge lets `per_s` vehicles a second out. Households move in the order of the time at which they reach the end
    of their edge; equal times by the lower index. There is no spill-back: a queue has no length (Vickrey 1969).
    """
    n = len(start) - 1
    free = np.zeros(len(seconds))
    at = start[:-1].copy()
    arrival = np.full(n, np.nan)
    overtaken = np.zeros(n, dtype=np.bool_)
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
        if at[i] > start[i] and out > close_s[e]:
            overtaken[i] = True
        at[i] += 1
        f = edges[at[i]]
        share = last_share[i] if at[i] == start[i + 1] - 1 else 1.0
        size = push(key, item, size, out + seconds[f] * share, i)
    return arrival, overtaken


@njit(cache=True)
def queue_until_seated(
    begin: Int32Array, first_share: FloatArray, direct: BoolArray, direct_source: Int32Array, first_zone: IntArray,
    people: IntArray, departs_s: FloatArray, vehicles: FloatArray, seats: IntArray, next_edge: Int32Array,
    ends: Int32Array, time_s: FloatArray, source_share: FloatArray, reverse: Int32Array, seconds: FloatArray,
    per_s: FloatArray,
) -> Any:  # fmt: skip
    """(n,) arrival times at a safe zone with room; NaN: none has room for the household when it stands at a full one.

    Queues as in `point_queue`. `next_edge`, `ends`, `time_s` (n_zones, n_edges) are a tree towards each safe zone; the
    edge on which a way ends has its source in `ends`. At a full one a household goes on along its edge or back on the
    other side, to the safe zone with seats that is nearest from there by free flow. Writes `seats` down.
    """
    n, n_zones = len(begin), len(seats)
    free = np.zeros(len(seconds))
    arrival = np.full(n, np.nan)
    edge = begin.copy()
    zone = first_zone.copy()
    share = np.zeros(n)  # of the edge, where the safe zone stands
    at_zone = np.zeros(n, dtype=np.bool_)
    tried = np.zeros((n, n_zones), dtype=np.bool_)
    key, item = np.empty(n + 1), np.empty(n + 1, dtype=np.int32)
    size = 0
    for i in range(n):
        if direct[i]:
            at_zone[i], share[i] = True, source_share[direct_source[i]]
        size = push(key, item, size, departs_s[i] + seconds[edge[i]] * first_share[i], i)
    while size > 0:
        now, i = key[0], item[0]
        size = pop(key, item, size)
        e, z = edge[i], zone[i]
        if at_zone[i]:
            if seats[z] >= people[i]:
                seats[z] -= people[i]
                arrival[i] = now
                continue
            tried[i, z] = True
            least, onto, ahead_s = np.inf, e, 0.0
            back = reverse[e]
            for other in range(n_zones):
                if tried[i, other] or seats[other] < people[i]:
                    continue
                on_s = (1.0 - share[i]) * seconds[e]
                if on_s + time_s[other, e] < least:
                    least, zone[i], onto, ahead_s = on_s + time_s[other, e], other, e, on_s
                if back >= 0:
                    back_s = share[i] * seconds[back]
                    if back_s + time_s[other, back] < least:
                        least, zone[i], onto, ahead_s = back_s + time_s[other, back], other, back, back_s
            if least == np.inf:
                continue
            edge[i], at_zone[i] = onto, False
            size = push(key, item, size, now + ahead_s, i)
            continue
        f = next_edge[z, e]
        if f < 0:
            continue
        out = max(now, free[e])
        free[e] = out + vehicles[i] / per_s[e]
        edge[i] = f
        part = 1.0
        if ends[z, f] >= 0:
            part = share[i] = source_share[ends[z, f]]
            at_zone[i] = True
        size = push(key, item, size, out + seconds[f] * part, i)
    return arrival
