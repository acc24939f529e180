"""Text messages: which alphabet they need, how many parts they cost, and what fits into them.

3GPP TS 23.038: the GSM 7-bit alphabet holds 160 septets in one part, 153 in each of several; characters of its
extension table take two. Anything else is UCS-2: 70 UTF-16 code units in one part, 67 in each of several. A character
is never split between parts.
"""

import unicodedata
from dataclasses import dataclass
from typing import Literal

#: 3GPP TS 23.038 section 6.2.1; the escape at 0x1B stands for itself and is no character.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Section 6.2.1.1: two septets each.
_EXTENSION = frozenset("\f^{}\\[~]|€")

Alphabet = Literal["gsm7", "ucs2"]
#: (units in a single part, units in each of several).
LIMITS: dict[Alphabet, tuple[int, int]] = {"gsm7": (160, 153), "ucs2": (70, 67)}
MAX_PARTS = 3

#: What writers use and GSM-7 lacks, with what says the same there.
_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2026": "...",
        "\u00a0": " ",
        "\u202f": " ",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms:
    """A text as it is sent."""

    text: str
    alphabet: Alphabet
    n_parts: int


def clean(text: str) -> str:
    """Text without control, bidirectional and other invisible characters, which could show another text than was sent.

    Line breaks become one space. Zero-width joiners stay: Sinhala, Arabic and Persian are spelt with them.
    """
    kept = []
    for one in unicodedata.normalize("NFC", text):
        if one in "\n\r\t\v\f\u0085\u2028\u2029":
            kept.append(" ")
        elif one in "\u200c\u200d" or unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
            kept.append(one)
    return " ".join("".join(kept).split())


def alphabet_of(text: str) -> Alphabet:
    """gsm7 where every character is in that alphabet."""
    return "gsm7" if all(one in _BASIC or one in _EXTENSION for one in text) else "ucs2"


def _cost(one: str, alphabet: Alphabet) -> int:
    if alphabet == "gsm7":
        return 2 if one in _EXTENSION else 1
    return 2 if ord(one) > 0xFFFF else 1


def count_parts(text: str) -> tuple[Alphabet, int]:
    """(alphabet, parts) that a text takes; an empty one takes one."""
    alphabet = alphabet_of(text)
    single, several = LIMITS[alphabet]
    costs = [_cost(one, alphabet) for one in text]
    if sum(costs) <= single:
        return alphabet, 1
    n_parts, used = 1, 0
    for cost in costs:
        if used + cost > several:
            n_parts, used = n_parts + 1, 0
        used += cost
    return alphabet, n_parts


def plainer(text: str) -> str:
    """The text in GSM-7 where only typographic quotes, dashes and spaces stand in the way; else as it is."""
    plain = text.translate(_PLAIN)
    return plain if alphabet_of(plain) == "gsm7" else text


def fit(wanted: list[str], *, link: str | None = None, max_parts: int = MAX_PARTS) -> Sms:
    """The first of some texts, fullest first, that takes the fewest parts any of them can; cut only where none fits.

    A text that fits one part goes before a fuller one that does not. The link is added where that stays within
    `max_parts`; a link is never cut.
    """
    texts = [plainer(clean(one)) for one in wanted]
    chosen = next((one for one in texts if count_parts(one)[1] == 1), None)
    if chosen is None:
        chosen = next((one for one in texts if count_parts(one)[1] <= max_parts), None)
    if chosen is None:
        chosen = texts[-1]
        while count_parts(chosen)[1] > max_parts:
            chosen = chosen[:-1]
    if link is not None:
        longer = f"{chosen} {link}"
        if count_parts(longer)[1] <= max_parts:
            chosen = longer
    alphabet, n_parts = count_parts(chosen)
    return Sms(text=chosen, alphabet=alphabet, n_parts=n_parts)
