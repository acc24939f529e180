"""`tocsin staff`: forecasts how many incidents come each day, and the engineers that they need."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("staff")(staff_command)


def staff_command(
    incidents: Annotated[
        Path,
        typer.Option(
            "--incidents",
            metavar="F",
            help="CSV (also .gz, .parquet) with opened, opened_at, t_Open_Time or started.",
            show_default=False,
        ),
    ],
    horizon: Annotated[int, typer.Option("--horizon", min=1, max=92, help="Days ahead.")] = 14,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", formats=["%Y-%m-%d"], help="Last whole day; by default the last but one.", show_default=False
        ),
    ] = None,
    holidays: Annotated[
        list[datetime] | None,
        typer.Option("--holiday", formats=["%Y-%m-%d"], help="A day off; may be repeated.", show_default=False),
    ] = None,
    make_up: Annotated[
        list[datetime] | None,
        typer.Option(
            "--make-up-day", formats=["%Y-%m-%d"], help="A weekend day worked; may be repeated.", show_default=False
        ),
    ] = None,
    country: Annotated[
        str | None, typer.Option("--country", help="Prophet's holidays of a country, as CN.", show_default=False)
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="Work on one incident.")] = 30.0,
    wait: Annotated[float, typer.Option("--wait", min=0.0, help="Minutes that an incident may wait.")] = 15.0,
    share: Annotated[float, typer.Option("--share", min=0.01, max=0.999, help="Share that waits no longer.")] = 0.9,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Incidents a day to staff for: the model that won on rolling origins, and engineers by Erlang C."""
    from rich.console import Console
    from rich.table import Table

    from itops import experience, staffing

    with Console(stderr=True).status("fitting on rolling origins"):
        plan = staffing.plan(
            experience.read_text(incidents),
            horizon=horizon,
            as_of=as_of.date() if as_of else None,
            holidays=[each.date() for each in holidays or ()],
            make_up_days=[each.date() for each in make_up or ()],
            country=country,
            minutes_each=minutes,
            wait_min=wait,
            share=share,
        )
    if as_json:
        typer.echo(json.dumps(plan, indent=1))
        return
    console = Console(width=100)
    table = Table("model", "mean MASE", *(plan["table"][0]["mase"] if plan["table"] else ()), box=None)
    for row in plan["table"]:
        table.add_row(row["model"], f"{row['mase_mean']:.3f}", *(f"{value:.2f}" for value in row["mase"].values()))
    console.print(table)
    console.print(f"used: {plan['chosen']} ({plan['reason']})")
    days = Table("day", "incidents", "engineers", box=None)
    for row in plan["forecast"]:
        days.add_row(row["day"], f"{row['expected']:.1f}", str(row["engineers"]))
    console.print(days)
