"""Every test that docs/methods/practice.md names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_tests_that_the_page_names_exist() -> None:
    page = (ROOT / "docs" / "methods" / "practice.md").read_text(encoding="utf-8")
    named = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", page)
    assert len(named) > 30
    missing = [
        f"{file}::{name}" for file, name in named
        if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]  # fmt: skip
    assert not missing
    for row in page.splitlines():
        if row.startswith("| ") and not row.startswith("| point"):
            assert "::test_" in row, row.split("|")[1]
