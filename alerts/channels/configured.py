"""The channels that the settings turn on."""

import os
import socket
from dataclasses import dataclass, field
from typing import Any

from alerts.channels import Channel
from alerts.channels.email import EmailChannel
from alerts.channels.fake import FakeChannel
from alerts.channels.outbound import Outbound
from alerts.channels.phone import SmsChannel, VoiceChannel
from alerts.channels.siren import SirenChannel
from alerts.channels.webhook import WebhookChannel
from alerts.channels.webpush import WebPushChannel
from core.settings import Settings


@dataclass(slots=True)
class Channels:
    """The providers of this process, by name."""

    by_provider: dict[str, Channel] = field(default_factory=dict)
    closing: list[Any] = field(default_factory=list)

    async def close(self) -> None:
        for one in self.closing:
            await one.close()


def channels_from(settings: Settings) -> Channels:
    """One channel for each that has settings; for exercises the fake provider alone, whatever else is set."""
    made = Channels()
    deliver = settings.deliver
    if deliver.fake_url:
        fake = FakeChannel(deliver.fake_url)
        made.by_provider[fake.provider] = fake
        made.closing.append(fake)
    if settings.mode == "exercise":
        return made
    outbound = Outbound()
    made.closing.append(outbound)
    if deliver.webpush_vapid_private_key is not None:
        push = WebPushChannel(
            outbound,
            private_key=deliver.webpush_vapid_private_key.get_secret_value(),
            subject=deliver.webpush_subject,
            hosts=deliver.webpush_hosts,
            processes=deliver.webpush_processes,
        )
        made.by_provider["webpush"] = push
        made.closing.append(push)
    if deliver.smtp_host is not None:
        made.by_provider["smtp"] = EmailChannel(
            host=deliver.smtp_host,
            port=deliver.smtp_port,
            sender=deliver.smtp_from,
            username=deliver.smtp_username,
            password=deliver.smtp_password.get_secret_value() if deliver.smtp_password else None,
            starttls=deliver.smtp_starttls,
        )
    if deliver.webhook_secret is not None:
        made.by_provider["webhook"] = WebhookChannel(
            outbound, secret=deliver.webhook_secret.get_secret_value().encode()
        )
    if deliver.sms_url is not None:
        made.by_provider["sms"] = SmsChannel(
            outbound,
            url=deliver.sms_url,
            token=deliver.sms_token.get_secret_value() if deliver.sms_token else "",
            sender=deliver.sms_from,
            honours_keys=deliver.sms_honours_keys,
            links=deliver.sms_links,
        )
    if deliver.voice_url is not None:
        made.by_provider["voice"] = VoiceChannel(
            outbound,
            url=deliver.voice_url,
            token=deliver.voice_token.get_secret_value() if deliver.voice_token else "",
            honours_keys=deliver.voice_honours_keys,
        )
    if deliver.siren_key is not None and settings.mqtt.host is not None:
        siren = SirenChannel(
            host=settings.mqtt.host,
            port=settings.mqtt.port,
            key=deliver.siren_key.get_secret_value(),
            username=settings.mqtt.username,
            password=settings.mqtt.password.get_secret_value() if settings.mqtt.password else None,
            tls_ca=settings.mqtt.tls_ca,
            # one that led before may still be connected: brokers throw out whoever has the same name
            name=f"-{socket.gethostname()}-{os.getpid()}",
        )
        made.by_provider["siren"] = siren
        made.closing.append(siren)
    return made
