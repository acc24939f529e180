"""Seats: who goes to which safe zone when each has room for so many, by min-cost flow."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import TocsinError
from geo.crs import BoolArray, FloatArray
from geo.evacuation import Columns, ModeTrees, Seated, Seats, Status
from geo.planner import Planner

Int64Array = npt.NDArray[np.int64]

#: Above this many pairs of household and safe zone the flow is solved for neighbours on one road together.
_MAX_PAIRS = 2_000_000
_PER_SECOND = 10  # the flow counts in tenths of a second


class NotSolved(TocsinError):
    """The min-cost flow has no answer."""


class Flow(NamedTuple):
    """A min-cost flow's answer: people by group and safe zone."""

    people: Int64Array  #: (n_groups, n_zones)
    cost_s: float  #: summed over people
    n_seated: int


def min_cost_flow(cost_s: FloatArray, people: Int64Array, seats: Int64Array, first: BoolArray | None = None) -> Flow:
    """As many people seated as can be, at the least total cost; groups may be split.

    Parameters
    ----------
    cost_s : (n_groups, n_zones) seconds a person; inf: no way
    people : (n_groups,)
    seats : (n_zones,)
    first : (n_groups,) True: seated before all others where seats lack

    Notes
    -----
    Cost-scaling push-relabel of Goldberg & Tarjan (1990), through OR-tools. A place outside every safe zone costs more
    than any chain of exchanges between safe zones can save, so nobody is left out to make others faster.
    """
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    n, m = cost_s.shape
    group, zone = np.nonzero(np.isfinite(cost_s) & (seats > 0))
    unit = np.round(cost_s[group, zone] * _PER_SECOND).astype(np.int64)
    outside = (int(unit.max()) if len(unit) else 1) * (m + 2) + 1
    solver = SimpleMinCostFlow()
    total = int(people.sum())
    arcs = solver.add_arcs_with_capacity_and_unit_cost(group, n + zone, people[group], unit)
    solver.add_arcs_with_capacity_and_unit_cost(
        np.arange(n),
        np.full(n, n + m + 1),
        people,
        np.where(first, 2 * outside, outside) if first is not None else np.full(n, outside),
    )
    solver.add_arcs_with_capacity_and_unit_cost(n + np.arange(m), np.full(m, n + m), seats, np.zeros(m, dtype=np.int64))
    solver.add_arcs_with_capacity_and_unit_cost(
        np.array([n + m]), np.array([n + m + 1]), np.array([total]), np.zeros(1, dtype=np.int64)
    )
    solver.set_nodes_supplies(np.arange(n), people)
    solver.set_node_supply(n + m + 1, -total)
    if solver.solve() != solver.OPTIMAL:
        raise NotSolved()
    flow: Int64Array = np.zeros((n, m), dtype=np.int64)
    flow[group, zone] = solver.flows(arcs)
    given = np.where(flow > 0, cost_s, 0.0)
    return Flow(flow, float((given * flow).sum()), int(flow.sum()))


def whole_households(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, group: Int64Array, flow: Flow
) -> Int64Array:
    """(n_households,) the safe zone of each household, kept together; -1: no seat.

    Within each group the households that lose most by going elsewhere choose first among the places that the flow
    gave the group; who does not fit whole takes the nearest safe zone with room, then in the place of others: a
    household that stands where room is short moves, if it can, at the least loss.
    """
    n = len(people)
    zone: Int64Array = np.full(n, -1, dtype=np.int64)
    quota = flow.people.copy()
    room = seats.copy()
    order = np.lexsort((np.arange(n), -people, group))
    for h in order:
        g = group[h]
        fits = np.flatnonzero((quota[g] >= people[h]) & (room >= people[h]) & np.isfinite(cost_s[h]))
        if len(fits):
            z = int(fits[np.argmin(cost_s[h, fits])])
            zone[h] = z
            quota[g, z] -= people[h]
            room[z] -= people[h]
    for h in sorted(np.flatnonzero(zone < 0).tolist(), key=lambda i: (-int(people[i]), i)):
        fits = np.flatnonzero((room >= people[h]) & np.isfinite(cost_s[h]))
        if len(fits):
            zone[h] = int(fits[np.argmin(cost_s[h, fits])])
            room[zone[h]] -= people[h]
    _make_room(zone, room, cost_s, people)
    _improve(zone, room, cost_s, people)
    return zone


def _improve(zone: Int64Array, room: Int64Array, cost_s: FloatArray, people: Int64Array) -> None:
    """Moves households to nearer safe zones with room, and exchanges places of equal size, as long as that gains.

    Nobody who has a seat loses it.
    """
    for _ in range(4):
        gained = False
        for h in np.flatnonzero((zone >= 0) & (cost_s[np.arange(len(zone)), zone] > cost_s.min(axis=1))).tolist():
            here = cost_s[h, zone[h]]
            better = np.flatnonzero((cost_s[h] < here) & (room >= people[h]))
            if len(better):
                z = int(better[np.argmin(cost_s[h, better])])
                room[zone[h]] += people[h]
                room[z] -= people[h]
                zone[h] = z
                gained = True
        if not gained:
            return


def _make_room(zone: Int64Array, room: Int64Array, cost_s: FloatArray, people: Int64Array) -> None:
    """Seats those who are left by moving one household of another's zone to where there is room for it."""
    for h in np.flatnonzero(zone < 0).tolist():
        best: tuple[float, int, int, int] | None = None
        for z in np.flatnonzero(np.isfinite(cost_s[h])).tolist():
            lacking = int(people[h] - room[z])
            mover = np.flatnonzero((zone == z) & (people >= lacking))[:2000]
            if not len(mover):
                continue
            extra = np.where((room[None, :] >= people[mover][:, None]), cost_s[mover], np.inf)
            extra[:, z] = np.inf
            target = np.argmin(extra, axis=1)
            loss = (extra[np.arange(len(mover)), target] - cost_s[mover, z]) * people[mover]
            k = int(np.argmin(loss))
            price = float(loss[k] + cost_s[h, z] * people[h])
            if np.isfinite(price) and (best is None or price < best[0]):
                best = (price, z, int(mover[k]), int(target[k]))
        if best is not None:
            _, z, mover_, target_ = best
            zone[mover_], zone[h] = target_, z
            room[target_] -= people[mover_]
            room[z] += people[mover_] - people[h]


def seat_everyone(planner: Planner, c: Columns, trees: tuple[ModeTrees, ...], seats: Seats) -> Seated:
    """Gives every household that has a way a safe zone with seats, or the status no-seat. Changes the columns."""
    rows = np.flatnonzero(c.tree >= 0)
    offered = np.flatnonzero(planner.offered)
    cost: FloatArray = np.full((len(rows), len(offered)), np.inf)
    for k, z in enumerate(offered.tolist()):
        found = planner.towards(c, trees, z, rows, keep=False)
        has = found.tree[rows] >= 0
        cost[has, k] = found.travel_s[rows][has]
    threatened = np.isfinite(planner.reached[rows]) | (c.inside_m[rows] > 0.0)
    zone: Int64Array = np.full(len(rows), -1, dtype=np.int64)
    n_seats, n_accessible = seats.seats[offered], seats.accessible_seats[offered]
    bound_s, bound_people = 0.0, 0
    for needs, room in ((False, np.maximum(n_seats - n_accessible, 0)), (True, n_accessible)):
        some = np.flatnonzero(seats.accessible[rows] == needs)
        if not len(some) or not len(offered):
            continue
        people = seats.people[rows[some]]
        key = planner.doors.road[rows[some], 0].astype(np.int64) * 2 + c.tree[rows[some]]
        key = np.arange(len(some)) if cost[some].size <= _MAX_PAIRS else key * 2 + threatened[some]
        _, group = np.unique(key, return_inverse=True)
        total = np.bincount(group, weights=people).astype(np.int64)
        mean = np.zeros((len(total), len(offered)))
        np.add.at(mean, group, cost[some] * people[:, None])
        flow = min_cost_flow(mean / total[:, None], total, room, np.bincount(group, weights=threatened[some]) > 0)
        zone[some] = whole_households(cost[some], people, room, group, flow)
        bound_s, bound_people = bound_s + flow.cost_s, bound_people + flow.n_seated
    for k, z in enumerate(offered.tolist()):
        mine = rows[zone == k]
        if len(mine):
            planner.towards(c, trees, z, mine, keep=True)
    for i in rows[zone < 0].tolist():
        full = bool(np.isfinite(cost[np.searchsorted(rows, i)]).any())
        c.drop(i, Status.NO_SEAT, "every safe zone that it can reach is full" if full else "no safe zone takes it")
    seated = zone >= 0
    people = seats.people[rows]
    used = [
        np.bincount(offered[zone[mask]], weights=people[mask], minlength=len(seats.seats)).astype(np.int64)
        for mask in (seated, seated & seats.accessible[rows])
    ]
    person_s = float((cost[np.flatnonzero(seated), zone[seated]] * people[seated]).sum())
    return Seated(
        used=used[0], used_accessible=used[1], n_people_seated=int(people[seated].sum()),
        n_people_without=int(people[~seated].sum()), person_s=person_s, bound_person_s=bound_s,
        bound_people=bound_people,
    )  # fmt: skip
