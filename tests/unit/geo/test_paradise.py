"""The Camp Fire replay on a few households: its table never rises, and its perimeters never shrink."""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import shapely

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def paradise() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paradise", ROOT / "benchmarks" / "paradise.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fewer_get_out_the_later_they_leave(paradise: ModuleType, shared_data: Path) -> None:
    plan, burnt = paradise.replay(shared_data / "evac" / "paradise_camp_fire", 400)
    n = len(plan.households.lon)
    assert n == pytest.approx(400, abs=30)  # rounded tract by tract
    assert [minute for minute, _ in burnt] == [0, 120, 205, 275, 375, 475, 575, 675, 775]
    for (_, before), (_, after) in itertools.pairwise(burnt):
        assert shapely.area(shapely.difference(before, after)) < 0.01 * shapely.area(
            before
        )  # shown ground is simplified to 10 m
    last = burnt[-1][1]
    assert not shapely.intersects_xy(last, plan.zones.lon, plan.zones.lat).any()
    rows = paradise.table(plan, burnt)
    out = [row[1] for row in rows]
    assert all(a >= b for a, b in itertools.pairwise(out))
    assert out[0] > 0.9 * n > 10 * out[-1]
    assert all(sum(row[1:]) == n for row in rows)
    # the table against the definition: at 275 min, whoever counts as out has a leave-by no earlier
    late = plan.columns.last_way_out_s[plan.columns.status == 0]
    assert out[6] == int(np.sum(late >= 275 * 60))
