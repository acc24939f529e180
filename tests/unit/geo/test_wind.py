"""The wind field against a published package's numbers, a plain twin, mirrored storms and mistaken units."""

import csv
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInput
from geo.point_files import BadTable
from geo.track_files import read_tracks
from geo.vulnerability import EBERENZ_V_HALF_M_S, emanuel, v_half_m_s
from geo.wind import (
    EARTH_RADIUS_M,
    MODELS,
    BadTrack,
    Model,
    Track,
    check_points_near,
    estimate_rmw_nmile,
    make_track,
    max_wind_m_s,
    resample,
    steps_table,
)

ROOT = Path(__file__).resolve().parents[3]


def one_track(path: Path) -> Track:
    (member,) = read_tracks(path)
    return member.track


HEAD = "time,lat,lon,vmax_kt,pc_hpa,penv_hpa,rmw_nmile\n"


def storm(
    lat0: float = 20.0,
    lon0: float = -70.0,
    north: float = 1.0,
    n: int = 13,
    vmax_kt: float = 110.0,
    averaging_min: int = 1,
    hours: float = 1.0,
) -> Track:
    """A westward and poleward storm, hourly."""
    step = np.arange(n) * hours
    lon = (lon0 - 0.2 * step + 180.0) % 360.0 - 180.0
    return make_track(
        times=[datetime(2020, 9, 1, tzinfo=UTC) + timedelta(hours=float(h)) for h in step],
        lon=lon,
        lat=lat0 + north * 0.1 * step,
        vmax_kt=np.full(n, vmax_kt),
        pc_hpa=np.linspace(950.0, 945.0, n),
        penv_hpa=np.full(n, 1010.0),
        rmw_nmile=np.full(n, 20.0),
        averaging_min=averaging_min,
    )


def grid(lat0: float, lon0: float) -> tuple[np.ndarray, np.ndarray]:
    lat, lon = np.meshgrid(np.linspace(lat0 - 4, lat0 + 5, 19), lon0 + np.linspace(-6, 4, 21))
    return (lon.ravel() + 180.0) % 360.0 - 180.0, lat.ravel()


# ---------------------------------------------------------------- against CLIMADA 6.1.0
@pytest.mark.parametrize(
    ("model", "column"), [("H80", "wind_H1980_ms"), ("H08", "wind_H08_ms"), ("H10", "wind_H10_ms")]
)
def test_andrew_as_climada_computes_it(shared_data: Path, model: Model, column: str) -> None:
    folder = shared_data / "cat" / "best_track"
    track = one_track(folder / "andrew_track_hourly_as_used.csv")
    with (folder / "andrew_climada_reference.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    def get(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    wind = max_wind_m_s(track, get("lon"), get("lat"), model=model)
    theirs = get(column)
    strong = theirs > 25.0
    assert strong.sum() > 500
    assert np.abs(wind / theirs - 1.0)[strong].max() < 0.002
    if model == "H08":
        loss = float((emanuel(wind) * get("value")).sum())
        assert loss == pytest.approx(get("loss_emanuel_H08").sum(), rel=0.05)


def test_the_estimated_radius_is_climadas(shared_data: Path) -> None:
    with (shared_data / "cat" / "best_track" / "andrew_track_hourly_as_used.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ours = estimate_rmw_nmile(np.array([float(row["pc_hpa"]) for row in rows]))
    assert np.abs(ours - [float(row["rmw_estimated_nmile"]) for row in rows]).max() < 0.001


def test_a_six_hourly_best_track_gives_nearly_the_hourly_field(shared_data: Path) -> None:
    hourly = one_track(shared_data / "cat" / "best_track" / "andrew_track_hourly_as_used.csv")
    keep = slice(None, None, 6)
    coarse = Track(
        time_s=hourly.time_s[keep],
        lon=hourly.lon[keep],
        lat=hourly.lat[keep],
        vmax_m_s=hourly.vmax_m_s[keep],
        pc_hpa=hourly.pc_hpa[keep],
        penv_hpa=hourly.penv_hpa[keep],
        rmw_m=hourly.rmw_m[keep],
    )
    lon, lat = grid(25.5, -80.5)
    whole = max_wind_m_s(hourly, lon, lat)
    strong = whole > 25.0
    filled = max_wind_m_s(resample(coarse, 3600.0), lon, lat)
    assert np.abs(filled / whole - 1.0)[strong].mean() < 0.02
    assert np.abs(max_wind_m_s(coarse, lon, lat) / whole - 1.0)[strong].mean() > 0.05  # why it is filled in


# ---------------------------------------------------------------- the plain twin
def twin(track: Track, lon: np.ndarray, lat: np.ndarray, model: Model) -> np.ndarray:
    """The same field from haversine distances and azimuths, one step at a time, with numpy only."""
    table = steps_table(track, model)
    best = np.zeros(len(lon))
    for j in range(len(table)):
        b, pressure, radius, half_f, vmax, slope, u, v, spin, _, included = table[j, 8:]
        a1, a2 = math.radians(track.lat[j]), np.radians(lat)
        dl = np.radians(lon - track.lon[j])
        h = np.sin((a2 - a1) / 2) ** 2 + math.cos(a1) * np.cos(a2) * np.sin(dl / 2) ** 2
        d = np.maximum(2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(h)), 1.0)
        azimuth = np.arctan2(
            np.sin(dl) * np.cos(a2), math.cos(a1) * np.sin(a2) - math.sin(a1) * np.cos(a2) * np.cos(dl)
        )
        q = (radius / d) ** b
        if model == "H10":
            x = np.maximum(0.4, 0.5 + np.maximum(0, d - radius) * slope)
            speed = vmax * (q * np.exp(1 - q)) ** x
        else:
            speed = np.sqrt(pressure * q * np.exp(-q) + (d * half_f) ** 2) - d * half_f
            speed = np.maximum(speed, 0) * (0.9 if model == "H80" else 1.0)
        share = np.minimum(1.0, radius / d)
        speed = np.maximum(0.0, speed - included * share)
        east = u * share - spin * np.cos(azimuth) * speed
        north = v * share + spin * np.sin(azimuth) * speed
        best = np.maximum(best, np.hypot(east, north))
    return best


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("lat0", "lon0", "north"), [(20.0, -70.0, 1.0), (-18.0, 179.5, -1.0)])
def test_the_compiled_loop_is_its_plain_twin(model: Model, lat0: float, lon0: float, north: float) -> None:
    track = storm(lat0, lon0, north)
    lon, lat = grid(lat0, lon0)
    ours = max_wind_m_s(track, lon, lat, model=model, reach_km=20_000.0)
    assert np.allclose(ours, twin(track, lon, lat, model), rtol=1e-7, atol=1e-7)


# ---------------------------------------------------------------- earth
@pytest.mark.parametrize("model", MODELS)
def test_a_southern_storm_is_the_northern_ones_mirror(model: Model) -> None:
    lon, lat = grid(20.0, -70.0)
    there = max_wind_m_s(storm(20.0, north=1.0), lon, lat, model=model)
    mirrored = max_wind_m_s(storm(-20.0, north=-1.0), lon, -lat, model=model)
    assert np.allclose(there, mirrored, rtol=1e-9)
    # Moving west, a northern storm blows harder on its north side, a southern one on its south side.
    side = max_wind_m_s(storm(20.0, north=0.0), np.full(2, -71.0), np.array([20.5, 19.5]), model=model)
    assert side[0] > side[1] + 3.0


@pytest.mark.parametrize("model", MODELS)
def test_a_storm_across_the_antimeridian_is_the_same_storm(model: Model) -> None:
    lon, lat = grid(15.0, 100.0)
    here = max_wind_m_s(storm(15.0, 100.0), lon, lat, model=model)
    shift = 81.0
    turned = (lon + shift + 180.0) % 360.0 - 180.0
    across = max_wind_m_s(storm(15.0, 100.0 + shift), turned, lat, model=model)
    assert np.allclose(here, across, rtol=1e-6)
    coarse = storm(15.0, 100.0 + shift, hours=6.0, n=5)
    filled = resample(coarse, 3600.0)
    assert np.abs(np.abs(filled.lon) - 180.0).max() < 6.0  # no fix runs around the other side of the earth


def test_chunks_give_the_same_numbers() -> None:
    track = storm()
    lon, lat = grid(20.0, -70.0)
    whole = max_wind_m_s(track, lon, lat)
    parts = [max_wind_m_s(track, lon[i : i + 7], lat[i : i + 7]) for i in range(0, len(lon), 7)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_ten_minute_wind_is_a_stronger_one_minute_wind() -> None:
    assert storm(averaging_min=10).vmax_m_s[0] == pytest.approx(storm().vmax_m_s[0] / 0.93)
    with pytest.raises(InvalidInput, match="averaging"):
        storm(averaging_min=3)


def test_nothing_blows_out_of_reach() -> None:
    assert max_wind_m_s(storm(), np.array([-40.0]), np.array([20.0]), reach_km=500.0)[0] == 0.0


# ---------------------------------------------------------------- mistakes
GOOD = "2020-09-01 {h:02d}:00,{lat},-70.0,{v},945,1010,20\n"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "track.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "2020-09-01,20,-70,57,945,1010,20\n" * 1, "m/s"),  # 110 kt typed in m/s
        (HEAD + "2020-09-01,20,-70,204,945,1010,20\n", "km/h"),
        (HEAD + "2020-09-01,-70,20,110,945,1010,20\n", "swapped"),
        (HEAD + "2020-09-01,20,-70,110,94500,101000,20\n", "Pa"),
        (HEAD + "2020-09-01,20,-70,110,27.9,29.9,20\n", "inHg"),
        (HEAD + "2020-09-01,20,-70,110,945,1010,37000\n", "rmw_nmile"),
        (HEAD + "2020-09-01,20,-70,110,,1010,20\n", "pc_hpa"),
        (HEAD + "2020-09-01,20,-70,x,945,1010,20\n", "line 2: vmax_kt"),
        (HEAD + "yesterday,20,-70,110,945,1010,20\n", "line 2: time"),
        (HEAD.replace("vmax_kt", "vmax_ms") + "2020-09-01,20,-70,57,945,1010,20\n", "vmax_ms is another unit"),
        (HEAD + GOOD.format(h=6, lat=20, v=110) + GOOD.format(h=6, lat=20, v=110), "not later"),
        (HEAD + GOOD.format(h=6, lat=20, v=110) + GOOD.format(h=7, lat=26, v=110), "moved"),
        (HEAD, "no rows"),
        ("", "empty"),
    ],
)
def test_a_mistaken_track_is_refused_and_the_reason_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        one_track(written(tmp_path, text))


def test_h80_needs_the_wind_and_the_others_do_not(tmp_path: Path) -> None:
    track = one_track(written(tmp_path, HEAD + "2020-09-01,20,-70,,945,1010,\n"))
    at = (np.array([-70.2]), np.array([20.2]))
    assert track.n_rmw_estimated == 1
    assert max_wind_m_s(track, *at, model="H08")[0] > 30.0
    with pytest.raises(BadTrack, match="vmax_kt"):
        max_wind_m_s(track, *at, model="H80")


def test_exchanged_points_are_seen() -> None:
    with pytest.raises(InvalidInput, match="swapped"):
        check_points_near(storm(), np.array([20.0]), np.array([-70.0]))
    check_points_near(storm(), np.array([-70.0]), np.array([20.0]))
    check_points_near(storm(), np.array([10.0]), np.array([50.0]))  # merely far away


# ---------------------------------------------------------------- damage
def test_emanuels_curve() -> None:
    # Worked from eqs 1-2: v_half gives one half by definition, twice the excess gives 8/9.
    assert emanuel(np.array([25.7, 74.7, 25.7 + 98.0])) == pytest.approx([0.0, 0.5, 8 / 9])
    curve = emanuel(np.linspace(0, 120, 500))
    assert (np.diff(curve) >= 0).all()
    assert np.isnan(emanuel(np.array([np.nan])))[0]
    with pytest.raises(InvalidInput, match="v_half"):
        emanuel(np.array([50.0]), 20.0)


def test_regional_v_half_is_the_calibration_files(shared_data: Path) -> None:
    names = {"NA1": "caribbean-mexico", "NA2": "north-america", "NI": "north-indian", "OC": "oceania",
             "SI": "south-indian", "WP1": "south-east-asia", "WP2": "philippines", "WP3": "china",
             "WP4": "north-west-pacific"}  # fmt: skip
    with (shared_data / "cat" / "best_track" / "eberenz2021_tc_impf_cal_v01_TDR1.0.csv").open() as file:
        fitted = {row["cal_region2"]: float(row["v_half"]) for row in csv.DictReader(file)}
    assert {r: v_half_m_s(names[r]) for r in names} == pytest.approx({r: fitted[r] for r in names}, abs=0.06)
    assert len(EBERENZ_V_HALF_M_S) == 10
    with pytest.raises(InvalidInput, match="regions are"):
        v_half_m_s("atlantis")


# ---------------------------------------------------------------- the command
def test_the_command_writes_winds_and_losses_and_tells_the_unknown(tmp_path: Path) -> None:
    track = written(tmp_path, HEAD + "".join(GOOD.format(h=h, lat=20 + 0.1 * h, v=110) for h in range(6)))
    points = tmp_path / "p.csv"
    points.write_text("lat,lon,value\n20.3,-69.7,1000\n,,500\n20.2,-70.3,\n")
    done = subprocess.run(
        [sys.executable, "-m", "tocsin", "wind", str(track), "--points", str(points), "--out", str(tmp_path / "o.csv"),
         "--json"], cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["lat", "lon", "wind_m_s", "loss"]
    assert float(rows[0]["wind_m_s"]) > 30.0
    assert float(rows[0]["loss"]) == pytest.approx(told["loss"], abs=0.01)
    assert (rows[1]["wind_m_s"], rows[1]["loss"]) == ("", "")
    assert float(rows[2]["wind_m_s"]) > 30.0
    assert rows[2]["loss"] == ""
    assert (told["n_without_place"], told["value_without_place"], told["n_without_value"]) == (1, 500.0, 1)
    assert set(told["loss_by_model"]) == {"H80", "H08", "H10"}


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match=r"none\.csv"):
        one_track(tmp_path / "none.csv")


@pytest.mark.parametrize("model", MODELS)
def test_a_southern_storm_across_the_antimeridian_is_as_climada_has_it(tmp_path: Path, model: Model) -> None:
    """How the numbers were made stands beside them: CLIMADA 6.1.0, a storm that Andrew's tests never saw."""
    folder = ROOT / "tests" / "golden" / "wind_south"
    # CLIMADA takes no wind from a track's first fix; we do
    lines = (folder / "track.csv").read_text().splitlines()
    track = one_track(written(tmp_path, "\n".join([lines[0], *lines[2:]]) + "\n"))
    with (folder / "climada.csv").open() as file:
        rows = list(csv.DictReader(file))
    lon, lat, theirs = (np.array([float(row[name]) for row in rows]) for name in ("lon", "lat", model))
    ours = max_wind_m_s(track, lon, lat, model=model)
    strong = theirs > 25.0
    assert strong.sum() > 40
    assert np.abs(ours[strong] / theirs[strong] - 1.0).max() < 0.005
