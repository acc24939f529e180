"""The OED files behind a book, kept whole as Parquet of their texts, so that terms can be read again at any time."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InvalidInput
from geo.estimate import PLACE_FIELDS
from geo.oed import BadOedFile, table_rows
from geo.oed_table import OedTable, read_table
from geo.reinsurance_oed import INFO_FIELDS, SCOPE_FIELDS, read_outward
from geo.terms import IntArray
from geo.terms_book import LOCATION_FIELDS, build
from geo.terms_files import LossBook, read_rates
from geo.terms_policies import ACCOUNT_FIELDS
from geo.terms_rows import Rates

_FIELDS: dict[str, tuple[str, ...]] = {
    "location": (*LOCATION_FIELDS, *PLACE_FIELDS), "account": ACCOUNT_FIELDS, "ri_info": INFO_FIELDS,
    "ri_scope": SCOPE_FIELDS,
}  # fmt: skip


def pack(path: Path, kind: str, encoding: str = "utf-8-sig") -> tuple[str, bytes]:
    """(file name, Parquet) of every named column of a file, names as OED spells them. Raises BadOedFile."""
    if kind == "rates":
        read_rates(path)
        wanted: tuple[str, ...] = ("cur_from", "cur_to", "roe")
    else:
        header = next(table_rows(path, encoding), None)
        if header is None:
            raise BadOedFile(f"{path.name} is empty")
        known = {name.lower() for name in _FIELDS[kind]}
        names = [name.strip() for name in header[1]]
        others = [n for n in names if n and n.lower() not in known and [m.lower() for m in names].count(n.lower()) == 1]
        wanted = (*_FIELDS[kind], *others)
    try:
        table = read_table(path, wanted, encoding=encoding)
    except BadOedFile:
        table = _row_by_row(path, wanted, encoding)
    buffer = io.BytesIO()
    pq.write_table(pa.table(table.columns), buffer, compression="zstd")
    return path.name, buffer.getvalue()


def _row_by_row(path: Path, wanted: tuple[str, ...], encoding: str) -> OedTable:
    """The rows that have as many fields as the header: the others were refused by the import, or it was refused."""
    canonical = {name.lower(): name for name in wanted}
    rows = table_rows(path, encoding)
    names = [canonical.get(name.strip().lower(), "") for name in next(rows)[1]]
    good = [texts for _, texts in rows if len(texts) == len(names)]
    columns = {
        name: pa.array([texts[i].strip() for texts in good], pa.string()) for i, name in enumerate(names) if name
    }
    return OedTable(path, columns, len(good), encoding)


def unpack(name: str, content: bytes) -> OedTable:
    """A table as it was packed. Rows that turn out bad are told by their row, counted from line 2."""
    table = pq.read_table(io.BytesIO(content))
    columns = {c: table.column(c).combine_chunks() for c in table.column_names}
    columns = {c: v.combine_chunks() if isinstance(v, pa.ChunkedArray) else v for c, v in columns.items()}
    return StoredTable(Path(name), columns, table.num_rows)


class StoredTable(OedTable):
    """An OED table whose file is not at hand: lines are counted, not looked up."""

    def line_of(self, rows: set[int]) -> dict[int, int]:
        return {row: row + 2 for row in rows}


def rows_of(table: OedTable, rows: IntArray) -> OedTable:
    """Some rows of a table."""
    index = pa.array(rows)
    return type(table)(table.path, {c: v.take(index) for c, v in table.columns.items()}, len(rows), table.encoding)


def one_policy_each(location: OedTable) -> OedTable:
    """An account file that says nothing: each account one policy without terms."""
    pairs = pa.table({name: location.texts(name) for name in ("PortNumber", "AccNumber")})
    pairs = pairs.group_by(["PortNumber", "AccNumber"]).aggregate([]).combine_chunks()
    columns = {name: pairs.column(name).combine_chunks() for name in ("PortNumber", "AccNumber")}
    columns = {name: c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for name, c in columns.items()}
    columns["PolNumber"] = columns["AccNumber"]
    return StoredTable(Path("(no account file)"), columns, pairs.num_rows)


def rates_of(tables: Mapping[str, OedTable]) -> Rates | None:
    """Exchange rates that came with a book."""
    table = tables.get("rates")
    if table is None:
        return None
    keys = zip(table.strings("cur_from"), table.strings("cur_to"), strict=True)
    return Rates({(a.upper(), b.upper()): float(r) for (a, b), r in zip(keys, table.numbers("roe"), strict=True)})


def loss_book(
    tables: Mapping[str, OedTable],
    rows: IntArray | None = None,
    *,
    peril: str | None,
    event_date: object,
    currency: str,
) -> LossBook:
    """The terms of a book, or of some rows of its location file. Raises BadOedRows, UnclearTerms, NoRate."""
    from datetime import date

    day = event_date if isinstance(event_date, date) else None
    location = tables["location"] if rows is None else rows_of(tables["location"], rows)
    account = tables.get("account") or one_policy_each(location)
    rates = rates_of(tables)
    account = rows_of(account, np.arange(account.n))  # faults of an earlier reading are not carried on
    book = build(location, account, peril=peril, event_date=day, currency=currency, rates=rates)
    outward = None
    if "ri_info" in tables and "ri_scope" in tables:
        info, scope = (rows_of(tables[kind], np.arange(tables[kind].n)) for kind in ("ri_info", "ri_scope"))
        outward = read_outward(book, info, scope, peril=peril, event_date=day, rates=rates)
    return LossBook(book, outward)


def problem_of(files: Mapping[str, tuple[str, bytes]], currency: str) -> str:
    """Why terms cannot be read from these files, as far as that shows without an event; empty where they can."""
    try:
        tables = {kind: unpack(*file) for kind, file in files.items()}
        if "account" in tables:
            loss_book(tables, peril=None, event_date=None, currency=currency)
    except InvalidInput as error:
        return str(error)
    return ""
