"""HTTP to addresses that others gave us: https only, never a private address, no redirects, little patience.

The name is resolved once, every address it has must be public, and the connection goes to the address that was
checked: a name that changes its mind between check and connection gains nothing.
"""

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from core.errors import InvalidInput

TOTAL_S = 10.0
CONNECT_S = 5.0
MAX_RESPONSE_BYTES = 64 * 1024


class AddressRefused(InvalidInput):
    """We do not connect to this address."""


class BodyTooLarge(InvalidInput):
    """What this address sends is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, at most 64 KiB of it."""

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


class Outbound:
    """A client for addresses we were given. `allow_private` is for tests alone."""

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private
        self._client = httpx.AsyncClient(
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S),
            # as many kept as there may be: to open one costs more than all the rest of a request
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=64),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def _checked(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError(f"the name {host} is not known") from error
        addresses = [str(one[4][0]) for one in found]
        if not self._allow_private and not all(is_public(one) for one in addresses):
            raise AddressRefused("This name leads to a private address.", host=host)
        return addresses[0]

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """The answer to a POST, cut at 64 KiB; raises AddressRefused, httpx.HTTPError, TimeoutError."""
        return await self._send("POST", url, body, headers, max_bytes=MAX_RESPONSE_BYTES, cut=True, plain_http=False)

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int,
        plain_http: bool = False,
        total_s: float = TOTAL_S,
    ) -> Response:
        """The answer to a GET, a redirect too; raises AddressRefused, BodyTooLarge, httpx.HTTPError, TimeoutError.

        `plain_http` lets http through as well, for public documents whose publisher has nothing better.
        """
        told = {"Accept-Encoding": "gzip", **headers}
        return await self._send(
            "GET", url, b"", told, max_bytes=max_bytes, cut=False, plain_http=plain_http, total_s=total_s
        )

    async def _send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, max_bytes: int, cut: bool,
        plain_http: bool, total_s: float = TOTAL_S,
    ) -> Response:  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and (self._allow_private or plain_http)):
            raise AddressRefused("Only https is spoken to others.", scheme=parts.scheme)
        if not parts.hostname or parts.username or parts.password:
            raise AddressRefused("This is not a plain address.")
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise AddressRefused("This port is not one.") from error
        async with asyncio.timeout(total_s):
            address = await self._checked(parts.hostname, port)
            shown = f"[{address}]" if ":" in address else address
            target = httpx.URL(url).copy_with(host=shown.strip("[]"), port=port)
            host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
            request = self._client.build_request(
                method,
                target,
                content=body,
                headers={**headers, "Host": host},
                extensions={"sni_hostname": parts.hostname},
            )
            response = await self._client.send(request, stream=True)
            try:
                kept = await _read(response, max_bytes, cut=cut)
            finally:
                await response.aclose()
        return Response(response.status_code, dict(response.headers), kept)


async def _read(response: httpx.Response, max_bytes: int, *, cut: bool) -> bytes:
    """The body, unpacked piece by piece so that a small packed one cannot grow beyond `max_bytes`."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if not cut and packed not in ("", "identity", "gzip"):
        raise AddressRefused("This packing was not asked for.", content_encoding=packed[:20])
    unpack = zlib.decompressobj(wbits=31) if packed == "gzip" and not cut else None
    kept = bytearray()
    async for chunk in response.aiter_raw():
        if unpack is None:
            kept += chunk
        else:
            try:
                kept += unpack.decompress(chunk, max_bytes + 1 - len(kept))
            except zlib.error as error:
                raise httpx.DecodingError(f"a body that is not gzip: {error}") from error
        if len(kept) > max_bytes:
            if cut:
                break
            raise BodyTooLarge(limit=max_bytes)
    return bytes(kept[:max_bytes])
