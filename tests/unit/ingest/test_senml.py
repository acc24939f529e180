"""SenML: base fields against the RFC's own raw and resolved pairs, and the rules that refuse a pack."""

import json
from pathlib import Path

import pytest

from ingest.senml import BadPack, resolve

#: The resolved files of RFC 8428 were made at this moment (ex1.gen.resolved.json).
RFC_NOW_S = 1498780179.0


@pytest.mark.parametrize("example", ["ex1", "ex2", "ex3", "ex5", "ex6", "ex10", "ex11", "ex12"])
@pytest.mark.parametrize("form", [".json", ".gen.json"])
def test_the_rfc_examples_resolve_as_the_rfc_says(shared_data: Path, example: str, form: str) -> None:
    folder = shared_data / "warning" / "senml"
    pack = json.loads((folder / f"{example}{form}").read_text())
    expected = json.loads((folder / f"{example}.gen.resolved.json").read_text())
    resolved = resolve(pack, RFC_NOW_S)
    assert len(resolved) == len(expected)
    for ours, theirs in zip(resolved, expected, strict=True):
        assert ours.name == theirs["n"]
        assert ours.unit == theirs.get("u")
        assert ours.time_s == pytest.approx(theirs["t"], abs=1e-3)
        assert ours.value == pytest.approx(theirs["v"])


def test_base_value_and_sum_are_added() -> None:
    first, second = resolve([{"bn": "a:", "bv": 10, "bs": 5, "n": "x", "v": 1, "s": 2}, {"n": "y"}], 0.0)
    assert (first.value, first.other["s"]) == (11.0, 7.0)
    assert (second.value, second.other["s"]) == (10.0, 5.0)


def test_a_time_is_relative_below_2_to_the_28_and_absolute_from_there() -> None:
    now = 1_700_000_000.0
    relative, absolute = resolve([{"n": "a", "t": -60, "v": 1}, {"n": "a", "t": 2**28, "v": 1}], now)
    assert relative.time_s == now - 60
    assert absolute.time_s == 2**28


def test_text_boolean_and_data_have_no_number_but_are_kept() -> None:
    records = resolve([{"n": "a", "vs": "open"}, {"n": "b", "vb": True}, {"n": "c", "vd": "aGk"}], 0.0)
    assert [r.value for r in records] == [None, None, None]
    assert [r.other for r in records] == [{"vs": "open"}, {"vb": True}, {"vd": "aGk"}]


def test_unknown_fields_are_left_aside() -> None:
    (record,) = resolve([{"n": "a", "v": 1, "colour": "blue"}], 0.0)
    assert record.value == 1.0


@pytest.mark.parametrize(
    ("pack", "says"),
    [
        ([], "empty"),
        ([{"n": "a", "v": 1, "must_": 1}], "must be understood"),
        ([{"bver": 11, "n": "a", "v": 1}], "version"),
        ([{"bver": 5, "n": "a", "v": 1}, {"bver": 6, "n": "a", "v": 1}], "version"),
        ([{"v": 1}], "name"),
        ([{"n": "-a", "v": 1}], "name"),
        ([{"n": "a b", "v": 1}], "name"),
        ([{"n": "a", "v": True}], "wrong type"),
        ([{"n": "a", "v": "1"}], "wrong type"),
        ([{"n": "a", "vb": 1}], "wrong type"),
        ([{"n": 1, "v": 1}], "wrong type"),
        ([{"n": "a", "v": None}], "wrong type"),
        ([{"n": "a", "v": 1, "vs": "x"}], "more than one value"),
        ([{"n": "a", "u": "m"}], "neither a value nor a sum"),
        ([{"bn": "a"}], "base fields only"),
    ],
)
def test_a_pack_that_breaks_a_rule_is_refused_whole(pack: list[dict[str, object]], says: str) -> None:
    with pytest.raises(BadPack, match=says):
        resolve(pack, 0.0)
