"""What a reading is: when it was true, its value in the stored unit, and what quality control thinks of it."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt


class Quality(IntEnum):
    """QARTOD flags (IOOS, Manual for Real-Time Oceanographic Data Quality Control Flags, 2020, table 1)."""

    GOOD = 1
    UNKNOWN = 2  #: not evaluated
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Check(IntFlag):
    """Bits of `observation.tests`: which checks spoke against a reading, or what else is known about it.

    All but GAP, PROVISIONAL and STANDS_IN make the quality at least SUSPECT.
    """

    GROSS_RANGE = 1  #: outside what the instrument or the place can give
    SPIKE = 2  #: leaves and comes back within one reading
    RATE = 4  #: changes faster than the threshold
    FLAT_LINE = 8  #: does not move where it should
    GAP = 16  #: the first reading after a hole in the series; says nothing against the reading itself
    CLOCK_AHEAD = 32  #: observed later than received, by more than the allowed skew
    CLOCK_UNSET = 64  #: observed before 2000: the device has no time
    EPOCH_MS = 128  #: the device sent milliseconds where seconds were due; read as milliseconds
    PROVISIONAL = 256  #: decided without the next reading, which may change it
    STANDS_IN = 512  #: stands in for an original whose correction came first


#: A reading whose device had no right time. It is kept as sent, but has no place in the series of its datastream.
CLOCK_SUSPECT = Check.CLOCK_AHEAD | Check.CLOCK_UNSET | Check.EPOCH_MS

MICROSECOND = 1_000_000

#: Before this (2000-01-01T00:00:00Z, in microseconds since 1970) a device's clock was never set.
CLOCK_SET_US = 946_684_800 * MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading as it was decoded, before it is checked against its neighbours."""

    quantity: str
    observed_us: int  #: microseconds since 1970, UTC; when it was true, as the device sent it
    value: float  #: in the stored unit of `quantity` (core/units.py); NaN where the device said it has none
    checks: int = 0  #: Check bits already known: EPOCH_MS
    message_id: str | None = None
    corrects: str | None = None  #: message id of the reading that this one replaces


def clock_checks(
    observed_us: npt.NDArray[np.int64], received_us: npt.NDArray[np.int64], skew_us: int
) -> npt.NDArray[np.int64]:
    """(n,) Check bits of each reading's time against its arrival; all in microseconds since 1970."""
    ahead = np.where(observed_us > received_us + skew_us, np.int64(Check.CLOCK_AHEAD), np.int64(0))
    return np.where(observed_us < CLOCK_SET_US, np.int64(Check.CLOCK_UNSET), ahead)
