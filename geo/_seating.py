"""Whole households onto the seats of safe zones, compiled. Plain twins: tests/unit/geo/test_seats.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@njit(cache=True)
def place_whole(
    cost_s: FloatArray, people: IntArray, seats: IntArray, group: IntArray, quota: IntArray, order: IntArray,
    late_order: IntArray, first: BoolArray,
) -> Any:  # fmt: skip
    """(n,) the safe zone of each household, kept together; -1: no seat.

    Parameters
    ----------
    cost_s : (n, m) seconds a person; inf: no way
    quota : (n_groups, m) seats that a flow gave each group of households; written down
    order : households in the order in which they take places of their group's quota
    late_order : the order in which those who did not fit take what room is left
    first : (n,) households that are placed before all others, quota or not

    Notes
    -----
    Then those who are left take the place of somebody who can move to where room is, at the least loss; and whoever
    has a nearer safe zone with room moves there. Nobody who has a seat loses it.
    """
    n, m = cost_s.shape
    zone = np.full(n, -1, dtype=np.int64)
    room = seats.copy()
    for stage in (True, False):
        for h in order:
            if first[h] != stage:
                continue
            g, best = group[h], -1
            for z in range(m):
                fits = quota[g, z] >= people[h] and room[z] >= people[h] and cost_s[h, z] < np.inf
                if fits and (best < 0 or cost_s[h, z] < cost_s[h, best]):
                    best = z
            if best >= 0:
                zone[h] = best
                quota[g, best] -= people[h]
                room[best] -= people[h]
        for h in late_order:
            if zone[h] >= 0 or first[h] != stage:
                continue
            best = _nearest_with_room(cost_s, people, room, h)
            if best >= 0:
                zone[h] = best
                room[best] -= people[h]
        for h in range(n):
            if zone[h] < 0 and first[h] == stage:
                _make_room(zone, room, cost_s, people, h)
    for _ in range(4):
        gained = False
        for h in range(n):
            if zone[h] < 0:
                continue
            here, best = cost_s[h, zone[h]], -1
            for z in range(m):
                if cost_s[h, z] < here and room[z] >= people[h] and (best < 0 or cost_s[h, z] < cost_s[h, best]):
                    best = z
            if best >= 0:
                room[zone[h]] += people[h]
                room[best] -= people[h]
                zone[h] = best
                gained = True
        if not gained:
            break
    return zone


@njit(cache=True)
def _nearest_with_room(cost_s: FloatArray, people: IntArray, room: IntArray, h: int) -> int:
    best = -1
    for z in range(len(room)):
        if room[z] >= people[h] and cost_s[h, z] < np.inf and (best < 0 or cost_s[h, z] < cost_s[h, best]):
            best = z
    return best


@njit(cache=True)
def _make_room(zone: IntArray, room: IntArray, cost_s: FloatArray, people: IntArray, h: int) -> None:
    """Seats one household by moving another's to where there is room for it, if that can be done."""
    m = len(room)
    least, who, goes = np.inf, -1, -1
    for other in range(len(zone)):
        z = zone[other]
        if z < 0 or cost_s[h, z] == np.inf or people[other] < people[h] - room[z]:
            continue
        for to in range(m):
            if to == z or room[to] < people[other] or cost_s[other, to] == np.inf:
                continue
            price = (cost_s[other, to] - cost_s[other, z]) * people[other] + cost_s[h, z] * people[h]
            if price < least:
                least, who, goes = price, other, to
    if who >= 0:
        z = zone[who]
        zone[who], zone[h] = goes, z
        room[goes] -= people[who]
        room[z] += people[who] - people[h]


@njit(cache=True)
def quick_times(
    edge: Int32Array, share: FloatArray, close_s: FloatArray, walk_s: FloatArray, own_s: FloatArray,
    seconds: FloatArray, time_s: FloatArray, slack_s: FloatArray, here: BoolArray, margin: float, notice_s: float,
) -> Any:  # fmt: skip
    """(travel, least), (n,) each: travel times of households whose fastest way stays open `notice_s` longer than they
    need, NaN: look closer; and the time of the fastest way over open roads, whether or not it stays open.

    Shapes (n, k) of the starts as in `geo.planner.Starts`; `time_s`, `slack_s` of a tree; `here` marks edges on which
    its safe zone stands; `own_s` (n,) when the hazard reaches the door, from now, below 0 inside it.
    """
    n, k = edge.shape
    travel, fastest = np.full(n, np.nan), np.zeros(n)
    for i in range(n):
        if own_s[i] <= 0.0:
            continue
        best, least, close = -1, np.inf, False
        for j in range(k):
            e = edge[i, j]
            if e < 0:
                continue
            if here[e]:
                close = True
                break
            if close_s[i, j] < 0.0:
                continue
            total = walk_s[i, j] + share[i, j] * seconds[e] + time_s[e]
            if total < least:
                best, least = j, total
        if close or best < 0:
            continue
        fastest[i] = least
        e = edge[i, best]
        begin_s = walk_s[i, best] + share[i, best] * seconds[e]
        hold = min(slack_s[e], close_s[i, best]) - begin_s * margin
        if min(hold, own_s[i]) >= notice_s:
            travel[i] = least
    return travel, fastest
