"""`tocsin flood`, `tocsin flood-aal`: what water does to buildings. Files in, files out, no database."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

Buildings = Annotated[
    Path,
    typer.Argument(
        metavar="BUILDINGS",
        help="CSV with HAZUS UDF columns (FltyId, Longitude, Latitude, Occ, NumStories, FoundationType, "
        "FirstFloorHt in ft, Cost, ContentCost, Area) or an OED location file.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="CSV file to write.")]
Curves = Annotated[
    str, typer.Option(help="hazus, hazus-coastal-a, hazus-coastal-v, fia, usace or jrc:CONTINENT (jrc:asia, ...).")
]
NoData = Annotated[str, typer.Option(help="What a cell without data inside the raster is: dry or unknown.")]
FirstFloor = Annotated[
    float | None, typer.Option(help="Height of the first floor above ground where the file has none, ft.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts these commands."""
    app.command("flood")(flood)
    app.command("flood-aal")(flood_aal)


def _tell(as_json: bool, document: dict[str, Any], lines: list[str]) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))


def _checked_unit(option: str, unit: str | None) -> str:
    if unit not in ("ft", "m"):
        raise InvalidInput(f"{option}: {unit!r} is neither ft nor m")
    return unit


def flood(
    buildings: Buildings,
    out: Out,
    depth: Annotated[Path | None, typer.Option(help="Raster of the water's depth above ground (GeoTIFF).")] = None,
    depth_unit: Annotated[str | None, typer.Option(help="Unit of the raster: ft or m.")] = None,
    gauges: Annotated[
        Path | None,
        typer.Option(help="In place of --depth: CSV with lat, lon, datum and level_m or level_ft; needs --terrain."),
    ] = None,
    terrain: Annotated[Path | None, typer.Option(help="Raster of the ground's height, with --gauges.")] = None,
    terrain_unit: Annotated[str | None, typer.Option(help="Unit of the terrain: ft or m.")] = None,
    terrain_datum: Annotated[
        str | None, typer.Option(help="Vertical datum of the terrain, as the gauges name theirs: NAVD88, EGM2008, ...")
    ] = None,
    gauge_reach_km: Annotated[float, typer.Option(help="Further than this from every gauge is unknown.")] = 10.0,
    curves: Curves = "hazus",
    nodata: NoData = "dry",
    first_floor_ft: FirstFloor = None,
    restoration: Annotated[
        str | None,
        typer.Option(
            help="Add HAZUS restoration days and, by the min, mid or max of them, the loss of a year's BITIV: min, mid "
            "or max."
        ),
    ] = None,
    debris: Annotated[bool, typer.Option("--debris", help="Add HAZUS tons of debris (needs Area).")] = False,
    debris_cost_per_ton: Annotated[
        float | None, typer.Option(help="With --debris: what removing a short ton costs, a declared figure.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write each building's flood depth and its losses by published depth-damage curves."""
    from collections import Counter

    from geo.flood_damage import FOOT_M, check_curves, total
    from geo.flood_files import CurveSets, damages
    from geo.point_files import cell, read_buildings, read_gauges, write_table
    from geo.raster import depth_from_gauges, sample
    from tocsin.commands.flood_beside import Beside

    further = Beside.asked(restoration, debris, debris_cost_per_ton)

    if nodata not in ("dry", "unknown"):
        raise InvalidInput(f"--nodata: {nodata!r} is neither dry nor unknown")
    sets = CurveSets.load()
    chosen = check_curves(curves, sets.jrc)
    book, lon, lat = read_buildings(buildings, sets.hazus, first_floor_ft)
    counts: dict[str, int] = {}
    if gauges is not None:
        if depth is not None or depth_unit is not None:
            raise InvalidInput("--gauges and --depth: give one of them")
        if terrain is None or terrain_datum is None:
            raise InvalidInput("--gauges: needs --terrain, --terrain-unit and --terrain-datum")
        unit = _checked_unit("--terrain-unit", terrain_unit)
        levels = read_gauges(gauges, terrain_datum)
        water, inside, missing, counts = depth_from_gauges(terrain, unit, levels, lon, lat, gauge_reach_km)
        water_ft, nodata = water / FOOT_M, "unknown"  # ground or surface that is not known is not dry
    else:
        if depth is None:
            raise InvalidInput("--depth: is missing; or give --gauges and --terrain")
        unit = _checked_unit("--depth-unit", depth_unit)
        water, inside, missing = sample(depth, lon, lat, unit)
        water_ft = water if unit == "ft" else water / FOOT_M
    found = damages(book, lon, water_ft, inside, missing, nodata, chosen, sets)
    spread = chosen == "usace"
    further.compute(book, found)
    write_table(
        out,
        (
            "id", "depth_in_structure_ft", "building_loss", "contents_loss", "inventory_loss", "status",
            *(("building_loss_sd", "contents_loss_sd") if spread else ()), *further.header,
        ),
        (
            (
                one.id,
                cell(d.depth_in_structure_ft, 4),
                cell(d.building_loss, 2),
                cell(d.contents_loss, 2),
                cell(d.inventory_loss, 2),
                d.status,
                *((cell(d.building_loss_sd, 2), cell(d.contents_loss_sd, 2)) if spread else ()),
                *further.cells(i),
            )
            for i, (one, d) in enumerate(zip(book, found, strict=True))
        ),
    )  # fmt: skip
    by_status = Counter(d.status for d in found)
    unknown_value = total(
        [one.building_value for one, d in zip(book, found, strict=True) if d.status.startswith("unknown")]
    )
    document = {
        "curves": chosen,
        "source": sets.publication(chosen),
        "n_buildings": len(book),
        "by_status": dict(sorted(by_status.items())),
        "n_cells_without_data_taken_as_dry": int(missing.sum()) if nodata == "dry" else 0,
        "building_value_unknown": unknown_value,
        "building_loss": total([d.building_loss for d in found]),
        "contents_loss": total([d.contents_loss for d in found]),
        "inventory_loss": total([d.inventory_loss for d in found]),
        **counts,
        **further.document(),
    }
    lines = [
        f"{len(book)} buildings: " + ", ".join(f"{n} {status}" for status, n in sorted(by_status.items())),
        f"loss: buildings {document['building_loss']:,.0f}, contents {document['contents_loss']:,.0f}, "
        f"inventory {document['inventory_loss']:,.0f}",
        f"value of buildings whose loss is unknown: {unknown_value:,.0f}",
    ]
    lines += further.lines()
    if counts:
        lines += [
            f"{counts['n_gauges']} gauges, of which {counts['n_gauges_silent']} silent, "
            f"{counts['n_gauges_off_terrain']} off the terrain, {counts['n_gauges_without_water']} below all ground",
            f"{counts['n_points_low_but_apart']} buildings lie low but no water leads there",
        ]
    _tell(as_json, document, lines)


def flood_aal(
    buildings: Buildings,
    depth: Annotated[
        list[str], typer.Option(help="RETURN_PERIOD:RASTER, for example 100:depth100.tif; give it for each map.")
    ],
    depth_unit: Annotated[str, typer.Option(help="Unit of the rasters: ft or m.")],
    out: Annotated[Path, typer.Option(help="CSV file to write: frequency and loss of the book.")],
    curves: Curves = "hazus",
    dry_at: Annotated[
        float | None, typer.Option(help="Return period at which nothing is flooded yet; else the first map's.")
    ] = None,
    elt_out: Annotated[
        Path | None, typer.Option(help="CSV for `tocsin ep`: an event for each interval of frequency.")
    ] = None,
    nodata: NoData = "dry",
    first_floor_ft: FirstFloor = None,
    as_json: AsJson = False,
) -> None:
    """Average annual flood loss of a book from depth maps of several return periods."""
    import sys

    import numpy as np
    from rich.console import Console
    from rich.progress import Progress

    from geo.flood_damage import FOOT_M, check_curves
    from geo.flood_files import CurveSets, damages
    from geo.point_files import cell, read_buildings, write_table
    from geo.raster import sample
    from geo.return_periods import BadMaps, check_periods, check_rising, integrate

    unit = _checked_unit("--depth-unit", depth_unit)
    if nodata not in ("dry", "unknown"):
        raise InvalidInput(f"--nodata: {nodata!r} is neither dry nor unknown")
    maps: list[tuple[float, Path]] = []
    for given in depth:
        period, colon, name = given.partition(":")
        try:
            maps.append((float(period), Path(name)))
        except ValueError:
            raise BadMaps(f"--depth: {given!r} is not RETURN_PERIOD:RASTER") from None
        if not colon or not name:
            raise BadMaps(f"--depth: {given!r} is not RETURN_PERIOD:RASTER")
    maps.sort(key=lambda one: one[0])
    years = check_periods(np.array([period for period, _ in maps]))
    sets = CurveSets.load()
    chosen = check_curves(curves, sets.jrc)
    book, lon, lat = read_buildings(buildings, sets.hazus, first_floor_ft)
    water = np.full((len(maps), len(book)), np.nan)
    for i, (_, path) in enumerate(maps):
        value, inside, missing = sample(path, lon, lat, unit)
        water[i] = np.where(missing & inside & (nodata == "dry"), 0.0, value if unit == "ft" else value / FOOT_M)
    water = np.where(water < 0.0, 0.0, water)
    n_falling = check_rising(years, water)
    known = ~np.isnan(water).any(axis=0)
    everywhere, nowhere = np.ones(len(book), dtype=bool), np.zeros(len(book), dtype=bool)
    unknown_loss = np.zeros(len(book), dtype=bool)

    def loss_at(depth_ft: Any) -> float:
        bar.advance(task)
        losses = damages(book, lon, np.nan_to_num(depth_ft), everywhere, nowhere, "unknown", chosen, sets)
        each = np.array([d.building_loss + d.contents_loss + d.inventory_loss for d in losses])
        unknown_loss[np.isnan(each)] = True
        return float(np.nansum(np.where(known, each, 0.0)))

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Frequencies", total=None)
        curve = integrate(years, water, loss_at, dry_at_years=dry_at)
    write_table(
        out,
        ("return_period_years", "frequency_per_year", "loss"),
        (
            (f"{1.0 / f:.6g}", f"{f:.10g}", cell(y, 2))
            for f, y in zip(curve.frequency_per_year, curve.loss, strict=True)
        ),
    )
    if elt_out is not None:
        rate, mean = curve.events()
        rows = [(i, f"{r:.12g}", cell(m, 2)) for i, (r, m) in enumerate(zip(rate, mean, strict=True), 1) if r > 0.0]
        write_table(elt_out, ("event_id", "rate", "mean"), rows)
    lost = ~known | unknown_loss
    document = {
        "curves": chosen,
        "source": sets.publication(chosen),
        "return_periods_years": years.tolist(),
        "aal": curve.aal,
        "aal_beyond_largest_period": curve.beyond,
        "n_buildings": len(book),
        "n_unknown": int(lost.sum()),
        "value_unknown": float(np.nansum([one.building_value for one, bad in zip(book, lost, strict=True) if bad])),
        "n_with_less_water_in_a_rarer_map": n_falling,
    }
    _tell(
        as_json,
        document,
        [
            f"average annual loss {curve.aal:,.2f}, of which {curve.beyond:,.2f} beyond 1 in {years[-1]:g} (at least)",
            f"{len(book)} buildings, {document['n_unknown']} unknown with a value of {document['value_unknown']:,.0f}",
            *([f"{n_falling} buildings have less water in a rarer map"] if n_falling else []),
        ],
    )
