"""What ties a child process to the supervisor that started it: it ends when its parent is gone, also by kill -9."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from core.log import get_logger

log = get_logger("lifeline")


def started_at(pid: int) -> float | None:
    """When that process started (seconds since the epoch), or none: a pid alone may be another process by now."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.Error:
        return None


def is_alive(pid: int, start_time: float) -> bool:
    """Whether that very process still runs."""
    found = started_at(pid)
    return found is not None and abs(found - start_time) < 1.0


def hold(
    parent: int | None,
    parent_started: float | None,
    on_gone: Callable[[], None] | None = None,
    *,
    interval_s: float = 0.5,
) -> None:
    """Watches the supervisor from a thread, and asks this process to end (SIGTERM) when it is gone.

    Does nothing in a process that no supervisor started.
    """
    if parent is None or parent_started is None:
        return

    def watch() -> None:
        waiter = threading.Event()
        while is_alive(parent, parent_started):
            waiter.wait(interval_s)
        log.warning("the supervisor is gone; stopping", supervisor=parent)
        if on_gone is not None:
            on_gone()
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def beat(home: Path, process: str) -> None:
    """Leaves a sign of life that `tocsin healthcheck` reads."""
    folder = home / "run"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{process}.beat").touch()


def start_beating(home: Path, process: str, *, interval_s: float = 5.0) -> None:
    """Touches this process's sign of life from a thread until the process ends."""
    beat(home, process)

    def run() -> None:
        waiter = threading.Event()
        while not waiter.wait(interval_s):
            beat(home, process)

    threading.Thread(target=run, name="heartbeat", daemon=True).start()
