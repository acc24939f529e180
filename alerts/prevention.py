"""Steps that a household or site can still take against flood loss, the most worth a minute first.

What a step saves is the difference of two losses by the same damage curves (geo/flood_damage.py): with what it moves
where it stands, and where it would be. docs/methods/loss-prevention.md has equations, sources and limits. Nobody is
asked to take a step that would make them leave late: all steps together fit the time before leaving, and where that
time is not known only the one that protects people is shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from geo.flood_damage import FOOT_M, Building, damage

#: USACE, Economic Guidance Memorandum 09-04 (2009), generic depth-damage of vehicles, sedans: feet above ground.
SEDAN_DEPTH_FT = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
SEDAN_RATIO = (0.0, 0.076, 0.280, 0.462, 0.622, 0.760, 0.876, 0.970, 1.0)

#: Kept free before leaving: packing, waking children, locking up. Minutes.
RESERVE_MIN = 15.0
#: Somebody who needs help takes this many times as long.
SLOWER = 2.0
#: Removable barriers at doors and vents hold about this much water (products of the kind of BS 851188-1). Metres.
BARRIER_M = 0.6
#: Share of the loss that barriers prevent where they are fitted in time and the water stays below them.
BARRIER_EFFECT = 0.7
#: Without an upper floor things are put on furniture: this much higher. Metres.
RAISED_M = 0.8
#: Share of the contents' value that two people carry in the time below; of a site's stock that is moved or raised.
CONTENTS_SHARE = 0.4
STOCK_SHARE = 0.6

#: Minutes each step takes two able people.
MINUTES = {"cut_power": 5, "move_car": 10, "fit_barriers": 30, "move_contents": 45, "move_stock": 90}
STEPS = tuple(MINUTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What is known of a household or site. None is unknown."""

    depth_m: float | None  #: forecast above ground at the building
    lead_min: float | None  #: until it must be left, or until the water is there
    occupancy: str = "RES1"  #: HAZUS specific occupancy
    n_stories: float = 1.0
    first_floor_m: float = 0.3
    building_value: float | None = None
    contents_value: float | None = None
    stock_value: float | None = None  #: none for a home
    car_value: float | None = None
    has_car: bool = False
    has_barriers: bool = True  #: whether anybody knows of some; a home is asked rather than passed over
    slow: bool = False  #: somebody there needs help
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    step: str
    minutes: int
    avoided_loss: float | None  #: in the home's currency; None: unknown, or it is about people
    per_minute: float | None
    protects_people: bool = False
    assumed: Mapping[str, Any] = field(default_factory=dict)


def car_ratio(depth_m: float) -> float:
    """Damage ratio of a car in this depth, flat above the last knot."""
    feet = max(0.0, depth_m) / FOOT_M
    for i in range(1, len(SEDAN_DEPTH_FT)):
        if feet <= SEDAN_DEPTH_FT[i]:
            x0, x1 = SEDAN_DEPTH_FT[i - 1], SEDAN_DEPTH_FT[i]
            return SEDAN_RATIO[i - 1] + (SEDAN_RATIO[i] - SEDAN_RATIO[i - 1]) * (feet - x0) / (x1 - x0)
    return 1.0


def _loss(home: Home, depth_m: float, hazus: Mapping[str, Any], jrc: Mapping[str, Any]) -> tuple[float, float, float]:
    """(building, contents, stock) loss at a depth above ground; NaN is unknown."""
    building = Building(
        id="",
        occupancy=home.occupancy,
        n_stories=home.n_stories,
        basement=False,
        first_floor_ft=home.first_floor_m / FOOT_M,
        building_value=home.building_value if home.building_value is not None else math.nan,
        contents_value=home.contents_value if home.contents_value is not None else math.nan,
        inventory_value=home.stock_value or 0.0,
    )
    found = damage(building, depth_m / FOOT_M, "hazus", hazus, jrc)
    return found.building_loss, found.contents_loss, found.inventory_loss


def avoided(step: str, home: Home, hazus: Mapping[str, Any], jrc: Mapping[str, Any]) -> float | None:
    """What the step saves if it is done before the water comes; None where a value, a curve or the depth is unknown."""
    depth = home.depth_m
    if depth is None or step == "cut_power":
        return None
    if depth <= 0.0:
        return 0.0
    if step == "move_car":
        return None if home.car_value is None else home.car_value * car_ratio(depth)
    building, contents, stock = _loss(home, depth, hazus, jrc)
    if step == "fit_barriers":
        found = (building + contents + stock) * BARRIER_EFFECT if depth <= BARRIER_M else 0.0
    elif step == "move_contents":
        # upstairs it stays dry; without an upper floor it stands higher
        above = 0.0 if home.n_stories >= 2 else _loss(home, max(0.0, depth - RAISED_M), hazus, jrc)[1]
        found = CONTENTS_SHARE * (contents - above)
    elif step == "move_stock":
        found = STOCK_SHARE * (stock - _loss(home, max(0.0, depth - RAISED_M), hazus, jrc)[2])
    else:
        return None
    return None if math.isnan(found) else max(0.0, found)


def _fits(step: str, home: Home) -> bool:
    if step == "move_car":
        return home.has_car
    if step == "move_stock":
        return home.stock_value is not None and home.stock_value > 0
    if step == "fit_barriers":
        return home.has_barriers and (home.depth_m is None or home.depth_m <= BARRIER_M)
    return True


def steps(home: Home, hazus: Mapping[str, Any], jrc: Mapping[str, Any]) -> list[Step]:
    """What is worth doing in the time there is: power first, then by avoided loss a minute; unknown savings last.

    Steps that save nothing are left out, and so is each that no longer fits after those before it.
    """
    if home.depth_m is not None and home.depth_m <= 0.0:
        return []
    found = []
    for step in STEPS:
        if not _fits(step, home):
            continue
        minutes = math.ceil(MINUTES[step] * (SLOWER if home.slow else 1.0))
        saved = avoided(step, home, hazus, jrc)
        if saved == 0.0:
            continue
        found.append(
            Step(
                step=step,
                minutes=minutes,
                avoided_loss=saved,
                per_minute=None if saved is None else saved / minutes,
                protects_people=step == "cut_power",
                assumed={"depth_m": home.depth_m, "first_floor_m": home.first_floor_m, "curves": "hazus"},
            )
        )
    if home.lead_min is None:
        return [one for one in found if one.protects_people]
    left = home.lead_min - RESERVE_MIN
    kept = []
    for one in sorted(found, key=_order):
        if one.minutes <= left:
            kept.append(one)
            left -= one.minutes
    return kept


def _order(one: Step) -> tuple[bool, bool, float, int]:
    return (not one.protects_people, one.per_minute is None, -(one.per_minute or 0.0), one.minutes)


def credited(
    done: Sequence[str], home: Home, hazus: Mapping[str, Any], jrc: Mapping[str, Any]
) -> dict[str, float | None]:
    """What each step that was done saved, given those done before it: nothing is counted twice.

    Barriers that hold keep everything inside dry, so what was moved behind them saved only the rest.
    """
    found: dict[str, float | None] = {}
    remaining = 1.0
    for step in done:
        saved = avoided(step, home, hazus, jrc)
        if saved is not None and step in ("move_contents", "move_stock"):
            saved *= remaining
        if step == "fit_barriers" and saved:
            moved = sum(found.get(one) or 0.0 for one in ("move_contents", "move_stock"))
            saved = max(0.0, saved - BARRIER_EFFECT * moved)
            remaining = 1.0 - BARRIER_EFFECT
        found[step] = saved
    return found
