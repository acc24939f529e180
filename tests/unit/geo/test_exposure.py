"""Points in polygons with their values, against plain counting."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.exposure import BadBook, Book, cents_text, exact_sum, within


def book_of(lon: list[float], lat: list[float], cents: list[int], account: list[int] | None = None) -> Book:
    n = len(lon)
    zero = [0] * n
    accounts = account or list(range(n))
    return Book.from_columns(
        {
            "location_id": range(1, n + 1), "lon": lon, "lat": lat, "account": accounts,
            "currency": [i % 2 for i in range(n)], "building_cents": cents, "other_cents": zero, "contents_cents": zero,
            "bi_cents": zero,
        },
        accounts=tuple(f"A{i}" for i in range(max(accounts, default=-1) + 1)),
        currencies=("EUR", "USD"),
        policies_of_account=[2] * (max(accounts, default=-1) + 1),
    )  # fmt: skip


def test_inside_outside_edge_and_unknown() -> None:
    book = book_of(
        [0.5, 1.0, 2.0, np.nan, 0.5], [0.5, 0.5, 0.5, 1.0, np.nan], [100, 200, 400, 800, 1600], [0, 0, 1, 2, 3]
    )
    exposed = within(book, shapely.box(0, 0, 1, 1))
    assert exposed.rows["location_id"].tolist() == [2, 1]  # most insured first; the edge counts
    assert exposed.tiv_cents == {"EUR": 100, "USD": 200}
    assert exposed.n_policies == 2  # one account with two policies
    assert (exposed.n_unknown, exposed.unknown_tiv_cents) == (2, {"EUR": 1600, "USD": 800})
    assert exposed.as_json()["exposed_tiv"] == {"EUR": "1.00", "USD": "2.00"}


def test_a_hole_is_outside_and_parts_do_not_count_twice() -> None:
    book = book_of([0.5, 0.1, 5.5], [0.5, 0.1, 0.5], [1, 10, 100])
    ring = shapely.Polygon(shapely.box(0, 0, 1, 1).exterior, [shapely.box(0.4, 0.4, 0.6, 0.6).exterior])
    both = shapely.MultiPolygon([ring, shapely.box(5, 0, 6, 1)])
    assert sorted(within(book, both).rows["location_id"].tolist()) == [2, 3]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 300))
def test_equals_testing_every_point_against_the_whole_polygon(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(-10, 10, n), rng.uniform(-10, 10, n)
    lon[rng.random(n) < 0.1] = np.nan
    cents = rng.integers(0, 10**12, n)
    polygon = shapely.union_all([shapely.Point(*rng.uniform(-8, 8, 2)).buffer(rng.uniform(0.5, 4)) for _ in range(4)])
    exposed = within(book_of(lon.tolist(), lat.tolist(), cents.tolist()), polygon)
    hit = np.array([np.isfinite(x) and shapely.Point(x, y).intersects(polygon) for x, y in zip(lon, lat, strict=True)])
    expected = {i + 1 for i in np.flatnonzero(hit)} if n else set()
    assert set(exposed.rows["location_id"].tolist()) == expected
    assert sum(exposed.tiv_cents.values()) == sum(int(cents[i - 1]) for i in expected)
    assert exposed.n_unknown == int(np.isnan(lon).sum())


def test_sums_do_not_overflow() -> None:
    cents = np.full(1000, 9 * 10**16, dtype=np.int64)
    assert exact_sum(cents) == 9 * 10**19
    assert cents_text(-5) == "-0.05"
    assert cents_text(9 * 10**19) == "900000000000000000.00"


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadBook, match="negative or impossible"):
        book_of([1.0], [1.0], [-1])


def test_an_empty_book_has_nothing_exposed() -> None:
    exposed = within(book_of([], [], []), shapely.box(0, 0, 1, 1))
    assert (len(exposed.rows), exposed.n_policies, exposed.tiv_cents) == (0, 0, {})
