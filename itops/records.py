"""Reads a fleet's failure record in the three shapes that people keep: systems, start-stop rows, counts by model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from core.errors import InvalidInput
from itops.regime import STEP_YEARS, Panel
from itops.severity import FloatArray
from itops.table import BadRow, BadTable, Row, Rows, header_of, read_rows
from itops.telemetry import ATTRIBUTES, HOURS_PER_YEAR, Spells

#: Columns by which a shape is known, and those that it may have.
SYSTEM_COLUMNS = ("system", "nodes")
SYSTEM_OPTIONAL = ("hw_type", "cpu_type", "procs_per_node", "prod_month_mode", "decom_month_mode")
SPELL_COLUMNS = ("drive_id", "model", "tstart", "tstop")
SPELL_OPTIONAL = ("manufacturer", "cal_start", "fails", "weight", *ATTRIBUTES)
MODEL_COLUMNS = ("model", "drive_years")
#: The same with exposure in days, as Backblaze's own tables have it.
MODEL_DAYS = ("model", "drive_days")
_YEARS = re.compile(r"node_years(_to_(\d{4})_(\d{2})_(\d{2}))?")
_DAYS_PER_YEAR = 365.25
_MOST_HOURS = 1e6
#: How a failure is flagged; Parquet files keep truth values and whole numbers beside blanks in their own spelling.
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}
#: What stands where a month is not told.
_NO_MONTH = ("", "current", "before tracking")


class UnknownShape(InvalidInput):
    """The header fits none of the known shapes of a failure record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A repairable system of like nodes."""

    system: str
    group: str  #: "hw_type/cpu_type"
    nodes: float
    size: float  #: parts (processors) of a node
    node_years: float
    node_years_to: date | None  #: as the column's name says; None: for the period in question
    begin: date | None  #: in service from; None: since before it was tracked
    end: date | None  #: in service until; None: still


def shape_of(text: str) -> str:
    """`systems`, `spells` or `models`, by the header of an exposure file. Raises UnknownShape."""
    header = header_of(text)
    shapes = (
        ("systems", SYSTEM_COLUMNS), ("spells", SPELL_COLUMNS), ("models", MODEL_COLUMNS), ("models", MODEL_DAYS)
    )  # fmt: skip
    for shape, needed in shapes:
        if all(name in header for name in needed):
            return shape
    raise UnknownShape(
        f"The exposure file has none of the known headers: {', '.join(SYSTEM_COLUMNS)}, node_years; "
        f"{', '.join(SPELL_COLUMNS)}; {', '.join(MODEL_COLUMNS)} or drive_days",
        header=",".join(header)[:200],
    )


class Refusals:
    """What is wrong in a table, by line and field."""

    def __init__(self, table: str) -> None:
        self.table, self.rows = table, list[BadRow]()

    def add(self, row: Row, field: str, reason: str) -> None:
        self.rows.append(BadRow(line=row.line, field=field, value=row.cells.get(field, ""), reason=reason))

    def number(self, row: Row, field: str, *, least: float = 0.0, above: bool = False) -> float:
        """The cell as a finite number of at least (or above) `least`; nan, with the reason noted, where it is not."""
        cell = row.cells[field]
        if not cell:
            self.add(row, field, "is blank; blank is unknown, not zero")
            return float("nan")
        try:
            value = float(cell)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            self.add(row, field, "is not a finite number")
            return float("nan")
        if value < least or (above and value == least):
            self.add(row, field, "is negative" if least == 0 and value < 0 else f"must be above {least:g}")
            return float("nan")
        return value

    def finish(self) -> None:
        if self.rows:
            raise BadTable(self.table, self.rows)


def _some(found: Rows, table: str) -> Rows:
    """The records, of which there must be one. Raises BadTable."""
    if not found.rows:
        raise BadTable(table, [BadRow(line=1, field="header", value="", reason="has no row below it")])
    return found


def _month(cell: str) -> date | None:
    found = re.fullmatch(r"(\d{4})-(\d{2})(-\d{2})?", cell)
    return date(int(found[1]), int(found[2]), 1) if found and 1 <= int(found[2]) <= 12 else None


def read_systems(text: str, *, table: str = "exposure") -> tuple[System, ...]:
    """Systems with their node-years: column `node_years` for the period in question, or `node_years_to_YYYY_MM_DD`.

    Raises BadTable: a negative or blank figure, a system twice, decommissioning before production.
    """
    header = header_of(text)
    names = sorted((name for name in header if _YEARS.fullmatch(name)), key=len)
    if not names:
        raise BadTable(table, [BadRow(line=1, field="node_years", value="", reason="this column is missing")])
    found = _some(read_rows(text, table=table, required=(*SYSTEM_COLUMNS, names[0]), optional=SYSTEM_OPTIONAL), table)
    dated = _YEARS.fullmatch(names[0])
    until = date(int(dated[2]), int(dated[3]), int(dated[4])) if dated and dated[1] else None
    bad, out, seen = Refusals(table), [], dict[str, int]()
    for row in found.rows:
        name = row.cells["system"]
        if not name:
            bad.add(row, "system", "is blank")
        if name in seen:
            bad.add(row, "system", f"comes twice; first on line {seen[name]}")
        seen.setdefault(name, row.line)
        months = ("prod_month_mode", "decom_month_mode")
        begin, end = (_month(row.cells[field]) for field in months)
        for field, month in zip(months, (begin, end), strict=True):
            if month is None and row.cells[field].lower() not in _NO_MONTH:
                bad.add(row, field, "is not a month of the form YYYY-MM, nor blank, `current` or `before tracking`")
        if begin and end and end < begin:
            bad.add(row, "decom_month_mode", f"is before prod_month_mode {row.cells['prod_month_mode']}")
        out.append(
            System(
                system=name,
                group=f"{row.cells['hw_type'] or 'system'}/{row.cells['cpu_type'] or 'unknown'}",
                nodes=bad.number(row, "nodes", above=True),
                size=bad.number(row, "procs_per_node", above=True) if row.cells["procs_per_node"] else 1.0,
                node_years=bad.number(row, names[0]),
                node_years_to=until,
                begin=begin,
                end=_month_end(end) if end else None,
            )
        )
    bad.finish()
    return tuple(out)


def _month_end(first: date) -> date:
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def read_failures(text: str, systems: Sequence[System], *, table: str = "events") -> list[tuple[str, datetime]]:
    """(system, time) of each failure, in order of time.

    Raises BadTable: a system that the exposure file lacks, an unreadable time, a failure before production (negative
    age) or after decommissioning, repair before failure.
    """
    found = read_rows(text, table=table, required=("system", "started"), optional=("fixed", "down_min"))
    bad, out = Refusals(table), list[tuple[str, datetime]]()
    known = {each.system: each for each in systems}
    for row in found.rows:
        started = read_time(bad, row, "started")
        system = known.get(row.cells["system"])
        if system is None:
            bad.add(row, "system", "is not in the exposure file")
        elif system.node_years == 0:
            bad.add(row, "system", "has no node-years in the exposure file: a failure without exposure")
        elif started is not None:
            # The month of production is the usual one of the system's nodes; single nodes ran a little before.
            if system.begin and started.date() < system.begin - timedelta(days=92):
                bad.add(
                    row, "started", f"is before the system's production in {system.begin:%Y-%m}: its age is negative"
                )
            if system.end and started.date() > system.end + timedelta(days=31):
                bad.add(row, "started", f"is after decommissioning in {system.end:%Y-%m}")
            out.append((system.system, started))
        if row.cells["fixed"] and started is not None:
            fixed = read_time(bad, row, "fixed")
            # A clock that was turned back in autumn may end a repair an hour before it began.
            if fixed is not None and fixed < started - timedelta(hours=1):
                bad.add(row, "fixed", f"is before started {row.cells['started']}")
    bad.finish()
    return sorted(out, key=lambda each: each[1])


def read_time(bad: Refusals, row: Row, field: str, *, utc: bool = False) -> datetime | None:
    """The cell as a time without its offset; None, with the reason noted, where it is not one.

    It is the wall clock of the place, or with `utc` that of Greenwich where the cell has an offset: two times of one
    outage may be written with different ones.
    """
    cell = row.cells[field]
    if not cell:
        bad.add(row, field, "is blank; a time is needed")
        return None
    try:
        moment = datetime.fromisoformat(cell)
        return (moment.astimezone(UTC) if utc and moment.tzinfo else moment).replace(tzinfo=None)
    except ValueError:
        bad.add(row, field, "is not a time of the form YYYY-MM-DD HH:MM[:SS]")
        return None


def panel_of(systems: Sequence[System], failures: Sequence[tuple[str, datetime]], as_of: date) -> Panel:
    """Failures and node-years of systems by quarter back from the end of the as-of day; later failures are not known.

    A system's node-years are spread over its months in service, scaled to the file's own figure.
    """
    end = datetime.combine(as_of + timedelta(days=1), datetime.min.time())
    known = [(name, at) for name, at in failures if at < end]
    first = dict(reversed(known))

    def years_ago(at: datetime) -> float:
        return (end - at).total_seconds() / 86400.0 / _DAYS_PER_YEAR

    starts = []
    for each in systems:
        begin = datetime.combine(each.begin, datetime.min.time()) if each.begin else end
        told = 0.0 if each.begin else _told_start(each, as_of)
        starts.append(max(years_ago(min(begin, first.get(each.system, begin))), told, 0.0))
    n_periods = max(1, int(np.ceil(max(starts) / STEP_YEARS)))
    shape = (len(systems), n_periods)
    n, e, age = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    old = np.arange(n_periods - 1, -1, -1) * STEP_YEARS  # years from a period's end to the as-of moment
    for u, each in enumerate(systems):
        stop = 0.0
        if each.end and each.end < as_of:
            stop = years_ago(datetime.combine(each.end + timedelta(days=1), datetime.min.time()))
        inside = np.clip(np.minimum(old + STEP_YEARS, starts[u]) - np.maximum(old, stop), 0.0, None)
        e[u] = inside * each.nodes * _scale(each, starts[u], stop, as_of)
        age[u] = starts[u] - old - 0.5 * STEP_YEARS
        mine = np.array([years_ago(at) for name, at in known if name == each.system])
        k = n_periods - 1 - np.clip((mine / STEP_YEARS).astype(np.int64), 0, n_periods - 1)
        n[u] = np.bincount(k, minlength=n_periods)
        lost = (n[u] > 0) & (e[u] <= 0)
        e[u] = np.where(lost, each.nodes * STEP_YEARS * 0.1, e[u])
    return Panel(
        n_failures=n,
        exposure=e,
        age=age,
        group=tuple(each.group for each in systems),
        size=np.array([each.size for each in systems]),
    )


def _told_start(system: System, as_of: date) -> float:
    """Years before the as-of day at which a system whose month of production is not told began, by its node-years.

    Without it a system that never failed would have no exposure, and one that failed late too little.
    """
    last = system.end or as_of
    if system.node_years_to is not None and (system.end is None or system.node_years_to < system.end):
        last = system.node_years_to
    return system.node_years / system.nodes + (as_of - last).days / _DAYS_PER_YEAR


def _scale(system: System, start: float, stop: float, as_of: date) -> float:
    """The file's node-years over nodes x time in service, to the day that the figure runs to."""
    spans = [start - stop]
    if system.node_years_to is not None:
        beyond = (system.node_years_to - as_of).days / _DAYS_PER_YEAR
        ends = -beyond
        if system.end is not None:
            ends = max(ends, (as_of - system.end).days / _DAYS_PER_YEAR)
        spans.append(start - ends)
    ratios = [system.node_years / (system.nodes * span) for span in spans if span > 0]
    return min(ratios, key=lambda r: abs(np.log(r)) if r > 0 else np.inf) if ratios else 1.0


def read_spells(
    text: str, *, as_of: date | None, failures: bool, table: str = "exposure"
) -> tuple[Spells, tuple[str, ...], dict[str, int], date | None]:
    """Start-stop rows: (spells, unit of each, number of telemetry values not reported by column, last day known).

    Where failures are read, rows that begin after the as-of day (or the last day) are left out and those that run on
    are cut there, censored; without failures all are kept and the as-of day only dates them. A
    blank telemetry value is unknown and stays so. Raises BadTable: a negative age, stop not after start, a failure
    flag that is not 0 or 1, a weight not above 0, a telemetry value that is not a number or negative.
    """
    found = _some(read_rows(text, table=table, required=SPELL_COLUMNS, optional=SPELL_OPTIONAL), table)
    bad = Refusals(table)
    dated = any(row.cells["cal_start"] for row in found.rows)
    unit, model, maker = list[str](), list[str](), list[str]()
    numbers = list[tuple[float, float, bool, float, float]]()
    values = list[list[float]]()
    # In any order of rows: a drive that failed has no hours after it.
    ended = {
        row.cells["drive_id"]: float(row.cells["tstop"])
        for row in found.rows
        if failures and _FLAGS.get(row.cells["fails"].lower()) and re.fullmatch(r"\d+(\.\d+)?", row.cells["tstop"])
    }
    for row in found.rows:
        cells = row.cells
        for name in ("drive_id", "model"):
            if not cells[name]:
                bad.add(row, name, "is blank")
        start, stop = bad.number(row, "tstart"), bad.number(row, "tstop")
        if stop <= start:
            bad.add(row, "tstop", f"is not after tstart {cells['tstart']}: a spell must run forward")
        failed = False
        if failures:
            flag = _FLAGS.get(cells["fails"].lower())
            if flag is None:
                bad.add(row, "fails", "must be 0 or 1")
            failed = flag is True
        if stop > _MOST_HOURS:
            bad.add(row, "tstop", f"is above {_MOST_HOURS:,.0f} h: more power-on hours than a century has")
        if cells["drive_id"] in ended and stop > ended[cells["drive_id"]]:
            bad.add(row, "tstop", f"is after decommissioning: the drive failed at {ended[cells['drive_id']]:g} h")
        weight = bad.number(row, "weight", above=True) if cells["weight"] else 1.0
        day_0 = 0.0
        if dated:
            begun = cells["cal_start"]
            try:
                day_0 = float((date if len(begun) == 10 else datetime).fromisoformat(begun).toordinal())
            except ValueError:
                reason = "is not a date of the form YYYY-MM-DD" if begun else "is blank, where other rows have a day"
                bad.add(row, "cal_start", reason)
        elif as_of is not None and failures:
            bad.add(row, "cal_start", "is blank; with an as-of day the calendar day of tstart is needed")
        values.append([bad.number(row, name) if cells[name] else float("nan") for name in ATTRIBUTES])
        unit.append(cells["drive_id"])
        model.append(cells["model"])
        maker.append(cells["manufacturer"] or "unknown")
        numbers.append((start, stop, failed, weight, day_0))
    bad.finish()
    table_of = np.array(numbers, dtype=np.float64)
    start_h, stop_h, failed_of, weights, day = (table_of[:, k] for k in range(5))
    known = np.array(values, dtype=np.float64).reshape(-1, len(ATTRIBUTES))
    keep = np.ones(len(unit), dtype=bool)
    days_ago = np.zeros(len(unit))
    known_to: date | None = as_of
    if dated:
        last = float(as_of.toordinal() + 1) if as_of is not None else float(np.max(day)) + 1.0
        days_ago = last - day
        known_to = date.fromordinal(int(last) - 1)
        if failures:
            limit = start_h + days_ago * 24.0
            failed_of = np.where(stop_h <= limit, failed_of, 0.0)
            stop_h = np.minimum(stop_h, limit)
            keep = days_ago > 0
    where = np.flatnonzero(keep)
    return (
        Spells(
            model=tuple(model[i] for i in where),
            manufacturer=tuple(maker[i] for i in where),
            start_h=start_h[keep],
            stop_h=stop_h[keep],
            failed=failed_of[keep] == 1.0,
            weight=weights[keep],
            values=known[keep],
            days_ago=days_ago[keep],
        ),
        tuple(unit[i] for i in where),
        {name: int(np.count_nonzero(np.isnan(known[keep, k]))) for k, name in enumerate(ATTRIBUTES)},
        known_to,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounts:
    """(n,) exposure and failures by device model."""

    model: tuple[str, ...]
    manufacturer: tuple[str, ...]
    exposure: FloatArray  #: drive-years
    n_failures: FloatArray


def read_models(text: str, *, failures: bool, table: str = "exposure") -> ModelCounts:
    """Counts by model. Raises BadTable: negative or blank figures, a model twice, failures without exposure."""
    header = header_of(text)
    in_days = "drive_years" not in header and "drive_days" in header
    exposed = "drive_days" if in_days else "drive_years"
    count = "failed" if "failures" not in header and "failed" in header else "failures"
    required = ("model", exposed, count) if failures else ("model", exposed)
    found = _some(read_rows(text, table=table, required=required, optional=("manufacturer",)), table)
    bad, seen = Refusals(table), dict[str, int]()
    out = list[tuple[str, str, float, float]]()
    for row in found.rows:
        name = row.cells["model"]
        if not name:
            bad.add(row, "model", "is blank")
        if name in seen:
            bad.add(row, "model", f"comes twice; first on line {seen[name]}")
        seen.setdefault(name, row.line)
        exposure = bad.number(row, exposed) / (_DAYS_PER_YEAR if in_days else 1.0)
        n = bad.number(row, count) if failures else 0.0
        if n > 0 and exposure == 0:
            bad.add(row, count, "without a drive-year of exposure")
        if n != np.floor(n) and np.isfinite(n):
            bad.add(row, count, "is not a whole number")
        out.append((name, row.cells["manufacturer"] or "unknown", exposure, n))
    bad.finish()
    return ModelCounts(
        model=tuple(each[0] for each in out),
        manufacturer=tuple(each[1] for each in out),
        exposure=np.array([each[2] for each in out]),
        n_failures=np.array([each[3] for each in out]),
    )


def years(spells: Spells) -> FloatArray:
    """(n,) device-years, weighted."""
    return np.asarray((spells.stop_h - spells.start_h) / HOURS_PER_YEAR * spells.weight, dtype=np.float64)
