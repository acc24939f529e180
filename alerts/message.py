"""The words of a warning, from catalogues under `alerts/texts/`, in ICU message form (alerts/icu.py).

Each text says who speaks, what happens where and when, what to do, and until when (the parts that Mileti and Sorensen
1990, "Communication of Emergency Public Warnings", found people need before they act), with the local time and its
zone. An exercise says so first, in every part. Long channels get headline, description and instruction; text messages
and calls have words of their own for each level.

A catalogue without a named reviewer is never sent: whoever wants that language is told in the tenant's, and the caller
learns of it. A tenant may name a reviewer of its own (tenant setting `language_reviewers`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from alerts.alert import Text
from alerts.icu import format_message
from alerts.level import Level
from alerts.lifecycle import Message
from core.errors import InvalidInput
from core.units import quantity

#: What a warning rests on: a gauge's readings, a map of where the hazard is, or an authority's bulletin.
GAUGE, FOOTPRINT, OFFICIAL = "gauge", "footprint", "official"


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
    source: Mapping[str, str]  #: who speaks; for an official bulletin its authority
    exercise: bool
    forecast: bool = False  #: the level is expected and was not measured yet
    basis: str = GAUGE
    relay: Mapping[str, str] = field(default_factory=dict)  #: who passes an official bulletin on


@cache
def catalogues() -> tuple[str, ...]:
    """Languages that have a catalogue, reviewed or not."""
    names = [entry.name for entry in (resources.files("alerts") / "texts").iterdir()]
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


@cache
def languages() -> tuple[str, ...]:
    """Languages whose catalogue has a named reviewer: what may be sent anywhere."""
    return tuple(one for one in catalogues() if catalogue(one)["reviewer"])


@cache
def catalogue(language: str) -> Mapping[str, Any]:
    """The texts of one language; raises NoCatalogue."""
    if language not in catalogues():
        raise NoCatalogue(language=language, known=catalogues())
    file = resources.files("alerts") / "texts" / f"{language}.json"
    found: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def sendable(reviewers: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Languages that may be sent: reviewed here, or by somebody the tenant names (language -> name)."""
    named = {one for one, name in (reviewers or {}).items() if name.strip()}
    return tuple(one for one in catalogues() if one in languages() or one in named)


def language_with_texts(wanted: str, default: str, reviewers: Mapping[str, str] | None = None) -> tuple[str, bool]:
    """The language that is spoken to somebody who wants `wanted`, and whether it is theirs."""
    known = sendable(reviewers)
    for one in (wanted, wanted.split("-")[0]):
        if one in known:
            return one, True
    return (default if default in known else "en"), False


def local_time(at: datetime, timezone: str, language: str) -> str:
    """Wall time at the place, with the zone: never a time without one."""
    local = at.astimezone(ZoneInfo(timezone))
    offset = local.strftime("%z")
    words = catalogue(language)
    return format_message(
        words["time"],
        {
            "year": str(local.year),
            "month": words["months"][local.month - 1],
            "day": str(local.day),
            "hour": f"{local.hour:02d}",
            "minute": f"{local.minute:02d}",
            "zone": "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}",
        },
        language,
    )


def short_time(at: datetime, timezone: str, *, zone: bool = True) -> str:
    """Hour and minute at the place and, unless it stands beside it already, the zone in its shortest form."""
    local = at.astimezone(ZoneInfo(timezone))
    if not zone:
        return f"{local:%H:%M}"
    offset = local.strftime("%z")
    hours, minutes = offset[0] + str(int(offset[1:3])), offset[3:]
    shown = "UTC" if offset == "+0000" else f"UTC{hours}" + ("" if minutes == "00" else f":{minutes}")
    return f"{local:%H:%M} {shown}"


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
    named = {}
    for part in ("place", "area", "source"):
        named[part] = name_in(getattr(facts, part), language, default)
        if not named[part]:
            raise InvalidInput("A warning must name its place, its area and who speaks.", missing=part)
    if facts.basis == OFFICIAL:
        named["relay"] = name_in(facts.relay, language, default)
    unit = quantity(facts.quantity).unit
    known = {
        **named,
        "event": event,
        "event_lower": event.lower(),
        "level": words["level"].get(facts.level.word, ""),
        "word": words["word"].get(facts.level.word, ""),
        "value": _amount(facts.value, unit),
        "threshold": _amount(facts.threshold, unit),
        "at": local_time(facts.reading_at or facts.issued_at, facts.timezone, language),
        "issued": local_time(facts.issued_at, facts.timezone, language),
        "expires": local_time(facts.expires_at, facts.timezone, language),
        "clock": short_time(facts.issued_at, facts.timezone, zone=False),
        "until": short_time(facts.expires_at, facts.timezone),
    }

    def said(text: str) -> str:
        return format_message(text, known, language)

    ended = facts.message in (Message.ALL_CLEAR, Message.CANCEL)
    kind = facts.message.value
    about = "renew_silent" if facts.message is Message.RENEW and facts.silent else kind
    if facts.basis != GAUGE and facts.message is not Message.CANCEL:
        about = f"{facts.basis}_over" if facts.message is Message.ALL_CLEAR else facts.basis
    space = words["between"]
    headline = said(words["headline"][kind if ended else "warning"])
    description = said(words["description"][about])
    rests = [said(words["forecast"])] if facts.forecast and not ended else []
    if not ended:
        description = space.join([description, *rests, said(words["until"])])
    which = kind if ended else facts.level.word
    instruction = words["instruction"][which]
    sms = said(words["sms"][which])
    say = space.join([f"{headline}{words['stop']}", *rests, instruction] + ([] if ended else [said(words["until"])]))
    if facts.exercise:
        mark = f"{words['exercise']}{words['after_mark']}"
        headline, description, instruction, sms, say = (
            f"{mark}{part}" for part in (headline, description, instruction, sms, say)
        )
    return Text(
        headline=headline,
        description=description,
        instruction=instruction,
        sms=sms,
        say=f"{say}{space}{words['keys']}",
        timezone=facts.timezone,
    )


def render_all(facts: Facts, default: str = "en", reviewers: Mapping[str, str] | None = None) -> dict[str, Text]:
    """The text in every language that may be sent."""
    return {one: render(facts, one, default) for one in sendable(reviewers)}


def missing_languages(
    wanted: Iterable[str], default: str, reviewers: Mapping[str, str] | None = None
) -> dict[str, int]:
    """How many people are told in another language than theirs, by their language."""
    missing: dict[str, int] = {}
    for one in wanted:
        if not language_with_texts(one, default, reviewers)[1]:
            missing[one] = missing.get(one, 0) + 1
    return missing


# ---------------------------------------------------------------- what is added for one household


def leave_by_text(text: Text, payload: Mapping[str, Any], language: str) -> str | None:
    """When this household must leave, in words; None where no route has such a time."""
    at = (payload.get("route") or {}).get("leave_by")
    if at is None or payload.get("all_clear") or payload.get("cancelled") or payload.get("official_order"):
        return None
    time = short_time(datetime.fromisoformat(at), text.timezone or "UTC", zone=not text.sms)
    return format_message(catalogue(language)["leave_by"], {"time": time}, language)


def _with_mark(words: Mapping[str, Any], exercise: bool, *parts: str) -> str:
    """Sentences one after the other, an exercise marked once, at the front."""
    mark = f"{words['exercise']}{words['after_mark']}" if exercise else ""
    return mark + str(words["between"]).join(part.removeprefix(mark) for part in parts if part)


def rerouted(text: Text, language: str, *, exercise: bool) -> Text:
    """The text of a message that comes because this household's way out changed: it says so first."""
    words = catalogue(language if language in catalogues() else "en")
    changed = str(words["rerouted"])
    return replace(
        text,
        instruction=_with_mark(words, exercise, changed, text.instruction),
        sms=_with_mark(words, exercise, changed, text.sms or text.headline),
        say=_with_mark(words, exercise, changed, text.say or f"{text.headline}. {text.instruction}"),
    )


def ordered(text: Text, order: Mapping[str, Any], language: str, *, exercise: bool) -> Text:
    """The text where an authority's order holds: the order comes first, by the authority's name.

    Ordered to stay, nothing remains that tells people to leave: the order, and what is known of the hazard.
    """
    words = catalogue(language if language in catalogues() else "en")
    said = format_message(words["order"][order["kind"]], {"authority": str(order["authority"])}, language)
    if order["kind"] == "stay":
        return replace(
            text,
            headline=_with_mark(words, exercise, said),
            instruction=_with_mark(words, exercise, said),
            sms=_with_mark(words, exercise, said, text.description),
            say=_with_mark(words, exercise, said, text.description, str(words["keys"])),
        )
    return replace(
        text,
        instruction=_with_mark(words, exercise, said, text.instruction),
        sms=_with_mark(words, exercise, said, text.sms or text.headline),
        say=_with_mark(words, exercise, said, text.say or f"{text.headline}. {text.instruction}"),
    )


def text_message(text: Text, payload: Mapping[str, Any], language: str) -> list[str]:
    """Texts for a text message, the fullest first; the last has the least."""
    base = text.sms or text.headline
    leave = leave_by_text(text, payload, language) if language in catalogues() else None
    if leave is None:
        return [base]
    return [f"{base}{catalogue(language)['between']}{leave}", base]


def spoken_text(text: Text, payload: Mapping[str, Any], language: str) -> str:
    """What a call says."""
    base = text.say or f"{text.headline}. {text.instruction}"
    leave = leave_by_text(text, payload, language) if language in catalogues() else None
    return base if leave is None else f"{leave}{catalogue(language)['between']}{base}"
