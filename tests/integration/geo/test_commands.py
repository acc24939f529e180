"""`tocsin import ...` as a shell sees it: what the README of a written drill tells a user to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tocsin.drill import files
from tocsin.drill.world import PORTFOLIO, build

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drill")
    files.write(build(1), out, picture=False)
    return out


@pytest.fixture
def tocsin(postgres_url: str, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    env = os.environ | {
        "TOCSIN_DATABASE_URL": postgres_url, "TOCSIN_HOME": str(tmp_path / "home"), "TOCSIN_MODE": "exercise",
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
        )

    return run


def test_everything_the_drill_writes_can_be_imported_by_hand(
    tocsin: Callable[..., subprocess.CompletedProcess[str]],
    make_tenant: Callable[[str], UUID],
    worker: psycopg.Connection[tuple[Any, ...]],
    folder: Path,
    tmp_path: Path,
) -> None:
    make_tenant("drill")
    mine = ("--tenant", "drill", "--json")
    told = {}
    for name, *arguments in (
        ("oed", str(folder / "locations.csv"), "--portfolio", PORTFOLIO, *mine),
        ("roads", str(folder / "roads.geojson"), *mine),
        ("safe-zones", str(folder / "safe-zones.geojson"), *mine),
        ("households", str(folder / "households.csv"), "--portfolio", PORTFOLIO, *mine),
    ):
        done = tocsin("import", name, *arguments)
        assert done.returncode == 0, done.stderr
        told[name] = json.loads(done.stdout)  # one document and nothing else
    assert told["oed"]["n_locations"] == 20_000
    assert told["oed"]["reconciliation"]["difference"] == {"EUR": "0.00"}
    assert told["oed"]["reconciliation"]["unknown"]["n"] == 200
    assert told["roads"]["version"] == 1
    assert len(list((tmp_path / "home" / "roads").iterdir())) == 1
    assert told["safe-zones"]["n_safe_zones"] == 8
    assert told["households"] == {"n_households": 500, "n_refused": 0}
    document = json.loads((folder / "footprints.geojson").read_text())
    document["features"] = [f for f in document["features"] if f["properties"]["version"] == 3]
    one = tmp_path / "footprint.geojson"
    one.write_text(json.dumps(document))
    done = tocsin("import", "footprint", str(one), "--event", "flood", "--valid-at", "2026-06-01T12:00:00Z", *mine)
    assert json.loads(done.stdout)["version"] == 1, done.stderr
    row = worker.execute("SELECT jsonb_array_length(zones), valid_at FROM footprint").fetchone()
    assert row is not None
    assert row[0] == len(document["features"]) - 1


def test_a_malformed_row_ends_in_one_line_each_and_nothing_is_imported(
    tocsin: Callable[..., subprocess.CompletedProcess[str]],
    make_tenant: Callable[[str], UUID],
    worker: psycopg.Connection[tuple[Any, ...]],
    folder: Path,
    tmp_path: Path,
) -> None:
    make_tenant("drill")
    lines = (folder / "locations.csv").read_text().splitlines()[:50]
    lines[7] = lines[7].replace(",ORF,", ",ORF,minus ")
    lines[9] += ",surplus"
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join(lines) + "\n")
    done = tocsin("import", "oed", str(bad), "--portfolio", "B", "--tenant", "drill")
    assert done.returncode == 2
    assert done.stdout == ""
    told = done.stderr.strip().splitlines()
    assert told[0] == "tocsin: bad.csv: 2 bad rows; nothing was imported"
    assert told[1].startswith("  line 8: BuildingTIV: 'minus ")
    assert told[2] == "  line 10: row: 18 fields where the header has 17"
    assert len(told) == 3
    assert worker.execute("SELECT count(*) FROM portfolio").fetchone() == (0,)
    done = tocsin("import", "oed", str(bad), "--portfolio", "B", "--tenant", "drill", "--skip-bad", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["n_locations"] == 47
    assert done.stderr.count("refused: line") == 2
    for arguments, reason in (
        (("oed", str(bad), "--portfolio", "B", "--tenant", "nobody"), "no tenant of this slug"),
        (("roads", str(bad)), "bad.csv, line 1: not JSON"),
        (("households", str(bad), "--tenant", "drill"), "the header lacks id, lon, lat"),
        (("safe-zones", str(tmp_path / "none")), "No such file"),
    ):
        done = tocsin("import", *arguments)
        assert done.returncode in (2, 3)
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
