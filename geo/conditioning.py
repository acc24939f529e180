"""A footprint in the light of sensor readings: a Gaussian-process update of the logarithm of its intensity.

The footprint is the prior: its median at each place, with a standard deviation of ln(intensity). Departures from the
median are a Gaussian field whose correlation falls as exp(-h / L) with the great-circle distance h (positive definite
on the sphere: Gneiting (2013), Bernoulli 19:1327-1349). A reading is the field's value there times a lognormal error
of the sensor. The update is simple kriging with a measurement error: Rasmussen & Williams (2006), Gaussian Processes
for Machine Learning, eqs 2.23-2.24. A reading never replaces the footprint: with any error of the sensor the result
lies between the two, and far from sensors the footprint stays as it was.
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from core.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]

EARTH_RADIUS_KM = 6371.0
#: A reading further from the footprint than this many standard deviations is told as doubtful.
DOUBTFUL_SD = 4.0


class BadSensors(InvalidInput):
    """These readings cannot condition a footprint."""


def correlation(
    lon: FloatArray, lat: FloatArray, other_lon: FloatArray, other_lat: FloatArray, length_km: float
) -> FloatArray:
    """(n, m) correlation of the departures at n places with those at m others: exp(-distance / length)."""
    lam, phi, other_lam, other_phi = (np.radians(v) for v in (lon, lat, other_lon, other_lat))
    # haversine: exact for small distances too
    h = (
        np.sin((phi[:, None] - other_phi) / 2.0) ** 2
        + np.cos(phi)[:, None] * np.cos(other_phi) * np.sin((lam[:, None] - other_lam) / 2.0) ** 2
    )
    distance_km = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0)))
    found: FloatArray = np.exp(-distance_km / length_km)
    return found


def condition(
    *,
    lon: FloatArray,
    lat: FloatArray,
    median: FloatArray,
    sigma_ln: FloatArray,
    sensor_lon: FloatArray,
    sensor_lat: FloatArray,
    sensor_median: FloatArray,
    sensor_sigma_ln: FloatArray,
    reading: FloatArray,
    error_ln: float | FloatArray,
    correlation_km: float,
    chunk: int = 20_000,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(median, sigma of ln, standardised departure of each reading) after the readings.

    Parameters
    ----------
    lon, lat, median, sigma_ln : (n,) places with the footprint's median (> 0) and sigma of its logarithm; a place whose
        median is 0 or unknown stays as it is
    sensor_* : (m,) the same at the sensors, read from the same footprint
    reading : (m,) in the unit of the median; NaN where a sensor is silent: it says nothing
    error_ln : standard deviation of the logarithm of a reading's error, > 0; one for all, or (m,)
    correlation_km : distance over which the correlation falls to 1/e, > 0

    Raises
    ------
    BadSensors : a reading or a parameter that is not above 0.

    Notes
    -----
    The departure is (ln reading - ln median) / sqrt(sigma^2 + error^2): beyond about 4 the reading or the footprint is
    wrong, and the update should not be believed.
    """
    error = np.broadcast_to(np.asarray(error_ln, dtype=float), reading.shape)
    for name, values in (("sensor error", error), ("correlation length", np.array([correlation_km]))):
        if not (np.isfinite(values) & (values > 0.0)).all():
            value = values[~(np.isfinite(values) & (values > 0.0))][0]
            raise BadSensors(f"{name}: {value:g} is not above zero; a reading is never taken as exact")
    if (reading <= 0.0).any():
        at = int(np.argmax(reading <= 0.0))
        raise BadSensors(f"reading {at + 1}: {reading[at]:g} is not above zero")
    usable = np.isfinite(reading) & np.isfinite(sensor_sigma_ln) & (np.nan_to_num(sensor_median) > 0.0)
    departure = np.full(len(reading), np.nan)
    after, spread = median.astype(float).copy(), sigma_ln.astype(float).copy()
    s = np.flatnonzero(usable)
    if not len(s):
        return after, spread, departure
    residual = np.log(reading[s]) - np.log(sensor_median[s])
    departure[s] = residual / np.hypot(sensor_sigma_ln[s], error[s])
    sd = sensor_sigma_ln[s]
    x, y = sensor_lon[s], sensor_lat[s]
    prior = correlation(x, y, x, y, correlation_km) * sd[:, None] * sd
    factor = cho_factor(prior + np.diag(error[s] ** 2))
    weight = cho_solve(factor, residual)
    rows = np.flatnonzero((np.nan_to_num(median) > 0.0) & np.isfinite(sigma_ln))
    for first in range(0, len(rows), chunk):
        r = rows[first : first + chunk]
        cross = correlation(lon[r], lat[r], x, y, correlation_km) * sigma_ln[r][:, None] * sd
        after[r] = median[r] * np.exp(cross @ weight)
        removed = np.einsum("ij,ji->i", cross, cho_solve(factor, cross.T))
        spread[r] = np.sqrt(np.maximum(sigma_ln[r] ** 2 - removed, 0.0))
    return after, spread, departure
