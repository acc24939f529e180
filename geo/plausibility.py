"""Coordinates that can be a place and are probably the wrong one, and how good a book's data are."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from geo.codes import COUNTRIES, CURRENCIES
from geo.crs import BoolArray, FloatArray
from geo.exposure import IntArray, exact_sum
from geo.oed import LocationRow
from geo.perils import PERILS

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


#: Degrees by which a place may lie outside the bounds of its country: coasts are coarse in the table.
_SLACK_DEG = 1.0
_FAR_DEG = 5.0
_TOLD = 50  #: doubts of one kind that are told row by row; more of them are one doubt with a count


@cache
def _bounds() -> dict[str, tuple[float, float, float, float]]:
    text = (resources.files("geo") / "data" / "country_bounds.json").read_text(encoding="utf-8")
    return {code: tuple(box) for code, box in json.loads(text)["bounds"].items()}


def _inside(box: tuple[float, float, float, float], lon: FloatArray, lat: FloatArray, slack: float) -> BoolArray:
    west, south, east, north = box
    found: BoolArray = (lon >= west - slack) & (lon <= east + slack) & (lat >= south - slack) & (lat <= north + slack)
    return found


def outside_country(line: Sequence[int], lon: FloatArray, lat: FloatArray, country: Sequence[str]) -> list[Doubt]:
    """Places outside the bounds of the country that they name, with the slip that would bring them inside if one does.

    A whole file with exchanged axes is seen here, while `doubtful_coordinates` sees the row that differs from others.
    """
    found: list[Doubt] = []
    codes, of = np.unique(np.asarray(country, dtype=str), return_inverse=True)
    numbers = np.asarray(line)
    for number, code in enumerate(codes.tolist()):
        box = _bounds().get(code)
        rows = np.flatnonzero(of == number)
        if box is None or not len(rows):
            continue
        x, y = lon[rows], lat[rows]
        out = np.isfinite(x) & np.isfinite(y) & ~_inside(box, x, y, _SLACK_DEG)
        slips = {
            "longitude and latitude look exchanged": (y, x), "the sign of the longitude looks lost": (-x, y),
            "the sign of the latitude looks lost": (x, -y), "both signs look lost": (-x, -y),
        }  # fmt: skip
        left = out
        for why, (a, b) in slips.items():
            mine = left & _inside(box, a, b, 0.0)
            field_ = "Latitude" if why.endswith("latitude looks lost") else "Longitude"
            found += _told(numbers[rows], x, y, mine, field_, f"it is outside {code}: {why}")
            left = left & ~mine
        far = left & ~_inside(box, x, y, _FAR_DEG)
        found += _told(numbers[rows], x, y, far, "CountryCode", f"it is far outside {code}")
    return sorted(found, key=lambda doubt: doubt.line)


def _told(
    line: npt.NDArray[np.int64], lon: FloatArray, lat: FloatArray, where: BoolArray, name: str, why: str
) -> list[Doubt]:
    at = np.flatnonzero(where).tolist()
    told = [Doubt(int(line[i]), name, f"{lon[i]:g}, {lat[i]:g}: {why}") for i in at[:_TOLD]]
    if len(at) > _TOLD:
        told[-1] = Doubt(told[-1].line, name, f"{told[-1].reason}; and so in {len(at) - _TOLD:,} more rows below")
    return told


#: A value is doubted from this many times the median of its like, or below the median over this.
_VALUE_TIMES = 1e4
_CONTENTS_TIMES = 20.0


def doubtful_values(
    line: Sequence[int], building: IntArray, contents: IntArray, currency: Sequence[str], occupancy: IntArray
) -> list[Doubt]:
    """Insured values that are unlike the others: a building far from the median of its occupancy and currency, or
    contents worth many times their building (factories excepted). Amounts in hundredths."""
    found: list[Doubt] = []
    numbers = np.asarray(line)
    _, code = np.unique(np.asarray(currency, dtype=str), return_inverse=True)
    _, kind = np.unique(np.stack([code, occupancy], axis=1), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    insured = building > 0
    order = np.argsort(kind, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        rows = rows[insured[rows]]
        if len(rows) < _LEAST_ROWS:
            continue
        middle = float(np.median(building[rows]))
        times = building[rows] / middle
        odd = np.flatnonzero((times > _VALUE_TIMES) | (times < 1 / _VALUE_TIMES))
        for i in rows[odd][:_TOLD].tolist():
            found.append(
                Doubt(
                    int(numbers[i]), "BuildingTIV",
                    f"{building[i] / 100:.15g} is {building[i] / middle:.3g} times the median of its occupancy and "
                    f"currency in this book ({middle / 100:.15g})",
                )
            )  # fmt: skip
    industrial = (occupancy >= 1150) & (occupancy < 1200)
    much = np.flatnonzero(insured & ~industrial & (contents > _CONTENTS_TIMES * building.astype(float)))
    for i in much[:_TOLD].tolist():
        found.append(
            Doubt(int(numbers[i]), "ContentsTIV", f"it is {contents[i] / building[i]:.3g} times the building's value")
        )
    return sorted(found, key=lambda doubt: doubt.line)


@dataclass
class Codes:
    """Codes of currencies, countries and perils that are none, each with its first line and how often it stands."""

    seen: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, rows: Sequence[LocationRow]) -> None:
        for name, texts in (
            ("LocCurrency", [row.currency for row in rows]),
            ("CountryCode", [row.country_code for row in rows]),
            ("LocPerilsCovered", [row.perils for row in rows]),
        ):
            for text, n in Counter(texts).items():
                if (name, text) not in self.seen:
                    self.seen[(name, text)] = [rows[texts.index(text)].line, 0]
                self.seen[(name, text)][1] += n

    def doubtful(self) -> list[Doubt]:
        found = []
        for (name, text), (line, n) in self.seen.items():
            if name == "LocPerilsCovered":
                bad = [c.strip() for c in text.split(";") if c.strip() and c.strip().upper() not in PERILS]
                why = f"{bad[0]!r} is not an OED peril code" if bad else ""
            elif name == "LocCurrency":
                why = "" if text in CURRENCIES else f"{text!r} is not a currency of ISO 4217"
            else:
                why = "" if text in COUNTRIES else f"{text!r} is not a country code of OED"
            if why:
                found.append(Doubt(line, name, why + (f"; and so in {n - 1:,} more rows" if n > 1 else "")))
        return sorted(found, key=lambda doubt: (doubt.line, doubt.field))


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
