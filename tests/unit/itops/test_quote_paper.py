"""The quote on paper and on this machine: PDF in two languages, kept files, foreign tables, dry run of rules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from itops import pdf, reference
from itops.cmdb import renamed
from itops.dryrun import dry_run
from itops.rules import BadRules
from itops.underwrite import load_book, load_priors, price_files, price_request

ROOT = Path(__file__).resolve().parents[3]
BOOK = load_book()[0]


@pytest.fixture(scope="module")
def result() -> dict[str, object]:
    submission, fleet, incidents = reference.portfolio("data_centre", load_priors()[0], scale=0.25)
    submission["alarms"] = [{"asset_id": "disk-00003", "signal": "smart_197", "value": 130}]
    submission["questionnaire"] = {"power_feeds": "one", "climate_control": "faults", "restore_test": "never"}
    return price_request(submission, fleet, incidents).result()


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ["prior only", "judgement", "Counter-offer", "Work orders", "device telemetry does not change"]),
     ("zh", ["仅凭先验", "反要约", "告警工单", "从预期损失到保费"])],
)  # fmt: skip
def test_the_pdf_says_what_the_quote_says(result: dict[str, object], language: str, words: list[str]) -> None:
    reader = pytest.importorskip("pypdfium2")
    made = pdf.render(result, language, quote_id="Q-1")
    assert made == pdf.render(json.loads(json.dumps(result)), language, quote_id="Q-1")
    document = reader.PdfDocument(made)
    text = "".join(page.get_textpage().get_text_range() for page in document)
    for word in [*words, f"{result['commercial_premium']:,.2f}", str(result["inputs_sha256"]), str(result["as_of"])]:
        assert word in text, word
    # Every page has ink on it, and none is blank but for its foot.
    for page in document:
        assert len(page.get_textpage().get_text_range()) > 200


def test_both_languages_have_every_text_and_others_are_refused() -> None:
    english, chinese = pdf.words("en"), pdf.words("zh")
    assert set(english) == set(chinese)
    assert all(chinese.values())
    with pytest.raises(pdf.UnknownLanguage, match="'fr' is not one of en, zh"):
        pdf.words("fr")


CMDB = (
    "sys_id,sys_class_name,install_date,vendor,model_id,location,replacement_cost,owner\n"
    "s1,cmdb_ci_linux_server,2023-01-01,Alder,A1,DC,1000,me\n"
    's2,"Network Switch",2023-01-01,Birch,B1,DC,,me\n'
)


def test_columns_and_classes_of_a_configuration_database_are_mapped() -> None:
    lines = renamed(CMDB, "fleet").splitlines()
    assert lines[0] == "asset_id,device_class,commissioned_on,manufacturer,model,site,value,owner"
    assert lines[1].startswith("s1,server,2023-01-01,Alder")
    assert lines[2].startswith("s2,switch,")
    assert renamed("cmdb_ci,opened_at,resolved_at\n", "incidents") == "asset_id,opened,restored\n"
    ours = "asset_id,device_class,commissioned_on,name\na,server,2023-01-01,x\n"
    assert renamed(ours, "fleet") == ours  # a column under our own name wins


def test_parquet_and_foreign_columns_price_as_csv_does(tmp_path: Path) -> None:
    submission = {
        "insured": "X", "fleet": "fleet.csv", "incidents": "incidents.csv", "currency": "EUR",
        "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"}, "as_of": "2026-01-02",
        "policy_period": {"from": "2026-02-01", "to": "2027-02-01"},
        "covers": [{"cover": "system_availability", "restoration_target_h": 4, "compensation_per_breach": 100,
                    "limit": 1000}],
        "expenses": {"acquisition": 0.1, "administration": 0.1, "profit": 0.1},
    }  # fmt: skip
    (tmp_path / "fleet.csv").write_text(CMDB)
    (tmp_path / "incidents.csv").write_text("cmdb_ci,opened_at,resolved_at\ns1,2024-05-01 10:00,2024-05-01 20:00\n")
    path = tmp_path / "s.json"
    path.write_text(json.dumps(submission))
    first = price_files(path).result()
    assert any("owner" in note for note in first["notes"])
    frame = pd.read_csv(tmp_path / "fleet.csv")
    frame["install_date"] = pd.to_datetime(frame["install_date"])
    frame.to_parquet(tmp_path / "fleet.parquet")
    path.write_text(json.dumps(submission | {"fleet": "fleet.parquet"}))
    assert price_files(path).result()["premium"] == first["premium"]
    frame["sys_class_name"] = ["toaster", "switch"]
    frame.to_parquet(tmp_path / "fleet.parquet")
    with pytest.raises(Exception, match="fleet: 1 thing is wrong: line 2, device_class 'toaster'"):
        price_files(path)
    (tmp_path / "fleet.parquet").write_bytes(b"no")
    with pytest.raises(Exception, match=r"fleet: fleet\.parquet cannot be read as Parquet"):
        price_files(path)


def test_a_dry_run_judges_past_quotes_by_other_rules(result: dict[str, object]) -> None:
    past = [{"quote_id": "q", "result": result}]
    same = dry_run(BOOK.rules, past)
    assert (same["n_quotes"], same["n_changed"]) == (1, 0)
    rules = [rule for rule in BOOK.rules["rules"] if rule["id"] == "sum-insured"]
    lenient = dry_run({**BOOK.rules, "version": "next", "rules": rules}, past)
    assert lenient["quotes"][0]["would_be"] == "quote"
    assert lenient["n_changed"] == 1
    assert lenient["quotes"][0]["rules_then"] == BOOK.rules["version"]
    with pytest.raises(BadRules, match="version"):
        dry_run({"rules": []}, past)


def tocsin(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | {"TOCSIN_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_quote_rerun_and_stress_by_id_without_a_database(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = tocsin(home, "quote", "reference", "branch", "--out", str(tmp_path / "b"), "--scale", "0.1")
    assert made.returncode == 0, made.stderr
    out = tmp_path / "o.pdf"
    told = tocsin(home, "quote", str(tmp_path / "b" / "submission.json"), "--json", "--pdf", str(out))
    assert told.returncode == 0, told.stderr
    quote = json.loads(told.stdout)
    assert out.read_bytes().startswith(b"%PDF-")
    again = tocsin(home, "quote", "rerun", quote["quote_id"], "--json")
    assert json.loads(again.stdout) == quote
    assert "the same to the cent" in again.stderr
    stressed = tocsin(home, "stress", quote["quote_id"], "--json")
    assert json.loads(stressed.stdout)["scenarios"][0]["expected_loss"] == pytest.approx(
        quote["expected_loss"], abs=0.01
    )
    # A kept quote that was tampered with is found out.
    path = home / "quotes" / f"{quote['quote_id']}.json"
    document = json.loads(path.read_text())
    document["result"]["premium"] += 0.01
    path.chmod(0o644)
    path.write_text(json.dumps(document))
    differs = tocsin(home, "quote", "rerun", quote["quote_id"])
    assert differs.returncode != 0
    assert "differs from what was stored" in differs.stderr
