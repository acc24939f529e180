"""A siren obeys its own key, once, in time; and the operator's side believes only the siren."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alerts import siren
from alerts.escalation import AT_ONCE, rungs
from alerts.level import Level
from alerts.siren import Command, Guard, encode_key, opened, public_key, read_answer, sign_answer, sign_command

NOW = 1_764_300_000
KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), Ed25519PrivateKey.generate()


def command(**more: object) -> Command:
    base = Command(
        command_id="c1", device="tower", action="sound", level="red", counter=5, issued_at=NOW, expires_at=NOW + 60
    )
    return replace(base, **more)  # type: ignore[arg-type]


def guard(last: int = 0) -> Guard:
    return Guard(device="tower", key=KEY.public_key(), last_counter=last)


@pytest.mark.parametrize(
    ("told", "signer", "now", "last", "reason"),
    [
        (command(), KEY, NOW + 1, 0, "obeyed"),
        (command(action="stop"), KEY, NOW + 1, 4, "obeyed"),
        (command(), OTHER, NOW, 0, "not signed"),
        (command(device="other"), KEY, NOW, 0, "another siren"),
        (command(), KEY, NOW, 5, "counter"),
        (command(), KEY, NOW, 6, "counter"),
        (command(), KEY, NOW + 60, 0, "expired"),
        (command(), KEY, NOW + 3600, 0, "expired"),
        (command(expires_at=NOW + 61), KEY, NOW, 0, "longer than 60 s"),
        (command(expires_at=NOW), KEY, NOW - 5, 0, "longer than 60 s"),
        (command(), KEY, NOW - 11, 0, "future"),
        (command(action="melt"), KEY, NOW, 0, "not signed"),
    ],
)
def test_what_is_obeyed(told: Command, signer: Ed25519PrivateKey, now: float, last: int, reason: str) -> None:
    verdict = guard(last).judge(sign_command(told, signer), now)
    assert reason in verdict.reason
    assert verdict.obeyed == (reason == "obeyed")


def test_a_command_is_obeyed_once_and_its_repetition_is_known_as_one() -> None:
    one = guard()
    message = sign_command(command(), KEY)
    assert one.judge(message, NOW).obeyed
    assert one.judge(message, NOW).reason == "repeated"
    # sent again after a crash: the same id with a higher counter
    assert one.judge(sign_command(command(counter=9), KEY), NOW).reason == "repeated"
    assert not one.judge(sign_command(command(command_id="c2"), KEY), NOW).obeyed
    assert one.judge(sign_command(command(command_id="c2", counter=6), KEY), NOW).obeyed


def test_no_byte_of_a_command_can_be_changed() -> None:
    message = sign_command(command(), KEY)
    n_obeyed = 0
    for at in range(len(message)):
        for flip in (1, 32, 128):
            broken = bytearray(message)
            broken[at] ^= flip
            verdict = guard().judge(bytes(broken), NOW)
            # what still verifies is the same command (letters of the envelope's own names do not count)
            n_obeyed += verdict.obeyed and verdict.command != command()
    assert n_obeyed == 0
    for junk in (b"", b"{", b"[]", b"null", b"\xff", b"x" * 5000, json.dumps({"body": 1, "signature": 2}).encode()):
        assert not guard().judge(junk, NOW).obeyed


def test_only_the_sirens_own_answer_to_this_command_counts() -> None:
    answer = sign_answer(command(), "executed", "obeyed", NOW, OTHER)
    assert read_answer(answer, OTHER.public_key(), "c1") == ("executed", "obeyed")
    assert read_answer(answer, KEY.public_key(), "c1") is None
    assert read_answer(answer, OTHER.public_key(), "c2") is None
    # a command is no answer, though the same key signed it
    assert read_answer(sign_command(command(), OTHER), OTHER.public_key(), "c1") is None
    assert not guard().judge(sign_answer(command(), "executed", "", NOW, KEY), NOW).obeyed


def test_signing_is_that_of_rfc_8032() -> None:
    """Section 7.1, test 2: the published key, message and signature."""
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = siren.private_key(encode_key(secret))
    assert key.sign(bytes.fromhex("72")).hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert opened(siren.sealed({"a": 1}, key), public_key(siren.public_text(key))) == {"a": 1}
    with pytest.raises(siren.BadKey):
        siren.private_key("AAAA")
    with pytest.raises(siren.BadKey):
        siren.public_key("not base64 !")


# ---------------------------------------------------------------- escalation


def test_red_goes_on_until_answered() -> None:
    found = rungs(["voice", "sms", "web_push", "email"], level=Level.RED, ended=False, told_on=(), wait_s=30)
    assert found["web_push"] == found["email"] == AT_ONCE
    assert (found["sms"].rung, found["sms"].wait_s, found["sms"].unless) == (1, 30, "answered")
    assert (found["voice"].rung, found["voice"].wait_s, found["voice"].unless) == (2, 60, "answered")


def test_below_red_the_next_channel_is_only_the_way_round() -> None:
    found = rungs(["sms", "web_push"], level=Level.YELLOW, ended=False, told_on=(), wait_s=30)
    assert found["web_push"] == AT_ONCE
    assert found["sms"].unless == "accepted"


def test_who_has_no_push_begins_one_rung_up() -> None:
    assert rungs(["voice", "siren"], level=Level.RED, ended=False, told_on=(), wait_s=30) == {
        "voice": AT_ONCE,
        "siren": AT_ONCE,
    }


def test_what_is_over_is_said_where_it_was_said() -> None:
    found = rungs(["web_push", "sms", "voice"], level=Level.NONE, ended=True, told_on=["sms"], wait_s=30)
    assert found["web_push"] == found["sms"] == AT_ONCE
    assert found["voice"].unless == "accepted"
