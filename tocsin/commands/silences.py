"""Commands of silences: what is not said for a while, by whose word."""

import json
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from core.errors import InvalidInput

if TYPE_CHECKING:
    from store.pool import AsyncConnection

_Tenant = Annotated[str, typer.Option(help="Whose: the tenant's slug.")]
_By = Annotated[str, typer.Option(help="Who does it: a login with the role approver or operator.")]
_Id = Annotated[UUID, typer.Argument(help="The silence's id, as `list` shows it.")]


def register(app: typer.Typer) -> None:
    """Adds these commands to `tocsin`."""
    from tocsin.commands.groups import group
    from tocsin.commands.rules import as_person

    silences = group(app, "silences")

    @silences.command("list")
    def list_silences(
        tenant: _Tenant,
        everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
    ) -> None:
        """Silences that stand or are to come, with author, reason and end."""
        from alerts import event_repository

        async def read(conn: "AsyncConnection", _tenant: UUID, _person: None, now: datetime) -> Any:
            return await event_repository.list_silences(conn, tenant, now, everything=everything)

        rows = as_person(read, tenant=tenant, login=None)
        if as_json:
            print(json.dumps(rows, ensure_ascii=False, default=_plain))
            return
        for row in rows:
            what = row["rule_code"] or f"every rule of {row['peril']}"
            second = f" and {row['second_login']}" if row["second_login"] else ""
            alone = "  (orange at most until a second person agrees)" if row["up_to"] == "red" and not second else ""
            over = f"  ended {row['ended_at'].isoformat()}" if row["ended_at"] else ""
            print(
                f"{row['silence_id']}  {what}  up to {row['up_to']}  until {row['ends_at'].isoformat()}"
                f"  by {row['author_login']}{second}: {row['reason']}{alone}{over}"
            )

    @silences.command("add")
    def add(
        tenant: _Tenant,
        by: _By,
        reason: Annotated[str, typer.Option(help="Why nothing is said; it is kept with all that is held back.")],
        hours: Annotated[float, typer.Option(help="For how long, from now; 168 at most.")],
        rule: Annotated[str | None, typer.Option(help="This rule alone, by code.")] = None,
        peril: Annotated[str | None, typer.Option(help="Every rule of this hazard.")] = None,
        up_to: Annotated[str, typer.Option(help="The highest level held back; red needs a second person.")] = "yellow",
    ) -> None:
        """Keeps a rule, or all of a hazard, from being said for a while."""
        from alerts import silences as verb
        from alerts.level import level

        if not 0 < hours <= 168:
            raise InvalidInput(f"--hours: must be above 0 and at most 168: {hours}")

        async def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Any:
            return await verb.make(
                conn,
                principal_id=person,
                tenant_id=tenant_id,
                rule_code=rule,
                peril=peril,
                up_to=level(up_to),
                ends_at=now + timedelta(hours=hours),
                reason=reason,
                now=now,
            )

        made = as_person(act, tenant=tenant, login=by)
        print(made.silence_id)
        if made.up_to is not made.ceiling:
            print(
                f"It reaches {made.ceiling.word} until a second person agrees: tocsin silences agree", file=sys.stderr
            )

    @silences.command("agree")
    def agree(silence: _Id, tenant: _Tenant, by: _By) -> None:
        """The second person agrees to a silence of red."""
        from alerts import silences as verb

        async def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Any:
            return await verb.agree(conn, principal_id=person, tenant_id=tenant_id, silence_id=silence, now=now)

        print(f"{silence}  up to {as_person(act, tenant=tenant, login=by).ceiling.word}")

    @silences.command("end")
    def end(silence: _Id, tenant: _Tenant, by: _By) -> None:
        """Ends a silence before its time; what still stands is said."""
        from alerts import silences as verb

        async def act(conn: "AsyncConnection", tenant_id: UUID, person: UUID, now: datetime) -> Any:
            return await verb.end(conn, principal_id=person, tenant_id=tenant_id, silence_id=silence, now=now)

        print(f"{silence}  ended {as_person(act, tenant=tenant, login=by).until.isoformat()}")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
