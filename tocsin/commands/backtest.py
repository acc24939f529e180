"""`tocsin backtest`: judges fits by the time after them, from rolling origins."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

_FILE = "CSV (also .gz, .parquet)"


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("backtest")(backtest_command)


def backtest_command(
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="F", help=f"Failures, {_FILE}, as for `fleet fit`.", show_default=False),
    ] = None,
    exposure: Annotated[
        Path | None,
        typer.Option("--exposure", metavar="F", help=f"Exposure, {_FILE}, as for `fleet fit`.", show_default=False),
    ] = None,
    incidents: Annotated[
        Path | None,
        typer.Option("--incidents", metavar="F", help=f"Repairs, {_FILE}, as for `repair fit`.", show_default=False),
    ] = None,
    origin: Annotated[
        list[datetime] | None,
        typer.Option(
            "--origin",
            formats=["%Y-%m-%d"],
            help="Last day that a fit may know; may be repeated. By default every year's end (half-year, telemetry).",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Judge fits by the time after them: A/E with bands, tenths, Gini, CRPS, PIT, LEV ratios, Kupiec."""
    from rich.console import Console
    from rich.table import Table

    from itops import backtest, experience

    days: list[date] | None = [each.date() for each in origin] if origin else None
    console = Console(stderr=True)
    with console.status("reading") as status:

        def told(day: date) -> None:
            status.update(f"fitting to {day}")

        if incidents is not None and events is None and exposure is None:
            pack = backtest.repairs(experience.read_text(incidents), days, told=told)
        elif events is not None and exposure is not None and incidents is None:
            pack = backtest.fleet(experience.read_text(events), experience.read_text(exposure), days, told=told)
        else:
            raise InvalidInput("Give --events and --exposure, or --incidents")
    if as_json:
        typer.echo(json.dumps(pack, indent=1))
        return
    table = Table(box=None)
    rows = _fleet_rows(pack) if pack["kind"] == "fleet" else _repair_rows(pack)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row.values())
    Console(width=120).print(table)


def _fleet_rows(pack: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "origin": each["origin"],
            "actual": f"{each['total']['n_actual']:.0f}",
            "expected": f"{each['total']['expected']:.1f}",
            "A/E": f"{each['total']['ratio']:.2f}",
            "band": f"{each['total']['low']:.2f}-{each['total']['high']:.2f}",
            "top tenth": f"{each['tenths'][0]['share_of_actual']:.0%}",
            "its A/E": f"{each['tenths'][0]['n_actual'] / each['tenths'][0]['expected']:.2f}",
            "Gini": "unknown" if each["gini"] is None else f"{each['gini']:.2f}",
            "CRPS": f"{each['crps_mean']:.3g}",
            "inside 90 %": f"{each['inside_90']} of {each['n_units']}" if "inside_90" in each else "",
        }
        for each in pack["origins"]
    ]


def _repair_rows(pack: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "origin": each["origin"],
            "waiting h": f"{row['waiting_h']:g}",
            "seen h": f"{row['seen_hours']:.3f}",
            "expected h": f"{row['expected_hours']:.3f}",
            "ratio": "unknown" if row["lev_ratio"] is None else f"{row['lev_ratio']:.2f}",
            "5-95 %": f"{row['p05']:.3f}-{row['p95']:.3f}",
            "P(above) seen": f"{row['p_above_seen']:.4f}",
            "expected": f"{row['p_above']:.4f}",
        }
        for each in pack["origins"]
        for row in each["layers"]
    ]
