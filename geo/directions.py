"""A route as people and devices read it: its line, its turns with street names, an encoded polyline, GPX.

Roads of a way are codes: 2 * road along the road's shape, + 1 against it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from geo.crs import FloatArray, geodesic_m
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


def pieces_of(network: RoadNetwork, codes: Codes, first_share: float, last_share: float) -> list[FloatArray]:
    """(k, 2) lon, lat of each road of a way as it is travelled; of the first the last `first_share`, of the last the
    first `last_share`. A way on one road only has both."""
    pieces = []
    for place, code in enumerate(codes):
        points = network.shape(int(code) >> 1)
        points = points[::-1] if int(code) & 1 else points
        begin = 1.0 - first_share if place == 0 else 0.0
        end = last_share if place == len(codes) - 1 else 1.0
        pieces.append(_part(points, begin, max(end, begin)))
    return pieces


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


def line_of(pieces: Sequence[FloatArray], home: tuple[float, float], zone: tuple[float, float]) -> FloatArray:
    """(k, 2) lon, lat from the door over the pieces into the safe zone, without doubled points."""
    points = np.vstack([[home], *pieces, [zone]])
    keep = np.append(True, (np.abs(np.diff(points, axis=0)) > 1e-9).any(axis=1))
    line: FloatArray = points[keep]
    return line if len(line) > 1 else points[[0, -1]]


def _bearing(points: FloatArray, at_end: bool) -> float:
    """Degrees from north over the first or the last 20 m of a piece."""
    line = points[::-1] if at_end else points
    x = (line[:, 0] - line[0, 0]) * np.cos(np.radians(line[0, 1])) * 111_320.0
    y = (line[:, 1] - line[0, 1]) * 111_320.0
    away = np.hypot(x, y)
    far = int(np.argmax(away >= 20.0)) if (away >= 20.0).any() else len(line) - 1
    angle = float(np.degrees(np.arctan2(x[far], y[far])))
    return (angle + 180.0 if at_end else angle) % 360.0


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
    network: RoadNetwork, codes: Codes, pieces: Sequence[FloatArray], zone_names: Mapping[str, str], language: str
) -> list[Turn]:
    """The directions of a way: a line where the road's name or the direction changes.

    Names are in the language where the map has them, else as the place writes them. Going straight on along a road of
    the same name is one line, however often the map cuts it.
    """
    words = _words(language)
    compass = words["compass"].split(",")
    made: list[Turn] = []
    lengths = [float(geodesic_m(p[:-1, 0], p[:-1, 1], p[1:, 0], p[1:, 1]).sum()) for p in pieces]
    since = 0.0
    for place, (code, piece) in enumerate(zip(codes, pieces, strict=True)):
        name = network.name(int(code) >> 1, language)
        shown = name or words["nameless"]
        if place == 0:
            heading = compass[int((_bearing(piece, False) + 22.5) // 45) % 8]
            kind, text = "depart", words["depart"].format(heading=heading, road=shown)
        else:
            change = (_bearing(piece, False) - _bearing(pieces[place - 1], True) + 180.0) % 360.0 - 180.0
            kind = _kind(change)
            same = name == network.name(int(codes[place - 1]) >> 1, language)
            if same and kind in ("straight", "slight-left", "slight-right"):
                since += lengths[place]
                continue
            text = words[kind].format(road=shown)
        _close(made, since)
        made.append(Turn(kind=kind, name=name, text=text, distance_m=0.0, lon=float(piece[0, 0]),
                         lat=float(piece[0, 1])))  # fmt: skip
        since = lengths[place]
    _close(made, since)
    zone = zone_names.get(language) or zone_names.get("en") or next(iter(zone_names.values()), words["safe_zone"])
    if pieces:
        last = pieces[-1][-1]
        made.append(Turn(kind="arrive", name=zone, text=words["arrive"].format(zone=zone), distance_m=0.0,
                         lon=float(last[0]), lat=float(last[1])))  # fmt: skip
    return made


def _close(made: list[Turn], metres: float) -> None:
    if made:
        last = made[-1]
        made[-1] = Turn(kind=last.kind, name=last.name, text=last.text, distance_m=round(metres, 1), lon=last.lon,
                        lat=last.lat)  # fmt: skip


def polyline(points: FloatArray) -> str:
    """The line in Google's encoded polyline algorithm format, five decimals, latitude first."""
    out: list[str] = []
    before = (0, 0)
    for lon, lat in np.asarray(points, dtype=float).tolist():
        now = (_round(lat), _round(lon))
        for value, was in zip(now, before, strict=True):
            step = (value - was) << 1
            step = ~step if value < was else step
            while step >= 0x20:
                out.append(chr((0x20 | (step & 0x1F)) + 63))
                step >>= 5
            out.append(chr(step + 63))
        before = now
    return "".join(out)


def _round(degrees: float) -> int:
    """Hundred-thousandths of a degree, halves away from zero, as the format's description rounds."""
    return int(np.sign(degrees) * np.floor(abs(degrees) * 1e5 + 0.5))


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
