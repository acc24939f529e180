"""A forecast of one gauge as it is kept: what was known at one reading about the hours ahead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

#: A gauge silent for this long has a forecast that is marked as degraded.
DEGRADED_AFTER = timedelta(minutes=90)
#: After this long none is told: what comes is unknown. Intervals are verified over silences up to here only.
WITHHELD_AFTER = timedelta(hours=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One forecast of the shipped model; values in the datastream's stored unit, ascending horizons in hours."""

    made_at: datetime  #: observed_at of the newest reading it knows
    known_at: datetime  #: when that reading was received
    model: str
    value: float  #: of that reading
    horizons_h: tuple[float, ...]
    path: tuple[float, ...]
    reach: tuple[float, ...]  #: what holds a warning: see `ingest.forecast.trigger`
    taus: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]  #: (horizons, taus)

    def top(self, within_h: float) -> float:
        """The path's highest value within these hours."""
        return max(v for h, v in zip(self.horizons_h, self.path, strict=True) if h <= within_h)

    def top_reach(self, within_h: float) -> float:
        """The highest that the water could come to within these hours."""
        return max(v for h, v in zip(self.horizons_h, self.reach, strict=True) if h <= within_h)

    def chance(self, level: float, within_h: float) -> float:
        """The largest chance at one horizon within these hours that the water is at or above `level`.

        Beyond the outermost quantiles nothing is known: the chance there is that of the outermost.
        """
        best = 0.0
        for horizon_h, row in zip(self.horizons_h, self.quantiles, strict=True):
            if horizon_h <= within_h:
                best = max(best, 1.0 - float(np.interp(level, row, self.taus)))
        return best


def outlook(
    *,
    made_at: datetime,
    known_at: datetime,
    model: str,
    value: float,
    horizons_h: Sequence[float],
    path: Sequence[float],
    reach: Sequence[float],
    taus: Sequence[float],
    quantiles: Sequence[float],
) -> Outlook:
    """An outlook from flat arrays; `quantiles` row by row."""
    n = len(taus)
    return Outlook(
        made_at=made_at,
        known_at=known_at,
        model=model,
        value=value,
        horizons_h=tuple(horizons_h),
        path=tuple(path),
        reach=tuple(reach),
        taus=tuple(taus),
        quantiles=tuple(tuple(quantiles[k * n : (k + 1) * n]) for k in range(len(horizons_h))),
    )
