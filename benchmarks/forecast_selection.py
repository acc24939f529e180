"""How the forecast's shipped constants were chosen: `python -m benchmarks.forecast_selection FOLDER`.

FOLDER is `data/warning/floods`.

Prints the table of ingest/forecast/calibration.py (normalised residuals of moving water, Hub'Eau, April and May 2020),
then every candidate of the guarded trend on Gloria 2020 and May 2020 (proxy levels: median + 0.5, 1, 2 m) and on Ditwah
2025 with official levels, and last Ditwah by leave-one-basin-out: each basin scored by the candidate that was best on
all other basins.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ingest.forecast.gauge import HOUR_S, Gauge, State
from ingest.forecast.models import HORIZONS_H, TAUS, damped_hours, guarded_path
from ingest.forecast.score import WARM_UP_H, Outcome, figures, outcomes
from ingest.forecast.verify import Series, Station, read_levels, read_stations, seen_at

HORIZON_H = 6.0
GRID = list(product((1.5, 2.0, 3.0), (0.5, 0.7, 1.0), (1.0, 1.1, 1.25, 1.4)))
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


def warned(state: State, slow: float, quick: float, long: float) -> float:
    """The highest level of the path up to the horizon."""
    slope = max(0.0, min(state.slope1, state.slope3, long * state.slope6))
    factor = quick if state.slope1 >= state.slope3 else slow
    return state.level_m + factor * slope * float(damped_hours(np.array([HORIZON_H]))[0])


def scored(
    stations: dict[str, Station], series: Series, seen: dict[str, list[State]], grid: tuple[float, float, float]
) -> list[Outcome]:
    """Outcomes of one candidate."""
    long, slow, quick = grid
    out = []
    for name, readings in series.items():
        tops = [warned(s, slow, quick, long) for s in seen[name]]
        times, levels = [t for t, _ in readings], [v for _, v in readings]
        for threshold in stations[name].levels_m.values():
            on = [t for t, v, top in zip(times, levels, tops, strict=True) if v < threshold <= top]
            out += outcomes(stations[name].basin, times, levels, threshold, on, HORIZON_H)
    return out


def worth(items: list[Outcome]) -> float:
    """CSI, less what the bar (FAR 0.25, lead 2.5 h) is missed by."""
    f = figures(items)
    return (f.csi or 0.0) - 0.5 * max(0.0, (f.far or 0.0) - 0.25) - 0.1 * max(0.0, 2.5 - (f.median_lead_h or 0.0))


def told(items: list[Outcome]) -> str:
    """One line of figures."""
    f = figures(items)
    return f"POD {f.pod:.2f} FAR {f.far:.2f} CSI {f.csi:.2f} lead {f.median_lead_h:.1f} h"


def main() -> None:
    """Prints the table, the grid and the leave-one-basin-out score."""
    folder = Path(sys.argv[1])
    known = read_stations(folder / "ditwah2025_lk_stations_dev.csv")
    sets = {
        "ditwah": (known, read_levels(folder / "ditwah2025_lk_levels_dev.csv", known)),
        "gloria": hubeau(folder / "hubeau_gloria_jan2020_10min.csv.gz"),
        "may": hubeau(folder / "hubeau_may2020_10min.csv.gz"),
    }
    seen = {name: states(series) for name, (_, series) in sets.items()}
    print(np.array2string(residual_table(sets["may"][1], seen["may"]), precision=2, separator=", ", max_line_width=150))
    results = {g: {n: scored(*sets[n], seen[n], g) for n in sets} for g in GRID}
    for grid, found in results.items():
        print(grid, " | ".join(f"{n}: {told(items)}" for n, items in found.items()))
    held_out: list[Outcome] = []
    for basin in sorted({s.basin for s in known.values()}):
        best = max(GRID, key=lambda g: worth([i for i in results[g]["ditwah"] if i.block[0] != basin]))
        print(f"without {basin}: {best}")
        held_out += [i for i in results[best]["ditwah"] if i.block[0] == basin]
    print(f"ditwah, leave-one-basin-out: {told(held_out)}")


if __name__ == "__main__":
    main()
