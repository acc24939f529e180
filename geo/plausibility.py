"""Coordinates that can be a place and are probably the wrong one, and how good a book's data are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geo.crs import FloatArray
from geo.exposure import exact_sum
from geo.oed import LocationRow

#: A place is doubted when it lies so many times further from its country's other locations than its mended twin.
_TIMES = 10.0
_LEAST_DEG = 3.0
_LEAST_ROWS = 5


@dataclass(frozen=True, slots=True)
class Doubt:
    """A location whose coordinates look wrong. It is told, and kept as it came."""

    line: int
    field: str
    reason: str


def doubtful_coordinates(line: Sequence[int], lon: FloatArray, lat: FloatArray, country: Sequence[str]) -> list[Doubt]:
    """Locations far from the rest of their country's in the book that a known slip would bring back among them.

    Slips tried: latitude and longitude exchanged, a lost sign, a decimal point moved by one or two digits. What stands
    far away without such a twin is left alone: books have islands. Countries with fewer than five placed locations are
    not judged.
    """
    found: list[Doubt] = []
    codes = np.asarray(country)
    placed = np.isfinite(lon) & np.isfinite(lat)
    for code in np.unique(codes[placed]):
        rows = np.flatnonzero(placed & (codes == code))
        if len(rows) < _LEAST_ROWS:
            continue
        x, y = lon[rows], lat[rows]
        x0, y0 = float(np.median(x)), float(np.median(y))
        spread = max(float(np.median(np.hypot(x - x0, y - y0))), 0.05)
        distance = np.hypot(x - x0, y - y0)
        suspects = np.flatnonzero((distance > _LEAST_DEG) & (distance > _TIMES * spread))
        for i in suspects.tolist():
            a, b = float(x[i]), float(y[i])
            twins = {
                "longitude and latitude look exchanged": (b, a),
                "the sign of the longitude looks lost": (-a, b),
                "the sign of the latitude looks lost": (a, -b),
                "both signs look lost": (-a, -b),
                **{
                    f"the decimal point of the {name} looks moved (times {factor:g} it fits)": pair
                    for factor in (0.01, 0.1, 10.0, 100.0)
                    for name, pair in (("longitude", (a * factor, b)), ("latitude", (a, b * factor)))
                },
            }
            best = min(twins, key=lambda why: np.hypot(twins[why][0] - x0, twins[why][1] - y0))
            near = float(np.hypot(twins[best][0] - x0, twins[best][1] - y0))
            if near * _TIMES < distance[i] and near < max(_LEAST_DEG, 3 * spread):
                where = "Longitude" if "longitude" in best or "both" in best else "Latitude"
                reason = f"{a:g}, {b:g} lies {distance[i]:.0f} degrees from the other locations in {code}: {best}"
                found.append(Doubt(int(line[int(rows[i])]), where, reason))
    return sorted(found, key=lambda doubt: doubt.line)


#: What a location's data are worth out of 100, by what a damage curve needs (stated weights of ours).
QUALITY_WEIGHTS: Mapping[str, int] = {
    "coordinates": 40,  # 4 decimals or more; half with fewer
    "OccupancyCode": 20,  # not blank, not 1000 (unknown)
    "ConstructionCode": 15,  # not blank, not 5000 (unknown)
    "NumberOfStoreys": 10,
    "YearBuilt": 10,
    "PostalCode or StreetAddress": 5,
}


@dataclass
class Quality:
    """Points of every location, and how many lack what."""

    #: (share of each point of QUALITY_WEIGHTS in its order) -> locations, hundredths of insured value
    found: dict[tuple[float, ...], list[int]] = field(default_factory=dict)

    def add(self, rows: Sequence[LocationRow]) -> None:
        """Counts locations."""
        if not rows:
            return
        lon = np.array([row.lon for row in rows], dtype=float)  # None becomes NaN
        lat = np.array([row.lat for row in rows], dtype=float)
        # trailing zeros are no precision
        precise = (np.round(lon, 3) != lon) & (np.round(lat, 3) != lat)
        shares = np.stack([
            np.where(np.isnan(lon), 0, np.where(precise, 2, 1)),
            [2 * (row.occupancy_code not in (None, 0, 1000)) for row in rows],
            [2 * (row.construction_code not in (None, 0, 5000)) for row in rows],
            [2 * (row.extra.get("NumberOfStoreys", "0") not in ("", "0", "-1", "-999")) for row in rows],
            [2 * (row.extra.get("YearBuilt", "0") not in ("", "0")) for row in rows],
            [2 * bool(row.extra.get("PostalCode") or row.extra.get("StreetAddress")) for row in rows],
        ])  # fmt: skip
        code = np.array([1, 3, 9, 27, 81, 243]) @ shares
        tiv = np.array([row.tiv_cents for row in rows], dtype=np.int64)
        for kind in np.unique(code):
            mine = code == kind
            of = self.found.setdefault(tuple((shares[:, mine.argmax()] / 2).tolist()), [0, 0])
            of[0] += int(mine.sum())
            of[1] += exact_sum(tiv[mine])

    def as_json(self) -> dict[str, Any]:
        """Mean score of 0 to 100 by location and by insured value; None without any."""
        n = points = tiv = weighted = 0.0
        lacking: dict[str, int] = {}
        for key, (count, cents) in self.found.items():
            score = sum(weight * share for weight, share in zip(QUALITY_WEIGHTS.values(), key, strict=True))
            n, points, tiv, weighted = n + count, points + count * score, tiv + cents, weighted + cents * score
            for name, share in zip(QUALITY_WEIGHTS, key, strict=True):
                if share < 1:
                    lacking[name] = lacking.get(name, 0) + count
        return {
            "score": round(points / n, 1) if n else None,
            "score_by_value": round(weighted / tiv, 1) if tiv else None,
            "lacking": dict(sorted(lacking.items())),
        }
