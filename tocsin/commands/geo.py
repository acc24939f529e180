"""`tocsin import oed | roads | safe-zones | households | footprint | mask`."""

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from core.errors import InvalidInput
from core.settings import Settings, load_settings
from tocsin.commands.groups import group
from tocsin.commands.oed_book import AsJson, BiRestoration, FirstFloorFt, FloodCurves, Storeys
from tocsin.commands.options import day, moment, with_database

T = TypeVar("T")

Tenant = Annotated[str, typer.Option(help="Slug of the tenant.")]
OwnerOrPublic = Annotated[str | None, typer.Option(help="Slug of the tenant; without it the data are public.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The file to import.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Mounts this room's commands."""
    imports = group(app, "import")
    imports.command("oed")(oed)
    imports.command("roads")(roads)
    imports.command("safe-zones")(safe_zones)
    imports.command("households")(households)
    imports.command("footprint")(footprint)
    imports.command("mask")(mask)


def _with_database(work: Callable[[Any, Settings], Awaitable[T]]) -> T:
    settings = load_settings()
    return with_database(lambda conn: work(conn, settings), create=True)


def _tell(as_json: bool, document: dict[str, Any], line: str) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2) if as_json else line)


def oed(
    file: File,
    portfolio: Annotated[str, typer.Option(help="Name of the book.")],
    tenant: Tenant,
    accounts: Annotated[Path | None, typer.Option(help="OED account file with the policies.")] = None,
    ri_info: Annotated[Path | None, typer.Option(help="OED reinsurance info file; needs --ri-scope.")] = None,
    ri_scope: Annotated[Path | None, typer.Option(help="OED reinsurance scope file; needs --ri-info.")] = None,
    rates: Annotated[Path | None, typer.Option(help="Exchange rates, CSV with cur_from, cur_to, roe.")] = None,
    currency: Annotated[str | None, typer.Option(help="The book's currency; else the commonest in the file.")] = None,
    epsg: Annotated[int, typer.Option(help="Coordinate system of Longitude and Latitude.")] = 4326,
    encoding: Annotated[str, typer.Option(help="Text encoding of a CSV file, for example gb18030.")] = "utf-8-sig",
    datum: Annotated[str, typer.Option(help="Datum of degrees: wgs84, gcj02 or bd09 (Chinese maps).")] = "wgs84",
    flood_curves: FloodCurves = None,
    first_floor_ft: FirstFloorFt = None,
    storeys: Storeys = None,
    bi_restoration: BiRestoration = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Import the good rows although others are bad.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import a book from an OED location file (CSV or Parquet), in place of what that book held before.

    One bad row refuses the file, and each is told with line, field and reason. Ends with a reconciliation: TIV in =
    mapped + refused + unknown, by currency, to the cent.
    """
    from geo import imports, repository
    from geo.flood_choice import FloodChoice
    from geo.oed import about_n_rows

    flood = FloodChoice.of(flood_curves, first_floor_ft, storeys, bi_restoration)

    async def work(conn: Any, _settings: Settings) -> imports.ImportReport:
        tenant_id = await repository.tenant_of(conn, tenant)
        with _progress(f"Importing {file.name}", about_n_rows(file)) as tick:
            return await imports.import_oed(
                conn,
                file,
                tenant_id=tenant_id,
                portfolio=portfolio,
                accounts=accounts,
                currency=currency,
                epsg=epsg,
                encoding=encoding,
                skip_bad=skip_bad,
                datum=datum,
                ri_info=ri_info,
                ri_scope=ri_scope,
                rates=rates,
                flood=flood,
                progress=tick,
            )

    report = _with_database(work)
    for row in report.refused:
        print(f"refused: {row}", file=sys.stderr)
    for doubt in report.doubtful:
        print(f"doubtful: line {doubt.line}: {doubt.field}: {doubt.reason}", file=sys.stderr)
    if report.terms_problem:
        print(f"terms: losses gross and net are unknown until this is mended: {report.terms_problem}", file=sys.stderr)
    told = report.as_json()
    sums = told["reconciliation"]
    lines = [
        f"{told['n_locations']:,} locations and {told['n_policies']:,} policies in {portfolio!r}"
        + (" (the same file as before)" if report.unchanged else ""),
        *(
            f"  {currency}: TIV in {amount} = mapped {sums['mapped']['tiv'].get(currency, '0.00')}"
            f" + refused {sums['refused']['tiv'].get(currency, '0.00')}"
            f" + unknown {sums['unknown']['tiv'].get(currency, '0.00')}; difference {sums['difference'][currency]}"
            for currency, amount in sums["tiv_in"].items()
        ),
    ]
    if sums["unknown"]["n"]:
        lines.append(f"  {sums['unknown']['n']:,} locations have no coordinates: what they hold is reported as unknown")
    if sums["refused"]["n_amount_unreadable"]:
        lines.append(f"  {sums['refused']['n_amount_unreadable']:,} refused rows have no readable amount: in no sum")
    _tell(as_json, told, "\n".join(lines))


class _progress:
    """A bar on standard error that counts rows; silent where nobody looks."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total

    def __enter__(self) -> Callable[[int], None]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}: {task.completed:,} rows"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self.bar.start()
        task = self.bar.add_task(self.title, total=self.total)
        return lambda n: self.bar.update(task, completed=n)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


async def _owner(conn: Any, slug: str | None) -> UUID | None:
    from geo import repository

    return await repository.tenant_of(conn, slug) if slug else None


def roads(
    file: File,
    code: Annotated[str, typer.Option(help="Name under which versions of this network follow each other.")] = "roads",
    tenant: OwnerOrPublic = None,
    extract_date: Annotated[str | None, typer.Option(help="Day of the map data, 2026-01-31.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import a road network: GeoJSON lines (highway, maxspeed or speed_kmh, bridge, oneway, name) or our own .npz."""
    from geo import imports

    extracted_on = day("--extract-date", extract_date) if extract_date is not None else None
    network = imports.read_roads(file)

    async def work(conn: Any, settings: Settings) -> tuple[UUID, int, bool]:
        owner = await _owner(conn, tenant)
        return await imports.import_roads(
            conn, network, home=settings.home, code=code, tenant_id=owner, extract_date=extracted_on
        )

    network_id, version, new = _with_database(work)
    document = {
        "road_network_id": str(network_id), "code": code, "version": version, "new": new, "n_nodes": network.n_nodes,
        "n_roads": network.n_roads, "n_edges": network.n_edges, "n_bridges": int(network.road_bridge.sum()),
    }  # fmt: skip
    told = f"{code} version {version}: {network.n_roads:,} roads, {network.n_edges:,} directed edges"
    _tell(as_json, document, told + ("" if new else " (as before)"))


def safe_zones(file: File, tenant: OwnerOrPublic = None, as_json: AsJson = False) -> None:
    """Import safe zones: GeoJSON points with id, seats, and optionally name, name:zh, accessible_seats."""
    from geo import imports, repository

    zones = imports.read_safe_zones(file)

    async def work(conn: Any, _settings: Settings) -> None:
        owner = await _owner(conn, tenant)
        async with repository.transaction(conn):
            await repository.save_safe_zones(conn, owner, zones)

    _with_database(work)
    seats = sum(zone["seats"] for zone in zones)
    _tell(as_json, {"n_safe_zones": len(zones), "seats": seats}, f"{len(zones)} safe zones with {seats:,} seats")


def households(
    file: File,
    tenant: Tenant,
    portfolio: Annotated[str | None, typer.Option(help="Book that the account and location columns refer to.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Import the good rows although others are bad.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import policyholders and their households: CSV with id, lon, lat and optionally people, mode, name, language,
    account, location, needs, channel, address."""
    from geo import imports, repository, repository_books
    from geo.oed import BadRow

    refused: list[BadRow] = []
    people = imports.read_households(file, refused)
    if refused and not skip_bad:
        raise imports.RowsRefused(file.name, refused)

    async def work(conn: Any, _settings: Settings) -> list[UUID]:
        tenant_id = await repository.tenant_of(conn, tenant)
        book = None
        if portfolio is not None:
            book = next((p for p in await repository_books.portfolios(conn, tenant_id) if p.name == portfolio), None)
            if book is None:
                raise InvalidInput(f"--portfolio: this tenant has no book {portfolio!r}")
        return await imports.import_people(
            conn, people, tenant_id=tenant_id, portfolio_id=book.portfolio_id if book else None
        )

    ids = _with_database(work)
    for row in refused:
        print(f"refused: {row}", file=sys.stderr)
    _tell(as_json, {"n_households": len(ids), "n_refused": len(refused)}, f"{len(ids):,} households")


def footprint(
    file: File,
    event: Annotated[str, typer.Option(help="Code of the hazard event; made if it is not there.")],
    tenant: OwnerOrPublic = None,
    peril: Annotated[str, typer.Option(help="flood, wildfire, earthquake, ... (for a new event).")] = "flood",
    valid_at: Annotated[str | None, typer.Option(help="When it is true, ISO 8601 with offset; else now.")] = None,
    made_how: Annotated[str | None, typer.Option(help="Method and inputs; else the file's name.")] = None,
    unit: Annotated[
        str | None,
        typer.Option(help="Unit of the intensity: m or ft of depth, m/s, kt, km/h, mph, g, %g or damage_ratio."),
    ] = None,
    sigma_ln: Annotated[
        float | None, typer.Option(help="Standard deviation of ln(intensity); else an assumption for the unit.")
    ] = None,
    wind_model: Annotated[str, typer.Option(help="For a track: H80, H08 or H10.")] = "H08",
    as_json: AsJson = False,
) -> None:
    """Publish the next footprint version of an event, with how strong the hazard is where the file says so.

    GeoJSON whose features have arrival_min (0: inside now) and optionally intensity and unit; or a depth raster (.tif,
    with --unit), a ShakeMap (grid.xml), or the track of a tropical cyclone (.csv, as for `tocsin wind`).
    """
    from geo import assess, field_files, repository
    from store.clock import read_clock

    found = field_files.footprint(file, unit=unit, sigma_ln=sigma_ln, wind_model=wind_model)
    when = moment("--valid-at", valid_at) if valid_at else None

    async def work(conn: Any, _settings: Settings) -> tuple[UUID, int]:
        owner = await _owner(conn, tenant)
        drawn_at = when or (await read_clock(conn)).now()
        async with repository.transaction(conn):
            event_id = await repository.save_hazard_event(
                conn, tenant_id=owner, code=event, peril=peril, name=event, started_at=drawn_at.astimezone(UTC)
            )
            return await assess.publish_footprint(
                conn, event_id, found.geometry, found.zones, valid_at=drawn_at, made_how=made_how or found.made_how,
                field=found.field,
            )  # fmt: skip

    footprint_id, version = _with_database(work)
    strength = "where it is, and not how strong" if found.field is None else f"intensity in {found.field.unit}"
    document = {
        "footprint_id": str(footprint_id),
        "version": version,
        "unit": found.field.unit if found.field else None,
    }
    _tell(as_json, document, f"{event} footprint version {version}: {strength}")


def mask(
    file: File,
    event: Annotated[str, typer.Option(help="Code of the hazard event; made if it is not there.")],
    valid_at: Annotated[str, typer.Option(help="When the picture was taken, ISO 8601 with offset.")],
    tenant: OwnerOrPublic = None,
    peril: Annotated[str, typer.Option(help="flood, wildfire, earthquake, ... (for a new event).")] = "flood",
    value: Annotated[float, typer.Option(help="GeoTIFF: the value of a cell that is inside the hazard.")] = 1.0,
    at_least: Annotated[bool, typer.Option("--at-least", help="GeoTIFF: cells of --value or more are inside.")] = False,
    min_cells: Annotated[int, typer.Option(min=1, help="GeoTIFF: smaller patches are taken for noise.")] = 4,
    made_how: Annotated[str | None, typer.Option(help="Satellite and method; else the file's name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Publish what a satellite or a drone saw as the next footprint version of an event.

    GeoTIFF (.tif, with its coordinate system; extra `raster`) or GeoJSON polygons. Ground under a cloud or beyond the
    picture of a GeoTIFF is not dry: there the version before stands. GeoJSON does not say where was looked: it replaces
    that version.
    """
    import shapely

    from geo import assess, repository, repository_loss
    from ingest.weather import mask as masks

    when = moment("--valid-at", valid_at)
    found = masks.read(file, value=value, at_least=at_least, min_cells=min_cells)
    inside_km2, looked_at_km2 = masks.area_km2(found.inside), None
    seen = "the file does not say where was looked"
    if found.looked_at is not None:
        looked_at_km2 = masks.area_km2(found.looked_at)
        seen = f"{looked_at_km2:,.2f} km2 looked at"
    how = f"{made_how or f'mask {file.name}'}; {seen}"

    async def unseen(conn: Any, event_id: UUID, owner: UUID | None) -> Any:
        """What the version before says of ground that was not looked at; none where there is no such thing."""
        if found.looked_at is None:
            return None
        try:
            before, _ = await repository_loss.footprint_of_version(conn, event, owner, None)
        except repository.NoFootprint:
            return None
        last = await repository.footprint(conn, before)
        if last.hazard_event_id != event_id:
            return None
        left = masks.polygons(last.hazard.geometry.difference(found.looked_at))
        return None if left.is_empty else left

    async def work(conn: Any, _settings: Settings) -> tuple[UUID, int, float]:
        owner = await _owner(conn, tenant)
        async with repository.transaction(conn):
            event_id = await repository.save_hazard_event(
                conn, tenant_id=owner, code=event, peril=peril, name=event, started_at=when.astimezone(UTC)
            )
            left = await unseen(conn, event_id, owner)
            whole, told, left_km2 = found.inside, how, 0.0
            if left is not None:
                whole, left_km2 = masks.polygons(shapely.union(whole, left)), masks.area_km2(left)
                told += f"; {left_km2:,.2f} km2 not seen, as before"
            footprint_id, version = await assess.publish_footprint(conn, event_id, whole, valid_at=when, made_how=told)
            return footprint_id, version, left_km2

    footprint_id, version, left_km2 = _with_database(work)
    document = {
        "footprint_id": str(footprint_id), "version": version, "inside_km2": round(inside_km2, 4),
        "looked_at_km2": None if looked_at_km2 is None else round(looked_at_km2, 4),
        "unseen_as_before_km2": round(left_km2, 4),
    }  # fmt: skip
    line = f"{event} footprint version {version}: {inside_km2:,.2f} km2 seen inside, {seen}"
    _tell(as_json, document, f"{line}; {left_km2:,.2f} km2 not seen, as before" if left_km2 else line)
