"""What a flood costs beside the repair of what it wetted: days until a building is restored, and tons of debris.

HAZUS tables by occupancy and depth above the first floor (geo/data/flood_restoration_hazus.json, with their source).
Days are read as the table gives them: one pair, least and most, for a range of depths. An interruption is the share
of the year that they are; what the insured waits for, and for how long it is paid at most, are policy terms.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo.terms import FloatArray

WHICH = ("min", "mid", "max")
DAYS_OF_YEAR = 365.0
_EDGE_FT = 1e-6  #: width over which a step of the table is drawn
_WITH_BASEMENT_RANGES = ("RES1", "COM6")


class BadRestoration(InvalidInput):
    """This is no choice of restoration times."""


def check_which(text: str, option: str) -> str:
    """One of min, mid and max; raises BadRestoration naming the option."""
    name = text.strip().lower()
    if name not in WHICH:
        raise BadRestoration(f"{option}: {text!r} is none of {', '.join(WHICH)}")
    return name


def days(table: Mapping[str, Any], occupancy: str, above_floor_ft: float) -> tuple[float, float] | None:
    """(least, most) days until a building is restored; None where the table does not have the occupancy.

    Below the table's first depth nothing has to be restored; above its last the last range holds.
    """
    bands = table["restoration_days"].get(occupancy)
    if bands is None:
        return None
    edges = table["depth_ft"]
    if math.isnan(above_floor_ft):
        return math.nan, math.nan
    if above_floor_ft < edges[0]:
        return 0.0, 0.0
    at = min(int(np.searchsorted(edges, above_floor_ft, side="right")) - 1, len(bands) - 1)
    return float(bands[at][0]), float(bands[at][1])


def of(pair: tuple[float, float], which: str) -> float:
    """The days that are declared to count: least, most, or halfway."""
    return {"min": pair[0], "mid": (pair[0] + pair[1]) / 2.0, "max": pair[1]}[which]


def interruption_curve(table: Mapping[str, Any], occupancy: str, which: str) -> tuple[FloatArray, FloatArray] | None:
    """(depths above the first floor in ft, shares of a year's value), the table's steps; a year at most."""
    bands = table["restoration_days"].get(occupancy)
    if bands is None:
        return None
    depth, share = [table["depth_ft"][0] - _EDGE_FT], [0.0]
    for low, pair in zip(table["depth_ft"], bands, strict=False):
        ratio = min(of((pair[0], pair[1]), which) / DAYS_OF_YEAR, 1.0)
        if depth[-1] < low - _EDGE_FT:
            depth.append(low - _EDGE_FT)
            share.append(share[-1])
        depth.append(low)
        share.append(ratio)
    depth.append(table["depth_ft"][-1])
    share.append(share[-1])
    return np.array(depth), np.array(share)


def debris_tons(
    table: Mapping[str, Any], occupancy: str, *, basement: bool, slab: bool, above_floor_ft: float, area_sq_ft: float
) -> tuple[float, float, float] | None:
    """Short tons of finishes, structure and foundation; None where the table does not have the building.

    Houses and hospitals with a basement have depth ranges of their own; a basement counts as a slab, as in HAZUS.
    """
    if math.isnan(above_floor_ft):
        return math.nan, math.nan, math.nan
    if occupancy == "RES2" and above_floor_ft < 0:
        return 0.0, 0.0, 0.0
    below = basement and occupancy in _WITH_BASEMENT_RANGES
    edges = ((-math.inf, "-8"), (-4.0, "-4"), (0.0, "0"), (4.0, "4"), (6.0, "6"), (8.0, "8")) if below else (
        (-math.inf, "0"), (1.0, "1"), (4.0, "4"), (8.0, "8"), (12.0, "12"))  # fmt: skip
    suffix = [name for low, name in edges if above_floor_ft >= low][-1]
    cellar = "B" if below and occupancy == "RES1" else "NB"
    key = f"{occupancy}{cellar}{'SG' if basement or slab else 'FT'}{suffix}"
    per_1000 = table["debris_tons_per_1000_sq_ft"].get(key)
    if per_1000 is None:
        return None
    finishes, structure, foundation = (area_sq_ft * tons / 1000.0 for tons in per_1000)
    return finishes, structure, foundation
