"""Who asks: sessions of people, keys of machines, signed links of policyholders.

Passwords are argon2id; at most two hashes run at once in a process, and a name that does not exist costs the same time
as one that does. Every try is counted before its hash runs, for the account and for the address it came from, so that
parallel guesses are counted too; see ADR 0050.
"""

import asyncio
import hashlib
import ipaddress
import secrets
from typing import Final, Protocol
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import Request

from alerts import links
from api import policy, repository
from api.errors import NotSignedIn, TooManyTries
from api.identity import COOKIE, Actor, Throttle
from core.errors import InvalidInput, NotPermitted
from core.ids import new_id
from core.settings import Settings

#: Every key begins so: a person sees what it is, and secret scanners find one that leaked.
KEY_PREFIX: Final = "tocsin_key_"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HASHES_AT_ONCE: Final = 2
_HASHES_WAITING: Final = 32
_MIN_PASSWORD: Final = 12


class WrongLogin(NotSignedIn):
    """The name or the password is wrong."""


class BadLink(NotSignedIn):
    """This link is not valid, or it has expired; open the newest message."""


class CrossSite(NotPermitted):
    """This request comes from another site."""


class BadAccount(InvalidInput):
    """An account cannot be made like this."""


ACCOUNT: Final = Throttle(n_free=10)
ADDRESS: Final = Throttle(n_free=50)


class Hasher(Protocol):
    """What argon2.PasswordHasher does."""

    def hash(self, password: str) -> str: ...
    def verify(self, hash: str, password: str) -> bool: ...
    def check_needs_rehash(self, hash: str) -> bool: ...


class Passwords:
    """Argon2id (RFC 9106, second recommended parameters), two at a time."""

    def __init__(self, hasher: Hasher | None = None) -> None:
        self._hasher: Hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._n_waiting = 0
        self._decoy: str | None = None

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password is right; takes as long where there is no stored hash."""
        if self._n_waiting >= _HASHES_WAITING:
            raise TooManyTries(retry_after_s=5)
        self._n_waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(self._verify, stored, password)
        finally:
            self._n_waiting -= 1

    def _verify(self, stored: str | None, password: str) -> bool:
        if stored is None:
            if self._decoy is None:
                self._decoy = self._hasher.hash(secrets.token_urlsafe(16))
            stored, known = self._decoy, False
        else:
            known = True
        try:
            return self._hasher.verify(stored, password) and known
        except (VerificationError, InvalidHashError):
            return False

    def warm(self) -> None:
        """Makes the decoy, so that the first unknown name does not take longer than the second."""
        if self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_urlsafe(16))

    def needs_rehash(self, stored: str) -> bool:
        return self._hasher.check_needs_rehash(stored)

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)


class Authenticator:
    """Finds who asks. Reads as tocsin_worker: until a session is found there is no tenant to ask as."""

    def __init__(
        self, settings: Settings, worker_pool: repository.Pool, app_pool: repository.Pool, passwords: Passwords
    ) -> None:
        self._settings = settings
        self._pool = worker_pool
        self._app_pool = app_pool
        self._passwords = passwords
        self._link_key = links.secret_key(settings)

    # ---------------------------------------------------------------- requests
    async def identify(self, request: Request, *, by_link: bool) -> Actor:
        """The actor of a request; raises NotSignedIn, CrossSite."""
        bearer = _bearer(request)
        if by_link:
            return await self._by_link(bearer or request.query_params.get("t") or "")
        if bearer is not None:
            return await self._by_key(bearer)
        token = request.cookies.get(COOKIE)
        if not token:
            raise NotSignedIn
        if request.method not in _SAFE_METHODS:
            self.refuse_cross_site(request)
        async with self._pool.connection() as conn:
            row = await repository.find_session(conn, _sha256(token))
        if row is None:
            raise NotSignedIn
        return Actor(
            tenant_id=row["tenant_id"],
            principal_id=row["principal_id"],
            login=row["login"],
            display_name=row["display_name"],
            roles=frozenset(row["roles"]),
            expires_at=row["expires_at"],
        )

    async def _by_key(self, bearer: str) -> Actor:
        if not bearer.startswith(KEY_PREFIX):
            raise NotSignedIn
        async with self._pool.connection() as conn:
            row = await repository.find_api_key(conn, _sha256(bearer))
        if row is None:
            raise NotSignedIn
        return Actor(
            tenant_id=row["tenant_id"],
            api_key_id=row["api_key_id"],
            login=row["name"],
            display_name=row["name"],
            roles=frozenset(row["roles"]) & policy.KEY_ROLES,
        )

    async def _by_link(self, token: str) -> Actor:
        link = links.read_link(token, key=self._link_key)
        if link is None:
            raise BadLink
        async with repository.tenant_transaction(self._app_pool, link.tenant_id) as conn:
            if not await repository.policyholder_exists(conn, link.policyholder_id):
                raise BadLink
        return Actor(
            tenant_id=link.tenant_id,
            policyholder_id=link.policyholder_id,
            roles=frozenset({policy.POLICYHOLDER}),
        )

    def refuse_cross_site(self, request: Request) -> None:
        """Raises CrossSite for a browser's request that another site made, beside what SameSite=Strict keeps out."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise CrossSite
        origin = request.headers.get("origin")
        if origin is None:
            return
        own = {request.headers.get("host", "")}
        if self._settings.api.public_url:
            own.add(urlsplit(self._settings.api.public_url).netloc)
        if urlsplit(origin).netloc not in own:
            raise CrossSite

    def secure_cookie(self, request: Request) -> bool:
        """Whether the cookie may travel over TLS only."""
        return request.url.scheme == "https" or (self._settings.api.public_url or "").startswith("https://")

    # ---------------------------------------------------------------- sessions
    async def sign_in(self, request: Request, *, login: str, password: str) -> tuple[str, Actor]:
        """(session token, actor); raises WrongLogin, TooManyTries with how long to wait, CrossSite."""
        self.refuse_cross_site(request)
        name = login.strip().casefold()
        account, address = _sha256(f"account {name}"), _sha256(f"address {client_address(request)}")
        async with self._pool.connection() as conn, conn.transaction():
            waits = [
                await repository.count_try(conn, subject, throttle)
                for subject, throttle in ((account, ACCOUNT), (address, ADDRESS))
            ]
        wait = max((one for one in waits if one is not None), default=None)
        if wait is not None:
            raise TooManyTries(retry_after_s=wait)
        async with self._pool.connection() as conn:
            row = await repository.find_principal(conn, name)
        good = await self._passwords.verify(row["password_hash"] if row else None, password)
        if row is None or not good or row["disabled_at"] is not None:
            raise WrongLogin
        token = secrets.token_urlsafe(32)
        rehashed = None
        if self._passwords.needs_rehash(row["password_hash"]):
            rehashed = await self._passwords.hash(password)
        async with self._pool.connection() as conn, conn.transaction():
            await repository.forget_tries(conn, account=account, address=address)
            expires_at = await repository.open_session(
                conn,
                token_sha256=_sha256(token),
                principal_id=row["principal_id"],
                tenant_id=row["tenant_id"],
                hours=self._settings.api.session_hours,
            )
            if rehashed is not None:
                await repository.update_password(conn, row["principal_id"], rehashed)
        actor = Actor(
            tenant_id=row["tenant_id"],
            principal_id=row["principal_id"],
            login=row["login"],
            display_name=row["display_name"],
            roles=frozenset(row["roles"]),
            expires_at=expires_at,
        )
        return token, actor

    async def sign_out(self, request: Request) -> None:
        """Ends the session of this request; it is worth nothing from now on."""
        token = request.cookies.get(COOKIE)
        if token:
            async with self._pool.connection() as conn:
                await repository.close_session(conn, _sha256(token))


def client_address(request: Request) -> str:
    """Who is counted: the IPv4 address, or the /64 of an IPv6 address, which one household or server owns whole."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" and value.strip() else None


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


# ---------------------------------------------------------------- accounts and keys
async def create_account(
    pool: repository.Pool,
    passwords: Passwords,
    *,
    login: str,
    tenant: str,
    roles: list[str],
    display_name: str | None = None,
    password: str | None = None,
) -> str:
    """Makes an account and gives its password, which is kept nowhere; raises BadAccount naming what is wrong.

    The tenant is named by its slug, and made where it does not exist. An account cannot both approve and administer.
    """
    name = login.strip().casefold()
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise BadAccount("login: 1 to 200 printable characters are needed.")
    unknown = sorted(set(roles) - policy.SIGNED_IN)
    if unknown or not roles:
        raise BadAccount(f"roles: choose from {', '.join(sorted(policy.SIGNED_IN))}.", unknown=unknown)
    if {"approver", "admin"} <= set(roles):
        raise BadAccount("roles: one account cannot be both approver and admin.")
    if password is not None and len(password) < _MIN_PASSWORD:
        raise BadAccount(f"password: at least {_MIN_PASSWORD} characters are needed.")
    secret = password or secrets.token_urlsafe(15)
    hashed = await passwords.hash(secret)
    async with pool.connection() as conn, conn.transaction():
        tenant_id = await repository.ensure_tenant(conn, new_id(), tenant)
        made = await repository.insert_principal(
            conn,
            principal_id=new_id(),
            tenant_id=tenant_id,
            login=name,
            display_name=display_name or login.strip(),
            password_hash=hashed,
            roles=sorted(set(roles)),
        )
    if not made:
        raise BadAccount("login: this name is taken.", login=name)
    return secret


async def create_key(pool: repository.Pool, *, name: str, tenant: str, roles: list[str]) -> str:
    """Makes an API key and gives it; only its hash is kept. Raises BadAccount naming what is wrong."""
    unknown = sorted(set(roles) - policy.KEY_ROLES)
    if unknown or not roles:
        raise BadAccount(f"roles: choose from {', '.join(sorted(policy.KEY_ROLES))}.", unknown=unknown)
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise BadAccount("name: 1 to 200 printable characters are needed.")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    async with pool.connection() as conn, conn.transaction():
        tenant_id = await repository.ensure_tenant(conn, new_id(), tenant)
        made = await repository.insert_api_key(
            conn, api_key_id=new_id(), tenant_id=tenant_id, name=name, key_sha256=_sha256(key), roles=sorted(set(roles))
        )
    if not made:
        raise BadAccount("name: this tenant has a key of this name.", name=name)
    return key
