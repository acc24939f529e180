"""Commands to sirens: signed, numbered, short-lived, and obeyed once.

Sirens have taken unauthenticated commands (CVE-2018-8862). Here a command is bytes with an Ed25519 signature over
exactly those bytes; a siren obeys it when the key is the one it trusts, the command is meant for it, has not expired,
and its counter is higher than any it has obeyed. The sender waits for a signed answer; without one the operator is
told.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from core.errors import InvalidInput

#: A command older than this is not obeyed, whatever it says itself.
MAX_LIFE_S = 60
#: How far ahead of the siren's own clock a command may have been made.
MAX_AHEAD_S = 10
#: Without an answer within this the operator is told.
ANSWER_WITHIN_S = 30
MAX_COMMAND_BYTES = 4096

Action = Literal["sound", "stop"]


class BadKey(InvalidInput):
    """This is not an Ed25519 key: 32 bytes in base64url."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What one siren is told to do. Times are whole Unix seconds."""

    command_id: str  #: the delivery's id: the same on every attempt
    device: str
    action: Action
    level: str
    counter: int  #: rises with every command this key signs
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a siren obeys, and why."""

    obeyed: bool
    reason: str
    command: Command | None = None


def encode_key(raw: bytes) -> str:
    """32 bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKey from error


def private_key(text: str) -> Ed25519PrivateKey:
    """The signing key of this base64url text; raises BadKey."""
    raw = _decode(text)
    if len(raw) != 32:
        raise BadKey(n_bytes=len(raw))
    return Ed25519PrivateKey.from_private_bytes(raw)


def public_key(text: str) -> Ed25519PublicKey:
    """The verifying key of this base64url text; raises BadKey."""
    raw = _decode(text)
    if len(raw) != 32:
        raise BadKey(n_bytes=len(raw))
    return Ed25519PublicKey.from_public_bytes(raw)


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half, as base64url."""
    return encode_key(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def sealed(told: dict[str, Any], key: Ed25519PrivateKey) -> bytes:
    """JSON values as signed bytes: `{"body": base64url, "signature": base64url}`."""
    body = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps({"body": encode_key(body), "signature": encode_key(key.sign(body))}).encode()


def opened(message: bytes, key: Ed25519PublicKey) -> dict[str, Any] | None:
    """The values of signed bytes; None for anything that this key did not sign."""
    if len(message) > MAX_COMMAND_BYTES:
        return None
    try:
        outer = json.loads(message)
        body = _decode(outer["body"])
        key.verify(_decode(outer["signature"]), body)
        told = json.loads(body)
    except (ValueError, TypeError, KeyError, InvalidSignature, RecursionError, BadKey, AttributeError):
        return None
    return told if isinstance(told, dict) else None


def sign_command(command: Command, key: Ed25519PrivateKey) -> bytes:
    """The bytes that travel."""
    return sealed(
        {
            "kind": "command",
            "id": command.command_id,
            "device": command.device,
            "action": command.action,
            "level": command.level,
            "counter": command.counter,
            "issued_at": command.issued_at,
            "expires_at": command.expires_at,
        },
        key,
    )


def sign_answer(command: Command, state: str, reason: str, now: int, key: Ed25519PrivateKey) -> bytes:
    """A siren's answer to a command it could read: `executed` or `refused`."""
    told = {"kind": "answer", "id": command.command_id, "device": command.device, "state": state, "reason": reason}
    return sealed({**told, "at": now}, key)


def read_answer(message: bytes, key: Ed25519PublicKey, command_id: str) -> tuple[str, str] | None:
    """(state, reason) of a siren's answer to this command; None where it is not one, or not this siren's."""
    told = opened(message, key)
    if told is None or told.get("kind") != "answer" or told.get("id") != command_id:
        return None
    return str(told.get("state")), str(told.get("reason"))


def _read(told: dict[str, Any]) -> Command | None:
    whole = ("counter", "issued_at", "expires_at")
    texts = ("id", "device", "action", "level")
    if told.get("kind") != "command" or told.get("action") not in get_args(Action):
        return None
    if any(type(told.get(name)) is not int for name in whole) or any(type(told.get(one)) is not str for one in texts):
        return None
    return Command(
        command_id=told["id"],
        device=told["device"],
        action=told["action"],
        level=told["level"],
        counter=told["counter"],
        issued_at=told["issued_at"],
        expires_at=told["expires_at"],
    )


@dataclass(slots=True, kw_only=True)
class Guard:
    """A siren's side: what it obeys. `last_counter` must survive a restart of the siren."""

    device: str
    key: Ed25519PublicKey
    last_counter: int = 0
    last_id: str = ""

    def judge(self, message: bytes, now: float) -> Verdict:
        """Whether to obey this message at Unix time `now`; obeying moves the counter."""
        told = opened(message, self.key)
        command = _read(told) if told is not None else None
        if command is None:
            return Verdict(obeyed=False, reason="not signed by the key that this siren trusts")
        if command.device != self.device:
            return Verdict(obeyed=False, reason="meant for another siren", command=command)
        if command.command_id == self.last_id:
            return Verdict(obeyed=False, reason="repeated", command=command)
        if command.counter <= self.last_counter:
            return Verdict(obeyed=False, reason="its counter was used before", command=command)
        if not 0 < command.expires_at - command.issued_at <= MAX_LIFE_S:
            return Verdict(obeyed=False, reason=f"it lives longer than {MAX_LIFE_S} s", command=command)
        if command.issued_at > now + MAX_AHEAD_S:
            return Verdict(obeyed=False, reason="made in the future", command=command)
        if command.expires_at <= now:
            return Verdict(obeyed=False, reason="expired", command=command)
        self.last_counter, self.last_id = command.counter, command.command_id
        return Verdict(obeyed=True, reason="obeyed", command=command)
