"""`tocsin migrate`, and the process `tocsin jobs` for slow work."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from core.errors import InvalidInput, NotFound
from core.settings import Settings, load_settings
from tocsin.commands.groups import group
from tocsin.commands.options import with_database


class NoDeadLetter(NotFound):
    """There is no such dead letter; it may have been revived already."""


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command()(migrate)
    app.command()(jobs)
    letters = group(app, "dead-letters")
    letters.command("list")(list_dead_letters)
    letters.command("revive")(revive_dead_letter)


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


def list_dead_letters(
    consumer: Annotated[str | None, typer.Option(help="Of this consumer alone, such as `deliver`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Work that was given up after its last attempt, with its last error; the oldest first."""
    from core.events import SUBSCRIPTIONS
    from store import outbox

    consumers = sorted({one for many in SUBSCRIPTIONS.values() for one in many})
    if consumer is not None and consumer not in consumers:
        raise InvalidInput(f"--consumer: {consumer!r} is none of {', '.join(consumers)}")
    found = with_database(lambda conn: outbox.dead_letters(conn, consumer))
    if as_json:
        rows = [
            asdict(one) | {"published_at": one.published_at.isoformat(), "dead_at": one.dead_at.isoformat()}
            for one in found
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not found:
        print("There is none.", file=sys.stderr)
    for one in found:
        print(
            f"{one.outbox_id}  {one.consumer}  {one.kind}  given up {one.dead_at:%Y-%m-%d %H:%M:%S}  {one.last_error}"
        )


def revive_dead_letter(
    letter: Annotated[int, typer.Argument(metavar="ID", help="Number of the letter, as `list` shows it.")],
) -> None:
    """Try it again: it gets all its attempts anew, and its turn at once."""
    from store import outbox

    if not with_database(lambda conn: outbox.revive(conn, letter)):
        raise NoDeadLetter(outbox_id=letter)
    print(f"{letter}  waits for its worker again")


def owner_url(settings: Settings) -> str:
    """The configured database as its owner, or the embedded one that runs now; raises NotRunning."""
    from store import embedded

    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return embedded.attach(settings.home).url(settings.mode, "owner")
