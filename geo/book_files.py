"""A book straight from a file, without a database: an OED location file, or points with values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geo.exposure import Book
from geo.oed import BadRow, LocationRow, Reconciliation, cents, read_locations
from geo.point_files import BadTable, read_points, read_table


@dataclass(frozen=True)
class BookFile:
    """A book with what stands in its file beside the columns of a book."""

    book: Book
    refused: list[BadRow]
    rows: Sequence[LocationRow | Mapping[str, str]]  #: by location_id

    def texts(self, field: str) -> list[str]:
        """The texts of any field by location_id, names compared without regard to case; raises BadTable."""
        wanted = field.strip().lower()
        if wanted in _TYPED:
            at = _TYPED[wanted]
            if all(isinstance(row, LocationRow) for row in self.rows):
                return ["" if (value := getattr(row, at)) is None else str(value) for row in self.rows]
        given = [row.extra if isinstance(row, LocationRow) else row for row in self.rows]
        known = {name for row in given for name in row}
        name = next((one for one in known if one.lower() == wanted), None)
        if name is None:
            raise BadTable(f"field {field!r}: no row has it; there are {', '.join(sorted(known)) or 'none'}")
        return [row.get(name, "") for row in given]


#: OED fields that a location row carries by another name.
_TYPED = {
    "accnumber": "acc_number", "locnumber": "loc_number", "countrycode": "country_code", "loccurrency": "currency",
    "occupancycode": "occupancy_code", "constructioncode": "construction_code", "locperilscovered": "perils",
}  # fmt: skip


def read_book(path: Path, *, currency: str = "XXX") -> BookFile:
    """A book from OED or from CSV with lat, lon, value.

    location_id counts the rows that were taken, from 0. Points have no currency of their own: `currency` names it, or
    a column does. Raises BadTable, BadOedFile.
    """
    if path.suffix.lower() in (".parquet", ".pq") or not {"lat", "lon"} <= set(read_table(path).columns):
        return _oed(path)
    table = read_table(path, ("lat", "lon", "value"))
    lon, lat = read_points(table)
    codes = [text.upper() or currency for text in table.text("currency")]
    currencies = sorted(set(codes))
    amounts = np.zeros(len(lon), dtype=np.int64)
    for i, text in enumerate(table.text("value")):
        try:
            amounts[i] = cents(text)[0]
        except ValueError as error:
            raise BadTable(f"{path.name}: line {table.line(i)}: value: {error}") from None
    n = len(lon)
    zero = np.zeros(n, dtype=np.int64)
    accounts = table.text("account")
    known = sorted(set(accounts))
    book = Book.from_columns(
        {
            "location_id": np.arange(n), "lon": lon, "lat": lat,
            "account": np.array([known.index(one) for one in accounts]) if len(known) > 1 else zero,
            "currency": np.array([currencies.index(one) for one in codes]),
            "building_cents": amounts, "other_cents": zero, "contents_cents": zero, "bi_cents": zero,
        },
        accounts=tuple(known), currencies=tuple(currencies), policies_of_account=[1] * len(known),
    )  # fmt: skip
    return BookFile(book, [], [dict(zip(table.columns, row, strict=True)) for row in table.rows])


def _oed(path: Path) -> BookFile:
    refused: list[BadRow] = []
    rows: list[LocationRow] = []
    for chunk in read_locations(path, refused, Reconciliation()):
        rows += chunk
    accounts: dict[str, int] = {}
    currencies: dict[str, int] = {}
    book = Book.from_columns(
        {
            "location_id": np.arange(len(rows)),
            "lon": np.array([row.lon for row in rows], dtype=float),
            "lat": np.array([row.lat for row in rows], dtype=float),
            "account": np.array([accounts.setdefault(row.acc_number, len(accounts)) for row in rows], dtype=np.int64),
            "currency": np.array(
                [currencies.setdefault(row.currency, len(currencies)) for row in rows], dtype=np.int64
            ),
            **{
                name: np.array([getattr(row, name) for row in rows], dtype=np.int64)
                for name in ("building_cents", "other_cents", "contents_cents", "bi_cents")
            },
        },
        accounts=tuple(accounts),
        currencies=tuple(currencies),
        policies_of_account=[1] * len(accounts),
    )
    return BookFile(book, refused, rows)
