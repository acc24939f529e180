"""Crops and works under construction: what they are worth on a day. No damage curve is pretended for them.

A schedule gives the share of the final value that stands at risk at points in time: for works the progress of
completion, for crops the share of the harvest's value by growth stage. Between points it is interpolated; before the
first and after the last there is nothing at risk. Schedules are the user's: crop calendars and building programmes are
local, and none is shipped here.
"""

import itertools
from dataclasses import dataclass
from datetime import date

import numpy as np

from core.errors import InvalidInput

KINDS = ("works", "crop")


class BadSchedule(InvalidInput):
    """This is no schedule of value."""


@dataclass(frozen=True)
class ChangingValue:
    """An exposure whose value depends on the day."""

    kind: str  #: "works" or "crop"
    final_value: float  #: completed works, or the harvest, in the location's currency
    schedule: tuple[tuple[date, float], ...]  #: (day, share of the final value), days ascending

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadSchedule(f"kind: {self.kind!r} is none of {', '.join(KINDS)}")
        if not (np.isfinite(self.final_value) and self.final_value >= 0):
            raise BadSchedule(f"final_value: {self.final_value!r} is negative or not a finite number")
        if len(self.schedule) < 2:
            raise BadSchedule("schedule: it needs a first and a last day")
        days = [day for day, _ in self.schedule]
        if any(b <= a for a, b in itertools.pairwise(days)):
            raise BadSchedule("schedule: its days do not ascend")
        shares = [share for _, share in self.schedule]
        if any(not 0 <= share <= 1 for share in shares):
            raise BadSchedule("schedule: a share is not in 0..1")
        if self.kind == "works" and any(b < a for a, b in itertools.pairwise(shares)):
            raise BadSchedule("schedule: the progress of works does not fall")

    def value_on(self, day: date) -> float:
        """The value at risk on a day; zero before the first and after the last day of the schedule."""
        if not self.schedule[0][0] <= day <= self.schedule[-1][0]:
            return 0.0
        at = [d.toordinal() for d, _ in self.schedule]
        return self.final_value * float(np.interp(day.toordinal(), at, [share for _, share in self.schedule]))
