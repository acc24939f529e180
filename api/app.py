"""Builds the application, and runs it."""

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api import errors, openapi, pages, policy, repository
from api.auth import Authenticator, Hasher, Passwords
from api.deps import Installation, Services
from api.edge import Edge
from api.routes import (
    answers,
    cases,
    evacuation,
    exposure,
    feeds,
    hazards,
    observations,
    providers,
    public,
    quotes,
    rules,
    session,
    stations,
    stream,
    ui,
    warnings,
    wayout,
)
from api.sse import Hub
from api.vapid import public_key
from api.version import VERSION
from core.errors import Unavailable
from core.log import get_logger
from core.settings import Settings
from store.pool import app_pool, worker_pool

_log = get_logger("api")

_NOUNS = (
    ui,
    session,
    stations,
    hazards,
    feeds,
    exposure,
    evacuation,
    wayout,
    warnings,
    rules,
    answers,
    cases,
    quotes,
    observations,
    stream,
    public,
    providers,
)
#: Streams get this long to say goodbye when the server stops.
_STOP_S = 5


class PortTaken(Unavailable):
    """Another program listens at this address; stop it, or choose another port with TOCSIN_API__PORT."""


class BadAddress(Unavailable):
    """The API cannot listen at this address; see TOCSIN_API__HOST and TOCSIN_API__PORT."""


def create_app(
    settings: Settings, *, hasher: Hasher | None = None, hub: Hub | None = None, static: Path = pages.STATIC
) -> FastAPI:
    """The application; its start connects to the database. Raises NoPolicy where a route has no policy.

    `hasher`, `hub` and `static` are there for tests, which cannot wait for a full hash or a full heartbeat.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            workers = await stack.enter_async_context(worker_pool(settings))
            people = await stack.enter_async_context(app_pool(settings))
            async with workers.connection() as conn:
                found = Installation(**await repository.installation(conn))
            passwords = Passwords(hasher)
            await asyncio.to_thread(passwords.warm)
            live = hub or Hub(settings)
            app.state.services = Services(
                settings=settings,
                app_pool=people,
                worker_pool=workers,
                installation=found,
                authenticator=Authenticator(settings, workers, people, passwords),
                hub=live,
                vapid_public_key=public_key(settings),
            )
            await stack.enter_async_context(live.running())
            yield

    app = FastAPI(title="Tocsin", version=VERSION, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    for noun in _NOUNS:
        app.router.routes.extend(noun.router.routes)
    app.router.routes.append(_openapi_route(app))
    app.router.routes.extend(pages.page_routes(settings, static=static))
    policy.check_routes(app.routes)
    errors.install(app)
    app.add_middleware(cast(Any, Edge), settings=settings)
    return app


def _openapi_route(app: FastAPI) -> Route:
    async def document(_request: Request) -> Response:
        return JSONResponse(openapi.document(app), headers={"Cache-Control": "no-cache"})

    document.policy_pair = ("read", "openapi")  # type: ignore[attr-defined]
    return Route("/v1/openapi.json", document)


class _Server(uvicorn.Server):
    """Says goodbye to open streams before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stops on SIGTERM and SIGINT, and ends with exit code 0 then: uvicorn's own would end by the signal."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; raises PortTaken, BadAddress."""
    hub = Hub(settings)
    app = create_app(settings, hub=hub)
    listener = listen(settings.api.host, settings.api.port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # api/edge.py logs requests, without the query that may carry a token
        server_header=False,
        proxy_headers=bool(settings.api.trusted_proxies),
        forwarded_allow_ips=settings.api.trusted_proxies,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_S,
        limit_concurrency=None,
        lifespan="on",
    )
    server = _Server(config, hub)
    host, port = listener.getsockname()[:2]
    _log.info("listening", url=f"http://{host}:{port}")
    with listener:
        server.run(sockets=[listener])
    if not server.started:
        raise Unavailable("The API could not start; the log says why.")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises PortTaken, BadAddress."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadAddress(host=host, port=port, reason=error.strerror or str(error)) from error
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host=host, port=port) from error
        raise BadAddress(host=host, port=port, reason=error.strerror or str(error)) from error
    return made


__all__ = ["create_app", "listen", "serve"]
