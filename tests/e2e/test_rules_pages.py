"""The desk of rules and silences in a real browser: read, draft, refuse at the field, try, propose, agree, silence."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from alerts.level import Level
from alerts.rule_desk import rule_sha256
from alerts.silence import Silence
from tests.e2e import driver
from tests.e2e.stub import Server
from tests.e2e.stub_rules import MAY, MILLBRIDGE, TENANT
from tests.e2e.test_pages import violations
from tests.e2e.world import at, key

pytestmark = pytest.mark.browser


def at_the_desk(context: BrowserContext, stub: Server, may: list[str] = MAY) -> Page:
    stub.world.may_more = list(may)
    watch = driver.open_page(context)
    watch.page.route("**/assets/view-*.js", lambda asked: asked.abort())
    driver.sign_in(watch.page, stub.url, "approver", "right")
    return watch.page


def settled(page: Page) -> list[str]:
    page.wait_for_timeout(400)
    return violations(page)


def test_a_new_version_is_drafted_tried_and_proposed(
    console_context: BrowserContext, stub: Server, tmp_path: Path
) -> None:
    page = at_the_desk(console_context, stub)
    page.click("[data-desk=rules]")
    rule = page.locator("[data-rule=millbridge]")
    expect(rule).to_contain_text("v2")
    expect(rule).to_contain_text("in force")
    rule.focus()
    page.keyboard.press("Enter")  # as with every row
    expect(page.locator("[data-version='2']")).to_have_attribute("data-state", "in_force")
    expect(page.locator("[data-version='1']")).to_have_attribute("data-state", "replaced")
    expect(page.locator("[data-version='2']")).to_contain_text("Proposed by amal, agreed to by bo")
    assert "rule=" in page.url
    page.click("[data-version='2'] [data-act=draft]")
    expect(page.locator("[data-draft=millbridge] h2")).to_be_focused()
    expect(page.locator("[data-act=keep]")).to_have_count(0)  # nothing is kept that was not tried

    # what the server refuses stands at its field, and the field is where the keyboard is then
    page.fill("[data-path='thresholds.red']", "2.5")
    page.click("[data-act=try]")
    error = page.locator("[data-error=thresholds]")
    expect(error).to_contain_text("must rise with the level")
    expect(page.locator("[data-path='thresholds.blue']")).to_be_focused()
    page.fill("[data-path='thresholds.red']", "a lot")
    page.keyboard.press("Enter")
    expect(error).to_contain_text("red is not a number: 'a lot'")
    expect(page.locator("[aria-invalid=true]")).to_have_count(1)
    assert settled(page) == []
    page.screenshot(path=tmp_path / "rules-error.png", full_page=True)
    page.fill("[data-path='thresholds.red']", "5.2")
    expect(error).to_have_count(0)
    page.fill("[data-path=days]", "14")
    page.click("[data-act=try]")
    expect(page.locator("[data-outcome-row=warnings]")).to_contain_text("2")
    expect(page.locator("[data-people]")).to_contain_text("412 people")
    expect(page.locator("[data-act=keep]")).to_have_text("Propose to a second person")
    page.screenshot(path=tmp_path / "rules-tried.png", full_page=True)
    page.fill("[data-path='thresholds.red']", "5.3")
    expect(page.locator("[data-act=keep]")).to_have_count(0)  # that was tried is not what stands there now
    page.click("[data-act=try]")
    with page.expect_request("**/v1/rules") as asked:
        page.click("[data-act=keep]")
    sent = asked.value.post_data_json["rule"]
    assert sent["thresholds"] == {"yellow": 3, "orange": 4, "red": 5.3}
    assert sent["area"] == MILLBRIDGE["area"]  # nobody falls out of a warning because a form was used
    assert asked.value.post_data_json["days"] == 14
    expect(page.locator("[data-told]")).to_contain_text("waits for a second person")
    expect(page.locator("[data-proposal=millbridge] [data-act=agree]")).to_be_disabled()
    expect(page.locator("[data-own]")).to_contain_text("somebody else must agree")
    page.locator("button[lang=zh-Hans]").click()
    expect(page.locator("[data-proposal=millbridge]")).to_contain_text("由您提出")
    expect(page.locator("[data-told]")).to_contain_text("等待第二人")
    assert settled(page) == []
    page.screenshot(path=tmp_path / "rules-zh.png", full_page=True)


def test_the_second_person_agrees_and_a_rule_is_retired(console_context: BrowserContext, stub: Server) -> None:
    told = MILLBRIDGE | {"hysteresis": 0.3}
    stub.world.book.proposals.append(
        {
            "proposal_id": uuid4(),
            "code": "millbridge",
            "told": told,
            "content_sha256": rule_sha256(told).hex(),
            "state": "proposed",
            "effective_from": None,
            "dry_run": None,
            "proposed_by": key("amal"),
            "proposed_by_login": "amal",
            "proposed_at": at(180),
            "decided_by": None,
            "decided_at": None,
            "why": "",
            "version": None,
        }
    )
    page = at_the_desk(console_context, stub)
    page.click("[data-desk=rules]")
    page.click("[data-proposal=millbridge] [data-act=agree]")
    expect(page.locator("[data-told]")).to_contain_text("v3 is kept")
    page.click("[data-rule=millbridge]")
    expect(page.locator("[data-version='3']")).to_have_attribute("data-state", "in_force")
    expect(page.locator("[data-version='2']")).to_have_attribute("data-state", "replaced")
    page.click("[data-act=retire]")
    expect(page.locator("[data-act=confirm-retire]")).to_be_disabled()  # not without a reason
    page.fill("dialog[open] textarea", "the gauge is gone")
    page.click("[data-act=confirm-retire]")
    expect(page.locator("[data-version='3']")).to_have_attribute("data-state", "retired")
    # what a rule without a gauge would have said: how often it was wrong and how many it would reach is not known
    page.click("[data-rule=homes]")
    page.click("[data-version='1'] [data-act=draft]")
    page.fill("[data-path='exposure.yellow.policies']", "30")
    page.click("[data-act=try]")
    expect(page.locator("[data-outcome]")).to_contain_text("3 footprints or bulletins")
    expect(page.locator("[data-outcome-row=false]")).to_contain_text("unknown")
    expect(page.locator("[data-people]")).to_contain_text("unknown")
    page.click("[data-act=keep]")
    expect(page.locator("[data-version='2']")).to_contain_text("30 policies")


def test_silences_are_made_agreed_to_and_ended(console_context: BrowserContext, stub: Server, tmp_path: Path) -> None:
    page = at_the_desk(console_context, stub)
    page.click("[data-desk=rules]")
    page.click("[data-tab=silences]")
    expect(page.locator("text=Nothing is silenced.")).to_be_visible()
    page.select_option("[data-path=rule_code]", "millbridge")
    page.select_option("[data-path=up_to]", "red")
    page.fill("[data-path=hours]", "500")
    page.fill("[data-path=reason]", "the gauge is being cleaned")
    page.eval_on_selector("[data-silence-form]", "form => form.noValidate = true")  # what a browser lets by
    page.click("[data-act=silence]")
    expect(page.locator("[data-error=ends_at]")).to_contain_text("7 days at most")
    page.fill("[data-path=hours]", "3")
    page.click("[data-act=silence]")
    made = page.locator("[data-silence=millbridge]")
    expect(made).to_contain_text("Red waits for a second person")
    expect(made).to_contain_text("holds back up to: Act")
    expect(made.locator("[data-act=agree-silence]")).to_be_disabled()  # not by its author
    stub.world.book.silences.append(
        Silence(
            silence_id=uuid4(),
            tenant_id=TENANT,
            rule_code=None,
            peril="flood",
            up_to=Level.RED,
            starts_at=at(100),
            ends_at=at(100) + timedelta(hours=30),
            author=key("amal"),
            reason="pump test upstream",
        )
    )
    page.click("[data-tab=rules]")
    page.click("[data-desk=warnings]")
    page.click("[data-desk=rules]")
    page.click("[data-tab=silences]")
    other = page.locator("[data-silence=flood]")
    assert settled(page) == []
    page.screenshot(path=tmp_path / "silences.png")
    other.locator("[data-act=agree-silence]").click()
    expect(other).to_contain_text("holds back up to: Leave now")
    expect(other).to_contain_text("agreed to by approver")
    made.locator("[data-act=end-silence]").click()
    expect(made).to_have_count(0)
    assert settled(page) == []


def test_loading_empty_error_and_forbidden(console_context: BrowserContext, stub: Server) -> None:
    stub.world.fail.add("/v1/rules")
    page = at_the_desk(console_context, stub, ["read rule", "read silence"])
    page.click("[data-desk=rules]")
    expect(page.locator(".problem").first).to_contain_text("The database does not answer.")
    expect(page.locator(".problem").first).to_contain_text("req-42")
    stub.world.fail.clear()
    stub.world.book.rules.clear()
    page.click(".problem >> text=Try again")
    expect(page.locator("text=No rule is in force: nothing is warned of.")).to_be_visible()
    page.click("[data-tab=silences]")
    expect(page.locator("[data-silence-form]")).to_have_count(0)  # who may not make one is not asked to
    stub.world.may_more = []
    page.goto(f"{stub.url}/?desk=rules")
    expect(page.locator("[data-forbidden]")).to_contain_text("Your role does not open this page.")
    assert settled(page) == []
