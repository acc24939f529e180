"""How many stations agree that could not all be wrong for one reason.

Stations behind one gateway, on one power supply or of one vendor can fail together (ShakeAlert, December 2025: three
stations behind one faulty link). Two stations are independent only where gateway, power and vendor are known of both
and none is the same: what is not known may be shared.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """What a station would fail with."""

    station: str
    gateway: str | None
    power: str | None
    vendor: str | None

    def independent_of(self, other: "Domains") -> bool:
        pairs = ((self.gateway, other.gateway), (self.power, other.power), (self.vendor, other.vendor))
        return self.station != other.station and all(a and b and a != b for a, b in pairs)


def independent_count(own: Domains, others: Sequence[Domains]) -> int:
    """Size of a set of pairwise independent stations that holds `own`: 1 where nobody else counts.

    The largest such set is sought by depth; among more than sixteen that agree the first sixteen by name are looked at,
    which can only count too few.
    """
    agreeing = sorted({one for one in others if own.independent_of(one)}, key=lambda one: one.station)[:16]

    def grow(chosen: tuple[Domains, ...], left: Sequence[Domains]) -> int:
        best = len(chosen)
        for k, one in enumerate(left):
            if all(one.independent_of(other) for other in chosen):
                best = max(best, grow((*chosen, one), left[k + 1 :]))
        return best

    return grow((own,), agreeing)
