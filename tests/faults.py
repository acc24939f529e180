"""Ways to break things: a TCP proxy that cuts, refuses and holds connections, and an ingest process to kill."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

from tocsin.broker import Broker

ROOT = Path(__file__).resolve().parent.parent


class TcpProxy:
    """Passes bytes between a port of its own on loopback and a target, until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._refusing = False
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.n_connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
                self.n_connections += 1
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with contextlib.suppress(OSError, ValueError):
            while True:
                readable, _, _ = select.select([client, server], [], [], 1.0)
                for each in readable:
                    data = each.recv(65_536)
                    if not data:
                        raise OSError
                    other[each].sendall(data)
        for each in (client, server):
            each.close()

    def cut(self) -> None:
        """Ends every connection at once, with a reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    each.shutdown(socket.SHUT_RDWR)

    def go_away(self) -> None:
        """Cuts, and takes no new connection until `come_back`."""
        self._refusing = True
        self.cut()

    def come_back(self) -> None:
        self._refusing = False


class IngestProcess:
    """`tocsin ingest` as a process of its own."""

    def __init__(self, *, url: str, broker: Broker, home: Path, broker_port: int | None = None, **env: str) -> None:
        self._env = {
            **os.environ,
            "TOCSIN_HOME": str(home),
            "TOCSIN_MODE": "exercise",
            "TOCSIN_DATABASE_WORKER_URL": url,
            "TOCSIN_MQTT__HOST": "127.0.0.1",
            "TOCSIN_MQTT__PORT": str(broker_port or broker.port),
            "TOCSIN_MQTT__USERNAME": broker.username,
            "TOCSIN_MQTT__PASSWORD": broker.password,
            **env,
        }
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "ingest.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        self._n_before = self.log.read_text().count("connected to the broker") if self.log.exists() else 0
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tocsin", "ingest"], env=self._env, cwd=ROOT, stdout=out, stderr=out
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until it listens; before that SIGTERM ends it at once, with nothing in hand."""
        assert self._process is not None
        deadline = time.monotonic() + 40
        while self.log.read_text().count("connected to the broker") <= self._n_before:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> tuple[int, float]:
        """SIGTERM: (exit code, seconds it took)."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(30)
        return code, time.monotonic() - began

    def rss_mib(self) -> float:
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
