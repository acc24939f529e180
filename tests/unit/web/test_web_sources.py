"""The front end's own checks, run where Node and the installed libraries are: `npm ci` in web/ brings them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[3] / "web"


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on the PATH: the front end's unit tests did not run")
    if not (WEB / "node_modules" / "vitest").is_dir():
        pytest.skip("web/node_modules is absent: run `npm ci` in web/ for the front end's unit tests")
    return found


def run(node: str, *arguments: str) -> None:
    done = subprocess.run([node, *arguments], cwd=WEB, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_unit_tests_pass(node: str) -> None:
    run(node, "node_modules/vitest/vitest.mjs", "run")


def test_types_and_accessibility_hints_are_clean(node: str) -> None:
    run(node, "node_modules/svelte-check/bin/svelte-check", "--tsconfig", "./tsconfig.json", "--fail-on-warnings")


def test_client_types_are_those_of_the_openapi_document(node: str, tmp_path: Path) -> None:
    made = tmp_path / "api.d.ts"
    run(node, "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "-o", str(made))
    committed = (WEB / "src" / "lib" / "api.d.ts").read_text(encoding="utf-8")
    assert made.read_text(encoding="utf-8") == committed, "run `npm run types` in web/"


def test_every_path_that_the_pages_ask_for_is_in_the_openapi_document() -> None:
    known = set(json.loads((WEB / "openapi.json").read_text(encoding="utf-8"))["paths"])
    asked = set()
    for source in (WEB / "src").rglob("*"):
        if source.suffix in {".ts", ".svelte"} and ".test." not in source.name and source.name != "api.d.ts":
            asked |= set(re.findall(r'"(/v1/[a-z_/{}-]+)"', source.read_text(encoding="utf-8")))
    assert len(asked) > 15
    assert asked - {"/v1/"} <= known


def test_sources_name_no_other_origin() -> None:
    allowed = {"http://www.w3.org/2000/svg", "http://127.0.0.1:8000"}
    found = {}
    for source in [*WEB.glob("*.html"), *(WEB / "public").iterdir(), *(WEB / "src").rglob("*")]:
        if (
            source.is_file()
            and source.suffix not in {".png", ".woff2"}
            and ".test." not in source.name
            and source.name != "api.d.ts"
        ):
            names = set(re.findall(r"https?://[^\s\"'`)]+", source.read_text(encoding="utf-8"))) - allowed
            if names:
                found[source.name] = names
    assert found == {}
