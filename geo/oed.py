"""OED location and account files, read row by row: what fits, and every row that does not, with its line and reason.

Open Exposure Data (OED, Oasis LMF): field names compare without regard to case. Columns that are not named here are
kept as they came. Amounts become whole hundredths of their currency without passing through floating point.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.errors import InvalidInput
from geo import chinese_datum
from geo.crs import WGS84, BadCoordinates, coordinate_fault, to_wgs84
from geo.exposure import MAX_CENTS, cents_text

#: Fields an OED location file cannot do without. Of the four TIV columns at least one must be there.
REQUIRED = ("PortNumber", "AccNumber", "LocNumber", "CountryCode", "LocPerilsCovered", "LocCurrency")
TIV_FIELDS = ("BuildingTIV", "OtherTIV", "ContentsTIV", "BITIV")
_TYPED = (*REQUIRED, *TIV_FIELDS, "Latitude", "Longitude", "OccupancyCode", "ConstructionCode")
_ID_FIELDS = ("portnumber", "accnumber", "locnumber", "polnumber", "occupancycode", "constructioncode")
CHUNK_ROWS = 20_000


class BadOedFile(InvalidInput):
    """This is not a readable OED file."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was refused."""

    line: int  #: line of the CSV file (the header is line 1), or row of the Parquet file
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}"


class LocationRow(NamedTuple):
    """One location as it will be stored. Coordinates are WGS84 degrees, or None where the place is unknown."""

    line: int
    acc_number: str
    loc_number: str
    lon: float | None
    lat: float | None
    country_code: str
    occupancy_code: int | None
    construction_code: int | None
    building_cents: int
    other_cents: int
    contents_cents: int
    bi_cents: int
    currency: str
    perils: str
    extra: dict[str, str]

    @property
    def tiv_cents(self) -> int:
        return self.building_cents + self.other_cents + self.contents_cents + self.bi_cents


class PolicyRow(NamedTuple):
    """One policy of an OED account file."""

    acc_number: str
    pol_number: str
    perils: str
    inception: date | None
    expiry: date | None


@dataclass
class Reconciliation:
    """TIV in = mapped + refused + unknown, by currency, to the cent. Built up while the file is read."""

    mapped: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)  #: summed as the file is read
    n_mapped: int = 0
    n_refused: int = 0
    n_unknown: int = 0
    n_refused_unreadable: int = 0  #: refused rows whose amount cannot be read: in no sum
    n_rounded: int = 0  #: amounts with more than two decimals, rounded half up
    #: ("refused" or "unknown", reason) -> [rows, {currency: cents}]; the reason of a refused row is its field
    reasons: dict[tuple[str, str], tuple[list[int], dict[str, int]]] = field(default_factory=dict)

    def because(self, kind: str, reason: str, currency: str | None, cents_: int) -> None:
        """Counts a row and its amount under its reason; without a currency it is counted and in no sum."""
        n, sums = self.reasons.setdefault((kind, reason), ([0], {}))
        n[0] += 1
        if currency is not None:
            self._add(sums, currency, cents_)

    @staticmethod
    def _add(to: dict[str, int], currency: str, cents: int) -> None:
        to[currency] = to.get(currency, 0) + cents

    def difference(self) -> dict[str, int]:
        """Read less mapped, refused and unknown, by currency: all zero, or there is a fault in this program."""
        currencies = self.read.keys() | self.mapped.keys() | self.refused.keys() | self.unknown.keys()
        return {
            c: self.read.get(c, 0) - self.mapped.get(c, 0) - self.refused.get(c, 0) - self.unknown.get(c, 0)
            for c in sorted(currencies)
        }

    def reasons_difference(self) -> dict[str, dict[str, int]]:
        """Refused and unknown less the sums of their reasons: all zero, or there is a fault in this program."""
        found: dict[str, dict[str, int]] = {}
        for kind, whole in (("refused", self.refused), ("unknown", self.unknown)):
            left = dict(whole)
            for (of, _), (_, sums) in self.reasons.items():
                for currency, amount in sums.items() if of == kind else ():
                    left[currency] = left.get(currency, 0) - amount
            found[kind] = left
        return found

    def as_json(self) -> dict[str, Any]:
        def told(amounts: Mapping[str, int]) -> dict[str, str]:
            return {c: cents_text(v) for c, v in sorted(amounts.items())}

        def reasons(kind: str) -> list[dict[str, Any]]:
            return [
                {"reason": reason, "n": n[0], "tiv": told(sums)}
                for (of, reason), (n, sums) in sorted(self.reasons.items())
                if of == kind
            ]

        return {
            "n_in": self.n_mapped + self.n_refused + self.n_unknown,
            "tiv_in": told(self.read),
            "mapped": {"n": self.n_mapped, "tiv": told(self.mapped)},
            "refused": {
                "n": self.n_refused,
                "tiv": told(self.refused),
                "n_amount_unreadable": self.n_refused_unreadable,
                "by_reason": reasons("refused"),
            },
            "unknown": {"n": self.n_unknown, "tiv": told(self.unknown), "by_reason": reasons("unknown")},
            "difference": told(self.difference()),
            "n_rounded": self.n_rounded,
        }


class _RowFault(Exception):
    def __init__(self, field_name: str, reason: str) -> None:
        self.field, self.reason = field_name, reason


def cents(text: str) -> tuple[int, bool]:
    """An amount as whole hundredths, and whether it had to be rounded (half up). Raises ValueError with the reason."""
    whole_part, _, decimals = text.partition(".")
    if text.isascii() and whole_part.isdigit() and (not decimals or (decimals.isdigit() and len(decimals) <= 2)):
        # what nearly every amount is, without the cost of a Decimal
        value, rounded = int(whole_part) * 100 + int(decimals.ljust(2, "0")), False
    else:
        if "," in text:
            raise ValueError(f"{text!r} is not a number: write it without thousands separators")
        try:
            amount = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{text!r} is not a number") from None
        if not amount.is_finite():
            raise ValueError(f"{text!r} is not a finite number")
        if amount < 0:
            raise ValueError(f"{text!r} is negative")
        if amount.adjusted() > 17:
            raise ValueError(f"{text!r} is more than any location can be insured for")
        exact = amount * 100
        whole = exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)
        value, rounded = int(whole), whole != exact
    if value > MAX_CENTS:
        raise ValueError(f"{text!r} is more than any location can be insured for")
    return value, rounded


def _code(text: str, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise _RowFault(name, f"{text!r} is not a whole number")
    return int(text)


def _coordinate(text: str, name: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise _RowFault(name, f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise _RowFault(name, f"{text!r} is not a finite number")
    return value


class _LocationParser:
    """Turns named texts into rows and keeps the reconciliation."""

    def __init__(self, header: Sequence[str], refused: list[BadRow], reconciliation: Reconciliation) -> None:
        canonical = {name.lower(): name for name in _TYPED}
        self.columns = [canonical.get(name.strip().lower(), name.strip()) for name in header]
        check_header(self.columns, REQUIRED, any_of=TIV_FIELDS)
        self.at = {name: index for index, name in enumerate(self.columns)}
        self.extra_at = [(name, i) for i, name in enumerate(self.columns) if name not in _TYPED or name == "PortNumber"]
        self.tiv_at = [(name, self.at[name]) for name in TIV_FIELDS if name in self.at]
        self.refused = refused
        self.account = reconciliation
        self.seen: dict[tuple[str, str], int] = {}
        self.required_at = [(name, self.at[name]) for name in REQUIRED]
        self.currencies: set[str] = set()  # those that were found to be codes
        self.countries: set[str] = set()
        self.keep_original = False  #: coordinates will be converted: what stood in the file stays beside them

    def amounts(self, texts: Sequence[str]) -> tuple[dict[str, int], int]:
        """TIVs in cents by field, and how many were rounded; raises _RowFault."""
        found: dict[str, int] = {}
        n_rounded = 0
        for name, index in self.tiv_at:
            text = texts[index]
            if text:
                try:
                    found[name], rounded = cents(text)
                except ValueError as error:
                    raise _RowFault(name, str(error)) from None
                n_rounded += rounded
        return found, n_rounded

    def parse(self, line: int, raw: Sequence[str], epsg: int) -> LocationRow | None:
        """The row, or None when it was refused (and why is in `refused`)."""
        if len(raw) != len(self.columns):
            self._refuse(line, "row", f"{len(raw)} fields where the header has {len(self.columns)}", None, None)
            return None
        texts = list(map(str.strip, raw))
        at = self.at
        currency = texts[at["LocCurrency"]].upper()
        amounts: dict[str, int] | None = None
        try:
            amounts, n_rounded = self.amounts(texts)
            # summed here, before anything is decided about the row, so that a row lost further on leaves a difference
            self.account._add(self.account.read, currency, sum(amounts.values()))
            if not amounts:
                raise _RowFault("BuildingTIV", "no TIV is given in any of the four coverages; write 0 where it is zero")
            if "\0" in "".join(texts):
                raise _RowFault(
                    next(name for name, text in zip(self.columns, texts, strict=True) if "\0" in text),
                    "it holds a NUL character",
                )
            if currency not in self.currencies:
                if len(currency) != 3 or not (currency.isascii() and currency.isalpha()):
                    raise _RowFault("LocCurrency", f"{texts[at['LocCurrency']]!r} is not an ISO 4217 code")
                self.currencies.add(currency)
            for name, index in self.required_at:
                if not texts[index]:
                    raise _RowFault(name, "it is empty")
            country = texts[at["CountryCode"]].upper()
            if country not in self.countries:
                if len(country) != 2 or not (country.isascii() and country.isalnum()):
                    raise _RowFault("CountryCode", f"{country!r} is not an ISO 3166 two-letter code")
                self.countries.add(country)
            lon = _coordinate(texts[at["Longitude"]], "Longitude") if "Longitude" in at else None
            lat = _coordinate(texts[at["Latitude"]], "Latitude") if "Latitude" in at else None
            if (lon is None) != (lat is None):
                missing = "Longitude" if lon is None else "Latitude"
                raise _RowFault(missing, "it is empty while the other coordinate is not")
            if lon is not None and lat is not None and epsg == WGS84 and (fault := coordinate_fault(lon, lat)):
                raise _RowFault("Longitude" if fault.startswith("longitude") else "Latitude", fault)
            occupancy = _code(texts[at["OccupancyCode"]], "OccupancyCode") if "OccupancyCode" in at else None
            construction = (
                _code(texts[at["ConstructionCode"]], "ConstructionCode") if "ConstructionCode" in at else None
            )
            key = (texts[at["AccNumber"]], texts[at["LocNumber"]])
            if key in self.seen:
                raise _RowFault(
                    "LocNumber", f"account {key[0]!r} location {key[1]!r} stands already in line {self.seen[key]}"
                )
        except _RowFault as fault:
            self._refuse(line, fault.field, fault.reason, currency, amounts)
            return None
        self.seen[key] = line
        self.account.n_rounded += n_rounded
        extra = {name: texts[i] for name, i in self.extra_at if texts[i]}
        if self.keep_original and lon is not None:
            extra["Longitude"], extra["Latitude"] = texts[at["Longitude"]], texts[at["Latitude"]]
        b, o, c, bi = (amounts.get(name, 0) for name in TIV_FIELDS)
        return LocationRow(
            line, *key, lon, lat, country, occupancy, construction, b, o, c, bi, currency,
            texts[at["LocPerilsCovered"]], extra,
        )  # fmt: skip

    def _refuse(
        self, line: int, name: str, reason: str, currency: str | None, amounts: Mapping[str, int] | None
    ) -> None:
        self.refused.append(BadRow(line, name, reason))
        self.account.n_refused += 1
        if amounts and currency is not None:
            self.account._add(self.account.refused, currency, sum(amounts.values()))
            self.account.because("refused", name, currency, sum(amounts.values()))
        else:
            self.account.n_refused_unreadable += 1
            self.account.because("refused", name, None, 0)

    def keep(self, row: LocationRow) -> None:
        """Counts a row that will be stored."""
        total = row.tiv_cents
        if row.lon is None:
            self.account.n_unknown += 1
            self.account._add(self.account.unknown, row.currency, total)
            self.account.because("unknown", "no coordinates", row.currency, total)
        else:
            self.account.n_mapped += 1
            self.account._add(self.account.mapped, row.currency, total)

    def refuse_placed(self, row: LocationRow, fault: str) -> None:
        """Refuses a row whose converted coordinates are no place."""
        del self.seen[(row.acc_number, row.loc_number)]
        amounts = dict(
            zip(TIV_FIELDS, (row.building_cents, row.other_cents, row.contents_cents, row.bi_cents), strict=True)
        )
        self._refuse(row.line, "Longitude", fault, row.currency, amounts)


def check_header(columns: Sequence[str], required: Sequence[str], *, any_of: Sequence[str] = ()) -> None:
    """Raises BadOedFile naming the columns that are missing or doubled."""
    missing = [name for name in required if name not in columns]
    if len(columns) == 1 and missing:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if columns[0].count(mark) >= len(required) - 1:
                raise BadOedFile(f"the header is one column with {name} in it: OED files are separated by commas")
    if missing:
        raise BadOedFile(f"the header lacks {', '.join(missing)}")
    if any_of and not any(name in columns for name in any_of):
        raise BadOedFile(f"the header has none of {', '.join(any_of)}")
    doubled = sorted({name for name in columns if columns.count(name) > 1 and name})
    if doubled:
        raise BadOedFile(f"the header has {', '.join(doubled)} more than once")


def _texts(value: object, is_id: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if is_id and value.is_integer() else repr(value)
    return str(value)


def table_rows(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(line, texts) of a CSV or Parquet file, the header first; raises BadOedFile."""
    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path)
            header = table.schema_arrow.names
            is_id = [name.lower() in _ID_FIELDS for name in header]
            yield 1, list(header)
            line = 1
            for batch in table.iter_batches(CHUNK_ROWS):
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True):
                    line += 1
                    yield line, [_texts(value, known) for value, known in zip(values, is_id, strict=True)]
        except (pa.ArrowException, OSError) as error:
            raise BadOedFile(f"{path.name} is not a readable Parquet file: {error}") from error
        return
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                for texts in reader:
                    if texts:  # a blank line is no row
                        yield reader.line_num, texts
            except csv.Error as error:
                raise BadOedFile(f"{path.name}, line {reader.line_num}: {error}") from error
            except UnicodeDecodeError as error:
                raise BadOedFile(f"{path.name}, {_undecodable(path, encoding, error)}") from error
    except OSError as error:
        raise BadOedFile(f"{path}: {error.strerror}") from error


_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def _undecodable(path: Path, encoding: str, error: UnicodeDecodeError) -> str:
    """Where a file stops being text of an encoding, and what it may be."""
    with path.open("rb") as file:
        begin = file.read(2)
        mark = next((name for first, name in _MARKS if begin == first), None)
        if mark is not None:
            return f"line 1: it begins as {mark} text: --encoding {mark}"
        file.seek(0)
        for number, line in enumerate(file, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as fault:
                return (
                    f"line {number}: not {encoding} text (byte 0x{line[fault.start]:02x}); name its encoding, for "
                    "example --encoding gb18030, or cp1252 for Western Europe"
                )
            except UnicodeError:
                break
    return f"not {encoding} text ({error.reason}); name its encoding, for example --encoding gb18030"


def about_n_rows(path: Path) -> int | None:
    """How many rows a file has, for a progress bar: exact for Parquet, the lines of a CSV file; None: unreadable."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            import pyarrow.parquet as pq

            return int(pq.ParquetFile(path).metadata.num_rows)
        with path.open("rb") as file:
            return max(sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1, 1)
    except (OSError, ValueError):  # whoever reads the rows tells what is wrong with the file
        return None


def read_locations(
    path: Path,
    refused: list[BadRow],
    reconciliation: Reconciliation,
    *,
    epsg: int = WGS84,
    encoding: str = "utf-8-sig",
    datum: str = "wgs84",
) -> Iterator[list[LocationRow]]:
    """The good rows in chunks; every other row is appended to `refused` with its line, field and reason.

    `epsg` says which coordinate system the Longitude and Latitude columns are in (x and y of that system), `datum`
    whether degrees are wgs84, gcj02 or bd09; they are converted once, here, and the originals kept among the extra
    fields. Raises BadOedFile where there is no table, UnknownDatum.
    """
    if datum not in chinese_datum.DATUMS:
        raise chinese_datum.UnknownDatum(f"datum: {datum!r} is none of {', '.join(chinese_datum.DATUMS)}")
    if datum != "wgs84" and epsg != WGS84:
        raise chinese_datum.UnknownDatum(f"datum: {datum} is in degrees and cannot stand beside EPSG:{epsg}")
    rows = table_rows(path, encoding)
    header = next(rows, None)
    if header is None:
        raise BadOedFile(f"{path.name} is empty")
    parser = _LocationParser(header[1], refused, reconciliation)
    parser.keep_original = epsg != WGS84 or datum != "wgs84"
    chunk: list[LocationRow] = []
    n_read = 0
    for line, texts in rows:
        n_read += 1
        row = parser.parse(line, texts, epsg)
        if row is not None:
            chunk.append(row)
        if len(chunk) >= CHUNK_ROWS:
            yield _finish(chunk, parser, epsg, datum)
            chunk = []
    if not n_read:
        raise BadOedFile(f"{path.name} has a header and no rows")
    yield _finish(chunk, parser, epsg, datum)


def _finish(chunk: list[LocationRow], parser: _LocationParser, epsg: int, datum: str) -> list[LocationRow]:
    if epsg != WGS84:
        chunk = list(_converted(chunk, parser, epsg))
    elif datum != "wgs84":
        lon, lat = (np.array([row[i] for row in chunk], dtype=float) for i in (3, 4))  # None becomes NaN
        lon, lat = chinese_datum.to_wgs84(lon, lat, datum)
        chunk = [
            row if row.lon is None else row._replace(lon=float(a), lat=float(b))
            for row, a, b in zip(chunk, lon, lat, strict=True)
        ]
    for row in chunk:
        parser.keep(row)
    return chunk


def _converted(chunk: list[LocationRow], parser: _LocationParser, epsg: int) -> Iterator[LocationRow]:
    placed = [row for row in chunk if row.lon is not None]
    x = np.array([row.lon for row in placed], dtype=float)
    y = np.array([row.lat for row in placed], dtype=float)
    try:
        lon, lat = to_wgs84(x, y, epsg)
    except BadCoordinates:
        lon, lat = _one_by_one(x, y, epsg)
    where = {row.line: (float(a), float(b)) for row, a, b in zip(placed, lon, lat, strict=True)}
    for row in chunk:
        if row.lon is None:
            yield row
            continue
        a, b = where[row.line]
        fault = coordinate_fault(a, b)
        if fault:
            parser.refuse_placed(row, f"in EPSG:{epsg} this is {fault}")
        else:
            yield row._replace(lon=a, lat=b)


def _one_by_one(x: Any, y: Any, epsg: int) -> tuple[Any, Any]:
    lon, lat = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for i in range(len(x)):
        try:
            a, b = to_wgs84(x[i : i + 1], y[i : i + 1], epsg)
            lon[i], lat[i] = a[0], b[0]
        except BadCoordinates:
            continue  # stays NaN: refused with its line
    return lon, lat


def read_accounts(path: Path, refused: list[BadRow], *, encoding: str = "utf-8-sig") -> list[PolicyRow]:
    """The policies of an OED account file, one for each (AccNumber, PolNumber): layers of a policy are one policy."""
    rows = table_rows(path, encoding)
    header = next(rows, None)
    if header is None:
        raise BadOedFile(f"{path.name} is empty")
    known = ("AccNumber", "PolNumber", "PolPerilsCovered", "PolInceptionDate", "PolExpiryDate")
    canonical = {name.lower(): name for name in known}
    columns = [canonical.get(name.strip().lower(), name.strip()) for name in header[1]]
    check_header(columns, ("AccNumber", "PolNumber"))
    found: dict[tuple[str, str], PolicyRow] = {}
    for line, texts in rows:
        if len(texts) != len(columns):
            refused.append(BadRow(line, "row", f"{len(texts)} fields where the header has {len(columns)}"))
            continue
        named = {name: text.strip() for name, text in zip(columns, texts, strict=True)}
        try:
            for name in ("AccNumber", "PolNumber"):
                if not named[name]:
                    raise _RowFault(name, "it is empty")
            inception, expiry = _day(named, "PolInceptionDate"), _day(named, "PolExpiryDate")
            if inception and expiry and expiry < inception:
                raise _RowFault("PolExpiryDate", f"{expiry} is before the inception {inception}")
        except _RowFault as fault:
            refused.append(BadRow(line, fault.field, fault.reason))
            continue
        key = (named["AccNumber"], named["PolNumber"])
        found.setdefault(key, PolicyRow(*key, named.get("PolPerilsCovered", ""), inception, expiry))
    return list(found.values())


def _day(named: Mapping[str, str], name: str) -> date | None:
    text = named.get(name, "")
    if not text:
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise _RowFault(name, f"{text!r} is not a date as 2026-01-31") from None
