"""What feeds bring: readings, events, bulletins and signals; and how their documents are read strictly."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from ingest.cap.message import CapMessage


class BadFeed(InvalidInput):
    """This is not what the feed should bring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One reading of a feed's station, in the unit that the feed speaks."""

    code: str  #: the station's code at its owner
    name: str = ""
    lon: float | None = None
    lat: float | None = None
    river: str | None = None
    quantity: str
    unit: str
    observed_at: datetime
    value: float | None  #: none: the feed says it has no value
    note: str = ""  #: qualifiers as the feed writes them
    provisional: bool = True  #: may be changed by its owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A part of a footprint with one intensity."""

    intensity: float
    unit: str
    geometry: BaseGeometry  #: lon, lat


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardSeen:
    """An event as a feed tells it at one time; a later `updated_at` is a new version of it."""

    code: str  #: preferred id now
    aliases: frozenset[str] = frozenset()  #: every id it has been known by: the join key
    peril: str
    name: str
    started_at: datetime
    updated_at: datetime
    deleted: bool = False
    reviewed: bool = False
    zones: tuple[Zone, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """An official bulletin in CAP's words; what the feed could not say stands in `amiss`."""

    message: CapMessage
    raw: bytes
    amiss: tuple[str, ...] = ()
    colour: str | None = None  #: blue, yellow, orange, red, where the office says one


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something said somewhere: a hint with its source. It never triggers anything by itself."""

    source: str
    title: str
    link: str
    said_at: datetime | None
    weight: float


def read_json(body: bytes) -> Any:
    """The document; raises BadFeed for what is no JSON, holds NaN, or a name twice in one object."""

    def no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise BadFeed("A name stands twice in one object.", name=next(n for n in names if names.count(n) > 1)[:40])
        return found

    def not_finite(text: str) -> float:
        raise BadFeed("This is not a number that can be stored.", number=text[:40])

    try:
        return json.loads(body, object_pairs_hook=no_name_twice, parse_constant=not_finite)
    except (ValueError, RecursionError) as error:
        raise BadFeed(f"This is not JSON: {error}"[:200]) from error


def an_object(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise BadFeed("An object is wanted here.", where=where)
    return given


def a_list(given: Any, where: str) -> Sequence[Any]:
    if not isinstance(given, list):
        raise BadFeed("A list is wanted here.", where=where)
    return given


def a_number(given: Any, where: str) -> float:
    """A finite number, also where it is written as a text."""
    try:
        value = float(given) if not isinstance(given, bool) and given is not None else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise BadFeed("A number is wanted here.", where=where, given=str(given)[:40])
    return value


def a_time(given: Any, where: str, *, zone: Any = None) -> datetime:
    """A time with an offset; `zone` is what one without an offset means. Raises BadFeed."""
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError:
        raise BadFeed("A time is wanted here.", where=where, given=str(given)[:40]) from None
    if at.tzinfo is None:
        if zone is None:
            raise BadFeed("A time without an offset.", where=where, given=str(given)[:40])
        at = at.replace(tzinfo=zone)
    return at


def of_ms(given: Any, where: str) -> datetime:
    """A time in milliseconds since 1970, UTC."""
    value = a_number(given, where)
    if not 0 <= value < 253_402_300_800_000:
        raise BadFeed("Milliseconds since 1970 are wanted here.", where=where, given=given)
    return datetime.fromtimestamp(value / 1000, UTC)


def a_place(lon: Any, lat: Any, where: str) -> tuple[float, float]:
    x, y = a_number(lon, where), a_number(lat, where)
    if not (-180 <= x <= 180 and -90 <= y <= 90):
        raise BadFeed("A place off the earth.", where=where, lon=x, lat=y)
    return x, y
