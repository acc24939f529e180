"""The work of `routing.plan_routes`: sweeps towards safe zones, and each household's best start, as arrays."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geo.closing import Closures, Override, Stretches, closures, line_arrival
from geo.crs import BoolArray, FloatArray
from geo.evacuation import (
    OWN_ROAD_M,
    Columns,
    Doors,
    Forecast,
    Households,
    Margins,
    ModeTrees,
    SafeZones,
    Status,
    arrival_at,
    weighted_low,
)
from geo.network import WALKING_M_S, Int32Array, RoadNetwork
from geo.snapping import snap
from geo.sweep import Graph, Sources, Tree, graph_of, leads_on, run_sweep

Rows = npt.NDArray[np.int64]

#: One second inside the hazard weighs as much as this many outside: more than any route takes, so inside comes first.
_INSIDE_WEIGHT = 1e6
#: Flooded or burning ground is crossed at walking pace at best.
INSIDE_SPEED_M_S = 1.4
#: Roads that are this little farther from a safe zone than the nearest lead into it as well.
_ZONE_ROADS_M = 25.0


class Starts(NamedTuple):
    """The ways of setting off: for k roads at a door, along them and against them. Shapes (n, 2 k)."""

    edge: Int32Array  #: -1: not for this mode
    share: FloatArray  #: of the edge, until its end
    close_s: FloatArray  #: when the stretch and the walk to it close, from now; -1: closed
    inside_m: FloatArray
    walk_s: FloatArray  #: to the road, and what changing to another road takes
    member_close_s: tuple[FloatArray, ...]


class _Member(NamedTuple):
    """What one forecast does."""

    forecast: Forecast
    closed: Closures
    zone_close: FloatArray
    reached: FloatArray


class Planner:
    """The sweeps and choices of one plan. Nothing here is kept between plans."""

    def __init__(
        self,
        network: RoadNetwork,
        forecasts: tuple[Forecast, ...],
        zones: SafeZones,
        households: Households,
        doors: Doors,
        now_s: float,
        margins: Margins,
        overrides: tuple[Override, ...],
    ) -> None:
        self.network, self.zones, self.households, self.doors = network, zones, households, doors
        self.now_s, self.margins, self.overrides = now_s, margins, overrides
        self.weights = np.array([f.weight for f in forecasts], dtype=float)
        self.members = [
            _Member(
                f,
                closures(network, f.hazard, now_s, partial=f.partial, overrides=overrides),
                arrival_at(f.hazard, zones.lon, zones.lat),
                arrival_at(f.hazard, households.lon, households.lat),
            )
            for f in forecasts
        ]
        first = self.members[0].closed
        if len(self.members) == 1:
            self.closed = first
        else:
            self.closed = replace(
                first,
                close_s=self._low([m.closed.close_s for m in self.members]),
                inside_m=np.max([m.closed.inside_m for m in self.members], axis=0),
            )
        self.zone_close = self._low([m.zone_close for m in self.members])
        self.reached = self._low([m.reached for m in self.members])
        self.zone_doors: dict[bool, Doors] = {on_foot: self._zone_doors(on_foot) for on_foot in (False, True)}
        self.zone_on_network: BoolArray = self.zone_doors[False].road[:, 0] >= 0
        self.zone_on_network |= self.zone_doors[True].road[:, 0] >= 0
        self.offered: BoolArray = (self.zone_close == np.inf) & self.zone_on_network
        if not self.offered.any():
            self.offered = (self.zone_close > now_s) & self.zone_on_network
        roads = [doors.road.ravel()] + [d.road.ravel() for d in self.zone_doors.values()]
        self.stretches = [
            Stretches(network, m.forecast.hazard, m.closed, np.concatenate(roads), now_s) for m in self.members
        ]

    def _low(self, values: list[FloatArray]) -> FloatArray:
        return weighted_low(values, self.weights, self.margins.quantile)

    # ---------------------------------------------------------------- safe zones
    def _zone_doors(self, on_foot: bool) -> Doors:
        usable = (
            self.network.road_foot
            if on_foot
            else self.network.road_car & self.network.has_doors & ~self.network.road_private
        )
        n = len(self.zones.lon)
        if not usable.any():
            return Doors(np.full((n, 1), -1, dtype=np.int32), *(np.zeros((n, 1)) for _ in range(4)))
        found = snap(
            self.network, self.zones.lon, self.zones.lat, max_m=self.margins.max_snap_m, usable=usable, n_roads=4,
            others_m=self.margins.max_snap_m,
        )  # fmt: skip
        road = np.where(found.distance_m <= found.distance_m[:, :1] + _ZONE_ROADS_M, found.road, -1)
        doors = Doors(road.astype(np.int32), found.fraction, found.distance_m, found.lon, found.lat)
        main = leads_on(self.network, on_foot, towards=True)
        lost = np.flatnonzero((road[:, 0] >= 0) & ~((road >= 0) & main[np.maximum(road, 0)]).any(axis=1))
        if not len(lost) or not (usable & main).any():
            return doors
        # its roads are an island of the network: they stay its doors, for those who live there, and the nearest road
        # that is none becomes one more, as for households in `find_doors`
        joined = snap(
            self.network, self.zones.lon[lost], self.zones.lat[lost], max_m=self.margins.max_snap_m,
            usable=usable & main,
        )  # fmt: skip
        away = joined.distance_m[:, 0]
        moves = (joined.road[:, 0] >= 0) & ((away <= OWN_ROAD_M) | (found.distance_m[lost, 0] > OWN_ROAD_M))
        for name in ("road", "fraction", "distance_m", "lon", "lat"):
            getattr(doors, name)[lost[moves], -1] = getattr(joined, name)[moves, 0]
        return doors

    def sources(self, graph: Graph, offered: BoolArray) -> tuple[Sources, tuple[FloatArray, ...]]:
        """Where ways of a mode end, and when each of them closes under each forecast (from now)."""
        doors = self.zone_doors[graph.on_foot]
        zone, k = np.nonzero((doors.road >= 0) & offered[:, None])
        road, fraction = doors.road[zone, k], doors.fraction[zone, k]
        lon, lat = doors.lon[zone, k], doors.lat[zone, k]
        pieces = []
        for against in (0, 1):
            edge = graph.edge_of[2 * road + against]
            share = 1.0 - fraction if against else fraction
            lo, hi = (fraction, np.ones_like(fraction)) if against else (np.zeros_like(fraction), fraction)
            closes = []
            for member, stretches in zip(self.members, self.stretches, strict=True):
                walk = line_arrival(member.forecast.hazard, lon, lat, self.zones.lon[zone], self.zones.lat[zone])
                when = np.minimum(walk, member.zone_close[zone])
                when = np.where(when <= self.now_s, -1.0, when - self.now_s)
                closes.append(np.minimum(when, stretches.of(road, lo, hi)[0]))
            good = edge >= 0
            pieces.append((edge[good], zone[good], share[good], doors.distance_m[zone, k][good],
                           *(c[good] for c in closes)))  # fmt: skip
        columns = [np.concatenate(both) for both in zip(*pieces, strict=True)]
        members = tuple(columns[4:])
        return (
            Sources(columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2], columns[3],
                    self._low(list(members))),
            members,
        )  # fmt: skip

    # ---------------------------------------------------------------- sweeps
    def trees(self, on_foot: bool, offered: BoolArray, *, crossing: bool = True) -> ModeTrees:
        """The sweeps of a mode towards the offered safe zones; without `crossing` none through the hazard."""
        from geo._compiled import add_up, slack

        graph = graph_of(self.network, on_foot)
        margin, road = self.margins.travel, graph.edge_road
        seconds = graph.seconds
        slow = seconds * margin
        close = self._close(self.closed, road)
        sources, member_close = self.sources(graph, offered)
        source_m = sources.share * graph.length_m[sources.edge] + sources.access_m
        source_s = sources.share * seconds[sources.edge] + sources.access_m / WALKING_M_S
        source_late = self._source_late(sources.close_s, source_s)
        alive = source_late > -np.inf
        forever = np.where(alive, np.inf, -np.inf)
        open_now = np.where(close < 0.0, -1.0, np.inf)
        fastest = run_sweep(graph, seconds, open_now, sources.edge, source_s, forever)
        latest = run_sweep(graph, slow, close, sources.edge, source_s * margin, source_late)
        inside_m = self.closed.inside_m[road]
        inside_s = inside_m / INSIDE_SPEED_M_S
        crossing_s = inside_s + seconds * (1.0 - inside_m / graph.length_m)
        cost = inside_s * _INSIDE_WEIGHT + crossing_s
        barred = np.where(self.closed.barred[road], -1.0, np.inf)
        share, edge = sources.share, sources.edge
        walk_s = sources.access_m / WALKING_M_S
        dry = (self.zone_close[sources.zone] > self.now_s) & (barred[edge] > 0.0)
        risky = (
            run_sweep(graph, cost, barred, edge, share * cost[edge] + walk_s, np.where(dry, np.inf, -np.inf))
            if crossing
            else fastest._replace(time_s=np.full(len(cost), np.inf))
        )
        fastest_m, fastest_end = add_up(*fastest[4:], *fastest[2:4], graph.length_m, source_m)
        latest_m, latest_end = add_up(*latest[4:], *latest[2:4], graph.length_m, source_m)
        risky_m, risky_end = add_up(*risky[4:], *risky[2:4], graph.length_m, source_m)
        risky_inside, _ = add_up(*risky[4:], *risky[2:4], inside_m, share * inside_m[edge])
        risky_s, _ = add_up(*risky[4:], *risky[2:4], crossing_s, share * crossing_s[edge] + walk_s)
        late: list[FloatArray] = []
        member_source_late: list[FloatArray] = []
        if len(self.members) > 1:
            for member, closes in zip(self.members, member_close, strict=True):
                member_source_late.append(self._source_late(closes, source_s))
                tree = run_sweep(
                    graph, slow, self._close(member.closed, road), edge, source_s * margin, member_source_late[-1]
                )
                late.append(tree.late_s)
        return ModeTrees(
            graph, sources, close, source_s, source_late, fastest, fastest_m, fastest_end,
            slack(fastest.order, fastest.next_edge, fastest.source, slow, close, source_late), latest, latest_m,
            latest_end, latest.time_s / margin, risky, risky_m, risky_end, risky_inside, risky_s, tuple(late),
            tuple(member_source_late),
        )  # fmt: skip

    @staticmethod
    def cars(trees: tuple[ModeTrees, ...]) -> tuple[ModeTrees, ...]:
        """The trees of those who drive."""
        return tuple(tree for tree in trees if not tree.graph.on_foot)

    def fastest(self, on_foot: bool, offered: BoolArray) -> tuple[Tree, FloatArray, Int32Array]:
        """(tree, slack, edges of its safe zones): the fastest ways over open roads, and how long each can be driven."""
        from geo._compiled import slack

        graph = graph_of(self.network, on_foot)
        close = self._close(self.closed, graph.edge_road)
        sources, _ = self.sources(graph, offered)
        source_s = sources.share * graph.seconds[sources.edge] + sources.access_m / WALKING_M_S
        late = self._source_late(sources.close_s, source_s)
        open_now = np.where(close < 0.0, -1.0, np.inf)
        tree = run_sweep(
            graph, graph.seconds, open_now, sources.edge, source_s, np.where(late > -np.inf, np.inf, -np.inf)
        )
        slow = graph.seconds * self.margins.travel
        return tree, slack(tree.order, tree.next_edge, tree.source, slow, close, late), sources.edge

    def _close(self, closed: Closures, road: Int32Array) -> FloatArray:
        close: FloatArray = np.where(closed.closed(self.now_s), -1.0, closed.close_s - self.now_s)[road]
        return close

    def _source_late(self, close_s: FloatArray, source_s: FloatArray) -> FloatArray:
        late: FloatArray = np.where(close_s < 0.0, -np.inf, close_s - source_s * self.margins.travel)
        return late

    # ---------------------------------------------------------------- starts
    def starts(self, graph: Graph, rows: Rows) -> Starts:
        """How the households of these rows can set off."""
        doors = self.doors
        road, fraction = doors.road[rows], doors.fraction[rows]
        safe = np.maximum(road, 0)
        lon = np.broadcast_to(self.households.lon[rows][:, None], road.shape)
        lat = np.broadcast_to(self.households.lat[rows][:, None], road.shape)
        edge = np.concatenate(
            [np.where(road >= 0, graph.edge_of[2 * safe + against], -1) for against in (0, 1)], axis=1
        )
        one = np.ones_like(fraction)
        closes, inside = [], []
        for member, stretches in zip(self.members, self.stretches, strict=True):
            ahead = stretches.of(road, fraction, one)
            back = stretches.of(road, 0.0 * one, fraction)
            walk = line_arrival(member.forecast.hazard, lon, lat, doors.lon[rows], doors.lat[rows])
            walk = np.where(walk <= self.now_s, -1.0, walk - self.now_s)
            closes.append(np.minimum(np.concatenate([ahead[0], back[0]], axis=1), np.tile(walk, 2)))
            inside.append(np.concatenate([ahead[1], back[1]], axis=1))
        distance = np.where(road >= 0, doors.distance_m[rows], 0.0)
        walk_s = distance / WALKING_M_S
        walk_s[:, 1:] += self.margins.change_road_s
        return Starts(
            edge.astype(np.int32), np.concatenate([1.0 - fraction, fraction], axis=1), self._low(closes),
            np.max(inside, axis=0), np.tile(walk_s, 2), tuple(closes) if len(closes) > 1 else (),
        )  # fmt: skip

    def _direct(self, trees: ModeTrees, starts: Starts) -> list[tuple[Rows, Rows, int, FloatArray]]:
        """(rows, columns, source, free-flow time) of starts whose safe zone stands on the same edge, ahead of them."""
        found = []
        hit = np.isin(starts.edge, trees.sources.edge) & (starts.edge >= 0)
        at, column = np.nonzero(hit)
        edges = starts.edge[at, column]
        begin = 1.0 - starts.share[at, column]
        for source, edge in enumerate(trees.sources.edge):
            mine = (edges == edge) & (begin <= trees.sources.share[source] + 1e-12)
            if not mine.any():
                continue
            road_s = (trees.sources.share[source] - begin[mine]) * trees.graph.seconds[edge]
            walk_s = trees.sources.access_m[source] / WALKING_M_S + starts.walk_s[at[mine], column[mine]]
            found.append((at[mine], column[mine], source, np.maximum(road_s, 0.0) + walk_s))
        return found

    # ---------------------------------------------------------------- choices
    def everyone(self) -> tuple[Columns, tuple[ModeTrees, ...]]:
        """Every household's outcome, and the trees that they refer to."""
        columns = Columns.of(len(self.households.lon))
        made: list[ModeTrees] = []
        on_road = self.doors.road[:, 0] >= 0
        for i in np.flatnonzero(~on_road):
            columns.reason[i] = f"no road within {self.margins.max_snap_m:.0f} m"
        for on_foot in (False, True):
            rows = np.flatnonzero(on_road & (self.households.on_foot == on_foot))
            if not len(rows):
                continue
            if not self.offered.any():
                self._tell(columns, rows, "no safe zone is left: all are reached by the hazard or off the roads")
                continue
            made.append(self.trees(on_foot, self.offered))
            self.choose(columns, made[-1], len(made) - 1, rows)
        return columns, tuple(made)

    def towards(self, c: Columns, base: tuple[ModeTrees, ...], zone: int, rows: Rows) -> None:
        """Writes into `c` what some households do if they must go to one safe zone, as paths over the base sources."""
        from geo._compiled import follow

        only = np.zeros(len(self.offered), dtype=bool)
        only[zone] = True
        found = Columns.of(len(self.households.lon))
        for number, all_zones in enumerate(base):
            graph = all_zones.graph
            mine = rows[c.tree[rows] == number]
            if not len(mine):
                continue
            crossing = bool((c.inside_m[mine] > 0.0).any())
            trees = self.trees(graph.on_foot, only, crossing=crossing)
            self.choose(found, trees, number, mine)
            index = {
                key: i
                for i, key in enumerate(
                    zip(all_zones.sources.edge, all_zones.sources.zone, all_zones.sources.share, strict=True)
                )
            }
            renamed = np.array(
                [index[key] for key in zip(trees.sources.edge, trees.sources.zone, trees.sources.share, strict=True)],
                dtype=np.int32,
            )
            for kind, tree in enumerate((trees.fastest, trees.latest, trees.risky)):
                some = mine[(found.kind[mine] == kind) & (found.begin[mine] >= 0) & ~found.direct[mine]]
                edges, start = follow(tree.next_edge, tree.source, found.begin[some])
                found.paths |= {int(i): edges[start[k] : start[k + 1]] for k, i in enumerate(some)}
            placed = mine[found.source[mine] >= 0]
            found.source[placed] = renamed[found.source[placed]]
            found.kind[placed] = 3
            c.take(found, mine)

    def _tell(self, columns: Columns, rows: Rows, reason: str) -> None:
        for i in rows:
            status = Status.SHELTER_IN_PLACE if self.reached[i] <= self.now_s else Status.CUT_OFF
            columns.drop(int(i), status, reason)

    def choose(
        self, c: Columns, trees: ModeTrees, number: int, rows: Rows, starts: Starts | None = None, *,
        times_only: bool = False,
    ) -> None:  # fmt: skip
        """Fills the columns of some households of the trees' mode; `starts` where they are known already.

        With `times_only` nobody's way is searched for one by one: where the fastest closes too soon, it is the one that
        stays open longest.
        """
        starts = starts or self.starts(trees.graph, rows)
        outside = self.reached[rows] > self.now_s
        clear = np.zeros(len(rows), dtype=bool)
        clear[outside] = self._clear(c, trees, number, rows[outside], pick(starts, outside), times_only=times_only)
        rest = ~clear
        self._through(c, trees, number, rows[rest], pick(starts, rest), outside[rest])

    def _clear(
        self, c: Columns, trees: ModeTrees, number: int, rows: Rows, s: Starts, *, times_only: bool = False
    ) -> BoolArray:
        """Sets the households that have a way over open roads which can be finished when begun now."""
        n = len(rows)
        if not n:
            return np.zeros(0, dtype=bool)
        margin, graph = self.margins.travel, trees.graph
        safe = np.maximum(s.edge, 0)
        begin_s = s.walk_s + s.share * graph.seconds[safe]
        usable = (s.edge >= 0) & (s.close_s >= 0.0)
        fast = np.where(usable, begin_s + trees.fastest.time_s[safe], np.inf)
        hold = np.where(usable, np.minimum(trees.slack_s[safe], s.close_s) - begin_s * margin, -np.inf)
        late = np.where(usable, np.minimum(trees.latest.late_s[safe], s.close_s) - begin_s * margin, -np.inf)
        late_s = np.where(usable, begin_s + trees.latest_s[safe], np.inf)
        width = s.edge.shape[1]
        end, late_end = trees.fastest_end[safe], trees.latest_end[safe]
        member = [
            np.where((s.edge >= 0) & (close >= 0.0), np.minimum(tree[safe], close) - begin_s * margin, -np.inf)
            for tree, close in zip(trees.member_late_s, s.member_close_s, strict=True)
        ]
        direct = np.full((n, width), -1, dtype=np.int32)
        for at, column, source, travel in self._direct(trees, s):
            open_ = trees.source_late_s[source] > -np.inf
            when = np.minimum(trees.sources.close_s[source], np.inf) - travel * margin
            for m, many in enumerate(member):
                many_late = trees.member_source_late_s[m][source]
                closes = many_late + trees.source_s[source] * margin - travel * margin
                many[at, column] = np.maximum(many[at, column], closes)
            if not open_:
                continue
            better = travel < fast[at, column]
            i, j = at[better], column[better]
            fast[i, j], hold[i, j], direct[i, j] = travel[better], when[better], source
            better = (when > late[at, column]) | ((when == late[at, column]) & (travel < late_s[at, column]))
            i, j = at[better], column[better]
            late[i, j], late_s[i, j], late_end[i, j] = when[better], travel[better], -2 - source
        index = np.arange(n)
        own = self.reached[rows] - self.now_s
        best = np.argmin(fast, axis=1)
        last = late.max(axis=1)
        pick_late = (
            np.lexsort((late_s.T.reshape(width, n), -late.T), axis=0)[0] if width > 1 else np.zeros(n, dtype=int)
        )
        last = late[index, pick_late]
        if member:
            per = [many.max(axis=1) for many in member]
            joint = self._low(per)
            held = sum(w * (p >= np.minimum(joint, own)) for w, p in zip(self.weights, per, strict=True))
            c.probability[rows] = held / self.weights.sum()
            last = np.minimum(joint, np.where(last < 0.0, last, np.inf))
        last = np.minimum(last, own)
        clear: BoolArray = last >= 0.0
        slack_s = np.minimum(hold[index, best], own)
        kind = np.zeros(n, dtype=np.uint8)
        notice = np.minimum(self.margins.notice_s, last)
        kind[clear & (slack_s < notice)] = 1
        column = np.where(kind == 1, pick_late, best)
        shown = np.where(kind == 1, np.minimum(late[index, pick_late], own), slack_s)
        travel = np.where(kind == 1, late_s[index, pick_late], fast[index, best])
        ends = np.where(kind == 1, late_end[index, column], end[index, column])
        straight = np.where(kind == 1, ends <= -2, direct[index, column] >= 0)
        ends = np.where(straight, np.where(kind == 1, -2 - ends, direct[index, column]), ends)
        which = rows[clear]
        e = s.edge[index, column]
        metres = np.where(kind == 1, trees.latest_m[np.maximum(e, 0)], trees.fastest_m[np.maximum(e, 0)])
        k = column % (width // 2)
        away = self.doors.distance_m[rows, k]
        metres = metres + s.share[index, column] * graph.length_m[np.maximum(e, 0)] + away
        src = trees.sources
        on_edge = (src.share[np.maximum(ends, 0)] - 1.0 + s.share[index, column]) * graph.length_m[np.maximum(e, 0)]
        metres = np.where(straight, np.maximum(on_edge, 0.0) + src.access_m[np.maximum(ends, 0)] + away, metres)
        c.set_status(which, Status.CLEAR)
        for name, value in (
            ("travel_s", travel), ("distance_m", metres), ("leave_by_s", shown), ("last_way_out_s", last), ("begin", e),
            ("share", s.share[index, column]), ("candidate", k), ("source", ends), ("direct", straight), ("kind", kind),
            ("zone", src.zone[np.maximum(ends, 0)]), ("begin_s", begin_s[index, column]),
            ("begin_close_s", s.close_s[index, column]),
        ):  # fmt: skip
            getattr(c, name)[which] = value[clear]
        c.tree[which] = number
        c.inside_m[which] = 0.0
        for i in which[k[clear] > 0]:
            c.reason[i] = "its own road is closed: it starts on another road near by"
        if self.margins.notice_s == 0.0 and not times_only:
            self._fastest_in_time(c, trees, rows, s, np.flatnonzero(clear & (kind == 1)), own)
        return clear

    def _fastest_in_time(
        self, c: Columns, trees: ModeTrees, rows: Rows, s: Starts, some: Rows, own: FloatArray
    ) -> None:
        """Where the fastest way closes too soon: the fastest one that can be finished when begun now."""
        from geo._compiled import earliest_arrival

        if not len(some):
            return
        graph, margin, src = trees.graph, self.margins.travel, trees.sources
        source_of: Int32Array = np.full(len(graph.tail), -1, dtype=np.int32)
        for i in np.argsort(-trees.source_s, kind="stable"):
            if trees.source_late_s[i] > -np.inf:
                source_of[src.edge[i]] = i
        begin_s = s.walk_s[some] + s.share[some] * graph.seconds[np.maximum(s.edge[some], 0)]
        good = (s.edge[some] >= 0) & (s.close_s[some] >= begin_s * margin)
        begin_start = np.concatenate([[0], np.cumsum(good.sum(axis=1))]).astype(np.int64)
        edges, start, ends, travel = earliest_arrival(
            graph.out_start, graph.out_edge, graph.head, graph.reverse, graph.no_turn, graph.private, graph.ban_start,
            graph.ban_to, graph.seconds, trees.close_s, margin, trees.fastest.time_s, source_of, trees.source_s,
            trees.source_late_s, begin_start, s.edge[some][good].astype(np.int32), begin_s[good],
        )  # fmt: skip
        better = np.flatnonzero((ends >= 0) & (travel < c.travel_s[rows[some]]))
        c.travel_s[rows[some[better]]] = travel[better]
        for k in better.tolist():
            at, source = some[k], int(ends[k])
            i = int(rows[at])
            path = np.append(edges[start[k] : start[k + 1]], src.edge[source]).astype(np.int32)
            usable = np.flatnonzero(good[k])
            column = int(
                next(j for j in usable[np.argsort(begin_s[k, usable], kind="stable")] if s.edge[at, j] == path[0])
            )
            road_k = column % (s.edge.shape[1] // 2)
            inner = path[1:-1]
            late = float(src.close_s[source]) - float(trees.source_s[source]) * margin
            for e in inner[::-1]:
                late = min(late, float(trees.close_s[e])) - float(graph.seconds[e]) * margin
            late = min(late, float(s.close_s[at, column])) - float(begin_s[k, column]) * margin
            share = float(s.share[at, column])
            c.leave_by_s[i] = max(min(late, float(own[at])), 0.0)
            c.distance_m[i] = (
                share * graph.length_m[path[0]] + graph.length_m[inner].sum() + self.doors.distance_m[i, road_k]
                + src.share[source] * graph.length_m[path[-1]] + src.access_m[source]
            )  # fmt: skip
            c.begin[i], c.share[i], c.candidate[i], c.source[i] = path[0], share, road_k, source
            c.direct[i], c.kind[i], c.zone[i] = False, 3, src.zone[source]
            c.begin_s[i], c.begin_close_s[i] = begin_s[k, column], s.close_s[at, column]
            c.paths[i] = path

    def _through(self, c: Columns, trees: ModeTrees, number: int, rows: Rows, s: Starts, outside: BoolArray) -> None:
        """The way out with the least time inside the hazard, where it is short enough to be advised."""
        n = len(rows)
        if not n:
            return
        graph, road_k = trees.graph, s.edge.shape[1] // 2
        safe = np.maximum(s.edge, 0)
        length = graph.length_m[safe]
        inside_m = np.minimum(s.inside_m, s.share * length)
        inside_s = inside_m / INSIDE_SPEED_M_S
        own_s = inside_s + (s.share * length - inside_m) / length * graph.seconds[safe]
        good = (s.edge >= 0) & np.isfinite(trees.risky.time_s[safe]) & ~self.closed.barred[graph.edge_road[safe]]
        good[:, np.arange(2 * road_k) % road_k > 0] = False  # through the hazard from one's own road only
        cost = np.where(good, inside_s * _INSIDE_WEIGHT + own_s + trees.risky.time_s[safe], np.inf)
        source: Int32Array = trees.risky_end[safe].copy()
        metres_in = inside_m + trees.risky_inside_m[safe]
        seconds = own_s + trees.risky_s[safe]
        metres = s.share * length + trees.risky_m[safe]
        direct = np.zeros(s.edge.shape, dtype=bool)
        for hit, column, src, travel in self._direct(trees, s):
            if self.zone_close[trees.sources.zone[src]] <= self.now_s:
                continue
            if self.closed.barred[graph.edge_road[trees.sources.edge[src]]]:
                continue
            wet = inside_m[hit, column]
            price = wet / INSIDE_SPEED_M_S * _INSIDE_WEIGHT + travel
            better = (price < cost[hit, column]) & (column % road_k == 0)
            i, j = hit[better], column[better]
            cost[i, j], source[i, j], direct[i, j] = price[better], src, True
            metres_in[i, j] = wet[better]
            seconds[i, j] = travel[better] - s.walk_s[i, j] + wet[better] / INSIDE_SPEED_M_S
            ahead = trees.sources.share[src] - 1.0 + s.share[i, j]
            metres[i, j] = np.maximum(ahead, 0.0) * length[i, j] + trees.sources.access_m[src]
        index = np.arange(n)
        best = np.argmin(cost, axis=1)
        found = np.isfinite(cost[index, best])
        island = ~leads_on(self.network, graph.on_foot)[np.maximum(self.doors.road[rows, 0], 0)]
        self._tell(c, rows[~found & ~island], "no road leads from here to a safe zone")
        self._tell(c, rows[~found & island], "no road leads from here to a safe zone: even without the hazard its "
                   "roads are an island of the network")  # fmt: skip
        away = self.doors.distance_m[rows, 0]
        total_in = metres_in[index, best] + np.where(outside, 0.0, away)
        due = self.reached[rows] - self.now_s
        limit = self.margins.max_inside_m
        advised = found & (total_in <= limit) & ~(outside & (due == np.inf))
        for at in np.flatnonzero(found & ~advised).tolist():
            at_row, told = int(rows[at]), f"{total_in[at]:.0f} m"
            if not outside[at]:
                reason = f"the shortest way out crosses {told} of the hazard, more than the {limit:.0f} m to be advised"
                c.drop(at_row, Status.SHELTER_IN_PLACE, f"{reason}: go up and call")
            elif due[at] == np.inf:
                c.drop(at_row, Status.CUT_OFF, "every road out is closed or closes too soon; this place itself is not "
                       "forecast to be reached: stay")  # fmt: skip
            else:
                c.drop(at_row, Status.CUT_OFF, f"the shortest way out crosses {told} of the hazard, more than the "
                       f"{limit:.0f} m that may be advised; it is forecast here in {due[at] / 60.0:.0f} min: "
                       "call for help")  # fmt: skip
        some = rows[advised]
        c.set_status(some, Status.THROUGH_HAZARD)
        walk = np.where(np.isfinite(away), away, 0.0) / WALKING_M_S
        for name, value in (
            ("travel_s", seconds[index, best] + walk), ("distance_m", metres[index, best] + away),
            ("inside_m", total_in), ("begin", s.edge[index, best]), ("share", s.share[index, best]),
            ("candidate", best % road_k), ("source", source[index, best]), ("direct", direct[index, best]),
            ("zone", trees.sources.zone[np.maximum(source[index, best], 0)]),
        ):  # fmt: skip
            getattr(c, name)[some] = value[advised]
        c.leave_by_s[some] = c.last_way_out_s[some] = 0.0
        c.kind[some], c.tree[some] = 2, number
        for at in np.flatnonzero(advised).tolist():
            where = "every dry road out is closed or closes too soon" if outside[at] else "it starts inside the hazard"
            c.reason[int(rows[at])] = f"{where}: {total_in[at]:.0f} m of it to cross"


def pick(s: Starts, rows: BoolArray | Rows) -> Starts:
    """The starts of some of the households."""
    return Starts(
        s.edge[rows], s.share[rows], s.close_s[rows], s.inside_m[rows], s.walk_s[rows],
        tuple(a[rows] for a in s.member_close_s),
    )  # fmt: skip
