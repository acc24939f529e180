"""Crops and works: value by day, counted in a footprint."""

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geo.changing_value import BadSchedule, ChangingValue
from tocsin.cli import app

WORKS = ChangingValue("works", 1000.0, ((date(2026, 1, 1), 0.0), (date(2026, 1, 11), 0.5), (date(2026, 3, 1), 1.0)))
CROP = ChangingValue("crop", 500.0, ((date(2026, 4, 1), 0.1), (date(2026, 7, 1), 1.0), (date(2026, 8, 1), 0.2)))


def test_value_follows_the_schedule() -> None:
    assert WORKS.value_on(date(2026, 1, 6)) == pytest.approx(250.0)
    assert WORKS.value_on(date(2026, 1, 11)) == pytest.approx(500.0)
    assert WORKS.value_on(date(2025, 12, 31)) == 0.0
    assert WORKS.value_on(date(2026, 3, 2)) == 0.0
    assert CROP.value_on(date(2026, 7, 1)) == pytest.approx(500.0)
    assert CROP.value_on(date(2026, 8, 1)) == pytest.approx(100.0)


SCHEDULES = (
    "schedule,kind,day,share\n"
    "bridge,works,2026-01-01,0\nbridge,works,2026-03-02,1\nwheat,crop,2026-04-01,0.1\nwheat,crop,2026-07-01,1\n"
)
BOOK = (
    "id,lat,lon,value,currency,schedule\n1,10,20,1000.00,EUR,bridge\n2,10,20,500.00,EUR,wheat\n3,10,20,70.00,EUR,\n"
    "4,50,20,1000.00,EUR,bridge\n"
)


def _run(folder: Path, *more: str, schedules: str = SCHEDULES, book: str = BOOK) -> Any:
    (folder / "s.csv").write_text(schedules)
    (folder / "b.csv").write_text(book)
    area = {"type": "Polygon", "coordinates": [[[19, 9], [21, 9], [21, 11], [19, 11], [19, 9]]]}
    (folder / "f.geojson").write_text(json.dumps(area))
    words = ["accumulate", folder / "b.csv", "--footprint", folder / "f.geojson", "--schedules", folder / "s.csv",
             "--out", folder / "o.csv", "--json", *more]  # fmt: skip
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_footprint_counts_crops_and_works_at_their_value_of_the_day(tmp_path: Path) -> None:
    done = _run(tmp_path, "--on", "2026-01-31")
    assert done.exit_code == 0, done.output
    rows = {(row["kind"], row["key"]): row for row in csv.DictReader((tmp_path / "o.csv").open())}
    # half of the bridge is built, nothing stands on the field, and a house is a house
    assert rows[("footprint", "entered")]["tiv"] == "570.00"
    assert rows[("value_on_2026-01-31", "works")]["tiv"] == "1000.00"  # two bridges, half built
    assert rows[("value_on_2026-01-31", "crop")]["tiv"] == "0.00"
    assert rows[("value_on_2026-01-31", "settled")]["tiv"] == "70.00"
    _run(tmp_path, "--on", "2026-07-01")
    rows = {(row["kind"], row["key"]): row for row in csv.DictReader((tmp_path / "o.csv").open())}
    assert rows[("footprint", "entered")]["tiv"] == "570.00"  # the harvest is ripe and the bridge handed over


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schedules": SCHEDULES.replace("2026-07-01", "July")}, "line 5: day: 'July' is not a date"),
        ({"schedules": SCHEDULES.replace("wheat,crop,2026-07-01,1", "wheat,works,2026-07-01,1")}, "line 5: kind"),
        ({"schedules": SCHEDULES.replace("2026-03-02,1", "2026-03-02,1.5")}, "schedule 'bridge': schedule: a share"),
        ({"book": BOOK.replace(",wheat", ",rye")}, "'rye' is not among the schedules bridge, wheat"),
        ({"book": BOOK.replace(",schedule", ",plan")}, "Schedule"),
    ],
)
def test_schedules_that_do_not_fit_are_one_clear_line(tmp_path: Path, change: dict[str, str], told: str) -> None:
    done = _run(tmp_path, "--on", "2026-01-31", **change)
    assert told in str(done.exception)


def test_a_day_is_asked_for(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert "--schedules and --on come together" in str(done.exception)


@pytest.mark.parametrize(
    ("kind", "final", "shares", "told"),
    [("ship", 1.0, (0.0, 1.0), "kind"), ("crop", -1.0, (0.0, 1.0), "final_value"), ("crop", 1.0, (0.0, 1.2), "share"),
     ("works", 1.0, (1.0, 0.5), "progress"), ("crop", 1.0, (0.5,), "first and a last")],
)  # fmt: skip
def test_bad_schedules_are_refused(kind: str, final: float, shares: tuple[float, ...], told: str) -> None:
    schedule = tuple((date(2026, 1, 1 + i), share) for i, share in enumerate(shares))
    with pytest.raises(BadSchedule, match=told):
        ChangingValue(kind, final, schedule)
