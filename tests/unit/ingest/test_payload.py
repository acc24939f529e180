"""Bytes to readings: what is read, and that everything else is refused with its reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.observation import Check
from ingest.payload import Envelope, Refused, check_structure, decode, decode_columns, open_envelope
from ingest.station import BadStation, BadTopic, Station, Topic, segment, stations_from_rows

LEVEL = Topic("lk", "Nagalagam_Street", "level")
NOW_S = 1_763_900_000.0


def plain(**fields: object) -> bytes:
    return json.dumps({"station": "Nagalagam Street", "t": NOW_S, "v": 1.5, **fields}).encode()


def test_plain_json_is_read() -> None:
    (reading,) = decode(LEVEL, plain(id="a:1", u="m"), NOW_S)
    assert (reading.quantity, reading.value, reading.message_id) == ("level", 1.5, "a:1")
    assert reading.observed_us == 1_763_900_000_000_000
    assert reading.checks == 0


def test_feet_become_metres() -> None:
    (reading,) = decode(LEVEL, plain(v=10.37, u="ft"), NOW_S)
    assert reading.value == pytest.approx(10.37 * 0.3048, abs=1e-12)


def test_null_is_a_missing_value() -> None:
    (reading,) = decode(LEVEL, plain(v=None), NOW_S)
    assert math.isnan(reading.value)


@pytest.mark.parametrize(
    ("value", "unit", "stored"),
    [
        (-9999, "m", None),
        (-999999, "ft", None),
        (-9999, "mm", None),
        (-999, "m", None),
        (-999, "mm", -0.999),
        (-99.99, "m", -99.99),
    ],
)
def test_numbers_that_stand_for_no_value_are_missing(value: float, unit: str, stored: float | None) -> None:
    (reading,) = decode(LEVEL, plain(v=value, u=unit), NOW_S)
    if stored is None:
        assert math.isnan(reading.value)
    else:
        assert reading.value == pytest.approx(stored)


def test_an_iso_time_with_offset_is_read_to_the_microsecond() -> None:
    body = json.dumps({"observed_at": "2025-11-23T11:01:09.000001+05:30", "v": 1}).encode()
    (reading,) = decode(LEVEL, body, NOW_S)
    assert reading.observed_us == 1_763_875_869_000_001


def test_milliseconds_are_seen_and_said() -> None:
    (reading,) = decode(LEVEL, plain(t=NOW_S * 1000), NOW_S)
    assert reading.observed_us == 1_763_900_000_000_000
    assert reading.checks == Check.EPOCH_MS


def test_a_clock_that_was_never_set_is_kept_as_sent() -> None:
    (reading,) = decode(LEVEL, plain(t=7200), NOW_S)
    assert reading.observed_us == 7_200_000_000


def test_a_senml_pack_is_read_with_units_and_relative_times() -> None:
    body = (
        b'[{"bn":"urn:dev:tocsin:kelani:","bt":1763900000,"bu":"mm","n":"level","v":1500},'
        b'{"n":"level","t":-60,"v":1490}]'
    )
    first, second = decode(Topic("lk", "kelani", "level"), body, NOW_S)
    assert (first.value, second.value) == (1.5, 1.49)
    assert first.observed_us - second.observed_us == 60_000_000


def test_a_mixed_pack_names_its_quantities() -> None:
    body = b'[{"n":"level","u":"m","v":1},{"n":"temperature","u":"Cel","v":20}]'
    readings = decode(Topic("lk", "kelani", "senml"), body, NOW_S)
    assert [r.quantity for r in readings] == ["level", "temperature"]


def test_a_single_sensor_may_be_named_by_its_device() -> None:
    (reading,) = decode(
        Topic("lk", "10e2073a01080063", "temperature"),
        b'[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]',
        NOW_S,
    )
    assert (reading.quantity, reading.value) == ("temperature", 23.1)


DEEP = b'{"v":' + b"[" * 17 + b"]" * 17 + b',"t":1}'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad_json"),
        (b"17", "bad_json"),
        (b'{"v":1,"t":1763900000', "bad_json"),
        (b'{"v":1,"t":1763900000} {}', "bad_json"),
        (b"\xef\xbb\xbf{}", "bad_json"),
        (b'{"v":NaN,"t":1763900000}', "not_finite"),
        (b'{"v":Infinity,"t":1763900000}', "not_finite"),
        (b'{"v":1e400,"t":1763900000}', "not_finite"),
        (b'{"v":1,"v":2,"t":1763900000}', "duplicate_key"),
        (b'{"v":1,"v" :2,"t":1763900000}', "duplicate_key"),
        (b'{"v":1,"v"\n:2,"t":1763900000}', "duplicate_key"),
        (b'{"v":1,"\\u0076":2,"t":1763900000}', "duplicate_key"),
        (b'{"v":1,"t":1763900000,"id":"\xff"}', "bad_utf8"),
        (b'{"v":1,"t":1763900000,"id":"\xed\xa0\x80"}', "bad_utf8"),
        (DEEP, "too_deep"),
        (b'{"v":' + b"[" * 100_000, "too_large"),
        (b'{"v":' + b"[" * 60_000, "too_deep"),
        (b'{"v":true,"t":1763900000}', "bad_field"),
        (b'{"v":"1.5","t":1763900000}', "bad_field"),
        (b'{"v":1,"t":true}', "bad_field"),
        (b'{"v":1,"t":1763900000,"colour":"blue"}', "bad_field"),
        (b'{"v":1,"t":1763900000,"id":""}', "bad_field"),
        (b'{"v":1,"t":1763900000,"id":"a\\u0000"}', "bad_field"),
        (b'{"v":1,"t":1763900000,"id":"a","corrects":"a"}', "bad_field"),
        (b'{"t":1763900000}', "no_value"),
        (b'{"v":1}', "bad_time"),
        (b'{"v":1,"t":1,"observed_at":"2025-11-23T00:00:00Z"}', "bad_time"),
        (b'{"v":1,"observed_at":"2025-11-23T00:00:00"}', "bad_time"),
        (b'{"v":1,"observed_at":"yesterday"}', "bad_time"),
        (b'{"v":1,"t":1e15}', "bad_time"),
        (b'{"v":1,"t":-1e12}', "bad_time"),
        (b'{"v":1,"t":1763900000,"u":"fathom"}', "unknown_unit"),
        (b'{"v":1,"t":1763900000,"u":"Cel"}', "unknown_unit"),
        (b'{"v":1,"t":1763900000,"station":"Hanwella"}', "station_mismatch"),
        (b'{"v":1,"t":1763900000,"tenant":"fr"}', "tenant_mismatch"),
        (b'{"v":1,"t":1763900000,"quantity":"rain"}', "quantity_mismatch"),
        (b"[]", "bad_senml"),
        (b"[1]", "bad_senml"),
        (b'[{"n":"level","v":1},{"n":"level","v":true}]', "bad_senml"),
        (b'[{"n":"level","v":1},{"n":"level"}]', "bad_senml"),
        (b'[{"n":"level","v":1,"x_":1}]', "bad_senml"),
        (b'[{"n":"level","v":1,"v":2}]', "duplicate_key"),
        (b'[{"n":"level","v":1},{"n":"level","v" :1,"v":2}]', "duplicate_key"),
        (b'[{"n":"level","v":1},{"n":"level","v":NaN}]', "not_finite"),
        (b'[{"n":"level","v":1},{"n":"level","vs":"open"}]', "no_value"),
        (b'[{"n":"Hanwella:level","v":1}]', "station_mismatch"),
        (b'[{"n":"rain","v":1}]', "quantity_mismatch"),
        (b'[{"n":"level","u":"fathom","v":1}]', "unknown_unit"),
        (b'[{"n":"level","v":1,"deep":' + b"[" * 17 + b"]" * 17 + b"}]", "too_deep"),
    ],
)
def test_what_is_not_right_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(LEVEL, body, NOW_S)
    assert caught.value.reason == reason


def test_sixteen_levels_are_allowed_and_left_aside_in_senml() -> None:
    body = b'[{"n":"level","v":1,"deep":' + b"[" * 14 + b"]" * 14 + b"}]"
    (reading,) = decode(LEVEL, body, NOW_S)
    assert reading.value == 1.0


def test_text_that_looks_like_names_is_no_doubled_name() -> None:
    (reading,) = decode(LEVEL, plain(id='tricky":":":'), NOW_S)
    assert reading.message_id == 'tricky":":":'


def refused_or_read(body: bytes) -> str | None:
    """The reason it was refused for, or none; anything else that is raised fails the test."""
    try:
        decode(LEVEL, body, NOW_S)
    except Refused as refused:
        return refused.reason
    return None


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_refused(body: bytes) -> None:
    for head in (b"", b"{", b"[", b'[{"n":"level","v":', b'{"t":1763900000,"v":'):
        refused_or_read(head + body)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["v", "t", "u", "n", "bn", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_raises_anything_but_refused(content: object) -> None:
    try:
        readings = decode(LEVEL, json.dumps(content).encode(), NOW_S)
    except Refused:
        return
    assert all(math.isfinite(r.value) or math.isnan(r.value) for r in readings)


@given(
    st.lists(
        st.tuples(st.sampled_from(["v", "t", "u", "id"]), st.sampled_from(["", " ", "\n", "\t"])),
        min_size=1,
        max_size=6,
    )
)
def test_a_name_given_twice_never_passes(names: list[tuple[str, str]]) -> None:
    sample = {"v": "1", "t": "1763900000", "u": '"m"', "id": '"a"'}
    body = ("{" + ",".join(f'"{name}"{gap}:{sample[name]}' for name, gap in names) + "}").encode()
    doubled = len({name for name, _ in names}) < len(names)
    assert doubled == (refused_or_read(body) == "duplicate_key")


RECORD = st.fixed_dictionaries(
    {"v": st.floats(-100, 100) | st.integers(-9999, 50) | st.sampled_from([-999, -9999, 1e300])},
    optional={
        "n": st.sampled_from(["level", "Nagalagam_Street:level", "rain", "a b", "", "x:Nagalagam_Street"]),
        "u": st.sampled_from(["m", "mm", "ft", "Cel"]),
        "t": st.sampled_from([0, -60, 1.5, NOW_S, NOW_S * 1000, 1e15]),
        "bn": st.sampled_from(["", "Nagalagam_Street:", "urn:dev:Nagalagam_Street/", "other:"]),
        "bt": st.sampled_from([0, NOW_S, NOW_S - 3600.25, 7200]),
        "bu": st.sampled_from(["m", "cm"]),
        "bver": st.just(10),
        "x_": st.just(1),
        "note": st.just("hello"),
    },
)


@given(st.lists(RECORD, max_size=4), st.sampled_from([LEVEL, Topic("lk", "Nagalagam_Street", "senml")]))
def test_the_fast_way_reads_packs_as_the_exact_way_does(pack: list[dict[str, object]], topic: Topic) -> None:
    body = json.dumps(pack).encode()
    fast = decode_columns(topic, body, NOW_S)
    if fast is None:
        return
    exact = decode(topic, body, NOW_S)
    assert [r.quantity for r in exact] == fast.quantity
    assert [r.observed_us for r in exact] == [round(t * 1e6) for t in fast.observed_s]
    assert [r.value for r in exact] == fast.value
    assert all(r.checks == 0 and r.message_id is None for r in exact)


def test_the_fast_way_takes_the_commonest_packs_and_leaves_doubled_names() -> None:
    body = b'[{"bn":"Nagalagam_Street:","bt":1763900000,"bu":"m","n":"level","v":1.5},{"n":"level","t":-60,"v":2}]'
    fast = decode_columns(LEVEL, body, NOW_S)
    assert fast is not None
    assert fast.value == [1.5, 2.0]
    assert decode_columns(LEVEL, b'[{"n":"level","v":1,"v":2}]', NOW_S) is None
    assert decode_columns(LEVEL, b'[{"n":"level","v":1,"v" :2}]', NOW_S) is None


def test_structure_is_checked_in_linear_time() -> None:
    for hostile in (b'\\"' * 30_000, b'"' * 60_000, b"{" * 60_000, b'{"":' * 15_000):
        with pytest.raises(Refused):
            check_structure(hostile)


def test_an_envelope_carries_the_recorded_arrival() -> None:
    assert open_envelope(b'{"v":1}') is None
    assert open_envelope(b'{"replay":{"arrival":1763875880,"end":true},"payload":{"v":1}}') == Envelope(
        1763875880.0,
        True,
        None,
        b'{"v":1}',
    )
    with pytest.raises(Refused) as caught:
        open_envelope(b'{"replay":{"arrival":"now"},"payload":{}}')
    assert caught.value.reason == "bad_envelope"


def test_topics() -> None:
    topic = Topic.parse("tocsin/v1/lk/obs/Kalawellawa_(Millakanda)/level")
    assert topic == Topic("lk", "Kalawellawa_(Millakanda)", "level")
    assert str(topic) == "tocsin/v1/lk/obs/Kalawellawa_(Millakanda)/level"
    for bad in (
        "tocsin/v1/lk/obs/x",
        "tocsin/v1/LK/obs/x/level",
        "tocsin/v2/lk/obs/x/level",
        "tocsin/v1/lk/obs/x y/level",
        "tocsin/v1/lk/obs//level",
        "tocsin/v1/lk/obs/x/height",
        "tocsin/v1/lk/state/x/level",
    ):
        with pytest.raises(BadTopic):
            Topic.parse(bad)


def test_stations_come_from_rows_and_bad_ones_name_line_and_reason() -> None:
    row = {
        "station_name": "Nagalagam Street",
        "lat": "6.96",
        "lon": "79.88",
        "alert_m": "1.2",
        "minor_flood_m": "1.5",
        "major_flood_m": "",
    }
    (station,) = stations_from_rows([row])
    assert isinstance(station, Station)
    assert station.segment == "Nagalagam_Street" == segment(station.code)
    assert station.official_levels == {"alert": 1.2, "minor": 1.5}
    for change, says in (
        ({"lat": "96"}, "lat"),
        ({"lat": "north"}, "not a number"),
        ({"alert_m": "inf"}, "finite"),
        ({"alert_m": "2"}, "must rise"),
        ({"station_name": ""}, "code"),
        ({"station_name": "a/b"}, "topic"),
        ({"quantity": "height"}, "quantity"),
    ):
        with pytest.raises(BadStation, match=says):
            stations_from_rows([row | change])
    with pytest.raises(BadStation, match="same name"):
        stations_from_rows([row, row | {"station_name": "Nagalagam_Street"}])
