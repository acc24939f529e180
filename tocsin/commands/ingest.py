"""`tocsin ingest`, `tocsin replay`, `tocsin import stations`, `tocsin export observations`."""

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from core.errors import InvalidInput
from tocsin.commands.groups import group

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
ModeName = Literal["live", "exercise"]
ModeOption = Annotated[
    str | None, typer.Option("--mode", help="live or exercise; default: TOCSIN_MODE, else the one that holds readings.")
]


class BadOption(InvalidInput):
    """An option is wrong."""


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("ingest")(ingest)
    app.command("replay")(replay)
    group(app, "import").command("stations")(import_stations)
    group(app, "export").command("observations")(export_observations)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _mode(text: str | None) -> ModeName | None:
    if text is None or text == "live":
        return None if text is None else "live"
    if text == "exercise":
        return "exercise"
    raise BadOption("--mode is live or exercise.", mode=text)


def ingest() -> None:
    """Runs the ingest process: readings from the broker into the database, until it is told to stop."""
    from core.settings import BadSettings
    from ingest.listen import Ingest
    from tocsin.process import begin, run_until_stopped

    settings = begin("ingest")
    if settings.mqtt.host is None:
        raise BadSettings("A setting is missing: TOCSIN_MQTT__HOST; `tocsin up` starts a broker of its own.")
    run_until_stopped(Ingest(settings).run)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        raise BadOption("--speed is a number above 0, or max.", speed=text) from None
    if not 0 < speed < 1e6:
        raise BadOption("--speed is a number above 0, or max.", speed=text)
    return speed


def replay(
    source: Annotated[
        Path, typer.Argument(metavar="FILE|SCENARIO", help="NDJSON, CSV, or a folder with scenario.toml.")
    ],
    stations: Annotated[Path | None, typer.Option(help="CSV with the stations and their official levels.")] = None,
    speed: Annotated[str, typer.Option(help="Scenario seconds in a second, or max.")] = "max",
    tenant: Annotated[str | None, typer.Option(help="Slug of the tenant whose stations these are.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all is stored and judged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plays recorded readings through the broker into the exercise database, and tells what came of it."""
    from core import log
    from core.settings import load_settings
    from tocsin import recording, replay

    wanted = _speed(speed)
    settings = load_settings()
    log.configure(settings.log_level, as_json=settings.log_json)
    told = recording.read(source, stations=stations, tenant=tenant)
    outcome = replay.replay(settings, told, speed=wanted, say=_say, keep=not once)
    if as_json:
        print(json.dumps(outcome.document(), ensure_ascii=False, indent=2))
        return
    print(
        f"{outcome.source}: {outcome.n_messages} messages, {outcome.n_new} new readings, {outcome.n_readings} stored, "
        f"{outcome.n_corrections} corrections, {outcome.n_quarantined} quarantined, in {outcome.seconds:.1f} s"
    )
    if outcome.crossings:
        _print_crossings(outcome.crossings)


def _print_crossings(crossings: list[Any]) -> None:
    """Station, level, official first crossing, warning issued, difference."""
    from rich.console import Console
    from rich.table import Table

    def shown(at: datetime | None) -> str:
        return "-" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

    table = Table(title="Official levels and warnings (UTC)")
    for heading in ("station", "level", "m", "official first crossing", "warning issued", "difference"):
        table.add_column(heading, justify="right" if heading in ("m", "difference") else "left")
    for c in crossings:
        gap = c.difference_s
        told = "-" if gap is None else f"{gap:+.0f} s"
        table.add_row(c.station, c.level, f"{c.threshold:g}", shown(c.crossed_at), shown(c.warned_at), told)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)


def import_stations(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV with code, name, lon, lat, quantity, interval_s ...")
    ],
    tenant: Annotated[str | None, typer.Option(help="Slug of the owner; without it the stations are public.")] = None,
    mode: ModeOption = None,
    as_json: AsJson = False,
) -> None:
    """Registers stations, all of a file or none; a station that is known is renewed."""
    from core.errors import NotFound
    from core.settings import load_settings
    from ingest import repository
    from ingest.station import stations_from_rows
    from tocsin.database import command_connection

    if not file.is_file():
        raise BadOption("There is no such file.", file=str(file))
    with file.open(encoding="utf-8-sig", newline="") as lines:
        stations = stations_from_rows(csv.DictReader(lines))

    async def work() -> None:
        async with command_connection(load_settings(), _mode(mode) or "live", create=True, say=_say) as conn:
            tenant_id = None if tenant is None else await repository.tenant_id(conn, tenant)
            if tenant is not None and tenant_id is None:
                raise NotFound("There is no such tenant.", tenant=tenant)
            async with conn.transaction():
                for station in stations:
                    await repository.keep_station(conn, station, tenant_id)

    asyncio.run(work())
    print(json.dumps({"stations": len(stations)}) if as_json else f"{len(stations)} stations registered")


def export_observations(
    out: Annotated[Path, typer.Option(help="CSV file to write; - for standard output.")],
    tenant: Annotated[str | None, typer.Option(help="Slug of one tenant, or public; default: all.")] = None,
    quantity: Annotated[str | None, typer.Option(help="One quantity; default: all.")] = None,
    mode: ModeOption = None,
    as_json: AsJson = False,
) -> None:
    """Writes every reading as it stands now: station, quantity, observed_at, value, quality, revision."""
    from core.settings import load_settings
    from ingest import repository
    from tocsin.database import command_connection

    async def work(lines: Any) -> int:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["station", "quantity", "observed_at", "value", "quality", "revision"])
        n = 0
        async with command_connection(load_settings(), _mode(mode), say=_say) as conn:
            async for station, name, at, value, flag, revision in repository.export_observations(
                conn, slug=tenant, name=quantity
            ):
                told = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
                writer.writerow([station, name, told, "" if value is None else format(value, ".12g"), flag, revision])
                n += 1
        return n

    if str(out) == "-":
        if as_json:
            raise BadOption("--json and --out - cannot both write to standard output.")
        asyncio.run(work(sys.stdout))
        return
    draft = out.with_name(out.name + ".part")
    with draft.open("w", encoding="utf-8", newline="") as lines:
        n = asyncio.run(work(lines))
    draft.replace(out)
    print(json.dumps({"rows": n, "out": str(out)}) if as_json else f"{n} rows in {out}")
