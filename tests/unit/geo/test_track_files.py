"""Tracks from ATCF decks, IBTrACS and ensembles: what is read, what is estimated, what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.track_files import read_tracks
from geo.wind import KNOT_M_S, NMILE_M, max_wind_m_s

#: Records of Hurricane Ida (AL092021) as the US National Hurricane Center's best track has them.
IDA = """\
AL, 09, 2021082818,   , BEST,   0, 260N,  872W,  90,  976, HU,  34, NEQ,  110,  100,   60,   90, 1006,  240,  20, 110,   0,   L,   0,    , 318,  14,        IDA, D,
AL, 09, 2021082818,   , BEST,   0, 260N,  872W,  90,  976, HU,  50, NEQ,   70,   60,   40,   50, 1006,  240,  20, 110,   0,   L,   0,    , 318,  14,        IDA, D,
AL, 09, 2021082900,   , BEST,   0, 268N,  880W, 100,  967, HU,  34, NEQ,  110,  100,   60,   90, 1006,  240,  20, 110,   0,   L,   0,    , 318,  14,        IDA, D,
AL, 09, 2021082916,  55, BEST,   0, 291N,  902W, 130,  931, HU,  34, NEQ,  120,  110,   80,   80, 0,  240,   0, 155,   0,   L,   0,    , 318,  14,        IDA, D,
AL, 09, 2021083000,   , BEST,   0, 299N,  906W,  95,    0, HU,  34, NEQ,  120,  110,   80,   80, 1005,  240,  10, 155,   0,   L,   0,    , 318,  14,        IDA, D,
"""
IBTRACS = """\
SID,SEASON,NUMBER,BASIN,SUBBASIN,NAME,ISO_TIME,NATURE,LAT,LON,WMO_WIND,WMO_PRES,WMO_AGENCY,TRACK_TYPE,USA_WIND,USA_PRES,USA_POCI,USA_RMW,TOKYO_WIND,TOKYO_PRES,NEWDELHI_WIND,NEWDELHI_PRES
 ,Year, , , , , , ,degrees_north,degrees_east,kts,mb, , ,kts,mb,mb,nmile,kts,mb,kts,mb
2018001S10170,2018,1,SP,MM,ONE,2018-01-01 00:00:00,TS,-15.0,179.0,60,970,nadi,main,80,968,1004,25,,,,
2018001S10170,2018,1,SP,MM,ONE,2018-01-01 06:00:00,TS,-16.0,-179.5,70,960,nadi,main,95,955,1004,20,,,,
2018001S10170,2018,1,SP,MM,ONE,2018-01-01 06:00:00,TS,-17.0,-178.5,,,nadi,spur,,,,,,,,
2018002N15130,2018,2,WP,MM,TWO,2018-02-01 00:00:00,TS,15.0,130.0,80,960,tokyo,main,100,950,1005, ,80,960,,
2018002N15130,2018,2,WP,MM,TWO,2018-02-01 06:00:00,TS,16.0,129.0,80,960,tokyo,main,100, , ,,80,960,70,970
"""


def written(folder: Path, text: str, name: str = "track.dat") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_best_track_deck(tmp_path: Path) -> None:
    (member,) = read_tracks(written(tmp_path, IDA))
    assert member.name == "AL092021 IDA"
    track = member.track
    assert len(track.time_s) == 4, "the second wind radius of a time is no fix"
    assert np.diff(track.time_s) / 60 == pytest.approx([360, 16 * 60 + 55, 7 * 60 + 5]), "minutes stand in TECHNUM/MIN"
    assert (track.lat[2], track.lon[2]) == pytest.approx((29.1, -90.2))
    assert track.vmax_m_s[2] == pytest.approx(130 * KNOT_M_S)
    assert track.rmw_m[0] == pytest.approx(20 * NMILE_M)
    assert track.n_rmw_estimated == 1
    assert track.penv_hpa[2] == 1010.0, "the basin's default where the last closed isobar is 0"
    assert member.n_environment_assumed == 1
    # Atkinson & Holliday (1977): 95 kt below 1005 hPa
    assert track.pc_hpa[3] == pytest.approx(1005 - (95 / 6.7) ** (1 / 0.644))
    assert member.n_pressure_estimated == 1


def test_southern_and_eastern_letters(tmp_path: Path) -> None:
    text = "SH, 05, 2020010100, , BEST, 0, 150S, 1795E, 60, 970, TY\nSH, 05, 2020010106, , BEST, 0, 155S, 1795W, 60, 970, TY\n"
    track = read_tracks(written(tmp_path, text))[0].track
    assert track.lat == pytest.approx([-15.0, -15.5])
    assert track.lon == pytest.approx([179.5, -179.5])
    lon, lat = np.array([179.9, -179.9]), np.array([-15.2, -15.3])
    assert (max_wind_m_s(track, lon, lat) > 15).all()


def test_a_forecast_deck_is_an_ensemble_of_its_newest_cycle(tmp_path: Path) -> None:
    lines = []
    for cycle in ("2021082700", "2021082800"):
        for name, west in (("AP01", 0), ("AP02", 10), ("CARQ", 0)):
            for tau in (0, 12, 24):
                lines.append(
                    f"AL, 09, {cycle}, 03, {name}, {tau:3d}, {250 + tau:d}N, {870 + west + tau:d}W, 90, 970, XX"
                )
    members = read_tracks(written(tmp_path, "\n".join(lines)))
    assert [one.name for one in members] == ["AP01", "AP02"]
    assert members[1].track.lon == pytest.approx([-88.0, -89.2, -90.4])
    assert members[0].track.time_s[0] == 1630108800.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (IDA.replace("2021082900", "20210829xx"), "not a usable|line 3: '20210829xx' is not a time"),
        (IDA.replace("268N", "268X"), "line 3: LAT: '268X' is not in tenths"),
        (IDA.replace(" 967,", " 96.7,"), r"line 3 \(2021-08-29 00:00\): pc_hpa: 96.7 hPa is no pressure"),
        (IDA.replace("AL, 09, 2021082900", "AL, 10, 2021082900"), "holds 2 storms"),
        ("AL, 09, 2021082818, , BEST, 0, 260N\n", "line 1: 7 fields"),
        (IDA.replace("100,  967", "  0,    0"), "line 3: AL092021 IDA: neither pressure nor wind"),
    ],
)
def test_a_bad_deck_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_tracks(written(tmp_path, text))


def test_real_decks_are_read(shared_data: Path) -> None:
    for file in sorted((shared_data / "warning" / "atcf").glob("*.dat")):
        (member,) = read_tracks(file)
        track = member.track
        assert len(track.time_s) > 20
        assert (np.diff(track.time_s) > 0).all()
        assert 20.0 < np.nanmax(track.vmax_m_s) < 90.0


def test_ibtracs_by_storm_and_agency(tmp_path: Path) -> None:
    path = written(tmp_path, IBTRACS, "ibtracs.csv")
    with pytest.raises(InvalidInput, match=r"holds 2 storms .*2018001S10170 ONE.*--storm"):
        read_tracks(path)
    (one,) = read_tracks(path, storm="one")
    assert one.track.lon == pytest.approx([179.0, -179.5]), "and the spur is left out"
    assert one.track.rmw_m == pytest.approx(np.array([25, 20]) * NMILE_M)
    assert one.track.vmax_m_s[0] == pytest.approx(80 * KNOT_M_S)
    (wmo,) = read_tracks(path, storm="ONE", agency="wmo")
    assert wmo.track.vmax_m_s[0] == pytest.approx(60 * KNOT_M_S / 0.93), "Nadi averages over ten minutes"
    (two,) = read_tracks(path, storm="2018002N15130")
    assert two.n_pressure_estimated == 1
    assert two.n_environment_assumed == 1
    assert two.track.penv_hpa[1] == 1005.0
    assert len(read_tracks(path, several_storms=True)) == 2
    with pytest.raises(InvalidInput, match="averages over 3 minutes"):
        read_tracks(path, storm="TWO", agency="newdelhi")
    with pytest.raises(InvalidInput, match="no winds of agency 'bom'"):
        read_tracks(path, storm="TWO", agency="bom")
    with pytest.raises(InvalidInput, match="has neither wind nor pressure"):
        read_tracks(path, storm="ONE", agency="tokyo")
    with pytest.raises(InvalidInput, match="line 4: USA_WIND: 'strong' is not a number"):
        read_tracks(written(tmp_path, IBTRACS.replace("95,955", "strong,955"), "i.csv"), storm="ONE")


def ensemble(folder: Path, n: int = 9) -> Path:
    rows = ["member,time,lat,lon,vmax_kt,pc_hpa,penv_hpa,rmw_nmile"]
    for m in range(n):
        for h in range(0, 24, 6):
            rows.append(f"m{m},2020-09-01T{h % 24:02d}:00:00,{20 + h / 24 + m * 0.2},-70,100,950,1010,20")
    return written(folder, "\n".join(rows) + "\n", "ensemble.csv")


def tocsin(*arguments: str) -> Any:
    from tocsin.cli import app

    return CliRunner().invoke(app, list(arguments))


def test_an_ensemble_gives_quantiles_and_chances(tmp_path: Path) -> None:
    path = ensemble(tmp_path)
    points = written(tmp_path, "lat,lon,value\n20.5,-70.2,100\n21.5,-70.2,200\n30,-70,300\n,,5\n", "p.csv")
    out = tmp_path / "o.csv"
    done = tocsin("wind", str(path), "--points", str(points), "--out", str(out), "--exceed", "33,50", "--json",
                  "--region", "north-america", "--v-half-samples", "100")  # fmt: skip
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    members = read_tracks(path)
    assert told["n_members"] == len(members) == 9
    lon, lat = np.array([-70.2, -70.2, -70.0]), np.array([20.5, 21.5, 30.0])
    from geo.wind import resample

    winds = np.array([max_wind_m_s(resample(one.track, 3600.0), lon, lat) for one in members])
    with out.open() as file:
        rows = list(csv.DictReader(file))
    for i in range(3):
        assert float(rows[i]["wind_m_s"]) == pytest.approx(np.median(winds[:, i]), abs=1e-3)
        assert float(rows[i]["wind_p95_m_s"]) == pytest.approx(np.quantile(winds[:, i], 0.95), abs=1e-3)
        assert float(rows[i]["p_exceed_33_m_s"]) == pytest.approx((winds[:, i] >= 33).mean(), abs=1e-3)
    assert rows[3]["wind_m_s"] == rows[3]["p_exceed_50_m_s"] == ""
    over = told["loss_over_members"]
    assert sum(float(row["loss"] or 0) for row in rows) == pytest.approx(told["loss"], abs=0.1)
    assert over["p05"] <= over["p50"] <= over["p95"]
    curve = over["exceedance"]
    assert next(step["probability"] for step in curve) == pytest.approx(1 / 9)
    assert curve[-1]["probability"] == 1.0
    assert told["loss_over_v_half"]["p05"] < told["loss_over_v_half"]["p95"]
    one = written(
        tmp_path, "time,lat,lon,vmax_kt,pc_hpa,penv_hpa,rmw_nmile\n2020-09-01,20,-70,100,950,1010,20\n", "1.csv"
    )
    refused = tocsin("wind", str(one), "--points", str(points), "--out", str(out), "--exceed", "33")
    assert "needs an ensemble" in str(refused.exception)


def test_a_folder_is_an_ensemble_with_a_file_for_each_member(tmp_path: Path) -> None:
    (tmp_path / "members").mkdir()
    for name in ("a.dat", "b.dat"):
        written(tmp_path / "members", IDA, name)
    assert [one.name for one in read_tracks(tmp_path / "members")] == ["a", "b"]
    (tmp_path / "none").mkdir()
    with pytest.raises(InvalidInput, match="the folder is empty"):
        read_tracks(tmp_path / "none")
