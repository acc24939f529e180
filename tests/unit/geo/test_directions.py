"""A way as people read it, against plain loops: its line, bearings, lengths, turns and encoded polyline."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.crs import geodesic_m
from geo.directions import course_of, polyline, turns
from geo.network import Road, RoadNetwork, build

HOME, ZONE = (79.9, 6.8999), (79.95, 6.95)


def chain(rng: np.random.Generator, n: int) -> tuple[RoadNetwork, list[int]]:
    """A network whose roads follow each other, some drawn against the way, and the way over all of them."""
    places, roads, codes = [(79.9, 6.9)], [], []
    for k in range(n):
        inner = rng.uniform(-0.002, 0.002, (int(rng.integers(1, 6)), 2)).cumsum(axis=0) + places[-1]
        points = [places[-1], *map(tuple, inner.tolist())]
        places.append(points[-1])
        against = bool(rng.random() < 0.5)
        roads.append(
            Road(points=points[::-1] if against else points, speed_kmh=36, names={"en": f"Road {k // 2}"}, keys=None)
        )
        codes.append(2 * k + against)
    return build(roads), codes


def plain_pieces(network: RoadNetwork, codes: list[int], first: float, last: float) -> list[np.ndarray]:
    """The roads as they are travelled, one after the other."""
    pieces = []
    for place, code in enumerate(codes):
        points = network.shape(code >> 1)[:: -1 if code & 1 else 1]
        lo = 1 - first if place == 0 else 0.0
        hi = max(last if place == len(codes) - 1 else 1.0, lo)
        along = [0.0]
        for a, b in pairwise(points):
            wide = np.cos(np.radians(points[0, 1]))
            along.append(along[-1] + float(np.hypot((b[0] - a[0]) * wide, b[1] - a[1])))
        kept = []
        for share in sorted({lo, hi, *(a / along[-1] for a in along if lo < a / along[-1] < hi)}):
            kept.append([np.interp(share * along[-1], along, points[:, k]) for k in (0, 1)])
        pieces.append(np.array(kept if len(kept) > 1 else kept * 2))
    return pieces


def plain_bearing(points: np.ndarray, at_end: bool) -> float:
    line = points[::-1] if at_end else points
    x, y = 0.0, 0.0
    for place in line[1:]:
        x = (place[0] - line[0, 0]) * np.cos(np.radians(line[0, 1])) * 111_320
        y = (place[1] - line[0, 1]) * 111_320
        if np.hypot(x, y) >= 20:
            break
    return float(np.degrees(np.arctan2(x, y)) + (180 if at_end else 0)) % 360


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 7))
def test_a_course_is_what_loops_over_its_roads_give(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    network, codes = chain(rng, n)
    first, last = rng.uniform(0.1, 1.0, 2).tolist()
    if n == 1:
        last = max(last, 1 - first + 0.05)
    course = course_of(network, codes, first, last, HOME, ZONE)
    pieces = plain_pieces(network, codes, first, last)
    flat = np.vstack([[HOME], *pieces, [ZONE]])
    keep = np.append(True, (np.abs(np.diff(flat, axis=0)) > 1e-9).any(axis=1))
    assert course.points == pytest.approx(flat[keep], abs=2e-9)
    assert course.begin == pytest.approx(np.array([p[0] for p in pieces] + [pieces[-1][-1]]), abs=1e-9)
    for k, piece in enumerate(pieces):
        for found, at_end in ((course.heading[k], False), (course.leaving[k], True)):
            away = (found - plain_bearing(piece, at_end) + 180) % 360 - 180
            assert away == pytest.approx(0, abs=1e-3)
        metres = float(geodesic_m(piece[:-1, 0], piece[:-1, 1], piece[1:, 0], piece[1:, 1]).sum())
        assert course.length_m[k] == pytest.approx(metres, rel=7e-3, abs=0.01)  # shares count a plane's metres
    told = turns(network, codes, course, {"en": "School"}, "en")
    assert told[0].kind == "depart"
    assert told[-1].text == "You have arrived: School"
    assert sum(t.distance_m for t in told) == pytest.approx(course.length_m.sum(), abs=0.06 * len(told))
    assert {t.name for t in told[:-1]} == {f"Road {k // 2}" for k in range(n)}


def plain_polyline(points: list[tuple[float, float]]) -> str:
    out, last = "", [0, 0]
    for lon, lat in points:
        for k, value in enumerate((lat, lon)):
            whole = int(np.sign(value) * np.floor(abs(value) * 1e5 + 0.5))
            n, last[k] = whole - last[k], whole
            n = ~(n << 1) if n < 0 else n << 1
            while n >= 32:
                out += chr((32 | (n & 31)) + 63)
                n >>= 5
            out += chr(n + 63)
    return out


@settings(max_examples=200, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.floats(-180, 180, allow_nan=False), st.floats(-90, 90, allow_nan=False)), min_size=1, max_size=30
    )
)
def test_an_encoded_polyline_equals_its_plain_twin(points: list[tuple[float, float]]) -> None:
    assert polyline(np.array(points)) == plain_polyline(points)


def test_an_encoded_polyline_equals_the_published_example() -> None:
    # Google, "Encoded Polyline Algorithm Format": (38.5, -120.2), (40.7, -120.95), (43.252, -126.453)
    line = np.array([(-120.2, 38.5), (-120.95, 40.7), (-126.453, 43.252)])
    assert polyline(line) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
