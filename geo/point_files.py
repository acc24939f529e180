"""Files of the loss commands: storm tracks and points in, tables out. Every fault names line and field."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from geo.crs import coordinate_fault
from geo.flood_damage import FOOT_M, HAZUS_BASEMENT, HAZUS_SLAB, Building, hazus_of_oed, inventory_value_usd
from geo.water_surface import Gauges, one_datum

FloatArray = npt.NDArray[np.float64]


OED_SLAB = 8  #: OED FoundationType: mat or slab


class BadTable(InvalidInput):
    """This table cannot be read."""


@dataclass(frozen=True)
class Table:
    """A CSV file as text: names in lower case, one list of cells for each row, in the order of the file."""

    name: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: tuple[int, ...] = ()  #: line of the file in which each row ends; without them rows follow the header

    def line(self, row: int) -> int:
        """The line of the file in which a row stands."""
        return self.lines[row] if self.lines else row + 2

    def index(self, column: str) -> int | None:
        return self.columns.index(column) if column in self.columns else None

    def text(self, column: str) -> list[str]:
        at = self.index(column)
        return [""] * len(self.rows) if at is None else [row[at].strip() for row in self.rows]

    def numbers(self, column: str, *, blank: bool = False) -> FloatArray:
        """(n,) the column's numbers; an empty cell is NaN where `blank`, else an error with its line."""
        found = np.empty(len(self.rows))
        for i, cell in enumerate(self.text(column)):
            if cell == "" or cell.lower() in ("nan", "null"):
                if not blank:
                    raise BadTable(f"{self.name}: line {self.line(i)}: {column}: is empty")
                found[i] = math.nan
                continue
            try:
                found[i] = float(cell)
            except ValueError:
                raise BadTable(f"{self.name}: line {self.line(i)}: {column}: {cell!r} is not a number") from None
            if not math.isfinite(found[i]):
                raise BadTable(f"{self.name}: line {self.line(i)}: {column}: {cell!r} is not a finite number")
        return found


def read_table(path: Path, required: Sequence[str] = (), *, units_row: bool = False) -> Table:
    """A CSV file with a header, and below it a row of units where `units_row`; raises BadTable where it cannot be read
    or lacks a column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(row, reader.line_num) for row in reader]
    except OSError as error:
        raise BadTable(f"{path.name}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"{path.name}: not a CSV file in UTF-8: {error}") from error
    if not rows or not any(cell.strip() for cell in rows[0][0]):
        raise BadTable(f"{path.name}: is empty")
    columns = tuple(name.strip().lower() for name in rows[0][0])
    doubled = sorted({name for name in columns if name and columns.count(name) > 1})
    if doubled:
        raise BadTable(f"{path.name}: column {doubled[0]!r} is there twice")
    missing = [name for name in required if name not in columns]
    if missing:
        raise BadTable(f"{path.name}: no column {', '.join(missing)}; it has {', '.join(columns)}")
    filled = [(row, line) for row, line in rows[1:] if any(cell.strip() for cell in row)]
    for row, line in filled:
        if len(row) != len(columns):
            raise BadTable(f"{path.name}: line {line}: {len(row)} cells under {len(columns)} names")
    if not filled:
        raise BadTable(f"{path.name}: has a header and no rows")
    if units_row and not any(character.isdigit() for character in filled[0][0][columns.index(required[0])]):
        del filled[0]
    return Table(path.name, columns, [row for row, _ in filled], tuple(line for _, line in filled))


def read_points(table: Table, lon_column: str = "lon", lat_column: str = "lat") -> tuple[FloatArray, FloatArray]:
    """WGS84 lon and lat of each row, NaN where both are empty; longitudes of 180..360 are taken.

    Raises BadTable for a coordinate that cannot be a place, with its line.
    """
    lon, lat = table.numbers(lon_column, blank=True), table.numbers(lat_column, blank=True)
    lon = np.where((lon > 180.0) & (lon <= 360.0), lon - 360.0, lon)
    for i in range(len(lon)):
        if math.isnan(lon[i]) and math.isnan(lat[i]):
            continue
        fault = coordinate_fault(float(lon[i]), float(lat[i]))
        if fault is not None:
            raise BadTable(f"{table.name}: line {table.line(i)}: {lat_column}, {lon_column}: {fault}")
    return lon, lat


def read_values(table: Table, column: str = "value") -> FloatArray:
    """(n,) values at risk, NaN where the cell is empty or the column absent; raises BadTable for one below 0."""
    values = table.numbers(column, blank=True)
    if (values < 0.0).any():
        at = int(np.argmax(values < 0.0))
        raise BadTable(f"{table.name}: line {table.line(at)}: {column}: {values[at]:g} is below zero")
    return values


def cell(value: float, digits: int) -> str:
    """A number for a table; empty where unknown."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file; raises BadTable where it cannot."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise BadTable(f"{path}: {error.strerror}") from error


def load_flood_curves() -> tuple[dict[str, Any], dict[str, Any]]:
    """The HAZUS and JRC depth-damage curves that come with this package."""
    folder = resources.files("geo") / "data"
    hazus = json.loads((folder / "flood_curves_hazus.json").read_text(encoding="utf-8"))
    jrc = json.loads((folder / "flood_curves_jrc.json").read_text(encoding="utf-8"))
    return hazus, jrc


def load_usace_curves() -> dict[str, Any]:
    """The USACE depth-damage curves that come with this package."""
    text = (resources.files("geo") / "data" / "flood_curves_usace.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def load_v_half_fits() -> dict[str, list[float]]:
    """Fits of v_half to single events by region (m/s): Eberenz et al. (2021), event damage ratio calibration."""
    folder = resources.files("geo") / "data"
    document = json.loads((folder / "v_half_eberenz2021.json").read_text(encoding="utf-8"))
    found: dict[str, list[float]] = document["v_half_m_s"]
    return found | {"global": sorted(one for region in found.values() for one in region)}


def read_sensors(path: Path, reading: str, others: Sequence[str] = ()) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(lon, lat, reading) of sensors from CSV: lat, lon and the named column, which carries its unit; blank is silent.

    `others` are columns of another unit or period, refused by name.
    """
    table = read_table(path, ("lat", "lon"))
    wrong = [name for name in table.columns if name in others]
    if reading not in table.columns:
        hint = f"; {wrong[0]} is another unit or averaging period" if wrong else ""
        raise BadTable(f"{path.name}: no column {reading}{hint}; it has {', '.join(table.columns)}")
    lon, lat = read_points(table)
    values = table.numbers(reading, blank=True)
    for i in range(len(values)):
        if math.isnan(lon[i]):
            raise BadTable(f"{table.name}: line {table.line(i)}: lat, lon: a sensor needs both")
        if values[i] <= 0.0:
            raise BadTable(f"{table.name}: line {table.line(i)}: {reading}: {values[i]:g} is not above zero")
    return lon, lat, values


def read_gauges(path: Path, terrain_datum: str) -> Gauges:
    """Levels from CSV: lat, lon, datum and level_m or level_ft; a blank level is a silent gauge.

    Raises BadTable, DatumMismatch where a gauge's datum is not the terrain's.
    """
    table = read_table(path, ("lat", "lon", "datum"))
    named = [name for name in ("level_m", "level_ft") if name in table.columns]
    if len(named) != 1:
        raise BadTable(f"{path.name}: needs one column, level_m or level_ft; it has {', '.join(table.columns)}")
    lon, lat = read_points(table)
    for i in range(len(lon)):
        if math.isnan(lon[i]):
            raise BadTable(f"{table.name}: line {table.line(i)}: lat, lon: a gauge needs both")
    level = table.numbers(named[0], blank=True) * (FOOT_M if named[0] == "level_ft" else 1.0)
    return Gauges(lon, lat, level, one_datum(table.text("datum"), terrain_datum))


def _first_floor_ft(table: Table) -> FloatArray:
    """OED's FirstFloorHeight in feet by its unit (1 feet, 2 metres); -999 and a blank are unknown."""
    height = table.numbers("firstfloorheight", blank=True)
    height = np.where(height <= -999.0, math.nan, height)
    unit = np.nan_to_num(table.numbers("firstfloorheightunit", blank=True))
    return np.where(_is_metric(table, "firstfloorheightunit", unit, (1, 2)), height / FOOT_M, height)


def _floor_area_sq_ft(table: Table) -> FloatArray:
    """OED's FloorArea in square feet by its unit (11 square feet, 12 square metres)."""
    area = read_values(table, "floorarea")
    unit = np.nan_to_num(table.numbers("floorareaunit", blank=True))
    metric = _is_metric(table, "floorareaunit", unit, (11, 12))
    area = np.where(metric, area / FOOT_M**2, area)
    return np.where(area == 0, math.nan, area)


def _is_metric(table: Table, column: str, unit: FloatArray, codes: tuple[int, int]) -> npt.NDArray[np.bool_]:
    wrong = ~np.isin(unit, (0, *codes))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise BadTable(f"{table.name}: line {table.line(at)}: {column}: {unit[at]:g} is none of {codes[0]}, {codes[1]}")
    return np.asarray(unit == codes[1])


def load_restoration() -> dict[str, Any]:
    """HAZUS restoration times and debris that come with this package."""
    text = (resources.files("geo") / "data" / "flood_restoration_hazus.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def read_buildings(
    path: Path, hazus: Mapping[str, Any], first_floor_ft: float | None = None
) -> tuple[list[Building], FloatArray, FloatArray]:
    """Buildings with WGS84 lon and lat, from HAZUS UDF columns or an OED location file; raises BadTable.

    Stock is the UDF's InvCost, else area times the HAZUS table. An OED file's stock is unknown to it and taken as 0.
    """
    table = read_table(path, ("longitude", "latitude"))
    lon, lat = read_points(table, "longitude", "latitude")
    n = len(table.rows)
    if "fltyid" in table.columns:
        for name in ("occ", "numstories", "foundationtype", "cost"):
            if name not in table.columns:
                raise BadTable(f"{table.name}: no column {name}, which HAZUS buildings need")
        ids, occupancy = table.text("fltyid"), [cell_.upper() for cell_ in table.text("occ")]
        stories = table.numbers("numstories", blank=True)
        foundation = table.numbers("foundationtype")
        basement, slab = foundation == HAZUS_BASEMENT, foundation == HAZUS_SLAB
        interruption = np.full(n, math.nan)
        floor = table.numbers("firstfloorht", blank=True)
        value, contents = read_values(table, "cost"), read_values(table, "contentcost")
        area, stock = read_values(table, "area"), read_values(table, "invcost")
    elif "locnumber" in table.columns and "buildingtiv" in table.columns:
        ids = table.text("locnumber")
        occupancy = [hazus_of_oed(code) for code in table.text("occupancycode")]
        stories = table.numbers("numberofstoreys", blank=True)
        stories = np.where(stories > 0, stories, math.nan)  # 0 unknown, -1 to -3 only low, middle or high rise
        foundation = np.nan_to_num(table.numbers("foundationtype", blank=True))
        level = np.nan_to_num(table.numbers("basementlevelcount", blank=True))
        basement = (
            (np.nan_to_num(table.numbers("basement", blank=True)) > 0) | (level > 0) | np.isin(foundation, (1, 2))
        )
        slab = foundation == OED_SLAB
        floor = _first_floor_ft(table)
        interruption = np.nan_to_num(read_values(table, "bitiv"))
        value = np.nan_to_num(read_values(table, "buildingtiv"))
        contents = np.nan_to_num(read_values(table, "contentstiv"))
        area, stock = _floor_area_sq_ft(table), np.zeros(n)
    else:
        raise BadTable(f"{table.name}: has neither FltyId (HAZUS UDF) nor LocNumber and BuildingTIV (OED)")
    if first_floor_ft is not None:
        floor = np.where(np.isnan(floor), first_floor_ft, floor)
    if (floor > 40.0).any() or (floor < -20.0).any():
        at = int(np.argmax((floor > 40.0) | (floor < -20.0)))
        raise BadTable(
            f"{table.name}: line {table.line(at)}: firstfloorht: {floor[at]:g} ft is no height of a first floor"
        )
    stock = np.array(
        [inventory_value_usd(hazus, occupancy[i], area[i]) if math.isnan(stock[i]) else stock[i] for i in range(n)]
    )
    return (
        [
            Building(
                id=ids[i],
                occupancy=occupancy[i],
                n_stories=float(stories[i]),
                basement=bool(basement[i]),
                first_floor_ft=float(floor[i]),
                building_value=float(value[i]),
                contents_value=float(contents[i]),
                inventory_value=float(stock[i]),
                slab=bool(slab[i]),
                area_sq_ft=float(area[i]),
                interruption_value=float(interruption[i]),
            )
            for i in range(n)
        ],
        lon,
        lat,
    )
