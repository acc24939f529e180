"""Each named way of breaking the decisions turns a named test red: otherwise that test proves nothing.

A mutant is one replacement in one file of a copy of the source tree; the tests named beside it must fail there, and
pass in the copy as it is. That every mutant still fits the source is checked in the normal suite.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("core", "store", "ingest", "geo", "itops", "alerts", "api", "tocsin", "tests")

RELEASE = "tests/integration/alerts/test_release.py"
WATCH = "tests/integration/alerts/test_watch.py"
FORECAST = "tests/integration/alerts/test_forecast_rules.py"
LIFE = "tests/unit/alerts/test_lifecycle.py"
RULE = "tests/unit/alerts/test_rule.py"
LAWS = "tests/property/test_warning_lifecycle.py::test_the_life_of_a_warning"


@dataclass(frozen=True)
class Mutant:
    """What is broken, and what must notice."""

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "empty polygon warns everybody",
        "alerts/watch.py",
        "        if area is None:\n            return []\n",
        "        if area is None:\n            area = shapely.box(-180, -90, 180, 90)\n",
        (f"{WATCH}::test_an_area_that_is_not_right_warns_nobody",),
    ),
    Mutant(
        "an area that is not right is not held",
        "alerts/audience.py",
        "    if held is not None:\n        return Release(",
        "    if False:\n        return Release(",
        (f"{WATCH}::test_an_area_that_is_not_right_warns_nobody",),
    ),
    Mutant(
        "lon and lat swapped",
        "alerts/watch.py",
        "inside(area, near.lon, near.lat)",
        "inside(area, near.lat, near.lon)",
        (f"{WATCH}::test_a_flood_is_warned_of_at_the_official_levels_and_ends_with_an_all_clear",),
    ),
    Mutant(
        "approval not bound to the hash",
        "alerts/release.py",
        "if content_sha256 != warning.content_sha256 or not await _is_what_it_was(conn, warning):",
        "if False:",
        (f"{RELEASE}::test_people_changed_behind_the_back_void_the_approval",),
    ),
    Mutant(
        "the approver may be the author",
        "alerts/release.py",
        "if warning.drafted_by == principal_id:",
        "if False:",
        (f"{RELEASE}::test_cancel_takes_another_person_and_goes_to_exactly_those_who_were_told",),
    ),
    Mutant(
        "cancel only stops the queue",
        "alerts/release.py",
        "            told[person_told.policyholder_id, person_told.channel] = replace(person_told, priority=0)\n",
        "            pass\n",
        (f"{RELEASE}::test_cancel_takes_another_person_and_goes_to_exactly_those_who_were_told",),
    ),
    Mutant(
        "one approval is enough for red",
        "alerts/audience.py",
        "return Release(approvals_needed=2, reason=Reason.DRAFT_ABOVE_CEILING)",
        "return Release(approvals_needed=1, reason=Reason.DRAFT_ABOVE_CEILING)",
        (f"{RELEASE}::test_two_different_people_release_a_red_warning",),
    ),
    Mutant(
        "ten times the usual audience goes out",
        "alerts/audience.py",
        "if usual is not None and n_people > max(UNUSUAL_FACTOR * usual, UNUSUAL_FLOOR):",
        "if False:",
        (f"{WATCH}::test_ten_times_the_usual_audience_is_held",),
    ),
    Mutant(
        "naive time",
        "alerts/message.py",
        '"""Wall time at the place, with the zone: never a time without one."""\n    local = at.astimezone(ZoneInfo(timezone))',
        '"""Naive."""\n    local = at.replace(tzinfo=ZoneInfo(timezone))',
        ("tests/unit/alerts/test_message.py",),
    ),
    Mutant(
        "silence clears",
        "alerts/lifecycle.py",
        "    if not finding.silent:\n        target = _lower_to(state, finding)",
        "    if True:\n        target = Level.NONE if finding.silent else _lower_to(state, finding)",
        (f"{LIFE}::test_silence_holds_for_ever", LAWS),
    ),
    Mutant(
        "time without readings counts as low water",
        "alerts/rule.py",
        "return start is not None and self.newest_good_at is not None and self.newest_good_at - start >= self.dwell",
        "return start is not None and self.as_of - start >= self.dwell",
        (f"{RULE}::test_giving_up_needs_readings_below_for_the_dwell",),
    ),
    Mutant(
        "a suspect value raises alone",
        "alerts/rule.py",
        "            if before is None or (before.suspect and before.value == reading.value):\n                continue",
        "            if False:\n                continue",
        (f"{RULE}::test_a_suspect_reading_confirms_only_with_its_neighbour",),
    ),
    Mutant(
        "old data raise",
        "alerts/rule.py",
        "fresh = [reading.at for reading in confirmed if now - reading.at <= rule.late_after]",
        "fresh = [reading.at for reading in confirmed]",
        (f"{RULE}::test_readings_that_come_too_late_do_not_raise",),
    ),
    Mutant(
        "a cancelled warning is raised again by what was known",
        "alerts/lifecycle.py",
        "        lowered_at=max(now, state.newest_at) if state.newest_at else now,\n",
        "        lowered_at=None,\n",
        (f"{LIFE}::test_cancel_is_not_an_all_clear_and_old_readings_do_not_raise_it_again", LAWS),
    ),
    Mutant(
        "running out is an all-clear",
        "alerts/lifecycle.py",
        "            Reason.EXPIRED_UNRENEWED,\n            phase=Phase.EXPIRED,\n            operator=True,",
        "            Reason.EXPIRED_UNRENEWED,\n            phase=Phase.EXPIRED,\n            to=Level.NONE,\n            operator=True,",
        (f"{LIFE}::test_a_warning_that_ran_out_is_an_operator_alarm_not_an_all_clear", LAWS),
    ),
    Mutant(
        "the newest version of a reading is not the one that counts",
        "alerts/rule.py",
        "        if other is None or (reading.revision,",
        "        if other is None or False and (reading.revision,",
        (f"{RULE}::test_a_correction_counts_from_when_it_came",),
    ),
    Mutant(
        "a stale forecast raises",
        "alerts/rule.py",
        "    if not told or now - told[-1].made_at > max(rule.late_after, rule.interval):\n",
        "    if not told:\n",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "a warning is lowered against the forecast",
        "alerts/rule.py",
        "        if one in self.expected:\n            return False\n",
        "",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "one forecast is enough where k of n must agree",
        "alerts/rule.py",
        "if says[-1] and sum(says[-rule.n :]) >= rule.k:",
        "if says[-1]:",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "one cause warns by itself",
        "alerts/watch.py",
        "        if rule.independent <= 1:\n",
        "        if True:\n",
        (f"{FORECAST}::test_one_cause_does_not_warn_by_itself",),
    ),
    Mutant(
        "a single jump is a rise",
        "alerts/rule.py",
        "            if min(rates[-2:]) >= limit:\n",
        "            if rates[-1] >= limit:\n",
        ("tests/unit/alerts/test_rise_rule.py",),
    ),
    Mutant(
        "forecasts of a rolled back batch are lost",
        "ingest/forecast/live.py",
        "            del self.gauges[one].unsaved[:-8]\n",
        "            self.gauges[one].unsaved.clear()\n",
        (f"{FORECAST}::test_a_forecast_survives_a_transaction_that_was_rolled_back",),
    ),
    Mutant(
        "a forecast looks ahead",
        "ingest/forecast/verify.py",
        "    events = sorted((t, name, v) for name, readings in series.items() for t, v in readings)\n",
        "    events = sorted((t, name, readings[min(k + 1, len(readings) - 1)][1])"
        " for name, readings in series.items() for k, (t, v) in enumerate(readings))\n",
        ("tests/unit/ingest/test_forecast.py::test_cutting_the_record_changes_no_earlier_row",),
    ),
)


def _run(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not long", *tests],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutants") / "tocsin"
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_fits_the_source(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.before) == 1


@pytest.mark.long
def test_unbroken_source_passes(source: Path) -> None:
    done = _run(source, tuple(sorted({test for mutant in MUTANTS for test in mutant.tests})))
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_turns_its_tests_red(source: Path, mutant: Mutant) -> None:
    file = source / mutant.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        for test in mutant.tests:
            done = _run(source, (test,))
            assert done.returncode == 1, f"{test} did not notice:\n{done.stdout[-2000:]}{done.stderr[-1000:]}"
            assert "failed" in done.stdout
    finally:
        file.write_text(whole, encoding="utf-8")
