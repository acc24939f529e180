"""Each service of the compose file runs a command that there is."""

import pytest
import typer

from tests.architecture import commands_page
from tests.unit.deploy import reading
from tocsin.cli import app


@pytest.mark.parametrize("service", [name for name, one in reading.load()["services"].items() if "command" in one])
def test_every_command_of_the_compose_file_exists(service: str) -> None:
    words = reading.load()["services"][service]["command"]
    assert f"tocsin {words[0]}" in {path for path, _ in commands_page.commands(typer.main.get_command(app))}
