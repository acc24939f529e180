"""One PostgreSQL data directory and its processes: made, started, found again, stopped.

Reached through store.embedded. The server runs as `account` where one is given: then we are root, and root writes
nothing into the folder that account owns.
"""

import contextlib
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from core.errors import Conflict, NotPermitted, TocsinError, Unavailable
from core.log import get_logger

log = get_logger("embedded")

HOST = "127.0.0.1"
SUPERUSER = "postgres"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_ORPHAN_TIMEOUT_S = 20.0
_LOG_MAX_BYTES = 10 * 1024**2

BASE_CONF: dict[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "lc_messages": "C",
}


class DataDirectoryNewer(Conflict):
    """The data directory was made by a newer PostgreSQL than the one installed: install the newer Tocsin again."""


class DataDirectoryOlder(Conflict):
    """The data directory was made by an older PostgreSQL than the one installed: dump it there and restore it here."""


class DiskFull(Unavailable):
    """The disk is full: the database cannot start until there is room."""


class PortOccupied(Unavailable):
    """Another program listens on the database's port: choose another one, or stop that program."""


class HomeNotReachable(NotPermitted):
    """The database's folder cannot be used by the account that the server runs as."""


class StartFailed(Unavailable):
    """The embedded PostgreSQL did not start."""


class StopFailed(Unavailable):
    """The embedded PostgreSQL does not stop."""


class NotRunning(Unavailable):
    """This home's database is not running: start it with `tocsin up`."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as."""

    name: str
    uid: int
    gid: int


def as_account(account: Account | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def name_of(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def write_file(file: Path, text: str, *, mode: int) -> None:
    """Whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        os.fchmod(descriptor, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def run_program(
    command: list[Any], account: Account | None, *, check: bool = True, cwd: Path = Path("/"), text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """A program of the wheel, with none of the caller's PG* variables."""
    # Output goes to files: a daemon that inherits a pipe would keep its reader waiting.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            stdin=subprocess.DEVNULL if text is None else None,
            input=text,
            stdout=out,
            stderr=err,
            text=True,
            cwd=cwd,
            env=_environment(),
            **as_account(account),
        )
        out.seek(0)
        err.seek(0)
        result = subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())
    if check and result.returncode != 0:
        raise _start_error(result.stderr + result.stdout)
    return result


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _start_error(told: str, **facts: Any) -> TocsinError:
    """What the server's own words mean, in one line."""
    if "No space left on device" in told:
        return DiskFull(**facts)
    if "Address already in use" in told:
        return PortOccupied(**facts)
    lines = told.strip().splitlines() or ["it said nothing"]
    worst = [i for i, line in enumerate(lines) if re.search(r"FATAL|PANIC|error:", line)]
    at = worst[-1] if worst else len(lines) - 1
    reason = re.sub(r"^.*?(FATAL|PANIC|LOG): +", "", lines[at]).strip()
    if "contains errors" in reason and at:  # which ones, the line before says
        reason = re.sub(r"^.*?LOG: +", "", lines[at - 1]).strip()
    return StartFailed(reason=reason, **facts)


class Cluster:
    """One data directory and its processes."""

    def __init__(self, folder: Path, programs: Path, account: Account | None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.programs = programs
        self.account = account
        self._log = folder / "postgres.log"
        self._log_start = 0
        self._conf = folder / "postgresql.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def check_version(self) -> None:
        if not self.exists():
            return
        made_by = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        installed = (
            run_program([self.programs / "postgres", "--version"], self.account).stdout.split()[-1].split(".")[0]
        )
        if made_by.isdigit() and int(made_by) > int(installed):
            raise DataDirectoryNewer(folder=str(self.data), made_by=made_by, installed=installed)
        if made_by != installed:
            raise DataDirectoryOlder(folder=str(self.data), made_by=made_by, installed=installed)

    def init(self, password: str, *, durable: bool) -> None:
        """Made beside and renamed into place, so that a data directory is whole or not there."""
        if self.data.exists():
            # Nothing that we made; it is not ours to delete either.
            raise StartFailed(reason="the data directory exists but holds no database", folder=str(self.data))
        for left_over in self.folder.glob(".data.*"):
            shutil.rmtree(left_over, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(dir=self.folder, prefix=".data."))
        if self.account is not None:
            os.chown(unfinished, self.account.uid, self.account.gid)
        try:
            with self._password_file(password) as file:
                run_program(
                    [
                        self.programs / "initdb",
                        *("-D", unfinished, "-U", SUPERUSER, "--pwfile", file, "--auth=scram-sha-256", "-E", "UTF8"),
                        # PostgreSQL's own C.UTF-8: the same order on every machine, whatever its C library has.
                        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"),
                        *([] if durable else ["--no-sync"]),
                    ],
                    self.account,
                    cwd=self.folder,
                )
            unfinished.rename(self.data)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def _password_file(self, password: str) -> Iterator[Path]:
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".password.")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(password + "\n")
            if self.account is not None:
                os.chown(name, self.account.uid, self.account.gid)
            yield Path(name)
        finally:
            os.unlink(name)

    def reset_password(self, password: str) -> None:
        self._clear_stale_pid()
        self._write_conf({**BASE_CONF, "port": str(self._last_port() or 5432)})  # not used in this mode
        run_program(
            [self.programs / "postgres", "--single", "-D", self.data, "-c", f"config_file={self._conf}", "postgres"],
            self.account,
            cwd=self.folder,
            text=f"ALTER ROLE {SUPERUSER} PASSWORD '{password}'\n",  # urlsafe base64: nothing to quote
        )

    def start(self, port: int | None, conf: Mapping[str, str], password: str) -> None:
        """Starts the postmaster and waits until it accepts connections."""
        self._clear_stale_pid()
        self._turn_log_over()
        asked = port
        for attempt in range(5):
            port = asked or self._free_port(last=None if attempt else self._last_port())
            self._write_conf({**conf, "port": str(port)})
            try:
                self._spawn()
                self.wait_ready(f"postgresql://{SUPERUSER}:{password}@{HOST}:{port}/postgres")
                return
            except PortOccupied:
                if asked is not None or attempt == 4:
                    raise PortOccupied(port=port) from None

    def _spawn(self) -> None:
        self._log_start = self._log.stat().st_size if self._log.exists() else 0
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            # A session of its own: Ctrl-C in our terminal is for us, and we stop the server in order.
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data), "-c", f"config_file={self._conf}"],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                cwd=self.folder,
                env=_environment(),
                umask=0o077,
                **as_account(self.account),
            )
        finally:
            os.close(descriptor)

    def wait_ready(self, url: str) -> None:
        """Ready is what a real connection says, not what a file says."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        pause = 0.02
        while True:
            try:
                with psycopg.connect(url, connect_timeout=2) as conn:
                    conn.execute("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if self._process is not None and self._process.poll() is not None:
                    raise _start_error(self._logged(), log=str(self._log)) from None
                if self._process is None and self.postmaster() is None:
                    raise StartFailed(reason="it ended while it was starting", log=str(self._log)) from None
                if "password authentication failed" in str(error):
                    raise StartFailed(
                        reason="the passwords in database.json are not this database's", log=str(self._log)
                    ) from None
                if time.monotonic() > deadline:
                    raise StartFailed(
                        reason=f"no connection within {_START_TIMEOUT_S:.0f} s", log=str(self._log)
                    ) from None
            time.sleep(pause)
            pause = min(0.25, pause * 1.5)

    def stop(self) -> None:
        """Fast shutdown; immediate (which recovers on the next start) if that takes too long."""
        for mode in ("fast", "immediate"):
            if self.postmaster() is None:
                break
            # pg_ctl's own waiting takes a dead postmaster that nobody reaps for a living one.
            run_program(
                [self.programs / "pg_ctl", "-D", self.data, "-m", mode, "-W", "stop"],
                self.account,
                check=False,
                cwd=self.folder,
            )
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            while self.postmaster() is not None and time.monotonic() < deadline:
                self._reap()
                time.sleep(0.02)
        else:
            if self.postmaster() is not None:
                raise StopFailed(folder=str(self.data))
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.poll()

    def postmaster(self) -> psutil.Process | None:
        """The living postmaster of this data directory, if there is one."""
        pid = self._pid_file(0)
        if pid is None:
            return None
        try:
            # Another program may have its number by now; a dead one that nobody reaps has no command line any more.
            process = psutil.Process(int(pid))
            command = process.cmdline()
        except (psutil.NoSuchProcess, ValueError):
            return None
        except psutil.AccessDenied as error:
            raise HomeNotReachable(folder=str(self.data), account=name_of(os.geteuid())) from error
        ours = len(command) >= 3 and Path(command[0]).name == "postgres" and command[1] == "-D"
        return process if ours and Path(command[2]) == self.data else None

    def running_port(self) -> int:
        port = self._pid_file(3)
        if port is None or self.postmaster() is None:
            raise NotRunning
        return int(port)

    def _pid_file(self, line: int) -> str | None:
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise HomeNotReachable(folder=str(self.data), account=name_of(os.geteuid())) from error
        return lines[line].strip() if len(lines) > line else None

    def _clear_stale_pid(self) -> None:
        """Called with the lock held and no postmaster alive: a postmaster.pid that is still there names somebody else.

        PostgreSQL would believe it if any process of its account has that number now. Children of a killed postmaster
        must be gone first: two servers on one data directory destroy it.
        """
        deadline = time.monotonic() + _ORPHAN_TIMEOUT_S
        while orphans := self._orphans():
            if time.monotonic() > deadline:
                raise StartFailed(reason="processes of a killed server do not end", pids=orphans)
            time.sleep(0.05)
        with contextlib.suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()

    def _orphans(self) -> list[int]:
        found = []
        for process in psutil.process_iter(["name", "status"]):
            if process.info["name"] != "postgres" or process.info["status"] == psutil.STATUS_ZOMBIE:
                continue
            with contextlib.suppress(psutil.Error):
                if Path(process.cwd()) == self.data:  # every process of a server works in its data directory
                    found.append(process.pid)
        return found

    def _write_conf(self, conf: Mapping[str, str]) -> None:
        hba = self.folder / "pg_hba.conf"
        lines = ["# Written by Tocsin at each start: put your own settings into custom.conf beside it."]
        lines += [f"{name} = '{value}'" for name, value in {**conf, "hba_file": str(hba)}.items()]
        lines += ["include_if_exists 'custom.conf'", ""]
        readable = 0o600 if self.account is None else 0o644
        write_file(hba, f"host all all {HOST}/32 scram-sha-256\n", mode=readable)
        write_file(self._conf, "\n".join(lines), mode=readable)

    def _last_port(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError, StopIteration):
            lines = self._conf.read_text(encoding="utf-8").splitlines()
            return int(next(line for line in lines if line.startswith("port = ")).split("'")[1])
        return None

    @staticmethod
    def _free_port(last: int | None) -> int:
        for wanted in (last or 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind((HOST, wanted))
                    return int(probe.getsockname()[1])
        raise PortOccupied

    def _turn_log_over(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > _LOG_MAX_BYTES:
                self._log.replace(self._log.with_suffix(".log.1"))

    def _logged(self) -> str:
        """What this start has written to the log."""
        with contextlib.suppress(FileNotFoundError), self._log.open("rb") as stream:
            stream.seek(self._log_start)
            return stream.read(64 * 1024).decode("utf-8", "replace")
        return ""
