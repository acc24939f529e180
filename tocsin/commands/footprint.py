"""`tocsin footprint-at`: what a footprint of polygons says at points. Files in, files out, no database."""

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Mounts this command."""
    app.command("footprint-at")(footprint_at)


def footprint_at(
    footprint: Annotated[
        Path,
        typer.Argument(
            metavar="FOOTPRINT",
            help="GeoJSON polygons, each with arrival_min (minutes; 0 or none: there now), or intensity and unit.",
            show_default=False,
        ),
    ],
    points: Annotated[Path, typer.Option(help="CSV of points: lat, lon (WGS84 degrees), value.")],
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Write for each point whether polygons hold it, when the hazard arrives first and how strong it gets at most."""
    import numpy as np
    import shapely

    from geo.exposure import lon_lat_bounds
    from geo.hazard import at_points, check_not_swapped, read_layers
    from geo.imports import read_json
    from geo.point_files import cell, read_points, read_table, read_values, write_table

    layers = read_layers(read_json(footprint), name=footprint.name)
    table = read_table(points, ("lat", "lon"))
    lon, lat = read_points(table)
    value = read_values(table)
    placed = ~np.isnan(lon)
    if placed.any():
        check_not_swapped(shapely.union_all([layer.geometry for layer in layers]), lon_lat_bounds(lon, lat))
    within, arrival, intensity = at_points(layers, lon, lat)
    unit = next((layer.unit for layer in layers if layer.intensity is not None), None) or ""
    status = np.where(~placed, "unknown_place", np.where(within, "inside", "outside"))
    write_table(
        out,
        ("lat", "lon", "status", "arrival_min", "intensity", "unit"),
        (
            (a, b, s, cell(t, 1), cell(v, 4), unit if not np.isnan(v) else "")
            for a, b, s, t, v in zip(table.text("lat"), table.text("lon"), status, arrival, intensity, strict=True)
        ),
    )
    document = {
        "n_points": len(lon),
        "n_inside": int(within.sum()),
        "n_inside_now": int((within & (arrival == 0.0)).sum()),
        "n_unknown": int((~placed).sum()),
        "value_inside": float(np.nansum(value[within])),
        "value_unknown": float(np.nansum(value[~placed])),
        "largest_intensity": None if np.isnan(intensity).all() else float(np.nanmax(intensity)),
        "unit": unit or None,
    }
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return
    print(
        f"{document['n_inside']} of {len(lon)} points inside, {document['n_inside_now']} of them now, value "
        f"{document['value_inside']:,.2f}"
    )
    if document["n_unknown"]:
        print(f"{document['n_unknown']} points without a place, value {document['value_unknown']:,.2f}: unknown")
