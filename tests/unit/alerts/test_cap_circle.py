"""An area that came in as a circle leaves as that circle; nothing else becomes one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon, box

from alerts import cap
from alerts.cap_circle import circle_of
from alerts.rulebook import circle
from ingest.cap.meaning import shapes
from ingest.cap.message import CapArea

PLACES = st.tuples(
    st.floats(-170, 170).map(lambda v: round(v, 5)),
    st.floats(-75, 75).map(lambda v: round(v, 5)),
    st.one_of(st.floats(0.01, 1.0), st.floats(1.0, 200.0)).map(lambda v: round(v, 3)),
)


@settings(max_examples=30, deadline=None)
@given(PLACES)
def test_what_was_a_circle_is_that_circle_digit_by_digit(place: tuple[float, float, float]) -> None:
    assert circle_of(circle(*place)) == place  # as a rule with radius_km has it
    (disc,) = shapes(CapArea(area_desc="x", circles=(place,)))
    assert circle_of(disc) == place  # as another's CAP message has it


def test_a_circle_of_less_than_a_kilometre_stays_as_small_and_a_point_has_one() -> None:
    """CAP 1.2 writes a radius in km with decimals: 0.3 is a chemical spill of 300 m, not of a kilometre."""
    for radius_km, kept_km in ((0.3, 0.3), (0.05, 0.05), (0.001, 0.01), (0.0, 1.0)):
        (disc,) = shapes(CapArea(area_desc="x", circles=((10.0, 50.0, radius_km),)))
        assert disc.is_valid
        assert circle_of(disc) == (10.0, 50.0, kept_km)


def test_what_is_not_one_stays_a_polygon() -> None:
    round_one = circle(80.2, 6.95, 10.0)
    corners = list(round_one.exterior.coords)
    sector = Polygon([(80.2, 6.95), *corners[:40]])
    dented = Polygon([*corners[:10], (80.2, 6.95), *corners[11:]])
    ellipse = Polygon([(80 + math.cos(a / 50) * 0.2, 7 + math.sin(a / 50) * 0.1) for a in range(314)])
    arc = Polygon(corners[:36])  # all its corners lie on the circle
    for one in (box(80, 6, 81, 7), sector, dented, ellipse, arc, Polygon(), Point(80, 7).buffer(0.1, quad_segs=4),
                round_one.difference(circle(80.2, 6.95, 5.0))):  # fmt: skip
        assert circle_of(one) is None
    # degrees are no distances: a round thing in degrees is round at the equator alone
    assert circle_of(Point(80, 60).buffer(0.1, quad_segs=16)) is None


def test_a_mixed_area_has_both() -> None:
    polygons, circles = cap.shapes(MultiPolygon([circle(80.2, 6.95, 12.5), box(82, 6, 83, 7)]))
    assert circles == ((80.2, 6.95, 12.5),)
    assert polygons == (((83.0, 6.0), (83.0, 7.0), (82.0, 7.0), (82.0, 6.0), (83.0, 6.0)),)
    assert cap.shapes(circle(80.2, 6.95, 12.5)) == ((), ((80.2, 6.95, 12.5),))


@pytest.mark.parametrize("place", [(179.9, 0.0, 50.0), (-179.95, 60.0, 80.0), (10.0, 89.0, 5.0)])
def test_where_degrees_end_it_is_round_or_left_alone(place: tuple[float, float, float]) -> None:
    (disc,) = shapes(CapArea(area_desc="x", circles=(place,)))
    found = circle_of(disc)
    assert found is None or found == pytest.approx(place, abs=1e-5)
