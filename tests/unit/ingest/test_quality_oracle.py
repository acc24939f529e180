"""Our quality control against ioos_qc, flag by flag: sorted series without doubles, final flags."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingest import quality

qartod = pytest.importorskip(
    "ioos_qc.qartod", reason="ioos_qc, the oracle for quality control, is not installed: pip install tocsin[oracles]"
)

Series = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

#: A coarse grid of values makes runs, spikes and equal steps common; NaN is a missing reading.
VALUES = st.one_of(
    st.integers(-6, 6).map(lambda i: i * 0.25), st.just(float("nan")), st.floats(-20, 20, allow_nan=False, width=32)
)


@st.composite
def series(draw: st.DrawFn) -> Series:
    n = draw(st.integers(3, 60))
    steps = draw(arrays(np.int64, n, elements=st.sampled_from([1, 60, 300, 600, 601, 900, 3600, 7200, 90_000])))
    values = draw(arrays(np.float64, n, elements=VALUES))
    return np.cumsum(steps).astype(np.float64), values


def stamps(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.datetime64]:
    return times_s.astype("datetime64[s]")


def assert_equal_flags(times_s: npt.NDArray[np.float64], values: npt.NDArray[np.float64], scale: float = 1.0) -> None:
    """All five tests at thresholds of the size of `scale`, ours against theirs."""
    n = len(values)
    ours = quality.gross_range(
        values, fail_below=-4 * scale, fail_above=4 * scale, suspect_below=-2 * scale, suspect_above=3 * scale
    )
    theirs = qartod.gross_range_test(values, (-4 * scale, 4 * scale), (-2 * scale, 3 * scale))
    np.testing.assert_array_equal(ours, theirs.filled())
    for method in ("average", "differential"):
        ours = quality.spike(values, suspect=0.6 * scale, method=method)
        theirs = qartod.spike_test(values, suspect_threshold=0.6 * scale, method=method)
        np.testing.assert_array_equal(ours, theirs.filled(), err_msg=method)
    ours = quality.rate_of_change(times_s, values, suspect_per_s=0.001 * scale)
    theirs = qartod.rate_of_change_test(values, stamps(times_s), threshold=0.001 * scale)
    np.testing.assert_array_equal(ours, theirs.filled())
    interval_s = float(np.floor(np.median(np.diff(times_s))))
    for tolerance in (1e-9, 0.3 * scale):
        for factor in (2, 4.5):
            suspect_s, fail_s = int(factor * interval_s), int(2 * factor * interval_s)
            ours = quality.flat_line(
                values, n_suspect=int(suspect_s / interval_s), n_fail=int(fail_s / interval_s), tolerance=tolerance
            )
            theirs = qartod.flat_line_test(values, stamps(times_s), suspect_s, fail_s, tolerance)
            np.testing.assert_array_equal(ours, np.ma.filled(theirs), err_msg=f"{tolerance} {factor}")
    ours = quality.time_gap(times_s, gap_s=3600.0)
    theirs = qartod.time_gap_test(stamps(times_s), fail_span=1)
    # ioos_qc lets the first reading inherit the second one's flag; ours judges it by itself.
    np.testing.assert_array_equal(ours[1:], theirs.filled()[1:])
    assert n == len(ours)


@given(series())
@settings(max_examples=400, deadline=None)
def test_equal_on_random_series(made: Series) -> None:
    assert_equal_flags(*made)


def floods(folder: Path) -> Iterator[tuple[str, Series]]:
    def read(path: Path, station: str | None, time: str, value: str, factor: float) -> Iterator[tuple[str, Series]]:
        rows: dict[str, dict[float, float]] = defaultdict(dict)
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for row in csv.DictReader(lines):
                at = datetime.fromisoformat(row[time]).timestamp()
                text = row[value]
                rows[row[station] if station else path.name].setdefault(
                    at, float(text) * factor if text else float("nan")
                )
        for name, found in rows.items():
            if len(found) > 2:
                times = sorted(found)
                yield name, (np.array(times), np.array([found[t] for t in times]))

    yield from read(folder / "ditwah2025_lk_levels_dev.csv", "station_name", "time_utc", "water_level_m", 1)
    yield from read(folder / "hubeau_may2020_10min.csv.gz", "code_station", "time_utc", "level_mm", 0.001)
    yield from read(folder / "hubeau_gloria_jan2020_10min.csv.gz", "code_station", "time_utc", "level_mm", 0.001)
    for usgs in ("usgs_01589330_may2019_5min.csv.gz", "usgs_01650800_may2019_5min.csv.gz"):
        yield from read(folder / usgs, None, "time_utc", "gage_height_ft", 0.3048)


def test_equal_on_real_floods(shared_data: Path) -> None:
    n = 0
    for _, (times_s, values) in floods(shared_data / "warning" / "floods"):
        assert_equal_flags(times_s, values, scale=1.0)
        assert_equal_flags(times_s, values, scale=0.1)
        n += 1
    assert n > 100


def test_several_series_in_one_pass_are_the_same_as_one_by_one(shared_data: Path) -> None:
    found = [made for _, made in floods(shared_data / "warning" / "floods")][:40]
    times_s, values = (np.concatenate(part) for part in zip(*found, strict=True))
    starts = np.cumsum([0] + [len(t) for t, _ in found[:-1]])
    one = np.concatenate([quality.spike(v, suspect=0.05) for _, v in found])
    np.testing.assert_array_equal(quality.spike(values, suspect=0.05, starts=starts), one)
    one = np.concatenate([quality.rate_of_change(t, v, suspect_per_s=1e-4) for t, v in found])
    np.testing.assert_array_equal(quality.rate_of_change(times_s, values, suspect_per_s=1e-4, starts=starts), one)
    one = np.concatenate([quality.time_gap(t, gap_s=1000.0) for t, _ in found])
    np.testing.assert_array_equal(quality.time_gap(times_s, gap_s=1000.0, starts=starts), one)
