"""Cursors of paged lists: a time and an id, packed so that nobody builds on their shape."""

import base64
import binascii
from datetime import datetime
from uuid import UUID

from core.errors import InvalidInput


class BadCursor(InvalidInput):
    """cursor: not one that this API gave."""


def write_cursor(at: datetime, key: UUID) -> str:
    """The cursor that stands after this row."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{key}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """(time, id) of a cursor; None for none. Raises BadCursor."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, key = text.partition("|")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise BadCursor
        return moment, UUID(key)
    except (ValueError, binascii.Error):
        raise BadCursor from None
