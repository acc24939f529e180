"""Silences: what an author keeps from being said for a while, and why. Pure.

A silence names a rule or a hazard, the highest level it covers, an author, a reason and an end. Red is silenced only
once a second person has agreed; until then such a silence reaches up to orange. What is held back by one is a stored
decision; an all-clear and a Cancel are never held back, and when the silence ends what still stands is said.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from alerts.level import Level
from core.errors import InvalidInput

#: A silence that has no end is a switched-off warning; this is the longest there is.
LONGEST = timedelta(days=7)


class BadSilence(InvalidInput):
    """A silence cannot be made as asked."""

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The fields that its message names, and why."""
        named, _, why = self.message.partition(": ")
        return [(field, why) for field in named.split(", ")] if why else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What is not said, by whose word, and until when."""

    silence_id: UUID
    tenant_id: UUID
    rule_code: str | None  #: of this rule alone
    peril: str | None  #: of every rule of this hazard
    up_to: Level
    starts_at: datetime
    ends_at: datetime
    author: UUID
    reason: str
    second: UUID | None = None  #: the other person, who agreed to a silence of red
    ended_at: datetime | None = None  #: somebody ended it before its time

    @property
    def ceiling(self) -> Level:
        """The highest level that it holds back: orange at most while only one person stands for it."""
        agreed = self.second is not None and self.second != self.author
        return self.up_to if agreed else min(self.up_to, Level.ORANGE)

    @property
    def until(self) -> datetime:
        return self.ends_at if self.ended_at is None else min(self.ends_at, self.ended_at)

    def covers(self, *, code: str, peril: str, level: Level, at: datetime) -> bool:
        """Whether it holds back this level of this rule at this time."""
        meant = self.rule_code == code if self.rule_code is not None else self.peril == peril
        return meant and level <= self.ceiling and self.starts_at <= at < self.until


def check_silence(one: Silence) -> None:
    """Raises BadSilence naming the field."""
    if (one.rule_code is None) == (one.peril is None):
        raise BadSilence("rule_code, peril: give one of them: what is silenced?")
    if one.up_to is Level.NONE:
        raise BadSilence("up_to: must be blue, yellow, orange or red")
    if not one.reason.strip():
        raise BadSilence("reason: say why nothing is said")
    if one.ends_at <= one.starts_at:
        raise BadSilence("ends_at: must be after its start")
    if one.ends_at - one.starts_at > LONGEST:
        raise BadSilence(f"ends_at: a silence lasts {LONGEST.days} days at most")


def silencing(silences: Iterable[Silence], *, code: str, peril: str, level: Level, at: datetime) -> Silence | None:
    """The silence that holds this back, the longest where there are several; None where nothing does."""
    found = [one for one in silences if one.covers(code=code, peril=peril, level=level, at=at)]
    return max(found, key=lambda one: (one.until, str(one.silence_id)), default=None)
