"""People's part in silences: make one, agree to one of red, end one. Every act is audited in the same transaction."""

from datetime import datetime
from typing import Any
from uuid import UUID

from alerts import event_repository, repository, rule_repository
from alerts.level import Level
from alerts.silence import BadSilence, Silence, check_silence
from core.errors import Conflict, NotFound, NotPermitted
from core.ids import new_id
from store import audit
from store.pool import AsyncConnection

#: Who may keep a warning from being said.
ROLES = ("approver", "operator")


class MayNotSilence(NotPermitted):
    """Only an account with the role approver or operator may silence."""


class OwnSilence(NotPermitted):
    """The second person must be another than the author."""


class SilenceOver(Conflict):
    """This silence has ended."""


async def _person(conn: AsyncConnection, principal_id: UUID, tenant_id: UUID) -> dict[str, Any]:
    person = await repository.read_principal(conn, principal_id)
    if person is None or person["disabled_at"] is not None or person["tenant_id"] != tenant_id:
        raise MayNotSilence
    if not set(ROLES) & set(person["roles"]):
        raise MayNotSilence(login=person["login"])
    return person


async def make(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    tenant_id: UUID,
    up_to: Level,
    ends_at: datetime,
    reason: str,
    now: datetime,
    rule_code: str | None = None,
    peril: str | None = None,
    starts_at: datetime | None = None,
) -> Silence:
    """Makes a silence, in force at once unless it starts later; one of red reaches orange until another agrees.

    Raises MayNotSilence, BadSilence.
    """
    await _person(conn, principal_id, tenant_id)
    one = Silence(
        silence_id=new_id(),
        tenant_id=tenant_id,
        rule_code=rule_code,
        peril=peril,
        up_to=up_to,
        starts_at=max(starts_at or now, now),
        ends_at=ends_at,
        author=principal_id,
        reason=reason.strip(),
    )
    check_silence(one)
    if rule_code is not None and await rule_repository.rule_by_code(conn, tenant_id, rule_code) is None:
        raise BadSilence(f"rule_code: there is no rule {rule_code!r}")
    await event_repository.add_silence(conn, one)
    detail = {"up_to": up_to.word, "rule": rule_code, "peril": peril, "until": ends_at.isoformat(), "why": one.reason}
    await _audit(conn, one, principal_id, "silence.make", now, detail)
    return one


async def agree(
    conn: AsyncConnection, *, principal_id: UUID, tenant_id: UUID, silence_id: UUID, now: datetime
) -> Silence:
    """The second person agrees to a silence; only then it reaches red. The same person again changes nothing.

    Raises NotFound, MayNotSilence, OwnSilence, SilenceOver, Conflict when a third person agrees.
    """
    one = await _locked(conn, tenant_id, silence_id, principal_id, now)
    if one.author == principal_id:
        raise OwnSilence
    if one.second is not None and one.second != principal_id:
        raise Conflict("Two people stand for this silence already.", silence_id=str(silence_id))
    if one.second is None:
        await event_repository.second_silence(conn, silence_id, principal_id)
        await _audit(conn, one, principal_id, "silence.agree", now, {})
    found = await event_repository.lock_silence(conn, silence_id)
    assert found is not None
    return found


async def end(
    conn: AsyncConnection, *, principal_id: UUID, tenant_id: UUID, silence_id: UUID, now: datetime
) -> Silence:
    """Ends a silence before its time; one person is enough, and what still stands is said.

    Raises NotFound, MayNotSilence, SilenceOver.
    """
    one = await _locked(conn, tenant_id, silence_id, principal_id, now)
    await event_repository.end_silence(conn, one, principal_id, now)
    await _audit(conn, one, principal_id, "silence.end", now, {})
    found = await event_repository.lock_silence(conn, silence_id)
    assert found is not None
    return found


async def _locked(
    conn: AsyncConnection, tenant_id: UUID, silence_id: UUID, principal_id: UUID, now: datetime
) -> Silence:
    one = await event_repository.lock_silence(conn, silence_id)
    if one is None or one.tenant_id != tenant_id:
        raise NotFound("There is no such silence.", silence_id=str(silence_id))
    await _person(conn, principal_id, one.tenant_id)
    if one.until <= now:
        raise SilenceOver(ended_at=one.until.isoformat())
    return one


async def _audit(
    conn: AsyncConnection, one: Silence, principal_id: UUID, action: str, now: datetime, detail: dict[str, Any]
) -> None:
    await audit.append(
        conn, one.tenant_id, f"principal:{principal_id}", action, f"silence:{one.silence_id}", detail, at=now
    )
