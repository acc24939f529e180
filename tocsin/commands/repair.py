"""`tocsin repair`: fits repair times by site and prices a layer of hours above a waiting period."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tocsin.commands import fit_store

repairs = typer.Typer(no_args_is_help=True, help="Fit repair times; expected hours above a waiting period.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.add_typer(repairs, name="repair")


@repairs.command("fit")
def fit_command(
    incidents: Annotated[
        Path,
        typer.Option(
            "--incidents",
            metavar="F",
            help="CSV (also .gz, .parquet): opened, restored (blank: still open), cause, site; or LANL columns.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="R.json", show_default=False, help="Where the fit goes.")],
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of", formats=["%Y-%m-%d"], help="Last day that is known; by default the last of the record."
        ),
    ] = None,
    as_json: AsJson = False,
    store: fit_store.Store = False,
    tenant: fit_store.Tenant = "",
    device_class: fit_store.DeviceClass = "",
    unit: fit_store.Unit = "",
    same_record: fit_store.SameRecord = False,
    law: Annotated[
        str,
        typer.Option(
            "--law",
            help="tickets (each site's own), causes (a mixture by cause), or auto: what forecast the record's "
            "past better.",
        ),
    ] = "auto",
) -> None:
    """Fit repair times by site: credibility, recency, open tickets censored, the mix of sites to come."""
    from itops import experience, restoration

    document = restoration.fit(experience.read_text(incidents), as_of.date() if as_of else None, law)
    out.write_text(json.dumps(document), encoding="utf-8")
    told = {key: value for key, value in document.items() if key != "sites"} | {"out": str(out)}
    if store:
        told["stored"] = fit_store.keep(
            "repair", document, tenant=tenant, device_class=device_class, unit=unit, same_record=same_record
        )
    typer.echo(json.dumps(told, indent=2) if as_json else f"fitted {document['n_repairs']} repairs: {out}")


@repairs.command("lev")
def lev_command(
    fitted: Annotated[Path, typer.Argument(metavar="R.json", help="Written by `repair fit`.", show_default=False)],
    waiting: Annotated[float, typer.Option("--waiting", help="Waiting period, hours.", show_default=False)],
    indemnity: Annotated[
        float, typer.Option("--indemnity", help="Indemnity period after it, hours.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Hours in the layer per failure (limited expected value), with the range that next year may show."""
    from itops import experience, restoration

    layer = restoration.price(restoration.parse(experience.read_text(fitted)), waiting, indemnity)
    if as_json:
        typer.echo(json.dumps(layer, indent=2))
    else:
        typer.echo(
            f"P(longer than {waiting:g} h) {layer['p_above']:.4f}; {layer['expected_hours']:.3f} h a failure in the "
            f"layer of {indemnity:g} h above {waiting:g} h (5-95 %: {layer['p05']:.3f}-{layer['p95']:.3f})"
        )
