"""Commands that start and look after the whole product."""

import typer


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
