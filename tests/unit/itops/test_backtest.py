"""`tocsin backtest` on a fleet that was drawn and on the real record."""

import gzip
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from itops import backtest
from itops.backtest import NothingToJudge, half_year_ends, year_ends
from tocsin.cli import app


def drawn(seed: int = 1) -> tuple[str, str]:
    """Five systems of 10 nodes over 4 years at steady rates 0.5 to 8 a node-year."""
    rng = np.random.default_rng(seed)
    events, systems = ["system,started,fixed"], ["system,nodes,node_years_to_2003_12_31,prod_month_mode"]
    for k, rate in enumerate((0.5, 1.0, 2.0, 4.0, 8.0)):
        systems.append(f"s{k},10,40,2000-01")
        for day in np.sort(rng.uniform(0, 1461, rng.poisson(rate * 40))):
            at = np.datetime64("2000-01-01T00:00") + np.timedelta64(int(day * 1440), "m")
            events.append(f"s{k},{str(at).replace('T', ' ')}:00,")
    return "\n".join(events) + "\n", "\n".join(systems) + "\n"


def test_origins_leave_a_year_before_and_a_period_after() -> None:
    assert year_ends(date(2000, 1, 1), date(2003, 12, 28)) == [date(y, 12, 31) for y in (2000, 2001, 2002)]
    assert year_ends(date(2000, 1, 1), date(2003, 11, 28))[-1] == date(2001, 12, 31)
    assert half_year_ends(date(2013, 4, 10), date(2015, 12, 31))[-1] == date(2015, 6, 30)


def test_a_steady_fleet_is_forecast_and_told(tmp_path: Path) -> None:
    events, systems = drawn()
    (tmp_path / "e.csv").write_text(events)
    (tmp_path / "x.csv").write_text(systems)
    files = ["--events", str(tmp_path / "e.csv"), "--exposure", str(tmp_path / "x.csv"), "--origin", "2002-12-31"]
    found = CliRunner().invoke(app, ["backtest", *files, "--json"])
    assert found.exit_code == 0, found.output
    pack = json.loads(found.stdout)["origins"][0]
    assert 0.8 < pack["total"]["ratio"] < 1.2
    assert pack["n_units"] == 5
    assert pack["inside_90"] >= 4
    assert pack["gini"] > 0.3
    assert sum(pack["pit_histogram"]) == 5
    assert sum(each["n_actual"] for each in pack["tenths"]) == pytest.approx(pack["total"]["n_actual"])
    shown = CliRunner().invoke(app, ["backtest", *files])
    assert "2002-12-31" in shown.stdout
    assert f"{pack['total']['ratio']:.2f}" in shown.stdout


def test_nothing_after_the_origin_is_used() -> None:
    """The same events up to the origin and others after it: the forecast stands."""
    events, systems = drawn()
    other = [line for line in drawn(2)[0].splitlines()[1:] if line.split(",")[1] >= "2003"]
    same = [line for line in events.splitlines() if line.split(",")[1] < "2003" or line.startswith("system")]
    a = backtest.fleet(events, systems, [date(2002, 12, 31)])["origins"][0]
    b = backtest.fleet("\n".join(same + other) + "\n", systems, [date(2002, 12, 31)])["origins"][0]
    assert b["total"]["expected"] == pytest.approx(a["total"]["expected"])
    assert b["total"]["n_actual"] != a["total"]["n_actual"]


def test_layers_are_judged_at_each_waiting_period() -> None:
    rng = np.random.default_rng(3)
    rows = ["opened,restored,cause,site"]
    for day in np.sort(rng.uniform(0, 1095, 900)):
        opened = np.datetime64("2001-01-01T00:00") + np.timedelta64(int(day * 1440), "m")
        rows.append(f"{opened},{opened + np.timedelta64(max(1, int(60 * rng.lognormal(1.0, 1.2))), 'm')},disk,a")
    found = backtest.repairs("\n".join(rows) + "\n", [date(2002, 12, 31)])["origins"][0]
    assert [row["waiting_h"] for row in found["layers"]] == list(backtest.WAITING_H)
    short = found["layers"][1]
    assert 0.75 < short["lev_ratio"] < 1.3
    assert short["inside"]
    assert abs(short["p_above"] - short["p_above_seen"]) < 0.08


def test_what_cannot_be_judged_says_so(tmp_path: Path) -> None:
    with pytest.raises(NothingToJudge):
        backtest.fleet("model,drive_years,failures\na,1,1\nb,2,1\n", "model,drive_years\na,1\nb,2\n", None)
    found = CliRunner().invoke(app, ["backtest"])
    assert found.exit_code != 0


def test_lanl_from_the_end_of_2003(shared_data: Path) -> None:
    events = gzip.decompress((shared_data / "itops/lanl_failures.csv.gz").read_bytes()).decode()
    systems = (shared_data / "itops/lanl_systems.csv").read_text()
    found = backtest.fleet(events, systems, [date(2003, 12, 31)])["origins"][0]
    assert 0.85 < found["total"]["ratio"] < 1.15
    assert found["inside_90"] >= 0.8 * found["n_units"]
