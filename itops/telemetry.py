"""Failure rates of devices from their telemetry: a penalised piecewise-exponential regression on start-stop records."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from itops.severity import FloatArray

IntArray = NDArray[np.int64]

#: Attributes whose raw value tells of trouble; a value is read at the start of a spell, a day or more before its end.
ATTRIBUTES = ("smart_5", "smart_187", "smart_188", "smart_197", "smart_198")
#: Those that count as an alarm when above 0.
ALARMS = (0, 1, 3)
HOURS_PER_YEAR = 8766.0
#: Upper edges of the bands of a raw value; category 0 is "not reported", which is not zero.
VALUE_EDGES = np.array([0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 127.5, 255.5, 1023.5, 4095.5, 16383.5])
#: Upper edges of age bands, years.
AGE_EDGES = np.array([0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0])
#: Bands of hours since the telemetry last changed: trouble that is new is worse than trouble that has lasted.
SINCE_EDGES = np.array([0.0, 36.0, 96.0, 192.0, 384.0, 768.0, 1536.0, 3072.0, np.inf])
#: An old failure counts for half after this many years (judgement; the split years in the methods page bear on it).
HALF_LIFE_YEARS = 2.0
#: What an alarm means drifts: a trend for each number of alarms and each of three spans since the last change, of
#: standard deviation 1 a year before the record speaks; ahead it is damped, all told half a year's worth.
_TREND_SPAN = np.array([0, 0, 1, 1, 2, 2, 2, 2])
_TREND, DAMPING_YEARS = 1.0, 0.5
_STILL = 1e6  # a penalty under which nothing drifts
#: A quarter's level is off by a factor that no telemetry tells, of standard deviation 0.25 (the regime): without it a
#: single bad quarter at the end of a record would be read as the new level, or as a trend.
_REGIME, _QUARTER_DAYS, _MOST_QUARTERS = 1.0 / 0.25**2, 91.3125, 80
#: Penalty on neighbouring bands' difference, on main effects, and on interactions.
_SMOOTH, _MAIN, _CROSS = 1.0, 0.05, 0.1
_N_TREND = int(_TREND_SPAN[-1]) + 1
_N_VALUE, _N_AGE, _N_SINCE = len(VALUE_EDGES) + 2, len(AGE_EDGES) + 1, len(SINCE_EDGES) - 1


class BadTelemetry(InvalidInput):
    """Start-stop records with telemetry cannot be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spells:
    """(n,) spells of devices; telemetry as read when the spell began."""

    model: tuple[str, ...]
    manufacturer: tuple[str, ...]
    start_h: FloatArray  #: power-on hours
    stop_h: FloatArray
    failed: NDArray[np.bool_]
    weight: FloatArray
    values: FloatArray  #: (n, attributes), nan: not reported
    days_ago: FloatArray  #: of the spell's start before the end of the as-of day; below 0 after it; 0: not dated


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryModel:
    """A fitted regression: log rate per device-year = intercept + the effects of the cells a spell is in."""

    intercept: float
    main: tuple[tuple[float, ...], ...]  #: one row per attribute, then age
    since: tuple[float, ...]  #: alarms x bands of time since the last change
    trend: tuple[float, ...]  #: a year, alarms x spans of time since the last change
    cross: Mapping[str, float]  #: interactions by name; absent: 0, as for a model that was never seen
    n_failures: float
    exposure_years: float
    regime_cv: float  #: of the quarters' actual to expected failures

    def expected(self, spells: Spells) -> tuple[FloatArray, FloatArray]:
        """(n,) expected failures and (n,) exposure in device-years, both for `weight` such devices."""
        cut = _cut(spells)
        log_rate = np.full(len(cut.row), self.intercept)
        for effects, code in zip(self.main, cut.main, strict=True):
            log_rate += np.array(effects)[code]
        log_rate += np.array(self.since)[cut.since]
        ahead = -cut.days_ago / 365.25
        damped = DAMPING_YEARS * -np.expm1(-np.maximum(ahead, 0.0) / DAMPING_YEARS)
        log_rate += np.array(self.trend)[cut.trend] * np.where(ahead > 0, damped, ahead)
        for names, code in cut.cross:
            log_rate += np.array([self.cross.get(name, 0.0) for name in names])[code]
        exposure = cut.years * spells.weight[cut.row]
        n = len(spells.start_h)
        return (
            np.asarray(np.bincount(cut.row, exposure * np.exp(log_rate), n), dtype=np.float64),
            np.asarray(np.bincount(cut.row, exposure, n), dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """Spells cut at the bands of time since the last change."""

    row: IntArray
    years: FloatArray
    failed: NDArray[np.bool_]
    days_ago: FloatArray
    main: tuple[IntArray, ...]
    since: IntArray
    trend: IntArray
    cross: tuple[tuple[list[str], IntArray], ...]


def _cut(spells: Spells) -> _Cut:
    length = spells.stop_h - spells.start_h
    last = np.searchsorted(SINCE_EDGES, length, side="left") - 1
    rows, bands, hours, offsets = [], [], [], []
    for j in range(_N_SINCE):
        inside = np.minimum(length, SINCE_EDGES[j + 1]) - SINCE_EDGES[j]
        some = np.flatnonzero(inside > 0)
        rows.append(some)
        bands.append(np.full(len(some), j))
        hours.append(inside[some])
        offsets.append(np.full(len(some), SINCE_EDGES[j]))
    row, band = np.concatenate(rows), np.concatenate(bands)
    time, offset = np.concatenate(hours), np.concatenate(offsets)
    value = spells.values
    codes = np.where(np.isnan(value), 0, np.searchsorted(VALUE_EDGES, np.nan_to_num(value)) + 1)
    alarms = np.sum(np.nan_to_num(value[:, ALARMS]) > 0, axis=1)
    age = np.searchsorted(AGE_EDGES, (spells.start_h[row] + offset) / HOURS_PER_YEAR, side="right")
    # What an alarm means differs by manufacturer, by whether uncorrectable errors are reported, and by model.
    kind, kind_code = np.unique(
        [f"{m}|{'reported' if r else 'blank'}" for m, r in zip(spells.manufacturer, codes[:, 1] > 0, strict=True)],
        return_inverse=True,
    )
    model, model_code = np.unique(np.array(spells.model), return_inverse=True)
    cross = []
    for attribute in (3, 0):
        names = [f"{ATTRIBUTES[attribute]}|{k}|{c}" for k in kind for c in range(_N_VALUE)]
        cross.append((names, (kind_code * _N_VALUE + codes[:, attribute])[row]))
    names = [f"model|{m}|{a}" for m in model for a in range(len(ALARMS) + 1)]
    cross.append((names, (model_code * (len(ALARMS) + 1) + alarms)[row]))
    return _Cut(
        row=row,
        years=time / HOURS_PER_YEAR,
        failed=spells.failed[row] & (band == last[row]),
        days_ago=spells.days_ago[row] - (offset + 0.5 * time) / 24.0,
        main=(*(codes[row, k] for k in range(len(ATTRIBUTES))), age),
        since=alarms[row] * _N_SINCE + band,
        trend=alarms[row] * _N_TREND + _TREND_SPAN[band],
        cross=tuple(cross),
    )


def fit_telemetry(spells: Spells) -> TelemetryModel:
    """The regression below, its level taken from the rate without telemetry.

    What an hour with an alarm means changes many times over when attributes begin to be reported or such drives leave
    service sooner; failures per device-year hardly do. So telemetry shares the level out and does not make it: the
    intercept is moved by the ratio of what both regressions expect of the spells begun in the last quarter of the
    record, one factor for all, so that a device has the same answer whatever else is in its file. Raises BadTelemetry.
    """
    found = _regression(spells, _TREND)
    recent = spells.days_ago <= _QUARTER_DAYS
    if np.all(np.isnan(spells.values)) or not np.any(recent):
        return found
    ahead = replace(spells, days_ago=np.full(len(spells.days_ago), -_QUARTER_DAYS))
    blank = np.full(spells.values.shape, np.nan)
    plain = _regression(replace(spells, values=blank), _STILL).expected(replace(ahead, values=blank))[0]
    told = found.expected(ahead)[0]
    return replace(found, intercept=found.intercept + float(np.log(np.sum(plain[recent]) / np.sum(told[recent]))))


def _regression(spells: Spells, trend: float) -> TelemetryModel:
    """Maximum penalised likelihood of failures per spell and band, a Poisson regression with offset log exposure.

    Piecewise-exponential hazards (Holford 1980; Laird & Olivier 1981); neighbouring bands are tied by a difference
    penalty (Eilers & Marx 1996, Statistical Science 11), models and their alarms by a ridge, which is credibility:
    little exposure moves an effect little; `trend` is the penalty on trends.
    Quarters have a factor of their own around a trend by alarms, so that the
    level is that of the record and not that of its last quarter. Newton's method on the distinct cells. Raises
    BadTelemetry.
    """
    from scipy import sparse

    if not np.any(spells.failed):
        raise BadTelemetry("Without a single failure no rate can be fitted; use a prior")
    cut = _cut(spells)
    ago = np.maximum(cut.days_ago, 0.0)
    quarter = np.minimum((ago // _QUARTER_DAYS).astype(np.int64), _MOST_QUARTERS - 1)
    moment = np.rint(ago / 365.25 * 8.0).astype(np.int64)  # a trend runs on inside a quarter
    sizes = [_N_VALUE] * len(ATTRIBUTES) + [_N_AGE, (len(ALARMS) + 1) * _N_SINCE] + [len(n) for n, _ in cut.cross]
    sizes += [int(np.max(quarter)) + 1, (len(ALARMS) + 1) * _N_TREND]
    first = 1 + np.concatenate([[0], np.cumsum(sizes)])
    n_effects = int(first[-1])
    penalty = np.eye(n_effects) * _MAIN
    for begin, end, strength in (
        (first[len(ATTRIBUTES) + 2], first[-3], _CROSS),
        (first[-3], first[-2], _REGIME),
        (first[-2], first[-1], trend),
    ):
        crossed = np.arange(begin, end)
        penalty[crossed, crossed] = strength
    penalty[0, 0] = 0.0
    for block in range(len(ATTRIBUTES) + 1):
        begin = int(first[block]) + (1 if block < len(ATTRIBUTES) else 0)  # "not reported" has no neighbour
        for k in range(begin, int(first[block + 1]) - 1):
            penalty[k : k + 2, k : k + 2] += _SMOOTH * np.array([[1.0, -1.0], [-1.0, 1.0]])
    codes = [*cut.main, cut.since, *(code for _, code in cut.cross), quarter, cut.trend]
    # Like cells are joined by a hash of their codes: their product would overflow for a fleet of many models.
    key = np.zeros(len(cut.row), dtype=np.uint64)
    for code in (*codes, moment):
        key = key * np.uint64(0x9E3779B97F4A7C15) + code.astype(np.uint64) + np.uint64(1)
    _, where, cell = np.unique(key, return_index=True, return_inverse=True)
    recent = 0.5 ** (ago / 365.25 / HALF_LIFE_YEARS)
    w = spells.weight[cut.row] * recent
    failures = np.bincount(cell, w * cut.failed)
    exposure = np.bincount(cell, w * cut.years)
    columns = np.column_stack(
        [np.zeros(len(where), dtype=np.int64)] + [c[where] + f for c, f in zip(codes, first[:-1], strict=True)]
    )
    ends = np.arange(0, columns.size + 1, columns.shape[1])
    entries = np.ones(columns.shape)
    entries[:, -1] = moment[where] / -8.0
    design = sparse.csr_matrix((entries.ravel(), columns.ravel(), ends), shape=(len(where), n_effects))
    b = np.zeros(n_effects)
    b[0] = np.log(np.sum(failures) / np.sum(exposure))
    for _ in range(60):
        mean = exposure * np.exp(np.clip(design @ b, -20.0, 12.0))
        gradient = design.T @ (failures - mean) - penalty @ b
        information = (design.T @ sparse.diags(mean) @ design).toarray() + penalty
        step = np.clip(np.linalg.solve(information, gradient), -2.0, 2.0)
        b = b + step
        if np.max(np.abs(step)) < 1e-7:
            break
    else:
        raise BadTelemetry("The likelihood did not settle")
    parts = [b[int(a) : int(z)] for a, z in pairwise(first)]
    # The level that is forecast: trends as they stood, the quarters' own factors left out.
    level = np.full(len(cut.row), b[0]) - parts[-1][cut.trend] * ago / 365.25
    for part, code in zip(parts[:-2], codes[:-2], strict=True):
        level += part[code]
    weight = spells.weight[cut.row]
    return TelemetryModel(
        intercept=float(b[0]),
        main=tuple(tuple(float(v) for v in part) for part in parts[: len(ATTRIBUTES) + 1]),
        since=tuple(float(v) for v in parts[len(ATTRIBUTES) + 1]),
        trend=tuple(float(v) for v in parts[-1]),
        cross={
            name: float(v)
            for (names, _), part in zip(cut.cross, parts[len(ATTRIBUTES) + 2 : -2], strict=True)
            for name, v in zip(names, part, strict=True)
            if v != 0.0
        },
        n_failures=float(np.sum(weight * cut.failed)),
        exposure_years=float(np.sum(weight * cut.years)),
        regime_cv=_regime_cv(
            ago, weight * cut.failed, np.asarray(weight * cut.years * np.exp(level), dtype=np.float64)
        ),
    )


def _regime_cv(days_ago: FloatArray, failures: FloatArray, expected: FloatArray) -> float:
    """Spread of quarters' actual to expected failures beyond Poisson, with a judgement of 0.25 worth two quarters."""
    quarter = (days_ago // _QUARTER_DAYS).astype(np.int64)
    a, e = np.bincount(quarter, failures), np.bincount(quarter, expected)
    some = e > 5.0
    # Quarters that differ by less than Poisson counts would show no spread, and take nothing from the judgement.
    excess = max(float(np.sum(((a[some] - e[some]) ** 2 - e[some]) / e[some] ** 2)), 0.0)
    return float(np.sqrt((excess + 2 * 0.25**2) / (np.count_nonzero(some) + 2)))
