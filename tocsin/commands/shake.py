"""`tocsin shake`: ground shaking at points and the damage it does. Files in, files out, no database."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

Points = Annotated[Path, typer.Option(help="CSV of points: lat, lon (WGS84 degrees), value.")]
Out = Annotated[Path, typer.Option(help="CSV file to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts these commands."""
    app.command("shake")(shake)


def _tell(as_json: bool, document: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))


def shake(
    grid: Annotated[
        Path, typer.Argument(metavar="GRID", help="ShakeMap grid.xml, or grid.xml.gz.", show_default=False)
    ],
    points: Annotated[Path, typer.Option(help="CSV: lat, lon, value; type and code (HAZUS) where known.")],
    out: Out,
    fragility: Annotated[str, typer.Option(help="HAZUS TYPE:CODE of rows without type and code.")] = "W1:high",
    threshold_g: Annotated[float, typer.Option(help="Points with a lower PGA are not listed.")] = 0.05,
    sensors: Annotated[
        Path | None, typer.Option(help="CSV of readings: lat, lon, pga_g. They condition the map, see the method page.")
    ] = None,
    correlation_km: Annotated[
        float | None, typer.Option(help="With --sensors: distance at which departures correlate by 1/e.")
    ] = None,
    sensor_error: Annotated[
        float | None, typer.Option(help="With --sensors: standard deviation of ln(reading), for example 0.1.")
    ] = None,
    field_sigma: Annotated[
        float | None, typer.Option(help="With --sensors: sigma of ln(PGA) where the grid has none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write points shaken by an earthquake, the largest expected loss first, from a ShakeMap."""
    import gzip

    import numpy as np

    from geo.conditioning import DOUBTFUL_SD, condition
    from geo.point_files import BadTable, cell, read_points, read_sensors, read_table, read_values, write_table
    from geo.shakemap import damage_ratio, read_shakemap, shaking_at

    if not 0.0 < threshold_g < 5.0:
        raise InvalidInput(f"--threshold-g: {threshold_g:g} is no acceleration in g between 0 and 5")
    try:
        content = grid.read_bytes()
        content = gzip.decompress(content) if content[:2] == bytes((0x1F, 0x8B)) else content
    except (OSError, EOFError) as error:
        raise BadTable(f"{grid.name}: {error}") from error
    quake = read_shakemap(content, grid.name)
    table = read_table(points, ("lat", "lon"))
    lon, lat = read_points(table)
    value = read_values(table)
    pga, sigma = shaking_at(quake, lon, lat)
    conditioned: dict[str, Any] = {}
    if sensors is not None:
        if correlation_km is None or sensor_error is None:
            raise InvalidInput("--sensors: needs --correlation-km and --sensor-error; neither has a default")
        x, y, reading = read_sensors(sensors, "pga_g", ("pga", "pga_pctg", "pga_cm_s2", "pga_m_s2"))
        at_sensors, sigma_there = shaking_at(quake, x, y)
        if field_sigma is not None:
            sigma = np.where(np.isnan(sigma) & ~np.isnan(pga), field_sigma, sigma)
            sigma_there = np.where(np.isnan(sigma_there) & ~np.isnan(at_sensors), field_sigma, sigma_there)
        if (np.isnan(sigma_there) & ~np.isnan(at_sensors)).any():
            raise InvalidInput(f"{grid.name}: has no STDPGA: name the sigma of ln(PGA) with --field-sigma")
        pga, sigma, departure = condition(
            lon=lon, lat=lat, median=pga, sigma_ln=sigma, sensor_lon=x, sensor_lat=y, sensor_median=at_sensors,
            sensor_sigma_ln=sigma_there, reading=reading, error_ln=sensor_error, correlation_km=correlation_km,
        )  # fmt: skip
        conditioned["sensors"] = {
            "n": len(reading),
            "n_silent": int(np.isnan(reading).sum()),
            "n_outside_grid": int(np.isnan(at_sensors).sum()),
            "correlation_km": correlation_km,
            "sensor_error": sensor_error,
            "doubtful_rows": [int(i) + 1 for i in np.flatnonzero(np.abs(np.nan_to_num(departure)) > DOUBTFUL_SD)],
        }
    default = fragility.partition(":")
    kinds = [
        (kind or default[0], code or default[2])
        for kind, code in zip(table.text("type"), table.text("code"), strict=True)
    ]
    ratio = np.full(len(pga), np.nan)
    for kind, code in sorted(set(kinds)):
        rows = np.array([one == (kind, code) for one in kinds])
        ratio[rows] = damage_ratio(pga[rows], sigma[rows], kind, code)
    loss = ratio * value
    unknown = np.isnan(pga)
    listed = np.flatnonzero(~unknown & (np.nan_to_num(pga) >= threshold_g))
    order = listed[np.lexsort((listed, -pga[listed], -np.nan_to_num(loss[listed], nan=-1.0)))]
    names, lats, lons = table.text("id"), table.text("lat"), table.text("lon")
    write_table(
        out,
        ("rank", "id", "lat", "lon", "pga_g", "sigma_ln", "damage_ratio", "loss"),
        (
            (
                rank,
                names[i],
                lats[i],
                lons[i],
                cell(pga[i], 4),
                cell(sigma[i], 4),
                cell(ratio[i], 6),
                cell(loss[i], 2),
            )
            for rank, i in enumerate(order, 1)
        ),
    )
    document = {
        "event_id": quake.event_id,
        "shakemap_version": quake.version,
        "magnitude": quake.magnitude,
        "threshold_g": threshold_g,
        "n_points": len(lon),
        "n_listed": len(order),
        "n_outside_grid": int(unknown.sum()),
        "value_outside_grid": float(np.nansum(value[unknown])),
        "max_pga_g_of_map": float(quake.pga_g.max()),
        "loss_listed": float(np.nansum(loss[order])),
        **conditioned,
    }
    head = f"M{quake.magnitude:g} {quake.event_id}, ShakeMap version {quake.version}: "
    if len(order):
        lines = [
            f"{head}{len(order)} of {len(lon)} points at {threshold_g:g} g or more, loss {document['loss_listed']:,.0f}"
        ]
    else:
        lines = [
            f"{head}no point is known to have been shaken by {threshold_g:g} g or more "
            f"(largest of the map {document['max_pga_g_of_map']:.3f} g)"
        ]
    if unknown.any():
        lines.append(
            f"{document['n_outside_grid']} points outside the map or without a place, value "
            f"{document['value_outside_grid']:,.0f}: unknown"
        )
    if conditioned:
        told = conditioned["sensors"]
        lines.append(
            f"conditioned on {told['n']} readings ({told['n_silent']} silent, {told['n_outside_grid']} outside the map)"
        )
        if told["doubtful_rows"]:
            lines.append(f"doubtful readings, far from the map: rows {', '.join(map(str, told['doubtful_rows']))}")
    _tell(as_json, document, lines)
