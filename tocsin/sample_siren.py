"""A siren that makes no sound: what a real one must check before it does. See alerts/siren.py."""

import json
import os
import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from alerts.siren import Guard, encode_key, private_key, public_key, public_text, sign_answer
from core.errors import InvalidInput
from core.settings import MqttSettings


class BadDevice(InvalidInput):
    """A siren's name has letters, digits, _ and -, at most 64."""


def new_key() -> dict[str, str]:
    """A signing key and its public half, base64url."""
    secret = encode_key(secrets.token_bytes(32))
    return {"private": secret, "public": public_text(private_key(secret))}


class State:
    """The siren's own key, and the highest counter it obeyed: on disk before it sounds, so no restart forgets it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        if file.exists():
            told = json.loads(file.read_text(encoding="utf-8"))
            self.key: Ed25519PrivateKey = private_key(str(told["key"]))
            self.counter, self.last_id = int(told["counter"]), str(told["last_id"])
            self._secret = str(told["key"])
        else:
            self._secret = encode_key(secrets.token_bytes(32))
            self.key, self.counter, self.last_id = private_key(self._secret), 0, ""
            self.keep(0, "")

    def keep(self, counter: int, last_id: str) -> None:
        self.counter, self.last_id = counter, last_id
        self._file.parent.mkdir(parents=True, exist_ok=True)
        made = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, json.dumps({"key": self._secret, "counter": counter, "last_id": last_id}).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        made.replace(self._file)


def run(
    broker: MqttSettings,
    *,
    tenant: str,
    device: str,
    trust: str,
    state: Path,
    say: Callable[[dict[str, Any]], None],
    once: bool = False,
) -> None:
    """Hears and answers commands until interrupted, or with `once` until one was obeyed."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", device):
        raise BadDevice(device=device)
    kept = State(state)
    guard = Guard(device=device, key=public_key(trust), last_counter=kept.counter, last_id=kept.last_id)
    done = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"siren-{tenant}-{device}", protocol=mqtt.MQTTv5)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password.get_secret_value() if broker.password else None)
    if broker.tls_ca is not None:
        client.tls_set(ca_certs=str(broker.tls_ca), cert_reqs=ssl.CERT_REQUIRED)

    def connected(_client: Any, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            say({"event": "refused by the broker", "reason": str(code)})
            return
        client.subscribe(f"tocsin/v1/{tenant}/cmd/{device}/+", qos=1)
        say({"event": "listening", "device": device, "answer_key": public_text(kept.key)})

    def heard(_client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        now = time.time()
        verdict = guard.judge(bytes(message.payload), now)
        command = verdict.command
        if verdict.obeyed and command is not None:
            kept.keep(guard.last_counter, guard.last_id)
        say(
            {
                "event": "command",
                "obeyed": verdict.obeyed,
                "reason": verdict.reason,
                "action": command.action if command else None,
                "level": command.level if command else None,
                "id": command.command_id if command else None,
            }
        )
        if command is None or command.device != device:
            return  # nothing is said to whom we do not know
        state_word = "executed" if verdict.obeyed or verdict.reason == "repeated" else "refused"
        answer = sign_answer(command, state_word, verdict.reason, int(now), kept.key)
        client.publish(f"tocsin/v1/{tenant}/cmdack/{device}/{command.command_id}", answer, qos=1)
        if verdict.obeyed and once:
            done.set()

    client.on_connect, client.on_message = connected, heard
    client.connect_async(broker.host or "127.0.0.1", broker.port, keepalive=30)
    client.loop_start()
    try:
        while not done.wait(0.2):
            pass
        time.sleep(0.5)  # the answer is on its way
    finally:
        client.disconnect()
        client.loop_stop()
