"""Runs every model over recorded levels, reading by reading, and scores what it said against what came.

Readings of all gauges are played in order of time, so a forecast knows exactly what was known at its origin: cutting
the file at any time changes no earlier row (tests/unit/ingest/test_forecast.py).
"""

import csv
import heapq
import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.errors import InvalidInput
from ingest.forecast import prophet
from ingest.forecast.calibration import table_at
from ingest.forecast.gauge import HOUR_S, FloatArray
from ingest.forecast.models import CHOSEN, HORIZONS_H, MODELS, OUTCOME_GAP_H, TAUS, Forecast, Forecaster, Pool
from ingest.forecast.score import WARM_UP_H, Outcome, bootstrap_csi, figures, outcomes
from ingest.forecast.trigger import Trigger

LEVELS = {"alert": "alert_m", "minor": "minor_flood_m", "major": "major_flood_m"}
#: Levels beyond these are no river's, metres.
LEVEL_RANGE_M = (-1000.0, 10000.0)
#: No gauge was read before the first, and no reading is from after the last.
YEARS = (1800, 2200)
#: All models by name, in the order of their rows in a run; the last one only where it was asked for.
NAMES = (*MODELS, "prophet")
BINS = np.linspace(0.0, 1.0, 11)


class BadLevels(InvalidInput):
    """A levels or stations file cannot be used."""


@dataclass(frozen=True, slots=True)
class Station:
    """A gauge's basin (its own name where the file tells none) and its official levels in metres."""

    name: str
    basin: str
    levels_m: Mapping[str, float]


Series = dict[str, list[tuple[float, float]]]


def _rows(path: Path, needed: Sequence[str]) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in needed if c not in (reader.fieldnames or ())]
            if missing:
                raise BadLevels(f"{path.name}: column {missing[0]} is missing")
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadLevels(f"{path.name}: {error}") from error


def _number(path: Path, line: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not LEVEL_RANGE_M[0] <= value <= LEVEL_RANGE_M[1]:
        raise BadLevels(f"{path.name}, line {line}: {column} is not a level in metres: {text!r}")
    return value


def read_stations(path: Path) -> dict[str, Station]:
    """Stations by name; a level of 0 or blank is no level, one below zero lies below the gauge's datum."""
    out: dict[str, Station] = {}
    for line, row in enumerate(_rows(path, ["station_name", *LEVELS.values()]), 2):
        name = row["station_name"]
        if name in out:
            raise BadLevels(f"{path.name}, line {line}: station_name {name!r} stands twice")
        levels = {}
        for level, column in LEVELS.items():
            value = _number(path, line, column, row[column]) if (row[column] or "").strip() else 0.0
            if value != 0:
                levels[level] = value
        out[name] = Station(name, row.get("basin") or name, levels)
    return out


def read_levels(path: Path, stations: Mapping[str, Station], say: Callable[[str], None] = lambda text: None) -> Series:
    """Readings by station in order of time (epoch seconds, metres); of one station and time the first stands.

    A row without a level is a silent gauge: it is left out, and `say` is told how many there were.
    """
    found: dict[str, dict[float, float]] = {}
    n_blank = 0
    strangers: set[str] = set()
    for line, row in enumerate(_rows(path, ["station_name", "time_utc", "water_level_m"]), 2):
        text = row["time_utc"] or ""
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadLevels(f"{path.name}, line {line}: time_utc is not a time: {text!r}") from error
        if not YEARS[0] <= at.year <= YEARS[1]:
            raise BadLevels(
                f"{path.name}, line {line}: time_utc is not of the years {YEARS[0]} to {YEARS[1]}: {text!r}"
            )
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        if not (row["water_level_m"] or "").strip():
            n_blank += 1
            continue
        value = _number(path, line, "water_level_m", row["water_level_m"])
        if row["station_name"] in stations:
            found.setdefault(row["station_name"], {}).setdefault(at.timestamp(), value)
        else:
            strangers.add(row["station_name"])
    for name in sorted(strangers)[:1]:
        say(f"{path.name}: {len(strangers)} stations are not in the stations file and are left out: {name!r}, ...")
    for name in [one for one in stations if one not in found][:1]:
        say(f"{path.name}: {len(stations) - len(found)} stations of the stations file have no reading: {name!r}, ...")
    if n_blank:
        say(f"{path.name}: {n_blank} rows have no level: the gauge is silent there")
    if not found:
        raise BadLevels(f"{path.name}: no reading of any station of the stations file")
    return {name: sorted(series.items()) for name, series in found.items()}


@dataclass(frozen=True, slots=True)
class WarningRow:
    """What one model said of one level at one reading."""

    model: int
    station: str
    level: str
    time_s: float
    warn: bool
    chance: float


class Tally:
    """Errors of one gauge's forecasts, summed as their outcomes come: sums of absolute error, coverage and CRPS."""

    def __init__(self, n_models: int, horizons_h: Sequence[float]) -> None:
        self.horizons_s = np.asarray(horizons_h) * HOUR_S
        self.counts = np.zeros(len(horizons_h), dtype=np.int64)
        self.sums = np.zeros((3, len(horizons_h), n_models))  # |error|, inside the 90 % interval, CRPS
        self.waiting: list[deque[Forecast]] = [deque() for _ in horizons_h]
        self.first_s: float | None = None
        self.last: tuple[float, float] | None = None

    def add(self, time_s: float, level_m: float, made: Forecast) -> None:
        """Takes a reading, which settles forecasts that were due, and the forecast made from it.

        An outcome is interpolated; unknown where no two readings within 3 h enclose it. The first day is left out.
        """
        if self.last is not None:
            before_s, before_m = self.last
            for k, horizon_s in enumerate(self.horizons_s):
                queue = self.waiting[k]
                while queue and queue[0].time_s + horizon_s <= time_s:
                    told = queue.popleft()
                    if time_s - before_s <= OUTCOME_GAP_H * HOUR_S:
                        share = (told.time_s + horizon_s - before_s) / (time_s - before_s)
                        self._settle(k, told, before_m + share * (level_m - before_m))
        self.first_s = time_s if self.first_s is None else self.first_s
        self.last = (time_s, level_m)
        if time_s >= self.first_s + WARM_UP_H * HOUR_S:
            for queue in self.waiting:
                queue.append(made)

    def _settle(self, k: int, told: Forecast, seen: float) -> None:
        rows = told.quantiles[:, k]
        apart = seen - rows
        self.counts[k] += 1
        self.sums[0, k] += np.abs(told.paths[:, k] - seen)
        self.sums[1, k] += (rows[:, 0] <= seen) & (seen <= rows[:, -1])
        self.sums[2, k] += 2.0 * np.mean(np.maximum(TAUS * apart, (TAUS - 1.0) * apart), axis=1)


@dataclass(slots=True)
class Run:
    """Everything the models said, in order of time: one row for each reading and level that it lies below.

    Columns: of `places` (station, level) the index, epoch seconds, one bit for each model that warns, and the chance
    that each model gives. Forecasts themselves are not kept: `tallies` has their errors, by station.
    """

    horizons_h: tuple[float, ...]
    n_models: int
    places: list[tuple[str, str]] = field(default_factory=list)
    place: "array[int]" = field(default_factory=lambda: array("I"))
    time_s: "array[float]" = field(default_factory=lambda: array("d"))
    warns: "array[int]" = field(default_factory=lambda: array("H"))
    chance: "array[float]" = field(default_factory=lambda: array("f"))
    tallies: dict[str, Tally] = field(default_factory=dict)

    def rows(self) -> Iterator[WarningRow]:
        """What each model said, row by row."""
        for k, (place, time_s, warns) in enumerate(zip(self.place, self.time_s, self.warns, strict=True)):
            for m in range(self.n_models):
                chance = self.chance[k * self.n_models + m]
                yield WarningRow(m, *self.places[place], time_s, bool(warns >> m & 1), chance)


def forecast(
    stations: Mapping[str, Station],
    series: Series,
    horizon_h: float,
    progress: Callable[[int, int], None] | None = None,
    *,
    with_prophet: bool = False,
    seen: Callable[[str, Forecast], None] | None = None,
) -> Run:
    """Plays all readings in order of time through a forecaster per gauge; Prophet takes minutes, so it is asked for.

    `seen` is shown each station's forecasts as they are made.
    """
    horizons = tuple(sorted({*HORIZONS_H, horizon_h}))
    table = table_at(horizons)
    n_models = len(MODELS) + with_prophet
    pool = Pool(n_models, table)
    gauges = {
        name: Forecaster(horizons, table, pool, prophet.paths(horizons) if with_prophet else None) for name in series
    }
    around = {
        name: [gauges[n] for n in sorted(series) if n != name and stations[n].basin == stations[name].basin]
        for name in series
    }
    others = {name: [gauges[n] for n in sorted(series) if n != name] for name in series}
    run = Run(horizons, n_models, tallies={name: Tally(n_models, horizons) for name in series})
    at_gauge: dict[str, list[tuple[int, float, Trigger]]] = {}
    for name in series:
        for level, level_m in stations[name].levels_m.items():
            at_gauge.setdefault(name, []).append((len(run.places), level_m, Trigger(level_m, horizon_h)))
            run.places.append((name, level))
    within = np.asarray(horizons) <= horizon_h
    chosen = MODELS.index(CHOSEN)
    n_events = sum(len(readings) for readings in series.values())
    events = heapq.merge(*(_named(name, readings) for name, readings in series.items()))
    for k, (time_s, name, value) in enumerate(events):
        made = gauges[name].step(time_s, value, around[name], others[name])
        run.tallies[name].add(time_s, value, made)
        if seen is not None:
            seen(name, made)
        tops = made.paths[:, within].max(axis=1)
        reach = float(made.reach[within].max())
        for place, threshold, trigger in at_gauge.get(name, ()):
            stands = trigger.step(time_s, value, float(tops[chosen]), reach)
            if value < threshold:
                warns = tops >= threshold
                warns[chosen] = stands
                run.place.append(place)
                run.time_s.append(time_s)
                run.warns.append(sum(1 << m for m in np.flatnonzero(warns).tolist()))
                run.chance.extend(made.chances(threshold, within).tolist())
        if progress and k % 5000 == 0:
            progress(k, n_events)
    return run


def _named(name: str, readings: list[tuple[float, float]]) -> Iterator[tuple[float, str, float]]:
    return ((time_s, name, value) for time_s, value in readings)


def stamp(time_s: float) -> str:
    """UTC time of epoch seconds, to the second where it is whole."""
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")


def row_name(model: int) -> str:
    """The model's name in a warnings file: the shipped default is `chosen`."""
    return "chosen" if NAMES[model] == CHOSEN else NAMES[model]


def write_warnings(path: Path, run: Run, models: Sequence[int]) -> None:
    """Writes model, station_name, level, time_utc, warn."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["model", "station_name", "level", "time_utc", "warn"])
        for r in run.rows():
            if r.model in models:
                out.writerow([row_name(r.model), r.station, r.level, stamp(r.time_s), int(r.warn)])


def _by_horizon(run: Run, models: Sequence[int]) -> dict[int, list[dict[str, float]]]:
    out: dict[int, list[dict[str, float]]] = {m: [] for m in models}
    for k, horizon_h in enumerate(run.horizons_h):
        count = sum(int(tally.counts[k]) for tally in run.tallies.values())
        if not count:
            continue
        mean = sum((tally.sums[:, k] for tally in run.tallies.values()), np.zeros((3, run.n_models))) / count
        for m in models:
            error, cover, loss = mean[:, m].tolist()
            out[m].append(
                {"horizon_h": horizon_h, "forecasts": count, "mae_m": error, "crps_m": loss, "coverage_90": cover}
            )
    return out


def _reached(run: Run, stations: Mapping[str, Station], series: Series, horizon_h: float) -> FloatArray:
    """Of each row whether the level came within the horizon: 1, 0, or NaN where that lies outside what is scored."""
    place, time_s = np.frombuffer(run.place, np.uint32), np.frombuffer(run.time_s)
    out = np.full(len(place), np.nan)
    for k, (name, level) in enumerate(run.places):
        times, levels = (np.array(c) for c in zip(*series[name], strict=True))
        mine = np.flatnonzero(place == k)
        start, end = time_s[mine], time_s[mine] + horizon_h * HOUR_S
        mine = mine[(start >= times[0] + WARM_UP_H * HOUR_S) & (end <= times[-1])]
        first = np.searchsorted(times, time_s[mine], "right")
        after = np.searchsorted(times, time_s[mine] + horizon_h * HOUR_S, "right")
        reached = np.concatenate([[0], np.cumsum(levels >= stations[name].levels_m[level])])
        out[mine] = np.where(after > first, reached[after] > reached[first], np.nan)
    return out


def verify(
    run: Run,
    stations: Mapping[str, Station],
    series: Series,
    horizon_h: float,
    models: Sequence[int],
    draws: int = 2000,
) -> list[dict[str, object]]:
    """Scores of each model, best CSI first; a figure that cannot be had is None."""
    place, time_s = np.frombuffer(run.place, np.uint32), np.frombuffer(run.time_s)
    warns = np.frombuffer(run.warns, np.uint16)
    chances = np.frombuffer(run.chance, np.float32).reshape(-1, run.n_models)
    reached = _reached(run, stations, series, horizon_h)
    times = {name: [t for t, _ in readings] for name, readings in series.items()}
    levels = {name: [v for _, v in readings] for name, readings in series.items()}
    reference = MODELS.index("damped_trend")
    items: dict[str, list[Outcome]] = {}
    for m in {*models, reference}:
        items[NAMES[m]] = []
        for k, (name, level) in enumerate(run.places):
            warned = time_s[(place == k) & (warns >> m & 1 == 1)].tolist()
            basin, threshold = stations[name].basin, stations[name].levels_m[level]
            items[NAMES[m]] += outcomes(basin, times[name], levels[name], threshold, warned, horizon_h)
    csi = bootstrap_csi(items, draws)
    horizons = _by_horizon(run, models)
    out = []
    for m in models:
        f = figures(items[NAMES[m]])
        scored_rows = ~np.isnan(reached)
        pairs = np.column_stack([chances[scored_rows, m].astype(np.float64), reached[scored_rows]])
        base = float(pairs[:, 1].mean()) if len(pairs) else math.nan
        brier = float(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2)) if len(pairs) else None
        reliability = []
        for low, high in pairwise(BINS):
            inside = pairs[(pairs[:, 0] >= low) & ((pairs[:, 0] < high) | (high == 1.0))]
            if len(inside):
                reliability.append(
                    {"from": round(low, 1), "to": round(high, 1), "count": len(inside),
                     "mean_chance": float(inside[:, 0].mean()), "observed": float(inside[:, 1].mean())}
                )  # fmt: skip
        draw = csi[NAMES[m]]
        scored = f.csi is not None
        out.append(
            {
                "model": NAMES[m],
                "chosen": NAMES[m] == CHOSEN,
                "crossings": f.crossings,
                "hits": f.hits,
                "false": f.false,
                "pod": f.pod,
                "far": f.far,
                "csi": f.csi,
                "csi_p05": float(np.quantile(draw, 0.05)) if scored else None,
                "csi_p95": float(np.quantile(draw, 0.95)) if scored else None,
                "p_better_than_damped": float(np.mean(draw > csi["damped_trend"])) if scored else None,
                "median_lead_h": f.median_lead_h,
                "median_lead_with_zeros_h": f.median_lead_with_zeros_h,
                "brier": brier,
                "brier_skill": 1 - brier / (base * (1 - base)) if brier is not None and 0 < base < 1 else None,
                "reliability": reliability,
                "horizons": horizons[m],
            }
        )
    out.sort(key=lambda row: -(row["csi"] if isinstance(row["csi"], float) else -1.0))
    return out
