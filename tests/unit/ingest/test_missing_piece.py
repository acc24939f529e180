"""A series that reports nothing in a batch, beside others that do."""

import numpy as np
import pytest

from ingest.quality import stuck_runs


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_piece_without_any_value_neither_breaks_nor_moves_the_others(where: int) -> None:
    rng = np.random.default_rng(4)
    pieces = [np.r_[rng.normal(size=30), np.full(12, 1.5)], np.r_[rng.normal(size=20), np.full(9, 2.5)]]
    pieces.insert(where, np.full(3, np.nan))

    def judged(some: list[np.ndarray]) -> np.ndarray:
        values = np.concatenate(some)
        n, starts = len(values), np.cumsum([0, *(len(piece) for piece in some[:-1])])
        flags, runs = stuck_runs(
            values, starts=starts, stuck_p=np.full(n, 0.01), min_readings=np.full(n, 4.0), max_repeat=np.full(n, 0.5)
        )
        return np.column_stack([flags, runs.length, runs.repeat])

    together = judged(pieces)
    alone = np.concatenate([judged([piece]) for piece in pieces])
    np.testing.assert_array_equal(together, alone)
    assert np.any(together[:, 0] == 3)  # the stuck ends are seen
