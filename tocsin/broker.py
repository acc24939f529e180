"""An MQTT broker of our own on loopback: mosquitto where it is installed, else amqtt.

mosquitto keeps queued messages over a restart and over most crashes; it acknowledges before it syncs to disk, so only a
device that repeats until Tocsin's own acknowledgement loses nothing when the broker's machine dies. amqtt keeps nothing
over a crash. Production brings its own broker: see docs/howto/deploy.md.
"""

import base64
import contextlib
import hashlib
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.errors import Conflict, Unavailable
from core.log import get_logger
from tocsin import lifeline

log = get_logger("broker")

AMQTT_NOTICE = (
    "mosquitto is not installed; using the built-in broker, which speaks MQTT 3.1.1 only, does not deliver"
    " unacknowledged messages again and keeps no messages over a crash"
)

_READY_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
#: At least twice the largest batch: what is not yet acknowledged must fit in flight, or a batch never fills.
_MAX_INFLIGHT = 20_000


class BrokerDidNotStart(Unavailable):
    """The message broker did not start."""


class PortOccupied(Conflict):
    """Another program listens on this port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An unprivileged account that a server runs as when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(slots=True, kw_only=True)
class Broker:
    """A running broker."""

    kind: str  #: mosquitto or amqtt
    host: str
    port: int
    username: str
    password: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Ends the broker; mosquitto writes what is queued before it goes."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    state_dir: Path, *, port: int | None = None, account: Account | None = None, mosquitto: str | None = "mosquitto"
) -> Broker:
    """Starts a broker whose files lie in `state_dir` and waits until it accepts a login.

    One login is made once and kept in `state_dir/login.json` (mode 0600). A broker that an earlier, killed run left in
    this folder is ended first. `account`, given when we are root, must be able to reach `state_dir`. Raises
    PortOccupied, BrokerDidNotStart.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _end_leftover(state_dir)
    username, password = _login(state_dir)
    chosen = port or free_port()
    if port is not None:
        refuse_occupied("127.0.0.1", port, setting="TOCSIN_MQTT__PORT")
    program = shutil.which(mosquitto) or shutil.which(f"/usr/sbin/{mosquitto}") if mosquitto else None
    if program is not None:
        argv = [program, "-c", str(_mosquitto_conf(state_dir, chosen, username, password, account))]
        kind = "mosquitto"
    else:
        argv = [sys.executable, "-m", "tocsin.amqtt_broker", str(_amqtt_conf(state_dir, chosen, username, password))]
        kind = "amqtt"
    if account is not None:
        for path in (state_dir, *state_dir.iterdir()):
            os.chown(path, account.uid, account.gid)
    with (state_dir / "broker.log").open("ab") as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            # mosquitto gives up root itself, after it has read its files.
            user=account.uid if account is not None and kind == "amqtt" else None,
            group=account.gid if account is not None and kind == "amqtt" else None,
            extra_groups=[] if account is not None and kind == "amqtt" else None,
        )
    (state_dir / "broker.pid").write_text(json.dumps([process.pid, lifeline.started_at(process.pid)]))
    broker = Broker(kind=kind, host="127.0.0.1", port=chosen, username=username, password=password, process=process)
    try:
        _wait_ready(broker, state_dir)
    except BaseException:
        broker.stop()
        raise
    return broker


def _end_leftover(state_dir: Path) -> None:
    file = state_dir / "broker.pid"
    try:
        pid, start_time = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return
    if start_time is not None and lifeline.is_alive(pid, start_time):
        log.warning("ending the broker that an earlier run left behind", pid=pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            left = psutil.Process(pid)
            left.terminate()
            try:
                left.wait(_STOP_TIMEOUT_S)
            except psutil.TimeoutExpired:
                left.kill()
    file.unlink(missing_ok=True)


def _login(state_dir: Path) -> tuple[str, str]:
    file = state_dir / "login.json"
    try:
        kept = json.loads(file.read_text())
        return kept["username"], kept["password"]
    except (FileNotFoundError, ValueError, KeyError):
        made = {"username": "tocsin", "password": secrets.token_urlsafe(24)}
        _write_private(file, json.dumps(made))
        return made["username"], made["password"]


def _write_private(file: Path, text: str) -> None:
    draft = file.with_suffix(file.suffix + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)


def mosquitto_password(password: str, salt: bytes | None = None, iterations: int = 101) -> str:
    """A line's hash in mosquitto's password file: PBKDF2-HMAC-SHA512, as mosquitto_passwd of version 2 writes it."""
    salt = salt or secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _mosquitto_conf(state_dir: Path, port: int, username: str, password: str, account: Account | None) -> Path:
    passwords = state_dir / "passwords"
    _write_private(passwords, f"{username}:{mosquitto_password(password)}\n")
    user = account.name if account is not None else pwd.getpwuid(os.getuid()).pw_name
    conf = state_dir / "mosquitto.conf"
    conf.write_text(
        f"""# Written anew at each start.
user {user}
listener {port} 127.0.0.1
allow_anonymous false
password_file {passwords}
persistence true
persistence_location {state_dir}/
autosave_interval 1
max_inflight_messages {_MAX_INFLIGHT}
max_queued_messages 1000000
message_size_limit 65536
set_tcp_nodelay true
log_dest stderr
log_type error
log_type warning
connection_messages false
"""
    )
    return conf


def _amqtt_conf(state_dir: Path, port: int, username: str, password: str) -> Path:
    conf = state_dir / "amqtt.json"
    _write_private(conf, json.dumps({"port": port, "username": username, "password": password}))
    return conf


def refuse_occupied(host: str, port: int, *, setting: str) -> None:
    """Raises PortOccupied, naming the setting to change, where another program listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortOccupied(port=port, setting=setting) from error


def _wait_ready(broker: Broker, state_dir: Path) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if broker.process.poll() is not None:
            raise BrokerDidNotStart(
                f"The message broker ended at once: {_last_line(state_dir)}", kind=broker.kind, port=broker.port
            )
        if accepts_login(broker.host, broker.port, broker.username, broker.password):
            return
        time.sleep(0.05)
    raise BrokerDidNotStart(f"The message broker does not answer: {_last_line(state_dir)}", port=broker.port)


def accepts_login(host: str, port: int, username: str, password: str) -> bool:
    """Whether a broker there takes this login: one MQTT 3.1.1 CONNECT (section 3.1), answered by CONNACK code 0."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return len(raw).to_bytes(2, "big") + raw

    # clean session, user name and password flags
    variable = text("MQTT") + bytes([4, 0xC2]) + (10).to_bytes(2, "big")
    body = variable + text(f"probe-{secrets.token_hex(4)}") + text(username) + text(password)
    try:
        with socket.create_connection((host, port), timeout=2) as conn:
            conn.settimeout(2)
            conn.sendall(bytes([0x10, len(body)]) + body)
            answer = conn.recv(4)
            conn.sendall(bytes([0xE0, 0]))
            return len(answer) == 4 and answer[0] == 0x20 and answer[3] == 0
    except OSError:
        return False


def _last_line(state_dir: Path) -> str:
    lines = (state_dir / "broker.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
