"""A batch becomes rows: once, with its flags, its quarantine and its event, or not at all."""

import asyncio
import json
from typing import Any

import psycopg
import pytest

from ingest.accept import Acceptor, Item, accept_payloads
from ingest.batch import Message
from ingest.observation import CLOCK_SUSPECT, Check
from ingest.repository import ConnectionLost
from store import queries
from store.pool import AsyncConnection, connect_worker_async
from tests.integration.ingest.conftest import START_S, Bench, plain


def test_readings_are_stored_with_flags_event_latest_and_rollup(bench: Bench) -> None:
    messages = [plain("Hanwella", START_S + 600 * i, 1.0 + 0.01 * i, id=f"h:{i}") for i in range(4)]
    accepted = bench.accept(*messages, plain("Nagalagam Street", START_S, 3.0, u="ft"), flush=True)
    assert accepted.outcomes["new"] == 5
    assert accepted.rejected == []
    assert [row[2:] for row in bench.current()] == [
        (1.0, 1, 0), (1.01, 1, 0), (1.02, 1, 0), (1.03, 1, 0), (pytest.approx(0.9144), 1, 0)]  # fmt: skip
    events = bench.rows("SELECT consumer, ordering_key, payload FROM outbox ORDER BY consumer")
    assert [(e[0], e[1].split(":")[0]) for e in events] == [("stream", "readings"), ("watch", "readings")]
    payload = events[1][2]
    assert len(payload["datastream_ids"]) == 2
    assert payload["observed_from"].startswith("2025-11-24T00:00:00")
    assert payload["observed_until"].startswith("2025-11-24T00:30:00")
    assert payload["received_until"].startswith("2025-11-24T00:30:05")
    latest = bench.rows("SELECT value FROM latest_observation ORDER BY datastream_id")
    assert [row[0] for row in latest] == [1.03, pytest.approx(0.9144)]
    assert bench.rows("SELECT count(*) FROM rollup_dirty") == [(1,)]
    assert bench.rows("SELECT source, message_id FROM ingest_ledger ORDER BY 2")[0] == ("lk/Hanwella", "h:0")


def test_what_comes_again_has_no_second_effect(bench: Bench) -> None:
    messages = [plain("Hanwella", START_S + 600 * i, 1.0 + 0.01 * i, id=f"h:{i}") for i in range(5)]
    messages += [plain("Nagalagam Street", START_S + 600 * i, 2.0 + 0.01 * i) for i in range(5)]
    messages.append(plain("Hanwella", START_S, 5.5, id="h:0:c", corrects="h:0"))
    bench.accept(*messages)
    before = bench.current()
    n_events = bench.rows("SELECT count(*) FROM outbox")
    for acceptor in (bench.acceptor, Acceptor(exercise=True)):  # the same process, and one that was started anew
        bench.acceptor = acceptor
        again = bench.accept(*messages)
        assert again.outcomes["same"] == 11
        assert again.outcomes["new"] == 0
        twice = bench.accept(*messages, *messages)
        assert twice.outcomes["same"] == 22
    assert bench.current() == before
    assert bench.rows("SELECT count(*) FROM outbox") == n_events
    assert bench.rows("SELECT count(*) FROM quarantine") == [(0,)]
    assert bench.acceptor.conflict_share > 0.1


def test_a_batch_that_is_partly_known_keeps_what_is_new(bench: Bench) -> None:
    bench.accept(*[plain("Hanwella", START_S + 600 * i, 1.0, id=str(i)) for i in range(3)])
    mixed = [plain("Hanwella", START_S + 600 * i, 1.0, id=str(i)) for i in range(6)]
    accepted = bench.accept(*mixed)
    assert (accepted.outcomes["new"], accepted.outcomes["same"]) == (3, 3)
    assert accepted.staged
    assert len(bench.current()) == 6


def test_another_value_without_corrects_is_a_conflict_and_the_first_is_kept(bench: Bench) -> None:
    bench.accept(plain("Hanwella", START_S, 1.0))
    accepted = bench.accept(plain("Hanwella", START_S, 2.0))
    assert accepted.outcomes["conflict"] == 1
    assert bench.current() == [("Hanwella", START_S, 1.0, 1, 0)]
    assert bench.rows("SELECT reason, n_seen FROM quarantine") == [("conflict", 1)]


def test_a_message_id_stands_for_one_reading_only(bench: Bench) -> None:
    bench.accept(plain("Hanwella", START_S, 1.0, id="a"))
    bench.accept(plain("Hanwella", START_S + 600, 1.1, id="a"))
    bench.accept(plain("Nagalagam Street", START_S, 1.0, id="a"))  # another device counts for itself
    assert [row[:3] for row in bench.current()] == [("Hanwella", START_S, 1.0), ("Nagalagam Street", START_S, 1.0)]
    assert bench.rows("SELECT reason FROM quarantine") == [("message_id_reused",)]
    together = bench.accept(
        plain("Hanwella", START_S + 1200, 1.0, id="b"), plain("Hanwella", START_S + 1800, 1.0, id="b")
    )
    assert [r.reason for r in together.rejected] == ["message_id_reused"]


def test_a_correction_is_a_revision_and_may_come_first(bench: Bench) -> None:
    bench.accept(plain("Hanwella", START_S, 1.0, id="a"))
    bench.accept(plain("Hanwella", START_S, 1.2, id="a:c1", corrects="a"))
    bench.accept(plain("Hanwella", START_S, 1.3, id="a:c2", corrects="a"))
    bench.accept(plain("Nagalagam Street", START_S, 2.2, id="n:c1", corrects="n"))
    assert bench.current() == [("Hanwella", START_S, 1.3, 1, 2), ("Nagalagam Street", START_S, 2.2, 1, 1)]
    bench.acceptor = Acceptor(exercise=True)
    assert bench.accept(plain("Nagalagam Street", START_S, 2.0, id="n")).outcomes["original_late"] == 1
    assert bench.current()[1] == ("Nagalagam Street", START_S, 2.2, 1, 1)
    kept = bench.rows(
        "SELECT r.value FROM observation_revision r JOIN datastream USING (datastream_id)"
        " JOIN station s USING (station_id) WHERE s.code LIKE 'Naga%%' AND r.revision = 0"
    )
    assert kept == [(2.0,)]
    # the original's value again, by another message: known, no conflict
    assert bench.accept(plain("Nagalagam Street", START_S, 2.0)).outcomes["same"] == 1


def test_wrong_clocks_are_kept_as_sent_and_suspect(bench: Bench) -> None:
    now = START_S + 86_400.0
    bench.accept(
        plain("Hanwella", now - 600, 1.0, received=now),
        plain("Hanwella", 7200, 1.1, received=now),
        plain("Hanwella", now + 600, 1.2, received=now),
        plain("Hanwella", now + 119, 1.3, received=now),
        plain("Hanwella", (now - 60) * 1000, 1.4, received=now),
        plain("Hanwella", 7201, None, received=now),
        flush=True,
    )
    assert bench.current() == [
        ("Hanwella", 7200, 1.1, 3, 0),
        ("Hanwella", 7201, None, 9, 0),
        ("Hanwella", now - 600, 1.0, 1, 0),
        ("Hanwella", now - 60, 1.4, 3, 0),
        ("Hanwella", now + 119, 1.3, 1, 0),
        ("Hanwella", now + 600, 1.2, 3, 0),
    ]
    tests = dict(bench.rows("SELECT extract(epoch FROM observed_at)::bigint, tests FROM observation"))
    assert tests[7200] & Check.CLOCK_UNSET
    assert tests[int(now + 600)] & Check.CLOCK_AHEAD
    assert tests[int(now - 60)] & Check.EPOCH_MS
    # the newest that counts is the one 119 s ahead, which is within the allowed skew
    assert bench.rows("SELECT value FROM latest_observation") == [(1.3,)]
    again = bench.accept(plain("Hanwella", 7200, 1.1, received=now + 9), plain("Hanwella", 7200, 1.1, received=now + 9))
    assert again.outcomes["same"] == 2


def test_a_reading_that_was_ahead_of_the_clock_comes_again_when_its_time_has_come(bench: Bench) -> None:
    at, early, late = START_S + 600, START_S, START_S + 605  # 600 s ahead on its first arrival, in time on its second
    bench.accept(plain("Hanwella", at, 1.2, received=early))
    for acceptor in (bench.acceptor, Acceptor(exercise=True)):
        bench.acceptor = acceptor
        again = bench.accept(plain("Hanwella", at, 1.2, received=late), plain("Hanwella", at + 600, 1.3))
        assert again.outcomes["same"] >= 1
    assert bench.current() == [("Hanwella", at, 1.2, 3, 0), ("Hanwella", at + 600, 1.3, 1, 0)]
    conflict = bench.accept(plain("Hanwella", at, 7.0, received=late))
    assert [r.reason for r in conflict.rejected] == ["conflict"]
    corrected = bench.accept(plain("Hanwella", at, 1.5, received=late, id="c", corrects="h"))
    assert corrected.outcomes["correction"] == 1
    assert bench.current()[0][2:] == (1.5, 3, 1)


def test_both_arrivals_of_a_reading_may_lie_in_one_batch(bench: Bench) -> None:
    at = START_S + 600
    together = bench.accept(plain("Hanwella", at, 1.2, received=START_S), plain("Hanwella", at, 1.2, received=at + 5))
    assert (together.outcomes["new"], together.outcomes["same"]) == (1, 1)
    assert bench.current() == [("Hanwella", at, 1.2, 3, 0)]


def test_a_spike_gets_its_final_flag_when_the_next_reading_comes(bench: Bench) -> None:
    for i, v in enumerate([1.0, 1.01, 1.02, 9.3, 1.04, 1.05]):
        bench.accept(plain("Hanwella", START_S + 600 * i, v))
    assert [row[3] for row in bench.current()] == [1, 1, 1, 3, 1, 1]
    raw = bench.rows("SELECT value, tests FROM observation WHERE value > 9")
    assert raw == [(9.3, int(Check.SPIKE | Check.PROVISIONAL))]
    final = bench.rows("SELECT revision, flags_version, value, tests FROM observation_revision WHERE value > 9")
    assert final == [(0, 1, 9.3, int(Check.SPIKE))]


def test_readings_far_in_the_past_are_checked_against_what_is_stored(bench: Bench) -> None:
    n = 300
    base = [plain("Hanwella", START_S + 600 * i, 1.0 + (i % 7) * 0.01) for i in range(n) if i != 20]
    bench.accept(*base)
    bench.accept(plain("Hanwella", START_S + 600 * 20, 8.9, received=START_S + 600 * n))
    spike = [row for row in bench.current() if row[2] == 8.9]
    assert spike == [("Hanwella", START_S + 12_000, 8.9, 3, 0)]
    assert len(bench.current()) == n
    again = bench.accept(*base[:30])
    assert again.outcomes["same"] == 30


def test_what_cannot_be_decoded_is_kept_once_with_its_reason_and_a_count(bench: Bench) -> None:
    poison = Message("tocsin/v1/lk/obs/Hanwella/level", b'{"v":NaN,"t":1}', START_S * 10**6)
    stranger = Message("tocsin/v1/lk/obs/Nowhere/level", b'{"v":1,"t":1763942400}', START_S * 10**6)
    wrong_topic = Message("weather/today", b'{"v":1,"t":1763942400}', START_S * 10**6)
    pack = json.dumps([{"n": "level", "u": "m", "t": START_S, "v": 1}, {"n": "level", "u": "m", "v": True}]).encode()
    accepted = bench.accept(
        poison, plain("Hanwella", START_S, 1.0), poison, stranger, wrong_topic,
        Message("tocsin/v1/lk/obs/Hanwella/level", pack, START_S * 10**6),
    )  # fmt: skip
    assert [r.reason for r in accepted.rejected] == [
        "not_finite", "not_finite", "bad_topic", "bad_senml", "unknown_station"]  # fmt: skip
    bench.accept(poison)
    assert len(bench.current()) == 1
    kept = dict(bench.rows("SELECT reason, n_seen FROM quarantine"))
    assert kept == {"not_finite": 3, "unknown_station": 1, "bad_topic": 1, "bad_senml": 1}
    assert bench.rows("SELECT payload FROM quarantine WHERE reason = 'not_finite'") == [(poison.body,)]


def test_a_pack_may_bring_a_quantity_the_station_did_not_measure_before(bench: Bench) -> None:
    pack = json.dumps(
        [
            {"bn": "Hanwella:", "bt": START_S, "n": "level", "u": "m", "v": 1.5},
            {"n": "temperature", "u": "K", "v": 300.15},
        ]
    ).encode()
    bench.accept(Message("tocsin/v1/lk/obs/Hanwella/senml", pack, START_S * 10**6))
    assert bench.rows(
        "SELECT quantity, unit, value FROM observation JOIN datastream USING (datastream_id) ORDER BY 1"
    ) == [("level", "m", 1.5), ("temperature", "Cel", pytest.approx(27.0))]


def test_a_replay_envelope_sets_the_arrival_and_moves_a_clock_that_is_held(bench: Bench) -> None:
    body = b'{"replay":{"arrival":1763942500,"end":true},"payload":{"t":1763942400,"v":1.0}}'
    with psycopg.connect(bench.url) as conn:
        conn.execute(
            "INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at)"
            " VALUES (now(), '2025-11-20Z', 60, '2025-11-20Z')"
        )
    accepted = bench.accept(Message("tocsin/v1/lk/obs/Hanwella/level", body, 1_800_000_000 * 10**6))
    assert accepted.step_ends
    assert bench.rows("SELECT extract(epoch FROM received_at)::bigint FROM observation") == [(1_763_942_500,)]
    assert bench.rows("SELECT extract(epoch FROM held_at)::bigint FROM scenario_clock") == [(1_763_942_500,)]


def test_a_replay_envelope_is_refused_outside_an_exercise(live_postgres_url: str) -> None:
    from ingest.station import Station

    bench = Bench(live_postgres_url, Acceptor(exercise=False))
    bench.register(Station(code="Hanwella", name="Hanwella"))
    body = b'{"replay":{"arrival":1763942500},"payload":{"t":1763942400,"v":1.0}}'
    accepted = bench.accept(Message("tocsin/v1/lk/obs/Hanwella/level", body, START_S * 10**6))
    assert [r.reason for r in accepted.rejected] == ["replay_outside_exercise"]
    assert bench.current() == []


def test_payloads_by_http_are_kept_alike_and_other_writers_hear_of_it(bench: Bench) -> None:
    heard: list[str] = []

    async def work(listener: AsyncConnection) -> None:
        await listener.execute("LISTEN tocsin_readings")
        listener.add_notify_handler(lambda note: heard.append(note.payload))
        conn = await connect_worker_async(bench.url)
        pack = json.dumps([{"bt": START_S, "n": "level", "u": "m", "v": 1.5}]).encode()
        items = [
            Item("Nagalagam Street", pack),
            Item("Hanwella", b'{"t":1763942400,"v":2.5,"quantity":"level"}'),
            Item("Hanwella", b"nonsense"),
        ]
        accepted = await accept_payloads(conn, "lk", items, START_S * 10**6)
        assert accepted.outcomes["new"] == 2
        assert [(r.n, r.reason) for r in accepted.rejected] == [(2, "bad_json")]
        again = await accept_payloads(conn, "lk", items[:2], START_S * 10**6)
        assert again.outcomes["same"] == 2
        await conn.close()
        await listener.execute("SELECT 1")

    bench.run(work)
    assert len(heard[0].split(",")) == 2
    assert [row[2] for row in bench.current()] == [2.5, 1.5]
    assert bench.rows("SELECT count(*) FROM latest_observation") == [(2,)]


def test_another_writer_is_noticed_at_the_latest_by_its_keys(bench: Bench) -> None:
    bench.accept(plain("Hanwella", START_S, 1.0), plain("Hanwella", START_S + 600, 1.1))
    other = Acceptor(exercise=True)
    mine, bench.acceptor = bench.acceptor, other
    bench.accept(plain("Hanwella", START_S + 1200, 9.9), plain("Hanwella", START_S + 1800, 1.2))
    bench.acceptor = mine
    accepted = bench.accept(
        plain("Hanwella", START_S + 1200, 9.9),
        plain("Hanwella", START_S + 1800, 1.2),
        plain("Hanwella", START_S + 2400, 1.3),
    )
    assert (accepted.outcomes["same"], accepted.outcomes["new"]) == (2, 1)
    assert [row[3] for row in bench.current()] == [1, 1, 3, 1, 1]


def test_a_lost_connection_is_said_and_the_batch_can_be_given_again(bench: Bench) -> None:
    async def work() -> None:
        conn = await connect_worker_async(bench.url)
        pid = conn.info.backend_pid
        with psycopg.connect(bench.url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(ConnectionLost):
            await bench.acceptor.accept(conn, [plain("Hanwella", START_S, 1.0, id="a")])
        bench.acceptor.forget()
        await conn.close()

    asyncio.run(work())
    assert bench.accept(plain("Hanwella", START_S, 1.0, id="a")).outcomes["new"] == 1


def test_looking_up_the_recent_past_walks_the_index(bench: Bench) -> None:
    """What a restart looks up must not grow with the history: a long past is not read to find its end."""
    bench.accept(plain("Hanwella", START_S, 1.0))
    n_per_day, n_days = 1_440, 3  # a reading a minute, forty gauges
    with psycopg.connect(bench.url, autocommit=True) as conn:
        ((datastream_id,),) = conn.execute("SELECT datastream_id FROM observation").fetchall()
        conn.execute(
            """INSERT INTO observation (datastream_id, observed_at, value, quality, tests, received_at)
               SELECT %s + ds, to_timestamp(%s) + make_interval(secs => i * %s), 1.0, 1, 0, to_timestamp(%s)
               FROM generate_series(1, %s) AS i, generate_series(0, 39) AS ds""",
            (datastream_id, START_S, 86_400 / n_per_day, START_S, n_per_day * n_days),
        )
        query = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + queries.load("ingest")["recent"]
        params = {"datastream_ids": [datastream_id], "n": 100, "clock_suspect": int(CLOCK_SUSPECT)}
        ((plan,),) = conn.execute(query.encode(), params).fetchall()

    def scanned(node: dict[str, Any]) -> float:
        here = node["Actual Rows"] * node["Actual Loops"] if node.get("Alias", "").startswith("o") else 0
        return max([here, *(scanned(one) for one in node.get("Plans", ()))])

    assert 100 <= scanned(plan[0]["Plan"]) <= 400
