"""ATCF tracks of tropical cyclones (a-, b- and f-deck): tenths of degrees, several rows for one time.

A time has one row a wind radius (34, 50, 64 kt); they are put together. Wind is in knots, one-minute mean; pressure in
hPa; radii in nautical miles by quadrant (NRL, ATCF best track/objective aid format).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ingest.weather.items import BadFeed


@dataclass(slots=True, kw_only=True)
class Fix:
    """Where a cyclone was, or will be, at one time."""

    basin: str
    number: int
    technique: str  #: BEST, OFCL, or a model
    issued_at: datetime
    lead_h: int
    lon: float
    lat: float
    wind_kn: float | None
    pressure_hpa: float | None
    stage: str
    name: str = ""
    #: wind in kn -> radius in nautical miles NE, SE, SW, NW; none: not given
    radii_nmi: dict[int, tuple[float | None, float | None, float | None, float | None]] = field(default_factory=dict)

    @property
    def valid_at(self) -> datetime:
        return self.issued_at + timedelta(hours=self.lead_h)


def parse(body: bytes) -> list[Fix]:
    """Fixes in order, one a time and technique; raises BadFeed naming the line."""
    found: dict[tuple[str, datetime, int], Fix] = {}
    for n, line in enumerate(body.decode("ascii", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 8:
            raise BadFeed("A line of a track has at least eight fields.", line=n)
        try:
            at = datetime.strptime(cells[2], "%Y%m%d%H").replace(tzinfo=UTC)
            minutes = int(cells[3]) if cells[4] == "BEST" and cells[3].isdigit() else 0
            key = (cells[4], at + timedelta(minutes=minutes), int(cells[5] or 0))
            fix = found.get(key)
            if fix is None:
                fix = found[key] = Fix(
                    basin=cells[0], number=int(cells[1]), technique=cells[4], issued_at=key[1], lead_h=key[2],
                    lon=_degrees(cells[7], "E", "W"), lat=_degrees(cells[6], "N", "S"),
                    wind_kn=_positive(cells, 8), pressure_hpa=_positive(cells, 9), stage=_cell(cells, 10),
                )  # fmt: skip
            name = _cell(cells, 27)
            if name:
                fix.name = name
            threshold = _cell(cells, 11)
            if threshold.isdigit() and int(threshold) > 0:
                fix.radii_nmi[int(threshold)] = _quadrants(_cell(cells, 12), cells[13:17])
        except (ValueError, IndexError) as error:
            raise BadFeed(f"This line of a track cannot be read: {error}"[:160], line=n) from error
    return sorted(found.values(), key=lambda one: (one.issued_at, one.lead_h, one.technique))


def _cell(cells: Sequence[str], i: int) -> str:
    return cells[i] if i < len(cells) else ""


def _degrees(text: str, positive: str, negative: str) -> float:
    if text[-1] not in (positive, negative):
        raise ValueError(f"{text!r} does not end in {positive} or {negative}")
    value = int(text[:-1]) / 10
    lon = value if text[-1] == positive else -value
    if abs(lon) > (180 if positive == "E" else 90):
        raise ValueError(f"{text!r} lies off the earth")
    return lon


def _positive(cells: Sequence[str], i: int) -> float | None:
    text = _cell(cells, i)
    value = float(text) if text else 0.0
    return value if value > 0 else None  # 0 stands for not known


def _quadrants(code: str, cells: Sequence[str]) -> tuple[float | None, float | None, float | None, float | None]:
    values = [float(cell) if cell else 0.0 for cell in cells]
    values += [0.0] * (4 - len(values))
    if code == "AAA":  # a full circle, said once
        values = [values[0]] * 4
    ne, se, sw, nw = (value if value > 0 else None for value in values)
    return ne, se, sw, nw
