"""A stochastic storm set: what it keeps of its record, and how far children stray."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyproj import Geod
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.event_set import DEEPEST_HPA, Perturbation, child, displaced, stochastic_set
from geo.wind import Track, make_track

GEOD = Geod(a=6_371_000.0, b=6_371_000.0)


def storm(lat0: float = 20.0, lon0: float = -70.0, year: int = 2020, n: int = 9, pc: float = 940.0) -> Track:
    sign = 1.0 if lat0 >= 0 else -1.0
    step = np.arange(n) * 6.0
    return make_track(
        times=[datetime(year, 9, 1, tzinfo=UTC) + timedelta(hours=float(h)) for h in step],
        lon=(lon0 - 0.15 * step + 180) % 360 - 180, lat=lat0 + sign * 0.1 * step, vmax_kt=np.full(n, 115.0),
        pc_hpa=np.full(n, pc), penv_hpa=np.full(n, 1010.0), rmw_nmile=np.full(n, 20.0),
    )  # fmt: skip


def test_a_displacement_is_what_a_geodesic_gives() -> None:
    for lat0, lon0 in ((20.0, -70.0), (-15.0, 179.8), (55.0, -179.9)):
        track = storm(lat0, lon0)
        east, north = np.full(9, 60_000.0), np.full(9, -80_000.0)
        moved = displaced(track, east, north)
        lon, lat, _ = GEOD.fwd(track.lon, track.lat, np.degrees(np.arctan2(east, north)), np.hypot(east, north))
        assert moved.lat == pytest.approx(np.array(lat), abs=1e-9)
        assert (moved.lon - np.array(lon) + 180) % 360 - 180 == pytest.approx(0.0, abs=1e-9)


def test_a_storm_stays_on_its_side_of_the_equator() -> None:
    north, south = (
        displaced(storm(1.0), np.zeros(9), np.full(9, -900e3)),
        displaced(storm(-1.0), np.zeros(9), np.full(9, 900e3)),
    )
    assert (north.lat > 0).all()
    assert (south.lat < 0).all()


def test_children_stray_as_far_as_is_said() -> None:
    """Against the law of the walk: the first shift's spread, and that of an integrated AR(1) process after two days."""
    track, how = storm(), Perturbation(shift_km=50.0, velocity_m_s=2.0, memory_h=24.0, intensity_ln=0.2)
    rng = np.random.default_rng(4)
    children = [child(track, how, rng) for _ in range(1500)]

    def north_km(at: int) -> np.ndarray:
        return np.array([np.radians(one.lat[at] - track.lat[at]) * 6371.0 for one in children])

    assert north_km(0).std() == pytest.approx(50.0, rel=0.06)
    keep, step = np.exp(-6 / 24), 6 * 3.6 * 2.0  # km a step at one standard deviation
    covariance = sum(keep ** abs(i - j) for i in range(8) for j in range(8)) * step**2
    assert north_km(8).std() == pytest.approx(np.sqrt(50.0**2 + covariance), rel=0.06)
    fall = np.array([1010.0 - one.pc_hpa[0] for one in children]) / 70.0
    assert fall.mean() == pytest.approx(1.0, abs=0.02)
    assert np.log(fall).std() == pytest.approx(0.2, rel=0.06)
    one = children[3]
    assert one.vmax_m_s / track.vmax_m_s == pytest.approx(np.sqrt((1010 - one.pc_hpa) / 70.0))


def test_no_child_is_deeper_than_any_storm_was() -> None:
    how, rng = Perturbation(intensity_ln=1.5), np.random.default_rng(1)
    lowest = min(child(storm(pc=900.0), how, rng).pc_hpa.min() for _ in range(200))
    assert lowest == pytest.approx(DEEPEST_HPA)


def test_the_set_keeps_frequency_and_the_storms_themselves() -> None:
    storms = [("A", storm()), ("B", storm(-15.0, 179.5, 2001))]
    events = stochastic_set(storms, years_of_record=40.0, per_storm=5, rng=np.random.default_rng(1))
    assert sum(event.rate_per_year for event in events) == pytest.approx(2 / 40)
    assert events[5].event_id == "B/0"
    assert events[5].track is storms[1][1]
    again = stochastic_set(storms, years_of_record=40.0, per_storm=5, rng=np.random.default_rng(1))
    assert all((a.track.lat == b.track.lat).all() for a, b in zip(events, again, strict=True))
    still = Perturbation(shift_km=0.0, velocity_m_s=0.0, intensity_ln=0.0)
    copies = stochastic_set(storms, years_of_record=40.0, per_storm=3, rng=np.random.default_rng(1), how=still)
    assert copies[2].track.lon == pytest.approx(storms[0][1].lon)
    assert copies[2].track.pc_hpa == pytest.approx(storms[0][1].pc_hpa)
    for years, n, told in ((10.0, 5, "lie 19.0 years apart"), (40.0, 0, "less than 1"), (0.0, 1, "above zero")):
        with pytest.raises(InvalidInput, match=told):
            stochastic_set(storms, years_of_record=years, per_storm=n, rng=np.random.default_rng(1))
    with pytest.raises(InvalidInput, match="shift_km"):
        Perturbation(shift_km=-1.0)


def test_the_command_without_perturbation_is_the_record(tmp_path: Path) -> None:
    """Children that do not stray: the average annual loss is that of the record, which the wind command gives."""
    from tocsin.cli import app

    deck = tmp_path / "decks"
    deck.mkdir()
    for number, west in ((1, 700), (2, 705)):
        (deck / f"{number}.dat").write_text("".join(
            f"AL, {number:02d}, 20{number + 10}0901{hour:02d}, , BEST, 0, {200 + hour}N, {west + hour}W, 110, 945, HU, 34, "
            "NEQ, 0, 0, 0, 0, 1010, 150, 20\n" for hour in (0, 6, 12, 18)
        ))  # fmt: skip
    points = tmp_path / "p.csv"
    points.write_text("lat,lon,value\n20.5,-70.6,1000\n21.2,-71.3,5000\n,,7\n")

    def run(*arguments: str) -> dict[str, object]:
        done = CliRunner().invoke(app, [*arguments, "--points", str(points), "--json"])
        assert done.exit_code == 0, done.exception
        told: dict[str, object] = json.loads(done.stdout)
        return told

    still = ("--shift-km", "0", "--velocity-m-s", "0", "--intensity", "0")
    out = tmp_path / "elt.csv"
    told = run("wind-events", str(deck), "--years-of-record", "30", "--per-storm", "4", "--out", str(out), *still)
    each = [run("wind", str(deck / f"{n}.dat"), "--out", str(tmp_path / "o.csv"))["loss"] for n in (1, 2)]
    assert told["aal"] == pytest.approx(sum(each) / 30)  # type: ignore[arg-type]
    assert told["aal_of_the_record_alone"] == pytest.approx(told["aal"])
    assert (told["n_points_unknown"], told["value_unknown"]) == (1, 7.0)
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert sum(float(row["rate"]) * float(row["mean"]) for row in rows) == pytest.approx(told["aal"], rel=1e-6)
    moved = run("wind-events", str(deck), "--years-of-record", "30", "--per-storm", "40", "--out", str(out))
    assert moved["events_per_year"] == pytest.approx(2 / 30)
    assert moved["aal"] != pytest.approx(told["aal"])
    curves = CliRunner().invoke(app, ["ep", str(out), "--out", str(tmp_path / "ep.csv"), "--years", "1000"])
    assert curves.exit_code == 0, "tocsin ep reads what wind-events writes"
