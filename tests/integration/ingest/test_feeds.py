"""Feeds end to end: a server on the loopback address plays them, and the database holds what they brought."""

import asyncio
import base64
import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.clock import Clock
from geo import repository as geo_repository
from ingest import feeds, poll, subscribe
from ingest.accept import Acceptor
from ingest.feeds import FeedRow
from ingest.outbound import AddressRefused, BodyTooLarge, Outbound
from ingest.take import Taken, Taker
from ingest.weather import sparkplug, wis2
from ingest.weather.capfeed import feed_list
from store.pool import AsyncConnection, connect_worker_async

pytestmark = pytest.mark.sql

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NS = "urn:oasis:names:tc:emergency:cap:1.2"


class Stage:
    """A server whose answers the test sets: path -> (status, headers, body), and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        stage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stage.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, headers, body = stage.answers.get(self.path, (404, {}, b""))
                if headers.get("ETag") and self.headers.get("If-None-Match") == headers["ETag"]:
                    status, body = 304, b""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Hands(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


class Desk:
    """Polls feeds of one database."""

    def __init__(self, url: str) -> None:
        self.url, self.clock = url, Hands()
        self.taker = Taker(Acceptor(exercise=True))

    def run(self, work: Callable[[AsyncConnection], Any]) -> Any:
        async def main() -> Any:
            conn = await connect_worker_async(self.url)
            try:
                return await work(conn)
            finally:
                await conn.close()

        return asyncio.run(main())

    def add(self, code: str, kind: str, url: str, **options: Any) -> None:
        async def work(conn: AsyncConnection) -> None:
            await feeds.add(conn, code=code, kind=kind, url=url, options=options)
            await feeds.turn(conn, code, on=True)

        self.run(work)

    def poll(self, code: str) -> Taken | None:
        async def work(conn: AsyncConnection) -> Taken | None:
            outbound = Outbound(allow_private=True)
            try:
                (feed,) = await feeds.find(conn, code)
                return await poll.poll(conn, outbound, self.taker, feed, clock=self.clock, chance=lambda: 0.5)
            finally:
                await outbound.close()

        return self.run(work)  # type: ignore[no-any-return]

    def feed(self, code: str) -> FeedRow:
        return self.run(lambda conn: feeds.find(conn, code))[0]  # type: ignore[no-any-return]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as conn:
            return conn.execute(query.encode()).fetchall()


@pytest.fixture
def desk(postgres_url: str) -> Desk:
    return Desk(postgres_url)


def message(identifier: str, *, kind: str = "Alert", references: str = "", lon: float = 80.0) -> bytes:
    refs = f"<references>{references}</references>" if references else ""
    minute = int(identifier[1:])
    return f"""<alert xmlns="{NS}"><identifier>{identifier}</identifier><sender>s@met.example</sender>
<sent>2026-03-01T11:{minute:02d}:00+00:00</sent><status>Actual</status><msgType>{kind}</msgType><scope>Public</scope>{refs}<info>
<category>Met</category><event>Flood</event><urgency>Immediate</urgency><severity>Severe</severity><certainty>Observed</certainty>
<expires>2026-03-01T18:00:00+00:00</expires><area><areaDesc>x</areaDesc>
<polygon>7,{lon} 7,{lon + 1} 8,{lon + 1} 8,{lon} 7,{lon}</polygon></area></info></alert>""".encode()


def atom(*paths: str) -> bytes:
    entries = "".join(f'<entry><id>{p}</id><title>t</title><link href="{p}"/></entry>' for p in paths)
    return f'<feed xmlns="http://www.w3.org/2005/Atom">{entries}</feed>'.encode()


REF = "s@met.example,a1,2026-03-01T11:01:00+00:00"


def test_bulletins_are_judged_kept_once_and_ended_by_what_follows(desk: Desk, stage: Stage) -> None:
    stage.answers = {
        "/index": (200, {"ETag": '"1"'}, atom("/a2", "/a1", "/evil")),
        "/a1": (200, {}, message("a1")),
        "/a2": (200, {}, message("a2", kind="Update", references=REF)),
        "/evil": (200, {}, b"<!DOCTYPE x><alert/>"),
    }
    desk.add("met", "cap", f"{stage.url}/index")
    taken = desk.poll("met")
    assert taken is not None
    assert taken.n_bulletins == 3
    kept = desk.rows(
        "SELECT identifier, verdict, would_notify, ended_by IS NOT NULL, area IS NOT NULL FROM bulletin ORDER BY seen_at, identifier"
    )
    assert sorted(kept, key=str) == [
        ("a1", "accept", True, True, True), ("a2", "accept", True, False, True), (None, "reject", False, False, False)]  # fmt: skip
    # the same index again: only the tag is asked, nothing is fetched twice
    n_asked = len(stage.asked)
    again = desk.poll("met")
    assert again is not None
    assert again.n_bulletins == 0
    assert stage.asked[n_asked:][0][1]["if-none-match"] == '"1"'
    assert len(stage.asked) == n_asked + 1
    # another process, with an empty memory, judges by what is stored: a Cancel ends, and tells nobody anything new
    desk.taker = Taker(Acceptor(exercise=True))
    stage.answers["/index"] = (200, {"ETag": '"2"'}, atom("/a3", "/a2", "/a1"))
    stage.answers["/a3"] = (
        200,
        {},
        message("a3", kind="Cancel", references=f"{REF} s@met.example,a2,2026-03-01T11:02:00+00:00"),
    )
    desk.poll("met")
    assert desk.rows("SELECT would_notify, verdict FROM bulletin WHERE identifier = 'a3'") == [(False, "accept")]
    assert desk.rows("SELECT count(*) FROM bulletin WHERE would_notify AND ended_by IS NULL") == [(0,)]


def test_a_feed_that_goes_is_told_once_and_asked_less_often(
    desk: Desk, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.answers = {"/index": (200, {}, atom())}
    desk.add("met", "cap", f"{stage.url}/index")
    desk.poll("met")
    assert desk.feed("met").state == "up"
    answered = desk.feed("met").answered_at
    for status, headers, body in (
        (500, {}, b""), (302, {"Location": "http://127.0.0.1/x"}, b""), (200, {}, b"<html"), (200, {}, b"<!DOCTYPE a><feed/>"), (404, {}, b"")):  # fmt: skip
        stage.answers["/index"] = (status, headers, body)
        desk.clock.at += timedelta(minutes=5)
        assert desk.poll("met") is None
    feed = desk.feed("met")
    assert (feed.state, feed.n_failures, feed.answered_at) == ("down", 5, answered)
    assert feed.age_s(desk.clock.at) == 1500  # its data say how old they are
    assert feed.as_json(desk.clock.at)["stale"] is True
    (due,) = desk.rows("SELECT extract(epoch FROM due_at - tried_at)::float8 FROM feed")
    assert due[0] == 3600  # 120 s, doubled five times, an hour at most
    stage.answers["/index"] = (200, {}, atom())
    assert desk.poll("met") is not None
    assert desk.feed("met").state == "up"
    told = desk.rows("SELECT payload->>'state' FROM outbox WHERE kind = 'feed_state_changed' ORDER BY outbox_id")
    assert [one[0] for one in told] == ["down", "up"]


def test_waits_have_jitter_and_an_end() -> None:
    waits = [poll.wait_s(100, 0, k / 100) for k in range(101)]
    assert (min(waits), max(waits)) == (90, pytest.approx(110))
    assert poll.wait_s(100, 40, 0.5) == 3600
    assert poll.wait_s(86_400, 3, 0.5) == 86_400


def test_readings_go_through_the_one_door(desk: Desk, stage: Stage, shared_data: Path) -> None:
    bulletin = (shared_data / "warning/floods/dmc_bulletins/2025-11-27-18-30-water-level.json").read_bytes()
    water = {"value": {"timeSeries": [{
        "sourceInfo": {"siteName": "Dead Run", "siteCode": [{"value": "01589330"}]}, "variable": {"variableCode": [{"value": "00065"}]},
        "values": [{"value": [{"value": v, "dateTime": f"2026-03-01T06:{m:02d}:00.000-05:00", "qualifiers": ["P"]} for m, v in ((0, "10"), (5, "-999999"))]}]}]}}  # fmt: skip
    stage.answers = {"/dmc": (200, {}, bulletin), "/nwis": (200, {}, json.dumps(water).encode())}
    desk.clock.at = datetime(2025, 11, 27, 14, tzinfo=UTC)
    desk.add("dmc", "dmc", f"{stage.url}/dmc")
    desk.add("usgs", "usgs_water", f"{stage.url}/nwis")
    first = desk.poll("dmc")
    assert first is not None
    assert first.n_readings == 2 * len(json.loads(bulletin)["d_list"])
    again = desk.poll("dmc")
    assert again is not None
    assert again.n_readings == 0
    ((level,),) = desk.rows(
        "SELECT o.value FROM observation_current o JOIN datastream d USING (datastream_id) JOIN station s USING (station_id)"
        " WHERE s.code = 'Nagalagam Street' AND d.quantity = 'level'"
    )
    assert level == pytest.approx(0.97536)  # metres already
    desk.clock.at = NOW
    desk.poll("usgs")
    got = desk.rows(
        "SELECT o.value, o.quality FROM observation_current o JOIN datastream d USING (datastream_id) JOIN station s USING (station_id)"
        " WHERE s.code = '01589330' ORDER BY o.observed_at"
    )
    assert got[0][0] == pytest.approx(3.048)
    assert got[1] == (None, 9)


def test_an_earthquake_is_one_event_through_revisions_new_ids_and_deletion(
    desk: Desk, stage: Stage, shared_data: Path
) -> None:
    folder = shared_data / "warning/usgs_quake"
    desk.clock.at = datetime(2020, 8, 12, 19, tzinfo=UTC)
    desk.add("quakes", "usgs_quake", f"{stage.url}/q")
    for name in ("update_first", "update_second", "update_first"):
        stage.answers["/q"] = (200, {}, (folder / f"{name}.json").read_bytes())
        assert desk.poll("quakes") is not None
    ((name, ended),) = desk.rows("SELECT name, ended_at FROM hazard_event")
    assert (name, ended) == ("M 5.0 - SUPER UPDATED EVENT", None)
    assert sorted(one[0] for one in desk.rows("SELECT alias FROM hazard_alias")) == ["NEW_ID", "us6000bdgz"]
    other = json.loads((folder / "update_second.json").read_text())
    other["features"][0] |= {"id": "us2"}
    other["features"][0]["properties"] |= {"ids": ",us2,", "updated": 1597268017041, "time": 1597263402214}
    stage.answers["/q"] = (200, {}, json.dumps(other).encode())
    desk.poll("quakes")
    assert desk.rows("SELECT count(*) FROM hazard_event WHERE ended_at IS NOT NULL") == [(1,)]
    told = desk.rows("SELECT DISTINCT consumer FROM outbox WHERE kind = 'hazard_ended' ORDER BY 1")
    assert told == [("stream",), ("watch",)]  # the rules and the console learn of it


def test_a_shakemap_a_track_and_fires_become_footprint_versions(desk: Desk, stage: Stage, shared_data: Path) -> None:
    data = shared_data / "warning"
    info = json.loads((data / "usgs_quake/shakemap_info.json").read_text())
    fires = (data / "firms/MODIS_C6_1_Global_24h_sample.csv").read_bytes().splitlines()[:200]
    stage.answers = {
        "/info": (200, {}, json.dumps(info).encode()),
        "/mmi": (200, {"Content-Encoding": "gzip"}, (data / "usgs_quake/shakemap_cont_mmi.json.gz").read_bytes()),
        "/track": (200, {}, (data / "atcf/ida2021-bdeck.dat").read_bytes()),
        "/fires": (200, {}, b"\n".join(fires)),
    }
    desk.add("map", "shakemap", f"{stage.url}/info", contours=f"{stage.url}/mmi")
    assert desk.poll("map") is not None
    assert desk.rows("SELECT count(*) FROM footprint") == [(0,)]  # a scenario is no event
    desk.add("map", "shakemap", f"{stage.url}/info", contours=f"{stage.url}/mmi", scenarios=True)
    desk.add("ida", "atcf", f"{stage.url}/track")
    desk.add("fires", "firms", f"{stage.url}/fires")
    for code in ("map", "ida", "fires"):
        got = desk.poll(code)
        assert got is not None, desk.feed(code).detail
        assert desk.poll(code) is not None  # the same telling again makes no version
    perils = desk.rows(
        "SELECT peril, count(*) FROM footprint JOIN hazard_event USING (hazard_event_id) GROUP BY 1 ORDER BY 1"
    )
    assert perils == [("earthquake", 1), ("fire", 1)]  # the last fix of Ida has no radii any more
    assert desk.rows("SELECT count(*) FROM outbox WHERE kind = 'footprint_published' AND consumer = 'assess'") == [(2,)]
    assert desk.rows("SELECT name FROM hazard_event WHERE peril = 'wind'") == [("IDA",)]
    # what reads footprints can read these
    for (footprint_id,) in desk.rows("SELECT footprint_id FROM footprint"):
        assert desk.run(lambda conn, one=footprint_id: geo_repository.footprint(conn, one)).hazard.zones == ()


def test_news_is_kept_as_a_hint_with_its_source(desk: Desk, stage: Stage) -> None:
    item = "<item><title>Flood in the valley</title><link>https://n.example/1</link></item>"
    stage.answers = {"/rss": (200, {}, f"<rss><channel>{item}</channel></rss>".encode())}
    desk.add("paper", "news", f"{stage.url}/rss")
    desk.poll("paper")
    desk.poll("paper")
    assert desk.rows("SELECT source, link, weight FROM signal") == [("paper", "https://n.example/1", 0.1)]


def test_the_list_of_national_feeds_is_imported_and_none_is_on(desk: Desk, shared_data: Path) -> None:
    listed = feed_list((shared_data / "warning/cap/ifrc_alerthub_feeds.json").read_bytes())
    assert desk.run(lambda conn: feeds.import_list(conn, listed)) == (169, 0)
    assert desk.run(lambda conn: feeds.import_list(conn, listed)) == (0, 169)
    assert desk.rows("SELECT count(*) FROM feed WHERE enabled") == [(0,)]
    assert desk.run(lambda conn: feeds.due(conn, NOW, limit=9)) == []


# ---------------------------------------------------------------- those that speak first


def test_sparkplug_readings_are_stored_and_a_hole_asks_for_a_rebirth(desk: Desk, shared_data: Path) -> None:
    folder = shared_data / "warning/sparkplug"
    desk.add("spb", "sparkplug", "mqtts://broker.example")
    ear = subscribe.Ear(desk.feed("spb"), desk.taker, _never)
    desk.clock.at = datetime(2025, 11, 27, 13, tzinfo=UTC)
    asked = []
    for kind, name in (
        ("NBIRTH", "00_NBIRTH"),
        ("NDATA", "01_NDATA_seq1"),
        ("NDATA", "02_NDATA_seq2"),
        ("NDATA", "04_NDATA_seq4"),
    ):
        body = (folder / f"{name}.bin").read_bytes()
        _, topic = desk.run(lambda conn, k=kind, b=body: ear.hear(conn, f"spBv1.0/kelani/{k}/n1", b, desk.clock.at))
        asked.append(topic)
    assert asked == [None, None, None, "spBv1.0/kelani/NCMD/n1"]
    counts = desk.rows(
        "SELECT d.quantity, count(*) FROM observation_current JOIN datastream d USING (datastream_id) GROUP BY 1 ORDER BY 1"
    )
    assert dict(counts) == {"battery": 1, "level": 4}
    told = sparkplug.decode(subscribe.rebirth(desk.clock.at))
    assert [(m.name, m.value) for m in told.metrics] == [("Node Control/Rebirth", True)]


def test_a_wis2_notification_brings_its_message_once_by_hash_and_host(desk: Desk) -> None:
    document = message("a1")
    desk.add("wis2", "wis2", "mqtts://broker.example", hosts=["cache.example"])
    fetched: list[str] = []

    async def fetch(link: str) -> bytes:
        fetched.append(link)
        return document if link.endswith("a1") else b"<other/>"

    ear = subscribe.Ear(desk.feed("wis2"), desk.taker, fetch)

    def note(n: int, href: str) -> bytes:
        digest = base64.b64encode(hashlib.sha512(document).digest()).decode()
        return json.dumps({
            "id": f"31e9d66a-cd83-4174-9429-b932f1abe1{n:02d}", "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"], "type": "Feature",
            "geometry": None, "links": [{"rel": "canonical", "href": href}],
            "properties": {"data_id": "a", "pubtime": "2026-03-01T11:00:00Z", "datetime": None, "integrity": {"method": "sha512", "value": digest}},
        }).encode()  # fmt: skip

    def hear(body: bytes) -> int:
        return desk.run(lambda conn: ear.hear(conn, "cache/a/wis2/x", body, NOW))[0].n_bulletins  # type: ignore[no-any-return]

    assert hear(note(1, "https://cache.example/a1")) == 1
    assert hear(note(1, "https://cache.example/a1")) == 0  # the same notification
    with pytest.raises(wis2.WrongHash):
        hear(note(2, "https://cache.example/a2"))
    with pytest.raises(wis2.NotAllowed):
        hear(note(3, "https://evil.example/a1"))
    assert fetched == ["https://cache.example/a1", "https://cache.example/a2"]
    assert desk.rows("SELECT identifier, would_notify FROM bulletin") == [("a1", True)]


async def _never(link: str) -> bytes:
    raise AssertionError(link)


# ---------------------------------------------------------------- the one client


def get(url: str, *, private: bool = True, **more: Any) -> Any:
    async def work() -> Any:
        outbound = Outbound(allow_private=private)
        try:
            return await outbound.get(url, {}, **{"max_bytes": 1000, **more})
        finally:
            await outbound.close()

    return asyncio.run(work())


def test_the_client_refuses_private_addresses_large_bodies_and_bombs(stage: Stage) -> None:
    stage.answers = {
        "/big": (200, {}, b"x" * 2000),
        "/bomb": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"\0" * 5_000_000)),
        "/odd": (200, {"Content-Encoding": "br"}, b"x"),
        "/small": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"hello")),
        "/away": (302, {"Location": "http://169.254.169.254/"}, b""),
    }
    assert get(f"{stage.url}/small").body == b"hello"
    assert get(f"{stage.url}/away").status == 302
    for path in ("/big", "/bomb"):
        with pytest.raises(BodyTooLarge):
            get(stage.url + path)
    with pytest.raises(AddressRefused):
        get(f"{stage.url}/odd")
    n_asked = len(stage.asked)
    for url in (f"{stage.url}/small", f"http://localhost:{stage.server.server_port}/small"):
        with pytest.raises(AddressRefused, match="private"):
            get(url, private=False, plain_http=True)
    with pytest.raises(AddressRefused, match="https"):
        get("http://example.org/", private=False)
    assert len(stage.asked) == n_asked


def test_a_name_that_changes_its_mind_gains_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what was checked is what is connected to, and one private address of several is enough to refuse."""

    async def work(*addresses: str) -> Any:
        outbound = Outbound()
        loop = asyncio.get_running_loop()

        async def names(*_: Any, **__: Any) -> list[Any]:
            return [(2, 1, 6, "", (one, 80)) for one in addresses]

        monkeypatch.setattr(loop, "getaddrinfo", names)
        try:
            return await outbound.get("http://rebind.example/", {}, max_bytes=10, plain_http=True, total_s=2)
        finally:
            await outbound.close()

    for addresses in (
        ("127.0.0.1",),
        ("93.184.216.34", "10.0.0.1"),
        ("::1",),
        ("::ffff:127.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("169.254.169.254",),
    ):
        with pytest.raises(AddressRefused):
            asyncio.run(work(*addresses))
    assert stage.asked == []
