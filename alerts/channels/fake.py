"""The fake provider's client: what every channel of an exercise speaks to (server: alerts/fake_provider.py)."""

import asyncio

import httpx
import msgspec

from alerts.channels import Outcome, Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status

_TIMEOUT_S = 5.0
_CONNECTIONS = 100


class FakeChannel:
    """Hands messages to the fake provider over HTTP. It carries any kind of channel and reaches nobody."""

    provider = "fake"

    def __init__(self, url: str, *, honours_keys: bool = True, timeout_s: float = _TIMEOUT_S) -> None:
        self.honours_keys = honours_keys
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            trust_env=False,
            timeout=httpx.Timeout(timeout_s),
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        )

    async def close(self) -> None:
        await self._client.aclose()

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
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.post(
                    f"{self._url}/send",
                    content=msgspec.json.encode(body),
                    headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
                )
        except (httpx.HTTPError, TimeoutError) as error:
            return outcome_of_error(error)
        outcome = outcome_of_status(response.status_code, response.headers)
        if outcome.result is Result.ACCEPTED:
            return Outcome(result=Result.ACCEPTED, provider_ref=response.headers.get("x-message-id"))
        return outcome
