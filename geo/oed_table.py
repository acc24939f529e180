"""OED files as columns: texts, codes and numbers of whole columns at once, for what must be fast.

`geo.oed` reads rows one by one into the database and says what is wrong with each; this reads the columns that the
financial terms need. A fault is told with the line, the field and the reason. Field names compare without regard to
case; columns that were not asked for are not read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from core.errors import InvalidInput
from geo.oed import BadOedFile, BadRow, table_rows

FloatArray = npt.NDArray[np.float64]
CodeArray = npt.NDArray[np.int64]

_TOLD = 20  #: rows told of in a message


class BadOedRows(InvalidInput):
    """An OED file has rows that cannot be taken."""

    def __init__(self, file: str, rows: Sequence[BadRow]) -> None:
        self.rows = tuple(rows)
        self.file = file
        count = f"{len(rows):,} bad row{'' if len(rows) == 1 else 's'}"
        lines = [f"  {row}" for row in rows[:_TOLD]]
        if len(rows) > _TOLD:
            lines.append(f"  and {len(rows) - _TOLD:,} more")
        super().__init__(f"{file}: {count}\n" + "\n".join(lines))


@dataclass
class OedTable:
    """Some columns of an OED file as Arrow texts, blanks as empty texts; names as OED spells them."""

    path: Path
    columns: dict[str, pa.Array]
    n: int
    encoding: str = "utf-8-sig"
    bad: list[BadRow] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.columns

    def texts(self, name: str, default: str = "") -> pa.Array:
        """(n,) texts; `default` where the column is absent or blank."""
        column = self.columns.get(name)
        if column is None:
            return pa.array([default] * self.n, pa.string()) if self.n < 1000 else _constant(default, self.n)
        if default:
            column = pc.if_else(pc.equal(column, ""), default, column)
        return column

    def strings(self, name: str, default: str = "") -> list[str]:
        found: list[str] = self.texts(name, default).to_pylist()
        return found

    def numbers(self, name: str, default: float = 0.0, *, low: float | None = 0.0, high: float | None = None) -> Any:
        """(n,) float64; every text that is no number, or lies outside [low, high], becomes a bad row."""
        column = self.columns.get(name)
        if column is None:
            return np.full(self.n, default)
        blank = pc.equal(column, "")
        try:
            values = pc.cast(pc.if_else(blank, None, column), pa.float64())
        except pa.ArrowInvalid:
            values = self._one_by_one(name, column)
        found = np.array(pc.fill_null(values, default).to_numpy(zero_copy_only=False), dtype=np.float64)
        wrong = ~np.isfinite(found)
        if low is not None:
            wrong |= found < low
        if high is not None:
            wrong |= found > high
        for row in np.flatnonzero(wrong).tolist():
            text = column[row].as_py()
            if not np.isfinite(found[row]):
                why = f"{text!r} is not a finite number"
            elif low is not None and found[row] < low:
                why = f"{text!r} is negative" if low == 0 else f"{text!r} is less than {low:g}"
            else:
                why = f"{text!r} is more than {high:g}"
            self.bad.append(BadRow(row, name, why))
            found[row] = default
        return found

    def _one_by_one(self, name: str, column: pa.Array) -> pa.Array:
        values: list[float | None] = []
        for row, text in enumerate(column.to_pylist()):
            try:
                values.append(float(text) if text else None)
            except ValueError:
                self.bad.append(BadRow(row, name, f"{text!r} is not a number"))
                values.append(None)
        return pa.array(values, pa.float64())

    def whole(self, name: str, default: int = 0, *, of: Iterable[int] | None = None) -> CodeArray:
        """(n,) whole numbers; anything else, or a number that is not in `of`, becomes a bad row."""
        found = self.numbers(name, float(default))
        allowed = None if of is None else np.array(sorted(of), dtype=np.float64)
        wrong = found != np.floor(found)
        if allowed is not None:
            wrong |= ~np.isin(found, allowed)
        for row in np.flatnonzero(wrong).tolist():
            why = "is not a whole number" if allowed is None else f"is none of {', '.join(f'{v:g}' for v in allowed)}"
            self.bad.append(BadRow(row, name, f"{found[row]:g} {why}"))
            found[row] = default
        whole: CodeArray = found.astype(np.int64)
        return whole

    def line_of(self, rows: set[int]) -> dict[int, int]:
        """Row (from 0) -> line of the file."""
        lines = table_rows(self.path, self.encoding)
        next(lines, None)
        return {index: line for index, (line, _) in enumerate(lines) if index in rows}

    def refuse(self, row: int, name: str, reason: str) -> None:
        """Marks a row (from 0) as bad."""
        self.bad.append(BadRow(row, name, reason))

    def check(self) -> None:
        """Raises BadOedRows with the lines of the file, where a row was found to be bad."""
        if not self.bad:
            return
        self.bad.sort(key=lambda bad: (bad.line, bad.field))
        line_of = self.line_of({bad.line for bad in self.bad})
        told = [BadRow(line_of.get(bad.line, bad.line + 2), bad.field, bad.reason) for bad in self.bad]
        raise BadOedRows(self.path.name, told)


def _constant(text: str, n: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text])).cast(pa.string())


def read_table(path: Path, wanted: Iterable[str], *, encoding: str = "utf-8-sig") -> OedTable:
    """The wanted columns that a CSV or Parquet file has; raises BadOedFile."""
    canonical = {name.lower(): name for name in wanted}
    if path.suffix.lower() in (".parquet", ".pq"):
        table = _read_parquet(path, canonical)
    else:
        table = _read_csv(path, canonical, encoding)
    columns: dict[str, pa.Array] = {}
    for name in table.column_names:
        known = canonical.get(name.strip().lower())
        if known is None:
            continue
        if known in columns:
            raise BadOedFile(f"{path.name}: the header has {known} more than once")
        column = table.column(name)
        if pa.types.is_floating(column.type):
            # identifiers that a dataframe turned into 1.0 are 1
            whole = column.cast(pa.int64(), safe=False)
            column = pc.if_else(
                pc.equal(column, whole.cast(pa.float64())), whole.cast(pa.string()), column.cast(pa.string())
            )
        text = pc.fill_null(column.cast(pa.string()), "")
        text = pc.utf8_trim_whitespace(text)
        columns[known] = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    if table.num_rows == 0:
        raise BadOedFile(f"{path.name} has a header and no rows")
    return OedTable(path, columns, table.num_rows, encoding)


def _read_parquet(path: Path, canonical: dict[str, str]) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = [name for name in file.schema_arrow.names if name.strip().lower() in canonical]
        return file.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise BadOedFile(f"{path.name} is not a readable Parquet file: {error}") from error


def _read_csv(path: Path, canonical: dict[str, str], encoding: str) -> pa.Table:
    header = next(table_rows(path, encoding), None)
    if header is None:
        raise BadOedFile(f"{path.name} is empty")
    names = [name.strip() for name in header[1]]
    known = [name for name in names if name.lower() in canonical]
    doubled = sorted({name for name in known if [n.lower() for n in names].count(name.lower()) > 1})
    if doubled:
        raise BadOedFile(f"the header has {', '.join(doubled)} more than once")
    # names by position, so that unnamed or doubled columns which nobody asked for do no harm
    numbered = [name if name.lower() in canonical else f"\0{index}" for index, name in enumerate(names)]
    try:
        return pcsv.read_csv(
            path,
            read_options=pcsv.ReadOptions(
                column_names=numbered, skip_rows=header[0], encoding="utf8" if encoding == "utf-8-sig" else encoding
            ),
            parse_options=pcsv.ParseOptions(newlines_in_values=True),
            convert_options=pcsv.ConvertOptions(
                include_columns=known,
                column_types={name: pa.string() for name in known},
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, LookupError, UnicodeError) as error:
        # the row reader tells the line and the reason
        for line, texts in table_rows(path, encoding):
            if len(texts) != len(names):
                raise BadOedFile(
                    f"{path.name}, line {line}: {len(texts)} fields where the header has {len(names)}"
                ) from error
        raise BadOedFile(f"{path.name} is not a readable CSV file: {str(error).splitlines()[0]}") from error


def encode(*arrays: pa.Array) -> tuple[list[CodeArray], list[str]]:
    """The same codes for the same texts over several columns, and the texts by code."""
    whole = pa.chunked_array(list(arrays), pa.string()).combine_chunks().dictionary_encode()
    codes = whole.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return np.split(codes, ends), whole.dictionary.to_pylist()


def joint(*keys: tuple[CodeArray, ...]) -> tuple[list[CodeArray], int]:
    """One code for each combination over several tables: keys[t] is the tuple of code columns of table t."""
    n_fields = len(keys[0])
    parts = [np.concatenate([table[f] for table in keys]) for f in range(n_fields)]
    code = np.zeros(len(parts[0]), dtype=np.int64)
    for part in parts:
        size = int(part.max()) + 1 if len(part) else 1
        code = code * size + part
        if int(code.max(initial=0)) > 2**40:
            code = np.unique(code, return_inverse=True)[1].astype(np.int64)
    order = pa.array(code).dictionary_encode()
    dense = order.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum([len(table[0]) for table in keys])[:-1]
    return np.split(dense, ends), len(order.dictionary)
