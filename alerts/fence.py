"""A restored or copied database never sends by itself.

What a backup holds as due was sent long ago. So the sender remembers which database it works on (cluster, timeline and
database: a restore, a copy or a failover changes them) in the database, and how far the database's log was (its LSN,
which only ever rises) in a file beside itself, which no restore of the database touches. Where either does not agree,
all sending is stopped, the epoch rises, and two people of the operator must say that it goes on.
"""

import contextlib
import json
import os
from datetime import datetime
from pathlib import Path
from uuid import UUID

from alerts import delivery_repository, notices
from core.log import get_logger
from store.pool import AsyncConnection

log = get_logger("fence")

#: Who stopped sending, where it was nobody: the fence.
NOBODY = UUID(int=0)
FILE = "sender.mark"


async def check(conn: AsyncConnection, home: Path, *, now: datetime, starting: bool = False) -> bool:
    """True where this is the database the sender knows; else sending is stopped, in the transaction of `conn`.

    A database that has sent nothing yet is taken as it is.
    """
    mark = _read(home)  # before the log's position: another sender may write a later one meanwhile
    seen = await delivery_repository.read_identity(conn)
    fence = await delivery_repository.read_fence(conn)
    why = None
    if fence is None:
        if starting and await delivery_repository.anything_sent(conn):
            why = "this database has sent before, and no sender has marked it"
    elif fence["identity"] != seen["identity"]:
        why = "this database is a copy, or was restored or promoted"
    elif mark is not None and mark[0] == seen["identity"] and seen["lsn"] < mark[1]:
        why = "this database is older than what the sender has seen"
    if why is not None:
        epoch = await delivery_repository.raise_epoch(conn)
        await delivery_repository.hold_everything(conn, NOBODY, now)
        await notices.tell(conn, None, "sending_held", f"epoch {epoch}", now=now, detail={"why": why})
        log.error("sending is stopped until two people of the operator resume it", why=why, epoch=epoch)
    if fence is None or why is not None:
        await delivery_repository.write_fence(conn, seen["identity"], now)
    if starting or why is not None or mark is None or seen["lsn"] > mark[1]:
        _write(home, seen["identity"], seen["lsn"])
    return why is None


def _read(home: Path) -> tuple[str, int] | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads((home / FILE).read_text(encoding="utf-8"))
        return str(told["identity"]), int(told["lsn"])
    return None


def _write(home: Path, identity: str, lsn: int) -> None:
    home.mkdir(parents=True, exist_ok=True)
    made = home / f"{FILE}.{os.getpid()}"
    made.write_text(json.dumps({"identity": identity, "lsn": lsn}), encoding="utf-8")
    made.replace(home / FILE)
