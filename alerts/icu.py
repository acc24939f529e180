"""A small ICU MessageFormat: what the catalogues of texts are written in.

`{name}`, `{n, plural, =0 {..} one {..} other {..}}` with `#` for the number, and `{x, select, a {..} other {..}}`,
nested as deep as wanted. Plural categories are CLDR's, by Babel. An apostrophe quotes only before `{`, `}` or another
apostrophe, as ICU does by default, so that "l'eau" needs no care. Numbers and dates are handed in as text: the caller
knows unit and zone.

Source: ICU User Guide, "Formatting Messages"; Unicode CLDR plural rules (UTS 35 part 3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from babel.core import Locale, UnknownLocaleError

from core.errors import InvalidInput

Value = str | int


class BadMessage(InvalidInput):
    """A text of a catalogue is not a message."""


@dataclass(frozen=True, slots=True)
class _Argument:
    name: str
    kind: str = ""  #: "", plural or select
    choices: Mapping[str, "tuple[_Part, ...]"] = field(default_factory=dict)


class _Number:
    """`#` inside a plural."""


_Part = str | _Argument | _Number


@cache
def plural_category(language: str, n: int) -> str:
    """CLDR's category of a whole number: zero, one, two, few, many or other; unknown languages have `other` alone."""
    try:
        rule: Callable[[int], str] = Locale.parse(language, sep="-").plural_form
    except (UnknownLocaleError, ValueError):
        return "other"
    return rule(n)


@cache
def parse(text: str) -> tuple[_Part, ...]:
    """The parts of a message; raises BadMessage."""
    parts, end = _parts(text, 0, in_plural=False, depth=0)
    if end != len(text):
        raise BadMessage(f"a closing brace too many at {end}", text=text)
    return parts


def _parts(text: str, at: int, *, in_plural: bool, depth: int) -> tuple[tuple[_Part, ...], int]:
    found: list[_Part] = []
    said: list[str] = []

    def close() -> None:
        if said:
            found.append("".join(said))
            said.clear()

    if depth > 8:
        raise BadMessage("nested too deep", text=text)
    while at < len(text):
        one = text[at]
        if one == "'" and text[at + 1 : at + 2] in ("'", "{", "}"):
            if text[at + 1] == "'":
                said.append("'")
                at += 2
                continue
            end = text.find("'", at + 1)
            said.append(text[at + 1 : end if end > 0 else len(text)])
            at = end + 1 if end > 0 else len(text)
        elif one == "{":
            close()
            argument, at = _argument(text, at + 1, depth=depth)
            found.append(argument)
        elif one == "}":
            break
        elif one == "#" and in_plural:
            close()
            found.append(_Number())
            at += 1
        else:
            said.append(one)
            at += 1
    close()
    return tuple(found), at


def _word(text: str, at: int) -> tuple[str, int]:
    while at < len(text) and text[at].isspace():
        at += 1
    begin = at
    while at < len(text) and text[at] not in ",{}" and not text[at].isspace():
        at += 1
    word = text[begin:at]
    while at < len(text) and text[at].isspace():
        at += 1
    return word, at


def _argument(text: str, at: int, *, depth: int) -> tuple[_Argument, int]:
    name, at = _word(text, at)
    if not name.isidentifier():
        raise BadMessage(f"no name at {at}", text=text)
    if text[at : at + 1] == "}":
        return _Argument(name), at + 1
    if text[at : at + 1] != ",":
        raise BadMessage(f"a brace is not closed at {at}", text=text)
    kind, at = _word(text, at + 1)
    if kind not in ("plural", "select") or text[at : at + 1] != ",":
        raise BadMessage(f"{kind!r} is neither plural nor select", text=text)
    at += 1
    choices: dict[str, tuple[_Part, ...]] = {}
    while True:
        key, at = _word(text, at)
        if text[at : at + 1] == "}" and not key:
            break
        if not key or text[at : at + 1] != "{":
            raise BadMessage(f"a choice is not well formed at {at}", text=text)
        choices[key], at = _parts(text, at + 1, in_plural=kind == "plural", depth=depth + 1)
        if text[at : at + 1] != "}":
            raise BadMessage("a choice is not closed", text=text)
        at += 1
    if "other" not in choices:
        raise BadMessage(f"{name} has no choice `other`", text=text)
    return _Argument(name, kind, choices), at + 1


def names(text: str) -> frozenset[str]:
    """Every name a message uses."""

    def of(parts: tuple[_Part, ...]) -> set[str]:
        found: set[str] = set()
        for part in parts:
            if isinstance(part, _Argument):
                found.add(part.name)
                for choice in part.choices.values():
                    found |= of(choice)
        return found

    return frozenset(of(parse(text)))


def format_message(text: str, values: Mapping[str, Value], language: str) -> str:
    """The message with these values; raises BadMessage where one is missing or a plural gets no whole number."""
    return _format(parse(text), values, language, None, text)


def _format(parts: tuple[_Part, ...], values: Mapping[str, Value], language: str, number: int | None, text: str) -> str:
    told: list[str] = []
    for part in parts:
        if isinstance(part, str):
            told.append(part)
        elif isinstance(part, _Number):
            told.append(str(number))
        else:
            if part.name not in values:
                raise BadMessage(f"there is no value for {part.name}", text=text)
            value = values[part.name]
            if not part.kind:
                told.append(str(value))
                continue
            inner = number
            if part.kind == "plural":
                if not isinstance(value, int):
                    raise BadMessage(f"{part.name} must be a whole number", text=text)
                inner = value
                key = f"={value}" if f"={value}" in part.choices else plural_category(language, value)
            else:
                key = str(value)
            choice = part.choices.get(key, part.choices["other"])
            told.append(_format(choice, values, language, inner, text))
    return "".join(told)
