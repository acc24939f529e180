"""What people say of the water in their homes, as numbers: a depth with its spread, and a sample for the damage curves.

A phone offers body heights, not centimetres; each stands for a range. Such an answer is a low-weight observation: it
never raises or clears a warning. Noun: alerts/damage_report.py; the update is geo/vulnerability_update.py.
"""

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
