"""Web push: encrypted for one browser (RFC 8291), signed by VAPID (RFC 8292), handed to its push service (RFC 8030).

Encryption runs in processes of its own, many messages a call, so that the sending path, which shares its interpreter
with everything else of `tocsin deliver`, goes on claiming and marking meanwhile (python -m benchmarks.delivery).
"""

import asyncio
import base64
import hashlib
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any
from urllib.parse import urlsplit

from py_vapid import Vapid02
from pywebpush import WebPusher

from alerts.channels import Outcome, Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status
from alerts.channels.outbound import FAILURES, Outbound, host_allowed
from alerts.level import Level
from alerts.payload import MAX_PUSH_BYTES, PUSH_OVERHEAD_BYTES, to_push
from core.errors import InvalidInput

_VAPID_LIFE_S = 12 * 3600
_URGENCY = {Level.RED: "high", Level.ORANGE: "high", Level.YELLOW: "normal", Level.BLUE: "normal", Level.NONE: "high"}


class WebPushChannel:
    """Speaks to the push services on the allow-list. The payload's id lets the phone show a repeated message once."""

    provider = "webpush"
    honours_keys = True

    def __init__(
        self, outbound: Outbound, *, private_key: str, subject: str, hosts: list[str], processes: int = 1
    ) -> None:
        self._outbound = outbound
        self._vapid = Vapid02.from_string(private_key=private_key)
        self._subject = subject
        self._hosts = hosts
        self._signed: dict[str, tuple[float, str]] = {}
        self._encrypter = Encrypter(processes)

    async def close(self) -> None:
        await self._encrypter.close()

    def _authorization(self, endpoint: str) -> str:
        parts = urlsplit(endpoint)
        audience = f"{parts.scheme}://{parts.netloc}"
        now = time.time()
        kept = self._signed.get(audience)
        if kept is None or kept[0] < now + 3600:
            expires = int(now + _VAPID_LIFE_S)
            headers = self._vapid.sign({"aud": audience, "exp": expires, "sub": self._subject})
            kept = (expires, headers["Authorization"])
            self._signed[audience] = kept
        return kept[1]

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        endpoint = str(message.address.get("endpoint", ""))
        keys = message.address.get("keys")
        host = urlsplit(endpoint).hostname
        if not host or not host_allowed(host, self._hosts):
            return Outcome(result=Result.REFUSED, error="the push service is not on the allow-list")
        if not isinstance(keys, Mapping) or not {"p256dh", "auth"} <= set(keys):
            return Outcome(result=Result.REFUSED, error="the subscription has no keys")
        try:
            plain = to_push(message.payload, message.line, MAX_PUSH_BYTES - PUSH_OVERHEAD_BYTES)
            subscription: dict[str, Any] = {
                "endpoint": endpoint,
                "keys": {"p256dh": keys["p256dh"], "auth": keys["auth"]},
            }
            body = await self._encrypter.encrypt(subscription, plain)
        except BrokenProcessPool:
            return Outcome(result=Result.RETRY, error="the process that encrypts died")
        except (BadSubscription, ValueError) as error:
            return Outcome(result=Result.REFUSED, error=f"cannot be encrypted for this phone: {error}"[:300])
        if len(body) > MAX_PUSH_BYTES:
            return Outcome(result=Result.REFUSED, error=f"the encrypted message has {len(body)} bytes")
        headers = {
            "Authorization": self._authorization(endpoint),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(message.ttl_s),
            "Urgency": _URGENCY[message.level],
            "Topic": topic(str(message.warning_id)),
        }
        try:
            response = await self._outbound.post(endpoint, body, headers)
        except FAILURES as error:
            return outcome_of_error(error)
        return outcome_of_status(response.status, response.headers, gone=frozenset({404, 410}))


def topic(warning_id: str) -> str:
    """32 characters of base64url (RFC 8030 section 5.4) for a warning: an update replaces what still waits."""
    return base64.urlsafe_b64encode(hashlib.sha256(warning_id.encode()).digest()[:24]).decode()


class BadSubscription(InvalidInput):
    """This subscription's keys cannot be encrypted for."""


#: Messages that are encrypted in one call: a call costs about as much as encrypting one.
_TOGETHER = 16


class Encrypter:
    """Encrypts in processes of its own, started on first use; after one of them died, in new ones."""

    def __init__(self, processes: int = 1) -> None:
        self._n = processes
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: list[tuple[tuple[dict[str, Any], bytes], asyncio.Future[bytes]]] = []
        self._tasks: set[asyncio.Future[None]] = set()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # spawned, not forked: this process has threads, and a fork would copy their locks
            self._pool = ProcessPoolExecutor(self._n, mp_context=multiprocessing.get_context("spawn"))
        return self._pool

    async def encrypt(self, subscription: dict[str, Any], plain: bytes) -> bytes:
        """The aes128gcm body; raises BrokenProcessPool, and BadSubscription."""
        loop = asyncio.get_running_loop()
        made: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append(((subscription, plain), made))
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_over)  # with all that is asked in this turn of the loop
        return await made

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for i in range(0, len(waiting), _TOGETHER):
            task = asyncio.ensure_future(self._many(waiting[i : i + _TOGETHER]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _many(self, asked: list[tuple[tuple[dict[str, Any], bytes], "asyncio.Future[bytes]"]]) -> None:
        pool = self._started()
        told: Sequence[bytes | str | Exception]
        try:
            told = await asyncio.get_running_loop().run_in_executor(pool, _encrypt_many, [one for one, _ in asked])
        except Exception as error:  # also the end of the process: everybody who waits must hear of it
            if self._pool is pool and isinstance(error, BrokenProcessPool):
                self._pool = None
                pool.shutdown(wait=False)
            told = [error] * len(asked)
        for (_, made), one in zip(asked, told, strict=True):
            if made.done():
                continue
            if isinstance(one, bytes):
                made.set_result(one)
            else:
                made.set_exception(one if isinstance(one, Exception) else BadSubscription(one))

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


def _encrypt_many(asked: list[tuple[dict[str, Any], bytes]]) -> list[bytes | str]:
    """Each body, or why there is none."""
    found: list[bytes | str] = []
    for subscription, plain in asked:
        try:
            found.append(_encrypt(subscription, plain))
        except Exception as error:  # the library raises whatever its key parser meets; the others go on
            found.append(f"{type(error).__name__}: {error}"[:200])
    return found


def _encrypt(subscription: dict[str, Any], plain: bytes) -> bytes:
    encoded = WebPusher(subscription).encode(plain, content_encoding="aes128gcm")
    body: bytes = encoded["body"]
    return body
