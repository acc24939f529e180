"""Hub'Eau, French river levels: millimetres and litres a second; every real-time row has quality 16, not qualified.

Codes of qualification (SANDRE 515): 0 neutral, 12 doubtful, 16 not qualified, 20 good. The step of a station changes
between 5, 10 and 60 minutes.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from ingest.weather.items import Measured, a_list, a_number, a_time, an_object, read_json

_QUANTITIES = {"H": ("level", "mm"), "Q": ("discharge", "l/s")}


def parse(body: bytes) -> list[Measured]:
    """Readings of an answer of `observations_tr`; raises BadFeed."""
    data = a_list(an_object(read_json(body), "answer").get("data"), "data")
    return [one for n, row in enumerate(data) if (one := _one(an_object(row, f"data[{n}]"), f"data[{n}]")) is not None]


def _one(row: Mapping[str, Any], where: str) -> Measured | None:
    quantity, unit = _QUANTITIES.get(str(row.get("grandeur_hydro")), (None, None))
    if quantity is None or unit is None:
        return None
    result = row.get("resultat_obs")
    return Measured(
        code=str(row.get("code_station")),
        lon=row.get("longitude"),
        lat=row.get("latitude"),
        quantity=quantity,
        unit=unit,
        observed_at=a_time(row.get("date_obs"), where),
        value=None if result is None else a_number(result, where),
        note=str(row.get("code_qualification_obs") or ""),
        provisional=row.get("code_qualification_obs") in (None, 0, 16),
    )


def rows(table: Iterable[Mapping[str, str]]) -> list[Measured]:
    """Rows with code_station, time_utc, level_mm and code_qualification_obs; raises BadFeed with the line."""
    found = []
    for line, row in enumerate(table, start=2):
        text = (row.get("level_mm") or "").strip()
        code = (row.get("code_qualification_obs") or "").strip()
        found.append(
            Measured(
                code=row["code_station"],
                quantity="level",
                unit="mm",
                observed_at=a_time(row.get("time_utc"), f"line {line}", zone=UTC),
                value=a_number(text, f"line {line}, level_mm") if text else None,
                note=code,
                provisional=code in ("", "0", "16"),
            )
        )
    return found
