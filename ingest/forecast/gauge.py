"""What one gauge has told so far: its believed readings, its recent slopes, and its level on an hourly grid.

Readings come in order of time and nothing later than the newest is ever used. Real gauges send two values seconds
apart, of which one is metres too low, so a fall faster than rivers fall is not believed until the next reading
confirms it: believing it would end a warning at the crest. A rise is always believed, since flash floods do rise by
metres within one interval (docs/methods/forecast.md).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

HOUR_S = 3600.0
#: A fall larger than this, plus FALL_RATE times the time passed, waits for the next reading to confirm it.
FALL_STEP_M = 0.3
FALL_RATE_M_PER_H = 1.0
#: A suspect fall is believed after this long in any case.
FALL_WAIT_H = 3.0
#: History that the models look back on, hours.
MEMORY_H = 240.0
#: An hourly value is carried over gaps of at most this long.
CARRY_H = 3.0


@dataclass(frozen=True, slots=True)
class State:
    """A gauge at one of its readings: level (m) and mean slopes over the last 1, 3 and 6 hours (m/h).

    A slope that would reach back before the first reading is that of the longest shorter window.
    """

    time_s: float
    level_m: float
    slope1: float
    slope3: float
    slope6: float
    noise_m: float
    held: bool  # the newest reading is a fall not yet confirmed


@dataclass(slots=True)
class Gauge:
    """The readings of one gauge, appended in order of time; without `hold` every fall is believed at once."""

    times: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    pending: tuple[float, float] | None = None
    hold: bool = True

    def add(self, time_s: float, level_m: float) -> State:
        """Takes a reading (seconds, metres) and returns the state that is known with it."""
        held = False
        if self.hold and self.times and self._falls_too_fast(time_s, level_m):
            before, self.pending = self.pending, (time_s, level_m)
            if before is not None and abs(level_m - before[1]) <= FALL_STEP_M and time_s > before[0]:
                self._keep(*before)
                self._keep(time_s, level_m)
                self.pending = None
            else:
                held = True
        else:
            self.pending = None
            self._keep(time_s, level_m)
        return self._state(time_s, held)

    def _falls_too_fast(self, time_s: float, level_m: float) -> bool:
        passed_h = (time_s - self.times[-1]) / HOUR_S
        return passed_h <= FALL_WAIT_H and level_m < self.levels[-1] - FALL_STEP_M - FALL_RATE_M_PER_H * passed_h

    def _keep(self, time_s: float, level_m: float) -> None:
        self.times.append(time_s)
        self.levels.append(level_m)
        if self.times[0] < time_s - 2 * MEMORY_H * HOUR_S:
            first = int(np.searchsorted(self.times, time_s - MEMORY_H * HOUR_S))
            del self.times[:first], self.levels[:first]

    def _state(self, time_s: float, held: bool) -> State:
        level = self.levels[-1]
        first = max(0, len(self.times) - 400)
        while first and self.times[first] > time_s - 25 * HOUR_S:
            first = max(0, first - 400)
        times, levels = np.array(self.times[first:]), np.array(self.levels[first:])
        slopes: list[float] = []
        for hours in (1.0, 3.0, 6.0):
            if times[0] <= time_s - hours * HOUR_S:
                slopes.append((level - float(np.interp(time_s - hours * HOUR_S, times, levels))) / hours)
            else:
                slopes.append(slopes[-1] if slopes else 0.0)
        day = levels[np.searchsorted(times, time_s - 24 * HOUR_S) :]
        noise = float(np.mean(np.abs(np.diff(day)))) if len(day) > 2 else 0.02
        return State(time_s, level, slopes[0], slopes[1], slopes[2], noise, held)

    def hourly(self, time_s: float) -> FloatArray:
        """The level at each whole hour before `time_s`, oldest first, newest last; unknown hours are left out."""
        times, levels = np.array(self.times), np.array(self.levels)
        ends = time_s - HOUR_S * np.arange(int(MEMORY_H))[::-1]
        at = np.searchsorted(times, ends, side="right") - 1
        known = (at >= 0) & (ends - times[np.maximum(at, 0)] <= CARRY_H * HOUR_S)
        return np.asarray(levels[at[known]])
