"""`tocsin terms` as its users run it: files as they come, exact columns, one clear line for what cannot be."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.errors import InvalidInput
from tocsin.cli import app

LOCATION = """PORTNUMBER,accnumber,LocNumber,Comment,LocPerilsCovered,LocCurrency,BuildingTIV,ContentsTIV,,LocDed6All
1,A,1,"one, two",WTC,,1000,,z,10

1,A,2,,WTC;ORF, ,500,100,,
1,A,3,,ORF,,70,,,
"""
ACCOUNT = """PortNumber,ACCNUMBER,PolNumber,PolPerilsCovered,AccCurrency,Extra
1,A,P,AA1,EUR,q
1,B,P2,WTC,EUR,q
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    loc, acc = tmp_path / "loc.csv", tmp_path / "acc.csv"
    loc.write_text(LOCATION)
    acc.write_text(ACCOUNT)
    return loc, acc


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)


def test_files_as_they_come_to_the_columns_that_were_promised(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "items.csv"
    done = run("terms", *files, "--damage-ratio", 0.5, "--peril", "WTC", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["PortNumber", "AccNumber", "LocNumber", "PolNumber", "LayerNumber", "coverage_type_id",
                       "loss_gul", "loss_il", "loss_ri"]  # fmt: skip
    assert [(*row[:6], *map(float, row[6:])) for row in rows[1:]] == [
        ("1", "A", "1", "P", "1", "1", 500.0, 490.0, 490.0),
        ("1", "A", "2", "P", "1", "1", 250.0, 250.0, 250.0),
        ("1", "A", "2", "P", "1", "3", 50.0, 50.0, 50.0),
    ]
    told = json.loads(done.stdout)
    assert (told["currency"], told["n_locations"], told["tiv"]) == ("EUR", 3, 1600.0)
    assert told["left_out"] == {
        "LocPerilsCovered does not name WTC": {"n": 1, "tiv": 70.0}, "accounts without a location": {"n": 1},
    }  # fmt: skip
    assert told["assumed"] == {"LocCurrency is blank: taken as EUR": 3}
    assert "left out: 1, insured value 70.00" in done.stderr


def test_grouped_by_any_field_and_with_a_stated_surge(files: tuple[Path, Path], tmp_path: Path) -> None:
    by = tmp_path / "by.csv"
    done = run(
        "terms", *files, "--damage-ratio", 0.5, "--peril", "WTC", "--out", tmp_path / "o.csv", "--by", "comment",
        "--by-out", by, "--demand-surge", "700:1.5", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["demand_surge"] == [[700.0, 1.5]]
    assert told["loss_gul"] == pytest.approx(800 * 1.5)
    with by.open(newline="") as file:
        rows = {row["Comment" if "Comment" in row else "comment"]: row for row in csv.DictReader(file)}
    assert float(rows["one, two"]["loss_il"]) == pytest.approx(740.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--damage-ratio", 1.5), "--damage-ratio: 1.5 is not between 0 and 1"),
        (("--damage-ratio", "nan"), "--damage-ratio"),
        (("--peril", "XYZ"), "--peril: 'XYZ' is not an OED peril code"),
        (("--event-date", "1/2/26"), "--event-date: '1/2/26' is not a date"),
        (("--demand-surge", "x"), "demand surge: 'x' is not FROM:FACTOR"),
        (("--by", "Comment"), "--by and --by-out come together"),
        (("--currency", "USD"), "no rate from EUR to USD"),
        (("--ri-info", "r.csv"), "come together"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    options: tuple[object, ...], told: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    ratio = () if "--damage-ratio" in options else ("--damage-ratio", 0.5)
    done = run("terms", *files, *ratio, "--out", tmp_path / "o.csv", *options)
    assert isinstance(done.exception, InvalidInput), done.output
    assert told in str(done.exception)
    assert not (tmp_path / "o.csv").exists()
