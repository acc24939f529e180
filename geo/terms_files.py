"""OED files to item losses: ground-up, insured, net of reinsurance."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

from core.errors import InvalidInput
from geo.covers import Bands, surge_factors
from geo.oed_table import read_table
from geo.reinsurance import Outward, OutwardYear
from geo.reinsurance_oed import INFO_FIELDS, SCOPE_FIELDS, arrow_rows, read_outward
from geo.terms import BadTerms, BoolArray, FloatArray, ProgrammeYear
from geo.terms_book import LOCATION_FIELDS, TermsBook, build
from geo.terms_policies import ACCOUNT_FIELDS
from geo.terms_rows import Rates


@dataclass(frozen=True)
class BookYear:
    """What a book's terms and treaties have seen of a year so far."""

    programme: ProgrammeYear
    outward: OutwardYear


@dataclass(frozen=True)
class LossBook:
    """A book with its terms and its reinsurance, ready for footprints."""

    book: TermsBook
    outward: Outward | None
    surge: Bands = ()  #: demand surge by the event's ground-up loss; empty: none
    debris_removal: float = 0.0  #: share of the loss of property that removing debris costs on top
    loss_adjustment: float = 0.0  #: share of the insured loss that settling claims costs

    @property
    def debris_factor(self) -> FloatArray:
        """(n_items,) what removing debris makes of a loss: more of property, as much of business interruption."""
        return np.where(self.book.item_coverage < 3, 1.0 + self.debris_removal, 1.0)

    @property
    def annual(self) -> bool:
        """Whether terms or reinsurance answer to the sum of a year."""
        return self.book.programme.annual or (self.outward is not None and self.outward.annual)

    def new_year(self) -> BookYear:
        """A year in which nothing has happened yet."""
        return BookYear(
            self.book.programme.new_year(), OutwardYear(()) if self.outward is None else self.outward.new_year()
        )

    def losses(
        self, damage_ratio: float | FloatArray, year: BookYear | None = None
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(ground-up, insured, net) of each row (n_rows,) from the damage ratio of each item, or one for all.

        With a `year` annual aggregates and treaties of the year hold what its earlier events left; without one the
        event is the first of its year.

        Ground-up is the item's, and stands on each of its policy layers; demand surge, where there is one, is in it and
        in what follows. Raises BadTerms where a ratio lies outside
        [0, 1] or is not a number: an unknown ratio is not a loss of zero, and has to be left out by name before.
        """
        ratio = np.asarray(damage_ratio, dtype=np.float64)
        if not bool(((ratio >= 0) & (ratio <= 1)).all()):
            raise BadTerms("a damage ratio lies outside 0..1 or is not a number")
        ground_up = self.book.item_tiv * ratio
        if self.debris_removal:
            ground_up = ground_up * self.debris_factor
        if self.surge:
            ground_up = ground_up * surge_factors(ground_up.sum(keepdims=True), self.surge)
        insured = self.book.programme.insured(ground_up, None if year is None else year.programme)
        net = insured if self.outward is None else self.outward.net(insured, None if year is None else year.outward)
        return ground_up[self.book.row_item], insured, net


def load(
    location: Path,
    account: Path,
    *,
    ri_info: Path | None = None,
    ri_scope: Path | None = None,
    peril: str | None = None,
    event_date: date | None = None,
    currency: str | None = None,
    rates: Rates | None = None,
    encoding: str = "utf-8-sig",
    keep: tuple[str, ...] = (),
) -> LossBook:
    """A book from its files; `keep` names further location columns to hold. Raises BadOedFile, BadOedRows and kin."""
    if (ri_info is None) != (ri_scope is None):
        raise InvalidInput("reinsurance info and scope come together or not at all")
    book = build(
        read_table(location, {*LOCATION_FIELDS, *keep}, encoding=encoding),
        read_table(account, {*ACCOUNT_FIELDS, *keep}, encoding=encoding),
        peril=peril,
        event_date=event_date,
        currency=currency,
        rates=rates,
    )
    outward = None
    if ri_info is not None and ri_scope is not None:
        outward = read_outward(
            book,
            read_table(ri_info, INFO_FIELDS, encoding=encoding),
            read_table(ri_scope, SCOPE_FIELDS, encoding=encoding),
            peril=peril,
            event_date=event_date,
            rates=rates,
        )
    return LossBook(book, outward)


def read_rates(path: Path) -> Rates:
    """Exchange rates from CSV: cur_from, cur_to, roe. Raises InvalidInput with the line."""
    found: dict[tuple[str, str], float] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("cur_from", "cur_to", "roe") if name not in (reader.fieldnames or ())]
            if missing:
                raise InvalidInput(f"{path.name}: the header lacks {', '.join(missing)}")
            for row in reader:
                where = f"{path.name}, line {reader.line_num}: roe"
                try:
                    rate = float(row["roe"])
                except (TypeError, ValueError):
                    raise InvalidInput(f"{where}: {row['roe']!r} is not a number") from None
                if not 0 < rate < float("inf"):
                    raise InvalidInput(f"{where}: {row['roe']!r} is no exchange rate")
                found[(row["cur_from"].strip().upper(), row["cur_to"].strip().upper())] = rate
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    return Rates(found)


def table(loaded: LossBook, losses: tuple[FloatArray, FloatArray, FloatArray]) -> pa.Table:
    """One line for each item and policy layer."""
    book = loaded.book
    ground_up, insured, net = losses
    return pa.table(
        {
            **arrow_rows(book),
            "coverage_type_id": pa.array(book.item_coverage[book.row_item] + 1),
            "loss_gul": pa.array(ground_up),
            "loss_il": pa.array(insured),
            "loss_ri": pa.array(net),
            **({"loss_adjustment": pa.array(insured * loaded.loss_adjustment)} if loaded.loss_adjustment else {}),
        }
    )


def write_items(loaded: LossBook, losses: tuple[FloatArray, FloatArray, FloatArray], out: Path) -> None:
    """items.csv; raises InvalidInput where it cannot be written."""
    try:
        pcsv.write_csv(table(loaded, losses), out, pcsv.WriteOptions(quoting_style="needed"))
    except OSError as error:
        raise InvalidInput(f"--out: {out}: {error.strerror or error}") from error


def first_rows(book: TermsBook) -> BoolArray:
    """(n_rows,) the first row of each item: sums of ground-up losses count an item once."""
    first = np.zeros(book.n_rows, dtype=bool)
    if book.n_rows:
        first[np.unique(book.row_item, return_index=True)[1]] = True
    return first


def summary(loaded: LossBook, losses: tuple[FloatArray, FloatArray, FloatArray]) -> dict[str, Any]:
    """Totals and what was left out, for people and programs. Ground-up counts each item once."""
    book = loaded.book
    _, insured, net = losses
    once = losses[0] * first_rows(book)
    ground_up = float(once.sum())
    debris = (once * (1.0 - 1.0 / loaded.debris_factor)[book.row_item]).sum()
    told: dict[str, Mapping[str, Any]] = {
        reason: {"n": n, **({} if np.isnan(value) else {"tiv": value})} for reason, (n, value) in book.left_out.items()
    }
    return {
        "currency": book.currency,
        "n_locations": book.n_locations,
        "n_items": len(book.item_row),
        "n_rows": book.n_rows,
        "tiv": float(book.item_tiv.sum()),
        "loss_gul": ground_up,
        "loss_il": float(insured.sum()),
        "loss_ri": float(net.sum()),
        "ceded": float(insured.sum() - net.sum()),
        "left_out": told,
        "assumed": dict(book.assumed) | (dict.fromkeys(loaded.outward.notes, 1) if loaded.outward else {}),
        "demand_surge": [list(band) for band in loaded.surge],
        **steps_told(loaded, float(debris), float(insured.sum())),
    }


def steps_told(loaded: LossBook, debris: float, insured: float) -> dict[str, Any]:
    """What debris removal (of ground-up) and loss adjustment (of the insured loss) cost, where they were asked for."""
    told: dict[str, Any] = {}
    if loaded.debris_removal:
        told["debris_removal"] = {"share": loaded.debris_removal, "loss_gul": debris}
    if loaded.loss_adjustment:
        told["loss_adjustment"] = {"share": loaded.loss_adjustment, "loss": insured * loaded.loss_adjustment}
    return told


def by_field(loaded: LossBook, losses: tuple[FloatArray, FloatArray, FloatArray], field: str) -> list[dict[str, Any]]:
    """Losses by the values of an OED field of the location file, or else of the account file; largest insured first."""
    book = loaded.book
    place, policy = book.row_location, book.policy_row[book.row_policy]
    canonical = {name.lower(): name for name in (*book.location.columns, *book.account.columns)}
    name = canonical.get(field.lower())
    if name is None:
        raise InvalidInput(f"--by: neither file has a column {field!r}")
    in_location = book.location.has(name)
    column = (book.location if in_location else book.account).texts(name)
    values = column.dictionary_encode()
    codes = values.indices.to_numpy(zero_copy_only=False)[place if in_location else policy]
    names = values.dictionary.to_pylist()
    first = first_rows(book)
    # an account field divides an item among policies: its ground-up loss then counts for each
    once = losses[0] * first if in_location else losses[0]
    tiv = book.item_tiv[book.row_item] * (first if in_location else 1.0)
    sums = [np.bincount(codes, weights=w, minlength=len(names)) for w in (tiv, once, losses[1], losses[2])]
    rows = [
        {name: names[i], "tiv": sums[0][i], "loss_gul": sums[1][i], "loss_il": sums[2][i], "loss_ri": sums[3][i]}
        for i in range(len(names))
        if sums[0][i] > 0
    ]
    return sorted(rows, key=lambda r: (-r["loss_il"], str(r[name])))
