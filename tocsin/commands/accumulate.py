"""`tocsin accumulate`: what a book holds in cells, areas, rings and footprints. Files in, files out, no database."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import InvalidInput
from tocsin.commands.options import day


def register(app: typer.Typer) -> None:
    """Mounts this command."""
    app.command("accumulate")(accumulate)


def accumulate(
    book: Annotated[
        Path,
        typer.Argument(
            metavar="BOOK",
            help="OED location file (CSV, Parquet), or CSV with lat, lon, value and optionally id, account, currency.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV file to write: a line for each group and currency.")],
    h3: Annotated[int | None, typer.Option(help="Group by H3 cell of this resolution, 0 to 15.")] = None,
    areas: Annotated[Path | None, typer.Option(help="Group by the polygons of this GeoJSON file.")] = None,
    name: Annotated[str, typer.Option(help="Property that names an area; else its number.")] = "name",
    rings: Annotated[
        list[str] | None, typer.Option(help="Group by rings: LON,LAT:KM,KM,... for example 0.12,51.5:1,5,10.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Group by any OED field of the file: OccupancyCode, PostalCode, ..."),
    ] = None,
    footprint: Annotated[
        Path | None, typer.Option(help="GeoJSON of a footprint: what enters it, and with --against what leaves it.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="GeoJSON of the footprint version before.")] = None,
    schedules: Annotated[
        Path | None,
        typer.Option(
            help="Crops and works under construction: CSV with schedule, kind (works or crop), day, share. Locations "
            "name theirs in a column Schedule and count with their value on the day of --on."
        ),
    ] = None,
    on: Annotated[str | None, typer.Option(help="The day of --schedules, 2026-01-31.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")
    ] = False,
) -> None:
    """Sum insured values by cell, area, ring or change of a footprint; sums are exact, currencies are not added."""
    from geo.accumulation import BadGroups, Group, by_area, by_cell, by_ring, by_text, change
    from geo.book_files import read_book
    from geo.exposure import cents_text
    from geo.imports import read_areas
    from geo.point_files import write_table
    from geo.schedule_files import on_day, read_schedules

    asked = any(given is not None for given in (h3, areas, rings, by, footprint, schedules))
    if not asked:
        raise InvalidInput("give one or more of --h3, --areas, --rings, --by, --footprint, --schedules")
    if against is not None and footprint is None:
        raise InvalidInput("--against: needs --footprint")
    if (schedules is None) != (on is None):
        raise InvalidInput("--schedules and --on come together or not at all")
    source = read_book(book)
    kinds: list[str] = []
    if schedules is not None and on is not None:
        dated = on_day(source, read_schedules(schedules), day("--on", on))
        source, kinds = dated.source, dated.kind
    held, refused = source.book, source.refused
    for row in refused:
        print(f"refused: {row}", file=sys.stderr)
    groups: list[tuple[str, Group]] = []
    if h3 is not None:
        groups += [("h3", one) for one in by_cell(held, h3)]
    if areas is not None:
        found, nowhere = by_area(held, read_areas(areas, name))
        groups += [("area", one) for one in found]
        groups.append(("area", Group("(in none)", len(nowhere), _accounts(nowhere), held.by_currency(nowhere))))
    for ring in rings or ():
        place, _, radii = ring.partition(":")
        try:
            lon, lat = (float(part) for part in place.split(","))
            steps = [float(part) for part in radii.split(",")]
        except ValueError:
            raise BadGroups(f"--rings: {ring!r} is not LON,LAT:KM,KM,...") from None
        if not (-180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0):
            raise BadGroups(f"--rings: {place}: longitude, latitude are out of range; are they exchanged?")
        groups += [("ring", Group(f"{place}: {one.key}", one.n_locations, one.n_accounts, one.tiv_cents))
                   for one in by_ring(held, lon, lat, steps)]  # fmt: skip
    if kinds:
        groups += [(f"value_on_{on}", one) for one in by_text(held, kinds)]
    for field in by or ():
        groups += [(field, one) for one in by_text(held, source.texts(field))]
    if footprint is not None:
        import shapely

        new = shapely.union_all([polygon for _, polygon in read_areas(footprint, name)])
        old = shapely.MultiPolygon()
        if against is not None:
            old = shapely.union_all([polygon for _, polygon in read_areas(against, name)])
        parts = change(held, old, new)
        groups += [
            ("footprint", Group(key, len(rows), _accounts(rows), held.by_currency(rows)))
            for key, rows in (("entered", parts.entered), ("left", parts.left), ("stayed", parts.stayed))
        ]
    write_table(
        out,
        ("kind", "key", "n_locations", "n_accounts", "currency", "tiv"),
        (
            (kind, one.key, one.n_locations, one.n_accounts, currency, cents_text(amount))
            for kind, one in groups
            for currency, amount in sorted(one.tiv_cents.items() or {"": 0}.items())
        ),
    )
    unknown = held.rows[held.n_placed :]
    document: dict[str, Any] = {
        "n_locations": len(held),
        "n_groups": len(groups),
        "tiv": {c: cents_text(v) for c, v in sorted(held.by_currency(held.rows).items())},
        "n_unknown": len(unknown),
        "unknown_tiv": {c: cents_text(v) for c, v in sorted(held.by_currency(unknown).items())},
        "n_refused": len(refused),
        "largest": [
            {"kind": kind, "key": one.key, "n_locations": one.n_locations,
             "tiv": {c: cents_text(v) for c, v in sorted(one.tiv_cents.items())}}
            for kind, one in sorted(groups, key=lambda pair: -sum(pair[1].tiv_cents.values()))[:10]
        ],
    }  # fmt: skip
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return
    print(f"{len(held):,} locations in {len(groups):,} groups")
    for one in document["largest"]:
        amounts = ", ".join(f"{v} {c}" for c, v in one["tiv"].items())
        print(f"  {one['kind']} {one['key']}: {one['n_locations']:,} locations, {amounts or '0'}")
    if len(unknown):
        amounts = ", ".join(f"{v} {c}" for c, v in document["unknown_tiv"].items())
        print(f"{len(unknown):,} locations without a place, {amounts}: unknown, in no cell, area, ring or footprint")
    if refused:
        print(f"{len(refused):,} rows refused: in no group")


def _accounts(rows: Any) -> int:
    return len({int(one) for one in rows["account"]})
