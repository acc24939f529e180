"""What a sound CAP structure may still get wrong, and what follows: refuse, hold for a person, or only say so.

Missing or impossible geometry, expiry or status means that nobody is told: there is no default for them. `now` is the
instant that the message is judged at.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

import shapely
from shapely.geometry import Polygon

from ingest.cap.message import CapArea, CapInfo, CapMessage
from ingest.cap.structure import collapse

#: A sender's clock may be this far ahead of ours.
SKEW_S = 120.0
_FUTURE_S = 900.0
_LONG_LIFE_S = 30 * 86_400.0
#: Nobody lives beyond these latitudes; what lies there altogether has probably changed lat and lon.
_NORTH, _SOUTH = 80.0, -60.0
_NORTH_OF_SVALBARD = 79.2  #: Ny-Ålesund, 78.9 N, is the northernmost settlement of the Old World
#: No warning is for a third of the globe (degrees squared of 64,800) or reaches half way around it.
_WORLD_DEG2, _WORLD_SPAN, _WORLD_RADIUS_KM = 21_600.0, 180.0, 3_000.0
#: About a square metre: places that were written on one line and rounded differ from it by less.
_NOTHING_DEG2 = 1e-10
#: A smaller circle has corners that fall together.
_LEAST_RADIUS_KM = 0.01
_FAR_DEG = 20.0


class Weight(IntEnum):
    """What a finding does to a message."""

    WARN = 1  #: it is said beside the message
    HOLD = 2  #: kept, and nobody is told
    REJECT = 3  #: not taken at all


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is amiss."""

    weight: Weight
    reason: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference of a message to an earlier one."""

    sender: str
    identifier: str
    sent: datetime


def instant(at: datetime) -> float:
    """Seconds since 1970; unlike a conversion to UTC it does not overflow at the ends of the calendar."""
    return at.timestamp()


_REFERENCE = re.compile(r"([^,\s]+),([^,\s]+),([^,\s]+)")


def references(message: CapMessage) -> tuple[list[Reference], list[Finding]]:
    """The messages that this one refers to, and what is wrong with how it says so."""
    found: list[Reference] = []
    findings: list[Finding] = []
    for text in message.references:
        parts = _REFERENCE.fullmatch(text)
        at: datetime | None = None
        if parts:
            try:
                at = datetime.fromisoformat(parts[3])
            except ValueError:
                at = None
        if parts is None or at is None or at.tzinfo is None:
            findings.append(
                Finding(Weight.REJECT, f"reference {text[:80]!r} is not sender,identifier,sent with an offset")
            )
            continue
        if parts[3].endswith(("Z", "z")):
            findings.append(Finding(Weight.WARN, "a reference writes its time with Z instead of an offset"))
        found.append(Reference(parts[1], parts[2], at))
    if len(set(found)) < len(found):
        findings.append(Finding(Weight.WARN, "a reference stands twice"))
    return found, findings


def examine(message: CapMessage, now: datetime) -> list[Finding]:
    """What is wrong with the meaning of one message by itself."""
    found = [*_envelope(message, now)]
    _, amiss = references(message)
    found += amiss
    if message.status != "Actual":
        found.append(Finding(Weight.HOLD, f"status {message.status}: nobody is told"))
    if message.scope != "Public":
        found.append(Finding(Weight.HOLD, f"scope {message.scope}: not for the public"))
    if message.msg_type in ("Ack", "Error"):
        found.append(Finding(Weight.HOLD, f"msgType {message.msg_type} answers a message; it warns nobody"))
    if message.msg_type in ("Alert", "Update"):
        if not message.info:
            found.append(Finding(Weight.HOLD, "there is no info: nothing to tell"))
        else:
            found += _expiry(message, now)
    for n, info in enumerate(message.info, start=1):
        where = f"info[{n}]"
        found += [Finding(one.weight, f"{where}: {one.reason}") for one in _info(info, message)]
    found += _together(message)
    return _once(found)


def _once(found: Iterable[Finding]) -> list[Finding]:
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- the envelope

_NOT_IN_NAMES = re.compile(r"[\s,<&]")


#: What agencies call a rehearsal although its status says Actual. A river may be called Test: the word alone is not
#: enough.
_REHEARSED_EVENT = re.compile(
    r"(?i)\W*(?:required (?:weekly|monthly) test|practice\W+demo\b.*"
    r"|(?:test|exercise|drill)(?: (?:message|alert|warning))?)\W*"
)
_REHEARSED_HEADLINE = re.compile(
    r"\W*(?:(?:TEST|EXERCISE|DRILL)(?:\W*$|\s*[:!.,–—-]|\s+(?:TEST|EXERCISE|DRILL|MESSAGE|ALERT|WARNING|ONLY)\b)"
    r"|(?i:this is (?:only |just )?an? (?:test|exercise|drill)\b))"
)


def _envelope(message: CapMessage, now: datetime) -> Iterable[Finding]:
    for name, text in (("identifier", message.identifier), ("sender", message.sender)):
        bare = collapse(text)
        if not bare:
            yield Finding(Weight.REJECT, f"{name} is empty")
        elif _NOT_IN_NAMES.search(bare):
            yield Finding(Weight.REJECT, f"{name} {bare[:60]!r} holds white space, a comma, < or &")
        elif _hidden(bare):
            yield Finding(Weight.REJECT, f"{name} holds invisible or control characters ({_hidden(bare)})")
        elif bare != text:
            yield Finding(Weight.WARN, f"{name} is padded with white space")
        if len(bare) > 512:
            yield Finding(Weight.REJECT, f"{name} has {len(bare)} characters")
    if message.scope == "Restricted" and not (message.restriction or "").strip():
        yield Finding(Weight.REJECT, "scope Restricted without a restriction")
    if message.scope == "Private" and not (message.addresses or "").strip():
        yield Finding(Weight.REJECT, "scope Private without addresses")
    if message.scope != "Restricted" and message.restriction:
        yield Finding(Weight.WARN, f"a restriction with scope {message.scope}")
    if message.msg_type in ("Update", "Cancel", "Ack", "Error") and not message.references:
        yield Finding(Weight.REJECT, f"msgType {message.msg_type} without references")
    if message.msg_type == "Alert" and message.references:
        yield Finding(Weight.WARN, "msgType Alert with references")
    if message.msg_type == "Error" and not (message.note or "").strip():
        yield Finding(Weight.WARN, "msgType Error without a note that says why")
    ahead_s = instant(message.sent) - instant(now)
    if ahead_s > _FUTURE_S:
        yield Finding(Weight.HOLD, f"sent lies {_ago(ahead_s)} in the future")
    elif ahead_s > SKEW_S:
        yield Finding(Weight.WARN, f"sent lies {ahead_s:.0f} s in the future")
    refs, _ = references(message)
    for ref in refs:
        if ref.identifier == message.identifier.strip() and ref.sender == message.sender.strip():
            yield Finding(Weight.REJECT, "refers to itself")
        elif instant(ref.sent) > instant(message.sent):
            yield Finding(Weight.REJECT, f"refers to {ref.identifier}, sent after it")
    for name, told in (("note", message.note), ("source", message.source), ("restriction", message.restriction)):
        yield from _text(name, told)


def _ago(seconds: float) -> str:
    return f"{seconds / 86_400:.0f} days" if seconds >= 2 * 86_400 else f"{seconds / 60:.0f} min"


def _expiry(message: CapMessage, now: datetime) -> Iterable[Finding]:
    ends = [info.expires for info in message.info]
    told = [instant(end) for end in ends if end is not None]
    if len(told) < len(ends):
        yield Finding(
            Weight.WARN if told else Weight.HOLD,
            "an info does not say when it expires" + ("" if told else ": nobody is told until a person decides"),
        )
    if not told:
        return
    if max(told) <= instant(now):
        yield Finding(Weight.HOLD, f"expired {_ago(instant(now) - max(told))} ago")
    elif min(told) <= instant(now):
        yield Finding(Weight.WARN, "one info has expired, another has not")
    if max(told) - instant(message.sent) > _LONG_LIFE_S:
        yield Finding(Weight.WARN, f"lives for {_ago(max(told) - instant(message.sent))}")


# ---------------------------------------------------------------- info


def _info(info: CapInfo, message: CapMessage) -> Iterable[Finding]:
    if not info.event.strip():
        yield Finding(Weight.WARN, "event is empty")
    rehearsed = _REHEARSED_EVENT.fullmatch(info.event) or _REHEARSED_HEADLINE.match(info.headline or "")
    if message.status == "Actual" and rehearsed:
        yield Finding(Weight.HOLD, "status Actual, and its own words call it a test or an exercise")
    if info.expires is not None:
        if instant(info.expires) <= instant(message.sent):
            yield Finding(Weight.REJECT, "expires no later than it was sent")
        if info.effective is not None and instant(info.effective) >= instant(info.expires):
            yield Finding(Weight.REJECT, "expires before it takes effect")
        if info.onset is not None and instant(info.onset) >= instant(info.expires):
            yield Finding(Weight.WARN, "expires before the onset that it tells of")
    for name in ("headline", "description", "instruction", "event", "sender_name", "audience", "contact"):
        yield from _text(name, getattr(info, name))
    for area in info.area:
        yield from _text("areaDesc", area.area_desc)
    for pair in (*info.parameter, *info.event_code):
        for told in pair:
            yield from _text("parameter", told, markup=False)
    uris = [info.web, *(one.uri for one in info.resource)]
    for uri in uris:
        if uri and not re.match(r"(?i)https?://", uri) and re.match(r"(?i)[a-z][a-z0-9+.-]*:", uri):
            yield Finding(Weight.WARN, f"a link of kind {uri.split(':')[0][:20]!r} is not followed")
    for one in info.resource:
        if one.size is not None and one.size < 0:
            yield Finding(Weight.WARN, "a resource has a negative size")
    if message.msg_type in ("Alert", "Update"):
        if "AllClear" in info.response_type and message.msg_type == "Alert":
            yield Finding(Weight.WARN, "an all-clear that refers to no message")
        yield from _areas(info.area)


def _areas(areas: Sequence[CapArea]) -> Iterable[Finding]:
    if not areas:
        yield Finding(Weight.HOLD, "there is no area: nobody is told")
        return
    placed = [shape for area in areas for shape in shapes(area)]
    coded = any(area.geocodes for area in areas)
    if not placed:
        if coded:
            yield Finding(Weight.WARN, "the area is named by codes alone")
        else:
            yield Finding(Weight.HOLD, "the area is named in words alone: nobody is told")
        return
    for area in areas:
        if not area.area_desc.strip():
            yield Finding(Weight.WARN, "areaDesc is empty")
        if area.altitude is None and area.ceiling is not None:
            yield Finding(Weight.WARN, "a ceiling without an altitude")
        for ring in area.polygons:
            yield from _polygon(ring)
        for lon, lat, radius_km in area.circles:
            if radius_km > _WORLD_RADIUS_KM:
                yield Finding(Weight.HOLD, f"a circle of {radius_km:g} km is no place")
            elif radius_km == 0:
                yield Finding(Weight.WARN, "a circle without a radius is a point")
            if _nobody_lives([lon], [lat]):
                yield Finding(Weight.HOLD, _EMPTY_LATITUDES)
            if lon == lat == 0:
                yield Finding(Weight.HOLD, "a circle about 0,0 is an unset place")
    yield from _apart(placed)


_EMPTY_LATITUDES = "the area lies where nobody lives: are latitude and longitude swapped?"


def unwrapped(ring: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], bool]:
    """The ring with longitudes that run on across the antimeridian, and whether it crosses it."""
    out = [ring[0]]
    crosses = False
    for lon, lat in ring[1:]:
        before = out[-1][0]
        turned = lon + 360 * round((before - lon) / 360)
        crosses |= turned != lon
        out.append((turned, lat))
    return out, crosses


def _polygon(ring: Sequence[tuple[float, float]]) -> Iterable[Finding]:
    lats = [lat for _, lat in ring]
    lons = [lon for lon, _ in ring]
    flat = Polygon(ring)
    if flat.area > _WORLD_DEG2 or (max(lons) - min(lons) >= 359.9 and flat.area > 10_000):
        yield Finding(Weight.HOLD, "the polygon is the world, or a great part of it")
        return
    run, crosses = unwrapped(ring)
    if crosses:
        yield Finding(Weight.WARN, "the polygon crosses the antimeridian; it is read the short way round")
    shape = Polygon(run)
    if math.isclose(run[0][0], run[-1][0] + 360) or math.isclose(run[0][0], run[-1][0] - 360):
        yield Finding(Weight.HOLD, "the polygon goes around a pole")
        return
    if max(lon for lon, _ in run) - min(lon for lon, _ in run) > _WORLD_SPAN:
        yield Finding(Weight.HOLD, "the polygon reaches more than half way around the world")
    if shape.convex_hull.area < _NOTHING_DEG2:  # a bow tie of two equal halves has none either, and is somewhere
        yield Finding(Weight.REJECT, "the polygon has no area")
    elif not shape.is_valid:
        yield Finding(Weight.HOLD, f"the polygon is not one: {shapely.is_valid_reason(shape).split('[')[0].strip()}")
    if _nobody_lives([lon for lon, _ in run], lats):
        yield Finding(Weight.HOLD, _EMPTY_LATITUDES)


def _nobody_lives(lons: Sequence[float], lats: Sequence[float]) -> bool:
    """Whether all of it lies south of 60 S, or north of the settlements: 79.2 N, over Ellesmere and Greenland 80 N."""
    if max(lats) < _SOUTH or min(lats) >= _NORTH:
        return True
    return min(lats) > _NORTH_OF_SVALBARD and not (max(lons) > -100.0 and min(lons) < -10.0)


def shapes(area: CapArea) -> list[Polygon]:
    """The polygons and circles of an area in lon, lat; longitudes run on past 180 where a polygon crosses it.

    A circle is a polygon of 64 corners at its distance on a sphere (mean radius 6,371 km), of 10 m at least; one
    without a radius is a point and gets 1 km.
    """
    found = [Polygon(unwrapped(ring)[0]) for ring in area.polygons]
    for lon, lat, radius_km in area.circles:
        found.append(_disc(lon, lat, max(radius_km, _LEAST_RADIUS_KM) if radius_km else 1.0))
    return found


def _disc(lon: float, lat: float, radius_km: float) -> Polygon:
    angle = min(radius_km / 6371.0, math.pi / 2)
    phi = math.radians(lat)
    corners = []
    for k in range(64):
        bearing = 2 * math.pi * k / 64
        lat2 = math.asin(
            max(-1.0, min(1.0, math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(bearing)))
        )
        east = math.atan2(
            math.sin(bearing) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * math.sin(lat2)
        )
        corners.append((lon + math.degrees(east), math.degrees(lat2)))
    return Polygon(corners)


def _apart(placed: Sequence[Polygon]) -> Iterable[Finding]:
    """A part of an area which is far from another, but beside it with lat and lon changed, was written wrongly."""
    first = [(p.centroid.x, p.centroid.y) for p in placed[:200] if not p.is_empty]
    for i, (x, y) in enumerate(first):
        for u, v in first[:i]:
            if math.hypot(x - u, y - v) > _FAR_DEG and math.hypot(y - u, x - v) < 2.0:
                yield Finding(Weight.HOLD, "parts of the area agree only if latitude and longitude are swapped in one")
                return


def _together(message: CapMessage) -> Iterable[Finding]:
    """What the languages of one message say against each other."""
    by_event: dict[str, set[tuple[str, str, str]]] = {}
    languages: dict[tuple[str, str], int] = {}
    for info in message.info:
        key = ",".join(sorted(info.category))
        by_event.setdefault(key, set()).add((info.urgency, info.severity, info.certainty))
        said = (info.language.lower(), info.event)
        languages[said] = languages.get(said, 0) + 1
    if len({info.language.lower() for info in message.info}) > 1 and any(len(one) > 1 for one in by_event.values()):
        yield Finding(Weight.WARN, "languages disagree on urgency, severity or certainty")
    every = [
        [shape for area in info.area for shape in shapes(area)]
        for info in message.info[:20]
        if any(area.polygons or area.circles for area in info.area)
    ]
    if len(every) > 1:
        yield from _apart([shapes_of_one[0] for shapes_of_one in every if shapes_of_one])


# ---------------------------------------------------------------- text

_MARKUP = re.compile(r"<\s*/?\s*(?:[a-zA-Z][a-zA-Z0-9]*)\b[^<>]*>|&(?:lt|gt|amp|nbsp|#\d+);|javascript:", re.IGNORECASE)
#: characters that turn or hide what is read: embeddings, overrides, isolates, zero width, byte order mark, tags
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060-\u2064\ufeff\u00ad\U000e0000-\U000e007f]")


def _hidden(text: str) -> str:
    found = sorted(
        {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Co", "Cs") and one not in "\t\n\r"}
    )
    return ", ".join(f"U+{ord(one):04X}" for one in found[:5])


def _text(name: str, text: str | None, *, markup: bool = True) -> Iterable[Finding]:
    if not text:
        return
    controls = sorted({one for one in text if unicodedata.category(one) == "Cc" and one not in "\t\n\r"})
    if controls:
        yield Finding(Weight.WARN, f"{name} holds control characters; they are taken out")
    if _HIDDEN.search(text):
        yield Finding(Weight.WARN, f"{name} holds characters that turn or hide text; they are taken out")
    if markup and _MARKUP.search(text):
        yield Finding(Weight.WARN, f"{name} holds markup; it is shown as plain text")
    if len(text) > 20_000:
        yield Finding(Weight.WARN, f"{name} has {len(text)} characters")


def clean(text: str) -> str:
    """Text that may be shown: without control characters and those that turn or hide what is read."""
    return "".join(
        one for one in _HIDDEN.sub("", text) if one in "\t\n" or unicodedata.category(one) not in ("Cc", "Cs")
    )
