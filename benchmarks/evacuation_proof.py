"""The proofs of an evacuation plan at full size: leave-by on every start, seats, clearance.

    python benchmarks/evacuation_proof.py NETWORK.roads [--households 100000] [--starts 0] [--seed 5]

Households along streets, 50 safe zones with uneven seats for 115 % of the people, and a hazard that grows for two hours
over the middle of the network, all drawn with a fixed seed. Checked: the latest safe departure of every edge where a
household starts against a forward search that knows nothing of the sweep; people seated and their travel against the
bound that may split households; the time at which everybody has arrived against "nearest and fastest".
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from geo._compiled import earliest_arrival
from geo.clearance import clearance
from geo.evacuate import ENTRANCES, LONGER_SHARE, LONGER_SHARE_UNSEATED
from geo.evacuation import Households, Margins, Plan, SafeZones, Seats, find_doors
from geo.hazard import ArrivalZone, Hazard
from geo.network import RoadNetwork, open_file
from geo.routing import plan_routes
from geo.spread import spread_out
from geo.tags import CLASSES
from geo.traffic import Demand, simulate, who_drives

#: Roads that the safe zone of thousands stands at.
_LARGER = [CLASSES.index(name) for name in ("trunk", "primary", "secondary", "tertiary")]


def world(
    network: RoadNetwork, n: int, seed: int, main_roads: bool = False
) -> tuple[Households, SafeZones, Seats, Hazard]:
    """What is planned for; the hazard grows by a ring every ten minutes. With `main_roads` safe zones stand at tertiary
    roads or larger ones, else at any street."""
    rng = np.random.default_rng(seed)
    streets = np.flatnonzero(network.road_car & network.has_doors & ~network.road_private)
    road = rng.choice(streets, n)
    a, b, t = network.road_a[road], network.road_b[road], rng.random(n)
    lon = network.node_lon[a] * (1 - t) + network.node_lon[b] * t
    lat = network.node_lat[a] * (1 - t) + network.node_lat[b] * t
    larger = streets[np.isin(network.road_class[streets], _LARGER)]
    zone = network.road_a[rng.choice(larger if main_roads else streets, 50)]
    people = rng.integers(1, 6, n)
    share = rng.gamma(1.5, 1.0, 50)
    seats = np.ceil(share / share.sum() * people.sum() * 1.15).astype(np.int64)
    angle = np.linspace(0, 2 * np.pi, 501)[:-1]
    rings = []
    for step in range(13):
        wide = (0.03 + 0.006 * step) * np.ptp(lon) * (1 + 0.25 * np.sin(7 * angle) + 0.1 * np.sin(31 * angle))
        ring = np.column_stack([np.median(lon) + wide * np.cos(angle), np.median(lat) + 0.75 * wide * np.sin(angle)])
        rings.append(shapely.MultiPolygon([shapely.Polygon(ring)]))
    zones = tuple(ArrivalZone(arrival_min=10.0 * k, geometry=g) for k, g in enumerate(rings) if k)
    homes = Households(lon, lat, np.zeros(n, dtype=bool))
    places = SafeZones(network.node_lon[zone], network.node_lat[zone])
    room = Seats(seats=seats, accessible_seats=np.zeros(50, dtype=np.int64), people=people, accessible=homes.on_foot)
    return homes, places, room, Hazard(geometry=rings[0], zones=zones)


def leave_by_disagreements(plan: Plan, limit: int) -> tuple[int, int]:
    """(edges checked, edges where a forward search says otherwise) of the latest safe departures."""
    trees = plan.trees[0]
    graph, src = trees.graph, trees.sources
    c = plan.columns
    edges = np.unique(c.begin[c.begin >= 0])
    if limit:
        edges = np.random.default_rng(1).choice(edges, min(limit, len(edges)), replace=False)
    source_of: np.ndarray = np.full(len(graph.tail), -1, dtype=np.int32)
    for i in np.argsort(-trees.source_s, kind="stable"):
        if trees.source_late_s[i] > -np.inf:
            source_of[src.edge[i]] = i
    lower = np.zeros(len(graph.tail))  # no bound: the sweep has no part in its own check
    wrong = 0
    for e in edges.tolist():
        late = float(trees.latest.late_s[e])

        def arrives(leave_s: float, e: int = e) -> bool:
            found = earliest_arrival(
                graph.out_start, graph.out_edge, graph.head, graph.reverse, graph.no_turn, graph.private,
                graph.ban_start, graph.ban_to, graph.seconds, trees.close_s, 1.0, lower, source_of,
                trees.source_s, trees.source_late_s, np.array([0, 1]), np.array([e], dtype=np.int32),
                np.array([leave_s]),
            )  # fmt: skip
            return bool(found[2][0] >= 0)

        if late == -np.inf:
            wrong += arrives(0.0)
        elif late == np.inf:
            wrong += not arrives(1e6)
        else:
            wrong += not arrives(late - 1e-6) or arrives(late + 1e-3)
    return len(edges), wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("--households", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=0, help="check so many start edges only; 0: every one")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--main-roads", action="store_true", help="safe zones at tertiary or larger roads")
    parser.add_argument("--only", choices=("leave-by", "seats"), help="this part only")
    parser.add_argument("--shares", type=float, nargs="*", help="how much longer ways may become, without seats")
    given = parser.parse_args()
    network = open_file(given.network)
    homes, zones, seats, hazard = world(network, given.households, given.seed, given.main_roads)
    margins = Margins(notice_s=0.0)
    doors = find_doors(network, homes, margins)
    free = plan_routes(network, hazard, zones, homes, margins=margins, doors=doors, with_points=False)
    print(f"{len(homes.lon):,} households: {free.counts()}", flush=True)
    if given.only != "seats":
        begin = time.process_time()
        checked, wrong = leave_by_disagreements(free, given.starts)
        print(f"leave-by: {checked:,} start edges, {wrong} differ ({time.process_time() - begin:.0f} s)", flush=True)
    if given.only == "leave-by":
        return
    begin = time.process_time()
    seated = plan_routes(network, hazard, zones, homes, margins=margins, doors=doors, with_points=False, seats=seats)
    s = seated.seated
    assert s is not None
    print(
        f"seats: {s.n_people_seated:,} people seated, {s.n_people_without:,} without (bound {s.bound_people:,}); "
        f"travel {s.person_s / s.bound_person_s - 1:+.2%} of the bound ({time.process_time() - begin:.0f} s)",
        flush=True,
    )
    begin = time.process_time()
    entrances = plan_routes(
        network, hazard, zones, homes, margins=margins, doors=doors, with_points=False,
        seats=replace(seats, give=ENTRANCES * LONGER_SHARE),
    )  # fmt: skip
    s = entrances.seated
    assert s is not None
    print(
        f"seats for clearance: {s.n_people_seated:,} people seated; travel {s.person_s / s.bound_person_s - 1:+.2%} of "
        f"the bound ({time.process_time() - begin:.0f} s)",
        flush=True,
    )
    shares = given.shares or [LONGER_SHARE_UNSEATED]
    for share in shares if given.only != "seats" else ():
        _clear("without seats", free, free, None, share)
    _clear("with seats", entrances, free, seats, LONGER_SHARE)


def _clear(name: str, plan: Plan, free: Plan, seats: Seats | None, share: float) -> None:
    """Spreads a plan, simulates the ways that it then tells, and prints them beside the peers."""
    begin, demand = time.process_time(), Demand()
    rows = who_drives(plan, everyone(plan), demand)
    spread = spread_out(plan, rows, demand, share, seats)
    seconds = time.process_time() - begin
    told = clearance(spread, free, None, seats)
    again = simulate(next(t for t in spread.plan.trees if not t.graph.on_foot), spread.ways, demand)
    assert again.as_json().items() <= told["spread"].items()
    ours, peers = told["spread"], {"nearest and fastest": told["nearest_and_fastest"]}
    if seats is not None:
        peers["nearest and fastest until full"] = told["nearest_and_fastest_until_full"]
        s = spread.plan.seated
        assert s is not None
        print(f"travel with seats and spread {s.person_s / s.bound_person_s - 1:+.2%} of the bound")
    print(
        f"clearance {name}, ways at most {share:.0%} longer: 90 % {ours['t90_min']:.0f} min, 100 % "
        f"{ours['t100_min']:.0f} min; {spread.n_moved:,} households on another way, mean travel "
        f"{spread.mean_travel_s / spread.mean_before_s - 1:+.2%} of the plan without; "
        f"{ours['households_overtaken_by_a_closing']:,} overtaken by a closing "
        f"({told['nearest_and_fastest']['households_overtaken_by_a_closing']:,} with nearest and fastest); "
        f"if all chose for themselves {told['user_equilibrium']['t100_min']:.0f} min ({seconds:.0f} s)",
        flush=True,
    )
    for peer, its in peers.items():
        print(
            f"  {peer}: 90 % {its['t90_min']:.0f} min ({its['t90_min'] / ours['t90_min']:.2f} times), 100 % "
            f"{its['t100_min']:.0f} min ({its['t100_min'] / ours['t100_min']:.2f} times), "
            f"{its.get('households_without_a_seat', 0):,} households without a seat",
            flush=True,
        )


def everyone(plan: Plan) -> np.ndarray:
    """True for every household: all leave."""
    return np.ones(len(plan.households.lon), dtype=bool)


if __name__ == "__main__":
    main()
