"""What the server does for one route on request: from the stored row of a plan to the bytes of the answer.

    python benchmarks/route.py NETWORK.roads [--households 2000]

The handler of `GET /v1/evacuation-plans/latest/routes/{household_id}` on a resident network: line from the roads of the
way, turns with street names, encoded polyline, GeoJSON text. Left out: the query for the row, sign-in, the network.
Households, safe zones and hazard as in benchmarks/evacuation.py. Prints the handler's milliseconds, p50, p95 and worst.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
from evacuation import world

from api.routes.wayout import _detail
from geo.directions import codes_of
from geo.evacuation import Plan
from geo.network import open_file
from geo.routing import plan_routes


def row_of(plan: Plan, i: int, file: str, sha256: bytes) -> dict[str, Any]:
    """What the database keeps of household i's way, as `repository.route_detail` gives it."""
    c = plan.columns
    trees = plan.trees[c.tree[i]]
    way = plan.ways(np.array([i]))[0]
    zone = int(c.zone[i])
    return {
        "household_id": UUID(int=i), "status": "clear", "travel_s": float(c.travel_s[i]),
        "distance_m": float(c.distance_m[i]), "leave_by": None, "last_way_out": None, "inside_m": 0.0, "reason": "",
        "changed": True, "roads": codes_of(trees.graph.edge_road, trees.graph.forward, way),
        "first_share": float(c.share[i]), "last_share": float(trees.sources.share[c.source[i]]), "geometry": None,
        "computed_at": datetime(2026, 1, 1, tzinfo=UTC), "footprint_version": 1, "file": file, "sha256": sha256,
        "extract_date": None, "safe_zone_id": UUID(int=zone), "safe_zone_names": {"en": "School"},
        "zone_lon": float(plan.zones.lon[zone]), "zone_lat": float(plan.zones.lat[zone]),
        "lon": float(plan.households.lon[i]), "lat": float(plan.households.lat[i]), "language": "en",
    }  # fmt: skip


def main() -> None:
    """Plans, then answers for every clear household once, after one warm-up each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", type=Path)
    parser.add_argument("--households", type=int, default=2000)
    given = parser.parse_args()
    network = open_file(given.network)
    homes, zones, hazard = world(network, given.households)
    plan = plan_routes(network, hazard, zones, homes, with_points=False)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "roads").mkdir()
        shutil.copy(given.network, home / "roads" / "n.roads")
        sha256 = network_hash(given.network)
        ctx: Any = SimpleNamespace(settings=SimpleNamespace(home=home))
        rows = [row_of(plan, int(i), "n.roads", sha256) for i in np.flatnonzero(plan.columns.status == 0)]
        _detail(ctx, rows[0], None)[0].model_dump_json()
        wall, cpu, points = [], [], []
        for row in rows:
            start, used = time.perf_counter(), time.process_time()
            made, line, _ = _detail(ctx, row, None)
            made.model_dump_json()
            cpu.append(time.process_time() - used)
            wall.append(time.perf_counter() - start)
            points.append(len(line))
    told = {"routes": len(rows), "points_median": int(np.median(points)), "points_max": max(points)}
    for name, taken in (("wall_ms", wall), ("processor_ms", cpu)):
        p50, p95, worst = np.percentile(np.array(taken) * 1e3, [50, 95, 100])
        told[name] = {"p50": round(p50, 2), "p95": round(p95, 2), "max": round(worst, 2)}
    print(json.dumps(told, indent=2))


def network_hash(path: Path) -> bytes:
    """What `geo.network.load` checks the file against."""
    return hashlib.sha256(path.read_bytes()).digest()


if __name__ == "__main__":
    main()
