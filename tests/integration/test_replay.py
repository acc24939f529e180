"""`tocsin replay` by itself, with nothing running: the dirty stream ends as its expected rows, the flood in warnings."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def tocsin(home: Path, *arguments: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Runs the command with this home and nothing else set."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
    return subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments],
        env={**env, "TOCSIN_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def replayed(home: Path, source: Path) -> dict[str, Any]:
    done = tocsin(home, "replay", str(source), "--speed", "max", "--once", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)  # one document and nothing else
    return document


def exported(home: Path, out: Path) -> list[dict[str, str]]:
    done = tocsin(home, "export", "observations", "--out", str(out))
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_dirty_stream_ends_as_the_rows_it_should_and_again_changes_nothing(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "warning" / "mqtt"
    told = replayed(tmp_path / "home", folder / "ditwah_dirty_dev.ndjson.gz")
    assert told["messages"] == 4817
    assert told["quarantined"] == 0
    rows = exported(tmp_path / "home", tmp_path / "rows.csv")
    assert list(rows[0]) == ["station", "quantity", "observed_at", "value", "quality", "revision"]
    with (folder / "ditwah_dirty_dev.expected.csv").open(newline="") as lines:
        expected = {(row["station"], row["observed_at"]): row for row in csv.DictReader(lines)}
    got = {(row["station"], row["observed_at"]): row for row in rows}
    assert len(got) == len(rows)
    assert got.keys() == expected.keys()
    suspected: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for key, wanted in expected.items():
        row = got[key]
        assert row["quantity"] == "level"
        assert row["revision"] == wanted["revision"]
        if wanted["value_m"]:
            assert float(row["value"]) == pytest.approx(float(wanted["value_m"]), abs=5e-5)
        else:
            assert (row["value"], row["quality"]) == ("", "9")
        if "clock" in wanted["faults"]:
            assert row["quality"] == "3"
        total[wanted["faults"]] += 1
        suspected[wanted["faults"]] += row["quality"] in ("3", "4")
    assert suspected["spike"] >= 0.8 * total["spike"]
    assert suspected["stuck"] >= 0.5 * total["stuck"]
    assert suspected[""] <= 0.05 * total[""]

    again = replayed(tmp_path / "home", folder / "ditwah_dirty_dev.ndjson.gz")
    assert (again["readings_new"], again["quarantined"]) == (0, 0)
    assert exported(tmp_path / "home", tmp_path / "again.csv") == rows


def test_the_flood_raises_warnings_at_the_official_levels(shared_data: Path, tmp_path: Path) -> None:
    told = replayed(tmp_path / "home", shared_data / "warning" / "floods" / "ditwah2025_lk_levels_dev.csv")
    assert told["readings_new"] == 4622
    crossings = told["crossings"]
    assert len({c["station"] for c in crossings}) >= 20
    assert {c["level"] for c in crossings} == {"alert", "minor", "major"}
    for c in crossings:
        assert c["official_first_crossing"] is not None, c
        assert c["warning_issued"] is not None, c
        # at once, or with the reading after a step that had to be confirmed
        assert 0 <= c["difference_s"] <= 3 * 3600, c
    at_once = sum(c["difference_s"] == 0 for c in crossings)
    assert at_once >= 0.9 * len(crossings)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.txt", "", "A recording is"),
        ("x.ndjson", "", "no messages"),
        ("x.ndjson", '{"arrival":1}\n', "line=1"),
        ("x.ndjson", '{"arrival":1,"topic":"a/b","payload":{}}\n', "line=1"),
        ("x.csv", "a,b\n1,2\n", "station, a time and a value"),
        ("x.csv", "station,time_utc,water_level_m\ng,2025-11-23T00:00:00,1\n", "offset from UTC"),
        ("x.csv", "station,time_utc,water_level_m\ng,2025-11-23T00:00:00Z,high\n", "line=2"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_one_clear_line(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    done = tocsin(tmp_path / "home", "replay", str(tmp_path / name), "--once")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert not (tmp_path / "home").exists()


def test_an_empty_home_has_nothing_to_export(tmp_path: Path) -> None:
    done = tocsin(tmp_path / "home", "export", "observations", "--out", str(tmp_path / "rows.csv"))
    assert done.returncode == 2
    assert "no database yet" in done.stderr
    assert not (tmp_path / "rows.csv").exists()


def test_stations_are_registered_from_a_file_or_not_at_all(tmp_path: Path) -> None:
    good = tmp_path / "stations.csv"
    good.write_text("code,name,lon,lat,interval_s\ng1,One,80.1,6.9,900\ng2,Two,80.2,6.8,900\n")
    done = tocsin(tmp_path / "home", "import", "stations", str(good), "--mode", "exercise", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"stations": 2}
    bad = tmp_path / "bad.csv"
    bad.write_text("code,name,lon,lat\ng3,Three,80.1,6.9\ng4,Four,80.1,96.9\n")
    done = tocsin(tmp_path / "home", "import", "stations", str(bad), "--mode", "exercise")
    assert done.returncode == 2
    assert "lat" in done.stderr
