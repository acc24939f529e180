"""What a route gets: who asks, and a transaction in which only their tenant's rows exist."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from api import policy, repository
from api.auth import Authenticator
from api.errors import KeyInUse, KeyReused, NotSignedIn
from api.identity import Actor
from api.sse import Hub
from core.errors import InvalidInput
from core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What this database is for."""

    exercise: bool
    name: str


@dataclass(slots=True, kw_only=True)
class Services:
    """The long-lived parts of one API process."""

    settings: Settings
    app_pool: repository.Pool  #: role tocsin_app: serves people
    worker_pool: repository.Pool  #: role tocsin_worker: sign-in, the stream, and what providers report
    installation: Installation
    authenticator: Authenticator
    hub: Hub
    vapid_public_key: str | None = None  #: none: web push is off
    #: A quote takes a second of a processor and holds a connection meanwhile: two at once leave room for the rest.
    pricing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


class Context:
    """One request: who asks, and the way to the rows they may see."""

    def __init__(self, request: Request, services: Services, actor: Actor) -> None:
        self.request = request
        self.services = services
        self.actor = actor

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def tenant_id(self) -> UUID:
        if self.actor.tenant_id is None:
            raise NotSignedIn
        return self.actor.tenant_id

    @property
    def principal_id(self) -> UUID:
        """The person who signed in; raises NotSignedIn for keys and links."""
        if self.actor.principal_id is None:
            raise NotSignedIn
        return self.actor.principal_id

    @property
    def policyholder_id(self) -> UUID:
        if self.actor.policyholder_id is None:
            raise NotSignedIn
        return self.actor.policyholder_id

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[repository.Connection]:
        """A transaction as tocsin_app with this actor's tenant."""
        async with repository.tenant_transaction(self.services.app_pool, self.tenant_id) as conn:
            yield conn

    @asynccontextmanager
    async def system_transaction(self) -> AsyncIterator[repository.Connection]:
        """A transaction as tocsin_worker, for what comes with no tenant: whose it is must be checked by the act."""
        async with self.services.worker_pool.connection() as conn, conn.transaction():
            yield conn

    async def once(
        self,
        act: Callable[[repository.Connection], Awaitable[BaseModel]],
        *,
        status: int = 200,
        as_system: bool = False,
    ) -> Response:
        """Does `act` in one transaction, and gives the first answer again for a repeated `Idempotency-Key`.

        The key belongs to the actor and the operation, and stands in the same row-level transaction as the act: either
        both are kept or neither, so a crash leaves no key that blocks its own retry. Raises KeyInUse while another
        request holds the key, KeyReused where it came with another body. Without the header the act is simply done.
        `as_system` acts as tocsin_worker, for what belongs to no tenant: the act itself must check whose it is.
        """
        begin = self.system_transaction if as_system else self.transaction
        given = self.request.headers.get("idempotency-key")
        if given is None:
            async with begin() as conn:
                made = await act(conn)
            return _json(made.model_dump_json().encode(), status)
        if not 8 <= len(given) <= 200 or not given.isascii() or not given.isprintable():
            raise InvalidInput("Idempotency-Key: 8 to 200 printable ASCII characters are needed.")
        digest = hashlib.sha256(await self.request.body()).digest()
        scoped = f"{self.actor.key} {self.request.method} {self.request.url.path} {given}"
        async with begin() as conn:
            if not await repository.hold_key(conn, self.tenant_id, scoped):
                raise KeyInUse
            found = await repository.find_idempotent(conn, self.tenant_id, scoped)
            if found is not None:
                if bytes(found["body_sha256"]) != digest:
                    raise KeyReused
                return _json(bytes(found["body"]), int(found["status"]), replayed=True)
            made = await act(conn)
            body = made.model_dump_json().encode()
            await repository.insert_idempotent(
                conn, tenant_id=self.tenant_id, key=scoped, body_sha256=digest, status=status, body=body
            )
        return _json(body, status)


def _json(body: bytes, status: int, *, replayed: bool = False) -> Response:
    headers = {"Idempotency-Replayed": "true"} if replayed else None
    return Response(body, status_code=status, media_type="application/json", headers=headers)


def services_of(request: Request) -> Services:
    """The parts of the process that serves this request."""
    return cast(Services, request.app.state.services)


class Needs:
    """The dependency that lets a request through, or raises NotSignedIn or RoleLacks."""

    def __init__(self, action: str, obj: str) -> None:
        self.policy_pair = (action, obj)

    async def __call__(self, request: Request) -> Context:
        services = services_of(request)
        allowed = policy.POLICY.get(self.policy_pair, frozenset())
        if policy.ANYONE in allowed:
            return Context(request, services, Actor())
        by_link = allowed == {policy.POLICYHOLDER}
        actor = await services.authenticator.identify(request, by_link=by_link)
        if actor.principal_id is None and self.policy_pair in policy.PERSONS_ONLY and not by_link:
            raise policy.RoleLacks
        if not policy.may(actor.roles, *self.policy_pair):
            raise policy.RoleLacks
        return Context(request, services, actor)


def needs(action: str, obj: str) -> Any:
    """Says which row of the policy table a route stands on; gives the Context."""
    return Depends(Needs(action, obj))
