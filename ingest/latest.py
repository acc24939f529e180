"""The newest reading of each datastream, gathered in memory and written about once a second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest import repository
from ingest.observation import CLOCK_SUSPECT
from ingest.repository import moment
from ingest.series import Outcome, Update
from store.pool import AsyncConnection


@dataclass(slots=True)
class _Latest:
    effective_us: int
    observed_us: int
    value: float
    quality: int
    received_us: int
    heard_us: int


class LatestValues:
    """What `latest_observation` does not know yet."""

    def __init__(self) -> None:
        self._new: dict[int, _Latest] = {}
        self.written: list[int] = []  #: datastreams of the last flush

    def __len__(self) -> int:
        return len(self._new)

    def take(
        self,
        ds: npt.NDArray[np.int64],
        observed_us: npt.NDArray[np.int64],
        values: npt.NDArray[np.float64],
        received_us: npt.NDArray[np.int64],
        outcome: npt.NDArray[np.int8],
        quality: npt.NDArray[np.uint8],
        checks: npt.NDArray[np.int64],
    ) -> None:
        """Rows of a batch that was committed. A reading with a wrong clock counts for the time it arrived."""
        if not len(ds):
            return
        effective = np.where((checks & int(CLOCK_SUSPECT)) > 0, received_us, observed_us)
        speaks = (outcome == Outcome.NEW) | (outcome == Outcome.CORRECTION) | (outcome == Outcome.CORRECTION_FIRST)
        order = np.lexsort((np.arange(len(ds)), effective, speaks, ds))
        last = np.flatnonzero(np.r_[ds[order][1:] != ds[order][:-1], True])
        first = np.r_[0, last[:-1] + 1]
        heard = np.maximum.reduceat(np.where(speaks, received_us, 0)[order], first)
        for row, heard_us in zip(order[last].tolist(), heard.tolist(), strict=True):
            new = _Latest(
                int(effective[row]),
                int(observed_us[row]),
                float(values[row]),
                int(quality[row]),
                int(received_us[row]),
                int(heard_us),
            )
            if not speaks[row]:
                continue  # what was known already is no sign of life: a broker may deliver it long after
            old = self._new.get(int(ds[row]))
            if old is not None:
                new.heard_us = max(old.heard_us, new.heard_us)
                if old.effective_us > new.effective_us:
                    old.heard_us = new.heard_us
                    continue
            self._new[int(ds[row])] = new

    def amend(self, updates: Sequence[Update]) -> None:
        """Final flags of readings that may be the newest."""
        for u in updates:
            known = self._new.get(u.datastream_id)
            if known is not None and known.observed_us == u.observed_us:
                known.quality = u.quality

    async def flush(self, conn: AsyncConnection) -> int:
        """Writes what is new; how many datastreams that were."""
        self.written = sorted(self._new)
        if not self._new:
            return 0
        rows = [self._new[ds] for ds in self.written]
        await repository.execute(
            conn,
            "keep_latest",
            {
                "datastream_ids": self.written,
                "observed": [moment(r.observed_us) for r in rows],
                "values": [None if r.value != r.value else r.value for r in rows],
                "qualities": [r.quality for r in rows],
                "received": [moment(r.received_us) for r in rows],
                "effective": [moment(r.effective_us) for r in rows],
                "heard": [moment(r.heard_us) for r in rows],
            },
        )
        for ds in self.written:
            self._new.pop(ds, None)
        return len(rows)
