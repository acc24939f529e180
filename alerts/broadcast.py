"""Warnings for partners' machines, over MQTT: one retained message a hazard and area while a warning is out.

    tocsin/v1/{tenant}/alert/{hazard}/{area}

carries id, level, times, the link of the CAP message and, where all fits in 8 KiB, the message itself. It is retained
while the warning is active and emptied by its all-clear or cancel; brokers that speak MQTT 5 also let it go when it
expires, so that a broker which missed the end does not go on warning. The area is the warning's own id: it stays
through updates.
"""

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts import cap, repository
from alerts.cap_sign import Signer, leaving
from alerts.repository import StoredWarning
from core.errors import InvalidInput, Unavailable
from core.events import WarningReleased
from core.log import get_logger
from core.settings import MqttSettings
from store import outbox
from store.clock import read_clock
from store.pool import AsyncConnection

log = get_logger("broadcast")

MAX_BYTES = 8 * 1024
_WAIT_S = 10.0
#: (topic, payload, seconds it is worth keeping); an empty payload clears the topic
Publish = Callable[[str, bytes, int | None], None]


class BrokerSilent(Unavailable):
    """The message broker does not take a warning; it is tried again."""


def topic_of(tenant: str, stored: StoredWarning) -> str:
    """Where a warning stands: the same for all its versions."""
    hazard = re.sub(r"[^a-z0-9_-]+", "_", stored.alert.event.lower()) or "hazard"
    return f"tocsin/v1/{tenant}/alert/{hazard}/{stored.alert.warning_id}"


def payload_of(
    stored: StoredWarning, *, public_url: str, now: datetime, signer: Signer | None
) -> tuple[bytes, int | None]:
    """What is retained, and for how many seconds; empty where the warning is over."""
    alert = stored.alert
    left_s = int((alert.expires_at - now).total_seconds())
    if alert.all_clear or alert.msg_type == "Cancel" or left_s <= 0 or stored.released_at is None:
        return b"", None
    document = cap.to_xml(cap.of_alert(alert, sender_name=stored.tenant_name))
    told: dict[str, Any] = {
        "id": alert.identifier,
        "version": alert.version,
        "status": alert.status,
        "level": alert.level.word,
        "sent": cap.time_text(alert.sent_at),
        "expires": cap.time_text(alert.expires_at),
        "link": f"{public_url.rstrip('/')}/v1/warnings/{alert.warning_id}/{alert.version}/cap.xml",
        "signed": signer is not None,
        "cap": leaving(document, signer).decode(),
    }
    body = json.dumps(told, ensure_ascii=False).encode()
    if len(body) > MAX_BYTES:
        del told["cap"]
        body = json.dumps(told, ensure_ascii=False).encode()
    return body, left_s


def handler(
    publish: Publish | None, *, public_url: str, signer: Signer | None
) -> Callable[[AsyncConnection, outbox.Work], Awaitable[None]]:
    """Handler of the outbox consumer `broadcast`; without a broker there is nobody to tell."""

    async def handle(conn: AsyncConnection, work: outbox.Work) -> None:
        event = outbox.decode(work)
        if not isinstance(event, WarningReleased):
            raise InvalidInput("The broadcast consumer takes released warnings only.", kind=work.kind)
        if publish is None:
            return
        stored = await repository.read_warning(conn, event.warning_id, event.version)
        if stored.state == "superseded":
            return  # a newer version is out and has its own event
        tenant = str(await repository.tenant_slug(conn, stored.alert.tenant_id))
        now = (await read_clock(conn)).now()
        body, keep_s = payload_of(stored, public_url=public_url, now=now, signer=signer)
        # It waits for the broker: in a thread, so that nothing else of this process waits with it.
        await asyncio.to_thread(publish, topic_of(tenant, stored), body, keep_s)

    return handle


class Broadcaster:
    """Publishes to the broker and waits until it has what was published."""

    def __init__(self, settings: MqttSettings) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if settings.username is not None:
            password = settings.password.get_secret_value() if settings.password is not None else None
            self._client.username_pw_set(settings.username, password)
        if settings.tls_ca is not None:
            self._client.tls_set(ca_certs=str(settings.tls_ca))
        self._up = threading.Event()
        self._client.on_connect = self._connected
        self._client.on_disconnect = lambda *_: self._up.clear()
        self._client.reconnect_delay_set(min_delay=1, max_delay=10)
        self._client.connect_async(settings.host or "127.0.0.1", settings.port, keepalive=30)
        self._client.loop_start()

    def _connected(self, _client: paho.Client, _data: object, _flags: Any, reason: Any, _properties: object) -> None:
        if not reason.is_failure:
            self._up.set()

    def publish(self, topic: str, body: bytes, keep_s: int | None) -> None:
        """Retains `body` under the topic; raises BrokerSilent where the broker has not said in time that it has it."""
        if not self._up.wait(_WAIT_S):
            raise BrokerSilent
        properties = None
        if keep_s is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = keep_s
        info = self._client.publish(topic, body, qos=1, retain=True, properties=properties)
        try:
            info.wait_for_publish(_WAIT_S)
        except (RuntimeError, ValueError) as error:
            raise BrokerSilent(str(error)) from error
        if not info.is_published():
            raise BrokerSilent

    def close(self) -> None:
        """Ends the connection."""
        self._client.disconnect()
        self._client.loop_stop()
