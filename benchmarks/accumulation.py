"""Locations in polygons with their sums, against geopandas: `python -m benchmarks.accumulation [--points N]`.

Points lie in clusters, 200 polygons have 500 vertices each and ten of them are large. Ours reads resident columns,
sorted by longitude as a book is kept; sorting once is stated beside. The peer joins a tenth of the points, which is
what fits comfortably, and both are told per point, in the same run.
"""

import argparse
import resource
import time

import geopandas
import numpy as np
import shapely

from geo.accumulation import sums_in_areas


def make(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[shapely.Polygon]]:
    """(lon, lat, cents, polygons)."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform((-5, 40), (25, 60), (300, 2))
    which = rng.integers(0, len(centre), n)
    lon, lat = (centre[which] + rng.normal(0, 0.3, (n, 2))).T
    polygons = []
    for i in range(200):
        radius = 4.0 if i < 10 else 0.25
        x, y = centre[rng.integers(0, len(centre))] + rng.normal(0, 0.3, 2)
        turn = np.linspace(0, 2 * np.pi, 500, endpoint=False)
        r = radius * (1 + 0.25 * np.sin(7 * turn + i) + 0.05 * rng.normal(size=500))
        polygons.append(shapely.Polygon(np.column_stack([x + r * np.cos(turn), y + r * np.sin(turn)])).buffer(0))
    return lon, lat, rng.integers(1_000_000, 90_000_000, n), polygons


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--points", type=int, default=10_000_000)
    n = asked.parse_args().points
    lon, lat, cents, polygons = make(n)
    began = time.process_time()
    order = np.argsort(lon, kind="stable")
    x, y, money = lon[order], lat[order], cents[order]
    sorting = time.process_time() - began
    del order
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sums_in_areas(x[:1000], y[:1000], money[:1000], polygons)  # compile
    best = np.inf
    for _ in range(2):
        began = time.process_time()
        counts, _ = sums_in_areas(x, y, money, polygons)
        best = min(best, time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"ours: {n:,} points in {len(polygons)} polygons, {best:.2f} CPU-s ({best / n * 1e9:.0f} ns a point), "
          f"sorted once in {sorting:.2f} CPU-s; {counts.sum():,} hits; columns {3 * 8 * n / 2**20:.0f} MiB, "
          f"peak of the process {peak:.0f} MiB ({peak - before:.0f} MiB above holding the points)")  # fmt: skip
    m = n // 10
    # every tenth point of the same population: the peer does the same work on fewer of them
    frame = geopandas.GeoDataFrame(
        {"cents": money[::10][:m]}, geometry=geopandas.points_from_xy(x[::10][:m], y[::10][:m]), crs=4326
    )
    areas = geopandas.GeoDataFrame({"area": np.arange(len(polygons))}, geometry=polygons, crs=4326)
    theirs = np.inf
    for _ in range(2):
        began = time.process_time()
        joined = geopandas.sjoin(frame, areas, predicate="within")
        table = joined.groupby("area")["cents"].sum()
        theirs = min(theirs, time.process_time() - began)
    fewer = sums_in_areas(x[::10][:m].copy(), y[::10][:m].copy(), money[::10][:m].copy(), polygons)[1]
    assert all(fewer[area] == total for area, total in table.items())
    print(
        f"geopandas.sjoin: {m:,} points, {theirs:.2f} CPU-s ({theirs / m * 1e9:.0f} ns a point), points already built"
    )
    print(f"ratio per point: {theirs / m / (best / n):.1f} (bar 5)")
    print(f"with our sorting counted: {theirs / m / ((best + sorting) / n):.1f}")


if __name__ == "__main__":
    main()
