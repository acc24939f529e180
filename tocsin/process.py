"""What every long-running process does at its start: settings, logs, a sign of life, and an end with its supervisor."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable

from core import log
from core.errors import Unavailable
from core.settings import Settings, load_settings
from tocsin import lifeline

#: A process whose last sign of life is older than this is not healthy.
LATE_AFTER_S = 30.0


class NoSignOfLife(Unavailable):
    """This process has given no sign of life lately."""


def begin(name: str) -> Settings:
    """Settings for the process of this name, with logging set up and its parent watched."""
    settings = load_settings()
    log.configure(settings.log_level, as_json=settings.log_json)
    lifeline.hold(settings.supervisor_pid, settings.supervisor_started)
    lifeline.start_beating(settings.home, name)
    return settings


def run_until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs an async process until it ends or is asked to (SIGTERM, SIGINT): then `stop` is set, and it finishes."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await work(stop)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def check_sign_of_life(settings: Settings, name: str) -> float:
    """Seconds since that process last gave a sign of life; raises NoSignOfLife where that is too long ago."""
    file = settings.home / "run" / f"{name}.beat"
    if not file.exists():
        raise NoSignOfLife(process=name, home=str(settings.home))
    age_s = time.time() - file.stat().st_mtime
    if age_s > LATE_AFTER_S:
        raise NoSignOfLife(process=name, last_s_ago=round(age_s))
    return age_s
