"""A command to a siren, over a real broker: obeyed once, answered, and missed where nobody answers."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from alerts import deliver, delivery_repository, notices
from alerts.channels import Arrived, Result
from alerts.channels.siren import SirenChannel
from core.clock import FixedClock
from core.events import WarningReleased
from tocsin import broker as brokers
from tocsin.sample_siren import new_key

ROOT = Path(__file__).resolve().parents[3]
HAS_MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


@pytest.mark.skipif(not HAS_MOSQUITTO, reason="mosquitto is not installed")
def test_a_siren_obeys_once_and_its_own_answer_is_the_delivery(tmp_path: Path, outgoing: Any) -> None:
    running = brokers.start(tmp_path / "broker", mosquitto="mosquitto")
    keys = new_key()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")} | {
        "TOCSIN_HOME": str(tmp_path),
        "TOCSIN_MQTT__HOST": running.host,
        "TOCSIN_MQTT__PORT": str(running.port),
        "TOCSIN_MQTT__USERNAME": running.username,
        "TOCSIN_MQTT__PASSWORD": running.password,
    }
    command = [sys.executable, "-m", "tocsin", "siren", "tower", "--tenant", "kelani", "--trust", keys["public"]]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        hello = json.loads(process.stdout.readline())
        assert hello["event"] == "listening"
        address = {"tenant": "kelani", "device": "tower", "answer_key": hello["answer_key"]}

        async def story() -> tuple[list[Result], list[Arrived]]:
            login = {"username": running.username, "password": running.password}
            sender = SirenChannel(host=running.host, port=running.port, key=keys["private"], name="-1", **login)
            stranger = SirenChannel(host=running.host, port=running.port, key=new_key()["private"], name="-2", **login)
            one, two = str(uuid4()), str(uuid4())
            results = [
                (await sender.send(outgoing(channel="siren", address=address), key)).result for key in (one, one, two)
            ]
            heard = [await asyncio.wait_for(sender.arrived.get(), 10) for _ in range(3)]
            # another key is not obeyed, and not answered
            assert (
                await stranger.send(outgoing(channel="siren", address=address), str(uuid4()))
            ).result is Result.ACCEPTED
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stranger.arrived.get(), 1.0)
            bad = await sender.send(outgoing(channel="siren", address={"tenant": "kelani", "device": "#"}), one)
            assert bad.result is Result.REFUSED
            await sender.close()
            await stranger.close()
            assert [each.key for each in heard] == [one, one, two]
            return results, heard

        results, heard = asyncio.run(story())
        assert results == [Result.ACCEPTED] * 3
        assert [one.obeyed for one in heard] == [True, True, True]  # the repetition is executed already
        assert [one.reason for one in heard] == ["obeyed", "repeated", "obeyed"]
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert [line["obeyed"] for line in lines] == [True, False, True, False]
        assert lines[3]["reason"].startswith("not signed")
        assert (tmp_path / "siren-tower.json").stat().st_mode & 0o077 == 0
    finally:
        process.terminate()
        process.wait(10)
        running.stop()


@pytest.mark.sql
def test_a_siren_that_does_not_answer_is_told_to_the_operator_once(valley: Any) -> None:
    valley.add_person(80.06, 7.05, channels=("siren",))

    async def story() -> None:
        await valley.save_rule(automatic_ceiling=valley.level("red"))
        await valley.see((0.0, 2.0), (10.0, 6.5))
        row = valley.rows("SELECT * FROM warning WHERE state = 'released'")[0]
        async with valley.worker() as conn:
            event = WarningReleased(warning_id=row["warning_id"], version=row["version"])
            await deliver.plan(conn, event, clock=FixedClock(valley.at(11)))
        valley.conn.execute(
            "UPDATE delivery SET state = 'accepted', accepted_at = %s WHERE channel = 'siren'", [valley.at(11)]
        )
        for minute, n in ((11.4, 0), (11.6, 1), (12.0, 0)):
            async with valley.worker() as conn:
                silent = await delivery_repository.silent_sirens(conn, valley.at(minute))
                assert len(silent) == n
                for one in silent:
                    await notices.tell(
                        conn, one["tenant_id"], "siren_silent", str(one["delivery_id"]), now=valley.at(minute)
                    )
        # its own answer is what makes it delivered
        async with valley.worker() as conn:
            (delivery,) = valley.rows("SELECT delivery_id FROM delivery WHERE channel = 'siren'")
            assert await delivery_repository.keep_delivered(conn, delivery["delivery_id"], valley.at(13))
            assert not await delivery_repository.keep_delivered(conn, delivery["delivery_id"], valley.at(14))

    asyncio.run(story())
    assert [row["kind"] for row in valley.rows("SELECT * FROM operator_notice")] == ["siren_silent"]
    assert valley.rows("SELECT state FROM delivery WHERE channel = 'siren'") == [{"state": "delivered"}]
