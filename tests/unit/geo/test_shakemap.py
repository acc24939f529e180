"""ShakeMap grids: real ones, interpolation in the logarithm, sigma, fragility, and what is refused."""

import csv
import gzip
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.shakemap import LOSS_RATIO, MEDIANS_G, damage_ratio, read_shakemap, shaking_at

ROOT = Path(__file__).resolve().parents[3]


def grid(unit: str = "pctg", rows: str = "0 1 10 0.4  1 1 40 0.4  0 0 10 0.4  1 0 40 0.4") -> bytes:
    return (
        '<shakemap_grid shakemap_version="1"><event event_id="e" magnitude="6"/>'
        '<grid_specification nlon="2" nlat="2"/>'
        '<grid_field index="1" name="LON" units="dd"/><grid_field index="2" name="LAT" units="dd"/>'
        f'<grid_field index="3" name="PGA" units="{unit}"/><grid_field index="4" name="STDPGA" units=""/>'
        f"<grid_data>{rows}</grid_data></shakemap_grid>"
    ).encode()


def test_halfway_is_the_geometric_mean_and_outside_is_unknown() -> None:
    pga, sigma = shaking_at(read_shakemap(grid()), np.array([0.5, 0.0, 2.0, np.nan]), np.array([0.5, 1.0, 0.5, np.nan]))
    assert pga[:2] == pytest.approx([0.2, 0.1])
    assert sigma[0] == pytest.approx(0.4)
    assert np.isnan(pga[2:]).all()


def test_percent_of_g_and_g_are_told_apart_and_others_refused() -> None:
    in_g = read_shakemap(grid("g", "0 1 .1 0 1 1 .4 0 0 0 .1 0 1 0 .4 0"))
    assert in_g.pga_g == pytest.approx(read_shakemap(grid()).pga_g)
    for document, told in (
        (grid("cms2"), "neither percent"),
        (grid("g"), "above 5 g"),
        (grid(rows="0 1 10"), "grid_data"),
        (b"<x/>", "not a shakemap_grid"),
        (b"<x", "not readable"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "not readable"),
    ):
        with pytest.raises(InvalidInput, match=f"^my.xml: .*{told}"):
            read_shakemap(document, "my.xml")


def test_damage_is_the_integral_over_shaking_and_fragility() -> None:
    """Against numerical integration of the step losses over an uncertain PGA."""
    medians = MEDIANS_G["W1", "high"]
    sigma, median = 0.35, 0.4

    def expected(z: float) -> float:
        pga = median * math.exp(sigma * z)
        p = [stats.norm.cdf(math.log(pga / m) / 0.64) for m in medians] + [0.0]
        return stats.norm.pdf(z) * sum((p[k] - p[k + 1]) * LOSS_RATIO[k] for k in range(4))

    brute, _ = integrate.quad(expected, -8, 8)
    assert damage_ratio(np.array([median]), np.array([sigma]), "W1", "high")[0] == pytest.approx(brute, rel=1e-7)


def test_harder_shaking_and_weaker_codes_never_cost_less() -> None:
    pga = np.geomspace(0.01, 3, 100)
    none = np.zeros(100)
    for kind, code in MEDIANS_G:
        assert (np.diff(damage_ratio(pga, none, kind, code)) > 0).all()
    w1 = [damage_ratio(np.array([0.3]), np.zeros(1), "W1", c)[0] for c in ("high", "moderate", "low", "pre")]
    assert w1 == sorted(w1)
    with pytest.raises(InvalidInput, match="there are W1:high"):
        damage_ratio(pga, none, "W9", "high")


def run(tmp_path: Path, map_file: Path, points: str) -> tuple[dict[str, object], list[dict[str, str]], str]:
    (tmp_path / "p.csv").write_text(points)
    out = tmp_path / "o.csv"
    command = [sys.executable, "-m", "tocsin", "shake", str(map_file), "--points", str(tmp_path / "p.csv"), "--out", str(out)]  # fmt: skip
    plain = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with out.open() as file:
        return json.loads(told), list(csv.DictReader(file)), plain


def test_loma_prieta_gives_a_ranked_list(shared_data: Path, tmp_path: Path) -> None:
    map_file = shared_data / "cat" / "earthquake" / "shakemap_loma_prieta_1989_grid.xml.gz"
    points = "id,lat,lon,value,type,code\nfar,36.6,-121.35,100,,\nnear,37.04,-121.88,100,,\nold,37.04,-121.88,100,URML,pre\nout,40,-120,70,,\n"
    told, rows, _ = run(tmp_path, map_file, points)
    assert [row["id"] for row in rows] == ["old", "near", "far"]
    assert [float(row["loss"]) for row in rows] == sorted((float(row["loss"]) for row in rows), reverse=True)
    assert (told["n_outside_grid"], told["value_outside_grid"]) == (1, 70.0)
    # A node of the file: 18 percent of g at the north-western corner.
    quake = read_shakemap(gzip.decompress(map_file.read_bytes()))
    pga, sigma = shaking_at(quake, np.array([-122.5]), np.array([37.2]))
    assert (pga[0], sigma[0]) == (pytest.approx(0.18), pytest.approx(0.4427))


def test_the_cayman_map_gives_none_and_says_so(shared_data: Path, tmp_path: Path) -> None:
    map_file = shared_data / "cat" / "earthquake" / "shakemap_us10003yjy_4_grid.xml.gz"
    told, rows, plain = run(tmp_path, map_file, "lat,lon,value\n19.3,-81.38,1000\n")
    assert rows == []
    assert told["n_listed"] == 0
    assert told["n_outside_grid"] == 0
    assert "no point is known to have been shaken" in plain


def test_every_median_is_the_manuals() -> None:
    """Against a transcription of the manual's tables that is not the one the module was made from."""
    told: dict[tuple[str, str], tuple[float, ...]] = {}
    code = ""
    for line in (Path(__file__).parents[2] / "golden" / "hazus_fragility" / "manual_6_1.txt").read_text().splitlines():
        words = line.split()
        if line.startswith("#"):
            continue
        if len(words) == 1:
            code = words[0]
        else:
            told[words[0], code] = tuple(int(word) / 100 for word in words[1:])
    assert told == MEDIANS_G
    assert len(told) == 128


def test_a_type_that_a_code_does_not_permit_has_no_curve() -> None:
    with pytest.raises(InvalidInput, match="URML:high is not known; there are URML:low, URML:pre"):
        damage_ratio(np.array([0.3]), np.array([0.0]), "URML", "high")


def test_readings_condition_the_map(tmp_path: Path) -> None:
    from tocsin.cli import app

    (tmp_path / "grid.xml").write_bytes(grid())
    (tmp_path / "p.csv").write_text("lat,lon,value\n0.5,0.5,100\n0.5,9,100\n")
    (tmp_path / "s.csv").write_text("lat,lon,pga_g\n0.5,0.5,0.4\n0.1,0.1,\n0,50,0.2\n")

    def run(*arguments: str) -> Any:
        given = ["shake", str(tmp_path / "grid.xml"), "--points", str(tmp_path / "p.csv")]
        more = ["--out", str(tmp_path / "o.csv"), "--sensors", str(tmp_path / "s.csv"), *arguments]
        return CliRunner().invoke(app, [*given, *more])

    done = run("--correlation-km", "10", "--sensor-error", "0.4", "--json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)["sensors"]
    assert (told["n"], told["n_silent"], told["n_outside_grid"]) == (3, 1, 1)
    with (tmp_path / "o.csv").open() as file:
        (row,) = csv.DictReader(file)
    # 0.2 g by the map, 0.4 g by the sensor, sigma 0.4 both: halfway in the logarithm
    assert float(row["pga_g"]) == pytest.approx(0.2 * 2**0.5, abs=1e-4)
    assert float(row["sigma_ln"]) == pytest.approx(0.4 / 2**0.5, abs=1e-4)
    assert "needs --correlation-km" in str(run("--sensor-error", "0.4").exception)
    (tmp_path / "s.csv").write_text("lat,lon,pga_pctg\n0.5,0.5,40\n")
    assert "no column pga_g; pga_pctg is another unit" in str(
        run("--correlation-km", "10", "--sensor-error", ".4").exception
    )
