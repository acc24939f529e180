"""Feeds and our CAP feed, as a partner's program reads them."""

from typing import Any

import pytest

from core.ids import new_id
from ingest.cap.read import from_xml
from ingest.weather.capfeed import entries
from tests.integration.api.world import Console, Sync, World

pytestmark = pytest.mark.sql


def test_feeds_say_how_old_they_are_and_released_warnings_are_a_feed(console: Any, world: World, worker: Sync) -> None:
    for code, enabled, age in (("met", True, "10 minutes"), ("never", True, None), ("off", False, None)):
        worker.execute(
            "INSERT INTO feed (feed_id, code, kind, name, url, enabled, interval_s, answered_at)"
            " VALUES (%s, %s, 'cap', %s, 'https://x', %s, 60, (SELECT held_at FROM scenario_clock) - %s::interval)",
            [new_id(), code, code, enabled, age],
        )

    async def body(app: Console) -> None:
        async with app.as_role(world, "operator") as client:
            told = (await client.get("/v1/feeds")).json()
            assert [(one["code"], one["stale"]) for one in told] == [("met", True), ("never", True)]
            assert told[1]["age_s"] is None  # unknown, not zero
            answer = await client.get("/v1/cap/feed")
            assert answer.headers["content-type"].startswith("application/atom+xml")
            found = entries(answer.content, "http://x/")
            assert found
            path = found[0].link.partition("/v1/")[2]
            message = await client.get(f"/v1/{path}")
            assert message.headers["x-tocsin-signed"] == "no"
            assert from_xml(message.content).msg_type in ("Alert", "Update")
        async with app.as_role(world, "partner") as partner:
            found = entries((await partner.get("/v1/cap/feed")).content, "http://x/")
            assert found
            for one in found:  # released ones only; each can be fetched
                assert (await partner.get(f"/v1/{one.link.partition('/v1/')[2]}")).status_code == 200
            draft = await partner.get(f"/v1/warnings/{world.ids['draft']}/1/cap.xml")
            assert draft.status_code == 409
            for closed in ("/v1/warnings", f"/v1/warnings/{world.ids['warning']}", "/v1/feeds", "/v1/answers"):
                assert (await partner.get(closed)).status_code == 403, closed
        async with app.as_role(world, "underwriter") as underwriter:
            assert (await underwriter.get("/v1/cap/feed")).status_code == 403
        async with app.client() as anyone:
            assert (await anyone.get("/v1/cap/feed")).status_code == 401
            assert (await anyone.get("/v1/feeds")).status_code == 401

    console(body)
