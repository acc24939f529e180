"""`tocsin terms`: OED files and a damage ratio to item losses."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput
from tocsin.commands.oed_book import (
    Account,
    AsJson,
    By,
    ByOut,
    Currency,
    DebrisRemoval,
    DemandSurge,
    Encoding,
    EventDate,
    Location,
    LossAdjustment,
    Peril,
    RateTable,
    RiInfo,
    RiScope,
    check_pair,
    load_book,
    tell_left_out,
    write_rows,
)


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("terms")(terms)


def terms(
    location: Location,
    account: Account,
    out: Annotated[Path, typer.Option(help="CSV file to write: a line for each item and policy layer.")],
    damage_ratio: Annotated[
        float | None, typer.Option(help="Share of its value that every coverage loses, 0 to 1.")
    ] = None,
    occurrences: Annotated[
        Path | None,
        typer.Option(
            help="In place of a damage ratio: the events of years, CSV with year, damage_ratio and optionally day, "
            "event_id, AccNumber, LocNumber, coverage_type_id. Annual aggregates and reinstatements run out across a "
            "year's events in their order."
        ),
    ] = None,
    ylt_out: Annotated[
        Path | None,
        typer.Option(
            help="With --occurrences, year loss tables: NAME.csv makes NAME_gul.csv, NAME_il.csv, NAME_ri.csv."
        ),
    ] = None,
    ri_info: RiInfo = None,
    ri_scope: RiScope = None,
    peril: Peril = None,
    event_date: EventDate = None,
    currency: Currency = None,
    rates: RateTable = None,
    demand_surge: DemandSurge = None,
    debris_removal: DebrisRemoval = 0.0,
    loss_adjustment: LossAdjustment = 0.0,
    by: By = None,
    by_out: ByOut = None,
    encoding: Encoding = "utf-8-sig",
    as_json: AsJson = False,
) -> None:
    """Apply policy terms and reinsurance of OED files to a loss of the same damage ratio everywhere.

    Writes PortNumber, AccNumber, LocNumber, PolNumber, LayerNumber, coverage_type_id (1 buildings, 2 other, 3 contents,
    4 BI), loss_gul, loss_il and loss_ri (net of reinsurance). The ground-up loss of an item stands on each of its
    policy layers. One damage ratio is one event, the first of its year.
    """
    from geo import terms_files

    if (damage_ratio is None) == (occurrences is None):
        raise InvalidInput("give one of --damage-ratio and --occurrences")
    if damage_ratio is not None and not 0 <= damage_ratio <= 1:
        raise InvalidInput(f"--damage-ratio: {damage_ratio:g} is not between 0 and 1")
    if occurrences is None and ylt_out is not None:
        raise InvalidInput("--ylt-out: one event makes no year: give --occurrences")
    if occurrences is not None and by is not None:
        raise InvalidInput("--by: it groups one event's losses, and --occurrences are many")
    check_pair(by, by_out)
    loaded = load_book(
        location, account, ri_info=ri_info, ri_scope=ri_scope, peril=peril, event_date=event_date, currency=currency,
        rates=rates, encoding=encoding, keep=(by,) if by else (), demand_surge=demand_surge,
        debris_removal=debris_removal, loss_adjustment=loss_adjustment,
    )  # fmt: skip
    if occurrences is not None:
        _years(occurrences, loaded, out, ylt_out, as_json)
        return
    assert damage_ratio is not None
    losses = loaded.losses(damage_ratio)
    terms_files.write_items(loaded, losses, out)
    if by is not None and by_out is not None:
        write_rows(terms_files.by_field(loaded, losses, by), by_out, (by,))
    told = terms_files.summary(loaded, losses)
    tell_left_out(told["left_out"])
    for what, n in told["assumed"].items():
        print(f"assumed: {what} ({n:,} rows)", file=sys.stderr)
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    print(
        f"{told['n_locations']:,} locations, {told['n_items']:,} items, {told['n_rows']:,} lines in {out}\n"
        f"  insured value {told['tiv']:,.2f} {told['currency']}\n"
        f"  ground-up {told['loss_gul']:,.2f}, insured {told['loss_il']:,.2f}, net {told['loss_ri']:,.2f}"
    )
    if (step := told.get("debris_removal")) is not None:
        print(f"  of the ground-up loss debris removal (stated, {step['share']:.1%}) {step['loss_gul']:,.2f}")
    if (step := told.get("loss_adjustment")) is not None:
        print(f"  loss adjustment (stated, {step['share']:.1%}) {step['loss']:,.2f}, beside the losses")


def _years(path: Path, loaded: Any, out: Path, ylt_out: Path | None, as_json: bool) -> None:
    from geo import year_files

    told = year_files.run(path, loaded, out, ylt_out)
    if as_json:
        print(json.dumps(told, indent=2))
        return
    print(
        f"{told['n_occurrences']:,} occurrences, items in {out}\n"
        f"  ground-up {told['loss_gul']:,.2f}, insured {told['loss_il']:,.2f}, net {told['loss_ri']:,.2f}, "
        f"reinstatement premium {told['reinstatement_premium']:,.2f}"
    )
