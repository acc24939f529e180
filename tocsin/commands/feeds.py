"""`tocsin feeds`: asks others' feeds; lists, checks, imports and turns them on and off."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]

Code = Annotated[str, typer.Argument(help="Code of the feed, as `tocsin feeds list` shows it.")]


class BadFeedFile(InvalidInput):
    """A file of feeds cannot be read."""


def register(app: typer.Typer) -> None:
    """Mounts `tocsin feeds`."""
    feeds = typer.Typer(invoke_without_command=True, no_args_is_help=False)
    app.add_typer(feeds, name="feeds", help="Other people's feeds: without a subcommand, asks those that are on.")
    feeds.callback()(run)
    feeds.command("list")(list_feeds)
    feeds.command("check")(check)
    feeds.command("import")(import_feeds)
    feeds.command("add")(add)
    feeds.command("at")(at_place)
    feeds.command("on")(turn_on)
    feeds.command("off")(turn_off)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(ctx: typer.Context) -> None:
    """Asks the feeds that are on, until stopped."""
    if ctx.invoked_subcommand is not None:
        return
    from ingest import poll
    from ingest.accept import Acceptor
    from ingest.cap.files import read_policies
    from ingest.outbound import Outbound
    from ingest.take import Taker
    from store.pool import worker_pool
    from tocsin.process import begin, run_until_stopped

    settings = begin("feeds")
    policies = read_policies(settings.cap.sources) if settings.cap.sources is not None else {}

    async def work(stop: asyncio.Event) -> None:
        outbound = Outbound()
        taker = Taker(Acceptor(exercise=settings.mode == "exercise"), policies=policies)
        try:
            async with worker_pool(settings, size=2) as pool:
                await poll.run(pool, outbound, taker, stop)
        finally:
            await outbound.close()

    run_until_stopped(work)


async def _with_connection(work: Any, *, create: bool = False) -> Any:
    from core.settings import load_settings
    from tocsin.database import command_connection

    settings = load_settings()
    async with command_connection(settings, settings.mode, create=create, say=_say) as conn:
        await conn.set_autocommit(True)
        return await work(conn)


def list_feeds(as_json: AsJson = False) -> None:
    """Every feed: whether it is on, how it does, and how old what it brought is."""
    from ingest import feeds

    rows = asyncio.run(_with_connection(feeds.find))
    now = datetime.now(UTC)
    told = [row.as_json(now) for row in rows]
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
        return
    for one in told:
        age = "never answered" if one["age_s"] is None else f"{one['age_s']:.0f} s old"
        print(f"{one['code']:<28} {one['kind']:<12} {one['state']:<8} {age:<16} {one['detail'][:80]}")
    if not told:
        _say("no feeds: `tocsin feeds import LIST` or `tocsin feeds add`")


def check(
    codes: Annotated[list[str], typer.Argument(help="Codes of feeds; each is asked once, whether it is on or not.")],
    as_json: AsJson = False,
) -> None:
    """Asks feeds once, keeps what they bring, and says what it was. Exit code 1 where one does not answer."""
    from core.clock import WallClock
    from core.settings import load_settings
    from ingest import feeds, poll
    from ingest.accept import Acceptor
    from ingest.cap.files import read_policies
    from ingest.outbound import Outbound
    from ingest.take import Taker

    settings = load_settings()
    policies = read_policies(settings.cap.sources) if settings.cap.sources is not None else {}

    async def work(conn: Any) -> list[dict[str, Any]]:
        outbound = Outbound()
        taker = Taker(Acceptor(exercise=settings.mode == "exercise"), policies=policies)
        out = []
        try:
            for code in codes:
                found = await feeds.find(conn, code)
                if not found:
                    raise feeds.NoSuchFeed(code=code)
                taken = await poll.poll(conn, outbound, taker, found[0], clock=WallClock())
                (after,) = await feeds.find(conn, code)
                out.append({**after.as_json(datetime.now(UTC)), "answered": taken is not None})
        finally:
            await outbound.close()
        return out

    told = asyncio.run(_with_connection(work))
    if as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        for one in told:
            print(f"{one['code']}: {'answered' if one['answered'] else 'NOT ANSWERED'}: {one['detail']}")
    if not all(one["answered"] for one in told):
        raise typer.Exit(1)


def import_feeds(
    file: Annotated[Path, typer.Argument(help="JSON list with sourceId, name, capAlertFeed and format (rss or atom).")],
    as_json: AsJson = False,
) -> None:
    """Imports a list of CAP feeds, all of it or nothing. None is turned on."""
    from ingest import feeds
    from ingest.weather.capfeed import feed_list

    try:
        body = file.read_bytes()
    except OSError as error:
        raise BadFeedFile(f"{file}: {error.strerror}") from error
    listed = feed_list(body)
    new, renewed = asyncio.run(_with_connection(lambda conn: feeds.import_list(conn, listed), create=True))
    if as_json:
        print(json.dumps({"file": str(file), "new": new, "renewed": renewed, "turned_on": 0}))
    else:
        print(f"{new} feeds added, {renewed} renewed; none was turned on: `tocsin feeds on CODE`")


def add(
    code: Annotated[str, typer.Argument(help="A short name of your own.")],
    kind: Annotated[str, typer.Argument(help="cap, nws, usgs_quake, ... (docs/howto/feeds.md)")],
    url: Annotated[str, typer.Argument(help="https address.")],
    options: Annotated[str, typer.Option(help="JSON object of the kind's options.")] = "{}",
    interval_s: Annotated[float | None, typer.Option(help="Seconds between two questions.")] = None,
) -> None:
    """Adds one feed, off."""
    from ingest import feeds

    try:
        told = json.loads(options)
    except ValueError as error:
        raise InvalidInput(f"--options: {error}") from error
    if not isinstance(told, dict):
        raise InvalidInput("--options: an object is wanted")
    if interval_s is not None and not 5 <= interval_s <= 86_400:
        raise InvalidInput(f"--interval-s: {interval_s:g} is not between 5 and 86400")

    async def work(conn: Any) -> bool:
        return await feeds.add(conn, code=code, kind=kind, url=url, options=told, interval_s=interval_s)

    new = asyncio.run(_with_connection(work, create=True))
    print(f"{code}: {'added' if new else 'renewed'}, off")


def at_place(
    code: Code,
    lon: Annotated[float, typer.Option(min=-180, max=180, help="Degrees east.")],
    lat: Annotated[float, typer.Option(min=-90, max=90, help="Degrees north.")],
    as_json: AsJson = False,
) -> None:
    """What the newest run of a gridded forecast says at a place, between its cells."""
    from ingest import feeds, gridded

    async def work(conn: Any) -> list[dict[str, Any]]:
        found = await feeds.find(conn, code)
        if not found:
            raise feeds.NoSuchFeed(code=code)
        return await gridded.at(conn, found[0].feed_id, lon, lat)

    told = asyncio.run(_with_connection(work))
    if as_json:
        print(json.dumps(told))
        return
    for one in told:
        print(f"{one['variable']} ({one['quantity']}, {one['unit']}), run of {one['issued_at']}")
        for value in one["values"]:
            shown = "unknown" if value["value"] is None else f"{value['value']:g}"
            print(f"  {value['valid_at']}  {shown}")
    if not told:
        _say(f"{code}: no gridded forecast is kept")


def turn_on(code: Code) -> None:
    """Turns a feed on."""
    _turn(code, on=True)


def turn_off(code: Code) -> None:
    """Turns a feed off; what it brought stays."""
    _turn(code, on=False)


def _turn(code: str, *, on: bool) -> None:
    from ingest import feeds

    asyncio.run(_with_connection(lambda conn: feeds.turn(conn, code, on=on)))
    print(f"{code}: {'on' if on else 'off'}")
