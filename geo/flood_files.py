"""Depths over a book of buildings: every building gets its losses or the reason why they are unknown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geo import restoration
from geo.flood_damage import Building, Damage, damage
from geo.point_files import load_flood_curves, load_usace_curves

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CurveSets:
    """The depth-damage curves that come with this package."""

    hazus: Mapping[str, Any]
    jrc: Mapping[str, Any]
    usace: Mapping[str, Any]

    @classmethod
    def load(cls) -> "CurveSets":
        hazus, jrc = load_flood_curves()
        return cls(hazus, jrc, load_usace_curves())

    def publication(self, curves: str) -> Any:
        """Author, year, unit and validity of a set."""
        return (self.jrc if curves.startswith("jrc:") else self.usace if curves == "usace" else self.hazus)[
            "publication"
        ]


def damages(
    book: Sequence[Building],
    lon: FloatArray,
    water_ft: FloatArray,
    inside: BoolArray,
    missing: BoolArray,
    nodata: str,
    curves: str,
    sets: CurveSets,
) -> list[Damage]:
    """Losses under `water_ft` above ground, by a checked set of curves; the unknown with its reason.

    inside : the building lies on the raster; missing : its cell has no data, which is `nodata` (dry or unknown)
    """
    nan = math.nan
    found: list[Damage] = []
    for i, one in enumerate(book):
        why = ""
        if math.isnan(lon[i]):
            why = "unknown_place"
        elif not inside[i]:
            why = "unknown_outside_raster"
        elif missing[i] and nodata == "unknown":
            why = "unknown_no_depth"
        if why:
            found.append(
                Damage(depth_in_structure_ft=nan, building_loss=nan, contents_loss=nan, inventory_loss=nan, status=why)
            )
        else:
            depth = 0.0 if missing[i] else float(water_ft[i])
            found.append(damage(one, depth, curves, sets.hazus, sets.jrc, sets.usace))
    return found


@dataclass(frozen=True)
class Beside:
    """What the water costs a building beside its repair; NaN is unknown."""

    days: tuple[float, float]  #: least and most until it is restored
    interruption_loss: float
    tons: tuple[float, float, float]  #: debris: finishes, structure, foundation


def beside(book: Sequence[Building], found: Sequence[Damage], table: Mapping[str, Any], which: str) -> list[Beside]:
    """Restoration, interruption (by `which` of the table's days) and debris of each building under its depth."""
    nan = math.nan
    out = []
    for one, d in zip(book, found, strict=True):
        if d.status == "dry":
            out.append(Beside((0.0, 0.0), 0.0, (0.0, 0.0, 0.0)))
            continue
        inside = d.depth_in_structure_ft
        pair = restoration.days(table, one.occupancy, inside) or (nan, nan)
        year = restoration.of(pair, which) / restoration.DAYS_OF_YEAR
        tons = restoration.debris_tons(
            table, one.occupancy, basement=one.basement, slab=one.slab, above_floor_ft=inside,
            area_sq_ft=one.area_sq_ft,
        )  # fmt: skip
        out.append(Beside(pair, float(np.minimum(year, 1.0)) * one.interruption_value, tons or (nan, nan, nan)))
    return out
