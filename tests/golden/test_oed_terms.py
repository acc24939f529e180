"""Policy terms and reinsurance against oasislmf, case by case; oed_terms/make.py is how the numbers were made."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geo import terms_files

FOLDER = Path(__file__).parent / "oed_terms"
DIRECT = json.loads((FOLDER / "direct.json").read_text())
STEPS = json.loads((FOLDER / "steps.json").read_text())
PERILS = json.loads((FOLDER / "perils.json").read_text())
REINSURANCE = json.loads((FOLDER / "reinsurance.json").read_text())

Key = tuple[str, str, str, int]


def _load(folder: Path, files: dict[str, str]) -> terms_files.LossBook:
    for name, content in files.items():
        (folder / f"{name}.csv").write_text(content)
    outward = "ri_info" in files
    return terms_files.load(
        folder / "location.csv",
        folder / "account.csv",
        ri_info=folder / "ri_info.csv" if outward else None,
        ri_scope=folder / "ri_scope.csv" if outward else None,
        peril="WTC",
    )


def _ours(book: terms_files.LossBook, ratio: float) -> dict[Key, Any]:
    losses = book.losses(ratio)
    told = terms_files.table(book, losses).to_pydict()
    found: dict[Key, Any] = {}
    for row in range(book.book.n_rows):
        key = (told["AccNumber"][row], told["LocNumber"][row], told["PolNumber"][row], told["coverage_type_id"][row])
        found[key] = found.get(key, 0.0) + np.array([told[c][row] for c in ("loss_gul", "loss_il", "loss_ri")])
    return found


def _theirs(losses: list[list[Any]], ratio: float) -> dict[Key, Any]:
    return {(r[1], r[2], r[3], r[4]): np.array(r[5:8]) for r in losses if r[0] == ratio}


def _insured(losses: dict[Key, Any], column: int) -> dict[Key, float]:
    return {key: values[column] for key, values in losses.items() if values[column] != 0}


def _compare(ours: dict[Key, Any], theirs: dict[Key, Any], column: int) -> None:
    mine, oracle = _insured(ours, column), _insured(theirs, column)
    for key in mine.keys() | oracle.keys():
        a, b = mine.get(key, 0.0), oracle.get(key, 0.0)
        assert a == pytest.approx(b, rel=1e-6, abs=0.0101), (key, a, b)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> terms_files.LossBook:
    return _load(tmp_path_factory.mktemp("direct"), DIRECT["files"])


ACCOUNTS = sorted({row[1] for row in DIRECT["losses"]})
RATIOS = sorted({row[0] for row in DIRECT["losses"]})


@pytest.fixture(scope="module")
def ours(direct: terms_files.LossBook) -> dict[float, dict[str, dict[Key, Any]]]:
    found: dict[float, dict[str, dict[Key, Any]]] = {}
    for ratio in RATIOS:
        for key, values in _ours(direct, ratio).items():
            found.setdefault(ratio, {}).setdefault(key[0], {})[key] = values
    return found


@pytest.mark.parametrize("account", ACCOUNTS)
def test_direct_terms_equal_the_oracle(account: str, ours: dict[float, dict[str, dict[Key, Any]]]) -> None:
    mine = [row for row in DIRECT["losses"] if row[1] == account]
    for ratio in RATIOS:
        _compare(ours[ratio][account], _theirs(mine, ratio), 1)


def test_a_book_without_minimum_and_maximum_equals_the_oracle_too(tmp_path: Path) -> None:
    """Such a book takes the quick way through each level, on which the others of direct.json never are."""
    kept = {}
    policies = list(csv.DictReader(io.StringIO(DIRECT["files"]["account"])))
    places = list(csv.DictReader(io.StringIO(DIRECT["files"]["location"])))
    bounds = [name for name in (*policies[0], *places[0]) if "MinDed" in name or "MaxDed" in name]
    bounded = {
        row["AccNumber"] for row in (*policies, *places) if any(row.get(name) not in (None, "") for name in bounds)
    }
    for name, rows in (("account", policies), ("location", places)):
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if row["AccNumber"] not in bounded)
        kept[name] = out.getvalue()
    book = _load(tmp_path, kept)
    assert not book.book.programme.bounded
    checked = {row[1] for row in DIRECT["losses"]} - bounded
    assert len(checked) > 80
    for ratio in RATIOS:
        theirs = _theirs([row for row in DIRECT["losses"] if row[1] in checked], ratio)
        _compare(_ours(book, ratio), theirs, 1)


def test_ground_up_equals_the_oracle(ours: dict[float, dict[str, dict[Key, Any]]]) -> None:
    for ratio in RATIOS:
        for account, rows in ours[ratio].items():
            if account != "restricting condition":  # the oracle has no line for what a policy excludes
                theirs = _theirs([row for row in DIRECT["losses"] if row[1] == account], ratio)
                for key, values in theirs.items():
                    assert values[0] == pytest.approx(rows[key][0], rel=1e-6)


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> terms_files.LossBook:
    return _load(tmp_path_factory.mktemp("steps"), STEPS["files"])


@pytest.mark.parametrize("account", sorted({row[1] for row in STEPS["losses"]}))
def test_step_policies_equal_the_oracle(account: str, stepped: terms_files.LossBook) -> None:
    mine = [row for row in STEPS["losses"] if row[1] == account]
    assert any(row[6] > 0 for row in mine)
    for ratio in sorted({row[0] for row in mine}):
        ours = {key: value for key, value in _ours(stepped, ratio).items() if key[0] == account}
        _compare(ours, _theirs(mine, ratio), 1)


@pytest.mark.parametrize("account", sorted({row[1] for row in PERILS["losses"]}))
def test_terms_by_peril_equal_the_oracle(account: str, tmp_path: Path) -> None:
    book = _load(tmp_path, PERILS["files"])
    mine = [row for row in PERILS["losses"] if row[1] == account]
    for ratio in sorted({row[0] for row in mine}):
        ours = {key: value for key, value in _ours(book, ratio).items() if key[0] == account}
        _compare(ours, _theirs(mine, ratio), 1)


@pytest.mark.parametrize("name", sorted(REINSURANCE["cases"]))
def test_reinsurance_equals_the_oracle(name: str, tmp_path: Path) -> None:
    case = REINSURANCE["cases"][name]
    book = _load(tmp_path, {**REINSURANCE["files"], "ri_info": case["ri_info"], "ri_scope": case["ri_scope"]})
    for ratio in sorted({row[0] for row in case["losses"]}):
        mine, theirs = _ours(book, ratio), _theirs(case["losses"], ratio)
        _compare(mine, theirs, 1)
        _compare(mine, theirs, 2)
