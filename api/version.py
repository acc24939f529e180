"""The version of the API's wire format and of the release that serves it."""

from typing import Final

VERSION: Final = "0.1.0"
