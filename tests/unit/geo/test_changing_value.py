"""Crops and works: value by day, counted in a footprint."""

from datetime import date

import pytest

from geo.changing_value import BadSchedule, ChangingValue, counted

WORKS = ChangingValue("works", 1000.0, ((date(2026, 1, 1), 0.0), (date(2026, 1, 11), 0.5), (date(2026, 3, 1), 1.0)))
CROP = ChangingValue("crop", 500.0, ((date(2026, 4, 1), 0.1), (date(2026, 7, 1), 1.0), (date(2026, 8, 1), 0.2)))


def test_value_follows_the_schedule() -> None:
    assert WORKS.value_on(date(2026, 1, 6)) == pytest.approx(250.0)
    assert WORKS.value_on(date(2026, 1, 11)) == pytest.approx(500.0)
    assert WORKS.value_on(date(2025, 12, 31)) == 0.0
    assert WORKS.value_on(date(2026, 3, 2)) == 0.0
    assert CROP.value_on(date(2026, 7, 1)) == pytest.approx(500.0)
    assert CROP.value_on(date(2026, 8, 1)) == pytest.approx(100.0)


def test_a_footprint_counts_what_is_inside() -> None:
    told = counted([WORKS, CROP, CROP], [True, True, False], date(2026, 1, 11))
    assert (told.n, told.value, told.n_without_value) == (2, 500.0, 1)


@pytest.mark.parametrize(
    ("kind", "final", "shares", "told"),
    [("ship", 1.0, (0.0, 1.0), "kind"), ("crop", -1.0, (0.0, 1.0), "final_value"), ("crop", 1.0, (0.0, 1.2), "share"),
     ("works", 1.0, (1.0, 0.5), "progress"), ("crop", 1.0, (0.5,), "first and a last")],
)  # fmt: skip
def test_bad_schedules_are_refused(kind: str, final: float, shares: tuple[float, ...], told: str) -> None:
    schedule = tuple((date(2026, 1, 1 + i), share) for i, share in enumerate(shares))
    with pytest.raises(BadSchedule, match=told):
        ChangingValue(kind, final, schedule)
