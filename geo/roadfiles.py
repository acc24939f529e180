"""Extracts into networks: OpenStreetMap PBF, OSMnx GraphML, and line files (GeoJSON, GeoPackage, shapefile)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo.crs import WGS84, FloatArray, to_wgs84
from geo.network import MAGIC, BadNetwork, Road, RoadNetwork, TurnRule, build, from_geojson, open_file, tagged

OSM = "(c) OpenStreetMap contributors, ODbL 1.0"
#: Columns of line files that may hold the id of OpenStreetMap's way.
_WAY_IDS = ("osmid", "osm_id", "osm_way_id", "@id")
_WATER = frozenset({"river", "canal", "tidal_channel"})
_VEHICLE_RULES = ("restriction", "restriction:motorcar", "restriction:motor_vehicle")


def read_extract(path: Path, progress: Callable[[int], None] | None = None) -> RoadNetwork:
    """A network from a file, by its name: .roads, .osm.pbf, .osm, .graphml, .geojson, .json, .gpkg, .shp.

    `progress` is told how many roads were read. Raises BadNetwork naming the file and the reason.
    """
    if path.is_dir():
        raise BadNetwork(f"{path}: it is a folder, not a file")
    if not path.is_file():
        raise BadNetwork(f"{path}: there is no such file")
    name = path.name.lower()
    try:
        if name.endswith(".roads") or _is_network(path):
            return open_file(path)
        if name.endswith((".pbf", ".osm", ".osm.bz2", ".osm.gz")):
            return _read_osm(path, progress)
        if name.endswith(".graphml"):
            return _read_graphml(path)
        if name.endswith((".geojson", ".json")):
            return _read_geojson(path)
        if name.endswith((".gpkg", ".shp", ".fgb")):
            return _read_lines(path)
    except BadNetwork as error:
        raise BadNetwork(f"{path.name}: {error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadNetwork(f"{path.name}: not JSON: {error}") from error
    except OSError as error:
        raise BadNetwork(f"{path.name}: it cannot be read: {error.strerror}") from error
    raise BadNetwork(f"{path.name}: not one of .roads, .osm.pbf, .graphml, .geojson, .gpkg, .shp")


def _is_network(path: Path) -> bool:
    """Whether a file begins as `tocsin roads build` writes it, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


# -------------------------------------------------------------------- OpenStreetMap
def _read_osm(path: Path, progress: Callable[[int], None] | None) -> RoadNetwork:
    try:
        import osmium
    except ImportError as error:
        raise BadNetwork("reading OpenStreetMap files needs osmium: install tocsin[roads]") from error
    roads: list[Road] = []
    rules: list[TurnRule] = []
    barriers: list[list[tuple[float, float]]] = []
    skipped = {"ferries": 0, "via_ways": 0, "not_built_or_closed": 0, "incomplete": 0}
    try:
        reader = osmium.io.Reader(str(path))
        stamp = reader.header().get("osmosis_replication_timestamp") or reader.header().get("timestamp")
        reader.close()
        newest = ""
        item: Any
        for item in osmium.FileProcessor(str(path)).with_locations():
            if item.is_way():
                tags = {tag.k: tag.v for tag in item.tags}
                if tags.get("route") == "ferry":
                    skipped["ferries"] += 1
                    continue
                river = tags.get("waterway") in _WATER and tags.get("tunnel", "no") == "no"
                if "highway" not in tags and not river:
                    continue
                points: list[tuple[float, float]] = []
                keys: list[int] = []
                for node in item.nodes:
                    if node.location.valid() and (not keys or keys[-1] != node.ref):
                        points.append((node.location.lon, node.location.lat))
                        keys.append(node.ref)
                if len(points) < 2:
                    skipped["incomplete"] += 1
                    continue
                if river:
                    barriers.append(points)
                    continue
                newest = max(newest, item.timestamp.isoformat())
                road = tagged(tags, points, f"way {item.id}", osm_id=item.id, keys=keys)
                if road is None:
                    skipped["not_built_or_closed"] += 1
                    continue
                roads.append(road)
                if progress is not None and len(roads) % 1000 == 0:
                    progress(len(roads))
            elif item.is_relation():
                _add_rule(item, rules, skipped)
    except (RuntimeError, osmium.InvalidLocationError) as error:
        raise BadNetwork(f"it cannot be read: {error}") from error
    about = {
        "source": path.name, "attribution": OSM, "extract_date": (stamp or newest)[:10] or None,
        "extract_date_is": "the file's own" if stamp else "the newest road in it", "skipped": skipped,
    }  # fmt: skip
    return build(roads, rules=rules, barriers=barriers, about=about)


def _add_rule(relation: Any, rules: list[TurnRule], skipped: dict[str, int]) -> None:
    tags = {tag.k: tag.v for tag in relation.tags}
    if tags.get("type") != "restriction":
        return
    kind = next((tags[key] for key in _VEHICLE_RULES if key in tags), "")
    if not kind.startswith(("no_", "only_")) or "motorcar" in tags.get("except", ""):
        return
    member: dict[str, list[tuple[str, int]]] = {}
    for m in relation.members:
        member.setdefault(m.role, []).append((m.type, m.ref))
    if [kind_ for kind_, _ in member.get("via", [])] != ["n"]:
        skipped["via_ways"] += 1
        return
    via = member["via"][0][1]
    for _, came in member.get("from", []):
        for _, goes in member.get("to", []):
            if came != goes:  # back on the same way is never taken except at a dead end
                rules.append(TurnRule(came, via, goes, kind.startswith("only_")))


# -------------------------------------------------------------------- OSMnx
def _read_graphml(path: Path) -> RoadNetwork:
    """A graph of OSMnx: directed edges with `geometry` (WKT) or straight between nodes with x, y and elevation."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, parse

    try:
        root: Any = parse(path).getroot()
    except ParseError as error:
        raise BadNetwork(f"not XML: {error}") from error
    except DefusedXmlException as error:
        raise BadNetwork("it declares XML entities, which are not read") from error
    space = "{http://graphml.graphdrawing.org/xmlns}"
    key: dict[str, str] = {k.get("id"): k.get("attr.name") for k in root.iter(f"{space}key")}
    graph = root.find(f"{space}graph")
    if graph is None:
        raise BadNetwork("there is no graph in it")

    def data(element: Any) -> dict[str, str]:
        return {key.get(d.get("key"), ""): d.text or "" for d in element.findall(f"{space}data")}

    about = data(graph)
    epsg = _epsg(about["crs"]) if about.get("crs") else WGS84
    place: dict[str, tuple[float, float]] = {}
    heights: dict[int, float] = {}
    number: dict[str, int] = {}
    for node in graph.iter(f"{space}node"):
        given = data(node)
        name = node.get("id", "")
        try:
            place[name] = (float(given["x"]), float(given["y"]))
            if given.get("elevation"):
                heights[len(number)] = float(given["elevation"])
        except (KeyError, ValueError) as error:
            raise BadNetwork(f"node {name}: it has no x and y in degrees") from error
        number[name] = len(number)
    if place:
        flat = np.array(list(place.values()))
        place = dict(zip(place, _degrees(flat, epsg), strict=True))
    roads: list[Road] = []
    seen: set[tuple[str, str, str, str]] = set()
    next_key = -1
    for edge in graph.iter(f"{space}edge"):
        given = data(edge)
        a, b = edge.get("source", ""), edge.get("target", "")
        if a not in place or b not in place:
            raise BadNetwork(f"edge {a} to {b}: it names a node that is not there")
        both = given.get("oneway", "False").lower() in ("false", "no", "0", "")
        osm, length = given.get("osmid", "").strip("[]"), given.get("length", "").partition(".")[0]
        mark = (b, a, ",".join(sorted(osm.replace(" ", "").split(","))), length)
        if both and mark in seen:
            continue  # the way back of a road that is there already
        if both:
            seen.add((a, b, mark[2], length))
        points = (
            _wkt_line(given["geometry"], f"edge {a} to {b}", epsg) if given.get("geometry") else [place[a], place[b]]
        )
        inner = list(range(next_key, next_key - len(points) + 2, -1))
        next_key -= len(inner)
        tags = given | {"oneway": "no" if both else "yes"}
        road = tagged(
            tags, points, f"edge {a} to {b}", osm_id=_way_id(osm), keys=[number[a], *inner, number[b]]
        )  # fmt: skip
        if road is not None:
            roads.append(road)
    day = about.get("created_date", "")[:10] or None
    told = {"source": path.name, "attribution": OSM, "extract_date": day, "made_with": about.get("created_with", "")}
    return build(roads, heights=heights, about=told)


def _degrees(xy: FloatArray, epsg: int) -> list[tuple[float, float]]:
    """(k, 2) coordinates of a system as lon, lat. Raises BadNetwork where they are outside its reach."""
    try:
        lon, lat = to_wgs84(xy[:, 0].copy(), xy[:, 1].copy(), epsg)
    except InvalidInput as error:
        raise BadNetwork(f"EPSG:{epsg}: {error}") from error
    return list(zip(lon.tolist(), lat.tolist(), strict=True))


def _way_id(value: Any) -> int:
    """The id of OpenStreetMap's way; of a list the first; 0 where there is none that fits 64 bits."""
    text = str(value).strip("[] ").split(",")[0].strip().removesuffix(".0")
    return int(text) if len(text) < 19 and text.isascii() and text.lstrip("-").isdigit() else 0


def _wkt_line(text: str, where: str, epsg: int) -> list[tuple[float, float]]:
    import shapely

    try:
        line = shapely.from_wkt(text)
    except shapely.errors.GEOSException as error:
        raise BadNetwork(f"{where}: its geometry is not WKT: {error}") from error
    if line.geom_type != "LineString" or line.is_empty:
        raise BadNetwork(f"{where}: its geometry is a {line.geom_type} and no line with points")
    return _degrees(shapely.get_coordinates(line), epsg)


# -------------------------------------------------------------------- line files
def _read_lines(path: Path) -> RoadNetwork:
    """Lines of a GeoPackage or shapefile: columns are OpenStreetMap's keys; any coordinate system with an EPSG code."""
    import pyogrio
    import shapely

    try:
        info, _, geometry, columns = pyogrio.raw.read(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise BadNetwork(f"it cannot be read: {str(error).partition('; It might')[0]}") from error
    if info["crs"] is None:
        raise BadNetwork("it does not say its coordinate system")
    epsg = _epsg(info["crs"])
    names = [str(name) for name in info["fields"]]
    roads: list[Road] = []
    n_empty = 0
    for i, line in enumerate(shapely.from_wkb(geometry)):
        if line is None or line.is_empty:
            n_empty += 1
            continue
        given = {n: c[i] for n, c in zip(names, columns, strict=True) if c[i] is not None and c[i] == c[i]}
        for part in shapely.get_parts(line):
            if part.geom_type != "LineString":
                raise BadNetwork(f"feature {i}: a road is a LineString or MultiLineString, not {part.geom_type}")
            points = _degrees(shapely.get_coordinates(part), epsg)
            way = next((_way_id(given[key]) for key in _WAY_IDS if key in given), 0)
            road = tagged(given, points, f"feature {i}", osm_id=way)
            if road is not None:
                roads.append(road)
    about: dict[str, Any] = {"source": path.name, "extract_date": None, "skipped": {"without_geometry": n_empty}}
    if "highway" not in names:
        about["assumed"] = "there is no column highway: every road is taken for an unclassified street"
    return build(roads, about=about)


def _read_geojson(path: Path) -> RoadNetwork:
    """A FeatureCollection of lines in degrees; one that names another system (GeoJSON of 2008) is read as lines are."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise BadNetwork("not JSON that can be read: it is nested too deeply") from error
    said = document.get("crs") if isinstance(document, dict) else None
    if said is not None:
        name = (said.get("properties") or {}).get("name") if isinstance(said, dict) else None
        if not isinstance(name, str):
            raise BadNetwork("crs: it names no coordinate system")
        if "CRS84" not in name and _epsg(name) != WGS84:
            return _read_lines(path)
    return from_geojson(document)


def _epsg(text: str) -> int:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        code = CRS.from_user_input(text).to_epsg()
    except CRSError as error:
        raise BadNetwork(f"its coordinate system is not understood: {error}") from error
    if code is None:
        raise BadNetwork("its coordinate system has no EPSG code: convert it to EPSG:4326")
    return int(code)


def describe(network: RoadNetwork) -> dict[str, Any]:
    """What `tocsin roads info` tells of a network."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    from geo.sweep import graph_of
    from geo.tags import CLASSES

    told: dict[str, Any] = {
        "n_nodes": network.n_nodes, "n_roads": network.n_roads, "n_shape_points": len(network.shape_lon),
        "length_km": round(float(network.road_length_m.sum()) / 1000.0, 1),
        "n_bridges": int(network.road_bridge.sum()), "n_tunnels": int(network.road_tunnel.sum()),
        "n_turn_bans": len(network.ban_from), "n_rivers": len(network.barrier_start) - 1,
        "n_nodes_with_height": int(np.isfinite(network.node_height_m).sum()), "n_names": len(network.names) - 1,
        "bounds": [float(f(a)) for f in (np.min, np.max) for a in (network.node_lon, network.node_lat)],
    }  # fmt: skip
    for mode in ("car", "foot"):
        graph = graph_of(network, mode == "foot")
        n = network.n_nodes
        links = coo_array((np.ones(len(graph.tail)), (graph.tail, graph.head)), shape=(n, n)).tocsr()
        _, part = connected_components(links, directed=True, connection="strong")
        touched = np.unique(np.concatenate([graph.tail, graph.head])) if len(graph.tail) else np.zeros(0, dtype=int)
        largest = int(np.bincount(part[touched]).max()) if len(touched) else 0
        told[mode] = {"n_edges": len(graph.tail), "n_nodes": len(touched), "n_nodes_in_largest_part": largest}
    counts = np.bincount(network.road_class, minlength=len(CLASSES))
    told["roads_by_class"] = {name: int(counts[i]) for i, name in enumerate(CLASSES) if counts[i]}
    return told | {"about": network.about}
