"""What a shock takes down: the law of the revenue an hour that stands still, from the common-shock kernels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from itops.severity import FloatArray
from itops.shock import Shock, ShockKind, Struck, event_loss

#: The shock kinds of the book.
KIND = {
    "site": ShockKind.SITE_POWER_COOLING,
    "network": ShockKind.NETWORK,
    "firmware": ShockKind.FIRMWARE_BATCH,
    "cloud_region": ShockKind.CLOUD_REGION,
    "human_change": ShockKind.HUMAN_CHANGE,
}
#: Nodes that the whole of what can be lost gets on the grid of one event, at most.
_NODES = 1 << 14
#: A spread below this share of the mean is dropped, and a law is told in at most so many atoms.
_NARROW, _ATOMS = 0.05, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Like parts in reach: devices of a class, or one service."""

    n: int
    per_hour: float  #: of each, while it is down
    hit_probability: float


@lru_cache(maxsize=4096)  # every set of terms on the same devices asks for the same laws
def lost_per_hour(name: str, parts: tuple[Part, ...], most: float) -> tuple[tuple[float, float], ...]:
    """(revenue an hour, probability) of one event that hits each part or spares it, at most `most`; means are kept.

    The sum over parts is the kernel `itops.shock.event_loss`; then `most` acts on each outcome and not on the mean.
    """
    live = [part for part in parts if part.n > 0 and part.per_hour > 0 and part.hit_probability > 0]
    if not live:
        return ((0.0, 1.0),)
    if all(part.hit_probability >= 1.0 for part in live):
        return ((min(sum(part.n * part.per_hour for part in live), most), 1.0),)
    whole = sum(part.n * part.per_hour for part in live)
    least = min(part.per_hour for part in live)
    even = all(abs(part.per_hour / least - round(part.per_hour / least)) < 1e-9 for part in live)
    # Where parts are no multiples of the least, splitting them between nodes must not blur what `most` acts on.
    step = max(least if even else least / 16.0, whole / _NODES)
    members = tuple(
        Struck(n=part.n, hit_probability=part.hit_probability, probability=_placed(part.per_hour / step))
        for part in live
    )
    law = event_loss(Shock(name=name, kind=KIND[name], rate_per_year=1.0, members=members))
    lost = np.minimum(np.arange(len(law), dtype=np.float64) * step, most)
    return tuple(_atoms(lost, np.maximum(law, 0.0)))


def _placed(at: float) -> FloatArray:
    """A loss on the grid, split between its two neighbours so that its mean stays."""
    low = int(np.floor(at + 1e-9))
    up = max(at - low, 0.0)
    out = np.zeros(low + 2)
    out[low], out[low + 1] = 1.0 - up, up
    return out[: low + 1] if up < 1e-9 else out


def _atoms(lost: FloatArray, probability: FloatArray) -> list[tuple[float, float]]:
    """The law in few atoms: nothing at all, then parts of like weight, each at its mean."""
    probability = probability / np.sum(probability)
    mean = float(np.sum(lost * probability))
    spread = float(np.sqrt(max(float(np.sum(lost**2 * probability)) - mean**2, 0.0)))
    if spread <= _NARROW * mean:
        return [(mean, 1.0)]
    out = []
    none = float(np.sum(probability[lost <= 0]))
    if none > 1e-12:
        out.append((0.0, none))
    at, p = lost[lost > 0], probability[lost > 0]
    band = np.minimum((np.cumsum(p) / np.sum(p) * _ATOMS - 1e-9).astype(int), _ATOMS - 1)
    weight = np.bincount(band, p, _ATOMS)
    sums = np.bincount(band, p * at, _ATOMS)
    out += [(float(s / w), float(w)) for s, w in zip(sums, weight, strict=True) if w > 1e-12]
    return out
