"""Asks feeds, politely: when it is time, with the tags of the last answer, and less often while they fail.

A feed is down after three failures in a row: one log line then, and one when it answers again. While it fails the time
to the next question doubles, to an hour at most; every wait has jitter, so that feeds do not fall into step.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.clock import Clock, WallClock
from core.errors import InvalidInput
from core.events import FeedStateChanged
from core.log import get_logger
from ingest import feeds, repository, subscribe
from ingest.feeds import FeedRow
from ingest.outbound import FAILURES, BodyTooLarge, Outbound, Response
from ingest.take import Fetch, Taken, Taker
from ingest.weather.items import BadFeed
from store import outbox
from store.pool import AsyncConnection, Pool

log = get_logger("feeds")

DOWN_AFTER = 3
_LONGEST_S = 3600.0
_JITTER = 0.1
MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
_AGENT = "Tocsin (early warning; asks with If-None-Match)"
_AT_ONCE = 4
_LOOK_EVERY_S = 2.0
_LOOK_IDLE_S = 10.0  # nothing is on: one short query now and then


class NotAnswered(BadFeed):
    """The feed gave no answer that can be used."""


async def ask(outbound: Outbound, feed: FeedRow) -> tuple[bytes | None, str | None, str | None]:
    """(body, etag, last-modified) of a feed; the body is none where nothing changed. Raises NotAnswered."""
    headers = {"User-Agent": _AGENT}
    if feed.etag:
        headers["If-None-Match"] = feed.etag
    if feed.last_modified:
        headers["If-Modified-Since"] = feed.last_modified
    response = await _get(outbound, feed.url, headers, MAX_BODY_BYTES, plain_http=bool(feed.options.get("plain_http")))
    if response.status == 304 and (feed.etag or feed.last_modified):
        return None, feed.etag, feed.last_modified
    if 300 <= response.status < 400:
        raise NotAnswered(
            "It sends elsewhere; redirects are not followed.", location=response.headers.get("location", "")[:120]
        )
    if response.status != 200:
        raise NotAnswered(f"It answers {response.status}.")
    return response.body, _tag(response.headers.get("etag")), _tag(response.headers.get("last-modified"))


def _tag(text: str | None) -> str | None:
    return text if text and len(text) <= 512 and text.isprintable() else None


async def _get(outbound: Outbound, url: str, headers: dict[str, str], limit: int, *, plain_http: bool) -> Response:
    try:
        return await outbound.get(url, headers, max_bytes=limit, plain_http=plain_http, total_s=20.0)
    except (*FAILURES, BodyTooLarge) as error:
        raise NotAnswered(str(error)) from error


def wait_s(interval_s: float, n_failures: int, chance: float) -> float:
    """Seconds to the next question: the interval, doubled for each failure up to an hour, and a tenth of jitter."""
    base = min(interval_s * 2.0 ** min(n_failures, 12), max(_LONGEST_S, interval_s))
    return base * (1.0 + _JITTER * (2.0 * chance - 1.0))


async def poll(
    conn: AsyncConnection,
    outbound: Outbound,
    taker: Taker,
    feed: FeedRow,
    *,
    clock: Clock,
    chance: Callable[[], float] = random.random,
) -> Taken | None:
    """Asks one feed and keeps what it brings; none where that failed, which is kept beside the feed."""

    etag, last_modified = feed.etag, feed.last_modified
    taken: Taken | None = None
    try:
        body, new_etag, new_modified = await ask(outbound, feed)
        taken = (
            Taken()
            if body is None
            else await taker.take(conn, feed, body, now=clock.now(), fetch=_fetcher(outbound, feed))
        )
        # Tags are kept after the rows: an answer that could not be kept is asked for again.
        etag, last_modified = new_etag, new_modified
        detail = str(taken)
    except (InvalidInput, OSError) as error:
        detail = str(error)[:500]
    await _keep(conn, feed, taken is not None, detail, etag, last_modified, clock.now(), chance())
    return taken


async def _keep(
    conn: AsyncConnection, feed: FeedRow, ok: bool, detail: str, etag: str | None, last_modified: str | None,
    now: datetime, chance: float,
) -> None:  # fmt: skip
    n_failures = 0 if ok else feed.n_failures + 1
    state = "up" if ok else "down" if n_failures >= DOWN_AFTER else feed.state
    changed = state != feed.state
    async with conn.transaction():
        await repository.execute(
            conn,
            "keep_poll",
            {
                "feed_id": feed.feed_id, "etag": etag, "last_modified": last_modified, "state": state,
                "since": now if changed else feed.since, "now": now, "answered_at": now if ok else None,
                "due_at": now + timedelta(seconds=wait_s(feed.interval_s, n_failures, chance)),
                "n_failures": n_failures, "detail": detail,
            },
        )  # fmt: skip
        if changed and (state == "down" or feed.state == "down"):
            event = FeedStateChanged(feed=f"feed:{feed.code}", state=state)
            await outbox.publish(conn, event, ordering_key=f"feed:{feed.code}", tenant_id=feed.tenant_id)
    if changed and state == "down":
        log.error("a feed went", feed=feed.code, why=detail, n_failures=n_failures)
    elif changed and feed.state == "down":
        log.info("a feed is back", feed=feed.code, away_since=feed.since.isoformat() if feed.since else None)


async def run(pool: Pool, outbound: Outbound, taker: Taker, stop: asyncio.Event, *, clock: Clock | None = None) -> None:
    """Asks the feeds that are on when their time comes and hears those that speak first, until `stop` is set.

    What is turned on, off or changed meanwhile counts from the next look, without a restart.
    """
    told_the_time = clock or WallClock()
    async with asyncio.TaskGroup() as tasks:
        heard = Heard(tasks, lambda feed, end: _hear(pool, outbound, taker, feed, end, told_the_time))
        try:
            while not stop.is_set():
                async with pool.connection() as conn:
                    await conn.set_autocommit(True)
                    try:
                        on = await feeds.enabled(conn)
                        await heard.follow([one for one in on if one.kind in feeds.LISTENED])
                        for feed in await feeds.due(conn, told_the_time.now(), limit=_AT_ONCE) if on else ():
                            if stop.is_set():
                                break
                            await poll(conn, outbound, taker, feed, clock=told_the_time)
                    finally:
                        await conn.set_autocommit(False)
                try:
                    await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S if on else _LOOK_IDLE_S)
                except TimeoutError:
                    continue
        finally:
            await heard.follow([])


class Heard:
    """The feeds that speak first and are heard now: one task each."""

    def __init__(
        self, tasks: asyncio.TaskGroup, hear: Callable[[FeedRow, asyncio.Event], Coroutine[Any, Any, None]]
    ) -> None:
        self._tasks, self._hear = tasks, hear
        self._now: dict[UUID, tuple[tuple[Any, ...], asyncio.Event, asyncio.Task[None]]] = {}

    async def follow(self, wanted: Sequence[FeedRow]) -> None:
        """Hears exactly these: ends what is no longer wanted or has changed, and begins what is new."""
        said = {one.feed_id: (one.kind, one.url, dict(one.options)) for one in wanted}
        over = [key for key, (how, _, _) in self._now.items() if said.get(key) != how]
        for key in over:
            self._now[key][1].set()
        for key in over:  # one broker takes one connection of a name: the old one ends before a new one begins
            await asyncio.wait([self._now.pop(key)[2]])
        for feed in wanted:
            if feed.feed_id not in self._now:
                end = asyncio.Event()
                task = self._tasks.create_task(self._hear(feed, end))
                self._now[feed.feed_id] = (said[feed.feed_id], end, task)


async def _hear(
    pool: Pool, outbound: Outbound, taker: Taker, feed: FeedRow, end: asyncio.Event, clock: Clock
) -> None:  # fmt: skip
    ear = subscribe.Ear(feed, taker, _fetcher(outbound, feed))
    await subscribe.listen(pool, ear, end, clock=clock, allow_private=outbound.allow_private)


def _fetcher(outbound: Outbound, feed: FeedRow) -> Fetch:
    """Fetches what a feed leads to."""

    async def fetch(link: str) -> bytes:
        response = await _get(
            outbound, link, {"User-Agent": _AGENT}, MAX_MESSAGE_BYTES, plain_http=bool(feed.options.get("plain_http"))
        )
        if response.status != 200:
            raise NotAnswered(f"It answers {response.status}.")
        return response.body

    return fetch
