"""Everything that a run starts ends with it, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tocsin.broker import free_port

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys, time
from core.settings import load_settings
from tocsin import services
settings = load_settings()
stop = services.wait_for_stop()
with services.running(settings, "exercise", lambda text: print(text, flush=True)) as running:
    running.supervisor.start("guardian", ["guardian"], running.env)
    print("ready", running.server.pid, running.broker.pid, flush=True)
    stop.wait(120)
print("ended", flush=True)
"""


def start_run(home: Path) -> tuple[subprocess.Popen[str], list[int]]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"TOCSIN_HOME": str(home)}
    env["TOCSIN_API__PORT"] = str(free_port())
    run = subprocess.Popen([sys.executable, "-c", RUN], env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("ready"):
            return run, [int(part) for part in line.split()[1:]]
    raise AssertionError("the run did not get ready")


def wait_gone(pids: list[int], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, f"still there: {pids}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all: each test begins with what the one before left."""
    return tmp_path_factory.mktemp("services") / "home"


def test_an_occupied_port_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
        env |= {"TOCSIN_HOME": str(tmp_path / "home"), "TOCSIN_API__PORT": port}
        for command in ("up", "demo"):
            ended = subprocess.run(
                [sys.executable, "-m", "tocsin", command], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
            )
            assert ended.returncode == 5
            assert port in ended.stderr.splitlines()[-1]
            assert "TOCSIN_API__PORT" in ended.stderr.splitlines()[-1]
            assert "Traceback" not in ended.stderr
    assert not list(tmp_path.rglob("postgres"))


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    env |= {"TOCSIN_HOME": str(tmp_path), "TOCSIN_INGEST__BATCH_ROWS": "many"}
    ended = subprocess.run(
        [sys.executable, "-m", "tocsin", "up"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "TOCSIN_INGEST__BATCH_ROWS" in ended.stderr


def test_a_run_ends_cleanly_and_a_second_one_works(home: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        run, pids = start_run(home)
        run.send_signal(number)
        assert run.wait(30) == 0
        wait_gone(pids, 1.0)


def test_after_kill_9_nothing_is_left_and_the_next_run_works(home: Path) -> None:
    run, pids = start_run(home)
    run.kill()
    run.wait()
    again, new_pids = start_run(home)  # at once, while the guardian still tidies up
    wait_gone([pid for pid in pids if pid not in new_pids])
    again.terminate()
    assert again.wait(30) == 0


def test_after_kill_9_the_guardian_alone_ends_database_and_broker(home: Path) -> None:
    run, pids = start_run(home)
    run.kill()
    run.wait()
    wait_gone(pids)


def test_after_kill_9_of_all_of_it_the_next_run_works(home: Path) -> None:
    run, pids = start_run(home)
    children = psutil.Process(run.pid).children(recursive=True)
    for process in [*children, psutil.Process(run.pid), *(psutil.Process(pid) for pid in pids)]:
        if process.is_running():
            process.kill()
    run.wait()
    again, _ = start_run(home)
    again.terminate()
    assert again.wait(30) == 0
