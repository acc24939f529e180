"""The sweeps over the edges of a road graph, compiled. Plain twins: tests/unit/geo/test_sweep.py.

States are directed edges, so that turn bans hold and nobody turns round in the road. Edges are numbered by where they
end, because sweeps run from the safe zones backwards. Equal times are settled by the lower edge, so
that the same inputs give the same routes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]


@njit(cache=True)
def push(key: FloatArray, item: Int32Array, size: int, key_: float, item_: int) -> int:
    """Adds an entry to a heap with four children a node, ordered by key and then item; returns the new size."""
    i = size
    while i > 0:
        parent = (i - 1) >> 2
        if key_ > key[parent] or (key_ == key[parent] and item_ >= item[parent]):
            break
        key[i], item[i] = key[parent], item[parent]
        i = parent
    key[i], item[i] = key_, item_
    return size + 1


@njit(cache=True)
def pop(key: FloatArray, item: Int32Array, size: int) -> int:
    """Removes the first entry (the caller has read it); returns the new size."""
    size -= 1
    key_, item_ = key[size], item[size]
    i = 0
    while True:
        child = 4 * i + 1
        if child >= size:
            break
        best = child
        for other in range(child + 1, min(child + 4, size)):
            if key[other] < key[best] or (key[other] == key[best] and item[other] < item[best]):
                best = other
        if key_ < key[best] or (key_ == key[best] and item_ <= item[best]):
            break
        key[i], item[i] = key[best], item[best]
        i = best
    if size > 0:
        key[i], item[i] = key_, item_
    return size


@njit(cache=True)
def is_banned(ban_start: IntArray, ban_to: Int32Array, first: int, then: int) -> bool:
    """Whether edge `then` may not follow edge `first`."""
    for k in range(ban_start[first], ban_start[first + 1]):  # noqa: SIM110 a generator does not compile
        if ban_to[k] == then:
            return True
    return False


@njit(cache=True)
def sweep(
    enter_start: Int32Array, enter_end: Int32Array, reverse: Int32Array, flags: ByteArray, ban_start: IntArray,
    ban_to: Int32Array, seconds: FloatArray, close_s: FloatArray, source_edge: Int32Array, source_s: FloatArray,
    source_late_s: FloatArray, width_s: float, n_buckets: int,
) -> Any:  # fmt: skip
    """Latest safe departure from the end of every edge, over the turns that are allowed there.

    Parameters
    ----------
    enter_start, enter_end : (n_edges,) the edges that end where edge f starts are enter_start[f] ... enter_end[f] - 1
    reverse : (n_edges,) the same road the other way; -1 on a one-way road
    flags : (n_edges,) 1: no turning round at its end, 2: it is private (not to be entered from one that is not),
        4: it has turn bans
    ban_start, ban_to : turn bans by first edge, as a CSR
    seconds : (n_edges,) travel time, >= 0
    close_s : (n_edges,) when the edge closes; it must be left by then. inf: never; below 0: closed now
    source_edge, source_s, source_late_s : safe zones: the edge one stands at, the time from its start into the zone,
        and the latest moment to be at its start
    width_s, n_buckets : of the calendar below; they change how long it takes, and nothing else. n_buckets is a power
        of two

    Returns
    -------
    late_s : (n_edges,) C(e) = max over allowed f after e of L(f), where L(f) = min(C(f), close(f)) - seconds(f) or
        source_late_s; -inf where there is no way
    time_s : (n_edges,) travel time of that way from the end of e
    next_edge : (n_edges,) f; -1: none
    source : (n_edges,) where the way that starts with this edge ends in it: the index of the source; else -1
    order : (n_done,) edges with a way, each after its next_edge

    Notes
    -----
    Label-setting, because L never rises along an edge backwards: the reverse of the earliest arrival of Cooke & Halsey
    (1966) on roads that close and never reopen; with nothing closing it is Dijkstra (1959). An edge is finished by the
    first edge taken off the queue that may follow it, so each is pushed at most once, and one whose start nobody waits
    at any more is not pushed at all.

    The queue is a calendar (Brown 1988): buckets of width_s seconds in a ring, of which the present one is searched
    for its least entry. What lies beyond the ring, or crowds in one bucket, waits in a heap, and the lesser of both is
    taken: the order is exactly that of a heap.
    """
    n = len(seconds)
    late = np.full(n, -np.inf)  # C
    time = np.full(n, np.inf)
    label = np.full(n, -np.inf)  # L
    label_time = np.full(n, np.inf)
    next_edge = np.full(n, -1, dtype=np.int32)
    source = np.full(n, -1, dtype=np.int32)
    state = np.zeros(n, dtype=np.uint8)  # 1: a source stands on it, 2: done; kept for edges with a source only
    order = np.empty(n, dtype=np.int32)
    n_done = 0
    waiting = np.full(n, -1, dtype=np.int32)  # by enter_start: edges that still wait where these edges end
    room = n + len(source_edge) + 1
    heap_key, heap_edge = np.empty(room), np.empty(room, dtype=np.int32)
    size = 0
    slot_key, slot_edge = np.empty(room), np.empty(room, dtype=np.int32)
    slot_next = np.empty(room, dtype=np.int32)
    first = np.full(n_buckets, -1, dtype=np.int32)
    mask = n_buckets - 1
    n_slots = in_ring = 0
    scale = 1.0 / width_s
    for i in range(len(source_edge)):
        f = source_edge[i]
        if source_late_s[i] == -np.inf:
            continue
        if source_late_s[i] > label[f] or (source_late_s[i] == label[f] and source_s[i] < label_time[f]):
            label[f], label_time[f], source[f] = source_late_s[i], source_s[i], i
            state[f] = 1
            size = push(heap_key, heap_edge, size, -label[f], f)
    zero = heap_key[0] if size > 0 else 0.0
    at = 0
    while in_ring > 0 or size > 0:
        found, before, crowd = -1, -1, 0
        if in_ring > 0:
            while first[at & mask] < 0:
                at += 1
            slot, last = first[at & mask], -1
            while slot >= 0:
                crowd += 1
                if (
                    found < 0
                    or slot_key[slot] < slot_key[found]
                    or (slot_key[slot] == slot_key[found] and slot_edge[slot] < slot_edge[found])
                ):
                    found, before = slot, last
                last = slot
                slot = slot_next[slot]
        if crowd > 48:  # too many to be searched again and again
            slot = first[at & mask]
            while slot >= 0:
                size = push(heap_key, heap_edge, size, slot_key[slot], slot_edge[slot])
                in_ring -= 1
                slot = slot_next[slot]
            first[at & mask] = -1
            continue
        if found < 0 or (
            size > 0
            and (heap_key[0] < slot_key[found] or (heap_key[0] == slot_key[found] and heap_edge[0] < slot_edge[found]))
        ):
            key, f = heap_key[0], heap_edge[0]
            size = pop(heap_key, heap_edge, size)
            at = int((key - zero) * scale)
        else:
            key, f = slot_key[found], slot_edge[found]
            if before < 0:
                first[at & mask] = slot_next[found]
            else:
                slot_next[before] = slot_next[found]
            in_ring -= 1
        l_f = -key
        if state[f]:
            if state[f] & 2 or l_f != label[f]:
                continue
            state[f] = 3
        begin, end = enter_start[f], enter_end[f]
        if begin == end or waiting[begin] == 0:
            continue
        if waiting[begin] < 0:
            waiting[begin] = end - begin
        t_f, back, is_private = label_time[f], reverse[f], flags[f] & 2
        for e in range(begin, end):
            if next_edge[e] >= 0:
                continue
            flag = flags[e]
            if (e == back and flag & 1) or (is_private and not flag & 2):
                continue
            if flag & 4 and is_banned(ban_start, ban_to, e, f):
                continue
            next_edge[e] = f
            waiting[begin] -= 1
            late[e], time[e] = l_f, t_f
            order[n_done] = e
            n_done += 1
            close = close_s[e]
            if close < 0.0 or state[e] & 2:
                continue
            l_e = min(l_f, close) - seconds[e]
            t_e = t_f + seconds[e]
            if state[e]:
                if l_e < label[e] or (l_e == label[e] and t_e >= label_time[e]):
                    continue
                source[e] = -1
            label[e], label_time[e] = l_e, t_e
            start = enter_start[e]
            if start == enter_end[e] or waiting[start] == 0:
                continue
            far = (-l_e - zero) * scale - at
            if far < n_buckets:
                k = int((-l_e - zero) * scale) & mask
                slot_key[n_slots], slot_edge[n_slots] = -l_e, e
                slot_next[n_slots] = first[k]
                first[k] = n_slots
                n_slots += 1
                in_ring += 1
            else:
                size = push(heap_key, heap_edge, size, -l_e, e)
    return late, time, next_edge, source, order[:n_done].copy()


@njit(cache=True)
def add_up(
    order: Int32Array, next_edge: Int32Array, source: Int32Array, value: FloatArray, source_value: FloatArray
) -> Any:
    """(total, end): the sum of `value` over the way from the end of each edge, and the source that it ends in."""
    total = np.full(len(next_edge), np.nan)
    end = np.full(len(next_edge), -1, dtype=np.int32)
    for i in range(len(order)):
        e = order[i]
        f = next_edge[e]
        if source[f] >= 0:
            total[e], end[e] = source_value[source[f]], source[f]
        else:
            total[e], end[e] = value[f] + total[f], end[f]
    return total, end


@njit(cache=True)
def slack(
    order: Int32Array, next_edge: Int32Array, source: Int32Array, seconds: FloatArray, close_s: FloatArray,
    source_late_s: FloatArray,
) -> Any:  # fmt: skip
    """(n_edges,) the latest moment at the end of each edge at which its way can still be driven to the end."""
    late = np.full(len(next_edge), -np.inf)
    for i in range(len(order)):
        e = order[i]
        f = next_edge[e]
        if source[f] >= 0:
            late[e] = source_late_s[source[f]]
        else:
            late[e] = min(late[f], close_s[f]) - seconds[f]
    return late


@njit(cache=True)
def earliest_arrival(
    out_start: IntArray, out_edge: Int32Array, head: Int32Array, reverse: Int32Array, no_turn: BoolArray,
    private: BoolArray, ban_start: IntArray, ban_to: Int32Array, seconds: FloatArray, close_s: FloatArray,
    margin: float, at_least_s: FloatArray, source_of: Int32Array, source_s: FloatArray, source_late_s: FloatArray,
    begin_start: IntArray, begin_edge: Int32Array, begin_s: FloatArray,
) -> Any:  # fmt: skip
    """(edges, start, source, travel_s) of the fastest ways that can be finished when begun now; none: no edges.

    A* over edges, for each household in turn: its edges that are being finished, and the free-flow time until their
    end, are `begin_edge`, `begin_s` from begin_start[i] on; its way is edges[start[i]:start[i + 1]].
    `at_least_s` (n_edges,) is a lower bound of the free-flow time from the end of an edge: the fastest way over roads
    that are open now. Times are `margin` longer in every comparison with a closing time. `source_of` (n_edges,) is the
    source at an edge, or -1.
    """
    n, n_starts = len(head), len(begin_start) - 1
    best = np.full(n, np.inf)
    came = np.full(n, -1, dtype=np.int32)
    done = np.zeros(n, dtype=np.bool_)
    room = len(out_edge) * 4 + len(begin_edge) + 16
    heap_key, heap_edge = np.empty(room), np.empty(room, dtype=np.int32)
    touched = np.empty(n, dtype=np.int32)
    edges, n_edges = np.empty(1024, dtype=np.int32), 0
    start = np.zeros(n_starts + 1, dtype=np.int64)
    ends = np.full(n_starts, -1, dtype=np.int32)
    travel_s = np.full(n_starts, np.inf)
    for i in range(n_starts):
        some = slice(begin_start[i], begin_start[i + 1])
        goal_edge, ends[i], travel_s[i], n_touched = _one_way(
            out_start,
            out_edge,
            head,
            reverse,
            no_turn,
            private,
            ban_start,
            ban_to,
            seconds,
            close_s,
            margin,
            at_least_s,
            source_of,
            source_s,
            source_late_s,
            begin_edge[some],
            begin_s[some],
            best,
            came,
            done,
            heap_key,
            heap_edge,
            touched,
        )
        count = 0
        e = goal_edge
        while e >= 0:
            count += 1
            e = came[e]
        while n_edges + count > len(edges):
            edges = np.append(edges, np.empty_like(edges))
        e = goal_edge
        for k in range(count):
            edges[n_edges + count - 1 - k] = e
            e = came[e]
        n_edges += count
        start[i + 1] = n_edges
        for k in range(n_touched):
            best[touched[k]], came[touched[k]], done[touched[k]] = np.inf, -1, False
    return edges[:n_edges].copy(), start, ends, travel_s


@njit(cache=True)
def _one_way(
    out_start: IntArray, out_edge: Int32Array, head: Int32Array, reverse: Int32Array, no_turn: BoolArray,
    private: BoolArray, ban_start: IntArray, ban_to: Int32Array, seconds: FloatArray, close_s: FloatArray,
    margin: float, at_least_s: FloatArray, source_of: Int32Array, source_s: FloatArray, source_late_s: FloatArray,
    begin_edge: Int32Array, begin_s: FloatArray, best: FloatArray, came: Int32Array, done: BoolArray,
    heap_key: FloatArray, heap_edge: Int32Array, touched: Int32Array,
) -> Any:  # fmt: skip
    """(last edge, source, travel time, number of touched edges) of one household's way; writes the arrays it is given,
    which are as they were made except at the touched edges."""
    room = len(heap_key)
    size = n_touched = 0
    goal_s, goal_edge, goal = np.inf, -1, -1
    for i in range(len(begin_edge)):
        e = begin_edge[i]
        if begin_s[i] < best[e] and np.isfinite(at_least_s[e]):
            if best[e] == np.inf:
                touched[n_touched] = e
                n_touched += 1
            best[e] = begin_s[i]
            came[e] = -1
            size = push(heap_key, heap_edge, size, begin_s[i] + at_least_s[e], e)
    while size > 0 and heap_key[0] < goal_s:
        e, key = heap_edge[0], heap_key[0]
        size = pop(heap_key, heap_edge, size)
        if done[e] or key > best[e] + at_least_s[e]:
            continue
        done[e] = True
        for k in range(out_start[head[e]], out_start[head[e] + 1]):
            f = out_edge[k]
            if (reverse[e] == f and no_turn[e]) or (private[f] and not private[e]):
                continue
            if ban_start[e + 1] > ban_start[e] and is_banned(ban_start, ban_to, e, f):
                continue
            i = source_of[f]
            if i >= 0 and best[e] * margin <= source_late_s[i] and best[e] + source_s[i] < goal_s:
                goal_s, goal_edge, goal = best[e] + source_s[i], e, i
            if close_s[f] < 0.0:
                continue
            then = best[e] + seconds[f]
            if then < best[f] and then * margin <= close_s[f] and np.isfinite(at_least_s[f]) and size < room:
                if best[f] == np.inf:
                    touched[n_touched] = f
                    n_touched += 1
                best[f] = then
                came[f] = e
                size = push(heap_key, heap_edge, size, then + at_least_s[f], f)
    return goal_edge, goal, goal_s, n_touched


@njit(cache=True)
def follow(next_edge: Int32Array, source: Int32Array, first: Int32Array) -> Any:
    """(edges, start): the ways of some edges along a tree, flat; each ends with the edge of its source."""
    start = np.zeros(len(first) + 1, dtype=np.int64)
    edges = np.empty(0, dtype=np.int32)
    for turn in range(2):
        for i in range(len(first)):
            count = 0
            e = first[i]
            while e >= 0:
                if turn == 1:
                    edges[start[i] + count] = e
                count += 1
                if count > 1 and source[e] >= 0:
                    break
                e = next_edge[e]
            if turn == 0:
                start[i + 1] = start[i] + count
        if turn == 0:
            edges = np.empty(start[-1], dtype=np.int32)
    return edges, start


@njit(cache=True)
def lines_of(
    edges: Int32Array, start: IntArray, first_fraction: FloatArray, last_fraction: FloatArray, edge_road: Int32Array,
    forward: BoolArray, shape_start: IntArray, shape_lon: FloatArray, shape_lat: FloatArray,
) -> Any:  # fmt: skip
    """(points, start): the flat (k, 2) lon, lat of ways, each from `first_fraction` along its first edge's travel to
    `last_fraction` along its last edge's."""
    n = len(start) - 1
    begin = np.zeros(n + 1, dtype=np.int64)
    for i in range(n):
        count = 0
        for k in range(start[i], start[i + 1]):
            r = edge_road[edges[k]]
            count += shape_start[r + 1] - shape_start[r] + 1
        begin[i + 1] = begin[i] + count
    points = np.empty((begin[n], 2))
    actual = np.zeros(n + 1, dtype=np.int64)
    at = 0
    for i in range(n):
        actual[i] = at
        for k in range(start[i], start[i + 1]):
            e = edges[k]
            r = edge_road[e]
            lo = first_fraction[i] if k == start[i] else 0.0
            hi = last_fraction[i] if k == start[i + 1] - 1 else 1.0
            first, count = shape_start[r], shape_start[r + 1] - shape_start[r]
            stretch = 1.0 / np.cos(np.radians(shape_lat[first]))
            total = 0.0
            for j in range(count - 1):
                a = first + j if forward[e] else first + count - 1 - j
                b = a + 1 if forward[e] else a - 1
                total += np.hypot((shape_lon[b] - shape_lon[a]) / stretch, shape_lat[b] - shape_lat[a])
            done = 0.0
            for j in range(count - 1):
                a = first + j if forward[e] else first + count - 1 - j
                b = a + 1 if forward[e] else a - 1
                step = np.hypot((shape_lon[b] - shape_lon[a]) / stretch, shape_lat[b] - shape_lat[a])
                p = done / total if total > 0.0 else 0.0
                q = (done + step) / total if total > 0.0 else 1.0
                if j == count - 2:
                    q = 1.0
                done += step
                if q < lo or p > hi or step == 0.0:
                    continue
                for x in range(2):
                    want = max(lo, p) if x == 0 else min(hi, q)
                    t = (want - p) / (q - p) if q > p else 0.0
                    lon = shape_lon[a] + t * (shape_lon[b] - shape_lon[a])
                    lat = shape_lat[a] + t * (shape_lat[b] - shape_lat[a])
                    if at == actual[i] or abs(points[at - 1, 0] - lon) > 1e-10 or abs(points[at - 1, 1] - lat) > 1e-10:
                        points[at, 0], points[at, 1] = lon, lat
                        at += 1
        actual[i + 1] = at
    return points[:at].copy(), actual
