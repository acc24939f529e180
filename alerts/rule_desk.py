"""People's part in rules: try one on the last days, propose it, agree to it, retire it; and a tenant's table of levels.

A rule that would release by itself is in force only once a second person has agreed to exactly its content (the hash
of the rule as it was written); any other is in force at once. Every act is audited in the same transaction.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import shapely
from shapely.geometry.base import BaseGeometry

from alerts import repository, rule_repository
from alerts.audience import area_of, inside
from alerts.dry_run import DryRun, Rehearsal, dry_run
from alerts.rulebook import BadRuleFile, RuleEntry, Site, Sites, read_json, written
from alerts.scheme import LevelScheme, read_scheme, scheme_json
from core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from core.ids import new_id
from store import audit
from store.pool import AsyncConnection

#: Who may write rules, and who may agree to one that releases by itself.
WRITERS = ("approver", "operator")
AGREES = ("approver",)


class MayNotWriteRules(NotPermitted):
    """Your role does not allow this with rules."""


class OwnProposal(NotPermitted):
    """Nobody agrees to the rule that they proposed."""


class NotProposed(Conflict):
    """This proposal was decided already."""


class ContentChanged(Conflict):
    """The rule is not the one that was read: reload it and decide again."""


class NeedsProposer(InvalidInput):
    """A rule that would release by itself needs somebody who proposes it, and somebody else who agrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a rule that somebody wrote."""

    code: str
    state: str  #: in_force, or proposed: it waits for a second person
    version: int | None
    effective_from: datetime | None
    proposal_id: UUID | None = None
    content_sha256: str | None = None
    dry_run: Mapping[str, Any] | None = None


def rule_sha256(told: Mapping[str, Any]) -> bytes:
    """SHA-256 of a rule as it was written: canonical JSON."""
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).digest()


async def _person(conn: AsyncConnection, principal_id: UUID, tenant_id: UUID, roles: tuple[str, ...]) -> dict[str, Any]:
    person = await repository.read_principal(conn, principal_id)
    if person is None or person["disabled_at"] is not None or person["tenant_id"] != tenant_id:
        raise MayNotWriteRules
    if not set(roles) & set(person["roles"]):
        raise MayNotWriteRules(f"Only an account with the role {' or '.join(roles)} may do this.")
    return person


async def entry_of(conn: AsyncConnection, tenant_id: UUID, told: Mapping[str, Any], now: datetime) -> RuleEntry:
    """A rule as a person wrote it, checked; raises BadRuleFile naming the field."""
    sites = Sites([Site(**row) for row in await rule_repository.rule_sites(conn, tenant_id)])
    scheme = await scheme_of(conn, tenant_id, now)
    text = json.dumps({"rules": [dict(told)]}, default=str)
    (entry,) = read_json(text, tenant_id=tenant_id, sites=sites, name="rule", stages=scheme.stages)
    if entry.effective_from is not None and entry.effective_from < now:
        raise BadRuleFile(f"rule: effective_from is past: {entry.effective_from.isoformat()}")
    return entry


async def try_out(
    conn: AsyncConnection, *, tenant_id: UUID, told: Mapping[str, Any], days: float, now: datetime
) -> dict[str, Any]:
    """What a rule would have said of the last days, beside the one that stands; nothing is kept.

    A rule without a gauge is tried on the footprints with their assessments, or the bulletins, of these days.
    """
    if not 0 < days <= 90:
        raise InvalidInput(f"days: must be above 0 and at most 90: {days}")
    entry = await entry_of(conn, tenant_id, told, now)
    (run,) = await dry_run(conn, [entry], now=now, days=days)
    return _shown(run, days, now) | {"n_people": await people_of(conn, tenant_id, entry.area)}


async def people_of(conn: AsyncConnection, tenant_id: UUID, area: BaseGeometry | None) -> int | None:
    """How many people stand in a rule's area today; None where it has none: then nobody can be warned."""
    if area is None:
        return None
    near = await repository.people_in_box(conn, tenant_id, area)
    return int(inside(area, near.lon, near.lat).sum()) if near.ids else 0


async def versions(conn: AsyncConnection, *, tenant_id: UUID, rule_id: UUID, now: datetime) -> list[dict[str, Any]]:
    """Every version of a rule, newest first, each with the rule as a file has it (`told`). Raises NotFound."""
    rows = await rule_repository.rule_versions(conn, tenant_id, rule_id, now)
    if not rows:
        raise NotFound("There is no such rule.", rule_id=str(rule_id))
    return [row | {"told": _told(row)} for row in rows]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"code": row["code"], **row["definition"]}
    if row["station"] is not None:
        told["station"] = row["station"]
        told["area_desc"] = row["area_desc"]
        area, _ = area_of(row["area"])
        if area is not None:
            told["area"] = json.loads(shapely.to_geojson(area))
    return told


def _shown(run: DryRun, days: float, now: datetime) -> dict[str, Any]:
    def story(one: Rehearsal | None) -> dict[str, Any] | None:
        if one is None:
            return None
        return asdict(one) | {"first_at": one.first_at.isoformat() if one.first_at else None}

    return {
        "rehearsed": True,
        "days": days,
        "until": now.isoformat(),
        "n_readings": run.n_readings,
        "new": story(run.new),
        "standing": story(run.standing),
    }


async def keep(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    tenant_id: UUID,
    told: Mapping[str, Any],
    days: float = 7.0,
    now: datetime,
) -> Kept:
    """Keeps a rule as a new version; one that would release by itself as a proposal that waits for another person.

    It is tried on the last `days` first, and the outcome stands with it. Raises MayNotWriteRules, BadRuleFile.
    """
    person = await _person(conn, principal_id, tenant_id, WRITERS)
    entry = await entry_of(conn, tenant_id, told, now)
    rehearsed = await try_out(conn, tenant_id=tenant_id, told=told, days=days, now=now)
    if entry.rule.automatic:
        return await _propose(conn, person, entry, told, rehearsed, now)
    starts = entry.effective_from or now
    version = await _save(conn, entry, starts)
    await _audit(conn, tenant_id, person, "rule.keep", entry.rule.code, now, {"version": version})
    return Kept(code=entry.rule.code, state="in_force", version=version, effective_from=starts, dry_run=rehearsed)


async def _propose(
    conn: AsyncConnection,
    person: Mapping[str, Any],
    entry: RuleEntry,
    told: Mapping[str, Any],
    rehearsed: Mapping[str, Any] | None,
    now: datetime,
) -> Kept:
    digest, proposal_id, tenant_id = rule_sha256(told), new_id(), entry.rule.tenant_id
    await rule_repository.add_proposal(
        conn,
        proposal_id=proposal_id,
        tenant_id=tenant_id,
        code=entry.rule.code,
        told=told,
        content_sha256=digest,
        effective_from=entry.effective_from,
        dry_run=rehearsed,
        proposed_by=person["principal_id"],
        proposed_at=now,
    )
    await _audit(conn, tenant_id, person, "rule.propose", entry.rule.code, now, {"sha256": digest.hex()})
    return Kept(
        code=entry.rule.code,
        state="proposed",
        version=None,
        effective_from=entry.effective_from,
        proposal_id=proposal_id,
        content_sha256=digest.hex(),
        dry_run=rehearsed,
    )


async def bring_in(conn: AsyncConnection, entry: RuleEntry, *, principal_id: UUID | None, now: datetime) -> Kept:
    """Keeps a rule of a file; one that would release by itself waits for a second person, as through the API.

    What stands already, or waits already, is left as it is. Raises MayNotWriteRules, NeedsProposer, BadRuleFile.
    """
    rule, starts = entry.rule, entry.effective_from or now
    if starts < now:
        raise BadRuleFile(f"effective_from of {rule.code!r} is past: {starts.isoformat()}")
    if not rule.automatic:
        return Kept(code=rule.code, state="in_force", version=await _save(conn, entry, starts), effective_from=starts)
    before = await rule_repository.rule_by_code(conn, rule.tenant_id, rule.code)
    if before is not None and (before["effective_to"] is None or before["effective_to"] > now):
        async with conn.transaction(force_rollback=True):
            version = await _save(conn, entry, starts)
        if version == before["version"]:
            return Kept(code=rule.code, state="in_force", version=version, effective_from=before["effective_from"])
    if principal_id is None:
        raise NeedsProposer(
            f"The rule {rule.code!r} would release by itself: say who proposes it (--by LOGIN); it is in force once "
            "another approver agrees.",
            code=rule.code,
        )
    person = await _person(conn, principal_id, rule.tenant_id, WRITERS)
    told = written(entry)
    digest = rule_sha256(told)
    for row in await rule_repository.list_proposals(conn, rule.tenant_id):
        if row["code"] == rule.code and bytes.fromhex(row["content_sha256"]) == digest:
            return Kept(
                code=rule.code,
                state="proposed",
                version=None,
                effective_from=row["effective_from"],
                proposal_id=row["proposal_id"],
                content_sha256=digest.hex(),
            )
    return await _propose(conn, person, entry, told, None, now)


async def _save(conn: AsyncConnection, entry: RuleEntry, starts: datetime) -> int:
    return await rule_repository.save_rule(
        conn, entry.rule, area=entry.area, area_desc=entry.area_desc, effective_from=starts
    )


async def decide(
    conn: AsyncConnection,
    *,
    principal_id: UUID,
    tenant_id: UUID,
    proposal_id: UUID,
    approve: bool,
    content_sha256: bytes | None = None,
    why: str = "",
    now: datetime,
) -> Kept:
    """Another person agrees to exactly this rule, which is then in force, or rejects it with a reason.

    Raises NotFound, MayNotWriteRules, OwnProposal, NotProposed, ContentChanged.
    """
    row = await rule_repository.lock_proposal(conn, proposal_id)
    if row is None or row["tenant_id"] != tenant_id:
        raise NotFound("There is no such proposal.", proposal_id=str(proposal_id))
    person = await _person(conn, principal_id, tenant_id, AGREES)
    if row["state"] != "proposed":
        raise NotProposed(state=row["state"])
    version, starts = None, row["effective_from"]
    if approve:
        if row["proposed_by"] == principal_id:
            raise OwnProposal
        digest = bytes(row["content_sha256"])
        if content_sha256 != digest or rule_sha256(row["told"]) != digest:
            raise ContentChanged
        told = {key: value for key, value in row["told"].items() if key != "effective_from"}
        entry = await entry_of(conn, tenant_id, told, now)
        starts = max(row["effective_from"] or now, now)
        version = await _save(conn, entry, starts)
    elif not why.strip():
        raise InvalidInput("why: say why the rule is rejected")
    state = "approved" if approve else "rejected"
    await rule_repository.decide_proposal(
        conn, proposal_id, state=state, by=principal_id, at=now, why=why, version=version
    )
    await _audit(conn, tenant_id, person, f"rule.{state}", row["code"], now, {"version": version, "why": why})
    return Kept(
        code=row["code"],
        state="in_force" if approve else "rejected",
        version=version,
        effective_from=starts,
        proposal_id=proposal_id,
        content_sha256=bytes(row["content_sha256"]).hex(),
    )


async def retire(
    conn: AsyncConnection, *, principal_id: UUID, tenant_id: UUID, code: str, why: str, now: datetime
) -> int:
    """The rule judges nothing new from now on; a warning that it opened stays until it ends. Gives its last version.

    Raises NotFound, MayNotWriteRules, Conflict when it is retired already.
    """
    if not why.strip():
        raise InvalidInput("why: say why the rule is retired")
    person = await _person(conn, principal_id, tenant_id, WRITERS)
    row = await rule_repository.rule_by_code(conn, tenant_id, code)
    if row is None:
        raise NotFound("There is no such rule.", code=code)
    if row["effective_to"] is not None and row["effective_to"] <= now:
        raise Conflict("This rule is retired already.", code=code)
    await rule_repository.withdraw_rule(conn, row["rule_id"], now)
    await _audit(conn, tenant_id, person, "rule.retire", code, now, {"why": why, "version": row["version"]})
    return int(row["version"])


async def scheme_of(conn: AsyncConnection, tenant_id: UUID, now: datetime) -> LevelScheme:
    """The tenant's table of levels as it stands."""
    row = await rule_repository.newest_scheme(conn, tenant_id, now)
    return read_scheme(row["told"], row["version"]) if row is not None else LevelScheme()


async def set_scheme(
    conn: AsyncConnection, *, principal_id: UUID, tenant_id: UUID, told: Mapping[str, Any], now: datetime
) -> LevelScheme:
    """Keeps a new version of the tenant's table of levels. Raises MayNotWriteRules, BadScheme."""
    person = await _person(conn, principal_id, tenant_id, WRITERS)
    checked = read_scheme(told)
    version = await rule_repository.add_scheme(conn, tenant_id, told, effective_from=now, set_by=principal_id)
    await _audit(conn, tenant_id, person, "levels.set", f"version {version}", now, scheme_json(checked))
    return read_scheme(told, version)


async def _audit(
    conn: AsyncConnection,
    tenant_id: UUID,
    person: Mapping[str, Any],
    action: str,
    what: str,
    now: datetime,
    detail: dict[str, Any],
) -> None:
    await audit.append(conn, tenant_id, f"principal:{person['principal_id']}", action, f"rule:{what}", detail, at=now)
