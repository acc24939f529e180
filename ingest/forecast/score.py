"""How flood warnings are scored against recorded levels: POD, FAR, CSI, lead time, block bootstrap by event.

Events after NWS Instruction 10-1601 (merged rises are one event): it is an up-crossing of an official
level by a reading, re-armed by a reading 0.2 m below it. Nothing is regridded; times are the readings' own.

- episode: warnings of one gauge and level, joined while they are at most 3 h apart, ended by a crossing;
- hit: a crossing with an episode begun before it and a warning in the last `horizon_h` before it; its lead time runs
  from the beginning of the earliest such episode, at most three horizons;
- false: an episode that hits nothing and after which no reading reaches the level until `horizon_h` past its last
  warning;
- a gauge's first 24 h are not scored.

POD = H/(H+M), FAR = F/(F+H), CSI = H/(H+M+F) (Wilks, Statistical Methods in the Atmospheric Sciences, ch. 9).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.forecast.gauge import HOUR_S

JOIN_H = 3.0
REARM_M = 0.2
WARM_UP_H = 24.0

Block = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One hit (H), miss (M) or false warning (F), with its bootstrap block (basin, day) and lead time in hours."""

    block: Block
    kind: str
    lead_h: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts and ratios; a ratio without a denominator is None, never 0."""

    crossings: int
    hits: int
    false: int
    pod: float | None
    far: float | None
    csi: float | None
    median_lead_h: float | None
    median_lead_with_zeros_h: float | None


def crossings(times: Sequence[float], levels: Sequence[float], threshold: float) -> list[float]:
    """Times of the up-crossings of `threshold` (m)."""
    armed, out = levels[0] < threshold, []
    for time_s, level in zip(times, levels, strict=True):
        if armed and level >= threshold:
            out.append(time_s)
            armed = False
        elif level < threshold - REARM_M:
            armed = True
    return out


def outcomes(
    basin: str,
    times: Sequence[float],
    levels: Sequence[float],
    threshold: float,
    warned: Sequence[float],
    horizon_h: float,
) -> list[Outcome]:
    """Scores the warnings (times, sorted, each below the level) of one gauge and level."""
    start, horizon = times[0] + WARM_UP_H * HOUR_S, horizon_h * HOUR_S
    crossed = crossings(times, levels, threshold)
    episodes: list[list[float]] = []
    for at in warned:
        if episodes:
            last = episodes[-1][1]
            parted = bisect_right(crossed, at) > bisect_right(crossed, last)
            if at - last <= JOIN_H * HOUR_S and not parted:
                episodes[-1][1] = at
                continue
        episodes.append([at, at])
    out, used = [], set()
    for cross in crossed:
        if cross < start:
            continue
        good = [k for k, (begin, end) in enumerate(episodes) if begin < cross and cross - horizon <= end < cross]
        used.update(good)
        lead = min(cross - min(episodes[k][0] for k in good), 3 * horizon) / HOUR_S if good else 0.0
        out.append(Outcome((basin, int(cross // 86400)), "H" if good else "M", lead))
    for k, (begin, end) in enumerate(episodes):
        if k in used or begin < start:
            continue
        after = levels[bisect_right(times, begin) : bisect_right(times, end + horizon)]
        if not any(level >= threshold for level in after):
            out.append(Outcome((basin, int(begin // 86400)), "F", 0.0))
    return out


def figures(items: Sequence[Outcome]) -> Figures:
    """The ratios of a list of outcomes."""
    hits = sum(i.kind == "H" for i in items)
    missed = sum(i.kind == "M" for i in items)
    false = sum(i.kind == "F" for i in items)
    leads = sorted(i.lead_h for i in items if i.kind == "H")
    with_zeros = sorted(leads + [0.0] * missed)
    return Figures(
        crossings=hits + missed,
        hits=hits,
        false=false,
        pod=hits / (hits + missed) if hits + missed else None,
        far=false / (false + hits) if false + hits else None,
        csi=hits / len(items) if items else None,
        median_lead_h=leads[len(leads) // 2] if leads else None,
        median_lead_with_zeros_h=with_zeros[len(with_zeros) // 2] if with_zeros else None,
    )


def bootstrap_csi(
    items: Mapping[str, Sequence[Outcome]], draws: int, seed: int = 1
) -> dict[str, npt.NDArray[np.float64]]:
    """CSI of each model in `draws` resamples of the same blocks for all models, so that differences are paired."""
    blocks = sorted({i.block for outcome in items.values() for i in outcome})
    if not blocks:
        return {model: np.full(draws, np.nan) for model in items}
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=draws)
    out = {}
    for model, outcome in items.items():
        hits, total = np.zeros(len(blocks)), np.zeros(len(blocks))
        for i in outcome:
            k = bisect_left(blocks, i.block)
            total[k] += 1
            hits[k] += i.kind == "H"
        out[model] = (weights @ hits) / np.maximum(weights @ total, 1.0)
    return out
