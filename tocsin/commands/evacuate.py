"""`tocsin evacuate`, `tocsin roads build | info`."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]


def register(app: typer.Typer) -> None:
    """Mounts these commands."""
    roads = typer.Typer(no_args_is_help=True, help="Road networks as files.")
    roads.command("build")(build)
    roads.command("info")(info)
    app.add_typer(roads, name="roads")
    app.command("evacuate")(evacuate)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def build(
    extract: Annotated[Path, typer.Argument(help=".osm.pbf, .graphml, .geojson, .gpkg or .shp", show_default=False)],
    out: Annotated[Path, typer.Option(help="The network file to write, for example town.roads.")],
    as_json: AsJson = False,
) -> None:
    """Build a network file from an extract: cut at crossings, with turn bans, access, speeds and capacities."""
    from geo.roadfiles import read_extract

    _say(f"Reading {extract.name}")
    network = read_extract(extract, lambda n: _say(f"  {n:,} roads") if n % 20_000 == 0 else None)
    if assumed := network.about.get("assumed"):
        _say(f"{extract.name}: {assumed}")
    content = network.to_bytes()
    partial = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise InvalidInput(f"--out: {out}: {error.strerror}") from error
    told: dict[str, Any] = {
        "file": str(out), "bytes": len(content), "n_nodes": network.n_nodes, "n_roads": network.n_roads,
        "n_edges": network.n_edges, "about": network.about,
    }  # fmt: skip
    line = f"{out}: {network.n_roads:,} roads, {network.n_edges:,} directed edges, {len(content) / 1e6:.1f} MB"
    print(json.dumps(told, ensure_ascii=False, indent=2) if as_json else line)


def info(
    network: Annotated[Path, typer.Argument(help="A network file, or an extract.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Tell what is in a network: size, classes, bridges, turn bans, parts that hang together, date and source."""
    from geo.roadfiles import describe, read_extract

    told = describe(read_extract(network))
    if as_json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for key, value in told.items():
        print(f"{key}: {json.dumps(value, ensure_ascii=False)}")


def evacuate(
    roads: Annotated[Path, typer.Option(help="A network file of `tocsin roads build`, or an extract.")],
    hazard: Annotated[
        list[Path],
        typer.Option(help="GeoJSON polygons with arrival_min and peril, or CSV of rasters; several: forecasts."),
    ],
    safe_zones: Annotated[Path, typer.Option("--safe-zones", help="GeoJSON points: id, seats, accessible_seats.")],
    households: Annotated[Path, typer.Option(help="CSV: id, lon, lat, people, mode, needs.")],
    out: Annotated[Path, typer.Option(help="Folder for households.csv, plan.json and routes.geojson.")],
    weight: Annotated[list[float] | None, typer.Option(help="Weight of each --hazard, in their order.")] = None,
    mode: Annotated[str | None, typer.Option(help="car or foot, for everybody; else each household's own.")] = None,
    seats: Annotated[bool, typer.Option("--seats", help="Give out the seats of the safe zones.")] = False,
    routes: Annotated[bool, typer.Option("--routes", help="Write every route's line.")] = False,
    clearance: Annotated[bool, typer.Option("--clearance", help="Simulate when 90 and 100 % have arrived.")] = False,
    vehicles: Annotated[float, typer.Option(help="Vehicles a household, for --clearance.")] = 1.3,
    mobilisation_min: Annotated[float, typer.Option(help="Minutes until 90 % have left, for --clearance.")] = 60.0,
    shadow_share: Annotated[float, typer.Option(help="Share of those not forecast to be reached who leave too.")] = 1.0,
    longer_share: Annotated[
        float | None,
        typer.Option(
            help="With --clearance: by how much all ways may become longer so that all are out sooner; by default "
            "0.01 with --seats, else 0.1.",
            show_default=False,
        ),
    ] = None,
    contraflow: Annotated[
        Path | None, typer.Option(help="CSV: way. Scenario for --clearance: all lanes outwards; no route uses it.")
    ] = None,
    overrides: Annotated[Path | None, typer.Option(help="CSV: way, action (open, close), by, reason.")] = None,
    travel_margin: Annotated[float, typer.Option(help="Factor on travel times against closing times.")] = 1.0,
    max_inside_m: Annotated[float, typer.Option(help="Nobody is sent across more hazard than this.")] = 500.0,
    max_snap_m: Annotated[float, typer.Option(help="Farther from a road is off the network.")] = 1000.0,
    quantile: Annotated[float, typer.Option(help="Weight of the forecasts under which a leave-by holds.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Find every household's own way out, and the minute by which it must leave."""
    from geo.evacuate import Job, write
    from geo.evacuate import evacuate as run
    from geo.evacuation import Margins
    from geo.traffic import Demand

    if mode not in (None, "car", "foot"):
        raise InvalidInput(f"--mode: {mode!r} is neither car nor foot")
    if weight and len(weight) != len(hazard):
        raise InvalidInput(f"--weight: {len(weight)} weights for {len(hazard)} hazards")
    if weight and not all(0 < w < float("inf") for w in weight):
        raise InvalidInput("--weight: a weight is a number above 0")
    margins = Margins(
        travel=travel_margin, notice_s=0.0, max_inside_m=max_inside_m, max_snap_m=max_snap_m, quantile=quantile
    )
    demand = None
    if contraflow is not None and not clearance:
        raise InvalidInput("--contraflow: it is a scenario of --clearance: give both")
    if longer_share is not None and not (clearance and 0.0 <= longer_share <= 1.0):
        raise InvalidInput("--longer-share: it goes with --clearance and is a share within 0..1")
    if clearance:
        demand = Demand(vehicles=vehicles, mobilisation_min=mobilisation_min, shadow_share=shadow_share)
    done = run(
        Job(
            roads=roads, hazards=hazard, weights=weight or [], safe_zones=safe_zones, households=households, mode=mode,
            seats=seats, overrides=overrides, margins=margins, demand=demand,
            longer_share=longer_share, contraflow=contraflow,
        ),
        _say,
    )  # fmt: skip
    files = write(done, out, routes=routes)
    for row in done.refused:
        _say(f"refused: {row}")
    if as_json:
        print(json.dumps(done.summary, ensure_ascii=False, indent=2))
    else:
        told = ", ".join(f"{n:,} {status}" for status, n in done.summary["counts"].items())
        print(f"{done.summary['households']:,} households: {told}\n" + "\n".join(f"  {file}" for file in files))
