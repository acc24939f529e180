"""The browsers' stream: one numbered row of events, fanned out to every page that may read it.

One task in each API process tails `stream_event`; the process whose connection holds the advisory lock numbers new
events as well (store.outbox.sequence). NOTIFY says "look now", and the task also looks every second. A page that comes
back with `Last-Event-ID` first gets what it missed; what no longer can be given is said by one `reset` event.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from starlette.requests import Request
from starlette.responses import StreamingResponse

from api import policy, repository
from api.errors import TooManyTries
from api.identity import COOKIE, Actor
from api.show import rfc3339
from core.errors import InvalidInput, TocsinError
from core.log import get_logger
from core.settings import Settings

_log = get_logger("stream")

_POLL_S: Final = 1.0
#: How long a start waits for the first look at the events.
_FIRST_S: Final = 5.0
_BATCH: Final = 500
_HEARTBEAT_S: Final = 15.0
#: After this long (less up to a fifth, so that not all come at once) the page connects and its rights are read anew.
_LONGEST_AGE_S: Final = 300.0
_MAX_REPLAY: Final = 5000
_MAX_WAITING: Final = 1000
_STREAMS_PER_ACTOR: Final = 20
_STREAMS: Final = 5000


class TooManyStreams(TooManyTries):
    """Too many streams are open."""


class BadLastEvent(InvalidInput):
    """Last-Event-ID: a whole number that this stream gave is needed."""


class Reader(Protocol):
    """One request of a page, as api.deps.Context serves it."""

    request: Request
    actor: Actor

    @property
    def tenant_id(self) -> UUID: ...
    def transaction(self) -> AbstractAsyncContextManager[repository.Connection]: ...
    def system_transaction(self) -> AbstractAsyncContextManager[repository.Connection]: ...


@dataclass(eq=False, slots=True)
class Subscriber:
    """One open stream."""

    tenant_id: UUID
    kinds: frozenset[str]
    session: str | None = None  #: cookie of the session it belongs to, so that signing out ends it
    waiting: asyncio.Queue[repository.Row | None] = field(default_factory=lambda: asyncio.Queue(_MAX_WAITING + 1))
    ended: bool = False

    def offer(self, event: repository.Row) -> None:
        """Queues an event this page may read; a page that does not keep up is cut off and replays when it is back."""
        if self.ended or event["kind"] not in self.kinds or event["tenant_id"] not in (None, self.tenant_id):
            return
        if self.waiting.qsize() >= _MAX_WAITING:
            self.end()
        else:
            self.waiting.put_nowait(event)

    def end(self) -> None:
        """Lets the stream finish what is queued, then close."""
        if not self.ended:
            self.ended = True
            self.waiting.put_nowait(None)


class Hub:
    """The stream of one API process."""

    def __init__(
        self, settings: Settings, *, heartbeat_s: float = _HEARTBEAT_S, longest_age_s: float = _LONGEST_AGE_S
    ) -> None:
        self._settings = settings
        self._heartbeat_s = heartbeat_s
        self._longest_age_s = longest_age_s
        self._subscribers: set[Subscriber] = set()
        self._per_actor: Counter[str] = Counter()
        self._newest: int | None = None
        self._stopping = False
        self.healthy = False
        self.trouble = "not started"
        self._first = asyncio.Event()

    # ---------------------------------------------------------------- the tail
    async def run(self) -> None:
        """Numbers and fans out events until cancelled; while the database is away it tries again each second."""
        while True:
            try:
                async with repository.listener(self._settings) as conn:
                    await self._tail(conn)
            except (repository.DatabaseError, TocsinError) as error:
                if self.healthy or self.trouble == "not started":
                    _log.warning("stream stopped", error=type(error).__name__)
                self.healthy, self.trouble = False, type(error).__name__
            await asyncio.sleep(_POLL_S)

    async def _tail(self, conn: repository.Connection) -> None:
        leads = False
        if self._newest is None:
            _, self._newest = await repository.stream_edges(conn)
        while True:
            leads = leads or await repository.take_sequencer(conn)
            numbered = await repository.sequence(conn) if leads else 0
            events = await repository.stream_after(conn, self._newest, limit=_BATCH)
            for event in events:
                for subscriber in self._subscribers:
                    subscriber.offer(event)
            if events:
                self._newest = int(events[-1]["stream_id"])
            if not self.healthy:
                self.healthy, self.trouble = True, ""
                self._first.set()
                _log.info("stream runs", leads=leads)
            if not events and not numbered:
                await repository.wait_notified(conn, _POLL_S)

    # ---------------------------------------------------------------- the pages
    def respond(self, reader: Reader, last_event_id: str | None, last_id: int | None) -> StreamingResponse:
        """The stream of one page; raises BadLastEvent, TooManyStreams."""
        after = last_id
        if last_event_id:
            if not last_event_id.isdigit():
                raise BadLastEvent
            after = int(last_event_id)
        if self._per_actor[reader.actor.key] >= _STREAMS_PER_ACTOR or len(self._subscribers) >= _STREAMS:
            raise TooManyStreams(retry_after_s=30)
        kinds = frozenset(
            kind for kind, obj in policy.STREAM_OBJECTS.items() if policy.may(reader.actor.roles, "read", obj)
        )
        subscriber = Subscriber(reader.tenant_id, kinds, reader.request.cookies.get(COOKIE))
        return StreamingResponse(
            self._frames(reader, subscriber, after),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def _frames(self, reader: Reader, subscriber: Subscriber, after: int | None) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._longest_age_s * random.uniform(0.8, 1.0)  # noqa: S311  spreads, guards nothing
        # In the set before anything is read: what happens meanwhile waits in its queue.
        self._subscribers.add(subscriber)
        self._per_actor[reader.actor.key] += 1
        try:
            yield "retry: 2000\n\n"
            oldest, newest = await self._edges(reader)
            sent = newest
            missed: list[repository.Row] = []
            if after is not None:
                lost = after < oldest - 1 or after > newest
                if not lost:
                    async with reader.transaction() as conn:
                        missed = await repository.replay(
                            conn, after=after, until=newest, kinds=sorted(subscriber.kinds), limit=_MAX_REPLAY + 1
                        )
                    lost = len(missed) > _MAX_REPLAY
                if lost:
                    missed = []
                    yield _frame("reset", {"last_id": newest}, newest)
            for event in missed:
                yield _event(event)
            yield _frame("hello", {"last_id": newest}, newest)
            while True:
                left = ends_at - loop.time()
                if left <= 0 or self._stopping:
                    break
                try:
                    event_ = await asyncio.wait_for(subscriber.waiting.get(), min(self._heartbeat_s, left))
                except TimeoutError:
                    yield ": heartbeat\n\n"
                    continue
                if event_ is None:
                    break
                if event_["stream_id"] > sent:
                    sent = event_["stream_id"]
                    yield _event(event_)
            yield _frame("bye", {"last_id": sent}, sent)
        finally:
            self._subscribers.discard(subscriber)
            self._per_actor[reader.actor.key] -= 1
            if self._per_actor[reader.actor.key] <= 0:
                del self._per_actor[reader.actor.key]

    async def _edges(self, reader: Reader) -> tuple[int, int]:
        async with reader.system_transaction() as conn:
            return await repository.stream_edges(conn)

    def end_session(self, session: str | None) -> None:
        """Closes the streams of a session that was signed out."""
        for subscriber in list(self._subscribers):
            if session is not None and subscriber.session == session:
                subscriber.end()

    def close(self) -> None:
        """Lets every stream say goodbye, so that the server can stop."""
        self._stopping = True
        for subscriber in list(self._subscribers):
            subscriber.end()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tails for as long as the block lasts."""
        task = asyncio.create_task(self.run(), name="stream")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), _FIRST_S)
        try:
            yield
        finally:
            self.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _event(event: repository.Row) -> str:
    return _frame(event["kind"], {"at": rfc3339(event["at"]), **event["payload"]}, event["stream_id"])


def _frame(name: str, data: dict[str, Any], number: int) -> str:
    # JSON has no bare line ends, so one data line is enough.
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
