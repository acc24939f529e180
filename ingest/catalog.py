"""Which datastream a topic's reading belongs to: looked up once, kept for a while, looked up again."""

import time
from collections.abc import Callable, Iterable

from core.log import get_logger
from ingest import repository
from ingest.quality import BadThresholds, Thresholds
from ingest.repository import Site, Stream
from ingest.series import SeriesMemory
from store.pool import AsyncConnection

log = get_logger("ingest")

#: A station that is registered, or whose thresholds change, is noticed within this time.
_KEEP_KNOWN_S = 60.0
_KEEP_UNKNOWN_S = 2.0


class Catalog:
    """Stations and datastreams by (tenant slug, topic segment); fills a memory's thresholds as it goes."""

    def __init__(self, memory: SeriesMemory, *, wall: Callable[[], float] = time.monotonic) -> None:
        self._memory = memory
        self._wall = wall
        self._sites: dict[tuple[str, str], tuple[float, Site | None]] = {}
        self._registered: dict[int, Stream] = {}

    def site(self, tenant: str, segment: str) -> Site | None:
        """The station, as it was last looked up."""
        entry = self._sites.get((tenant, segment))
        return None if entry is None else entry[1]

    async def refresh(self, conn: AsyncConnection, wanted: Iterable[tuple[str, str]]) -> None:
        """Looks up those that are not known, or not lately."""
        now = self._wall()
        due = [key for key in wanted if (entry := self._sites.get(key)) is None or entry[0] < now]
        if not due:
            return
        found = await repository.find_sites(conn, due)
        for key in due:
            site = found.get(key)
            if site is None and len(self._sites) > 100_000:
                self._sites.clear()  # names that nobody registered must not fill the memory
            self._sites[key] = (now + (_KEEP_UNKNOWN_S if site is None else _KEEP_KNOWN_S), site)
            for stream in () if site is None else site.streams.values():
                self._register(stream)

    async def add(self, conn: AsyncConnection, tenant: str, segment: str, quantity: str) -> None:
        """A known station measures something new."""
        site = self.site(tenant, segment)
        if site is None or quantity in site.streams:
            return
        await repository.add_datastream(conn, site.station_id, quantity)
        self._sites.pop((tenant, segment))
        await self.refresh(conn, [(tenant, segment)])

    def _register(self, stream: Stream) -> None:
        if self._registered.get(stream.datastream_id) == stream:
            return
        try:
            thresholds = Thresholds.for_quantity(
                stream.quantity, interval_s=stream.interval_s, overrides=stream.thresholds
            )
            self._memory.register(stream.datastream_id, thresholds, interval_s=stream.interval_s)
        except BadThresholds as error:
            log.error(
                "thresholds are not usable; the defaults hold", datastream_id=stream.datastream_id, why=str(error)
            )
            thresholds = Thresholds.for_quantity(stream.quantity, interval_s=stream.interval_s)
            self._memory.register(stream.datastream_id, thresholds, interval_s=stream.interval_s)
        self._registered[stream.datastream_id] = stream
