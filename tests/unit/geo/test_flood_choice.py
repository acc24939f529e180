"""Flood curves as a book declares them: equal to what `tocsin flood` reads, and nothing assumed that nobody declared."""

import json
import math
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from geo.curve_choice import choose
from geo.flood_choice import DEFAULT, BadFloodChoice, Buildings, FloodChoice, curve
from geo.flood_damage import FOOT_M, Building, damage
from geo.oed_table import OedTable

DATA = resources.files("geo") / "data"
HAZUS, JRC, USACE = (
    json.loads((DATA / f"flood_curves_{name}.json").read_text(encoding="utf-8")) for name in ("hazus", "jrc", "usace")
)


def table(**columns: list[str]) -> OedTable:
    n = len(next(iter(columns.values())))
    columns = {"BuildingTIV": ["100000"] * n, "ContentsTIV": ["40000"] * n} | columns
    return OedTable(Path("loc.csv"), {name: pa.array(texts) for name, texts in columns.items()}, n)


@pytest.mark.parametrize("curves", ["hazus", "hazus-coastal-a", "hazus-coastal-v", "fia", "usace"])
@pytest.mark.parametrize(("occupancy", "code"), [("1051", "RES1"), ("1101", "COM1"), ("1150", "IND")])
@pytest.mark.parametrize("basement", ["0", "1"])
def test_it_is_the_curve_of_the_file_command_at_every_depth(
    curves: str, occupancy: str, code: str, basement: str
) -> None:
    """The reference is geo.flood_damage, which the golden tests hold against the published tables."""
    choice = FloodChoice.of(curves, None, None)
    given = Buildings.of(table(FirstFloorHeight=["2.5"], NumberOfStoreys=["2"], Basement=[basement]), choice)
    (codes,) = given.codes().tolist()
    for coverage, value in ((0, 100_000.0), (2, 40_000.0)):
        found = curve(choice, int(occupancy), coverage, tuple(codes))
        for depth_ft in (0.5, 2.0, 3.7, 9.0, 30.0):
            building = Building(
                id="1", occupancy=code, n_stories=2.0, basement=basement == "1", first_floor_ft=2.5,
                building_value=100_000.0, contents_value=40_000.0, inventory_value=0.0,
            )  # fmt: skip
            want = damage(building, depth_ft, curves, HAZUS, JRC, USACE)
            amount = want.building_loss if coverage == 0 else want.contents_loss
            if math.isnan(amount):
                assert isinstance(found, str)
                continue
            assert not isinstance(found, str), found
            depths, ratios = found[1]
            got = np.interp(depth_ft * FOOT_M, depths, ratios, left=0.0) * value
            assert got == pytest.approx(amount, abs=1e-6)


def test_feet_and_metres_are_the_same_first_floor_and_minus_999_is_unknown() -> None:
    found = Buildings.of(
        table(FirstFloorHeight=["3", "0.9144", "-999", ""], FirstFloorHeightUnit=["1", "2", "1", ""]), DEFAULT
    )
    assert found.first_floor_ft[:2].tolist() == pytest.approx([3.0, 3.0])
    assert np.isnan(found.first_floor_ft[2:]).all()


def test_a_height_that_is_in_another_unit_is_refused_with_its_line() -> None:
    of = table(FirstFloorHeight=["300"], FirstFloorHeightUnit=["1"])
    Buildings.of(of, DEFAULT)
    assert [(bad.field, "no height of a first floor" in bad.reason) for bad in of.bad] == [("FirstFloorHeight", True)]


def test_what_the_book_lacks_is_unknown_unless_it_is_declared_and_then_it_is_counted() -> None:
    of = table(FirstFloorHeight=["", "2"], NumberOfStoreys=["-1", "2"], FoundationType=["0", "8"])
    bare = Buildings.of(of, DEFAULT)
    silent = curve(DEFAULT, 1051, 0, tuple(bare.codes()[0].tolist()))
    assert isinstance(silent, str)
    assert "height of the first floor" in silent
    declared = FloodChoice.of("hazus", 1.0, 1.0)
    told = Buildings.of(of, declared)
    assert {name: where.tolist() for name, where in told.assumed.items()} == {
        "Basement: none": [True, False], "FirstFloorHeight: 1 ft": [True, False], "NumberOfStoreys: 1": [True, False],
    }  # fmt: skip
    assert not isinstance(curve(declared, 1051, 0, tuple(told.codes()[0].tolist())), str)
    only_floor = FloodChoice.of("hazus", 1.0, None)
    no_storeys = curve(only_floor, 1051, 0, tuple(Buildings.of(of, only_floor).codes()[0].tolist()))
    assert isinstance(no_storeys, str)
    assert "number of storeys" in no_storeys


def test_auto_is_hazus_in_the_united_states_and_jrc_elsewhere_and_bi_has_no_curve() -> None:
    of = table(FirstFloorHeight=["1"] * 4, NumberOfStoreys=["1"] * 4)
    place = np.arange(4)
    found = choose(
        "m", ["US", "LK", "CA", "US"], np.full(4, 1051), np.zeros(4, int), place, np.array([0, 0, 0, 3]),
        flood=DEFAULT, buildings=Buildings.of(of, DEFAULT),
    )  # fmt: skip
    names = ["" if c < 0 else found.names[c] for c in found.item_curve]
    assert names[0].startswith("HAZUS default RES1")
    assert names[1].startswith("JRC 2017 asia residential")
    assert names[2].startswith("JRC 2017 north-america residential")
    assert names[3] == ""
    assert found.reasons[found.item_reason[3]] == "no published curve for business interruption"


@pytest.mark.parametrize(
    ("given", "named"),
    [(("hasus", None, None), "--flood-curves"), (("hazus", 99.0, None), "--first-floor-ft"),
     (("hazus", None, 0.0), "--storeys")],
)  # fmt: skip
def test_a_choice_that_is_none_names_the_option(given: tuple[str, float | None, float | None], named: str) -> None:
    with pytest.raises(BadFloodChoice, match=named):
        FloodChoice.of(*given)


def test_a_choice_is_read_back_as_it_was_written() -> None:
    choice = FloodChoice.of("usace", 1.5, 2.0)
    assert FloodChoice.from_json(json.loads(json.dumps(choice.as_json()))) == choice
    assert FloodChoice.from_json({}) == DEFAULT
