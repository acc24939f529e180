"""The command that scores forecasts against recorded levels."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidInput


class BadVerification(InvalidInput):
    """The verification cannot be done as asked."""


def _hours(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(h|min)", text)
    hours = float(found[1]) / (60.0 if found[2] == "min" else 1.0) if found else 0.0
    if not 0.5 <= hours <= 12.0:
        raise BadVerification(f"--horizon: not a span of 30min to 12h: {text!r}")
    return hours


def register(app: typer.Typer) -> None:
    """Adds this command to `tocsin`."""

    @app.command()
    def verify(
        levels: Annotated[Path, typer.Option(help="CSV: station_name, time_utc, water_level_m.")],
        stations: Annotated[
            Path, typer.Option(help="CSV: station_name, alert_m, minor_flood_m, major_flood_m; basin if known.")
        ],
        model: Annotated[
            str, typer.Option(help="One model's name, chosen, or all: those that run online. prophet takes minutes.")
        ] = "all",
        horizon: Annotated[str, typer.Option(help="How far ahead a warning looks, 30min to 12h.")] = "6h",
        warnings_out: Annotated[Path | None, typer.Option(help="Write every warning decision to this CSV.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Plays recorded levels through the forecast models and scores their warnings, with no look-ahead."""
        from ingest.forecast import verify as verb
        from ingest.forecast.models import CHOSEN

        hours = _hours(horizon)
        name = CHOSEN if model == "chosen" else model
        if name != "all" and name not in verb.NAMES:
            raise BadVerification(f"--model: {model!r} is none of {', '.join(verb.NAMES)}, chosen, all")
        which = [k for k, m in enumerate(verb.NAMES) if m == name or (name == "all" and m != "prophet")]
        known = verb.read_stations(stations)
        series = verb.read_levels(levels, known, lambda text: print(text, file=sys.stderr))

        def progress(done: int, total: int) -> None:
            print(f"{done} of {total} readings", file=sys.stderr)

        run = verb.forecast(known, series, hours, progress, with_prophet=name == "prophet")
        if warnings_out is not None:
            try:
                verb.write_warnings(warnings_out, run, which)
            except OSError as error:
                raise BadVerification(f"--warnings-out: {error}") from error
        rows = verb.verify(run, known, series, hours, which)
        if as_json:
            readings = sum(len(r) for r in series.values())
            print(json.dumps({"horizon_h": hours, "stations": len(series), "readings": readings, "models": rows}))
            return
        told = (
            "crossings",
            "pod",
            "far",
            "csi",
            "csi_p05",
            "csi_p95",
            "p_better_than_damped",
            "median_lead_h",
            "brier",
        )
        print("\t".join(("model", *told)))
        for row in rows:
            figures = [row[key] for key in told]
            cells = ["unknown" if v is None else f"{v:.2f}" if isinstance(v, float) else str(v) for v in figures]
            print("\t".join([f"{row['model']}{' (chosen)' if row['chosen'] else ''}", *cells]))
