"""The memory of recent readings: whatever the order of arrival, the end is that of the whole sorted series."""

import csv
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import quality
from ingest.observation import Check
from ingest.quality import Thresholds
from ingest.series import AFTER, CONTEXT, KNOWN_DTYPE, Outcome, Plan, SeriesMemory

NAN = float("nan")
LEVEL = Thresholds.for_quantity("level", interval_s=600)


@dataclass
class Row:
    value: float
    original: float
    quality: int
    tests: int
    revision: int = 0
    flags_version: int = 0
    awaited: bool = False


@dataclass
class Store:
    """Does with a plan what the database does, so that the memory can be tried without one."""

    memory: SeriesMemory = field(default_factory=SeriesMemory)
    rows: dict[int, dict[int, Row]] = field(default_factory=lambda: defaultdict(dict))
    n_deep: int = 0

    def known(self, ds: int, times: list[int]) -> np.ndarray:
        found = np.zeros(len(times), dtype=KNOWN_DTYPE)
        for i, t in enumerate(times):
            r = self.rows[ds][t]
            found[i] = (t, r.value, r.original, r.quality, r.tests, r.revision, r.flags_version, r.awaited, 0, NAN)
        return found

    def feed(self, batch: list[tuple[int, int, float, bool]], thresholds: Thresholds = LEVEL) -> list[Outcome]:
        """One batch of (datastream, seconds, value, correction)."""
        ds = np.array([b[0] for b in batch], dtype=np.int64)
        us = np.array([b[1] * 1_000_000 for b in batch], dtype=np.int64)
        v = np.array([b[2] for b in batch])
        c = np.array([b[3] for b in batch])
        for i in set(ds.tolist()):
            if i not in self.memory._registered:
                self.memory.register(i, thresholds, interval_s=600)
        for i in self.memory.not_loaded(ds):
            times = sorted(self.rows[i])
            cut = times[-self.memory.capacity :]
            self.memory.load(i, self.known(i, cut), complete=len(cut) == len(times))
        plan = self.memory.plan(ds, us, v, c)
        outcomes: list[Outcome] = [Outcome.NEW] * len(batch)
        deep = np.flatnonzero(plan.deep)
        self.keep(plan, np.flatnonzero(~plan.deep), ds, us, v, outcomes)
        self.memory.commit(plan)
        if len(deep):
            self.n_deep += len(deep)
            window = self.memory.window(ds[deep], 10_000)
            for i in set(ds[deep].tolist()):
                mine = us[deep][ds[deep] == i]
                times = sorted(self.rows[i])
                old = [t for t in times if t < mine.min()][-2 * CONTEXT :]
                mid = [t for t in times if mine.min() <= t <= mine.max()]
                new = [t for t in times if t > mine.max()][:AFTER]
                cut = old + mid + new
                window.load(i, self.known(i, cut), complete=cut[0] == times[0], newest=cut[-1] == times[-1])
            plan = window.plan(ds[deep], us[deep], v[deep], c[deep])
            assert not plan.deep.any()
            some: list[Outcome] = [Outcome.NEW] * len(deep)
            self.keep(plan, np.arange(len(deep)), ds[deep], us[deep], v[deep], some)
            for i, o in zip(deep, some, strict=True):
                outcomes[i] = o
            self.memory.forget(ds[deep])
        return outcomes

    def keep(
        self, plan: Plan, which: np.ndarray, ds: np.ndarray, us: np.ndarray, v: np.ndarray, outcomes: list[Outcome]
    ) -> None:
        for i in which.tolist():
            outcome = outcomes[i] = Outcome(plan.outcome[i])
            mine, q, tests = self.rows[int(ds[i])], int(plan.quality[i]), int(plan.tests[i])
            if outcome == Outcome.NEW:
                assert int(us[i]) not in mine
                mine[int(us[i])] = Row(v[i], v[i], q, tests)
        for i in which.tolist():
            outcome = outcomes[i]
            mine, q, tests = self.rows[int(ds[i])], int(plan.quality[i]), int(plan.tests[i])
            if outcome == Outcome.CORRECTION_FIRST:
                mine[int(us[i])] = Row(v[i], NAN, q, tests, 1, 0, True)
        for i in which.tolist():
            outcome = outcomes[i]
            mine, q, tests = self.rows[int(ds[i])], int(plan.quality[i]), int(plan.tests[i])
            if outcome == Outcome.CORRECTION:
                r = mine[int(us[i])]
                assert plan.revision[i] == r.revision + 1
                r.value, r.quality, r.tests, r.revision, r.flags_version = v[i], q, tests, int(plan.revision[i]), 0
            elif outcome == Outcome.ORIGINAL_LATE:
                mine[int(us[i])].original, mine[int(us[i])].awaited = v[i], False
        for u in plan.updates:
            r = self.rows[u.datastream_id][u.observed_us]
            assert (u.revision, u.flags_version) == (r.revision, r.flags_version + 1)
            assert (u.quality, u.tests) != (r.quality, r.tests)
            r.quality, r.tests, r.flags_version = u.quality, u.tests, u.flags_version

    def flags(self, ds: int) -> tuple[list[int], list[int]]:
        rows = [self.rows[ds][t] for t in sorted(self.rows[ds])]
        return [r.quality for r in rows], [r.tests for r in rows]


def whole(times: list[int], values: list[float], thresholds: Thresholds = LEVEL) -> tuple[list[int], list[int]]:
    flags = quality.check_series(np.array(times, dtype=float), np.array(values), thresholds, interval_s=600)
    q, tests = flags.quality.tolist(), flags.tests.tolist()
    if len(values) > 1 and abs(values[-1] - values[-2]) > (thresholds.provisional_step or np.inf):
        tests[-1] |= int(Check.SPIKE | Check.PROVISIONAL)
        q[-1] = max(q[-1], 3)
    return q, tests


VALUE = st.one_of(st.integers(0, 4).map(lambda i: i * 0.5), st.sampled_from([NAN, 9.0, 1.0, 1.0, 1.0]))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_batches_end_in_the_flags_of_the_whole_series(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 240))
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    steps = data.draw(st.sampled_from([[600], [1, 600, 3600], [300, 600, 900]]))
    pool = data.draw(st.lists(VALUE, min_size=2, max_size=6))
    stick = data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    times, values, t = [], [], 1_700_000_000
    for _ in range(n):
        t += rng.choice(steps)
        times.append(t)
        values.append(values[-1] if values and rng.random() < stick else rng.choice(pool))
    disorder = data.draw(st.sampled_from([0, 3, 400]))
    arrival = sorted(range(n), key=lambda i: i + rng.random() * disorder)
    arrival += rng.choices(arrival, k=n // 10)  # brokers deliver at least once
    fixed = data.draw(
        st.sampled_from([LEVEL, Thresholds(flat_suspect_s=1800, flat_fail_s=6000, spike=0.7, rate_per_s=0.001)])
    )
    store = Store()
    while arrival:
        size = rng.choice([1, 2, 7, 50, 300])
        batch, arrival = arrival[:size], arrival[size:]
        if rng.random() < 0.1 and store.rows:
            store.memory.forget_all()  # a restart
        store.feed([(7, times[i], values[i], False) for i in batch], fixed)
    assert sorted(store.rows[7]) == [t * 1_000_000 for t in times]
    got, expected = store.flags(7), whole(times, values, fixed)
    if store.n_deep or store.memory.capacity < n:
        # Beyond what is held, a run that began before the window cannot be judged anew: then only its flag may differ.
        flat = int(Check.FLAT_LINE)
        assert [x & ~flat for x in got[1]] == [x & ~flat for x in expected[1]]
        differ = sum(a != b for a, b in zip(got[1], expected[1], strict=True))
        assert differ <= n * 0.25
    else:
        assert got == expected


def test_many_datastreams_in_one_batch_do_not_touch_each_other() -> None:
    rng = random.Random(3)
    together, alone = Store(), [Store() for _ in range(9)]
    for step in range(40):
        batch = []
        for ds in range(9):
            for k in range(rng.choice([0, 1, 5])):
                batch.append((ds, 1_700_000_000 + step * 6000 + k * 600, rng.choice([1.0, 1.5, 2.0, 9.0]), False))
        rng.shuffle(batch)
        if batch:
            together.feed(batch)
        for ds in range(9):
            mine = [b for b in batch if b[0] == ds]
            if mine:
                alone[ds].feed(mine)
    for ds in range(9):
        assert together.flags(ds) == alone[ds].flags(ds)


def test_a_spike_is_suspect_at_once_and_stays_so_when_it_comes_back() -> None:
    store = Store()
    store.feed([(1, 600 * i, 1.0 + 0.01 * i, False) for i in range(10)])
    store.feed([(1, 6000, 9.1, False)])
    assert store.rows[1][6000 * 10**6].quality == 3
    assert store.rows[1][6000 * 10**6].tests == Check.SPIKE | Check.PROVISIONAL
    store.feed([(1, 6600, 1.1, False)])
    spike = store.rows[1][6000 * 10**6]
    assert (spike.quality, spike.flags_version) == (3, 1)
    assert spike.tests == Check.SPIKE


def test_a_flash_flood_is_good_and_a_jump_that_stays_becomes_good() -> None:
    store = Store()
    store.feed([(1, 600 * i, 1.0 + 0.01 * i, False) for i in range(10)])
    store.feed([(1, 6000, 3.4, False)])  # 2.3 m in ten minutes
    assert store.rows[1][6000 * 10**6].quality == 1
    store.feed([(1, 6600, 6.9, False)])  # 3.5 m: waits
    assert store.rows[1][6600 * 10**6].quality == 3
    store.feed([(1, 7200, 7.1, False)])  # and is confirmed
    row = store.rows[1][6600 * 10**6]
    assert (row.quality, row.tests, row.flags_version) == (1, 0, 1)


def test_a_stuck_sensor_is_suspect_from_its_second_reading_and_a_quiet_river_is_not() -> None:
    rng = random.Random(1)
    moving = [2.0 + 0.01 * i + rng.choice([0.0, 0.01, 0.02]) for i in range(40)]
    store = Store()
    store.feed([(1, 600 * i, v, False) for i, v in enumerate(moving + [3.33] * 9)])
    q, tests = store.flags(1)
    assert q[:41] == [1] * 41
    assert q[41:] == [3] * 8
    assert tests[41:] == [int(Check.FLAT_LINE)] * 8
    quiet = [0.4, *[0.4] * 20, *([0.41] * 30), *([0.4] * 80)]
    store.feed([(2, 600 * i, v, False) for i, v in enumerate(quiet)])
    assert set(store.flags(2)[0]) == {1}


def test_known_conflicting_and_corrected_readings() -> None:
    store = Store()
    assert store.feed([(1, 600, 1.0, False), (1, 600, 1.0, False), (1, 600, 1.5, False)]) == [
        Outcome.NEW,
        Outcome.SAME,
        Outcome.CONFLICT,
    ]
    assert store.feed([(1, 600, 2.0, True)]) == [Outcome.CORRECTION]
    assert store.feed([(1, 600, 2.0, True), (1, 600, 1.0, False)]) == [Outcome.SAME, Outcome.SAME]
    assert store.feed([(1, 600, 1.5, False)]) == [Outcome.CONFLICT]
    assert store.feed([(1, 600, 3.0, True)]) == [Outcome.CORRECTION]
    row = store.rows[1][600_000_000]
    assert (row.value, row.original, row.revision) == (3.0, 1.0, 2)


def test_a_correction_may_come_before_its_original() -> None:
    for restart in (False, True):
        store = Store()
        assert store.feed([(1, 600, 2.0, True)]) == [Outcome.CORRECTION_FIRST]
        if restart:
            store.memory.forget_all()
        assert store.feed([(1, 600, 1.0, False)]) == [Outcome.ORIGINAL_LATE]
        assert store.feed([(1, 600, 1.0, False), (1, 600, 2.0, True)]) == [Outcome.SAME, Outcome.SAME]
        row = store.rows[1][600_000_000]
        assert (row.value, row.original, row.revision, row.awaited) == (2.0, 1.0, 1, False)
    store = Store()
    assert store.feed([(1, 600, 2.0, True), (1, 600, 1.0, False)]) == [Outcome.CORRECTION, Outcome.NEW]


def test_a_correction_gives_its_neighbours_new_flags() -> None:
    store = Store()
    values = [1.0, 1.1, 9.0, 1.2, 1.3]
    store.feed([(1, 600 * i, v, False) for i, v in enumerate(values)])
    assert store.flags(1)[0] == [1, 1, 3, 1, 1] or store.rows[1][600 * 2 * 10**6].quality == 3
    store.feed([(1, 1200, 1.15, True)])
    assert store.flags(1)[0] == [1] * 5
    assert store.flags(1) == whole([0, 600, 1200, 1800, 2400], [1.0, 1.1, 1.15, 1.2, 1.3])


def test_a_plan_that_is_not_stored_leaves_no_trace() -> None:
    store = Store()
    store.feed([(1, 600 * i, 1.0 + i, False) for i in range(5)])
    before = store.memory._rows.copy()
    ds, us = np.array([1, 1]), np.array([3000, 3600]) * 1_000_000
    store.memory.plan(ds, us, np.array([50.0, 1.0]), np.array([False, False]))
    assert (before == store.memory._rows).all() or np.array_equal(before.tobytes(), store.memory._rows.tobytes())
    assert store.feed([(1, 3000, 6.0, False)]) == [Outcome.NEW]


def test_fixed_flat_lines_longer_than_the_memory_widen_it() -> None:
    memory = SeriesMemory()
    memory.register(1, Thresholds(flat_suspect_s=600 * 500), interval_s=600)
    assert memory.capacity >= 1000
    with pytest.raises(quality.BadThresholds):
        memory.register(2, Thresholds(flat_suspect_s=600 * 5000), interval_s=600)


def test_most_faults_are_found_and_few_good_readings_are_suspected(shared_data: Path) -> None:
    """The dirty Ditwah stream's own truth, in order of time; other seeds and rivers: test_quality_rivers.py."""
    by_station: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
    with (shared_data / "warning/mqtt/ditwah_dirty_dev.expected.csv").open() as lines:
        for row in csv.DictReader(lines):
            if "clock" not in row["faults"]:
                at = int(datetime.fromisoformat(row["observed_at"]).timestamp())
                by_station[row["station"]].append((at, float(row["value_m"] or "nan"), row["faults"]))
    seen: dict[str, list[bool]] = defaultdict(list)
    store = Store()
    for ds, rows in enumerate(by_station.values()):
        rows.sort()
        for start in range(0, len(rows), 7):
            store.feed(
                [(ds, t, v, False) for t, v, _ in rows[start : start + 7]],
                Thresholds.for_quantity("level", interval_s=3600),
            )
        for q, (_, _, fault) in zip(store.flags(ds)[0], rows, strict=True):
            seen[fault].append(q in (3, 4))
    share = {fault: sum(flagged) / len(flagged) for fault, flagged in seen.items()}
    assert share["spike"] >= 0.9
    assert share["stuck"] >= 0.7
    assert share[""] <= 0.045
