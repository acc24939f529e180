"""Fixtures of the API's tests: see world.py."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.integration.api.world import TOWN, Console, Sync, World, running, seed

Run = Callable[[Callable[[Console], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def world(worker: Sync) -> World:
    """The tenant that most tests work for."""
    return seed(worker, "acme")


@pytest.fixture
def other(worker: Sync) -> World:
    """A second tenant, none of whose rows may ever be seen by the first."""
    return seed(worker, "bravo", lon=101.5)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "roads").mkdir()
    (tmp_path / "roads" / "town.roads").write_bytes(TOWN)
    return settings.model_copy(update={"home": tmp_path})


@pytest.fixture
def console(settings: Settings) -> Run:
    """Runs an async test body with the application started."""

    def run(body: Callable[[Console], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with running(settings) as started:
                await body(started)

        asyncio.run(main())

    return run
