"""Text messages and calls, through a vendor's HTTP gateway.

Vendors differ in names, not in kind: a JSON body with the number, the text and our reference, a bearer token, and an
`Idempotency-Key` header that some honour. Whether yours does is a setting; without it a message whose answer did not
come is marked `uncertain`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from alerts.channels import Outcome, Outgoing, Result
from alerts.channels.answers import outcome_of_error, outcome_of_status
from alerts.channels.outbound import FAILURES, Outbound
from alerts.message import spoken_text, text_message
from alerts.sms import fit

#: E.164: plus, country, number.
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


class _Gateway:
    def __init__(self, outbound: Outbound, *, url: str, token: str, honours_keys: bool) -> None:
        self._outbound, self._url, self._token = outbound, url, token
        self.honours_keys = honours_keys

    async def _post(self, told: Mapping[str, Any], idempotency_key: str) -> Outcome:
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        body = json.dumps({**told, "reference": idempotency_key}, ensure_ascii=False).encode()
        try:
            response = await self._outbound.post(self._url, body, headers)
        except FAILURES as error:
            return outcome_of_error(error)
        # A gateway's 404 or 410 is about its own address, never about the phone's.
        return outcome_of_status(response.status, response.headers)


def _number(message: Outgoing) -> str | None:
    number = re.sub(r"[\s().-]", "", str(message.address.get("phone", "")))
    return number if _NUMBER.fullmatch(number) else None


class SmsChannel(_Gateway):
    """Hands text messages to a gateway."""

    provider = "sms"

    def __init__(
        self, outbound: Outbound, *, url: str, token: str, sender: str, honours_keys: bool, links: str = "gsm7"
    ) -> None:
        super().__init__(outbound, url=url, token=token, honours_keys=honours_keys)
        self._sender, self._links = sender, links

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        number = _number(message)
        if number is None:
            return Outcome(result=Result.REFUSED, error="this is not a phone number in E.164")
        texts = text_message(message.text, message.payload, message.language)
        plain = fit(texts)
        wants_link = self._links == "always" or (self._links == "gsm7" and plain.alphabet == "gsm7")
        sms = fit(texts, link=message.url) if wants_link else plain
        return await self._post(
            {
                "to": number,
                "from": self._sender,
                "text": sms.text,
                "alphabet": sms.alphabet,
                "parts": sms.n_parts,
                "ttl_s": message.ttl_s,
            },
            idempotency_key,
        )


class VoiceChannel(_Gateway):
    """Hands calls to a gateway that speaks a text and reports which key was pressed."""

    provider = "voice"

    async def send(self, message: Outgoing, idempotency_key: str) -> Outcome:
        number = _number(message)
        if number is None:
            return Outcome(result=Result.REFUSED, error="this is not a phone number in E.164")
        return await self._post(
            {
                "to": number,
                "language": message.language,
                "say": spoken_text(message.text, message.payload, message.language),
                "repeat": 2,
                "keys": {"1": "safe", "2": "help"},
                "ttl_s": message.ttl_s,
            },
            idempotency_key,
        )
