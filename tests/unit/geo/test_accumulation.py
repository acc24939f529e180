"""Sums by cell, area, ring and change of a footprint: against testing every location alone."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from h3.api.basic_str import latlng_to_cell
from pyproj import Geod
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.accumulation import by_area, by_cell, by_ring, change, sums_in_areas
from geo.exposure import Book


def some_book(n: int = 400, seed: int = 1) -> Book:
    rng = np.random.default_rng(seed)
    lon = rng.uniform(10, 11, n)
    lon[:7] = np.nan
    zero = np.zeros(n, dtype=np.int64)
    return Book.from_columns(
        {
            "location_id": np.arange(n), "lon": lon, "lat": rng.uniform(50, 51, n), "account": rng.integers(0, 30, n),
            "currency": rng.integers(0, 2, n), "building_cents": rng.integers(0, 10**12, n), "other_cents": zero,
            "contents_cents": rng.integers(0, 10**10, n), "bi_cents": zero,
        },
        accounts=tuple(f"A{i}" for i in range(30)), currencies=("EUR", "USD"), policies_of_account=[1] * 30,
    )  # fmt: skip


def plain(book: Book, inside: list[bool]) -> tuple[int, dict[str, int]]:
    rows = [row for row, keep in zip(book.rows, inside, strict=True) if keep]
    sums: dict[str, int] = {}
    for row in rows:
        code = book.currencies[row["currency"]]
        sums[code] = sums.get(code, 0) + int(row["tiv_cents"])
    return len(rows), sums


def test_cells_add_up_to_the_placed_book() -> None:
    book = some_book()
    groups = by_cell(book, 6)
    assert len(groups) > 20
    assert sum(group.n_locations for group in groups) == book.n_placed == 393
    for group in groups[:5]:
        inside = [
            np.isfinite(row["lon"]) and latlng_to_cell(row["lat"], row["lon"], 6) == group.key for row in book.rows
        ]
        assert (group.n_locations, group.tiv_cents) == plain(book, inside)
    totals = [sum(group.tiv_cents.values()) for group in groups]
    assert totals == sorted(totals, reverse=True)
    with pytest.raises(InvalidInput, match="resolution 16"):
        by_cell(book, 16)


def test_areas_may_overlap_and_leave_locations_out() -> None:
    book = some_book()
    areas = [("west", shapely.box(10, 50, 10.5, 51)), ("south", shapely.box(10, 50, 11, 50.4))]
    groups, nowhere = by_area(book, areas)
    for group, (_, polygon) in zip(groups, areas, strict=True):
        inside = [bool(shapely.intersects_xy(polygon, row["lon"], row["lat"])) for row in book.rows]
        assert (group.n_locations, group.tiv_cents) == plain(book, inside)
    both = shapely.union_all([polygon for _, polygon in areas])
    assert len(nowhere) == sum(
        np.isfinite(row["lon"]) and not shapely.intersects_xy(both, row["lon"], row["lat"]) for row in book.rows
    )


@pytest.mark.parametrize("centre", [(10.5, 50.5), (180.0, 0.0), (10.0, 89.9)])
def test_rings_are_geodesic(centre: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    n = 300
    lon, lat = (
        (centre[0] + rng.uniform(-1, 1, n) + 180) % 360 - 180,
        np.clip(centre[1] + rng.uniform(-1, 1, n), -90, 90),
    )
    zero = np.zeros(n, dtype=np.int64)
    book = Book.from_columns(
        {"location_id": np.arange(n), "lon": lon, "lat": lat, "account": zero, "currency": zero,
         "building_cents": np.arange(n), "other_cents": zero, "contents_cents": zero, "bi_cents": zero},
        accounts=("A",), currencies=("EUR",), policies_of_account=[1],
    )  # fmt: skip
    groups = by_ring(book, *centre, [20.0, 50.0, 90.0])
    km = np.array([Geod(ellps="WGS84").inv(*centre, row["lon"], row["lat"])[2] / 1000 for row in book.rows])
    for group, low, high in zip(groups, (-1, 20, 50), (20, 50, 90), strict=True):
        assert (group.n_locations, group.tiv_cents) == plain(book, ((km > low) & (km <= high)).tolist())
    assert groups[1].key == "20-50 km"
    with pytest.raises(InvalidInput, match="radii rise"):
        by_ring(book, *centre, [5.0, 5.0])


def test_a_new_version_enters_leaves_and_stays() -> None:
    book = some_book()
    older, newer = shapely.box(10, 50, 10.6, 51), shapely.box(10.4, 50, 11, 51)
    found = change(book, older, newer)
    assert (found.left["lon"] < 10.4).all()
    assert (found.entered["lon"] > 10.6).all()
    assert len(found.left) + len(found.entered) + len(found.stayed) == book.n_placed
    assert len(found.unknown) == 7


def test_resident_columns_give_the_same_sums() -> None:
    book = some_book(3000)
    rng = np.random.default_rng(5)
    blobs = [shapely.Point(rng.uniform(10, 11), rng.uniform(50, 51)).buffer(0.2) for _ in range(12)]
    two = shapely.MultiPolygon([shapely.box(10, 50, 10.5, 51), shapely.box(10.5, 50, 10.6, 50.5)])
    ring = shapely.Point(10.5, 50.5).buffer(0.4).difference(shapely.Point(10.5, 50.5).buffer(0.2))
    polygons = [*blobs, two, ring, shapely.box(30, 30, 31, 31)]
    placed = book.rows[: book.n_placed]
    columns = [np.ascontiguousarray(placed[name]) for name in ("lon", "lat", "tiv_cents")]
    counts, sums = sums_in_areas(*columns, polygons)
    groups, _ = by_area(book, [(str(i), one) for i, one in enumerate(polygons)])
    assert counts.tolist() == [group.n_locations for group in groups]
    assert sums == [sum(group.tiv_cents.values()) for group in groups]
    # a row on the common edge of two parts counts once
    columns = [np.array([10.5]), np.array([50.2]), np.array([7])]
    assert sums_in_areas(*columns, [two]) == (np.array([1]), [7])


def test_the_command(tmp_path: Path) -> None:
    from tocsin.cli import app

    (tmp_path / "p.csv").write_text("id,lat,lon,value,currency\na,50.5,10.5,100.10,EUR\nb,50.6,10.6,7,USD\nc,,,5,EUR\n")
    (tmp_path / "a.geojson").write_text(json.dumps({
        "type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "N"},
        "geometry": {"type": "Polygon", "coordinates": [[[10, 50], [10.55, 50], [10.55, 51], [10, 51], [10, 50]]]}}],
    }))  # fmt: skip
    out = tmp_path / "o.csv"

    def run(*arguments: str, book: str = "p.csv") -> object:
        return CliRunner().invoke(app, ["accumulate", str(tmp_path / book), "--out", str(out), *arguments])

    done = run("--areas", str(tmp_path / "a.geojson"), "--rings", "10.5,50.5:5,20", "--h3", "5",
               "--footprint", str(tmp_path / "a.geojson"), "--json")  # fmt: skip
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert (told["n_unknown"], told["unknown_tiv"]) == (1, {"EUR": "5.00"})
    with out.open() as file:
        rows = [(row["kind"], row["key"], row["currency"], row["tiv"]) for row in csv.DictReader(file)]
    assert ("area", "N", "EUR", "100.10") in rows
    assert ("area", "(in none)", "USD", "7.00") in rows
    assert ("ring", "10.5,50.5: 0-5 km", "EUR", "100.10") in rows
    assert ("ring", "10.5,50.5: 5-20 km", "USD", "7.00") in rows
    assert ("footprint", "entered", "EUR", "100.10") in rows
    for arguments, said in (
        ((), "give one or more"),
        (("--rings", "51.5,95:1"), "are they exchanged"),
        (("--rings", "here"), "is not LON,LAT"),
    ):
        assert said in str(run(*arguments).exception)
    (tmp_path / "bad.csv").write_text("lat,lon,value\n1,1,many\n")
    assert "line 2: value: 'many' is not a number" in str(run("--h3", "5", book="bad.csv").exception)


def test_piwind_as_a_book(shared_data: Path, tmp_path: Path) -> None:
    from tocsin.cli import app

    source = shared_data / "cat" / "oed" / "SourceLocOEDPiWind.csv"
    done = CliRunner().invoke(app, ["accumulate", str(source), "--h3", "7", "--out", str(tmp_path / "o.csv"), "--json"])
    assert done.exit_code == 0, done.exception
    with source.open() as file:
        total = sum(round(float(row[c]) * 100) for row in csv.DictReader(file)
                    for c in ("BuildingTIV", "OtherTIV", "ContentsTIV", "BITIV"))  # fmt: skip
    with (tmp_path / "o.csv").open() as file:
        assert round(sum(float(row["tiv"]) for row in csv.DictReader(file)) * 100) == total


def test_points_on_edges_and_corners_are_inside_as_shapely_has_it() -> None:
    """Points on a lattice that the polygons' corners and edges share, where a careless ray goes wrong."""
    x, y = (v.ravel() for v in np.meshgrid(np.arange(0, 10.5, 0.5), np.arange(0, 10.5, 0.5)))
    order = np.argsort(x, kind="stable")
    x, y, one = x[order], y[order], np.ones(len(x), dtype=np.int64)
    polygons = [
        shapely.Polygon([(1, 1), (9, 1), (9, 9), (5, 5), (1, 9)]),
        shapely.Polygon([(0, 5), (5, 0), (10, 5), (5, 10)], [[(4, 5), (5, 4), (6, 5), (5, 6)]]),
        shapely.Polygon([(2, 2), (3, 8), (4, 2), (5, 8), (6, 2), (6, 9), (2, 9)]),
        shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(5, 5, 10, 10)]),
    ]
    counts, _ = sums_in_areas(x, y, one, polygons)
    assert counts.tolist() == [int(shapely.intersects_xy(polygon, x, y).sum()) for polygon in polygons]


def test_sums_beyond_64_bits_are_exact() -> None:
    x = np.linspace(0, 1, 200)
    cents = np.full(200, 10**17, dtype=np.int64)
    assert sums_in_areas(x, np.full(200, 0.5), cents, [shapely.box(-1, -1, 2, 2)])[1] == [200 * 10**17]
