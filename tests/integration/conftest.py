"""What tests with a real database share beyond tests/conftest.py."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr

from core.ids import new_id
from core.settings import Settings
from store.pool import connect_worker


@pytest.fixture
def settings(postgres_url: str) -> Settings:
    """Settings of an exercise on a fresh database."""
    return Settings(database_url=SecretStr(postgres_url), mode="exercise")


@pytest.fixture
def worker(postgres_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection as tocsin_worker."""
    with connect_worker(postgres_url) as conn:
        yield conn


@pytest.fixture
def make_tenant(worker: psycopg.Connection[tuple[Any, ...]]) -> Callable[[str], UUID]:
    """Makes a tenant of this slug."""

    def make(slug: str) -> UUID:
        tenant_id = new_id()
        worker.execute(
            "INSERT INTO tenant (tenant_id, slug, name) VALUES (%s, %s, %s)", [tenant_id, slug, slug.title()]
        )
        return tenant_id

    return make
