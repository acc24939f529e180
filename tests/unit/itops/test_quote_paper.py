"""The quote on paper and on this machine: PDF in two languages, kept files, foreign tables, dry run of rules."""

import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from core.errors import InvalidInput
from itops import face, pdf, reference
from itops.cmdb import renamed
from itops.dryrun import dry_run
from itops.paper_basis import chinese
from itops.rules import BadRules
from itops.underwrite import load_book, load_priors, price_files, price_request
from tocsin.commands import quote_files

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


def test_the_chinese_pdf_brings_its_own_letters(result: dict[str, object], tmp_path: Path) -> None:
    """Poppler, which has no Chinese face of its own, is the judge: embedded is what it can draw."""
    made = pdf.render(result, "zh", quote_id="Q-1")
    assert b"STSong" not in made
    assert made.count(b"/FontFile2") >= 2  # text and headings
    if shutil.which("pdffonts") is None:
        pytest.skip("poppler-utils is not installed: the bytes were checked, poppler was not asked")
    path = tmp_path / "zh.pdf"
    path.write_bytes(made)
    told = subprocess.run(["pdffonts", str(path)], capture_output=True, text=True, check=True)
    assert not told.stderr, told.stderr
    rows = [line.split() for line in told.stdout.splitlines()[2:]]
    assert all(row[-5] == "yes" for row in rows if not row[0].startswith("Helvetica")), told.stdout  # column emb
    subprocess.run(["pdftoppm", "-r", "40", "-f", "1", "-l", "1", "-gray", str(path), str(tmp_path / "p")], check=True)
    page = next(tmp_path.glob("p*.pgm")).read_bytes()
    _, size, _, pixels = page.split(b"\n", 3)
    width = int(size.split()[0])
    title = [sum(pixel < 128 for pixel in pixels[y * width : (y + 1) * width]) for y in range(20, 60)]
    assert sum(title) > 60  # the heading is ink and not blank


def test_a_name_that_helvetica_lacks_is_embedded_and_an_english_quote_needs_no_font(result: dict[str, object]) -> None:
    assert b"/FontFile2" not in pdf.render(result, "en")
    named = pdf.render({**result, "insured": "Łódź 数据中心"}, "en")
    assert named.count(b"/FontFile2") >= 2
    reader = pytest.importorskip("pypdfium2")
    assert "Łódź 数据中心" in reader.PdfDocument(named)[0].get_textpage().get_text_range()


def test_quotes_printed_at_once_do_not_take_each_others_letters(result: dict[str, object]) -> None:
    names = ["甲乙丙丁", "戊己庚辛", "壬癸子丑"]
    alone = [pdf.render({**result, "insured": name}, "zh") for name in names]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda name: pdf.render({**result, "insured": name}, "zh"), names)) == alone


def test_without_a_font_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    face.source.cache_clear()
    monkeypatch.setattr(face, "_folders", lambda: iter(()))
    with pytest.raises(face.NoTypeface, match=r"manimgx-fonts-cjk.*fonts-noto-cjk"):
        face.source()
    face.source.cache_clear()


def test_the_systems_own_font_serves_where_the_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    system = Path("/usr/share/fonts/opentype/noto")
    if not list(system.glob("NotoSansCJK*")):
        pytest.skip("Noto Sans CJK is not installed on this system")
    caches = (face.source, face._open, face._glyph, face._glyphs)
    for one in caches:
        one.cache_clear()
    monkeypatch.setattr(face, "_folders", lambda: iter((system,)))
    assert face.source()[0].parent == system
    assert len(face.truetype("报价 quote")) > 1000
    assert face.missing("报Łก") == ["ก"]
    for one in caches:
        one.cache_clear()


def test_terms_on_paper_have_units_and_the_paper_is_signed_or_says_why_not(result: dict[str, object]) -> None:
    reader = pytest.importorskip("pypdfium2")

    def text(of: dict[str, object]) -> str:
        pages = [page.get_textpage().get_text_range() for page in reader.PdfDocument(pdf.render(of, "en"))]
        return " ".join(" ".join(pages).split())

    told = text({**result, "decision": "refer"})
    for words in (
        "limit each event 12,000,000 CNY", "waiting period 8 h", "type of waiting period retention",
        "deductible, then insured's share, then limit", "All amounts in CNY", "of technical premium",
        "Approvals by others than the underwriter that are needed before binding: 1", "for the insured",
        "IRIS 2022", "device-years on record", "flood at the sites",
    ):  # fmt: skip
        assert words in told, words
    assert "12000000" not in told
    declined = text({**result, "decision": "decline"})
    assert "is not an offer and is not signed" in declined
    assert "for the insured" not in declined


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


@pytest.mark.parametrize("command", [["stress"], ["quote", "rerun"]])
def test_an_id_that_is_none_or_that_nobody_has_is_one_line(tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "home"
    malformed = tocsin(home, *command, "12-34")
    assert (malformed.returncode, malformed.stdout) == (2, "")
    assert malformed.stderr == "tocsin: ID: '12-34' is not the id of a quote: that is a UUID of 32 hexadecimal digits\n"
    nobodys = "00000000-0000-4000-8000-000000000000"
    unknown = tocsin(home, *command, nobodys)
    assert (unknown.returncode, unknown.stdout) == (3, "")
    assert unknown.stderr == f"tocsin: There is no quote {nobodys} on this machine, and no database here\n"
    assert not (home / "database.json").exists()  # asking makes no database


def _bare(text: str) -> bool:
    """Whether a text has English words of ours left: three words in a row, names of sources left out."""
    kept = re.sub(r"Uptime Institute|Backblaze Drive Stats|LANL LA-UR|Cyentia IRIS|`[^`]*`|SHA-256 \w+", "", text)
    return re.search(r"[A-Za-z]{2,}[ ,]+[a-z]{2,}[ ,]+[a-z]{2,}", kept) is not None


@pytest.mark.parametrize("name", reference.NAMES)
def test_the_chinese_paper_says_what_it_stands_on_in_chinese(name: str) -> None:
    submission, fleet, incidents = reference.portfolio(name, load_priors()[0], scale=0.1)
    disk = fleet.splitlines()[1].split(",")[0]
    submission |= {
        "service_plan": ["insurance", "health_care", "managed"],
        "alarms": [{"asset_id": disk, "signal": "inlet_temperature", "value": 40}],
        "claims_history": [{"opened_on": "2025-03-01", "amount": 20000}],
    }
    told = price_request(submission, fleet + "x-1,server,2023-01-01,,,,9000,,,\n", incidents).result()
    texts = [
        item[part] for item in told["assumptions"] if item["kind"] != "default" for part in ("name", "value", "basis")
    ]
    texts += told["notes"]
    assert len(texts) > 40
    for text in texts:
        assert not _bare(chinese(text)), text
        if re.search("[A-Za-z]{3}", text) and not re.fullmatch(r"[\d,.]+ [A-Z]{3}", text):
            assert re.search("[\u4e00-\u9fff]", chinese(text)), text
        # Every figure of the English text stands in the Chinese one.
        figures = re.findall(r"\d+(?:[.,]\d+)*", text)
        assert sorted(figures) == sorted(re.findall(r"\d+(?:[.,]\d+)*", chinese(text))), text


def test_every_basis_of_the_book_is_in_the_catalogue_and_an_unknown_text_stays() -> None:
    folder = Path(face.__file__).parent / "data"

    def bases(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["basis"]] if isinstance(value.get("basis"), str) else []
            return own + [text for item in value.values() for text in bases(item)]
        return []

    shown = [
        text
        for name in ("priors", "shocks", "tariff")
        for key, part in json.loads((folder / f"{name}.json").read_text(encoding="utf-8")).items()
        if key != "burst"
        for text in bases(part)
    ]
    never = {
        "redundancy",
        "monitored",
        "sla_tier",
    }  # their figures are part of the relativities, whose basis is printed
    tariff = json.loads((folder / "tariff.json").read_text(encoding="utf-8"))["relativity"]
    unprinted = {tariff[name]["basis"] for name in never}
    assert [text for text in shown if text not in unprinted and chinese(text) == text] == []
    assert chinese("somebody's own words") == "somebody's own words"


def test_the_chinese_pdf_holds_the_chinese_basis(result: dict[str, object]) -> None:
    reader = pytest.importorskip("pypdfium2")
    pages = reader.PdfDocument(pdf.render(result, "zh", quote_id="Q-1"))
    text = re.sub(r"\s", "", "".join(page.get_textpage().get_text_range() for page in pages))
    assert "略高于不间断电源" in text
    assert "taken slightly above" not in text
    # No name of a field, a cover, a class or a moment is left in English.
    for word in (
        "loss_adjustment", "cost_of_capital", "time_zone", "system_availability", "deductible", "coinsurance", "mean:",
        "variance", "server", "business", "judgement", "patch", "round the clock",
    ):  # fmt: skip
        assert word.replace(" ", "") not in text, word
    assert "系统可用性:条款次序=先免赔额，次自担比例，再限额" in text
    assert "可用性的计时:系统可用性按自然时间（全天候）计。" in text
    assert "also" not in text
    english = reader.PdfDocument(pdf.render(result, "en", quote_id="Q-1"))
    assert "taken slightly above" in "".join(page.get_textpage().get_text_range() for page in english)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "cannot be read"), ("[]", "submission is missing"), ('{"submission": {}}', "result is missing")],
)
def test_a_kept_quote_that_was_damaged_is_named(tmp_path: Path, text: str, reason: str) -> None:
    quote_id = quote_files.id_of("0" * 64, "itops-2026.4")
    (tmp_path / f"{quote_id}.json").write_text(text)
    with pytest.raises(InvalidInput, match=f"{quote_id}.json.*{reason}"):
        quote_files.find(tmp_path, quote_id)
    assert quote_files.find(tmp_path, quote_files.id_of("1" * 64, "itops-2026.4")) is None
    (tmp_path / f"{quote_id}.json").unlink()
    assert quote_files.every(tmp_path) == []
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"notes\.json is not a kept quote"):
        quote_files.every(tmp_path)
