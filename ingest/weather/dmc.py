"""Sri Lanka: bulletins of the Disaster Management Centre, and levels of the Irrigation Department.

The bulletin's times are Colombo's without an offset beside seconds since 1970, which must agree. Its levels are metres:
Nagalagam Street is read in feet at the gauge and was converted by the feed, so it must not be converted again. Names
are spelt in other ways than in the Irrigation Department's list.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone

from ingest.weather.items import BadFeed, Measured, a_list, a_number, a_time, an_object, read_json

COLOMBO = timezone(timedelta(hours=5, minutes=30))


def parse(body: bytes) -> list[Measured]:
    """Levels (now, not the one before) and rain of a bulletin; raises BadFeed."""
    found: list[Measured] = []
    for n, row in enumerate(a_list(an_object(read_json(body), "bulletin").get("d_list"), "d_list")):
        where = f"d_list[{n}]"
        told = an_object(row, where)
        name = str(told.get("gauging_station_name") or "").strip()
        at = datetime.fromtimestamp(a_number(told.get("time_ut"), f"{where}.time_ut"), UTC)
        written = a_time(str(told.get("time_str")), f"{where}.time_str", zone=COLOMBO)
        if at != written:
            raise BadFeed(
                "The bulletin gives two times.", where=where, time_str=told.get("time_str"), time_ut=at.isoformat()
            )
        note = str(told.get("remarks") or "")
        level, rain = told.get("current_water_level"), told.get("rainfall_mm")
        found.append(
            Measured(
                code=name, name=name, quantity="level", unit="m", observed_at=at, note=note,
                value=None if level is None else a_number(level, f"{where}.current_water_level"),
            )
        )  # fmt: skip
        if rain is not None:
            found.append(
                Measured(code=name, name=name, quantity="rain", unit="mm", observed_at=at, value=a_number(rain, where))
            )
    return found


def rows(table: Iterable[Mapping[str, str]]) -> list[Measured]:
    """Rows with station_name, time_utc, water_level_m; raises BadFeed with the line."""
    return [
        Measured(
            code=row["station_name"],
            quantity="level",
            unit="m",
            observed_at=a_time(row.get("time_utc"), f"line {line}", zone=UTC),
            value=a_number(row["water_level_m"], f"line {line}") if row.get("water_level_m") else None,
        )
        for line, row in enumerate(table, start=2)
    ]


def spelt_alike(name: str) -> str:
    """A key under which spellings of one station meet: letters only, doubled letters and final vowels dropped."""
    letters = re.sub(r"[^a-z]", "", name.lower().replace("w", "v").replace("th", "t").replace("dh", "d"))
    return re.sub(r"(.)\1+", r"\1", letters).rstrip("aeiou")
