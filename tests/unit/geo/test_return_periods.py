"""Maps by return period to an average annual loss: against integrals that can be written down."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import InvalidInput
from geo.return_periods import check_rising, integrate


def test_a_depth_that_is_linear_in_the_logarithm_has_a_known_integral() -> None:
    """Loss = ln(T): the area from f1 to f0 is f0 (1 - ln f0) - f1 (1 - ln f1), and f1 ln(T1) lies beyond."""
    years = np.array([10.0, 50.0, 500.0])
    depth = np.log(years)[:, None]
    curve = integrate(years, depth, lambda d: float(d.sum()), steps=400)
    f0, f1 = 1 / 10, 1 / 500
    exact = f0 * (1 - math.log(f0)) - f1 * (1 - math.log(f1)) + f1 * math.log(500)
    assert curve.aal == pytest.approx(exact, rel=1e-4)
    assert curve.beyond == pytest.approx(f1 * math.log(500))


def test_the_textbooks_trapezoid_without_steps_between() -> None:
    """FEMA's and USACE's hand calculation: losses 100, 300, 900 at 1 in 10, 50, 100."""
    curve = integrate(
        np.array([10.0, 50.0, 100.0]), np.array([[100.0], [300.0], [900.0]]), lambda d: float(d[0]), steps=1
    )
    assert curve.aal == pytest.approx(0.08 * 200 + 0.01 * 600 + 0.01 * 900)


def test_events_add_up_to_the_average() -> None:
    curve = integrate(
        np.array([5.0, 20.0]), np.array([[1.0, 0.0], [2.0, 4.0]]), lambda d: float((d**2).sum()), dry_at_years=2.0
    )
    rate, mean = curve.events()
    assert (rate > 0).all()
    assert rate @ mean == pytest.approx(curve.aal)
    assert rate.sum() == pytest.approx(1 / 2.0)
    later = integrate(np.array([5.0, 20.0]), np.array([[1.0, 0.0], [2.0, 4.0]]), lambda d: float((d**2).sum()))
    assert later.aal < curve.aal


def test_what_cannot_be_maps_of_one_study() -> None:
    one = np.array([[1.0], [2.0]])
    for years, told in (([10.0], "at least two"), ([10.0, 10.0], "differ"), ([0.0, 5.0], "above zero")):
        with pytest.raises(InvalidInput, match=told):
            integrate(np.array(years), one, lambda d: 0.0)
    with pytest.raises(InvalidInput, match="dry at: 20 years"):
        integrate(np.array([10.0, 100.0]), one, lambda d: 0.0, dry_at_years=20.0)
    with pytest.raises(InvalidInput, match="exchanged"):
        check_rising(np.array([10.0, 100.0]), np.array([[2.0, 3.0, 1.0], [1.0, 1.0, 1.5]]))
    assert check_rising(np.array([10.0, 100.0]), np.array([[2.0, 1.0, 1.0], [1.0, 2.0, 1.5]])) == 1


def test_the_command(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for period, depth in ((10, 0.0), (100, 4.0)):
        with rasterio.open(
            tmp_path / f"{period}.tif", "w", driver="GTiff", width=2, height=2, count=1, dtype="float32",
            crs="EPSG:4326", transform=rasterio.transform.from_origin(10.0, 51.0, 0.5, 0.5), nodata=-1,
        ) as out:  # fmt: skip
            out.write(np.full((2, 2), depth, dtype="float32"), 1)
    head = "FltyId,Longitude,Latitude,Occ,NumStories,FoundationType,FirstFloorHt,Cost,ContentCost,Area,InvCost\n"
    (tmp_path / "b.csv").write_text(head + "1,10.2,50.7,RES1,1,7,0,1000,0,1000,0\n2,20,50.7,RES1,1,7,0,500,0,1,0\n")
    from tocsin.cli import app

    maps = [f"{p}:{tmp_path / f'{p}.tif'}" for p in (100, 10)]
    done = CliRunner().invoke(
        app,
        ["flood-aal", str(tmp_path / "b.csv"), "--depth", maps[0], "--depth", maps[1], "--depth-unit", "ft", "--json",
         "--curves", "hazus", "--out", str(tmp_path / "o.csv"), "--elt-out", str(tmp_path / "elt.csv")],
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    assert (told["n_unknown"], told["value_unknown"]) == (1, 500.0)
    # by hand: depths 0, 0.5, ... 4 ft at 1 in 10 ** (1 + k/8); USACE-IWR 13 23 32 40 47 % at 0 1 2 3 4 ft, dry at 0 ft
    percent = [0.0, *np.interp(np.arange(0.5, 4.01, 0.5), range(5), (13, 23, 32, 40, 47))]
    f = 10.0 ** -(1 + np.arange(9) / 8)
    exact = sum((f[k] - f[k + 1]) * (percent[k] + percent[k + 1]) / 2 * 10 for k in range(8)) + 0.01 * 470
    assert told["aal"] == pytest.approx(exact, rel=1e-6)
    rows = [line.split(",") for line in (tmp_path / "elt.csv").read_text().splitlines()[1:]]
    assert sum(float(rate) * float(mean) for _, rate, mean in rows) == pytest.approx(told["aal"], rel=1e-4)
    bad = CliRunner().invoke(
        app, ["flood-aal", str(tmp_path / "b.csv"), "--depth", "x", "--depth-unit", "ft", "--out", "o"]
    )
    assert "is not RETURN_PERIOD:RASTER" in str(bad.exception)
