"""Clearance: what congestion makes of a plan. Point queues, when 90 and 100 % have arrived, and the user equilibrium.

BPR (1964) volume-delay with alpha 0.15 and beta 4; user equilibrium by Gauss-Seidel over classes of households: each
class in turn goes over to the ways that are fastest under the volumes of all the others. Every household thereby keeps
one concrete way that can be driven. Use it to compare plans; it does not promise hours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray
from geo.evacuation import ModeTrees, Plan
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
    n_overtaken: int = 0  #: households that queue until a road of their way, or their safe zone, has closed

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
    """Arrivals of households that queue at the end of every edge, the order to leave being given now."""
    from geo._traffic import point_queue

    graph = trees.graph
    per_s = capacity_per_h(graph, demand) / 3600.0
    n = len(ways.rows)
    arrival, overtaken = point_queue(
        ways.edges, ways.start, ways.first_share, ways.last_share, departures(n, demand),
        np.full(n, demand.vehicles), graph.seconds, per_s, trees.close_s,
    )  # fmt: skip
    return Clearance(arrival[np.isfinite(arrival)], arrival, int(overtaken.sum()))


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
    flat, start = flat_of(pieces)
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
    flat, start = flat_of([pieces[i] for i in mine])
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
    flat, start = flat_of([pieces[i] for i in mine])
    load(flat, start, weight[mine], np.arange(len(mine)), 1.0, volume)
    return float(before.sum()), float(np.maximum(before - after, 0.0)[moved].sum())


def flat_of(pieces: list[Int32Array]) -> tuple[Int32Array, Rows]:
    """(edges, start): ways one after the other."""
    start = np.concatenate([[0], np.cumsum([len(p) for p in pieces])]).astype(np.int64)
    return (np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)).astype(np.int32), start


def _time(flat: Int32Array, start: Rows, cost: FloatArray, first: FloatArray, last: FloatArray) -> FloatArray:
    """(n,) seconds of ways, of their first and last edge the shares that are travelled."""
    total = np.add.reduceat(cost[flat], start[:-1])
    result: FloatArray = total - (1.0 - first) * cost[flat[start[:-1]]] - (1.0 - last) * cost[flat[start[1:] - 1]]
    return result
