"""Depth from gauges and ground: one datum, connected water, and silence that says nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.water_surface import DatumMismatch, Gauges, depth_m, one_datum, surface_m


def test_a_valley_behind_a_dike_stays_dry() -> None:
    # a river cell, a bank, a dike, low ground behind it; surface 5 m everywhere
    ground = np.array([[2.0, 3.0, 9.0, 1.0, 4.5], [2.0, 3.0, 9.0, 1.0, 4.5]])
    # the gauge reaches three cells: the dike is out of its reach
    wide = np.hstack([np.full((2, 4), 2.0), ground])
    depth, apart, without = depth_m(wide, np.full(wide.shape, 5.0), [(0, 0)])
    assert depth[0].tolist() == [3, 3, 3, 3, 3, 2, 0, 0, 0]
    assert apart[0].tolist() == [False] * 7 + [True, True]
    assert without == []


def test_water_runs_through_a_gap_between_corners() -> None:
    ground = np.full((8, 8), 9.0)
    for i in range(8):
        ground[i, i] = 0.0
    depth, apart, _ = depth_m(ground, np.full((8, 8), 1.0), [(0, 0)])
    assert depth[7, 7] == 1.0
    assert not apart.any()


def test_a_gauge_below_all_ground_is_told_and_the_unknown_stays_unknown() -> None:
    ground = np.full((20, 20), 5.0)
    ground[3, 3] = np.nan
    depth, _, without = depth_m(ground, np.full((20, 20), 4.0), [(10, 10)])
    assert without == [0]
    assert np.isnan(depth[3, 3])
    assert np.nansum(depth) == 0.0


def test_the_surface_lies_between_its_gauges_and_ends_at_their_reach() -> None:
    gauges = Gauges(np.array([0.0, 0.1, 0.05]), np.array([0.0, 0.0, 0.0]), np.array([10.0, 20.0, np.nan]), "NAVD88")
    lon, lat = np.array([0.0, 0.05, 0.1, 5.0]), np.zeros(4)
    found = surface_m(gauges, lon, lat, 20.0)
    assert found[:3] == pytest.approx([10.0, 15.0, 20.0])
    assert np.isnan(found[3])
    # Shepard by hand at a third of the way: weights 1 and 1/4
    third = surface_m(gauges, np.array([0.1 / 3]), np.zeros(1), 20.0)[0]
    assert third == pytest.approx((10 * 1 + 20 * 0.25) / 1.25)
    with pytest.raises(InvalidInput, match="none of them has a level"):
        surface_m(Gauges(lon, lat, np.full(4, np.nan), "X"), lon, lat, 20.0)


def test_another_datum_is_refused() -> None:
    assert one_datum(["navd88", "NAVD88 "], "NAVD88") == "NAVD88"
    with pytest.raises(DatumMismatch, match="gauge 2: datum: 'NGVD29', and the ground is above 'NAVD88'"):
        one_datum(["NAVD88", "NGVD29"], "NAVD88")
    with pytest.raises(DatumMismatch, match="gauge 1: datum: it is empty"):
        one_datum([""], "NAVD88")
    with pytest.raises(DatumMismatch, match="terrain datum"):
        one_datum(["NAVD88"], "")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A valley that rises to the east, 1 m of height a cell from 0, with its river in the west; 0.001 degree cells."""
    rasterio = pytest.importorskip("rasterio")
    ground = np.tile(np.arange(10, dtype="float32"), (10, 1))
    with rasterio.open(
        tmp_path / "dtm.tif", "w", driver="GTiff", width=10, height=10, count=1, dtype="float32", crs="EPSG:4326",
        transform=rasterio.transform.from_origin(10.0, 50.01, 0.001, 0.001), nodata=-9999,
    ) as out:  # fmt: skip
        out.write(ground, 1)
        out.units = ("m",)
    (tmp_path / "g.csv").write_text("lat,lon,level_m,datum\n50.0055,10.0005,3.5,DHHN2016\n50.0025,10.0005,,DHHN2016\n")
    head = "FltyId,Longitude,Latitude,Occ,NumStories,FoundationType,FirstFloorHt,Cost,ContentCost,Area\n"
    rows = [f"{i},{10.0005 + 0.001 * i},50.0055,RES1,1,7,1,100000,50000,1000" for i in (1, 3, 5)]
    (tmp_path / "b.csv").write_text(head + "\n".join([*rows, "9,11,50,RES1,1,7,1,100000,50000,1000"]) + "\n")
    return tmp_path


def flood(place: Path, *arguments: str) -> tuple[int, str]:
    from tocsin.cli import app

    done = CliRunner().invoke(
        app,
        ["flood", str(place / "b.csv"), "--gauges", str(place / "g.csv"), "--terrain", str(place / "dtm.tif"),
         "--out", str(place / "o.csv"), "--json", *arguments],
    )  # fmt: skip
    return done.exit_code, done.stdout if done.exit_code == 0 else str(done.exception)


def test_flood_from_gauges_and_terrain(place: Path) -> None:
    code, told = flood(place, "--terrain-unit", "m", "--terrain-datum", "DHHN2016")
    assert code == 0, told
    document = json.loads(told)
    assert document["by_status"] == {"dry": 1, "unknown_outside_raster": 1, "wet": 2}
    assert document["n_gauges_silent"] == 1
    rows = [line.split(",") for line in (place / "o.csv").read_text().splitlines()[1:]]
    # 3.5 m of surface over 1 m and 3 m of ground, less a first floor of 1 ft
    assert float(rows[0][1]) == pytest.approx(2.5 / 0.3048 - 1, abs=1e-3)
    assert float(rows[1][1]) == pytest.approx(0.5 / 0.3048 - 1, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--terrain-unit", "m", "--terrain-datum", "NAVD88"), "datum: 'DHHN2016'"),
        (
            ("--terrain-unit", "ft", "--terrain-datum", "DHHN2016"),
            "--terrain-unit ft, but the raster says its unit is m",
        ),
        (("--terrain-datum", "DHHN2016"), "--terrain-unit: None is neither ft nor m"),
        (("--terrain-unit", "m"), "needs --terrain, --terrain-unit and --terrain-datum"),
        (("--terrain-unit", "m", "--terrain-datum", "x", "--depth", "d.tif"), "give one of them"),
    ],
)
def test_mistakes_are_refused(place: Path, arguments: tuple[str, ...], told: str) -> None:
    code, said = flood(place, *arguments)
    assert code != 0
    assert told in said
