"""How many parts a text message takes, and what fits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.sms import _BASIC, _EXTENSION, LIMITS, clean, count_parts, fit


@pytest.mark.parametrize(
    ("text", "alphabet", "n_parts"),
    [
        ("", "gsm7", 1),
        ("a" * 160, "gsm7", 1),
        ("a" * 161, "gsm7", 2),
        ("a" * 306, "gsm7", 2),
        ("a" * 307, "gsm7", 3),
        ("€" * 80, "gsm7", 1),  # two septets each
        ("€" * 81, "gsm7", 2),
        ("a" * 152 + "€" + "a" * 10, "gsm7", 2),
        # 153 would split the second septet of the sign: it moves whole, and the second part is one fuller
        ("a" * 152 + "€" + "a" * 151, "gsm7", 2),
        ("a" * 152 + "€" + "a" * 152, "gsm7", 3),
        ("水" * 70, "ucs2", 1),
        ("水" * 71, "ucs2", 2),
        ("水" * 134, "ucs2", 2),
        ("水" * 135, "ucs2", 3),
        ("a" * 69 + "水", "ucs2", 1),
        ("🌊" * 35, "ucs2", 1),  # a pair of code units each
        ("🌊" * 36, "ucs2", 2),
        ("水" * 66 + "🌊" + "水" * 65, "ucs2", 2),
        ("水" * 66 + "🌊" + "水" * 66, "ucs2", 3),  # a pair is never split
        ("Ä ö ñ ¿ Ω", "gsm7", 1),
        ("ç", "ucs2", 1),  # only the capital is in the alphabet
    ],
)
def test_parts(text: str, alphabet: str, n_parts: int) -> None:
    assert count_parts(text) == (alphabet, n_parts)


def test_the_alphabet_has_its_127_characters_and_its_extension_9_and_form_feed() -> None:
    assert len(_BASIC) == 127  # 128 less the escape
    assert len(_EXTENSION) == 10


@given(st.text(max_size=400))
def test_every_part_holds_what_it_may(text: str) -> None:
    """Packed again by brute force: as many parts as counted, none too full."""
    told = clean(text)
    alphabet, n_parts = count_parts(told)
    assert alphabet == ("gsm7" if all(one in _BASIC | _EXTENSION for one in told) else "ucs2")
    units = [
        (2 if one in _EXTENSION else 1) if alphabet == "gsm7" else len(one.encode("utf-16-be")) // 2 for one in told
    ]
    if sum(units) <= LIMITS[alphabet][0]:
        assert n_parts == 1
        return
    parts: list[int] = [0]
    for unit in units:
        if parts[-1] + unit > LIMITS[alphabet][1]:
            parts.append(0)
        parts[-1] += unit
    assert n_parts == len(parts)
    assert max(parts) <= LIMITS[alphabet][1]


def test_what_could_show_another_text_is_taken_out() -> None:
    assert clean("Leave\u202e won\u2066 now\x00\x07\u200b") == "Leave won now"
    assert clean("two\r\nlines\u2028here") == "two lines here"
    assert clean("ක්\u200dරි") == "ක්\u200dරි"  # the joiner is spelling
    assert fit(["“Go” – now…"]).text == '"Go" - now...'
    assert fit(["“走” – now"]).text == "“走” – now"


def test_the_fullest_text_that_fits_one_part_goes_and_the_link_is_whole_or_absent() -> None:
    full, short = "水" * 69 + "。" + "走", "水" * 69 + "。"
    assert fit([full, short]).text == short
    assert fit(["a" * 200, "a" * 170]).text == "a" * 200  # neither fits one part: the fullest
    link = "https://warnings.example.org/me#t=" + "x" * 93
    assert fit(["Go now."], link=link).text == f"Go now. {link}"
    assert fit(["水" * 70], link=link).text.endswith(link)
    assert fit(["水" * 130], link=link).text == "水" * 130
    long = fit(["水" * 500])
    assert long.n_parts == 3
    assert long.text == "水" * 201
