"""One footprint against every book it concerns: what is exposed, what is unknown, and where most of it stands."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from shapely.geometry.base import BaseGeometry

from core.errors import Conflict, InvalidInput
from core.events import AssessmentMade, FootprintPublished, HazardEnded
from core.log import get_logger
from geo import repository, repository_books
from geo.exposure import Book, within
from geo.hazard import ArrivalZone, BadFootprint, check_not_swapped, check_polygon, check_zones
from geo.hazard_field import HazardField
from geo.repository_books import Portfolio
from store import audit, outbox
from store.clock import read_clock
from store.outbox import Work
from store.pool import AsyncConnection

log = get_logger("assess")

N_TOP = 200
_MAX_RESIDENT_ROWS = 12_000_000  #: books kept in memory together: about 0.9 GB


class OlderThanTheLast(Conflict):
    """A footprint may not be valid before the version that it follows."""


class EndsTooEarly(Conflict):
    """An event ends neither before it began nor before its newest footprint is true."""


class EventOver(Conflict):
    """This event has ended."""


async def publish_footprint(
    conn: AsyncConnection,
    hazard_event_id: UUID,
    geometry: BaseGeometry,
    zones: Iterable[ArrivalZone | Mapping[str, Any]] = (),
    *,
    valid_at: datetime,
    made_how: str,
    field: HazardField | None = None,
) -> tuple[UUID, int]:
    """Stores the next version of an event's footprint and tells those who assess, plan and watch.

    Parameters
    ----------
    geometry : polygon or multipolygon in lon, lat degrees (WGS84) that is inside the hazard at valid_at
    zones : where it is forecast to come, each with `arrival_min` after valid_at
    valid_at : aware; when the geometry is true
    made_how : the method and its inputs, for people
    field : how strong the hazard is, where that is known: without it the loss is unknown

    Returns
    -------
    (footprint_id, version)

    Raises
    ------
    BadFootprint : empty, invalid, far too large, uncut at the antimeridian, or with its axes swapped
    NoHazardEvent, EventOver, OlderThanTheLast
    """
    if valid_at.tzinfo is None:
        raise BadFootprint("valid_at: it has no offset from UTC")
    if not made_how.strip():
        raise BadFootprint("made_how: it is empty")
    checked = check_polygon(geometry)
    coming = check_zones(zones)
    async with repository.transaction(conn):
        event = await repository.lock_event(conn, hazard_event_id)
        if event.ended_at is not None and valid_at > event.ended_at:
            raise EventOver(ended_at=event.ended_at.isoformat())
        if event.valid_at is not None and valid_at < event.valid_at:
            raise OlderThanTheLast(valid_at=valid_at.isoformat(), last=event.valid_at.isoformat())
        check_not_swapped(checked, await repository.known_places(conn, event.tenant_id))
        version = event.version + 1
        footprint_id = await repository.save_footprint(
            conn,
            hazard_event_id=hazard_event_id,
            tenant_id=event.tenant_id,
            version=version,
            valid_at=valid_at,
            made_how=made_how,
            geometry=checked,
            zones=coming,
            field=field,
        )
        await outbox.publish(
            conn,
            FootprintPublished(footprint_id=footprint_id),
            ordering_key=f"hazard:{hazard_event_id}",
            tenant_id=event.tenant_id,
        )
    return footprint_id, version


async def end_event(conn: AsyncConnection, hazard_event_id: UUID, *, at: datetime, by: str, now: datetime) -> None:
    """Says that an event was over at a time: its rules give their all-clear, its ways out and roads are past.

    `by`: who says so, for the tenant's audit chain; a public event has no tenant, and is told to the log alone.
    Raises NoHazardEvent, EventOver where it has ended already, EndsTooEarly.
    """
    async with repository.transaction(conn):
        event = await repository.lock_event(conn, hazard_event_id)
        if event.ended_at is not None:
            raise EventOver(ended_at=event.ended_at.isoformat())
        if event.valid_at is not None and at < event.valid_at:
            raise EndsTooEarly(at=at.isoformat(), footprint_valid_at=event.valid_at.isoformat())
        if not await repository.end_event(conn, hazard_event_id, at):
            raise EndsTooEarly(at=at.isoformat())
        await outbox.publish(
            conn,
            HazardEnded(hazard_event_id=hazard_event_id),
            ordering_key=f"hazard:{hazard_event_id}",
            tenant_id=event.tenant_id,
        )
        if event.tenant_id is not None:
            detail = {"ended_at": at.isoformat()}
            await audit.append(
                conn, event.tenant_id, by, "hazard.end", f"hazard_event:{hazard_event_id}", detail, at=now
            )
    log.info("hazard event ended", hazard_event_id=str(hazard_event_id), at=at.isoformat(), by=by)


class BookShelf:
    """Books kept in memory, each until its portfolio is imported anew or room is needed."""

    def __init__(self, max_rows: int = _MAX_RESIDENT_ROWS) -> None:
        self.max_rows = max_rows
        self._books: OrderedDict[UUID, tuple[tuple[bytes, datetime], Book]] = OrderedDict()

    async def book(self, conn: AsyncConnection, portfolio: Portfolio) -> Book:
        """The portfolio's book as it is now."""
        edition = (bytes(portfolio.source_sha256), portfolio.imported_at)
        kept = self._books.get(portfolio.portfolio_id)
        if kept is not None and kept[0] == edition:
            self._books.move_to_end(portfolio.portfolio_id)
            return kept[1]
        book = await repository_books.load_book(conn, portfolio.portfolio_id)
        self._books[portfolio.portfolio_id] = (edition, book)
        self._books.move_to_end(portfolio.portfolio_id)
        while len(self._books) > 1 and sum(len(b) for _, b in self._books.values()) > self.max_rows:
            self._books.popitem(last=False)
        return book


_SHELF = BookShelf()


async def assess_footprint(
    conn: AsyncConnection, footprint_id: UUID, *, now: datetime, shelf: BookShelf | None = None
) -> list[UUID]:
    """Assesses a footprint against its tenant's portfolios, or against everybody's where it is public.

    Returns the ids of the assessments it made; a pair that was assessed before is left as it is.
    """
    shelf = shelf or _SHELF
    made: list[UUID] = []
    async with repository.transaction(conn):
        footprint = await repository.footprint(conn, footprint_id)
        for portfolio in await repository_books.portfolios(conn, footprint.tenant_id):
            book = await shelf.book(conn, portfolio)
            exposed = await asyncio.to_thread(within, book, footprint.hazard.geometry)
            assessment_id = await repository.save_assessment(
                conn, portfolio, footprint_id, exposed, n_top=N_TOP, now=now
            )
            if assessment_id is None:
                continue
            made.append(assessment_id)
            await outbox.publish(
                conn,
                AssessmentMade(assessment_id=assessment_id),
                ordering_key=f"portfolio:{portfolio.portfolio_id}",
                tenant_id=portfolio.tenant_id,
            )
            log.info(
                "assessed", portfolio=str(portfolio.portfolio_id), version=footprint.version,
                n_locations=len(exposed.rows), n_unknown=exposed.n_unknown,
            )  # fmt: skip
    return made


async def handle(conn: AsyncConnection, work: Work) -> None:
    """Handler of the outbox consumer `assess`."""
    event = outbox.decode(work)
    if not isinstance(event, FootprintPublished):
        raise InvalidInput("The assess consumer takes footprints only.", kind=work.kind)
    clock = await read_clock(conn)
    await assess_footprint(conn, event.footprint_id, now=clock.now())
