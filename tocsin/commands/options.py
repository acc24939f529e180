"""What commands share: days and times given as options, and one connection for the whole command."""

import asyncio
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

from core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.pool import AsyncConnection

T = TypeVar("T")


def day(option: str, text: str) -> date:
    """A day as 2026-01-31; raises InvalidInput, which names the option."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{option}: {text!r} is not a date as 2026-01-31") from None


def moment(option: str, text: str) -> datetime:
    """An aware time; raises InvalidInput, which names the option."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{option}: {text!r} is not a time as 2026-01-31T12:00:00Z") from None
    if when.tzinfo is None:
        raise InvalidInput(f"{option}: it has no offset from UTC")
    return when


def say(text: str) -> None:
    """A line for people, beside what a program reads from standard output."""
    print(text, file=sys.stderr, flush=True)


def with_database(work: "Callable[[AsyncConnection], Awaitable[T]]", *, create: bool = False) -> T:
    """Does `work` on one worker's connection of the mode that the settings name; `create`: also on a new home."""
    from core import log
    from core.settings import load_settings
    from tocsin.database import command_connection

    settings = load_settings()
    log.configure(settings.log_level, as_json=settings.log_json)

    async def run() -> T:
        async with command_connection(settings, settings.mode, create=create, say=say) as conn:
            return await work(conn)

    return asyncio.run(run())
