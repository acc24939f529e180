"""Both pages in a real browser against the stand-in API: what they show, ask for, keep and refuse to pretend."""

import gzip
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from alerts import payload
from alerts.alert import Alert, Text
from alerts.level import Level
from tests.e2e import driver
from tests.e2e.stub import Server
from tests.e2e.stub_phone import TOKEN
from tests.e2e.world import HASH, at, key, route, valley

pytestmark = pytest.mark.browser

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def signed_in(context: BrowserContext, stub: Server, *, with_map: bool = False) -> driver.Watch:
    """The desk. A map drawn without a graphics card takes seconds: it is left out where it says nothing."""
    watch = driver.open_page(context)
    if not with_map:
        watch.page.route("**/assets/view-*.js", lambda asked: asked.abort())
    driver.sign_in(watch.page, stub.url, "approver", "right")
    return watch


def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA, as `rule: element`."""
    if not AXE.is_file():
        pytest.skip("axe-core is absent: run `npm ci` in web/")
    page.evaluate(AXE.read_text(encoding="utf-8") + "; undefined")
    found: dict[str, Any] = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
    )
    assert len(found["passes"]) > 8, "axe looked at nothing"
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


# ---------------------------------------------------------------- console
def test_console_opens_on_the_silent_station_and_on_the_draft(console_context: BrowserContext, stub: Server) -> None:
    watch = signed_in(console_context, stub, with_map=True)
    page = watch.page
    station = page.locator("[data-station=AR-03]")
    expect(station).to_have_attribute("data-held", "true")
    expect(station).to_contain_text("Unknown, held")
    detail = page.locator(f"[data-detail='{key('red')}']")
    expect(detail).to_have_attribute("data-state", "draft")
    expect(detail).to_contain_text("412 people in the audience")
    expect(detail).to_contain_text("Waits for 1 more person")
    expect(page.locator("[data-action=approve]")).to_be_in_viewport()
    assert driver.number(page, "exposed") == "LKR 1.285B"
    assert driver.number(page, "warnings") == "2"
    expect(page.locator(".banner.exercise")).to_be_visible()
    driver.wait_for_map(page)
    assert watch.off_origin(stub.url) == []
    assert watch.errors == []
    assert watch.violations == []


def test_map_draws_stations_cells_footprint_and_routes(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub, with_map=True).page
    driver.wait_for_map(page)
    colours = page.evaluate(
        """() => {
          const map = document.querySelector(".map canvas");
          const copy = document.createElement("canvas");
          copy.width = map.width; copy.height = map.height;
          const context = copy.getContext("2d");
          context.drawImage(map, 0, 0);
          const data = context.getImageData(0, 0, copy.width, copy.height).data;
          const seen = {};
          for (let i = 0; i < data.length; i += 4) {
            const name = [data[i] >> 4, data[i + 1] >> 4, data[i + 2] >> 4].join();
            seen[name] = (seen[name] ?? 0) + 1;
          }
          return Object.values(seen).filter((n) => n > 20).length;
        }"""
    )
    assert colours > 40
    page.get_by_label("Insured value", exact=True).uncheck()
    page.locator("[data-map-idle]").wait_for()


def test_another_base_map_is_read_in_parts_from_our_own_origin(
    console_context: BrowserContext, stub: Server, shared_data: Path
) -> None:
    stub.world.basemap = shared_data / "map" / "world.pmtiles"
    if not stub.world.basemap.is_file():
        pytest.skip("map/world.pmtiles is not in the real data")
    watch = driver.open_page(console_context)
    sizes: list[int] = []
    watch.page.on(
        "response",
        lambda answer: sizes.append(int(answer.headers["content-length"])) if "basemap.pmtiles" in answer.url else None,
    )
    driver.sign_in(watch.page, stub.url, "approver", "right")
    driver.wait_for_map(watch.page)
    assert sizes
    assert sum(sizes) < stub.world.basemap.stat().st_size / 4, "the file is read in parts"
    assert watch.off_origin(stub.url) == []
    assert watch.violations == []
    assert watch.errors == []


def test_approval_sends_the_hash_that_was_read(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    with page.expect_request("**/approve") as asked:
        driver.approve(page, str(key("red")))
    assert asked.value.post_data_json == {"content_sha256": HASH}
    expect(page.locator(f"[data-detail='{key('red')}']")).to_have_attribute("data-state", "released")
    expect(page.locator(f"[data-detail='{key('red')}']")).to_contain_text("Bo Chen approved at")
    stub.world.emit("warning_changed", {"warning_id": str(key("orange")), "version": 3})
    page.wait_for_timeout(1500)
    expect(page.locator(f"[data-detail='{key('red')}']")).to_be_visible()  # what one decided on stays open
    assert driver.number(page, "warned") == "599"


def test_rejection_needs_a_reason(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    driver.open_warning(page, str(key("red")))
    page.click("[data-action=reject]")
    expect(page.locator("[data-action=confirm-reject]")).to_be_disabled()
    page.click("dialog[open] button:has-text('Cancel')")
    driver.reject(page, str(key("red")), "A pump test upstream.")
    expect(page.locator(f"[data-detail='{key('red')}']")).to_have_attribute("data-state", "rejected")


def test_new_warning_appears_without_reload_and_leaves_the_open_draft_open(
    console_context: BrowserContext, stub: Server
) -> None:
    page = signed_in(console_context, stub).page
    page.locator(f"[data-detail='{key('red')}']").wait_for()
    page.evaluate("window.notReloaded = true")
    stub.world.extra_warning = True
    stub.world.emit("warning_changed", {"warning_id": str(key("new")), "version": 1})
    assert driver.wait_for_warning(page, level="yellow", timeout_s=10) == str(key("new"))
    assert page.evaluate("window.notReloaded") is True
    expect(page.locator(f"[data-detail='{key('red')}']")).to_be_visible()


def test_stream_resumes_after_the_last_event_when_the_server_comes_back(
    console_context: BrowserContext, stub: Server
) -> None:
    page = signed_in(console_context, stub).page
    driver.until(lambda: len(stub.world.last_event_ids) >= 1, page)
    plans = "/v1/evacuation-plans/latest"
    driver.until(lambda: stub.world.asked[plans] >= 1, page)
    before = stub.world.asked[plans]
    stub.world.emit("plan_made", {})
    driver.until(lambda: stub.world.asked[plans] > before, page)  # the page has taken event 1 in
    stub.stop()
    page.wait_for_selector(".banner.offline", timeout=20_000)
    expect(page.locator("[data-action=approve]")).to_be_disabled()
    assert driver.number(page, "exposed") == "LKR 1.285B", "old numbers stay"
    stub.world.extra_warning = True
    stub.world.emit("warning_changed", {"warning_id": str(key("new")), "version": 1})
    stub.start()
    assert driver.wait_for_warning(page, level="yellow", timeout_s=40) == str(key("new"))
    assert stub.world.last_event_ids[-1] == "1"
    expect(page.locator(".banner.offline")).to_be_hidden()
    expect(page.locator("[data-action=approve]")).to_be_enabled()


def test_nothing_known_is_shown_as_unknown_not_as_zero(console_context: BrowserContext, stub: Server) -> None:
    stub.world.empty = True
    page = signed_in(console_context, stub).page
    assert driver.number(page, "exposed") == "unknown"
    assert driver.number(page, "policies") == "unknown"
    expect(page.get_by_text("No warning is out and none waits.")).to_be_visible()
    expect(page.get_by_text("No station is registered yet.")).to_be_visible()


def test_a_broker_that_is_away_is_said_at_the_top(console_context: BrowserContext, stub: Server) -> None:
    stub.world.broker_down = True
    page = signed_in(console_context, stub).page
    expect(page.locator("[data-feed=broker]")).to_contain_text("What 6 stations say is not known.")


def test_a_part_that_fails_says_so_with_its_request_and_can_be_tried_again(
    console_context: BrowserContext, stub: Server
) -> None:
    stub.world.fail.add("/v1/warnings")
    page = signed_in(console_context, stub).page
    problem = page.locator("[role=alert]", has_text="The database does not answer.")
    expect(problem).to_contain_text("Request req-42")
    assert driver.number(page, "policies") == "1,620", "the rest works"
    stub.world.fail.clear()
    problem.get_by_role("button", name="Try again").click()
    driver.wait_for_warning(page, level="red", state="draft", timeout_s=10)
    expect(problem).to_be_hidden()


def test_a_map_that_cannot_be_drawn_says_so_where_it_can_be_read(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    said = page.locator(".map-pane [role=alert]")
    expect(said).to_contain_text("Failed to fetch")
    expect(page.locator(".map-pane .legend")).to_be_hidden()
    expect(page.locator("section", has_text="Ways out and safe zones").last).to_contain_text("North School")


def test_skeletons_stand_where_data_will_be(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    stub.world.slow_s = 3
    page.reload()
    page.wait_for_selector(".skeleton")
    expect(page.locator("section[aria-busy=true]").first).to_be_visible()


def test_wrong_password_is_said_and_cleared(console_context: BrowserContext, stub: Server) -> None:
    page = console_context.new_page()
    page.goto(stub.url)
    page.fill("input[name=login]", "approver")
    page.fill("input[name=password]", "wrong")
    page.click("button[type=submit]")
    expect(page.get_by_role("alert")).to_contain_text("do not fit together")
    assert page.input_value("input[name=password]") == ""


def test_signing_out_leaves_nothing_on_the_screen(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("input[name=password]")
    assert "Millbridge" not in page.inner_text("body")


def test_selection_lives_in_the_address_and_the_language_follows(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    page.locator(".stations-list button", has_text="Old Town").click()
    driver.open_warning(page, str(key("orange")))
    assert f"station={key('AR-04')}" in page.url
    assert f"warning={key('orange')}" in page.url
    page.reload()
    expect(page.locator("[data-station=AR-04]")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.locator(f"[data-detail='{key('orange')}']")).to_contain_text("老城河水上涨")
    assert page.get_attribute("html", "lang") == "zh-Hans"
    page.go_back()
    expect(page.locator(f"[data-detail='{key('red')}']")).to_be_hidden()


def test_desk_works_from_the_keyboard(console_context: BrowserContext, stub: Server) -> None:
    page = signed_in(console_context, stub).page
    driver.wait_for_warning(page, state="draft")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-detail='{key('orange')}']")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("dialog[open]")).to_contain_text("Keyboard")
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_stopping_asks_once_and_resuming_waits_for_a_second_person(
    console_context: BrowserContext, stub: Server
) -> None:
    page = signed_in(console_context, stub).page
    page.get_by_role("button", name="Stop sending").click()
    assert stub.world.paused is False, "opening the question stops nothing"
    page.get_by_role("button", name="Stop now").click()
    expect(page.locator(".banner.paused")).to_be_visible()
    page.get_by_role("button", name="Resume sending").click()
    page.locator("dialog[open]").get_by_role("button", name="Resume sending").click()
    expect(page.locator("dialog[open]")).to_contain_text("A second person must resume as well")


# ---------------------------------------------------------------- phone
def test_phone_shows_level_instruction_way_and_leave_by(phone_context: BrowserContext, stub: Server) -> None:
    watch = driver.open_page(phone_context)
    page = watch.page
    driver.open_phone(page, stub.url, TOKEN)
    expect(page.locator("[data-level=red]")).to_contain_text("Leave low ground by the marked way")
    expect(page.locator("[data-leave-by]")).to_contain_text(re.compile(r"Leave by \d\d:\d\d"))
    expect(page.locator("svg.sketch path.way")).to_have_attribute("d", re.compile("^M[0-9.]+ [0-9.]+L"))
    expect(page.get_by_text("Go to: North School")).to_be_visible()
    assert "#" not in page.url, "the token does not stay in the address"
    driver.until(lambda: len(stub.world.receipts) == 1, page)
    assert stub.world.receipts[0]["kind"] == "displayed"
    driver.wait_for_service_worker(page)
    assert watch.off_origin(stub.url) == []
    assert watch.errors == []
    assert watch.violations == []


def test_phone_says_when_the_time_to_leave_has_passed(phone_context: BrowserContext, stub: Server) -> None:
    page = phone_context.new_page()
    stub.world.leave_in_min = -5
    driver.open_phone(page, stub.url, TOKEN)
    expect(page.locator("[data-leave-by]")).to_contain_text("Another road may be open until")
    stub.world.leave_in_min = -90
    expect(page.locator("[data-leave-by]")).to_contain_text("Go as high as you can", timeout=15_000)
    expect(page.get_by_text("Go to: North School")).to_have_count(0)


def test_a_way_through_the_hazard_is_begun_at_once_and_says_so(phone_context: BrowserContext, stub: Server) -> None:
    stub.world.route_status, stub.world.leave_in_min = "through-hazard", -20
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    way = page.locator("[data-route=through-hazard]")
    expect(way).to_contain_text("Leave now")
    expect(way).to_contain_text("Part of this way (110 m) lies in the danger.")
    expect(way).to_contain_text("Go to: North School")


def test_a_household_without_a_seat_is_not_sent_to_a_full_safe_zone(
    phone_context: BrowserContext, stub: Server
) -> None:
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    expect(page.locator(".zones li")).to_have_count(3)
    expect(page.locator(".zones")).not_to_contain_text("No seat left for you here")
    stub.world.route_status = "no-seat"
    page.reload()
    expect(page.locator("[data-route=no-seat]")).to_contain_text("The safe zones you can reach are full.")
    expect(page.locator(".zones li", has_text="No seat left for you here")).to_have_count(3)


def test_help_on_the_phone_reaches_the_console_and_is_handled_there(
    phone_context: BrowserContext, console_context: BrowserContext, stub: Server
) -> None:
    desk = signed_in(console_context, stub).page
    expect(desk.get_by_text("Nobody has answered yet.")).to_be_visible()
    phone = phone_context.new_page()
    driver.open_phone(phone, stub.url, TOKEN)
    driver.press_help(phone, "medical")
    driver.wait_for_sent(phone, "help", "received")
    row = driver.see_help_in_console(desk, name="Amara Silva", timeout_s=10)
    expect(row).to_contain_text("medicine needed · 1 person")
    assert stub.world.answers[0]["warning_id"] == key("red")
    driver.mark_handled(row)
    expect(desk.locator("[data-answer=help][data-handled=true]")).to_contain_text("handled by Bo Chen")


def test_a_photo_of_damage_is_made_small_without_its_metadata_and_shown_at_the_desk(
    phone_context: BrowserContext, console_context: BrowserContext, stub: Server, tmp_path: Path
) -> None:
    told = Image.Exif()
    told[0x010E] = "at 52.52N"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (1500, 2000, 3), dtype=np.uint8), "RGB").save(
        tmp_path / "a.jpg", quality=95, exif=told
    )
    assert (tmp_path / "a.jpg").stat().st_size > 1_500_000
    desk = signed_in(console_context, stub).page
    phone = phone_context.new_page()
    driver.open_phone(phone, stub.url, TOKEN)
    phone.locator("button[data-answer=damage]").click()
    phone.get_by_role("button", name="Knee").click()
    phone.locator("input[data-photo]").set_input_files(tmp_path / "a.jpg")
    expect(phone.locator("input[data-photo=ready]")).to_be_visible(timeout=30_000)
    phone.get_by_role("button", name="Send", exact=True).click()
    driver.wait_for_sent(phone, "damage", "received", 30)
    (body,) = stub.world.photos.values()
    assert len(body) <= 450_000  # noise, the worst a camera can bring
    assert b"52.52N" not in body
    assert max(Image.open(io.BytesIO(body)).size) <= 1280
    row = desk.locator("li[data-answer=damage]")
    expect(row).to_contain_text("water to the knee")
    expect(row.get_by_role("img", name="Photo of the damage, from Amara Silva")).to_be_visible()


def test_feeds_of_others_show_their_age_their_error_and_when_they_are_asked_again(
    console_context: BrowserContext, stub: Server
) -> None:
    stub.world.other_feeds[2]["due_at"] = at(150)
    page = signed_in(console_context, stub).page
    page.locator("[data-desk=feeds]").click()
    away = page.locator("[data-feed=usgs]")
    expect(away).to_have_attribute("data-circuit", "open")
    expect(away).to_contain_text("circuit open after 4 failures")
    expect(away).to_contain_text("It answers 503.")
    never = page.locator("[data-feed=firms]")
    expect(never).to_contain_text("never")
    expect(never).to_contain_text("not asked yet")
    expect(page.locator("[data-feed=nws]")).to_contain_text("answers")
    expect(page.locator("[data-feed=hubeau]")).to_contain_text("late")  # up, and older than three intervals
    expect(page.locator("[data-feed=nws]")).to_contain_text("due since")  # a question that is overdue: nobody asks
    expect(page.get_by_text("4 feeds are on; late: 2; never answered: 1.")).to_be_visible()
    page.reload()
    expect(page.locator("[data-feed=usgs]")).to_be_visible()  # the desk stands in the address


def test_phone_opens_offline_keeps_the_answer_and_sends_it_once(phone_context: BrowserContext, stub: Server) -> None:
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    driver.wait_for_service_worker(page)
    stub.stop()
    phone_context.set_offline(True)
    page.goto(f"{stub.url}/me")
    driver.wait_for_phone_level(page, "red", 10)
    expect(page.locator("svg.sketch")).to_be_visible()
    page.wait_for_selector("[data-banner=stale]", timeout=30_000)
    expect(page.locator("[data-banner=stale]")).to_contain_text("We cannot reach Tocsin.")
    driver.press_safe(page)
    driver.wait_for_sent(page, "safe", "waiting")
    page.reload()
    driver.wait_for_sent(page, "safe", "waiting")
    stub.start()
    phone_context.set_offline(False)
    driver.wait_for_sent(page, "safe", "received", 40)
    assert [answer["kind"] for answer in stub.world.answers] == ["safe"]


def test_steps_against_loss_are_shown_in_order_and_done_is_kept_without_a_network(
    phone_context: BrowserContext, stub: Server
) -> None:
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    driver.wait_for_service_worker(page)
    card = page.locator("[data-steps]")
    expect(card).to_contain_text("People first")
    assert card.locator("li").evaluate_all("all => all.map(one => one.dataset.step)") == [
        "cut_power",
        "move_car",
        "move_contents",
    ]
    expect(card.locator("[data-step=move_car]")).to_contain_text("€6,200")
    phone_context.set_offline(True)
    card.locator("[data-step=move_car] button").click()
    expect(card.locator("[data-step=move_car]")).to_contain_text("Kept on this phone")
    page.reload()
    expect(page.locator("[data-step=move_car]")).to_contain_text("Kept on this phone")
    phone_context.set_offline(False)
    expect(page.locator("[data-step=move_car][data-done=true]")).to_contain_text("Done at", timeout=40_000)
    assert list(stub.world.steps_done) == ["move_car"]


#: Holds each write to the device's store open for 2 s, as a slow phone does.
SLOW_STORE = """() => {
const put = IDBObjectStore.prototype.put;
IDBObjectStore.prototype.put = function (...given) {
  const request = put.apply(this, given), until = Date.now() + 2000;
  const again = () => { if (Date.now() < until) this.count().onsuccess = again; };
  again();
  return request;
};
}"""


def test_nothing_is_shown_as_kept_before_it_is_kept(phone_context: BrowserContext, stub: Server) -> None:
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    driver.wait_for_service_worker(page)
    phone_context.set_offline(True)
    page.evaluate(SLOW_STORE)
    step = page.locator("[data-step=move_car]")
    step.locator("button").click()
    page.wait_for_timeout(700)
    expect(step).not_to_contain_text("Kept on this phone", timeout=1)
    expect(step).to_contain_text("Kept on this phone", timeout=20_000)
    driver.press_safe(page)
    page.wait_for_timeout(700)
    assert page.locator("[data-sent=safe]").count() == 0
    driver.wait_for_sent(page, "safe", "waiting")
    # closed before the page itself noted what it had shown: the answer lies in the outbox, and is shown
    page.reload()
    driver.wait_for_sent(page, "safe", "waiting")
    expect(page.locator("[data-step=move_car]")).to_contain_text("Kept on this phone")


def test_phone_is_never_calm_when_it_cannot_know(phone_context: BrowserContext, stub: Server) -> None:
    stub.world.phone_state = "no_warning"
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    expect(page.locator("[data-level=none]")).to_contain_text("No warning for your place")
    stub.world.phone_state, stub.world.phone_reason = "cannot_tell", "silent_station"
    driver.wait_for_phone_level(page, "unknown", 15)
    expect(page.locator("[data-level=unknown]")).to_contain_text("A sensor near you is silent")
    stub.world.phone_state = "no_warning"
    driver.wait_for_phone_level(page, "none", 15)
    stub.stop()
    driver.wait_for_phone_level(page, "unknown", 40)
    expect(page.locator("[data-level=unknown]")).to_contain_text("There may be a warning that we cannot show")
    assert page.locator("[data-level=none]").count() == 0


def test_a_link_that_is_not_valid_shows_nothing_of_anybody(phone_context: BrowserContext, stub: Server) -> None:
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    page.goto("about:blank")
    page.goto(f"{stub.url}/me#t=another")
    expect(page.get_by_text("This link has run out.")).to_be_visible()
    assert "Millbridge" not in page.inner_text("body")


def test_push_alone_brings_the_warning_when_the_server_cannot_be_reached(
    phone_context: BrowserContext, stub: Server
) -> None:
    phone_context.grant_permissions(["notifications"], origin=stub.url)
    stub.world.phone_state = "no_warning"
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    driver.wait_for_service_worker(page)
    cdp = phone_context.new_cdp_session(page)
    registrations: list[str] = []
    cdp.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda event: registrations.extend(one["registrationId"] for one in event["registrations"]),
    )
    cdp.send("ServiceWorker.enable")
    driver.until(lambda: bool(registrations), page)
    stub.stop()
    alert = Alert(
        warning_id=key("red"),
        version=1,
        tenant_id=key("tenant"),
        rule_id=None,
        level=Level.RED,
        msg_type="Alert",
        all_clear=False,
        reason="level_reached",
        status="Exercise",
        exercise=True,
        identifier="tocsin-red-1",
        sender="flood-desk@example.org",
        sent_at=at(184),
        expires_at=at(600),
        area=shapely.Polygon(valley(0.02)),
        area_desc={"en": "Millbridge"},
        texts={},
    )
    text = Text(headline="Flood at Millbridge: leave now", description="", instruction="Go to North School.")
    told = payload.build(
        alert,
        text,
        language="en",
        delivery_id=key("delivery"),
        url=f"{stub.url}/now#t={TOKEN}",
        way_out=payload.WayOut(status="clear", leave_by=at(240), line=shapely.LineString(route(1))),
        safe_zones=[],
    )
    data = payload.to_push(told, shapely.LineString(route(1)), 3000).decode()
    cdp.send("ServiceWorker.deliverPushMessage", {"origin": stub.url, "registrationId": registrations[0], "data": data})
    driver.wait_for_phone_level(page, "red", 15)
    expect(page.locator("[data-leave-by]")).to_be_visible()
    expect(page.locator("svg.sketch path.way")).to_have_attribute("d", re.compile("^M"))
    shown = page.evaluate(
        "async () => (await (await navigator.serviceWorker.ready).getNotifications()).map((n) => [n.title, n.body])"
    )
    assert shown == [["Flood at Millbridge: leave now", "Go to North School."]]


# ---------------------------------------------------------------- both
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_accessibility_violations(chromium: Browser, stub: Server, scheme: str, language: str) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale=language, color_scheme=scheme)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.goto(stub.url)
        page.wait_for_selector("input[name=password]")
        found = {"sign-in": violations(page)}
        driver.sign_in(page, stub.url, "approver", "right")
        page.locator(f"[data-detail='{key('red')}']").wait_for()
        driver.wait_for_map(page)
        found["console"] = violations(page)
        page.click("[data-action=approve]")
        found["approval"] = violations(page)
        phone = context.new_page()
        phone.set_viewport_size({"width": 390, "height": 844})
        driver.open_phone(phone, stub.url, TOKEN, language=language)
        phone.click("button[data-answer=help]")
        phone.click("button[data-answer=damage]")
        found["phone"] = violations(phone)
        stub.world.phone_state = "cannot_tell"
        driver.wait_for_phone_level(phone, "unknown", 15)
        found["phone, unsure"] = violations(phone)
        if language == "en":
            driver.open_phone(phone, stub.url, TOKEN, language="ar")
            found["phone, Arabic"] = violations(phone)
        assert {name: one for name, one in found.items() if one} == {}
    finally:
        context.close()


def loaded(static: Path, page: str) -> dict[str, int]:
    """What a page loads first, gzipped, by file: itself, its scripts with their static imports, its styles."""
    html = (static / page).read_text(encoding="utf-8")
    todo = [name.lstrip("/") for name in re.findall(r'(?:src|href)="(/assets/[^"]+)"', html)]
    sizes = {page: len(gzip.compress((static / page).read_bytes(), 9))}
    while todo:
        name = todo.pop()
        if name in sizes:
            continue
        content = (static / name).read_bytes()
        sizes[name] = len(gzip.compress(content, 9))
        if name.endswith(".js"):
            text = content.decode()
            todo += [f"assets/{found}" for found in re.findall(r'(?:from|import)\s*"\./([^"]+\.js)"', text)]
    return sizes


def test_size_budgets(built_pages: Path) -> None:
    phone = loaded(built_pages, "me.html")
    assert len(phone) >= 4
    assert sum(phone.values()) <= 50 * 1024, phone
    assets = [path for path in (built_pages / "assets").iterdir() if path.suffix == ".js"]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in assets) <= 450 * 1024
    console = loaded(built_pages, "index.html")
    assert not any("view-" in name for name in console), "the map is loaded only where it is shown"


def test_a_warning_sent_in_error_is_said_to_be_taken_back(phone_context: BrowserContext, stub: Server) -> None:
    stub.world.phone_state, stub.world.taken_back = "no_warning", True
    page = phone_context.new_page()
    driver.open_phone(page, stub.url, TOKEN)
    card = page.locator("[data-taken-back]")
    expect(card).to_contain_text("sent in error")
    expect(card).to_contain_text("You need do nothing")
    assert violations(page) == []
    # what we cannot tell is not made safe by it
    stub.world.phone_state, stub.world.phone_reason = "cannot_tell", "silent_station"
    page.reload()
    driver.wait_for_phone_level(page, "unknown")
    expect(card).to_contain_text("sent in error")
    expect(card).not_to_contain_text("do nothing")
