"""A stochastic tropical cyclone set: historical tracks resampled, moved and made weaker or stronger.

Each historical storm gives the same number of children, the first of them the storm as it was. A child's track is the
parent's, displaced by a first shift and by a walk whose velocity error is a first-order autoregressive process; its
pressure fall is multiplied by a lognormal factor of mean 1, its winds by the root of it (Holland 1980, eq. 8: the wind
grows with the root of the pressure fall). Every child happens 1 / (years of record x children) times a year, so the set
keeps the record's frequency. In the spirit of Emanuel et al. (2006), BAMS 87:299-314 and the directed random walk of
Kleppek et al. (2008); the numbers below are stated assumptions, not fits: docs/methods/event-set.md has the limits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.errors import InvalidInput
from geo.wind import FURTHEST_LAT, FloatArray, Track

#: No storm on record was deeper (Tip 1979: 870 hPa).
DEEPEST_HPA = 870.0
_EARTH_RADIUS_M = 6_371_000.0


class BadRecord(InvalidInput):
    """This historical record cannot make an event set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """How far children depart from their storm. Every figure is a stated assumption."""

    shift_km: float = 75.0  #: standard deviation of the first displacement, in each direction
    velocity_m_s: float = 1.0  #: stationary standard deviation of the walk's velocity error, in each direction
    memory_h: float = 24.0  #: time in which the velocity error forgets itself by 1/e
    intensity_ln: float = 0.15  #: standard deviation of ln of the factor on the pressure fall

    def __post_init__(self) -> None:
        for name in ("shift_km", "velocity_m_s", "intensity_ln"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise BadRecord(f"{name}: {value:g} is not zero or more")
        if not (math.isfinite(self.memory_h) and self.memory_h > 0.0):
            raise BadRecord(f"memory_h: {self.memory_h:g} is not above zero")


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the set."""

    event_id: str  #: storm/child; child 0 is the storm as it was
    track: Track
    rate_per_year: float


def displaced(track: Track, east_m: FloatArray, north_m: FloatArray) -> Track:
    """The track with each centre moved along the sphere by so many metres; past a pole or the antimeridian too."""
    lam, phi = np.radians(track.lon), np.radians(track.lat)
    distance = np.hypot(east_m, north_m)
    angle, azimuth = distance / _EARTH_RADIUS_M, np.arctan2(east_m, north_m)
    lat = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(azimuth))
    lon = lam + np.arctan2(np.sin(azimuth) * np.sin(angle) * np.cos(phi), np.cos(angle) - np.sin(phi) * np.sin(lat))
    return replace(
        track,
        lon=(np.degrees(lon) + 180.0) % 360.0 - 180.0,
        # a storm stays on its side of the equator: its rotation belongs to it
        lat=np.where(track.lat >= 0.0, 1.0, -1.0)
        * np.clip(np.where(track.lat >= 0.0, 1.0, -1.0) * np.degrees(lat), 0.5, FURTHEST_LAT),
    )


def child(track: Track, how: Perturbation, rng: np.random.Generator) -> Track:
    """One perturbed copy of a storm."""
    n = len(track.time_s)
    step = np.diff(track.time_s)
    shift = rng.normal(0.0, how.shift_km * 1000.0, size=2)
    velocity = rng.normal(0.0, how.velocity_m_s, size=2)
    moved = np.zeros((n, 2))
    moved[0] = shift
    noise = rng.normal(size=(n, 2))
    for k in range(1, n):
        moved[k] = moved[k - 1] + velocity * step[k - 1]
        keep = math.exp(-step[k - 1] / (how.memory_h * 3600.0))
        velocity = keep * velocity + math.sqrt(1.0 - keep * keep) * how.velocity_m_s * noise[k]
    factor = math.exp(rng.normal(-0.5 * how.intensity_ln**2, how.intensity_ln))
    fall = track.penv_hpa - track.pc_hpa
    # one factor for the storm: the deepest fix decides how far it can go
    factor = min(factor, *((track.penv_hpa - DEEPEST_HPA)[fall > 0.0] / fall[fall > 0.0]).tolist(), math.inf)
    there = displaced(track, moved[:, 0], moved[:, 1])
    return replace(
        there, pc_hpa=track.penv_hpa - factor * fall, vmax_m_s=np.minimum(track.vmax_m_s * math.sqrt(factor), 100.0)
    )


def stochastic_set(
    storms: Sequence[tuple[str, Track]],
    *,
    years_of_record: float,
    per_storm: int,
    rng: np.random.Generator,
    how: Perturbation | None = None,
) -> list[Event]:
    """Events from the storms of a record that is complete over `years_of_record`; raises BadRecord.

    The same rng state gives the same set.
    """
    how = how or Perturbation()
    if not storms:
        raise BadRecord("record: there are no storms in it")
    if not (math.isfinite(years_of_record) and years_of_record > 0.0):
        raise BadRecord(f"years of record: {years_of_record:g} is not above zero")
    if per_storm < 1:
        raise BadRecord(f"children of a storm: {per_storm} is less than 1")
    span_years = (max(t.time_s[-1] for _, t in storms) - min(t.time_s[0] for _, t in storms)) / (365.25 * 86400.0)
    if span_years > years_of_record + 1.0:
        raise BadRecord(
            f"years of record: {years_of_record:g}, but its storms lie {span_years:.1f} years apart: the "
            "frequency would be too high"
        )
    rate = 1.0 / (years_of_record * per_storm)
    return [
        Event(f"{name}/{number}", track if number == 0 else child(track, how, rng), rate)
        for name, track in storms
        for number in range(per_storm)
    ]


def event_losses(
    events: Sequence[Event], loss_of: Callable[[Track], float], tick: Callable[[], None] = lambda: None
) -> FloatArray:
    """(n_events,) loss of each event."""
    found = np.zeros(len(events))
    for i, event in enumerate(events):
        found[i] = loss_of(event.track)
        tick()
    return found
