"""Tropical cyclone wind from a track: Holland 1980, 2008 and 2010 profiles with the storm's own motion.

H80: Holland (1980), An analytic model of the wind and pressure profiles in hurricanes, MWR 108:1212-1218.
H08: Holland (2008), A revised hurricane pressure-wind model, MWR 136:3432-3445.
H10: Holland, Belanger & Fritz (2010), A revised model for radial profiles of hurricane winds, MWR 138:4393-4401.
Every speed is 1-minute sustained, 10 m above an open surface, in m/s. No surface roughness, no inflow angle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator

from core.errors import InvalidInput
from geo._compiled_wind import EARTH_RADIUS_M, STEP_COLUMNS, max_wind

FloatArray = npt.NDArray[np.float64]
Model = Literal["H80", "H08", "H10"]
MODELS: tuple[Model, ...] = ("H80", "H08", "H10")

KNOT_M_S = 1852.0 / 3600.0
NMILE_M = 1852.0
RHO_AIR_KG_M3 = 1.15
#: Surface wind over gradient wind.
GRADIENT_TO_SURFACE = 0.9
_OMEGA = 7.292115e-5  # rad/s
_MAX_TRANSLATION_M_S = 30.0 * KNOT_M_S
#: 10-minute over 1-minute sustained wind at sea: Harper, Kepert & Ginger (2010), WMO/TD-No. 1555, table 1.1.
TEN_MINUTE_OVER_ONE_MINUTE = 0.93
DEFAULT_REACH_KM = 1000.0
#: No tropical cyclone is further from the equator, degrees.
FURTHEST_LAT = 66.0


class BadTrack(InvalidInput):
    """This is not a usable storm track."""


class UnknownModel(InvalidInput):
    """This wind model is not known."""


@dataclass(frozen=True, slots=True)
class Track:
    """Fixes of one storm in the order of time; every array is (n_fixes,)."""

    time_s: FloatArray  #: seconds since 1970, UTC, strictly rising
    lon: FloatArray  #: degrees, -180..180
    lat: FloatArray
    vmax_m_s: FloatArray  #: 1-minute sustained maximum; NaN where unknown
    pc_hpa: FloatArray  #: central pressure
    penv_hpa: FloatArray  #: pressure around the storm
    rmw_m: FloatArray  #: radius of maximum wind
    n_rmw_estimated: int = 0


def one_minute(speed: FloatArray, averaging_min: int) -> FloatArray:
    """A sustained speed averaged over `averaging_min` minutes (1 or 10), as a 1-minute one."""
    if averaging_min == 1:
        return speed
    if averaging_min == 10:
        return speed / TEN_MINUTE_OVER_ONE_MINUTE
    raise InvalidInput(f"averaging period {averaging_min} min: a sustained wind is averaged over 1 or 10 minutes")


def estimate_rmw_nmile(pc_hpa: FloatArray) -> FloatArray:
    """Radius of maximum wind in nautical miles from central pressure, where an agency gives none.

    Piecewise linear fit to IBTrACS storms with a reported radius (knots of the fit as published with CLIMADA 6.1,
    `estimate_rmw`); constant beyond its ends. The scatter of real storms around it is about a factor of two.
    """
    radius: FloatArray = np.interp(pc_hpa, (872.0, 940.0, 980.0, 1021.0), (14.907, 15.727, 25.742, 56.857))
    return radius


def pressure_from_wind_hpa(vmax_kt: FloatArray, penv_hpa: FloatArray) -> FloatArray:
    """Central pressure in hPa from a 1-minute maximum wind in knots, where an agency gives none; NaN stays NaN.

    Atkinson & Holliday (1977), MWR 105:421-427: v = 6.7 (1010 - p)^0.644, with the pressure around the storm in place
    of 1010 hPa. Made for the western North Pacific; elsewhere it is an estimate.
    """
    found: FloatArray = penv_hpa - (np.maximum(vmax_kt, 0.0) / 6.7) ** (1.0 / 0.644)
    return found


def make_track(
    *,
    times: list[datetime],
    lon: FloatArray,
    lat: FloatArray,
    vmax_kt: FloatArray,
    pc_hpa: FloatArray,
    penv_hpa: FloatArray,
    rmw_nmile: FloatArray,
    averaging_min: int = 1,
    check_plausible: bool = True,
    lines: Sequence[int] | None = None,
) -> Track:
    """A track in SI units from an agency's numbers; raises BadTrack, which names the fix and the reason.

    A missing radius (NaN, 0 or less) is estimated. `check_plausible` holds wind against pressure, which tells m/s and
    km/h from knots for storms with a marked pressure fall. `lines` are the fixes' lines in a file, for errors.
    """
    if not times:
        raise BadTrack("track: no fixes")
    time_s = np.array([moment.timestamp() for moment in times])
    lon = np.where(lon > 180.0, lon - 360.0, np.asarray(lon, dtype=float))
    for i, moment in enumerate(times):
        fault = _fix_fault(float(lon[i]), float(lat[i]), float(vmax_kt[i]), float(pc_hpa[i]), float(penv_hpa[i]))
        if fault is None and rmw_nmile[i] > 300.0:
            fault = f"rmw_nmile: {rmw_nmile[i]:g} nautical miles is wider than any storm's: are these km or m?"
        if fault is None and i and time_s[i] <= time_s[i - 1]:
            fault = "time: not later than the fix before"
        if fault is not None:
            where = f"track, fix {i + 1}" if lines is None else f"line {lines[i]}"
            raise BadTrack(f"{where} ({moment:%Y-%m-%d %H:%M}): {fault}")
    missing = ~(rmw_nmile > 0.0)
    track = Track(
        time_s=time_s,
        lon=lon,
        lat=np.asarray(lat, dtype=float),
        vmax_m_s=one_minute(vmax_kt * KNOT_M_S, averaging_min),
        pc_hpa=np.asarray(pc_hpa, dtype=float),
        penv_hpa=np.asarray(penv_hpa, dtype=float),
        rmw_m=np.where(missing, estimate_rmw_nmile(pc_hpa), rmw_nmile) * NMILE_M,
        n_rmw_estimated=int(missing.sum()),
    )
    speed = np.hypot(*_raw_translation(track))
    if (speed > 60.0).any():
        at = int(np.argmax(speed > 60.0))
        raise BadTrack(
            f"track, fix {at + 1} ({times[at]:%Y-%m-%d %H:%M}): lat, lon: the centre would have moved at "
            f"{speed[at]:.0f} m/s; time or coordinates are wrong"
        )
    if check_plausible:
        _check_wind_against_pressure(track)
    return track


def _fix_fault(lon: float, lat: float, vmax_kt: float, pc_hpa: float, penv_hpa: float) -> str | None:
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return "lat, lon: a fix needs both"
    if abs(lat) > FURTHEST_LAT:
        return f"lat: {lat:g} is beyond any tropical cyclone; are lat and lon swapped?"
    if abs(lon) > 180.0:
        return f"lon: {lon:g} is out of -180..360"
    if vmax_kt < 0.0 or vmax_kt > 200.0:
        return f"vmax_kt: {vmax_kt:g} knots is beyond any storm's; is it in km/h?"
    for name, value in (("pc_hpa", pc_hpa), ("penv_hpa", penv_hpa)):
        if not math.isfinite(value):
            return f"{name}: missing; the model needs the pressure"
        if not 850.0 <= value <= 1050.0:
            return f"{name}: {value:g} hPa is no pressure of a storm; are these Pa, inHg or mmHg?"
    return None


def _check_wind_against_pressure(track: Track) -> None:
    deep = (track.penv_hpa - track.pc_hpa >= 20.0) & np.isfinite(track.vmax_m_s)
    if not deep.any():
        return
    b = float(np.median(_implied_b(track)[deep]))
    if b < 0.55 or b > 4.5:
        guess = "m/s" if b < 0.55 else "km/h"
        raise BadTrack(
            f"track: vmax_kt: wind and pressure do not belong together (Holland's B would be {b:.2f}, nature has about "
            f"1 to 2.5); is the wind in {guess}?"
        )


def _unit_vectors(lon: FloatArray, lat: FloatArray) -> FloatArray:
    lam, phi = np.radians(lon), np.radians(lat)
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def _frames(track: Track) -> tuple[FloatArray, FloatArray]:
    """Unit vectors to the east and north at each fix, (n_fixes, 3) each."""
    lam, phi = np.radians(track.lon), np.radians(track.lat)
    east = np.column_stack([-np.sin(lam), np.cos(lam), np.zeros(len(lam))])
    north = np.column_stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    return east, north


def _raw_translation(track: Track) -> tuple[FloatArray, FloatArray]:
    """Motion to the east and north at each fix, m/s: from the fix before; the first moves as the second."""
    n = len(track.time_s)
    if n == 1:
        return np.zeros(1), np.zeros(1)
    centre = _unit_vectors(track.lon, track.lat)
    east, north = _frames(track)
    step = np.diff(track.time_s)
    ahead = centre[1:] - centre[:-1]
    arc = 2.0 * np.arcsin(np.clip(np.linalg.norm(ahead, axis=1) / 2.0, 0.0, 1.0)) * EARTH_RADIUS_M
    # Direction on departure, from the fix before: the azimuth of the great circle there.
    to_east, to_north = (ahead * east[:-1]).sum(axis=1), (ahead * north[:-1]).sum(axis=1)
    length = np.maximum(np.hypot(to_east, to_north), 1e-15)
    u, v = to_east / length * arc / step, to_north / length * arc / step
    return np.concatenate([u[:1], u]), np.concatenate([v[:1], v])


def translation(track: Track) -> tuple[FloatArray, FloatArray]:
    """Motion of the storm to the east and north at each fix, m/s, its speed held to 30 kt."""
    u, v = _raw_translation(track)
    speed = np.hypot(u, v)
    held = np.minimum(1.0, _MAX_TRANSLATION_M_S / np.maximum(speed, 1e-9))
    return u * held, v * held


def _implied_b(track: Track) -> FloatArray:
    """Holland's B from the maximum wind and the pressure fall (1980, eq. 7), before it is held to its bounds."""
    u, v = translation(track)
    gradient = np.maximum(0.0, track.vmax_m_s - np.hypot(u, v)) / GRADIENT_TO_SURFACE
    dp_pa = 100.0 * np.maximum(track.penv_hpa - track.pc_hpa, 1e-9)
    return gradient**2 * math.e * RHO_AIR_KG_M3 / dp_pa


def holland_2008_b(track: Track) -> FloatArray:
    """Surface shape parameter b_s of Holland (2008), eq. 11, held to (1, 2.5) x 0.81.

    Pressure fall in hPa, its change in hPa/h, motion in m/s, latitude in degrees.
    """
    u, v = translation(track)
    dp = np.maximum(track.penv_hpa - track.pc_hpa, 0.0)
    change = np.zeros(len(dp))
    if len(dp) > 1:
        change[1:] = np.diff(track.pc_hpa) / (np.diff(track.time_s) / 3600.0)
        change[0] = change[1]
    x = 0.6 * (1.0 - dp / 215.0)
    b = -4.4e-5 * dp**2 + 0.01 * dp + 0.03 * change - 0.014 * np.abs(track.lat) + 0.15 * np.hypot(u, v) ** x + 1.0
    return np.clip(b, GRADIENT_TO_SURFACE**2, 2.5 * GRADIENT_TO_SURFACE**2)


def resample(track: Track, step_s: float) -> Track:
    """The track with fixes at most `step_s` seconds apart; the given fixes stay.

    Positions follow an Akima spline of the unit vector (no jump at the antimeridian), all else is linear in time.
    """
    if not (math.isfinite(step_s) and step_s > 0.0):
        raise InvalidInput(f"step: {step_s:g} s is not a time step")
    gaps = np.diff(track.time_s)
    if not len(gaps) or gaps.max() <= step_s * 1.0001:
        return track
    pieces = [
        np.linspace(a, b, max(1, math.ceil((b - a) / step_s - 1e-6)), endpoint=False)
        for a, b in zip(track.time_s[:-1], track.time_s[1:], strict=True)
    ]
    time_s = np.concatenate([*pieces, track.time_s[-1:]])
    centre = _unit_vectors(track.lon, track.lat)
    if len(track.time_s) >= 3:
        at = Akima1DInterpolator(track.time_s, centre, axis=0)(time_s)
    else:
        at = np.column_stack([np.interp(time_s, track.time_s, centre[:, k]) for k in range(3)])
    at /= np.linalg.norm(at, axis=1)[:, None]

    def linear(values: FloatArray) -> FloatArray:
        found: FloatArray = np.interp(time_s, track.time_s, values)
        return found

    return Track(
        time_s=time_s,
        lon=np.degrees(np.arctan2(at[:, 1], at[:, 0])),
        lat=np.degrees(np.arcsin(np.clip(at[:, 2], -1.0, 1.0))),
        vmax_m_s=linear(track.vmax_m_s),
        pc_hpa=linear(track.pc_hpa),
        penv_hpa=linear(track.penv_hpa),
        rmw_m=linear(track.rmw_m),
        n_rmw_estimated=track.n_rmw_estimated,
    )


def steps_table(track: Track, model: Model) -> FloatArray:
    """(n_fixes, 19) numbers the compiled loop needs, in the order of STEP_COLUMNS."""
    u, v = translation(track)
    dp_pa = 100.0 * np.maximum(track.penv_hpa - track.pc_hpa, 0.0)
    vmax = np.zeros(len(u))
    x_slope = np.zeros(len(u))
    if model == "H80":
        if np.isnan(track.vmax_m_s).any():
            at = int(np.argmax(np.isnan(track.vmax_m_s)))
            raise BadTrack(f"track, fix {at + 1}: vmax_kt: missing; model H80 needs it (H08 and H10 do not)")
        b = np.clip(_implied_b(track), 1.0, 2.5)
    else:
        b = holland_2008_b(track)
    peak = np.sqrt(b / (RHO_AIR_KG_M3 * math.e) * dp_pa)  # cyclostrophic maximum, Holland (1980) eq. 8
    if model == "H80":
        peak = peak * GRADIENT_TO_SURFACE
    if model == "H10":
        vmax = peak
        # Exponent x: 0.5 within the radius, then linear to what gives 17 m/s at 300 km (2010, eq. 6 solved for x).
        outer_m, outer_m_s = 300_000.0, 17.0
        ratio = (track.rmw_m / outer_m) ** b
        fall = np.log(ratio) + 1.0 - ratio
        with np.errstate(divide="ignore", invalid="ignore"):
            x_outer = np.log(outer_m_s / vmax) / np.minimum(fall, -1e-12)
        x_outer = np.nan_to_num(x_outer, nan=0.5, posinf=0.5, neginf=0.5)  # without a pressure fall: no wind at all
        x_slope = (x_outer - 0.5) / np.maximum(outer_m - track.rmw_m, 1.0)
    east, north = _frames(track)
    columns = {
        "b": b,
        "pressure_term": b / RHO_AIR_KG_M3 * dp_pa,
        "radius_m": track.rmw_m,
        "half_coriolis": _OMEGA * np.abs(np.sin(np.radians(track.lat))),
        "vmax_m_s": vmax,
        "x_slope": x_slope,
        "east_m_s": u,
        "north_m_s": v,
        "spin": np.where(track.lat < 0.0, -1.0, 1.0),  # counter-clockwise in the north
        "peak_m_s": peak + np.hypot(u, v),  # a bound: none of the field is windier
        "included_m_s": np.zeros(len(u)) if model == "H80" else np.hypot(u, v),
    }
    centre = _unit_vectors(track.lon, track.lat)
    first = np.column_stack([centre, east[:, :2], north])
    table = np.column_stack([first, *(columns[name] for name in STEP_COLUMNS[8:])])
    return np.ascontiguousarray(table)


def max_wind_m_s(
    track: Track, lon: FloatArray, lat: FloatArray, *, model: Model = "H08", reach_km: float = DEFAULT_REACH_KM
) -> FloatArray:
    """(n_points,) largest 1-minute surface wind of the storm at WGS84 points, m/s.

    0 where the centre never came within `reach_km`. Memory is O(points + fixes): no points x steps array is made.
    Points are on their own: any chunking gives the same numbers. Raises UnknownModel, BadTrack.
    """
    if model not in MODELS:
        raise UnknownModel(model=model, known=list(MODELS))
    scale = GRADIENT_TO_SURFACE if model == "H80" else 1.0
    points = np.ascontiguousarray(_unit_vectors(np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)))
    found: FloatArray = max_wind(points, steps_table(track, model), model != "H10", scale, reach_km * 1000.0)
    return found


def check_points_near(track: Track, lon: FloatArray, lat: FloatArray, within_km: float = 1500.0) -> None:
    """Raises InvalidInput where no point is near the storm but the points with lon and lat exchanged would be."""

    def any_near(points: FloatArray) -> bool:
        cos_limit = math.cos(within_km * 1000.0 / EARTH_RADIUS_M)
        centre = _unit_vectors(track.lon, track.lat)
        return any(bool((points @ one).max() >= cos_limit) for one in centre)

    turnable = np.abs(lon) <= 90.0
    if not len(lon) or not turnable.any() or any_near(_unit_vectors(lon, lat)):
        return
    if any_near(_unit_vectors(lat[turnable], lon[turnable])):
        raise InvalidInput("points: lat, lon: none is near the storm, exchanged they are: lat and lon look swapped")
