"""Replies: help is heard wherever it stands, safe only where nothing else is said."""

import pytest

from alerts.reply_words import meaning


@pytest.mark.parametrize(
    "text", ["1", " Safe! ", "OK", "I'm safe", "i’m safe.", "安全", "我没事。", "En sécurité", "آمن"]
)
def test_safe(text: str) -> None:
    assert meaning(text) == "safe"


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "HELP",
        "help us please",
        "SOS!!",
        "not safe, help",
        "救命！",
        "请帮助我们",
        "aide",
        "¡Ayuda!",
        "உதவி",
        "උදව්",
    ],
)
def test_help(text: str) -> None:
    assert meaning(text) == "help"


@pytest.mark.parametrize(
    "text", ["", "not safe", "safe?? water is coming", "3", "12", "who is this", "不安全", "ok but trapped"]
)
def test_what_is_not_understood_is_never_safe(text: str) -> None:
    assert meaning(text) is None
