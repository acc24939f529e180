"""HTTP to addresses that others gave us: https only, never a private address, no redirects, little patience.

The name is resolved for each new connection, every address it has must be public, and the connection goes to the
addresses that were checked: a name that changes its mind between check and connection gains nothing. Connections are
kept by name, not by address, so that two partners behind one address never share one.
"""

import asyncio
import contextlib
import ipaddress
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from core.errors import InvalidInput, Unavailable

TOTAL_S = 10.0
CONNECT_S = 5.0
MAX_RESPONSE_BYTES = 64 * 1024
_AT_ONCE = 128
_AT_ONCE_A_HOST = 96
_IDLE_S = 30.0
_AGENT = "Tocsin (early warning)"


class AddressRefused(InvalidInput):
    """We do not connect to this address."""


class BodyTooLarge(InvalidInput):
    """What this address sends is larger than it may be."""


class NotReached(Unavailable):
    """No connection came about: nothing was sent."""


class BrokenOff(Unavailable):
    """A request was begun and got no whole answer: it may have arrived."""


#: All that a request can end in but an answer.
FAILURES = (AddressRefused, NotReached, BrokenOff)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, at most 64 KiB of it; names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def host_allowed(host: str, allowed: list[str]) -> bool:
    """True for a host that is on the list, or under one that is."""
    name = host.lower().rstrip(".")
    return any(name == one.lower() or name.endswith("." + one.lower()) for one in allowed)


def is_public(address: str) -> bool:
    """True for an address of the public internet, also when it hides in an IPv6 mapping or tunnel."""
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None or ip in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def checked(host: str, addresses: list[str], *, allow_private: bool) -> list[str]:
    """Addresses of a name, each once; raises AddressRefused where one of them is private."""
    if not allow_private and not all(is_public(one) for one in addresses):
        raise AddressRefused("This name leads to a private address.", host=host)
    return list(dict.fromkeys(addresses))


async def public_addresses(host: str, port: int, *, allow_private: bool = False) -> list[str]:
    """The addresses of a name, in the order to try; raises AddressRefused where one of them is private, NotReached."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotReached(f"the name {host} is not known") from error
    return checked(host, [str(one[4][0]) for one in found], allow_private=allow_private)


class _Checked(AbstractResolver):
    """Names of the connector, through the check."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in await public_addresses(host, port, allow_private=self._allow_private)
        ]

    async def close(self) -> None:
        return None


class Outbound:
    """A client for addresses we were given. `allow_private` is for a provider of our own on this machine, and tests."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._session: aiohttp.ClientSession | None = None

    @property
    def allow_private(self) -> bool:
        """Whether private addresses are spoken to."""
        return self._allow_private

    def _started(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Checked(allow_private=self._allow_private),
                    use_dns_cache=False,
                    limit=_AT_ONCE,
                    limit_per_host=_AT_ONCE_A_HOST,  # one that hangs leaves room for the others
                    keepalive_timeout=_IDLE_S,
                    socket_factory=self._socket,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={"User-Agent": _AGENT},
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session

    def _socket(self, address: AddrInfoType) -> socket.socket:
        """The last guard: whatever led here, no socket is opened towards a private address."""
        family, kind, protocol, _, place = address
        if not self._allow_private and not is_public(str(place[0])):
            raise AddressRefused("This name leads to a private address.", address=str(place[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, total_s: float = TOTAL_S) -> Response:
        """The answer to a POST, cut at 64 KiB; raises AddressRefused, NotReached, BrokenOff."""
        return await self._send(
            "POST", url, body, headers, max_bytes=MAX_RESPONSE_BYTES, cut=True, plain_http=False, total_s=total_s
        )

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int,
        plain_http: bool = False,
        total_s: float = TOTAL_S,
    ) -> Response:
        """The answer to a GET, a redirect too; raises AddressRefused, BodyTooLarge, NotReached, BrokenOff.

        `plain_http` lets http through as well, for public documents whose publisher has nothing better.
        """
        told = {"Accept-Encoding": "gzip", **headers}
        return await self._send(
            "GET", url, b"", told, max_bytes=max_bytes, cut=False, plain_http=plain_http, total_s=total_s
        )

    async def _send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, max_bytes: int, cut: bool,
        plain_http: bool, total_s: float,
    ) -> Response:  # fmt: skip
        target = _plain(url, allow_private=self._allow_private, plain_http=plain_http)
        # getting a connection, its wait for a free one included, is one time; all of it another
        patience = aiohttp.ClientTimeout(total=total_s, connect=min(CONNECT_S, 0.8 * total_s), ceil_threshold=1e9)
        try:
            async with self._started().request(
                method, target, data=body or None, headers=headers, allow_redirects=False, timeout=patience
            ) as response:
                told = {name.lower(): value for name, value in response.headers.items()}
                kept = await _read(response, max_bytes, cut=cut)
            return Response(response.status, told, kept)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotReached(f"{type(error).__name__}: {error}"[:300]) from error
        except aiohttp.InvalidURL as error:
            raise AddressRefused("This is not a plain address.") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise BrokenOff(f"{type(error).__name__}: {error}"[:300]) from error


@lru_cache(maxsize=1024)
def _plain(url: str, *, allow_private: bool, plain_http: bool) -> URL:
    """The address as it will be asked; raises AddressRefused for what is none, or names a private one outright."""
    try:
        parts, target = urlsplit(url), URL(url)
        _ = parts.port
    except ValueError as error:
        raise AddressRefused("This is not a plain address.") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and (allow_private or plain_http)):
        raise AddressRefused("Only https is spoken to others.", scheme=parts.scheme)
    if not parts.hostname or parts.username or parts.password:
        raise AddressRefused("This is not a plain address.")
    if parts.hostname not in (target.host, target.raw_host):
        raise AddressRefused("This address can be read in two ways.")  # one was checked, the other asked
    with contextlib.suppress(ValueError):  # a name: its addresses are checked when it is resolved
        if not allow_private and not is_public(parts.hostname):
            raise AddressRefused("This name leads to a private address.", host=parts.hostname)
    return target


async def _read(response: aiohttp.ClientResponse, max_bytes: int, *, cut: bool) -> bytes:
    """The body, unpacked piece by piece so that a small packed one cannot grow beyond `max_bytes`."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if not cut and packed not in ("", "identity", "gzip"):
        raise AddressRefused("This packing was not asked for.", content_encoding=packed[:20])
    unpack = zlib.decompressobj(wbits=31) if packed == "gzip" and not cut else None
    kept = bytearray()
    async for chunk in response.content.iter_any():
        if unpack is None:
            kept += chunk
        else:
            try:
                kept += unpack.decompress(chunk, max_bytes + 1 - len(kept))
            except zlib.error as error:
                raise BrokenOff(f"a body that is not gzip: {error}") from error
        if len(kept) > max_bytes:
            if cut:
                break
            raise BodyTooLarge(limit=max_bytes)
    return bytes(kept[:max_bytes])
