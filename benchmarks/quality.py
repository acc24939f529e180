"""Quality control against ioos_qc on the same tests and the same series: `python -m benchmarks.quality`."""

import time
from collections.abc import Callable

import numpy as np

from ingest import quality


def best_of(work: Callable[[], object], n: int = 3) -> float:
    """Seconds of the fastest of n runs."""
    times = []
    for _ in range(n):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main(n: int = 200_000) -> None:
    """Prints one line: readings per second of both, and the ratio (the bar is 5)."""
    from ioos_qc import qartod

    rng = np.random.default_rng(1)
    times_s = np.arange(n) * 600.0
    values = np.round(np.cumsum(rng.normal(0, 0.01, n)), 2)
    values[rng.choice(n, n // 200, replace=False)] += 5.0
    values[rng.choice(n, n // 100, replace=False)] = np.nan
    stamps = times_s.astype("datetime64[s]")

    def ours() -> None:
        quality.gross_range(values, fail_below=-100.0, fail_above=100.0, suspect_below=-50.0, suspect_above=50.0)
        quality.spike(values, suspect=1.5)
        quality.rate_of_change(times_s, values, suspect_per_s=0.01)
        quality.flat_line(values, n_suspect=36, n_fail=72, tolerance=0.001)
        quality.time_gap(times_s, gap_s=1500.0)

    def theirs() -> None:
        qartod.gross_range_test(values, (-100.0, 100.0), (-50.0, 50.0))
        qartod.spike_test(values, suspect_threshold=1.5, method="differential")
        qartod.rate_of_change_test(values, stamps, threshold=0.01)
        qartod.flat_line_test(values, stamps, 36 * 600, 72 * 600, 0.001)
        qartod.time_gap_test(stamps, fail_span=1)

    ours_s, theirs_s = best_of(ours), best_of(theirs)
    ratio = theirs_s / ours_s
    print(
        f"quality control, five QARTOD tests, {n:,} readings: {n / ours_s:,.0f}/s, ioos_qc {n / theirs_s:,.0f}/s, "
        f"ratio {ratio:.1f} (bar 5)"
    )


if __name__ == "__main__":
    main()
