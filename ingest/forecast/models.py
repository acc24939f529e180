"""Forecast models of one gauge, refitted at every reading, each with quantiles calibrated online.

Level paths (metres above the gauge's zero at each horizon, hours):

- persistence: the newest reading;
- damped_trend: slope over 3 h, damped by 0.8 an hour (Gardner and McKenzie 1985, eq. 1 with no level smoothing);
- ar_differences: AR(3) on hourly differences by ridge least squares over the last 240 h;
- neighbours: damped trend plus a recursive ridge regression of its own past error on the gauge's slopes and on the mean
  slope of the other gauges of the basin now, 2 h and 4 h ago (travel time), per horizon, with forgetting;
- guarded_trend: the least of the slopes over 1, 3 and 1.5 x 6 h, damped; less where the rise slows, more where it
  quickens: a rise must have lasted and must still be going on;
- regional_trend: the guarded trend, more of it while the other gauges of the basin rise and less while they fall;
- combination: damped trend, AR, neighbours and guarded trend weighted by inverse recent squared error per horizon.

Quantiles: residuals over a scale of the gauge's present state (normalised conformal scores: Lei et al. 2018, section
5.2), whose quantile is tracked online per model and horizon (Gibbs and Candes 2021; the quantile tracker of
Angelopoulos, Candes and Tibshirani 2023, section 2.1, with its step a tenth of
the largest recent score), begun from the shipped table. Only outcomes already seen move it, each by the time it stands
for: outcomes ten minutes apart overlap and are not six times the evidence of hourly ones. No quantile
leaves what the water can do (`_held_to_reason`): what moves online runs away while outcomes of hours ahead are awaited.

A warning of the chosen model is given and held by `ingest.forecast.trigger`.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ingest.forecast.gauge import HOUR_S, FloatArray, Gauge, State
from ingest.forecast.outlook import Outlook, outlook

MODELS = (
    "persistence",
    "damped_trend",
    "ar_differences",
    "neighbours",
    "guarded_trend",
    "regional_trend",
    "combination",
)
#: What the product warns by.
CHOSEN = "regional_trend"
HORIZONS_H = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)
TAUS = np.round(np.arange(0.05, 0.96, 0.05), 2)
MIDDLE = len(TAUS) // 2

# Shipped constants: docs/methods/forecast.md says how each was chosen, and on what.
DAMPING = 0.8
GUARD_LONG = 1.5
GUARD_SLOWING = 0.7
GUARD_QUICKENING = 1.1
REGION_SLOWING = 0.7
REGION_QUICKENING = 1.0
#: How much a rise of the region by one of its usual slopes adds to the gauge's own, and how far that may go.
REGION_GAIN = 0.75
REGION_RANGE = (0.25, 1.75)
#: A gauge's rise counts in units of its own root mean square slope, at most this many; a slope it has before its first.
RISE_LIMIT = 2.0
RISE_FLOOR_M_PER_H = 0.02
RISE_FLOOR_READINGS = 20
#: What a rise could come to at most, in multiples of the damped trend of its steepest slope: what holds a warning.
REACH = 2.0
RIDGE = 0.02
FORGET = 0.995
ERROR_FORGET = 0.95
TRACK_STEP = 0.1
#: Step of what all gauges share, and the most that all of them together move it in an hour.
POOL_STEP = 0.02
POOL_STEP_PER_H = 0.48
#: The water moves at most this many times what it moved in as long before, or the steepest slope's reach; and as much
#: as this many of the quiet scale (the error's scale without a slope) in any case.
RECORD_MARGIN = 2.0
QUIET_REACH = 10.0
#: An outcome between two readings is known only when they are at most this far apart, hours.
OUTCOME_GAP_H = 3.0
MAX_STEP_M = 1.5


def damped_hours(horizons_h: FloatArray) -> FloatArray:
    """Hours of undamped rise that a damped trend makes of each horizon: sum of DAMPING**k, k = 1..h."""
    return np.asarray(DAMPING * (1.0 - DAMPING**horizons_h) / (1.0 - DAMPING))


def guarded_path(
    state: State,
    horizons_h: FloatArray,
    *,
    slowing: float = GUARD_SLOWING,
    quickening: float = GUARD_QUICKENING,
) -> FloatArray:
    """Level path (m) of the guarded trend."""
    slope = min(state.slope1, state.slope3, GUARD_LONG * state.slope6)
    if slope <= 0:
        slope = min(0.0, state.slope3)
        factor = 1.0
    else:
        factor = quickening if state.slope1 >= state.slope3 else slowing
    return state.level_m + factor * slope * damped_hours(horizons_h)


def lift(region: float | None, gain: float = REGION_GAIN) -> float:
    """By how much the region's mean rise (of its usual slopes; None: unknown) stretches a gauge's own."""
    return float(np.clip(1.0 + gain * (region or 0.0), *REGION_RANGE))


def regional_path(state: State, region: float | None, horizons_h: FloatArray) -> FloatArray:
    """Level path (m) of the regional trend: the guarded trend, its rise stretched by what the region does."""
    path = guarded_path(state, horizons_h, slowing=REGION_SLOWING, quickening=REGION_QUICKENING)
    return state.level_m + np.maximum(path - state.level_m, 0.0) * lift(region) + np.minimum(path - state.level_m, 0.0)


def reach_path(state: State, horizons_h: FloatArray) -> FloatArray:
    """Level (m) that the water could come to were its steepest recent slope doubled."""
    return state.level_m + REACH * damped_hours(horizons_h) * max(state.slope1, state.slope3, state.slope6)


def ar_path(hourly: FloatArray, level_m: float, horizons_h: FloatArray) -> FloatArray | None:
    """Level path (m) by AR(3) on hourly differences; None with fewer than 25 known hours."""
    steps = np.diff(hourly)
    if len(steps) < 24:
        return None
    lagged = np.column_stack([steps[2:-1], steps[1:-2], steps[:-3]])
    weights = np.linalg.solve(lagged.T @ lagged + 1e-6 * np.eye(3), lagged.T @ steps[3:])
    recent, level, path = steps[-1:-4:-1].copy(), level_m, [level_m]
    for _ in range(int(np.ceil(horizons_h[-1]))):
        step = float(np.clip(weights @ recent, -MAX_STEP_M, MAX_STEP_M))
        level += step
        path.append(level)
        recent = np.array([step, recent[0], recent[1]])
    return np.interp(horizons_h, np.arange(len(path)), path)


@dataclass(frozen=True, slots=True)
class Forecast:
    """All models' forecasts from one reading, metres: paths (models, horizons), quantiles (models, horizons, taus).

    `reach` (horizons) is what holds a warning that was given: see `ingest.forecast.trigger`.
    """

    time_s: float
    paths: FloatArray
    quantiles: FloatArray
    reach: FloatArray

    def chances(self, level_m: float, up_to: npt.NDArray[np.bool_]) -> FloatArray:
        """Of each model the largest chance at any horizon marked in `up_to` that the level is at or above `level_m`.

        Beyond the outermost quantiles the chance is 0 or 1.
        """
        rows = self.quantiles[:, up_to]
        below = np.count_nonzero(rows <= level_m, axis=2)
        left = np.clip(below - 1, 0, len(TAUS) - 2)[..., None]
        q0, q1 = (np.take_along_axis(rows, left + k, axis=2)[..., 0] for k in (0, 1))
        share = np.clip((level_m - q0) / np.where(q1 > q0, q1 - q0, 1.0), 0.0, 1.0)
        tau = TAUS[left[..., 0]] + share * (TAUS[left[..., 0] + 1] - TAUS[left[..., 0]])
        tau = np.where(below == 0, 0.0, np.where(rows[..., -1] < level_m, 1.0, tau))
        return np.asarray(1.0 - tau.min(axis=1))

    def outlook(self, *, made_at: datetime, known_at: datetime, value: float) -> Outlook:
        """What is kept of it, from a forecaster that runs the chosen model alone; `value` is the reading's."""
        return outlook(
            made_at=made_at,
            known_at=known_at,
            model=CHOSEN,
            value=value,
            horizons_h=HORIZONS_H,
            path=self.paths[0].tolist(),
            reach=self.reach.tolist(),
            taus=TAUS.tolist(),
            quantiles=self.quantiles[0].ravel().tolist(),
        )


@dataclass(slots=True)
class _Open:
    """A forecast whose outcome is awaited."""

    time_s: float
    level_m: float
    trend: FloatArray
    drivers: FloatArray
    paths: FloatArray
    scale: FloatArray


class Pool:
    """What all gauges learn together: shifts of the quantile scores (models, horizons, taus)."""

    def __init__(self, n_models: int, table: FloatArray) -> None:
        self.shift = np.zeros((n_models, *table.shape))
        self.gauges = 0

    def learn(self, horizon: int, way: FloatArray, hours: float) -> None:
        """Moves one horizon by an outcome that stands for this many hours; many gauges move it no faster than 24."""
        step = min(POOL_STEP, POOL_STEP_PER_H / max(self.gauges, 1))
        self.shift[:, horizon] += step * hours * way


class Forecaster:
    """Forecasts one gauge. `table` is (horizons, taus): normalised residual quantiles to begin from.

    `pool` is what all gauges learn together: an outcome at one moves the quantiles of all a little, so that the first
    gauges of a flood calibrate the rest. `added` gives the path of one more model, last.
    With `only_chosen` there is one model, the shipped one, as the running product needs it: the same figures, sooner.
    """

    def __init__(
        self,
        horizons_h: Sequence[float],
        table: FloatArray,
        pool: Pool | None = None,
        added: Callable[[Gauge, float], FloatArray] | None = None,
        *,
        only_chosen: bool = False,
    ) -> None:
        n_models = 1 if only_chosen else len(MODELS) + (added is not None)
        self.only_chosen = only_chosen
        self.added = added
        self.horizons_h = np.asarray(horizons_h, dtype=np.float64)
        self.hours = damped_hours(self.horizons_h)
        self.gauge, self.raw = Gauge(), Gauge(hold=False)
        n = len(self.horizons_h)
        self.scores = np.repeat(table[None], n_models, axis=0)
        self.normal = np.repeat(RIDGE * np.eye(5)[None], n, axis=0)
        self.moment = np.zeros((n, 5))
        self.errors = np.full((n_models, n), 1e-4)
        self.open: list[deque[_Open]] = [deque() for _ in range(n)]
        self.slopes: deque[tuple[float, float]] = deque(maxlen=512)
        self.pool = Pool(n_models, table) if pool is None else pool
        self.settled = np.full(n, -np.inf)  # by horizon: the origin of the last forecast whose outcome is known
        self.rises, self.falls = np.zeros(n), np.zeros(n)  # by horizon: the largest within so long, m
        self.rise: tuple[float, float] | None = None  # when, and the 3 h slope in units of its own mean square
        self.square_sum, self.n_slopes = RISE_FLOOR_READINGS * RISE_FLOOR_M_PER_H**2, RISE_FLOOR_READINGS

    def slope_at(self, time_s: float) -> float | None:
        """The 3 h slope (m/h) that was known at `time_s`; None where it was older than 3 h."""
        for at, slope in reversed(self.slopes):
            if at <= time_s:
                return slope if time_s - at <= OUTCOME_GAP_H * HOUR_S else None
        return None

    def rise_at(self, time_s: float) -> float | None:
        """The newest rise, in units of the gauge's usual slope; None where it is older than 3 h."""
        if self.rise is None or time_s - self.rise[0] > OUTCOME_GAP_H * HOUR_S:
            return None
        return self.rise[1]

    def step(
        self,
        time_s: float,
        level_m: float,
        neighbours: Sequence["Forecaster"],
        others: Sequence["Forecaster"] = (),
    ) -> Forecast:
        """Takes a reading (seconds, metres), learns from the outcomes it settles, and forecasts from it.

        `neighbours` are the basin's other gauges; `others` stand in for them where none of them speaks.
        """
        before = (self.raw.times[-1], self.raw.levels[-1]) if self.raw.times else None
        if before is None:
            self.pool.gauges += 1  # now, not when it was made: a gauge that will speak later counts for nothing yet
        plain = self.raw.add(time_s, level_m)
        state = self.gauge.add(time_s, level_m)
        if before is not None:
            self._learn(before, (time_s, level_m))
        self.slopes.append((time_s, state.slope3))
        self._note_rise(time_s, state.slope3)
        region = _mean_rise(neighbours, time_s)
        if region is None:
            region = _mean_rise(others, time_s)
        if self.only_chosen:
            drivers = np.zeros(5)
            paths = regional_path(state, region, self.horizons_h)[None]
        else:
            drivers = self._drivers(state, neighbours)
            paths = self._paths(plain, state, drivers, region)
        steep = max(abs(state.slope1), abs(state.slope3))
        quiet = 0.01 + state.noise_m + self.horizons_h * 0.005
        scale = quiet + self.horizons_h * 0.5 * steep
        opened = _Open(time_s, state.level_m, self.hours * state.slope3, drivers, paths, scale)
        for queue in self.open:
            queue.append(opened)
        quantiles = paths[:, :, None] + scale[None, :, None] * np.sort(self.scores + self.pool.shift, axis=2)
        quantiles = self._held_to_reason(quantiles, state, quiet, paths)
        return Forecast(time_s, paths, quantiles, reach_path(state, self.horizons_h))

    def _held_to_reason(self, told: FloatArray, state: State, quiet: FloatArray, paths: FloatArray) -> FloatArray:
        """The quantiles (models, horizons, taus) within what the water can do, never narrower at a longer horizon.

        The middle goes no farther than the model's path, or than the water ever moved within as long; the outermost no
        farther than RECORD_MARGIN times that, or the reach of the steepest slope; those between them in proportion.
        """
        self._note_moves()
        slopes = (state.slope1, state.slope3, state.slope6)
        least = QUIET_REACH * quiet
        away = paths - state.level_m
        limits = []
        for sign, seen, steepest in ((-1.0, self.falls, -min(slopes)), (1.0, self.rises, max(slopes))):
            middle = np.maximum(sign * away, np.maximum(seen, least / 2))
            outer = np.maximum(RECORD_MARGIN * seen, np.maximum(least, REACH * self.hours * steepest))
            outer = np.maximum(middle, outer)
            share = np.clip(sign * (TAUS - 0.5) / (TAUS[-1] - 0.5), 0.0, 1.0)
            limits.append(state.level_m + sign * (middle[..., None] + share * (outer - middle)[..., None]))
        told = np.clip(told, *limits)
        centre = told[..., MIDDLE, None]
        return np.asarray(centre + np.sign(TAUS - 0.5) * np.maximum.accumulate(np.abs(told - centre), axis=1))

    def _note_moves(self) -> None:
        """Notes how far the water has moved up and down to its newest reading, within each horizon."""
        times, levels = self.gauge.times, self.gauge.levels
        first = bisect_left(times, times[-1] - self.horizons_h[-1] * HOUR_S)
        back = np.array(levels[first:][::-1])
        n = len(back) - np.searchsorted(times[first:], times[-1] - self.horizons_h * HOUR_S)
        self.rises = np.maximum(self.rises, back[0] - np.minimum.accumulate(back)[n - 1])
        self.falls = np.maximum(self.falls, np.maximum.accumulate(back)[n - 1] - back[0])

    def _note_rise(self, time_s: float, slope3: float) -> None:
        self.square_sum += slope3**2
        self.n_slopes += 1
        usual = (self.square_sum / self.n_slopes) ** 0.5
        self.rise = (time_s, float(np.clip(slope3 / usual, -RISE_LIMIT, RISE_LIMIT)))

    def _drivers(self, state: State, neighbours: Sequence["Forecaster"]) -> FloatArray:
        out = [state.slope1, state.slope3]
        for lag_h in (0.0, 2.0, 4.0):
            known = [s for n in neighbours if (s := n.slope_at(state.time_s - lag_h * HOUR_S)) is not None]
            out.append(float(np.mean(known)) if known else 0.0)
        return np.array(out)

    def _paths(self, plain: State, state: State, drivers: FloatArray, region: float | None) -> FloatArray:
        trend = state.level_m + self.hours * state.slope3
        ar = ar_path(self.gauge.hourly(state.time_s), state.level_m, self.horizons_h)
        weights = np.linalg.solve(self.normal, self.moment[:, :, None])[:, :, 0]
        bound = self.hours * max(abs(state.slope1), abs(state.slope3), 0.05)
        regression = trend + np.clip(weights @ drivers, -bound, bound)
        parts = [trend if ar is None else ar, regression, guarded_path(state, self.horizons_h)]
        trust = 1.0 / self.errors[1:5]
        combined = np.sum(trust * np.array([trend, *parts]), axis=0) / trust.sum(axis=0)
        still = np.full(len(self.hours), plain.level_m)
        regional = regional_path(state, region, self.horizons_h)
        told = [still, plain.level_m + self.hours * plain.slope3, *parts, regional, combined]
        if self.added is not None:
            told.append(self.added(self.gauge, state.time_s))
        return np.array(told)

    def _learn(self, before: tuple[float, float], now: tuple[float, float]) -> None:
        gap = now[0] - before[0]
        for k, horizon_h in enumerate(self.horizons_h):
            queue = self.open[k]
            while queue and queue[0].time_s + horizon_h * HOUR_S <= now[0]:
                made = queue.popleft()
                due = made.time_s + horizon_h * HOUR_S
                if gap > OUTCOME_GAP_H * HOUR_S or due < before[0]:
                    continue
                share = (due - before[0]) / gap if gap > 0 else 1.0
                seen = before[1] + share * (now[1] - before[1])
                error = seen - made.paths[:, k]
                score = error / made.scale[k]
                way = TAUS - (score[:, None] <= self.scores[:, k] + self.pool.shift[:, k])
                stands_h = min(1.0, (made.time_s - self.settled[k]) / HOUR_S)
                self.settled[k] = made.time_s
                self.scores[:, k] += TRACK_STEP * stands_h * way
                self.pool.learn(k, way, stands_h)
                if self.only_chosen:
                    continue
                self.errors[:, k] = ERROR_FORGET * self.errors[:, k] + (1 - ERROR_FORGET) * (error**2 + 1e-6)
                x, y = made.drivers, seen - made.level_m - made.trend[k]
                self.normal[k] = FORGET * self.normal[k] + np.outer(x, x) + (1 - FORGET) * RIDGE * np.eye(5)
                self.moment[k] = FORGET * self.moment[k] + x * y


def _mean_rise(gauges: Sequence[Forecaster], time_s: float) -> float | None:
    """Mean rise of the gauges that spoke within 3 h; None where none did."""
    known = [rise for one in gauges if (rise := one.rise_at(time_s)) is not None]
    return float(np.mean(known)) if known else None
