"""The `tocsin` command: mounts each room's commands, and maps errors to one clear line and an exit code."""

import importlib
import pkgutil
import sys

import typer

from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, TocsinError, Unavailable
from tocsin import commands

app = typer.Typer(
    no_args_is_help=True,
    help="Catastrophe early warning for property insurers, and IT-operations insurance.",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: What a shell script can act on.
EXIT_CODES: dict[type[TocsinError], int] = {InvalidInput: 2, NotFound: 3, NotPermitted: 4, Conflict: 5, Unavailable: 6}


def exit_code(error: TocsinError) -> int:
    """The exit code of an error's kind; 1 where it has none."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), 1)


# Each room's commands are in tocsin/commands/<room>.py, with `register(app)`.
for _room in pkgutil.iter_modules(commands.__path__):
    _module = importlib.import_module(f"{commands.__name__}.{_room.name}")
    if hasattr(_module, "register"):
        _module.register(app)


def main() -> None:
    """Runs the command line."""
    try:
        app()
    except TocsinError as error:
        print(f"tocsin: {error}", file=sys.stderr)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        print("tocsin: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
