"""`tocsin loss`: OED files and a footprint, or a set of events, to losses with their uncertainty."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput
from tocsin.commands.oed_book import (
    Account,
    AsJson,
    BiRestoration,
    By,
    ByOut,
    Currency,
    DebrisRemoval,
    DemandSurge,
    Encoding,
    EventDate,
    FirstFloorFt,
    FloodCurves,
    Location,
    LossAdjustment,
    Peril,
    RateTable,
    RiInfo,
    RiScope,
    Storeys,
    check_pair,
    load_book,
    tell_left_out,
)
from tocsin.commands.workers import Progress, Workers


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.command("loss")(loss)


def loss(
    location: Location,
    account: Account,
    out: Annotated[Path, typer.Option(help="CSV file to write: a line for ground-up (gul), gross (il) and net (ri).")],
    footprint: Annotated[
        Path | None, typer.Option(help="GeoJSON polygons with an intensity; with event_id and rate: a set of events.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the intensity: m, ft, m/s, kt, km/h, mph, g, %g or damage_ratio.")
    ] = None,
    depth: Annotated[Path | None, typer.Option(help="Flood depth raster above ground; needs --depth-unit.")] = None,
    depth_unit: Annotated[str | None, typer.Option(help="Unit of the raster: m or ft.")] = None,
    shake: Annotated[Path | None, typer.Option(help="ShakeMap grid.xml.")] = None,
    wind: Annotated[Path | None, typer.Option(help="Track of a tropical cyclone, as for `tocsin wind`.")] = None,
    wind_model: Annotated[str, typer.Option(help="With --wind: H80, H08 or H10.")] = "H08",
    against: Annotated[
        Path | None,
        typer.Option(help="An earlier version of the same hazard file: what the new one changes, with the same draws."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Folder of an Oasis model's tables (PiWind's layout): a set of events.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events a year of a single footprint, for --elt-out.")] = 1.0,
    flood_curves: FloodCurves = None,
    first_floor_ft: FirstFloorFt = None,
    storeys: Storeys = None,
    bi_restoration: BiRestoration = None,
    ri_info: RiInfo = None,
    ri_scope: RiScope = None,
    peril: Peril = None,
    event_date: EventDate = None,
    currency: Currency = None,
    rates: RateTable = None,
    samples: Annotated[int, typer.Option(help="Samples of each event.")] = 100,
    seed: Annotated[int, typer.Option(help="The same seed gives the same losses, however the work is divided.")] = 1,
    curve_sigma: Annotated[
        float | None, typer.Option(help="Standard deviation of the curve's log odds for a whole event.")
    ] = None,
    sigma_ln: Annotated[
        float | None, typer.Option(help="Standard deviation of ln(intensity) of polygons or raster.")
    ] = None,
    damage_spread: Annotated[float, typer.Option(help="Spread of damage around its mean, 0 to 1.")] = 0.3,
    event_correlation: Annotated[
        float | None, typer.Option(help="Share of damage variance that all places of an event have in common.")
    ] = None,
    local_correlation: Annotated[
        float | None, typer.Option(help="Share of damage variance that a neighbourhood has in common.")
    ] = None,
    neighbourhood_km: Annotated[float, typer.Option(help="Size of a neighbourhood.")] = 2.0,
    demand_surge: DemandSurge = None,
    debris_removal: DebrisRemoval = 0.0,
    loss_adjustment: LossAdjustment = 0.0,
    by: By = None,
    by_out: ByOut = None,
    policies_out: Annotated[Path | None, typer.Option(help="CSV file for policies ranked for claims triage.")] = None,
    locations_out: Annotated[Path | None, typer.Option(help="CSV file for mean losses of locations.")] = None,
    elt_out: Annotated[
        Path | None, typer.Option(help="Event loss tables: NAME.csv makes NAME_gul.csv, NAME_il.csv and NAME_ri.csv.")
    ] = None,
    ylt_out: Annotated[
        Path | None, typer.Option(help="Year loss tables of a model with occurrences, named likewise.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Scheduler of a Dask cluster, tcp://host:port; needs the extra `cluster`.")
    ] = None,
    encoding: Encoding = "utf-8-sig",
    as_json: AsJson = False,
) -> None:
    """Losses of a book under a footprint or a set of events: mean, sd, P5, P50, P95, ground-up, gross and net.

    What has no place, no hazard value or no published curve is told with its insured value, and is never zero.
    """
    from geo import loss_files
    from geo.estimate import PLACE_FIELDS
    from geo.flood_choice import FloodChoice

    hazards = {"--footprint": footprint, "--depth": depth, "--shake": shake, "--wind": wind, "--model": model}
    given = [name for name, value in hazards.items() if value is not None]
    if len(given) != 1:
        raise InvalidInput(f"give one of {', '.join(hazards)}" + (f", not {' and '.join(given)}" if given else ""))
    check_pair(by, by_out)
    if not rate > 0:
        raise InvalidInput(f"--rate: {rate:g} is not more than zero")
    if ylt_out is not None and model is None:
        raise InvalidInput("--ylt-out: only a --model says which event happens in which year; else: tocsin ep ELT.csv")
    loaded = load_book(
        location, account, ri_info=ri_info, ri_scope=ri_scope, peril=peril, event_date=event_date, currency=currency,
        rates=rates, encoding=encoding, keep=(*PLACE_FIELDS, *((by,) if by else ())), demand_surge=demand_surge,
        debris_removal=debris_removal, loss_adjustment=loss_adjustment,
    )  # fmt: skip
    request = loss_files.Request(
        loaded=loaded, footprint=footprint, unit=unit, depth=depth, depth_unit=depth_unit, shake=shake, wind=wind,
        wind_model=wind_model, model=model, rate=rate, samples=samples, seed=seed, curve_sigma=curve_sigma,
        sigma_ln=sigma_ln, damage_spread=damage_spread, event_correlation=event_correlation,
        local_correlation=local_correlation, neighbourhood_km=neighbourhood_km, by=by,
        against=against, flood=FloodChoice.of(flood_curves, first_floor_ft, storeys, bi_restoration),
    )  # fmt: skip
    with Workers(cluster) as mapper, Progress("Sampling") as tick:
        told = loss_files.run(
            request, mapper=mapper, progress=tick, out=out, by_out=by_out, policies_out=policies_out,
            locations_out=locations_out, elt_out=elt_out, ylt_out=ylt_out,
        )  # fmt: skip
    for what, counted in told.get("assumptions", {}).get("assumed", {}).items():
        print(f"assumed: {counted['n_items']:,} items, insured value {counted['tiv']:,.2f}: {what}", file=sys.stderr)
    for reason, counted in told["unknown"].items():
        print(f"unknown: {counted['n_items']:,} items, insured value {counted['tiv']:,.2f}: {reason}", file=sys.stderr)
    tell_left_out(told["left_out"])
    if told.get("year_terms"):
        print(f"annual aggregates and treaties of the year: {told['year_terms']}", file=sys.stderr)
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    print(_lines(told))


def _lines(told: dict[str, Any]) -> str:
    currency = told["currency"]
    lines = []
    for name, word in (("gul", "ground-up"), ("il", "gross"), ("ri", "net")):
        q = told["losses"][name]
        if q is None:
            lines.append(f"{word:>10}: unknown: nothing that is hit has a curve")
        elif "p5" in q:
            lines.append(
                f"{word:>10}: mean {q['mean']:,.0f} {currency}, sd {q['sd']:,.0f}, P5 {q['p5']:,.0f}, "
                f"P50 {q['p50']:,.0f}, P95 {q['p95']:,.0f}"
            )
        else:
            lines.append(f"{word:>10}: average annual loss {q['aal']:,.2f} {currency}")
    for name, one in told.get("by_coverage", {}).items():
        lines.append(f"{name.replace('_', ' '):>22}: mean ground-up {one['gul']:,.0f}, gross {one['il']:,.0f}, "
                     f"net {one['ri']:,.0f}")  # fmt: skip
    if (step := told.get("debris_removal")) is not None and "loss_gul" in step:
        lines.append(
            f"debris removal (stated, {step['share']:.1%}): mean {step['loss_gul']:,.0f} of the ground-up loss"
        )
    if (step := told.get("loss_adjustment")) is not None:
        lines.append(f"loss adjustment (stated, {step['share']:.1%}): mean {step.get('loss', step.get('aal')):,.0f}, "
                     "beside the losses")  # fmt: skip
    if told.get("sd_by_source"):
        spread = ", ".join(f"{name} {sd['il']:,.0f}" for name, sd in told["sd_by_source"].items())
        lines.append(f"sd of gross by one source at a time: {spread}")
    if (change := told.get("difference")) is not None:
        lines.append(f"against the earlier version: {change['n_hit']:+,} locations hit, insured value "
                     f"{change['exposed_tiv']:+,.2f}")  # fmt: skip
        for name, word in (("gul", "ground-up"), ("il", "gross"), ("ri", "net")):
            q = change[name]
            if q is None:
                lines.append(f"{word:>10}: unknown, since the loss of one version is")
                continue
            lines.append(f"{word:>10}: mean {q['mean']:+,.0f} {currency}, P5 {q['p5']:+,.0f}, P95 {q['p95']:+,.0f}")
    return "\n".join(lines)
