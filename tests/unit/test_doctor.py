"""The doctor tells each part's state from outside and changes nothing."""

import socket
from pathlib import Path

from core.settings import MqttSettings, Settings
from tocsin.broker import free_port
from tocsin.doctor import examine
from tocsin.lifeline import beat


def verdicts(settings: Settings) -> dict[str, str]:
    return {finding.part: finding.verdict for finding in examine(settings)}


def test_with_nothing_running_it_says_off_and_makes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    seen = verdicts(Settings(home=home))
    assert seen["database"] == "off"
    assert seen["ingest"] == "off"
    assert not home.exists()


def test_a_broker_that_does_not_answer_is_broken_and_one_that_does_is_ok(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(home=tmp_path, mqtt=MqttSettings(host="127.0.0.1", port=port))
    assert verdicts(settings)["broker"] == "broken"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert verdicts(settings)["broker"] == "ok"


def test_a_process_with_a_fresh_sign_of_life_is_ok(tmp_path: Path) -> None:
    beat(tmp_path, "watch")
    seen = verdicts(Settings(home=tmp_path))
    assert seen["watch"] == "ok"
    assert seen["deliver"] == "off"
