"""`tocsin migrate`, and the process `tocsin jobs` that keeps the database's house."""

import json
from typing import Annotated

import typer

from core.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command()(migrate)
    app.command()(jobs)


def migrate(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Brings the database to this release's schema; does nothing where it is there already."""
    from store.migrate import migrate as migrate_database

    settings = load_settings()
    done = migrate_database(owner_url(settings), exercise=settings.mode == "exercise")
    if as_json:
        print(json.dumps({"engine": done.engine, "before": done.before, "after": done.after}))
    elif done.before == done.after:
        print(f"The database ({done.engine}) has schema {done.after} already.")
    else:
        print(f"The database ({done.engine}) went from schema {done.before or 'none'} to {done.after}.")


def jobs() -> None:
    """Keeps the database's house: partitions ahead, hourly rollups, retention. One process of the deployment."""
    import signal
    import threading

    from store import maintain
    from tocsin import process

    settings = process.begin("jobs")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    maintain.run(owner_url(settings), stop)


def owner_url(settings: Settings) -> str:
    """The configured database as its owner, or the embedded one that runs now; raises NotRunning."""
    from store import embedded

    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded.attach(settings.home).url(settings.mode, "owner")
