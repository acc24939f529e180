"""Depth of water from levels at gauges and the ground's height: water surface less ground, in one vertical datum.

The surface between gauges is the inverse-distance mean of their levels (Shepard 1968, power 2). Ground below it is
flooded only where it hangs together with water at a gauge: a hollow behind a dike stays dry. No hydraulics: no slope
from discharge, no time, no flow over or through a barrier (docs/methods/flood-damage.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

#: Water at a gauge may stand this many cells beside it: gauges are on banks and bridges.
NEAR_CELLS = 3
_EARTH_RADIUS_KM = 6371.0


class DatumMismatch(InvalidInput):
    """Levels and ground are not in the same vertical datum."""


class BadGauges(InvalidInput):
    """These levels cannot make a water surface."""


@dataclass(frozen=True)
class Gauges:
    """Levels of the water's surface above one datum."""

    lon: FloatArray  #: (n,) degrees
    lat: FloatArray
    level_m: FloatArray  #: NaN where the gauge is silent: it says nothing
    datum: str


def one_datum(names: Sequence[str], ground: str) -> str:
    """The datum that levels and ground share; raises DatumMismatch. No datum is converted here: that needs a geoid."""
    if not ground.strip():
        raise DatumMismatch("terrain datum: it is not named")
    for i, name in enumerate(names):
        if not name.strip():
            raise DatumMismatch(f"gauge {i + 1}: datum: it is empty; a level without a datum is no height")
        if name.strip().upper() != ground.strip().upper():
            raise DatumMismatch(
                f"gauge {i + 1}: datum: {name!r}, and the ground is above {ground!r}: they can differ by metres; "
                "convert one of them first"
            )
    return ground.strip().upper()


def surface_m(gauges: Gauges, lon: FloatArray, lat: FloatArray, reach_km: float) -> FloatArray:
    """(n,) height of the water's surface at places, NaN further than `reach_km` from every gauge that speaks."""
    heard = np.isfinite(gauges.level_m)
    if not heard.any():
        raise BadGauges("gauges: none of them has a level")
    total, weight = np.zeros(lon.shape), np.zeros(lon.shape)
    nearest = np.full(lon.shape, np.inf)
    phi = np.radians(lat)
    for x, y, level in zip(gauges.lon[heard], gauges.lat[heard], gauges.level_m[heard], strict=True):
        h = (
            np.sin((phi - np.radians(y)) / 2) ** 2
            + np.cos(phi) * np.cos(np.radians(y)) * np.sin(np.radians(lon - x) / 2) ** 2
        )
        d = 2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))
        w = 1.0 / np.maximum(d, 1e-3) ** 2
        total += w * level
        weight += w
        nearest = np.minimum(nearest, d)
    found: FloatArray = np.where(nearest <= reach_km, total / weight, np.nan)
    return found


def depth_m(
    ground_m: FloatArray, surface: FloatArray, gauge_cells: Sequence[tuple[int, int]]
) -> tuple[FloatArray, BoolArray, list[int]]:
    """(depth, low but apart, gauges without water) on a grid.

    Parameters
    ----------
    ground_m, surface : (rows, columns) heights above the same datum; NaN where unknown
    gauge_cells : (row, column) of each gauge

    Returns
    -------
    depth : (rows, columns) metres of water above ground, 0 where dry, NaN where ground or surface is unknown
    apart : True where ground lies below the surface and no water leads there
    without : indices of gauges beside which no cell is wet: their level lies below all ground around
    """
    depth = surface - ground_m
    with np.errstate(invalid="ignore"):
        low = depth > 0.0
    label, _ = ndimage.label(low, structure=np.ones((3, 3), dtype=int))
    fed: set[int] = set()
    without: list[int] = []
    for number, (row, column) in enumerate(gauge_cells):
        around = label[
            max(row - NEAR_CELLS, 0) : max(row + NEAR_CELLS + 1, 0),
            max(column - NEAR_CELLS, 0) : max(column + NEAR_CELLS + 1, 0),
        ]
        here = {int(one) for one in np.unique(around)} - {0}
        if here:
            fed |= here
        else:
            without.append(number)
    wet = np.isin(label, sorted(fed)) if fed else np.zeros(label.shape, dtype=bool)
    unknown = np.isnan(depth)
    out = np.where(wet, depth, 0.0)
    out[unknown] = np.nan
    return out, low & ~wet, without
