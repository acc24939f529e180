"""Seats: who goes to which safe zone when each has room for so many, by min-cost flow."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import TocsinError
from geo.crs import BoolArray, FloatArray
from geo.evacuation import Columns, ModeTrees, Seated, Seats, Status
from geo.planner import Planner, Starts, pick

Int64Array = npt.NDArray[np.int64]

#: Above this many pairs of household and safe zone the flow is solved for neighbours on one road together.
_MAX_PAIRS = 2_000_000
_PER_SECOND = 10  # the flow counts in tenths of a second
#: The flow is first solved over each group's nearest safe zones; what it leaves out is then shown not to matter.
_NEAREST = 6
#: A household that was told a safe zone goes to another one only where that saves more than this.
STAYS_S = 300.0


class NotSolved(TocsinError):
    """The min-cost flow has no answer."""


class Flow(NamedTuple):
    """A min-cost flow's answer: people by group and safe zone."""

    people: Int64Array  #: (n_groups, n_zones)
    cost_s: float  #: summed over people
    n_seated: int


def min_cost_flow(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, first: BoolArray | None = None,
    allowed: BoolArray | None = None,
) -> Flow:  # fmt: skip
    """As many people seated as can be, at the least total cost; groups may be split.

    Parameters
    ----------
    cost_s : (n_groups, n_zones) seconds a person; inf: no way
    people : (n_groups,)
    seats : (n_zones,)
    first : (n_groups,) True: seated before all others where seats lack
    allowed : (n_groups, n_zones) the pairs to begin with, of a like problem; written down

    Notes
    -----
    Cost-scaling push-relabel of Goldberg & Tarjan (1990), through OR-tools, over each group's nearest safe zones only.
    The pairs left out are then priced (`_missing`): those by which the flow could still gain are added, and it is
    solved again, until there are none. What is returned is therefore an optimum over all pairs.
    """
    n, m = cost_s.shape
    outside = _outside(cost_s)
    order = np.argsort(np.where(seats > 0, cost_s, np.inf), axis=1, kind="stable")[:, :_NEAREST]
    allowed = np.zeros((n, m), dtype=bool) if allowed is None else allowed
    np.put_along_axis(allowed, order, True, axis=1)
    while True:
        flow = _solve(cost_s, people, seats, first, allowed, outside)
        more = _missing(cost_s, people, seats, first, flow, allowed, outside)
        if not more.any():
            break
        allowed |= more
    given = np.where(flow > 0, cost_s, 0.0)
    return Flow(flow, float((given * flow).sum()), int(flow.sum()))


def _outside(cost_s: FloatArray) -> int:
    """The price of a place outside every safe zone: more than any chain of exchanges between safe zones can save."""
    finite = cost_s[np.isfinite(cost_s)]
    dearest = round(float(finite.max()) * _PER_SECOND) if len(finite) else 1
    return int(dearest * (cost_s.shape[1] + 2) + 1)


def _solve(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, first: BoolArray | None, allowed: BoolArray, outside: int
) -> Int64Array:
    """(n_groups, n_zones) people, at the least cost over the allowed pairs; who is left stays outside."""
    from ortools.graph.python.min_cost_flow import SimpleMinCostFlow

    n, m = cost_s.shape
    group, zone = np.nonzero(np.isfinite(cost_s) & (seats > 0) & allowed)
    unit = np.round(cost_s[group, zone] * _PER_SECOND).astype(np.int64)
    solver = SimpleMinCostFlow()
    total = int(people.sum())
    arcs = solver.add_arcs_with_capacity_and_unit_cost(group, n + zone, people[group], unit)
    solver.add_arcs_with_capacity_and_unit_cost(
        np.arange(n), np.full(n, n + m + 1), people, _outside_costs(n, first, outside)
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
    return flow


def _outside_costs(n: int, first: BoolArray | None, outside: int) -> Int64Array:
    costs: Int64Array = np.full(n, outside, dtype=np.int64)
    if first is not None:
        costs[first] *= 2
    return costs


def _missing(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, first: BoolArray | None, flow: Int64Array,
    allowed: BoolArray, outside: int,
) -> BoolArray:  # fmt: skip
    """(n_groups, n_zones) pairs that were not allowed and by which the flow could gain; none: it is an optimum.

    Column generation: a flow is of least cost if its residual graph has no negative cycle (Klein 1967), that is, if
    there are prices of the places (safe zones, the place outside, free seats) under which no move gains. Between
    places the cheapest move of anybody counts, so Bellman-Ford over a node a place gives the prices of the allowed
    pairs; a pair that gains under them is missing.
    """
    n, m = cost_s.shape
    unit = np.where(np.isfinite(cost_s) & (seats > 0), np.round(cost_s * _PER_SECOND), np.inf)
    place = np.column_stack([unit, _outside_costs(n, first, outside).astype(float)])
    may = np.column_stack([allowed, np.ones(n, dtype=bool)])
    used = np.column_stack([flow, people - flow.sum(axis=1)])
    step = np.full((m + 2, m + 2), np.inf)  # the last node: seats that nobody has
    for z in range(m + 1):
        some = np.flatnonzero(used[:, z] > 0)
        if len(some):
            extra = np.where(may[some], place[some], np.inf) - place[some, z][:, None]
            step[z, : m + 1] = extra.min(axis=0)
    np.fill_diagonal(step, 0.0)
    taken = flow.sum(axis=0)
    step[:m, m + 1] = np.where(taken < seats, 0.0, np.inf)  # a chain of moves may end on a free seat
    step[m, m + 1] = 0.0
    step[m + 1, :m] = np.where(taken > 0, 0.0, np.inf)  # and begins where somebody sits
    step[m + 1, m] = 0.0
    price = np.zeros(m + 2)
    for _ in range(m + 2):
        price = np.minimum(price, (price[:, None] + step).min(axis=0))
    missing: BoolArray = np.zeros((n, m), dtype=bool)
    for z in range(m + 1):
        some = np.flatnonzero(used[:, z] > 0)
        gain = place[some, :m] - place[some, z][:, None] + price[z] - price[None, :m]
        missing[some] |= (gain < -0.5) & ~allowed[some]
    return missing


def whole_households(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, group: Int64Array, flow: Flow,
    first: BoolArray | None = None,
) -> Int64Array:  # fmt: skip
    """(n_households,) the safe zone of each household, kept together; -1: no seat.

    Those who are `first` are placed before all others: a place that a flow splits over two safe zones is none for a
    household that stays together, and it must not be the threatened one that goes without.
    Within each group the largest households choose first among the places that the flow gave the group; who does not
    fit whole takes the nearest safe zone with room, then the place of somebody who can move at the least loss.
    """
    from geo._seating import place_whole

    n = len(people)
    zone: Int64Array = place_whole(
        np.ascontiguousarray(cost_s), people.astype(np.int64), seats.astype(np.int64), group.astype(np.int64),
        flow.people.copy(), np.lexsort((np.arange(n), -people, group)), np.lexsort((np.arange(n), -people)),
        np.zeros(n, dtype=bool) if first is None else first,
    )  # fmt: skip
    return zone


#: What limits the way into a safe zone is looked for within this distance of it.
_ENTRANCE_M = 1000.0


def entrance_per_h(planner: Planner, trees: tuple[ModeTrees, ...], offered: Int64Array) -> FloatArray:
    """(n_offered,) the most vehicles an hour that open roads lead into a safe zone from 1 km away: a maximum flow."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    (cars,) = planner.cars(trees)
    graph, src, network = cars.graph, cars.sources, planner.network
    capacity = network.road_capacity_per_h[graph.edge_road]
    x, y = network.plane.forward(network.node_lon, network.node_lat)
    zone_x, zone_y = network.plane.forward(planner.zones.lon, planner.zones.lat)
    per_h: FloatArray = np.zeros(len(offered))
    for k, zone in enumerate(offered.tolist()):
        doors = np.unique(src.edge[src.zone == zone])
        near = np.flatnonzero(np.hypot(x - zone_x[zone], y - zone_y[zone]) <= _ENTRANCE_M)
        near = np.union1d(near, graph.tail[doors])
        n = len(near)
        node: Int64Array = np.full(network.n_nodes, n, dtype=np.int64)  # n: everything farther away
        node[near] = np.arange(n)
        tail, head = node[graph.tail], node[graph.head]
        inner = np.flatnonzero((cars.close_s >= 0.0) & ~graph.private & (tail != head))
        inner = inner[~np.isin(inner, doors)]
        pairs = np.concatenate([tail[inner], tail[doors]]), np.concatenate([head[inner], np.full(len(doors), n + 1)])
        cap = np.concatenate([capacity[inner], np.full(len(doors), 1e6)]).astype(np.int32)
        matrix = csr_array((cap, pairs), shape=(n + 2, n + 2))
        matrix.sum_duplicates()
        per_h[k] = float(maximum_flow(matrix, n, n + 1).flow_value) if n else 0.0
    return per_h


def less_crowded(
    cost_s: FloatArray, people: Int64Array, seats: Int64Array, first: BoolArray, allowed: BoolArray, least: Flow,
    per_h: FloatArray, give: float,
) -> Int64Array:  # fmt: skip
    """(n_zones,) seats, cut down to what can come in in the shortest time for which all are still seated and travel
    grows by no more than `give` of the least."""
    taken = least.people.sum(axis=0)
    busy = np.where(taken > 0, taken / np.maximum(per_h, 1e-9), 0.0)
    low, high = float(people.sum()) / max(float(per_h.sum()), 1e-9), float(busy.max(initial=0.0))
    best = seats
    for _ in range(7):
        if high <= low * 1.05:
            break
        time = (low * high) ** 0.5
        limit = np.minimum(seats, np.ceil(per_h * time).astype(np.int64))
        flow = min_cost_flow(cost_s, people, limit, first, allowed)
        if flow.n_seated == least.n_seated and flow.cost_s <= (1.0 + give) * least.cost_s:
            best, high = limit, time
        else:
            low = time
    return best


class Travel:
    """Each household's travel time if it must go to one safe zone, as far as it matters.

    Most fastest ways stay open long enough, and of those a look at the tree is all it takes. Where one does not, the
    time lies between that of the fastest and that of the way that stays open longest, and the search for the fastest
    one that can be finished in time is dear: it is made for pairs that the flow uses (`settle`), and a flow that is
    least under the lower times, of which it uses exact ones only, is least.
    """

    def __init__(
        self, planner: Planner, c: Columns, trees: tuple[ModeTrees, ...], offered: Int64Array, rows: Int64Array
    ) -> None:
        self.planner, self.c, self.trees, self.offered, self.rows = planner, c, trees, offered, rows
        self.least_s: FloatArray = np.full((len(rows), len(offered)), np.inf)
        self.most_s: FloatArray = np.full((len(rows), len(offered)), np.inf)  #: of a way that can be driven
        self.starts: list[Starts] = []
        self.place: Int64Array = np.zeros(len(rows), dtype=np.int64)  # of a row in its mode's starts
        for number, base in enumerate(trees):
            at = np.flatnonzero(c.tree[rows] == number)
            self.place[at] = np.arange(len(at))
            self.starts.append(planner.starts(base.graph, rows[at]))
            for k in range(len(offered)):
                self._look(number, k, at)

    def _only(self, k: int) -> BoolArray:
        only = np.zeros(len(self.planner.offered), dtype=bool)
        only[self.offered[k]] = True
        return only

    def _look(self, number: int, k: int, at: Int64Array) -> None:
        """Fills in one safe zone's column for the households of a mode."""
        from geo._seating import quick_times

        if not len(at):
            return
        planner, graph, starts = self.planner, self.trees[number].graph, self.starts[number]
        tree, slack_s, on = planner.fastest(graph.on_foot, self._only(k))
        here = np.zeros(len(graph.tail), dtype=bool)
        here[on] = True
        travel, lower = quick_times(
            starts.edge, starts.share, starts.close_s, starts.walk_s, planner.reached[self.rows[at]] - planner.now_s,
            graph.seconds, tree.time_s, slack_s, here, planner.margins.travel, planner.margins.notice_s,
        )  # fmt: skip
        quick = np.isfinite(travel) & (len(planner.members) == 1)
        self.least_s[at[quick], k] = self.most_s[at[quick], k] = travel[quick]
        rest, lower = at[~quick], lower[~quick]
        found = self._choose(number, k, rest, times_only=True)
        self.most_s[rest, k] = found.travel_s[self.rows[rest]]
        self.most_s[rest[found.tree[self.rows[rest]] < 0], k] = np.inf
        open_end = (found.kind[self.rows[rest]] == 1) & (found.inside_m[self.rows[rest]] == 0.0)
        bound = np.where(open_end & (planner.margins.notice_s == 0.0), lower, np.inf)
        self.least_s[rest, k] = np.minimum(self.most_s[rest, k], bound)

    def _choose(self, number: int, k: int, some: Int64Array, *, times_only: bool) -> Columns:
        planner, graph = self.planner, self.trees[number].graph
        found = Columns.of(len(self.c.zone))
        if len(some):
            crossing = bool((self.c.inside_m[self.rows[some]] > 0.0).any())
            full = planner.trees(graph.on_foot, self._only(k), crossing=crossing)
            planner.choose(
                found, full, number, self.rows[some], pick(self.starts[number], self.place[some]), times_only=times_only
            )
        return found

    def settle(self, used: BoolArray) -> bool:
        """Finds the exact times of used pairs (n_rows, n_offered) that are not exact; False: they all were."""
        used = used & (self.least_s < self.most_s)
        for number in range(len(self.trees)):
            of_mode = self.c.tree[self.rows] == number
            for k in np.flatnonzero((used & of_mode[:, None]).any(axis=0)).tolist():
                some = np.flatnonzero(used[:, k] & of_mode)
                found = self._choose(number, k, some, times_only=False)
                self.least_s[some, k] = self.most_s[some, k] = found.travel_s[self.rows[some]]
        return bool(used.any())


def _staying(seconds: FloatArray, stays: BoolArray | None) -> FloatArray:
    """Times as they are weighed: the safe zone that a household was told counts as nearer than it is."""
    return seconds if stays is None else np.where(stays, np.maximum(seconds - STAYS_S, 0.0), seconds)


def seat_everyone(planner: Planner, c: Columns, trees: tuple[ModeTrees, ...], seats: Seats) -> Seated:
    """Gives every household that has a way a safe zone with seats, or the status no-seat. Changes the columns.

    Who has arrived already keeps the columns as they are.
    """
    coming = c.tree >= 0 if seats.arrived is None else (c.tree >= 0) & ~seats.arrived
    rows = np.flatnonzero(coming)
    offered = np.flatnonzero(planner.offered)
    travel = Travel(planner, c, trees, offered, rows)
    threatened = np.isfinite(planner.reached[rows]) | (c.inside_m[rows] > 0.0)
    zone: Int64Array = np.full(len(rows), -1, dtype=np.int64)
    n_seats, n_accessible = seats.seats[offered], seats.accessible_seats[offered]
    bound_s, bound_people, plain_s = 0.0, 0, 0.0
    for needs, room in ((False, np.maximum(n_seats - n_accessible, 0)), (True, n_accessible)):
        some = np.flatnonzero(seats.accessible[rows] == needs)
        if not len(some) or not len(offered):
            continue
        people = seats.people[rows[some]]
        key = planner.doors.road[rows[some], 0].astype(np.int64) * 2 + c.tree[rows[some]]
        key = np.arange(len(some)) if len(some) * len(offered) <= _MAX_PAIRS else key * 2 + threatened[some]
        _, group = np.unique(key, return_inverse=True)
        total = np.bincount(group, weights=people).astype(np.int64)
        before_others = np.bincount(group, weights=threatened[some]) > 0
        stays = None if seats.stays is None else seats.stays[rows[some]][:, None] == offered[None, :]
        allowed = np.zeros((len(total), len(offered)), dtype=bool)
        limit, bound = room, None
        while True:
            least_s = _staying(travel.least_s[some], stays)
            mean = np.zeros((len(total), len(offered)))
            np.add.at(mean, group, least_s * people[:, None])
            mean /= total[:, None]
            flow = min_cost_flow(mean, total, limit, before_others, allowed)
            used = np.zeros(travel.least_s.shape, dtype=bool)
            used[some] = (flow.people > 0)[group]
            if travel.settle(used):
                continue
            if bound is not None or not seats.give or not len(planner.cars(trees)):
                break
            bound = flow
            per_h = entrance_per_h(planner, trees, offered)
            limit = less_crowded(mean, total, room, before_others, allowed, flow, per_h, seats.give)
        cost = _staying(travel.most_s[some], stays)
        zone[some] = plain = whole_households(cost, people, room, group, flow, threatened[some])
        if bound is not None:
            plain = whole_households(cost, people, room, group, bound, threatened[some])
        bound = bound or flow
        plain_s += float(travel.most_s[some[plain >= 0], plain[plain >= 0]].sum())
        bound_s, bound_people = bound_s + bound.cost_s, bound_people + bound.n_seated
    for k, z in enumerate(offered.tolist()):
        mine = rows[zone == k]
        if len(mine):
            planner.towards(c, trees, z, mine)
    seated = zone >= 0
    people = seats.people[rows]
    person_s = float((c.travel_s[rows[seated]] * people[seated]).sum())
    for i in rows[zone < 0].tolist():
        full = bool(np.isfinite(travel.most_s[np.searchsorted(rows, i)]).any())
        c.drop(i, Status.NO_SEAT, "every safe zone that it can reach is full" if full else "no safe zone takes it")
    by_zone = [
        np.bincount(offered[zone[mask]], weights=people[mask], minlength=len(seats.seats)).astype(np.int64)
        for mask in (seated, seated & seats.accessible[rows])
    ]
    return Seated(
        used=by_zone[0], used_accessible=by_zone[1], n_people_seated=int(people[seated].sum()),
        n_people_without=int(people[~seated].sum()), person_s=person_s, bound_person_s=bound_s,
        bound_people=bound_people, plain_travel_s=plain_s,
    )  # fmt: skip
