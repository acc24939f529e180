"""What people's damage answers say against the damage curve: prior kept, before and after side by side."""

import itertools
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from alerts import answer_repository
from alerts.damage_report import Sample, sample
from geo.flood_damage import FOOT_M, Building, damage
from geo.point_files import load_flood_curves
from geo.vulnerability_update import Updated, update
from store.pool import AsyncConnection

#: Depth inside the home, metres: one bin for each height that a phone offers.
EDGES_M = (0.03, 0.25, 0.7, 1.25, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The curve of one-storey homes by depth inside, and how many answers could be used."""

    n_answers: int
    n_with_depth: int
    n_with_share: int
    n_with_photo: int
    bins: list[Updated]


def curve_ratio(depth_inside_m: float) -> float:
    """HAZUS default building curve of a one-storey home without basement, at a depth above its floor."""
    hazus, jrc = load_flood_curves()
    home = Building(
        id="",
        occupancy="RES1",
        n_stories=1.0,
        basement=False,
        first_floor_ft=0.0,
        building_value=1.0,
        contents_value=0.0,
        inventory_value=0.0,
    )
    return damage(home, depth_inside_m / FOOT_M, "hazus", hazus, jrc).building_loss


async def learn(conn: AsyncConnection, warning_id: UUID | None = None) -> Learned:
    """The curve before and after the answers of one warning, or of all."""
    rows = await answer_repository.damage_answers(conn, warning_id)
    newest: dict[tuple[UUID, UUID | None], Sample] = {}  # a later answer to the same warning replaces the one before
    for row in rows:
        one = sample(row["detail"] or {})
        if one is not None:
            newest[row["policyholder_id"], row["warning_id"]] = one
    samples = list(newest.values())
    shared = [one for one in samples if one.damage_ratio is not None]
    return Learned(
        n_answers=len(rows),
        n_with_depth=len(samples),
        n_with_share=len(shared),
        n_with_photo=sum(one.has_photo for one in samples),
        bins=update(
            np.array([one.depth_m for one in shared]),
            np.array([one.damage_ratio for one in shared], dtype=float),
            np.array([one.weight for one in shared]),
            edges_m=EDGES_M,
            curve_ratio=[curve_ratio((low + high) / 2) for low, high in itertools.pairwise(EDGES_M)],
        ),
    )
