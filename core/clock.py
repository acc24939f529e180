"""The one clock that rules, dwell, expiry, lateness and leave-by read.

Wall time in a live database. In an exercise database, and only there, a scenario clock kept in one row that every
process reads. Leases, timeouts and retries never use it: they read the wall.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Whatever can say what time it is, in UTC."""

    def now(self) -> datetime: ...


class WallClock:
    """The time on the wall, UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioClock:
    """Scenario time that runs `speed` times as fast as the wall from a common start.

    `held_at` is set while a replay runs at full speed: then each message's recorded arrival is the time, and the
    clock stands at the newest arrival that was committed.
    """

    wall_start: datetime
    scenario_start: datetime
    speed: float
    held_at: datetime | None = None

    def at(self, wall: datetime) -> datetime:
        """Scenario time at a moment of wall time."""
        if self.held_at is not None:
            return self.held_at
        return self.scenario_start + timedelta(seconds=(wall - self.wall_start).total_seconds() * self.speed)

    def now(self) -> datetime:
        return self.at(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands still, for a decision that must be made as of one moment."""

    at: datetime

    def now(self) -> datetime:
        return self.at
