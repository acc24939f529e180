"""Reads tables that people hand in: every bad row is named by line, field and reason; none is dropped in silence."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from zoneinfo import ZoneInfo

from core.errors import InvalidInput

T = TypeVar("T")

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?")
_SHOWN = 20
_MOST = Decimal(10) ** 15


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One thing that is wrong in a table."""

    line: int  #: in the file, the header being line 1
    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        shown = f" {self.value!r}" if self.value else ""
        return f"line {self.line}, {self.field}{shown}: {self.reason}"


class BadTable(InvalidInput):
    """A table has rows that cannot be used."""

    def __init__(self, table: str, bad_rows: Sequence[BadRow]) -> None:
        self.table = table
        self.bad_rows = tuple(sorted(bad_rows, key=lambda row: (row.line, row.field)))
        n = len(self.bad_rows)
        told = "; ".join(str(row) for row in self.bad_rows[:_SHOWN])
        more = f"; and {n - _SHOWN} more" if n > _SHOWN else ""
        super().__init__(f"{table}: {n} {'thing is' if n == 1 else 'things are'} wrong: {told}{more}")


class BadCell(InvalidInput):
    """One cell cannot be read; its row turns this into a BadRow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record of a table, cells stripped of surrounding blanks; a column the file lacks is a blank cell."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The records of a table and the columns that nobody asked for."""

    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]


def read_rows(text: str, *, table: str, required: Sequence[str], optional: Sequence[str]) -> Rows:
    """The records of CSV text (comma, RFC 4180 quotes, header first, an optional byte-order mark).

    Raises BadTable where a required column is missing, a column comes twice, or a record has too few or too many
    cells: a shifted row must never be read as a good one.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    records: list[tuple[int, list[str]]] = []
    try:
        before = 0
        for record in reader:
            if any(cell.strip() for cell in record):
                records.append((before + 1, record))
            before = reader.line_num
    except csv.Error as error:
        raise BadTable(
            table, [BadRow(line=reader.line_num, field="row", value="", reason=f"is not CSV: {error}")]
        ) from error
    if not records:
        raise BadTable(table, [BadRow(line=1, field="header", value="", reason="the file is empty")])
    header = [name.strip() for name in records[0][1]]
    bad = [
        BadRow(line=1, field=name, value="", reason="this column is missing") for name in required if name not in header
    ]
    bad += [
        BadRow(line=1, field=name or "header", value="", reason="this column comes twice" if name else "has no name")
        for name in sorted(set(header))
        if header.count(name) > 1 or not name
    ]
    if bad:
        raise BadTable(table, bad)
    wanted = [name for name in (*required, *optional) if name in header]
    absent = {name: "" for name in optional if name not in header}
    at = {name: header.index(name) for name in wanted}
    rows = []
    for line, record in records[1:]:
        if len(record) != len(header):
            reason = f"has {len(record)} cells where the header has {len(header)}"
            bad.append(BadRow(line=line, field="row", value="", reason=reason))
            continue
        # A zero byte is a damaged file; no database keeps one in a text.
        bad += [
            BadRow(line=line, field=name, value=record[at[name]], reason="holds a zero byte")
            for name in wanted
            if "\0" in record[at[name]]
        ]
        rows.append(Row(line=line, cells={name: record[at[name]].strip() for name in wanted} | absent))
    if bad:
        raise BadTable(table, bad)
    return Rows(rows=tuple(rows), ignored_columns=tuple(name for name in header if name not in at))


def header_of(text: str) -> list[str]:
    """The names of the first record of CSV text, quoted or not; none in an empty text."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        return next(([name.strip() for name in record] for record in reader if any(c.strip() for c in record)), [])
    except csv.Error:
        return []  # read_rows tells what is wrong with it


class Checker:
    """Collects what is wrong in a table while its rows are read, so that all of it is reported at once."""

    def __init__(self, table: str) -> None:
        self.table = table
        self.bad_rows: list[BadRow] = []

    def refuse(self, row: Row, field: str, reason: str) -> None:
        """Notes that `field` of `row` is wrong."""
        self.bad_rows.append(BadRow(line=row.line, field=field, value=row.cells.get(field, ""), reason=reason))

    def cell(self, row: Row, field: str, parse: Callable[[str], T]) -> T | None:
        """The parsed cell; None, with the reason noted, where it cannot be read."""
        try:
            return parse(row.cells[field])
        except BadCell as error:
            self.refuse(row, field, error.message)
            return None

    def finish(self) -> None:
        """Raises BadTable if anything was wrong."""
        if self.bad_rows:
            raise BadTable(self.table, self.bad_rows)


def as_text(cell: str) -> str:
    """A cell that must say something."""
    if not cell:
        raise BadCell("is blank")
    return cell


def as_date(cell: str) -> date:
    """A calendar day, YYYY-MM-DD."""
    if not cell:
        raise BadCell("is blank; a date (YYYY-MM-DD) is needed")
    if not _DATE.fullmatch(cell):
        raise BadCell("is not a date of the form YYYY-MM-DD")
    try:
        return date.fromisoformat(cell)
    except ValueError as error:
        raise BadCell(f"is not a day of the calendar ({error})") from error


def as_moment(cell: str, zone: ZoneInfo) -> datetime:
    """A moment in UTC from ISO 8601 with or without an offset; without one it is read in `zone`.

    A day alone is refused: midnight would be a guess, and a repair time is made of hours.
    """
    if not cell:
        raise BadCell("is blank; a time (YYYY-MM-DD HH:MM) is needed")
    if not _TIME.fullmatch(cell):
        raise BadCell("is not a time of the form YYYY-MM-DD HH:MM[:SS][offset]")
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError as error:
        raise BadCell(f"is not a time of the calendar ({error})") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def as_amount(cell: str) -> Decimal:
    """A finite amount of money, not negative."""
    if not cell:
        raise BadCell("is blank; blank is unknown, not zero")
    try:
        amount = Decimal(cell)
    except InvalidOperation as error:
        raise BadCell("is not a number") from error
    if not amount.is_finite():
        raise BadCell("is not a finite number")
    if amount < 0:
        raise BadCell("is negative")
    if amount > _MOST:
        raise BadCell("is above 1e15, the most that is priced")
    return amount
