"""What is in the checkout: every folder explained, nothing of somebody's machine, nothing half done."""

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THIS = Path(__file__).resolve()

#: Names that would be a second word for one of the glossary's, as they would stand in an identifier.
BANNED = {
    "datapoint": "observation",
    "sensor_id": "datastream",
    "dlq": "quarantine",
    "shelter": "safe zone",
    "refuge": "safe zone",
    "customer": "policyholder",
    "sum_insured": "TIV",
    "allclear": "all-clear",
    "simulation_mode": "exercise",
    "test_mode": "exercise",
    "drill_mode": "exercise",
}
#: An instruction of CAP 1.2, and the status of a household that is told so: the standard's own word.
_STANDARD = re.compile(r"shelter_?in_?place", re.IGNORECASE)


def _tracked() -> list[Path]:
    """Files under version control, or about to be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it is unknown")
    told = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return [ROOT / name for name in told.split("\0") if name and (ROOT / name).is_file()]


def _texts() -> list[tuple[Path, str]]:
    found = []
    for file in _tracked():
        if file == THIS or file.name == "package-lock.json":
            continue
        try:
            found.append((file, file.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # pictures and the like
    return found


def _rooms() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms: list[str] = project["tool"]["importlinter"]["root_packages"]
    return rooms


# ---------------------------------------------------------------- folders
def test_every_folder_is_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders = {file.relative_to(ROOT).parts[0] for file in _tracked() if file.parent != ROOT}
    unexplained = sorted(folder for folder in folders if f"`{folder}/`" not in page)
    assert unexplained == []
    assert len(folders) > 8


def test_every_explained_folder_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    explained = re.findall(r"(?m)^\| `([\w.]+)/` \|", page)
    assert len(explained) > 8
    assert [folder for folder in explained if not (ROOT / folder).is_dir()] == []


def test_the_rooms_are_packaged_typed_and_layered() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = set(_rows_of_packages())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == rooms
    assert set(project["tool"]["mypy"]["packages"]) == rooms
    assert set(_rooms()) == rooms


def _rows_of_packages() -> list[str]:
    return sorted(
        folder.name
        for folder in ROOT.iterdir()
        if (folder / "__init__.py").is_file() and folder.name not in ("tests", "benchmarks")
    )


def test_no_dependency_installs_a_package_of_our_names() -> None:
    installed = importlib.metadata.packages_distributions()
    clashes = {room: set(installed.get(room, [])) - {"tocsin"} for room in _rooms()}
    assert {room: others for room, others in clashes.items() if others} == {}


# ---------------------------------------------------------------- nothing of a machine, nothing half done
@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        (
            "a folder of somebody's machine",
            r"(?<![\w.])/(?:work|opt/venv|root|Users)/|(?<![\w.])/home/(?!tocsin\b)\w+/",
        ),
        ("a folder of somebody's workplace", r"\.library\b|/wt/"),
        (
            "a package registry's address",
            r"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|--(?:extra-)?index-url",
        ),
        ("unfinished work", r"\b(?:TODO|FIXME|HACK)\b|(?<!['\"])\bXXX\b(?!['\"])"),
        ("a merge that was not resolved", r"(?m)^(?:<{7}|>{7}|={7})(?: |$)"),
    ],
)
def test_files_hold_no(what: str, pattern: str) -> None:
    wanted = re.compile(pattern)
    found = [
        f"{file.relative_to(ROOT)}: {match.group(0)!r}" for file, text in _texts() for match in wanted.finditer(text)
    ]
    assert found == [], what


def test_no_secret_file_and_no_state_is_tracked() -> None:
    private = re.compile(
        r"(^|/)(\.env|channels\.env|tocsin\.env|private/.*|.*\.(key|pem|p12))$|^var/|(^|/)node_modules/"
    )
    assert [name for file in _tracked() if private.search(name := str(file.relative_to(ROOT)))] == []


# ---------------------------------------------------------------- pinned versions
def test_the_front_end_lock_names_no_address() -> None:
    file = ROOT / "web" / "package-lock.json"
    packages = json.loads(file.read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 10
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if name and "integrity" not in entry] == []


def test_constraints_are_exact_versions_and_name_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 20
    odd = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+(?: *;.*)?(?: *#.*)?", line)]
    assert odd == []


def test_every_dependency_has_a_pinned_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {
        re.split("==", line)[0].lower().replace("_", "-").replace(".", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    names = {re.split(r"[\[<>=~!; ]", need)[0].lower().replace("_", "-").replace(".", "-") for need in wanted}
    assert sorted(names - pinned) == []


# ---------------------------------------------------------------- words
def _identifiers(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_no_identifier_uses_a_second_word_for_a_thing() -> None:
    found = []
    for file in _tracked():
        parts = file.relative_to(ROOT).parts
        if parts[0] not in _rooms():
            continue
        if file.suffix == ".py":
            names = {_snake(name) for name in _identifiers(ast.parse(file.read_text(encoding="utf-8")))}
        elif file.suffix == ".sql":
            bare = re.sub(r"--.*|'(?:[^']|'')*'", "", file.read_text(encoding="utf-8"))
            names = {name.lower() for name in re.findall(r"[A-Za-z_]\w*", bare)}
        else:
            continue
        for name in sorted(names):
            rest = _STANDARD.sub("", name)
            for banned, instead in BANNED.items():
                if re.search(rf"(^|_){banned}s?(_|$)", rest):
                    found.append(f"{'/'.join(parts)}: {name} (say {instead})")
    assert found == []


def test_the_glossary_says_what_not_to_say() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    not_these = page.split("## Not these")[1].lower().replace(" ", "_").replace("-", "_")
    assert [word for word in BANNED if word not in not_these] == []


def test_the_glossary_spells_each_word_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Not these")[0]
    words = re.findall(r"(?m)^\| (?!word \||-)([^|]+) \|", page)
    assert len(words) > 50
    assert sorted({word for word in words if words.count(word) > 1}) == []


# ---------------------------------------------------------------- decisions, links
def _records() -> list[Path]:
    return sorted(file for file in (ROOT / "docs" / "adr").glob("*.md") if file.name != "README.md")


def test_decision_records_are_numbered_and_listed() -> None:
    records = _records()
    assert len(records) >= 2
    numbers = [file.name[:4] for file in records]
    assert sorted(set(numbers)) == sorted(numbers), "two records have one number"
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    for file in records:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", file.name), file.name
        assert f"]({file.name})" in index, f"{file.name} is not in docs/adr/README.md"


@pytest.mark.parametrize("file", _records(), ids=lambda file: file.name)
def test_a_decision_record_is_a_page_with_the_three_parts(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.match(rf"# (?:ADR )?{file.name[:4]}\b", text)
    assert len(text.split()) <= 900, "a page at most"
    for part in ("Context", "Decision", "Consequences"):
        assert re.search(rf"(?m)^(?:#+ |\*\*){part}\b", text), part


def test_every_method_page_is_listed() -> None:
    folder = ROOT / "docs" / "methods"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [file.name for file in folder.glob("*.md") if file.name != "README.md"]
    assert [page for page in pages if f"]({page})" not in index] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for file in _tracked():
        if file.suffix != ".md":
            continue
        text = re.sub(r"```.*?```|`[^`\n]*`", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (file.parent / target.split("#")[0]).exists():
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert broken == []
