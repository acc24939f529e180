"""The supervisor keeps children alive, ends them, and never ends a stranger."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core.settings import Settings
from tocsin import lifeline, services
from tocsin.supervisor import AlreadyRunning, Supervisor

SLEEPER = "import time; time.sleep(60)"


def wait_for(what: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    made = Supervisor(tmp_path)

    def start_plain(name: str, argv: list[str]) -> None:
        child = made.start(name, [])
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        child.argv = [sys.executable, *argv]
        made._spawn(child)

    monkeypatch.setattr(made, "start_plain", start_plain, raising=False)
    return made


def test_a_child_that_dies_is_started_again(supervisor: Supervisor) -> None:
    supervisor.start_plain("sleeper", ["-c", SLEEPER])  # type: ignore[attr-defined]
    child = supervisor.children[0]
    first = child.process
    assert first is not None
    first.kill()
    first.wait()
    supervisor.check()
    wait_for(lambda: supervisor.check() == [] and child.process is not None)
    assert child.process is not None
    assert child.process.pid != first.pid
    supervisor.close()
    assert child.process.poll() is not None


def test_backoff_grows_and_is_bounded(supervisor: Supervisor) -> None:
    supervisor.start_plain("dies", ["-c", "raise SystemExit(1)"])  # type: ignore[attr-defined]
    child = supervisor.children[0]
    waits = []
    for _ in range(8):
        assert child.process is not None
        child.process.wait()
        supervisor.check()
        waits.append(child.backoff_s)
        child.retry_at = 0.0
        supervisor.check()
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(waits) == 30.0
    supervisor.close()


@pytest.mark.parametrize(("name", "ends_all"), [("watch", True), ("feeds", False)])
def test_feeds_that_keep_ending_take_nobody_with_them(supervisor: Supervisor, name: str, ends_all: bool) -> None:
    supervisor.start_plain(name, ["-c", "raise SystemExit(1)"])  # type: ignore[attr-defined]
    child = supervisor.children[0]
    assert child.process is not None
    child.process.wait()
    child.n_starts, child.backoff_s = 5, 8.0
    urls = services.Urls(owner="", worker="", app="")
    running = services.Services(Settings(), "exercise", supervisor.home, supervisor, urls, {})
    if ends_all:
        with pytest.raises(services.ProcessKeepsEnding, match="watch"):
            running.check()
    else:
        assert running.check() == ["feeds"]
    supervisor.close()


def test_one_home_has_one_supervisor(supervisor: Supervisor) -> None:
    with pytest.raises(AlreadyRunning, match=str(os.getpid())):
        Supervisor(supervisor.home)
    supervisor.close()
    Supervisor(supervisor.home).close()


def test_leftovers_end_but_a_stranger_with_an_old_id_does_not(tmp_path: Path) -> None:
    ours = subprocess.Popen([sys.executable, "-c", SLEEPER])
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPER])
    run = tmp_path / "run"
    run.mkdir()
    started = lifeline.started_at(ours.pid)
    assert started is not None
    (run / "processes.json").write_text(
        json.dumps({"ours": [ours.pid, started], "stranger": [stranger.pid, started - 3600]})
    )
    supervisor = Supervisor(tmp_path)
    reaper = psutil.Process(ours.pid)
    try:
        assert supervisor.end_leftovers() == ["ours"]
        assert ours.wait(10) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        supervisor.close()
        assert not reaper.is_running()


def test_a_child_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    child_code = (
        "import os,time; from tocsin import lifeline;"
        "lifeline.hold(int(os.environ['P']), float(os.environ['S']), interval_s=0.05);"
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent_code = (
        "import os,subprocess,sys,time; from tocsin import lifeline;"
        f"p=subprocess.Popen([sys.executable,'-c',{child_code!r}],"
        "env={**os.environ,'P':str(os.getpid()),'S':repr(lifeline.started_at(os.getpid()))},start_new_session=True);"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_for(lambda: lifeline.started_at(pid) is None)
