"""Messages in ICU form: plurals as CLDR has them, quoting as ICU does, and a clear no to what is not one."""

import json
import shutil
import subprocess

import pytest

from alerts import message
from alerts.icu import BadMessage, format_message, names, plural_category

STEPS = "{n, plural, =0 {nothing} one {# step for {who}} other {# steps for {who}}}"


@pytest.mark.parametrize(
    ("text", "values", "language", "told"),
    [
        (STEPS, {"n": 0, "who": "Ann"}, "en", "nothing"),
        (STEPS, {"n": 1, "who": "Ann"}, "en", "1 step for Ann"),
        (STEPS, {"n": 2, "who": "Ann"}, "en", "2 steps for Ann"),
        ("{n, plural, one {un} other {#}}", {"n": 0}, "fr", "un"),  # French counts 0 as one
        ("{n, plural, one {x} two {two} few {few} many {many} other {y}}", {"n": 2}, "ar", "two"),
        ("{n, plural, one {x} two {two} few {few} many {many} other {y}}", {"n": 11}, "ar", "many"),
        ("{n, plural, one {x} other {#分钟}}", {"n": 1}, "zh", "1分钟"),
        (
            "{who, select, her {she {n, plural, one {#} other {##}}} other {they}}",
            {"who": "her", "n": 3},
            "en",
            "she 33",
        ),
        ("{who, select, her {she} other {they}}", {"who": "x"}, "en", "they"),
        ("l'eau et '{'rien'}' ''", {}, "fr", "l'eau et {rien} '"),
        ("a # b", {}, "en", "a # b"),
    ],
)
def test_messages(text: str, values: dict[str, str | int], language: str, told: str) -> None:
    assert format_message(text, values, language) == told


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{a",
        "{a, plural, one {x}}",
        "{a, number}",
        "{a, select, other x}",
        "{1a}",
        "{a, plural, other {x}",
        "{}",
    ],
)
def test_what_is_not_a_message(text: str) -> None:
    with pytest.raises(BadMessage):
        format_message(text, {"a": 1}, "en")


def test_a_value_that_is_missing_or_no_number_is_named() -> None:
    with pytest.raises(BadMessage, match="who"):
        format_message(STEPS, {"n": 1}, "en")
    with pytest.raises(BadMessage, match="n must be a whole number"):
        format_message(STEPS, {"n": "1", "who": ""}, "en")


def test_plural_categories_are_those_of_the_browser() -> None:
    """The same CLDR rules in another implementation: ICU, in V8."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node, whose Intl is the reference")
    program = (
        "const r={};for(const l of ['en','zh','fr','es','si','ta','ar']){const p=new Intl.PluralRules(l);"
        "r[l]=[...Array(130).keys()].map(n=>p.select(n))};console.log(JSON.stringify(r))"
    )
    told = json.loads(subprocess.run([node, "-e", program], check=True, capture_output=True, text=True).stdout)
    for language, categories in told.items():
        assert [plural_category(language, n) for n in range(130)] == categories, language


def test_every_catalogue_is_in_icu_form_and_uses_the_names_that_english_uses() -> None:
    def texts(told: object) -> list[str]:
        if isinstance(told, dict):
            return [one for value in told.values() for one in texts(value)]
        return [told] if isinstance(told, str) else []

    english = message.catalogue("en")
    for language in message.catalogues():
        other = message.catalogue(language)
        for group in ("headline", "description", "sms", "instruction", "step"):
            for key, text in other[group].items():
                assert names(text) <= names(english[group][key]) | {"event", "area", "place"}, (language, group, key)
        for key in ("time", "until", "leave_by", "step_minutes"):
            assert names(other[key]) <= names(english[key])
        assert all(isinstance(names(one), frozenset) for one in texts(other))
