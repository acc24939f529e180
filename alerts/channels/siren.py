"""Commands to sirens over MQTT; see alerts/siren.py for what makes one obey.

    tocsin/v1/{tenant}/cmd/{device}/{command}      the command, never retained, gone at the broker when it expires
    tocsin/v1/{tenant}/cmdack/{device}/{command}   the siren's signed answer

`accepted` means that the broker has it. `delivered` is written only for the siren's own answer, and the operator is
told where none comes within 30 seconds (alerts/deliver.py).
"""

import asyncio
import contextlib
import re
import ssl
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts.channels import Arrived, Outcome, Outgoing, Result
from alerts.siren import MAX_LIFE_S, BadKey, Command, private_key, public_key, read_answer, sign_command

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PUBLISH_S = 5.0
_KEPT_KEYS = 10_000


class SirenChannel:
    """Publishes commands and hears the answers. A repeated command carries its id: a siren obeys it once."""

    provider = "siren"
    honours_keys = True

    def __init__(
        self,
        *,
        host: str,
        port: int,
        key: str,
        username: str | None = None,
        password: str | None = None,
        tls_ca: Path | None = None,
        client_id: str = "tocsin-deliver",
        name: str = "",
    ) -> None:
        self._key = private_key(key)
        self._at = (host, port)
        self._counter = 0
        self._lock = threading.Lock()
        self._answer_keys: OrderedDict[str, str] = OrderedDict()
        self.arrived: asyncio.Queue[Arrived] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"{client_id}{name}", protocol=mqtt.MQTTv5)
        if username is not None:
            self._client.username_pw_set(username, password)
        if tls_ca is not None:
            self._client.tls_set(ca_certs=str(tls_ca), cert_reqs=ssl.CERT_REQUIRED)
        self._client.on_connect = self._connected
        self._client.on_message = self._heard

    def _connected(self, client: mqtt.Client, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if not code.is_failure:
            client.subscribe("tocsin/v1/+/cmdack/+/+", qos=1)

    def _heard(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        command_id = message.topic.rsplit("/", 1)[-1]
        with self._lock:
            known = self._answer_keys.get(command_id)
        if known is None or self._loop is None:
            return
        answer = read_answer(bytes(message.payload), public_key(known), command_id)
        if answer is None:
            return
        state, reason = answer
        arrived = Arrived(key=command_id, obeyed=state == "executed", reason=reason)
        self._loop.call_soon_threadsafe(self.arrived.put_nowait, arrived)

    def _next_counter(self) -> int:
        """Microseconds of the wall, always rising: a command made again after a crash has a higher one."""
        with self._lock:
            self._counter = max(self._counter + 1, time.time_ns() // 1000)
            return self._counter

    async def close(self) -> None:
        if self._loop is not None:
            self._client.disconnect()
            await asyncio.to_thread(self._client.loop_stop)

    async def _connect(self) -> bool:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                self._client.connect_async(*self._at, keepalive=30)
            self._client.loop_start()
        for _ in range(50):
            if self._client.is_connected():
                return True
            await asyncio.sleep(0.1)
        return False

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        address = message.address
        tenant, device = str(address.get("tenant", "")), str(address.get("device", ""))
        if not _NAME.fullmatch(tenant) or not _NAME.fullmatch(device):
            return Outcome(result=Result.REFUSED, error="the siren has no tenant or device name")
        try:
            public_key(str(address.get("answer_key", "")))
        except BadKey:
            return Outcome(result=Result.REFUSED, error="the siren has no key for its answers")
        if not await self._connect():
            return Outcome(result=Result.RETRY, error="the broker is away")
        now = int(time.time())
        ended = message.payload["all_clear"] or message.payload["cancelled"]
        command = Command(
            command_id=idempotency_key,
            device=device,
            action="stop" if ended else "sound",
            level=message.level.word,
            counter=self._next_counter(),
            issued_at=now,
            expires_at=now + MAX_LIFE_S,
        )
        with self._lock:
            self._answer_keys[idempotency_key] = str(address["answer_key"])
            while len(self._answer_keys) > _KEPT_KEYS:
                self._answer_keys.popitem(last=False)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = MAX_LIFE_S
        properties.ResponseTopic = f"tocsin/v1/{tenant}/cmdack/{device}/{idempotency_key}"
        properties.CorrelationData = idempotency_key.encode()
        topic = f"tocsin/v1/{tenant}/cmd/{device}/{idempotency_key}"
        sent = self._client.publish(topic, sign_command(command, self._key), qos=1, retain=False, properties=properties)
        try:
            await asyncio.to_thread(sent.wait_for_publish, _PUBLISH_S)
        except (RuntimeError, ValueError) as error:
            return Outcome(result=Result.RETRY, error=str(error)[:200])
        if not sent.is_published():
            return Outcome(result=Result.UNCERTAIN, error="the broker did not answer")
        return Outcome(result=Result.ACCEPTED, provider_ref=topic)
