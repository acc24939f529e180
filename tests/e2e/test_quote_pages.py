"""The quote desk in a real browser: priced, stored, computed again, its work orders closed, in English and Chinese."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from itops import reference
from itops.underwrite import load_book, load_priors
from tests.e2e import driver
from tests.e2e.stub import Server
from tests.e2e.stub_quotes import MAY
from tests.e2e.test_pages import violations
from tests.unit.itops.test_quote_fits import repair_fit, systems_fit

pytestmark = pytest.mark.browser


def files(folder: Path, **more: Any) -> dict[str, str]:
    submission, fleet, incidents = reference.portfolio("data_centre", load_priors()[0], scale=0.1)
    asked = json.loads(json.dumps(submission)) | more
    texts = {"submission": json.dumps(asked), "fleet": fleet, "incidents": incidents}
    out = {}
    for name, text in texts.items():
        path = folder / f"{name}{'.json' if name == 'submission' else '.csv'}"
        path.write_text(text, encoding="utf-8")
        out[name] = str(path)
    return out


def at_the_desk(context: BrowserContext, stub: Server) -> Page:
    stub.world.may_more = MAY
    watch = driver.open_page(context)
    watch.page.route("**/assets/view-*.js", lambda asked: asked.abort())
    driver.sign_in(watch.page, stub.url, "approver", "right")
    watch.page.click("[data-desk=quote]")
    watch.page.wait_for_selector("[data-file=submission]")
    return watch.page


def settled(page: Page) -> list[str]:
    """What axe finds once a button that was busy has its colours back."""
    page.wait_for_timeout(600)
    return violations(page)


def price(page: Page, given: dict[str, str]) -> None:
    for name, path in given.items():
        page.set_input_files(f"[data-file={name}]", path)
    page.click("[data-act=price]")
    page.wait_for_selector("[data-premium]", timeout=60_000)


def test_a_quote_with_fits_is_stored_and_its_work_order_closed(
    console_context: BrowserContext, stub: Server, tmp_path: Path
) -> None:
    fits = {
        "fleet": [{"device_class": "server", "document": systems_fit(), "unit": "site"}],
        "repair": [{"device_class": "server", "document": repair_fit()}],
    }
    alarms = [{"asset_id": "disk-00000", "signal": "smart_197", "value": 150}]
    page = at_the_desk(console_context, stub)
    price(page, files(tmp_path, fits=fits, alarms=alarms))
    expect(page.locator("[data-fits] tbody tr")).to_have_count(2)
    expect(page.locator("[data-fits]")).to_contain_text("repair-2")
    expect(page.locator("[data-checks]")).to_contain_text("0 off")
    page.click("[data-act=store]")
    order = page.locator("[data-order]")
    expect(order).to_have_attribute("data-state", "open", timeout=60_000)
    expect(order.locator("[data-close=done]")).to_be_disabled()  # an order is not closed without what shows it
    order.locator("[data-evidence]").fill("serial 77 fitted, burn-in passed")
    assert settled(page) == []
    order.locator("[data-close=done]").click()
    expect(page.locator("[data-order]")).to_have_attribute("data-state", "done")
    expect(page.locator("[data-order]")).to_contain_text("Bo Chen: serial 77 fitted")
    page.click("[data-act=rerun]")
    expect(page.locator(".told")).to_contain_text("the same to the cent", timeout=60_000)
    page.click("[data-act=stress]")
    page.wait_for_selector("[data-stress]", timeout=60_000)
    page.locator("[data-order]").scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / "quote-en.png"))
    page.locator("button[lang=zh-Hans]").click()
    expect(page.locator("[data-fits]")).to_contain_text("修复时间")
    expect(page.locator("[data-order]")).to_contain_text("更换")
    assert settled(page) == []
    page.locator("[data-fits]").scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / "quote-zh.png"))


def test_a_declined_risk_is_an_indication_at_the_desk(
    console_context: BrowserContext, stub: Server, tmp_path: Path
) -> None:
    known = {q["id"]: q["answers"] for q in load_book()[0].questionnaire["questions"]}
    worst = {name: max(answers, key=lambda a, n=name: float(known[n][a])) for name, answers in known.items()}
    page = at_the_desk(console_context, stub)
    price(page, files(tmp_path, questionnaire=worst))
    told = page.locator("[data-indication]")
    expect(told).to_contain_text("not an offer")
    expect(told).to_contain_text("below 40")
    expect(page.locator("section[data-decision=decline]")).to_contain_text("Indication, not an offer")
    assert settled(page) == []


def test_no_old_price_stays_beside_another_fleet(console_context: BrowserContext, stub: Server, tmp_path: Path) -> None:
    page = at_the_desk(console_context, stub)
    given = files(tmp_path)
    price(page, given)
    bad = tmp_path / "other.csv"
    text = Path(given["fleet"]).read_text(encoding="utf-8")
    bad.write_text(text.replace("server-00000,server", "server-00000,toaster"), encoding="utf-8")
    page.set_input_files("[data-file=fleet]", str(bad))
    expect(page.locator("[data-premium]")).to_have_count(0, timeout=30_000)
