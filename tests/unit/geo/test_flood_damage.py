"""Flood damage against the published tables, a plain recomputation over a real town, and the unknown."""

import builtins
import csv
import gzip
import json
import math
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import InvalidInput
from geo.flood_damage import Building, check_curves, damage, hazus_of_oed, story_class, usace_type
from geo.point_files import load_flood_curves, load_usace_curves, read_buildings
from geo.raster import BadRaster, RasterExtraMissing, read_grid, sample

ROOT = Path(__file__).resolve().parents[3]
HAZUS, JRC = load_flood_curves()
USACE = load_usace_curves()
DEPTHS = [f"m{i}" for i in (4, 3, 2, 1)] + [f"p{i}" for i in range(25)]


def house(**changed: Any) -> Building:
    facts = {"id": "1", "occupancy": "RES1", "n_stories": 1.0, "basement": False, "first_floor_ft": 0.0,
             "building_value": 100.0, "contents_value": 100.0, "inventory_value": 0.0}  # fmt: skip
    return Building(**(facts | changed))


def ratio(curves: str, depth_ft: float, **changed: Any) -> float:
    return damage(house(**changed), depth_ft, curves, HAZUS, JRC).building_loss / 100.0


def test_published_values() -> None:
    # USACE-IWR one storey without basement (HAZUS 129), FIA one storey (105): as the technical manual's tables have them.
    for depth, percent in ((1, 23), (2, 32), (3, 40), (4, 47), (8, 67), (24, 84)):
        assert ratio("hazus", depth) == pytest.approx(percent / 100)
    for depth, percent in ((1, 22), (2, 25), (3, 28), (4, 30), (5, 31), (6, 40), (8, 43), (24, 54)):
        assert ratio("fia", depth) == pytest.approx(percent / 100)
    # Half a foot between 1 and 2 ft; below the first floor by one foot; above the table's end.
    assert ratio("hazus", 1.5) == pytest.approx(0.275)
    assert ratio("hazus", 2.0, first_floor_ft=3.0) == pytest.approx(0.03)
    assert ratio("hazus", 90.0) == pytest.approx(0.84)
    for depth_m, share in ((0.5, 0.33), (1.0, 0.49), (1.5, 0.62), (2, 0.72), (3, 0.87), (6, 1.0)):
        assert ratio("jrc:asia", depth_m / 0.3048, first_floor_ft=9.0) == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "file", "key"),
    [
        ("building", "hazus_flBldgStructDmgFn.csv", "BldgDmgFnID"),
        ("contents", "hazus_flBldgContDmgFn.csv", "ContDmgFnId"),
        ("inventory", "hazus_flBldgInvDmgFn.csv", "InvDmgFnId"),
    ],
)
def test_every_curve_is_the_librarys(shared_data: Path, kind: str, file: str, key: str) -> None:
    with (shared_data / "cat" / "depth_damage" / file).open(encoding="utf-8-sig") as opened:
        library = {row[key]: [float(row[d]) for d in DEPTHS] for row in csv.DictReader(opened)}
    ours = HAZUS[kind]["curves"]
    assert [number for number, curve in ours.items() if curve["percent"] != library.get(number)] == []
    assert len(ours) >= 9


@pytest.mark.parametrize(
    ("kind", "zone", "file"),
    [
        (kind, zone, f"hazus_{name}_DDF_{table}_LUT_Hazus4p0.csv")
        for kind, name in (("building", "Building"), ("contents", "Content"))
        for zone, table in (("default", "Riverine"), ("coastal-a", "CoastalA"), ("coastal-v", "CoastalV"))
    ],
)
def test_every_default_is_the_published_tables_row(shared_data: Path, kind: str, zone: str, file: str) -> None:
    with (shared_data / "cat" / "depth_damage" / file).open(encoding="utf-8-sig") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) > 50
    for row in rows:
        key = row["SpecificOccupId"][-2:]
        ours = HAZUS[kind]["curves"][str(HAZUS[kind][zone][row["Occupancy"].strip()][key])]["percent"]
        assert ours == [float(row[d]) for d in DEPTHS], (row["Occupancy"], key)


def test_usace_is_the_distributed_table_with_its_uncertainty(shared_data: Path) -> None:
    with gzip.open(shared_data / "cat" / "depth_damage" / "usace_go_consequences_occtypes.json.gz") as opened:
        table = json.load(opened)["occupancytypes"]
    n = 0
    for name, curves in USACE["curves"].items():
        for kind, component in (("building", "structure"), ("contents", "contents")):
            theirs = table[name]["componentdamagefunctions"][component]["damagefunctions"]["default"]["damagefunction"]
            ours = curves[kind]
            assert ours["depth_ft"] == theirs["xvalues"]
            told = [y["parameters"] for y in theirs["ydistributions"]]
            assert ours["percent"] == pytest.approx([p.get("mean", p.get("value")) for p in told], abs=1e-4)
            if "sd" in ours:
                assert ours["sd"] == pytest.approx([p["standarddeviation"] for p in told], abs=1e-4)
            n += 1
    assert n == 84


def test_usace_by_hand() -> None:
    # EGM 01-03, one storey without basement at 2 ft: 32.1 % of the building, sd 1.6; contents 17.9 % of the building.
    found = damage(
        house(building_value=1000.0, contents_value=500.0, first_floor_ft=1.0), 3.0, "usace", HAZUS, JRC, USACE
    )
    assert (found.building_loss, found.building_loss_sd) == pytest.approx((321.0, 16.0), abs=0.01)
    assert found.contents_loss == pytest.approx(179.0, abs=0.01)
    small = damage(house(building_value=1000.0, contents_value=50.0), 10.0, "usace", HAZUS, JRC, USACE)
    assert small.contents_loss == 50.0, "no more can be lost than there is"
    shop = damage(house(occupancy="COM1"), 2.0, "usace", HAZUS, JRC, USACE)
    assert (shop.building_loss, shop.contents_loss) == pytest.approx((14.0, 42.0))
    assert math.isnan(shop.building_loss_sd), "its source gives no uncertainty: that is unknown, not zero"
    assert damage(house(occupancy="XXX"), 2.0, "usace", HAZUS, JRC, USACE).status == "unknown_curve"
    assert usace_type(house(n_stories=1.5, basement=True)) == "RES1-SLWB"
    assert usace_type(house(n_stories=4.0)) == "RES1-3SNB"


def test_jrc_north_america_begins_with_its_basements() -> None:
    """Against the knots in public programs that carry the report's table: 0.20 at the ground."""
    for depth_m, share in ((1e-9, 0.20), (0.5, 0.44), (1.0, 0.58), (2.0, 0.78), (5.0, 0.96), (6.0, 1.0)):
        assert ratio("jrc:north-america", depth_m / 0.3048) == pytest.approx(share, abs=1e-6)


def test_coastal_curves_are_chosen_by_name() -> None:
    # Coastal A and V: all floors, slab, without basement (658): 50 % at 2 ft, all of it at 4 ft.
    assert ratio("hazus-coastal-a", 2.0) == pytest.approx(0.50)
    assert ratio("hazus-coastal-v", 4.0) == pytest.approx(1.0)


def test_oed_codes_keep_their_sector_where_hazus_has_no_class() -> None:
    assert [hazus_of_oed(code) for code in ("1051", "1050", "1115", "1199", "1000", "", "x")] == [
        "RES1", "RES", "RES4", "IND", "", "", "",
    ]  # fmt: skip
    assert damage(house(occupancy="RES"), 3.0, "jrc:europe", HAZUS, JRC).building_loss > 0
    assert damage(house(occupancy="RES"), 3.0, "hazus", HAZUS, JRC).status == "unknown_curve"


def test_more_water_never_does_less_damage() -> None:
    for kind in ("building", "contents", "inventory"):
        for curve in HAZUS[kind]["curves"].values():
            assert len(curve["percent"]) == 29
            assert (np.diff(curve["percent"]) >= 0).all()
    for sectors in JRC["curves"].values():
        for curve in sectors.values():
            assert (np.diff(curve) >= 0).all()


def test_classes_of_height() -> None:
    assert [story_class("RES1", n) for n in (1, 2, 3, 5, 1.5)] == ["1", "2", "3", "3", "S"]
    assert [story_class("RES3B", n) for n in (1, 2, 3, 4, 5)] == ["1", "1", "3", "3", "5"]
    assert [story_class("COM1", n) for n in (1, 3, 4, 7, 8)] == ["L", "L", "M", "M", "H"]


def test_the_unknown_stays_unknown() -> None:
    assert damage(house(), 0.0, "hazus", HAZUS, JRC).status == "dry"
    for changed, status in (
        ({"occupancy": "COM4"}, "unknown_curve"),
        ({"first_floor_ft": math.nan}, "unknown_first_floor"),
        ({"n_stories": math.nan}, "unknown_stories"),
        ({"building_value": math.nan}, "unknown_value"),
    ):
        found = damage(house(**changed), 3.0, "fia", HAZUS, JRC)
        assert found.status == status
        assert math.isnan(found.building_loss)


def test_curves_that_could_not_be_checked_are_not_offered() -> None:
    assert check_curves("JRC:Asia", JRC) == "jrc:asia"
    assert damage(house(occupancy="COM1"), 3.0, "jrc:north-america", HAZUS, JRC).status == "unknown_curve"
    with pytest.raises(InvalidInput, match="there are hazus"):
        check_curves("mine", JRC)
    assert damage(house(occupancy="IND1"), 3.0, "jrc:asia", HAZUS, JRC).status == "unknown_curve"


# ---------------------------------------------------------------- a real town
def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tocsin", "flood", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_depth_that_is_no_floods_is_refused_and_an_infinite_one_is_no_depth(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    from geo.field_files import depth_raster

    def write(value: float) -> Path:
        path = tmp_path / "d.tif"
        with rasterio.open(path, "w", driver="GTiff", height=2, width=2, count=1, dtype="float32", crs="EPSG:4326",
                           transform=from_origin(10, 50, 1, 1)) as out:  # fmt: skip
            out.write(np.array([[value, 1.0], [1.0, 1.0]], dtype="float32"), 1)
        return path

    lon, lat = np.array([10.5, 11.5]), np.array([49.5, 49.5])
    for value, unit in ((3000.0, "ft"), (120.0, "m")):
        for read in (lambda p, u: sample(p, lon, lat, u), depth_raster):
            with pytest.raises(BadRaster, match="is no flood"):
                read(write(value), unit)
    assert sample(write(120.0), lon, lat, "ft")[0].tolist() == [120.0, 1.0]
    _, _, missing = sample(write(float("inf")), lon, lat, "m")
    assert missing.tolist() == [True, False]


def test_minot_is_what_a_plain_reading_of_the_tables_gives(shared_data: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    raster = shared_data / "cat" / "flood" / "minot_sample_depth_ft.tif"
    book = tmp_path / "minot.csv"
    book.write_bytes(gzip.decompress((shared_data / "cat" / "flood" / "hazus_ND_Minot_UDF.csv.gz").read_bytes()))
    done = run(str(book), "--depth", str(raster), "--depth-unit", "ft", "--out", str(tmp_path / "o.csv"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    with (tmp_path / "o.csv").open() as file:
        ours = list(csv.DictReader(file))
    with book.open(encoding="utf-8-sig") as file:
        buildings = list(csv.DictReader(file))

    def table(name: str) -> dict[tuple[str, str], list[float]]:
        with (shared_data / "cat" / "depth_damage" / name).open(encoding="utf-8-sig") as opened:
            return {
                (row["Occupancy"].strip(), row["SpecificOccupId"].strip()[2:][-2:]): [float(row[d]) for d in DEPTHS]
                for row in csv.DictReader(opened)
            }

    structure, contents = (
        table("hazus_Building_DDF_Riverine_LUT_Hazus4p0.csv"),
        table("hazus_Content_DDF_Riverine_LUT_Hazus4p0.csv"),
    )
    with rasterio.open(raster) as opened:
        depths = [
            float(d[0]) for d in opened.sample([(float(b["Longitude"]), float(b["Latitude"])) for b in buildings])
        ]
    wet = 0
    for b, depth, row in zip(buildings, depths, ours, strict=True):
        if depth <= 0:
            assert (row["status"], float(row["building_loss"])) == ("dry", 0.0)
            continue
        wet += 1
        inside = depth - float(b["FirstFloorHt"])
        n = int(b["NumStories"])
        size = (
            str(min(n, 3)) if b["Occ"] == "RES1" else "1" if b["Occ"] == "RES2"
            else ("1" if n < 3 else "3" if n < 5 else "5") if b["Occ"].startswith("RES3")
            else ("L" if n < 4 else "M" if n < 8 else "H")
        )  # fmt: skip
        key = (b["Occ"], size + ("B" if b["FOUND_TYPE"] == "BASEMENT" else "N"))
        for curve, value, loss in ((structure, "Cost", "building_loss"), (contents, "ContentCost", "contents_loss")):
            low = math.floor(inside)
            at = curve[key]
            if inside < -4:
                percent = 0.0
            else:
                low = min(low, 19 + 4)
                percent = at[low + 4] + (inside - low) * (at[min(low + 5, 28)] - at[low + 4])
            assert float(row[loss]) == pytest.approx(percent / 100 * float(b[value]), abs=0.02)
    assert told["by_status"] == {"dry": len(buildings) - wet, "wet": wet}
    assert wet > 5000


def test_outside_the_raster_is_unknown_and_units_must_agree(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    raster = str(shared_data / "cat" / "flood" / "minot_sample_depth_ft.tif")
    book = tmp_path / "b.csv"
    book.write_text(
        "FltyId,Longitude,Latitude,Occ,NumStories,FoundationType,FirstFloorHt,Cost,ContentCost\n"
        "a,-101.3,48.24,RES1,1,7,1,1000,500\nb,-90,40,RES1,1,7,1,1000,500\nc,,,RES1,1,7,1,1000,500\n"
    )
    done = run(str(book), "--depth", raster, "--depth-unit", "ft", "--out", str(tmp_path / "o.csv"), "--json")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows[1:]] == ["unknown_outside_raster", "unknown_place"]
    assert rows[1]["building_loss"] == ""
    assert json.loads(done.stdout)["building_value_unknown"] == 2000.0
    wrong = run(str(book), "--depth", raster, "--depth-unit", "m", "--out", str(tmp_path / "o.csv"))
    assert wrong.returncode == 2
    assert "feet" in wrong.stderr


def test_without_rasterio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "rasterio":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RasterExtraMissing, match=r"tocsin\[raster\]"):
        sample(Path("depth.tif"), np.zeros(1), np.zeros(1), "ft")


def test_a_file_that_is_no_raster_is_one_clear_line(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    (tmp_path / "d.tif").write_text("not a raster")
    with pytest.raises(BadRaster, match=r"d\.tif"):
        sample(tmp_path / "d.tif", np.zeros(1), np.zeros(1), "ft")


def test_a_raster_without_a_coordinate_system_is_refused(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    at = rasterio.transform.from_origin(10.0, 51.0, 0.5, 0.5)
    with rasterio.open(
        tmp_path / "d.tif", "w", driver="GTiff", height=2, width=2, count=1, dtype="float32", transform=at
    ) as bare:
        bare.write(np.ones((1, 2, 2), dtype="float32"))
    for read in (lambda path: sample(path, np.zeros(1), np.zeros(1), "ft"), lambda path: read_grid(path, "ft")):
        with pytest.raises(BadRaster, match=r"d\.tif: has no coordinate system"):
            read(tmp_path / "d.tif")


def test_oed_locations_need_a_first_floor_and_a_known_occupancy(tmp_path: Path) -> None:
    file = tmp_path / "oed.csv"
    file.write_text(
        "LocNumber,Latitude,Longitude,OccupancyCode,NumberOfStoreys,BuildingTIV,ContentsTIV\n"
        "1,48.2,-101.3,1051,1,1000,500\n2,48.2,-101.3,1000,1,1000,500\n"
    )
    known, _, _ = read_buildings(file, HAZUS, first_floor_ft=1.0)
    assert damage(known[0], 3.0, "hazus", HAZUS, JRC).building_loss == pytest.approx(320.0)
    assert damage(known[1], 3.0, "hazus", HAZUS, JRC).status == "unknown_curve"
    bare, _, _ = read_buildings(file, HAZUS)
    assert damage(bare[0], 3.0, "hazus", HAZUS, JRC).status == "unknown_first_floor"


@pytest.mark.parametrize("name", ["flood_curves_hazus", "flood_curves_jrc", "flood_curves_usace", "v_half_eberenz2021"])
def test_every_set_of_curves_carries_its_source(name: str) -> None:
    given = json.loads((resources.files("geo") / "data" / f"{name}.json").read_text(encoding="utf-8"))["publication"]
    for field in ("author", "title", "page", "unit", "valid", "checked"):
        assert given[field].strip(), field
    assert 1990 < given["year"] < 2030
