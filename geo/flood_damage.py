"""Flood damage of buildings from a depth above ground: HAZUS defaults (river and coast), FIA, USACE and JRC curves.

HAZUS, FIA and USACE curves are read at the depth above the first floor, in feet; HAZUS's hold between -4 and 24 ft. JRC
curves are read at the depth above ground, in metres. Damage is interpolated between the knots and flat above the last.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]

FOOT_M = 0.3048
HAZUS_DEPTH_FT = np.arange(-4.0, 25.0)
HAZUS_BASEMENT = 4  #: HAZUS foundation type
HAZUS_SLAB = 7


#: Sets that are read at the depth above the first floor -> table of the HAZUS file, where it is one of HAZUS's.
FIRST_FLOOR_CURVES: dict[str, str] = {
    "hazus": "default",
    "hazus-coastal-a": "coastal-a",
    "hazus-coastal-v": "coastal-v",
    "fia": "fia",
    "usace": "",
}


class UnknownCurves(InvalidInput):
    """This set of depth-damage curves is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """A building as HAZUS describes it. Values are NaN where unknown."""

    id: str
    occupancy: str  #: HAZUS specific occupancy: RES1, COM4, ...; empty where unknown
    n_stories: float
    basement: bool
    first_floor_ft: float  #: height of the first floor above ground
    building_value: float
    contents_value: float
    inventory_value: float  #: 0 where the occupancy holds none
    slab: bool = False  #: slab on grade
    area_sq_ft: float = math.nan
    interruption_value: float = math.nan  #: of a year


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What the water does to a building. NaN is unknown."""

    depth_in_structure_ft: float
    building_loss: float
    contents_loss: float
    inventory_loss: float
    status: str
    building_loss_sd: float = math.nan  #: of the curve; NaN where its source gives no uncertainty
    contents_loss_sd: float = math.nan


def story_class(occupancy: str, n_stories: float, split: bool = True) -> str:
    """HAZUS's class of height: RES1 1, 2, 3 or S (split level, not whole); RES3 1, 3 or 5; others L, M or H."""
    if occupancy == "RES1":
        if split and n_stories != math.floor(n_stories):
            return "S"
        return str(int(min(max(n_stories, 1.0), 3.0)))
    if occupancy == "RES2":
        return "1"
    if occupancy.startswith("RES3"):
        return "1" if n_stories <= 2 else "3" if n_stories <= 4 else "5"
    return "L" if n_stories <= 3 else "M" if n_stories <= 7 else "H"


def inventory_value_usd(hazus: Mapping[str, Any], occupancy: str, area_sq_ft: float) -> float:
    """Stock of a building by the HAZUS table: area x sales per square foot x share held; 0 for other occupancies."""
    held = hazus["inventory"]["usd_per_sq_ft_sales_and_percent_held"].get(occupancy)
    return 0.0 if held is None else area_sq_ft * held[0] * held[1] / 100.0


def _hazus_ratio(hazus: Mapping[str, Any], kind: str, table: str, building: Building, depth_ft: float) -> float | None:
    by_class = hazus[kind][table].get(building.occupancy)
    if by_class is None:
        return None
    key = story_class(building.occupancy, building.n_stories) + ("B" if building.basement else "N")
    percent = hazus[kind]["curves"][str(by_class[key])]["percent"]
    return float(np.interp(depth_ft, HAZUS_DEPTH_FT, percent, left=0.0)) / 100.0


def usace_type(building: Building) -> str:
    """USACE's occupancy type: RES1 by storeys and basement, others as HAZUS names them."""
    if building.occupancy != "RES1":
        return building.occupancy
    storeys = {"S": "SL"}.get(key := story_class("RES1", building.n_stories), f"{key}S")
    return f"RES1-{storeys}{'WB' if building.basement else 'NB'}"


def _usace_percent(
    usace: Mapping[str, Any], kind: str, building: Building, depth_ft: float
) -> tuple[float, float, str] | None:
    """(percent, its standard deviation or NaN, what it is a percentage of)."""
    curve = usace["curves"].get(usace_type(building), {}).get(kind)
    if curve is None:
        return None
    percent = float(np.interp(depth_ft, curve["depth_ft"], curve["percent"], left=0.0))
    sd = float(np.interp(depth_ft, curve["depth_ft"], curve["sd"], left=0.0)) if "sd" in curve else math.nan
    return percent, sd, curve.get("of", "building")


def _jrc_ratio(jrc: Mapping[str, Any], continent: str, occupancy: str, depth_m: float) -> float | None:
    sector = {"RES": "residential", "COM": "commercial", "IND": "industrial"}.get(occupancy[:3])
    curve = jrc["curves"][continent].get(sector)
    return None if curve is None else float(np.interp(depth_m, jrc["depth_m"], curve))


def check_curves(name: str, jrc: Mapping[str, Any]) -> str:
    """The name of a set of curves in lower case: one of FIRST_FLOOR_CURVES or jrc:<continent>. Raises UnknownCurves."""
    name = name.lower()
    if name in FIRST_FLOOR_CURVES:
        return name
    continent = name.removeprefix("jrc:")
    if name.startswith("jrc:") and continent in jrc["curves"]:
        return name
    why = jrc["left_out"].get(continent)
    known = ", ".join([*FIRST_FLOOR_CURVES, *(f"jrc:{one}" for one in jrc["curves"])])
    raise UnknownCurves(f"curves {name!r}: {why if why else 'not known'}; there are {known}")


def damage(
    building: Building,
    depth_ft: float,
    curves: str,
    hazus: Mapping[str, Any],
    jrc: Mapping[str, Any],
    usace: Mapping[str, Any] = MappingProxyType({"curves": {}}),
) -> Damage:
    """Losses of one building under `depth_ft` of water above ground, by a checked set of curves.

    A depth of 0 or less is dry. What has no curve, value or first floor has unknown losses and a status that says so.
    """
    nan = math.nan
    if depth_ft <= 0.0:
        return Damage(depth_in_structure_ft=nan, building_loss=0.0, contents_loss=0.0, inventory_loss=0.0, status="dry")
    above_floor = depth_ft - building.first_floor_ft

    def unknown(why: str) -> Damage:
        return Damage(
            depth_in_structure_ft=above_floor, building_loss=nan, contents_loss=nan, inventory_loss=nan, status=why
        )

    if curves == "usace" and not math.isnan(building.first_floor_ft) and not math.isnan(building.n_stories):
        return _usace_damage(usace, building, above_floor, unknown)
    stock: float | None
    if curves.startswith("jrc:"):
        structure = _jrc_ratio(jrc, curves.removeprefix("jrc:"), building.occupancy, depth_ft * FOOT_M)
        contents = structure
        stock = structure
    else:
        if math.isnan(building.first_floor_ft):
            return unknown("unknown_first_floor")
        if math.isnan(building.n_stories):
            return unknown("unknown_stories")
        table = FIRST_FLOOR_CURVES[curves]
        structure = _hazus_ratio(hazus, "building", table, building, above_floor)
        contents = _hazus_ratio(hazus, "contents", table, building, above_floor)
        stock = _hazus_ratio(hazus, "inventory", "default", building, above_floor)
    if structure is None or contents is None:
        return unknown("unknown_curve")
    status = "wet"
    if math.isnan(building.building_value) or math.isnan(building.contents_value):
        status = "unknown_value"
    held = building.inventory_value
    return Damage(
        depth_in_structure_ft=above_floor,
        building_loss=structure * building.building_value,
        contents_loss=contents * building.contents_value,
        inventory_loss=0.0 if held == 0.0 else (nan if stock is None else stock) * held,
        status=status,
    )


def _usace_damage(
    usace: Mapping[str, Any], building: Building, above_floor: float, unknown: Callable[[str], Damage]
) -> Damage:
    structure = _usace_percent(usace, "building", building, above_floor)
    inside = _usace_percent(usace, "contents", building, above_floor)
    if structure is None or inside is None:
        return unknown("unknown_curve")
    value, contents = building.building_value, building.contents_value
    # one-family contents are percent of the building's value (EGM 04-01), and no more can be lost than there is
    of = value if inside[2] == "building" else contents
    return Damage(
        depth_in_structure_ft=above_floor,
        building_loss=structure[0] / 100.0 * value,
        contents_loss=float(np.minimum(inside[0] / 100.0 * of, contents)),
        inventory_loss=0.0 if building.inventory_value == 0.0 else math.nan,
        status="unknown_value" if math.isnan(value) or math.isnan(contents) else "wet",
        building_loss_sd=structure[1] / 100.0 * value,
        contents_loss_sd=inside[1] / 100.0 * of,
    )


#: OED occupancy codes with one HAZUS counterpart (OED 5, OccupancyCode).
OED_TO_HAZUS: dict[str, str] = {
    "1051": "RES1", "1070": "RES1", "1053": "RES4", "1115": "RES4", "1116": "RES4", "1107": "RES6",
    "1101": "COM1", "1102": "COM2", "1103": "COM3", "1104": "COM4", "1125": "COM5", "1106": "COM6", "1105": "COM7",
    "1108": "COM8", "1119": "COM8", "1110": "COM9", "1113": "COM10", "1151": "IND1", "1152": "IND2", "1153": "IND3",
    "1154": "IND3", "1155": "IND4", "1156": "IND5", "1157": "IND6", "1201": "REL1", "1210": "GOV1", "1220": "GOV2",
    "1231": "EDU1", "1230": "EDU2",
}  # fmt: skip


def hazus_of_oed(code: str) -> str:
    """HAZUS's occupancy of an OED code; only the sector (RES, COM, IND) where it is not one of HAZUS's; else empty."""
    if code in OED_TO_HAZUS or not code.isdigit():
        return OED_TO_HAZUS.get(code, "")
    sectors = ((1050, 1099, "RES"), (1100, 1149, "COM"), (1150, 1199, "IND"))
    return next((name for first, last, name in sectors if first <= int(code) <= last), "")


def total(losses: Sequence[float]) -> float:
    """The sum of the losses that are known."""
    return float(np.nansum(np.asarray(losses, dtype=float))) if losses else 0.0
