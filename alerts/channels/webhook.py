"""Signed webhooks: a partner's server gets the message and the CAP document, and can prove they are ours.

    X-Tocsin-Signature: hex HMAC-SHA256(secret, timestamp + "." + body)

with X-Tocsin-Timestamp (Unix seconds, wall time) and X-Tocsin-Key-Id. A receiver refuses what is older than five
minutes or signed wrongly, and keeps the Idempotency-Key to act once (`verify` is the sample).
"""

import hashlib
import hmac
import json
import time

from alerts.channels import Outcome, Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status
from alerts.channels.outbound import FAILURES, Outbound

WINDOW_S = 300


class WebhookChannel:
    """Posts to addresses of partners."""

    provider = "webhook"
    honours_keys = True

    def __init__(self, outbound: Outbound, *, secret: bytes) -> None:
        self._outbound = outbound
        self._secret = secret
        #: names the key without telling it, so that a receiver knows which of two to try while one is replaced
        self.key_id = hashlib.sha256(b"key id" + secret).hexdigest()[:8]

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        url = str(message.address.get("url", ""))
        if not url:
            return Outcome(result=Result.REFUSED, error="the webhook has no address")
        told = {**message.payload, "cap": message.cap_xml.decode()}
        body = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
            "X-Tocsin-Key-Id": self.key_id,
            "X-Tocsin-Timestamp": timestamp,
            "X-Tocsin-Signature": signature(self._secret, timestamp, body),
        }
        try:
            response = await self._outbound.post(url, body, headers)
        except FAILURES as error:
            return outcome_of_error(error)
        return outcome_of_status(response.status, response.headers, gone=frozenset({410}))


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What the signature header says for a body at a time."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(secret: bytes, *, timestamp: str, body: bytes, signed: str, now: float) -> bool:
    """What a receiver does: True for a body that we signed within the last five minutes."""
    try:
        age_s = abs(now - int(timestamp))
    except ValueError:
        return False
    return age_s <= WINDOW_S and hmac.compare_digest(signature(secret, timestamp, body), signed)
