"""Who asks, and how often they may try: the nouns of sign-in."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from api import policy

#: The cookie that carries a session.
COOKIE: Final = "tocsin_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks. Exactly one of principal, key and policyholder is set; none of them for what is open to all."""

    tenant_id: UUID | None = None
    principal_id: UUID | None = None
    api_key_id: UUID | None = None
    policyholder_id: UUID | None = None
    login: str = ""
    display_name: str = ""
    roles: frozenset[str] = frozenset()
    expires_at: datetime | None = None

    @property
    def key(self) -> str:
        """Stable name of the actor, for idempotency keys and the audit."""
        return str(self.principal_id or self.api_key_id or self.policyholder_id or policy.ANYONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """How many tries a subject has, and how long it waits after that."""

    n_free: int  #: tries that are not slowed down
    window: timedelta = timedelta(minutes=15)  #: after this long without a try the count starts anew
    first_wait: timedelta = timedelta(seconds=30)  #: doubles with every further try
    longest_wait: timedelta = timedelta(minutes=15)
