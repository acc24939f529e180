"""OED files: what is taken, what is refused with which words, and that no cent goes missing."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.oed import (
    BadOedFile,
    BadRow,
    LocationRow,
    Reconciliation,
    cents,
    check_header,
    read_accounts,
    read_locations,
    table_rows,
)

COLUMNS = (
    "PortNumber", "AccNumber", "LocNumber", "CountryCode", "Latitude", "Longitude", "OccupancyCode", "LocPerilsCovered",
    "BuildingTIV", "OtherTIV", "ContentsTIV", "BITIV", "LocCurrency", "StreetAddress",
)  # fmt: skip
GOOD = {
    "PortNumber": "1", "AccNumber": "A1", "LocNumber": "1", "CountryCode": "GB", "Latitude": "52.7",
    "Longitude": "-0.9", "OccupancyCode": "1050", "LocPerilsCovered": "WW1", "BuildingTIV": "100", "OtherTIV": "0",
    "ContentsTIV": "20.5", "BITIV": "0", "LocCurrency": "GBP", "StreetAddress": "1, High Street",
}  # fmt: skip


def read(path: Path, **more: object) -> tuple[list[LocationRow], list[BadRow], Reconciliation]:
    refused: list[BadRow] = []
    told = Reconciliation()
    rows = [row for chunk in read_locations(path, refused, told, **more) for row in chunk]  # type: ignore[arg-type]
    assert set(told.difference().values()) <= {0}
    return rows, refused, told


def write(folder: Path, *rows: dict[str, str], header: tuple[str, ...] = COLUMNS) -> Path:
    path = folder / "loc.csv"
    lines = [",".join(header)]
    lines += [",".join(f'"{row.get(c, "")}"' for c in header) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_good_row_is_typed_and_its_other_columns_kept(tmp_path: Path) -> None:
    (row,), refused, told = read(write(tmp_path, GOOD))
    assert not refused
    assert (row.line, row.acc_number, row.loc_number, row.lon, row.lat) == (2, "A1", "1", -0.9, 52.7)
    assert (row.building_cents, row.contents_cents, row.tiv_cents) == (10000, 2050, 12050)
    assert row.occupancy_code == 1050
    assert row.extra == {"StreetAddress": "1, High Street", "PortNumber": "1"}
    assert told.mapped == {"GBP": 12050}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"BuildingTIV": "1,000"}, "BuildingTIV", "thousands separators"),
        ({"BuildingTIV": "nan"}, "BuildingTIV", "not a finite number"),
        ({"ContentsTIV": "-1"}, "ContentsTIV", "negative"),
        ({"BITIV": "1e30"}, "BITIV", "more than any location"),
        ({"BuildingTIV": "", "OtherTIV": "", "ContentsTIV": "", "BITIV": ""}, "BuildingTIV", "no TIV is given"),
        ({"LocCurrency": "pounds"}, "LocCurrency", "ISO 4217"),
        ({"CountryCode": "GBR"}, "CountryCode", "two-letter"),
        ({"AccNumber": ""}, "AccNumber", "empty"),
        ({"Latitude": "95"}, "Latitude", "out of -90..90"),
        ({"Latitude": "140.1", "Longitude": "35.2"}, "Latitude", "swapped"),
        ({"Longitude": "200"}, "Longitude", "out of -180..180"),
        ({"Latitude": "0", "Longitude": "0"}, "Latitude", "stands for no place"),
        ({"Longitude": ""}, "Longitude", "empty while the other"),
        ({"Latitude": "north"}, "Latitude", "not a number"),
        ({"OccupancyCode": "house"}, "OccupancyCode", "whole number"),
    ],
)
def test_a_bad_row_is_named_with_line_field_and_reason(
    tmp_path: Path, change: dict[str, str], field: str, reason: str
) -> None:
    rows, refused, told = read(write(tmp_path, GOOD, GOOD | {"LocNumber": "2"} | change))
    assert len(rows) == 1
    assert len(refused) == 1
    assert (refused[0].line, refused[0].field) == (3, field)
    assert reason in refused[0].reason
    assert told.n_mapped == told.n_refused == 1


def test_the_same_location_twice_names_the_first_line(tmp_path: Path) -> None:
    _, refused, _ = read(write(tmp_path, GOOD, GOOD))
    assert str(refused[0]) == "line 3: LocNumber: account 'A1' location '1' stands already in line 2"


def test_a_row_with_too_few_fields_and_a_quoted_line_break_keep_their_line_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD | {"StreetAddress": "two\nlines"}, GOOD | {"LocNumber": "2"})
    path.write_text(path.read_text() + "1,A1,3\n")
    rows, refused, _ = read(path)
    assert [row.line for row in rows] == [3, 4]
    assert str(refused[0]) == "line 5: row: 3 fields where the header has 14"


def test_a_location_without_coordinates_is_unknown_and_its_value_is_told(tmp_path: Path) -> None:
    _, refused, told = read(write(tmp_path, GOOD, GOOD | {"LocNumber": "2", "Latitude": "", "Longitude": ""}))
    assert not refused
    assert (told.n_mapped, told.n_unknown, told.unknown) == (1, 1, {"GBP": 12050})


def test_headers_are_matched_without_case_and_what_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.write_text(path.read_text().replace("BuildingTIV", "buildingtiv").replace("LocNumber", "LOCNUMBER"))
    assert len(read(path)[0]) == 1
    header = tuple(c for c in COLUMNS if c not in ("AccNumber", "LocCurrency"))
    with pytest.raises(BadOedFile, match="the header lacks AccNumber, LocCurrency"):
        read(write(tmp_path, GOOD, header=header))
    with pytest.raises(BadOedFile, match="CountryCode more than once"):
        read(write(tmp_path, GOOD, header=(*COLUMNS, "CountryCode")))


def test_files_that_are_no_table_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    with pytest.raises(BadOedFile, match="is empty"):
        read(empty)
    with pytest.raises(BadOedFile, match="no rows"):
        read(write(tmp_path))
    with pytest.raises(BadOedFile, match="No such file"):
        read(tmp_path / "none.csv")
    chinese = write(tmp_path, GOOD | {"StreetAddress": "磨坊街1号"})
    chinese.write_bytes(chinese.read_text(encoding="utf-8").encode("gb18030"))
    with pytest.raises(BadOedFile, match="gb18030"):
        read(chinese)
    assert read(chinese, encoding="gb18030")[0][0].extra["StreetAddress"] == "磨坊街1号"
    fake = tmp_path / "fake.parquet"
    fake.write_text("not parquet")
    with pytest.raises(BadOedFile, match="Parquet"):
        read(fake)


def test_parquet_gives_the_same_rows_as_csv(tmp_path: Path) -> None:
    rows = [GOOD, GOOD | {"LocNumber": "2", "BuildingTIV": "123.456"}]
    typed = {c: [row[c] for row in rows] for c in COLUMNS}
    table = pa.table(
        {
            **typed,
            "BuildingTIV": [float(v) for v in typed["BuildingTIV"]],
            "LocNumber": [1.0, 2.0],
            "Latitude": [52.7, None],
            "Longitude": [-0.9, None],
        }
    )
    pq.write_table(table, tmp_path / "loc.parquet")
    from_parquet, refused, told = read(tmp_path / "loc.parquet")
    assert not refused
    assert [row.loc_number for row in from_parquet] == ["1", "2"]
    assert from_parquet[1].building_cents == 12346
    assert (from_parquet[1].lon, told.n_unknown, told.n_rounded) == (None, 1, 1)


def test_coordinates_of_a_declared_system_are_converted_and_the_originals_kept(tmp_path: Path) -> None:
    # British National Grid: Ordnance Survey, Guide to coordinate systems in Great Britain, Caister water tower
    path = write(tmp_path, GOOD | {"Longitude": "651409.903", "Latitude": "313177.270"})
    (row,), _, _ = read(path, epsg=27700)
    assert row.lon == pytest.approx(1.716_073, abs=2e-4)
    assert row.lat == pytest.approx(52.658_007, abs=2e-4)
    assert row.extra["Longitude"] == "651409.903"
    _, refused, told = read(write(tmp_path, GOOD | {"Longitude": "9e30", "Latitude": "1"}), epsg=27700)
    assert refused[0].field == "Longitude"
    assert told.refused == {"GBP": 12050}


@given(st.decimals(min_value=0, max_value=Decimal(10) ** 14, allow_nan=False, places=2))
def test_cents_are_exact(amount: Decimal) -> None:
    assert cents(str(amount)) == (int(amount * 100), False)


@given(st.decimals(min_value=0, max_value=Decimal(10) ** 9, allow_nan=False, places=6))
def test_finer_amounts_are_rounded_half_up_and_told(amount: Decimal) -> None:
    value, rounded = cents(str(amount))
    assert abs(Decimal(value) - amount * 100) <= Decimal("0.5")
    assert rounded == (Decimal(value) != amount * 100)
    assert cents("0.005") == (1, True)


def test_accounts_are_policies_and_their_layers_are_one(tmp_path: Path) -> None:
    path = tmp_path / "acc.csv"
    path.write_text(
        "AccNumber,PolNumber,PolPerilsCovered,PolInceptionDate,PolExpiryDate,LayerNumber\n"
        "A1,P1,WW1,2026-01-01,2026-12-31,1\nA1,P1,WW1,2026-01-01,2026-12-31,2\n"
        "A1,P2,WW1,2026-06-01,2026-01-01,1\nA2,,WW1,,,1\n"
    )
    refused: list[BadRow] = []
    policies = read_accounts(path, refused)
    assert [(p.acc_number, p.pol_number) for p in policies] == [("A1", "P1")]
    assert [row.field for row in refused] == ["PolExpiryDate", "PolNumber"]


def test_the_piwind_portfolio_is_read_whole(shared_data: Path) -> None:
    rows, refused, told = read(shared_data / "cat/oed/SourceLocOEDPiWind.csv")
    assert len(rows) + len(refused) == 12598
    assert not refused
    assert told.n_unknown == 0
    # summed from the file by awk over its four TIV columns
    assert told.mapped == {"GBP": 233_128_125_000}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1,x\n2,Gr\xf6\xdfe\n".encode("latin-1"), "line 3: not utf-8-sig text \\(byte 0xf6\\)"),
        ("a,b\n".encode("utf-16"), "it begins as utf-16 text: --encoding utf-16"),
        (";".join(COLUMNS).encode() + b"\n1;2\n", "one column with semicolons"),
        ("\t".join(COLUMNS).encode() + b"\n1\t2\n", "one column with tabs"),
    ],
)
def test_a_file_in_another_encoding_or_with_another_separator_says_so_with_its_line(
    tmp_path: Path, content: bytes, told: str
) -> None:
    path = tmp_path / "loc.csv"
    path.write_bytes(content)
    with pytest.raises(BadOedFile, match=told):
        check_header(*[texts for _, texts in table_rows(path, "utf-8-sig")][:1], COLUMNS)


def test_a_nul_character_is_refused_and_its_amount_counted(tmp_path: Path) -> None:
    rows, refused, told = read(write(tmp_path, GOOD, GOOD | {"LocNumber": "2", "StreetAddress": "a\0b"}))
    assert len(rows) == 1
    assert str(refused[0]) == "line 3: StreetAddress: it holds a NUL character"
    assert told.refused == {"GBP": 12050}
