"""`tocsin wind | flood | shake`: hazard at points and the damage it does. Files in, files out, no database."""

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
    app.command("wind")(wind)
    app.command("flood")(flood)
    app.command("shake")(shake)


def _tell(as_json: bool, document: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))


def wind(
    track: Annotated[
        Path,
        typer.Argument(
            metavar="TRACK", help="CSV: time, lat, lon, vmax_kt, pc_hpa, penv_hpa, rmw_nmile.", show_default=False
        ),
    ],
    points: Points,
    out: Out,
    model: Annotated[str, typer.Option(help="Wind profile: H80, H08 or H10.")] = "H08",
    v_half: Annotated[float | None, typer.Option(help="Wind of half damage, m/s; default 74.7 (US).")] = None,
    region: Annotated[str | None, typer.Option(help="Region of Eberenz et al. (2021) in place of --v-half.")] = None,
    calibration: Annotated[str, typer.Option(help="With --region: tdr or rmsf.")] = "tdr",
    averaging_min: Annotated[int, typer.Option(help="Minutes over which vmax_kt is averaged: 1 or 10.")] = 1,
    penv_hpa: Annotated[float | None, typer.Option(help="Pressure around the storm where the track has none.")] = None,
    step_min: Annotated[float, typer.Option(help="Longest step in minutes; wider gaps are filled in.")] = 60.0,
    reach_km: Annotated[float, typer.Option(help="Beyond this distance the storm has no wind.")] = 1000.0,
    trust_units: Annotated[bool, typer.Option("--trust-units", help="Do not hold wind against pressure.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write each point's largest wind over a storm (1-minute, surface) and the loss by Emanuel's curve."""
    import numpy as np

    from geo.point_files import cell, read_points, read_table, read_track, read_values, write_table
    from geo.vulnerability import V_HALF_US_M_S, emanuel, v_half_m_s
    from geo.wind import MODELS, UnknownModel, check_points_near, max_wind_m_s, resample

    chosen = next((name for name in MODELS if name == model.upper()), None)
    if chosen is None:
        raise UnknownModel(f"--model: {model!r} is none of {', '.join(MODELS)}")
    if v_half is not None and region is not None:
        raise InvalidInput("--v-half and --region: give one of them")
    if not (np.isfinite(reach_km) and reach_km > 0.0):
        raise InvalidInput(f"--reach-km: {reach_km:g} is not a distance")
    half = v_half_m_s(region, calibration) if region is not None else v_half if v_half is not None else V_HALF_US_M_S
    storm = resample(
        read_track(track, averaging_min=averaging_min, penv_hpa=penv_hpa, check=not trust_units), step_min * 60.0
    )
    table = read_table(points, ("lat", "lon"))
    lon, lat = read_points(table)
    value = read_values(table)
    placed = ~np.isnan(lon)
    check_points_near(storm, lon[placed], lat[placed])

    def run(name: Any) -> tuple[Any, Any]:
        speed = np.full(len(lon), np.nan)
        speed[placed] = max_wind_m_s(storm, lon[placed], lat[placed], model=name, reach_km=reach_km)
        return speed, emanuel(speed, half) * value

    speed, loss = run(chosen)
    spread = {name: float(np.nansum(run(name)[1])) for name in MODELS if name == chosen or _has(storm, name)}
    write_table(
        out,
        ("lat", "lon", "wind_m_s", "loss"),
        (
            (a, b, cell(v, 4), cell(money, 2))
            for a, b, v, money in zip(table.text("lat"), table.text("lon"), speed, loss, strict=True)
        ),
    )
    unvalued = int((placed & np.isnan(value)).sum())
    known = speed[placed]
    top = float(known.max()) if len(known) else None
    document = {
        "model": chosen,
        "v_half_m_s": half,
        "n_points": len(lon),
        "n_without_place": int((~placed).sum()),
        "value_without_place": float(np.nansum(value[~placed])),
        "n_without_value": unvalued,
        "n_fixes_radius_estimated": storm.n_rmw_estimated,
        "max_wind_m_s": top,
        "loss": float(np.nansum(loss)),
        "loss_by_model": spread,
    }
    lines = [
        f"{len(lon)} points, largest wind {'unknown' if top is None else f'{top:.1f} m/s'}, loss "
        f"{document['loss']:,.2f} ({chosen}, v_half {half:g} m/s)",
        "loss by model: " + ", ".join(f"{name} {total:,.0f}" for name, total in spread.items()),
    ]
    if not placed.all():
        lines.append(
            f"{document['n_without_place']} points without a place, "
            f"value {document['value_without_place']:,.2f}: unknown"
        )
    if unvalued:
        lines.append(f"{unvalued} points without a value: their loss is unknown")
    if storm.n_rmw_estimated:
        lines.append(f"radius of maximum wind estimated from pressure at {storm.n_rmw_estimated} fixes")
    _tell(as_json, document, lines)


def _has(storm: Any, model: str) -> bool:
    """Whether the track has what a model needs."""
    import numpy as np

    return model != "H80" or not bool(np.isnan(storm.vmax_m_s).any())


def flood(
    buildings: Annotated[
        Path,
        typer.Argument(
            metavar="BUILDINGS",
            help="CSV with HAZUS UDF columns (FltyId, Longitude, Latitude, Occ, NumStories, FoundationType, "
            "FirstFloorHt in ft, Cost, ContentCost, Area) or an OED location file.",
            show_default=False,
        ),
    ],
    depth: Annotated[Path, typer.Option(help="Raster of the water's depth above ground (GeoTIFF).")],
    depth_unit: Annotated[str, typer.Option(help="Unit of the raster: ft or m.")],
    out: Out,
    curves: Annotated[str, typer.Option(help="hazus, fia or jrc:CONTINENT.")] = "hazus",
    nodata: Annotated[str, typer.Option(help="What a cell without data inside the raster is: dry or unknown.")] = "dry",
    first_floor_ft: Annotated[
        float | None, typer.Option(help="Height of the first floor above ground where the file has none, ft.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write each building's flood depth and its losses by published depth-damage curves."""
    import math
    from collections import Counter

    from geo.flood_damage import FOOT_M, Damage, check_curves, damage, total
    from geo.point_files import cell, load_flood_curves, read_buildings, write_table
    from geo.raster import sample

    if depth_unit not in ("ft", "m"):
        raise InvalidInput(f"--depth-unit: {depth_unit!r} is neither ft nor m")
    if nodata not in ("dry", "unknown"):
        raise InvalidInput(f"--nodata: {nodata!r} is neither dry nor unknown")
    hazus, jrc = load_flood_curves()
    chosen = check_curves(curves, jrc)
    book, lon, lat = read_buildings(buildings, hazus, first_floor_ft)
    water, inside, missing = sample(depth, lon, lat, depth_unit)
    water_ft = water if depth_unit == "ft" else water / FOOT_M
    nan = math.nan
    found: list[Damage] = []
    for i, one in enumerate(book):
        why = ""
        if math.isnan(lon[i]):
            why = "unknown_place"
        elif not inside[i]:
            why = "unknown_outside_raster"
        elif missing[i] and nodata == "unknown":
            why = "unknown_no_depth"
        if why:
            found.append(
                Damage(depth_in_structure_ft=nan, building_loss=nan, contents_loss=nan, inventory_loss=nan, status=why)
            )
        else:
            found.append(damage(one, 0.0 if missing[i] else float(water_ft[i]), chosen, hazus, jrc))
    write_table(
        out,
        ("id", "depth_in_structure_ft", "building_loss", "contents_loss", "inventory_loss", "status"),
        (
            (
                one.id,
                cell(d.depth_in_structure_ft, 4),
                cell(d.building_loss, 2),
                cell(d.contents_loss, 2),
                cell(d.inventory_loss, 2),
                d.status,
            )
            for one, d in zip(book, found, strict=True)
        ),
    )
    counts = Counter(d.status for d in found)
    unknown_value = total(
        [one.building_value for one, d in zip(book, found, strict=True) if d.status.startswith("unknown")]
    )
    document = {
        "curves": chosen,
        "source": jrc["publication"] if chosen.startswith("jrc:") else hazus["publication"],
        "n_buildings": len(book),
        "by_status": dict(sorted(counts.items())),
        "n_cells_without_data_taken_as_dry": int(missing.sum()) if nodata == "dry" else 0,
        "building_value_unknown": unknown_value,
        "building_loss": total([d.building_loss for d in found]),
        "contents_loss": total([d.contents_loss for d in found]),
        "inventory_loss": total([d.inventory_loss for d in found]),
    }
    _tell(
        as_json,
        document,
        [
            f"{len(book)} buildings: " + ", ".join(f"{n} {status}" for status, n in sorted(counts.items())),
            f"loss: buildings {document['building_loss']:,.0f}, contents {document['contents_loss']:,.0f}, "
            f"inventory {document['inventory_loss']:,.0f}",
            f"value of buildings whose loss is unknown: {unknown_value:,.0f}",
        ],
    )


def shake(
    grid: Annotated[
        Path, typer.Argument(metavar="GRID", help="ShakeMap grid.xml, or grid.xml.gz.", show_default=False)
    ],
    points: Annotated[Path, typer.Option(help="CSV: lat, lon, value; type and code (HAZUS) where known.")],
    out: Out,
    fragility: Annotated[str, typer.Option(help="HAZUS TYPE:CODE of rows without type and code.")] = "W1:high",
    threshold_g: Annotated[float, typer.Option(help="Points with a lower PGA are not listed.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Write points shaken by an earthquake, the largest expected loss first, from a ShakeMap."""
    import gzip

    import numpy as np

    from geo.point_files import BadTable, cell, read_points, read_table, read_values, write_table
    from geo.shakemap import damage_ratio, read_shakemap, shaking_at

    if not 0.0 < threshold_g < 5.0:
        raise InvalidInput(f"--threshold-g: {threshold_g:g} is no acceleration in g between 0 and 5")
    try:
        content = grid.read_bytes()
        content = gzip.decompress(content) if content[:2] == bytes((0x1F, 0x8B)) else content
    except (OSError, EOFError) as error:
        raise BadTable(f"{grid.name}: {error}") from error
    quake = read_shakemap(content)
    table = read_table(points, ("lat", "lon"))
    lon, lat = read_points(table)
    value = read_values(table)
    pga, sigma = shaking_at(quake, lon, lat)
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
    _tell(as_json, document, lines)
