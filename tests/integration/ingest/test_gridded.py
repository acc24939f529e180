"""Gridded forecasts as a feed: fetched, cut to an area, kept by run, read at a place; GRIB and netCDF."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest import gridded
from ingest.feeds import FeedRow
from ingest.weather import grid
from ingest.weather.items import BadFeed
from store.pool import AsyncConnection
from tests.integration.ingest.test_feeds import Desk, Stage, desk, stage

__all__ = ["desk", "stage"]

pytestmark = pytest.mark.sql

RUN = datetime(2026, 3, 1, tzinfo=UTC)
LON, LAT = np.arange(0.0, 360.0, 5.0), np.arange(90.0, -91.0, -5.0)


def plane(hours: float) -> np.ndarray:
    """Kelvin, a plane of place and time: between cells it is met exactly."""
    x, y = np.meshgrid((LON + 180) % 360 - 180, LAT)
    result: np.ndarray = 280.0 + 0.02 * x + 0.1 * y + hours
    return result


def netcdf(file: Path, run: datetime = RUN) -> bytes:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    steps = (0, 6, 12)
    times = np.array([run.replace(tzinfo=None) + timedelta(hours=h) for h in steps], dtype="datetime64[ns]")
    dims = ("time", "latitude", "longitude")
    xarray.Dataset(
        {
            "t2m": (dims, np.stack([plane(h) for h in steps]), {"units": "K"}),
            "tp": (dims, np.stack([np.full((37, 72), s) for s in (0.001, 0.004, 0.004)]), {"units": "m"}),
        },
        coords={"time": times, "latitude": LAT, "longitude": LON},
    ).to_netcdf(file)
    return file.read_bytes()


def grib(run: datetime = RUN) -> bytes:
    """Two messages written by ecCodes itself: 2 m temperature at +0 and +6 h on a 5 degree grid."""
    eccodes = pytest.importorskip("eccodes")
    body = b""
    for hours in (0, 6):
        handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
        for key, value in {
            "dataDate": int(run.strftime("%Y%m%d")), "dataTime": run.hour * 100, "stepUnits": 1, "endStep": hours,
            "Ni": len(LON), "Nj": len(LAT), "latitudeOfFirstGridPointInDegrees": 90.0,
            "longitudeOfFirstGridPointInDegrees": 0.0, "latitudeOfLastGridPointInDegrees": -90.0,
            "longitudeOfLastGridPointInDegrees": 355.0, "iDirectionIncrementInDegrees": 5.0,
            "jDirectionIncrementInDegrees": 5.0, "bitsPerValue": 24, "shortName": "2t",
        }.items():  # fmt: skip
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, plane(hours).ravel())
        body += eccodes.codes_get_message(handle)
        eccodes.codes_release(handle)
    return body


def at(desk: Desk, lon: float, lat: float) -> list[dict[str, Any]]:
    feed_id = desk.feed("gfs").feed_id

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        return await gridded.at(conn, feed_id, lon, lat)

    return desk.run(work)  # type: ignore[no-any-return]


OPTIONS = {
    "variables": {"t2m": "temperature", "tp": {"quantity": "rain", "accumulated": True}},
    "bbox": [78.0, 4.0, 84.0, 11.0],
}


def test_a_netcdf_forecast_is_fetched_cut_kept_by_run_and_read_at_a_place(
    desk: Desk, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.answers["/gfs.nc"] = (200, {"ETag": '"a"'}, netcdf(tmp_path / "a.nc"))
    desk.add("gfs", "grid", f"{stage.url}/gfs.nc", plain_http=True, **OPTIONS)
    first = desk.poll("gfs")
    assert first is not None
    assert str(first) == "2 fields"
    rain, warmth = sorted(at(desk, 80.5, 6.25), key=lambda one: one["quantity"])
    assert (warmth["unit"], warmth["issued_at"]) == ("Cel", RUN.isoformat())
    expected = 280.0 + 0.02 * 80.5 + 0.1 * 6.25 - 273.15
    assert [one["value"] for one in warmth["values"]] == pytest.approx(
        [expected, expected + 6, expected + 12], abs=2e-3
    )
    assert [one["value"] for one in rain["values"]] == pytest.approx([1.0, 3.0, 0.0], abs=1e-4)
    assert at(desk, 100.0, 6.0)[0]["values"][0]["value"] is None  # outside what was kept: unknown, not zero
    kept = desk.rows("SELECT cardinality(lon), cardinality(lat) FROM gridded_forecast LIMIT 1")
    assert kept == [(3, 4)]
    assert str(desk.poll("gfs")) == "nothing new"  # 304

    monkeypatch.setattr(gridded, "KEPT_RUNS", 2)
    for day in range(1, 4):
        body = netcdf(tmp_path / f"{day}.nc", RUN + timedelta(days=day))
        stage.answers["/gfs.nc"] = (200, {"ETag": f'"{day}"'}, body)
        desk.poll("gfs")
    runs = desk.rows("SELECT count(*), min(issued_at) FROM gridded_forecast WHERE variable = 't2m'")
    assert runs == [(2, RUN + timedelta(days=2))]
    assert at(desk, 80.5, 6.25)[0]["issued_at"] == (RUN + timedelta(days=3)).isoformat()


def test_a_grib_forecast_is_read_by_its_own_library(desk: Desk, stage: Stage) -> None:
    pytest.importorskip("cfgrib")
    stage.answers["/gfs.grib2"] = (200, {}, grib())
    desk.add("gfs", "grid", f"{stage.url}/gfs.grib2", plain_http=True, variables={"t2m": "temperature"})
    assert str(desk.poll("gfs")) == "1 fields"
    (warmth,) = at(desk, -75.5, 45.2)
    expected = 280.0 + 0.02 * -75.5 + 0.1 * 45.2 - 273.15
    assert [one["value"] for one in warmth["values"]] == pytest.approx([expected, expected + 6], abs=0.01)
    assert [one["valid_at"] for one in warmth["values"]] == [RUN.isoformat(), (RUN + timedelta(hours=6)).isoformat()]


@pytest.mark.parametrize(
    ("body", "options", "why"),
    [
        (b"<html>", OPTIONS, "neither GRIB nor netCDF"),
        (b"GRIB" + bytes(100), OPTIONS, "cannot be read"),
        (None, {"variables": {}}, "option variables"),
        (None, {"variables": {"t2m": "warmth"}}, "warmth"),
        (None, {"variables": {"u10": "wind_speed"}}, "not in the grid"),
        (None, {**OPTIONS, "bbox": [84, 4, 78, 11]}, "bbox"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_feed_goes_on(
    desk: Desk, stage: Stage, tmp_path: Path, body: bytes | None, options: dict[str, Any], why: str
) -> None:
    pytest.importorskip("cfgrib")
    stage.answers["/g"] = (200, {}, netcdf(tmp_path / "a.nc") if body is None else body)
    desk.add("gfs", "grid", f"{stage.url}/g", plain_http=True, **options)
    assert desk.poll("gfs") is None
    row: FeedRow = desk.feed("gfs")
    assert why in row.detail
    assert row.n_failures == 1


def test_a_grid_that_is_too_large_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netcdf(tmp_path / "a.nc")
    monkeypatch.setattr(grid, "MAX_VALUES", 100)
    with pytest.raises(BadFeed, match="bbox"):
        grid.read_wanted(tmp_path / "a.nc", gridded.wanted({"variables": {"t2m": "temperature"}}))


def test_a_file_that_never_ends_is_ended_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, options = netcdf(tmp_path / "a.nc"), {"variables": {"t2m": "temperature"}}

    async def story() -> None:
        monkeypatch.setattr(gridded, "_READ_S", 0.001)
        with pytest.raises(BadFeed, match="too much time"):
            await gridded.read(body, options)
        monkeypatch.setattr(gridded, "_READ_S", 120.0)
        (found,) = await gridded.read(body, options)
        assert found.values.shape == (3, 37, 72)

    asyncio.run(story())
