"""Commands of hazard events: `tocsin hazards list | end`."""

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidInput
from tocsin.commands.options import moment, with_database

if TYPE_CHECKING:
    from store.pool import AsyncConnection


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
    from tocsin.commands.groups import group

    hazards = group(app, "hazards")
    hazards.command("list")(list_hazards)
    hazards.command("end")(end)


def list_hazards(
    tenant: Annotated[str | None, typer.Option(help="Slug of one tenant; else all, and the public events.")] = None,
    ended_too: Annotated[bool, typer.Option("--all", help="Also events that are over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Hazard events that are on, with the version of their newest footprint."""
    from geo import repository

    async def work(conn: "AsyncConnection") -> Any:
        if tenant is not None:
            await repository.tenant_of(conn, tenant)  # a slip is not an empty list
        return await repository.hazard_events(conn, tenant, ended_too=ended_too)

    found = with_database(work)
    if as_json:
        rows = [
            {
                "code": one.code, "tenant": one.tenant, "peril": one.peril, "name": one.name,
                "started_at": one.started_at.isoformat(), "ended_at": one.ended_at and one.ended_at.isoformat(),
                "footprint_version": one.version or None, "valid_at": one.valid_at and one.valid_at.isoformat(),
            }
            for one in found
        ]  # fmt: skip
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not found:
        print("No event is on." if not ended_too else "There is no event.", file=sys.stderr)
    for one in found:
        drawn = f"footprint {one.version} of {one.valid_at:%Y-%m-%d %H:%M}" if one.valid_at else "no footprint"
        over = f"  over since {one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else ""
        print(
            f"{one.code}  {one.tenant or 'public'}  {one.peril}  since {one.started_at:%Y-%m-%d %H:%M}  {drawn}{over}"
        )


def end(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Code of the hazard event.", show_default=False)],
    by: Annotated[str, typer.Option(help="Who says so; kept in the tenant's audit log.")],
    tenant: Annotated[str | None, typer.Option(help="Slug of the tenant; without it the event is public.")] = None,
    at: Annotated[str | None, typer.Option(help="When it was over, ISO 8601 with offset; else now.")] = None,
) -> None:
    """Say that an event is over: whoever was warned of its footprint gets the all-clear, and its ways out are past.

    An event that a feed brings is ended by its feed, and opened again by a newer word of it.
    """
    from geo import assess, repository
    from store.clock import read_clock

    if not by.strip():
        raise InvalidInput("--by: it is empty")
    when = moment("--at", at) if at is not None else None

    async def work(conn: "AsyncConnection") -> datetime:
        owner = await repository.tenant_of(conn, tenant) if tenant else None
        now = (await read_clock(conn)).now()
        over = when or now
        if over > now:
            raise InvalidInput(f"--at: {over.isoformat()} is still to come; it is {now.isoformat()}")
        await assess.end_event(
            conn, await repository.event_of_code(conn, event, owner), at=over, by=by.strip(), now=now
        )
        return over

    print(f"{event}  over since {with_database(work).isoformat()}")
