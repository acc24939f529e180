"""Restoration days, interruption, debris and loss adjustment: the published tables, and money by hand."""

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo import restoration, terms_files
from geo.estimate import PLACE_FIELDS, Places, estimate, tiv_reconciliation
from geo.flood_choice import FloodChoice
from geo.hazard_field import PolygonField
from geo.loss import Sources, Uncertainty
from geo.point_files import BadTable, load_flood_curves, load_restoration, read_buildings
from tocsin.cli import app

TABLE = load_restoration()


def test_every_range_of_days_is_the_published_one(shared_data: Path) -> None:
    with (shared_data / "cat" / "depth_damage" / "hazus_flRsFnGBS_LUT.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["Occupancy"] for row in rows}) == len(TABLE["restoration_days"]) == 33
    for row in rows:
        low, high = float(row["Min_Depth"]), float(row["Max_Depth"])
        if high - low > 12:  # two rows of the source span the whole depth beside its parts
            continue
        for depth in (low, (low + high) / 2, high - 1e-3):
            assert restoration.days(TABLE, row["Occupancy"], depth) == (
                float(row["Min_Restor_Days"]), float(row["Max_Restor_Days"]),
            )  # fmt: skip
    assert restoration.days(TABLE, "RES1", -4.1) == (0.0, 0.0)
    assert restoration.days(TABLE, "RES1", 99.0) == (360.0, 720.0)
    assert restoration.days(TABLE, "XXX9", 1.0) is None


def test_debris_is_the_published_tons_by_foundation_and_depth(shared_data: Path) -> None:
    with (shared_data / "cat" / "depth_damage" / "hazus_flDebris_LUT.csv").open() as file:
        published = {row["DebrisID"]: row for row in csv.DictReader(file)}

    def tons(occupancy: str, depth: float, *, basement: bool = False, slab: bool = False) -> Any:
        return restoration.debris_tons(
            TABLE, occupancy, basement=basement, slab=slab, above_floor_ft=depth, area_sq_ft=2000.0
        )

    for key, found in (
        ("RES1NBFT0", tons("RES1", -1.0)), ("RES1NBFT8", tons("RES1", 8.0)), ("RES1NBSG8", tons("RES1", 11.9, slab=True)),
        ("RES1BSG-8", tons("RES1", -5.0, basement=True)), ("RES1BSG-4", tons("RES1", -0.5, basement=True)),
        ("RES1BSG6", tons("RES1", 7.0, basement=True)), ("COM6NBSG8", tons("COM6", 30.0, basement=True)),
        ("COM1NBSG12", tons("COM1", 12.0, basement=True)), ("RES2NBFT1", tons("RES2", 1.0)),
    ):  # fmt: skip
        row = published[key]
        assert found == tuple(2.0 * float(row[part]) for part in ("Finishes", "Structure", "Foundation")), key
    assert tons("RES2", -0.5) == (0.0, 0.0, 0.0)
    assert tons("XXX9", 1.0) is None
    assert all(math.isnan(t) for t in restoration.debris_tons(
        TABLE, "RES1", basement=False, slab=False, above_floor_ft=2.0, area_sq_ft=math.nan))  # fmt: skip


def test_the_interruption_curve_steps_where_the_table_does() -> None:
    depth, share = restoration.interruption_curve(TABLE, "RES1", "max") or (np.zeros(0), np.zeros(0))
    assert (np.diff(depth) > 0).all()
    assert (np.diff(share) >= 0).all()
    for at, days in ((-5, 0), (-3, 180), (0.0, 360), (3.9, 360), (4.0, 365), (9, 365)):  # a year at most
        assert np.interp(at, depth, share, left=0.0) == pytest.approx(days / 365)
    low = restoration.interruption_curve(TABLE, "RES1", "min") or (np.zeros(0), np.zeros(0))
    assert np.interp(5.0, *low) == pytest.approx(270 / 365)
    with pytest.raises(InvalidInput, match="--bi-restoration"):
        FloodChoice.of(None, None, None, "most")
    assert FloodChoice.from_json(FloodChoice.of("hazus", 1.0, 2.0, "Mid").as_json()).bi_restoration == "mid"
    assert FloodChoice.from_json({}).bi_restoration is None


LOC = (
    "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,OccupancyCode,ConstructionCode,LocPerilsCovered,"
    "BuildingTIV,ContentsTIV,BITIV,LocCurrency,FirstFloorHeight,NumberOfStoreys,BIWaitingPeriod,BIPOI\n"
    "1,A,1,US,7.0,80.0,1101,5050,ORF,100000,50000,73000,USD,2,1,30,365\n"
)
ACC = "PortNumber,AccNumber,AccCurrency,PolNumber,PolPerilsCovered,LayerNumber\n1,A,USD,P,ORF,1\n"
AREA = shapely.box(79.9, 6.9, 80.1, 7.1)


def _book(tmp_path: Path, loc: str = LOC) -> terms_files.LossBook:
    (tmp_path / "loc.csv").write_text(loc)
    (tmp_path / "acc.csv").write_text(ACC)
    return terms_files.load(tmp_path / "loc.csv", tmp_path / "acc.csv", keep=PLACE_FIELDS)


def test_interruption_follows_the_days_and_the_waiting_period_in_the_running_chain(tmp_path: Path) -> None:
    """COM1 with 5 ft above ground is 3 ft above its floor: 360 days at least of a year's 73,000 is 72,000; after 30
    days of waiting 66,000 are insured. Without the declaration the interruption is unknown, with its value."""
    book = _book(tmp_path)
    field = PolygonField.make([(AREA, 5 * 0.3048)], "m", 0.0)
    exact = Uncertainty(n_samples=2, curve_sigma=0.0)
    declared = FloodChoice.of("hazus", None, None, "min")
    found = estimate(book, field, Places.of(book.book), event=1, assumed=exact, flood=declared)
    out = np.empty(book.book.programme.n_items)
    found.felt.draw(0, Sources(False, False, False), out)
    bi = book.book.item_coverage == 3
    assert out[bi].tolist() == pytest.approx([360 / 365 * 73000])
    assert book.book.programme.insured(out)[bi].tolist() == pytest.approx([330 / 365 * 73000])
    assert any("HAZUS restoration COM1, min days" in name for name in found.choice.names)
    assert set(found.as_json()["by_coverage"]) == {"buildings", "contents", "business_interruption"}
    assert found.as_json()["assumptions"]["flood"]["bi_restoration"] == "min"
    assert tiv_reconciliation(book.book, found)["USD"]["difference"] == 0
    silent = estimate(
        book, field, Places.of(book.book), event=1, assumed=exact, flood=FloodChoice.of("hazus", None, None)
    )
    assert silent.unknown == {"no published curve for business interruption": (1, 73000.0)}
    bare = _book(tmp_path, LOC.replace("USD,2,1", "USD,,1"))
    unknown = estimate(bare, field, Places.of(bare.book), event=1, assumed=exact, flood=declared).unknown
    assert sum(n for n, _ in unknown.values()) == 3
    assert all("height of the first floor" in reason for reason in unknown)


def test_debris_and_adjustment_are_stated_steps_with_figures_of_their_own(tmp_path: Path) -> None:
    """Half of everything is lost; removing debris adds a tenth to property, before a limit of 70,000 on the building;
    settling costs 5 % of what is insured and stands in no loss."""
    loc = LOC.replace("BIPOI\n", "BIPOI,LocLimit1Building\n").replace("30,365\n", ",,52000\n")
    runner = CliRunner()
    _book(tmp_path, loc)
    files = [str(tmp_path / "loc.csv"), str(tmp_path / "acc.csv")]
    common = ["terms", *files, "--damage-ratio", "0.5", "--json", "--out", str(tmp_path / "o.csv")]
    plain = json.loads(runner.invoke(app, common).stdout)
    assert (plain["loss_gul"], plain["loss_il"]) == (111500.0, 111500.0)
    assert "debris_removal" not in plain
    done = runner.invoke(app, [*common, "--debris-removal", "0.1", "--loss-adjustment", "0.05"])
    told = json.loads(done.stdout)
    # 55,000 + 27,500 + 36,500; the building is held to 52,000
    assert told["loss_gul"] == pytest.approx(119000.0)
    assert told["loss_il"] == pytest.approx(116000.0)
    assert told["debris_removal"] == {"share": 0.1, "loss_gul": pytest.approx(7500.0)}
    assert told["loss_adjustment"] == {"share": 0.05, "loss": pytest.approx(5800.0)}
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["loss_adjustment"]) for row in rows) == pytest.approx(5800.0)
    wrong = runner.invoke(app, [*common, "--debris-removal", "1.5"])
    assert wrong.exit_code != 0
    assert "--debris-removal" in str(wrong.exception)


def test_the_sampled_loss_tells_the_same_steps(tmp_path: Path) -> None:
    _book(tmp_path)
    zone = {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"intensity": 0.5, "unit": "damage_ratio"},
         "geometry": shapely.geometry.mapping(AREA)}]}  # fmt: skip
    (tmp_path / "f.geojson").write_text(json.dumps(zone))
    common = ["loss", str(tmp_path / "loc.csv"), str(tmp_path / "acc.csv"), "--footprint", str(tmp_path / "f.geojson"),
              "--samples", "20", "--json", "--out", str(tmp_path / "o.csv")]  # fmt: skip
    runner = CliRunner()
    plain = json.loads(runner.invoke(app, common).stdout)
    told = json.loads(runner.invoke(app, [*common, "--debris-removal", "0.2", "--loss-adjustment", "0.1"]).stdout)
    of_property = plain["by_coverage"]["buildings"]["gul"] + plain["by_coverage"]["contents"]["gul"]
    assert told["losses"]["gul"]["mean"] == pytest.approx(plain["losses"]["gul"]["mean"] + 0.2 * of_property)
    assert told["debris_removal"]["loss_gul"] == pytest.approx(0.2 * of_property)
    assert told["loss_adjustment"]["loss"] == pytest.approx(0.1 * told["losses"]["il"]["mean"])
    assert "loss_adjustment" not in plain
    assert sum(one["gul"] for one in plain["by_coverage"].values()) == pytest.approx(plain["losses"]["gul"]["mean"])


def test_minot_beside_the_repair(shared_data: Path, tmp_path: Path) -> None:
    """Every building of a real town against a plain reading of the two tables."""
    pytest.importorskip("rasterio")
    folder = shared_data / "cat"
    book = tmp_path / "minot.csv"
    book.write_bytes(gzip.decompress((folder / "flood" / "hazus_ND_Minot_UDF.csv.gz").read_bytes()))
    done = CliRunner().invoke(app, [
        "flood", str(book), "--depth", str(folder / "flood" / "minot_sample_depth_ft.tif"), "--depth-unit", "ft",
        "--out", str(tmp_path / "o.csv"), "--restoration", "max", "--debris", "--debris-cost-per-ton", "50", "--json",
    ])  # fmt: skip
    told = json.loads(done.stdout)
    with (folder / "depth_damage" / "hazus_flDebris_LUT.csv").open() as file:
        tons = {
            r["DebrisID"]: [float(r[p]) for p in ("Finishes", "Structure", "Foundation")] for r in csv.DictReader(file)
        }
    with (folder / "depth_damage" / "hazus_flRsFnGBS_LUT.csv").open() as file:
        days = {r["RestFnID"]: (r["Min_Restor_Days"], r["Max_Restor_Days"]) for r in csv.DictReader(file)}
    with (tmp_path / "o.csv").open() as ours, book.open(encoding="utf-8-sig") as theirs:
        pairs = list(zip(csv.DictReader(ours), csv.DictReader(theirs), strict=True))
    whole, wet = 0.0, 0
    for row, b in pairs:
        if row["status"] == "dry":
            assert (row["restoration_days_max"], row["debris_removal_cost"]) == ("0", "0.00")
            continue
        wet += 1
        inside, occupancy, foundation = float(row["depth_in_structure_ft"]), b["Occ"], b["FoundationType"]
        if occupancy in ("RES1", "COM6") and foundation == "4":
            edges, bsm = ((8, "8"), (6, "6"), (4, "4"), (0, "0"), (-4, "-4")), "B" if occupancy == "RES1" else "NB"
            suffix = next((name for low, name in edges if inside >= low), "-8")
        else:
            bsm = "NB"
            suffix = next((name for low, name in ((12, "12"), (8, "8"), (4, "4"), (1, "1")) if inside >= low), "0")
        key = f"{occupancy}{bsm}{'SG' if foundation in ('4', '7') else 'FT'}{suffix}"
        expected = [0.0] * 3 if occupancy == "RES2" and inside < 0 else [t * float(b["Area"]) / 1000 for t in tons[key]]
        got = [float(row[f"debris_{part}_tons"]) for part in ("finishes", "structure", "foundation")]
        if min(abs(inside - edge) for edge in (-4, 0, 1, 4, 6, 8, 12)) < 1e-3:  # the cell is rounded over an edge
            whole += sum(got)
            continue
        assert got == pytest.approx(expected, abs=6e-4)
        whole += sum(expected)
        names = ((0, "0"), (1, "1"), (4, "4"), (8, "8"), (12, "12"))
        rest = next((name for high, name in names if inside < high), "24")
        low_days, high_days = days.get(f"{occupancy}{rest}", (None, None))
        if low_days is not None and inside >= -4:
            assert (row["restoration_days_min"], row["restoration_days_max"]) == (low_days, high_days)
    assert wet > 1000
    assert told["debris"]["short_tons"] == pytest.approx(whole, rel=1e-6)
    assert told["debris"]["cost"] == pytest.approx(50 * whole, rel=1e-6)
    assert told["interruption"]["n_unknown"] == wet  # a UDF file has no value of interruption: unknown, not zero


def test_an_oed_file_gives_its_own_first_floor_area_and_interruption(tmp_path: Path) -> None:
    hazus, _ = load_flood_curves()
    header = "LocNumber,Latitude,Longitude,OccupancyCode,BuildingTIV,ContentsTIV,BITIV,FirstFloorHeight,"
    header += "FirstFloorHeightUnit,FloorArea,FloorAreaUnit,NumberOfStoreys,FoundationType\n"
    path = tmp_path / "oed.csv"
    path.write_text(
        f"{header}a,1,2,1051,100,50,10,3,1,2000,11,2,8\nb,1,2,1051,100,50,10,0.9144,2,185.80608,12,-1,2\n"
        "c,1,2,1051,100,50,,-999,1,0,,0,0\n"
    )
    one, two, three = read_buildings(path, hazus)[0]
    assert (one.first_floor_ft, one.area_sq_ft, one.interruption_value, one.slab) == (3.0, 2000.0, 10.0, True)
    assert (two.first_floor_ft, two.area_sq_ft) == (pytest.approx(3.0), pytest.approx(2000.0))
    assert (two.basement, math.isnan(two.n_stories)) == (True, True)
    assert math.isnan(three.first_floor_ft)
    assert math.isnan(three.area_sq_ft)
    path.write_text(f"{header}\na,1,2,1051,100,50,10,3,7,2000,11,2,8\n")
    with pytest.raises(BadTable, match="line 3: firstfloorheightunit: 7 is none of 1, 2"):
        read_buildings(path, hazus)
