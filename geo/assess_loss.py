"""The loss of an assessment: the footprint's intensity through curves, terms and reinsurance, with its spread."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np

from core.errors import InvalidInput, NotFound, TocsinError
from core.events import AssessmentMade, LossEstimated
from core.log import get_logger
from geo import kept_files, loss, repository, repository_books, repository_loss
from geo._compiled_loss import warm_up
from geo.curve_choice import CURVE_SIGMA
from geo.estimate import Estimate, NoSuchField, Places, estimate, tiv_reconciliation
from geo.exposure import cents_text, exact_sum
from geo.flood_choice import FloodChoice
from geo.hazard import WATER_PERILS
from geo.hazard_field import HIT, OED_PERIL, OUTSIDE, REASONS, HazardField
from geo.loss import Mapper, Uncertainty
from geo.oed import TIV_FIELDS
from geo.oed_table import OedTable, encode
from geo.reasons import tell
from geo.reported import MAX_REPORTS, ReportedField
from geo.repository_books import Portfolio
from geo.repository_loss import Assessed
from geo.terms import BoolArray, FloatArray, IntArray
from store import outbox
from store.clock import read_clock
from store.outbox import Work
from store.pool import AsyncConnection, Pool, lent_connection

log = get_logger("assess")

N_TOP_LOCATIONS, N_SAMPLED_LOCATIONS, N_TOP_POLICIES = 200, 800, 500
#: Samples where nothing else is asked for: fewer for a large book, since an answer is due within seconds.
N_SAMPLES_SMALL, N_SAMPLES_LARGE, SMALL_ITEMS = 500, 100, 20_000
_MAX_RESIDENT_ROWS = 2_000_000  #: rows of OED files kept in memory together

NO_INTENSITY, NO_FILES = tell("no_intensity"), tell("no_files")


class NoSuchBook(NotFound):
    """This tenant has no book of this name."""


@dataclass(frozen=True)
class Resident:
    """A book's files in memory, with the place and the id of each row of the location file."""

    tables: Mapping[str, OedTable]
    lon: FloatArray
    lat: FloatArray
    location_id: IntArray  #: (rows,)
    cents: IntArray  #: (rows, 4) insured value by coverage
    account: IntArray  #: (rows,) account of each row, numbered
    currency: IntArray  #: (rows,) index of `currencies`
    currencies: tuple[str, ...]  #: upper case; a blank one is the book's

    @classmethod
    def of(cls, tables: Mapping[str, OedTable], lon: FloatArray, lat: FloatArray, location_id: IntArray) -> "Resident":
        """Reads what every footprint needs, once."""
        table = tables["location"]
        cents = np.stack([np.rint(table.numbers(name) * 100).astype(np.int64) for name in TIV_FIELDS], axis=1)
        (account,), _ = encode(table.texts("AccNumber"))
        (code,), names = encode(table.texts("LocCurrency"))
        known = sorted({name.upper() for name in names})
        return cls(
            tables, lon, lat, location_id, cents, account,
            np.array([known.index(name.upper()) for name in names], dtype=np.int64)[code], tuple(known),
        )  # fmt: skip


class FileShelf:
    """Files of books kept in memory, each until its portfolio is imported anew or room is needed."""

    def __init__(self, max_rows: int = _MAX_RESIDENT_ROWS) -> None:
        self.max_rows = max_rows
        self._kept: OrderedDict[UUID, tuple[tuple[bytes, datetime], Resident]] = OrderedDict()

    async def resident(self, conn: AsyncConnection, portfolio: Portfolio) -> Resident | None:
        """The book's files, or None where it was imported without them."""
        edition = (bytes(portfolio.source_sha256), portfolio.imported_at)
        kept = self._kept.get(portfolio.portfolio_id)
        if kept is None or kept[0] != edition:
            files = await repository_loss.files_of(conn, portfolio.portfolio_id)
            if "location" not in files:
                return None
            stored = await repository_loss.places_of(conn, portfolio.portfolio_id)
            kept = (edition, await asyncio.to_thread(_match, files, stored))
            self._kept[portfolio.portfolio_id] = kept
        self._kept.move_to_end(portfolio.portfolio_id)
        while len(self._kept) > 1 and sum(r.tables["location"].n for _, r in self._kept.values()) > self.max_rows:
            self._kept.popitem(last=False)
        return kept[1]

    async def fill(self, conn: AsyncConnection) -> int:
        """Reads the newest books that are not here and for which there is room; how many it read."""
        n_read, room = 0, self.max_rows
        books = await repository_books.portfolios(conn, None)
        for portfolio in sorted(books, key=lambda p: p.imported_at, reverse=True):
            kept = self._kept.get(portfolio.portfolio_id)
            if kept is None or kept[0] != (bytes(portfolio.source_sha256), portfolio.imported_at):
                if room < self.max_rows // 10:
                    break
                n_read += await self.resident(conn, portfolio) is not None
                kept = self._kept.get(portfolio.portfolio_id)
            room -= kept[1].tables["location"].n if kept else 0
        return n_read


_SHELF = FileShelf()


def _match(files: Mapping[str, tuple[str, bytes]], stored: repository_loss.StoredPlaces) -> Resident:
    """The files with the rows that the database has: rows that the import refused are left out."""
    from geo.chance import keys_of

    tables = {kind: kept_files.unpack(*file) for kind, file in files.items()}
    table = tables["location"]
    key = keys_of(table.strings("AccNumber"), table.strings("LocNumber"))
    at = np.minimum(np.searchsorted(stored.key, key), max(len(stored.key) - 1, 0))
    known = np.flatnonzero(stored.key[at] == key) if len(stored.key) else np.zeros(0, dtype=np.int64)
    tables["location"] = kept_files.rows_of(table, known)
    at = at[known]
    return Resident.of(tables, stored.lon[at], stored.lat[at], stored.location_id[at])


@dataclass(frozen=True)
class Outcome:
    """A loss ready to be stored."""

    currency: str
    problem: str
    result: dict[str, Any]
    locations: list[tuple[int, bool, float, float, float, float]]
    policies: list[dict[str, Any]]


def compute(
    resident: Resident,
    field: HazardField | ReportedField,
    *,
    event: int,
    peril: str | None,
    day: date,
    currency: str,
    n_samples: int | None = None,
    seed: int = 1,
    mapper: Mapper = loss.in_process,
    by_source: bool = True,
    flood: FloodChoice | None = None,
    by: str | None = None,
) -> Outcome:
    """The loss of a book under a field: pure work on arrays, for a worker thread.

    `by_source`: also what each source of uncertainty contributes, which costs several times the loss itself.

    Terms join the locations of an account and no others, and reinsurance only takes from what is lost: accounts that
    are not hit are left out of the sampling, and counted in the reconciliation.
    """
    _, _, status = field.at(resident.lon, resident.lat)
    touched = np.zeros(int(resident.account.max(initial=-1)) + 1, dtype=bool)
    touched[resident.account[status == HIT]] = True
    hit_account = touched[resident.account]
    rows = np.flatnonzero(hit_account)
    if not len(rows):
        result: dict[str, Any] = {
            "currency": currency, "unit": field.unit, "n_hit": 0, "exposed_tiv": 0.0, "tiv_with_loss": 0.0,
            "losses": {p: dict.fromkeys(("mean", "mean_se", "sd", "p5", "p50", "p95"), 0.0) for p in loss.PERSPECTIVES},
            "unknown": _unknown_rest(resident, status, ~hit_account, currency), "curves": [], "sd_by_source": {},
            "reconciliation": _rest(resident, status, ~hit_account, {}),
        }  # fmt: skip
        return Outcome(currency, "", result, [], [])
    loaded = kept_files.loss_book(resident.tables, rows, peril=peril, event_date=day, currency=currency)
    n = n_samples or (N_SAMPLES_SMALL if len(loaded.book.item_row) <= SMALL_ITEMS else N_SAMPLES_LARGE)
    assumed = replace(Uncertainty(n_samples=n, seed=seed), curve_sigma=CURVE_SIGMA[field.unit])
    places = Places.of(loaded.book, resident.lon[rows], resident.lat[rows])
    found = estimate(
        loaded,
        field,
        places,
        event=event,
        assumed=assumed,
        mapper=mapper,
        with_contributions=by_source,
        flood=flood,
        by=by,
    )
    result = found.as_json()
    if by is not None and found.told:
        result["by"] = {"field": by, "groups": found.groups(by)}
    if not by_source and found.told:
        result["sd_by_source"] = None
    for reason, counted in _unknown_rest(resident, status, ~hit_account, currency).items():
        before = result["unknown"].get(reason, {"n_items": 0, "tiv": 0.0})
        result["unknown"][reason] = {name: before[name] + counted[name] for name in before}
    result["reconciliation"] = _rest(resident, status, ~hit_account, tiv_reconciliation(loaded.book, found))
    result["peril"], result["event_date"] = peril, day.isoformat()
    if "account" not in resident.tables:
        # without an account file nobody knows what is insured: what the engine calls gross would be the ground-up loss
        for perspective in ("il", "ri"):
            result["losses"][perspective] = None
            for group in result.get("by", {}).get("groups", ()):
                group.update({name: None for name in group if name.startswith(f"{perspective}_")})
        result["terms"] = "no account file: gross and net are unknown"
    return Outcome(
        currency, "", result, _locations(found, resident.location_id[rows], "account" in resident.tables),
        found.policies(N_TOP_POLICIES) if "account" in resident.tables else [],
    )  # fmt: skip


def _unknown_rest(resident: Resident, status: Any, rest: BoolArray, currency: str) -> dict[str, dict[str, Any]]:
    """Items of untouched accounts of which nothing can be told; values of the book's own currency."""
    told = {}
    own = np.array([c in ("", currency) for c in resident.currencies], dtype=bool)[resident.currency]
    for code, reason in REASONS.items():
        mine = rest & (status == code)
        cents = resident.cents[mine]
        if (cents > 0).any():
            told[reason] = {"n_items": int((cents > 0).sum()), "tiv": exact_sum(cents[own[mine]].ravel()) / 100}
    return told


def _rest(resident: Resident, status: Any, rest: BoolArray, told: Mapping[str, Any]) -> dict[str, Any]:
    """The reconciliation of the sampled accounts with the others added: amounts as decimal text."""
    result = {}
    for number, currency in enumerate(resident.currencies):
        mine = resident.currency == number
        parts: dict[str, int] = dict(told.get(currency, {}).get("parts", {}))
        for state, label in ((OUTSIDE, "not hit"), *((k, f"unknown: {v}") for k, v in REASONS.items())):
            amount = exact_sum(resident.cents[mine & rest & (status == state)].ravel())
            if amount:
                parts[label] = parts.get(label, 0) + amount
        total = exact_sum(resident.cents[mine].ravel())
        result[currency] = {
            "tiv_in": cents_text(total), "parts": {k: cents_text(v) for k, v in sorted(parts.items())},
            "difference": cents_text(total - sum(parts.values())),
        }  # fmt: skip
    return result


def _locations(
    found: Estimate, location_id: IntArray, insured: bool
) -> list[tuple[int, bool, float, float, float, float]]:
    """The largest locations, and of the others a sample by the hash of their id: the same in every version."""
    by = found.by_location()
    ranked = sorted(by, key=lambda row: (-by[row][1 if insured else 0], int(location_id[row])))
    top, others = ranked[:N_TOP_LOCATIONS], ranked[N_TOP_LOCATIONS:]
    if len(others) > N_SAMPLED_LOCATIONS:
        from geo.chance import mix_array

        drawn = mix_array(location_id[others].astype(np.uint64))
        chosen = set(np.argsort(drawn, kind="stable")[:N_SAMPLED_LOCATIONS].tolist())
        others = [row for i, row in enumerate(others) if i in chosen]
    kept = set(top)
    return [(int(location_id[row]), row not in kept, float(found.intensity[row]), *by[row]) for row in (*top, *others)]


def difference(
    result: Mapping[str, Any], exposed_tiv: float, before: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What changed since the last version: medians and means, with the same draws for both; None without one."""
    if before is None or before["currency"] != result["currency"]:
        return None
    told: dict[str, Any] = {"version": before["version"], "exposed_tiv": exposed_tiv - before["exposed_tiv"]}
    for perspective in loss.PERSPECTIVES:
        now, then = result["losses"].get(perspective), before["losses"].get(perspective)
        told[perspective] = None if not now or not then else {k: now[k] - then[k] for k in ("mean", "p50", "p95")}
    return told


async def estimate_assessment(
    conn: AsyncConnection,
    assessment_id: UUID,
    *,
    now: datetime,
    shelf: FileShelf | None = None,
    n_samples: int | None = None,
    seed: int = 1,
    mapper: Mapper = loss.in_process,
    by_source: bool = True,
    flood: FloodChoice | None = None,
    by: str | None = None,
) -> Outcome:
    """Computes and stores the loss of an assessment, in place of one it had, and tells whoever watches.

    What stands in the way (no intensity, no files, terms that cannot be read) is stored as the problem: the loss is
    then unknown, and not zero. `flood` in place of what the book declares; `by` an OED
    field to group the losses by. Raises NoAssessment, and what is wrong with the question itself (NoSuchField,
    BadLossInput): a slip in asking takes nothing from what is stored.
    """
    if n_samples is not None:
        loss.Uncertainty(n_samples=n_samples)
    of = await repository_loss.assessed(conn, assessment_id)
    books = await repository_books.portfolios(conn, of.tenant_id)
    portfolio = next(p for p in books if p.portfolio_id == of.portfolio_id)
    outcome = await _outcome(conn, of, portfolio, shelf or _SHELF, n_samples, seed, mapper, by_source, flood, by)
    if not outcome.problem:
        outcome.result["difference"] = difference(
            outcome.result, of.exposed_tiv, await repository_loss.loss_before(conn, of)
        )
    async with repository.transaction(conn):
        await repository_loss.save_loss(
            conn, of, currency=outcome.currency, problem=outcome.problem, result=outcome.result,
            locations=outcome.locations, policies=outcome.policies, now=now,
        )  # fmt: skip
        await outbox.publish(
            conn, LossEstimated(assessment_id=assessment_id), ordering_key=f"portfolio:{of.portfolio_id}",
            tenant_id=of.tenant_id,
        )  # fmt: skip
    log.info("loss estimated", portfolio=str(of.portfolio_id), version=of.version, problem=outcome.problem)
    return outcome


async def _outcome(
    conn: AsyncConnection, of: Assessed, portfolio: Portfolio, shelf: FileShelf, n_samples: int | None, seed: int,
    mapper: Mapper, by_source: bool, flood: FloodChoice | None, by: str | None,
) -> Outcome:  # fmt: skip
    def unknown(problem: str) -> Outcome:
        return Outcome(portfolio.currency, problem, {}, [], [])

    if of.field is None:
        return unknown(NO_INTENSITY)
    resident = await shelf.resident(conn, portfolio)
    if resident is None:
        return unknown(NO_FILES)
    field: HazardField | ReportedField = of.field
    if of.field.unit == "m" and of.peril in WATER_PERILS:
        # this tenant's own people alone: what others told stays theirs
        reports = await repository_loss.reports_of(conn, of, limit=MAX_REPORTS)
        if len(reports):
            field = ReportedField(of.field, reports)
    # the event's draws belong to the event, so that two of its versions differ by the hazard and not by chance
    event = of.hazard_event_id.int & 0x7FFFFFFFFFFFFFFF
    try:
        outcome = await asyncio.to_thread(
            compute, resident, field, event=event, peril=OED_PERIL.get(of.peril), day=of.started_at.date(),
            currency=portfolio.currency, n_samples=n_samples, seed=seed, mapper=mapper, by_source=by_source,
            flood=flood or FloodChoice.from_json(portfolio.flood_curves), by=by,
        )  # fmt: skip
        if isinstance(field, ReportedField):
            outcome.result["reports"] = field.told()
    except NoSuchField:
        raise
    except InvalidInput as error:
        return unknown(str(error))
    return outcome


async def handle(conn: AsyncConnection, work: Work) -> None:
    """Handler of the outbox consumer `loss`: the loss first, since people wait for it."""
    event = outbox.decode(work)
    if not isinstance(event, AssessmentMade):
        raise InvalidInput("The loss consumer takes assessments only.", kind=work.kind)
    clock = await read_clock(conn)
    await estimate_assessment(conn, event.assessment_id, now=clock.now(), by_source=False)


async def handle_sources(conn: AsyncConnection, work: Work) -> None:
    """Handler of the outbox consumer `loss_sources`: what each source of uncertainty contributes to a loss.

    It comes after the loss and takes longer. What a newer footprint version has overtaken is left without.
    """
    event = outbox.decode(work)
    if not isinstance(event, LossEstimated):
        raise InvalidInput("The loss_sources consumer takes losses only.", kind=work.kind)
    waiting = await repository_loss.loss_without_sources(conn, event.assessment_id)
    if waiting is None:
        return
    clock = await read_clock(conn)
    await estimate_assessment(
        conn, event.assessment_id, now=clock.now(), n_samples=int(waiting["n_samples"]), seed=int(waiting["seed"])
    )


async def keep_warm(pool: Pool, stop: asyncio.Event, *, every_s: float = 5.0, shelf: FileShelf | None = None) -> None:
    """Reads books into memory before a footprint asks for them, as often as one is imported, until `stop` is set.

    Also makes the compiled code ready. A book that cannot be read is told by whoever needs it.
    """
    shelf = shelf or _SHELF
    await asyncio.to_thread(warm_up)
    while not stop.is_set():
        try:
            async with lent_connection(pool) as conn:
                await shelf.fill(conn)
        except TocsinError as error:
            log.debug("books are not warm", error=str(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every_s)
