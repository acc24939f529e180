"""How the forecast's shipped constants were chosen: `python -m benchmarks.forecast_selection FOLDER`.

FOLDER is `data/warning/floods`.

Prints the table of ingest/forecast/calibration.py (normalised residuals of moving water, Hub'Eau, April and May 2020),
then the choice of the regional trend's constants. They are chosen on Gloria and May 2020 alone (France, thinned to an
hour, proxy levels: median + 0.5, 1, 2 m), by one rule: of the candidates with FAR at most 0.20, the one whose hits have
the longest mean lead. Ditwah 2025 is only scored: no constant of the regional trend is picked on it.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ingest.forecast.gauge import HOUR_S, Gauge, State
from ingest.forecast.models import (
    HORIZONS_H,
    OUTCOME_GAP_H,
    REGION_RANGE,
    RISE_FLOOR_M_PER_H,
    RISE_FLOOR_READINGS,
    RISE_LIMIT,
    TAUS,
    guarded_path,
    reach_path,
)
from ingest.forecast.score import WARM_UP_H, Outcome, figures, outcomes
from ingest.forecast.trigger import Trigger
from ingest.forecast.verify import Series, Station, read_levels, read_stations

HORIZON_H = 6.0
#: gain, quickening, slowing
GRID = list(product((0.0, 0.25, 0.5, 0.75, 1.0), (0.9, 1.0, 1.1, 1.25), (0.5, 0.7, 0.85, 1.0)))
FAR_AT_MOST = 0.20
#: The table is of water that moves: quiet days, nine tenths of the record, would make it too narrow for a flood.
ACTIVE_M_PER_H = 0.02
PROXY_M = {"alert": 0.5, "minor": 1.0, "major": 2.0}


def hubeau(path: Path) -> tuple[dict[str, Station], Series]:
    """Hub'Eau levels at steps of at least 30 min, with proxy levels; the basin is the hydrographic region."""
    table = pd.read_csv(path, dtype={"code_station": str}, parse_dates=["time_utc"])
    table["at"] = (table["time_utc"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    stations: dict[str, Station] = {}
    series: Series = {}
    for name, rows in table.sort_values("at").drop_duplicates(["code_station", "at"]).groupby("code_station"):
        kept: list[tuple[float, float]] = []
        for at, level in zip(rows["at"], rows["level_mm"] / 1000.0, strict=True):
            if not kept or at - kept[-1][0] >= HOUR_S / 2:
                kept.append((float(at), float(level)))
        middle = float(np.median([v for _, v in kept]))
        series[str(name)] = kept
        stations[str(name)] = Station(str(name), str(name)[:2], {k: middle + m for k, m in PROXY_M.items()})
    return stations, series


def states(series: Series) -> dict[str, list[State]]:
    """The state at every reading of every gauge."""
    out = {}
    for name, readings in series.items():
        gauge = Gauge()
        out[name] = [gauge.add(t, v) for t, v in readings]
    return out


def residual_table(series: Series, seen: dict[str, list[State]]) -> np.ndarray:
    """Quantiles (horizons, TAUS) of the guarded trend's normalised residuals where the water moves."""
    horizons = np.array(HORIZONS_H)
    scores: list[list[float]] = [[] for _ in horizons]
    for name, readings in series.items():
        paths = np.array([guarded_path(s, horizons) for s in seen[name]])
        steep = np.array([max(abs(s.slope1), abs(s.slope3)) for s in seen[name]])
        noise = np.array([s.noise_m for s in seen[name]])
        warm = np.array([s.time_s for s in seen[name]]) >= readings[0][0] + WARM_UP_H * HOUR_S
        warm &= steep >= ACTIVE_M_PER_H
        for k, h in enumerate(horizons):
            score = (seen_at(readings, h) - paths[:, k]) / (0.01 + noise + h * (0.005 + 0.5 * steep))
            scores[k].extend(score[warm & ~np.isnan(score)])
    return np.array([np.quantile(s, TAUS) for s in scores])


def seen_at(series: list[tuple[float, float]], horizon_h: float) -> np.ndarray:
    """The level (m) `horizon_h` after each reading, interpolated; NaN where no two readings within 3 h enclose it."""
    times, levels = (np.array(c) for c in zip(*series, strict=True))
    due = times + horizon_h * HOUR_S
    after = np.searchsorted(times, due)
    known = after < len(times)
    after = np.minimum(after, len(times) - 1)
    known &= times[after] - times[np.maximum(after - 1, 0)] <= OUTCOME_GAP_H * HOUR_S
    return np.where(known, np.interp(due, times, levels), np.nan)


def thinned(series: Series, hours: float) -> Series:
    """Readings at least this far apart."""
    out: Series = {}
    for name, readings in series.items():
        kept: list[tuple[float, float]] = []
        for at, level in readings:
            if not kept or at - kept[-1][0] >= hours * HOUR_S - 60.0:
                kept.append((at, level))
        out[name] = kept
    return out


def regions(stations: dict[str, Station], seen: dict[str, list[State]]) -> dict[str, np.ndarray]:
    """Mean rise of the basin's other gauges, else of all others, at every reading (as models.Forecaster has it)."""
    rises = {}
    for name, states_ in seen.items():
        slope = np.array([s.slope3 for s in states_])
        square = RISE_FLOOR_READINGS * RISE_FLOOR_M_PER_H**2 + np.cumsum(slope**2)
        usual = np.sqrt(square / (RISE_FLOOR_READINGS + 1 + np.arange(len(slope))))
        rises[name] = np.array([s.time_s for s in states_]), np.clip(slope / usual, -RISE_LIMIT, RISE_LIMIT)
    out = {}
    for name in seen:
        now = rises[name][0]
        sums = {True: np.zeros(len(now)), False: np.zeros(len(now))}
        counts = {True: np.zeros(len(now)), False: np.zeros(len(now))}
        for other, (times, rise) in rises.items():
            if other == name:
                continue
            at = np.searchsorted(times, now, "right") - 1
            known = (at >= 0) & (now - times[np.maximum(at, 0)] <= OUTCOME_GAP_H * HOUR_S)
            near = stations[other].basin == stations[name].basin
            for kind in {near, False}:
                sums[kind] += np.where(known, rise[np.maximum(at, 0)], 0.0)
                counts[kind] += known
        mean = {kind: sums[kind] / np.maximum(counts[kind], 1) for kind in sums}
        out[name] = np.where(counts[True] > 0, mean[True], mean[False])
    return out


def scored(
    stations: dict[str, Station],
    series: Series,
    seen: dict[str, list[State]],
    region: dict[str, np.ndarray],
    grid: tuple[float, float, float],
) -> list[Outcome]:
    """Outcomes of one candidate."""
    gain, quick, slow = grid
    at = np.array([HORIZON_H])
    out = []
    for name, readings in series.items():
        paths = np.array([guarded_path(s, at, slowing=slow, quickening=quick)[0] - s.level_m for s in seen[name]])
        level = np.array([s.level_m for s in seen[name]])
        tops = level + np.maximum(paths, 0.0) * np.clip(1.0 + gain * region[name], *REGION_RANGE)
        reach = [float(reach_path(s, at)[0]) for s in seen[name]]
        times, levels = [t for t, _ in readings], [v for _, v in readings]
        for threshold in stations[name].levels_m.values():
            trigger = Trigger(threshold, HORIZON_H)
            on = [
                t
                for t, v, top, far in zip(times, levels, tops, reach, strict=True)
                if trigger.step(t, v, float(top), far)
            ]
            out += outcomes(stations[name].basin, times, levels, threshold, on, HORIZON_H)
    return out


def mean_lead_h(items: list[Outcome]) -> float:
    """Mean lead of the hits, hours."""
    return float(np.mean([i.lead_h for i in items if i.kind == "H"]))


def told(items: list[Outcome]) -> str:
    """One line of figures."""
    f = figures(items)
    return (
        f"POD {f.pod:.2f} FAR {f.far:.2f} CSI {f.csi:.2f} lead {f.median_lead_h:.1f} h, mean {mean_lead_h(items):.2f} h"
    )


def main() -> None:
    """Prints the table, the best of the grid on the French floods, and how they do on Ditwah and on the other flood."""
    folder = Path(sys.argv[1])
    known = read_stations(folder / "ditwah2025_lk_stations_dev.csv")
    french = {
        "gloria": hubeau(folder / "hubeau_gloria_jan2020_10min.csv.gz"),
        "may": hubeau(folder / "hubeau_may2020_10min.csv.gz"),
    }
    table = residual_table(french["may"][1], states(french["may"][1]))
    print(np.array2string(table, precision=2, separator=", ", max_line_width=150))
    sets = {name: (stations, thinned(series, 1.0)) for name, (stations, series) in french.items()}
    sets["ditwah"] = (known, read_levels(folder / "ditwah2025_lk_levels_dev.csv", known))
    seen = {name: states(series) for name, (_, series) in sets.items()}
    region = {name: regions(stations, seen[name]) for name, (stations, _) in sets.items()}
    results = {g: {n: scored(*sets[n], seen[n], region[n], g) for n in sets} for g in GRID}
    for chosen_on, tested_on in (("gloria", "may"), ("may", "gloria"), ("both", "")):
        pooled = {g: r["gloria"] + r["may"] if chosen_on == "both" else r[chosen_on] for g, r in results.items()}
        fair = [g for g, items in pooled.items() if (figures(items).far or 0.0) <= FAR_AT_MOST]
        for grid in sorted(fair, key=lambda g: -mean_lead_h(pooled[g]))[:3]:
            print(f"chosen on {chosen_on}: gain, quickening, slowing {grid}: {told(pooled[grid])}")
            for name in (tested_on, "ditwah"):
                if name:
                    print(f"    {name}: {told(results[grid][name])}")


if __name__ == "__main__":
    main()
