"""`tocsin wind-events`, `tocsin marginal-price`: a stochastic storm set, and the price of one more policy."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts these commands."""
    app.command("wind-events")(wind_events)
    app.command("marginal-price")(marginal_price)


def wind_events(
    tracks: Annotated[
        Path,
        typer.Argument(
            metavar="TRACKS",
            help="The historical record: IBTrACS CSV, an ATCF deck, or a folder of tracks; every storm that came.",
            show_default=False,
        ),
    ],
    points: Annotated[Path, typer.Option(help="CSV of points: lat, lon (WGS84 degrees), value.")],
    years_of_record: Annotated[float, typer.Option(help="Years over which the record is complete.")],
    out: Annotated[Path, typer.Option(help="Event loss table to write, for `tocsin ep` and `tocsin marginal-price`.")],
    per_storm: Annotated[int, typer.Option(help="Children of each storm, the storm itself counted.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed: the same seed gives the same events.")] = 1,
    model: Annotated[str, typer.Option(help="Wind profile: H80, H08 or H10.")] = "H08",
    v_half: Annotated[float | None, typer.Option(help="Wind of half damage, m/s; default 74.7 (US).")] = None,
    region: Annotated[str | None, typer.Option(help="Region of Eberenz et al. (2021) in place of --v-half.")] = None,
    shift_km: Annotated[float, typer.Option(help="Sd of the first displacement of a child, km.")] = 75.0,
    velocity_m_s: Annotated[float, typer.Option(help="Sd of the error of its velocity, m/s.")] = 1.0,
    intensity: Annotated[float, typer.Option(help="Sd of ln of the factor on its pressure fall.")] = 0.15,
    agency: Annotated[str | None, typer.Option(help="IBTrACS: whose winds.")] = None,
    averaging_min: Annotated[int | None, typer.Option(help="Minutes over which winds are averaged: 1 or 10.")] = None,
    step_min: Annotated[float, typer.Option(help="Longest step in minutes; wider gaps are filled in.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Write an event loss table from historical storms, resampled and perturbed (see docs/methods/event-set.md)."""
    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from geo.event_set import Perturbation, event_losses, stochastic_set
    from geo.point_files import cell, read_points, read_table, read_values, write_table
    from geo.track_files import read_tracks
    from geo.vulnerability import V_HALF_US_M_S, emanuel, v_half_m_s
    from geo.wind import MODELS, UnknownModel, max_wind_m_s, resample

    chosen = next((name for name in MODELS if name == model.upper()), None)
    if chosen is None:
        raise UnknownModel(f"--model: {model!r} is none of {', '.join(MODELS)}")
    if v_half is not None and region is not None:
        raise InvalidInput("--v-half and --region: give one of them")
    half = v_half_m_s(region) if region is not None else v_half if v_half is not None else V_HALF_US_M_S
    members = read_tracks(tracks, agency=agency, averaging_min=averaging_min, several_storms=True)
    how = Perturbation(shift_km=shift_km, velocity_m_s=velocity_m_s, intensity_ln=intensity)
    events = stochastic_set(
        [(one.name, one.track) for one in members], years_of_record=years_of_record, per_storm=per_storm,
        rng=np.random.default_rng(seed), how=how,
    )  # fmt: skip
    table = read_table(points, ("lat", "lon", "value"))
    lon, lat = read_points(table)
    value = read_values(table)
    usable = ~np.isnan(lon) & ~np.isnan(value)
    lon, lat, held = lon[usable], lat[usable], value[usable]
    if not len(held):
        raise InvalidInput(f"{points.name}: no point has both a place and a value")

    def loss_of(track: Any) -> float:
        wind = max_wind_m_s(resample(track, step_min * 60.0), lon, lat, model=chosen)
        return float((emanuel(wind, half) * held).sum())

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Events", total=len(events))
        losses = event_losses(events, loss_of, lambda: bar.advance(task))
    exposed = float(held.sum())
    rates = np.array([event.rate_per_year for event in events])
    write_table(
        out,
        ("event_id", "rate", "mean", "exposed"),
        ((event.event_id, f"{event.rate_per_year:.12g}", cell(loss, 4), cell(exposed, 2))
         for event, loss in zip(events, losses, strict=True)),
    )  # fmt: skip
    first = np.array([event.event_id.endswith("/0") for event in events])
    document = {
        "n_storms": len(members),
        "n_events": len(events),
        "years_of_record": years_of_record,
        "events_per_year": float(rates.sum()),
        "aal": float(rates @ losses),
        "aal_of_the_record_alone": float(losses[first].sum() / years_of_record),
        "largest": float(losses.max()),
        "largest_of_the_record": float(losses[first].max()),
        "n_points": len(held),
        "n_points_unknown": int((~usable).sum()),
        "value_unknown": float(np.nansum(value[~usable])),
        "model": chosen,
        "v_half_m_s": half,
        "seed": seed,
    }
    if as_json:
        print(json.dumps(document, indent=2))
        return
    print(
        f"{len(events)} events of {len(members)} storms, {document['events_per_year']:.3g} a year\n"
        f"average annual loss {document['aal']:,.2f} (the record alone {document['aal_of_the_record_alone']:,.2f}), "
        f"largest {document['largest']:,.2f} ({document['largest_of_the_record']:,.2f})"
    )
    if document["n_points_unknown"]:
        print(
            f"{document['n_points_unknown']} points without place or value, {document['value_unknown']:,.2f}: unknown"
        )


def marginal_price(
    book: Annotated[Path, typer.Argument(metavar="BOOK", help="Event loss table: event_id, rate, mean.")],
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Event loss table of one more policy.")],
    years: Annotated[int, typer.Option(help="Years to simulate.")] = 100_000,
    level: Annotated[
        float, typer.Option(help="Level of TVaR: 0.99 is the mean of the worst year in a hundred.")
    ] = 0.99,
    cost_of_capital: Annotated[
        float, typer.Option(help="Return that capital asks for above the average, a year.")
    ] = 0.06,
    expense: Annotated[float, typer.Option(help="Share of the premium that goes into expenses.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulation: the same seed gives the same numbers.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Price one more policy against a book: average annual loss, marginal TVaR, co-TVaR, premium.

    Both tables are of the same events; an event that the policy's table leaves out costs it nothing.
    """
    import numpy as np

    from geo.marginal import BadPair, price
    from geo.point_files import BadTable, read_table

    def read(path: Path) -> dict[str, tuple[float, float]]:
        table = read_table(path, ("event_id", "rate", "mean"))
        rate, mean = table.numbers("rate"), table.numbers("mean")
        found: dict[str, tuple[float, float]] = {}
        for i, name in enumerate(table.text("event_id")):
            where = f"{path.name}: line {table.line(i)}"
            if name in found:
                raise BadTable(f"{where}: event_id: {name!r} is there twice")
            if rate[i] <= 0.0:
                raise BadTable(f"{where}: rate: {rate[i]:g} is not above zero")
            if mean[i] < 0.0:
                raise BadTable(f"{where}: mean: {mean[i]:g} is below zero")
            found[name] = (float(rate[i]), float(mean[i]))
        return found

    held, more = read(book), read(policy)
    strange = [name for name in more if name not in held]
    if strange:
        raise BadPair(f"{policy.name}: event {strange[0]!r} is not in {book.name}: both must be of the same events")
    for name, (rate, _) in more.items():
        if abs(rate - held[name][0]) > 1e-9 * held[name][0]:
            raise BadPair(f"{policy.name}: event {name!r} has rate {rate:g}, in {book.name} {held[name][0]:g}")
    found = price(
        np.array([rate for rate, _ in held.values()]),
        np.array([mean for _, mean in held.values()]),
        np.array([more[name][1] if name in more else 0.0 for name in held]),
        n_years=years, level=level, cost_of_capital=cost_of_capital, expense=expense, rng=np.random.default_rng(seed),
    )  # fmt: skip
    document = found.as_json() | {"cost_of_capital": cost_of_capital, "expense": expense, "seed": seed}
    if as_json:
        print(json.dumps(document, indent=2))
        return
    print(
        f"average annual loss {found.aal_policy:,.2f}\n"
        f"TVaR {level:g}: book {found.tvar_book:,.2f}, with the policy {found.tvar_both:,.2f}, policy alone "
        f"{found.tvar_policy_alone:,.2f}\n"
        f"marginal TVaR {found.marginal_tvar:,.2f} (standard error {found.marginal_tvar_se:,.2f}), co-TVaR "
        f"{found.co_tvar:,.2f}\n"
        f"premium {found.premium:,.2f}: ({found.aal_policy:,.2f} + {cost_of_capital:g} x {found.capital:,.2f}) / "
        f"(1 - {expense:g})"
    )
