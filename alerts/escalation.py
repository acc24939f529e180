"""Which channel comes when: a push first, then a text message, then a call.

For red the next one goes out unless the person has answered; below red, unless one before it was accepted: a text
message is then only the way round a push that fails. What is taken back or over goes at once to every channel that
carried an earlier version. E-mail, webhooks and sirens are beside the ladder: always at once.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from alerts.level import Level

#: The ladder, from the cheapest to the one that wakes people.
LADDER = ("web_push", "sms", "voice")
ANSWERED, ACCEPTED = "answered", "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """When one channel of one person is due."""

    rung: int = 0
    wait_s: float = 0.0
    unless: str | None = None  #: `answered` or `accepted`: what makes it needless


AT_ONCE = Rung()


def rungs(
    channels: Collection[str], *, level: Level, ended: bool, told_on: Collection[str], wait_s: float
) -> Mapping[str, Rung]:
    """When each channel of one person is due; `told_on` carried an earlier version of this warning."""
    found: dict[str, Rung] = dict.fromkeys(channels, AT_ONCE)
    n = 0
    for one in LADDER:
        if one not in found:
            continue
        if n and not (ended and one in told_on):
            unless = ANSWERED if level is Level.RED and not ended else ACCEPTED
            found[one] = Rung(rung=n, wait_s=n * wait_s, unless=unless)
        n += 1
    return found
