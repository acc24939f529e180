"""docs/reference/settings.md names every setting with its true default."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from core.settings import Settings, setting_names

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"

_ROW = re.compile(r"^\| `(TOCSIN_[A-Z0-9_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def _rows() -> dict[str, tuple[str, str]]:
    text = (REFERENCE / "settings.md").read_text(encoding="utf-8")
    rows = _ROW.findall(text)
    assert len(rows) == len({name for name, _, _ in rows}), "a setting stands there twice"
    return {name: (default, told) for name, default, told in rows}


def _field(name: str) -> tuple[Any, Any]:
    """A setting's default and its type."""
    model: type[BaseModel] = Settings
    *groups, last = name.removeprefix("TOCSIN_").lower().split("__")
    for group in groups:
        inner = model.model_fields[group].annotation
        assert inner is not None
        model = inner
    info = model.model_fields[last]
    return info.get_default(call_default_factory=True, validated_data={}), info.annotation


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert set(_rows()) == set(setting_names())


@pytest.mark.parametrize("name", setting_names())
def test_the_default_is_the_true_one(name: str) -> None:
    told = _rows()[name][0]
    default = _field(name)[0]
    if default is None:
        assert told == "none"
    elif isinstance(default, list) or default == "":
        assert told
        assert not told.startswith("`")  # told in words
    else:
        shown = json.dumps(default) if isinstance(default, bool) else str(default)
        assert told == f"`{shown}`"


@pytest.mark.parametrize("name", setting_names())
def test_secrets_are_marked(name: str) -> None:
    is_secret = "SecretStr" in str(_field(name)[1]) or _field(name)[1] is SecretStr
    assert _rows()[name][1].startswith("*Secret.*") is is_secret
