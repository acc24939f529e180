"""Reasons of unknown losses: every text that is made is read back, and every code has its words in each catalogue."""

import json
import re
from pathlib import Path

import pytest

from geo.reasons import TEMPLATES, Reason, read, tell

CATALOGUE = Path(__file__).resolve().parents[3] / "web" / "src" / "console" / "catalogue"


@pytest.mark.parametrize("code", TEMPLATES)
def test_a_reason_is_read_back_with_its_facts(code: str) -> None:
    facts = {name: f"some {name}" for name in re.findall(r"\{(\w+)\}", TEMPLATES[code])}
    assert read(tell(code, **facts)) == Reason(code, facts)


def test_a_text_of_another_origin_is_none() -> None:
    assert read("location.csv: 1 bad row\n  line 2: LocNumber: it is empty") is None
    assert read("") is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_console_has_words_for_every_code_with_the_same_facts(language: str) -> None:
    words = json.loads((CATALOGUE / f"{language}.json").read_text(encoding="utf-8"))
    for code, template in TEMPLATES.items():
        text = words[f"losses.reason.{code}"]
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", template)), code
