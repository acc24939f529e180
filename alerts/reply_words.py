"""What a pressed key or a text message back says: safe, help, or nothing that we understand.

Help is heard wherever it stands; safe only where nothing else is said, because who is taken for safe is not called.
"""

import re
import unicodedata
from typing import Literal

Meaning = Literal["safe", "help"]

#: Keys of the call (alerts/channels/phone.py) and of the text message's own words.
KEYS: dict[str, Meaning] = {"1": "safe", "2": "help"}


def _plain(text: str) -> str:
    """Small letters without accents and punctuation, one space between words."""
    folded = unicodedata.normalize("NFKD", text[:500]).casefold()
    # accents of Latin letters go; the marks of other scripts are part of their words
    folded = re.sub(r"[\u0300-\u036f'\u2019]", "", folded)
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in folded)
    return " ".join(kept.split())


SAFE = frozenset(
    _plain(word)
    for word in (
        "1", "safe", "ok", "okay", "i am safe", "im safe", "we are safe", "安全", "我安全", "平安", "我平安", "我没事",
        "en securite", "a salvo", "estoy a salvo", "ආරක්ෂිතයි", "பாதுகாப்பாக உள்ளேன்", "آمن", "انا بخير",
    )
)  # fmt: skip
HELP = frozenset(
    _plain(word)
    for word in ("2", "help", "sos", "aide", "secours", "ayuda", "socorro", "උදව්", "உதவி", "مساعدة", "نجدة")
)
#: Of scripts without spaces: heard anywhere.
HELP_WITHIN = ("救命", "救我", "求救", "求助", "帮助", "幫助")


def meaning(text: str) -> Meaning | None:
    """What a reply says; None where it cannot be told."""
    plain = _plain(text)
    if any(word in plain for word in HELP_WITHIN) or HELP & set(plain.split()):
        return "help"
    return "safe" if plain in SAFE else None
