"""What a road's tags say: OpenStreetMap keys to speed, capacity, direction, access and names.

Sources: wiki.openstreetmap.org pages Key:highway, Key:oneway, Key:access and Key:maxspeed; capacities are planning
values per lane after HCM (2010) chapters 10 to 16, rounded down for signals on streets of towns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_SPEED_KMH = {
    "motorway": 100.0, "trunk": 80.0, "primary": 65.0, "secondary": 55.0, "tertiary": 45.0,
    "unclassified": 40.0, "residential": 30.0, "living_street": 15.0, "service": 20.0, "track": 15.0,
    "motorway_link": 50.0, "trunk_link": 45.0, "primary_link": 40.0, "secondary_link": 40.0, "tertiary_link": 35.0,
    "road": 30.0, "pedestrian": 5.0, "footway": 5.0, "path": 5.0, "steps": 5.0, "cycleway": 5.0, "bridleway": 5.0,
}  # fmt: skip
#: Vehicles an hour and lane.
CAPACITY_PER_LANE = {
    "motorway": 2000.0, "trunk": 1700.0, "primary": 1200.0, "secondary": 1000.0, "tertiary": 800.0,
    "unclassified": 600.0, "residential": 600.0, "living_street": 300.0, "service": 300.0, "track": 150.0,
    "motorway_link": 1500.0, "trunk_link": 1300.0, "primary_link": 1000.0, "secondary_link": 900.0,
    "tertiary_link": 700.0, "road": 600.0,
}  # fmt: skip
#: Lanes in one direction where none are told.
DEFAULT_LANES = {"motorway": 2.0, "trunk": 1.5}
#: Classes in the order of their number in a network file; new ones are added at the end.
CLASSES = (
    "unclassified", "motorway", "trunk", "primary", "secondary", "tertiary", "residential", "living_street", "service",
    "track", "motorway_link", "trunk_link", "primary_link", "secondary_link", "tertiary_link", "road", "pedestrian",
    "footway", "path", "steps", "cycleway", "bridleway",
)  # fmt: skip
CLASS_NUMBER = {name: number for number, name in enumerate(CLASSES)}
#: Nobody sets off from a house onto these.
NO_DOORS = frozenset({"motorway", "motorway_link", "trunk_link"})
FOOT_ONLY = frozenset({"pedestrian", "footway", "path", "steps", "cycleway", "bridleway"})
NOT_ON_FOOT = frozenset({"motorway", "motorway_link"})
#: The fastest that a surface lets a car go.
SURFACE_KMH = {
    "unpaved": 40.0, "gravel": 40.0, "fine_gravel": 40.0, "compacted": 50.0, "dirt": 25.0, "earth": 25.0,
    "ground": 25.0, "grass": 15.0, "sand": 15.0, "mud": 10.0, "cobblestone": 30.0, "sett": 40.0, "pebblestone": 25.0,
}  # fmt: skip
_YES = {"yes", "true", "1", "viaduct", "aqueduct", "movable", "cantilever", "trestle"}
_TUNNEL = {"yes", "true", "1", "culvert", "building_passage", "covered", "avalanche_protector"}
_NO = {"no", "agricultural", "forestry", "delivery", "emergency", "military", "bus", "psv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """A road as it is read, before it is cut at the crossings."""

    points: Sequence[tuple[float, float]]  #: lon, lat
    speed_kmh: float
    bridge: bool = False
    oneway: bool = False
    names: Mapping[str, str] | None = None
    tunnel: bool = False
    layer: int = 0
    kind: str = "unclassified"  #: one of CLASSES
    capacity_per_h: float | None = None  #: vehicles an hour in each open direction; None: by class
    car: bool = True
    foot: bool = True
    private: bool = False  #: it may be left, not entered
    emergency: bool = False  #: a gated way for emergencies: open only where an order opens it
    osm_id: int = 0
    keys: Sequence[int] | None = None  #: identity of the points; None: points meet where their places are equal

    @property
    def capacity(self) -> float:
        """Vehicles an hour in each open direction."""
        if self.capacity_per_h is not None:
            return self.capacity_per_h
        return CAPACITY_PER_LANE.get(self.kind, 300.0) * DEFAULT_LANES.get(self.kind, 1.0)


class BadTag(ValueError):
    """A tag that must be a number is none; args are the key and the reason."""


def road_of(
    tags: Mapping[str, Any],
    points: Sequence[tuple[float, float]],
    *,
    osm_id: int = 0,
    keys: Sequence[int] | None = None,
) -> Road | None:
    """The road that the tags describe, or None where nobody may use it or it is not built. Raises BadTag."""
    tags = {key: _first(value) for key, value in tags.items() if value is not None}
    kind = tags.get("highway", "") or "unclassified"
    if kind in ("construction", "proposed", "abandoned", "razed", "platform", "raceway", "corridor", "elevator"):
        return None
    if tags.get("route") == "ferry" or tags.get("area") == "yes":
        return None
    kind = kind if kind in CLASS_NUMBER else "unclassified"
    car, private, emergency = _car_access(tags, kind)
    foot = _foot_access(tags, kind)
    if not (car or foot):
        return None
    oneway = tags.get("oneway", "").lower()
    reverse = oneway in ("-1", "reverse")
    one = reverse or oneway in ("yes", "true", "1")
    if oneway in ("", "none"):
        one = kind in ("motorway", "motorway_link") or tags.get("junction") in ("roundabout", "circular")
    lanes = _lanes(tags, kind, one)
    names = {"en": tags["name"]} if tags.get("name") else {}
    names |= {key[5:]: value for key, value in tags.items() if key.startswith("name:") and value}
    if not names and tags.get("ref"):
        names = {"en": tags["ref"]}
    return Road(
        points=points[::-1] if reverse else points,
        keys=None if keys is None else (keys[::-1] if reverse else keys),
        speed_kmh=_speed_kmh(tags, kind),
        bridge=tags.get("bridge", "").lower() in _YES,
        tunnel=tags.get("tunnel", "").lower() in _TUNNEL,
        layer=_layer(tags),
        oneway=one,
        names=names,
        kind=kind,
        capacity_per_h=_capacity(tags) or CAPACITY_PER_LANE.get(kind, 300.0) * lanes,
        car=car,
        foot=foot,
        private=private,
        emergency=emergency,
        osm_id=osm_id,
    )


def _first(value: Any) -> str:
    """A tag as text; of a list (OSMnx merges ways) the first."""
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1].split(",")[0].strip().strip("'\"")
    return text


def _first_value(tags: Mapping[str, str], key: str) -> str:
    """The first of several values of one tag (`2;3`, `50|30`)."""
    return tags.get(key, "").replace("|", ";").split(";")[0].strip()


def _car_access(tags: Mapping[str, str], kind: str) -> tuple[bool, bool, bool]:
    """(cars may use it, it is private, it is an emergency exit)."""
    emergency = tags.get("service") == "emergency_access" or tags.get("access") == "emergency"
    for key in ("motorcar", "motor_vehicle", "vehicle", "access"):
        value = tags.get(key, "").lower()
        if not value:
            continue
        if value in _NO or emergency:
            return False, False, emergency or tags.get("emergency") == "yes"
        return kind not in FOOT_ONLY or key != "access", value in ("private", "customers"), False
    return kind not in FOOT_ONLY and not emergency, False, emergency


def _foot_access(tags: Mapping[str, str], kind: str) -> bool:
    value = tags.get("foot", "").lower()
    if value:
        return value not in ("no", "private", "use_sidepath")
    if kind in NOT_ON_FOOT or tags.get("motorroad") == "yes":
        return False
    return tags.get("access", "").lower() != "no"


def _layer(tags: Mapping[str, str]) -> int:
    try:
        return max(-9, min(9, int(float(tags.get("layer", 0)))))
    except ValueError:
        return 0


def _capacity(tags: Mapping[str, str]) -> float | None:
    """What `capacity_per_h` says; None where it is not told. Raises BadTag."""
    text = tags.get("capacity_per_h", "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadTag("capacity_per_h", f"{text!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise BadTag("capacity_per_h", f"{text!r} is not above 0")
    return value


def _lanes(tags: Mapping[str, str], kind: str, oneway: bool) -> float:
    """Lanes in one direction."""
    try:
        told = float(_first_value(tags, "lanes"))
    except ValueError:
        told = math.nan
    if not 0 < told <= 20:
        return DEFAULT_LANES.get(kind, 1.0)
    return max(told if oneway else told / 2.0, 0.5)


def _speed_kmh(tags: Mapping[str, str], kind: str) -> float:
    if text := tags.get("speed_kmh", "").strip():
        try:
            speed = float(text)
        except ValueError:
            raise BadTag("speed_kmh", f"{text!r} is not a number") from None
        if not 0 < speed <= 300:
            raise BadTag("speed_kmh", f"{text!r} is not within 0..300 km/h")
        return speed
    text = _first_value(tags, "maxspeed").lower()
    factor = 1.609344 if text.endswith("mph") else 1.0
    try:
        speed = float(text.removesuffix("mph").removesuffix("km/h").strip()) * factor
    except ValueError:
        speed = DEFAULT_SPEED_KMH["pedestrian"] if text == "walk" else math.nan
    if not 0 < speed <= 300:  # "none", "RO:urban", 0 and the like: the class decides
        speed = DEFAULT_SPEED_KMH[kind]
    return min(speed, SURFACE_KMH.get(tags.get("surface", ""), 300.0))
