"""The languages that pages and messages have catalogues for."""

from typing import Final

LANGUAGES: Final = ("en", "zh")
