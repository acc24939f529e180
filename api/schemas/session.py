"""Signing in and who one is."""

from datetime import datetime
from uuid import UUID

from pydantic import Field, SecretStr

from api.schemas.common import In, Out


class Login(In):
    """Who wants in."""

    login: str = Field(min_length=1, max_length=200)
    password: SecretStr = Field(min_length=1, max_length=1000)


class TenantOut(Out):
    """The organisation one works for."""

    tenant_id: UUID
    slug: str
    name: str


class Me(Out):
    """Who is signed in."""

    principal_id: UUID | None = Field(description="None for an API key.")
    login: str
    display_name: str
    roles: list[str]
    may: list[str] = Field(
        description="What this role set may do: `action object` pairs of the policy table.",
        examples=[["read station", "approve warning"]],
    )
    tenant: TenantOut
    exercise: bool
    expires_at: datetime | None = Field(description="When the session ends.")
