"""Both brokers start, take only their own login, say what is wrong, and leave nothing behind."""

import shutil
import socket
from pathlib import Path

import pytest

from tocsin import broker as brokers
from tocsin import lifeline

HAS_MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
KINDS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")),
    "amqtt",
]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "broker"


def start(kind: str, state_dir: Path, port: int | None = None) -> brokers.Broker:
    return brokers.start(state_dir, port=port, mosquitto="mosquitto" if kind == "mosquitto" else None)


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_its_own_login_and_no_other(kind: str, state_dir: Path) -> None:
    running = start(kind, state_dir)
    try:
        assert running.kind == kind
        assert brokers.accepts_login(running.host, running.port, running.username, running.password)
        assert not brokers.accepts_login(running.host, running.port, running.username, "wrong")
        assert not brokers.accepts_login(running.host, running.port, "stranger", running.password)
        assert (state_dir / "login.json").stat().st_mode & 0o077 == 0
    finally:
        running.stop()
    assert not running.is_running()
    again = start(kind, state_dir)
    assert again.password == running.password
    again.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_an_occupied_port_is_named(kind: str, state_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(brokers.PortOccupied, match=str(port)):
            start(kind, state_dir, port)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_run_left_behind_is_ended_first(kind: str, state_dir: Path) -> None:
    left = start(kind, state_dir)
    started = lifeline.started_at(left.pid)
    assert started is not None
    second = start(kind, state_dir)
    try:
        left.process.wait(10)
        assert not lifeline.is_alive(left.pid, started)
        assert brokers.accepts_login(second.host, second.port, second.username, second.password)
    finally:
        second.stop()


def test_a_broker_that_cannot_start_says_why(state_dir: Path, tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho 'Error: no such option' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(brokers.BrokerDidNotStart, match="no such option"):
        brokers.start(state_dir, mosquitto=str(program))
