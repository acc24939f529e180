"""Kinds of error to problem+json (RFC 9457). Only here does HTTP meet core/errors.py.

The answer for another tenant's object is the answer for none at all: NotFound never tells its facts.
"""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from api.repository import DatabaseError, is_away
from core.errors import Conflict, InvalidInput, NotFound, NotPermitted, TocsinError, Unavailable
from core.log import get_logger

_log = get_logger("api")
MEDIA_TYPE: Final = "application/problem+json"


class NotSignedIn(NotPermitted):
    """Sign in first: there is no valid session, key or link."""


class TooManyTries(Unavailable):
    """Too many tries; wait."""


class BodyTooLarge(InvalidInput):
    """The request body is larger than this server takes."""


class BodyTooSlow(InvalidInput):
    """The request body did not arrive in time."""


class KeyInUse(Conflict):
    """A request with this idempotency key is being worked on; ask again in a moment."""


class KeyReused(Conflict):
    """This idempotency key was used for another request body."""


#: First match wins: (kind, status, name in the URN, title, whether the facts may be told).
_KINDS: Final[tuple[tuple[type[TocsinError], int, str, str, bool], ...]] = (
    (NotSignedIn, 401, "not-signed-in", "Not signed in", False),
    (TooManyTries, 429, "too-many-tries", "Too many tries", False),
    (BodyTooLarge, 413, "body-too-large", "Body too large", True),
    (BodyTooSlow, 408, "body-too-slow", "Body too slow", False),
    (NotFound, 404, "not-found", "Not found", False),
    (NotPermitted, 403, "not-permitted", "Not permitted", False),
    (Conflict, 409, "conflict", "Conflict", True),
    (InvalidInput, 422, "invalid-input", "Invalid input", True),
    (Unavailable, 503, "unavailable", "Unavailable", False),
)

_HTTP_NAMES: Final = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    415: "unsupported-media-type",
}


def problem(
    request: Request,
    status: int,
    name: str,
    title: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem+json answer."""
    body: dict[str, Any] = {
        "type": f"urn:tocsin:problem:{name}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id(request),
        "errors": errors or [],
    }
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def request_id(request: Request) -> str:
    """The id that api/edge.py gave this request."""
    found: str = request.scope.get("state", {}).get("request_id", "")
    return found


def from_error(request: Request, error: TocsinError) -> Response:
    """The problem of one of our errors."""
    for kind, status, name, title, tell in _KINDS:
        if isinstance(error, kind):
            headers = {}
            if status == 401:
                headers["WWW-Authenticate"] = 'Bearer realm="tocsin"'
            if (wait := error.facts.get("retry_after_s")) is not None:
                headers["Retry-After"] = str(max(1, round(float(wait))))
            detail = str(error) if tell else error.message
            if status == 404:
                detail = (NotFound.__doc__ or "").strip()
            return problem(
                request, status, name, title, detail, errors=_fields(error) if tell else None, headers=headers
            )
    return _unexpected(request, error)


def _fields(error: TocsinError) -> list[dict[str, str]]:
    """Fields to mend, of an error that carries (field, reason) pairs as `problems`."""
    return [{"field": str(field), "reason": str(reason)} for field, reason in getattr(error, "problems", ())][:50]


def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request failed", request_id=request_id(request), path=request.url.path, exc_info=error)
    return problem(
        request, 500, "internal", "Internal error", "Something went wrong here; the request id finds it in the log."
    )


def install(app: FastAPI) -> None:
    """Hangs the handlers into the application."""

    @app.exception_handler(TocsinError)
    async def ours(request: Request, error: TocsinError) -> Response:
        return from_error(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # The value itself is not repeated: it may be a password, and it may be long.
        told = [
            {"field": ".".join(str(part) for part in wrong["loc"]), "reason": str(wrong["msg"])}
            for wrong in error.errors()[:50]
        ]
        named = "; ".join(f"{one['field']}: {one['reason']}" for one in told[:3])
        return problem(request, 422, "invalid-input", "Invalid input", named or "The request is wrong.", errors=told)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return from_error(request, NotFound())
        name = _HTTP_NAMES.get(error.status_code, "http")
        title = name.replace("-", " ").capitalize()
        return problem(request, error.status_code, name, title, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(DatabaseError)
    async def database(request: Request, error: Exception) -> Response:
        if is_away(error):
            _log.warning("database away", request_id=request_id(request), path=request.url.path, error=str(error))
            return from_error(request, Unavailable("The database does not answer; try again in a moment."))
        return _unexpected(request, error)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return _unexpected(request, error)
