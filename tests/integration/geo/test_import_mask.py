"""`tocsin import mask`: what a satellite saw becomes the next footprint version of an event."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import box

from ingest.weather.mask import area_km2

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.sql

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tocsin(postgres_url: str, tmp_path: Path) -> Run:
    env = os.environ | {
        "TOCSIN_DATABASE_URL": postgres_url, "TOCSIN_HOME": str(tmp_path / "home"), "TOCSIN_MODE": "exercise",
    }  # fmt: skip

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tocsin", "import", "mask", *arguments],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


def test_a_drawn_mask_and_then_a_raster_are_two_versions_of_one_event(
    tocsin: Run, worker: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio")
    drawn, seen = tmp_path / "drone.geojson", tmp_path / "radar.tif"
    drawn_area = box(80.0, 6.9, 80.1, 7.0)  # the radar looks at a part of it
    drawn.write_text(json.dumps(drawn_area.__geo_interface__))
    cells = np.zeros((50, 50), dtype=np.uint8)
    cells[10:20, 10:30] = 1
    cells[:, 45:] = 255  # a cloud
    with rasterio.open(
        seen, "w", driver="GTiff", width=50, height=50, count=1, dtype="uint8", nodata=255, crs="EPSG:32644",
        transform=rasterio.transform.from_origin(400_000, 770_000, 30, 30),
    ) as out:  # fmt: skip
        out.write(cells, 1)

    first = tocsin(str(drawn), "--event", "kelani", "--valid-at", "2026-03-01T12:00:00Z", "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)  # one document and nothing else
    assert (told["version"], told["looked_at_km2"]) == (1, None)
    assert told["inside_km2"] == pytest.approx(122.2, rel=0.002)

    second = tocsin(
        str(seen), "--event", "kelani", "--valid-at", "2026-03-01T18:00:00+05:30", "--made-how", "radar", "--json"
    )
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert told["version"] == 2
    assert told["inside_km2"] == pytest.approx(0.18, rel=0.005)  # 200 cells of 30 m
    assert told["looked_at_km2"] == pytest.approx(45 * 50 * 0.0009, rel=0.005)  # without the cloud
    # Nobody saw the rest of what was drawn: it stands there. What was looked at is as the radar saw it.
    row = worker.execute("SELECT geometry FROM footprint WHERE version = 2").fetchone()
    assert row is not None
    whole = shapely.from_wkb(bytes(row[0]))
    turn = Transformer.from_crs(32644, 4326, always_xy=True).transform
    looked = shapely.transform(box(400_000, 768_500, 401_350, 770_000), turn, interleaved=False)
    unseen = drawn_area.difference(looked)
    assert unseen.area < 0.999 * drawn_area.area
    assert told["unseen_as_before_km2"] == pytest.approx(area_km2(unseen), rel=1e-3)
    assert unseen.difference(whole).area < 1e-6 * unseen.area
    dry = looked.difference(whole)
    assert area_km2(dry) == pytest.approx((45 * 50 - 200) * 0.0009, rel=0.01)

    rows = worker.execute(
        "SELECT f.version, f.made_how, e.code, e.peril FROM footprint AS f JOIN hazard_event AS e USING (hazard_event_id)"
        " ORDER BY f.version"
    ).fetchall()
    assert [(row[0], row[2], row[3]) for row in rows] == [(1, "kelani", "flood"), (2, "kelani", "flood")]
    assert rows[0][1] == "mask drone.geojson; the file does not say where was looked"
    assert rows[1][1].startswith("radar; 2.0")
    assert worker.execute("SELECT count(*) FROM outbox WHERE kind = 'footprint_published'").fetchone() != (0,)


@pytest.mark.parametrize(
    ("name", "body", "when", "why"),
    [
        ("a.png", "x", "2026-03-01T12:00:00Z", "a.png: a mask is a GeoTIFF"),
        ("a.geojson", "{}", "2026-03-01T12:00:00", "--valid-at: it has no offset"),
    ],
)
def test_bad_input_is_one_line(tocsin: Run, tmp_path: Path, name: str, body: str, when: str, why: str) -> None:
    file = tmp_path / name
    file.write_text(body)
    ended = tocsin(str(file), "--event", "kelani", "--valid-at", when)
    assert ended.returncode != 0
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert why in lines[0]
    assert ended.stdout == ""
