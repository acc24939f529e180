"""Named SQL: whole statements in `<room>/sql/*.sql`, each after a line `-- name: it`.

Placeholders are psycopg's (`%(name)s`); a literal percent sign in a statement that takes parameters is `%%`.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from core.errors import InvalidInput
from store.pool import AsyncConnection

_HEADER = re.compile(r"^--\s*name:\s*(?P<name>\S.*?)\s*$", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class BadQueryFile(InvalidInput):
    """A file of named SQL is not in order."""


class UnknownQuery(InvalidInput, KeyError):
    """There is no statement of this name in this room."""


class Queries(Mapping[str, str]):
    """Statements by name; raises UnknownQuery for one that is not there."""

    def __init__(self, package: str, statements: Mapping[str, str]) -> None:
        self.package = package
        self._statements = dict(statements)

    def __getitem__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise UnknownQuery(name=name, package=self.package) from None

    def __contains__(self, name: object) -> bool:
        return name in self._statements

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


@cache
def load(package: str) -> Queries:
    """Every named statement of `<package>/sql/*.sql`; raises BadQueryFile naming file and reason."""
    folder = resources.files(package) / "sql"
    statements: dict[str, str] = {}
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    for file in files:
        for name, statement in parse(file.read_text(encoding="utf-8"), file=f"{package}/sql/{file.name}").items():
            if name in statements:
                raise BadQueryFile(file=f"{package}/sql/{file.name}", reason="the name is used twice", name=name)
            statements[name] = statement
    return Queries(package, statements)


def parse(text: str, *, file: str) -> dict[str, str]:
    """The statements of one file by name, comments kept; raises BadQueryFile."""
    headers = list(_HEADER.finditer(text))
    before = text[: headers[0].start()] if headers else text
    if _without_comments(before):
        raise BadQueryFile(file=file, reason="a statement stands before the first '-- name:'")
    statements: dict[str, str] = {}
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        name = header["name"]
        body = text[header.end() : following.start() if following else len(text)].strip()
        if not _NAME.match(name):
            raise BadQueryFile(file=file, reason="a name is lower case letters, digits and _", name=name)
        if name in statements:
            raise BadQueryFile(file=file, reason="the name is used twice", name=name)
        if not _without_comments(body):
            raise BadQueryFile(file=file, reason="no statement follows the name", name=name)
        statements[name] = body
    return statements


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()


def id_array(ids: Iterable[UUID | None]) -> str:
    """Ids as PostgreSQL writes an array, for a parameter with `::uuid[]`.

    A list of ten thousand takes psycopg a tenth of a second of processor, since it turns each by itself.
    """
    return "{" + ",".join("NULL" if one is None else str(one) for one in ids) + "}"


Row = dict[str, Any]


def runners(
    statements: Queries,
) -> tuple[
    Callable[[AsyncConnection, str, Mapping[str, Any]], Awaitable[list[Row]]],
    Callable[[AsyncConnection, str, Mapping[str, Any]], Awaitable[Row | None]],
    Callable[[AsyncConnection, str, Mapping[str, Any]], Awaitable[int]],
]:
    """Three ways to run a named statement: all its rows, its first row, and how many rows it changed."""

    async def all_rows(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[Row]:
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statements[name], values)
            return await cursor.fetchall()

    async def first_row(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> Row | None:
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statements[name], values)
            return await cursor.fetchone()

    async def run(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> int:
        return (await conn.execute(statements[name], values)).rowcount

    return all_rows, first_row, run
