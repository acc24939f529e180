"""Prophet: a gauge's seasonal baseline and its expected range. Never what a stage is warned by.

`baseline` is one fit; `path` stands in the verification table beside the other models so that its place there can be
seen: refitted every six hours on what was known then, and shifted by the newest residual, which is the kindest way to
use it. Taylor and Letham, The American Statistician 72 (2018) 37.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ingest.forecast.gauge import HOUR_S, FloatArray, Gauge

REFIT_H = 6.0
#: Fewer readings than this give no fit.
READINGS_AT_LEAST = 24
#: Readings that a fit looks back on; more take seconds (20,000 about 20 s).
READINGS_AT_MOST = 1500
DAY_H = 24.0
#: Without this many days there is no daily pattern to be found.
DAYS_FOR_SEASON = 2.0
#: Share of values that the expected range is meant to hold.
RANGE = 0.98


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fit: what is expected at a time (epoch seconds), and the range of it, metres."""

    model: Any

    def at(self, times_s: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(expected, low, high) at each time."""
        frame = pd.DataFrame({"ds": pd.to_datetime(np.asarray(times_s), unit="s")})
        told = self.model.predict(frame)
        return tuple(told[name].to_numpy(dtype=np.float64) for name in ("yhat", "yhat_lower", "yhat_upper"))


def baseline(times_s: Sequence[float], values: Sequence[float]) -> Baseline | None:
    """A seasonal baseline of these readings; None where they are too few."""
    if len(times_s) < READINGS_AT_LEAST:
        return None
    from prophet import Prophet

    for name in ("prophet", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    times, kept = np.asarray(times_s), np.asarray(values)
    chosen = np.unique(np.linspace(0, len(times) - 1, min(len(times), READINGS_AT_MOST)).astype(int))
    long = times[-1] - times[0] >= DAYS_FOR_SEASON * DAY_H * HOUR_S
    model = Prophet(
        daily_seasonality=bool(long), weekly_seasonality=False, yearly_seasonality=False, interval_width=RANGE
    )
    model.fit(pd.DataFrame({"ds": pd.to_datetime(times[chosen], unit="s"), "y": kept[chosen]}), seed=1)
    return Baseline(model)


@dataclass(slots=True)
class ProphetPath:
    """Paths of one gauge from the last fit, which is renewed every REFIT_H hours of the gauge's own time."""

    horizons_h: FloatArray
    fitted: Baseline | None = None
    fitted_s: float = field(default=-np.inf)

    def __call__(self, gauge: Gauge, time_s: float) -> FloatArray:
        if time_s - self.fitted_s >= REFIT_H * HOUR_S:
            self.fitted, self.fitted_s = baseline(gauge.times, gauge.levels), time_s
        level = gauge.levels[-1]
        if self.fitted is None:
            return np.full(len(self.horizons_h), level)
        expected, _, _ = self.fitted.at(time_s + np.concatenate([[0.0], self.horizons_h * HOUR_S]))
        return np.asarray(level + expected[1:] - expected[0])


def paths(horizons_h: Sequence[float]) -> Callable[[Gauge, float], FloatArray]:
    """A gauge's own Prophet."""
    return ProphetPath(np.asarray(horizons_h, dtype=np.float64))
