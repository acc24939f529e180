"""Storm tracks from files: ATCF decks, IBTrACS CSV and our plain CSV, each with one storm or an ensemble.

ATCF: Naval Research Laboratory, Automated Tropical Cyclone Forecasting System, "ATCF database format" (best track and
forecast records). IBTrACS: NOAA NCEI, version 4 column documentation. Winds are turned to 1-minute ones by the
averaging period that belongs to the agency; a period that has no published factor here is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.errors import InvalidInput
from geo.point_files import BadTable, Table, read_table
from geo.wind import FURTHEST_LAT, BadTrack, Track, make_track, pressure_from_wind_hpa

#: Pressure around a storm where a record has none, hPa, by basin: the defaults that CLIMADA 6.1 uses.
ENVIRONMENT_HPA = {"NA": 1010.0, "EP": 1010.0, "SA": 1010.0, "NI": 1005.0, "SI": 1005.0, "WP": 1005.0, "SP": 1004.0}
#: ATCF basin -> the same basin as IBTrACS names it.
_ATCF_BASINS = {"AL": "NA", "EP": "EP", "CP": "EP", "WP": "WP", "IO": "NI", "SH": "SI", "SL": "SA", "LS": "SA"}
#: Minutes over which the agencies of IBTrACS average; others than 1 and 10 have no factor in WMO/TD-No. 1555 at sea.
AGENCY_MINUTES = {
    "usa": 1, "hurdat_atl": 1, "hurdat_epa": 1, "atcf": 1, "cphc": 1, "tcvightals": 1,
    "tokyo": 10, "bom": 10, "nadi": 10, "wellington": 10, "reunion": 10, "hko": 10, "kma": 10, "cma": 2, "newdelhi": 3,
}  # fmt: skip
T = TypeVar("T")
_ATCF_LINE = re.compile(r"^\s*[A-Z]{2},\s*\w{2},\s*\d{10},")


class UnknownStorm(InvalidInput):
    """The file does not hold this storm, or holds several."""


@dataclass(frozen=True, slots=True)
class Member:
    """One track of a file, and what about it was estimated."""

    name: str
    track: Track
    n_pressure_estimated: int = 0
    n_environment_assumed: int = 0


@dataclass(slots=True)
class _Fixes:
    """Fixes of one track as they are collected; None where a record has no value."""

    line: list[int] = field(default_factory=list)
    time: list[datetime] = field(default_factory=list)
    lat: list[float] = field(default_factory=list)
    lon: list[float] = field(default_factory=list)
    vmax_kt: list[float] = field(default_factory=list)
    pc_hpa: list[float] = field(default_factory=list)
    penv_hpa: list[float] = field(default_factory=list)
    rmw_nmile: list[float] = field(default_factory=list)

    def member(self, name: str, file: str, averaging_min: int, environment_hpa: float, check: bool) -> Member:
        """The track with what is missing filled in: pressure from wind, pressure around by basin, radius later."""
        vmax, pc, penv = (np.array(v, dtype=float) for v in (self.vmax_kt, self.pc_hpa, self.penv_hpa))
        no_environment = ~(penv > 0.0)
        penv = np.where(no_environment, environment_hpa, penv)
        no_pressure = ~(pc > 0.0)
        one_minute_kt = vmax if averaging_min == 1 else vmax / 0.93
        pc = np.where(no_pressure, pressure_from_wind_hpa(one_minute_kt, penv), pc)
        if np.isnan(pc).any():
            at = int(np.argmax(np.isnan(pc)))
            raise BadTrack(f"{file}: line {self.line[at]}: {name}: neither pressure nor wind is given")
        try:
            track = make_track(
                times=self.time,
                lon=np.array(self.lon),
                lat=np.array(self.lat),
                vmax_kt=vmax,
                pc_hpa=pc,
                # a closed isobar that is deeper than the centre means: no pressure fall
                penv_hpa=np.maximum(penv, pc),
                rmw_nmile=np.array(self.rmw_nmile, dtype=float),
                averaging_min=averaging_min,
                check_plausible=check,
                lines=self.line,
            )
        except BadTrack as error:
            raise BadTrack(f"{file}: {name}: {error.message}") from error
        return Member(name, track, int(no_pressure.sum()), int(no_environment.sum()))


def read_tracks(
    path: Path,
    *,
    storm: str | None = None,
    agency: str | None = None,
    averaging_min: int | None = None,
    penv_hpa: float | None = None,
    check: bool = True,
    several_storms: bool = False,
) -> list[Member]:
    """The tracks of a file: one, or the members of an ensemble of the same storm. The format is told from the content.

    A folder holds one file for each member. `averaging_min` says over which minutes the winds are averaged where the
    file does not; ATCF decks hold 1-minute winds. `several_storms` takes a catalogue of different storms. Raises
    BadTable, BadTrack, UnknownStorm, each with the line where there is one.
    """
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        if not files:
            raise BadTable(f"{path.name}: the folder is empty")
        found = []
        for file in files:
            inner = read_tracks(
                file, storm=storm, agency=agency, averaging_min=averaging_min, penv_hpa=penv_hpa, check=check,
                several_storms=several_storms,
            )  # fmt: skip
            found += [
                Member(
                    f"{file.stem}:{one.name}" if len(inner) > 1 else file.stem,
                    one.track,
                    one.n_pressure_estimated,
                    one.n_environment_assumed,
                )
                for one in inner
            ]
        return found
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file_:
            first = file_.readline()
    except OSError as error:
        raise BadTable(f"{path.name}: {error.strerror}") from error
    if _ATCF_LINE.match(first):
        if averaging_min not in (None, 1):
            raise InvalidInput(f"{path.name}: ATCF decks hold 1-minute winds, not {averaging_min}-minute ones")
        return _atcf(path, storm, penv_hpa, check, several_storms)
    table_names = [name.strip().strip('"').lower() for name in first.split(",")]
    if "sid" in table_names and "iso_time" in table_names:
        return _ibtracs(path, storm, agency, averaging_min, penv_hpa, check, several_storms)
    return _plain(path, storm, averaging_min or 1, penv_hpa, check)


# -------------------------------------------------------------------- our own CSV
def _plain(path: Path, storm: str | None, averaging_min: int, penv_hpa: float | None, check: bool) -> list[Member]:
    """time, lat, lon, vmax_kt, pc_hpa, penv_hpa, rmw_nmile, and `member` where it holds an ensemble."""
    table = read_table(path, ("time", "lat", "lon", "pc_hpa", *(() if penv_hpa is not None else ("penv_hpa",))))
    if "vmax_kt" not in table.columns:
        other = [name for name in table.columns if name.startswith(("vmax", "wind"))]
        raise BadTable(f"{path.name}: no column vmax_kt (knots)" + (f"; {other[0]} is another unit" if other else ""))
    penv = table.numbers("penv_hpa", blank=penv_hpa is not None)
    lat, lon = table.numbers("lat"), table.numbers("lon")
    vmax, rmw = table.numbers("vmax_kt", blank=True), table.numbers("rmw_nmile", blank=True)
    pc = table.numbers("pc_hpa")
    names = table.text("member") if "member" in table.columns else [path.stem] * len(table.rows)
    found: dict[str, _Fixes] = {}
    for i, text in enumerate(table.text("time")):
        if "member" in table.columns and not names[i]:
            raise BadTable(f"{path.name}: line {table.line(i)}: member: is empty")
        fixes = found.setdefault(names[i], _Fixes())
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise BadTable(f"{path.name}: line {table.line(i)}: time: {text!r} is not an ISO 8601 time") from None
        fixes.line.append(table.line(i))
        fixes.time.append(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
        fixes.lat.append(float(lat[i]))
        fixes.lon.append(float(lon[i]))
        fixes.vmax_kt.append(float(vmax[i]))
        fixes.pc_hpa.append(float(pc[i]))
        fixes.penv_hpa.append(float(penv[i]))
        fixes.rmw_nmile.append(float(rmw[i]))
    environment = 1010.0 if penv_hpa is None else penv_hpa
    if storm is not None:
        found = _chosen(path, found, storm)
    members = []
    for name, fixes in found.items():
        if any(not v > 0.0 for v in fixes.pc_hpa):
            at = next(i for i, v in enumerate(fixes.pc_hpa) if not v > 0.0)
            raise BadTrack(f"{path.name}: line {fixes.line[at]}: pc_hpa: {fixes.pc_hpa[at]:g} is no pressure")
        members.append(fixes.member(name, path.name, averaging_min, environment, check))
    return members


# -------------------------------------------------------------------- ATCF
def _atcf(path: Path, storm: str | None, penv_hpa: float | None, check: bool, several: bool) -> list[Member]:
    """Best tracks (technique BEST) by storm; without any, the forecasts of the newest cycle by technique."""
    best: dict[str, _Fixes] = {}
    forecasts: dict[tuple[str, datetime], dict[str, _Fixes]] = {}
    titles: dict[str, str] = {}
    basins: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise BadTable(f"{path.name}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < 9:
            raise BadTable(f"{path.name}: line {number}: {len(cells)} fields; an ATCF record has at least 9")
        where = f"{path.name}: line {number}"
        cycle = _atcf_time(cells[2], where)
        code = f"{cells[0]}{cells[1]}{cycle.year}"
        basins[code] = _ATCF_BASINS.get(cells[0], "")
        if len(cells) > 27 and cells[27] and cells[27] not in ("INVEST", "NONAME"):
            titles[code] = cells[27]
        technique = cells[4]
        if technique == "BEST":
            minutes = int(cells[3]) if cells[3].isdigit() else 0
            moment = cycle + timedelta(minutes=minutes)
            fixes = best.setdefault(code, _Fixes())
        else:
            if not cells[5].lstrip("-").isdigit():
                raise BadTable(f"{where}: TAU: {cells[5]!r} is not a number of hours")
            tau = int(cells[5])
            if tau < 0 or technique == "CARQ":
                continue
            moment = cycle + timedelta(hours=tau)
            fixes = forecasts.setdefault((code, cycle), {}).setdefault(technique, _Fixes())
        if fixes.time and moment == fixes.time[-1]:
            continue  # the same fix again, with another wind radius
        lat, lon = _atcf_degrees(cells[6], "LAT", where), _atcf_degrees(cells[7], "LON", where)
        if (lat == 0.0 and lon == 0.0) or abs(lat) > FURTHEST_LAT:
            continue  # a technique without a position at this hour, or what the storm became far from the tropics
        fixes.line.append(number)
        fixes.time.append(moment)
        fixes.lat.append(lat)
        fixes.lon.append(lon)
        fixes.vmax_kt.append(_atcf_number(cells, 8, "VMAX", where))
        fixes.pc_hpa.append(_atcf_number(cells, 9, "MSLP", where))
        fixes.penv_hpa.append(_atcf_number(cells, 17, "RADP", where))
        fixes.rmw_nmile.append(_atcf_number(cells, 19, "RMW", where))
    found: dict[str, _Fixes]
    environment: Callable[[str], float]
    if best:
        found = best if storm is None else _chosen(path, best, storm, titles)
        if len(found) > 1 and not several:
            raise UnknownStorm(f"{path.name}: holds {len(found)} storms ({', '.join(found)}): choose one with --storm")
        names = {code: f"{code} {titles[code]}" if code in titles else code for code in found}

        def environment(code: str) -> float:
            return penv_hpa if penv_hpa is not None else ENVIRONMENT_HPA.get(basins[code], 1010.0)

    else:
        codes = sorted({code for code, _ in forecasts})
        if storm is not None:
            codes = list(_chosen(path, {code: _Fixes() for code in codes}, storm, titles))
        if len(codes) != 1:
            raise UnknownStorm(f"{path.name}: holds {len(codes)} storms ({', '.join(codes)}): choose one with --storm")
        newest = max(cycle for code, cycle in forecasts if code == codes[0])
        found = {name: fixes for name, fixes in forecasts[codes[0], newest].items() if len(fixes.time) > 1}
        if not found:
            raise BadTrack(f"{path.name}: no technique of {newest:%Y-%m-%d %H} has two positions")
        names = {name: name for name in found}

        def environment(code: str) -> float:
            return penv_hpa if penv_hpa is not None else ENVIRONMENT_HPA.get(basins[codes[0]], 1010.0)

    return [fixes.member(names[code], path.name, 1, environment(code), check) for code, fixes in found.items()]


def _atcf_time(text: str, where: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d%H").replace(tzinfo=UTC)
    except ValueError:
        raise BadTable(f"{where}: {text!r} is not a time as 2021082912") from None


def _atcf_degrees(text: str, name: str, where: str) -> float:
    """Tenths of degrees with a letter: 165N, 789W; 0 stands for none."""
    if text in ("0", ""):
        return 0.0
    letters = "NS" if name == "LAT" else "EW"
    if text[-1] not in letters or not text[:-1].isdigit():
        raise BadTable(f"{where}: {name}: {text!r} is not in tenths of degrees with {letters[0]} or {letters[1]}")
    value = int(text[:-1]) / 10.0
    return -value if text[-1] in "SW" else value


def _atcf_number(cells: Sequence[str], index: int, name: str, where: str) -> float:
    """A number, NaN where it is missing: absent, empty, 0 or -99."""
    text = cells[index] if len(cells) > index else ""
    if text in ("", "0", "-99", "-999"):
        return float("nan")
    try:
        value = float(text)
    except ValueError:
        raise BadTable(f"{where}: {name}: {text!r} is not a number") from None
    if value < 0.0:
        raise BadTable(f"{where}: {name}: {value:g} is below zero")
    return value


# -------------------------------------------------------------------- IBTrACS
def _ibtracs(
    path: Path,
    storm: str | None,
    agency: str | None,
    averaging_min: int | None,
    penv_hpa: float | None,
    check: bool,
    several: bool,
) -> list[Member]:
    """Version 4 CSV. By default the US agencies' winds (1 minute); `agency` names another, `wmo` the one in charge."""
    table = read_table(path, ("sid", "iso_time", "lat", "lon"), units_row=True)
    sid = table.text("sid")
    names = table.text("name")
    keep = [text.lower() in ("", "main", "provisional", "provis") for text in table.text("track_type")]
    rows: dict[str, list[int]] = {}
    for i, one in enumerate(sid):
        if keep[i]:
            rows.setdefault(one, []).append(i)
    if not rows:
        raise BadTable(f"{path.name}: there is no main track in it")
    titles = {one: names[first[0]] for one, first in rows.items()}
    if storm is not None:
        rows = _chosen(path, rows, storm, titles)
    if len(rows) > 1 and not several:
        some = ", ".join(f"{one} {titles[one]}" for one in list(rows)[:5])
        raise UnknownStorm(f"{path.name}: holds {len(rows)} storms ({some}, ...): choose one with --storm")
    chosen = (agency or "usa").lower()
    column = {name: table.text(name) for name in table.columns}
    if f"{chosen}_wind" not in column:
        known = sorted(name.removesuffix("_wind") for name in table.columns if name.endswith("_wind"))
        raise BadTable(f"{path.name}: no winds of agency {chosen!r}; it has {', '.join(known)}")
    return [
        _ibtracs_storm(path, table, column, one, titles[one], at, chosen, averaging_min, penv_hpa, check)
        for one, at in rows.items()
    ]


def _ibtracs_storm(
    path: Path,
    table: Table,
    column: dict[str, list[str]],
    sid: str,
    title: str,
    rows: list[int],
    agency: str,
    averaging_min: int | None,
    penv_hpa: float | None,
    check: bool,
) -> Member:
    def number(name: str, row: int) -> float:
        text = column[name][row] if name in column else ""
        if not text:
            return float("nan")
        try:
            value = float(text)
        except ValueError:
            raise BadTable(f"{path.name}: line {table.line(row)}: {name.upper()}: {text!r} is not a number") from None
        return value if value > 0.0 or name in ("lat", "lon") else float("nan")

    fixes = _Fixes()
    minutes: set[int] = set()
    for row in rows:
        where = f"{path.name}: line {table.line(row)}"
        try:
            moment = datetime.fromisoformat(column["iso_time"][row]).replace(tzinfo=UTC)
        except ValueError:
            raise BadTable(f"{where}: ISO_TIME: {column['iso_time'][row]!r} is not a time") from None
        wind, pressure = number(f"{agency}_wind", row), number(f"{agency}_pres", row)
        if (np.isnan(wind) and np.isnan(pressure)) or abs(number("lat", row)) > FURTHEST_LAT:
            continue  # this agency has no fix here, or the storm is no longer a tropical one
        giver = column.get("wmo_agency", [""] * (row + 1))[row].lower() if agency == "wmo" else agency
        if not np.isnan(wind):
            if averaging_min is None and giver not in AGENCY_MINUTES:
                raise BadTable(f"{where}: agency {giver!r}: its averaging period is not known: --averaging-min")
            minutes.add(averaging_min if averaging_min is not None else AGENCY_MINUTES[giver])
        fixes.line.append(table.line(row))
        fixes.time.append(moment)
        fixes.lat.append(number("lat", row))
        fixes.lon.append(number("lon", row))
        fixes.vmax_kt.append(wind)
        fixes.pc_hpa.append(pressure)
        fixes.penv_hpa.append(number(f"{agency}_poci", row))
        fixes.rmw_nmile.append(number(f"{agency}_rmw", row))
    if not fixes.time:
        raise BadTrack(f"{path.name}: {sid} {title}: agency {agency} has neither wind nor pressure: --agency")
    if len(minutes) > 1:
        raise BadTrack(
            f"{path.name}: {sid}: winds over {' and '.join(map(str, sorted(minutes)))} minutes are mixed: --agency"
        )
    over = minutes.pop() if minutes else 1
    if over not in (1, 10):
        raise BadTrack(
            f"{path.name}: {sid}: agency {agency} averages over {over} minutes, for which no factor is known here: "
            "choose another --agency, for example usa"
        )
    basin = column.get("basin", [""] * (rows[0] + 1))[rows[0]].upper()
    environment = penv_hpa if penv_hpa is not None else ENVIRONMENT_HPA.get(basin, 1010.0)
    return fixes.member(f"{sid} {title}".strip(), path.name, over, environment, check)


def _chosen(path: Path, found: dict[str, T], storm: str, titles: dict[str, str] | None = None) -> dict[str, T]:
    """The one storm of this number or name; raises UnknownStorm."""
    wanted = storm.upper()
    hits = {code: one for code, one in found.items() if wanted in (code.upper(), (titles or {}).get(code, "").upper())}
    if not hits:
        some = ", ".join(f"{code} {(titles or {}).get(code, '')}".strip() for code in list(found)[:5])
        raise UnknownStorm(f"{path.name}: no storm {storm!r}; it has {some}" + (", ..." if len(found) > 5 else ""))
    if len(hits) > 1:
        raise UnknownStorm(f"{path.name}: {len(hits)} storms are named {storm!r}: {', '.join(hits)}")
    return hits
