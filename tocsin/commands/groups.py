"""Command groups that several rooms add to, such as `tocsin import`."""

import typer

_HELP = {
    "drill": "The small made-up world in which a storm can be rehearsed.",
    "import": "Bring files into the database: all of a file, or nothing of it.",
    "cap": "Common Alerting Protocol messages.",
    "warnings": "Warnings as they stand.",
    "rules": "When to warn: rules from files, tried on the last days before they go live.",
    "silences": "What is not said for a while, by whose word and why.",
    "dead-letters": "Work that was tried again and again in vain: what it was, why, and once more.",
    "hazards": "Hazard events: what is on, and that one is over.",
    "export": "Write what is stored to files.",
}


def group(app: typer.Typer, name: str) -> typer.Typer:
    """The group of this name, made when the first room asks for it."""
    for registered in app.registered_groups:
        if registered.name == name and registered.typer_instance is not None:
            return registered.typer_instance
    made = typer.Typer(no_args_is_help=True, help=_HELP.get(name))
    app.add_typer(made, name=name)
    return made
