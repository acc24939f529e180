"""A route as people and devices read it: its line, its turns with street names, an encoded polyline, GPX.

Roads of a way are codes: 2 * road along the road's shape, + 1 against it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from geo.crs import FloatArray
from geo.network import RoadNetwork

Codes = Sequence[int] | npt.NDArray[np.int32]
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One line of directions."""

    kind: str  #: depart, straight, slight-left, left, sharp-left, slight-right, right, sharp-right, u-turn, arrive
    name: str  #: the road's name in the language; empty: nameless
    text: str
    distance_m: float  #: until the next turn
    lon: float
    lat: float


@cache
def _words(language: str) -> Mapping[str, str]:
    """The texts of a language, English where there is none."""
    known = language if language in LANGUAGES else language.split("-")[0]
    file = resources.files("geo") / "texts" / f"{known if known in LANGUAGES else 'en'}.json"
    found: Mapping[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return found


def codes_of(edge_road: npt.NDArray[np.int32], forward: npt.NDArray[np.bool_], edges: Codes) -> list[int]:
    """Codes of edges of a graph."""
    some = np.asarray(edges, dtype=np.int64)
    return [int(c) for c in 2 * edge_road[some] + ~forward[some]]


class Course(NamedTuple):
    """A way over the map, drawn."""

    points: FloatArray  #: (k, 2) lon, lat from the door into the safe zone, without doubled points
    begin: FloatArray  #: (n, 2) where each road begins, and in the last row where the last one ends; (n + 1, 2)
    heading: FloatArray  #: (n,) degrees from north over the first 20 m of each road
    leaving: FloatArray  #: (n,) the same over its last 20 m
    length_m: FloatArray  #: (n,) of what is travelled of each road


def course_of(
    network: RoadNetwork, codes: Codes, first_share: float, last_share: float, home: tuple[float, float],
    zone: tuple[float, float],
) -> Course:  # fmt: skip
    """The course of a way over at least one road: of the first the last `first_share`, of the last the first
    `last_share`. A way on one road only has both."""
    code = np.asarray(codes, dtype=np.int64)
    road, against, n = code >> 1, (code & 1).astype(bool), len(code)
    lo, count = network.shape_start[road], np.diff(network.shape_start)[road]
    at = _within(count)
    index = np.repeat(np.where(against, lo + count - 1, lo), count) + np.where(np.repeat(against, count), -at, at)
    xy = np.column_stack([network.shape_lon[index], network.shape_lat[index]])
    share = np.ones(n)
    if n == 1:
        begin, end = 1.0 - first_share, max(last_share, 1.0 - first_share)
        xy, share[0] = _part(xy, begin, end), end - begin
        count = np.array([len(xy)])
    else:
        first, last = _part(xy[: count[0]], 1.0 - first_share, 1.0), _part(xy[-count[-1] :], 0.0, last_share)
        xy = np.vstack([first, xy[count[0] : len(xy) - count[-1]], last])
        count = np.concatenate([[len(first)], count[1:-1], [len(last)]])
        share[0], share[-1] = first_share, last_share
    start = np.cumsum(count) - count
    points = np.vstack([[home], xy, [zone]])
    keep = np.append(True, (np.abs(np.diff(points, axis=0)) > 1e-9).any(axis=1))
    line = points[keep] if keep.sum() > 1 else points[[0, -1]]
    ends = start + count - 1
    return Course(
        line, np.vstack([xy[start], xy[ends[-1:]]]), _bearings(xy, start, count, start),
        (_bearings(xy, start, count, ends) + 180.0) % 360.0, network.road_length_m[road] * share,
    )  # fmt: skip


def _within(count: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... within each of several runs."""
    start = np.cumsum(count) - count
    run: npt.NDArray[np.int64] = np.arange(int(count.sum())) - np.repeat(start, count)
    return run


def _part(points: FloatArray, begin: float, end: float) -> FloatArray:
    """The points of a line between two shares of its length."""
    if begin <= 0.0 and end >= 1.0:
        return points
    x = points[:, 0] * np.cos(np.radians(points[0, 1]))
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(points[:, 1])))])
    total = along[-1] if along[-1] > 0.0 else 1.0
    at = along / total
    inner = points[(at > begin) & (at < end)]
    ends = [[np.interp(s, at, points[:, 0]), np.interp(s, at, points[:, 1])] for s in (begin, end)]
    return np.vstack([ends[:1], inner, ends[1:]])


def _bearings(
    xy: FloatArray, start: npt.NDArray[np.int64], count: npt.NDArray[np.int64], base: npt.NDArray[np.int64]
) -> FloatArray:
    """(n,) degrees from north, from the point `base` of each run (its first or its last) to the nearest point of the
    run that is 20 m away, or to its other end."""
    of = np.repeat(base, count)
    x = (xy[:, 0] - xy[of, 0]) * np.cos(np.radians(xy[of, 1])) * 111_320.0
    y = (xy[:, 1] - xy[of, 1]) * 111_320.0
    away = x * x + y * y >= 400.0
    index = np.arange(len(xy))
    if (base == start).all():
        found = np.minimum.reduceat(np.where(away, index, len(xy)), start)
        found = np.where(found == len(xy), start + count - 1, found)
    else:
        found = np.maximum.reduceat(np.where(away, index, -1), start)
        found = np.where(found < 0, start, found)
    degrees: FloatArray = np.degrees(np.arctan2(x[found], y[found])) % 360.0
    return degrees


def _kind(angle: float) -> str:
    """The word for a change of direction, degrees to the right within -180..180."""
    side = "right" if angle > 0 else "left"
    size = abs(angle)
    if size < 25.0:
        return "straight"
    if size < 50.0:
        return f"slight-{side}"
    if size < 130.0:
        return side
    return f"sharp-{side}" if size < 170.0 else "u-turn"


def turns(
    network: RoadNetwork, codes: Codes, course: Course, zone_names: Mapping[str, str], language: str
) -> list[Turn]:
    """The directions of a way: a line where the road's name or the direction changes.

    Names are in the language where the map has them, else as the place writes them. Going straight on along a road of
    the same name is one line, however often the map cuts it.
    """
    words = _words(language)
    compass = words["compass"].split(",")
    made: list[Turn] = []
    names = [network.name(int(code) >> 1, language) for code in codes]
    change = (course.heading[1:] - course.leaving[:-1] + 180.0) % 360.0 - 180.0
    kinds = ["depart", *(_kind(angle) for angle in change.tolist())]
    lengths, begins = course.length_m.tolist(), course.begin.tolist()
    since = 0.0
    for place, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        shown = name or words["nameless"]
        if place == 0:
            heading = compass[int((float(course.heading[0]) + 22.5) // 45) % 8]
            text = words["depart"].format(heading=heading, road=shown)
        else:
            if name == names[place - 1] and kind in ("straight", "slight-left", "slight-right"):
                since += lengths[place]
                continue
            text = words[kind].format(road=shown)
        _close(made, since)
        lon, lat = begins[place]
        made.append(Turn(kind=kind, name=name, text=text, distance_m=0.0, lon=lon, lat=lat))
        since = lengths[place]
    _close(made, since)
    zone = zone_names.get(language) or zone_names.get("en") or next(iter(zone_names.values()), words["safe_zone"])
    lon, lat = begins[-1]
    made.append(
        Turn(kind="arrive", name=zone, text=words["arrive"].format(zone=zone), distance_m=0.0, lon=lon, lat=lat)
    )
    return made


def _close(made: list[Turn], metres: float) -> None:
    if made:
        last = made[-1]
        made[-1] = Turn(kind=last.kind, name=last.name, text=last.text, distance_m=round(metres, 1), lon=last.lon,
                        lat=last.lat)  # fmt: skip


def polyline(points: FloatArray) -> str:
    """The line in Google's encoded polyline algorithm format, five decimals, latitude first.

    Halves of a hundred-thousandth of a degree are rounded away from zero, as the format's description does.
    """
    degrees = np.asarray(points, dtype=float)[:, ::-1]
    whole = (np.sign(degrees) * np.floor(np.abs(degrees) * 1e5 + 0.5)).astype(np.int64)
    step = np.diff(whole, axis=0, prepend=0).ravel()
    value = np.where(step < 0, ~(step << 1), step << 1)
    groups = value[:, None] >> _SHIFTS
    last = groups[:, 1:] == 0  # nothing is left after this group
    n_groups = np.where(last.any(axis=1), last.argmax(axis=1) + 1, len(_SHIFTS))
    place = np.arange(len(_SHIFTS))
    letter = (groups & 0x1F) + np.where(place < n_groups[:, None] - 1, 0x20, 0) + 63
    return str(letter[place < n_groups[:, None]].astype(np.uint8).tobytes(), "ascii")


#: Five bits a letter; 360 degrees in hundred-thousandths, doubled, have 27 bits.
_SHIFTS = np.arange(0, 30, 5)


def gpx(points: FloatArray, steps: Sequence[Turn], *, name: str, note: str, made_at: str) -> str:
    """GPX 1.1: the line as a track and the turns as a route."""
    track = "".join(f'<trkpt lat="{lat:.6f}" lon="{lon:.6f}"/>' for lon, lat in np.asarray(points).tolist())
    route = "".join(f'<rtept lat="{t.lat:.6f}" lon="{t.lon:.6f}"><name>{escape(t.text)}</name></rtept>' for t in steps)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="Tocsin" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<metadata><name>{escape(name)}</name><desc>{escape(note)}</desc><time>{escape(made_at)}</time></metadata>"
        f"<rte><name>{escape(name)}</name>{route}</rte>"
        f"<trk><name>{escape(name)}</name><trkseg>{track}</trkseg></trk></gpx>\n"
    )


def disclaimer(language: str) -> str:
    """What goes with every route."""
    return _words(language)["disclaimer"]
