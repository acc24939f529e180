"""People's part in a warning: approve, reject, take back, stop and go on.

Who may: an account with the role `approver`, read afresh in the transaction, of the warning's tenant. Two different
people above the automatic ceiling, and nobody approves what they drafted. An approval names the SHA-256 of the content
it was given for; another version, or another content, does not have it. The database guards the same once more
(trigger `guard_warning`). Every act is an audit row in the same transaction.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from alerts import alert as alert_noun
from alerts import event_repository, lifecycle, repository, rule_repository
from alerts.alert import Alert, reference
from alerts.audience import UNRELEASABLE
from alerts.level import Level
from alerts.lifecycle import Decision, Message, Reason
from alerts.message import Facts, language_with_texts, render_all
from alerts.repository import StoredWarning
from alerts.voice import hears
from core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from core.events import WarningChanged, WarningReleased
from store import audit, outbox
from store.pool import AsyncConnection

APPROVER = "approver"
OPERATOR = "operator"


class NotAnApprover(NotPermitted):
    """Only an account with the role approver may do this."""


class OwnDraft(NotPermitted):
    """Nobody approves what they drafted."""


class ContentChanged(Conflict):
    """The warning is not the one that was read: reload it and decide again."""


class NotADraft(Conflict):
    """This version does not wait for approval."""


class CannotBeReleased(Conflict):
    """This draft cannot be released by anybody: its area is not right. It must be drawn again."""


class Expired(Conflict):
    """This draft's time is over; wait for its renewal."""


class BasisChanged(Conflict):
    """What this draft says is not what its rules stand at any more: reject it, and wait for the next version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What an approval led to."""

    warning_id: UUID
    version: int
    state: str
    n_approvals: int
    n_approvals_needed: int
    released: bool
    n_left_out: int = 0  #: people who hear something worse by now, and are not told of this


async def _person(conn: AsyncConnection, principal_id: UUID, tenant_id: UUID, role: str = APPROVER) -> dict[str, Any]:
    person = await repository.read_principal(conn, principal_id)
    if person is None or person["disabled_at"] is not None or person["tenant_id"] != tenant_id:
        raise NotAnApprover
    if role not in person["roles"]:
        raise NotAnApprover(f"Only an account with the role {role} may do this.", login=person["login"])
    return person


async def _version(conn: AsyncConnection, warning_id: UUID, version: int) -> tuple[StoredWarning, list[StoredWarning]]:
    chain = await repository.lock_warning(conn, warning_id)
    for one in chain:
        if one.alert.version == version:
            return one, chain
    raise NotFound("There is no such version of a warning.", warning_id=str(warning_id), version=version)


async def approve(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    warning_id: UUID,
    version: int,
    content_sha256: bytes,
    now: datetime,
) -> Approved:
    """One person's approval of exactly this content; the last that is needed releases it.

    In the transaction that `conn` is in. The same person again changes nothing. A draft may have waited long: its level
    is held against what its rules stand at now, and each person against what else speaks to them now. Raises NotFound,
    NotAnApprover, OwnDraft, NotADraft, ContentChanged, CannotBeReleased, Expired, BasisChanged.
    """
    first, _ = await _version(conn, warning_id, version)
    if first.alert.msg_type == "Cancel":
        # a cancel also closes what the rules stand at: locked in the order in which watching locks
        await rule_repository.rule_states_of_warning(conn, warning_id)
    warning, chain = await _version(conn, warning_id, version)
    person = await _person(conn, principal_id, warning.alert.tenant_id)
    if warning.state != "draft" or warning is not chain[-1]:
        raise NotADraft(state=warning.state, newest_version=chain[-1].alert.version)
    if warning.drafted_by == principal_id:
        raise OwnDraft
    if content_sha256 != warning.content_sha256 or not await _is_what_it_was(conn, warning):
        raise ContentChanged
    if warning.held in UNRELEASABLE:
        assert warning.held is not None
        raise CannotBeReleased(held=warning.held.value)
    if warning.alert.expires_at <= now:
        raise Expired(expired_at=warning.alert.expires_at.isoformat())
    if warning.alert.msg_type != "Cancel":
        await _check_basis(conn, warning, chain)
    new = await repository.add_approval(conn, warning, principal_id, content_sha256, now)
    n_approvals = await repository.count_approvals(conn, warning)
    if new:
        await _audit(conn, warning, person, "warning.approve", now, {"content_sha256": content_sha256.hex()})
    released = n_approvals >= warning.approvals_needed
    n_left_out = 0
    if released:
        if warning.alert.msg_type != "Cancel":
            n_left_out = await _leave_out(conn, warning, chain, now)
        await _release(conn, warning, now)
        await _audit(conn, warning, person, "warning.release", now, {"n_approvals": n_approvals})
    await _changed(conn, warning)
    return Approved(
        warning_id=warning_id,
        version=version,
        state="released" if released else "draft",
        n_approvals=n_approvals,
        n_approvals_needed=warning.approvals_needed,
        released=released,
        n_left_out=n_left_out,
    )


async def _check_basis(conn: AsyncConnection, warning: StoredWarning, chain: list[StoredWarning]) -> None:
    """Raises BasisChanged where the draft says more than its rules do now, or would ease what they stand above.

    Less than they do now is still more than nothing: a first or higher message may go out.
    """
    words = await repository.standing_levels(conn, warning.alert.warning_id)
    if not words:
        return
    stands = max(Level[word.upper()] for word in words)
    says = warning.alert.level
    out = [one.alert for one in chain if one.released_at is not None]
    eases = bool(out) and says < out[-1].level
    if says > stands or (eases and says < stands):
        raise BasisChanged(
            f"This draft says {_said(says)}, and its rules stand at {_said(stands)} now: it is out of date. Reject it; "
            "what stands is drafted by itself.",
            says=says.word,
            stands=stands.word,
        )


def _said(one: Level) -> str:
    return "that it is over" if one is Level.NONE else one.word


async def _leave_out(conn: AsyncConnection, warning: StoredWarning, chain: list[StoredWarning], now: datetime) -> int:
    """Leaves out whoever hears something worse by now, or the same from elsewhere, with the reason; gives how many.

    What was approved stays as it was: it is told to fewer, never to others. Where it is told to nobody it stands all
    the same: it keeps an all-clear of the other warning from these people, and speaks when that one ends.
    """
    alert = warning.alert
    out = [one for one in chain if one.released_at is not None]
    people = {one.policyholder_id for one in await repository.recipients(conn, alert.warning_id, alert.version)}
    others = await event_repository.others_told(
        conn, alert.tenant_id, alert.event, sorted(people), warning_id=alert.warning_id, now=now
    )
    heard = hears(
        people,
        others,
        level=alert.level,
        official=alert.authority is not None,
        # what is not out yet is the younger one, however long its draft has waited
        first_sent=out[0].alert.sent_at if out else now,
        warning_id=alert.warning_id,
    )
    await event_repository.let_in(conn, alert.warning_id, heard.told)
    if not heard.kept_out:
        return 0
    stands = {person: one.warning_id for person, one in heard.kept_out.items()}
    await repository.leave_out(conn, alert.warning_id, alert.version, stands)
    if alert.level > Level.NONE:
        await event_repository.keep_out(conn, alert.tenant_id, alert.warning_id, heard.kept_out, alert.level.word, now)
    if out and alert.level < out[-1].alert.level:
        # what stands for them speaks again, so that it is the last they heard
        await rule_repository.wake(conn, heard.wakes, now)
    by_warning = {str(one): sum(other == one for other in stands.values()) for one in heard.wakes}
    reason = Reason.OFFICIAL_STANDS if heard.by_official else Reason.INHIBITED_BY_HIGHER
    detail = {"n_kept_out": len(stands), "n_told": len(heard.told), "by_warning": by_warning, "at": "approval"}
    await _record(conn, warning, reason, now, detail)
    return len(stands)


async def _is_what_it_was(conn: AsyncConnection, warning: StoredWarning) -> bool:
    """Whether the rows still say what was hashed: text, area, people and channels."""
    people = await repository.recipients(conn, warning.alert.warning_id, warning.alert.version)
    return alert_noun.content_sha256(warning.alert, people) == warning.content_sha256


async def _release(conn: AsyncConnection, warning: StoredWarning, now: datetime) -> None:
    alert = warning.alert
    await repository.mark_released(conn, alert.warning_id, alert.version, now)
    await repository.supersede(conn, alert.warning_id, alert.version, released=True)
    if alert.msg_type == "Cancel":
        # what was stopped for it is replaced now; the two people that this took are the two that resuming needs
        await repository.end_pause(conn, scope_name("warning", warning_id=alert.warning_id))
        await _close_rules(conn, alert.warning_id, now)
    await _record(conn, warning, Reason.RELEASED_BY_PEOPLE, now)
    await outbox.publish(
        conn,
        WarningReleased(warning_id=alert.warning_id, version=alert.version),
        ordering_key=f"warning:{alert.warning_id}",
        tenant_id=alert.tenant_id,
    )


async def _close_rules(conn: AsyncConnection, warning_id: UUID, now: datetime) -> None:
    """Every rule that spoke through the warning stands closed: what they know was judged wrong."""
    for rule_id, state in await rule_repository.rule_states_of_warning(conn, warning_id):
        closed, _ = lifecycle.cancel(state, now)
        await rule_repository.reset_rule_state(conn, rule_id, closed, warning_id, now)
    for rule_id, subject, state in await event_repository.event_states_of_warning(conn, warning_id):
        closed, _ = lifecycle.cancel(state, now)
        await event_repository.reset_event_state(conn, rule_id, subject, closed, now)
    # whoever was not told of something less because of this one is told of it now
    await rule_repository.wake(conn, await event_repository.kept_out_by(conn, warning_id), now)


async def reject(
    conn: AsyncConnection, *, principal_id: UUID, warning_id: UUID, version: int, reason: str, now: datetime
) -> None:
    """The draft does not go out; one person is enough. Raises NotFound, NotAnApprover, NotADraft."""
    warning, chain = await _version(conn, warning_id, version)
    person = await _person(conn, principal_id, warning.alert.tenant_id)
    if warning.state != "draft" or warning is not chain[-1]:
        raise NotADraft(state=warning.state, newest_version=chain[-1].alert.version)
    await repository.close_drafts(conn, warning_id, "rejected", version)
    await _record(conn, warning, Reason.REJECTED, now, {"why": reason, "by": str(principal_id)})
    await _audit(conn, warning, person, "warning.reject", now, {"why": reason})
    await _changed(conn, warning)


async def draft_cancel(conn: AsyncConnection, *, principal_id: UUID, warning_id: UUID, why: str, now: datetime) -> int:
    """Drafts a Cancel, for a warning that was issued in error; another person's approval sends it. Gives its version.

    Sending of the warning stops with it, at once; the Cancel itself is not held by that. It goes to exactly the people
    who were told, on the channels that carried it. Raises NotFound, NotAnApprover, Conflict when nothing is out.
    """
    if not why.strip():
        raise InvalidInput("Say why the warning was an error.", missing="why")
    chain = await repository.lock_warning(conn, warning_id)
    out = [one for one in chain if one.released_at is not None]
    if not chain:
        raise NotFound("There is no such warning.", warning_id=str(warning_id))
    person = await _person(conn, principal_id, chain[0].alert.tenant_id)
    if not out or out[-1].alert.all_clear or out[-1].alert.msg_type == "Cancel":
        raise Conflict("Nothing of this warning is out that could be taken back.", warning_id=str(warning_id))
    stop = scope_name("warning", warning_id=warning_id)
    tenant_id = chain[0].alert.tenant_id
    await repository.add_pause(conn, stop, tenant_id, principal_id, now)
    await _audit_sending(conn, tenant_id, person, "sending.pause", stop, now)
    last = out[-1].alert
    told: dict[tuple[UUID, str], Any] = {}
    for one in out:
        for person_told in await repository.recipients(conn, warning_id, one.alert.version):
            told[person_told.policyholder_id, person_told.channel] = replace(person_told, priority=0)
    people = sorted(told.values())
    alert = await _cancel_alert(conn, last, out, chain[-1].alert.version + 1, now)
    await repository.add_warning(
        conn,
        alert,
        people,
        state="draft",
        n_people=len({one.policyholder_id for one in people}),
        n_unreachable=len({one.policyholder_id for one in people if one.contact_point_id is None}),
        content_sha256=alert_noun.content_sha256(alert, people),
        approvals_needed=1,  # the author is the other of the two
        held=None,
        drafted_by=principal_id,
    )
    await repository.supersede(conn, warning_id, alert.version, released=False)
    drafted = (await repository.lock_warning(conn, warning_id))[-1]
    await _record(conn, drafted, Reason.ISSUED_IN_ERROR, now, {"why": why, "by": str(principal_id)})
    await _audit(conn, drafted, person, "warning.draft_cancel", now, {"why": why})
    await _changed(conn, drafted)
    return alert.version


async def _cancel_alert(
    conn: AsyncConnection, last: Alert, out: list[StoredWarning], version: int, now: datetime
) -> Alert:
    stored = await repository.read_warning(conn, last.warning_id, last.version)
    tenant = stored.tenant_settings or {}
    named = tenant.get("language_reviewers")
    reviewers = {one: str(name) for one, name in named.items() if name} if isinstance(named, dict) else {}
    default = language_with_texts(str(tenant.get("language") or "en"), "en", reviewers)[0]
    facts = Facts(
        message=Message.CANCEL,
        level=last.level,
        event=last.event,
        quantity="level",
        value=None,
        threshold=None,
        reading_at=None,
        issued_at=last.sent_at,
        expires_at=last.expires_at,
        silent=False,
        timezone=str(tenant.get("timezone") or "UTC"),
        place=last.area_desc,
        area=last.area_desc,
        source={default: stored.tenant_name or "?"},
        exercise=last.exercise,
    )
    return replace(
        last,
        version=version,
        msg_type="Cancel",
        level=Level.NONE,
        all_clear=False,
        reason=Reason.ISSUED_IN_ERROR.value,
        identifier=f"tocsin.{last.warning_id}.{version}",
        sent_at=now,
        onset_at=None,
        expires_at=max(last.expires_at, now + (last.expires_at - last.sent_at)),
        texts=render_all(facts, default, reviewers),
        references=tuple(reference(one.alert.sender, one.alert.identifier, one.alert.sent_at) for one in out),
    )


# ---------------------------------------------------------------- stop and go on

Scope = Literal["all", "tenant", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Whether sending is stopped in a scope."""

    scope: str
    paused: bool
    paused_at: datetime | None = None
    resume_asked_by: UUID | None = None

    @property
    def needs_second_person(self) -> bool:
        return self.paused and self.resume_asked_by is not None


def scope_name(scope: Scope, *, tenant_id: UUID | None = None, warning_id: UUID | None = None) -> str:
    """How `sending_pause.scope` spells it; raises InvalidInput."""
    if scope == "all":
        return "all"
    if scope == "tenant" and tenant_id is not None:
        return f"tenant:{tenant_id}"
    if scope == "warning" and warning_id is not None:
        return f"warning:{warning_id}"
    raise InvalidInput("A stop is of everything, of a tenant, or of a warning.", scope=scope)


async def _sender_person(
    conn: AsyncConnection, principal_id: UUID, scope: Scope, tenant_id: UUID, warning_id: UUID | None
) -> tuple[dict[str, Any], str, UUID | None]:
    # Only the operator's people stop or resume everybody's sending.
    person = await _person(conn, principal_id, tenant_id, OPERATOR if scope == "all" else APPROVER)
    if scope == "warning":
        assert warning_id is not None
        chain = await repository.lock_warning(conn, warning_id)
        if not chain or chain[0].alert.tenant_id != tenant_id:
            raise NotFound("There is no such warning.", warning_id=str(warning_id))
    name = scope_name(scope, tenant_id=tenant_id, warning_id=warning_id)
    return person, name, None if scope == "all" else tenant_id


async def pause(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    tenant_id: UUID,
    scope: Scope,
    warning_id: UUID | None = None,
    now: datetime,
) -> Pause:
    """Stops sending; one person is enough, and what is not yet handed over stays here.

    Raises NotAnApprover, NotFound.
    """
    person, name, owner = await _sender_person(conn, principal_id, scope, tenant_id, warning_id)
    row = await repository.add_pause(conn, name, owner, principal_id, now)
    await _audit_sending(conn, tenant_id, person, "sending.pause", name, now)
    return Pause(scope=name, paused=True, paused_at=row["paused_at"])


async def resume(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    tenant_id: UUID,
    scope: Scope,
    warning_id: UUID | None = None,
    now: datetime,
) -> Pause:
    """Asks to send again; it takes a second person who asks too.

    Raises NotAnApprover, NotFound when nothing is stopped.
    """
    person, name, _ = await _sender_person(conn, principal_id, scope, tenant_id, warning_id)
    standing = await repository.lock_pause(conn, name)
    if standing is None:
        raise NotFound("Sending is not stopped here.", scope=name)
    asked = standing["resume_asked_by"]
    if asked is None or asked == principal_id:
        if asked is None:
            await repository.ask_resume(conn, name, principal_id)
            await _audit_sending(conn, tenant_id, person, "sending.ask_resume", name, now)
        return Pause(scope=name, paused=True, paused_at=standing["paused_at"], resume_asked_by=principal_id)
    await repository.end_pause(conn, name)
    await _audit_sending(conn, tenant_id, person, "sending.resume", name, now)
    return Pause(scope=name, paused=False)


# ---------------------------------------------------------------- what is kept of it


async def _record(
    conn: AsyncConnection, warning: StoredWarning, reason: Reason, now: datetime, detail: dict[str, Any] | None = None
) -> None:
    alert = warning.alert
    if alert.rule_id is None:
        return
    decision = Decision(
        reason=reason, at=now, before=alert.level, after=alert.level, detail=detail or {}, operator=False
    )
    await rule_repository.save_decision(
        conn,
        tenant_id=alert.tenant_id,
        rule_id=alert.rule_id,
        decision=decision,
        warning_id=alert.warning_id,
        version=alert.version,
    )


async def _changed(conn: AsyncConnection, warning: StoredWarning) -> None:
    alert = warning.alert
    await outbox.publish(
        conn,
        WarningChanged(warning_id=alert.warning_id, version=alert.version),
        ordering_key=f"warning:{alert.warning_id}",
        tenant_id=alert.tenant_id,
    )


async def _audit(
    conn: AsyncConnection,
    warning: StoredWarning,
    person: dict[str, Any],
    action: str,
    now: datetime,
    detail: dict[str, Any],
) -> None:
    alert = warning.alert
    await audit.append(
        conn,
        alert.tenant_id,
        f"principal:{person['principal_id']}",
        action,
        f"warning:{alert.warning_id}:{alert.version}",
        detail,
        at=now,
    )


async def _audit_sending(
    conn: AsyncConnection, tenant_id: UUID, person: dict[str, Any], action: str, scope: str, now: datetime
) -> None:
    await audit.append(conn, tenant_id, f"principal:{person['principal_id']}", action, f"sending:{scope}", at=now)
