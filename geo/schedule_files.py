"""Crops and works of a book at their value on a day: schedules from a file, named by the locations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from geo.book_files import BookFile
from geo.changing_value import BadSchedule, ChangingValue
from geo.exposure import Book
from geo.point_files import BadTable, read_table

_COVERAGES = ("building_cents", "other_cents", "contents_cents", "bi_cents")


def read_schedules(path: Path) -> dict[str, ChangingValue]:
    """Schedules by name from CSV: schedule, kind (works or crop), day, share; each of a final value of 1.

    Raises BadTable with line and field, BadSchedule naming the schedule.
    """
    table = read_table(path, ("schedule", "kind", "day", "share"))
    shares = table.numbers("share")
    kinds: dict[str, str] = {}
    days: dict[str, list[tuple[date, float]]] = {}
    columns = zip(table.text("schedule"), table.text("kind"), table.text("day"), shares.tolist(), strict=True)
    for i, (name, kind, day, share) in enumerate(columns):
        where = f"{table.name}: line {table.line(i)}"
        if not name:
            raise BadTable(f"{where}: schedule: is empty")
        if kinds.setdefault(name, kind) != kind:
            raise BadTable(f"{where}: kind: {kind!r}, and {name!r} was {kinds[name]!r} before")
        try:
            days.setdefault(name, []).append((date.fromisoformat(day), share))
        except ValueError:
            raise BadTable(f"{where}: day: {day!r} is not a date as 2026-01-31") from None
    found = {}
    for name, points in days.items():
        try:
            found[name] = ChangingValue(kinds[name], 1.0, tuple(points))
        except BadSchedule as error:
            raise BadSchedule(f"{table.name}: schedule {name!r}: {error}") from error
    return found


@dataclass(frozen=True)
class DayBook:
    """A book at its value on a day."""

    source: BookFile
    kind: list[str]  #: by location_id: works, crop, or "settled" for what has no schedule


def on_day(source: BookFile, schedules: Mapping[str, ChangingValue], day: date, field: str = "Schedule") -> DayBook:
    """The book with the insured value of each scheduled location at its share of that day; raises BadTable.

    A blank schedule leaves a value as it is; a name that the file of schedules lacks is refused.
    """
    names = source.texts(field)
    missing = sorted({name for name in names if name and name not in schedules})
    if missing:
        raise BadTable(f"{field}: {missing[0]!r} is not among the schedules {', '.join(sorted(schedules)) or '(none)'}")
    share = {name: one.value_on(day) for name, one in schedules.items()}
    rows = source.book.rows
    by_row = np.array([share.get(names[i], 1.0) for i in rows["location_id"].tolist()])
    columns = {name: rows[name] for name in ("location_id", "lon", "lat", "account", "currency")}
    columns |= {name: np.rint(rows[name] * by_row).astype(np.int64) for name in _COVERAGES}
    book = Book.from_columns(
        columns, accounts=source.book.accounts, currencies=source.book.currencies,
        policies_of_account=source.book.policies_of_account,
    )  # fmt: skip
    kind = [schedules[name].kind if name else "settled" for name in names]
    return DayBook(replace(source, book=book), kind)
