"""Laws of several rules that speak to the same people, whatever comes, in whatever order, late, twice or not at all.

Two gauges of one area (one group), a third whose area overlaps it, and an authority's bulletins for that overlap;
silences, a second person, cancels, answers and repeats. The machine drives the pure core in the order in which
`alerts.watch` does, keeps its own simple account of who was told what, and checks the account.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alerts.event_rule import BULLETIN, EventRule, Sight, next_event
from alerts.level import LEVELS, Level
from alerts.lifecycle import Decision, LifecycleState, Message, Reason, advance, cancel, from_json, next_due, to_json
from alerts.rule import LevelRule, Reading, evaluate, level_rule
from alerts.silence import Silence
from alerts.voice import ENDINGS, Member, Other, Said, group_says, hears, says_again, under_silence

T0 = datetime(2026, 1, 1, tzinfo=UTC)
THRESHOLDS = {"yellow": 3.0, "orange": 4.0, "red": 6.0}
PEOPLE = {"a": {1, 2}, "b": {1, 2}, "c": {2, 3}, "official": {2, 3}}
EVERY = {Level.RED: timedelta(minutes=30), Level.ORANGE: timedelta(hours=2)}
MINUTE = timedelta(minutes=1)


@dataclass
class Chain:
    """One warning: what is out of it, to whom."""

    warning_id: UUID
    official: bool
    level: Level = Level.NONE
    told: set[int] = field(default_factory=set)  #: of the newest version
    ever: set[int] = field(default_factory=set)
    kept: dict[int, Level] = field(default_factory=dict)  #: who would be told, did they not hear worse
    first_sent: datetime | None = None
    newest_sent: datetime | None = None
    newest_level: Level = Level.NONE
    expires_at: datetime | None = None
    n_out: int = 0
    over: bool = False

    def live(self, now: datetime) -> bool:
        return self.n_out > 0 and not self.over and self.expires_at is not None and now < self.expires_at


@dataclass
class Gauge:
    rule: LevelRule
    group: str
    people: set[int]
    state: LifecycleState
    warning_id: UUID | None = None
    readings: list[Reading] = field(default_factory=list)


class Desk(RuleBasedStateMachine):
    @initialize(
        dwell=st.sampled_from([0, 30]), expires=st.sampled_from([1, 6]), out=st.sampled_from([True, True, False])
    )
    def begin(self, dwell: int, expires: int, out: bool) -> None:
        self.now, self.out = T0, out
        self.gauges: list[Gauge] = []
        for k, (name, group) in enumerate([("a", "valley"), ("b", "valley"), ("c", "delta")]):
            made = level_rule(
                tenant_id=UUID(int=1),
                code=name,
                datastream_id=k,
                thresholds=THRESHOLDS,
                hysteresis=0.2,
                clear_dwell=timedelta(minutes=dwell),
                expires_after=timedelta(hours=expires),
            )
            made = replace(made, rule_id=UUID(int=10 + k))
            self.gauges.append(Gauge(made, group, PEOPLE[name], LifecycleState(evaluated_until=T0)))
        self.official = EventRule(
            rule_id=UUID(int=20),
            version=1,
            tenant_id=UUID(int=1),
            code="official",
            kind=BULLETIN,
            senders=("met",),
            expires_after=timedelta(hours=6),
        )
        self.sight: Sight | None = None
        self.official_state = LifecycleState()
        self.official_chain: UUID | None = None
        self.chains: dict[UUID, Chain] = {}
        self.silences: list[Silence] = []
        self.answered: set[tuple[UUID, int]] = set()
        self.last_told: dict[tuple[UUID, int], datetime] = {}
        self.n_messages = 0
        self.cancelled: set[UUID] = set()
        self.woken = False

    # ------------------------------------------------------------ as alerts.watch does

    def run(self) -> None:
        self.look()
        if self.woken:
            self.woken = False
            self.look()  # the next tick

    def look(self) -> None:
        for me in self.gauges:
            finished, steps = False, 0
            while not finished:
                steps += 1
                assert steps < 200, "it does not end"
                before = me.state
                me.state, made, finished = advance(me.rule, me.state, me.readings, self.now, now=self.now)
                for decision in made:
                    self.check_evidence(me, before, decision)
                    if decision.message is not None:
                        self.speak(me, decision)
                    elif decision.reason is Reason.EXPIRED_UNRENEWED and me.warning_id in self.chains:
                        self.wake(self.kept_out_by(self.chains[me.warning_id]))
            assert from_json(to_json(me.state)) == me.state
        if self.sight is not None:
            for _ in range(8):
                self.official_state, one = next_event(self.official, self.official_state, self.sight, self.now)
                if one is None:
                    break
                if one.message is not None:
                    self.speak_official(one)
                elif one.reason is Reason.EXPIRED_UNRENEWED and self.official_chain is not None:
                    self.wake(self.kept_out_by(self.chains[self.official_chain]))
            else:
                raise AssertionError("an event does not come to rest")

    def speak(self, me: Gauge, decision: Decision) -> None:
        group = [me, *(one for one in self.gauges if one is not me and one.group == me.group and one.state.open)]
        members = [
            Member(
                rule_id=one.rule.rule_id,
                before=decision.before if one is me else one.state.level,
                after=decision.after if one is me else one.state.level,
                opened_at=one.state.opened_at,
                held=one is not me and self.held(one, decision.at),
            )
            for one in group
        ]
        if decision.message is Message.FIRST or me.warning_id is None:
            shared = [one.warning_id for one in group if one is not me and one.warning_id is not None]
            me.warning_id = shared[0] if shared else UUID(int=1000 + len(self.chains))
        chain = self.chains.setdefault(me.warning_id, Chain(me.warning_id, official=False))
        newest = chain.newest_sent
        if decision.message is Message.RENEW and self.kept_out_in_vain(chain):
            newest = None
        said = group_says(
            decision,
            mine=me.rule.rule_id,
            members=members,
            newest_sent=newest,
            newest_level=chain.newest_level,
            renew_after=me.rule.renew_before,
        )
        lead = next(one for one in self.gauges if one.rule.rule_id == said.lead)
        ends = decision.message in (Message.LOWER, Message.ALL_CLEAR)
        # what a silence holds back of a neighbour keeps an end back, and no warning
        loud = [one for one in members if ends or not one.held or one.after <= chain.newest_level]
        top = max(one.after for one in loud)
        if said.message is Message.ALL_CLEAR:
            assert top is Level.NONE, "an all-clear while a rule of the group still warns"
        if said.message is not None:
            assert said.level is top
        else:
            assert decision.after <= top, "the worst of a group was not heard"
        self.say(chain, said, decision, code=lead.rule.code, people=me.people, life=me.rule.expires_after)
        for one in group:
            if one.state.open:
                one.state = replace(one.state, live_until=chain.expires_at if chain.n_out else None)
        if me.state.open and self.wake_at is not None:
            me.state = replace(me.state, renew_at=max(self.wake_at, decision.at + MINUTE))

    def held(self, one: Gauge, at: datetime) -> bool:
        level, code = one.state.level, one.rule.code
        return any(
            each.starts_at <= at < each.until
            and each.rule_code in (None, code)
            and level <= each.up_to
            and (level < Level.RED or each.second not in (None, each.author))
            for each in self.silences
        )

    def speak_official(self, decision: Decision) -> None:
        if decision.message is Message.FIRST or self.official_chain is None:
            self.official_chain = UUID(int=1000 + len(self.chains))
        chain = self.chains.setdefault(self.official_chain, Chain(self.official_chain, official=True))
        assert decision.message is not None
        said = Said(message=decision.message, level=decision.after, lead=self.official.rule_id)
        life = timedelta(hours=6)
        self.say(chain, said, decision, code="official", people=PEOPLE["official"], life=life)
        if self.official_state.open:
            until = chain.expires_at if chain.n_out else None
            self.official_state = replace(self.official_state, live_until=until)

    def say(
        self, chain: Chain, said: Said, decision: Decision, *, code: str, people: set[int], life: timedelta
    ) -> None:
        wanted = said
        said = under_silence(said, decision.at, code=code, peril="flood", silences=self.silences)
        self.wake_at = said.wake_at
        if said.message is None:
            if wanted.message is not None:
                assert wanted.message not in ENDINGS, "an end was silenced"
                held = next(one for one in self.silences if str(one.silence_id) == said.detail["silence_id"])
                assert wanted.level <= held.up_to
                assert wanted.level < Level.RED or held.second not in (None, held.author), "one person silenced red"
                assert held.reason
                assert self.now < held.until
            return
        if said.message is Message.ALL_CLEAR and not chain.n_out:
            return  # drafts lapse: nobody was told
        everybody = people | chain.ever
        heard = hears(
            [UUID(int=one) for one in sorted(everybody)],
            {UUID(int=one): self.others(one, chain) for one in everybody},
            level=said.level,
            official=chain.official,
            first_sent=chain.first_sent or decision.at,
            warning_id=chain.warning_id,
        )
        told = {one.int for one in heard.told}
        for person in told:
            self.check_person(person, chain, said)
        if said.message in (Message.LOWER, Message.ALL_CLEAR) or said.level < chain.level:
            self.wake(heard.wakes)
        if said.level > Level.NONE:
            chain.kept |= {one.int: said.level for one in heard.kept_out}
        if not told and heard.kept_out and said.message not in ENDINGS:
            return
        chain.newest_sent, chain.newest_level = decision.at, said.level
        if not self.out:
            return
        self.n_messages += 1
        chain.n_out += 1
        chain.first_sent = chain.first_sent or decision.at
        chain.level, chain.told, chain.expires_at = said.level, told, decision.at + life
        chain.ever |= told
        chain.over = said.message in ENDINGS
        chain.kept = {one: level for one, level in chain.kept.items() if one not in told}
        for person in told:
            self.last_told[chain.warning_id, person] = decision.at

    def others(self, person: int, chain: Chain, *, waiting: bool = True) -> list[Other]:
        found = []
        for one in self.chains.values():
            if one is chain:
                continue
            if one.live(self.now) and person in one.told:
                first = one.first_sent or self.now
                found.append(Other(warning_id=one.warning_id, level=one.level, official=one.official, first_sent=first))
            elif waiting and person in one.kept and self.stands(one):
                level = one.kept[person]
                found.append(Other(warning_id=one.warning_id, level=level, official=False, first_sent=self.now))
        return found

    def stands(self, chain: Chain) -> bool:
        if chain.official:
            return chain.warning_id == self.official_chain and self.official_state.open
        return any(me.warning_id == chain.warning_id and me.state.open for me in self.gauges)

    def kept_out_in_vain(self, chain: Chain) -> bool:
        return any(
            all(one.level < level for one in self.others(person, chain, waiting=False))
            for person, level in chain.kept.items()
        )

    def kept_out_by(self, chain: Chain) -> set[UUID]:
        return {one.warning_id for one in self.chains.values() if one is not chain and set(one.kept) & chain.ever}

    def wake(self, ids: Iterable[UUID]) -> None:
        self.woken |= bool(set(ids))
        for me in self.gauges:
            if me.warning_id in ids and me.state.open:
                me.state = replace(me.state, renew_at=self.now)
        if self.official_chain in ids and self.official_state.open:
            self.official_state = replace(self.official_state, renew_at=self.now)

    def pass_time(self, until: datetime) -> None:
        """The timers of everything that stands fall due at their own times."""
        for _ in range(400):
            due = [at for me in self.gauges if (at := next_due(me.rule, me.state)) is not None]
            if self.official_state.open:
                ends = (self.official_state.renew_at, self.official_state.live_until)
                due += [at for at in ends if at is not None]
            soonest = min((at for at in due if self.now < at < until), default=None)
            if soonest is None:
                break
            self.now = soonest
            self.run()
        else:
            raise AssertionError("timers do not come to rest")
        self.now = until
        self.run()

    # ------------------------------------------------------------ laws

    def check_evidence(self, me: Gauge, before: LifecycleState, decision: Decision) -> None:
        if decision.message in (Message.FIRST, Message.RAISE):
            assert decision.after > decision.before
        if decision.message in (Message.LOWER, Message.ALL_CLEAR):
            found = evaluate(me.rule, me.readings, decision.at)
            assert not found.silent, "lowered on silence"
            assert decision.after < decision.before
            assert found.value is not None
            given_up = min(one for one in me.rule.thresholds if one > decision.after)
            newest = max((one for one in me.readings if one.quality == 1), key=lambda one: (one.at, one.revision))
            assert newest.value is not None
            assert newest.value < me.rule.thresholds[given_up] - me.rule.hysteresis

    def check_person(self, person: int, chain: Chain, said: Said) -> None:
        """No two warnings speak to one person of one event; an all-clear never comes while another stands."""
        assert chain.warning_id not in self.cancelled, "a cancelled warning spoke"
        for other in self.others(person, chain):
            assert other.level <= said.level, "told of less, or of an end, while worse stands"
            if other.level is said.level:
                assert chain.official or not other.official, "an authority's word was spoken over"

    @invariant()
    def one_voice(self) -> None:
        if not hasattr(self, "chains"):
            return
        for group in ("valley", "delta"):
            spoken = {me.warning_id for me in self.gauges if me.group == group and me.state.open}
            assert len(spoken) <= 1, "two live warnings of one group"
        for me in self.gauges:
            chain = self.chains.get(me.warning_id) if me.warning_id else None
            if chain is not None and chain.over and chain.warning_id not in self.cancelled:
                assert not me.state.open, "over although a rule of it warns"

    # ------------------------------------------------------------ what comes

    @rule(
        k=st.integers(0, 2),
        minutes=st.sampled_from([0, 1, 10, 10, 29, 60]),
        value=st.sampled_from([0.0, 2.7, 2.9, 3.0, 3.9, 4.0, 5.9, 6.0, 8.0]),
        quality=st.sampled_from([1, 1, 1, 1, 3, 4]),
        late=st.sampled_from([0, 0, 0, 5, 31]),
    )
    def read(self, k: int, minutes: int, value: float, quality: int, late: int) -> None:
        self.pass_time(self.now + timedelta(minutes=minutes))
        me, at = self.gauges[k], self.now - timedelta(minutes=late)
        if any(one.observed_at == at for one in me.readings):
            return
        me.readings.append(Reading(observed_at=at, received_at=self.now, value=value, quality=quality))
        # what can matter no more is forgotten, as the store's query does
        oldest = self.now - me.rule.lookback - timedelta(hours=1)
        me.readings = [one for one in me.readings if one.received_at >= oldest]
        self.run()

    @rule(seed=st.integers(0, 1000), twice=st.booleans())
    def in_any_order_and_twice(self, seed: int, twice: bool) -> None:
        before = [(me.state, me.warning_id) for me in self.gauges]
        n = self.n_messages
        for me in self.gauges:
            if twice and me.readings:
                me.readings.append(me.readings[seed % len(me.readings)])
            random.Random(seed).shuffle(me.readings)
        self.gauges.reverse()  # nor does the order in which rules are looked at
        self.run()
        self.gauges.sort(key=lambda one: one.rule.code)
        assert [(me.state, me.warning_id) for me in self.gauges] == before
        assert self.n_messages == n

    @rule(hours=st.sampled_from([0.2, 0.6, 2, 7]))
    def nothing_comes(self, hours: float) -> None:
        levels = [me.state.level for me in self.gauges]
        self.pass_time(self.now + timedelta(hours=hours))
        assert [me.state.level for me in self.gauges] == levels, "silence changed a level"

    @rule(one=st.sampled_from(LEVELS), over=st.booleans(), ahead=st.sampled_from([0, 0, 30]))
    def an_authority_speaks(self, one: Level, over: bool, ahead: int) -> None:
        at = self.now - timedelta(minutes=ahead)
        if self.sight is not None and at <= self.sight.at:
            return  # an older message does not take the place of a newer one: the judge of the feed sees to that
        self.sight = Sight(level=one, at=at, over=over, until=self.now + timedelta(hours=6))
        self.run()

    @rule(
        k=st.sampled_from(["a", "b", "c", "official", None]),
        up_to=st.sampled_from(LEVELS),
        hours=st.sampled_from([0.5, 3]),
        second=st.sampled_from([None, None, 8, 7]),
    )
    def silence(self, k: str | None, up_to: Level, hours: float, second: int | None) -> None:
        if len(self.silences) >= 4:
            return
        self.silences.append(
            Silence(
                silence_id=UUID(int=500 + len(self.silences)),
                tenant_id=UUID(int=1),
                rule_code=k,
                peril="flood" if k is None else None,
                up_to=up_to,
                starts_at=self.now,
                ends_at=self.now + timedelta(hours=hours),
                author=UUID(int=7),
                reason="works at the gauge",
                second=UUID(int=second) if second is not None else None,
            )
        )
        self.run()

    @precondition(lambda self: self.silences)
    @rule()
    def silences_end_and_what_stands_is_said(self) -> None:
        ends = max(one.until for one in self.silences)
        self.pass_time(max(ends, self.now) + timedelta(minutes=2))
        self.silences.clear()
        self.pass_time(self.now + timedelta(minutes=2))
        if not self.out:
            return
        for group in ("valley", "delta"):
            open_ones = [me for me in self.gauges if me.group == group and me.state.open]
            if not open_ones:
                continue
            chain = self.chains[open_ones[0].warning_id or UUID(int=0)]
            top = max(me.state.level for me in open_ones)
            for person in open_ones[0].people:
                nobody = Chain(UUID(int=0), official=False)
                levels = [one.level for one in self.others(person, nobody, waiting=False)]
                assert max(levels, default=Level.NONE) >= top, f"never said: {group} {person} {chain}"

    @rule(k=st.integers(0, 2))
    def taken_back(self, k: int) -> None:
        me = self.gauges[k]
        if not me.state.open or me.warning_id is None or not self.chains[me.warning_id].n_out:
            return
        chain = self.chains[me.warning_id]
        for one in self.gauges:
            if one.warning_id == me.warning_id:
                one.state, _ = cancel(one.state, self.now)
        chain.over, chain.level = True, Level.NONE
        self.cancelled.add(chain.warning_id)
        n_out = chain.n_out
        self.wake(self.kept_out_by(chain))
        mine = [one for one in self.gauges if one.warning_id == chain.warning_id]
        self.run()
        assert not any(one.state.open for one in mine), "a cancel made a new alert"
        assert chain.n_out == n_out

    @rule(person=st.integers(1, 3), answers=st.booleans())
    def said_again(self, person: int, answers: bool) -> None:
        for chain in self.chains.values():
            key = (chain.warning_id, person)
            if key not in self.last_told:
                continue
            if answers:
                self.answered.add(key)
            again = says_again(
                level=chain.level,
                told_at=self.last_told[key],
                answered=key in self.answered,
                over=not chain.live(self.now) or person not in chain.told,
                every=EVERY,
                at=self.now,
            )
            if again:
                assert key not in self.answered
                assert chain.level >= Level.ORANGE
                assert self.now - self.last_told[key] >= EVERY[chain.level]
                assert not [
                    one for one in self.others(person, chain) if one.level > chain.level and not chain.over
                ] or (person in chain.told)
                self.last_told[key] = self.now

    def teardown(self) -> None:
        """It ends: low water and the authority's end give one end each, and then nothing more is said."""
        if not hasattr(self, "chains"):
            return
        self.silences.clear()
        if self.sight is not None:
            self.sight = replace(self.sight, at=max(self.sight.at, self.now) + MINUTE, over=True)
        for _ in range(14):
            self.now += timedelta(minutes=10)
            for me in self.gauges:
                me.readings.append(Reading(observed_at=self.now, received_at=self.now, value=0.0, quality=1))
            self.run()
        assert not any(me.state.open for me in self.gauges)
        assert not self.official_state.open
        n = self.n_messages
        for chain in self.chains.values():
            assert chain.over or not chain.n_out, "a warning was left standing"
        self.pass_time(self.now + timedelta(days=2))
        assert self.n_messages == n


_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
#: Without shrinking, which can take minutes: what fails here is made small by hand, or by the long run.
SMALL = settings(max_examples=120, stateful_step_count=20, phases=[Phase.generate], **_COMMON)  # type: ignore[arg-type]
LARGE = settings(
    max_examples=20_000,
    stateful_step_count=20,
    phases=[Phase.generate, Phase.shrink],
    **_COMMON,  # type: ignore[arg-type]
)


def test_several_rules_speak_with_one_voice() -> None:
    run_state_machine_as_test(Desk, settings=SMALL)


@pytest.mark.long
def test_many_lives_of_several_rules() -> None:
    run_state_machine_as_test(Desk, settings=LARGE)
