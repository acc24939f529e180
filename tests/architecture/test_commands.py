"""docs/reference/commands.md is what the commands say of themselves, and each of them says enough."""

from typing import Any

import pytest
import typer

from tests.architecture import commands_page
from tests.unit.deploy import reading
from tocsin.cli import app


def _commands() -> list[tuple[str, Any]]:
    return list(commands_page.commands(typer.main.get_command(app)))


def test_the_page_of_commands_is_fresh() -> None:
    written = commands_page.PAGE.read_text(encoding="utf-8")
    assert written == commands_page.page(), "run: make reference"


def test_commands_are_found() -> None:
    assert {"tocsin up", "tocsin healthcheck"} <= {path for path, _ in _commands()}


@pytest.mark.parametrize(("path", "command"), _commands(), ids=[path for path, _ in _commands()])
def test_each_command_says_what_it_does(path: str, command: Any) -> None:
    assert command.help
    assert len(command.help.split()) >= 4


@pytest.mark.parametrize(("path", "command"), _commands(), ids=[path for path, _ in _commands()])
def test_each_option_says_what_it_does(path: str, command: Any) -> None:
    silent = [one.name for one in command.params if one.name != "help" and not getattr(one, "help", None)]
    assert silent == []


def test_the_health_checks_name_a_command() -> None:
    services = reading.load()["services"]
    checks = [one["healthcheck"]["test"] for one in services.values() if one.get("healthcheck")]
    used = {" ".join(test[1:3]) for test in checks if test[1] == "tocsin"}
    assert used == {"tocsin healthcheck"}
    assert used <= {path for path, _ in _commands()}
