"""The outermost layer: request ids, limits on bodies, security headers, one log line a request.

Plain ASGI, so that streams pass through it untouched.
"""

import asyncio
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import BodyTooLarge, BodyTooSlow, from_error
from core.ids import new_id
from core.log import get_logger
from core.settings import Settings

_log = get_logger("api")

#: More than any request of ours needs: a packed batch of readings, or an answer with a small photo.
MAX_BODY_BYTES: Final = 1024 * 1024
#: Operations that take more: a fleet of 30,000 devices as CSV.
LARGER_BODIES: Final = {"/v1/quotes": 4 * 1024 * 1024}
#: For the whole body to arrive.
BODY_TIMEOUT_S: Final = 20.0


def content_security_policy(settings: Settings) -> str:
    """What pages may load: our own origin, and the origin of the configured basemap.

    No inline script. Style attributes are allowed (map controls and charts set them), style elements are not.
    """
    kind, _, where = settings.basemap.partition(":")
    remote = ""
    if kind in ("pmtiles", "style") and where.startswith(("http://", "https://")):
        parts = urlsplit(where)
        remote = f" {parts.scheme}://{parts.netloc}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "style-src-attr 'unsafe-inline'",
            f"img-src 'self' data: blob:{remote}",
            "font-src 'self'",
            f"connect-src 'self'{remote}",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": content_security_policy(settings),
            "X-Content-Type-Options": "nosniff",
            # The phone page's address carries its token.
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "geolocation=(self), camera=(self), microphone=(), payment=(), usb=()",
        }
        if (settings.api.public_url or "").startswith("https://"):
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = str(new_id())
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def dress(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            body = await _read_body(scope, receive)
        except (BodyTooLarge, BodyTooSlow) as error:
            response = from_error(Request(scope), error)
            # The rest of the body is not read, so this connection cannot be used again.
            response.headers["Connection"] = "close"
            await response(scope, receive, dress)
        else:
            await self._app(scope, body, dress)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],  # never the query: it may carry a link's token
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
                request_id=request_id,
            )


async def _read_body(scope: Scope, receive: Receive) -> Receive:
    """A `receive` that gives the whole body at once; raises BodyTooLarge, BodyTooSlow before a route sees anything."""
    most = LARGER_BODIES.get(scope["path"], MAX_BODY_BYTES)
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > most):
            raise BodyTooLarge(max_bytes=most)
    parts: list[bytes] = []
    size = 0
    gone = False
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    gone = True
                    break
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise BodyTooLarge(max_bytes=most)
                parts.append(part)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise BodyTooSlow from None
    given = gone

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": b"".join(parts), "more_body": False}
        if gone:
            return {"type": "http.disconnect"}
        return await receive()

    return replay
