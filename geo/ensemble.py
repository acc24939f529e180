"""Many tracks of one storm, equally likely: what each point and the whole book may get, as quantiles and chances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]

QUANTILES = (0.05, 0.50, 0.95)


def quantiles(values: FloatArray, axis: int = 0) -> FloatArray:
    """(3, ...) 5, 50 and 95 % of equally likely members; linear between order statistics, NaN where one is unknown."""
    found: FloatArray = np.quantile(values, QUANTILES, axis=axis)
    return found


def exceedance(values: FloatArray, thresholds: Sequence[float]) -> FloatArray:
    """(n_thresholds, n_points) share of the members at or above each threshold; NaN where a member is unknown."""
    unknown = np.isnan(values).any(axis=0)
    found = np.array([(values >= one).mean(axis=0) for one in thresholds]).reshape(len(thresholds), values.shape[1])
    found[:, unknown] = np.nan
    return found


@dataclass(frozen=True)
class LossSpread:
    """A loss over equally likely members or samples."""

    losses: FloatArray  #: (n,)

    def __post_init__(self) -> None:
        if not len(self.losses):
            raise InvalidInput("there are no members")

    def as_json(self) -> dict[str, Any]:
        low, middle, high = quantiles(self.losses).tolist()
        return {
            "n": len(self.losses),
            "mean": float(self.losses.mean()),
            "sd": float(self.losses.std(ddof=1)) if len(self.losses) > 1 else None,
            "p05": low,
            "p50": middle,
            "p95": high,
        }

    def curve(self) -> list[dict[str, float]]:
        """Conditional exceedance: each loss with the share of members that lose at least as much."""
        ordered = np.sort(self.losses)[::-1]
        # equal losses share the largest share
        share = np.searchsorted(-ordered, -ordered, side="right") / len(ordered)
        return [{"loss": float(a), "probability": float(b)} for a, b in zip(ordered, share, strict=True)]
