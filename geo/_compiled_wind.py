"""The wind field's loop over points and track steps, compiled. Its plain twin is in tests/unit/geo/test_wind.py."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float64]

EARTH_RADIUS_M = 6_371_000.0

#: Columns of the table of steps: one row of plain numbers for each track fix.
STEP_COLUMNS = (
    "centre_x", "centre_y", "centre_z",  # unit vector of the centre
    "east_x", "east_y",  # unit vector to the east at the centre (its z is 0)
    "north_x", "north_y", "north_z",
    "b", "pressure_term", "radius_m", "half_coriolis", "vmax_m_s", "x_slope",
    "east_m_s", "north_m_s", "spin", "peak_m_s", "included_m_s",
)  # fmt: skip


@njit(cache=True)
def max_wind(points: FloatArray, steps: FloatArray, pressure_profile: bool, scale: float, reach_m: float) -> Any:
    """(n_points,) largest wind speed over the steps, m/s; 0 where the centre never came within `reach_m`.

    points : (n_points, 3) unit vectors; steps : (n_steps, 19) in the order of STEP_COLUMNS.
    """
    n_points, n_steps = points.shape[0], steps.shape[0]
    best = np.zeros(n_points)
    chord_limit = 2.0 * math.sin(min(reach_m / EARTH_RADIUS_M, math.pi) / 2.0)
    chord2_limit = chord_limit * chord_limit
    for i in range(n_points):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        top = 0.0
        for j in range(n_steps):
            # No point of this step's field is windier than its peak: nothing to gain.
            if steps[j, 17] <= top:
                continue
            dx, dy, dz = px - steps[j, 0], py - steps[j, 1], pz - steps[j, 2]
            chord2 = dx * dx + dy * dy + dz * dz
            if chord2 > chord2_limit:
                continue
            d_m = 2.0 * EARTH_RADIUS_M * math.asin(min(1.0, 0.5 * math.sqrt(chord2)))
            d_m = max(d_m, 1.0)
            ratio = (steps[j, 10] / d_m) ** steps[j, 8]
            if pressure_profile:
                coriolis = d_m * steps[j, 11]
                square = steps[j, 9] * ratio * math.exp(-ratio) + coriolis * coriolis
                speed = scale * max(0.0, math.sqrt(square) - coriolis)
            else:
                x = 0.5 + max(0.0, d_m - steps[j, 10]) * steps[j, 13]
                # Below 0.4 the wind would rise again far out, which no storm does.
                x = max(0.4, x)
                speed = steps[j, 12] * (ratio * math.exp(1.0 - ratio)) ** x
            to_east = dx * steps[j, 3] + dy * steps[j, 4]
            to_north = dx * steps[j, 5] + dy * steps[j, 6] + dz * steps[j, 7]
            length = math.sqrt(to_east * to_east + to_north * to_north)
            carried = min(1.0, steps[j, 10] / d_m)
            # H08 and H10 give the wind with the storm's motion in it: out first, then back in as a vector.
            speed = max(0.0, speed - steps[j, 18] * carried)
            east, north = steps[j, 14] * carried, steps[j, 15] * carried
            if length > 0.0:
                east += -steps[j, 16] * to_north / length * speed
                north += steps[j, 16] * to_east / length * speed
            speed = math.sqrt(east * east + north * north)
            if speed > top:
                top = speed
        best[i] = top
    return best
