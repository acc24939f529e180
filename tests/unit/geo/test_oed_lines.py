"""Rows as lines of a CSV COPY: read back by Python's csv they are what they were."""

import csv
import io
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.exposure import cents_text
from geo.oed import LocationRow
from geo.oed_lines import amounts, copy_lines, extra_json

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)


@settings(deadline=None)  # the first call loads Arrow's writer
@given(st.lists(st.tuples(texts, texts, st.integers(0, 10**17), st.dictionaries(texts, texts, max_size=3)), min_size=1))
def test_every_text_and_amount_comes_back(found: list[tuple[str, str, int, dict[str, str]]]) -> None:
    rows = [
        LocationRow(2, a, n, None, None, "GB", None, 5100, cents, 0, 1, 99, "GBP", "WW1", extra)
        for a, n, cents, extra in found
    ]
    read = list(csv.reader(io.StringIO(copy_lines(rows).decode(), newline="")))
    for row, line in zip(rows, read, strict=True):
        assert (line[0], line[1], line[8]) == (row.acc_number, row.loc_number, cents_text(row.building_cents))
        assert line[2:5] == ["", "", ""]
        assert line[9:12] == ["0.00", "0.01", "0.99"]
        assert json.loads(line[14]) == row.extra


def test_no_place_is_nothing_and_an_empty_text_is_a_text() -> None:
    row = LocationRow(2, "A", "1", 1.5, 52.25, "GB", None, None, 0, 0, 0, 0, "GBP", "", {})
    line = copy_lines([row]).decode()
    assert ",1.5,52.25," in line
    assert ',"GB",,,0.00' in line  # an occupancy that is not there is NULL
    assert '"GBP","","{}"' in line  # no perils: an empty text, which is not NULL


@given(st.lists(st.integers(-(10**17), 10**17), min_size=1))
def test_amounts_are_exact(cents: list[int]) -> None:
    assert [str(v) for v in amounts(np.array(cents)).to_pylist()] == [cents_text(c) for c in cents]


def test_the_same_extra_columns_are_the_same_text_in_any_order() -> None:
    assert extra_json({"b": 'x"\n', "a": "é"}) == extra_json({"a": "é", "b": 'x"\n'}) == '{"a": "é", "b": "x\\"\\n"}'
