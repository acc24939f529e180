"""Silence is a state: by the one clock, per station, and one alarm where everything goes."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest import silence
from ingest.silence import Changes
from ingest.station import Station
from tests.integration.ingest.conftest import START_S, Bench, plain

START = datetime.fromtimestamp(START_S, UTC)


@pytest.fixture
def bench(postgres_url: str) -> Bench:
    made = Bench(postgres_url)
    made.register(*[Station(code=f"g{i}", name=f"g{i}", interval_s=600) for i in range(5)])
    made.register(Station(code="other", name="other", interval_s=600), tenant="fr")
    return made


def look(bench: Bench, after: timedelta, *, broker_up: bool = True) -> Changes:
    return bench.run(lambda conn: silence.check(conn, START + after, broker_up=broker_up))


def states(bench: Bench) -> dict[str, str]:
    return dict(bench.rows("SELECT code, state FROM station"))  # type: ignore[arg-type]


def events(bench: Bench) -> list[str]:
    """Kinds told to the browsers since the last call."""
    rows = bench.rows("DELETE FROM outbox WHERE consumer = 'stream' RETURNING kind")
    return sorted(row[0] for row in rows if row[0] != "observations_stored")


def speak(bench: Bench, *numbers: int, at: float = 0.0) -> None:
    bench.accept(*[plain(f"g{i}", START_S + at, 1.0 + i, received=START_S + at) for i in numbers], flush=True)


def test_two_intervals_and_thirty_seconds_are_silence(bench: Bench) -> None:
    assert set(states(bench).values()) == {"unknown"}
    speak(bench, 0, 1, 2, 3, 4)
    assert sorted(look(bench, timedelta(seconds=1)).online) == ["g0", "g1", "g2", "g3", "g4"]
    assert events(bench) == ["station_state_changed"] * 5
    speak(bench, 0, 1, 2, 3, at=1200)
    assert look(bench, timedelta(seconds=1230)).silent == []
    assert look(bench, timedelta(seconds=1231)).silent == ["g4"]
    assert events(bench) == ["station_state_changed"]
    assert states(bench)["g4"] == "silent"
    assert look(bench, timedelta(seconds=1240)) == Changes(silent=[], online=[], feeds={})
    # a reading with a wrong clock is a sign of life all the same
    bench.accept(plain("g4", 7200, 1.0, received=START_S + 1250), flush=True)
    assert look(bench, timedelta(seconds=1251)).online == ["g4"]
    # one that was known already is not: a broker that delivers again must not make a dead sensor look alive
    speak(bench, 0, 1, 2, 3, at=2400)
    bench.accept(plain("g4", 7200, 1.0, received=START_S + 2400), flush=True)
    assert look(bench, timedelta(seconds=2481)).silent == ["g4"]
    assert states(bench)["other"] == "unknown"  # never heard: unknown, and not silent


def test_a_feed_that_goes_is_one_alarm_and_not_one_a_station(bench: Bench) -> None:
    bench.accept(plain("g0", START_S, 1.0), plain("g1", START_S, 1.0), plain("g2", START_S, 1.0), flush=True)
    look(bench, timedelta(seconds=10))
    events(bench)
    changes = look(bench, timedelta(seconds=1300))
    assert sorted(changes.silent) == ["g0", "g1", "g2"]
    assert list(changes.feeds.values()) == ["down"]
    assert events(bench) == ["feed_state_changed"]
    assert bench.rows("SELECT state, n_stations FROM feed_state") == [("down", 3)]
    look(bench, timedelta(seconds=1400))
    assert events(bench) == []
    speak(bench, 0, at=1500)
    assert list(look(bench, timedelta(seconds=1501)).feeds.values()) == ["up"]
    assert bench.rows("SELECT state FROM feed_state") == [("up",)]


def test_a_broker_that_goes_is_one_alarm(bench: Bench) -> None:
    speak(bench, 0, 1)
    look(bench, timedelta(seconds=10))
    events(bench)
    assert look(bench, timedelta(seconds=60), broker_up=False).feeds == {"broker": "down"}
    assert events(bench) == ["feed_state_changed"]
    assert sorted(look(bench, timedelta(seconds=1300), broker_up=False).silent) == ["g0", "g1"]
    assert events(bench) == []  # the stations are unknown, and nobody is paged for each
    assert look(bench, timedelta(seconds=1310), broker_up=True).feeds == {"broker": "up"}
