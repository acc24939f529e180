"""CAP documents in files, judged as one feed; and the policies of their senders."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import InvalidInput
from ingest.cap.judge import Feed, SourcePolicy
from ingest.cap.signature import SignaturePolicy
from ingest.cap.structure import MAX_BYTES


class BadCapFile(InvalidInput):
    """A file cannot be read."""


class BadSources(InvalidInput):
    """The file of source policies is not one."""


class _Policy(BaseModel):
    model_config = ConfigDict(extra="forbid")

    signature: Literal["ignore", "check", "require"] = "check"
    certificates: list[Path] = []
    region: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None
    delegates: list[str] = []
    lenient: bool = False


_FILE = TypeAdapter(dict[str, _Policy])


def read_policies(file: Path) -> dict[str, SourcePolicy]:
    """Policies by sender; raises BadSources naming the sender and the field. Paths count from the file's folder."""
    try:
        told = _FILE.validate_json(file.read_bytes())
    except OSError as error:
        raise BadSources(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise BadSources(f"{file}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
    return {sender: _policy(one, file.parent, sender) for sender, one in told.items()}


def _policy(told: _Policy, folder: Path, sender: str) -> SourcePolicy:
    certificates: list[x509.Certificate] = []
    for name in told.certificates:
        try:
            certificates += x509.load_pem_x509_certificates((folder / name).read_bytes())
        except (OSError, ValueError) as error:
            raise BadSources(f"{sender}: certificate {name}: {error}") from error
    if told.signature == "require" and not certificates:
        raise BadSources(f"{sender}: signature 'require' needs a certificate to know the source by")
    region = told.region
    return SourcePolicy(
        signature=SignaturePolicy(signature=told.signature, certificates=tuple(certificates)),
        region=(region[0], region[1], region[2], region[3]) if region else None,
        delegates=frozenset(told.delegates),
        lenient=told.lenient,
    )


def read_instant(text: str) -> datetime:
    """A time in ISO 8601; without an offset it is UTC. Raises InvalidInput."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--now: {text!r} is not a time such as 2026-11-28T12:00:00+00:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def judge_files(files: Sequence[Path], *, now: str | None, sources: Path | None) -> list[dict[str, Any]]:
    """`file`, `verdict`, `reasons`, `would_notify` of each file, in order; raises BadCapFile."""
    at = read_instant(now) if now is not None else datetime.now(UTC)
    feed = Feed(policies=read_policies(sources) if sources is not None else {})
    told = []
    for file in files:
        try:
            with file.open("rb") as opened:
                document = opened.read(MAX_BYTES + 1)  # one more than may be, so that a large file is known as one
        except OSError as error:
            raise BadCapFile(f"{file}: {error.strerror}") from error
        judged = feed.judge(document, at)
        told.append(
            {
                "file": str(file),
                "verdict": judged.verdict.value,
                "reasons": list(judged.reasons),
                "would_notify": judged.would_notify,
            }
        )
    return told
