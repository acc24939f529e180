"""NASA FIRMS active fires: HHMM without a zone is UTC; confidence is a number (MODIS) or l, n, h (VIIRS)."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.weather.items import BadFeed, a_number, a_place

_LETTERS = {"l": "low", "n": "nominal", "h": "high", "low": "low", "nominal": "nominal", "high": "high"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """One pixel that burns."""

    lon: float
    lat: float
    seen_at: datetime
    satellite: str
    confidence: str  #: low, nominal, high (MODIS: below 30, below 80, from 80 %)
    frp_mw: float | None  #: fire radiative power
    scan_km: float | None
    track_km: float | None


def parse(body: bytes) -> list[Fire]:
    """The fires of a CSV; raises BadFeed naming the line and column."""
    table = csv.DictReader(body.decode("utf-8-sig").splitlines())
    needed = {"latitude", "longitude", "acq_date", "acq_time", "confidence"}
    if not needed <= set(table.fieldnames or ()):
        raise BadFeed("Columns are missing.", columns=sorted(needed - set(table.fieldnames or ())))
    found = []
    for line, row in enumerate(table, start=2):
        where = f"line {line}"
        lon, lat = a_place(row["longitude"], row["latitude"], where)
        clock = row["acq_time"].strip().replace(":", "").zfill(4)  # 20 is twenty past midnight
        try:
            at = datetime.strptime(f"{row['acq_date']} {clock}", "%Y-%m-%d %H%M").replace(tzinfo=UTC)
        except ValueError as error:
            raise BadFeed(f"This time cannot be read: {error}", where=where) from error
        found.append(
            Fire(
                lon=lon,
                lat=lat,
                seen_at=at,
                satellite=row.get("satellite") or "",
                confidence=_confidence(row["confidence"], where),
                frp_mw=_maybe(row.get("frp"), where),
                scan_km=_maybe(row.get("scan"), where),
                track_km=_maybe(row.get("track"), where),
            )
        )
    return found


def _maybe(text: str | None, where: str) -> float | None:
    return a_number(text, where) if text else None


def _confidence(text: str, where: str) -> str:
    word = _LETTERS.get(text.strip().lower())
    if word is not None:
        return word
    value = a_number(text, f"{where}, confidence")
    if not 0 <= value <= 100:
        raise BadFeed("A confidence is a percentage or one of l, n, h.", where=where, given=text)
    return "low" if value < 30 else "nominal" if value < 80 else "high"
