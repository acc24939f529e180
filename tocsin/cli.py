"""The `tocsin` command: a few lines around one use case each."""

import typer

app = typer.Typer(
    no_args_is_help=True, help="Catastrophe early warning and IT-operations insurance.", pretty_exceptions_enable=False
)


def main() -> None:
    """Runs the command line."""
    app()
