"""USGS water data: NWIS JSON (WaterML) and the same series as rows. Feet and cubic feet; -999999 is no value.

Qualifiers: P provisional, A approved, e estimated, Ice, Eqp, and others; what is not approved may change. Times carry
the site's own offset.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ingest.weather.items import BadFeed, Measured, a_list, a_number, a_time, an_object, read_json

#: parameter code -> (quantity, unit)
PARAMETERS = {
    "00065": ("level", "ft"),
    "00060": ("discharge", "ft3/s"),
    "00045": ("rain", "in"),
    "00010": ("temperature", "Cel"),
}
_NO_VALUE = -999999.0
#: qualifiers with which a number stands for something else than the water
_NOT_WATER = frozenset({"ice", "eqp", "bkw", "mnt", "dis", "ssn", "***", "rat", "zfl"})


def parse(body: bytes) -> list[Measured]:
    """Readings of an answer of the instantaneous or daily service; an empty answer is none. Raises BadFeed."""
    value = an_object(an_object(read_json(body), "answer").get("value"), "value")
    found: list[Measured] = []
    for n, series in enumerate(a_list(value.get("timeSeries"), "timeSeries")):
        where = f"timeSeries[{n}]"
        source = an_object(an_object(series, where).get("sourceInfo"), f"{where}.sourceInfo")
        code = str(a_list(source.get("siteCode"), f"{where}.siteCode")[0].get("value"))
        variable = an_object(series.get("variable"), f"{where}.variable")
        parameter = str(a_list(variable.get("variableCode"), f"{where}.variableCode")[0].get("value"))
        if parameter not in PARAMETERS:
            continue
        quantity, unit = PARAMETERS[parameter]
        no_value = a_number(variable.get("noDataValue", _NO_VALUE), f"{where}.noDataValue")
        place: Mapping[str, Any] = (source.get("geoLocation") or {}).get("geogLocation") or {}
        zone = _offset(source)
        for group in a_list(series.get("values"), f"{where}.values"):
            for m, one in enumerate(a_list(an_object(group, where).get("value"), f"{where}.value")):
                here = f"{where}.value[{m}]"
                number = a_number(one.get("value"), here)
                notes = _qualifiers(one.get("qualifiers"))
                missing = number in (no_value, _NO_VALUE) or bool({q.lower() for q in notes} & _NOT_WATER)
                found.append(
                    Measured(
                        code=code,
                        name=str(source.get("siteName") or code),
                        lon=place.get("longitude"),
                        lat=place.get("latitude"),
                        quantity=quantity,
                        unit=unit,
                        observed_at=a_time(one.get("dateTime"), here, zone=zone),
                        value=None if missing else number,
                        note=",".join(notes),
                        provisional="A" not in notes,
                    )
                )
    return found


def _offset(source: Mapping[str, Any]) -> Any:
    """Daily values carry no offset of their own; the site's zone stands beside them."""
    zone = (source.get("timeZoneInfo") or {}).get("defaultTimeZone") or {}
    told = zone.get("zoneOffset")
    return datetime.fromisoformat(f"2000-01-01T00:00:00{told}").tzinfo if told else None


def _qualifiers(given: Any) -> list[str]:
    if isinstance(given, str):
        return [one.strip() for one in given.split(",") if one.strip()]
    return [str(one) for one in given or []]


def rows(table: Iterable[Mapping[str, str]], *, code: str, name: str = "") -> list[Measured]:
    """Rows with time_utc, gage_height_ft, discharge_cfs and their `_qual` columns; raises BadFeed with the line."""
    found: list[Measured] = []
    for line, row in enumerate(table, start=2):
        at = a_time(row.get("time_utc"), f"line {line}", zone=UTC)
        for column, quantity, unit in (("gage_height_ft", "level", "ft"), ("discharge_cfs", "discharge", "ft3/s")):
            text = (row.get(column) or "").strip()
            if not text:
                continue
            value = a_number(text, f"line {line}, {column}")
            notes = _qualifiers((row.get(f"{column}_qual") or "").replace('"', ""))
            missing = value == _NO_VALUE or bool({q.lower() for q in notes} & _NOT_WATER)
            found.append(
                Measured(
                    code=code, name=name or code, quantity=quantity, unit=unit, observed_at=at,
                    value=None if missing else value, note=",".join(notes), provisional="A" not in notes,
                )
            )  # fmt: skip
    return found


def rating(body: bytes) -> list[tuple[float, float]]:
    """(stage in feet, discharge in cubic feet a second) of a rating table in RDB, rising; raises BadFeed."""
    found: list[tuple[float, float]] = []
    heads: list[str] | None = None
    for n, raw in enumerate(body.decode("utf-8", "replace").splitlines(), start=1):
        if raw.startswith("#") or not raw.strip():
            continue
        cells = raw.split("\t")
        if heads is None:
            heads = cells
            if "INDEP" not in heads or "DEP" not in heads:
                raise BadFeed("A rating table has the columns INDEP and DEP.", line=n)
            continue
        if cells[0].endswith(("N", "S", "D")) and cells[0][:-1].isdigit():
            continue  # the line with widths
        found.append(
            (a_number(cells[heads.index("INDEP")], f"line {n}"), a_number(cells[heads.index("DEP")], f"line {n}"))
        )
    if [one[0] for one in found] != sorted(one[0] for one in found):
        raise BadFeed("The stages of a rating table must rise.")
    return found
