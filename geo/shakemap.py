"""Ground shaking at points from a USGS ShakeMap grid, and damage by HAZUS's equivalent-PGA fragility.

Shaking is interpolated bilinearly in its logarithm. Its uncertainty is the grid's sigma of ln(PGA).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from scipy.special import ndtr

from core.errors import InvalidInput
from geo.hazus_fragility import BETA, MEDIANS_G

FloatArray = npt.NDArray[np.float64]


class BadShakeMap(InvalidInput):
    """This is not a usable ShakeMap grid."""


class UnknownFragility(InvalidInput):
    """This building type and seismic code level are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShakeMap:
    """A grid of peak ground acceleration. Rows run from south to north, columns from west to east."""

    event_id: str
    version: str
    magnitude: float
    lon: FloatArray  #: (n_lon,) degrees
    lat: FloatArray  #: (n_lat,)
    pga_g: FloatArray  #: (n_lat, n_lon), > 0
    sigma_ln: FloatArray  #: (n_lat, n_lon) standard deviation of ln(PGA); NaN where the grid has none


#: A ShakeMap's acceleration is in percent of g; older grids leave the unit empty and mean the same.
_PERCENT_G = ("pctg", "%g", "")


def read_shakemap(text: bytes, file: str = "grid.xml") -> ShakeMap:
    """The grid of a grid.xml document; raises BadShakeMap with the file, the field and the reason."""
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, DefusedXmlException) as error:
        raise BadShakeMap(f"{file}: not readable XML: {error}") from error
    tag = root.tag.rsplit("}", 1)[0] + "}" if "}" in root.tag else ""
    if root.tag != f"{tag}shakemap_grid":
        raise BadShakeMap(f"{file}: the document is {root.tag!r} and not a shakemap_grid")
    spec, event, data = (root.find(f"{tag}{name}") for name in ("grid_specification", "event", "grid_data"))
    if spec is None or event is None or data is None:
        raise BadShakeMap(f"{file}: lacks event, grid_specification or grid_data")
    fields = {
        one.get("name", "").upper(): (int(one.get("index", "0")) - 1, one.get("units", "").strip().lower())
        for one in root.findall(f"{tag}grid_field")
    }
    for name in ("LON", "LAT", "PGA"):
        if name not in fields:
            raise BadShakeMap(f"{file}: has no field {name}")
    unit = fields["PGA"][1]
    if unit not in (*_PERCENT_G, "g"):
        raise BadShakeMap(f"{file}: PGA: unit {unit!r} is neither percent of g nor g")
    try:
        values = np.array((data.text or "").split(), dtype=float)
        n_lon, n_lat = int(spec.get("nlon", "")), int(spec.get("nlat", ""))
        magnitude = float(event.get("magnitude", "nan"))
    except ValueError as error:
        raise BadShakeMap(f"{file}: a number cannot be read: {error}") from error
    if n_lon < 2 or n_lat < 2 or values.size != n_lon * n_lat * len(fields):
        raise BadShakeMap(
            f"{file}: grid_data: {values.size} numbers where {n_lon} x {n_lat} nodes of {len(fields)} fields stand"
        )
    table = values.reshape(n_lat, n_lon, len(fields))[::-1]  # the file begins in the north-west
    lon, lat = table[0, :, fields["LON"][0]], table[:, 0, fields["LAT"][0]]
    if not ((np.diff(lon) > 0).all() and (np.diff(lat) > 0).all()):
        raise BadShakeMap(f"{file}: grid_data: nodes are not in rows from the north-west")
    pga = table[:, :, fields["PGA"][0]] / (1.0 if unit == "g" else 100.0)
    if not np.isfinite(pga).all() or (pga < 0.0).any() or pga.max() > 5.0:
        raise BadShakeMap(f"{file}: PGA: a value is negative, not finite or above 5 g")
    sigma = table[:, :, fields["STDPGA"][0]] if "STDPGA" in fields else np.full(pga.shape, math.nan)
    return ShakeMap(
        event_id=event.get("event_id", ""),
        version=root.get("shakemap_version", ""),
        magnitude=magnitude,
        lon=lon,
        lat=lat,
        pga_g=np.maximum(pga, 1e-5),
        sigma_ln=sigma,
    )


def shaking_at(shake: ShakeMap, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(median PGA in g, sigma of ln PGA) at points; NaN outside the grid. Bilinear in ln(PGA)."""
    lon = np.where(lon < shake.lon[0] - 180.0, lon + 360.0, lon)
    with np.errstate(invalid="ignore"):
        inside = (lon >= shake.lon[0]) & (lon <= shake.lon[-1]) & (lat >= shake.lat[0]) & (lat <= shake.lat[-1])
    x, y = np.where(inside, lon, shake.lon[0]), np.where(inside, lat, shake.lat[0])
    i = np.clip(np.searchsorted(shake.lon, x, side="right") - 1, 0, len(shake.lon) - 2)
    j = np.clip(np.searchsorted(shake.lat, y, side="right") - 1, 0, len(shake.lat) - 2)
    u = (x - shake.lon[i]) / (shake.lon[i + 1] - shake.lon[i])
    v = (y - shake.lat[j]) / (shake.lat[j + 1] - shake.lat[j])

    def between(grid: FloatArray) -> FloatArray:
        south = grid[j, i] * (1 - u) + grid[j, i + 1] * u
        north = grid[j + 1, i] * (1 - u) + grid[j + 1, i + 1] * u
        found: FloatArray = np.where(inside, south * (1 - v) + north * v, np.nan)
        return found

    return np.exp(between(np.log(shake.pga_g))), between(shake.sigma_ln)


#: Repair cost over building value at slight, moderate, extensive and complete structural damage.
LOSS_RATIO = (0.02, 0.10, 0.50, 1.00)


def damage_ratio(pga_g: FloatArray, sigma_ln: FloatArray, kind: str, code: str) -> FloatArray:
    """Expected loss ratio at a median PGA with its uncertainty; NaN where the shaking is unknown.

    The shaking's sigma adds to the fragility's beta in quadrature, which is exact for two lognormal laws; an unknown
    sigma counts as none. Raises UnknownFragility.
    """
    medians = MEDIANS_G.get((kind.upper(), code.lower()))
    if medians is None:
        named = any(a == kind.upper() for a, _ in MEDIANS_G)
        known = ", ".join(f"{a}:{b}" for a, b in MEDIANS_G if a == kind.upper() or not named)
        raise UnknownFragility(f"fragility {kind}:{code} is not known; there are {known}")
    spread = np.hypot(BETA, np.nan_to_num(sigma_ln))
    exceeded = [ndtr(np.log(pga_g / median) / spread) for median in medians]
    steps = np.diff(np.array([0.0, *LOSS_RATIO]))
    total: FloatArray = sum((p * step for p, step in zip(exceeded, steps, strict=True)), np.zeros_like(pga_g))
    return total
