"""Commands of rules: bring them in from a file, list them, and try them on the last days before they go live."""

import json
import sys
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from core.errors import InvalidInput
from tocsin.commands.options import moment

if TYPE_CHECKING:
    from alerts.rulebook import RuleEntry
    from store.pool import AsyncConnection


class BadRuleCommand(InvalidInput):
    """The rules cannot be handled as asked."""


_File = Annotated[
    Path, typer.Argument(help="JSON rule file, or a station list (CSV: station_name, alert_m, minor_flood_m, ...).")
]
_Tenant = Annotated[str, typer.Option(help="Whose rules: the tenant's slug.")]
_Radius = Annotated[
    float | None, typer.Option(help="Station list: the area warned is this far around each station, km.")
]
_Within = Annotated[
    float, typer.Option(help="Station list: warn of levels forecast within these hours; 0: measured only.")
]
_CostLoss = Annotated[
    float | None, typer.Option(help="Station list: chance at which warning pays; without it the model's own trigger.")
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


async def _entries(
    conn: "AsyncConnection", file: Path, tenant: str, radius_km: float | None, within_h: float, cost_loss: float | None
) -> "list[RuleEntry]":
    from alerts import repository, rule_repository
    from alerts.rule_desk import scheme_of
    from alerts.rulebook import Site, Sites, read_json, read_stations
    from store.clock import read_clock

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRuleCommand(f"{file}: {error}") from error
    found = await repository.tenant_by_slug(conn, tenant)
    sites = Sites([Site(**row) for row in await rule_repository.rule_sites(conn, found["tenant_id"])])
    if file.suffix.lower() == ".csv":
        more: dict[str, Any] = {"hysteresis": 0.2, "cost_loss": cost_loss}
        if within_h:
            more["forecast_within"] = timedelta(hours=within_h)
        return read_stations(
            text, tenant_id=found["tenant_id"], sites=sites, name=file.name, radius_km=radius_km, **more
        )
    now = (await read_clock(conn)).now()
    scheme = await scheme_of(conn, found["tenant_id"], now)
    return read_json(text, tenant_id=found["tenant_id"], sites=sites, name=file.name, stages=scheme.stages)


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
    from tocsin.commands.groups import group

    rules = group(app, "rules")

    @rules.command("import")
    def import_rules(
        file: _File,
        tenant: _Tenant,
        radius_km: _Radius = None,
        forecast_within_h: _Within = 6.0,
        cost_loss: _CostLoss = None,
        by: Annotated[
            str | None,
            typer.Option(help="Who proposes rules that release by themselves: a login; another one has to agree."),
        ] = None,
        as_json: _Json = False,
    ) -> None:
        """Brings rules in, each as a new version where it says something new; all of the file, or nothing.

        A rule that releases by itself is a proposal until a second person agrees (`tocsin rules agree`).
        """
        import asyncio

        from alerts import rule_desk
        from core.settings import load_settings
        from store.clock import read_clock
        from tocsin.database import command_connection

        async def work() -> list[dict[str, Any]]:
            say = lambda text: print(text, file=sys.stderr)  # noqa: E731
            async with command_connection(load_settings(), None, say=say) as conn, conn.transaction():
                now = (await read_clock(conn)).now()
                entries = await _entries(conn, file, tenant, radius_km, forecast_within_h, cost_loss)
                done = []
                proposer = await _account(conn, tenant, by) if by is not None else None
                for entry in entries:
                    kept = await rule_desk.bring_in(conn, entry, principal_id=proposer, now=now)
                    done.append(
                        {
                            "code": kept.code,
                            "station": entry.site.code if entry.site is not None else None,
                            "state": kept.state,
                            "version": kept.version,
                            "effective_from": kept.effective_from.isoformat() if kept.effective_from else None,
                            "warns_nobody": entry.area is None and entry.site is not None,
                            "proposal_id": str(kept.proposal_id) if kept.proposal_id else None,
                        }
                    )
                return done

        rows = asyncio.run(work())
        if as_json:
            print(json.dumps(rows, ensure_ascii=False))
            return
        for row in rows:
            nobody = "  no area: every draft is held" if row["warns_nobody"] else ""
            where = row["station"] or "any event"
            if row["state"] == "proposed":
                print(f"{row['code']}  proposed  {where}  waits for another approver: {row['proposal_id']}{nobody}")
            else:
                print(f"{row['code']}  version {row['version']}  {where}  from {row['effective_from']}{nobody}")

    @rules.command("agree")
    def agree(
        proposal: Annotated[str, typer.Argument(help="The proposal's id, as import and the API give it.")],
        tenant: _Tenant,
        by: Annotated[str, typer.Option(help="Who agrees: a login with the role approver, not who proposed it.")],
    ) -> None:
        """Agrees to a proposed rule that releases by itself; it is then in force."""
        from alerts import rule_desk, rule_repository

        try:
            proposal_id = UUID(proposal)
        except ValueError:
            raise BadRuleCommand(f"{proposal!r} is not an id") from None

        async def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Any:
            row = await rule_repository.lock_proposal(conn, proposal_id)
            return await rule_desk.decide(
                conn, principal_id=person, tenant_id=tenant_id, proposal_id=proposal_id, approve=True,
                content_sha256=bytes(row["content_sha256"]) if row is not None else None, now=now,
            )  # fmt: skip

        kept = as_person(act, tenant=tenant, login=by)
        print(f"{kept.code}  version {kept.version}  from {kept.effective_from.isoformat()}")

    @rules.command("list")
    def list_rules(
        tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
        all_versions: Annotated[bool, typer.Option("--all", help="Every version, not only those in force.")] = False,
        as_json: _Json = False,
    ) -> None:
        """Rules in force or to come, with where each stands."""
        import asyncio

        from alerts import repository, rule_repository
        from core.settings import load_settings
        from store.clock import read_clock
        from tocsin.database import command_connection

        async def work() -> list[dict[str, Any]]:
            say = lambda text: print(text, file=sys.stderr)  # noqa: E731
            async with command_connection(load_settings(), None, say=say) as conn:
                now = (await read_clock(conn)).now()
                if tenant is not None:
                    await repository.tenant_by_slug(conn, tenant)  # a name that is not there is no empty list
                return await rule_repository.list_rules(conn, tenant, now, all_versions=all_versions)

        rows = asyncio.run(work())
        if as_json:
            print(
                json.dumps(
                    rows, ensure_ascii=False, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v)
                )
            )
            return
        for row in rows:
            bars = row["definition"].get("thresholds", {})
            levels = "  ".join(f"{name} {value:g}" for name, value in bars.items()) or row["kind"]
            stands = f"{row['phase'] or 'ended'}" + (f" ({row['level']})" if row["level"] not in (None, "none") else "")
            print(f"{row['tenant']}  {row['code']}  v{row['version']}  {row['station'] or '-'}  {levels}  {stands}")

    @rules.command("dry-run")
    def dry_run(
        file: _File,
        tenant: _Tenant,
        days: Annotated[float, typer.Option(help="How many of the last days to play.")] = 7.0,
        until: Annotated[str | None, typer.Option(help="The instant to play up to, ISO 8601 with offset; now.")] = None,
        radius_km: _Radius = None,
        forecast_within_h: _Within = 6.0,
        cost_loss: _CostLoss = None,
        as_json: _Json = False,
    ) -> None:
        """What these rules would have said of the last days, beside those that stand; nothing is kept or sent."""
        import asyncio

        from alerts.dry_run import DryRun
        from alerts.dry_run import dry_run as verb
        from core.settings import load_settings
        from store.clock import read_clock
        from tocsin.database import command_connection

        if not 0 < days <= 90:
            raise BadRuleCommand(f"--days: must be above 0 and at most 90: {days}")
        instant = moment("--until", until) if until is not None else None

        async def work() -> tuple[datetime, list[DryRun]]:
            say = lambda text: print(text, file=sys.stderr)  # noqa: E731
            async with command_connection(load_settings(), None, say=say) as conn:
                now = (instant or (await read_clock(conn)).now()).astimezone(UTC)
                entries = await _entries(conn, file, tenant, radius_km, forecast_within_h, cost_loss)
                return now, await verb(conn, entries, now=now, days=days)

        now, runs = asyncio.run(work())
        if as_json:
            print(json.dumps({"until": now.isoformat(), "days": days, "rules": [_shown(one) for one in runs]}))
            return
        for one in runs:
            what = "readings" if one.station else "footprints or bulletins"
            print(f"{one.code}  {one.station or 'any event'}  {one.n_readings} {what}  would say: {_line(one.new)}")
            if one.standing is not None:
                print(f"    as it stands: {_line(one.standing)}")

    @rules.command("retire")
    def retire(
        code: Annotated[str, typer.Argument(help="The rule's code.")],
        tenant: _Tenant,
        by: Annotated[str, typer.Option(help="Who retires it: a login with the role approver or operator.")],
        why: Annotated[str, typer.Option(help="Why; it is kept.")],
    ) -> None:
        """The rule judges nothing new from now on; a warning that it opened stays until it ends."""
        from alerts import rule_desk

        def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Awaitable[int]:
            return rule_desk.retire(conn, principal_id=person, tenant_id=tenant_id, code=code, why=why, now=now)

        print(f"{code}  retired at version {as_person(act, tenant=tenant, login=by)}")

    @rules.command("levels")
    def levels(
        tenant: _Tenant,
        set_file: Annotated[
            Path | None, typer.Option("--set", help="JSON: severity, stages, names; kept as a new version.")
        ] = None,
        by: Annotated[str | None, typer.Option(help="Who sets it: a login with the role approver or operator.")] = None,
    ) -> None:
        """What the tenant calls the levels, as JSON: CAP severity, local stages, names by language."""
        from alerts import rule_desk
        from alerts.scheme import scheme_json

        if set_file is None:

            async def read(conn: "AsyncConnection", tenant_id: UUID, _: UUID | None, now: datetime) -> Any:
                return await rule_desk.scheme_of(conn, tenant_id, now)

            scheme = as_person(read, tenant=tenant, login=None)
        else:
            if by is None:
                raise BadRuleCommand("--by: say who sets the table")
            try:
                told = json.loads(set_file.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError) as error:
                raise BadRuleCommand(f"{set_file}: {error}") from error
            if not isinstance(told, dict):
                raise BadRuleCommand(f"{set_file}: must be an object")

            async def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Any:
                return await rule_desk.set_scheme(conn, principal_id=person, tenant_id=tenant_id, told=told, now=now)

            scheme = as_person(act, tenant=tenant, login=by)
        print(json.dumps({"version": scheme.version, **scheme_json(scheme)}, ensure_ascii=False))


async def _account(conn: "AsyncConnection", tenant: str, login: str) -> UUID:
    """A tenant's account by its login; raises BadRuleCommand."""
    from alerts import repository, rule_repository

    row = await rule_repository.principal_by_login(conn, login)
    if row is None or row["tenant_id"] != (await repository.tenant_by_slug(conn, tenant))["tenant_id"]:
        raise BadRuleCommand(f"--by: {tenant} has no account {login!r}")
    account: UUID = row["principal_id"]
    return account


def as_person(act: Any, *, tenant: str, login: str | None) -> Any:
    """Does `act(conn, tenant_id, principal_id, now)` in one transaction, for a person named by login."""
    import asyncio

    from alerts import repository
    from core.settings import load_settings
    from store.clock import read_clock
    from tocsin.database import command_connection

    async def work() -> Any:
        say = lambda text: print(text, file=sys.stderr)  # noqa: E731
        async with command_connection(load_settings(), None, say=say) as conn, conn.transaction():
            tenant_id = (await repository.tenant_by_slug(conn, tenant))["tenant_id"]
            person = None
            if login is not None:
                person = await _account(conn, tenant, login)
            return await act(conn, tenant_id, person, (await read_clock(conn)).now())

    return asyncio.run(work())


def _shown(run: Any) -> dict[str, Any]:
    def story(one: Any) -> dict[str, Any] | None:
        if one is None:
            return None
        return {
            "n_warnings": one.n_warnings,
            "by_level": one.by_level,
            "n_false": one.n_false,
            "hours_warned": round(one.hours_warned, 2),
            "first_at": one.first_at.isoformat() if one.first_at else None,
            "reasons": one.reasons,
        }

    return {
        "code": run.code,
        "station": run.station,
        "n_readings": run.n_readings,
        "new": story(run.new),
        "standing": story(run.standing),
        "decisions": [
            {
                "at": one.at.isoformat(),
                "reason": one.reason.value,
                "before": one.before.word,
                "after": one.after.word,
                "says": one.message.value if one.message else None,
            }
            for one in run.decisions
        ],
    }


def _line(story: Any) -> str:
    levels = ", ".join(f"{n} {name}" for name, n in story.by_level.items()) or "nothing"
    n_false = "unknown" if story.n_false is None else story.n_false
    return f"{story.n_warnings} warnings ({levels}), {n_false} false, {story.hours_warned:.1f} h"
