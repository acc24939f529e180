"""`tocsin fleet`: fits failure rates to a fleet's record and predicts failures from them."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from tocsin.commands import fit_store

fleets = typer.Typer(no_args_is_help=True, help="Fit failure rates to a fleet's record; predict failures.")

Exposure = Annotated[
    Path,
    typer.Option(
        "--exposure",
        metavar="F",
        help="CSV (also .gz, .parquet): systems with node_years; start-stop rows (drive_id, model, tstart, tstop); or "
        "drive_years by model. Columns: docs/methods/itops-experience.md.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    app.add_typer(fleets, name="fleet")


@fleets.command("fit")
def fit_command(
    events: Annotated[Path, typer.Option("--events", metavar="F", help="Failures.", show_default=False)],
    exposure: Exposure,
    out: Annotated[Path, typer.Option("--out", metavar="MODEL.json", show_default=False, help="Where the model goes.")],
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
) -> None:
    """Fit failure rates: credibility by unit, recency, telemetry, and how uncertain next year is."""
    from itops import experience

    day: date | None = as_of.date() if as_of else None
    model = experience.fit(experience.read_text(events), experience.read_text(exposure), day)
    out.write_text(json.dumps(model, indent=1), encoding="utf-8")
    told = {key: model[key] for key in ("model_version", "shape", "as_of", "inputs_sha256")}
    told |= {"units": len(model["units"])} if "units" in model else {"n_failures": model["n_failures"]}
    for key in ("spreads", "regime_cv", "values_not_reported"):
        if key in model:
            told[key] = model[key]
    if store:
        told["stored"] = fit_store.keep(
            "fleet", model, tenant=tenant, device_class=device_class, unit=unit, same_record=same_record
        )
    typer.echo(json.dumps({**told, "out": str(out)}, indent=2) if as_json else f"fitted {told['shape']}: {out}")


@fleets.command("predict")
def predict_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.json", help="Written by `fleet fit`.", show_default=False)],
    exposure: Exposure,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="P.csv", help="unit, expected, p05, p95 and the exposure behind them.", show_default=False
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Predict failures: a row for each row of the exposure, in its order; weighted rows stand for `weight` units."""
    from itops import experience

    try:
        fitted = json.loads(experience.read_text(model))
    except ValueError as error:
        raise experience.BadModel(f"{model} is not JSON: {error}") from error
    if not isinstance(fitted, dict):
        raise experience.BadModel(f"{model} is not a model")
    rows = experience.predict(fitted, experience.read_text(exposure))
    out.write_text(experience.to_csv(rows), encoding="utf-8")
    total = {"rows": len(rows), "expected": sum(row["expected"] for row in rows), "out": str(out)}
    typer.echo(json.dumps(total, indent=2) if as_json else f"{total['expected']:.1f} failures expected: {out}")
