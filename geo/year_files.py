"""The events of years through a book's terms, in the order in which they happen: from files to files."""

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from core.errors import InvalidInput
from geo.point_files import BadTable, read_table
from geo.terms import FloatArray, IntArray
from geo.terms_files import LossBook, first_rows, table

#: Columns of a table of occurrences; the last four may be left out or blank, which names everything.
FIELDS = ("year", "day", "event_id", "damage_ratio", "accnumber", "locnumber", "coverage_type_id")
PERSPECTIVES = ("gul", "il", "ri")


@dataclass(frozen=True)
class Occurrence:
    """One event of one year: the damage ratio of each item."""

    year: int
    day: float | None
    event_id: str
    ratio: FloatArray  #: (n_items,)


def occurrences(path: Path, loaded: LossBook) -> Iterator[Occurrence]:
    """The occurrences of a CSV file by year and day; raises BadTable with line and field.

    Columns: year (from 1), damage_ratio (0 to 1), and optionally day (of the year), event_id, AccNumber, LocNumber,
    coverage_type_id. Lines of one year, day and event are one occurrence, each for the items that it names; a blank
    names all. Items that no line names lose nothing.
    """
    told = read_table(path, ("year", "damage_ratio"))
    unknown = sorted(set(told.columns) - set(FIELDS) - {""})
    if unknown:
        raise BadTable(f"{path.name}: column {unknown[0]!r} is not known; there are {', '.join(FIELDS)}")
    if not told.rows:
        raise BadTable(f"{path.name} has a header and no rows")
    year, ratio = told.numbers("year"), told.numbers("damage_ratio")
    has_day = told.index("day") is not None
    day = told.numbers("day") if has_day else np.zeros(len(year))
    for row in range(len(year)):
        where = f"{path.name}: line {told.line(row)}"
        if year[row] != np.floor(year[row]) or year[row] < 1:
            raise BadTable(f"{where}: year: {year[row]:g} is not a whole number from 1")
        if not 0 <= ratio[row] <= 1:
            raise BadTable(f"{where}: damage_ratio: {ratio[row]:g} is not between 0 and 1")
        if not 0 <= day[row] <= 366:
            raise BadTable(f"{where}: day: {day[row]:g} is no day of a year")
    ids = told.text("event_id")
    named = _Named(loaded)
    accounts, places, coverages = (told.text(name) for name in FIELDS[4:])
    order = np.lexsort((day, year))
    groups: dict[tuple[int, float, str], list[int]] = {}
    for row in order.tolist():
        groups.setdefault((int(year[row]), float(day[row]), ids[row]), []).append(row)
    for (of_year, of_day, event_id), rows in groups.items():
        out, seen = np.zeros(named.n), np.zeros(named.n, dtype=bool)
        for row in rows:
            where = f"{path.name}: line {told.line(row)}"
            items = named.items(accounts[row], places[row], coverages[row], where)
            if seen[items].any():
                raise BadTable(f"{where}: names an item that another line of this event has named")
            seen[items] = True
            out[items] = ratio[row]
        yield Occurrence(of_year, of_day if has_day else None, event_id, out)


class _Named:
    """Items of a book by account, location and coverage."""

    def __init__(self, loaded: LossBook) -> None:
        book = loaded.book
        self.n = len(book.item_row)
        accounts, places = book.location.strings("AccNumber"), book.location.strings("LocNumber")
        self.account = np.array([accounts[row] for row in book.item_row.tolist()], dtype=object)
        self.place = np.array([places[row] for row in book.item_row.tolist()], dtype=object)
        self.coverage = book.item_coverage + 1

    def items(self, account: str, place: str, coverage: str, where: str) -> IntArray:
        """The items that a line names; raises BadTable where it names none."""
        if place and not account:
            raise BadTable(f"{where}: AccNumber: it is empty, and LocNumber {place!r} needs it")
        mine = np.ones(self.n, dtype=bool)
        for field, text, values in (("AccNumber", account, self.account), ("LocNumber", place, self.place)):
            if text:
                mine &= values == text
                if not mine.any():
                    raise BadTable(f"{where}: {field}: {text!r} is not in the book")
        if coverage:
            if coverage not in ("1", "2", "3", "4"):
                raise BadTable(f"{where}: coverage_type_id: {coverage!r} is none of 1, 2, 3, 4")
            mine &= self.coverage == int(coverage)
        found: IntArray = np.flatnonzero(mine)
        return found


def run(
    path: Path, loaded: LossBook, out: Path, ylt_out: Path | None, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Writes the items of every occurrence, and the year losses as `tocsin ep` reads them; the sums of it all.

    Annual aggregates and treaties of the year begin anew with each year. Raises BadTable and InvalidInput.
    """
    first = first_rows(loaded.book)
    sums = np.zeros(3)
    n, year, state, premium = 0, 0, loaded.new_year(), 0.0
    last_due = 0.0
    try:
        with ExitStack() as files:
            writer: pcsv.CSVWriter | None = None
            tables = _YearTables(files, ylt_out)
            for event in occurrences(path, loaded):
                if event.year != year:
                    year, state, last_due = event.year, loaded.new_year(), 0.0
                losses = loaded.losses(event.ratio, state)
                due = state.outward.premium
                total = (float(losses[0][first].sum()), float(losses[1].sum()), float(losses[2].sum()))
                tables.add(event, total, due - last_due)
                premium, last_due = premium + due - last_due, due
                sums += total
                n += 1
                items = _items(event, loaded, losses)
                if writer is None:
                    writer = files.enter_context(
                        pcsv.CSVWriter(out, items.schema, write_options=pcsv.WriteOptions(quoting_style="needed"))
                    )
                writer.write_table(items)
                if progress is not None:
                    progress(n)
    except OSError as error:
        raise InvalidInput(f"{error.filename or out}: {error.strerror or error}") from error
    return {
        "n_occurrences": n, "loss_gul": float(sums[0]), "loss_il": float(sums[1]), "loss_ri": float(sums[2]),
        "reinstatement_premium": premium,
    }  # fmt: skip


def _items(event: Occurrence, loaded: LossBook, losses: tuple[FloatArray, FloatArray, FloatArray]) -> pa.Table:
    items = table(loaded, losses)
    n = items.num_rows
    items = items.add_column(0, "event_id", pa.array([event.event_id] * n, pa.string()))
    if event.day is not None:
        items = items.add_column(0, "day", pa.array([event.day] * n, pa.float64()))
    return items.add_column(0, "year", pa.array([event.year] * n, pa.int64()))


def named_for(path: Path, perspective: str) -> Path:
    """NAME.csv for a perspective: NAME_gul.csv."""
    return path.with_name(f"{path.stem}_{perspective}{path.suffix or '.csv'}")


class _YearTables:
    """Year loss tables of the three perspectives, if they are asked for."""

    def __init__(self, files: ExitStack, path: Path | None) -> None:
        self.writers: Mapping[str, Any] = {}
        if path is None:
            return
        self.writers = {
            name: csv.writer(files.enter_context(named_for(path, name).open("w", encoding="utf-8", newline="")))
            for name in PERSPECTIVES
        }
        self.begun = False

    def add(self, event: Occurrence, total: tuple[float, float, float], premium: float) -> None:
        """A line in each table; net losses have the reinstatement premium that the event makes due beside them."""
        for (name, writer), loss in zip(self.writers.items(), total, strict=False):
            day = {} if event.day is None else {"day": event.day}
            row = {"year": event.year, **day, "event_id": event.event_id, "loss": loss}
            if name == "ri":
                row["reinstatement_premium"] = premium
            if not self.begun:
                writer.writerow(row)
            writer.writerow(row.values())
        self.begun = True
