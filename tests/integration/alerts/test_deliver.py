"""Released warnings reach people once, under faults, and an exercise reaches nobody."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb
from pydantic import SecretStr
from shapely.geometry import LineString, Point, box

from alerts import deliver, delivery_repository, release
from alerts.channels import Outcome, Outgoing, Result
from alerts.links import read_link
from core.clock import FixedClock
from core.events import WarningReleased
from core.ids import new_id
from core.settings import Settings
from geo.directions import polyline
from store.pool import role_pool

ROOT = Path(__file__).resolve().parents[3]
KEY = "k" * 40


def go(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


class Recorder:
    """A channel that keeps what it is given."""

    def __init__(self, provider: str, result: Result = Result.ACCEPTED, honours_keys: bool = True) -> None:
        self.provider, self.honours_keys, self.result = provider, honours_keys, result
        self.sent: list[tuple[str, Outgoing]] = []

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        self.sent.append((idempotency_key, message))
        return Outcome(result=self.result, provider_ref="ref")


async def released(valley: Any, value: float = 3.5) -> dict[str, Any]:
    await valley.save_rule(automatic_ceiling=valley.level("red"))
    await valley.see((0.0, 2.0), (10.0, value))
    return await planned(valley)


async def planned(valley: Any) -> dict[str, Any]:
    row: dict[str, Any] = valley.rows("SELECT * FROM warning WHERE state = 'released' ORDER BY version DESC LIMIT 1")[0]
    async with valley.worker() as conn:
        event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
        await deliver.plan(conn, event, clock=FixedClock(valley.at(11)))
    return row


@contextlib.asynccontextmanager
async def sender(valley: Any, **channels: Any) -> Any:
    # scenario time stands just after the warning
    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed, held_at) VALUES (now(), %s, 1, %s) ON CONFLICT DO NOTHING",
        [valley.at(0), valley.at(12)],
    )
    async with role_pool(valley.url, "tocsin_worker", size=4) as pool:
        yield deliver.Sender(pool=pool, channels=channels, key=KEY.encode(), public_url="http://here")


def states(valley: Any) -> list[str]:
    return sorted(row["state"] for row in valley.rows("SELECT state FROM delivery"))


def planned_routes(valley: Any) -> None:
    """A safe zone, and for every household a route to it that was computed before now."""
    zone, plan_id, net = new_id(), new_id(), new_id()
    c = valley.conn
    c.execute(
        "INSERT INTO safe_zone (safe_zone_id, code, names, lon, lat, seats) VALUES (%s, 'z', %s, 80.3, 7.2, 10)",
        [zone, Jsonb({"en": "School", "zh": "学校"})],
    )
    c.execute("INSERT INTO hazard_event VALUES (%s, NULL, 'f', 'flood', 'f', %s)", [plan_id, valley.at(-60)])
    c.execute(
        "INSERT INTO footprint (footprint_id, hazard_event_id, version, valid_at, made_how, geometry) VALUES (%s, %s, 1, %s, 't', %s)",
        [plan_id, plan_id, valley.at(-60), LineString([(0, 0), (1, 1)]).buffer(1).wkb],
    )
    c.execute("INSERT INTO road_network VALUES (%s, NULL, 'n', 1, '', 'f', NULL, 1, 1, now())", [net])
    c.execute(
        "INSERT INTO evacuation_plan (evacuation_plan_id, footprint_id, road_network_id, tenant_id, counts, closed_edges, computed_at) VALUES (%s, %s, %s, %s, '{}', '', now())",
        [plan_id, plan_id, net, valley.tenant_id],
    )
    c.execute(
        "INSERT INTO household_route (evacuation_plan_id, household_id, tenant_id, status, safe_zone_id, leave_by, geometry)"
        " SELECT %s, household_id, tenant_id, 'clear', %s, %s, %s FROM household",
        [plan_id, zone, valley.at(45), LineString([(80.05, 7.05), (80.3, 7.2)]).wkb],
    )


def test_each_person_gets_each_channel_once_with_all_they_need(valley: Any) -> None:
    planned_routes(valley)

    async def story() -> None:
        row = await released(valley)
        await planned(valley)  # planning twice plans once
        fake = Recorder("fake")
        async with sender(valley, fake=fake) as one:
            assert await one.send_due("w") == 3
            assert await one.send_due("w") == 0
        assert len({key for key, _ in fake.sent}) == 3
        by_channel = {(message.channel, message.language): message for _, message in fake.sent}
        assert set(by_channel) == {("web_push", "en"), ("web_push", "zh"), ("email", "zh")}
        message = by_channel["web_push", "zh"]
        assert message.payload["headline"].startswith("【演练】")
        assert message.payload["route"] == {
            "status": "clear",
            "leave_by": valley.at(45).isoformat(),
            "polyline": polyline(np.array([(80.05, 7.05), (80.3, 7.2)])),
        }
        assert message.payload["safe_zones"] == [{"name": "学校", "lon": 80.3, "lat": 7.2}]
        link = read_link(message.url.partition("#t=")[2], key=KEY.encode())
        assert link is not None
        assert (link.policyholder_id, link.warning_id) == (valley.people[1], row["warning_id"])

    go(story())
    assert states(valley) == ["accepted"] * 3
    assert {row["kind"] for row in valley.rows("SELECT kind FROM receipt")} == {"accepted"}


def test_the_highest_risk_is_told_first(valley: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow reading is, a message overtakes at most those that are under way."""
    workers, chance, n_read = 2, random.Random(5), 0
    for _ in range(140):
        valley.add_person(80.05, 7.05)

    class Slow(Recorder):
        async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
            outcome = await super().send(message, idempotency_key)
            await asyncio.sleep(chance.uniform(0, 0.02))
            return outcome

    read = deliver.delivery_repository.homes_of

    async def slowly(*args: Any) -> Any:
        nonlocal n_read
        n_read += 1
        await asyncio.sleep(1.0 if n_read == 3 else 0.0)
        return await read(*args)

    monkeypatch.setattr(deliver.delivery_repository, "homes_of", slowly)
    fake, stop = Slow("fake"), asyncio.Event()
    settings = Settings(mode="exercise", home=tmp_path, secret_key=SecretStr(KEY))
    settings.deliver.workers = workers

    async def story() -> None:
        await released(valley, 6.5)
        valley.conn.execute("UPDATE delivery SET priority = 10 * (1 + abs(hashtext(delivery_id::text)) % 4)")
        async with sender(valley) as one:
            running = asyncio.create_task(
                deliver.run(one.pool, settings, stop, channels=deliver.Channels({"fake": fake}))
            )
            for _ in range(400):
                await asyncio.sleep(0.05)
                if running.done() or len(fake.sent) == 143:
                    break
            stop.set()
            await running

    go(story())
    assert states(valley) == ["accepted"] * 143
    risk = {
        str(row["delivery_id"]): row["priority"] for row in valley.rows("SELECT delivery_id, priority FROM delivery")
    }
    told = [risk[key] for key, _ in fake.sent]
    overtaken = max(sum(before > mine for before in told[:place]) for place, mine in enumerate(told))
    assert overtaken <= workers * deliver.BATCH


@pytest.mark.parametrize("kind", ["stay", "evacuate"])
def test_an_official_order_goes_before_a_route_that_was_computed_without_it(valley: Any, kind: str) -> None:
    planned_routes(valley)
    area = box(80.0, 7.0, 80.5, 7.5)
    homes = valley.rows("SELECT policyholder_id, lon, lat FROM household")
    inside = {row["policyholder_id"] for row in homes if area.covers(Point(row["lon"], row["lat"]))}
    assert inside
    valley.conn.execute(
        "INSERT INTO official_order (official_order_id, tenant_id, kind, area, authority, issued_at, expires_at, made_by)"
        " VALUES (%s, %s, %s, %s, 'Fire Service', %s, %s, %s)",
        [new_id(), valley.tenant_id, kind, area.wkb, valley.at(1), valley.at(300), valley.approvers[0]],
    )

    async def story() -> None:
        await released(valley)
        fake = Recorder("fake")
        async with sender(valley, fake=fake) as one:
            assert await one.send_due("w") == 3
        for _, message in fake.sent:
            link = read_link(message.url.partition("#t=")[2], key=KEY.encode())
            assert link is not None
            told = message.payload
            if link.policyholder_id not in inside:
                assert "official_order" not in told
                assert told["route"]["leave_by"] == valley.at(45).isoformat()
                continue
            assert told["official_order"] == {
                "kind": kind, "authority": "Fire Service", "issued": valley.at(1).isoformat(),
                "expires": valley.at(300).isoformat(),
            }  # fmt: skip
            assert "Fire Service" in message.text.sms
            assert "Fire Service" in message.text.say
            assert "Fire Service" in told["instruction"]
            if kind == "stay":
                assert told["route"] == {"status": "shelter-in-place", "leave_by": None, "polyline": None}
                assert message.line is None
                assert told["safe_zones"] == []
            else:
                assert told["route"]["leave_by"] == valley.at(12).isoformat()  # now, not our later leave-by
                assert told["route"]["polyline"]

    go(story())


def test_a_newer_version_stops_what_has_not_begun(valley: Any) -> None:
    async def story() -> None:
        await released(valley)
        await valley.see((20.0, 4.5))
        await planned(valley)

    go(story())
    rows = valley.rows("SELECT version, state, count(*) AS n FROM delivery GROUP BY 1, 2 ORDER BY 1")
    assert [(row["version"], row["state"], row["n"]) for row in rows] == [(1, "stopped", 3), (2, "queued", 3)]


def test_a_stop_holds_at_once_and_resuming_sends(valley: Any) -> None:
    async def story() -> None:
        await released(valley)
        fake = Recorder("fake")
        async with sender(valley, fake=fake) as one:
            async with valley.app() as conn:
                await release.pause(
                    conn,
                    principal_id=valley.approvers[0],
                    tenant_id=valley.tenant_id,
                    scope="tenant",
                    now=valley.at(11),
                )
            assert await one.send_due("w") == 0
            for who in valley.approvers:
                async with valley.app() as conn:
                    await release.resume(
                        conn, principal_id=who, tenant_id=valley.tenant_id, scope="tenant", now=valley.at(12)
                    )
            assert await one.send_due("w") == 3
        assert len(fake.sent) == 3

    go(story())


def test_a_stop_between_claim_and_send_holds(valley: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from alerts import delivery_repository

    claim = delivery_repository.claim_deliveries

    async def claim_then_stop(*args: Any, **more: Any) -> Any:
        found = await claim(*args, **more)
        valley.conn.execute(
            "INSERT INTO sending_pause VALUES ('all', NULL, %s, now()) ON CONFLICT DO NOTHING", [new_id()]
        )
        return found

    monkeypatch.setattr(delivery_repository, "claim_deliveries", claim_then_stop)

    async def story() -> None:
        await released(valley)
        fake = Recorder("fake")
        async with sender(valley, fake=fake) as one:
            assert await one.send_due("w") == 3
        assert fake.sent == []

    go(story())
    assert states(valley) == ["queued"] * 3
    assert {row["attempts"] for row in valley.rows("SELECT attempts FROM delivery")} == {0}


def test_consent_withdrawn_or_expiry_passed_is_not_sent(valley: Any) -> None:
    async def story() -> None:
        await released(valley)
        valley.conn.execute("UPDATE contact_point SET withdrawn_at = now() WHERE channel = 'email'")
        fake = Recorder("fake")
        async with sender(valley, fake=fake) as one:
            assert await one.send_due("w") == 2
            valley.conn.execute("UPDATE delivery SET state = 'queued'")
            valley.conn.execute("UPDATE scenario_clock SET held_at = %s", [valley.at(60 * 24)])
            assert await one.send_due("w") == 0

    go(story())


# ---------------------------------------------------------------- an exercise reaches no live channel


def test_the_database_refuses_a_live_provider_in_an_exercise(valley: Any) -> None:
    go(released(valley))
    with pytest.raises(psycopg.errors.CheckViolation):
        valley.conn.execute("UPDATE delivery SET provider = 'smtp'")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        valley.conn.execute("UPDATE delivery SET exercise = false, provider = 'smtp'")


def test_the_sender_refuses_it_even_without_the_constraint(valley: Any) -> None:
    live = Recorder("smtp")

    async def story() -> None:
        await released(valley)
        with psycopg.connect(valley.url, autocommit=True) as owner:
            owner.execute("ALTER TABLE delivery DROP CONSTRAINT delivery_check")
        valley.conn.execute("UPDATE delivery SET provider = 'smtp'")
        async with sender(valley, smtp=live) as one:
            await one.send_due("w")

    go(story())
    assert live.sent == []
    assert states(valley) == ["failed"] * 3


def test_a_process_for_exercises_has_no_live_channel(valley: Any) -> None:
    settings = Settings(mode="exercise")
    settings.deliver.smtp_host = "mail.example.org"
    settings.deliver.webhook_secret = SecretStr("s" * 32)
    settings.deliver.fake_url = "http://127.0.0.1:1"

    async def names(of: Settings) -> set[str]:
        made = deliver.channels_from(of)
        await made.close()
        return set(made.by_provider)

    assert go(names(settings)) == {"fake"}
    assert go(names(settings.model_copy(update={"mode": "live"}))) == {"fake", "smtp", "webhook"}

    async def start() -> None:
        async with valley.worker() as conn:
            await deliver.check_purpose(conn, settings)
            with pytest.raises(deliver.WrongInstallation):
                await deliver.check_purpose(conn, settings.model_copy(update={"mode": "live"}))

    go(start())


# ---------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    ("value", "honours_keys", "n_sent", "state"),
    [(6.5, True, 3, "accepted"), (6.5, False, 3, "accepted"), (3.5, True, 3, "accepted"), (3.5, False, 0, "uncertain")],
    ids=["red-keyed", "red-unkeyed", "yellow-keyed", "yellow-unkeyed"],
)
def test_a_sender_that_died_while_sending(
    valley: Any, value: float, honours_keys: bool, n_sent: int, state: str
) -> None:
    """Its claims are sent again, except where that could be a second message that is not worth one."""
    fake = Recorder("fake", honours_keys=honours_keys)

    async def story() -> None:
        await released(valley, value)
        valley.conn.execute(
            "UPDATE delivery SET state = 'claimed', claimed_by = 'dead', lease_until = now() - interval '1 s', attempts = 1"
        )
        async with sender(valley, fake=fake) as one:
            assert await one.send_due("w") == 3

    go(story())
    assert len(fake.sent) == n_sent
    assert states(valley) == [state] * 3


def test_an_address_that_is_gone_is_withdrawn(valley: Any) -> None:
    async def story() -> None:
        await released(valley)
        async with sender(valley, fake=Recorder("fake", Result.GONE)) as one:
            await one.send_due("w")

    go(story())
    assert states(valley) == ["failed"] * 3
    # the fourth person lives outside and was not written to
    assert len(valley.rows("SELECT * FROM contact_point WHERE withdrawn_at IS NOT NULL")) == 3


def test_a_channel_that_is_off_is_told(valley: Any) -> None:
    async def story() -> None:
        await released(valley)
        async with sender(valley) as one:
            await one.send_due("w")

    go(story())
    assert states(valley) == ["failed"] * 3
    assert "is off" in valley.rows("SELECT last_error FROM delivery")[0]["last_error"]


# ---------------------------------------------------------------- the campaign


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def fake_provider(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tocsin",
            "fake-provider",
            "--port",
            str(port),
            "--ledger",
            str(tmp_path / "ledger.sqlite"),
        ],
        cwd=ROOT,
        env=environment | {"TOCSIN_HOME": str(tmp_path)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


SENDER = """
import asyncio, sys
from core.settings import load_settings
from alerts import deliver
from alerts.channels.fake import FakeChannel
from store.pool import worker_pool

async def main():
    settings = load_settings()
    fake = FakeChannel(settings.deliver.fake_url, honours_keys=sys.argv[1] == "keyed", timeout_s=1.0)
    async with worker_pool(settings, size=6) as pool:
        channels = deliver.Channels({"fake": fake}, [fake])
        await deliver.run(pool, settings, asyncio.Event(), channels=channels, lease_s=2.0)

asyncio.run(main())
"""

RATES = {"timeout": 0.03, "timeout_after": 0.03, "500": 0.08, "429": 0.06, "reset": 0.08, "slow": 0.02}


def times_handed_over(fake_provider: str) -> Counter[str]:
    """How often the provider delivered each key, by its own ledger."""
    sent: Counter[str] = Counter()
    after = 0
    while page := httpx.get(f"{fake_provider}/sent?after={after}").json()["sent"]:
        sent.update(one["key"] for one in page)
        after = page[-1]["seq"]
    return sent


def doubts(sent: Counter[str], planned: list[dict[str, Any]]) -> dict[str, int]:
    """Each message that was delivered more than once, held against what its row says of it.

    A row counts the attempts that may have arrived; with one more that surely did, nothing can have arrived more often.
    """
    in_doubt = {str(row["delivery_id"]): row["in_doubt"] for row in planned}
    twice = {key: n for key, n in sent.items() if n > 1}
    return {
        "keys_delivered_twice": len(twice),
        "of_them_unmarked": sum(in_doubt.get(key, 0) == 0 for key in twice),
        "more_often_than_in_doubt": sum(n > 1 + in_doubt.get(key, 0) for key, n in sent.items()),
        "rows_in_doubt": sum(n > 0 for n in in_doubt.values()),
    }


def campaign(
    valley: Any, fake_provider: str, tmp_path: Path, *, n_people: int, n_kills: int, keyed: bool
) -> dict[str, Any]:
    """Sends to n people on three channels from two senders that are killed in turn; the provider fails 30 % of the time."""
    chance = random.Random(7)
    channels = ("web_push", "email", "webhook")
    for _ in range(n_people):
        valley.add_person(chance.uniform(80.01, 80.19), chance.uniform(7.01, 7.09), channels=channels)
    httpx.put(
        f"{fake_provider}/faults", json={"rates": RATES, "honour_keys": keyed, "slow_s": 0.2, "hang_s": 1.5}
    ).raise_for_status()

    async def release_it() -> None:
        await valley.save_rule(automatic_ceiling=valley.level("red"))
        await valley.see((0.0, 2.0), (10.0, 6.5), limit=10**6)

    valley.conn.execute(
        "INSERT INTO scenario_clock (wall_start, scenario_start, speed) VALUES (now(), %s, 1)", [valley.at(10)]
    )
    go(release_it())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "TOCSIN_DATABASE_URL": valley.url,
        "TOCSIN_MODE": "exercise",
        "TOCSIN_HOME": str(tmp_path),
        "TOCSIN_SECRET_KEY": KEY,
        "TOCSIN_DELIVER__FAKE_URL": fake_provider,
    }
    expected = n_people * 3 + 3  # the valley's own three
    started = time.monotonic()

    def start(part: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", SENDER, "keyed" if keyed else "unkeyed", str(part)],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.DEVNULL,
        )

    kills = 0
    processes = [start(1), start(2)]
    try:
        while time.monotonic() - started < 2400:
            if kills < n_kills:
                before = httpx.get(f"{fake_provider}/ledger").json()["attempts"]
                deadline = time.monotonic() + 20
                # it is killed while it sends, not while it starts
                while time.monotonic() < deadline and httpx.get(f"{fake_provider}/ledger").json()["attempts"] <= before:
                    time.sleep(0.02)
                time.sleep(chance.uniform(0.0, 0.25))
                which = chance.randrange(2)
                processes[which].send_signal(signal.SIGKILL)
                processes[which].wait()
                kills += 1
                processes[which] = start(which + 1)
                continue
            open_ = valley.rows(
                "SELECT count(*) AS n FROM delivery WHERE state IN ('queued', 'claimed') OR (state = 'uncertain' AND available_at < now() + interval '1 day')"
            )[0]["n"]
            if open_ == 0 and valley.rows("SELECT count(*) AS n FROM delivery")[0]["n"] == expected:
                break
            time.sleep(0.2)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ledger = httpx.get(f"{fake_provider}/ledger").json()
    sent = times_handed_over(fake_provider)
    planned = valley.rows("SELECT delivery_id, in_doubt FROM delivery")
    return (
        ledger
        | doubts(sent, planned)
        | {
            "expected": expected,
            "missed": sum(str(row["delivery_id"]) not in sent for row in planned),
            "unknown": len(set(sent) - {str(row["delivery_id"]) for row in planned}),
            "planned": len(planned),
            "kills": kills,
            "states": {
                row["state"]: row["n"] for row in valley.rows("SELECT state, count(*) AS n FROM delivery GROUP BY 1")
            },
            "took_s": round(time.monotonic() - started, 1),
        }
    )


def test_nobody_is_missed_and_nobody_is_told_twice_while_the_sender_is_killed(
    valley: Any, fake_provider: str, tmp_path: Path
) -> None:
    got = campaign(valley, fake_provider, tmp_path, n_people=40, n_kills=4, keyed=True)
    print(json.dumps(got))
    assert got["planned"] == got["expected"]
    assert (got["missed"], got["duplicates"], got["unknown"]) == (0, 0, 0)
    assert got["kills"] == 4
    assert got["states"] == {"accepted": got["expected"]}


def test_whom_the_hazard_reaches_first_is_planned_before_the_others_and_once(valley: Any) -> None:
    async def story() -> None:
        await valley.save_rule(automatic_ceiling=valley.level("red"))
        await valley.see((0.0, 2.0), (10.0, 3.5))
        row: dict[str, Any] = valley.rows("SELECT * FROM warning WHERE state = 'released'")[0]
        valley.conn.execute(
            "UPDATE warning_recipient SET priority = CASE WHEN policyholder_id = %s THEN 1 ELSE 50 END",
            [valley.people[1]],
        )
        event = WarningReleased(warning_id=row["warning_id"], version=row["version"])

        async def plan(**more: Any) -> int:
            async with valley.worker() as conn:
                return await deliver.plan(conn, event, clock=FixedClock(valley.at(11)), **more)

        assert await plan(first_people=3) == 0  # so few are planned at once
        assert await plan(first_people=1) == 2  # one person, on both their channels
        assert {one["policyholder_id"] for one in valley.rows("SELECT * FROM delivery")} == {valley.people[1]}
        assert await plan(first_people=1) == 0
        assert await plan() == 1
        assert await plan() == 0

    go(story())


def test_without_keys_only_what_is_marked_uncertain_comes_twice(
    valley: Any, fake_provider: str, tmp_path: Path
) -> None:
    got = campaign(valley, fake_provider, tmp_path, n_people=12, n_kills=2, keyed=False)
    print(json.dumps(got))
    assert (got["planned"], got["missed"], got["unknown"]) == (got["expected"], 0, 0)
    assert got["keys_delivered_twice"] > 0  # red: sent again, rather than not at all
    assert (got["of_them_unmarked"], got["more_often_than_in_doubt"]) == (0, 0)


def test_what_was_in_doubt_stays_marked_through_a_stop(valley: Any) -> None:
    """Its sender died, a stop gave the message back, sending went on: it is not sent again unmarked."""

    async def story() -> None:
        await released(valley, value=3.5)  # yellow: what may have gone out is not sent again
        recorder = Recorder("fake", honours_keys=False)
        async with sender(valley, fake=recorder) as one:
            async with valley.worker() as conn:
                lost = await delivery_repository.claim_deliveries(
                    conn, worker="dead", limit=10, lease_s=-1.0, now=valley.at(12)
                )
            async with valley.worker() as conn:
                again = await delivery_repository.claim_deliveries(
                    conn, worker="w", limit=10, lease_s=30.0, now=valley.at(12)
                )
                assert [found.in_doubt for found in again] == [1] * len(lost)
                await delivery_repository.give_back(conn, [found.delivery_id for found in again], "w")
            await one.send_due("w")
        assert recorder.sent == []
        rows = valley.rows("SELECT state, in_doubt FROM delivery")
        assert {(row["state"], row["in_doubt"]) for row in rows} == {("uncertain", 1)}

    go(story())


def test_what_may_have_arrived_is_taken_back_too(valley: Any) -> None:
    """The newer version stops what was in doubt; whoever it was for may have it, so the end reaches them."""

    async def story() -> None:
        await released(valley, value=3.5)
        async with sender(valley, fake=Recorder("fake", Result.UNCERTAIN, honours_keys=False)) as one:
            await one.send_due("w")
        assert states(valley) == ["uncertain"] * 3
        async with valley.app() as conn:
            version = await release.draft_cancel(
                conn,
                principal_id=valley.approvers[0],
                warning_id=valley.rows("SELECT warning_id FROM warning")[0]["warning_id"],
                why="x",
                now=valley.at(12),
            )
        (draft,) = valley.rows("SELECT * FROM warning WHERE version = %s", version)
        async with valley.app() as conn:
            await release.approve(
                conn,
                principal_id=valley.approvers[1],
                warning_id=draft["warning_id"],
                version=version,
                content_sha256=bytes(draft["content_sha256"]),
                now=valley.at(12),
            )
        await planned(valley)
        rows = valley.rows("SELECT state FROM delivery WHERE version = %s", version)
        assert [row["state"] for row in rows] == ["queued"] * 3

    go(story())


@pytest.mark.long
@pytest.mark.parametrize("keyed", [True, False])
def test_two_thousand_people_on_three_channels_under_fifty_kills(
    valley: Any, fake_provider: str, tmp_path: Path, keyed: bool
) -> None:
    got = campaign(valley, fake_provider, tmp_path, n_people=2000, n_kills=50, keyed=keyed)
    print(json.dumps(got))
    assert (got["planned"], got["missed"], got["unknown"]) == (got["expected"], 0, 0)
    assert (got["of_them_unmarked"], got["more_often_than_in_doubt"]) == (0, 0)
    assert got["duplicates"] == 0 if keyed else got["duplicates"] > 0
