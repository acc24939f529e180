"""The ingest process: takes batches from the broker, keeps them, acknowledges them; spools while the database is away.

The order is the whole point: kept (committed, or synced to the spool), then acknowledged. Live messages go first; a
backlog in the spool is stored between them.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from core.clock import Clock, ScenarioClock, WallClock
from core.errors import Unavailable
from core.log import get_logger
from core.settings import Settings
from ingest import repository, silence
from ingest.accept import Acceptor, TooManyWriters
from ingest.batch import Accepted, Batch, Message
from ingest.mqtt import BrokerLogin, Delivered, Inbox, Listener
from ingest.repository import ConnectionLost, DoesNotFit, errors_as_kinds
from ingest.spool import Spool, SpoolFull
from store.clock import read_clock
from store.pool import AsyncConnection, connect_worker_async, worker_url

log = get_logger("ingest")

_BATCH_BYTES = 4 * 1024**2
_TIDY_EVERY_S = 1.0
_LEDGER_DAYS = 7
_PURGE_EVERY_S = 3600.0
_KEEP_TIMEOUT_S = 30.0
#: A broker that is away for longer is an alarm.
_BROKER_GONE_S = 30.0
#: Before this, what the stations sent while we were not there may not have come yet.
_SETTLE_S = 5.0


@contextlib.contextmanager
def _rare_collection() -> Iterator[None]:
    """Garbage collection less often, and not of what is there already: batches make many objects and no cycles."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@dataclass(slots=True)
class _Live:
    """A batch that waits for its acknowledgement."""

    delivered: list[Delivered]
    messages: list[Message]
    batch: Batch | None


@dataclass(slots=True)
class Counters:
    """What this process did since it started."""

    n_messages: int = 0
    n_readings: int = 0
    n_same: int = 0
    n_rejected: int = 0
    n_batches: int = 0
    n_spooled: int = 0
    n_unspooled: int = 0
    latencies_s: list[float] = field(default_factory=list)


class Ingest:
    """One ingest process."""

    def __init__(
        self, settings: Settings, *, on_batch: Callable[[Sequence[Delivered], Accepted], None] | None = None
    ) -> None:
        self._settings = settings
        self._url = worker_url(settings)
        self._on_batch = on_batch
        self._conn: AsyncConnection | None = None
        self._acceptor: Acceptor | None = None
        self._clock: Clock = WallClock()
        self._exercise = False
        self._db_retry_at = 0.0
        self._db_backoff_s = 0.1
        self._db_told = False
        self._next_tidy = self._next_purge = 0.0
        self._started = time.monotonic()
        self._listener: Listener | None = None
        self.counters = Counters()
        folder = Path(settings.home) / "spool"
        self._spool = Spool(folder, max_bytes=settings.ingest.spool_max_bytes)

    @property
    def is_listening(self) -> bool:
        """Whether the broker's messages reach us now."""
        return self._listener is not None and self._listener.connected

    # ------------------------------------------------------------------ database
    async def _database(self) -> AsyncConnection | None:
        """The connection, made anew where it is lost and its time to try has come."""
        if self._conn is not None:
            return self._conn
        now = time.monotonic()
        if now < self._db_retry_at:
            return None
        conn: AsyncConnection | None = None
        try:
            async with errors_as_kinds():
                conn = await connect_worker_async(self._url)
                self._exercise = await repository.is_exercise(conn)
                if self._acceptor is None:
                    ingest = self._settings.ingest
                    self._acceptor = Acceptor(
                        exercise=self._exercise,
                        clock_skew_s=ingest.clock_skew_s,
                        max_message_bytes=ingest.max_message_bytes,
                    )
                self._acceptor.forget()
                acceptor = self._acceptor
                conn.add_notify_handler(
                    lambda note: acceptor.heard_of_other_writers([int(i) for i in note.payload.split(",") if i])
                )
                await repository.execute(conn, "listen")
        except Unavailable as error:
            if not self._db_told:
                log.warning("the database is away; messages go to the spool", why=str(error))
                self._db_told = True
            self._db_retry_at = now + self._db_backoff_s
            self._db_backoff_s = min(2.0, self._db_backoff_s * 2)
            if conn is not None:
                await conn.close()
            return None
        if self._db_told:
            log.info("the database is back", spooled_bytes=self._spool.n_bytes)
        self._db_told, self._db_backoff_s = False, 0.1
        self._conn = conn
        return conn

    async def _lose_database(self, error: Exception) -> None:
        log.warning("the database went away", why=str(error))
        self._db_told = True
        conn, self._conn = self._conn, None
        self._db_retry_at = time.monotonic() + self._db_backoff_s
        if self._acceptor is not None:
            self._acceptor.forget()
        if conn is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(conn.close(), 2)

    async def _read_clock(self, conn: AsyncConnection) -> None:
        if self._exercise:
            self._clock = await read_clock(conn)

    def _received_us(self, wall_ns: int) -> int:
        """Arrival by the one clock."""
        if isinstance(self._clock, ScenarioClock):
            at = self._clock.at(datetime.fromtimestamp(wall_ns / 1e9, UTC))
            return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return wall_ns // 1000

    # ------------------------------------------------------------------ keeping
    async def _keep(self, messages: Sequence[Message] | Batch) -> Accepted | None:
        """Stores a batch; none where the database is away."""
        accepted = await self._store(messages)
        if accepted is None:
            return None
        c = self.counters
        c.n_batches += 1
        c.n_messages += accepted.n_messages
        c.n_readings += accepted.outcomes["new"]
        c.n_same += accepted.outcomes["same"]
        c.n_rejected += len(accepted.rejected)
        return accepted

    async def _store(self, messages: Sequence[Message] | Batch) -> Accepted | None:
        """As `_keep`, uncounted. A batch that cannot be kept is halved until the message that breaks it is alone."""
        conn = await self._database()
        if conn is None or self._acceptor is None:
            return None
        try:
            async with asyncio.timeout(_KEEP_TIMEOUT_S):
                return await self._acceptor.accept(conn, messages)
        except (ConnectionLost, DoesNotFit, TimeoutError) as error:
            await self._lose_database(error)
            return None
        except Exception as error:
            # A defect of ours must not end ingest: unacknowledged, the same batch would come back and end it again.
            alone = messages.messages if isinstance(messages, Batch) else messages
            if len(alone) == 1 and isinstance(error, TooManyWriters):
                raise  # nothing is wrong with the message
            log.error("a batch could not be kept", n_messages=len(alone), exc_info=error)
            self._acceptor.forget()
            broken = error
        if len(alone) == 1:
            try:
                return await self._acceptor.set_aside(conn, alone[0], broken)
            except ConnectionLost as error:
                await self._lose_database(error)
                return None
        half = len(alone) // 2
        accepted, rest = await self._store(alone[:half]), await self._store(alone[half:])
        if accepted is None or rest is None:
            return None
        accepted.add(rest)
        return accepted

    def _decode(self, delivered: list[Delivered]) -> _Live:
        """A live batch, decoded where it is known already what database it is for."""
        messages = [Message(d.topic, d.body, self._received_us(d.received_ns)) for d in delivered]
        batch = None
        if self._acceptor is not None:
            with contextlib.suppress(Exception):  # it is decoded again when it is stored, and told of then
                batch = self._acceptor.decode(messages)
        return _Live(delivered, messages, batch)

    async def _live(self, live: _Live, listener: Listener) -> bool:
        """Keeps a live batch, in the database or the spool, and acknowledges it; False: neither could."""
        batch, live.batch = live.batch, None  # a batch is used up by being kept; another try decodes it anew
        accepted = await self._keep(live.messages if batch is None else batch)
        if accepted is None:
            try:
                await asyncio.to_thread(self._spool.append, live.messages)
            except SpoolFull as error:
                log.error("nothing more is acknowledged", why=str(error))
                return False
            self.counters.n_spooled += len(live.messages)
        listener.acknowledge(live.delivered)
        if accepted is not None:
            if self._on_batch is not None:
                self._on_batch(live.delivered, accepted)
            if accepted.step_ends:
                await self._tidy(listener, now=True)
        return True

    async def _unspool(self, n: int) -> None:
        """Stores one piece of the backlog."""
        messages = await asyncio.to_thread(self._spool.peek, n)
        if messages and await self._keep(messages) is None:
            return
        self.counters.n_unspooled += len(messages)
        await asyncio.to_thread(self._spool.advance)

    async def _tidy(self, listener: Listener, *, now: bool = False) -> None:
        """About once a second: latest values, silence, and now and then old message ids."""
        at = time.monotonic()
        if (not now and at < self._next_tidy) or self._conn is None or self._acceptor is None:
            return
        self._next_tidy = at + _TIDY_EVERY_S
        conn = self._conn
        try:
            async with asyncio.timeout(_KEEP_TIMEOUT_S), errors_as_kinds():
                await self._acceptor.latest.flush(conn)
                await self._read_clock(conn)
                if now or (at - self._started > _SETTLE_S and not self._spool):
                    gone = not listener.connected and at - listener.disconnected_at > _BROKER_GONE_S
                    await silence.check(conn, self._clock.now(), broker_up=not gone)
                if at > self._next_purge:
                    self._next_purge = at + _PURGE_EVERY_S
                    before = self._clock.now() - timedelta(days=_LEDGER_DAYS)
                    await repository.execute(conn, "forget_old_messages", {"before": before})
        except (ConnectionLost, DoesNotFit, TimeoutError) as error:
            await self._lose_database(error)

    # ------------------------------------------------------------------ the process
    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then finishes what is at hand, says goodbye to the broker and returns."""
        with _rare_collection():
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        ingest, mqtt = self._settings.ingest, self._settings.mqtt
        login = BrokerLogin(
            host=mqtt.host or "127.0.0.1",
            port=mqtt.port,
            client_id=mqtt.client_id,
            username=mqtt.username,
            password=None if mqtt.password is None else mqtt.password.get_secret_value(),
            tls_ca=None if mqtt.tls_ca is None else str(mqtt.tls_ca),
            session_expiry_s=mqtt.session_expiry_s,
        )
        conn = await self._database()
        if conn is not None:
            await self._read_clock(conn)
        inbox = Inbox(asyncio.get_running_loop())
        listener = self._listener = Listener(login, inbox, receive_maximum=2 * ingest.batch_rows)
        if not await listener.start(stop):
            return
        # While one batch is being stored the next one is taken and decoded: the database works beside us.
        storing: tuple[_Live, asyncio.Task[bool]] | None = None
        following: _Live | None = None
        try:
            ending_at: float | None = None
            while ending_at is None or ((storing or following or len(inbox)) and time.monotonic() < ending_at):
                if ending_at is None and stop.is_set():
                    ending_at = time.monotonic() + 8.0
                if following is None:
                    at_once = ending_at is not None or (bool(self._spool) and self._conn is not None)
                    delivered = await inbox.take(
                        ingest.batch_rows,
                        max_bytes=_BATCH_BYTES,
                        wait_s=0.0 if at_once else ingest.batch_ms / 1000,
                        steps=self._exercise,
                    )
                    following = self._decode(delivered) if delivered else None
                if storing is not None:
                    live, task = storing
                    storing = None
                    if not await task:
                        # No room anywhere: what is not acknowledged stays with the broker, and this is tried again.
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(stop.wait(), 0.25)
                        if stop.is_set():
                            break
                        storing = (live, asyncio.create_task(self._live(live, listener)))
                        continue
                if self._spool and self._conn is not None:
                    await self._unspool(ingest.batch_rows)
                await self._tidy(listener)
                if following is not None:
                    storing = (following, asyncio.create_task(self._live(following, listener)))
                    following = None
                    await asyncio.sleep(0)
                elif self._conn is None:
                    await self._database()
            if storing is not None:
                await storing[1]
            await self._tidy(listener, now=False)
            if self._conn is not None and self._acceptor is not None:
                with contextlib.suppress(Unavailable):
                    async with errors_as_kinds():
                        await self._acceptor.latest.flush(self._conn)
        finally:
            await asyncio.to_thread(listener.stop)
            if self._conn is not None:
                await self._conn.close()
            c = self.counters
            log.info("ingest ends", messages=c.n_messages, readings=c.n_readings, known=c.n_same, refused=c.n_rejected)
