"""Stations and topics: who measures, and the name under which a reading travels.

A station's code is its owner's name for it, spaces and all. In a topic it stands as its *segment*: the code with every
run of white space turned into one underscore. Segments are unique within a tenant.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.errors import InvalidInput
from core.units import QUANTITIES

#: Tenant part of a topic for stations that are public.
PUBLIC = "public"

#: Quantity part of a topic whose SenML names say what each record is.
MIXED = "senml"

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SPACE = re.compile(r"\s+")


class BadTopic(InvalidInput):
    """This is not a topic for observations: tocsin/v1/{tenant}/obs/{station}/{quantity}."""


class BadStation(InvalidInput):
    """This station cannot be registered."""


def segment(code: str) -> str:
    """The code as it stands in a topic."""
    return _SPACE.sub("_", code.strip())


@dataclass(frozen=True, slots=True)
class Topic:
    """The parts of an observation topic."""

    tenant: str  #: slug, or "public"
    station: str  #: segment of the station's code
    quantity: str  #: a known quantity, or "senml": each record's name says it

    @classmethod
    def parse(cls, topic: str) -> "Topic":
        """Reads `tocsin/v1/{tenant}/obs/{station}/{quantity}`; raises BadTopic."""
        parts = topic.split("/")
        if len(parts) != 6 or parts[0] != "tocsin" or parts[1] != "v1" or parts[3] != "obs":
            raise BadTopic(topic=topic[:200])
        tenant, station, quantity = parts[2], parts[4], parts[5]
        if not _SLUG.fullmatch(tenant) or not station or segment(station) != station:
            raise BadTopic(topic=topic[:200])
        if quantity not in QUANTITIES and quantity != MIXED:
            raise BadTopic("This is not a quantity we know.", quantity=quantity[:80], known=sorted(QUANTITIES))
        return cls(tenant, station, quantity)

    def __str__(self) -> str:
        return f"tocsin/v1/{self.tenant}/obs/{self.station}/{self.quantity}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A place that measures."""

    code: str
    name: str
    lon: float | None = None
    lat: float | None = None
    river: str | None = None
    basin: str | None = None
    quantity: str = "level"
    interval_s: float = 600.0
    #: official levels, lowest first, in the stored unit: level name -> value; a replay makes rules of them
    official_levels: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, object] = field(
        default_factory=dict
    )  #: quality control, where it differs from the default

    def __post_init__(self) -> None:
        if not self.code.strip() or len(self.code) > 200:
            raise BadStation("A station needs a code of 1 to 200 characters.", code=self.code[:80])
        if any(c in self.code for c in "/+#\0"):
            raise BadStation("A station's code goes into a topic, so it cannot hold / + # or NUL.", code=self.code)
        if self.quantity not in QUANTITIES:
            raise BadStation("This is not a quantity we know.", code=self.code, quantity=self.quantity)
        if not 0 < self.interval_s < 32 * 86_400:
            raise BadStation("interval_s must lie between 0 and 32 days.", code=self.code, interval_s=self.interval_s)
        if (self.lon is None) != (self.lat is None):
            raise BadStation("lon and lat come together or not at all.", code=self.code)
        if self.lon is not None and not -180 <= self.lon <= 180:
            raise BadStation("lon must lie in [-180, 180].", code=self.code, lon=self.lon)
        if self.lat is not None and not -90 <= self.lat <= 90:
            raise BadStation("lat must lie in [-90, 90].", code=self.code, lat=self.lat)

    @property
    def segment(self) -> str:
        return segment(self.code)


#: Columns of a stations file that name the same thing.
_ALIASES = {
    "code": ("code", "station_code", "code_station", "station", "station_name", "name"),
    "name": ("name", "station_name"),
    "lon": ("lon", "longitude"),
    "lat": ("lat", "latitude"),
    "river": ("river",),
    "basin": ("basin",),
    "quantity": ("quantity",),
    "interval_s": ("interval_s",),
}

#: Columns with official levels, lowest first, and the level each stands for.
OFFICIAL_COLUMNS = {"alert_m": "alert", "minor_flood_m": "minor", "major_flood_m": "major"}


def _number(row: Mapping[str, str], column: str, line: int) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadStation("This is not a number.", line=line, column=column, value=text[:40]) from None
    if value != value or value in (float("inf"), float("-inf")):
        raise BadStation("This is not a finite number.", line=line, column=column, value=text[:40])
    return value


def stations_from_rows(rows: Iterable[Mapping[str, str]]) -> list[Station]:
    """Stations of a CSV file's rows (line 2 on); raises BadStation naming line and column.

    A code column (code, station_code, code_station, station, station_name or name) is needed; lon, lat, river, basin,
    quantity, interval_s and the official levels alert_m, minor_flood_m, major_flood_m may be there.
    """
    stations: list[Station] = []
    seen: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        found = {key: next((row[n] for n in names if row.get(n)), None) for key, names in _ALIASES.items()}
        code = found["code"]
        if code is None:
            raise BadStation("A stations file needs a column with the station's code.", line=line, columns=sorted(row))
        levels = {}
        for column, level in OFFICIAL_COLUMNS.items():
            value = _number(row, column, line)
            if value is not None:
                levels[level] = value
        if list(levels.values()) != sorted(levels.values()):
            raise BadStation("Official levels must rise: alert, minor, major.", line=line, code=code, levels=levels)
        interval = _number(row, "interval_s", line)
        station = Station(
            code=code.strip(),
            name=(found["name"] or code).strip(),
            lon=_number(row, next((n for n in _ALIASES["lon"] if n in row), "lon"), line),
            lat=_number(row, next((n for n in _ALIASES["lat"] if n in row), "lat"), line),
            river=found["river"],
            basin=found["basin"],
            quantity=found["quantity"] or "level",
            interval_s=600.0 if interval is None else interval,
            official_levels=levels,
        )
        if station.segment in seen:
            raise BadStation(
                "Two stations have the same name in a topic.", line=line, code=code, first_line=seen[station.segment]
            )
        seen[station.segment] = line
        stations.append(station)
    return stations
