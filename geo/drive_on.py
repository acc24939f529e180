"""Nearest and fastest where safe zones fill up: who finds one full drives on to the next nearest that has seats.

This is what people do without assigned seats, and so what a plan with seats is compared with. Everybody begins towards
the nearest safe zone and learns at its door whether there is room. There they are told which of the others still has
seats for the whole household at that moment, and drive to the one nearest from there; it may be full when they come,
and then they drive on again. Queues are those of `geo.traffic.simulate`.
"""

import numpy as np
import numpy.typing as npt

from geo.crs import FloatArray
from geo.evacuation import ModeTrees, Plan
from geo.sweep import run_sweep
from geo.traffic import Clearance, Demand, Rows, capacity_per_h, departures

Int64Array = npt.NDArray[np.int64]


def drive_on(unseated: Plan, rows: Rows, people: Int64Array, seats: Int64Array, demand: Demand) -> Clearance:
    """The clearance of some households that drive and look for seats on their own.

    Parameters
    ----------
    unseated : the plan without seats: everybody's fastest way to the nearest safe zone
    rows : households that drive, each with a way in `unseated`
    people : (n_households,) whole households take seats
    seats : (n_zones,)
    """
    from geo._traffic import queue_until_seated

    trees = next(t for t in unseated.trees if not t.graph.on_foot)
    graph, src, c = trees.graph, trees.sources, unseated.columns
    offered = np.flatnonzero(unseated.offered)
    next_edge, ends, time_s = _towards_each(trees, offered)
    place: Int64Array = np.full(len(unseated.offered), -1, dtype=np.int64)
    place[offered] = np.arange(len(offered))
    arrival = queue_until_seated(
        c.begin[rows].astype(np.int32), c.share[rows], c.direct[rows], c.source[rows].astype(np.int32),
        place[c.zone[rows]], people[rows], departures(len(rows), demand), np.full(len(rows), demand.vehicles),
        seats[offered].copy(), next_edge, ends, time_s, src.share, graph.reverse, graph.seconds,
        capacity_per_h(graph, demand) / 3600.0,
    )  # fmt: skip
    return Clearance(arrival[np.isfinite(arrival)], arrival)


def _towards_each(
    trees: ModeTrees, offered: Int64Array
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], FloatArray]:
    """(next_edge, source, time_s), each (n_offered, n_edges): a sweep over open roads towards every safe zone alone."""
    graph, src = trees.graph, trees.sources
    shape = (len(offered), len(graph.tail))
    next_edge, ends = np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.int32)
    time_s: FloatArray = np.empty(shape)
    close = np.where(trees.close_s < 0.0, -1.0, np.inf)
    for k, zone in enumerate(offered.tolist()):
        good = (trees.source_late_s > -np.inf) & (src.zone == zone)
        tree = run_sweep(graph, graph.seconds, close, src.edge, trees.source_s, np.where(good, np.inf, -np.inf))
        next_edge[k], ends[k], time_s[k] = tree.next_edge, tree.source, tree.time_s
    return next_edge, ends, time_s
