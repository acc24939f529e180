"""The demo as a process of its own, for browser tests, and what its messages said."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tocsin.broker import free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that the demo's provider accepted."""

    seq: int
    to: str
    body: dict[str, Any]

    @property
    def of_a_changed_way(self) -> bool:
        words = json.loads((ROOT / "alerts" / "texts" / f"{self.body['language']}.json").read_text(encoding="utf-8"))
        return str(words["rerouted"]) in self.body["instruction"]

    @property
    def token(self) -> str:
        return str(self.body["url"]).split("#t=", 1)[1]


@dataclass
class Demo:
    """A demo that runs, and what it said at its start."""

    process: subprocess.Popen[str]
    url: str
    passwords: dict[str, str]
    token: str
    home: Path

    def sent(self) -> list[Sent]:
        """What went out so far, in its order."""
        with closing(sqlite3.connect(f"file:{self.home / 'fake_provider.sqlite'}?mode=ro", uri=True)) as kept:
            rows = kept.execute("SELECT seq, recipient, body FROM sent ORDER BY seq").fetchall()
        return [Sent(seq=seq, to=json.loads(to)["to"], body=json.loads(body)) for seq, to, body in rows]


@contextmanager
def running_demo(folder: Path, *options: str) -> Iterator[Demo]:
    """Runs `tocsin demo` until the block ends; it must then end by itself with 0."""
    port = free_port()
    home = folder / "home"
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    env |= {"TOCSIN_HOME": str(home), "TOCSIN_API__PORT": str(port)}
    told = folder / "told"
    command = [sys.executable, "-m", "tocsin", "demo", *options]
    with told.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=out, text=True)
    try:
        deadline = time.monotonic() + 150
        while "phone page" not in told.read_text():
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.3)
        time.sleep(0.3)
        text = told.read_text()
        link = re.search(r"phone page\s+\S+#t=(\S+)", text)
        assert link is not None
        yield Demo(
            process=process,
            url=f"http://127.0.0.1:{port}",
            passwords=dict(re.findall(r"(\w+) with password (\S+)", text)),
            token=link[1],
            home=home / "demo",
        )
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(40) == 0, told.read_text()
        finally:
            if process.poll() is None:
                process.kill()
