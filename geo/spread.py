"""Some households' ways are changed so that all are out sooner: what is told, and not only what is simulated.

A road's queue ends no sooner than all that it must let through has passed its end. So the longest such time is brought
down: households whose ways lead over the roads that take longest are asked in the order of what another way costs them,
and go over to the fastest way on which every road still has room. How much longer all ways together may become is a
limit, and the shortest time that it buys is looked for. Nobody is sent a way that closes sooner than the one it
replaces, and nobody who crosses the hazard is asked.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray
from geo.evacuation import STATUSES, Columns, ModeTrees, Plan, Seats, Status
from geo.network import Int32Array
from geo.sweep import run_sweep
from geo.traffic import Clearance, Demand, Rows, Ways, capacity_per_h, flat_of, planned_ways, simulate

Int64Array = npt.NDArray[np.int64]

#: Limits that are tried, by golden sections (Kiefer 1953) of their logarithm: too lax a limit leaves queues, too strict
#: a one spends all on the first roads, or cannot be held. Nine leave 5 % of the range, a tenth of the limit.
_STEPS, _GOLDEN = 9, (5**0.5 - 1) / 2
#: Times that households are asked at one limit; and the least share of them that must have moved to ask again.
_ROUNDS, _WORTH = 12, 0.001


@dataclass(frozen=True)
class Spread:
    """A plan with some ways changed."""

    plan: Plan
    before: Plan  #: without
    demand: Demand
    ways: Ways  #: of those who drive, as the plan tells them
    clearance: Clearance  #: of these ways
    longer_share: float  #: by how much all ways together might become longer
    n_moved: int
    mean_travel_s: float  #: of every household with a way
    mean_before_s: float  #: the same where no way is changed and no seat given out for the sake of clearance


@dataclass
class _Tried:
    """Ways under one limit on the roads' queues."""

    pieces: list[Int32Array]
    ends: Int32Array  #: index into the sources
    travel_s: FloatArray
    leave_by_s: FloatArray


def spread_out(plan: Plan, rows: Rows, demand: Demand, longer_share: float, seats: Seats | None = None) -> Spread:
    """The plan with ways under which those who drive (`rows`) are out sooner, all ways at most `longer_share` longer.

    With seats everybody keeps theirs, and the limit counts against the plan that gives no travel up for entrances of
    safe zones, for households and for people. Raises InvalidInput where the share is not within 0..1.
    """
    if not 0.0 <= longer_share <= 1.0:
        raise InvalidInput(f"longer_share: {longer_share:g} is not within 0..1")
    work = _Work(plan, rows, demand, longer_share, seats)
    ways = planned_ways(plan, rows)
    best, chosen = simulate(work.trees, ways, demand), None
    longest_s = float((work.n_queued(ways.edges, ways.start) / work.per_s).max(initial=0.0))
    low, high = np.log(max(demand.mobilisation_min * 60.0, 1.0)), np.log(max(longest_s, 1.0))
    known: dict[float, float] = {high: _sum(best)}

    def sum_under(limit: float) -> float:
        nonlocal best, chosen
        if limit not in known:
            tried = work.under(float(np.exp(limit)))
            flat, start = flat_of(tried.pieces)
            then = Ways(rows, flat, start, ways.first_share, work.trees.sources.share[tried.ends])
            found = simulate(work.trees, then, demand)
            known[limit] = _sum(found)
            if _sum(found) < _sum(best):
                best, chosen = found, tried
        return known[limit]

    if longer_share > 0.0 and high > low:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        for _ in range(_STEPS - 1):
            if sum_under(left) < sum_under(right):
                high, right = right, left
                left = high - _GOLDEN * (high - low)
            else:
                low, left = left, right
                right = low + _GOLDEN * (high - low)
    if chosen is None:
        made = plan
        n_moved = 0
    else:
        columns, n_moved = work.columns(chosen)
        seated = plan.seated
        if seated is not None and seats is not None:
            on_way = columns.tree >= 0
            person_s = float((columns.travel_s[on_way] * seats.people[on_way]).sum())
            seated = replace(seated, person_s=person_s)
        made = replace(plan, columns=columns, seated=seated)
    travel = made.columns.travel_s[np.isfinite(made.columns.travel_s)]
    mean = float(travel.mean()) if len(travel) else float("nan")
    before = work.before_s / max(len(travel), 1)
    return Spread(made, plan, demand, planned_ways(made, rows), best, longer_share, n_moved, mean, before)


def _sum(found: Clearance) -> float:
    """What is made least: the times for 90 and for 100 % together, so that neither is bought with the other alone."""
    return (found.at(0.9) or 0.0) + (found.at(1.0) or 0.0)


class _Work:
    """What all tries of one plan share."""

    def __init__(self, plan: Plan, rows: Rows, demand: Demand, longer_share: float, seats: Seats | None) -> None:
        self.plan, self.rows, self.demand = plan, rows, demand
        self.number = next(k for k, t in enumerate(plan.trees) if not t.graph.on_foot)
        self.trees: ModeTrees = plan.trees[self.number]
        graph, c = self.trees.graph, plan.columns
        self.per_s: FloatArray = capacity_per_h(graph, demand) / 3600.0 / demand.vehicles  # households
        flat, start = plan.ways(rows)
        self.pieces = [flat[start[i] : start[i + 1]] for i in range(len(rows))]
        clear = c.status[rows] == STATUSES.index(Status.CLEAR)
        self.free: BoolArray = clear & ~c.direct[rows] & (c.kind[rows] != 2)
        self.zones = np.unique(c.zone[rows]).tolist() if plan.seated is not None else [-1]
        all_s = c.travel_s[np.isfinite(c.travel_s)].sum()
        self.before_s = float(all_s)
        self.budget = np.array([longer_share * all_s])
        self.weight: FloatArray = np.ones((len(rows), 1))
        if plan.seated is not None and seats is not None:
            self.before_s = plan.seated.plain_travel_s
            more = 1.0 + longer_share
            bound = more * plan.seated.bound_person_s - plan.seated.person_s
            self.budget = np.array([more * self.before_s - all_s, bound])
            self.weight = np.column_stack([self.weight[:, 0], seats.people[rows].astype(float)])
        never = np.where(self.trees.close_s < np.inf, -1.0, np.inf)
        self.close = (np.where(self.trees.close_s < 0.0, -1.0, np.inf), never)

    def n_queued(self, edges: Int32Array, start: Rows) -> Int64Array:
        from geo._spreading import count_queued

        found: Int64Array = count_queued(edges, start, len(self.per_s))
        return found

    def under(self, limit_s: float) -> _Tried:
        """Ways with which every road lets all through in `limit_s`, as far as the budget and the roads allow."""
        from geo._spreading import move_some

        c, rows = self.plan.columns, self.rows
        most = np.maximum(self.per_s * limit_s, 1.0)
        made = _Tried(
            list(self.pieces), c.source[rows].copy(), c.travel_s[rows].copy(), c.leave_by_s[rows].copy(),
        )  # fmt: skip
        budget = self.budget.copy()
        flat, start = flat_of(made.pieces)
        queued = self.n_queued(flat, start)
        for _ in range(_ROUNDS):
            crowded = (queued > most)[flat]
            crowded[start[1:] - 1] = False
            asked = np.flatnonzero(np.add.reduceat(crowded, start[:-1], dtype=np.int64).astype(bool) & self.free)
            if not len(asked):
                break
            other, ends, travel, leave_by = self._alternatives(asked, queued + 1 > most)
            has = ends >= 0
            asked, ends, travel, leave_by = asked[has], ends[has], travel[has], leave_by[has]
            longer = travel - made.travel_s[asked]
            moved = move_some(
                np.argsort(longer, kind="stable"), *flat_of([made.pieces[i] for i in asked]), *flat_of(other), longer,
                self.weight[asked], budget, queued, most, False,
            )  # fmt: skip
            self._go(made, asked, moved, other, ends, travel, leave_by)
            flat, start = flat_of(made.pieces)
            if moved.sum() <= _WORTH * len(asked):
                break
        self._back(made, budget, queued, most)
        return made

    @staticmethod
    def _go(
        made: _Tried, asked: Rows, moved: BoolArray, other: list[Int32Array], ends: Int32Array, travel: FloatArray,
        leave_by: FloatArray,
    ) -> None:  # fmt: skip
        for k in np.flatnonzero(moved).tolist():
            made.pieces[asked[k]] = other[k]
        some = asked[moved]
        made.ends[some], made.travel_s[some], made.leave_by_s[some] = ends[moved], travel[moved], leave_by[moved]

    def _back(self, made: _Tried, budget: FloatArray, queued: Int64Array, most: FloatArray) -> None:
        """Sends back to their own way those for whom there is room on it after all, the longest detours first."""
        from geo._spreading import move_some

        c, rows = self.plan.columns, self.rows
        gone = np.flatnonzero([a is not b for a, b in zip(made.pieces, self.pieces, strict=True)])
        longer = c.travel_s[rows[gone]] - made.travel_s[gone]
        own = [self.pieces[i] for i in gone]
        moved = move_some(
            np.argsort(longer, kind="stable"), *flat_of([made.pieces[i] for i in gone]), *flat_of(own), longer,
            self.weight[gone], budget, queued, most, True,
        )  # fmt: skip
        some = rows[gone]
        self._go(made, gone, moved, own, c.source[some], c.travel_s[some], c.leave_by_s[some])

    def _alternatives(
        self, asked: Rows, full: BoolArray
    ) -> tuple[list[Int32Array], Int32Array, FloatArray, FloatArray]:
        """(ways, sources, travel times, leave-bys) over roads that are not full; without a source there is none.

        The fastest way over roads that are open now is taken where it does not close sooner than the way that the plan
        has; else the fastest over roads that never close.
        """
        c = self.plan.columns
        ways: dict[int, Int32Array] = {}
        ends: Int32Array = np.full(len(asked), -1, dtype=np.int32)
        travel: FloatArray = np.full(len(asked), np.inf)
        leave_by: FloatArray = np.full(len(asked), np.inf)
        zone_of = c.zone[self.rows[asked]]
        for zone in self.zones:
            left = np.flatnonzero((zone < 0) | (zone_of == zone))
            for forever in (False, True):
                if len(left):
                    left = self._towards(asked, left, zone, full, forever, ways, ends, travel, leave_by)
        return [ways[k] for k in np.flatnonzero(ends >= 0).tolist()], ends, travel, leave_by

    def _towards(
        self, asked: Rows, at: Rows, zone: int, full: BoolArray, forever: bool, ways: dict[int, Int32Array],
        ends: Int32Array, travel: FloatArray, leave_by: FloatArray,
    ) -> Rows:  # fmt: skip
        """Fills in what some (`at`) of the asked would do towards one safe zone (-1: any); gives who found none."""
        from geo._compiled import follow, slack

        trees, c, margin = self.trees, self.plan.columns, self.plan.margins.travel
        graph, src = trees.graph, trees.sources
        good = (trees.source_late_s > -np.inf) & ((zone < 0) | (src.zone == zone))
        if forever:
            good &= trees.source_late_s == np.inf
        close = np.where(full, -1.0, self.close[forever])
        tree = run_sweep(graph, graph.seconds, close, src.edge, trees.source_s, np.where(good, np.inf, -np.inf))
        late = slack(
            tree.order, tree.next_edge, tree.source, graph.seconds * margin, trees.close_s, trees.source_late_s
        )
        rows = self.rows[asked[at]]
        begin = c.begin[rows]
        begin_s = c.begin_s[rows]
        until = np.minimum(late[begin], c.begin_close_s[rows]) - begin_s * margin
        until = np.minimum(until, self.plan.reached_s[rows])
        found = np.isfinite(tree.time_s[begin]) & (until >= np.maximum(c.leave_by_s[rows], 0.0))
        edges, start = follow(tree.next_edge, tree.source, begin[found].astype(np.int32))
        hit = at[found]
        for k, i in enumerate(hit.tolist()):
            ways[i] = edges[start[k] : start[k + 1]]
        ends[hit] = tree.source[edges[start[1:] - 1]]
        travel[hit] = begin_s[found] + tree.time_s[begin[found]]
        leave_by[hit] = until[found]
        none: Rows = at[~found]
        return none

    def columns(self, made: _Tried) -> tuple[Columns, int]:
        """(the plan's columns with the ways that were chosen, how many of them are others)."""
        plan, graph, src = self.plan, self.trees.graph, self.trees.sources
        c = plan.columns.copy()
        at = np.flatnonzero([not np.array_equal(a, b) for a, b in zip(made.pieces, self.pieces, strict=True)])
        some, ends = self.rows[at], made.ends[at]
        longer = made.travel_s[at] - c.travel_s[some]
        c.travel_s[some], c.leave_by_s[some] = made.travel_s[at], made.leave_by_s[at]
        c.source[some], c.zone[some] = ends, src.zone[ends]
        c.kind[some], c.tree[some] = 3, self.number
        inner = np.array([graph.length_m[made.pieces[i][1:-1]].sum() for i in at])
        c.distance_m[some] = (
            plan.doors.distance_m[some, c.candidate[some]] + c.share[some] * graph.length_m[c.begin[some]] + inner
            + src.share[ends] * graph.length_m[src.edge[ends]] + src.access_m[ends]
        )  # fmt: skip
        for i, k, seconds in zip(some.tolist(), at.tolist(), longer.tolist(), strict=True):
            c.paths[i] = made.pieces[k]
            why = f"another way than the fastest, {max(seconds, 0.0):.0f} s longer, so that all are out sooner"
            c.reason[i] = f"{c.reason[i]}; {why}" if c.reason[i] else why
        return c, len(some)
