"""Runs every model over recorded levels, reading by reading, and scores what it said against what came.

Readings of all gauges are played in order of time, so a forecast knows exactly what was known at its origin: cutting
the file at any time changes no earlier row (tests/unit/ingest/test_forecast.py).
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.errors import InvalidInput
from ingest.forecast import prophet
from ingest.forecast.calibration import table_at
from ingest.forecast.gauge import HOUR_S, FloatArray
from ingest.forecast.models import CHOSEN, HORIZONS_H, MODELS, OUTCOME_GAP_H, TAUS, Forecaster
from ingest.forecast.score import WARM_UP_H, Outcome, bootstrap_csi, figures, outcomes
from ingest.forecast.trigger import Trigger

LEVELS = {"alert": "alert_m", "minor": "minor_flood_m", "major": "major_flood_m"}
#: Levels beyond these are no river's, metres.
LEVEL_RANGE_M = (-1000.0, 10000.0)
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


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [c for c in needed if c not in (reader.fieldnames or ())]
            if missing:
                raise BadLevels(f"{path.name}: column {missing[0]} is missing")
            return list(reader)
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
    """Stations by name; a level of 0 or blank is no level."""
    out: dict[str, Station] = {}
    for line, row in enumerate(_rows(path, ["station_name", *LEVELS.values()]), 2):
        name = row["station_name"]
        if name in out:
            raise BadLevels(f"{path.name}, line {line}: station_name {name!r} stands twice")
        levels = {}
        for level, column in LEVELS.items():
            value = _number(path, line, column, row[column]) if (row[column] or "").strip() else 0.0
            if value < 0:
                raise BadLevels(f"{path.name}, line {line}: {column} is below zero: {row[column]!r}")
            if value > 0:
                levels[level] = value
        out[name] = Station(name, row.get("basin") or name, levels)
    return out


def read_levels(path: Path, stations: Mapping[str, Station], say: Callable[[str], None] = lambda text: None) -> Series:
    """Readings by station in order of time (epoch seconds, metres); of one station and time the first stands.

    A row without a level is a silent gauge: it is left out, and `say` is told how many there were.
    """
    found: dict[str, dict[float, float]] = {}
    n_blank = 0
    for line, row in enumerate(_rows(path, ["station_name", "time_utc", "water_level_m"]), 2):
        text = row["time_utc"] or ""
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadLevels(f"{path.name}, line {line}: time_utc is not a time: {text!r}") from error
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        if not (row["water_level_m"] or "").strip():
            n_blank += 1
            continue
        value = _number(path, line, "water_level_m", row["water_level_m"])
        if row["station_name"] in stations:
            found.setdefault(row["station_name"], {}).setdefault(at.timestamp(), value)
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


@dataclass(slots=True)
class Run:
    """Everything the models said: rows in order of time, and forecasts by station."""

    horizons_h: tuple[float, ...]
    rows: list[WarningRow] = field(default_factory=list)
    paths: dict[str, list[FloatArray]] = field(default_factory=dict)
    quantiles: dict[str, list[FloatArray]] = field(default_factory=dict)


def forecast(
    stations: Mapping[str, Station],
    series: Series,
    horizon_h: float,
    progress: Callable[[int, int], None] | None = None,
    *,
    with_prophet: bool = False,
) -> Run:
    """Plays all readings in order of time through a forecaster per gauge; Prophet takes minutes, so it is asked for."""
    horizons = tuple(sorted({*HORIZONS_H, horizon_h}))
    table = table_at(horizons)
    n_models = len(MODELS) + with_prophet
    pool = np.zeros((n_models, *table.shape))
    gauges = {
        name: Forecaster(horizons, table, pool, prophet.paths(horizons) if with_prophet else None) for name in series
    }
    around = {
        name: [gauges[n] for n in sorted(series) if n != name and stations[n].basin == stations[name].basin]
        for name in series
    }
    others = {name: [gauges[n] for n in sorted(series) if n != name] for name in series}
    triggers = {
        (name, level): Trigger(level_m, horizon_h)
        for name in series
        for level, level_m in stations[name].levels_m.items()
    }
    within = np.asarray(horizons) <= horizon_h
    chosen = MODELS.index(CHOSEN)
    run = Run(horizons, paths={n: [] for n in series}, quantiles={n: [] for n in series})
    events = sorted((t, name, v) for name, readings in series.items() for t, v in readings)
    for k, (time_s, name, value) in enumerate(events):
        made = gauges[name].step(time_s, value, around[name], others[name])
        run.paths[name].append(made.paths)
        run.quantiles[name].append(made.quantiles)
        tops = made.paths[:, within].max(axis=1)
        reach = float(made.reach[within].max())
        for level, threshold in stations[name].levels_m.items():
            stands = triggers[name, level].step(time_s, value, float(tops[chosen]), reach)
            if value < threshold:
                for m in range(n_models):
                    chance = made.chance(m, threshold, within)
                    warn = stands if m == chosen else bool(tops[m] >= threshold)
                    run.rows.append(WarningRow(m, name, level, time_s, warn, chance))
        if progress and k % 5000 == 0:
            progress(k, len(events))
    return run


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
        for r in run.rows:
            if r.model in models:
                out.writerow([row_name(r.model), r.station, r.level, stamp(r.time_s), int(r.warn)])


def seen_at(series: list[tuple[float, float]], horizon_h: float) -> FloatArray:
    """The level (m) `horizon_h` after each reading, interpolated; NaN where no two readings within 3 h enclose it."""
    times, levels = (np.array(c) for c in zip(*series, strict=True))
    due = times + horizon_h * HOUR_S
    after = np.searchsorted(times, due)
    known = after < len(times)
    after = np.minimum(after, len(times) - 1)
    known &= times[after] - times[np.maximum(after - 1, 0)] <= OUTCOME_GAP_H * HOUR_S
    return np.where(known, np.interp(due, times, levels), np.nan)


def _by_horizon(run: Run, series: Series, models: Sequence[int]) -> dict[int, list[dict[str, float]]]:
    out: dict[int, list[dict[str, float]]] = {m: [] for m in models}
    for k, horizon_h in enumerate(run.horizons_h):
        errors, cover, loss = [], [], []
        for name, readings in series.items():
            seen = seen_at(readings, horizon_h)
            warm = np.array([t for t, _ in readings]) >= readings[0][0] + WARM_UP_H * HOUR_S
            use = warm & ~np.isnan(seen)
            if not use.any():
                continue
            paths = np.array(run.paths[name])[use][:, models, k]
            quant = np.array(run.quantiles[name])[use][:, models, k]
            y = seen[use][:, None]
            errors.append(np.abs(paths - y))
            cover.append((quant[..., 0] <= y) & (y <= quant[..., -1]))
            apart = y[..., None] - quant
            loss.append(2.0 * np.mean(np.maximum(TAUS * apart, (TAUS - 1.0) * apart), axis=2))
        if not errors:
            continue
        for j, m in enumerate(models):
            out[m].append(
                {
                    "horizon_h": horizon_h,
                    "forecasts": sum(len(e) for e in errors),
                    "mae_m": float(np.concatenate(errors)[:, j].mean()),
                    "crps_m": float(np.concatenate(loss)[:, j].mean()),
                    "coverage_90": float(np.concatenate(cover)[:, j].mean()),
                }
            )
    return out


def _chances(run: Run, stations: Mapping[str, Station], series: Series, horizon_h: float, model: int) -> FloatArray:
    """Pairs (chance, reached within the horizon) of the origins whose horizon lies inside the gauge's record."""
    arrays = {n: tuple(np.array(c) for c in zip(*r, strict=True)) for n, r in series.items()}
    pairs = []
    for r in run.rows:
        times, levels = arrays[r.station]
        end = r.time_s + horizon_h * HOUR_S
        if r.model != model or r.time_s < times[0] + WARM_UP_H * HOUR_S or end > times[-1]:
            continue
        ahead = levels[np.searchsorted(times, r.time_s, "right") : np.searchsorted(times, end, "right")]
        if len(ahead):
            pairs.append((r.chance, float(ahead.max() >= stations[r.station].levels_m[r.level])))
    return np.array(pairs).reshape(-1, 2)


def verify(
    run: Run,
    stations: Mapping[str, Station],
    series: Series,
    horizon_h: float,
    models: Sequence[int],
    draws: int = 2000,
) -> list[dict[str, object]]:
    """Scores of each model, best CSI first; a figure that cannot be had is None."""
    warned: dict[tuple[int, str, str], list[float]] = {}
    for r in run.rows:
        if r.warn:
            warned.setdefault((r.model, r.station, r.level), []).append(r.time_s)
    reference = MODELS.index("damped_trend")
    items: dict[str, list[Outcome]] = {}
    for m in {*models, reference}:
        items[NAMES[m]] = [
            outcome
            for name, readings in series.items()
            for level, threshold in stations[name].levels_m.items()
            for outcome in outcomes(
                stations[name].basin,
                [t for t, _ in readings],
                [v for _, v in readings],
                threshold,
                warned.get((m, name, level), []),
                horizon_h,
            )
        ]
    csi = bootstrap_csi(items, draws)
    horizons = _by_horizon(run, series, models)
    out = []
    for m in models:
        f = figures(items[NAMES[m]])
        pairs = _chances(run, stations, series, horizon_h, m)
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
