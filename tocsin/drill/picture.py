"""The drill's world as a picture: terrain, rivers, the flood at its peak and before, roads, locations, safe zones."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geo.closing import closures
from geo.hazard import Hazard
from tocsin.drill.terrain import CELL_M, HEIGHT_M, PLANE, WIDTH_M
from tocsin.drill.world import World


def draw(world: World, path: Path, *, dpi: int = 90) -> Path:
    """Writes a PNG; nothing in it is read from a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LightSource
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 13.4), layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, height_ratios=[10.5, 3.2])
    extent = (0.0, WIDTH_M / 1000, 0.0, HEIGHT_M / 1000)
    light = LightSource(azdeg=315, altdeg=50)
    ground = world.terrain.elevation
    shade = light.hillshade(ground, vert_exag=3.0, dx=CELL_M, dy=CELL_M)
    top.imshow(ground, origin="lower", extent=extent, cmap="YlGn_r", alpha=0.9, interpolation="bilinear")
    top.imshow(shade, origin="lower", extent=extent, cmap="gray", alpha=0.35, interpolation="bilinear")
    peak = max(world.scenario.footprints, key=lambda f: f.area_km2)
    first = world.scenario.footprints[0]
    _water(top, peak.geometry, "#5aa9e6", "flood at its peak")
    _water(top, first.geometry, "#1d4e89", "first footprint")
    for channel in world.terrain.channels:
        top.plot(channel.x / 1000, channel.y / 1000, color="#0b2545", lw=0.9)
    x, y = world.location_x / 1000, world.location_y / 1000
    top.plot(x, y, ".", color="#6b4c3b", ms=0.7, alpha=0.45, label="insured locations")
    network = world.network
    closed = closures(network, Hazard(geometry=peak.geometry)).closed()
    rx, ry = PLANE.forward(network.shape_lon, network.shape_lat)
    points = np.column_stack([rx, ry]) / 1000
    shapes = [points[a:b] for a, b in zip(network.shape_start[:-1], network.shape_start[1:], strict=True)]
    kinds: tuple[tuple[str, float, Any, str], ...] = (
        ("#333333", 0.7, ~closed & ~network.road_bridge, "roads"),
        ("#d1495b", 0.9, closed & ~network.road_bridge, "closed at the peak"),
        ("#111111", 3.0, network.road_bridge & ~closed, "bridge, open"),
        ("#d00000", 3.0, network.road_bridge & closed, "bridge, cut"),
    )
    for color, width, which, label in kinds:
        top.add_collection(
            LineCollection([shapes[i] for i in np.flatnonzero(which)], colors=color, linewidths=width, label=label)
        )
    for sensor in world.sensors:
        if sensor.quantity != "level":
            continue
        sx, sy = PLANE.forward(np.array([sensor.lon]), np.array([sensor.lat]))
        top.plot(sx / 1000, sy / 1000, "v", color="#ffd166", mec="black", ms=8)
        top.annotate(sensor.code, (sx[0] / 1000, sy[0] / 1000), xytext=(5, 5), textcoords="offset points", fontsize=8)
    for zone in world.safe_zones:
        zx, zy = PLANE.forward(np.array([zone.lon]), np.array([zone.lat]))
        top.plot(zx / 1000, zy / 1000, "s", color="#06d6a0", mec="black", ms=9)
        top.annotate(
            zone.names["en"], (zx[0] / 1000, zy[0] / 1000), xytext=(6, -10), textcoords="offset points", fontsize=8
        )
    top.plot([], [], "v", color="#ffd166", mec="black", label="gauges")
    top.plot([], [], "s", color="#06d6a0", mec="black", label="safe zones")
    top.set(xlim=(0, WIDTH_M / 1000), ylim=(0, HEIGHT_M / 1000), xlabel="km east", ylabel="km north", aspect="equal")
    top.set_title(f"EXERCISE: Tarn Valley, seed {world.seed}; peak {peak.area_km2:.1f} km² at hour {peak.at_h:.0f}")
    top.legend(loc="upper right", fontsize=8, framealpha=0.9)
    _hydrographs(below, world)
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
    return path


def _water(axes: Any, geometry: shapely.MultiPolygon, color: str, label: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    for part in geometry.geoms:
        rings = [
            np.column_stack(PLANE.forward(*np.asarray(r.coords).T)) / 1000 for r in (part.exterior, *part.interiors)
        ]
        outline = Outline.make_compound_path(*(Outline(ring, closed=True) for ring in rings))
        axes.add_patch(PathPatch(outline, facecolor=color, edgecolor="none", alpha=0.65, label=label))
        label = "_"


def _hydrographs(axes: Any, world: World) -> None:
    for number, sensor in enumerate(world.sensors):
        if sensor.code not in ("TR-02", "NB-03", "TR-05", "TR-07"):
            continue
        readings = [(h, v) for sent in world.sent if sent.sensor == number for h, v in sent.readings]
        hours, values = zip(*readings, strict=True)
        (line,) = axes.plot(hours, values, ".", ms=3, label=f"{sensor.code} {sensor.names['en']}")
        step = world.scenario.stage_m[sensor.gauge, :361]
        axes.plot(np.arange(361) / 12, step, lw=0.8, color=line.get_color())
        axes.axhline(sensor.levels["red"], color=line.get_color(), lw=0.5, ls="--")
    axes.set(xlabel="hours after the start", ylabel="stage, m above the bed", xlim=(0, 30))
    axes.legend(fontsize=8, title="stage: sent (dots), true (lines), red level (dashes)", title_fontsize=8)
    rain = axes.twinx()
    area = world.rivers.area_km2
    mean = (world.scenario.rain_mm_h * area[:, None]).sum(axis=0) / area.sum()
    rain.fill_between(np.arange(361) / 12, 0, mean[:361], color="#8ecae6", alpha=0.4, lw=0)
    rain.set(ylabel="rain over the valley, mm/h", ylim=(60, 0))
