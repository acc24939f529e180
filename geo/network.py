"""Roads as compact arrays: nodes, two-way or one-way roads with their shapes, and the directed edges over them.

A road is a stretch between two nodes; an edge is a road in one direction. Two edges of one road share its shape, name
and bridge flag. A network is saved as a versioned .npz file named by its SHA-256, and never changed.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray, LocalPlane, coordinate_fault, geodesic_m

Int32Array = npt.NDArray[np.int32]

FORMAT_VERSION = 1
WALKING_M_S = 1.2  # planning speed of mixed groups on foot (Fruin 1971 gives 1.35 for unimpeded adults)
DEFAULT_SPEED_KMH = {
    "motorway": 100.0, "trunk": 80.0, "primary": 65.0, "secondary": 55.0, "tertiary": 45.0,
    "unclassified": 40.0, "residential": 30.0, "living_street": 15.0, "service": 20.0, "track": 15.0,
}  # fmt: skip


class BadNetwork(InvalidInput):
    """This is not a usable road network."""


@dataclass(frozen=True, eq=False)
class RoadNetwork:
    """Arrays of a road network. All indices are into the arrays here; coordinates are WGS84 degrees."""

    node_lon: FloatArray  #: (n_nodes,)
    node_lat: FloatArray
    road_a: Int32Array  #: (n_roads,) node where the road's shape starts
    road_b: Int32Array  #: node where it ends
    road_length_m: FloatArray
    road_speed_m_s: FloatArray  #: free-flow speed of a car
    road_bridge: BoolArray
    road_oneway: BoolArray  #: True: only from a to b, for cars
    road_name: Int32Array  #: index into names; 0 is the nameless road
    shape_lon: FloatArray  #: points of all roads, one after the other
    shape_lat: FloatArray
    shape_start: npt.NDArray[np.int64]  #: (n_roads + 1,) where each road's points begin
    names: tuple[dict[str, str], ...]  #: language -> name; the first is {}

    # ---------------------------------------------------------------- edges, derived
    @cached_property
    def edge_road(self) -> Int32Array:
        """(n_edges,) the road of each edge. Edges a to b come first, in the order of roads, then b to a."""
        back = np.flatnonzero(~self.road_oneway)
        return np.concatenate([np.arange(self.n_roads), back]).astype(np.int32)

    @cached_property
    def edge_forward(self) -> BoolArray:
        """(n_edges,) True where the edge runs from a to b."""
        forward = np.zeros(self.n_edges, dtype=bool)
        forward[: self.n_roads] = True
        return forward

    @cached_property
    def edge_tail(self) -> Int32Array:
        return np.where(self.edge_forward, self.road_a[self.edge_road], self.road_b[self.edge_road]).astype(np.int32)

    @cached_property
    def edge_head(self) -> Int32Array:
        return np.where(self.edge_forward, self.road_b[self.edge_road], self.road_a[self.edge_road]).astype(np.int32)

    @cached_property
    def backward_edge(self) -> Int32Array:
        """(n_roads,) the edge from b to a, or -1 on a one-way road."""
        back: Int32Array = np.full(self.n_roads, -1, dtype=np.int32)
        ways = np.flatnonzero(~self.road_oneway)
        back[ways] = self.n_roads + np.arange(len(ways))
        return back

    @property
    def n_nodes(self) -> int:
        return len(self.node_lon)

    @property
    def n_roads(self) -> int:
        return len(self.road_a)

    @cached_property
    def n_edges(self) -> int:
        return self.n_roads + int((~self.road_oneway).sum())

    def edge_seconds(self, mode: str = "car") -> FloatArray:
        """(n_edges,) free-flow travel time; on foot at WALKING_M_S."""
        length = self.road_length_m[self.edge_road]
        if mode == "foot":
            return length / WALKING_M_S
        return length / self.road_speed_m_s[self.edge_road]

    @cached_property
    def plane(self) -> LocalPlane:
        """The plane in which nearest roads are sought."""
        return LocalPlane(float(self.node_lon.mean()), float(self.node_lat.mean()))

    @cached_property
    def lines(self) -> npt.NDArray[np.object_]:
        """(n_roads,) shapely lines in lon, lat."""
        points = np.column_stack([self.shape_lon, self.shape_lat])
        index = np.repeat(np.arange(self.n_roads), np.diff(self.shape_start))
        lines: npt.NDArray[np.object_] = shapely.linestrings(points, indices=index)
        return lines

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Tree over `lines`."""
        return shapely.STRtree(self.lines)

    @cached_property
    def plane_lines(self) -> npt.NDArray[np.object_]:
        """(n_roads,) shapely lines in metres of `plane`."""
        x, y = self.plane.forward(self.shape_lon, self.shape_lat)
        index = np.repeat(np.arange(self.n_roads), np.diff(self.shape_start))
        lines: npt.NDArray[np.object_] = shapely.linestrings(np.column_stack([x, y]), indices=index)
        return lines

    @cached_property
    def plane_tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.plane_lines)

    def shape(self, road: int) -> FloatArray:
        """(k, 2) lon, lat of a road from a to b."""
        first, last = int(self.shape_start[road]), int(self.shape_start[road + 1])
        return np.column_stack([self.shape_lon[first:last], self.shape_lat[first:last]])

    def name(self, road: int, language: str = "en") -> str:
        """The road's name in a language, in English, in any, or the empty text."""
        names = self.names[int(self.road_name[road])]
        return names.get(language) or names.get("en") or next(iter(names.values()), "")

    # ---------------------------------------------------------------- file
    def to_bytes(self) -> bytes:
        """The .npz file of this network: the same network is the same bytes."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        names = np.frombuffer(json.dumps(self.names, ensure_ascii=False, sort_keys=True).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, format=np.array(FORMAT_VERSION), names=names, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "RoadNetwork":
        """Reads a file made by `to_bytes`; raises BadNetwork."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                if int(file["format"]) != FORMAT_VERSION:
                    raise BadNetwork("the network file has another format version", version=int(file["format"]))
                arrays: dict[str, Any] = {f.name: file[f.name] for f in fields(cls) if f.name != "names"}
                arrays["names"] = tuple(json.loads(file["names"].tobytes().decode()))
        except (ValueError, KeyError, OSError) as error:
            raise BadNetwork(f"not a network file: {error}") from error
        for array in arrays.values():
            if isinstance(array, np.ndarray):
                array.setflags(write=False)
        return cls(**arrays)


def save(network: RoadNetwork, folder: Path) -> tuple[str, bytes]:
    """Writes the network into `folder` under the name of its hash; returns (file name, SHA-256)."""
    content = network.to_bytes()
    digest = hashlib.sha256(content).digest()
    name = f"{digest.hex()[:32]}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    if not target.exists():
        partial = folder / f".{name}.partial"
        partial.write_bytes(content)
        partial.replace(target)
    return name, digest


@lru_cache(maxsize=4)
def load(path: Path, sha256: bytes) -> RoadNetwork:
    """The network of a file, kept in memory; raises BadNetwork where the file is gone or is not what was recorded."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadNetwork(f"the network file {path.name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).digest() != sha256:
        raise BadNetwork(f"the network file {path.name} is not the one that was recorded: its hash differs")
    return RoadNetwork.from_bytes(content)


# -------------------------------------------------------------------- building
@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """A road as it is read, before it is cut at the crossings."""

    points: Sequence[tuple[float, float]]  #: lon, lat
    speed_kmh: float
    bridge: bool = False
    oneway: bool = False
    names: Mapping[str, str] | None = None


def build(roads: Sequence[Road]) -> RoadNetwork:
    """A network of roads that meet where an end point of one is a point of another (to about 1 cm).

    Each road is cut at its inner points that other roads touch. Two parallel roads between the same nodes stay two.
    Raises BadNetwork where there is no road, or a point is no place.
    """
    if not roads:
        raise BadNetwork("there are no roads in it")
    keys: list[list[tuple[int, int]]] = []
    uses: dict[tuple[int, int], int] = {}
    for number, road in enumerate(roads):
        if len(road.points) < 2:
            raise BadNetwork(f"road {number}: it has fewer than two points")
        if not (np.isfinite(road.speed_kmh) and road.speed_kmh > 0):
            raise BadNetwork(f"road {number}: speed {road.speed_kmh} km/h is not above 0")
        for lon, lat in road.points:
            if fault := coordinate_fault(lon, lat):
                raise BadNetwork(f"road {number}: {fault}")
        own = [(round(lon * 1e7), round(lat * 1e7)) for lon, lat in road.points]
        keys.append(own)
        for place, key in enumerate(own):
            # an end counts twice, so that it is always a node
            uses[key] = uses.get(key, 0) + (2 if place in (0, len(own) - 1) else 1)
    node_of: dict[tuple[int, int], int] = {}
    names: list[dict[str, str]] = [{}]
    name_of: dict[str, int] = {"{}": 0}
    columns: dict[str, list[Any]] = {name: [] for name in ("a", "b", "speed", "bridge", "oneway", "name")}
    shape: list[tuple[float, float]] = []
    starts = [0]
    for road, own in zip(roads, keys, strict=True):
        told = json.dumps(dict(road.names or {}), ensure_ascii=False, sort_keys=True)
        if told not in name_of:
            name_of[told] = len(names)
            names.append(dict(road.names or {}))
        first = 0
        for last in range(1, len(own)):
            if uses[own[last]] < 2:
                continue
            piece = list(road.points[first : last + 1])
            if own[first] != own[last] or len(piece) > 2:  # a doubled point is no road
                for key in (own[first], own[last]):
                    node_of.setdefault(key, len(node_of))
                columns["a"].append(node_of[own[first]])
                columns["b"].append(node_of[own[last]])
                columns["speed"].append(road.speed_kmh / 3.6)
                columns["bridge"].append(road.bridge)
                columns["oneway"].append(road.oneway)
                columns["name"].append(name_of[told])
                shape.extend(piece)
                starts.append(len(shape))
            first = last
    if not columns["a"]:
        raise BadNetwork("there are no roads in it")
    points = np.array(shape, dtype=float)
    start = np.array(starts, dtype=np.int64)
    steps = geodesic_m(points[:-1, 0], points[:-1, 1], points[1:, 0], points[1:, 1])
    steps[start[1:-1] - 1] = 0.0  # from the last point of one road to the first of the next
    length = np.add.reduceat(steps, start[:-1])
    nodes = np.array(list(node_of), dtype=float) / 1e7
    return RoadNetwork(
        node_lon=nodes[:, 0].copy(),
        node_lat=nodes[:, 1].copy(),
        road_a=np.array(columns["a"], dtype=np.int32),
        road_b=np.array(columns["b"], dtype=np.int32),
        road_length_m=np.maximum(length, 0.01),
        road_speed_m_s=np.array(columns["speed"], dtype=float),
        road_bridge=np.array(columns["bridge"], dtype=bool),
        road_oneway=np.array(columns["oneway"], dtype=bool),
        road_name=np.array(columns["name"], dtype=np.int32),
        shape_lon=points[:, 0].copy(),
        shape_lat=points[:, 1].copy(),
        shape_start=start,
        names=tuple(names),
    )


_YES = {True, "yes", "true", "1", "viaduct", "aqueduct", "movable", "cantilever", "trestle"}


def from_geojson(document: object) -> RoadNetwork:
    """A network from a GeoJSON FeatureCollection of lines.

    Properties read: `highway` (OpenStreetMap class, sets the default speed), `speed_kmh` or `maxspeed`, `bridge`,
    `oneway` (yes, no, -1), `name`, `name:xx`. Raises BadNetwork naming the feature.
    """
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise BadNetwork("it is not a GeoJSON FeatureCollection")
    roads = []
    for number, feature in enumerate(document.get("features") or ()):
        where = f"features[{number}]"
        try:
            geometry, given = feature["geometry"], dict(feature.get("properties") or {})
            kind, coordinates = geometry["type"], geometry["coordinates"]
        except (KeyError, TypeError) as error:
            raise BadNetwork(f"{where}: it has no geometry") from error
        if kind not in ("LineString", "MultiLineString"):
            raise BadNetwork(f"{where}: a road is a LineString or MultiLineString, not {kind}")
        names = {"en": str(given["name"])} if given.get("name") else {}
        names |= {key[5:]: str(value) for key, value in given.items() if key.startswith("name:") and value}
        oneway = str(given.get("oneway", "no")).lower()
        for part in [coordinates] if kind == "LineString" else coordinates:
            try:
                points = [(float(p[0]), float(p[1])) for p in part]
            except (TypeError, ValueError, IndexError) as error:
                raise BadNetwork(f"{where}: its coordinates are not pairs of numbers") from error
            roads.append(
                Road(
                    points=points[::-1] if oneway == "-1" else points,
                    speed_kmh=_speed_kmh(given, where),
                    bridge=_flag(given.get("bridge")),
                    oneway=oneway in ("yes", "true", "1", "-1"),
                    names=names,
                )
            )
    return build(roads)


def _flag(value: object) -> bool:
    return (value.lower() if isinstance(value, str) else value) in _YES


def _speed_kmh(given: Mapping[str, Any], where: str) -> float:
    for key in ("speed_kmh", "maxspeed"):
        value = given.get(key)
        if value is None or value == "":
            continue
        text = str(value).strip().lower()
        factor = 1.609344 if text.endswith("mph") else 1.0
        try:
            speed = float(text.removesuffix("mph").removesuffix("km/h").strip()) * factor
        except ValueError:
            if key == "maxspeed":
                continue  # "none", "RO:urban" and the like: the class decides
            raise BadNetwork(f"{where}.speed_kmh: {value!r} is not a number") from None
        if not 0 < speed <= 300:
            raise BadNetwork(f"{where}.{key}: {value!r} is not within 0..300 km/h")
        return speed
    return DEFAULT_SPEED_KMH.get(str(given.get("highway", "")), DEFAULT_SPEED_KMH["unclassified"])


def to_geojson(network: RoadNetwork) -> dict[str, Any]:
    """The network as a FeatureCollection that `from_geojson` reads back."""
    features = []
    for road in range(network.n_roads):
        names = network.names[int(network.road_name[road])]
        given: dict[str, Any] = {
            "speed_kmh": round(float(network.road_speed_m_s[road]) * 3.6, 3),
            "bridge": "yes" if network.road_bridge[road] else "no",
            "oneway": "yes" if network.road_oneway[road] else "no",
            **({"name": names["en"]} if "en" in names else {}),
            **{f"name:{language}": name for language, name in names.items() if language != "en"},
        }
        geometry = {"type": "LineString", "coordinates": [[round(x, 7), round(y, 7)] for x, y in network.shape(road)]}
        features.append({"type": "Feature", "properties": given, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


# -------------------------------------------------------------------- where people stand on it
@dataclass(frozen=True)
class Snapped:
    """Places put on their nearest road. `road` is -1 where none is near enough."""

    road: Int32Array  #: (n,)
    fraction: FloatArray  #: (n,) along the road's shape from a to b, 0..1
    distance_m: FloatArray  #: (n,) from the place to the road; inf where none is near enough
    lon: FloatArray  #: (n,) the point on the road
    lat: FloatArray


def snap(
    network: RoadNetwork, lon: FloatArray, lat: FloatArray, *, max_m: float, usable: BoolArray | None = None
) -> Snapped:
    """Each place on its nearest road, at most `max_m` away; `usable` (n_roads,) leaves roads out."""
    n = len(lon)
    road: Int32Array = np.full(n, -1, dtype=np.int32)
    fraction, distance = np.zeros(n), np.full(n, np.inf)
    on_lon, on_lat = np.asarray(lon, dtype=float).copy(), np.asarray(lat, dtype=float).copy()
    x, y = network.plane.forward(lon, lat)
    points = shapely.points(x, y)
    if usable is None:
        tree, index = network.plane_tree, np.arange(network.n_roads)
    else:
        index = np.flatnonzero(usable)
        tree = shapely.STRtree(network.plane_lines[index])
    if n == 0 or len(index) == 0:
        return Snapped(road, fraction, distance, on_lon, on_lat)
    (source, hit), away = tree.query_nearest(points, max_distance=max_m, return_distance=True, all_matches=True)
    order = np.lexsort((index[hit], source))  # of equally near roads the first: the same place, the same road
    source, hit, away = source[order], hit[order], away[order]
    first = np.unique(source, return_index=True)[1]
    source, hit, away = source[first], hit[first], away[first]
    road[source] = index[hit]
    distance[source] = away
    lines = network.plane_lines[road[source]]
    fraction[source] = shapely.line_locate_point(lines, points[source], normalized=True)
    on = shapely.line_interpolate_point(lines, fraction[source], normalized=True)
    on_lon[source], on_lat[source] = network.plane.inverse(shapely.get_x(on), shapely.get_y(on))
    return Snapped(road, fraction, distance, on_lon, on_lat)
