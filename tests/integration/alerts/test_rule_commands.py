"""`tocsin rules dry-run`, `import` and `list` on a database, from a list of stations."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alerts.conftest import at, make_valley

pytestmark = pytest.mark.sql

ROOT = Path(__file__).resolve().parents[3]


def tocsin(url: str, *arguments: str, fails: bool = False) -> str:
    env = {"PATH": "/usr/bin:/bin", "TOCSIN_DATABASE_URL": url, "TOCSIN_MODE": "exercise"}
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", "rules", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_a_station_list_is_tried_brought_in_once_and_listed(postgres_url: str, tmp_path: Path) -> None:
    valley = make_valley(postgres_url)
    try:
        rise = [(10.0 * k, 1.5) for k in range(13)] + [(130.0 + 10 * k, 1.75 + 0.25 * k) for k in range(20)]
        valley.store(*rise)
        stations = tmp_path / "stations.csv"
        stations.write_text(
            "station_name,alert_m,minor_flood_m,major_flood_m\nKitulgala,3,4,6\nNowhere,,0,\n", encoding="utf-8"
        )
        given = [str(stations), "--tenant", "kelani", "--radius-km", "5", "--json"]

        told: dict[str, Any] = json.loads(
            tocsin(postgres_url, "dry-run", *given, "--days", "1", "--until", at(330).isoformat())
        )
        (one,) = told["rules"]
        assert (one["code"], one["n_readings"], one["standing"]) == ("official:kitulgala", len(rise), None)
        assert one["new"]["n_warnings"] == 1
        assert "red" in one["new"]["by_level"]
        assert valley.rows("SELECT count(*) AS n FROM rule")[0]["n"] == 0  # nothing is kept

        for _ in range(2):  # the second time it says nothing new
            (row,) = json.loads(tocsin(postgres_url, "import", *given))
            assert (row["code"], row["version"], row["warns_nobody"]) == ("official:kitulgala", 1, False)
        (listed,) = json.loads(tocsin(postgres_url, "list", "--tenant", "kelani", "--json"))
        assert (listed["station"], listed["version"], listed["phase"]) == ("kitulgala", 1, "normal")
        assert listed["definition"]["thresholds"] == {"yellow": 3.0, "orange": 4.0, "red": 6.0}
        assert "official:kitulgala" in tocsin(postgres_url, "list")

        stations.write_text(stations.read_text() + "Unheard,1,2,3\n", encoding="utf-8")
        assert "line 4" in tocsin(postgres_url, "import", *given, fails=True)
        assert valley.rows("SELECT count(*) AS n FROM rule")[0]["n"] == 1
        assert "nobody" in tocsin(postgres_url, "list", "--tenant", "nobody", fails=True)
    finally:
        valley.conn.close()
