"""A replay of the Camp Fire of 8 November 2018: who could still get out of Paradise, by when they left.

    python benchmarks/paradise.py FOLDER [--households 20000] [--image docs/images/paradise-leave-by.png] [--clearance]

FOLDER holds `camp_road_graph_8000.graphml`, `camp_fire.shp`, `Butte_tracts_HH.shp` (see docs/methods/evacuation.md for
where they are from). How it is made:

- Perimeter. The observations are small pieces of burning ground at nine times from minute 0 to 775, and not what lies
  behind the front. Pieces seen until a time are buffered by 300 m and joined; what is within 600 m of each other grows
  together (outwards 600 m, inwards 600 m), and holes count as burnt. Ground burns from its first such time on.
- Households. Each census tract has its estimated households; of a tract's, the share goes into the streets of the
  extract that the share of the tract inside the extract's box has. They are drawn along residential streets by length.
- Safe zones. In each of eight directions from the middle of the box, the farthest node on a tertiary or larger road
  that stays at least 1 km from the last perimeter; a direction without one has none.
- Everybody drives alone: times are free flow, and with --clearance congested (a queue at every road's end). Those who
  leave at minute t go over roads that close after they have left them; what they know of the future is everything.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geo.clearance import clearance
from geo.crs import FloatArray
from geo.evacuate import LONGER_SHARE_UNSEATED
from geo.evacuation import Households, Margins, Plan, SafeZones
from geo.hazard import ArrivalZone, Hazard
from geo.network import RoadNetwork
from geo.roadfiles import read_extract
from geo.routing import plan_routes
from geo.spread import spread_out
from geo.tags import CLASSES
from geo.traffic import Demand, who_drives

BUFFER_M, GROW_M = 300.0, 600.0
MAIN = ("motorway", "trunk", "primary", "secondary", "tertiary")
MINUTES = (0, 60, 120, 180, 205, 240, 275, 330, 375, 430, 475, 575, 675, 775)


def read_shapes(path: Path, column: str) -> tuple[Any, FloatArray]:
    """(shapes in WGS 84, the numbers of a column)."""
    import pyogrio
    from pyproj import Transformer

    meta, _, shapes, columns = pyogrio.raw.read(path, columns=[column])
    turn = Transformer.from_crs(meta["crs"], "EPSG:4326", always_xy=True)
    made = shapely.transform(
        shapely.make_valid(shapely.from_wkb(shapes)), lambda xy: np.column_stack(turn.transform(*xy.T))
    )
    return made, columns[0].astype(float)


def perimeters(pieces: Any, minutes: FloatArray, network: RoadNetwork) -> list[tuple[float, Any]]:
    """(minute, ground that has burnt by then) of each time at which burning was observed."""
    forward, back = network.plane.forward, network.plane.inverse
    flat = shapely.transform(pieces, lambda xy: np.column_stack(forward(xy[:, 0], xy[:, 1])))
    made, burnt = [], shapely.Polygon()
    for minute in np.unique(minutes):
        seen = shapely.union_all(shapely.buffer(flat[minutes == minute], BUFFER_M))
        burnt = shapely.union(burnt, seen)
        grown = shapely.buffer(shapely.buffer(burnt, GROW_M), -GROW_M)
        burnt = shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(grown)])
        shown = shapely.simplify(burnt, 10.0)
        made.append((float(minute), shapely.transform(shown, lambda xy: np.column_stack(back(xy[:, 0], xy[:, 1])))))
    return made


def draw_households(
    network: RoadNetwork, tracts: Any, counts: FloatArray, rng: np.random.Generator, n: int | None
) -> tuple[FloatArray, FloatArray]:
    """(lon, lat) of households along the streets of each tract; n of them in all, or as many as the census has."""
    box = shapely.box(network.node_lon.min(), network.node_lat.min(), network.node_lon.max(), network.node_lat.max())
    shapely.prepare(tracts)
    streets = np.flatnonzero(network.road_car & network.has_doors)
    middle = shapely.line_interpolate_point(network.lines[streets], 0.5, normalized=True)
    share = shapely.area(shapely.intersection(tracts, box)) / shapely.area(tracts)
    due = counts * share
    if n is not None:
        due = due * n / due.sum()
    lon, lat = [], []
    for tract, wanted in zip(tracts, np.round(due).astype(int), strict=True):
        mine = streets[shapely.intersects(tract, middle)]
        if not wanted or not len(mine):
            continue
        length = network.road_length_m[mine]
        road = rng.choice(mine, wanted, p=length / length.sum())
        place = shapely.line_interpolate_point(network.lines[road], rng.random(wanted), normalized=True)
        lon.append(shapely.get_x(place))
        lat.append(shapely.get_y(place))
    return np.concatenate(lon), np.concatenate(lat)


def draw_zones(network: RoadNetwork, last: Any) -> SafeZones:
    """Where main roads leave the extract, away from the fire: at most one in each of eight directions."""
    main = np.isin(network.road_class, [CLASSES.index(name) for name in MAIN]) & network.road_car
    node = np.unique(np.concatenate([network.road_a[main], network.road_b[main]]))
    x, y = network.plane.forward(network.node_lon[node], network.node_lat[node])
    ground = shapely.transform(last, lambda xy: np.column_stack(network.plane.forward(xy[:, 0], xy[:, 1])))
    shapely.prepare(ground)
    away = shapely.distance(ground, shapely.points(x, y)) >= 1000.0
    sector = np.round(np.degrees(np.arctan2(x, y)) / 45.0).astype(int) % 8
    found = []
    for k in range(8):
        some = np.flatnonzero(away & (sector == k))
        if len(some):
            found.append(node[some[np.argmax(np.hypot(x[some], y[some]))]])
    at = np.array(found, dtype=np.int64)
    return SafeZones(network.node_lon[at], network.node_lat[at])


def replay(folder: Path, n: int | None, seed: int = 8) -> tuple[Plan, list[tuple[float, Any]]]:
    """The plan made at minute 0 with the whole fire known."""
    network = read_extract(folder / "camp_road_graph_8000.graphml")
    pieces, minutes = read_shapes(folder / "camp_fire.shp", "SimTime")
    tracts, counts = read_shapes(folder / "Butte_tracts_HH.shp", "Tot_Est_HH")
    burnt = perimeters(pieces, minutes, network)
    lon, lat = draw_households(network, tracts, counts, np.random.default_rng(seed), n)
    zones = tuple(ArrivalZone(arrival_min=minute, geometry=ground) for minute, ground in burnt[1:])
    hazard = Hazard(geometry=burnt[0][1], zones=zones, peril="wildfire")
    homes = Households(lon, lat, np.zeros(len(lon), dtype=bool))
    safe = draw_zones(network, burnt[-1][1])
    margins = Margins(notice_s=0.0)
    return plan_routes(network, hazard, safe, homes, margins=margins, with_points=False), burnt


def table(plan: Plan, burnt: list[tuple[float, Any]]) -> list[tuple[int, int, int, int]]:
    """(minute of departure, can still get out, home burns by then, cut off) in households, of those with a road."""
    clear = plan.columns.status == 0
    late = plan.columns.last_way_out_s
    rows = []
    for minute in MINUTES:
        reached = [ground for when, ground in burnt if when <= minute]
        home = np.zeros(len(late), dtype=bool)
        for ground in reached:
            shapely.prepare(ground)
            home |= shapely.intersects_xy(ground, plan.households.lon, plan.households.lat)
        out = clear & (late >= minute * 60.0)
        rows.append((minute, int(out.sum()), int((home & ~out).sum()), int((~home & ~out).sum())))
    return rows


def draw(plan: Plan, burnt: list[tuple[float, Any]], path: Path) -> None:
    """The leave-by map."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    figure, axes = plt.subplots(figsize=(9.5, 8.2), dpi=130)
    network = plan.network
    lines = [network.shape(r) for r in range(network.n_roads)]
    wide = np.isin(network.road_class, [CLASSES.index(name) for name in MAIN])
    shades = plt.get_cmap("YlOrRd")(np.linspace(0.55, 0.12, len(burnt)))
    for k, (_minute, ground) in reversed(list(enumerate(burnt))):
        for part in shapely.get_parts(ground):
            axes.fill(*np.asarray(part.exterior.coords).T, color=shades[k], lw=0, zorder=1)
    axes.add_collection(LineCollection(lines, colors="#9a9a9a", linewidths=np.where(wide, 1.3, 0.35), zorder=2))
    late = plan.columns.last_way_out_s / 60.0
    clear = plan.columns.status == 0
    never, stuck = clear & ~np.isfinite(late), ~clear
    some = clear & np.isfinite(late)
    lon, lat = plan.households.lon, plan.households.lat
    axes.scatter(lon[never], lat[never], s=1.2, c="#2c7a4b", lw=0, zorder=3, label="a way out stays open")
    dots = axes.scatter(lon[some], lat[some], s=2.2, c=late[some], cmap="viridis", lw=0, zorder=4)
    axes.scatter(lon[stuck], lat[stuck], s=2.2, c="#c2003b", lw=0, zorder=5, label="no clear way at minute 0")
    axes.scatter(plan.zones.lon, plan.zones.lat, s=90, marker="P", c="#0b4ea2", edgecolors="white", zorder=6,
                 label="safe zone")  # fmt: skip
    figure.colorbar(dots, ax=axes, shrink=0.75, label="last way out, minutes after the first observation")
    axes.set_xlim(network.node_lon.min(), network.node_lon.max())
    axes.set_ylim(network.node_lat.min(), network.node_lat.max())
    axes.set_aspect(1.0 / np.cos(np.radians(float(network.node_lat.mean()))))
    axes.set_title("Paradise, 8 November 2018: by when each household must have left")
    axes.set_xticks([])
    axes.set_yticks([])
    legend = axes.legend(loc="upper left", fontsize=8)
    for handle in legend.legend_handles:
        handle.set_sizes([36.0])
    figure.text(0.01, 0.01, "Shaded: burnt by observed time, darkest first. Roads © OpenStreetMap contributors (ODbL).",
                fontsize=7)  # fmt: skip
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--households", type=int, help="else as many as the census estimates there")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--clearance", action="store_true")
    given = parser.parse_args()
    plan, burnt = replay(given.folder, given.households)
    n = len(plan.households.lon)
    print(f"{n:,} households, {len(plan.zones.lon)} safe zones; at minute 0: {plan.counts()}")
    print("leave at   still get out        home burnt   other, no way")
    for minute, out, burning, cut in table(plan, burnt):
        print(f"{minute:>5} min {out:>9,} ({out / n:6.1%}) {burning:>11,} {cut:>12,}")
    if given.clearance:
        rows = who_drives(plan, np.ones(n, dtype=bool), Demand())
        told = clearance(spread_out(plan, rows, Demand(), LONGER_SHARE_UNSEATED), plan)
        print({k: told[k] for k in ("times_sooner_at_100_percent", "spread", "nearest_and_fastest")})
    if given.image:
        draw(plan, burnt, given.image)
        print(given.image)


if __name__ == "__main__":
    main()
