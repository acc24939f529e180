"""A browser for the page tests, the stand-in API, and the pages as they were built."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

from tests.e2e.stub import STATIC, Server
from tests.e2e.world import World

ROOT = Path(__file__).resolve().parents[2]
#: WebGL without a graphics card: Chromium does not fall back to it by itself any more.
ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Chromium's path; tests that need it are skipped, with this reason, where there is none."""
    found = os.environ.get("TOCSIN_CHROMIUM") or next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium was found: install it, or name it in TOCSIN_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def built_pages() -> Path:
    """api/static as built from these sources; builds it where Node is at hand."""
    if subprocess.run([sys.executable, ROOT / "hatch_build.py", "--check"], cwd=ROOT, check=False).returncode == 0:
        return STATIC
    vite = ROOT / "web" / "node_modules" / "vite" / "bin" / "vite.js"
    node = shutil.which("node")
    if node is not None and vite.is_file():
        subprocess.run([node, vite, "build", "--logLevel", "warn"], cwd=ROOT / "web", check=True, timeout=300)
        return STATIC
    if (STATIC / "index.html").is_file():
        pytest.fail("api/static is older than web/: run `python hatch_build.py`")
    pytest.skip("the pages are not built: run `python hatch_build.py`")


# For a module, not the session: while it lives its event loop counts as running, and asyncio.run elsewhere would refuse.
@pytest.fixture(scope="module")
def playwright_session() -> Iterator[Playwright]:
    with sync_playwright() as session:
        yield session


@pytest.fixture(scope="module")
def chromium(playwright_session: Playwright, chromium_path: str) -> Iterator[Browser]:
    browser = playwright_session.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def console_context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en", timezone_id="Asia/Colombo")
    yield context
    context.close()


@pytest.fixture
def phone_context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, locale="en", timezone_id="Asia/Colombo", is_mobile=True, has_touch=True
    )
    yield context
    context.close()


@pytest.fixture
def stub(built_pages: Path) -> Iterator[Server]:
    """The stand-in API at a flood's peak."""
    server = Server(World())
    server.start()
    yield server
    server.stop()
