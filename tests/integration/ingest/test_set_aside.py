"""A message that this code cannot deal with is kept whole in quarantine; it holds up no other and ends no process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from core.settings import Settings
from ingest.accept import Acceptor, TooManyWriters
from ingest.batch import Accepted, Batch, Message
from ingest.listen import Ingest
from store.pool import AsyncConnection
from tests.integration.ingest.conftest import START_S, Bench, plain


class Breaking(Acceptor):
    """Breaks on one value, as a defect of ours would."""

    error: Exception = IndexError("index 3 is out of bounds")

    async def accept(self, conn: AsyncConnection, messages: Sequence[Message] | Batch) -> Accepted:
        found = messages.messages if isinstance(messages, Batch) else messages
        if any(b'"v": 6.66' in one.body for one in found):
            raise self.error
        return await super().accept(conn, messages)


def ingest(bench: Bench, tmp_path: Path, acceptor: Acceptor) -> Ingest:
    made = Ingest(Settings(home=tmp_path, mode="exercise", database_worker_url=bench.url))
    made._acceptor = acceptor
    return made


def batch(acceptor: Acceptor) -> list[Message]:
    values = [1.0, 1.01, 6.66, 1.02, 1.03]
    return [plain("Hanwella", START_S + 600 * i, v, id=f"h:{i}") for i, v in enumerate(values)]


@pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])
def test_the_message_that_breaks_is_set_aside_and_the_others_are_kept(
    bench: Bench, tmp_path: Path, decoded: bool
) -> None:
    acceptor = Breaking(exercise=True)
    process = ingest(bench, tmp_path, acceptor)
    messages = batch(acceptor)

    async def main() -> Accepted | None:
        try:
            return await process._keep(acceptor.decode(messages) if decoded else messages)
        finally:
            if process._conn is not None:
                await process._conn.close()

    accepted = asyncio.run(main())
    assert accepted is not None
    assert (accepted.n_messages, accepted.outcomes["new"]) == (5, 4)
    assert [row[2] for row in bench.current()] == [1.0, 1.01, 1.02, 1.03]
    kept = bench.rows("SELECT reason, detail, payload FROM quarantine")
    assert kept == [("not_kept", "IndexError: index 3 is out of bounds", messages[2].body)]
    assert process.counters.n_readings == 4
    assert process.counters.n_rejected == 1


@pytest.mark.parametrize("exercise", [True, False])
def test_a_replay_hears_of_its_mark_also_where_the_message_is_set_aside(
    bench: Bench, tmp_path: Path, exercise: bool
) -> None:
    """It waits for its last message to be dealt with; kept or set aside, it is. A live database takes no replay."""
    process = ingest(bench, tmp_path, Breaking(exercise=exercise))
    (broken,) = [one for one in batch(Breaking(exercise=True)) if b'"v": 6.66' in one.body]
    body = b'{"replay":{"arrival":%d,"end":true,"mark":"the-last"},"payload":%b}' % (START_S + 1300, broken.body)

    async def main() -> None:
        try:
            await process._keep([Message(broken.topic, body, broken.received_us)])
        finally:
            if process._conn is not None:
                await process._conn.close()

    with psycopg.connect(bench.url, autocommit=True) as conn:
        conn.execute("LISTEN tocsin_replay")
        asyncio.run(main())
        heard = [note.payload for note in conn.notifies(timeout=2.0, stop_after=1)]
    assert bench.rows("SELECT reason, payload FROM quarantine") == [("not_kept", body)]
    assert heard == (["the-last"] if exercise else [])


def test_a_database_that_does_not_fit_is_as_if_away_and_sets_nothing_aside(bench: Bench, tmp_path: Path) -> None:
    acceptor = Acceptor(exercise=True)
    process = ingest(bench, tmp_path, acceptor)
    with psycopg.connect(bench.url) as conn:
        conn.execute("ALTER TABLE ingest_ledger RENAME COLUMN source TO origin")

    assert asyncio.run(process._keep(batch(acceptor))) is None  # then the batch goes to the spool
    assert process._conn is None
    assert bench.rows("SELECT count(*) FROM quarantine") == [(0,)]


def test_contention_sets_nothing_aside(bench: Bench, tmp_path: Path) -> None:
    acceptor = Breaking(exercise=True)
    acceptor.error = TooManyWriters(n_datastreams=1)
    process = ingest(bench, tmp_path, acceptor)

    async def main() -> None:
        try:
            await process._keep(batch(acceptor))
        finally:
            if process._conn is not None:
                await process._conn.close()

    with pytest.raises(TooManyWriters):
        asyncio.run(main())
    assert bench.rows("SELECT count(*) FROM quarantine") == [(0,)]
