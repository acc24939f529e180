"""The drill's flood seen from both sides: roads close on the console's map, and a household's way out follows.

The storm is slowed down while the water rises, so that each version of the footprint is seen. What is asked of is what
people see: the pages, and the messages that the demo's provider accepted. The database is read only to know whom a
plan named as changed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from store import embedded
from tests.e2e import driver
from tests.e2e.demo import Demo, Sent, running_demo
from tocsin.demo import Desk

pytestmark = [pytest.mark.browser, pytest.mark.long]

#: Pages that are open at a time: each asks the server every five seconds.
N_PHONES = 6
#: A version of the footprint comes every 3600 / SPEED seconds.
SPEED = 60


@pytest.fixture
def demo(built_pages: Path, chromium_path: str, tmp_path: Path) -> Iterator[Demo]:
    with running_demo(tmp_path, "--hurry-until", "9.5", "--speed", str(SPEED)) as found, second_person(found):
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a phone page shows of its way out."""

    status: str
    path: str
    leave_by: str | None


def way_on(page: Page) -> Way:
    card = page.locator("section[data-route]")
    if card.count() == 0:
        return Way(status="", path="", leave_by=None)  # its warning is over
    leave, path = card.locator("[data-leave-by]"), card.locator("path.case")
    return Way(
        status=card.get_attribute("data-route") or "",
        path=(path.get_attribute("d") if path.count() else None) or "",
        leave_by=leave.get_attribute("data-leave-by") if leave.count() else None,
    )


def closed_on(page: Page) -> tuple[int, int]:
    """How many roads the console's map shows as closed, and by which version of the footprint."""
    told = page.locator("[data-closed]")
    if told.count() == 0:
        return 0, 0
    return int(told.get_attribute("data-closed") or 0), int(told.get_attribute("data-plan") or 0)


def red_pixels(page: Page) -> int:
    """Pixels of the map in the colours in which closed roads are drawn."""
    page.wait_for_selector("[data-map-idle]", timeout=60_000)
    found: int = page.evaluate(
        """() => {
          const map = document.querySelector(".map canvas");
          const copy = document.createElement("canvas");
          copy.width = map.width; copy.height = map.height;
          const context = copy.getContext("2d");
          context.drawImage(map, 0, 0);
          const data = context.getImageData(0, 0, copy.width, copy.height).data;
          let n = 0;
          for (let i = 0; i < data.length; i += 4)
            if (data[i] > 100 && data[i + 1] < 60 && data[i + 2] < 70) n += 1;
          return n;
        }"""
    )
    return found


class Plans:
    """Whom each plan named, by the address that the provider sees."""

    def __init__(self, home: Path) -> None:
        self._conn = psycopg.connect(embedded.attach(home).url("exercise", "worker"), autocommit=True)

    def close(self) -> None:
        self._conn.close()

    def of(self, version: int) -> dict[str, dict[str, Any]]:
        """Address -> its route in the plan on this version of the footprint."""
        rows = self._conn.execute(
            """SELECT c.address ->> 'to', r.status, r.changed, r.leave_by, r.geometry, r.last_way_out, p.computed_at
               FROM household_route AS r
               JOIN evacuation_plan AS p USING (evacuation_plan_id) JOIN footprint AS f USING (footprint_id)
               JOIN household AS h ON h.household_id = r.household_id
               JOIN contact_point AS c ON c.policyholder_id = h.policyholder_id
               WHERE f.version = %s""",
            [version],
        ).fetchall()
        return {to: {"status": status, "changed": changed, "leave_by": leave_by, "line": line and bytes(line),
                     "last": last, "made": made}
                for to, status, changed, leave_by, line, last, made in rows}  # fmt: skip

    def all_said(self) -> bool:
        """Whether no message is on its way, and no plan waits to be told of."""
        row = self._conn.execute(
            "SELECT (SELECT count(*) FROM delivery WHERE state IN ('queued', 'claimed') AND available_at <= clock_timestamp())"
            " + (SELECT count(*) FROM outbox WHERE consumer IN ('reroute', 'deliver'))"
        ).fetchone()
        return row == (0,)

    def newest(self) -> int:
        row = self._conn.execute(
            "SELECT coalesce(max(f.version), 0) FROM evacuation_plan JOIN footprint AS f USING (footprint_id)"
        ).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def second_person(demo: Demo) -> Iterator[None]:
    """Ben, who agrees to what Ann approved: a red draft that nobody releases leaves people with what ran out."""
    over = threading.Event()

    def work() -> None:
        ben = Desk(demo.url)
        ben.sign_in("ben", demo.passwords["ben"])
        while not over.wait(1.0):
            for draft in ben.waiting():
                ben.approve(draft["warning_id"], draft["version"], draft["content_sha256"])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def open_phones(chromium: Browser, demo: Demo, plan: dict[str, dict[str, Any]]) -> dict[str, Page]:
    """Phone pages of warned households, opened by the link of their own message: the most pressing ones, two calm."""
    told: dict[str, Sent] = {one.to: one for one in demo.sent()}
    hour = timedelta(minutes=75)

    def will_turn(way: dict[str, Any]) -> bool:
        """Its road closes before the next version, and another stays open: then the way must be another one."""
        return bool(
            way["leave_by"] - way["made"] < hour and (way["last"] is None or way["last"] - way["leave_by"] > hour)
        )

    pressed = sorted(
        (to for to, way in plan.items() if to in told and way["status"] == "clear" and way["leave_by"] is not None),
        key=lambda to: (not will_turn(plan[to]), plan[to]["leave_by"]),
    )
    calm = sorted(to for to, way in plan.items() if to in told and way["leave_by"] is None and way["line"] is not None)
    phones = {}
    for to in [*pressed[: N_PHONES - 2], *calm[:2]]:
        context = chromium.new_context(
            viewport={"width": 360, "height": 640}, locale="en", timezone_id="UTC", is_mobile=True, has_touch=True
        )
        phones[to] = context.new_page()
        driver.open_phone(phones[to], demo.url, told[to].token, language="en")
    return phones


def test_the_flood_closes_roads_and_only_those_whose_way_changed_hear_of_it(
    demo: Demo, chromium: Browser, console_context: BrowserContext, tmp_path: Path
) -> None:
    plans = Plans(demo.home)
    console = driver.open_page(console_context).page
    driver.sign_in(console, demo.url, "ben", demo.passwords["ben"])
    assert closed_on(console) == (0, 0)  # no flood, no plan, and nothing is shown as closed

    driver.until(lambda: plans.newest() >= 1, console, timeout_s=180)
    seen: list[tuple[int, int]] = []
    found: tuple[str, Way, Way] | None = None
    version = plans.newest()
    phones = open_phones(chromium, demo, plans.of(version))
    assert phones, "somebody was warned before the water came"
    n_told_apart = 0
    for _ in range(6):
        version = plans.newest()
        before = plans.of(version)
        driver.until(lambda v=version: closed_on(console)[1] >= v, console, timeout_s=40)  # type: ignore[misc]
        seen.append(closed_on(console))
        console.wait_for_timeout(6000)  # each open page asks once
        driver.until(lambda v=version: plans.all_said() or plans.newest() > v, console, timeout_s=60)  # type: ignore[misc]
        ways = {to: way_on(page) for to, page in phones.items()}
        n_sent = len(demo.sent())
        if plans.newest() != version:
            print(version, "was not seen alone: this machine fell behind the storm")
            continue
        driver.until(lambda v=version: plans.newest() > v, console, timeout_s=120)  # type: ignore[misc]
        after = plans.of(version + 1)
        told_before = {one.to for one in demo.sent()[:n_sent]}
        console.wait_for_timeout(6000)
        driver.until(plans.all_said, console, timeout_s=60)
        fresh = demo.sent()[n_sent:]
        new_ways = {to: way_on(page) for to, page in phones.items()}
        if plans.newest() != version + 1:
            print(version, "and the next were not told apart: this machine fell behind the storm")
            continue
        n_told_apart += 1
        changed = {to for to, way in after.items() if way["changed"]}
        again = [one.to for one in fresh if one.of_a_changed_way]
        assert set(again) <= changed, "somebody whose way did not change was told that it did"
        assert len(again) == len(set(again)), "nobody is told twice of one change"
        # who was told before and whose way changed has heard of the new one, by that message or by a new version
        assert changed & told_before <= {one.to for one in fresh}
        calm = told_before - changed
        assert calm, "somebody's way stayed as it was"
        assert not calm & set(again)
        for to in phones:
            old, new = ways[to], new_ways[to]
            print(
                version,
                to,
                to in changed,
                old.status,
                old.leave_by,
                "->",
                new.status,
                new.leave_by,
                old.path != new.path,
            )
            if to not in changed and old.status == new.status == "clear":
                assert new.path == old.path
            elif to in changed and found is None and old.leave_by and new.status and new.path != old.path:
                assert before[to]["line"] != after[to]["line"]
                assert new.leave_by != old.leave_by
                found = (to, old, new)
                phones[to].screenshot(path=tmp_path / "phone-after.png", full_page=True)
        if found is not None and len({n for n, _ in seen}) > 1:
            break
    assert n_told_apart
    assert found is not None, "no page showed another way and another time after a new version"
    driver.until(lambda: closed_on(console)[1] > seen[0][1], console, timeout_s=30)
    seen.append(closed_on(console))
    assert all(n > 0 for n, _ in seen)
    assert len({n for n, _ in seen}) > 1, seen

    drawn = red_pixels(console)
    console.screenshot(path=tmp_path / "console-closed.png")
    console.get_by_label("Closed roads").uncheck()
    assert red_pixels(console) < drawn, "closed roads are drawn on the map"
    plans.close()
