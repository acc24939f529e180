"""What people report of the water in their homes, in the light of which a footprint's depths are read. Pure.

A report is a depth above the first floor with its declared error and weight. It conditions the footprint as a sensor's
reading does (geo/conditioning.py), with two differences: its variance is divided by its weight, and "no water inside"
is not a depth but an upper bound: it only counts where the footprint says that the floor is under water. A report never
makes a place wet that the footprint leaves dry, nor the other way round: that is told, for people to decide.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import InvalidInput
from geo.conditioning import DOUBTFUL_SD, condition
from geo.crs import BoolArray, FloatArray
from geo.hazard_field import HIT, OUTSIDE, GridField, IntStatus, PolygonField

#: Distance over which departures of depth correlate by 1/e. Judgement: no published value was found; a street or two.
CORRELATION_KM = 0.5
#: Reports that are used at most, the newest ones: the update solves a system of their number.
MAX_REPORTS = 2_000
_SMALLEST_M = 0.01


class BadReports(InvalidInput):
    """These reports cannot be used."""


@dataclass(frozen=True)
class Reports:
    """Depths that people told, one row each."""

    lon: FloatArray
    lat: FloatArray
    inside_m: FloatArray  #: above the first floor; 0: no water inside
    error_m: FloatArray  #: standard deviation of it, > 0
    floor_m: FloatArray  #: first floor above ground
    floor_error_m: FloatArray
    weight: FloatArray  #: in (0, 1], against a surveyed value

    def __post_init__(self) -> None:
        rows = {len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(rows) > 1:
            raise BadReports(f"reports: columns of {sorted(rows)} rows")
        if not ((self.weight > 0) & (self.weight <= 1) & (self.error_m > 0) & (self.inside_m >= 0)).all():
            raise BadReports("reports: a depth below 0, an error of 0 or a weight outside 0..1")

    def __len__(self) -> int:
        return len(self.lon)

    def above_ground_m(self) -> FloatArray:
        """(n,) depth above ground."""
        found: FloatArray = np.maximum(self.inside_m + self.floor_m, _SMALLEST_M)
        return found

    def error_ln(self) -> FloatArray:
        """(n,) standard deviation of the logarithm: that of a lognormal with this mean and variance."""
        variance = (self.error_m**2 + self.floor_error_m**2) / self.weight
        found: FloatArray = np.sqrt(np.log1p(variance / self.above_ground_m() ** 2))
        return found


@dataclass(frozen=True)
class ReportedField:
    """A footprint's depths in the light of reports; has the shape of a hazard field."""

    prior: PolygonField | GridField
    reports: Reports

    @property
    def unit(self) -> str:
        return self.prior.unit

    def _read(self) -> tuple[FloatArray, FloatArray, FloatArray, IntStatus, BoolArray]:
        """(median, sigma, reading, status, doubtful) at the reports; NaN where a report says nothing here."""
        median, sigma, status = self.prior.at(self.reports.lon, self.reports.lat)
        reading = self.reports.above_ground_m().astype(float)
        # dry inside: the water stands at the floor at most, which the footprint may say already
        agrees = (self.reports.inside_m <= 0.0) & (median <= reading)
        reading = np.where((status == HIT) & ~agrees, reading, np.nan)
        far = np.abs(np.log(np.where(np.isfinite(reading), reading, 1.0) / np.where(median > 0, median, 1.0)))
        with np.errstate(invalid="ignore"):
            doubtful = np.isfinite(reading) & (far > DOUBTFUL_SD * np.hypot(sigma, self.reports.error_ln()))
        return median, sigma, np.where(doubtful, np.nan, reading), status, doubtful

    def at(self, lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray, IntStatus]:
        """(intensity, sigma of its logarithm, status), each (n,); status is the footprint's own."""
        value, sigma, status = self.prior.at(lon, lat)
        median, sigma_there, reading, _, _ = self._read()
        if not np.isfinite(reading).any():
            return value, sigma, status
        hit = status == HIT
        after, spread = value.copy(), sigma.astype(float).copy()
        after[hit], spread[hit], _ = condition(
            lon=lon[hit], lat=lat[hit], median=value[hit], sigma_ln=sigma[hit],
            sensor_lon=self.reports.lon, sensor_lat=self.reports.lat, sensor_median=median,
            sensor_sigma_ln=sigma_there, reading=reading, error_ln=self.reports.error_ln(),
            correlation_km=CORRELATION_KM,
        )  # fmt: skip
        return after, spread, status

    def told(self) -> dict[str, Any]:
        """What became of the reports: `n_water_where_dry` is water inside homes that the footprint leaves out."""
        _, _, reading, status, doubtful = self._read()
        used, inside = np.isfinite(reading), self.reports.inside_m > 0.0
        agrees = (status == HIT) & ~inside & ~used & ~doubtful
        dry_out = (status == OUTSIDE) & ~inside
        return {
            "n": len(self.reports),
            "n_used": int(used.sum()),
            "n_agree": int((agrees | dry_out).sum()),
            "n_water_where_dry": int(((status == OUTSIDE) & inside).sum()),
            "n_doubtful": int(doubtful.sum()),
            "n_outside_grid": int(((status != HIT) & (status != OUTSIDE)).sum()),
            "correlation_km": CORRELATION_KM,
        }
