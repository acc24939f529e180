"""Stored values as the wire shows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import h3
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import BadCursor, read_cursor, write_cursor
from api.push import BadPushKeys, PushServiceNotAllowed, check_endpoint, check_keys
from api.show import Watch, area_json, cell_ring, covers, hint, in_language, line_json, phone_state, shown_level
from core.errors import InvalidInput
from core.ids import new_id

NOW = datetime(2026, 7, 1, 4, tzinfo=UTC)


def rule(level: str | None = "red", phase: str | None = "active") -> dict[str, Any]:
    return {"quantity": "level", "thresholds": {"red": 5}, "phase": phase, "level": level}


@pytest.mark.parametrize(
    ("state", "rules", "heard", "level", "held_level"),
    [
        ("online", [rule()], True, "red", None),
        ("online", [rule("none", "normal")], True, "none", None),
        ("online", [rule("none", "normal"), rule("orange")], True, "orange", None),
        ("silent", [rule()], True, "unknown", "red"),
        ("online", [rule("red", "stale")], True, "unknown", "red"),
        ("silent", [rule("none", "normal")], True, "unknown", None),
        ("unknown", [rule("none", "normal")], True, "unknown", None),
        ("online", [rule("none", "normal")], False, "unknown", None),
        ("online", [rule(None, None)], True, "unknown", None),
        ("online", [], True, "unknown", None),
    ],
)
def test_a_level_is_shown_only_where_it_can_be_vouched_for(
    state: str, rules: list[dict[str, Any]], heard: bool, level: str, held_level: str | None
) -> None:
    shown = shown_level(state, rules, has_reading=heard)
    assert (shown.level, shown.held_level, shown.held) == (level, held_level, held_level is not None)


def watch(**changes: Any) -> Watch:
    calm: dict[str, Any] = {
        "phase": "normal",
        "level": "none",
        "evaluated_until": NOW,
        "station_state": "online",
        "interval_s": 600.0,
    }
    return Watch(**(calm | changes))


AWAKE = {"phase": "normal", "level": "none", "evaluated_until": NOW, "station_state": "online", "interval_s": 600.0}


@given(
    watches=st.lists(
        st.builds(
            Watch,
            phase=st.sampled_from([None, "normal", "pending", "active", "stale", "clearing", "cleared", "expired"]),
            level=st.sampled_from([None, "none", "yellow", "red"]),
            evaluated_until=st.sampled_from([None, NOW, NOW - timedelta(hours=2)]),
            station_state=st.sampled_from(["online", "silent", "unknown"]),
            interval_s=st.sampled_from([60.0, 600.0]),
        ),
        max_size=4,
    ),
    home_known=st.booleans(),
)
def test_no_warning_is_said_only_where_every_watch_is_awake_and_calm(watches: list[Watch], home_known: bool) -> None:
    state, reason = phone_state(n_warnings=0, n_all_clear=0, home_known=home_known, watches=watches, now=NOW)
    awake = all(
        one.station_state == "online"
        and one.level in (None, "none")
        and one.phase not in ("stale", "expired")
        and one.evaluated_until == NOW
        for one in watches
    )
    assert (state == "no_warning") == (home_known and bool(watches) and awake)
    assert (state == "cannot_tell") == (reason != "")


def test_a_warning_that_stands_is_shown_whatever_sleeps() -> None:
    assert phone_state(n_warnings=1, n_all_clear=1, home_known=False, watches=[], now=NOW) == ("warning", "")
    assert phone_state(n_warnings=0, n_all_clear=1, home_known=True, watches=[watch()], now=NOW)[0] == "all_clear"
    silent = [watch(), watch(station_state="silent")]
    assert phone_state(n_warnings=0, n_all_clear=1, home_known=True, watches=silent, now=NOW)[0] == "cannot_tell"


def test_a_cell_across_the_antimeridian_stays_in_one_piece() -> None:
    for lon in (-179.99, 179.99, 0.0, 79.9):
        for resolution in (1, 5, 9):
            ring = cell_ring(h3.latlng_to_cell(10.0, lon, resolution))
            assert ring[0] == ring[-1]
            assert max(x for x, _ in ring) - min(x for x, _ in ring) < 180
            assert shapely.Polygon(ring).is_valid


def test_geometry_keeps_its_shape() -> None:
    box = shapely.box(1, 2, 3, 4)
    polygon = area_json(shapely.to_wkb(box))
    assert polygon is not None
    assert polygon.type == "Polygon"
    assert shapely.Polygon(polygon.coordinates[0]).equals(box)  # type: ignore[arg-type]
    holed = shapely.MultiPolygon([box.difference(shapely.box(1.5, 2.5, 2, 3)), shapely.box(9, 9, 10, 10)])
    several = area_json(shapely.to_wkb(holed))
    assert several is not None
    assert [len(part) for part in several.coordinates] == [2, 1]
    assert area_json(shapely.to_wkb(shapely.Polygon())) is None
    assert area_json(None) is None
    line = line_json(shapely.to_wkb(shapely.MultiLineString([[(0, 0), (1, 1)], [(2, 2), (3, 3)]])))
    assert line is not None
    assert line.type == "MultiLineString"


def test_a_place_is_covered_also_on_the_edge_and_never_where_unknown() -> None:
    area = shapely.to_wkb(shapely.box(0, 0, 1, 1))
    assert covers(area, shapely.Point(0.5, 0.5))
    assert covers(area, shapely.Point(1, 1))
    assert not covers(area, shapely.Point(1.1, 1))
    assert not covers(None, shapely.Point(0.5, 0.5))
    assert not covers(area, None)


def test_a_text_falls_back_and_says_in_which_language_it_is() -> None:
    texts = {"en": "a", "zh": "b"}
    assert in_language(texts, "zh") == ("zh", "b")
    assert in_language(texts, "zh-TW") == ("zh", "b")
    assert in_language(texts, "ta") == ("en", "a")
    assert in_language({"zh": "b"}, "ta") == ("zh", "b")
    assert in_language({}, "en") == ("", None)


def test_a_hint_never_gives_the_address_away() -> None:
    assert hint("email", {"address": "nimal@example.org"}) == "n…@example.org"
    assert hint("sms", {"number": "+94771234567"}) == "…67"
    assert hint("sms", {"number": "12"}) == "…"
    assert hint("web_push", {"endpoint": "https://fcm.googleapis.com/secret"}) == ""


def test_cursors_come_back_and_foreign_ones_are_refused() -> None:
    key = new_id()
    assert read_cursor(write_cursor(NOW, key)) == (NOW, key)
    assert read_cursor(None) is None
    for bad in ("", "x", "fA", "MjAyNi0wNy0wMVQwNDowMDowMHx4", "\x00", "é"):
        with pytest.raises(BadCursor):
            read_cursor(bad)


HOSTS = ["fcm.googleapis.com", "notify.windows.com"]


@pytest.mark.parametrize("good", ["https://fcm.googleapis.com/a", "https://wns2-by3p.notify.windows.com/w/?token=x"])
def test_listed_push_services_are_taken(good: str) -> None:
    check_endpoint(good, HOSTS)


@pytest.mark.parametrize(
    "bad",
    [
        "http://fcm.googleapis.com/a",
        "https://fcm.googleapis.com:8443/a",
        "https://evil.example/fcm.googleapis.com",
        "https://fcm.googleapis.com.evil.example/",
        "https://evilnotify.windows.com.example/",
        "https://xnotify.windows.com/a",
        "https://user@fcm.googleapis.com/",
        "https://fcm.googleapis.com@evil.example/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::1/",
        "file:///etc/passwd",
        "https://fcm.googleapis.com/\r\nHost: evil",
        "",
    ],
)
def test_other_addresses_are_refused(bad: str) -> None:
    with pytest.raises(PushServiceNotAllowed):
        check_endpoint(bad, HOSTS)


def test_push_keys_must_be_a_point_of_the_curve_and_a_secret() -> None:
    good = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    check_keys(good, "BTBZMqHH6r4Tts7J_aSIgg")  # the example of RFC 8291, section 5
    for point, secret in ((good[:-4] + "AAAA", "BTBZMqHH6r4Tts7J_aSIgg"), (good, "BTBZ"), ("AAAA", "x")):
        with pytest.raises(BadPushKeys):
            check_keys(point, secret)


def test_wrong_boxes_are_named() -> None:
    from api.show import parse_bbox

    assert parse_bbox("170,-10,-170,10") == (170, -10, -170, 10)
    for bad in ("", "1,2,3", "1,2,3,4,5", "a,0,1,1", "nan,0,1,1", "inf,0,1,1", "-181,0,1,1", "0,5,1,4"):
        with pytest.raises(InvalidInput, match="bbox"):
            parse_bbox(bad)


def test_a_forecast_is_shown_by_its_middle_and_its_ends() -> None:
    from api.show import forecast_steps

    row = {
        "made_at": NOW,
        "model": "m",
        "horizons_h": [0.5, 6.0],
        "taus": [0.05, 0.5, 0.95],
        "quantiles": [1.0, 2.0, 3.0, 0.5, 2.5, 4.5],
    }
    told = forecast_steps(row, NOW + timedelta(minutes=90))
    assert [(one.low, one.middle, one.high) for one in told.steps] == [(1.0, 2.0, 3.0), (0.5, 2.5, 4.5)]
    assert [one.at for one in told.steps] == [NOW + timedelta(minutes=30), NOW + timedelta(hours=6)]
    assert not told.degraded
    assert forecast_steps(row, NOW + timedelta(minutes=91)).degraded, "the gauge has been silent since"
