"""Named SQL."""

import pytest

from store import queries
from store.queries import BadQueryFile, UnknownQuery, parse


def test_statements_by_name_with_their_comments() -> None:
    text = "-- Read this.\n\n-- name: one\n-- Gives one.\nSELECT 1;\n\n-- name: two\nSELECT 2\nFROM x;\n"
    assert parse(text, file="f") == {"one": "-- Gives one.\nSELECT 1;", "two": "SELECT 2\nFROM x;"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1;\n-- name: one\nSELECT 2;", "before the first"),
        ("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;", "used twice"),
        ("-- name: one\n-- nothing\n", "no statement"),
        ("-- name: One More\nSELECT 1;", "lower case"),
    ],
)
def test_what_is_out_of_order_is_named(text: str, reason: str) -> None:
    with pytest.raises(BadQueryFile, match=reason) as caught:
        parse(text, file="room/sql/it.sql")
    assert "room/sql/it.sql" in str(caught.value)


def test_the_stores_own_statements_load() -> None:
    loaded = queries.load("store")
    assert "claim" in loaded
    assert "SKIP LOCKED" in loaded["claim"]
    assert dict(loaded) == {name: loaded[name] for name in loaded}
    with pytest.raises(UnknownQuery, match="no_such"):
        loaded["no_such"]
