"""A load generator: publishes at QoS 1 over a raw socket, far faster than an MQTT client library, and keeps a ledger.

MQTT 3.1.1 (OASIS 2014), packets CONNECT, PUBLISH and PUBACK only. Messages that are not acknowledged when the
connection breaks are sent again with DUP set, so that every message given is acknowledged in the end.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_MAX_PACKET_ID = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was published."""

    n_messages: int
    n_resent: int
    n_reconnects: int
    seconds: float


def _length(n: int) -> bytes:
    """Remaining length (section 2.2.3)."""
    out = bytearray()
    while True:
        n, digit = divmod(n, 128)
        out.append(digit | (0x80 if n else 0))
        if not n:
            return bytes(out)


def _text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def connect_packet(client_id: str, username: str | None, password: str | None, keepalive_s: int = 60) -> bytes:
    """CONNECT with a clean session (section 3.1)."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = _text("MQTT") + bytes([4, flags]) + keepalive_s.to_bytes(2, "big") + _text(client_id)
    if username is not None:
        body += _text(username)
    if password is not None:
        body += _text(password)
    return bytes([0x10]) + _length(len(body)) + body


def publish_packet(topic: str, payload: bytes, packet_id: int, *, dup: bool = False) -> bytes:
    """PUBLISH at QoS 1 (section 3.3)."""
    body = _text(topic) + packet_id.to_bytes(2, "big") + payload
    return bytes([0x32 | (0x08 if dup else 0)]) + _length(len(body)) + body


class _Broken(Exception):
    """The connection broke."""


class Publisher:
    """Publishes with many messages in flight over one connection that it renews when it breaks."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        username: str | None = None,
        password: str | None = None,
        client_id: str = "load",
        window: int = 1000,
        reconnect_for_s: float = 120.0,
    ) -> None:
        self._address = (host, port)
        self._connect = connect_packet(client_id, username, password)
        self._window = min(window, _MAX_PACKET_ID - 1)
        self._reconnect_for_s = reconnect_for_s
        self._socket: socket.socket | None = None
        self._received = b""

    def publish(
        self,
        messages: Iterable[tuple[str, bytes]],
        *,
        rate_per_s: float | None = None,
        on_sent: Callable[[int], None] | None = None,
        on_acked: Callable[[int], None] | None = None,
    ) -> Load:
        """Publishes all and waits for every acknowledgement.

        `on_sent` and `on_acked` get each message's number, counted from 0. With a rate, messages leave evenly in time.
        """
        source = enumerate(messages)
        in_flight: dict[int, tuple[int, str, bytes]] = {}
        pending: list[tuple[int, str, bytes]] = []  # to be sent again after a break
        next_id = 1
        n_sent = n_resent = n_reconnects = 0
        exhausted = False
        began = time.perf_counter()
        while not exhausted or in_flight or pending:
            try:
                if self._socket is None:
                    self._open()
                out = bytearray()
                while len(in_flight) < self._window:
                    if pending:
                        number, topic, payload = pending.pop(0)
                        dup, n_resent = True, n_resent + 1
                    else:
                        if rate_per_s is not None and n_sent >= (time.perf_counter() - began) * rate_per_s:
                            break
                        try:
                            number, (topic, payload) = next(source)
                        except StopIteration:
                            exhausted = True
                            break
                        dup, n_sent = False, n_sent + 1
                        if on_sent is not None:
                            on_sent(number)
                    while next_id in in_flight:
                        next_id = next_id % _MAX_PACKET_ID + 1
                    in_flight[next_id] = (number, topic, payload)
                    out += publish_packet(topic, payload, next_id, dup=dup)
                    next_id = next_id % _MAX_PACKET_ID + 1
                    if len(out) > 65_536:
                        break
                if out:
                    self._send(bytes(out), in_flight, on_acked)
                idle = not out or len(in_flight) >= self._window
                self._receive(in_flight, on_acked, 0.002 if idle else 0.0)
            except (_Broken, OSError):
                n_reconnects += 1
                self._close()
                pending = sorted(in_flight.values()) + pending
                in_flight.clear()
        return Load(
            n_messages=n_sent, n_resent=n_resent, n_reconnects=n_reconnects, seconds=time.perf_counter() - began
        )

    def close(self) -> None:
        """Says goodbye."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendall(bytes([0xE0, 0]))
        self._close()

    def _open(self) -> None:
        deadline = time.monotonic() + self._reconnect_for_s
        while True:
            try:
                conn = socket.create_connection(self._address, timeout=5)
                conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                conn.sendall(self._connect)
                answer = conn.recv(4)
                if len(answer) == 4 and answer[0] == 0x20:
                    if answer[3] != 0:
                        raise RuntimeError(f"the broker refused the connection: code {answer[3]}")
                    conn.setblocking(False)
                    self._socket, self._received = conn, b""
                    return
                conn.close()
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("the broker did not come back")
            time.sleep(0.1)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(
        self, data: bytes, in_flight: dict[int, tuple[int, str, bytes]], on_acked: Callable[[int], None] | None
    ) -> None:
        assert self._socket is not None
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                self._receive(in_flight, on_acked, 0.01)
                select.select([], [self._socket], [], 0.01)

    def _receive(
        self, in_flight: dict[int, tuple[int, str, bytes]], on_acked: Callable[[int], None] | None, wait_s: float
    ) -> None:
        assert self._socket is not None
        readable, _, _ = select.select([self._socket], [], [], wait_s)
        if not readable:
            return
        chunk = self._socket.recv(1 << 16)
        if not chunk:
            raise _Broken
        data = self._received + chunk
        at = 0
        # Only PUBACK (4 bytes) is expected: nothing was subscribed and no ping was sent.
        while len(data) - at >= 4:
            if data[at] != 0x40:
                raise _Broken
            done = in_flight.pop(int.from_bytes(data[at + 2 : at + 4], "big"), None)
            if done is not None and on_acked is not None:
                on_acked(done[0])
            at += 4
        self._received = data[at:]
