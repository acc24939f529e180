"""Roads as compact arrays: nodes, two-way or one-way roads with their shapes, and the directed edges over them.

A road is a stretch between two nodes; an edge is a road in one direction. Two edges of one road share its shape, name
and bridge flag. A network is one versioned file of aligned arrays, named by its SHA-256, never changed, and mapped into
memory rather than read.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray, LocalPlane, coordinate_fault, geodesic_m
from geo.tags import CLASS_NUMBER, CLASSES, NO_DOORS, BadTag, Road, road_of

__all__ = ["BadNetwork", "Road", "RoadNetwork", "build", "from_geojson", "load", "open_file", "save", "to_geojson"]

Int32Array = npt.NDArray[np.int32]

FORMAT_VERSION = 2
MAGIC = b"TOCSINRN"
_ALIGN = 64
WALKING_M_S = 1.2  # planning speed of mixed groups on foot (Fruin 1971 gives 1.35 for unimpeded adults)


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
    road_tunnel: BoolArray  #: tunnels and underpasses
    road_layer: npt.NDArray[np.int8]  #: OpenStreetMap's layer: below 0 is under the ground's roads
    road_class: npt.NDArray[np.uint8]  #: index into geo.tags.CLASSES
    road_capacity_per_h: FloatArray  #: vehicles an hour in each open direction
    road_car: BoolArray
    road_foot: BoolArray
    road_private: BoolArray  #: it may be left by car, not entered
    road_emergency: BoolArray  #: a gated way that only an order opens
    road_osm_id: npt.NDArray[np.int64]  #: way it was cut from; 0: none
    ban_from: Int32Array  #: (n_bans,) turn bans of cars: 2 * road, + 1 against the shape, that may not be followed by
    ban_to: Int32Array  #: this one, 2 * road, + 1 against the shape
    node_height_m: FloatArray  #: (n_nodes,) NaN where unknown
    barrier_lon: FloatArray  #: points of rivers and canals that no way to a road may cross
    barrier_lat: FloatArray
    barrier_start: npt.NDArray[np.int64]  #: (n_barriers + 1,)
    about: dict[str, Any]  #: source, extract_date, attribution, what was read and not used

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

    @property
    def n_nodes(self) -> int:
        return len(self.node_lon)

    @property
    def n_roads(self) -> int:
        return len(self.road_a)

    @cached_property
    def n_edges(self) -> int:
        return self.n_roads + int((~self.road_oneway).sum())

    @cached_property
    def has_doors(self) -> BoolArray:
        """(n_roads,) True where a house can stand at the road: not on a motorway, a ramp or an emergency exit."""
        no = np.array([CLASS_NUMBER[name] for name in sorted(NO_DOORS)])
        doors: BoolArray = ~np.isin(self.road_class, no) & ~self.road_emergency
        return doors

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
        """The file of this network: the same network is the same bytes."""
        arrays = {f.name: np.ascontiguousarray(getattr(self, f.name)) for f in fields(self) if f.name not in _TEXTS}
        table: list[tuple[str, str, list[int], int]] = []
        offset = 0
        for name, array in arrays.items():
            offset = -(-offset // _ALIGN) * _ALIGN
            table.append((name, array.dtype.str, list(array.shape), offset))
            offset += array.nbytes
        header = {"arrays": table, "size": offset, "names": self.names, "about": self.about}
        text = json.dumps(header, ensure_ascii=False, sort_keys=True).encode()
        head = MAGIC + FORMAT_VERSION.to_bytes(4, "little") + len(text).to_bytes(8, "little") + text
        start = -(-len(head) // _ALIGN) * _ALIGN
        content = bytearray(start + offset)
        content[: len(head)] = head
        for (_, _, _, at), array in zip(table, arrays.values(), strict=True):
            content[start + at : start + at + array.nbytes] = array.tobytes()
        return bytes(content)

    @classmethod
    def from_bytes(cls, content: bytes) -> "RoadNetwork":
        """Reads a file made by `to_bytes`; raises BadNetwork."""
        return cls._of(np.frombuffer(content, dtype=np.uint8))

    @classmethod
    def _of(cls, raw: npt.NDArray[np.uint8]) -> "RoadNetwork":
        """The network over the bytes of a file, which are not copied."""
        if raw[: len(MAGIC)].tobytes() != MAGIC:
            raise BadNetwork("not a network file: it does not begin like one; build it with `tocsin roads build`")
        version = int.from_bytes(raw[8:12].tobytes(), "little")
        if version != FORMAT_VERSION:
            raise BadNetwork(
                f"the network file has format version {version}, not {FORMAT_VERSION}: build it again from its extract"
            )
        length = int.from_bytes(raw[12:20].tobytes(), "little")
        start = -(-(20 + length) // _ALIGN) * _ALIGN
        try:
            header: dict[str, Any] = json.loads(raw[20 : 20 + length].tobytes())
            if start + header["size"] != len(raw):
                raise BadNetwork(f"the network file has {len(raw)} bytes and not {start + header['size']}: it is cut")
            values: dict[str, Any] = {"names": tuple(header["names"]), "about": header["about"]}
            for name, kind, shape, offset in header["arrays"]:
                dtype = np.dtype(kind)
                size = int(np.prod(shape)) * dtype.itemsize
                values[name] = raw[start + offset : start + offset + size].view(dtype).reshape(shape)
                values[name].setflags(write=False)
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise BadNetwork(f"not a network file: {error}") from error


_TEXTS = ("names", "about")


def open_file(path: Path) -> RoadNetwork:
    """The network of a file, mapped into memory: its pages are read when they are used. Raises BadNetwork."""
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as error:
        raise BadNetwork(f"the network file {path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadNetwork(f"the network file {path.name} is empty") from error
    return RoadNetwork._of(raw.view(np.ndarray))


def save(network: RoadNetwork, folder: Path) -> tuple[str, bytes]:
    """Writes the network into `folder` under the name of its hash; returns (file name, SHA-256)."""
    content = network.to_bytes()
    digest = hashlib.sha256(content).digest()
    name = f"{digest.hex()[:32]}.roads"
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
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BadNetwork(f"the network file {path.name} cannot be read: {error.strerror}") from error
    if found != sha256:
        raise BadNetwork(f"the network file {path.name} is not the one that was recorded: its hash differs")
    return open_file(path)


# -------------------------------------------------------------------- building
@dataclass(frozen=True, slots=True)
class TurnRule:
    """A turn restriction: from one way over a node into another."""

    from_way: int
    via_key: int
    to_way: int
    only: bool  #: True: this turn and no other; False: not this turn


def build(
    roads: Sequence[Road],
    *,
    rules: Sequence[TurnRule] = (),
    heights: dict[int, float] | None = None,
    barriers: Sequence[Sequence[tuple[float, float]]] = (),
    about: dict[str, Any] | None = None,
) -> RoadNetwork:
    """A network of roads that meet where an end point of one is a point of another.

    Points are the same where their `keys` are, or without keys where their places are (to about 1 cm). Each road is
    cut at its inner points that other roads touch. Two parallel roads between the same nodes stay two. `heights` gives
    metres by key. Raises BadNetwork where there is no road, or a point is no place.
    """
    if not roads:
        raise BadNetwork("there are no roads in it")
    keys: list[Sequence[Any]] = []
    uses: dict[Any, int] = {}
    forced = {rule.via_key for rule in rules}
    for number, road in enumerate(roads):
        if len(road.points) < 2:
            raise BadNetwork(f"road {number}: it has fewer than two points")
        if not (np.isfinite(road.speed_kmh) and road.speed_kmh > 0):
            raise BadNetwork(f"road {number}: speed {road.speed_kmh} km/h is not above 0")
        for lon, lat in road.points:
            if fault := coordinate_fault(lon, lat):
                raise BadNetwork(f"road {number}: {fault}")
        own: Sequence[Any] = road.keys or [(round(lon * 1e7), round(lat * 1e7)) for lon, lat in road.points]
        keys.append(own)
        for place, key in enumerate(own):
            # an end counts twice, so that it is always a node
            uses[key] = uses.get(key, 0) + (2 if place in (0, len(own) - 1) else 1)
    node_of: dict[Any, int] = {}
    places: list[tuple[float, float]] = []
    names: list[dict[str, str]] = [{}]
    name_of: dict[str, int] = {"{}": 0}
    origin: list[int] = []
    ends: list[tuple[int, int]] = []
    name_index: list[int] = []
    shape: list[tuple[float, float]] = []
    starts = [0]
    for number, (road, own) in enumerate(zip(roads, keys, strict=True)):
        told = json.dumps(dict(road.names or {}), ensure_ascii=False, sort_keys=True)
        if told not in name_of:
            name_of[told] = len(names)
            names.append(dict(road.names or {}))
        first = 0
        for last in range(1, len(own)):
            if uses[own[last]] < 2 and own[last] not in forced:
                continue
            piece = road.points[first : last + 1]
            if own[first] != own[last] or len(piece) > 2:  # a doubled point is no road
                for place in (first, last):
                    if own[place] not in node_of:
                        node_of[own[place]] = len(places)
                        places.append(road.points[place])
                ends.append((node_of[own[first]], node_of[own[last]]))
                origin.append(number)
                name_index.append(name_of[told])
                shape.extend(piece)
                starts.append(len(shape))
            first = last
    if not ends:
        raise BadNetwork("there are no roads in it")
    points = np.array(shape, dtype=float)
    start = np.array(starts, dtype=np.int64)
    steps = geodesic_m(points[:-1, 0], points[:-1, 1], points[1:, 0], points[1:, 1])
    steps[start[1:-1] - 1] = 0.0  # from the last point of one road to the first of the next
    length = np.add.reduceat(steps, start[:-1])
    nodes = np.round(np.array(places, dtype=float), 7)
    height: FloatArray = np.full(len(places), np.nan)
    for key, metres in (heights or {}).items():
        if key in node_of:
            height[node_of[key]] = metres
    lines = [np.array(line, dtype=float).reshape(-1, 2) for line in barriers if len(line) > 1]
    flat = np.concatenate(lines) if lines else np.zeros((0, 2))

    def column(kind: Any, values: Sequence[Any]) -> Any:
        return np.array(values, dtype=kind)[np.array(origin)]

    network = RoadNetwork(
        node_lon=nodes[:, 0].copy(),
        node_lat=nodes[:, 1].copy(),
        road_a=np.array(ends, dtype=np.int32)[:, 0].copy(),
        road_b=np.array(ends, dtype=np.int32)[:, 1].copy(),
        road_length_m=np.maximum(length, 0.01),
        road_speed_m_s=column(float, [road.speed_kmh / 3.6 for road in roads]),
        road_bridge=column(bool, [road.bridge for road in roads]),
        road_oneway=column(bool, [road.oneway for road in roads]),
        road_name=np.array(name_index, dtype=np.int32),
        shape_lon=points[:, 0].copy(),
        shape_lat=points[:, 1].copy(),
        shape_start=start,
        names=tuple(names),
        road_tunnel=column(bool, [road.tunnel for road in roads]),
        road_layer=column(np.int8, [road.layer for road in roads]),
        road_class=column(np.uint8, [CLASS_NUMBER[road.kind] for road in roads]),
        road_capacity_per_h=column(float, [road.capacity for road in roads]),
        road_car=column(bool, [road.car for road in roads]),
        road_foot=column(bool, [road.foot for road in roads]),
        road_private=column(bool, [road.private for road in roads]),
        road_emergency=column(bool, [road.emergency for road in roads]),
        road_osm_id=column(np.int64, [road.osm_id for road in roads]),
        ban_from=np.zeros(0, dtype=np.int32),
        ban_to=np.zeros(0, dtype=np.int32),
        node_height_m=height,
        barrier_lon=flat[:, 0].copy(),
        barrier_lat=flat[:, 1].copy(),
        barrier_start=np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64),
        about=dict(about or {}),
    )
    return _with_bans(network, rules, node_of) if rules else network


def _with_bans(network: RoadNetwork, rules: Sequence[TurnRule], node_of: dict[Any, int]) -> RoadNetwork:
    """The network with its turn rules as pairs of edges. An `only` rule bans every other turn from its way."""
    leaving: dict[int, list[int]] = {}
    for road in np.flatnonzero(network.road_car):
        leaving.setdefault(int(network.road_a[road]), []).append(2 * int(road))
        if not network.road_oneway[road]:
            leaving.setdefault(int(network.road_b[road]), []).append(2 * int(road) + 1)
    way = network.road_osm_id
    bans: set[tuple[int, int]] = set()
    n_used = 0
    for rule in rules:
        node = node_of.get(rule.via_key)
        out = leaving.get(node, []) if node is not None else []
        into = [code ^ 1 for code in out if not network.road_oneway[code // 2]]
        if node is not None:
            enters = np.flatnonzero(network.road_oneway & (network.road_b == node) & network.road_car)
            into += [2 * int(road) for road in enters]
        came = [code for code in into if way[code // 2] == rule.from_way]
        wanted = [code for code in out if way[code // 2] == rule.to_way]
        if not came or not wanted:
            continue
        n_used += 1
        for first in came:
            for code in out:
                if (code in wanted) is not rule.only and not (rule.only and code == first ^ 1):
                    bans.add((first, code))
    pairs = np.array(sorted(bans), dtype=np.int32).reshape(-1, 2)
    about = network.about | {"n_turn_rules": len(rules), "n_turn_rules_used": n_used}
    return replace(network, ban_from=pairs[:, 0].copy(), ban_to=pairs[:, 1].copy(), about=about)


def from_geojson(document: object) -> RoadNetwork:
    """A network from a GeoJSON FeatureCollection of lines.

    Properties are OpenStreetMap's keys (`highway`, `maxspeed`, `bridge`, `tunnel`, `layer`, `oneway`, `lanes`,
    `access`, `name`, `name:xx`) and `speed_kmh`, `capacity_per_h`. Raises BadNetwork naming the feature.
    """
    if not isinstance(document, dict) or document.get("type") != "FeatureCollection":
        raise BadNetwork("it is not a GeoJSON FeatureCollection")
    roads = []
    for number, feature in enumerate(document.get("features") or ()):
        where = f"features[{number}]"
        try:
            geometry, given = feature["geometry"], feature.get("properties") or {}
            kind, coordinates = geometry["type"], geometry["coordinates"]
        except (KeyError, TypeError) as error:
            raise BadNetwork(f"{where}: it has no geometry") from error
        if not isinstance(given, dict):
            raise BadNetwork(f"{where}.properties: it is not an object")
        if kind not in ("LineString", "MultiLineString"):
            raise BadNetwork(f"{where}: a road is a LineString or MultiLineString, not {kind}")
        for part in [coordinates] if kind == "LineString" else coordinates:
            try:
                points = [(float(p[0]), float(p[1])) for p in part]
            except (TypeError, ValueError, IndexError) as error:
                raise BadNetwork(f"{where}: its coordinates are not pairs of numbers") from error
            roads.append(tagged(given, points, where))
    return build([road for road in roads if road is not None])


def tagged(given: dict[str, Any], points: Sequence[tuple[float, float]], where: str, **more: Any) -> Road | None:
    """`road_of` with a bad tag told as BadNetwork of this place."""
    try:
        return road_of(given, points, **more)
    except BadTag as error:
        raise BadNetwork(f"{where}.{error.args[0]}: {error.args[1]}") from None


def to_geojson(network: RoadNetwork) -> dict[str, Any]:
    """The network as a FeatureCollection that `from_geojson` reads back; turn bans are not in it."""
    features = []
    for road in range(network.n_roads):
        names = network.names[int(network.road_name[road])]
        given: dict[str, Any] = {
            "highway": CLASSES[int(network.road_class[road])],
            "speed_kmh": round(float(network.road_speed_m_s[road]) * 3.6, 3),
            "capacity_per_h": float(network.road_capacity_per_h[road]),
            "bridge": "yes" if network.road_bridge[road] else "no",
            "oneway": "yes" if network.road_oneway[road] else "no",
            **({"tunnel": "yes"} if network.road_tunnel[road] else {}),
            **({"layer": int(network.road_layer[road])} if network.road_layer[road] else {}),
            **({} if network.road_foot[road] else {"foot": "no"}),
            **({"motor_vehicle": "private"} if network.road_private[road] else {}),
            **({} if network.road_car[road] else {"motor_vehicle": "no"}),
            **({"name": names["en"]} if "en" in names else {}),
            **{f"name:{language}": name for language, name in names.items() if language != "en"},
        }
        geometry = {"type": "LineString", "coordinates": [[round(x, 7), round(y, 7)] for x, y in network.shape(road)]}
        features.append({"type": "Feature", "properties": given, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}
