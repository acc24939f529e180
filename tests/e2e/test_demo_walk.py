"""The demo as a person meets it: the whole product, a browser, two people and a policyholder."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext

from tests.e2e import driver
from tests.e2e.demo import Demo, running_demo

pytestmark = pytest.mark.browser


@pytest.fixture
def demo(built_pages: Path, chromium_path: str, tmp_path: Path) -> Iterator[Demo]:
    with running_demo(tmp_path) as found:
        yield found


def test_a_person_walks_through_the_demo(
    demo: Demo, console_context: BrowserContext, phone_context: BrowserContext, tmp_path: Path
) -> None:
    watch = driver.open_page(console_context)
    console = watch.page
    driver.sign_in(console, demo.url, "ben", demo.passwords["ben"])
    # Nothing is reloaded from here on: the storm arrives while the page is open.
    warning = driver.wait_for_warning(console, level="red", state="draft", timeout_s=150)
    detail = driver.open_warning(console, warning)
    assert "Ann Arden" in detail.inner_text()

    # Whoever opens the console now finds what is most urgent: the silent gauge, held, and the red draft that waits.
    console.wait_for_function("document.querySelectorAll('[data-warning]').length > 0")
    driver.until(lambda: "1 silent" in console.locator("footer").inner_text(), console, timeout_s=90)
    arriving = driver.open_page(console_context).page
    arriving.goto(demo.url)
    arriving.wait_for_selector("[data-station][data-held=true]", timeout=60_000)
    shown = arriving.locator("[data-detail]")
    shown.wait_for(timeout=20_000)
    assert re.search(r"\d+\s+people in the audience", shown.inner_text())
    # Ann approves each new version; until then it waits for two.
    driver.until(lambda: "Waits for 1 more person" in shown.inner_text(), arriving, timeout_s=60)
    assert "Unknown, held" in arriving.locator("[data-station]").inner_text()
    driver.wait_for_map(arriving)
    arriving.screenshot(path=tmp_path / "console.png")
    arriving.close()

    phone_watch = driver.open_page(phone_context)
    phone = phone_watch.page
    driver.open_phone(phone, demo.url, demo.token)
    # All red drafts are released, the phone's own among them; Ann approved each before.
    for _ in range(8):
        if console.locator("[data-warning][data-level=red][data-state=draft]").count() == 0:
            break
        driver.approve(console, driver.wait_for_warning(console, level="red", state="draft"))
        console.wait_for_timeout(1500)
    driver.wait_for_phone_level(phone, "red", timeout_s=60)
    assert phone.locator("text=/Go to/").count() >= 1
    phone.screenshot(path=tmp_path / "phone.png", full_page=True)

    driver.press_help(phone)
    driver.wait_for_sent(phone, "help", "received")
    row = driver.see_help_in_console(console)
    driver.mark_handled(row)
    driver.until(lambda: console.locator("[data-answer=help][data-handled=false]").count() == 0, console)

    for seen in (watch, phone_watch):
        assert seen.off_origin(demo.url) == []
        assert seen.errors == []
        assert seen.violations == []
