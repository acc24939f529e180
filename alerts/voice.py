"""One voice where several rules speak: grouping, inhibition, silences and who hears what. Pure.

Rules of one hazard and the same area (or of one named group) are a group: they share one warning, whose level is the
highest of theirs. A rule that says less than the group already does is not heard (`inhibited_by_higher`), one that says
the same is not heard twice (`grouped`), and the group gives a level up only when its last rule does. Between groups
whose areas overlap the same holds for each person: whoever is told of something worse of the same hazard is not told
of less meanwhile, nor that all is clear. What an authority says wins a tie.

Whatever is not said is a decision with its reason, and is looked at again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from alerts.level import Level
from alerts.lifecycle import Decision, Message, Reason
from alerts.silence import Silence, silencing

#: What may always be said: it ends something.
ENDINGS = (Message.ALL_CLEAR, Message.CANCEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One rule of a group: its level before and after what it just decided."""

    rule_id: UUID
    before: Level
    after: Level
    opened_at: datetime | None = None
    held: bool = False  #: a silence covers it at this level


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a group says of one rule's decision; `message` is none where nothing is said, and `reason` why not."""

    message: Message | None
    level: Level
    lead: UUID  #: the rule whose gauge the text is about
    reason: Reason | None = None
    wake_at: datetime | None = None  #: when this is to be looked at again
    detail: Mapping[str, Any] = field(default_factory=dict)


def group_says(
    decision: Decision,
    *,
    mine: UUID,
    members: Sequence[Member],
    newest_sent: datetime | None,
    newest_level: Level = Level.NONE,
    renew_after: timedelta,
) -> Said:
    """What is heard of a rule's decision, given every rule of its group that is open before or after it.

    `newest_sent` is when the group's newest version was drafted, None where there is none, and `newest_level` is its
    level. A renewal is due `renew_after` later, whichever rule asks for it; and at once where that level is not the
    group's, for then a silence held the change back.
    """
    assert decision.message is not None
    if decision.message in (Message.FIRST, Message.RAISE, Message.RENEW):
        # A silence of one rule is none of its neighbours': what it holds back nobody has heard, so they speak. That
        # something is over is not said beside it.
        members = [one for one in members if one.rule_id == mine or not one.held or one.after <= newest_level]
    before = max((one.before for one in members), default=Level.NONE)
    top = max((one.after for one in members), default=Level.NONE)
    at_top = sorted(
        (one for one in members if one.after == top and top > Level.NONE),
        key=lambda one: (one.rule_id != mine, one.opened_at is None, one.opened_at, str(one.rule_id)),
    )
    lead = at_top[0].rule_id if at_top else mine
    if decision.message is Message.CANCEL:
        return Said(message=Message.CANCEL, level=Level.NONE, lead=mine)
    if top > before:
        return Said(message=Message.FIRST if before is Level.NONE else Message.RAISE, level=top, lead=lead)
    if top < before:
        return Said(message=Message.ALL_CLEAR if top is Level.NONE else Message.LOWER, level=top, lead=lead)
    if decision.message is Message.RENEW:
        if newest_sent is not None and top > newest_level:
            return Said(message=Message.RAISE, level=top, lead=lead)
        others = any(one.rule_id != mine and one.after > Level.NONE for one in members)
        due = newest_sent is None or newest_level is not top or decision.at >= newest_sent + renew_after
        if due or not others:
            return Said(message=Message.RENEW, level=top, lead=lead)
        assert newest_sent is not None
        wake_at: datetime | None = newest_sent + renew_after
    else:
        wake_at = newest_sent + renew_after if newest_sent is not None else None
    same = decision.after == top
    return Said(
        message=None,
        level=top,
        lead=lead,
        reason=Reason.GROUPED if same else Reason.INHIBITED_BY_HIGHER,
        wake_at=wake_at,
        detail={"group_level": top.word, "by_rule": str(lead)},
    )


def under_silence(said: Said, at: datetime, *, code: str, peril: str, silences: Iterable[Silence]) -> Said:
    """The same, or nothing where a silence covers it; what ends a warning is always said."""
    if said.message is None or said.message in ENDINGS:
        return said
    held = silencing(silences, code=code, peril=peril, level=said.level, at=at)
    if held is None:
        return said
    return Said(
        message=None,
        level=said.level,
        lead=said.lead,
        reason=Reason.SILENCED,
        wake_at=held.until,
        detail={
            "silence_id": str(held.silence_id),
            "author": str(held.author),
            "why": held.reason,
            "until": held.until.isoformat(),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another live warning of the same hazard that speaks to a person."""

    warning_id: UUID
    level: Level
    official: bool  #: it passes on what an authority says
    first_sent: datetime  #: of its chain


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Who is told, and who is told something worse already."""

    told: frozenset[UUID]
    kept_out: Mapping[UUID, Other]  #: person -> the warning that stands for them
    wakes: frozenset[UUID] = frozenset()  #: warnings that lose what kept them out: they speak again

    @property
    def by_official(self) -> bool:
        """Everybody who is kept out hears an authority instead."""
        return bool(self.kept_out) and all(one.official for one in self.kept_out.values())


def hears(
    people: Iterable[UUID],
    others: Mapping[UUID, Sequence[Other]],
    *,
    level: Level,
    official: bool,
    first_sent: datetime,
    warning_id: UUID,
) -> Heard:
    """Who is told of a message of this level (`NONE`: of an end), given what else speaks to each person.

    A worse level keeps a lesser one out. At the same level an authority goes before us, and the older before the
    younger. Whoever hears of an end or a lowering while another warning of at least the new level stands is kept out,
    and that other warning speaks again, so that it is the last they heard.
    """
    told: set[UUID] = set()
    kept_out: dict[UUID, Other] = {}
    wakes: set[UUID] = set()
    mine = (int(level), official, -first_sent.timestamp(), str(warning_id))
    for person in people:
        ranked = [
            ((int(one.level), one.official, -one.first_sent.timestamp(), str(one.warning_id)), one)
            for one in others.get(person, ())
        ]
        best = max(ranked, key=lambda one: one[0], default=None)
        if best is None or best[0] < mine:
            told.add(person)
        else:
            kept_out[person] = best[1]
            wakes.add(best[1].warning_id)
    return Heard(told=frozenset(told), kept_out=kept_out, wakes=frozenset(wakes))


def says_again(
    *, level: Level, told_at: datetime, answered: bool, over: bool, every: Mapping[Level, timedelta], at: datetime
) -> bool:
    """Whether a person is told a standing warning once more: its level's interval is over, and no answer came."""
    interval = every.get(level)
    return interval is not None and not answered and not over and at - told_at >= interval
