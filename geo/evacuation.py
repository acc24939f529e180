"""How people get out: which roads a hazard closes and when, and every household's way to a safe zone.

One reverse sweep gives each edge of the road network its nearest safe zone over the roads that are open now; a second
gives its latest safe departure under the forecast closing times. People inside the hazard get the way out that spends
the least time in it, or shelter-in-place with the reason; nobody is left without a status. Method and what it leaves
out: docs/methods/evacuation.md.

Times are seconds. `now_s` is how long after the footprint's valid_at the plan is made: forecast arrivals count from
valid_at, departures from now.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo.closing import Closures, PartialLayer
from geo.crs import BoolArray, FloatArray
from geo.hazard import Hazard, inside
from geo.network import Int32Array, RoadNetwork
from geo.sweep import Graph, Sources, Tree


class NoSafeZones(InvalidInput):
    """There is no safe zone to go to."""


class Status(StrEnum):
    """Exactly one for each household; the words of household_route.status."""

    CLEAR = "clear"
    THROUGH_HAZARD = "through-hazard"
    SHELTER_IN_PLACE = "shelter-in-place"
    CUT_OFF = "cut-off"
    OFF_NETWORK = "off-network"
    NO_SEAT = "no-seat"


STATUSES = tuple(Status)
#: A house this near to a road stands at it: if that road is an island of the network, so is the house.
OWN_ROAD_M = 150.0
#: Who needs an accessible seat, by what a household needs.
ACCESSIBLE_NEEDS = frozenset({"accessible", "wheelchair", "medical"})
_CODE = {status: code for code, status in enumerate(STATUSES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How careful a plan is. Shown with it."""

    travel: float = 1.0  #: travel times are multiplied by this in every comparison with a closing time
    notice_s: float = 1800.0  #: a route that closes sooner gives way to one that stays open longer, if there is one
    max_inside_m: float = 500.0  #: nobody is sent across more hazard than this: shelter-in-place instead
    max_snap_m: float = 1000.0  #: farther from any road is off the network
    max_detour_m: float = 150.0  #: how far another road may be, in a straight line, from a door whose road is closed
    change_road_s: float = 600.0  #: what it takes to set off from that other road, besides the walk to it
    quantile: float = 0.95  #: share of the forecasts' weight under which a leave-by must hold

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("travel", self.travel, 1.0, 10.0), ("notice_s", self.notice_s, 0.0, 1e6),
            ("max_inside_m", self.max_inside_m, 0.0, 1e5), ("max_snap_m", self.max_snap_m, 1.0, 1e5),
            ("max_detour_m", self.max_detour_m, 0.0, 1e4), ("change_road_s", self.change_road_s, 0.0, 1e5),
            ("quantile", self.quantile, 0.5, 1.0),
        ):  # fmt: skip
            if not low <= value <= high:
                raise InvalidInput(f"margins.{name}: {value:g} is not within {low:g}..{high:g}")


@dataclass(frozen=True)
class SafeZones:
    """Where people are safe, as columns."""

    lon: FloatArray  #: (n,)
    lat: FloatArray


@dataclass(frozen=True)
class Households:
    """Where people start, as columns."""

    lon: FloatArray  #: (n,)
    lat: FloatArray
    on_foot: BoolArray  #: (n,) True: they have no car


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One member of a forecast ensemble."""

    hazard: Hazard
    weight: float = 1.0
    partial: tuple[PartialLayer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """What is to be seated, and where. Accessible seats are for those who need one, and for nobody else."""

    seats: npt.NDArray[np.int64]  #: (n_zones,) all seats, the accessible ones among them
    accessible_seats: npt.NDArray[np.int64]  #: (n_zones,)
    people: npt.NDArray[np.int64]  #: (n_households,)
    accessible: BoolArray  #: (n_households,) True: the household needs accessible seats
    arrived: BoolArray | None = None  #: (n_households,) True: it sits already, and its seats are not in `seats`
    stays: npt.NDArray[np.int64] | None = None  #: (n_households,) the safe zone it was told before; -1: none
    give: float = 0.0  #: share of the least travel that may be given up for less crowded entrances of safe zones


@dataclass(frozen=True, slots=True, kw_only=True)
class Seated:
    """How the seats were given out."""

    used: npt.NDArray[np.int64]  #: (n_zones,) people
    used_accessible: npt.NDArray[np.int64]
    n_people_seated: int
    n_people_without: int
    person_s: float  #: travel time of those who are seated, summed over people
    bound_person_s: float  #: the least that any plan can reach that seats as many and may split households
    bound_people: int  #: the most people that any plan can seat, households split
    plain_travel_s: float  #: travel time summed over households where none is given up for entrances


@dataclass(frozen=True)
class Route:
    """One household's outcome."""

    status: Status
    reason: str = ""
    zone: int = -1  #: index into SafeZones
    travel_s: float = np.nan
    distance_m: float = np.nan
    leave_by_s: float = np.inf  #: seconds from now by which this route must be begun; inf: it stays open
    last_way_out_s: float = np.inf  #: seconds from now at which the last way by any road closes
    inside_m: float = 0.0
    edges: tuple[int, ...] = ()  #: of the mode's graph; the first and the last are used in part
    points: FloatArray | None = None  #: (k, 2) lon, lat from the door to the safe zone


@dataclass(frozen=True, eq=False)
class ModeTrees:
    """The sweeps of one mode of travel towards some safe zones. Times from now."""

    graph: Graph
    sources: Sources
    close_s: FloatArray  #: (n_edges,) -1: closed now
    source_s: FloatArray
    source_late_s: FloatArray
    fastest: Tree
    fastest_m: FloatArray  #: (n_edges,) metres of the fastest way from the end of each edge
    fastest_end: Int32Array  #: (n_edges,) the source it ends in
    slack_s: FloatArray  #: (n_edges,) latest moment at the end of each edge to follow the fastest way
    latest: Tree
    latest_m: FloatArray
    latest_end: Int32Array
    latest_s: FloatArray  #: (n_edges,) free-flow time of the latest way
    risky: Tree  #: time_s is seconds inside * a large weight + seconds
    risky_m: FloatArray
    risky_end: Int32Array
    risky_inside_m: FloatArray
    risky_s: FloatArray
    member_late_s: tuple[FloatArray, ...]  #: per forecast (n_edges,) latest departure; empty for one forecast
    member_source_late_s: tuple[FloatArray, ...]


@dataclass(eq=False)
class Columns:
    """The outcomes of all households, as columns; `tree` and `begin` say how a way runs."""

    status: npt.NDArray[np.uint8]  #: index into STATUSES
    zone: Int32Array
    travel_s: FloatArray
    distance_m: FloatArray
    leave_by_s: FloatArray
    last_way_out_s: FloatArray
    inside_m: FloatArray
    probability: FloatArray  #: weight of the forecasts under which a way out remains until last_way_out_s
    reason: list[str]
    begin: Int32Array  #: edge at the door; -1: no way
    share: FloatArray  #: of that edge, until its end
    candidate: npt.NDArray[np.int64]  #: which of the door's roads it starts on
    source: Int32Array  #: source it ends in
    direct: BoolArray  #: the way ends on the edge at the door
    tree: npt.NDArray[np.int32]  #: index into Plan.trees; -1: none
    kind: npt.NDArray[np.uint8]  #: 0: fastest, 1: latest, 2: least hazard, 3: a path of its own
    begin_s: FloatArray  #: free-flow seconds from the door to the end of the first edge
    begin_close_s: FloatArray  #: when that stretch closes, from now
    paths: dict[int, Int32Array] = field(default_factory=dict)

    @classmethod
    def of(cls, n: int) -> "Columns":
        nan = np.nan
        return cls(
            np.full(n, _CODE[Status.OFF_NETWORK], dtype=np.uint8), np.full(n, -1, dtype=np.int32), np.full(n, nan),
            np.full(n, nan), np.full(n, np.inf), np.full(n, np.inf), np.zeros(n), np.full(n, nan), [""] * n,
            np.full(n, -1, dtype=np.int32), np.zeros(n), np.zeros(n, dtype=np.int64), np.full(n, -1, dtype=np.int32),
            np.zeros(n, dtype=bool), np.full(n, -1, dtype=np.int32), np.zeros(n, dtype=np.uint8), np.full(n, nan),
            np.full(n, nan),
        )  # fmt: skip

    def copy(self) -> "Columns":
        """Columns that may be changed without changing these."""
        arrays = {name: getattr(self, name).copy() for name in _ARRAYS}
        return Columns(**arrays, reason=list(self.reason), paths=dict(self.paths))

    def drop(self, i: int, status: Status, reason: str) -> None:
        """Household i has no way: this status and reason."""
        self.status[i], self.reason[i] = _CODE[status], reason
        self.zone[i] = self.begin[i] = self.source[i] = self.tree[i] = -1
        self.travel_s[i] = self.distance_m[i] = self.probability[i] = np.nan
        self.leave_by_s[i] = self.last_way_out_s[i] = np.inf
        self.inside_m[i] = 0.0
        self.paths.pop(i, None)

    def take(self, other: "Columns", rows: npt.NDArray[np.int64]) -> None:
        """Takes the outcomes of some households over from other columns."""
        for name in _ARRAYS:
            getattr(self, name)[rows] = getattr(other, name)[rows]
        for i in rows.tolist():
            self.reason[i] = other.reason[i]
            self.paths.pop(i, None)
            if i in other.paths:
                self.paths[i] = other.paths[i]

    def set_status(self, rows: npt.NDArray[np.int64], status: Status) -> None:
        """Gives some households a status."""
        self.status[rows] = _CODE[status]


_ARRAYS = (
    "status", "zone", "travel_s", "distance_m", "leave_by_s", "last_way_out_s", "inside_m", "probability", "begin",
    "share", "candidate", "source", "direct", "tree", "kind", "begin_s", "begin_close_s",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Doors:
    """Where households and safe zones meet the roads; it does not depend on the hazard."""

    road: Int32Array  #: (n, k) -1: none
    fraction: FloatArray
    distance_m: FloatArray
    lon: FloatArray
    lat: FloatArray


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about one footprint on one network."""

    network: RoadNetwork
    zones: SafeZones
    households: Households
    doors: Doors
    columns: Columns
    trees: tuple[ModeTrees, ...]
    closures: Closures
    now_s: float
    margins: Margins
    zone_close_s: FloatArray  #: (n_zones,) when each safe zone is reached by the hazard, seconds after valid_at
    zone_on_network: BoolArray
    offered: BoolArray  #: (n_zones,) people are sent there
    reached_s: FloatArray  #: (n_households,) when the hazard reaches each door, from now
    with_points: bool = True
    seated: Seated | None = None

    def counts(self) -> dict[str, int]:
        """Households by status, every status named."""
        found = np.bincount(self.columns.status, minlength=len(STATUSES))
        return {status.value: int(found[code]) for code, status in enumerate(STATUSES)}

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """Every household's outcome in the order of the households, with its line where the plan was made so."""
        n = len(self.households.lon)
        lines: dict[int, FloatArray] = {}
        rows = np.flatnonzero(self.columns.begin >= 0)
        edges, start = self.ways(rows)
        if self.with_points:
            points, at = self.lines(rows)
            lines = {int(i): points[at[k] : at[k + 1]] for k, i in enumerate(rows)}
        of = {int(i): k for k, i in enumerate(rows)}
        return tuple(
            self._route(i, edges[start[of[i]] : start[of[i] + 1]] if i in of else edges[:0], lines.get(i))
            for i in range(n)
        )

    def _route(self, i: int, edges: Int32Array, points: FloatArray | None) -> Route:
        c = self.columns
        return Route(
            STATUSES[c.status[i]], c.reason[i], int(c.zone[i]), float(c.travel_s[i]), float(c.distance_m[i]),
            float(c.leave_by_s[i]), float(c.last_way_out_s[i]), float(c.inside_m[i]), tuple(edges.tolist()), points,
        )  # fmt: skip

    def route(self, i: int) -> Route:
        """One household's outcome with its line."""
        rows = np.array([i])
        if self.columns.begin[i] < 0:
            return self._route(i, np.zeros(0, dtype=np.int32), None)
        return self._route(i, self.ways(rows)[0], self.lines(rows)[0])

    def ways(self, rows: npt.NDArray[np.int64]) -> tuple[Int32Array, npt.NDArray[np.int64]]:
        """(edges, start): the edges of some households' ways, one way after the other."""
        from geo._compiled import follow

        c = self.columns
        pieces: dict[int, Int32Array] = {}
        for tree in np.unique(c.tree[rows]):
            for kind in range(3):
                some = rows[(c.tree[rows] == tree) & (c.kind[rows] == kind) & ~c.direct[rows] & (c.begin[rows] >= 0)]
                if tree < 0 or not len(some):
                    continue
                trees = self.trees[tree]
                way = (trees.fastest, trees.latest, trees.risky)[kind]
                edges, start = follow(way.next_edge, way.source, c.begin[some])
                pieces |= {int(i): edges[start[k] : start[k + 1]] for k, i in enumerate(some)}
        for i in rows:
            if c.direct[i]:
                pieces[int(i)] = c.begin[i : i + 1]
            elif c.kind[i] == 3:
                pieces[int(i)] = c.paths[int(i)]
        none = np.zeros(0, dtype=np.int32)
        found = [pieces.get(int(i), none) for i in rows]
        start = np.concatenate([[0], np.cumsum([len(p) for p in found])]).astype(np.int64)
        return (np.concatenate(found) if found else none).astype(np.int32), start

    def lines(self, rows: npt.NDArray[np.int64]) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        """(points, start): flat (k, 2) lon, lat of some households' ways from the door into the safe zone."""
        from geo._compiled import lines_of

        c = self.columns
        total: list[tuple[npt.NDArray[np.int64], FloatArray, npt.NDArray[np.int64]]] = []
        for tree in np.unique(c.tree[rows]):
            some = rows[c.tree[rows] == tree]
            if tree < 0:
                continue
            trees = self.trees[tree]
            edges, start = self.ways(some)
            graph = trees.graph
            points, at = lines_of(
                edges, start, 1.0 - c.share[some], trees.sources.share[c.source[some]], graph.edge_road,
                graph.forward, self.network.shape_start, self.network.shape_lon, self.network.shape_lat,
            )  # fmt: skip
            total.append((some, points, at))
        length = np.zeros(len(c.zone), dtype=np.int64)
        for some, _, at in total:
            length[some] = np.diff(at) + 3
        start = np.concatenate([[0], np.cumsum(length[rows])])
        where = np.zeros(len(c.zone), dtype=np.int64)
        where[rows] = start[:-1]
        flat = np.zeros((int(start[-1]), 2))
        for some, points, at in total:
            first = where[some]
            flat[first] = np.column_stack([self.households.lon[some], self.households.lat[some]])
            k = c.candidate[some]
            flat[first + 1] = np.column_stack([self.doors.lon[some, k], self.doors.lat[some, k]])
            count = np.diff(at)
            target = np.repeat(first + 2 - at[:-1], count) + np.arange(len(points))
            flat[target] = points
            flat[first + 2 + count] = np.column_stack([self.zones.lon[c.zone[some]], self.zones.lat[c.zone[some]]])
        keep = np.ones(len(flat), dtype=bool)
        keep[1:] = (np.abs(np.diff(flat, axis=0)) > 1e-9).any(axis=1)
        keep[start[:-1][length[rows] > 0]] = True
        kept = np.concatenate([[0], np.cumsum(keep)])
        return flat[keep], kept[start]


def find_doors(network: RoadNetwork, households: Households, margins: Margins) -> Doors:
    """Each household on its nearest road that its mode may use, and on up to two others near by.

    Cars do not set off onto motorways or ramps; nobody's way to the road crosses a river of the network. A nearest
    road that is an island of the network (`sweep.leads_on`) gives way to the nearest one that is not, unless the house
    stands at it (OWN_ROAD_M) and no other road is as near: then it is on that island, and is told so.
    """
    from geo.snapping import snap
    from geo.sweep import leads_on

    n, k = len(households.lon), 3 if margins.max_detour_m > 0.0 else 1
    doors = Doors(np.full((n, k), -1, dtype=np.int32), *(np.zeros((n, k)) for _ in range(4)))
    for on_foot in (False, True):
        rows = np.flatnonzero(households.on_foot == on_foot)
        usable = network.road_foot if on_foot else network.road_car & network.has_doors
        if not len(rows) or not usable.any():
            continue
        found = snap(
            network, households.lon[rows], households.lat[rows], max_m=margins.max_snap_m, usable=usable, n_roads=k,
            others_m=margins.max_detour_m,
        )  # fmt: skip
        names = ("road", "fraction", "distance_m", "lon", "lat")
        for name in names:
            getattr(doors, name)[rows] = getattr(found, name)
        main = leads_on(network, on_foot)
        lost = np.flatnonzero((found.road[:, 0] >= 0) & ~main[found.road[:, 0]])
        if not len(lost) or not (usable & main).any():
            continue
        joined = snap(
            network, households.lon[rows[lost]], households.lat[rows[lost]], max_m=margins.max_snap_m,
            usable=usable & main, n_roads=k, others_m=margins.max_detour_m,
        )  # fmt: skip
        away = joined.distance_m[:, 0]
        moves = (joined.road[:, 0] >= 0) & ((away <= OWN_ROAD_M) | (found.distance_m[lost, 0] > OWN_ROAD_M))
        for name in names:
            getattr(doors, name)[rows[lost[moves]]] = getattr(joined, name)[moves]
    return doors


def arrival_at(hazard: Hazard, lon: FloatArray, lat: FloatArray) -> FloatArray:
    """(n,) seconds after valid_at at which the hazard is at each place: 0 inside now, inf never."""
    when: FloatArray = np.full(len(lon), np.inf)
    for arrival_min, geometry in reversed(hazard.layers()):
        when[inside(geometry, lon, lat)] = arrival_min * 60.0
    return when


def weighted_low(values: Sequence[FloatArray], weights: FloatArray, quantile: float) -> FloatArray:
    """Elementwise the largest value that is reached under at least `quantile` of the weight."""
    if len(values) == 1:
        return values[0]
    stack = np.stack(values)
    order = np.argsort(stack, axis=0, kind="stable")
    share = np.cumsum(weights[order], axis=0) / weights.sum()
    first = np.argmax(share > 1.0 - quantile + 1e-12, axis=0)
    low: FloatArray = np.take_along_axis(np.take_along_axis(stack, order, axis=0), first[None], axis=0)[0]
    return low
