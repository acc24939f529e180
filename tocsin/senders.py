"""Several sender processes over one outbox: this one, and children of it that end with it and are started again.

Claims lease rows under locks, so that each message is sent by one of them however many there are, on however many
machines. What must be done once (sirens, whose commands are numbered, and what time alone makes due) is done by the one
that leads; where it dies another one takes over.
"""

import asyncio
import contextlib
import os
import signal
import sys

from alerts import deliver
from core.log import get_logger
from core.settings import Settings
from store.pool import worker_pool
from tocsin import lifeline

log = get_logger("senders")

_BACKOFF_S = (0.5, 30.0)
_GRACE_S = 10.0


def processes_wanted(settings: Settings, asked: int | None = None) -> int:
    """How many senders to run: as asked, else as set, else one a core and four at most; one for exercises."""
    default = 1 if settings.mode == "exercise" else min(4, len(os.sched_getaffinity(0)))
    return asked or settings.deliver.processes or default


async def work(settings: Settings, stop: asyncio.Event, *, processes: int) -> None:
    """Sends until `stop` is set, in this process and in `processes` - 1 children."""
    children = [asyncio.create_task(_keep_alive(number, stop)) for number in range(2, processes + 1)]
    try:
        async with worker_pool(settings, size=settings.deliver.workers + 2) as pool:
            await deliver.run(pool, settings, stop)
    finally:
        stop.set()
        await asyncio.gather(*children)


async def _keep_alive(part: int, stop: asyncio.Event) -> None:
    wait_s = _BACKOFF_S[0]
    environment = os.environ | {
        "TOCSIN_SUPERVISOR_PID": str(os.getpid()),
        "TOCSIN_SUPERVISOR_STARTED": repr(lifeline.started_at(os.getpid())),
    }
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        began = loop.time()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tocsin", "deliver", "--processes", "1", "--part", str(part),
            env=environment, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        ended, asked = asyncio.create_task(child.wait()), asyncio.create_task(stop.wait())
        await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if stop.is_set():
            await _end(child, ended)
            return
        log.warning("a sender ended and will be started again", part=part, code=child.returncode, in_s=wait_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait_s)
        wait_s = _BACKOFF_S[0] if loop.time() - began > 60 else min(2 * wait_s, _BACKOFF_S[1])


async def _end(child: asyncio.subprocess.Process, ended: "asyncio.Task[int]") -> None:
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(ended, _GRACE_S)
    except TimeoutError:
        log.warning("a sender did not stop in time and was killed", pid=child.pid)
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
