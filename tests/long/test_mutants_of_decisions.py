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
VOICE = "tests/integration/alerts/test_voice.py"
DESK = "tests/integration/alerts/test_rule_desk.py"
UNIT = "tests/unit/alerts/test_voice.py"
MANY = "tests/property/test_warning_desk.py::test_several_rules_speak_with_one_voice"
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
        "alerts/speak.py",
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
        "alerts/speak.py",
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
        (f"{LIFE}::test_a_warning_that_ran_out_is_an_operator_alarm_not_an_all_clear",),
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
        "expected={one: made_at for one, made_at in foreseen.items() if now - made_at <= limit},",
        "expected=foreseen,",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "a warning is lowered against the forecast",
        "alerts/rule.py",
        "        if self.is_foreseen(one):\n            return False\n",
        "",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "a forecast that grows old without a reading gives a warning up",
        "alerts/rule.py",
        "if newest_at is None or newest_at - made_at <= limit",
        "if now - made_at <= limit",
        ("tests/unit/alerts/test_forecast_rule.py",),
    ),
    Mutant(
        "a lower level is given up while a higher one is expected",
        "alerts/rule.py",
        "        return any(level >= one for level in self.foreseen)\n",
        "        return one in self.foreseen\n",
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
        "alerts/speak.py",
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
        "    events = heapq.merge(*(_named(name, readings) for name, readings in series.items()))\n",
        "    events = heapq.merge(*(_named(name, [(t, readings[min(k + 1, len(readings) - 1)][1])"
        " for k, (t, _) in enumerate(readings)]) for name, readings in series.items()))\n",
        ("tests/unit/ingest/test_forecast.py::test_cutting_the_record_changes_no_earlier_row",),
    ),
    Mutant(
        "one person silences red",
        "alerts/silence.py",
        "return self.up_to if agreed else min(self.up_to, Level.ORANGE)",
        "return self.up_to",
        (UNIT, f"{VOICE}::test_a_silence_holds_back_with_its_reason_and_what_stands_is_said_at_its_end"),
    ),
    Mutant(
        "an end is silenced",
        "alerts/voice.py",
        "    if said.message is None or said.message in ENDINGS:\n        return said\n",
        "    if said.message is None:\n        return said\n",
        (UNIT,),
    ),
    Mutant(
        "what a silence held is not said at its end",
        "alerts/speak.py",
        "return live_until, max(said.wake_at, soonest) if said.wake_at is not None else None",
        "return live_until, None",
        (f"{VOICE}::test_a_silence_of_yellow_ends_and_yellow_is_said",),
    ),
    Mutant(
        "a group gives up with its first rule",
        "alerts/voice.py",
        "    top = max((one.after for one in members), default=Level.NONE)\n",
        "    top = decision.after\n",
        (UNIT, f"{VOICE}::test_two_gauges_of_one_area_speak_with_one_voice"),
    ),
    Mutant(
        "whoever hears worse is told less too",
        "alerts/voice.py",
        "        if best is None or best[0] < mine:\n",
        "        if True:\n",
        (MANY, f"{VOICE}::test_whoever_hears_worse_is_not_told_less_nor_that_all_is_clear"),
    ),
    Mutant(
        "what was kept out stays unsaid when the worse is over",
        "alerts/voice.py",
        "            wakes.add(best[1].warning_id)\n",
        "            pass\n",
        (UNIT, f"{VOICE}::test_whoever_hears_worse_is_not_told_less_nor_that_all_is_clear"),
    ),
    Mutant(
        "our word is spoken over an authority's",
        "alerts/voice.py",
        "            ((int(one.level), one.official,",
        "            ((int(one.level), False,",
        (UNIT,),
    ),
    Mutant(
        "above an authority's level we go out by ourselves",
        "alerts/speak.py",
        "        if officials and max(officials) < decision.after:\n",
        "        if False:\n",
        (f"{VOICE}::test_an_authoritys_bulletin_is_passed_on_by_name_and_wins_over_our_own_word",),
    ),
    Mutant(
        "unknown exposure counts as none",
        "alerts/event_rule.py",
        "    policies = met.n_policies + met.n_unknown\n",
        "    policies = met.n_policies\n",
        (f"{VOICE}::test_a_footprint_that_meets_exposure_warns_whoever_is_inside",),
    ),
    Mutant(
        "an event that nobody draws any more is over",
        "alerts/event_rule.py",
        "        return replace(state, phase=Phase.STALE, since=now), Decision(\n"
        "            reason=Reason.HELD_ON_SILENCE, at=now, before=state.level, after=state.level, operator=True\n        )",
        "        return _step(rule, state, sight, now, Reason.ALL_CLEAR, Message.ALL_CLEAR, Level.NONE)",
        (f"{VOICE}::test_a_footprint_that_meets_exposure_warns_whoever_is_inside",),
    ),
    Mutant(
        "nobody knows how bad it is, and orange is assumed",
        "alerts/watch_events.py",
        '        worst = live.scheme.level_of_severity(row["severity"] or "Unknown")\n',
        '        worst = live.scheme.level_of_severity(row["severity"] or "Unknown") or Level.ORANGE\n',
        (f"{VOICE}::test_an_authoritys_bulletin_is_passed_on_by_name_and_wins_over_our_own_word",),
    ),
    Mutant(
        "a rule that releases by itself takes one person",
        "alerts/rule_desk.py",
        '        if row["proposed_by"] == principal_id:\n',
        "        if False:\n",
        (f"{DESK}::test_a_rule_that_releases_by_itself_takes_a_second_person",),
    ),
    Mutant(
        "agreement is not bound to the rule that was read",
        "alerts/rule_desk.py",
        '        if content_sha256 != digest or rule_sha256(row["told"]) != digest:\n',
        "        if False:\n",
        (f"{DESK}::test_a_rule_that_releases_by_itself_takes_a_second_person",),
    ),
    Mutant(
        "a held draft pages nobody",
        "alerts/speak.py",
        "        if verdict.held is not None:\n            await notices.tell(",
        "        if False:\n            await notices.tell(",
        (f"{DESK}::test_an_area_that_is_not_right_pages_the_operator_once",),
    ),
    Mutant(
        "the whole world may be warned",
        "alerts/audience.py",
        "    if east - west > 180 or area_km2(area) > max_area_km2:\n",
        "    if False:\n",
        (f"{DESK}::test_an_area_that_is_not_right_pages_the_operator_once",),
    ),
    Mutant(
        "a storm of mass warnings goes out",
        "alerts/audience.py",
        "n_people >= MASS_PEOPLE and n_mass_lately >= MASS_PER_HOUR:",
        "n_people >= MASS_PEOPLE and False:",
        (f"{DESK}::test_a_storm_of_mass_warnings_waits_for_people",),
    ),
    Mutant(
        "one person goes on sending",
        "alerts/release.py",
        "    if asked is None or asked == principal_id:\n",
        "    if asked is None and False:\n",
        (f"{RELEASE}::test_one_person_stops_and_two_go_on",),
    ),
    Mutant(
        "a repeat is said at once",
        "alerts/voice.py",
        "not over and at - told_at >= interval",
        "not over",
        (UNIT,),
    ),
    Mutant(
        "a CAP document leaves unsigned",
        "alerts/cap_sign.py",
        "    return signer.sign(document) if signer is not None else document\n",
        "    return document\n",
        (f"{VOICE}::test_what_a_sender_hands_over_is_signed",),
    ),
    Mutant(
        "a forecast is told as measured",
        "alerts/lifecycle.py",
        "        return self.level > self.measured\n",
        "        return False\n",
        (f"{FORECAST}::test_a_warning_on_a_forecast_says_so",),
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
