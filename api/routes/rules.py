"""Rules of warning: reading, trying, proposing, agreeing, retiring; silences; the tenant's table of levels."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response

from alerts import event_repository, rule_desk, rule_repository, silences
from alerts import repository as alerts_repository
from alerts.level import level
from alerts.scheme import LevelScheme, scheme_json
from alerts.silence import Silence
from api import repository
from api.deps import Context, needs
from api.routing import noun
from api.schemas.responses import ACT, READ, READ_ONE
from api.schemas.rule import (
    LevelSchemeIn,
    LevelSchemeOut,
    ProposalAgreed,
    ProposalOut,
    RuleIn,
    RuleKept,
    RuleOut,
    RuleRetired,
    RuleTried,
    RuleVersion,
    SilenceIn,
    SilenceOut,
    Why,
)

router = noun("rules")

_Everything = Annotated[bool, Query(description="Also what is over.")]


@router.get("/rules", responses=READ)
async def rules(ctx: Annotated[Context, needs("read", "rule")], everything: _Everything = False) -> list[RuleOut]:
    """Rules in force or to come, newest version first, with where each stands."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        # the row-level policy leaves this tenant's alone
        rows = await rule_repository.list_rules(conn, None, now, all_versions=everything)
    return [RuleOut(**{name: row[name] for name in RuleOut.model_fields}) for row in rows]


@router.post("/rules/try", responses=ACT, response_model=RuleTried)
async def try_rule(body: RuleIn, ctx: Annotated[Context, needs("write", "rule")]) -> Response:
    """What a rule would have said of the last days, beside the one that stands; nothing is kept or sent."""

    async def act(conn: repository.Connection) -> RuleTried:
        now = await repository.now(conn)
        told = await rule_desk.try_out(conn, tenant_id=ctx.tenant_id, told=body.rule, days=body.days, now=now)
        return RuleTried(**told)

    return await ctx.once(act, as_system=True)


@router.post("/rules", responses=ACT, response_model=RuleKept)
async def keep_rule(body: RuleIn, ctx: Annotated[Context, needs("write", "rule")]) -> Response:
    """Keeps a rule as a new version; one that would release by itself waits for a second person."""

    async def act(conn: repository.Connection) -> RuleKept:
        kept = await rule_desk.keep(
            conn,
            principal_id=ctx.principal_id,
            tenant_id=ctx.tenant_id,
            told=body.rule,
            days=body.days,
            now=await repository.now(conn),
        )
        return RuleKept(**asdict(kept))

    return await ctx.once(act, as_system=True)


@router.get("/rules/{rule_id}/versions", responses=READ_ONE)
async def rule_versions(rule_id: UUID, ctx: Annotated[Context, needs("read", "rule")]) -> list[RuleVersion]:
    """Every version of one rule, newest first, each as a rule file has it."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await rule_desk.versions(conn, tenant_id=ctx.tenant_id, rule_id=rule_id, now=now)
    return [RuleVersion(**{name: row[name] for name in RuleVersion.model_fields}) for row in rows]


@router.post("/rules/{rule_id}/retire", responses=ACT, response_model=RuleRetired)
async def retire_rule(rule_id: UUID, body: Why, ctx: Annotated[Context, needs("write", "rule")]) -> Response:
    """The rule judges nothing new from now on; a warning that it opened stays until it ends."""

    async def act(conn: repository.Connection) -> RuleRetired:
        code = await rule_repository.code_of(conn, ctx.tenant_id, rule_id)
        version = await rule_desk.retire(
            conn,
            principal_id=ctx.principal_id,
            tenant_id=ctx.tenant_id,
            code=code,
            why=body.reason,
            now=await repository.now(conn),
        )
        return RuleRetired(code=code, version=version)

    return await ctx.once(act, as_system=True)


@router.get("/rules/proposals", responses=READ)
async def rule_proposals(
    ctx: Annotated[Context, needs("read", "rule")], everything: _Everything = False
) -> list[ProposalOut]:
    """Rules that wait for a second person, newest first."""
    async with ctx.transaction() as conn:
        rows = await rule_repository.list_proposals(conn, ctx.tenant_id, everything=everything)
    return [ProposalOut(**row) for row in rows]


@router.post("/rules/proposals/{proposal_id}/agree", responses=ACT, response_model=RuleKept)
async def agree_to_rule(
    proposal_id: UUID, body: ProposalAgreed, ctx: Annotated[Context, needs("agree", "rule")]
) -> Response:
    """Agrees to exactly the rule that was read, which is then in force; never by who proposed it."""
    return await _decide(ctx, proposal_id, approve=True, content_sha256=bytes.fromhex(body.content_sha256))


@router.post("/rules/proposals/{proposal_id}/reject", responses=ACT, response_model=RuleKept)
async def reject_rule(proposal_id: UUID, body: Why, ctx: Annotated[Context, needs("agree", "rule")]) -> Response:
    """Rejects a proposed rule, with the reason that is kept."""
    return await _decide(ctx, proposal_id, approve=False, why=body.reason)


async def _decide(ctx: Context, proposal_id: UUID, **given: Any) -> Response:
    async def act(conn: repository.Connection) -> RuleKept:
        kept = await rule_desk.decide(
            conn,
            principal_id=ctx.principal_id,
            tenant_id=ctx.tenant_id,
            proposal_id=proposal_id,
            now=await repository.now(conn),
            **given,
        )
        return RuleKept(**asdict(kept))

    return await ctx.once(act, as_system=True)


# ---------------------------------------------------------------- silences


_NAMES = tuple(
    name for name in SilenceOut.model_fields if name not in ("up_to", "ceiling", "author_login", "second_login")
)


def _silence(one: Silence, author: str, second: str | None) -> SilenceOut:
    told: dict[str, Any] = {name: getattr(one, name) for name in _NAMES}
    told |= {"up_to": one.up_to.word, "ceiling": one.ceiling.word}
    return SilenceOut(**told, author_login=author, second_login=second)


async def _acted(conn: repository.Connection, one: Silence) -> SilenceOut:
    """A silence that somebody just acted on, with the accounts that stand for it."""
    accounts = [await alerts_repository.read_principal(conn, who) if who else None for who in (one.author, one.second)]
    author, second = (str(account["login"]) if account else None for account in accounts)
    return _silence(one, author or "", second)


@router.get("/silences", responses=READ)
async def list_silences(
    ctx: Annotated[Context, needs("read", "silence")], everything: _Everything = False
) -> list[SilenceOut]:
    """What is kept from being said, by whose word and until when."""
    async with ctx.transaction() as conn:
        now = await repository.now(conn)
        rows = await event_repository.list_silences(conn, None, now, everything=everything)
    names = [name for name in Silence.__dataclass_fields__ if name != "up_to"]
    return [
        _silence(
            Silence(up_to=level(row["up_to"]), **{name: row[name] for name in names}),
            row["author_login"],
            row["second_login"],
        )
        for row in rows
    ]


@router.post("/silences", responses=ACT, response_model=SilenceOut)
async def make_silence(body: SilenceIn, ctx: Annotated[Context, needs("make", "silence")]) -> Response:
    """Keeps a rule or a hazard from being said for a while; one of red reaches orange until a second person agrees."""

    async def act(conn: repository.Connection) -> SilenceOut:
        made = await silences.make(
            conn,
            principal_id=ctx.principal_id,
            tenant_id=ctx.tenant_id,
            rule_code=body.rule_code,
            peril=body.peril,
            up_to=level(body.up_to),
            starts_at=body.starts_at,
            ends_at=body.ends_at,
            reason=body.reason,
            now=await repository.now(conn),
        )
        return await _acted(conn, made)

    return await ctx.once(act, as_system=True)


@router.post("/silences/{silence_id}/agree", responses=ACT, response_model=SilenceOut)
async def agree_to_silence(silence_id: UUID, ctx: Annotated[Context, needs("make", "silence")]) -> Response:
    """The second person agrees to a silence of red."""

    async def act(conn: repository.Connection) -> SilenceOut:
        now = await repository.now(conn)
        agreed = await silences.agree(
            conn, principal_id=ctx.principal_id, tenant_id=ctx.tenant_id, silence_id=silence_id, now=now
        )
        return await _acted(conn, agreed)

    return await ctx.once(act, as_system=True)


@router.post("/silences/{silence_id}/end", responses=ACT, response_model=SilenceOut)
async def end_silence(silence_id: UUID, ctx: Annotated[Context, needs("make", "silence")]) -> Response:
    """Ends a silence before its time; what still stands is said."""

    async def act(conn: repository.Connection) -> SilenceOut:
        now = await repository.now(conn)
        ended = await silences.end(
            conn, principal_id=ctx.principal_id, tenant_id=ctx.tenant_id, silence_id=silence_id, now=now
        )
        return await _acted(conn, ended)

    return await ctx.once(act, as_system=True)


# ---------------------------------------------------------------- levels


def _scheme(scheme: LevelScheme) -> LevelSchemeOut:
    return LevelSchemeOut(version=scheme.version, **scheme_json(scheme))


@router.get("/level-scheme", responses=READ)
async def level_scheme(ctx: Annotated[Context, needs("read", "rule")]) -> LevelSchemeOut:
    """What the tenant calls the four levels: CAP severity, local stages, names by language."""
    async with ctx.transaction() as conn:
        return _scheme(await rule_desk.scheme_of(conn, ctx.tenant_id, await repository.now(conn)))


@router.post("/level-scheme", responses=ACT, response_model=LevelSchemeOut)
async def set_level_scheme(body: LevelSchemeIn, ctx: Annotated[Context, needs("write", "rule")]) -> Response:
    """Keeps a new version of that table."""

    async def act(conn: repository.Connection) -> LevelSchemeOut:
        told = {name: value for name, value in body.model_dump().items() if value}
        return _scheme(
            await rule_desk.set_scheme(
                conn,
                principal_id=ctx.principal_id,
                tenant_id=ctx.tenant_id,
                told=told,
                now=await repository.now(conn),
            )
        )

    return await ctx.once(act, as_system=True)
