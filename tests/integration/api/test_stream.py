"""The browsers' stream: every event once, in order, to whom it concerns, also after a break."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import UUID

import psycopg
import pytest
from starlette.types import Message

from api import repository
from api.sse import Hub
from core.events import AnswerGiven, Event, QuoteIssued, StationStateChanged, WarningChanged
from core.ids import new_id
from core.settings import Settings
from store import outbox
from store.pool import worker_pool
from tests.integration.api.world import PASSWORD, Console, Sync, World, running


class Stream:
    """One open stream, read frame by frame straight from the ASGI application, as a server would."""

    def __init__(self, app: Any, headers: dict[str, str], query: str = "") -> None:
        self._sent: asyncio.Queue[Message] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._buffer = ""
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/stream",
            "raw_path": b"/v1/stream",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("tocsin.test", 80),
            "scheme": "http",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
            "root_path": "",
        }
        self._given = False
        self.task = asyncio.create_task(app(scope, self._receive, self._sent.put))

    async def _receive(self) -> Message:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def start(self) -> int:
        message = await asyncio.wait_for(self._sent.get(), 5)
        return int(message["status"])

    async def frame(self) -> dict[str, Any]:
        """The next frame: {event, id, data}, or {comment}, or {} where the stream has ended."""
        while "\n\n" not in self._buffer:
            message = await asyncio.wait_for(self._sent.get(), 5)
            self._buffer += message.get("body", b"").decode()
            if not message.get("more_body", False) and "\n\n" not in self._buffer:
                return {}
        text, _, self._buffer = self._buffer.partition("\n\n")
        if text.startswith(":"):
            return {"comment": text}
        fields = dict(line.split(": ", 1) for line in text.split("\n"))
        if "retry" in fields:
            return await self.frame()
        return {"event": fields["event"], "id": int(fields["id"]), "data": json.loads(fields["data"])}

    async def until(self, event: str) -> list[dict[str, Any]]:
        """Frames up to and with the first of this kind, heartbeats left out."""
        found = []
        while True:
            frame = await self.frame()
            assert frame, f"the stream ended before {event}"
            if "comment" not in frame:
                found.append(frame)
                if frame["event"] == event:
                    return found

    async def close(self) -> None:
        self._gone.set()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self.task


@contextlib.asynccontextmanager
async def stream(app: Console, world: World, role: str = "insurer", **headers: str) -> AsyncIterator[Stream]:
    query = headers.pop("query", "")
    async with app.as_role(world, role) as client:
        cookie = client.cookies["tocsin_session"]
    opened = Stream(app.app, {"Cookie": f"tocsin_session={cookie}", **headers}, query)
    try:
        assert await opened.start() == 200
        yield opened
    finally:
        await opened.close()


async def publish(settings: Settings, tenant_id: UUID | None, *events: Event) -> None:
    async with worker_pool(settings, size=1) as pool, pool.connection() as conn, conn.transaction():
        for event in events:
            await outbox.publish(conn, event, ordering_key=str(new_id()), tenant_id=tenant_id)


Body = Callable[[Console], Coroutine[Any, Any, None]]


def run(settings: Settings, body: Body, **hub: float) -> None:
    async def main() -> None:
        async with running(settings, Hub(settings, **hub)) as app:
            await body(app)

    asyncio.run(main())


def test_an_event_arrives_and_only_where_it_concerns(settings: Settings, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with stream(app, world) as mine, stream(app, other) as theirs:
            await mine.until("hello")
            await theirs.until("hello")
            answer, station = new_id(), new_id()
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=answer))
            await publish(settings, None, StationStateChanged(station_id=station))  # public: for everybody
            got = await mine.until("station_state_changed")
            assert [(one["event"], one["data"].get("answer_id")) for one in got[:-1]] == [("answer_given", str(answer))]
            assert got[0]["data"]["at"].endswith("Z")
            assert got[0]["id"] < got[1]["id"]
            (only,) = await theirs.until("station_state_changed")
            assert only["data"]["station_id"] == str(station)

    run(settings, body)


def test_a_role_hears_only_of_what_it_may_read(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        async with stream(app, world, "partner") as partner, stream(app, world, "underwriter") as underwriter:
            await partner.until("hello")
            await underwriter.until("hello")
            await publish(
                settings,
                world.tenant_id,
                WarningChanged(warning_id=new_id(), version=1),
                AnswerGiven(answer_id=new_id()),
                QuoteIssued(quote_id=new_id()),
                StationStateChanged(station_id=new_id()),
            )
            assert [one["event"] for one in await partner.until("station_state_changed")] == ["station_state_changed"]
            heard = [one["event"] for one in await underwriter.until("station_state_changed")]
            assert heard == ["quote_issued", "station_state_changed"]

    run(settings, body)


def test_what_was_missed_is_replayed_once_and_in_order(settings: Settings, world: World, other: World) -> None:
    async def body(app: Console) -> None:
        async with stream(app, world) as first:
            (hello,) = await first.until("hello")
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=new_id()))
            (seen,) = await first.until("answer_given")
        # away: five more happen, one of them another tenant's
        missed = [new_id() for _ in range(4)]
        for answer in missed:
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=answer))
        await publish(settings, other.tenant_id, AnswerGiven(answer_id=new_id()))
        for back in ({"Last-Event-ID": str(seen["id"])}, {"query": f"last_id={seen['id']}"}):
            async with stream(app, world, **back) as second:
                # what is published while it reconnects comes exactly once as well
                late = new_id()
                await publish(settings, world.tenant_id, StationStateChanged(station_id=late))
                got = await second.until("station_state_changed")
                while got[-1]["data"]["station_id"] != str(late):
                    got += await second.until("station_state_changed")
                kinds = [one for one in got if one["event"] != "hello"]
                answers = [one["data"]["answer_id"] for one in kinds if one["event"] == "answer_given"]
                assert answers == [str(one) for one in missed]
                ids = [one["id"] for one in kinds]
                assert ids == sorted(set(ids))
        assert hello["id"] < seen["id"]

    run(settings, body)


def test_a_replay_too_tells_a_role_only_what_it_may_read(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        await publish(settings, world.tenant_id, AnswerGiven(answer_id=new_id()), QuoteIssued(quote_id=new_id()))
        await publish(settings, world.tenant_id, StationStateChanged(station_id=new_id()))
        async with stream(app, world, "insurer") as insurer:  # all three are numbered when it has seen the last
            await publish(settings, world.tenant_id, StationStateChanged(station_id=new_id()))
            await insurer.until("station_state_changed")
        async with stream(app, world, "partner", query="last_id=0") as partner:
            got = [one["event"] for one in await partner.until("hello")]
        assert got == ["station_state_changed"] * 2 + ["hello"]

    run(settings, body)


def test_what_happens_while_a_page_connects_comes_once(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is numbered after the page was entered in the list and before its replay is read: both hold it."""
    real = repository.stream_edges
    meanwhile = [new_id()]

    async def slow(conn: Any) -> tuple[int, int]:
        if meanwhile:
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=meanwhile.pop()))
            await asyncio.sleep(1.0)
        return await real(conn)

    async def body(app: Console) -> None:
        await publish(settings, world.tenant_id, QuoteIssued(quote_id=new_id()))
        monkeypatch.setattr(repository, "stream_edges", slow)
        async with stream(app, world, query="last_id=0") as opened:
            got = await opened.until("hello")
            await publish(settings, world.tenant_id, StationStateChanged(station_id=new_id()))
            got += await opened.until("station_state_changed")
        assert [one["event"] for one in got] == ["answer_given", "hello", "station_state_changed"]

    run(settings, body)


def test_nothing_is_lost_or_doubled_however_the_stream_breaks(settings: Settings, world: World) -> None:
    """A page that is cut off again and again while 120 events happen ends with each of them once."""
    wanted = [new_id() for _ in range(120)]

    async def body(app: Console) -> None:
        got: list[str] = []
        last: str | None = None

        async def make() -> None:
            for answer in wanted:
                await publish(settings, world.tenant_id, AnswerGiven(answer_id=answer))

        async with app.as_role(world, "insurer") as client:
            cookie = client.cookies["tocsin_session"]
        # the first connection exists before the first event, or there would be nothing to resume from
        opened = Stream(app.app, {"Cookie": f"tocsin_session={cookie}"})
        await opened.start()
        last = str((await opened.until("hello"))[-1]["id"])
        making = asyncio.create_task(make())
        for length in (3, 1, 7, 2, 11, 5, 1, 19, 4, 200):
            await opened.close()
            opened = Stream(app.app, {"Cookie": f"tocsin_session={cookie}", "Last-Event-ID": last})
            await opened.start()
            taken = 0
            while taken < length and len(got) < len(wanted):
                frame = await opened.frame()
                if frame.get("event") == "answer_given":
                    got.append(frame["data"]["answer_id"])
                    last = str(frame["id"])
                    taken += 1
        await opened.close()
        await making
        assert got == [str(one) for one in wanted]

    run(settings, body)


def test_what_can_no_longer_be_given_is_said(settings: Settings, world: World, worker: Sync) -> None:
    async def body(app: Console) -> None:
        for _ in range(3):
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=new_id()))
        async with stream(app, world, query="last_id=0") as opened:
            got = await opened.until("hello")
            assert [one["event"] for one in got] == ["answer_given"] * 3 + ["hello"]
            first = got[0]["id"]
        worker.execute("DELETE FROM stream_event WHERE stream_id <= %s", [first + 1])  # retention
        async with stream(app, world, **{"Last-Event-ID": str(first)}) as opened:
            assert [one["event"] for one in await opened.until("hello")] == ["reset", "hello"]
        async with stream(app, world, **{"Last-Event-ID": str(first + 1)}) as opened:
            assert [one["event"] for one in await opened.until("hello")] == ["answer_given", "hello"]
        async with stream(app, world, **{"Last-Event-ID": "999999"}) as opened:  # of a database that was put back
            assert [one["event"] for one in await opened.until("hello")] == ["reset", "hello"]

    run(settings, body)


def test_heartbeats_and_a_longest_age(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        async with stream(app, world) as opened:
            await opened.until("hello")
            assert (await opened.frame())["comment"] == ": heartbeat"
            frames = await opened.until("bye")
            assert frames[-1]["event"] == "bye"
            assert await opened.frame() == {}

    run(settings, body, heartbeat_s=0.05, longest_age_s=0.5)


def test_signing_out_ends_the_sessions_streams(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.client() as client:
            await client.post("/v1/session", json={"login": "insurer@acme", "password": PASSWORD})
            opened = Stream(app.app, {"Cookie": f"tocsin_session={client.cookies['tocsin_session']}"})
            assert await opened.start() == 200
            await opened.until("hello")
            assert (await client.delete("/v1/session")).status_code == 204
            await opened.until("bye")
            assert await opened.frame() == {}
            await opened.close()

    run(settings, body)


def test_one_person_cannot_open_streams_without_end(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            cookie = {"Cookie": f"tocsin_session={client.cookies['tocsin_session']}"}
        opened = [Stream(app.app, cookie) for _ in range(20)]
        for one in opened:
            assert await one.start() == 200
            await one.until("hello")
        refused = Stream(app.app, cookie)
        assert await refused.start() == 429
        for one in opened:
            await one.close()
        again = Stream(app.app, cookie)
        assert await again.start() == 200
        for one in (refused, again):
            await one.close()

    run(settings, body)


@pytest.mark.parametrize("bad", ["x", "-1", "1.5"])
def test_a_strange_last_event_id_is_refused(settings: Settings, world: World, bad: str) -> None:
    async def body(app: Console) -> None:
        async with app.as_role(world, "insurer") as client:
            answer = await client.get("/v1/stream", headers={"Last-Event-ID": bad})
            assert answer.status_code == 422

    run(settings, body)


def test_the_stream_comes_back_after_its_connection_was_cut(settings: Settings, world: World) -> None:
    async def body(app: Console) -> None:
        async with stream(app, world) as opened:
            await opened.until("hello")
            assert settings.database_url is not None
            with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as owner:
                killed = owner.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                ).fetchone()
            assert killed is not None
            assert killed[0] >= 1
            answer = new_id()
            await publish(settings, world.tenant_id, AnswerGiven(answer_id=answer))
            got = await opened.until("answer_given")
            assert got[-1]["data"]["answer_id"] == str(answer)

    run(settings, body)


def test_two_processes_number_each_event_once(settings: Settings, world: World) -> None:
    async def main() -> None:
        async with (
            running(settings, Hub(settings)) as one,
            running(settings, Hub(settings)) as two,
            stream(one, world) as at_one,
            stream(two, world) as at_two,
        ):
            await at_one.until("hello")
            await at_two.until("hello")
            wanted = [new_id() for _ in range(20)]
            await publish(settings, world.tenant_id, *(AnswerGiven(answer_id=answer) for answer in wanted))
            await publish(settings, world.tenant_id, QuoteIssued(quote_id=new_id()))
            await publish(settings, world.tenant_id, StationStateChanged(station_id=new_id()))
            for opened in (at_one, at_two):
                got = await opened.until("station_state_changed")
                assert {one["data"].get("answer_id") for one in got[:-1]} == {str(one) for one in wanted}
                assert len(got) == 21

    asyncio.run(main())
