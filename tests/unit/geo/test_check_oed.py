"""What is said of a book before it is imported: every bad row, every reason, sums to the cent, the standard's own view."""

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geo.oed import Reconciliation
from geo.oed_standard import OedExtraMissing, standard_findings

HEAD = (
    "PortNumber,AccNumber,LocNumber,CountryCode,Latitude,Longitude,LocPerilsCovered,BuildingTIV,ContentsTIV,LocCurrency"
)
GOOD = (
    "1,A1,1,GB,52.1234,-1.1234,WW1,1000.10,0.05,GBP",
    "1,A1,2,GB,,,WW1,200.20,,GBP",
    "1,A1,3,GB,52.1235,-1.1235,WW1,70,0,EUR",
)
BAD = (
    "1,A1,4,GB,52.1,-1.1,WW1,minus,0,GBP",
    "1,A1,1,GB,52.1,-1.1,WW1,50.01,0,GBP",
    "1,A1,5,GB,95,-1.1,WW1,7,0,EUR",
    "1,A1,6,GBR,52,-1.1,WW1,8,0,EUR",
)


def run(path: Path, *arguments: str) -> Any:
    from tocsin.cli import app

    return CliRunner().invoke(app, ["check-oed", str(path), "--json", *arguments])


def written(folder: Path, *rows: str) -> Path:
    path = folder / "loc.csv"
    path.write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    return path


def test_every_reason_has_its_rows_and_its_cents(tmp_path: Path) -> None:
    done = run(written(tmp_path, *GOOD, *BAD))
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    sums = told["reconciliation"]
    assert sums["n_in"] == 7
    assert sums["tiv_in"] == {"EUR": "85.00", "GBP": "1250.36"}
    assert sums["mapped"] == {"n": 2, "tiv": {"EUR": "70.00", "GBP": "1000.15"}}
    assert sums["unknown"]["by_reason"] == [{"reason": "no coordinates", "n": 1, "tiv": {"GBP": "200.20"}}]
    assert sums["refused"]["by_reason"] == [
        {"reason": "BuildingTIV", "n": 1, "tiv": {}},
        {"reason": "CountryCode", "n": 1, "tiv": {"EUR": "8.00"}},
        {"reason": "Latitude", "n": 1, "tiv": {"EUR": "7.00"}},
        {"reason": "LocNumber", "n": 1, "tiv": {"GBP": "50.01"}},
    ]
    assert sums["difference"] == {"EUR": "0.00", "GBP": "0.00"}
    assert [(row["line"], row["field"]) for row in told["refused_rows"]] == [
        (5, "BuildingTIV"), (6, "LocNumber"), (7, "Latitude"), (8, "CountryCode"),
    ]  # fmt: skip
    good = run(written(tmp_path, *GOOD))
    assert good.exit_code == 0, good.exception


def test_a_sum_without_its_reason_is_seen() -> None:
    told = Reconciliation(refused={"EUR": 5}, read={"EUR": 5})
    assert told.difference() == {"EUR": 0}
    assert told.reasons_difference()["refused"] == {"EUR": 5}
    told.because("refused", "BuildingTIV", "EUR", 5)
    assert told.reasons_difference()["refused"] == {"EUR": 0}


def test_parquet_is_the_same(tmp_path: Path) -> None:
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq

    path = written(tmp_path, *GOOD)
    pq.write_table(pcsv.read_csv(path), tmp_path / "loc.parquet")
    one, two = json.loads(run(path).stdout), json.loads(run(tmp_path / "loc.parquet").stdout)
    assert one == two


def test_the_standards_own_check(tmp_path: Path) -> None:
    pytest.importorskip("ods_tools")
    path = tmp_path / "loc.csv"
    path.write_text("\n".join([
        HEAD.replace("LocCurrency", "LocCurrency,OccupancyCode"),
        GOOD[0].replace("WW1", "XXX9") + ",1050",
        GOOD[2].replace("GB", "ZQ") + ",7",
    ]) + "\n")  # fmt: skip
    done = run(path, "--standard")
    assert done.exit_code == 2
    found = json.loads(done.stdout)["standard"]["findings"]
    told = " ".join(one["message"] for one in found)
    assert "XXX9" in told
    assert "7" in told
    assert "OccupancyCode" in told or "occupancy" in told.lower()


def test_the_standard_finds_nothing_in_a_real_portfolio(shared_data: Path) -> None:
    pytest.importorskip("ods_tools")
    folder = shared_data / "cat" / "oed"
    _, found = standard_findings(
        {"location": folder / "SourceLocOEDPiWind10.csv", "account": folder / "SourceAccOEDPiWind.csv"}
    )
    assert found == []


def test_without_ods_tools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("ods_tools"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(OedExtraMissing, match=r"tocsin\[oed\]"):
        standard_findings({"location": written(tmp_path, *GOOD)})


def test_a_book_by_any_field(tmp_path: Path) -> None:
    from tocsin.cli import app

    path = tmp_path / "loc.csv"
    path.write_text("\n".join([HEAD + ",Roof", GOOD[0] + ",tile", GOOD[1] + ",", GOOD[2] + ",tile"]) + "\n")
    arguments = ["accumulate", str(path), "--by", "roof", "--by", "LocCurrency", "--out", str(tmp_path / "o.csv")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.exception
    rows = (tmp_path / "o.csv").read_text().splitlines()[1:]
    assert "roof,tile,2,1,GBP,1000.15" in rows
    assert "roof,,1,1,GBP,200.20" in rows
    assert "LocCurrency,EUR,1,1,EUR,70.00" in rows
    bad = CliRunner().invoke(app, [*arguments[:2], "--by", "Colour", "--out", "o"])
    assert "field 'Colour': no row has it" in str(bad.exception)
