"""Depths over a book of buildings: every building gets its losses or the reason why they are unknown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
