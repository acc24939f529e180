"""Options and messages that commands over an OED book share."""

import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput
from tocsin.commands.options import day

Location = Annotated[Path, typer.Argument(metavar="LOCATION", help="OED location file.", show_default=False)]
Account = Annotated[Path, typer.Argument(metavar="ACCOUNT", help="OED account file.", show_default=False)]
RiInfo = Annotated[Path | None, typer.Option(help="OED reinsurance info file; needs --ri-scope.")]
RiScope = Annotated[Path | None, typer.Option(help="OED reinsurance scope file; needs --ri-info.")]
Peril = Annotated[
    str | None,
    typer.Option(help="OED peril code of the event, for example WTC: what does not cover it is left out and told."),
]
EventDate = Annotated[
    str | None, typer.Option(help="Day of the event, 2026-01-31: policies not in force then do not answer.")
]
Currency = Annotated[str | None, typer.Option(help="Currency of the result; else that of the files.")]
RateTable = Annotated[Path | None, typer.Option(help="Exchange rates, CSV with cur_from, cur_to, roe.")]
DemandSurge = Annotated[
    str | None,
    typer.Option(
        help="Stated assumption, off unless given: FROM:FACTOR,FROM:FACTOR. Where the event's ground-up loss is at "
        "least FROM, every loss costs FACTOR times as much before the terms."
    ),
]
_CURVES = (
    "Depth-damage curves: auto (HAZUS in the United States, else jrc), jrc, hazus, hazus-coastal-a, hazus-coastal-v, "
    "fia or usace"
)
FloodCurves = Annotated[str | None, typer.Option(help=f"{_CURVES}.")]
FloodCurvesOfBook = Annotated[str | None, typer.Option(help=f"{_CURVES}; else as the book declares.")]
FirstFloorFt = Annotated[
    float | None, typer.Option(help="Height of the first floor where a location gives none; else it is unknown.")
]
Storeys = Annotated[
    float | None, typer.Option(help="Number of storeys where a location gives none; else it is unknown.")
]
BiRestoration = Annotated[
    str | None,
    typer.Option(
        help="Business interruption under water by HAZUS restoration days, a declared choice: min, mid or max of the "
        "table, as a share of a year's value. Else it is unknown."
    ),
]
DebrisRemoval = Annotated[
    float,
    typer.Option(
        help="Stated assumption, off at 0: removing debris costs this share of the loss of buildings, other structures "
        "and contents on top, before the terms."
    ),
]
LossAdjustment = Annotated[
    float,
    typer.Option(
        help="Stated assumption, off at 0: settling claims costs the insurer this share of the insured loss: a figure "
        "of its own, in no other."
    ),
]
By = Annotated[str | None, typer.Option(help="OED field to group losses by; needs --by-out.")]
ByOut = Annotated[Path | None, typer.Option(help="CSV file for the losses grouped --by a field.")]
Encoding = Annotated[str, typer.Option(help="Text encoding of the CSV files, for example gb18030.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def load_book(
    location: Path,
    account: Path,
    *,
    ri_info: Path | None,
    ri_scope: Path | None,
    peril: str | None,
    event_date: str | None,
    currency: str | None,
    rates: Path | None,
    encoding: str,
    keep: Sequence[str],
    demand_surge: str | None = None,
    debris_removal: float = 0.0,
    loss_adjustment: float = 0.0,
) -> Any:
    """The book (`geo.terms_files.LossBook`) that the options name; raises InvalidInput naming the option or the row."""
    from geo import terms_files

    on = day("--event-date", event_date) if event_date is not None else None
    if peril is not None:
        from geo.perils import perils_of

        perils_of(peril, field="--peril")
    loaded = terms_files.load(
        location,
        account,
        ri_info=ri_info,
        ri_scope=ri_scope,
        peril=peril,
        event_date=on,
        currency=currency.upper() if currency else None,
        rates=terms_files.read_rates(rates) if rates else None,
        encoding=encoding,
        keep=tuple(keep),
    )
    for option, share in (("--debris-removal", debris_removal), ("--loss-adjustment", loss_adjustment)):
        if not 0 <= share <= 1:
            raise InvalidInput(f"{option}: {share:g} is not between 0 and 1")
    loaded = replace(loaded, debris_removal=debris_removal, loss_adjustment=loss_adjustment)
    if demand_surge is not None:
        from geo.covers import read_bands

        loaded = replace(loaded, surge=read_bands(demand_surge))
    return loaded


def check_pair(by: str | None, by_out: Path | None) -> None:
    """Raises InvalidInput where one of --by and --by-out stands alone."""
    if (by is None) != (by_out is None):
        raise InvalidInput("--by and --by-out come together")


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path, columns: Sequence[str]) -> None:
    """A CSV file with a line for each mapping; `columns` head it where there are none. Raises InvalidInput."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else list(columns))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


def tell_left_out(left_out: Mapping[str, Mapping[str, Any]]) -> None:
    """What did not take part, on standard error."""
    for reason, counted in left_out.items():
        value = f", insured value {counted['tiv']:,.2f}" if "tiv" in counted else ""
        print(f"left out: {counted['n']:,}{value}: {reason}", file=sys.stderr)
