"""`tocsin migrate`, and the process `tocsin jobs` for slow work."""

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
    """Lays footprints over books, plans routes, and keeps the database's house: partitions, rollups, retention."""
    from tocsin import jobs as slow_work
    from tocsin import process

    settings = process.begin("jobs")
    owner = owner_url(settings)
    process.run_until_stopped(lambda stop: slow_work.run(settings, owner, stop))


def owner_url(settings: Settings) -> str:
    """The configured database as its owner, or the embedded one that runs now; raises NotRunning."""
    from store import embedded

    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded.attach(settings.home).url(settings.mode, "owner")
