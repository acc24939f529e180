"""Where on earth: checks of longitude and latitude, declared coordinate systems, and metres.

Everything inside is WGS84 (EPSG:4326) with `lon, lat` in degrees. Other systems are converted once, at the edge.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

WGS84 = 4326
_A_M = 6_378_137.0  # WGS84 semi-major axis
_E2 = 6.69437999014e-3  # WGS84 first eccentricity squared


class UnknownReferenceSystem(InvalidInput):
    """This coordinate reference system is not known."""


class BadCoordinates(InvalidInput):
    """These are not a longitude and a latitude in degrees."""


def coordinate_fault(lon: float, lat: float) -> str | None:
    """Why (lon, lat) cannot be a place, or None when it can."""
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return "not a finite number"
    if -180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0:
        if lon == 0.0 and lat == 0.0:
            return (
                "0, 0 lies in the Gulf of Guinea and stands for no place; leave both empty where the place is unknown"
            )
        return None
    if abs(lat) > 90.0 and abs(lat) <= 180.0 and abs(lon) <= 90.0:
        return f"latitude {lat:g} is out of -90..90: longitude and latitude look swapped"
    if abs(lat) > 90.0:
        return f"latitude {lat:g} is out of -90..90"
    return f"longitude {lon:g} is out of -180..180"


@lru_cache(maxsize=16)
def _transformer(epsg: int):  # type: ignore[no-untyped-def]  # pyproj.Transformer, imported where it is used
    from pyproj import Transformer
    from pyproj.exceptions import CRSError

    try:
        return Transformer.from_crs(epsg, WGS84, always_xy=True)
    except CRSError as error:
        raise UnknownReferenceSystem(epsg=epsg) from error


def to_wgs84(x: FloatArray, y: FloatArray, epsg: int) -> tuple[FloatArray, FloatArray]:
    """Easting and northing (or lon and lat) of the declared EPSG system as WGS84 lon, lat in degrees.

    Raises UnknownReferenceSystem; BadCoordinates where a point is outside the system's reach.
    """
    if epsg == WGS84:
        return x, y
    lon, lat = _transformer(epsg).transform(x, y)
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    lost = np.isinf(lon) | np.isinf(lat)
    if lost.any():
        at = int(np.argmax(lost))
        raise BadCoordinates("A point lies outside its coordinate system", epsg=epsg, index=at, x=float(x[at]))
    return lon, lat


@dataclass(frozen=True, slots=True)
class LocalPlane:
    """Metres east and north of a point: the tangent plane of the ellipsoid, by its two radii of curvature.

    Good to about 1 part in 10,000 within 50 km of the point and away from the poles, which is what choosing the
    nearest road and showing metres need. Lengths that are added up use `geodesic_m`.
    """

    lon0: float
    lat0: float

    @property
    def _scale(self) -> tuple[float, float]:
        s = math.sin(math.radians(self.lat0))
        w = math.sqrt(1.0 - _E2 * s * s)
        prime_vertical = _A_M / w
        meridian = _A_M * (1.0 - _E2) / w**3
        return (
            math.radians(1.0) * prime_vertical * math.cos(math.radians(self.lat0)),
            math.radians(1.0) * meridian,
        )

    def forward(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
        """x, y in metres; longitude differences are taken the short way round."""
        kx, ky = self._scale
        dlon = (np.asarray(lon, dtype=float) - self.lon0 + 180.0) % 360.0 - 180.0
        return dlon * kx, (np.asarray(lat, dtype=float) - self.lat0) * ky

    def inverse(self, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """lon, lat in degrees."""
        kx, ky = self._scale
        return self.lon0 + np.asarray(x, dtype=float) / kx, self.lat0 + np.asarray(y, dtype=float) / ky


def geodesic_m(lon1: FloatArray, lat1: FloatArray, lon2: FloatArray, lat2: FloatArray) -> FloatArray:
    """(n,) metres on the WGS84 ellipsoid (Karney 2013, through PROJ)."""
    from pyproj import Geod

    _, _, metres = Geod(ellps="WGS84").inv(lon1, lat1, lon2, lat2)
    return np.asarray(metres, dtype=float)
