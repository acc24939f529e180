"""A provider that reaches nobody: for exercises, tests and the demo. It keeps a ledger, and fails on request.

What it accepted stands in an SQLite file, synced to disk before it answers, so that a test can hold what the sender
believes against what really went out. Faults come by chance, at the rates it was given:

- `timeout`: takes nothing and does not answer; `timeout_after`: takes it and does not answer
- `500`, `429`: says so and takes nothing; `reset`: takes it and cuts the connection; `slow`: takes it after a while

With `honour_keys` the same Idempotency-Key is delivered once and answered the same way again; without, each is new.
"""

import asyncio
import json
import random
import sqlite3
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FAULTS = ("timeout", "timeout_after", "500", "429", "reset", "slow")
_MAX_BODY = 256 * 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, ref TEXT NOT NULL, key TEXT NOT NULL, channel TEXT NOT NULL,
    recipient TEXT NOT NULL, warning_id TEXT NOT NULL, version INTEGER NOT NULL, level TEXT NOT NULL,
    body TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE INDEX IF NOT EXISTS sent_by_key ON sent (key);
CREATE TABLE IF NOT EXISTS attempt (seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, fault TEXT);
"""


class Ledger:
    """What was delivered, and every attempt; each write is on disk before it returns."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + _SCHEMA)

    def deliver(self, key: str, message: dict[str, Any], *, honour_keys: bool) -> str:
        """Delivers, and gives the reference; a key that was delivered gives its first one where keys are honoured."""
        with self._lock:
            if honour_keys and key:
                row = self._db.execute("SELECT ref FROM sent WHERE key = ? LIMIT 1", [key]).fetchone()
                if row:
                    return str(row[0])
            ref = uuid4().hex
            self._db.execute(
                "INSERT INTO sent (ref, key, channel, recipient, warning_id, version, level, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    ref,
                    key,
                    str(message.get("channel")),
                    json.dumps(message.get("to"), sort_keys=True),
                    str(message.get("warning_id")),
                    int(message.get("version") or 0),
                    str(message.get("level")),
                    json.dumps(message.get("payload"), ensure_ascii=False),
                ],
            )
            return ref

    def attempted(self, key: str, fault: str | None) -> None:
        with self._lock:
            self._db.execute("INSERT INTO attempt (key, fault) VALUES (?, ?)", [key, fault])

    def summary(self) -> dict[str, int]:
        """Deliveries, different keys among them, and attempts."""
        with self._lock:
            sent, keys = self._db.execute("SELECT count(*), count(DISTINCT key) FROM sent").fetchone()
            (attempts,) = self._db.execute("SELECT count(*) FROM attempt").fetchone()
        return {"sent": sent, "keys": keys, "duplicates": sent - keys, "attempts": attempts}

    def sent(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Deliveries in order, from after a number on."""
        names = ("seq", "ref", "key", "channel", "recipient", "warning_id", "version", "level", "body", "at")
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, ref, key, channel, recipient, warning_id, version, level, body, at FROM sent"
                " WHERE seq > ? ORDER BY seq LIMIT ?",
                [after, limit],
            ).fetchall()
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for one in found:
            one["recipient"], one["body"] = json.loads(one["recipient"]), json.loads(one["body"])
        return found

    def close(self) -> None:
        self._db.close()


@dataclass(slots=True)
class Faults:
    """Chance of each fault, 0 to 1, together at most 1."""

    rates: dict[str, float] = field(default_factory=dict)
    honour_keys: bool = True
    slow_s: float = 1.0
    hang_s: float = 30.0

    def set(self, told: dict[str, Any]) -> None:
        """Takes new rates; raises ValueError naming what is wrong."""
        rates = {str(name): float(rate) for name, rate in dict(told.get("rates", self.rates)).items()}
        unknown = sorted(set(rates) - set(FAULTS))
        if unknown:
            raise ValueError(f"unknown faults {unknown}; known are {list(FAULTS)}")
        if any(not 0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1 + 1e-9:
            raise ValueError("rates lie in [0, 1] and sum to at most 1")
        self.rates = rates
        self.honour_keys = bool(told.get("honour_keys", self.honour_keys))
        self.slow_s = float(told.get("slow_s", self.slow_s))
        self.hang_s = float(told.get("hang_s", self.hang_s))

    def draw(self, chance: random.Random) -> str | None:
        at = chance.random()
        for name, rate in self.rates.items():
            if at < rate:
                return name
            at -= rate
        return None


class FakeProvider:
    """The ASGI application: POST /send, GET /ledger, GET /sent?after=N, PUT /faults, GET /health."""

    def __init__(self, file: Path, *, seed: int | None = None) -> None:
        self.ledger = Ledger(file)
        self.faults = Faults()
        self._chance = random.Random(seed)  # noqa: S311  faults by chance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        body = await _body(receive)
        if body is None:
            await _answer(send, 413, {"error": "the body is too large"})
        elif (method, path) == ("POST", "/send"):
            await self._send(scope, body, send)
        elif (method, path) == ("GET", "/ledger"):
            await _answer(send, 200, self.ledger.summary())
        elif (method, path) == ("GET", "/sent"):
            query = scope.get("query_string", b"").decode()
            after = query.removeprefix("after=")
            await _answer(send, 200, {"sent": self.ledger.sent(int(after) if after.isdigit() else 0)})
        elif (method, path) == ("PUT", "/faults"):
            try:
                self.faults.set(json.loads(body))
            except (ValueError, TypeError, AttributeError) as error:
                await _answer(send, 422, {"error": str(error)})
                return
            await _answer(send, 200, {"rates": self.faults.rates, "honour_keys": self.faults.honour_keys})
        elif (method, path) == ("GET", "/health"):
            await _answer(send, 200, {"ok": True})
        else:
            await _answer(send, 404, {"error": "not here"})

    async def _send(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        key = headers.get("idempotency-key", "")
        try:
            message = json.loads(body)
            assert isinstance(message, dict)
        except (ValueError, AssertionError):
            await _answer(send, 422, {"error": "the body is no JSON object"})
            return
        fault = self.faults.draw(self._chance)
        await asyncio.to_thread(self.ledger.attempted, key, fault)
        if fault == "timeout":
            await asyncio.sleep(self.faults.hang_s)
            return await _cut(send)
        if fault == "500":
            return await _answer(send, 500, {"error": "made up"})
        if fault == "429":
            return await _answer(send, 429, {"error": "made up"}, {"retry-after": "1"})
        if fault == "slow":
            await asyncio.sleep(self.faults.slow_s)
        honour = self.faults.honour_keys
        ref = await asyncio.to_thread(self.ledger.deliver, key, message, honour_keys=honour)
        if fault == "timeout_after":
            await asyncio.sleep(self.faults.hang_s)
            return await _cut(send)
        if fault == "reset":
            return await _cut(send)
        await _answer(send, 202, {"ref": ref}, {"x-message-id": ref})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > _MAX_BODY:
            return None
        if not message.get("more_body"):
            return bytes(body)


async def _answer(send: Send, status: int, told: Any, headers: dict[str, str] | None = None) -> None:
    body = json.dumps(told, ensure_ascii=False).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _cut(send: Send) -> None:
    """Begins an answer that never ends: the server then closes the connection, and the client sees it break."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
