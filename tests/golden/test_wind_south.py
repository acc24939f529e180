"""Southern storms against CLIMADA 6.1.0, one of them across the antimeridian: how each number was made is beside it."""

import csv
from pathlib import Path

import numpy as np
import pytest

from geo.track_files import read_tracks
from geo.wind import MODELS, Model, max_wind_m_s

FOLDER = Path(__file__).parent / "wind_south" / "real"
STORMS = ("1988021S12080", "1997018S11059", "1980052S16155", "2018079S09162")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("storm", STORMS)
def test_winds_of_real_southern_storms_are_climadas(storm: str, model: Model) -> None:
    track = read_tracks(FOLDER / f"{storm}.csv")[0].track
    assert (track.lat < 0).all()
    with (FOLDER / f"{storm}_climada.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lon, lat, theirs = (np.array([float(row[name]) for row in rows]) for name in ("lon", "lat", model))
    ours = max_wind_m_s(track, lon, lat, model=model)
    strong = theirs > 20.0  # one of them is weak: above 25 m/s it has two points in one model
    assert strong.sum() >= 15
    assert np.abs(ours[strong] / theirs[strong] - 1.0).max() < 0.005


def test_one_of_them_crosses_the_antimeridian() -> None:
    tracks = [read_tracks(FOLDER / f"{storm}.csv")[0].track for storm in STORMS]
    assert [bool((np.abs(np.diff(track.lon)) > 180.0).any()) for track in tracks] == [False, False, True, False]
