"""The commands of this room, as a shell calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import InvalidInput
from tocsin.cli import app

GOOD = """<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>i</identifier><sender>s</sender>
<sent>2025-11-28T06:30:00+05:30</sent><status>Test</status><msgType>Alert</msgType><scope>Public</scope></alert>"""


def test_cap_check_says_one_json_document_and_exits_1_for_a_bad_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.cap", tmp_path / "bad.cap"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("Test", "Perhaps"))
    run = CliRunner()
    both = run.invoke(app, ["cap", "check", str(good), str(bad), "--json"])
    assert both.exit_code == 1
    told = json.loads(both.stdout)
    assert [one["verdict"] for one in told] == ["store-only", "reject"]
    assert "Perhaps" in told[1]["reasons"][0]
    assert run.invoke(app, ["cap", "check", str(good)]).exit_code == 0
    missing = run.invoke(app, ["cap", "check", str(tmp_path / "none.cap")])
    assert isinstance(missing.exception, InvalidInput)
    assert "none.cap" in str(missing.exception)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fake-provider", "--faults", "{"], "--faults"),
        (["fake-provider", "--faults", '{"flood": 1}'], "unknown faults"),
        (["warnings", "list", "--state", "lost"], "--state"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_HOME", str(tmp_path))
    got = CliRunner().invoke(app, arguments)
    assert isinstance(got.exception, InvalidInput)
    assert named in str(got.exception)
