"""The circle that a polygon was made of, so that an area that came in as a circle leaves as one. Pure.

Areas are kept as polygons. A ring whose corners all lie at one distance of one place, all round, says nothing else than
the circle: it is found by a few steps of Gauss and Newton for centre and radius, on the ellipsoid (rules with
`radius_km`) and on the sphere (CAP messages, ingest/cap/meaning.py). What is no circle stays a polygon.
"""

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Geod
from shapely.geometry import Polygon

#: Fewer corners are a polygon that somebody drew.
MIN_CORNERS = 32
#: How far a corner may lie from the circle.
TOLERANCE_M = 0.02
_EARTHS = (Geod(ellps="WGS84"), Geod(a=6_371_000.0, b=6_371_000.0))
_MAX_RADIUS_M = 2_000_000.0


def circle_of(part: Polygon) -> tuple[float, float, float] | None:
    """(lon, lat, radius in km) of the circle that this polygon is; None where it is none."""
    if part.is_empty or part.interiors:
        return None
    corners = shapely.get_coordinates(part.exterior)[:-1]
    if len(corners) < MIN_CORNERS:
        return None
    # small, or near a pole, a circle on one of the two is nearly one on the other: the closer one was meant
    found = [one for earth in _EARTHS if (one := _fit(earth, corners[:, 0], corners[:, 1])) is not None]
    return min(found)[1] if found else None


def _fit(
    earth: Geod, lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]
) -> tuple[float, tuple[float, float, float]] | None:
    """(how far the worst corner is from it in m, the circle); None where they lie on none."""
    centre = np.array([lon.mean(), lat.mean()])
    n, radius = len(lon), 0.0
    distance = azimuth = np.zeros(n)
    for _ in range(8):
        azimuth, _, distance = earth.inv(np.full(n, centre[0]), np.full(n, centre[1]), lon, lat)
        if not np.isfinite(distance).all() or distance.max() > _MAX_RADIUS_M:
            return None
        angle = np.radians(azimuth)
        # a step east by e and north by m brings a corner at this azimuth nearer by e sin + m cos
        rows = np.column_stack([np.ones(n), np.sin(angle), np.cos(angle)])
        solved, *_ = np.linalg.lstsq(rows, distance, rcond=None)
        radius, east, north = (float(one) for one in solved)
        step = float(np.hypot(east, north))
        if step < 1e-6:
            break
        x, y, _ = earth.fwd(centre[0], centre[1], np.degrees(np.arctan2(east, north)), step)
        centre = np.array([x, y])
    gaps = np.diff(np.sort(np.mod(azimuth, 360.0)), append=np.sort(np.mod(azimuth, 360.0))[0] + 360.0)
    off_m = float(np.abs(distance - radius).max())
    if off_m > TOLERANCE_M or gaps.max() > 1.5 * 360.0 / n:
        return None
    # centimetres and millimetres: what people wrote comes back digit by digit
    x, y = round(float(centre[0]), 7) + 0.0, round(float(centre[1]), 7) + 0.0
    return off_m, (x, y, round(radius / 1000.0, 5))
