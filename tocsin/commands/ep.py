"""`tocsin ep`: an event or year loss table to average annual loss and exceedance curves."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("ep")(ep)


def ep(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="ELT",
            help="CSV. Event losses: event_id, rate, mean and optionally sd, exposed. Year losses: year, loss and "
            "optionally day.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV file to write: a line for each curve and return period.")],
    years: Annotated[
        int | None,
        typer.Option(help="Years to simulate from event losses (10000), or years that a year loss table stands for."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulation: the same seed gives the same numbers.")] = 1,
    return_periods: Annotated[
        str | None, typer.Option(help="Return periods in years, separated by commas; else 2 to 1000.")
    ] = None,
    ylt_out: Annotated[Path | None, typer.Option(help="CSV file for the year loss table behind the curves.")] = None,
    cover: Annotated[
        Path | None,
        typer.Option(
            help="JSON with what answers in a year, any of: hours_clause, demand_surge, excess (attachment, limit, "
            "reinstatements, annual_deductible, share, premium, reinstatement_rates), aggregate (attachment, limit, "
            "share). Fields: docs/methods/ep.md."
        ),
    ] = None,
    ri_info: Annotated[
        Path | None,
        typer.Option(
            help="OED reinsurance info file in place of --cover: CXL, AXL and QS rows with their aggregate terms and "
            "reinstatements, by InuringPriority. The table is taken as what they cover."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Average annual loss, OEP, AEP and TVaR with sampling errors from an event or year loss table.

    Losses at return periods are order statistics of the years, never interpolated or extrapolated; periods beyond the
    years are left out and told. Without covers the OEP of the mean losses is told beside, without simulation.
    """
    from geo import ep_files

    periods = None
    if return_periods is not None:
        try:
            periods = tuple(float(part) for part in return_periods.split(","))
        except ValueError:
            raise InvalidInput(f"--return-periods: {return_periods!r} are not numbers separated by commas") from None
        if any(not p > 1 for p in periods):
            raise InvalidInput("--return-periods: a return period is more than one year")
    if years is not None and years < 1:
        raise InvalidInput(f"--years: {years} is less than 1")
    told = ep_files.run(table, out, n_years=years, seed=seed, return_periods=periods, ylt_out=ylt_out, cover=cover,
                       ri_info=ri_info)  # fmt: skip
    for period in told["periods_left_out"]:
        print(f"left out: return period {period:g} is longer than the {told['n_years']:,} years", file=sys.stderr)
    if as_json:
        print(json.dumps(told, indent=2))
        return
    print(
        f"{told['n_years']:,} years, {told['n_occurrences']:,} occurrences\n"
        f"  AAL {told['aal']:,.2f} (standard error {told['aal_se']:,.2f}), sd of a year {told['sd']:,.2f}"
        + (f", AAL without simulation {told['aal_exact']:,.2f}" if "aal_exact" in told else "")
    )
    for line in told["lines"]:
        print(
            f"  {line['curve']:>12} 1 in {line['return_period']:g}: {line['loss']:,.2f} "
            f"({line['low']:,.2f} to {line['high']:,.2f})"
        )
