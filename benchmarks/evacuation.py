"""Hazard change to routes of all households, and the bare sweep, beside scipy and pandana in one run.

    python benchmarks/evacuation.py NETWORK.roads [--households 100000] [--pandana /path/to/python]
        [--valhalla /path/to/python --tiles /path/to/config.json]

Households, safe zones and the hazard are drawn from the network with a fixed seed. Prints ratios; the seconds are of
this machine at this moment. pandana runs under its own interpreter, which must have it; without one our figures stand
alone. Valhalla (pyvalhalla on Python 3.12 or newer, tiles of the same extract) routes some of the households to their
nearest safe zone with the hazard as `exclude_polygons`. Each figure is the best of several runs, in turn with its
rival.
"""

import argparse
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from geo.evacuation import Households, Margins, Plan, SafeZones, find_doors
from geo.hazard import Hazard
from geo.network import RoadNetwork, open_file
from geo.routing import plan_routes
from geo.sweep import graph_of, run_sweep

PANDANA = """
import json, sys, time
import numpy as np, pandas as pd, pandana
d = np.load(sys.argv[1])
start = time.process_time()
net = pandana.Network(pd.Series(d["x"]), pd.Series(d["y"]), pd.Series(d["a"]), pd.Series(d["b"]),
                      pd.DataFrame({"s": d["s"]}), twoway=False)
build = time.process_time() - start
start = time.process_time()
net.set_pois("zone", 1e6, 1, d["zx"], d["zy"])
found = net.nearest_pois(1e6, "zone", num_pois=1, include_poi_ids=True)
near = time.process_time() - start
start = time.process_time()
some = d["home"][:3000]
net.shortest_paths(some, np.resize(d["znode"], len(some)))
paths = (time.process_time() - start) / len(some) * len(d["home"])
print(json.dumps({"build": build, "nearest": near, "paths": paths}))
"""


VALHALLA = """
import json, sys, time, valhalla
d = json.load(open(sys.argv[1]))
actor = valhalla.Actor(d["config"])
def ask(pair):
    try:
        return actor.route({"locations": pair, "costing": "auto", "exclude_polygons": d["ring"]}) is not None
    except Exception:
        return False
ask(d["pairs"][0])
start = time.process_time()
found = sum(ask(pair) for pair in d["pairs"])
print(json.dumps({"n": len(d["pairs"]), "found": found, "seconds": time.process_time() - start}))
"""


def best(*jobs: Callable[[], Any], times: int = 5) -> list[float]:
    """The least processor seconds of each job, run in turn."""
    least = [np.inf] * len(jobs)
    for _ in range(times):
        for k, job in enumerate(jobs):
            start = time.process_time()
            job()
            least[k] = min(least[k], time.process_time() - start)
    return least


def world(network: RoadNetwork, n: int) -> tuple[Households, SafeZones, Hazard]:
    """Households along streets, 50 safe zones at nodes, and a hazard of 1,000 vertices in the middle."""
    rng = np.random.default_rng(5)
    streets = np.flatnonzero(network.road_car & network.has_doors)
    road = rng.choice(streets, n)
    a, b, t = network.road_a[road], network.road_b[road], rng.random(n)
    lon = network.node_lon[a] * (1 - t) + network.node_lon[b] * t
    lat = network.node_lat[a] * (1 - t) + network.node_lat[b] * t
    node = network.road_a[rng.choice(streets, 50)]
    angle = np.linspace(0, 2 * np.pi, 1001)[:-1]
    wide = 0.12 * np.ptp(lon) * (1 + 0.25 * np.sin(7 * angle) + 0.1 * np.sin(31 * angle))
    ring = np.column_stack([np.median(lon) + wide * np.cos(angle), np.median(lat) + 0.75 * wide * np.sin(angle)])
    hazard = Hazard(geometry=shapely.MultiPolygon([shapely.Polygon(ring)]))
    homes = Households(lon, lat, np.zeros(n, dtype=bool))
    return homes, SafeZones(network.node_lon[node], network.node_lat[node]), hazard


def pandana_seconds(python: str, network: RoadNetwork, plan: Plan, zones: SafeZones) -> dict[str, float]:
    """What pandana needs for the same: its network without the closed roads, nearest zones, paths."""
    graph = graph_of(network, False)
    usable = ~plan.closures.closed()[graph.edge_road]
    x, y = network.plane.forward(zones.lon, zones.lat)
    nx, ny = network.plane.forward(network.node_lon, network.node_lat)
    near = np.argmin(np.hypot(nx[None, :] - x[:, None], ny[None, :] - y[:, None]), axis=1)
    home = network.road_a[np.maximum(plan.doors.road[:, 0], 0)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "world.npz"
        np.savez(file, x=network.node_lon, y=network.node_lat, a=graph.tail[usable], b=graph.head[usable],
                 s=graph.seconds[usable], zx=zones.lon, zy=zones.lat, home=home, znode=near)  # fmt: skip
        done = subprocess.run([python, "-c", PANDANA, str(file)], capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def valhalla_seconds(python: str, config: str, plan: Plan, hazard: Hazard, rows: Any) -> dict[str, float]:
    """What Valhalla needs for single routes to the safe zone that was found nearest, around the hazard."""
    ends = plan.columns.zone[rows]
    pairs = [
        [{"lon": float(plan.households.lon[i]), "lat": float(plan.households.lat[i])},
         {"lon": float(plan.zones.lon[z]), "lat": float(plan.zones.lat[z])}]
        for i, z in zip(rows, ends, strict=True)
    ]  # fmt: skip
    ring = [shapely.get_coordinates(part.exterior).tolist() for part in hazard.geometry.geoms]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ask.json"
        file.write_text(json.dumps({"config": config, "pairs": pairs, "ring": ring}))
        done = subprocess.run([python, "-c", VALHALLA, str(file)], capture_output=True, text=True, check=True)
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("--households", type=int, default=100_000)
    parser.add_argument("--pandana", help="an interpreter that has pandana")
    parser.add_argument("--valhalla", help="an interpreter that has pyvalhalla")
    parser.add_argument("--tiles", help="Valhalla's configuration, with tiles of the same extract")
    given = parser.parse_args()
    network = open_file(given.network)
    homes, zones, hazard = world(network, given.households)
    margins = Margins(notice_s=0.0)
    doors = find_doors(network, homes, margins)
    plan = plan_routes(network, hazard, zones, homes, margins=margins, doors=doors, with_points=False)
    rows = np.flatnonzero(plan.columns.begin >= 0)
    plan.lines(rows[:10])
    trees = plan.trees[0]
    graph = trees.graph
    close = np.where(trees.close_s < 0, -1.0, np.inf)
    usable = close > 0
    merged: dict[tuple[int, int], float] = {}
    for h, t, s in zip(graph.head[usable].tolist(), graph.tail[usable].tolist(), graph.seconds[usable], strict=True):
        merged[h, t] = min(merged.get((h, t), np.inf), s)
    pairs = np.array(list(merged))
    size = (network.n_nodes,) * 2
    matrix = csr_array((np.array(list(merged.values())), (pairs[:, 0], pairs[:, 1])), shape=size)
    at = graph.head[trees.sources.edge]
    forever = np.full(len(at), np.inf)
    ours, theirs = best(
        lambda: run_sweep(graph, graph.seconds, close, trees.sources.edge, trees.source_s, forever),
        lambda: dijkstra(matrix, indices=at, min_only=True, return_predecessors=True),
        times=9,
    )
    print(
        f"{network.n_edges:,} edges, {len(homes.lon):,} households, {int(plan.closures.closed().sum()):,} roads closed"
    )
    print(f"sweep over edges {ours * 1e3:.1f} ms, scipy over nodes {theirs * 1e3:.1f} ms: {ours / theirs:.2f} times")

    def change() -> None:
        made = plan_routes(network, hazard, zones, homes, margins=margins, doors=doors, with_points=False)
        made.ways(np.flatnonzero(made.columns.begin >= 0))

    (whole,) = best(change, times=3)
    (snapping,) = best(lambda: find_doors(network, homes, margins), times=2)
    print(f"hazard change to everybody's way {whole:.2f} s; doors onto roads, once {snapping:.2f} s")
    if given.pandana:
        peer = pandana_seconds(given.pandana, network, plan, zones)
        total = sum(peer.values())
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in peer.items())
        print(f"pandana {total:.2f} s ({parts}): {total / whole:.1f} times")
    if given.valhalla:
        some = rows[plan.columns.status[rows] == 0]
        some = some[:: max(len(some) // 100, 1)][:100]
        peer = valhalla_seconds(given.valhalla, given.tiles, plan, hazard, some)
        each = peer["seconds"] / peer["n"]
        start = time.process_time()
        for i in some.tolist():
            plan.route(i)
        own = (time.process_time() - start) / len(some)
        everybody = len(homes.lon) * each
        print(
            f"one route with its line: Valhalla with exclude_polygons {each * 1e3:.1f} ms ({peer['found']} of "
            f"{peer['n']} found), from a plan {own * 1e3:.2f} ms: {each / own:.0f} times"
        )
        print(f"all households: Valhalla {everybody:.0f} s, {everybody / whole:.0f} times")
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
