"""Rules that look at no gauge: a footprint that meets exposure, and an authority's bulletin. Pure.

Both look at a *sight*: what is known now of one event, a footprint laid over the tenant's books or a bulletin as it was
last changed. `next_event` carries one subject (a hazard event, a chain of bulletins) through the same life as a gauge's
warning, with the same reasons: it escalates at once, lowers only on a newer sight, never on silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any
from uuid import UUID

from alerts.level import LEVELS, Level, level
from alerts.lifecycle import Decision, LifecycleState, Message, Phase, Reason
from alerts.rule import BadRule, SpeakingRule, check_speaking

FOOTPRINT, BULLETIN = "footprint", "bulletin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """From which exposure on a level holds: either of the two is enough; unknown places count as met."""

    policies: int | None = None
    insured_value: Decimal | None = None  #: in the portfolio's currency


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRule(SpeakingRule):
    """When an event is worth a warning, whatever gauges say."""

    kind: str
    bars: Mapping[Level, Bar] | None = None  #: footprint: exposure by level
    portfolio: str | None = None  #: footprint: of this portfolio alone; none: of any of the tenant's
    senders: tuple[str, ...] = ()  #: bulletin: CAP senders that are passed on; none would be nobody
    at_least: Level = Level.BLUE  #: bulletin: lesser ones are not passed on

    def __post_init__(self) -> None:
        check_speaking(self)
        if self.kind not in (FOOTPRINT, BULLETIN):
            raise BadRule(f"Rule {self.code!r}: kind must be footprint or bulletin", value=self.kind)
        if self.kind == FOOTPRINT:
            _check_bars(self)
        elif not self.senders:
            raise BadRule(f"Rule {self.code!r}: senders must name at least one authority", value=[])


def _check_bars(rule: EventRule) -> None:
    if not rule.bars:
        raise BadRule(f"Rule {rule.code!r}: exposure must name at least one level", value={})
    for one, bar in rule.bars.items():
        if one is Level.NONE:
            raise BadRule(f"Rule {rule.code!r}: exposure cannot name the level 'none'", value=one.word)
        if bar.policies is None and bar.insured_value is None:
            raise BadRule(f"Rule {rule.code!r}: exposure: {one.word} needs policies or insured_value", value=one.word)
        if bar.policies is not None and bar.policies < 1:
            raise BadRule(f"Rule {rule.code!r}: exposure: policies must be at least 1", value=bar.policies)
        if bar.insured_value is not None and not (bar.insured_value.is_finite() and bar.insured_value > 0):
            raise BadRule(
                f"Rule {rule.code!r}: exposure: insured_value must be above zero", value=str(bar.insured_value)
            )
    for name in ("policies", "insured_value"):
        rising = [value for one in LEVELS if one in rule.bars and (value := getattr(rule.bars[one], name)) is not None]
        if any(low >= high for low, high in pairwise(rising)):
            raise BadRule(f"Rule {rule.code!r}: exposure: {name} must rise with the level", value=str(rising))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What a footprint touches; what could not be placed may be inside, so it counts."""

    n_policies: int
    insured_value: Decimal
    n_unknown: int
    unknown_value: Decimal


def exposure_level(rule: EventRule, met: Exposure) -> Level:
    """The highest level whose bar this exposure reaches, the unknown counted in."""
    policies = met.n_policies + met.n_unknown
    value = met.insured_value + met.unknown_value
    found = Level.NONE
    for one, bar in (rule.bars or {}).items():
        by_number = bar.policies is not None and policies >= bar.policies
        by_value = bar.insured_value is not None and value >= bar.insured_value
        if by_number or by_value:
            found = max(found, one)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of one event now."""

    level: Level
    at: datetime  #: of the footprint or the bulletin; a newer one replaces it
    over: bool = False  #: the event ended, or its authority took the bulletin back or ended it
    until: datetime | None = None  #: when the bulletin itself ends
    detail: Mapping[str, Any] | None = None


def next_event(
    rule: EventRule, state: LifecycleState, sight: Sight, now: datetime
) -> tuple[LifecycleState, Decision | None]:
    """The state after one decision, and the decision; None when there is nothing to decide. Call until None."""
    newer = state.newest_at is None or sight.at > state.newest_at
    if not state.open:
        spent = state.newest_at is not None and not newer
        ended = sight.over or (sight.until is not None and now >= sight.until)
        if ended or spent or sight.level is Level.NONE:
            return state, None
        why = Reason.EXPOSURE_REACHED if rule.kind == FOOTPRINT else Reason.OFFICIAL_BULLETIN
        return _step(rule, state, sight, now, why, Message.FIRST, sight.level)
    if state.live_until is not None and now >= state.live_until and state.expiry_told != state.live_until:
        new = replace(state, phase=Phase.EXPIRED, since=now, expiry_told=state.live_until, renew_at=_renewal(rule, now))
        return new, Decision(
            reason=Reason.EXPIRED_UNRENEWED, at=now, before=state.level, after=state.level, operator=True
        )
    changed = Reason.EXPOSURE_CHANGED if rule.kind == FOOTPRINT else Reason.OFFICIAL_CHANGED
    if sight.over:
        why = Reason.ALL_CLEAR if rule.kind == FOOTPRINT else Reason.OFFICIAL_ENDED
        return _step(rule, state, sight, now, why, Message.ALL_CLEAR, Level.NONE)
    if newer:
        if sight.level > state.level:
            return _step(rule, state, sight, now, changed, Message.RAISE, sight.level)
        if sight.level < state.level:
            if sight.level is Level.NONE:
                return _step(rule, state, sight, now, Reason.ALL_CLEAR, Message.ALL_CLEAR, Level.NONE)
            return _step(rule, state, sight, now, changed, Message.LOWER, sight.level)
        return _step(rule, state, sight, now, Reason.RENEWED, Message.RENEW, sight.level)
    if rule.kind == FOOTPRINT and state.phase is not Phase.STALE and now - sight.at > rule.expires_after:
        # nobody has drawn the hazard since: where it is now is unknown, which is never the same as gone
        return replace(state, phase=Phase.STALE, since=now), Decision(
            reason=Reason.HELD_ON_SILENCE, at=now, before=state.level, after=state.level, operator=True
        )
    if state.renew_at is not None and now >= state.renew_at and (sight.until is None or now < sight.until):
        return _step(rule, state, sight, now, Reason.RENEWED, Message.RENEW, state.level)
    return state, None


def _renewal(rule: EventRule, now: datetime) -> datetime | None:
    """A footprint's warning is renewed by us; a bulletin's life is its authority's."""
    return now + rule.renew_before if rule.kind == FOOTPRINT else None


def _step(
    rule: EventRule,
    state: LifecycleState,
    sight: Sight,
    now: datetime,
    reason: Reason,
    message: Message,
    to: Level,
) -> tuple[LifecycleState, Decision]:
    opened = now if message is Message.FIRST else state.opened_at
    phase = Phase.CLEARED if to is Level.NONE else state.phase if message is Message.RENEW else Phase.ACTIVE
    new = LifecycleState(
        phase=phase,
        level=to,
        since=now if phase is not state.phase else state.since,
        opened_at=None if to is Level.NONE else opened,
        lowered_at=sight.at if to < state.level else state.lowered_at,
        renew_at=None if to is Level.NONE else _renewal(rule, now),
        live_until=None if to is Level.NONE or message is Message.FIRST else state.live_until,
        expiry_told=None if message is Message.FIRST else state.expiry_told,
        newest_at=max(sight.at, state.newest_at) if state.newest_at is not None else sight.at,
        evaluated_until=now,
        measured=to,
    )
    decision = Decision(
        reason=reason,
        at=now,
        before=state.level,
        after=to,
        message=message,
        reading_at=sight.at,
        detail=dict(sight.detail or {}),
    )
    return new, decision


_PLAIN = (
    "automatic",
    "independent",
    "usual_people",
    "max_area_km2",
    "peril",
    "timezone",
    "group",
    "portfolio",
)


def event_definition(rule: EventRule) -> dict[str, Any]:
    """What the `rule.definition` column holds for a rule without a gauge."""
    told: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(rule, name)) is not None}
    told |= {
        "kind": rule.kind,
        "expires_after_s": rule.expires_after.total_seconds(),
        "automatic_ceiling": rule.automatic_ceiling.word,
    }
    for name in ("place", "source"):
        if getattr(rule, name):
            told[name] = dict(getattr(rule, name))
    if rule.kind == FOOTPRINT:
        told["exposure"] = {
            one.word: {
                **({"policies": bar.policies} if bar.policies is not None else {}),
                **({"insured_value": str(bar.insured_value)} if bar.insured_value is not None else {}),
            }
            for one, bar in sorted((rule.bars or {}).items())
        }
    else:
        told |= {"senders": list(rule.senders), "at_least": rule.at_least.word}
    return told


def event_rule(*, rule_id: UUID, version: int, tenant_id: UUID, code: str, definition: Mapping[str, Any]) -> EventRule:
    """The rule that `event_definition()` wrote down, or a person; raises BadRule naming a field."""
    kind = definition.get("kind")
    own = {"exposure"} if kind == FOOTPRINT else {"senders", "at_least"}
    known = {*_PLAIN, "kind", "expires_after_s", "automatic_ceiling", "place", "source"} | own
    unknown = sorted(set(definition) - known)
    if unknown:
        raise BadRule(f"Rule {code!r}: the definition has unknown fields", fields=unknown)
    given: dict[str, Any] = {name: definition[name] for name in _PLAIN if name in definition}
    try:
        if "expires_after_s" in definition:
            given["expires_after"] = timedelta(seconds=definition["expires_after_s"])
        if "automatic_ceiling" in definition:
            given["automatic_ceiling"] = level(definition["automatic_ceiling"])
        for name in ("place", "source"):
            given[name] = dict(definition.get(name) or {})
        if kind == FOOTPRINT:
            given["bars"] = {level(word): _bar(told) for word, told in dict(definition.get("exposure") or {}).items()}
        elif kind == BULLETIN:
            senders = definition.get("senders")
            if not isinstance(senders, list | tuple) or not all(isinstance(one, str) and one for one in senders):
                raise BadRule(f"Rule {code!r}: senders must be a list of CAP senders", value=str(senders))
            given["senders"] = tuple(senders)
            if "at_least" in definition:
                given["at_least"] = level(definition["at_least"])
        return EventRule(
            rule_id=rule_id, version=version, tenant_id=tenant_id, code=code, kind=str(kind or ""), **given
        )
    except (TypeError, ValueError, KeyError, AttributeError, InvalidOperation) as error:
        if isinstance(error, BadRule):
            raise
        raise BadRule(f"Rule {code!r}: the definition cannot be read: {error!r}") from error


def _bar(told: Mapping[str, Any]) -> Bar:
    unknown = sorted(set(told) - {"policies", "insured_value"})
    if unknown:
        raise ValueError(f"exposure has unknown fields {unknown}")
    policies, value = told.get("policies"), told.get("insured_value")
    if isinstance(policies, bool) or (policies is not None and not isinstance(policies, int)):
        raise ValueError(f"policies is not a whole number: {policies!r}")
    return Bar(policies=policies, insured_value=Decimal(str(value)) if value is not None else None)
