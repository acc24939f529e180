"""`tocsin quote` as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

SUBMISSION = {
    "insured": "Example Hosting",
    "fleet": "fleet.csv",
    "incidents": "incidents.csv",
    "exposure_window": {"from": "2024-01-01", "to": "2026-01-01"},
    "as_of": "2026-01-15",
    "policy_period": {"from": "2026-02-01", "to": "2027-02-01"},
    "currency": "EUR",
    "covers": [
        {
            "cover": "system_availability",
            "restoration_target_h": 4,
            "compensation_per_breach": 200,
            "compensation_per_hour": 50,
            "limit": 5000,
        }
    ],
    "expenses": {"acquisition": 0.15, "administration": 0.10, "profit": 0.05},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fleet.csv").write_text(
        "asset_id,device_class,commissioned_on\na,server,2022-01-01\nb,switch,2022-01-01\n"
    )
    (tmp_path / "incidents.csv").write_text(
        "asset_id,opened,restored\na,2024-05-01 10:00,2024-05-01 18:00\nb,2025-12-01 10:00,\n"
    )
    (tmp_path / "s.json").write_text(json.dumps(SUBMISSION))
    return tmp_path


def tocsin(*arguments: str) -> subprocess.CompletedProcess[str]:
    # No database is configured and none may be started: the state directory must stay untouched.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_json_is_one_document_and_nothing_else(folder: Path) -> None:
    done = tocsin("quote", str(folder / "s.json"), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["premium"] > 0
    assert result["currency"] == "EUR"
    assert result["classes"][1]["n_open"] == 1


def test_the_printed_quote_has_everything_that_was_promised(folder: Path) -> None:
    told = tocsin("quote", "--json", str(folder / "s.json"))
    result = json.loads(told.stdout)
    done = tocsin("quote", str(folder / "s.json"))
    assert done.returncode == 0, done.stderr
    for text in (
        f"{result['premium']:,.2f} EUR",
        f"{result['quantile_99']:,.2f} EUR",
        "2024-01-01 until 2026-01-01",
        "2026-01-15",
        result["inputs_sha256"],
        result["model_version"],
        f"{result['prior_share']:.1%}",
        "[judgement] frequency prior, server",
        "[default] time_zone: UTC",
    ):
        assert text in done.stdout, text


def test_a_refusal_is_one_clear_line_and_exit_code_2(folder: Path) -> None:
    (folder / "s.json").write_text(json.dumps({k: v for k, v in SUBMISSION.items() if k != "exposure_window"}))
    done = tocsin("quote", str(folder / "s.json"), "--json")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "no premium without an exposure window" in done.stderr


def test_a_bad_row_is_named(folder: Path) -> None:
    (folder / "incidents.csv").write_text("asset_id,opened,restored\na,2021-05-01 10:00,2021-05-01 18:00\n")
    done = tocsin("quote", str(folder / "s.json"))
    assert done.returncode == 2
    assert "line 2, opened '2021-05-01 10:00': is before commissioned_on 2022-01-01: its age is negative" in done.stderr


def test_help_names_the_command(folder: Path) -> None:
    done = tocsin("quote", "--help")
    assert done.returncode == 0
    assert "SUBMISSION.json" in done.stdout


def test_a_quote_does_not_load_the_library_of_distributions() -> None:
    """scipy.stats costs more to load than a quote of ten thousand devices costs to price."""
    told = "import sys, itops.underwrite; print('scipy.stats' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_a_quote_as_json_loads_no_database_no_fits_and_no_screen(folder: Path) -> None:
    """What a quote does not use is half a second of every quote: it is loaded by what uses it."""
    told = (
        "import sys; sys.argv = ['tocsin', 'quote', sys.argv[1], '--json', '--no-keep']\n"
        "from tocsin.cli import app\n"
        "app(standalone_mode=False)\n"
        "print([name for name in ('psycopg', 'structlog', 'rich.table', 'itops.fits', 'scipy.linalg', 'scipy.optimize')"
        " if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", told, folder / "s.json"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(done.stdout)["premium"]
    assert done.stderr.strip() == "[]"
