"""What an HTTP answer means for a message, the same for every HTTP provider."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alerts.channels import Outcome, Result
from alerts.channels.outbound import AddressRefused, NotReached

#: A provider that asks for more patience than this is asked again anyway: the warning ages.
MAX_RETRY_AFTER_S = 300.0


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110 section 10.2.3), None without a usable one."""
    value = headers.get("retry-after")
    if value is None:
        return None
    with suppress(ValueError):
        return min(max(0.0, float(value)), MAX_RETRY_AFTER_S)
    with suppress(ValueError, TypeError):
        wait = (parsedate_to_datetime(value) - (now or datetime.now(UTC))).total_seconds()
        return min(max(0.0, wait), MAX_RETRY_AFTER_S)
    return None


def outcome_of_status(status: int, headers: Mapping[str, str], *, gone: frozenset[int] = frozenset()) -> Outcome:
    """2xx accepted; `gone` statuses end the address; 408, 425, 429 and 5xx are tried again; the rest never passes."""
    if 200 <= status < 300:
        return Outcome(result=Result.ACCEPTED, provider_ref=headers.get("location") or headers.get("x-message-id"))
    if status in gone:
        return Outcome(result=Result.GONE, error=f"HTTP {status}")
    if status in (408, 425, 429) or status >= 500:
        return Outcome(result=Result.RETRY, error=f"HTTP {status}", retry_after_s=retry_after_s(headers))
    return Outcome(result=Result.REFUSED, error=f"HTTP {status}")


def outcome_of_error(error: Exception) -> Outcome:
    """Nothing was sent where no connection came about; after that it may have arrived."""
    told = str(error)[:300]
    if isinstance(error, AddressRefused):
        return Outcome(result=Result.REFUSED, error=told)
    if isinstance(error, NotReached):
        return Outcome(result=Result.RETRY, error=told)
    return Outcome(result=Result.UNCERTAIN, error=told)
