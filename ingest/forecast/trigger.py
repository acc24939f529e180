"""When a forecast becomes a warning of one level, and how long it stands.

It is given when the path reaches the level within the horizon. Once given it stands while the water could still come
to the level were its steepest recent slope doubled, and in any case for the horizon it spoke of: a warning that
flickers with each reading is many false ones. It ends with the water at the level, or when that time has passed.
"""

from dataclasses import dataclass

from ingest.forecast.gauge import HOUR_S


@dataclass(slots=True)
class Trigger:
    """One gauge and one level; readings come in order of time."""

    level_m: float
    horizon_h: float
    supported_s: float | None = None  #: the newest reading that spoke for the warning; None: no warning stands

    def step(self, time_s: float, level_m: float, top_m: float, reach_m: float) -> bool:
        """Whether a warning stands after a reading: its level, the path's highest within the horizon, and its reach."""
        if level_m >= self.level_m:
            self.supported_s = None
            return False
        if top_m >= self.level_m:
            self.supported_s = time_s
            return True
        if self.supported_s is None:
            return False
        if time_s - self.supported_s >= self.horizon_h * HOUR_S:
            self.supported_s = None
            return False
        if reach_m >= self.level_m:
            self.supported_s = time_s
        return True
