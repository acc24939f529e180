"""The fake provider's client: what every channel of an exercise speaks to (server: alerts/fake_provider.py)."""

import msgspec

from alerts.channels import Outcome, Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status
from alerts.channels.outbound import FAILURES, Outbound

_TIMEOUT_S = 5.0


class FakeChannel:
    """Hands messages to the fake provider over HTTP. It carries any kind of channel and reaches nobody."""

    provider = "fake"

    def __init__(self, url: str, *, honours_keys: bool = True, timeout_s: float = _TIMEOUT_S) -> None:
        self.honours_keys = honours_keys
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._outbound = Outbound(allow_private=True)  # it stands on this machine

    async def close(self) -> None:
        await self._outbound.close()

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        body = {
            "channel": message.channel,
            "to": dict(message.address),
            "warning_id": str(message.warning_id),
            "version": message.payload["version"],
            "level": message.level.word,
            "payload": dict(message.payload),
        }
        try:
            response = await self._outbound.post(
                f"{self._url}/send",
                msgspec.json.encode(body),
                {"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
                total_s=self._timeout_s,
            )
        except FAILURES as error:
            return outcome_of_error(error)
        outcome = outcome_of_status(response.status, response.headers)
        if outcome.result is Result.ACCEPTED:
            return Outcome(result=Result.ACCEPTED, provider_ref=response.headers.get("x-message-id"))
        return outcome
