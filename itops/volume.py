"""How many incidents a day to staff for: three models on rolling origins, and the one that has earned its use."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from core.errors import InvalidInput
from itops.severity import FloatArray

#: Days ahead that a roster is made for, and how many origins judge the models.
HORIZON_DAYS, N_ORIGINS = 14, 6
#: Less than this and only the seasonal-naive forecast is made: two years for yearly seasons, ten incidents a week.
_LEAST_DAYS, _LEAST_A_WEEK = 56, 10.0
_YEARLY_DAYS = 2 * 365
#: Ridge on the regression's effects other than level; a holiday seen once is believed by half.
_RIDGE = 1.0


class BadVolume(InvalidInput):
    """A forecast of volume needs daily counts without gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daily:
    """Incidents opened per day."""

    first: date
    counts: FloatArray  #: (n,) one a day, days without an incident being 0
    holidays: frozenset[date] = frozenset()
    make_up_days: frozenset[date] = frozenset()  #: weekend days that are worked

    def day(self, i: int) -> date:
        return self.first + timedelta(days=i)


def daily(
    days: Collection[date],
    *,
    holidays: frozenset[date] = frozenset(),
    make_up_days: frozenset[date] = frozenset(),
    until: date | None = None,
) -> Daily:
    """Counts from the first day to the last (or `until`). Raises BadVolume."""
    if not days:
        raise BadVolume("There is no incident")
    first, last = min(days), until or max(days)
    at = np.array([(each - first).days for each in days if each <= last])
    counts = np.bincount(at, minlength=(last - first).days + 1).astype(np.float64)
    return Daily(first=first, counts=counts, holidays=holidays, make_up_days=make_up_days)


Forecast = Callable[[Daily, int, int], FloatArray]  #: (series, n known days, horizon) -> (horizon,) means


def seasonal_naive(series: Daily, known: int, horizon: int) -> FloatArray:
    """Each day as the same weekday a week ago (of the last known week)."""
    last = series.counts[known - 7 : known]
    return np.asarray(np.resize(last, horizon), dtype=np.float64)


def poisson_regression(series: Daily, known: int, horizon: int) -> FloatArray:
    """Poisson regression on weekday, holiday, make-up day and, from two years on, month.

    Counts of 60 days back weigh half: the level follows. Newton's method with a ridge (McCullagh & Nelder 1989).
    """
    yearly = known >= _YEARLY_DAYS
    rows = np.arange(known + horizon)
    design = np.zeros((len(rows), 1 + 7 + 2 + (12 if yearly else 0)))
    design[:, 0] = 1.0
    for i in rows:
        day = series.day(int(i))
        design[i, 1 + day.weekday()] = 1.0
        design[i, 8] = day in series.holidays
        design[i, 9] = day in series.make_up_days
        if yearly:
            design[i, 9 + day.month] = 1.0
    y = series.counts[:known]
    weight = 0.5 ** (np.arange(known)[::-1] / (365.0 if yearly else 60.0))
    x, penalty = design[:known], np.full(design.shape[1], _RIDGE)
    penalty[0] = 0.0
    b = np.zeros(design.shape[1])
    b[0] = np.log(max(float(np.average(y, weights=weight)), 1e-6))
    for _ in range(50):
        mean = np.exp(np.clip(x @ b, -20.0, 20.0))
        gradient = x.T @ (weight * (y - mean)) - penalty * b
        information = (x.T * (weight * mean)) @ x + np.diag(penalty) + 1e-9 * np.eye(len(b))
        step = np.clip(np.linalg.solve(information, gradient), -2.0, 2.0)
        b = b + step
        if np.max(np.abs(step)) < 1e-8:
            break
    return np.asarray(np.exp(np.clip(design[known:] @ b, -20.0, 20.0)), dtype=np.float64)


def mase(fact: FloatArray, forecast: FloatArray, history: FloatArray, season: int = 7) -> float:
    """Mean absolute error over that of the seasonal-naive forecast inside the history.

    Hyndman & Koehler (2006), Int. J. Forecasting 22. Raises BadVolume where the history repeats itself exactly.
    """
    scale = float(np.mean(np.abs(history[season:] - history[:-season])))
    if not scale > 0:
        raise BadVolume("The history repeats itself exactly: errors cannot be scaled")
    return float(np.mean(np.abs(fact - forecast))) / scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """MASE of each model at each rolling origin, and the model that may be used."""

    origins: tuple[date, ...]
    mase: Mapping[str, tuple[float, ...]]
    chosen: str
    reason: str

    def mean(self, name: str) -> float:
        return float(np.mean(self.mase[name]))


def compare(
    series: Daily, models: Mapping[str, Forecast], *, horizon: int = HORIZON_DAYS, n_origins: int = N_ORIGINS
) -> Comparison:
    """Judges models on the last `n_origins` stretches of `horizon` days, each forecast from what was known before.

    `models` are in rising order of complication: a later one is chosen only where its mean MASE is below those of all
    before it, so Prophet must beat both the Poisson regression and the seasonal-naive forecast. Raises BadVolume.
    """
    n = len(series.counts)
    a_week = float(np.mean(series.counts)) * 7.0
    starts = [n - horizon * k for k in range(n_origins, 0, -1)]
    if starts[0] < _LEAST_DAYS or a_week < _LEAST_A_WEEK:
        simplest = next(iter(models))
        return Comparison(
            origins=(), mase={}, chosen=simplest, reason=f"{n} days, {a_week:.1f} incidents a week: too few to compare"
        )
    found = {
        name: tuple(
            mase(series.counts[s : s + horizon], np.maximum(model(series, s, horizon), 0.0), series.counts[:s])
            for s in starts
        )
        for name, model in models.items()
    }
    means = {name: float(np.mean(each)) for name, each in found.items()}
    chosen = next(iter(models))
    for name in models:
        if means[name] < means[chosen]:
            chosen = name
    return Comparison(
        origins=tuple(series.day(s - 1) for s in starts),
        mase=found,
        chosen=chosen,
        reason="least mean MASE over rolling origins; the simpler one where equal",
    )


def engineers_by_day(
    expected: FloatArray, minutes_each: float, shift_h: float, wait_min: float, share: float
) -> FloatArray:
    """(n,) engineers so that `share` of a day's incidents wait no longer than `wait_min` in the shift (Erlang C)."""
    from itops.reliability import engineers_needed

    each = [engineers_needed(max(float(e), 1e-6) / (shift_h * 60.0), minutes_each, wait_min, share) for e in expected]
    return np.array([station.servers for station in each], dtype=np.float64)
