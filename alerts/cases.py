"""Calls for help as work: who first, who has it, was the person reached, who took over."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from alerts import answer_repository, delivery_repository, repository
from core.errors import Conflict, InvalidInput, NotFound
from core.events import AnswerGiven
from store import audit, outbox
from store.pool import AsyncConnection
from store.queries import Row

Act = Literal["assign", "contact", "hand_over", "close"]

_NEED = {"trapped": 40, "injured": 35, "medical": 20, "transport": 10}
_LEVEL = {"red": 30, "orange": 20, "yellow": 10, "blue": 5}
_ROUTE = {"cut-off": 25, "through-hazard": 15, "shelter-in-place": 10, "off-network": 10, "no-seat": 5}


class CaseClosed(Conflict):
    """This case is closed."""


def priority(row: Mapping[str, Any]) -> int:
    """How urgent a call is: what is needed, how bad it is there, whether a way out is left, how many, who needs help.

    A sum of points, so that each part can be read off; 0 to about 120. Somebody who said "safe" afterwards comes last.
    """
    if row.get("safe_since"):
        return 0
    detail = row.get("detail") or {}
    people = detail.get("people")
    n = people if isinstance(people, int) and not isinstance(people, bool) else 1
    return (
        _NEED.get(str(detail.get("need")), 15)
        + _LEVEL.get(str(row.get("level")), 0)
        + _ROUTE.get(str(row.get("route_status")), 0)
        + min(max(n - 1, 0), 10)
        + (15 if row.get("needs") else 0)
    )


def ordered(rows: list[Row]) -> list[Row]:
    """Cases with their priority: those not closed first, the most urgent first, then who has waited longest."""
    found = [{**row, "priority": priority(row)} for row in rows]
    return sorted(
        found,
        key=lambda one: (
            one["state"] == "closed",
            one["state"] == "handed_over",
            -one["priority"],
            one["answered_at"],
            str(one["answer_id"]),
        ),
    )


async def cases(conn: AsyncConnection) -> list[Row]:
    """The work list."""
    return ordered(await answer_repository.help_cases(conn))


async def act(
    conn: AsyncConnection,
    *,
    answer_id: UUID,
    principal_id: UUID,
    what: str,
    handed_to: str | None = None,
    note: str = "",
    now: datetime,
) -> Row:
    """Takes, marks as reached, hands over to responders, or closes a case; gives it as it stands.

    Whoever acts first has it. Raises NotFound, CaseClosed, and InvalidInput naming what is missing.
    """
    if what not in get_args(Act):
        raise InvalidInput(f"act: {what!r} is none of {', '.join(get_args(Act))}")
    if what == "hand_over" and not (handed_to or "").strip():
        raise InvalidInput("handed_to: say who took over")
    found = await answer_repository.help_cases(conn, answer_id)
    person = await repository.read_principal(conn, principal_id)
    if not found or person is None:
        raise NotFound("There is no such call for help.", answer_id=str(answer_id))
    await answer_repository.open_case(conn, answer_id, person["tenant_id"])
    standing = await answer_repository.lock_case(conn, answer_id)
    if standing is None:
        raise NotFound("There is no such call for help.", answer_id=str(answer_id))
    if standing["state"] == "closed":
        raise CaseClosed(answer_id=str(answer_id))
    state = {"assign": "assigned", "contact": "contacted", "hand_over": "handed_over", "close": "closed"}[what]
    takes = what == "assign" or standing["assigned_to"] is None
    if what == "assign" and standing["state"] in ("contacted", "handed_over"):
        state = standing["state"]  # another person takes it over; what was reached stays
    await answer_repository.move_case(
        conn,
        answer_id=answer_id,
        state=state,
        assigned_to=principal_id if takes else None,
        handed_to=handed_to.strip() if what == "hand_over" and handed_to else None,
        note=note.strip(),
        at=now,
    )
    if state == "closed":
        await delivery_repository.handle_answer(conn, answer_id, principal_id, now)
    await audit.append(
        conn,
        person["tenant_id"],
        f"principal:{principal_id}",
        f"case.{what}",
        f"answer:{answer_id}",
        {"handed_to": handed_to} if handed_to else {},
        at=now,
    )
    await outbox.publish(
        conn, AnswerGiven(answer_id=answer_id), ordering_key=f"answer:{answer_id}", tenant_id=person["tenant_id"]
    )
    return ordered(await answer_repository.help_cases(conn, answer_id))[0]
