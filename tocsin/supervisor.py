"""Starts each process as a child, restarts it with backoff, and ends it; nothing is left behind.

What it started is recorded by process id and start time in `run/processes.json`; a new start ends leftovers only where
both agree, so it can never end a stranger that was given an old id.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from core.errors import Conflict
from core.log import get_logger
from tocsin import lifeline

log = get_logger("supervisor")

_GRACE_S = 15.0
_LONGEST_BACKOFF_S = 30.0
_HEALTHY_AFTER_S = 60.0


class AlreadyRunning(Conflict):
    """Tocsin already runs from this home; stop it first, or set TOCSIN_HOME to another folder."""

    def __init__(self, *, home: str, holder: str) -> None:
        pid, _, role = holder.partition(" ")
        super().__init__(home=home, pid=pid or "unknown")
        self.role = role


@dataclass(slots=True)
class Child:
    """One process that is kept alive."""

    name: str
    argv: list[str]
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    n_starts: int = 0
    backoff_s: float = 0.5
    retry_at: float = 0.0
    log_file: IO[bytes] | None = field(default=None, repr=False)


class Supervisor:
    """Owns the children of one home."""

    def __init__(self, home: Path, role: str = "supervisor") -> None:
        self.home = home.resolve()
        self.run_dir = self.home / "run"
        self.log_dir = self.home / "log"
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.children: list[Child] = []
        self._recorded: dict[str, tuple[int, float]] = {}
        self._lock = (self.run_dir / "supervisor.lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            raise AlreadyRunning(home=str(self.home), holder=self._lock.read().strip()) from None
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"{os.getpid()} {role}")
        self._lock.flush()
        os.set_inheritable(self._lock.fileno(), False)

    # ------------------------------------------------------------------ leftovers
    @property
    def _record_file(self) -> Path:
        return self.run_dir / "processes.json"

    def record(self, name: str, pid: int) -> None:
        """Remembers a process that must end with us, also one that we did not start as a child."""
        start_time = lifeline.started_at(pid)
        if start_time is not None:
            self._recorded[name] = (pid, start_time)
            self._write_record()

    def forget(self, name: str) -> None:
        """No longer ours to end."""
        if self._recorded.pop(name, None) is not None:
            self._write_record()

    def _write_record(self) -> None:
        draft = self._record_file.with_suffix(".new")
        draft.write_text(json.dumps({name: list(pair) for name, pair in self._recorded.items()}))
        draft.replace(self._record_file)

    def end_leftovers(self, but: int | None = None) -> list[str]:
        """Ends what an earlier run of this home left behind, all but one process; gives their names."""
        try:
            recorded: dict[str, list[float]] = json.loads(self._record_file.read_text())
        except (FileNotFoundError, ValueError):
            return []
        ended = []
        for name, (pid, start_time) in recorded.items():
            if int(pid) != but and lifeline.is_alive(int(pid), start_time):
                log.warning("ending what an earlier run left behind", process=name, pid=int(pid))
                _end(int(pid), start_time)
                ended.append(name)
        self._record_file.unlink(missing_ok=True)
        return ended

    # ------------------------------------------------------------------ children
    def start(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> Child:
        """Starts `tocsin` with these arguments as a child that is kept alive."""
        child = Child(name=name, argv=[sys.executable, "-m", "tocsin", *argv], env={**os.environ, **(env or {})})
        own_start = lifeline.started_at(os.getpid())
        child.env["TOCSIN_SUPERVISOR_PID"] = str(os.getpid())
        child.env["TOCSIN_SUPERVISOR_STARTED"] = repr(own_start)
        child.env["PYTHONUNBUFFERED"] = "1"
        self.children.append(child)
        self._spawn(child)
        return child

    def _spawn(self, child: Child) -> None:
        if child.log_file is None:
            child.log_file = (self.log_dir / f"{child.name}.log").open("ab")
        # Its own session: Ctrl-C at the terminal reaches the supervisor alone, which then ends children in order.
        child.process = subprocess.Popen(
            child.argv,
            env=child.env,
            stdin=subprocess.DEVNULL,
            stdout=child.log_file,
            stderr=child.log_file,
            start_new_session=True,
        )
        child.started = time.monotonic()
        child.n_starts += 1
        self.record(child.name, child.process.pid)

    def check(self) -> list[str]:
        """Restarts children that ended, each after its backoff; gives the names of those that are down."""
        now = time.monotonic()
        down = []
        for child in self.children:
            if child.process is None:
                down.append(child.name)
                if now >= child.retry_at:
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is None:
                if now - child.started > _HEALTHY_AFTER_S:
                    child.backoff_s = 0.5
                continue
            log.warning("a process ended and will be restarted", process=child.name, code=code, in_s=child.backoff_s)
            child.process = None
            child.retry_at = now + child.backoff_s
            child.backoff_s = min(child.backoff_s * 2, _LONGEST_BACKOFF_S)
            down.append(child.name)
        return down

    def stop(self) -> None:
        """Ends every child, the last started first, and waits for each; kills what does not end in time."""
        for child in reversed(self.children):
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for child in reversed(self.children):
            if child.process is not None:
                try:
                    child.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    log.warning("a process did not stop in time and was killed", process=child.name)
                    child.process.kill()
                    child.process.wait()
            self.forget(child.name)
            if child.log_file is not None:
                child.log_file.close()
                child.log_file = None
        self.children.clear()

    def last_words(self, name: str, n_lines: int = 5) -> str:
        """The end of a child's log, for an error message."""
        file = self.log_dir / f"{name}.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join(lines[-n_lines:])

    def close(self) -> None:
        """Stops all and gives the home free."""
        self.stop()
        self._record_file.unlink(missing_ok=True)
        self._lock.close()


def _end(pid: int, start_time: float) -> None:
    """Asks a process to end, and kills it if it has not within 10 s."""
    try:
        process = psutil.Process(pid)
        process.terminate()
        deadline = time.monotonic() + 10
        while lifeline.is_alive(pid, start_time) and time.monotonic() < deadline:
            time.sleep(0.05)
        if lifeline.is_alive(pid, start_time):
            process.kill()
    except psutil.NoSuchProcess:
        return
