"""GCJ-02 and BD-09, the shifted coordinates of Chinese maps, to WGS84.

The shift of GCJ-02 is secret in law and known in practice: the formula and its constants are those of the widely used
open re-implementations (for example github wandergis/coordtransform, MIT). They reproduce the maps to about a metre.
BD-09 is Baidu's further shift of GCJ-02. The inverses are iterated, so that there and back is the same place.
"""

import numpy as np

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray

DATUMS = ("wgs84", "gcj02", "bd09")
_A_M = 6378245.0  # Krasovsky 1940 semi-major axis
_EE = 0.00669342162296594323
_X_PI = np.pi * 3000.0 / 180.0


class UnknownDatum(InvalidInput):
    """This datum is not known."""


def _outside(lon: FloatArray, lat: FloatArray) -> BoolArray:
    """Where the shift is not applied: outside a box around China."""
    found: BoolArray = (lon < 72.004) | (lon > 137.8347) | (lat < 0.8293) | (lat > 55.8271)
    return found


def wgs84_to_gcj02(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Degrees in, degrees out; unchanged outside China."""
    x, y = lon - 105.0, lat - 35.0
    wave = (20.0 * np.sin(6.0 * x * np.pi) + 20.0 * np.sin(2.0 * x * np.pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x)) + wave
    north += (20.0 * np.sin(y * np.pi) + 40.0 * np.sin(y / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(y / 12.0 * np.pi) + 320.0 * np.sin(y * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x)) + wave
    east += (20.0 * np.sin(x * np.pi) + 40.0 * np.sin(x / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(x / 12.0 * np.pi) + 300.0 * np.sin(x / 30.0 * np.pi)) * 2.0 / 3.0
    phi = np.radians(lat)
    magic = 1.0 - _EE * np.sin(phi) ** 2
    d_lat = np.degrees(north / (_A_M * (1.0 - _EE) / (magic * np.sqrt(magic))))
    d_lon = np.degrees(east / (_A_M / np.sqrt(magic) * np.cos(phi)))
    out = _outside(lon, lat)
    return np.where(out, lon, lon + d_lon), np.where(out, lat, lat + d_lat)


def gcj02_to_bd09(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Baidu's shift of GCJ-02."""
    z = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _X_PI)
    theta = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _X_PI)
    return z * np.cos(theta) + 0.0065, z * np.sin(theta) + 0.006


def to_wgs84(lon: FloatArray, lat: FloatArray, datum: str) -> tuple[FloatArray, FloatArray]:
    """Degrees of the declared datum as WGS84 degrees; raises UnknownDatum. NaN stays NaN."""
    if datum not in DATUMS:
        raise UnknownDatum(f"datum: {datum!r} is none of {', '.join(DATUMS)}")
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    if datum == "wgs84":
        return lon, lat
    x, y = lon.copy(), lat.copy()
    for _ in range(12):
        a, b = wgs84_to_gcj02(x, y)
        if datum == "bd09":
            a, b = gcj02_to_bd09(a, b)
        x, y = x + (lon - a), y + (lat - b)
    if datum == "gcj02":
        out = _outside(lon, lat)
        x, y = np.where(out, lon, x), np.where(out, lat, y)
    return x, y
