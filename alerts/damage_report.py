"""What people say of the water in their homes, as numbers: a depth with its spread, and a sample for the damage curves.

A phone offers body heights, not centimetres; each stands for a range. Such an answer is a low-weight observation: it
never raises or clears a warning. It is a labelled sample for the damage curves (geo/vulnerability_update.py) and a
reading of the home's own stream, which the loss of the next footprint version uses (geo/reported.py). Pure.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Depth inside, in metres: (middle, half of the range). Anthropometric heights of adults, rounded.
DEPTH_M: dict[str, tuple[float, float]] = {
    "none": (0.0, 0.02),
    "ankle": (0.10, 0.08),
    "knee": (0.45, 0.15),
    "waist": (0.95, 0.20),
    "higher": (1.60, 0.50),
}
#: A first floor that nobody told: its height above ground, and the standard deviation of that and of a told one.
ASSUMED_FLOOR_M, ASSUMED_FLOOR_ERROR_M, TOLD_FLOOR_ERROR_M = 0.3, 0.15, 0.03
_FOOT_M = 0.3048
_FEET = 1  #: OED unit code; 2 is metres
#: Weight of one answer against one surveyed loss. Nobody has looked at it.
WEIGHT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One labelled sample: this deep, this damaged."""

    depth_m: float
    depth_spread_m: float
    damage_ratio: float | None  #: share of the home's worth that is damaged; None: not said
    weight: float
    has_photo: bool


def sample(detail: Mapping[str, Any]) -> Sample | None:
    """The sample in an answer's detail; None where it says no depth that we know."""
    known = DEPTH_M.get(str(detail.get("depth")))
    if known is None:
        return None
    share = detail.get("damaged_share")
    told = isinstance(share, int | float) and not isinstance(share, bool) and 0.0 <= float(share) <= 1.0
    photo = detail.get("photo")
    return Sample(
        depth_m=known[0],
        depth_spread_m=known[1],
        damage_ratio=float(share) if told and share is not None else None,
        weight=WEIGHT,
        has_photo=isinstance(photo, str) and photo != "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A told depth as a reading: metres above the home's first floor, with its declared error."""

    value: float
    error: float  #: standard deviation
    weight: float
    floor_m: float  #: first floor above ground
    floor_error_m: float


def first_floor_m(oed: Mapping[str, Any]) -> float | None:
    """Height of the first floor above ground by the book's OED columns, metres; None where it is not told."""
    try:
        height = float(oed["FirstFloorHeight"])
        unit = int(float(oed.get("FirstFloorHeightUnit") or 2))
    except (KeyError, TypeError, ValueError):
        return None
    if not (math.isfinite(height) and height >= 0.0):
        return None
    return height * (_FOOT_M if unit == _FEET else 1.0)


def reported(detail: Mapping[str, Any], oed: Mapping[str, Any]) -> Reported | None:
    """The reading in an answer's detail; None where it says no depth that we know.

    A body height is a range in which every depth is as likely: its standard deviation is the half-range over sqrt(3).
    """
    told = sample(detail)
    if told is None:
        return None
    floor = first_floor_m(oed)
    return Reported(
        value=told.depth_m,
        error=told.depth_spread_m / math.sqrt(3.0),
        weight=told.weight,
        floor_m=ASSUMED_FLOOR_M if floor is None else floor,
        floor_error_m=ASSUMED_FLOOR_ERROR_M if floor is None else TOLD_FLOOR_ERROR_M,
    )
