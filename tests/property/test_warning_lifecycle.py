"""Laws of a warning's life, whatever readings come, late, twice, out of order, or not at all.

The machine drives one rule as `alerts.watch` does, releasing some messages and leaving others as drafts, and keeps its
own simple account of what was read and said. `TOCSIN_TEST_DATA` is not needed.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alerts.level import Level
from alerts.lifecycle import (
    Decision,
    LifecycleState,
    Message,
    Phase,
    Reason,
    advance,
    cancel,
    from_json,
    next_due,
    to_json,
)
from alerts.rule import LevelRule, Reading, evaluate, level_rule, newest_versions
from ingest.forecast.outlook import Outlook

T0 = datetime(2026, 1, 1, tzinfo=UTC)
THRESHOLDS = {"yellow": 3.0, "orange": 4.0, "red": 6.0}
SAID = (Message.FIRST, Message.RAISE, Message.LOWER, Message.RENEW, Message.ALL_CLEAR, Message.CANCEL)


class WarningLife(RuleBasedStateMachine):
    """One rule, one gauge."""

    @initialize(
        hysteresis=st.sampled_from([0.0, 0.2, 1.5]),
        dwell=st.sampled_from([0, 10, 45]),
        k=st.sampled_from([(1, 1), (2, 3)]),
        expires=st.sampled_from([1, 6]),
        releases=st.booleans(),
        forecasts=st.sampled_from([None, None, (1, None), (6, None), (6, 0.3)]),
    )
    def begin(
        self,
        hysteresis: float,
        dwell: int,
        k: tuple[int, int],
        expires: int,
        releases: bool,
        forecasts: tuple[int, float | None] | None,
    ) -> None:
        self.rule: LevelRule = level_rule(
            tenant_id=UUID(int=1),
            code="x",
            datastream_id=1,
            thresholds=THRESHOLDS,
            hysteresis=hysteresis,
            clear_dwell=timedelta(minutes=dwell),
            k=k[0],
            n=k[1],
            expires_after=timedelta(hours=expires),
            forecast_within=timedelta(hours=forecasts[0]) if forecasts else None,
            cost_loss=forecasts[1] if forecasts else None,
        )
        self.now = T0
        self.state = LifecycleState(evaluated_until=T0)
        self.readings: list[Reading] = []
        self.outlooks: list[Outlook] = []
        self.decisions: list[Decision] = []
        self.releases = releases
        self.live: list[Level] = []  #: messages of the open warning, by level

    def run_to_now(self) -> None:
        finished = False
        steps = 0
        while not finished:
            steps += 1
            assert steps < 1000, "it does not end"
            before = self.state
            self.state, made, finished = advance(self.rule, self.state, self.readings, self.now, outlooks=self.outlooks)
            for decision in made:
                self.check(before, decision)
            self.decisions += made
            if made and made[-1].message is not None:
                last = made[-1]
                if last.message is Message.ALL_CLEAR:
                    self.live = []
                else:
                    self.live.append(last.after)
                    if self.releases:
                        self.state = replace(self.state, live_until=last.at + self.rule.expires_after)
        assert from_json(to_json(self.state)) == self.state

    def check(self, before: LifecycleState, decision: Decision) -> None:
        found = evaluate(self.rule, self.readings, decision.at, self.outlooks)
        if decision.message in (Message.FIRST, Message.RAISE):
            assert decision.after > decision.before
            if decision.reason in (Reason.FORECAST_REACHED, Reason.FORECAST_ESCALATED):
                # a forecast made lately from a good reading says so
                assert self.rule.forecast_within is not None
                told = [one for one in self.outlooks if one.known_at <= decision.at]
                assert told
                newest = max(told, key=lambda one: one.made_at)
                assert decision.at - newest.made_at <= self.rule.late_after
                assert newest.value < self.rule.thresholds[decision.after]
            else:
                self.check_measured(decision)
        if decision.message is Message.FIRST:
            assert not self.live, "two warnings open for one rule"
        if decision.message in (Message.LOWER, Message.ALL_CLEAR):
            assert decision.after < decision.before
            assert not found.silent, "lowered on silence"
            assert not [one for one in found.expected if one > decision.after], "lowered against the forecast"
            known = newest_versions(self.readings, decision.at)
            low = [one for one in known if one.usable and not one.suspect]
            assert low
            newest = max(low, key=lambda one: (one.at, one.revision))
            assert newest.value is not None
            given_up = min(level for level in self.rule.thresholds if level > decision.after)
            assert newest.value < self.rule.thresholds[given_up] - self.rule.hysteresis
        if decision.message is Message.ALL_CLEAR:
            assert decision.after is Level.NONE
            assert self.live, "all clear without a warning"
        if decision.message is Message.RENEW:
            assert decision.after is decision.before > Level.NONE
        if decision.reason is Reason.EXPIRED_UNRENEWED:
            assert decision.operator
            assert decision.message is None

    def check_measured(self, decision: Decision) -> None:
        """Somebody measured it, lately, and not one doubtful reading alone."""
        known = [one for one in newest_versions(self.readings, decision.at) if one.usable and one.value is not None]
        threshold = self.rule.thresholds[decision.after]
        seen = [
            one
            for one in known
            if one.value is not None and one.value >= threshold and decision.at - one.at <= timedelta(minutes=30)
        ]
        assert seen
        assert any(not one.suspect for one in seen) or len(seen) > 1 or any(one.at < seen[0].at for one in known)

    @precondition(lambda self: self.readings and self.rule.forecast_within is not None)
    @rule(
        top=st.sampled_from([2.0, 2.9, 3.1, 4.2, 7.0]),
        reach=st.sampled_from([0.0, 3.5, 9.0]),
        repeat=st.booleans(),
    )
    def foresee(self, top: float, reach: float, repeat: bool) -> None:
        """A forecast from the newest good reading, as ingest stores it: one a reading, never changed."""
        good = [one for one in newest_versions(self.readings, self.now) if one.usable and not one.suspect]
        if not good or good[-1].value is None or any(one.made_at == good[-1].at for one in self.outlooks):
            self.run_to_now()
            return
        newest = good[-1]
        value = float(newest.value or 0.0)
        spread = (max(value, top) - 0.5, max(value, top), max(value, top) + 0.5)
        made = Outlook(
            made_at=newest.at,
            known_at=max(newest.received_at, self.now),
            model="regional_trend",
            value=value,
            horizons_h=(0.5, 1.0, 6.0),
            path=(value, value, top),
            reach=(value, value, max(value, reach)),
            taus=(0.05, 0.5, 0.95),
            quantiles=(spread, spread, spread),
        )
        self.outlooks += [made, made] if repeat else [made]
        self.now += timedelta(minutes=1)
        self.run_to_now()

    @rule(
        minutes=st.integers(0, 60),
        value=st.floats(0, 9, allow_nan=False) | st.sampled_from([2.99, 3.0, 3.8, 4.0, 5.99, 6.0]),
        quality=st.sampled_from([1, 1, 1, 2, 3, 4, 9]),
        late=st.sampled_from([0, 0, 0, 5, 29, 31, 300]),
    )
    def read(self, minutes: int, value: float, quality: int, late: int) -> None:
        self.now += timedelta(minutes=minutes)
        if any(one.observed_at == self.now - timedelta(minutes=late) for one in self.readings):
            self.run_to_now()
            return  # the store keeps one reading a time; another value for it is a correction
        self.readings.append(
            Reading(
                observed_at=self.now - timedelta(minutes=late),
                received_at=self.now,
                value=None if quality == 9 else value,
                quality=quality,
            )
        )
        self.run_to_now()

    @precondition(lambda self: self.readings)
    @rule(data=st.data())
    def the_same_again(self, data: st.DataObject) -> None:
        self.readings.insert(0, data.draw(st.sampled_from(self.readings)))
        before, n = self.state, len(self.decisions)
        self.run_to_now()
        assert self.state == before, (before, self.state, self.decisions[-3:])
        assert len(self.decisions) == n

    @precondition(lambda self: self.readings)
    @rule(data=st.data(), value=st.floats(0, 9, allow_nan=False), minutes=st.integers(0, 20))
    def correct(self, data: st.DataObject, value: float, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        old = data.draw(st.sampled_from(self.readings[-5:]))
        newest = max(one.revision for one in self.readings if one.observed_at == old.observed_at)
        self.readings.append(replace(old, value=value, quality=1, revision=newest + 1, received_at=self.now))
        self.run_to_now()

    @rule(data=st.data())
    def shuffle(self, data: st.DataObject) -> None:
        self.readings = data.draw(st.permutations(self.readings)) if len(self.readings) < 30 else self.readings[::-1]
        self.outlooks = self.outlooks[::-1]
        before = self.state
        self.run_to_now()
        assert self.state == before, (before, self.state, self.decisions[-3:])

    @rule(hours=st.sampled_from([0.1, 0.6, 3, 24]))
    def silence(self, hours: float) -> None:
        was_open = self.state.open
        level = self.state.level
        self.now += timedelta(hours=hours)
        self.run_to_now()
        if was_open:
            assert self.state.level is level, "silence changed a level"

    @rule()
    def take_back(self) -> None:
        was_open = self.state.open
        self.state, decision = cancel(self.state, self.now)
        assert (decision is not None) == was_open
        if decision is not None:
            assert decision.message is Message.CANCEL
            self.decisions.append(decision)
            self.live = []
        n = len(self.decisions)
        self.run_to_now()
        assert not [one for one in self.decisions[n:] if one.message], "a cancel made a new alert"

    @invariant()
    def open_or_not(self) -> None:
        if not hasattr(self, "state"):
            return
        assert self.state.open == bool(self.live)
        closed = (Phase.NORMAL, Phase.PENDING, Phase.CLEARED)
        assert (self.state.phase in closed) == (not self.state.open)
        due = next_due(self.rule, self.state)
        assert due is None or self.state.open

    def teardown(self) -> None:
        """It ends: low water for as long as it takes gives an all-clear, once."""
        if not hasattr(self, "state"):
            return
        for _ in range(20 if self.rule.forecast_within is None else 100):
            self.read(minutes=10, value=0.0, quality=1, late=0)
        assert not self.state.open
        n = len(self.decisions)
        self.now += timedelta(days=3)
        self.run_to_now()
        assert len(self.decisions) == n
        assert all(one.message is None or one.message in SAID for one in self.decisions)


SMALL = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
LARGE = settings(max_examples=20_000, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck))


def test_the_life_of_a_warning() -> None:
    run_state_machine_as_test(WarningLife, settings=SMALL)


@pytest.mark.long
def test_the_lives_of_many_warnings() -> None:
    run_state_machine_as_test(WarningLife, settings=LARGE)
