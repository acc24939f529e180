"""`tocsin terms`: OED files and a damage ratio to item losses."""

import csv
import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("terms")(terms)


def terms(
    location: Annotated[Path, typer.Argument(metavar="LOCATION", help="OED location file.", show_default=False)],
    account: Annotated[Path, typer.Argument(metavar="ACCOUNT", help="OED account file.", show_default=False)],
    damage_ratio: Annotated[float, typer.Option(help="Share of its value that every coverage loses, 0 to 1.")],
    out: Annotated[Path, typer.Option(help="CSV file to write: a line for each item and policy layer.")],
    ri_info: Annotated[Path | None, typer.Option(help="OED reinsurance info file; needs --ri-scope.")] = None,
    ri_scope: Annotated[Path | None, typer.Option(help="OED reinsurance scope file; needs --ri-info.")] = None,
    peril: Annotated[
        str | None,
        typer.Option(help="OED peril code of the event, for example WTC: what does not cover it is left out and told."),
    ] = None,
    event_date: Annotated[
        str | None, typer.Option(help="Day of the event, 2026-01-31: policies not in force then do not answer.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of the result; else that of the files.")] = None,
    rates: Annotated[Path | None, typer.Option(help="Exchange rates, CSV with cur_from, cur_to, roe.")] = None,
    by: Annotated[str | None, typer.Option(help="OED field to group losses by; needs --by-out.")] = None,
    by_out: Annotated[Path | None, typer.Option(help="CSV file for the losses grouped --by a field.")] = None,
    encoding: Annotated[str, typer.Option(help="Text encoding of the CSV files, for example gb18030.")] = "utf-8-sig",
    as_json: AsJson = False,
) -> None:
    """Apply policy terms and reinsurance of OED files to a loss of the same damage ratio everywhere.

    Writes PortNumber, AccNumber, LocNumber, PolNumber, LayerNumber, coverage_type_id (1 buildings, 2 other, 3 contents,
    4 BI), loss_gul, loss_il and loss_ri (net of reinsurance). The ground-up loss of an item stands on each of its
    policy layers.
    """
    from geo import terms_files

    if not 0 <= damage_ratio <= 1:
        raise InvalidInput(f"--damage-ratio: {damage_ratio:g} is not between 0 and 1")
    if (by is None) != (by_out is None):
        raise InvalidInput("--by and --by-out come together")
    day = None
    if event_date is not None:
        try:
            day = date.fromisoformat(event_date)
        except ValueError:
            raise InvalidInput(f"--event-date: {event_date!r} is not a date as 2026-01-31") from None
    if peril is not None:
        from geo.perils import perils_of

        perils_of(peril, field="--peril")
    loaded = terms_files.load(
        location,
        account,
        ri_info=ri_info,
        ri_scope=ri_scope,
        peril=peril,
        event_date=day,
        currency=currency.upper() if currency else None,
        rates=terms_files.read_rates(rates) if rates else None,
        encoding=encoding,
        keep=(by,) if by else (),
    )
    losses = loaded.losses(damage_ratio)
    terms_files.write_items(loaded, losses, out)
    if by is not None and by_out is not None:
        grouped = terms_files.by_field(loaded, losses, by)
        with by_out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(grouped[0]) if grouped else [by])
            writer.writeheader()
            writer.writerows(grouped)
    told = terms_files.summary(loaded, losses)
    for reason, counted in told["left_out"].items():
        value = f", insured value {counted['tiv']:,.2f}" if "tiv" in counted else ""
        print(f"left out: {counted['n']:,}{value}: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    print(
        f"{told['n_locations']:,} locations, {told['n_items']:,} items, {told['n_rows']:,} lines in {out}\n"
        f"  insured value {told['tiv']:,.2f} {told['currency']}\n"
        f"  ground-up {told['loss_gul']:,.2f}, insured {told['loss_il']:,.2f}, net {told['loss_ri']:,.2f}"
    )
