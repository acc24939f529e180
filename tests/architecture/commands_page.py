"""Writes docs/reference/commands.md from the commands themselves: `make reference`."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"

_HEAD = """\
# Commands

<!-- Written by tests/architecture/commands_page.py from the commands themselves; change their help there. -->

`tocsin --help` lists the commands, `tocsin COMMAND --help` says this again. In a checkout the command is
`.venv/bin/tocsin`. What is configured by the environment is in [settings.md](settings.md).

Progress and logs go to standard error. With `--json` a command prints one JSON document on standard output and nothing
else there.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something unforeseen, or a process that had to end |
"""


def commands(command: Any, path: str = "tocsin") -> Iterator[tuple[str, Any]]:
    """(words to type, command) for each command and group that is not hidden, in the order of the help."""
    if getattr(command, "hidden", False):
        return
    if path != "tocsin":
        yield path, command
    inner = getattr(command, "commands", {})
    for name in inner:
        yield from commands(inner[name], f"{path} {name}")


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _default(parameter: Any) -> str:
    default = parameter.default
    if getattr(parameter, "is_flag", False):
        return "on" if default is True and parameter.secondary_opts else ""
    shown = getattr(parameter, "show_default", None)
    if isinstance(shown, str):
        return f"({_cell(shown)})"
    if parameter.required or default is None or callable(default) or default in ("", (), []):
        return ""
    if "Sentinel" in type(default).__name__:
        return ""
    value = getattr(default, "value", default)
    return f"`{_cell(value)}`"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _section(path: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument" and not getattr(one, "hidden", 0)]
    options = [
        one for one in command.params if one.param_type_name == "option" and not one.hidden and "--help" not in one.opts
    ]
    usage = [path]
    for one in arguments:
        name = _name(one) + ("..." if one.nargs == -1 else "")
        usage.append(name if one.required else f"[{name}]")
    if getattr(command, "commands", None):
        usage.append("COMMAND")
    if options:
        usage.append("[OPTIONS]")
    lines = [f"## `{path}`", "", inspect.cleandoc(command.help or "").replace("\f", "").strip(), "", "```"]
    lines += [" ".join(usage), "```", ""]
    rows = [(_name(one), one) for one in arguments]
    rows += [(", ".join([*one.opts, *one.secondary_opts]), one) for one in options]
    if rows:
        lines += ["| | default | |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {'needed' if one.required else _default(one)} | {_cell(getattr(one, 'help', None) or '')} |"
            for name, one in rows
        ]
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    """The page as it should be."""
    import typer

    from tocsin.cli import EXIT_CODES, app

    codes = "".join(f"| {code} | {_cell(kind.__doc__)} |\n" for kind, code in EXIT_CODES.items())
    sections = [_section(path, command) for path, command in commands(typer.main.get_command(app))]
    return f"{_HEAD}{codes}| 130 | stopped by Ctrl-C |\n\n" + "\n".join(sections)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
