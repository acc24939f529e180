"""What stands where and what it is insured for: a book of locations as columns, and what a polygon holds of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from core.errors import InvalidInput
from geo.crs import BoolArray, FloatArray

IntArray = npt.NDArray[np.int64]

#: Columns of a book. Money is whole hundredths of the location's currency, so that sums are exact.
BOOK_DTYPE = np.dtype(
    [
        ("location_id", np.int64),
        ("lon", np.float64),  # degrees, NaN where the place is unknown
        ("lat", np.float64),
        ("account", np.int32),  # index into Book.accounts
        ("currency", np.int16),  # index into Book.currencies
        ("n_policies", np.int32),  # policies of the account; see Book
        ("building_cents", np.int64),
        ("other_cents", np.int64),
        ("contents_cents", np.int64),
        ("bi_cents", np.int64),
        ("tiv_cents", np.int64),  # the four above together
    ]
)

#: One location may not be insured for more than this many hundredths, so that four coverages fit 64 bits.
MAX_CENTS = 10**17


class BadBook(InvalidInput):
    """The columns of a book do not fit together."""


def exact_sum(cents: IntArray) -> int:
    """The sum of 64-bit integers as a Python integer: it cannot overflow, whatever the book."""
    return (int((cents >> 32).sum()) << 32) + int((cents & 0xFFFFFFFF).sum())


@dataclass(frozen=True)
class Book:
    """A portfolio's locations, sorted by longitude with the unknown places last.

    `policies_of_account[i]` is how many policies account i holds: an account's policies share its locations.
    """

    rows: npt.NDArray[np.void]  #: (n,) BOOK_DTYPE
    accounts: tuple[str, ...]
    currencies: tuple[str, ...]
    policies_of_account: IntArray  #: (n_accounts,)
    n_placed: int = field(default=0)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, npt.ArrayLike],
        *,
        accounts: tuple[str, ...],
        currencies: tuple[str, ...],
        policies_of_account: npt.ArrayLike,
    ) -> "Book":
        """A book from named columns (those of BOOK_DTYPE but the derived ones); raises BadBook."""
        lon = np.asarray(columns["lon"], dtype=np.float64)
        rows = np.zeros(len(lon), dtype=BOOK_DTYPE)
        coverages = ("building_cents", "other_cents", "contents_cents", "bi_cents")
        for name in ("location_id", "lon", "lat", "account", "currency", *coverages):
            column = np.asarray(columns[name])
            if column.shape != lon.shape:
                raise BadBook(f"column {name} has {column.shape}, lon has {lon.shape}")
            rows[name] = column
        for name in coverages:
            if len(rows) and (rows[name].min() < 0 or rows[name].max() > MAX_CENTS):
                raise BadBook(f"column {name} holds a negative or impossible amount")
            rows["tiv_cents"] += rows[name]
        per_account = np.asarray(policies_of_account, dtype=np.int64)
        if len(per_account) != len(accounts):
            raise BadBook("policies_of_account and accounts differ in length")
        if len(rows):
            rows["n_policies"] = per_account[rows["account"]]
        # a location with half a coordinate has no place
        lost = ~(np.isfinite(rows["lon"]) & np.isfinite(rows["lat"]))
        rows["lon"][lost] = np.nan
        rows["lat"][lost] = np.nan
        rows = rows[np.argsort(rows["lon"], kind="stable")]  # NaN sorts last
        return cls(rows, accounts, currencies, per_account, int(len(rows) - lost.sum()))

    def __len__(self) -> int:
        return len(self.rows)

    def by_currency(self, rows: npt.NDArray[np.void]) -> dict[str, int]:
        """TIV of some rows in hundredths, by currency."""
        return {
            self.currencies[code]: exact_sum(rows["tiv_cents"][rows["currency"] == code])
            for code in np.unique(rows["currency"])
        }


@dataclass(frozen=True)
class Exposed:
    """What of a book lies in a polygon, and what cannot be told."""

    rows: npt.NDArray[np.void]  #: exposed locations, most insured first
    tiv_cents: dict[str, int]  #: by currency
    n_policies: int
    n_unknown: int  #: locations without a place: they may be inside
    unknown_tiv_cents: dict[str, int]
    n_total: int

    def top(self, n: int) -> npt.NDArray[np.void]:
        """The n most insured exposed locations."""
        return self.rows[:n]

    def as_json(self) -> dict[str, Any]:
        """For people and programs: amounts as decimal text, so that no reader rounds them."""
        return {
            "n_locations": len(self.rows),
            "n_policies": self.n_policies,
            "exposed_tiv": {c: cents_text(v) for c, v in sorted(self.tiv_cents.items())},
            "n_unknown": self.n_unknown,
            "unknown_tiv": {c: cents_text(v) for c, v in sorted(self.unknown_tiv_cents.items())},
            "n_total": self.n_total,
        }


def cents_text(cents: int) -> str:
    """Hundredths as decimal text with two digits."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def rows_within(book: Book, polygon: BaseGeometry) -> BoolArray:
    """(n,) True for the book's rows in the polygon or on its edge.

    The book is sorted by longitude, so that each part of the polygon looks only at the rows between its western and
    eastern ends: measured dearer alternatives are a tree over the points and a join (docs/methods/exposure.md).
    """
    hit = np.zeros(len(book), dtype=bool)
    lon = book.rows["lon"][: book.n_placed]
    lat = book.rows["lat"][: book.n_placed]
    for part in shapely.get_parts(polygon):
        west, south, east, north = part.bounds
        first, last = np.searchsorted(lon, west, "left"), np.searchsorted(lon, east, "right")
        near = first + np.flatnonzero((lat[first:last] >= south) & (lat[first:last] <= north))
        near = near[~hit[near]]
        if len(near):
            shapely.prepare(part)
            hit[near] = shapely.intersects_xy(part, lon[near], lat[near])
    return hit


def within(book: Book, polygon: BaseGeometry) -> Exposed:
    """What of the book lies in the polygon. A location on the edge counts as inside; one without a place is unknown."""
    rows = book.rows[rows_within(book, polygon)]
    # rows of equal value come in the order of their ids, so that a ranking can be repeated
    rows = rows[np.lexsort((rows["location_id"], -rows["tiv_cents"]))]
    unknown = book.rows[book.n_placed :]
    return Exposed(
        rows=rows,
        tiv_cents=book.by_currency(rows),
        n_policies=int(book.policies_of_account[np.unique(rows["account"])].sum()),
        n_unknown=len(unknown),
        unknown_tiv_cents=book.by_currency(unknown),
        n_total=len(book),
    )


def lon_lat_bounds(lon: FloatArray, lat: FloatArray) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of the points that have a place, or None."""
    placed = np.isfinite(lon) & np.isfinite(lat)
    if not placed.any():
        return None
    return (float(lon[placed].min()), float(lat[placed].min()), float(lon[placed].max()), float(lat[placed].max()))
