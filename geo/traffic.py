"""Clearance: what congestion makes of a plan. Equilibrium routes, point queues, when 90 and 100 % have arrived.

BPR (1964) volume-delay with alpha 0.15 and beta 4; user equilibrium by Gauss-Seidel over classes of households: each
class in turn goes over to the ways that are fastest under the volumes of all the others. Every household thereby keeps
one concrete way that can be driven. Use it to compare plans; it does not promise hours.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray
from geo.evacuation import ModeTrees, Plan, Seats
from geo.network import WALKING_M_S, Int32Array
from geo.sweep import Graph, run_sweep

Rows = npt.NDArray[np.int64]

#: Relative gap at which an equilibrium is good enough.
_ENOUGH = 0.005
ALPHA, BETA = 0.15, 4.0  # Bureau of Public Roads (1964)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Who drives, and when."""

    vehicles: float = 1.3  #: a household
    mobilisation_min: float = 60.0  #: minutes after the order until 90 % have left (Rayleigh curve)
    shadow_share: float = 1.0  #: share of households that leave although the hazard is not forecast to reach them
    capacity_factor: float = 1.0  #: on every road's capacity
    n_classes: int = 20
    n_rounds: int = 4
    n_relief: int = 12  #: times that households are asked to take other ways after the equilibrium
    last_share: float = 0.1  #: of all households, who are asked first where there are no seats to keep
    #: roads whose lanes all go one way, as codes: 2 * road along its shape, + 1 against it
    contraflow: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("vehicles", self.vehicles, 0.01, 20.0), ("mobilisation_min", self.mobilisation_min, 0.0, 5000.0),
            ("shadow_share", self.shadow_share, 0.0, 1.0), ("capacity_factor", self.capacity_factor, 0.01, 10.0),
        ):  # fmt: skip
            if not low <= value <= high:
                raise InvalidInput(f"{name}: {value:g} is not within {low:g}..{high:g}")


@dataclass(frozen=True)
class Ways:
    """One way for each household that drives, as edges of the car graph."""

    rows: Rows  #: households
    edges: Int32Array
    start: Rows
    first_share: FloatArray
    last_share: FloatArray


@dataclass(frozen=True)
class Clearance:
    """When everybody has arrived, in seconds after the order."""

    arrival_s: FloatArray  #: of those who arrive
    household_s: FloatArray  #: (n,) of every household that drives; NaN: it does not

    def at(self, share: float) -> float | None:
        """The time by which this share has arrived; None where nobody drives."""
        if not len(self.arrival_s):
            return None
        index = max(int(np.ceil(share * len(self.arrival_s))) - 1, 0)
        return float(np.sort(self.arrival_s)[index])

    def as_json(self) -> dict[str, Any]:
        """90 % and 100 % times in minutes, and the curve."""
        curve = {f"{k}": _minutes(self.at(k / 100.0)) for k in (10, 25, 50, 75, 90, 95, 100)}
        return {"t90_min": curve["90"], "t100_min": curve["100"], "curve_min_by_percent": curve}


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60.0, 1)


def departures(n: int, demand: Demand) -> FloatArray:
    """(n,) departure times by a Rayleigh curve of which 90 % lie before `mobilisation_min`: its even quantiles.

    Which household leaves when is spread by the golden ratio, so that neighbours do not leave together: no chance.
    """
    share = ((np.arange(n) * 0.6180339887498949) % 1.0 + 0.5 / max(n, 1)) % 1.0
    rank = np.argsort(np.argsort(share, kind="stable"), kind="stable")
    quantile = (rank + 0.5) / max(n, 1)
    scale = demand.mobilisation_min * 60.0 / np.sqrt(-2.0 * np.log(0.1))
    times: FloatArray = scale * np.sqrt(-2.0 * np.log(1.0 - quantile))
    return times


def who_drives(plan: Plan, reached: BoolArray, demand: Demand) -> Rows:
    """Households with a car and a way: all that the hazard reaches, and the shadow share of the others."""
    rows = np.flatnonzero((plan.columns.begin >= 0) & ~plan.households.on_foot)
    golden = (rows * 0.6180339887498949) % 1.0
    return rows[reached[rows] | (golden < demand.shadow_share)]


def planned_ways(plan: Plan, rows: Rows) -> Ways:
    """The ways of a plan as they stand: the fastest, each as if it were alone on the road."""
    c = plan.columns
    edges, start = plan.ways(rows)
    last = np.array(
        [plan.trees[t].sources.share[s] for t, s in zip(c.tree[rows], c.source[rows], strict=True)], dtype=float
    )
    return Ways(rows, edges, start, c.share[rows].copy(), last)


#: What contraflow leaves to the direction against it, for those who live there and for the services.
_LEFT_AGAINST = 0.1


def capacity_per_h(graph: Graph, demand: Demand) -> FloatArray:
    """(n_edges,) vehicles an hour. Contraflow gives a direction the lanes of both, less what the other keeps."""
    capacity: FloatArray = graph.network.road_capacity_per_h[graph.edge_road] * demand.capacity_factor
    codes = np.array(demand.contraflow, dtype=np.int64)
    if len(codes):
        with_, against = graph.edge_of[codes], graph.edge_of[codes ^ 1]
        capacity[with_] += (1.0 - _LEFT_AGAINST) * capacity[against]
        capacity[against] *= _LEFT_AGAINST
    return capacity


def outward(trees: ModeTrees, ways: Ways, roads: Int32Array) -> tuple[int, ...]:
    """Codes of roads in the direction in which more of the ways use them."""
    used = np.bincount(ways.edges, minlength=len(trees.graph.tail))
    edge = trees.graph.edge_of[np.column_stack([2 * roads.astype(np.int64), 2 * roads.astype(np.int64) + 1])]
    codes: list[int] = (2 * roads + (used[edge[:, 1]] > used[edge[:, 0]])).tolist()
    return tuple(codes)


def simulate(trees: ModeTrees, ways: Ways, demand: Demand) -> Clearance:
    """Arrivals of households that queue at the end of every edge."""
    from geo._traffic import point_queue

    graph = trees.graph
    per_s = capacity_per_h(graph, demand) / 3600.0
    n = len(ways.rows)
    arrival = point_queue(
        ways.edges, ways.start, ways.first_share, ways.last_share, departures(n, demand),
        np.full(n, demand.vehicles), graph.seconds, per_s,
    )  # fmt: skip
    return Clearance(arrival[np.isfinite(arrival)], arrival)


def equilibrium(plan: Plan, rows: Rows, demand: Demand) -> tuple[Ways, float]:
    """(ways, relative gap) of a user equilibrium: nobody could be much faster on another way to the same safe zone.

    With seats every household stays with the safe zone of its seat; without, it goes where it is soonest.
    """
    from geo._traffic import load

    trees = next(t for t in plan.trees if not t.graph.on_foot)
    graph = trees.graph
    c = plan.columns
    n = len(rows)
    ways = planned_ways(plan, rows)
    pieces = [ways.edges[ways.start[i] : ways.start[i + 1]] for i in range(n)]
    last = ways.last_share.copy()
    hours = max(demand.mobilisation_min / 60.0, 0.5)
    capacity = capacity_per_h(graph, demand) * hours
    weight = np.full(n, demand.vehicles)
    volume = np.zeros(len(capacity))
    load(ways.edges, ways.start, weight, np.arange(n), 1.0, volume)
    free = _may_change(plan, rows)
    group = (np.arange(n) * 0.6180339887498949) % 1.0
    zones = np.unique(c.zone[rows]).tolist() if plan.seated is not None else [-1]
    n_classes = demand.n_classes if plan.seated is None else max(1, demand.n_classes // 4)
    label = np.minimum((group * n_classes).astype(int), n_classes - 1)
    gap_part, gap_total = 0.0, 0.0

    def cost_now() -> FloatArray:
        cost: FloatArray = graph.seconds * (1.0 + ALPHA * (volume / capacity) ** BETA)
        return cost

    for _ in range(demand.n_rounds):
        gap_part = gap_total = 0.0
        for k in range(n_classes):
            for zone in zones:
                mine = free[(label[free] == k) & ((zone < 0) | (c.zone[rows[free]] == zone))]
                if len(mine):
                    before, gain = _change(plan, rows, mine, zone, weight, volume, pieces, last, cost_now)
                    gap_total, gap_part = gap_total + before, gap_part + gain
        if gap_part < _ENOUGH * gap_total:
            break
    flat, start = _flat(pieces)
    return Ways(rows, flat, start, ways.first_share, last), gap_part / gap_total if gap_total else 0.0


def _may_change(plan: Plan, rows: Rows) -> Rows:
    """Places in `rows` of households whose way may be another: who crosses the hazard keeps the way that avoids it."""
    return np.flatnonzero((plan.columns.kind[rows] != 2) & ~plan.columns.direct[rows])


def _change(
    plan: Plan, rows: Rows, mine: Rows, zone: int, weight: FloatArray, volume: FloatArray, pieces: list[Int32Array],
    last: FloatArray, cost_of: Callable[[], FloatArray],
) -> tuple[float, float]:  # fmt: skip
    """(seconds before, seconds gained) when some households take the ways that cost least without them on the roads.

    Writes `volume`, `pieces` and `last`. `zone` -1: to whichever safe zone costs least.
    """
    from geo._compiled import follow
    from geo._traffic import load

    trees = next(t for t in plan.trees if not t.graph.on_foot)
    graph, src = trees.graph, trees.sources
    c = plan.columns
    flat, start = _flat([pieces[i] for i in mine])
    load(flat, start, weight[mine], np.arange(len(mine)), -1.0, volume)
    cost = cost_of()
    before = _time(flat, start, cost, c.share[rows[mine]], last[mine])
    good = (trees.source_late_s > -np.inf) & ((zone < 0) | (src.zone == zone))
    source_s = src.share * cost[src.edge] + src.access_m / WALKING_M_S
    close = np.where(trees.close_s < 0.0, -1.0, np.inf)
    tree = run_sweep(graph, cost, close, src.edge, source_s, np.where(good, np.inf, -np.inf))
    flat, start = follow(tree.next_edge, tree.source, c.begin[rows[mine]].astype(np.int32))
    ends = tree.source[flat[start[1:] - 1]]
    moved = (ends >= 0) & (np.diff(start) > 1)
    after = _time(flat, start, cost, c.share[rows[mine]], src.share[np.maximum(ends, 0)])
    moved &= after < before
    for j in np.flatnonzero(moved).tolist():
        pieces[mine[j]] = flat[start[j] : start[j + 1]]
        last[mine[j]] = src.share[ends[j]]
    flat, start = _flat([pieces[i] for i in mine])
    load(flat, start, weight[mine], np.arange(len(mine)), 1.0, volume)
    return float(before.sum()), float(np.maximum(before - after, 0.0)[moved].sum())


def relieve(plan: Plan, ways: Ways, demand: Demand) -> tuple[Ways, Clearance]:
    """(ways, clearance) after those who would arrive last, or the roads with the longest queues, were relieved.

    Without seats the last may go to another safe zone, and the last are asked. With seats everybody keeps theirs, and
    what counts is the load of the few roads into each safe zone.
    """
    return _relieve_late(plan, ways, demand) if plan.seated is None else _relieve_loaded(plan, ways, demand)


def _relieve_late(plan: Plan, ways: Ways, demand: Demand) -> tuple[Ways, Clearance]:
    """(ways, clearance) after the households that would arrive last changed to roads whose queues end sooner.

    An equilibrium asks each driver's time, clearance the last arrival. In turn the last households weigh each road by
    the free-flow time and the time that its whole load takes to pass its end beyond the mobilisation; what brings the
    last arrival forward in the simulation is kept, and else fewer of them are asked.
    """
    from geo._traffic import load

    trees = next(t for t in plan.trees if not t.graph.on_foot)
    graph, c, rows = trees.graph, plan.columns, ways.rows
    best = simulate(trees, ways, demand)
    per_s = capacity_per_h(graph, demand) / 3600.0
    weight = np.full(len(rows), demand.vehicles)
    free = _may_change(plan, rows)
    asked = np.zeros(len(rows), dtype=bool)
    asked[free] = True
    share = demand.last_share
    for _ in range(demand.n_relief):
        arrival = np.where(np.isfinite(best.household_s), best.household_s, -1.0)
        late = np.argsort(-arrival, kind="stable")[: max(int(share * len(rows)), 1)]
        late = late[asked[late]]
        if not len(late):
            break
        pieces = [ways.edges[ways.start[i] : ways.start[i + 1]] for i in range(len(rows))]
        last = ways.last_share.copy()
        volume = np.zeros(len(per_s))
        load(ways.edges, ways.start, weight, np.arange(len(rows)), 1.0, volume)

        def cost_now(volume: FloatArray = volume) -> FloatArray:
            wait = np.maximum(volume / per_s - demand.mobilisation_min * 60.0, 0.0)
            cost: FloatArray = graph.seconds + wait
            return cost

        zones = np.unique(c.zone[rows[late]]).tolist() if plan.seated is not None else [-1]
        for k in range(10):
            for zone in zones:
                mine = late[k::10]
                mine = mine[(zone < 0) | (c.zone[rows[mine]] == zone)]
                if len(mine):
                    _change(plan, rows, mine, zone, weight, volume, pieces, last, cost_now)
        flat, start = _flat(pieces)
        tried = Ways(rows, flat, start, ways.first_share, last)
        found = simulate(trees, tried, demand)
        if (found.at(1.0) or 0.0) < (best.at(1.0) or 0.0):
            ways, best = tried, found
        else:
            share /= 3.0
    return ways, best


def _relieve_loaded(plan: Plan, ways: Ways, demand: Demand) -> tuple[Ways, Clearance]:
    """(ways, clearance) after households left the roads whose queues would end last.

    An equilibrium asks each driver's time, clearance the last arrival. A road's queue ends no sooner than its whole
    load needs to pass its end; in turn the households whose ways lead over the roads with the longest of these times
    change to the way that costs least when a road costs its free-flow time times 1 + (its time / the longest
    allowed)^_STEEP: the larger the power, the nearer this is to the least longest time. What brings the last arrival
    forward in the simulation is kept.
    """
    from geo._traffic import load

    trees = next(t for t in plan.trees if not t.graph.on_foot)
    graph, c, rows = trees.graph, plan.columns, ways.rows
    best = simulate(trees, ways, demand)
    per_s = capacity_per_h(graph, demand) / 3600.0
    weight = np.full(len(rows), demand.vehicles)
    free = np.zeros(len(rows), dtype=bool)
    free[_may_change(plan, rows)] = True
    pieces = [ways.edges[ways.start[i] : ways.start[i + 1]] for i in range(len(rows))]
    last = ways.last_share.copy()
    volume = np.zeros(len(per_s))
    load(ways.edges, ways.start, weight, np.arange(len(rows)), 1.0, volume)
    fixed: BoolArray = np.zeros(len(per_s), dtype=bool)  # roads that nobody could leave
    for _ in range(demand.n_relief):
        flat, start = _flat(pieces)
        passing_s = volume / per_s
        # where a way ends there is no queue: what is beyond the last road's start is the safe zone's own
        longest = float(np.where(fixed, 0.0, passing_s).max(initial=0.0))
        if longest <= demand.mobilisation_min * 60.0:
            break
        allowed = _RELIEF * longest
        hot = (passing_s > allowed) & ~fixed
        asked = np.flatnonzero(np.add.reduceat(hot[flat], start[:-1]).astype(bool) & free)

        def cost_now(volume: FloatArray = volume, allowed: float = allowed) -> FloatArray:
            cost: FloatArray = graph.seconds * (1.0 + (volume / per_s / allowed) ** _STEEP)
            return cost

        before = passing_s[hot].copy()
        zones = np.unique(c.zone[rows[asked]]).tolist() if plan.seated is not None else [-1]
        for zone in zones:
            of_zone = asked[(zone < 0) | (c.zone[rows[asked]] == zone)]
            n_parts = int(np.clip(len(of_zone) // 20, 1, 20))
            for k in range(n_parts):
                mine = of_zone[k::n_parts]
                if len(mine):
                    _change(plan, rows, mine, zone, weight, volume, pieces, last, cost_now)
        fixed[np.flatnonzero(hot)[volume[hot] / per_s[hot] > 0.98 * before]] = True
        flat, start = _flat(pieces)
        tried = Ways(rows, flat, start, ways.first_share, last.copy())
        found = simulate(trees, tried, demand)
        if (found.at(1.0) or 0.0) < (best.at(1.0) or 0.0):
            ways, best = tried, found
    return ways, best


#: Of the longest time, what roads are brought down to in one step; and how steeply they cost more beyond it.
_RELIEF, _STEEP = 0.7, 8.0


def _flat(pieces: list[Int32Array]) -> tuple[Int32Array, Rows]:
    start = np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.int64)
    return (np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)).astype(np.int32), start


def _time(flat: Int32Array, start: Rows, cost: FloatArray, first: FloatArray, last: FloatArray) -> FloatArray:
    """(n,) seconds of ways, of their first and last edge the shares that are travelled."""
    total = np.add.reduceat(cost[flat], start[:-1])
    result: FloatArray = total - (1.0 - first) * cost[flat[start[:-1]]] - (1.0 - last) * cost[flat[start[1:] - 1]]
    return result


def clearance(
    plan: Plan, unseated: Plan, reached: BoolArray, demand: Demand, contraflow: Int32Array | None = None,
    seats: Seats | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The clearance of a plan beside "nearest and fastest", as `plan.json` tells it, with a band of capacity.

    `unseated` is the same plan without seats: everybody on the fastest way to the nearest safe zone. With `seats` the
    peer that counts is "nearest and fastest until full" (`geo.drive_on`): a way into a full safe zone gets nobody a
    seat, so that nearest and fastest, told as well, is no plan. `contraflow` are
    roads of two directions whose lanes all go outwards in a scenario beside it; nobody's route is made of it.
    """
    rows = who_drives(plan, reached, demand)
    rows = rows[unseated.columns.begin[rows] >= 0]
    cars = [t for t in plan.trees if not t.graph.on_foot]
    if not len(rows) or not cars:
        return {"households_driving": 0, "reason": "no household drives"}
    nearest = planned_ways(unseated, rows)
    ways, gap = equilibrium(plan, rows, demand)
    base = peer = simulate(cars[0], nearest, demand)
    if seats is not None:
        from geo.drive_on import drive_on

        peer = drive_on(unseated, rows, seats.people, np.maximum(seats.seats - seats.accessible_seats, 0), demand)
    ways, ours = relieve(plan, ways, demand)
    band = {
        name: simulate(cars[0], ways, replace(demand, capacity_factor=demand.capacity_factor * factor)).as_json()
        for name, factor in (("capacity_80_percent", 0.8), ("capacity_120_percent", 1.2))
    }
    t100, b100, p100 = ours.at(1.0), base.at(1.0), peer.at(1.0)
    with_seats: dict[str, Any] = {}
    if seats is not None:
        with_seats = {
            "nearest_and_fastest_until_full": peer.as_json()
            | {"households_without_a_seat": len(rows) - len(peer.arrival_s)},
            "times_sooner_than_nearest_ignoring_seats": round(b100 / t100, 2) if t100 and b100 else None,
        }
    scenario: dict[str, Any] = {}
    if contraflow is not None:
        turned = replace(demand, contraflow=outward(cars[0], ways, contraflow))
        _, found = relieve(plan, equilibrium(plan, rows, turned)[0], turned)
        scenario["contraflow"] = {
            "n_roads": len(contraflow), **found.as_json(),
            "note": "a scenario for planners: it needs an order, and no household's route uses it",
        }  # fmt: skip
    return {
        "households_driving": len(rows),
        "demand": {k: v for k, v in asdict(demand).items() if k != "contraflow"},
        "spread": ours.as_json(),
        "nearest_and_fastest": base.as_json(),
        "times_sooner_at_100_percent": round(p100 / t100, 2) if t100 and p100 else None,
        **with_seats,
        "band": {k: {"t90_min": v["t90_min"], "t100_min": v["t100_min"]} for k, v in band.items()},
        "relative_gap": round(gap, 4),
        **scenario,
        "method": "BPR equilibrium, then the last on roads with shorter queues; point queues without spill-back or "
        "signals: compares plans, does not promise hours",
    }
