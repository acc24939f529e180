"""The drill's roads: grid towns on both banks, valley and ridge roads, hill lanes, a bridge at every crossing."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from geo.crs import FloatArray
from geo.network import Road, RoadNetwork, build
from tocsin.drill.terrain import HEIGHT_M, MAIN, PLANE, WIDTH_M, Terrain

_STREET_M = 115.0
_ABUTMENT_M = 75.0  # half the length of an ordinary bridge
_FROM_RIVER_M = 90.0  # no junction stands nearer to a river


@dataclass(frozen=True, slots=True)
class Town:
    """A town and its middle in local metres."""

    code: str
    names: dict[str, str]
    x: float
    y: float
    columns: int
    rows: int
    bridges: int  #: streets that cross the river


#: (code, English, Chinese, share of the valley from west, metres north of the river, columns, rows, bridges)
_TOWNS = (
    ("tarnhead", "Tarnhead", "塔恩源镇", 0.10, 120.0, 9, 8, 1),
    ("millbrook", "Millbrook", "磨溪镇", 0.34, 80.0, 12, 10, 1),
    ("longford", "Longford", "朗津", 0.50, -60.0, 12, 11, 2),
    ("harbury", "Harbury", "哈布里", 0.635, 40.0, 14, 12, 2),
    ("eastmere", "Eastmere", "东湖镇", 0.79, -40.0, 13, 11, 2),
    ("tarnmouth", "Tarnmouth", "塔恩口镇", 0.93, 60.0, 11, 11, 1),
)
_STREETS = (
    ("River Street", "河街"), ("Mill Street", "磨坊街"), ("Market Street", "市场街"), ("Bell Street", "钟楼街"),
    ("School Street", "学校街"), ("Garden Street", "花园街"), ("Orchard Street", "果园街"),
    ("Station Street", "车站街"), ("Weavers Street", "织工街"), ("Potters Street", "陶工街"),
    ("Spring Street", "泉水街"), ("Terrace Street", "台地街"), ("Chapel Street", "礼拜堂街"), ("Upper Street", "上街"),
)  # fmt: skip
_ORDINALS = "一二三四五六七八九十"


def towns_of(terrain: Terrain) -> tuple[Town, ...]:
    """The six towns, each astride the main river."""
    river = terrain.channels[MAIN]
    found = []
    for code, en, zh, share, north, columns, rows, bridges in _TOWNS:
        x = share * WIDTH_M
        y = float(np.interp(x, river.x, river.y)) + north
        found.append(Town(code, {"en": en, "zh": zh}, x, y, columns, rows, bridges))
    return tuple(found)


@dataclass(frozen=True)
class _Link:
    a: tuple[float, float]
    b: tuple[float, float]
    names: dict[str, str]
    speed_kmh: float
    abutment_m: float = _ABUTMENT_M


def build_roads(terrain: Terrain, towns: Sequence[Town], rng: np.random.Generator) -> RoadNetwork:
    """The road network; every stretch over a river is a bridge."""
    links: list[_Link] = []
    town_nodes: dict[str, list[tuple[float, float]]] = {}
    rivers = terrain.channel_lines
    for town in towns:
        links += _streets(town, rivers, town_nodes)
    spines = _valley_roads(terrain, rng)
    for names, speed, points in spines:
        links += [_Link(a, b, names, speed) for a, b in itertools.pairwise(points)]
    links += _connectors(towns, town_nodes, spines)
    links += _lanes(terrain, spines, rng)
    links.append(_viaduct(terrain, spines))
    return build(_with_bridges(links, rivers))


def _streets(town: Town, rivers: shapely.MultiLineString, nodes: dict[str, list[tuple[float, float]]]) -> list[_Link]:
    x0 = town.x - (town.columns - 1) * _STREET_M / 2
    y0 = town.y - (town.rows - 1) * _STREET_M / 2
    at = {
        (i, j): (round(x0 + i * _STREET_M, 2), round(y0 + j * _STREET_M, 2))
        for i in range(town.columns)
        for j in range(town.rows)
    }
    away = shapely.distance(rivers, shapely.points(np.array(list(at.values()))))
    kept = {k: p for (k, p), d in zip(at.items(), away, strict=True) if d > _FROM_RIVER_M}
    nodes[town.code] = list(kept.values())
    links = []

    def named(kind: int, number: int) -> dict[str, str]:
        if kind == 0:
            en, zh = _STREETS[number % len(_STREETS)]
            return {"en": f"{en}, {town.names['en']}", "zh": f"{town.names['zh']}{zh}"}
        zh = _ORDINALS[number] if number < 10 else "十" + _ORDINALS[number - 10]
        return {"en": f"{number + 1} Avenue, {town.names['en']}", "zh": f"{town.names['zh']}第{zh}大道"}

    crossings: dict[int, list[_Link]] = {}
    for (i, j), p in kept.items():
        for kind, other in ((0, (i + 1, j)), (1, (i, j + 1))):
            q = kept.get(other)
            if q is not None and not shapely.LineString([p, q]).intersects(rivers):
                links.append(_Link(p, q, named(kind, j if kind == 0 else i), 30.0))
        # the next junction of this avenue on the far bank
        far = next((kept[i, k] for k in range(j + 1, town.rows) if (i, k) in kept), None)
        if far is not None and shapely.LineString([p, far]).intersects(rivers):
            crossings.setdefault(i, []).append(_Link(p, far, named(1, i), 40.0))
    columns = sorted(crossings)
    for n in range(town.bridges):
        if columns:
            links += crossings[columns[(2 * n + 1) * len(columns) // (2 * town.bridges)]]
    return links


_Spine = tuple[dict[str, str], float, list[tuple[float, float]]]


def _valley_roads(terrain: Terrain, rng: np.random.Generator) -> list[_Spine]:
    river = terrain.channels[MAIN]
    x = np.arange(500.0, WIDTH_M - 200, 230.0)
    # the roads follow the valley, not each bend
    smooth = np.interp(x, river.x, np.convolve(np.pad(river.y, 60, mode="edge"), np.ones(121) / 121, "valid"))
    offsets = (
        ({"en": "South Bank Road", "zh": "南岸路"}, 65.0, -820.0, 30.0),
        ({"en": "North Bank Road", "zh": "北岸路"}, 65.0, 900.0, 30.0),
        ({"en": "North Ridge Road", "zh": "北岭路"}, 55.0, 2600.0, 120.0),
        ({"en": "South Ridge Road", "zh": "南岭路"}, 55.0, -2500.0, 120.0),
    )
    spines: list[_Spine] = []
    for names, speed, offset, sway in offsets:
        phase = rng.uniform(0, 2 * np.pi)
        y = np.clip(smooth + offset + sway * np.sin(x / 900.0 + phase), 400.0, HEIGHT_M - 400.0)
        points = [(round(float(a), 2), round(float(b), 2)) for a, b in zip(x, y, strict=True)]
        clear = shapely.distance(terrain.channel_lines, shapely.points(points)) > _FROM_RIVER_M
        spines.append((names, speed, [p for p, ok in zip(points, clear, strict=True) if ok]))
    return spines


def _nearest(p: tuple[float, float], among: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(among, key=lambda q: ((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2, q))


def _connectors(
    towns: Sequence[Town], nodes: dict[str, list[tuple[float, float]]], spines: list[_Spine]
) -> list[_Link]:
    links = []
    for town in towns:
        own = nodes[town.code]
        half = (town.columns - 1) * _STREET_M / 2
        for number, (_, _, points) in enumerate(spines[:2]):
            for share in (-0.9, -0.1, 0.7):
                goal = _nearest((town.x + share * half, town.y + (-900 if number == 0 else 900)), points)
                start = _nearest(goal, own)
                names = {"en": f"{town.names['en']} Approach", "zh": f"{town.names['zh']}引道"}
                if start != goal:
                    links.append(_Link(start, goal, names, 50.0))
    return links


def _lanes(terrain: Terrain, spines: list[_Spine], rng: np.random.Generator) -> list[_Link]:
    """Lanes from each bank road over the ridge road into the hills, and the roads that cross the valley."""
    links: list[_Link] = []
    south_bank, north_bank, north_ridge, south_ridge = (points for _, _, points in spines)
    for side, bank, ridge in ((1, north_bank, north_ridge), (-1, south_bank, south_ridge)):
        for number, x in enumerate(np.arange(1200.0, WIDTH_M - 600, 1650.0)):
            names = {
                "en": f"{'North' if side > 0 else 'South'} Lane {number + 1}",
                "zh": f"{'北' if side > 0 else '南'}坡{number + 1}号路",
            }
            low = _nearest((x, HEIGHT_M / 2), bank)
            high = _nearest((low[0] + rng.uniform(-250, 250), HEIGHT_M / 2), ridge)
            top = (high[0] + float(rng.uniform(-500, 500)), HEIGHT_M / 2 + side * (HEIGHT_M / 2 - 500.0))
            for a, b in ((low, high), (high, top)):
                n = max(2, round(float(np.hypot(b[0] - a[0], b[1] - a[1])) / 240.0))
                bend = 70.0 * np.sin(np.linspace(0, np.pi * 2, n + 1)) * rng.uniform(-1, 1)
                line = [
                    (round(a[0] + (b[0] - a[0]) * k / n + float(bend[k]), 2), round(a[1] + (b[1] - a[1]) * k / n, 2))
                    for k in range(n + 1)
                ]
                line[0], line[-1] = a, (round(b[0], 2), round(b[1], 2))
                keep = shapely.distance(terrain.channel_lines, shapely.points(line)) > _FROM_RIVER_M
                keep[0] = keep[-1] = True
                line = [p for p, ok in zip(line, keep, strict=True) if ok]
                links += [_Link(p, q, names, 40.0) for p, q in itertools.pairwise(line)]
    return links


def _viaduct(terrain: Terrain, spines: list[_Spine]) -> _Link:
    """The one crossing above any flood: over the gorge, from bank road to bank road."""
    river = terrain.channels[MAIN]
    south, north = spines[0][2], spines[1][2]
    x = 3300.0
    y = float(np.interp(x, river.x, river.y))
    a, b = _nearest((x, y - 900), south), _nearest((x, y + 900), north)
    return _Link(a, b, {"en": "Gorge Viaduct", "zh": "峡谷高架桥"}, 60.0, abutment_m=420.0)


def _with_bridges(links: Sequence[_Link], rivers: shapely.MultiLineString) -> list[Road]:
    """Roads in lon, lat; where a link crosses a river, the stretch between the abutments is a bridge."""
    lines = shapely.linestrings(np.array([[link.a, link.b] for link in links]))
    meets = shapely.intersects(lines, rivers)
    roads: list[Road] = []
    for link, line, wet in zip(links, lines, meets, strict=True):
        length = line.length
        cuts: list[tuple[float, float]] = []
        if wet:
            for point in shapely.get_parts(shapely.intersection(line, rivers)):
                at = line.project(point)
                first, last = max(at - link.abutment_m, 0.0), min(at + link.abutment_m, length)
                if cuts and first <= cuts[-1][1]:
                    cuts[-1] = (cuts[-1][0], max(last, cuts[-1][1]))
                else:
                    cuts.append((first, last))
                cuts.sort()
        bounds = [0.0]
        kinds: list[bool] = []
        for first, last in cuts:
            if first - bounds[-1] > 1.0:
                kinds.append(False)
                bounds.append(first)
            kinds.append(True)
            bounds.append(last)
        if length - bounds[-1] > 1.0:
            kinds.append(False)
            bounds.append(length)
        else:
            bounds[-1] = length
        places = [line.interpolate(at) for at in bounds]
        for k, bridge in enumerate(kinds):
            xy = np.array([[places[k].x, places[k].y], [places[k + 1].x, places[k + 1].y]])
            roads.append(
                Road(points=_lon_lat(xy), speed_kmh=link.speed_kmh, bridge=bridge, names=_bridge_names(link, bridge))
            )
    return roads


def _bridge_names(link: _Link, bridge: bool) -> dict[str, str]:
    if not bridge or "Viaduct" in link.names["en"]:
        return link.names
    return {"en": f"{link.names['en']} (bridge)", "zh": f"{link.names['zh']}（桥）"}


def _lon_lat(xy: FloatArray) -> list[tuple[float, float]]:
    lon, lat = PLANE.inverse(xy[:, 0], xy[:, 1])
    return [(round(float(a), 7), round(float(b), 7)) for a, b in zip(lon, lat, strict=True)]
