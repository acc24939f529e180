"""What a person does on the pages, by name: browser tests speak through these and know no selectors.

Works on any server that serves the built pages: the stand-in of these tests and a running Tocsin.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Locator, Page, expect

TIMEOUT_MS = 20_000


@dataclass
class Watch:
    """What a page asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)  #: of the content security policy

    def off_origin(self, url: str) -> list[str]:
        """Requests that left the origin of `url`; data: and blob: stay in the page."""
        own = urlsplit(url).netloc
        return [
            asked
            for asked in self.requests
            if urlsplit(asked).scheme in ("http", "https", "ws", "wss") and urlsplit(asked).netloc != own
        ]


def open_page(context: BrowserContext) -> Watch:
    """A new page whose requests and complaints are kept."""
    page = context.new_page()
    watch = Watch(page)
    page.on("request", lambda request: watch.requests.append(request.url))
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    page.on(
        "console",
        lambda message: watch.violations.append(message.text) if "Content Security Policy" in message.text else None,
    )
    return watch


# ---------------------------------------------------------------- console
def sign_in(page: Page, url: str, login: str, password: str) -> None:
    """Opens the console and signs in; ends when the desk is there."""
    page.goto(f"{url}/")
    page.fill("input[name=login]", login)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_selector("[data-number=exposed]", timeout=TIMEOUT_MS)


def wait_for_map(page: Page) -> None:
    """Until the map has drawn all it has."""
    page.wait_for_selector("[data-map-idle]", timeout=60_000)


def wait_for_warning(page: Page, *, level: str | None = None, state: str | None = None, timeout_s: float = 60) -> str:
    """The id of a warning of this level and state, as soon as it stands in the list; the page is not reloaded."""
    selector = (
        "[data-warning]" + (f"[data-level={level}]" if level else "") + (f"[data-state={state}]" if state else "")
    )
    row = page.locator(selector).first
    row.wait_for(timeout=timeout_s * 1000)
    found = row.get_attribute("data-warning")
    assert found is not None
    return found


def open_warning(page: Page, warning_id: str) -> Locator:
    """Selects a warning; gives its detail."""
    if page.locator(f"[data-detail='{warning_id}']").count() == 0:
        page.click(f"[data-warning='{warning_id}']")
    detail = page.locator(f"[data-detail='{warning_id}']")
    detail.wait_for(timeout=TIMEOUT_MS)
    return detail


def approve(page: Page, warning_id: str) -> None:
    """Approves the newest version as the person who is signed in."""
    open_warning(page, warning_id)
    page.click("[data-action=approve]")
    page.click("[data-action=confirm-approve]")
    expect(page.locator("[data-action=confirm-approve]")).to_be_hidden(timeout=TIMEOUT_MS)


def reject(page: Page, warning_id: str, reason: str) -> None:
    """Rejects the newest version, saying why."""
    open_warning(page, warning_id)
    page.click("[data-action=reject]")
    page.fill("dialog[open] textarea", reason)
    page.click("[data-action=confirm-reject]")
    expect(page.locator("[data-action=confirm-reject]")).to_be_hidden(timeout=TIMEOUT_MS)


def see_help_in_console(page: Page, *, name: str | None = None, timeout_s: float = 60) -> Locator:
    """The open call for help in the console's list, as soon as it is there."""
    rows = page.locator("[data-answer=help][data-handled=false]")
    row = (rows.filter(has_text=name) if name else rows).first
    row.wait_for(timeout=timeout_s * 1000)
    return row


def mark_handled(row: Locator) -> None:
    row.locator("[data-row]").click()


def number(page: Page, key: str) -> str:
    """A number of the console as it is shown: exposed, policies, warnings, warned or help."""
    return page.locator(f"[data-number={key}] .value").inner_text()


def stations_on_map(page: Page) -> int:
    """How many stations the list beside the map holds."""
    return page.locator(".stations-list button").count()


# ---------------------------------------------------------------- phone
def open_phone(page: Page, url: str, token: str, *, language: str | None = None) -> None:
    """Opens the phone page by a signed link's token; ends when it says something."""
    page.goto(f"{url}/me{f'?lang={language}' if language else ''}#t={token}")
    page.wait_for_selector("[data-level]", timeout=TIMEOUT_MS)


def wait_for_phone_level(page: Page, level: str, timeout_s: float = 60) -> None:
    """Until the phone shows this level (`none` and `unknown` too); the page is not reloaded."""
    page.wait_for_selector(f"[data-level={level}]", timeout=timeout_s * 1000)


def wait_for_service_worker(page: Page) -> None:
    """Until the page would open without a network."""
    page.evaluate(
        """async () => {
          const registration = await navigator.serviceWorker.ready;
          if (navigator.serviceWorker.controller === null)
            await new Promise((done) => {
              navigator.serviceWorker.addEventListener("controllerchange", done, { once: true });
            });
          return registration.active.state;
        }"""
    )


def press_safe(page: Page) -> None:
    page.click("button[data-answer=safe]")


def press_help(page: Page, need: str = "trapped") -> None:
    """Calls for help: trapped, injured, medical or transport."""
    page.click("button[data-answer=help]")
    page.click(f"[data-need={need}]")


def sent_state(page: Page, kind: str) -> str | None:
    """Where an answer is: waiting, received, refused or not_kept; none: not given."""
    mark = page.locator(f"[data-sent={kind}]")
    return mark.get_attribute("data-state") if mark.count() else None


def wait_for_sent(page: Page, kind: str, state: str, timeout_s: float = 30) -> None:
    page.wait_for_selector(f"[data-sent={kind}][data-state={state}]", timeout=timeout_s * 1000)


def until(condition: Callable[[], bool], page: Page, timeout_s: float = 20) -> None:
    """Waits for something that the page itself does not show."""
    for _ in range(int(timeout_s * 20)):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen in time")
