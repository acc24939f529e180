"""deploy/Dockerfile: pinned, not root, complete, and without what is nobody's business."""

import fnmatch
import re
import shlex
import tomllib

from tests.unit.deploy import reading


def _instructions() -> list[tuple[str, str]]:
    text = (reading.DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines() if line.strip()]


def _ignore_rules() -> list[str]:
    lines = (reading.DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _is_sent(path: str) -> bool:
    """Whether a file of the checkout reaches the build: the last rule that fits wins, as in Docker."""
    sent = True
    for rule in _ignore_rules():
        keep, pattern = rule.startswith("!"), rule.lstrip("!")
        patterns = [pattern, pattern.removeprefix("**/")] if pattern.startswith("**/") else [pattern]
        parts = path.split("/")
        tops = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(fnmatch.fnmatchcase(top, wanted) for top in tops for wanted in patterns):
            sent = keep
    return sent


def test_both_stages_stand_on_one_pinned_release() -> None:
    bases = {value.split(" AS ")[0] for name, value in _instructions() if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-bookworm", bases.pop())


def test_runs_as_a_numbered_account_that_is_not_root() -> None:
    last = [value for name, value in _instructions() if name == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last)


def test_starts_tocsin_without_a_shell_between() -> None:
    entry = next(value for name, value in _instructions() if name == "ENTRYPOINT")
    assert entry == '["tocsin"]'  # signals reach the process itself


def test_an_image_without_the_front_end_is_refused() -> None:
    runs = [value for name, value in _instructions() if name == "RUN"]
    assert any("TOCSIN_UI=require" in run and "--no-deps ." in run for run in runs)
    assert any("--constraint constraints.txt" in run for run in runs)


def test_no_secret_and_no_address_is_built_in() -> None:
    text = (reading.DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"PASSWORD|TOKEN|SECRET_KEY|https?://", text)


def test_what_is_copied_is_sent_to_the_build() -> None:
    for name, value in _instructions():
        if name == "COPY" and "--from=" not in value:
            for source in shlex.split(value)[:-1]:
                assert source == "." or _is_sent(source), source


def test_every_package_is_sent_and_nothing_private_is() -> None:
    project = tomllib.loads((reading.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert _is_sent(f"{package}/__init__.py"), package
    for wanted in ("store/migrations/sql/0001_spine.sql", "web/package.json", "README.md", "hatch_build.py"):
        assert _is_sent(wanted), wanted
    for private in (
        ".git/config",
        ".venv/bin/python",
        "deploy/.env",
        "deploy/mosquitto/private/passwords",
        "var/secret_key",
        "tests/conftest.py",
        "web/node_modules/a/index.js",
        "api/static/index.html",
        "store/__pycache__/pool.pyc",
    ):
        assert not _is_sent(private), private
