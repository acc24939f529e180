"""The words of a warning, from catalogues under `alerts/texts/`.

Each text says who speaks, what happens where and when, what to do, and until when (the five parts that Mileti and
Sorensen 1990, "Communication of Emergency Public Warnings", found people need before they act), with the local time
and its zone. An exercise says so first, in every part. A language without a catalogue falls back to the tenant's, and
the caller learns of it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from alerts.alert import Text
from alerts.level import Level
from alerts.lifecycle import Message
from core.errors import InvalidInput
from core.units import quantity


class NoCatalogue(InvalidInput):
    """There are no texts in this language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a text is made of; names by language fall back to the default language's, then to any."""

    message: Message
    level: Level
    event: str  #: peril: flood, wind, ...
    quantity: str
    value: float | None
    threshold: float | None
    reading_at: datetime | None
    issued_at: datetime
    expires_at: datetime
    silent: bool
    timezone: str
    place: Mapping[str, str]
    area: Mapping[str, str]
    source: Mapping[str, str]
    exercise: bool


@cache
def languages() -> tuple[str, ...]:
    """Languages that have a catalogue."""
    names = [entry.name for entry in (resources.files("alerts") / "texts").iterdir()]
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@cache
def catalogue(language: str) -> Mapping[str, Any]:
    """The texts of one language; raises NoCatalogue."""
    if language not in languages():
        raise NoCatalogue(language=language, known=languages())
    file = resources.files("alerts") / "texts" / f"{language}.json"
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def language_with_texts(wanted: str, default: str) -> tuple[str, bool]:
    """The language that is spoken to somebody who wants `wanted`, and whether it is theirs."""
    for one in (wanted, wanted.split("-")[0]):
        if one in languages():
            return one, True
    return (default if default in languages() else "en"), False


def local_time(at: datetime, timezone: str, language: str) -> str:
    """Wall time at the place, with the zone: never a time without one."""
    local = at.astimezone(ZoneInfo(timezone))
    offset = local.strftime("%z")
    words = catalogue(language)
    told: str = words["time"].format(
        year=local.year,
        month=words["months"][local.month - 1],
        day=local.day,
        hour=local.hour,
        minute=local.minute,
        zone="UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}",
    )
    return told


def name_in(names: Mapping[str, str], language: str, default: str) -> str:
    """A name in this language, else in the default one, else in any."""
    for one in (language, default, "en"):
        if names.get(one):
            return names[one]
    return next((name for name in names.values() if name), "")


def _amount(value: float | None, unit: str) -> str:
    return "?" if value is None else f"{value:.2f} {unit}"


def render(facts: Facts, language: str, default: str = "en") -> Text:
    """The text in one language; raises NoCatalogue, and InvalidInput when place, area or source has no name."""
    words = catalogue(language)
    event = words["event"].get(facts.event, facts.event)
    names = {}
    for part in ("place", "area", "source"):
        names[part] = name_in(getattr(facts, part), language, default)
        if not names[part]:
            raise InvalidInput("A warning must name its place, its area and who speaks.", missing=part)
    unit = quantity(facts.quantity).unit
    known = {
        **names,
        "event": event,
        "event_lower": event.lower(),
        "level": words["level"].get(facts.level.word, ""),
        "word": words["word"].get(facts.level.word, ""),
        "value": _amount(facts.value, unit),
        "threshold": _amount(facts.threshold, unit),
        "at": local_time(facts.reading_at or facts.issued_at, facts.timezone, language),
        "issued": local_time(facts.issued_at, facts.timezone, language),
        "expires": local_time(facts.expires_at, facts.timezone, language),
    }
    ended = facts.message in (Message.ALL_CLEAR, Message.CANCEL)
    kind = facts.message.value
    said = "renew_silent" if facts.message is Message.RENEW and facts.silent else kind
    headline = words["headline"][kind if ended else "warning"].format(**known)
    description = words["description"][said].format(**known)
    if not ended:
        space = "" if language == "zh" else " "
        description = f"{description}{space}{words['until'].format(**known)}"
    instruction = words["instruction"][kind if ended else facts.level.word]
    if facts.exercise:
        mark = words["exercise"]
        space = "" if language == "zh" else ": "
        headline, description, instruction = (f"{mark}{space}{part}" for part in (headline, description, instruction))
    return Text(headline=headline, description=description, instruction=instruction)


def render_all(facts: Facts, default: str = "en") -> dict[str, Text]:
    """The text in every language that has a catalogue."""
    return {one: render(facts, one, default) for one in languages()}


def missing_languages(wanted: Iterable[str], default: str) -> dict[str, int]:
    """How many people are told in another language than theirs, by their language."""
    missing: dict[str, int] = {}
    for one in wanted:
        if not language_with_texts(one, default)[1]:
            missing[one] = missing.get(one, 0) + 1
    return missing
