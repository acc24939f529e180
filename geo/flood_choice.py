"""Which depth-damage curve an OED building takes, as the book declares it, and what was assumed where it is silent.

What a curve needs and neither the book nor the declaration gives is unknown: nothing is assumed that nobody declared,
but that a building of which no basement is told has none. Sources of the curves: geo.flood_damage.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo import restoration
from geo.flood_damage import FIRST_FLOOR_CURVES, FOOT_M, HAZUS_DEPTH_FT, hazus_of_oed, story_class
from geo.oed_table import OedTable
from geo.reasons import tell
from geo.terms import BoolArray, FloatArray

#: `auto`: HAZUS in the United States and its territories, JRC by continent elsewhere.
SETS = ("auto", "jrc", *FIRST_FLOOR_CURVES)
_HAZUS_COUNTRIES = frozenset({"US", "PR", "VI", "GU", "AS", "MP"})

#: Columns of the location file that the curves by first floor read beyond those of every estimate.
BUILDING_FIELDS = (
    "FirstFloorHeight", "FirstFloorHeightUnit", "NumberOfStoreys", "Basement", "BasementLevelCount", "FoundationType",
)  # fmt: skip
_FEET, _METRES = 1, 2  #: OED unit codes
_UNKNOWN_HEIGHT = -999.0
_NO_BASEMENT_FOUNDATIONS = range(3, 13)  #: OED: walls, crawl spaces, piers, footings, slabs, piles
_BASEMENT_FOUNDATIONS = (1, 2)


class BadFloodChoice(InvalidInput):
    """This is no choice of flood curves."""


@dataclass(frozen=True)
class FloodChoice:
    """What a book declares of flood damage: a set of curves, and what to take where a location says nothing."""

    curves: str = "auto"
    first_floor_ft: float | None = None  #: height of the first floor above ground; None: unknown stays unknown
    storeys: float | None = None
    bi_restoration: str | None = None  #: which of HAZUS's restoration days interrupt: min, mid, max; None: unknown

    @classmethod
    def of(
        cls, curves: str | None, first_floor_ft: float | None, storeys: float | None, bi_restoration: str | None = None
    ) -> "FloodChoice":
        """A checked choice; raises BadFloodChoice naming the option."""
        name = (curves or "auto").strip().lower()
        if name not in SETS:
            raise BadFloodChoice(f"--flood-curves: {curves!r} is none of {', '.join(SETS)}")
        if first_floor_ft is not None and not -20.0 <= first_floor_ft <= 40.0:
            raise BadFloodChoice(f"--first-floor-ft: {first_floor_ft:g} ft is no height of a first floor")
        if storeys is not None and not 1.0 <= storeys <= 200.0:
            raise BadFloodChoice(f"--storeys: {storeys:g} is no number of storeys")
        which = None if bi_restoration is None else restoration.check_which(bi_restoration, "--bi-restoration")
        return cls(name, first_floor_ft, storeys, which)

    def as_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "FloodChoice":
        """As `as_json` gave it; an empty document is the default."""
        return cls.of(
            document.get("curves"), document.get("first_floor_ft"), document.get("storeys"),
            document.get("bi_restoration"),
        )  # fmt: skip


DEFAULT = FloodChoice()


@dataclass(frozen=True)
class Buildings:
    """What a location file says of its buildings for flood curves; (n,) each, NaN where neither it nor anybody says."""

    first_floor_ft: FloatArray
    storeys: FloatArray
    basement: BoolArray
    contents_to_building: FloatArray  #: insured contents over insured building
    assumed: Mapping[str, BoolArray]  #: field -> where its value was declared for the book and is not the location's

    @classmethod
    def of(cls, table: OedTable, choice: FloodChoice) -> "Buildings":
        """Reads the columns; faults become bad rows of the table."""
        height = table.numbers("FirstFloorHeight", _UNKNOWN_HEIGHT, low=-1000.0, high=1000.0)
        unit = table.whole("FirstFloorHeightUnit", _FEET, of=(0, _FEET, _METRES))
        known = height > _UNKNOWN_HEIGHT
        floor = np.where(known, height / np.where(unit == _METRES, FOOT_M, 1.0), math.nan)
        for row in np.flatnonzero(known & ~((floor >= -20.0) & (floor <= 40.0))).tolist():
            table.refuse(row, "FirstFloorHeight", f"{height[row]:g} is no height of a first floor in its unit")
        storeys = table.numbers("NumberOfStoreys", 0.0, low=-3.0)
        storeys = np.where(storeys > 0, storeys, math.nan)  # 0 unknown, -1 to -3 only low, middle or high rise
        code, level = table.whole("Basement"), table.whole("BasementLevelCount")
        foundation = table.whole("FoundationType")
        basement = (code > 0) | (level > 0) | np.isin(foundation, _BASEMENT_FOUNDATIONS)
        told = basement | np.isin(foundation, list(_NO_BASEMENT_FOUNDATIONS))
        assumed: dict[str, BoolArray] = {"Basement: none": ~told}
        if choice.first_floor_ft is not None:
            assumed[f"FirstFloorHeight: {choice.first_floor_ft:g} ft"] = ~known
            floor = np.where(known, floor, choice.first_floor_ft)
        if choice.storeys is not None:
            assumed[f"NumberOfStoreys: {choice.storeys:g}"] = np.isnan(storeys)
            storeys = np.where(np.isnan(storeys), choice.storeys, storeys)
        building, contents = table.numbers("BuildingTIV"), table.numbers("ContentsTIV")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(building > 0, contents / building, math.nan)
        return cls(floor, storeys, basement, ratio, assumed)

    def codes(self) -> npt.NDArray[np.int64]:
        """(n, 4) whole numbers, the same for buildings that take the same curve; -1 is unknown.

        Heights to a hundredth of a foot, storeys to a tenth, contents over building to a thousandth.
        """
        parts = [
            np.where(np.isnan(self.first_floor_ft), -1e6, np.rint(self.first_floor_ft * 100)),
            np.where(np.isnan(self.storeys), -1, np.rint(self.storeys * 10)),
            self.basement,
            np.where(
                np.isnan(self.contents_to_building), -1, np.rint(np.minimum(self.contents_to_building, 1e6) * 1000)
            ),
        ]
        return np.stack([np.asarray(part).astype(np.int64) for part in parts], axis=1)


Curve = tuple[str, tuple[FloatArray, FloatArray]]


@cache
def _file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("geo") / "data" / name).read_text(encoding="utf-8"))
    return found


def uses_first_floor(country: str, choice: FloodChoice) -> bool:
    """Whether the choice reads curves by the depth above the first floor in a country."""
    return choice.curves not in ("auto", "jrc") or (choice.curves == "auto" and country in _HAZUS_COUNTRIES)


def interruption(choice: FloodChoice, occupancy: int, floor: int) -> Curve | str:
    """(name, (depths above ground in m, shares of a year's value)) by HAZUS restoration days, or the reason for none.

    floor : height of the first floor in hundredths of a foot, as in a row of `Buildings.codes`
    """
    assert choice.bi_restoration is not None
    hazus_code = hazus_of_oed(str(occupancy))
    if len(hazus_code) <= 3:
        return tell("no_hazus_occupancy", curves="hazus", occupancy=occupancy)
    if floor == -1_000_000:
        return tell("no_first_floor", curves="hazus")
    found = restoration.interruption_curve(
        _file("flood_restoration_hazus.json"), hazus_code, choice.bi_restoration
    )  # fmt: skip
    if found is None:
        return tell("no_curve_of_set", curves="hazus", occupancy=hazus_code, part="interruption")
    depth_ft, share = found
    name = f"HAZUS restoration {hazus_code}, {choice.bi_restoration} days of 365, first floor at {floor / 100:g} ft"
    return name, ((depth_ft + floor / 100) * FOOT_M, np.maximum.accumulate(share))


def curve(choice: FloodChoice, occupancy: int, coverage: int, building: tuple[int, int, int, int]) -> Curve | str:
    """(name, (depths above ground in m, damage ratios)) of the chosen set by first floor, or the reason for none.

    coverage : 0 buildings, 2 contents; `building` is a row of `Buildings.codes`
    """
    name = "hazus" if choice.curves == "auto" else choice.curves
    if coverage == 1:
        return tell("no_other_structures", curves=name)
    hazus_code = hazus_of_oed(str(occupancy))
    if len(hazus_code) <= 3:
        return tell("no_hazus_occupancy", curves=name, occupancy=occupancy)
    floor, storeys, basement, ratio = building
    if floor == -1_000_000:
        return tell("no_first_floor", curves=name)
    if storeys == -1 and hazus_code != "RES2":
        return tell("no_storeys", curves=name)
    n_storeys = max(storeys, 10) / 10
    found = (
        _usace(hazus_code, n_storeys, bool(basement), coverage, ratio)
        if name == "usace"
        else _hazus(FIRST_FLOOR_CURVES[name], hazus_code, n_storeys, bool(basement), coverage)
    )
    if found is None:
        part = "buildings" if coverage == 0 else "contents"
        return tell("no_curve_of_set", curves=name, occupancy=hazus_code, part=part)
    depth_ft, percent, what = found
    above_ground_m = (np.asarray(depth_ft, dtype=float) + floor / 100) * FOOT_M
    damage = np.minimum(np.maximum.accumulate(np.asarray(percent, dtype=float)) / 100.0, 1.0)
    part = "building" if coverage == 0 else "contents"
    return f"{what} {part}, first floor at {floor / 100:g} ft", (above_ground_m, damage)


def _hazus(table: str, occupancy: str, n_storeys: float, basement: bool, coverage: int) -> tuple[Any, Any, str] | None:
    kind = _file("flood_curves_hazus.json")["building" if coverage == 0 else "contents"]
    by_class = kind[table].get(occupancy)
    if by_class is None:
        return None
    key = story_class(occupancy, n_storeys) + ("B" if basement else "N")
    number = by_class.get(key)
    if number is None:
        return None
    return HAZUS_DEPTH_FT, kind["curves"][str(number)]["percent"], f"HAZUS {table} {occupancy} {key} ({number})"


def _usace(occupancy: str, n_storeys: float, basement: bool, coverage: int, ratio: int) -> tuple[Any, Any, str] | None:
    from geo.flood_damage import Building, usace_type

    nan = math.nan
    kind = usace_type(
        Building(
            id="", occupancy=occupancy, n_stories=n_storeys, basement=basement, first_floor_ft=nan, building_value=nan,
            contents_value=nan, inventory_value=nan,
        )
    )  # fmt: skip
    curve_ = _file("flood_curves_usace.json")["curves"].get(kind, {}).get("building" if coverage == 0 else "contents")
    if curve_ is None:
        return None
    percent = np.asarray(curve_["percent"], dtype=float)
    if coverage == 2 and curve_.get("of", "building") == "building":
        # contents of one-family houses are percent of the building's value (EGM 04-01)
        if ratio <= 0:
            return None
        percent = percent / (ratio / 1000)
    return curve_["depth_ft"], percent, f"USACE {kind}"
