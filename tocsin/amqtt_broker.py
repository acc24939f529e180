"""The built-in broker as a process of its own: `python -m tocsin.amqtt_broker CONFIG`.

It ends with its parent, also when that is killed.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path

import psutil
from amqtt.broker import Broker
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from tocsin import lifeline


async def serve(port: int, username: str, password_file: Path) -> None:
    """Serves on loopback until SIGTERM."""
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(password_file)}},
        }
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    await stop.wait()
    # It may wait for clients that do not answer; what it holds is in memory only and ends with it either way.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(broker.shutdown(), 3)


def main() -> None:
    """Runs the broker of one configuration file."""
    config = json.loads(Path(sys.argv[1]).read_text())
    logging.basicConfig(level=logging.WARNING)
    parent = os.getppid()
    with contextlib.suppress(psutil.Error):
        lifeline.hold(parent, lifeline.started_at(parent))
    password_file = Path(sys.argv[1]).with_name("amqtt-passwords")
    hashed = PasswordHash((Argon2Hasher(),)).hash(config["password"])
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(f"{config['username']}:{hashed}\n")
    asyncio.run(serve(config["port"], config["username"], password_file))


if __name__ == "__main__":
    main()
