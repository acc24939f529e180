"""Keeps a forecaster for each gauge while the product runs, and stores what each new reading makes it say.

What a forecaster has learnt lives in memory; after a start it is learnt again from the readings of the last days. A
forecast is stored once, with what was known then: whoever handles the batch again finds it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from ingest import repository
from ingest.forecast.calibration import table_at
from ingest.forecast.models import HORIZONS_H, Forecaster, Pool
from ingest.forecast.outlook import Outlook
from store.pool import AsyncConnection

#: What a forecaster learns from when it is made.
MEMORY = timedelta(hours=72)
#: Readings closer together than this make no forecast of their own: slopes are over an hour and more.
STEP = timedelta(minutes=4, seconds=30)
#: After a start only what is this new is stored.
STORED = timedelta(hours=12)
#: Gauges of the same tenant that stand in for a basin without another gauge; more tell nothing new.
OTHERS_AT_MOST = 64


@dataclass(slots=True)
class _Gauge:
    forecaster: Forecaster
    tenant_id: UUID | None
    basin: str | None
    newest: datetime
    unsaved: list[Outlook] = field(default_factory=list)


class LiveForecasts:
    """The forecasters of one process. Not shared between threads."""

    def __init__(self, memory: timedelta = MEMORY) -> None:
        self.memory = memory
        self.gauges: dict[int, _Gauge] = {}
        self.table = table_at(HORIZONS_H)
        self.pools: dict[UUID | None, Pool] = {}

    async def forecast(self, conn: AsyncConnection, datastream_ids: Sequence[int], until: datetime) -> int:
        """Takes in what these datastreams received by `until` and stores the forecasts; how many there are."""
        known = await self._take_in(conn, datastream_ids, until, STORED)
        rows = [(one, self.gauges[one].tenant_id, told) for one in known for told in self.gauges[one].unsaved]
        if rows:
            await repository.keep_forecasts(conn, rows)
        # The newest stay to be stored again: should this transaction be rolled back, the next one brings them.
        for one in known:
            del self.gauges[one].unsaved[:-8]
        return len(rows)

    async def rehearse(
        self, conn: AsyncConnection, datastream_ids: Sequence[int], until: datetime
    ) -> dict[int, list[Outlook]]:
        """What would have been forecast over this one's whole memory; stores nothing."""
        known = await self._take_in(conn, datastream_ids, until, self.memory)
        return {one: list(self.gauges[one].unsaved) for one in known}

    async def _take_in(
        self, conn: AsyncConnection, datastream_ids: Sequence[int], until: datetime, kept: timedelta
    ) -> list[int]:
        for datastream_id, tenant_id, basin in await repository.forecast_streams(conn, datastream_ids):
            if datastream_id not in self.gauges:
                pool = self.pools.setdefault(tenant_id, Pool(1, self.table))
                self.gauges[datastream_id] = _Gauge(
                    Forecaster(HORIZONS_H, self.table, pool, only_chosen=True), tenant_id, basin, until - self.memory
                )
        known = [one for one in datastream_ids if one in self.gauges]
        if not known:
            return []
        since = {one: self.gauges[one].newest for one in known}
        for datastream_id, observed_at, received_at, value in await repository.forecast_readings(conn, since, until):
            gauge = self.gauges[datastream_id]
            if observed_at - gauge.newest < STEP:
                continue
            made = gauge.forecaster.step(observed_at.timestamp(), value, *self._around(datastream_id))
            gauge.newest = observed_at
            if until - observed_at <= kept:
                gauge.unsaved.append(made.outlook(made_at=observed_at, known_at=received_at, value=value))
        return known

    def _around(self, datastream_id: int) -> tuple[list[Forecaster], list[Forecaster]]:
        here = self.gauges[datastream_id]
        near: list[Forecaster] = []
        others: list[Forecaster] = []
        for one, gauge in self.gauges.items():
            if one == datastream_id or gauge.tenant_id != here.tenant_id:
                continue
            if here.basin is not None and gauge.basin == here.basin:
                near.append(gauge.forecaster)
            elif len(others) < OTHERS_AT_MOST:
                others.append(gauge.forecaster)
        return near, near or others
