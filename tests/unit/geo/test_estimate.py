"""A hazard field against OED files: curves, what is unknown, the reconciliation, groups, and the command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo import terms_files
from geo.curve_choice import choose
from geo.estimate import PLACE_FIELDS, Places, estimate, tiv_reconciliation
from geo.hazard_field import GridField, PolygonField
from geo.loss import Uncertainty
from geo.oasis_model import BadModel, OasisModel
from tocsin.cli import app

LOCATIONS = """PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,OccupancyCode,ConstructionCode,LocPerilsCovered,PostalCode,BuildingTIV,OtherTIV,ContentsTIV,BITIV,LocCurrency,LocDed6All
1,A1,1,LK,7.0,80.0,1050,5050,AA1,P1,100000.01,0,50000,1000.50,LKR,5000
1,A1,2,LK,7.0,80.001,1100,5100,AA1,P1,200000,100,0,0,LKR,0
1,A1,3,LK,7.0,80.002,1150,5150,AA1,P2,300000,0,0,0,LKR,0
1,A2,4,US,7.0,80.003,1050,5000,AA1,P2,400000,0,0,0,LKR,0
1,A2,5,LK,,,1050,5050,AA1,P3,500000,0,0,0,LKR,0
1,A2,6,LK,9.0,81.0,1050,5050,AA1,P3,600000,0,0,0,LKR,0
1,A2,7,LK,7.0,80.0,1050,5050,XHL,P3,700000,0,0,0,LKR,0
"""
ACCOUNTS = """PortNumber,AccNumber,AccCurrency,PolNumber,PolPerilsCovered,LayerNumber,LayerParticipation,LayerLimit,LayerAttachment
1,A1,LKR,P1,AA1,1,0.8,100000,1000
1,A2,LKR,P2,AA1,1,1,0,0
"""
AREA = shapely.box(79.9, 6.9, 80.1, 7.1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    loc, acc = tmp_path / "loc.csv", tmp_path / "acc.csv"
    loc.write_text(LOCATIONS)
    acc.write_text(ACCOUNTS)
    return loc, acc


def loaded(files: tuple[Path, Path], peril: str | None = "ORF") -> terms_files.LossBook:
    return terms_files.load(*files, peril=peril, keep=(*PLACE_FIELDS, "PostalCode"))


def test_what_has_no_curve_or_place_is_unknown_with_its_value_and_everything_adds_up(files: tuple[Path, Path]) -> None:
    book = loaded(files)
    found = estimate(book, PolygonField.make([(AREA, 1.5)], "m"), Places.of(book.book), event=1, by="PostalCode")
    unknown = {reason: tiv for reason, (_, tiv) in found.unknown.items()}
    assert unknown == {
        "no coordinates": 500000.0,
        "no published curve for business interruption": 1000.5,
        "no flood curve for industrial in asia": 300000.0,
        "hazus needs a HAZUS occupancy, and OED occupancy 1050 is none of them": 400000.0,
    }
    told = tiv_reconciliation(book.book, found)["LKR"]
    assert told["difference"] == 0
    assert told["tiv_in"] == 285110051
    assert told["parts"]["with loss"] == 35010001
    assert told["parts"]["not hit"] == 60000000
    assert sum(told["parts"].values()) == told["tiv_in"]
    groups = {g["PostalCode"]: g for g in found.groups("PostalCode")}
    assert set(groups) == {"P1"}
    assert groups["P1"]["gul_mean"] == pytest.approx(found.samples.total[0].mean())
    (policy,) = found.policies()[:1]
    assert policy["pol_number"] == "P1"
    assert policy["mean_gross"] == pytest.approx(found.samples.total[1].mean())


def test_the_insured_value_in_is_that_of_the_file(files: tuple[Path, Path]) -> None:
    book = loaded(files)
    found = estimate(book, PolygonField.make([(AREA, 1.5)], "m"), Places.of(book.book), event=1)
    whole = tiv_reconciliation(book.book, found)["LKR"]["tiv_in"]
    assert whole == round(
        sum(float(r.split(",")[i] or 0) for r in LOCATIONS.splitlines()[1:] for i in (10, 11, 12, 13)) * 100
    )


def test_outside_the_grid_is_unknown_and_never_zero(files: tuple[Path, Path]) -> None:
    book = loaded(files)
    field = GridField.make(np.ones((4, 4)), "m", west=79.99, north=7.01, step_lon=0.005, step_lat=0.005, smooth=False)
    found = estimate(book, field, Places.of(book.book), event=1, with_contributions=False)
    assert found.unknown["outside the grid of the hazard"] == (1, 600000.0)
    assert tiv_reconciliation(book.book, found)["LKR"]["difference"] == 0


def test_losses_follow_the_curve_and_the_terms_where_nothing_is_uncertain(files: tuple[Path, Path]) -> None:
    book = loaded(files)
    exact = Uncertainty(n_samples=2, curve_sigma=0.0)
    found = estimate(book, PolygonField.make([(AREA, 1.0)], "m", 0.0), Places.of(book.book), event=1, assumed=exact)
    out = np.empty(book.book.programme.n_items)
    from geo.loss import Sources

    found.felt.draw(0, Sources(False, False, False), out)
    # JRC 2017, Asia, 1 m: residential 0.49, commercial 0.54
    assert out.sum() == pytest.approx(0.49 * 150000.01 + 0.54 * 200100, rel=0.01)
    insured = book.book.programme.insured(out).sum()
    by_hand = min(max(out[:2].sum() - 5000, 0) + out[2:].sum() - 1000, 100000) * 0.8
    assert insured == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("unit", "country", "construction", "coverage", "want"),
    [
        ("m/s", "PH", 0, 0, "v_half 84.7"), ("m/s", "GB", 0, 2, "v_half 73.4"), ("m/s", "PH", 0, 3, None),
        ("g", "US", 5100, 0, "URML"), ("g", "US", 5000, 0, None), ("g", "US", 5100, 2, None),
        ("damage_ratio", "XX", 0, 3, "stated"), ("m", "XX", 0, 0, None),
    ],
)  # fmt: skip
def test_only_published_curves_are_taken(
    unit: str, country: str, construction: int, coverage: int, want: str | None
) -> None:
    zero = np.zeros(1, dtype=np.int64)
    found = choose(unit, [country], np.array([1050]), np.array([construction]), zero, np.array([coverage]))
    if want is None:
        assert found.item_curve[0] == -1
        assert found.reasons[found.item_reason[0]]
    else:
        assert want in found.names[found.item_curve[0]]


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)


def test_the_command_writes_what_it_says_and_ep_reads_its_tables(files: tuple[Path, Path], tmp_path: Path) -> None:
    shape = shapely.geometry.mapping(AREA)
    features = [
        {"type": "Feature", "properties": {"event_id": e, "rate": r, "intensity": d, "unit": "m"}, "geometry": shape}
        for e, r, d in (("small", 0.1, 0.5), ("large", 0.01, 3.0))
    ]
    path = tmp_path / "set.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    out, elt = tmp_path / "out.csv", tmp_path / "elt.csv"
    done = run(
        "loss", *files, "--footprint", path, "--peril", "ORF", "--samples", 20, "--out", out, "--elt-out", elt, "--json"
    )
    assert done.exit_code == 0, done.output  # type: ignore[attr-defined]
    told = json.loads(done.stdout)  # type: ignore[attr-defined]
    rows = list(csv.DictReader((tmp_path / "elt_il.csv").open()))
    assert [r["event_id"] for r in rows] == ["small", "large"]
    assert sum(float(r["rate"]) * float(r["mean"]) for r in rows) == pytest.approx(told["losses"]["il"]["aal"])
    ep = run("ep", tmp_path / "elt_gul.csv", "--out", tmp_path / "ep.csv", "--json")
    assert json.loads(ep.stdout)["aal_exact"] == pytest.approx(told["losses"]["gul"]["aal"])  # type: ignore[attr-defined]


def test_the_command_tells_what_a_new_version_changes(files: tuple[Path, Path], tmp_path: Path) -> None:
    def version(name: str, depth: float) -> Path:
        path = tmp_path / name
        feature = {"type": "Feature", "properties": {"intensity": depth, "unit": "m"},
                   "geometry": shapely.geometry.mapping(AREA)}  # fmt: skip
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        return path

    old, new = version("v1.geojson", 0.5), version("v2.geojson", 1.5)
    common = ("loss", *files, "--peril", "ORF", "--samples", 30, "--out", tmp_path / "o.csv", "--json")
    told = json.loads(run(*common, "--footprint", new, "--against", old).stdout)  # type: ignore[attr-defined]
    before = json.loads(run(*common, "--footprint", old).stdout)  # type: ignore[attr-defined]
    change = told["difference"]
    assert (change["n_hit"], change["exposed_tiv"]) == (0, 0.0)
    for perspective in ("gul", "il", "ri"):
        assert change[perspective]["before"] == pytest.approx(before["losses"][perspective]["mean"])
        assert change[perspective]["before"] + change[perspective]["mean"] == pytest.approx(
            told["losses"][perspective]["mean"]
        )
    assert change["gul"]["p5"] > 0  # the same draws: more water is more loss in every sample
    same = json.loads(run(*common, "--footprint", new, "--against", new).stdout)["difference"]  # type: ignore[attr-defined]
    assert same["gul"]["sd"] == 0.0
    done = run(*common, "--model", tmp_path, "--against", old)
    assert "--against" in str(done.exception)  # type: ignore[attr-defined]


def test_the_command_refuses_what_it_cannot_compute(files: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "bare.geojson"
    path.write_text(json.dumps(shapely.geometry.mapping(AREA)))
    for options, why in ((("--footprint", path), "unknown, not zero"), ((), "give one of"),
                         (("--footprint", path, "--model", tmp_path), "give one of"),
                         (("--model", tmp_path), "has no areaperil_dict")):  # fmt: skip
        done = run("loss", *files, "--out", tmp_path / "o.csv", *options)
        assert isinstance(done.exception, InvalidInput), done.output  # type: ignore[attr-defined]
        assert why in str(done.exception)  # type: ignore[attr-defined]


def test_a_model_whose_chances_do_not_add_to_one_is_refused(tmp_path: Path) -> None:
    tables = {
        "areaperil_dict": "PERIL_ID,COVERAGE_TYPE,LON1,LAT1,LON2,LAT2,LON3,LAT3,LON4,LAT4,AREA_PERIL_ID\nWTC,1,0,0,1,0,0,1,1,1,1\n",
        "vulnerability_dict": "PERIL_ID,COVERAGE_TYPE,OCCUPANCYCODE,VULNERABILITY_ID\nWTC,1,1050,1\n",
        "damage_bin_dict": "bin_index,bin_from,bin_to\n1,0,0\n2,0,1\n",
        "vulnerability": "vulnerability_id,intensity_bin_id,damage_bin_id,probability\n1,1,1,0.5\n1,1,2,0.4\n",
        "footprint": "event_id,areaperil_id,intensity_bin_id,probability\n1,1,1,1\n",
        "occurrence_lt": "event_id,period_no,occ_month,occ_day\n1,1,1,1\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(BadModel, match=r"vulnerability 1, intensity bin 1: chances add to 0\.9"):
        OasisModel.read(tmp_path)


def test_where_nothing_that_is_hit_has_a_curve_the_loss_is_unknown_and_not_zero(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    files[0].write_text(files[0].read_text().replace(",LK,", ",US,"))
    shape = tmp_path / "area.geojson"
    feature = {
        "type": "Feature",
        "properties": {"intensity": 1, "unit": "m"},
        "geometry": shapely.geometry.mapping(AREA),
    }
    shape.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    out = tmp_path / "out.csv"
    done = run("loss", *files, "--footprint", shape, "--peril", "ORF", "--samples", 5, "--out", out)
    assert done.exit_code == 0, done.output
    assert "ground-up: unknown: nothing that is hit has a curve" in done.stdout
    assert out.read_text().splitlines()[1:] == ["gul,,,,,,", "il,,,,,,", "ri,,,,,,"]
    # with a declared set of curves there is one
    done = run("loss", *files, "--footprint", shape, "--peril", "ORF", "--samples", 5, "--out", out,
               "--flood-curves", "jrc")  # fmt: skip
    assert "ground-up: mean" in done.stdout
