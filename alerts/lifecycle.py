"""The life of a warning: what a rule's findings mean for what has been said so far.

A pure state machine. Every decision has a named reason; the decision to say nothing, where something might have been
said, is one too. Phases and their order follow WARNING.md section 5 and ISA-18.2's alarm states in spirit:

    NORMAL -> PENDING -> ACTIVE -> CLEARING -> CLEARED, with STALE (held on silence) and EXPIRED beside ACTIVE.

What holds whatever comes: a warning escalates at once; it is lowered only by good readings that stay below for the
dwell, never by silence or by passing time; old data never raise; every decision is a function of the set of readings
and the moments, not of their order, repetition or batches (`advance`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerts.level import LEVELS, Level, level
from alerts.rule import Finding, LevelRule, Reading, evaluate
from ingest.forecast.outlook import Outlook


class Phase(StrEnum):
    """Where a rule's warning stands."""

    NORMAL = "normal"
    PENDING = "pending"
    ACTIVE = "active"
    STALE = "stale"
    CLEARING = "clearing"
    CLEARED = "cleared"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why something was said, held back, released or stopped; docs/methods/warning.md has the table."""

    # the lifecycle
    LEVEL_REACHED = "level_reached"
    ESCALATED = "escalated"
    RISING_FAST = "rising_fast"
    FORECAST_REACHED = "forecast_reached"
    FORECAST_ESCALATED = "forecast_escalated"
    DE_ESCALATED = "de_escalated"
    ALL_CLEAR = "all_clear"
    RENEWED = "renewed"
    RENEWED_AFTER_EXPIRY = "renewed_after_expiry"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    NOT_CONFIRMED = "not_confirmed"
    TOO_LATE_TO_RAISE = "too_late_to_raise"
    HELD_ON_SILENCE = "held_on_silence"
    SILENCE_ENDED = "silence_ended"
    CLEARING_STARTED = "clearing_started"
    CLEARING_STOPPED = "clearing_stopped"
    EXPIRED_UNRENEWED = "expired_unrenewed"
    ISSUED_IN_ERROR = "issued_in_error"
    EXPOSURE_REACHED = "exposure_reached"
    EXPOSURE_CHANGED = "exposure_changed"
    OFFICIAL_BULLETIN = "official_bulletin"
    OFFICIAL_CHANGED = "official_changed"
    OFFICIAL_ENDED = "official_ended"
    SEVERITY_UNKNOWN = "severity_unknown"
    # not said, although something was decided
    GROUPED = "grouped"
    INHIBITED_BY_HIGHER = "inhibited_by_higher"
    OFFICIAL_STANDS = "official_stands"
    SILENCED = "silenced"
    # said again
    REPEATED = "repeated"
    # release
    RELEASED_AUTOMATICALLY = "released_automatically"
    RELEASED_BY_PEOPLE = "released_by_people"
    REJECTED = "rejected"
    DRAFT_ABOVE_CEILING = "draft_above_ceiling"
    DRAFT_NOT_AUTOMATIC = "draft_not_automatic"
    DRAFT_AUDIENCE_TOO_LARGE = "draft_audience_too_large"
    DRAFT_AUDIENCE_UNUSUAL = "draft_audience_unusual"
    DRAFT_TENANT_CAP = "draft_tenant_cap"
    DRAFT_SINGLE_CAUSE = "draft_single_cause"
    DRAFT_ABOVE_OFFICIAL = "draft_above_official"
    DRAFT_LAPSED = "draft_lapsed"
    HELD_AREA_MISSING = "held_area_missing"
    HELD_AREA_EMPTY = "held_area_empty"
    HELD_AREA_INVALID = "held_area_invalid"
    HELD_AREA_TOO_LARGE = "held_area_too_large"


class Message(StrEnum):
    """What a decision says to people, where it says anything."""

    FIRST = "first"
    RAISE = "raise"
    LOWER = "lower"
    RENEW = "renew"
    ALL_CLEAR = "all_clear"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleState:
    """Where one rule stands. `level` is `NONE` when no warning is open."""

    phase: Phase = Phase.NORMAL
    level: Level = Level.NONE
    since: datetime | None = None  #: of the phase
    opened_at: datetime | None = None  #: of the open warning
    lowered_at: datetime | None = None  #: readings up to this time raise nothing: newer ones already gave the level up
    renew_at: datetime | None = None
    live_until: datetime | None = None  #: expiry of the version that is out; set by who releases; none: nothing is out
    expiry_told: datetime | None = None  #: the `live_until` whose passing was already reported
    late_told: datetime | None = None  #: newest late reading already reported
    newest_at: datetime | None = None  #: newest usable reading seen
    value: float | None = None  #: its value
    evaluated_until: datetime | None = None  #: readings received up to here have been considered
    measured: Level = Level.NONE  #: the highest level of the open warning that readings have confirmed

    @property
    def open(self) -> bool:
        return self.level > Level.NONE

    @property
    def forecast_only(self) -> bool:
        """The open level is expected and nobody has measured it yet."""
        return self.level > self.measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing decided, and why."""

    reason: Reason
    at: datetime
    before: Level
    after: Level
    message: Message | None = None  #: none: recorded, nothing is said to people
    operator: bool = False  #: the operator on duty must look
    value: float | None = None
    reading_at: datetime | None = None  #: of the reading that decided
    detail: Mapping[str, Any] = field(default_factory=dict)


def next_alert(state: LifecycleState, finding: Finding, now: datetime) -> tuple[LifecycleState, Decision | None]:
    """The state after one decision, and the decision; the same state and None when there is nothing to decide.

    Call again until None: each call takes the most urgent step only (`settle` does).
    """
    seen = replace(
        state,
        newest_at=finding.newest_at or state.newest_at,
        value=_value(state, finding),
        measured=_measured(state, finding),
    )
    return _open(seen, finding, now) if state.open else _closed(seen, finding, now)


def _value(state: LifecycleState, finding: Finding) -> float | None:
    return finding.value if finding.value is not None else state.value


def _measured(state: LifecycleState, finding: Finding) -> Level:
    """The highest level that readings of this warning have confirmed; a rise measured counts for its level."""
    after = state.lowered_at
    seen = [one for one, at in (*finding.reached.items(), *finding.rising.items()) if after is None or at > after]
    return max([state.measured if state.open else Level.NONE, *seen])


def _raised(state: LifecycleState, finding: Finding) -> Level:
    """The highest level that readings, or forecasts from readings, newer than the last lowering confirm."""
    after = state.lowered_at
    fresh = [(one, at) for one, at in finding.rising.items() if finding.as_of - at <= finding.rule.late_after]
    said = (*finding.reached.items(), *finding.expected.items(), *fresh)
    return max((one for one, at in said if after is None or at > after), default=Level.NONE)


def _why(finding: Finding, raised: Level, measured: Reason, forecast: Reason) -> Reason:
    """What the raise rests on: measured before forecast, forecast before rate of rise."""
    if raised in finding.reached:
        return measured
    return forecast if raised in finding.expected else Reason.RISING_FAST


def _decide(
    state: LifecycleState,
    finding: Finding,
    now: datetime,
    reason: Reason,
    *,
    phase: Phase,
    to: Level | None = None,
    message: Message | None = None,
    operator: bool = False,
    **changes: Any,
) -> tuple[LifecycleState, Decision]:
    after = state.level if to is None else to
    if message is not None and message is not Message.ALL_CLEAR:
        changes["renew_at"] = now + finding.rule.expires_after - finding.rule.renew_before
    new = replace(state, phase=phase, level=after, since=now if phase != state.phase else state.since, **changes)
    decision = Decision(
        reason=reason,
        at=now,
        before=state.level,
        after=after,
        message=message,
        operator=operator,
        value=state.value,
        reading_at=state.newest_at,
        detail={"rests_on": "forecast"} if message is not None and new.open and new.forecast_only else {},
    )
    return new, decision


def _closed(state: LifecycleState, finding: Finding, now: datetime) -> tuple[LifecycleState, Decision | None]:
    raised = _raised(state, finding)
    if raised > Level.NONE:
        return _decide(
            state,
            finding,
            now,
            _why(finding, raised, Reason.LEVEL_REACHED, Reason.FORECAST_REACHED),
            phase=Phase.ACTIVE,
            to=raised,
            message=Message.FIRST,
            opened_at=now,
            live_until=None,
            expiry_told=None,
        )
    newer = state.lowered_at is None or (finding.newest_at is not None and finding.newest_at > state.lowered_at)
    if finding.waiting > Level.NONE and newer:
        if state.phase is not Phase.PENDING:
            new, decision = _decide(state, finding, now, Reason.AWAITING_CONFIRMATION, phase=Phase.PENDING)
            return new, replace(decision, detail={"waiting": finding.waiting.word})
    elif state.phase is Phase.PENDING:
        return _decide(state, finding, now, Reason.NOT_CONFIRMED, phase=Phase.NORMAL)
    late_level, late_at = _too_late(state, finding)
    if late_at is not None:
        new, decision = _decide(
            state, finding, now, Reason.TOO_LATE_TO_RAISE, phase=state.phase, operator=True, late_told=late_at
        )
        return new, replace(decision, reading_at=late_at, detail={"level": late_level.word})
    return state, None


def _too_late(state: LifecycleState, finding: Finding) -> tuple[Level, datetime | None]:
    """The highest level above the open one that only late readings confirm, if that was not told yet."""
    for one in reversed(LEVELS):
        at = finding.too_late.get(one)
        if at is None or one <= state.level or one in finding.reached:
            continue
        if state.lowered_at is not None and at <= state.lowered_at:
            continue
        if state.late_told is None or at > state.late_told:
            return one, at
    return Level.NONE, None


def _open(state: LifecycleState, finding: Finding, now: datetime) -> tuple[LifecycleState, Decision | None]:
    if state.live_until is not None and now >= state.live_until and state.expiry_told != state.live_until:
        return _decide(
            state,
            finding,
            now,
            Reason.EXPIRED_UNRENEWED,
            phase=Phase.EXPIRED,
            operator=True,
            expiry_told=state.live_until,
        )
    raised = _raised(state, finding)
    if raised > state.level:
        why = _why(finding, raised, Reason.ESCALATED, Reason.FORECAST_ESCALATED)
        return _decide(state, finding, now, why, phase=Phase.ACTIVE, to=raised, message=Message.RAISE)
    # A silent gauge gives up nothing: what it last said may be long untrue.
    if not finding.silent:
        target = _lower_to(state, finding)
        if target is Level.NONE:
            return _decide(
                state,
                finding,
                now,
                Reason.ALL_CLEAR,
                phase=Phase.CLEARED,
                to=target,
                message=Message.ALL_CLEAR,
                lowered_at=finding.newest_at,
                renew_at=None,
                live_until=None,
                opened_at=None,
                measured=Level.NONE,
            )
        if target < state.level:
            return _decide(
                state,
                finding,
                now,
                Reason.DE_ESCALATED,
                phase=Phase.ACTIVE,
                to=target,
                message=Message.LOWER,
                lowered_at=finding.newest_at,
            )
    if state.phase is Phase.EXPIRED:
        phase = Phase.STALE if finding.silent else Phase.ACTIVE
        return _decide(
            state, finding, now, Reason.RENEWED_AFTER_EXPIRY, phase=phase, message=Message.RENEW, operator=True
        )
    if state.renew_at is not None and now >= state.renew_at:
        return _decide(state, finding, now, Reason.RENEWED, phase=state.phase, message=Message.RENEW)
    late_level, late_at = _too_late(state, finding)
    if late_at is not None:
        new, decision = _decide(
            state, finding, now, Reason.TOO_LATE_TO_RAISE, phase=state.phase, operator=True, late_told=late_at
        )
        return new, replace(decision, reading_at=late_at, detail={"level": late_level.word})
    return _hold(state, finding, now)


def _hold(state: LifecycleState, finding: Finding, now: datetime) -> tuple[LifecycleState, Decision | None]:
    """Silence and its end, the start and the end of clearing: recorded, not said."""
    if finding.silent:
        if state.phase is not Phase.STALE:
            return _decide(state, finding, now, Reason.HELD_ON_SILENCE, phase=Phase.STALE, operator=True)
        return state, None
    if state.phase is Phase.STALE:
        return _decide(state, finding, now, Reason.SILENCE_ENDED, phase=Phase.ACTIVE)
    held = finding.is_foreseen(state.level) or state.level in finding.rising
    clearing = state.level in finding.below_since and not held
    if clearing and state.phase is Phase.ACTIVE:
        return _decide(state, finding, now, Reason.CLEARING_STARTED, phase=Phase.CLEARING)
    if not clearing and state.phase is Phase.CLEARING:
        return _decide(state, finding, now, Reason.CLEARING_STOPPED, phase=Phase.ACTIVE)
    return state, None


def _lower_to(state: LifecycleState, finding: Finding) -> Level:
    """The highest level at or under the open one that readings have not given up."""
    for one in reversed(LEVELS):
        if one <= state.level and one in finding.rule.thresholds and not finding.gives_up(one):
            return one
    return Level.NONE


def settle(state: LifecycleState, finding: Finding, now: datetime) -> tuple[LifecycleState, list[Decision]]:
    """Takes the steps that one finding asks for, up to the first that says something to people.

    It stops there because whether that message goes out, and until when it stands, is decided elsewhere (release).
    """
    decisions: list[Decision] = []
    # Longest chain: expired, raised or lowered or renewed, four late levels, silence, clearing. A guard, not a hope.
    for _ in range(16):
        state, decision = next_alert(state, finding, now)
        if decision is None:
            return state, decisions
        decisions.append(decision)
        if decision.message is not None:
            return state, decisions
    raise AssertionError(f"the lifecycle does not come to rest: {[one.reason for one in decisions]}")


def advance(
    rule: LevelRule,
    state: LifecycleState,
    readings: Sequence[Reading],
    until: datetime,
    *,
    now: datetime | None = None,
    outlooks: Sequence[Outlook] = (),
) -> tuple[LifecycleState, list[Decision], bool]:
    """Carries a rule's state towards `until`, one arrival at a time; True at the end when it got there.

    It stops after each decision that says something, so that the caller can release the message and set `live_until`;
    call again with the state. `readings` are all that matter: those received in the rule's lookback before
    `state.evaluated_until`, and all since. Each distinct time of arrival is a moment of decision, so it makes no
    difference how readings were batched, ordered or repeated.

    With `now` (a live or a running clock) every decision is made at `now`: what is said must not be dated back.
    Without it (a replay at full speed, where the arrivals are the clock) decisions carry the arrival's time, and the
    timers for silence, renewal and expiry fall due between arrivals at their own times.
    """
    decisions: list[Decision] = []
    done = state.evaluated_until
    arrivals = {one.received_at for one in readings if one.received_at <= until}
    # In a replay the moment already done is done again, for readings of that very arrival that another batch brought.
    moments = sorted(at for at in arrivals if done is None or at > done or (at == done and now is None))
    moments.append(max(until, done) if done is not None else until)
    for moment in moments:
        while (
            now is None and (due := next_due(rule, state)) is not None and _between(state.evaluated_until, due, moment)
        ):
            state, made = settle(state, evaluate(rule, readings, due, outlooks), due)
            state = replace(state, evaluated_until=due)
            decisions.extend(made)
            if made and made[-1].message is not None:
                return state, decisions, False
        state, made = settle(state, evaluate(rule, readings, moment, outlooks), now or moment)
        state = replace(state, evaluated_until=moment)
        decisions.extend(made)
        if made and made[-1].message is not None:
            return state, decisions, False
    return state, decisions, True


def _between(start: datetime | None, at: datetime, end: datetime) -> bool:
    return at < end and (start is None or at > start)


def next_due(rule: LevelRule, state: LifecycleState) -> datetime | None:
    """When a timer next asks for a decision although no reading arrives; None while nothing is open."""
    if not state.open:
        return None
    due: list[datetime] = []
    if state.renew_at is not None:
        due.append(state.renew_at)
    if state.live_until is not None and state.expiry_told != state.live_until:
        due.append(state.live_until)
    if state.phase is not Phase.STALE and state.newest_at is not None:
        # just past it: silence begins after the interval, not at its end
        due.append(state.newest_at + rule.silence_after + rule.interval / 1000)
    return min(due, default=None)


def cancel(state: LifecycleState, now: datetime) -> tuple[LifecycleState, Decision | None]:
    """The warning was issued in error: it is taken back, which is not an all-clear. None when nothing is open."""
    if not state.open:
        return state, None
    decision = Decision(
        reason=Reason.ISSUED_IN_ERROR,
        at=now,
        before=state.level,
        after=Level.NONE,
        message=Message.CANCEL,
        operator=True,
        value=state.value,
        reading_at=state.newest_at,
    )
    closed = LifecycleState(
        phase=Phase.NORMAL,
        since=now,
        # what is already known was judged wrong: only readings after it may raise again
        lowered_at=max(now, state.newest_at) if state.newest_at else now,
        newest_at=state.newest_at,
        value=state.value,
        evaluated_until=state.evaluated_until,
        late_told=state.late_told,
    )
    return closed, decision


_TIMES = (
    "since",
    "opened_at",
    "lowered_at",
    "renew_at",
    "live_until",
    "expiry_told",
    "late_told",
    "newest_at",
    "evaluated_until",
)


def to_json(state: LifecycleState) -> dict[str, Any]:
    """What the `rule_state.state` column holds."""
    told: dict[str, Any] = {"phase": state.phase.value, "level": state.level.word, "value": state.value}
    told["measured"] = state.measured.word
    for name in _TIMES:
        at: datetime | None = getattr(state, name)
        told[name] = at.isoformat() if at is not None else None
    return told


def from_json(told: Mapping[str, Any]) -> LifecycleState:
    """The state that `to_json` wrote down; fields that an older release did not write are empty."""
    times = {name: datetime.fromisoformat(told[name]) for name in _TIMES if told.get(name)}
    return LifecycleState(
        phase=Phase(told.get("phase", "normal")),
        level=level(told.get("level", "none")),
        value=told.get("value"),
        # an older release did not write it down: what is open counts as measured
        measured=level(told.get("measured", told.get("level", "none"))),
        **times,
    )


def rehearse(
    rule: LevelRule,
    state: LifecycleState,
    readings: Iterable[Reading],
    until: datetime,
    *,
    released: Callable[[Decision], bool] = lambda decision: True,
    outlooks: Sequence[Outlook] = (),
) -> tuple[LifecycleState, list[Decision]]:
    """The decisions this rule makes on these readings with nobody told: a dry run before it goes live.

    `released` says which messages would have gone out.
    """
    known = list(readings)
    decisions: list[Decision] = []
    finished = False
    while not finished:
        state, made, finished = advance(rule, state, known, until, outlooks=outlooks)
        decisions.extend(made)
        if made and (last := made[-1]).message is not None and last.message is not Message.ALL_CLEAR and released(last):
            state = replace(state, live_until=last.at + rule.expires_after)
    return state, decisions
