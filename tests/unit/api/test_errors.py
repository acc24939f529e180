"""Kinds of error to problems."""

import json
from typing import Any

import pytest
from starlette.requests import Request

from api.errors import NotSignedIn, TooManyTries, from_error
from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, TocsinError, Unavailable


class NoSuchWarning(NotFound):
    """There is no such warning."""


class BadTable(InvalidInput):
    """The table is wrong."""

    problems = (("line 3, opened", "not a date"),)


def told(error: TocsinError) -> tuple[int, dict[str, Any], dict[str, str]]:
    answer = from_error(Request({"type": "http", "state": {"request_id": "r-1"}}), error)
    return answer.status_code, json.loads(bytes(answer.body)), dict(answer.headers)


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (InvalidInput(), 422, "invalid-input"),
        (NotFound(), 404, "not-found"),
        (NotPermitted(), 403, "not-permitted"),
        (NotSignedIn(), 401, "not-signed-in"),
        (Conflict(), 409, "conflict"),
        (TooManyTries(retry_after_s=0.2), 429, "too-many-tries"),
        (Unavailable(), 503, "unavailable"),
    ],
)
def test_each_kind_has_its_status_and_urn(error: TocsinError, status: int, name: str) -> None:
    code, body, headers = told(error)
    assert (code, body["status"], body["type"]) == (status, status, f"urn:tocsin:problem:{name}")
    assert body["request_id"] == "r-1"
    assert headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in headers) == (status == 401)
    assert headers.get("retry-after") == ("1" if status == 429 else None)


def test_what_is_not_found_never_says_why() -> None:
    assert told(NoSuchWarning(warning_id="w", tenant="other"))[1] == told(NotFound("Gone since noon."))[1]


def test_facts_are_told_only_where_they_help_to_mend() -> None:
    assert "'w'" in told(Conflict(warning_id="w"))[1]["detail"]
    assert "secret" not in json.dumps(told(NotPermitted(login="secret"))[1])
    assert "secret" not in json.dumps(told(Unavailable(host="secret"))[1])


def test_wrong_fields_are_listed() -> None:
    assert told(BadTable())[1]["errors"] == [{"field": "line 3, opened", "reason": "not a date"}]
