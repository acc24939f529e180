"""Checks a batch of messages and keeps it: one transaction with readings, ledger, quarantine and the event.

What comes twice has no second effect: a reading's key is its datastream and time, a message's its source and id. The
fast way copies the batch straight into the keyed table and only where a key is there already does the batch go through
staging tables (docs/adr/0010). The caller acknowledges a message after `Acceptor.accept` returned and not before.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt

from core.errors import Conflict
from core.events import ObservationsStored
from core.ids import new_id
from core.log import get_logger
from core.units import QUANTITIES
from ingest import repository
from ingest.batch import ID_REUSED, Accepted, Batch, Decoder, Message, Rejected, Rows, rows_of
from ingest.catalog import Catalog
from ingest.latest import LatestValues
from ingest.observation import CLOCK_SUSPECT, MICROSECOND, Check, Quality
from ingest.payload import Refused, open_envelope
from ingest.quality import gross_range
from ingest.repository import AlreadyStored, errors_as_kinds, moment
from ingest.series import AFTER, CONTEXT, KNOWN_DTYPE, Outcome, Plan, SeriesMemory, Update, settle
from ingest.station import MIXED, Topic, segment
from store import outbox, rollup
from store.pool import AsyncConnection

log = get_logger("ingest")

#: Share of batches with known keys (moving) above which the fast way is not tried.
_STAGE_ABOVE = 0.3
_MAX_TRIES = 4
_KEPT_PAYLOAD_BYTES = 64 * 1024
#: Days with partitions of their own; readings of other days lie in the default partition.
_PARTITION_DAYS_BACK, _PARTITION_DAYS_AHEAD = 400, 2
_DAY_US = 86_400 * MICROSECOND
_HOUR_US = 3600 * MICROSECOND
_HOURS_APART = 1 << 28  # more hours than any two readings lie apart


class _Overtaken(Exception):
    """Somebody else stored a reading of this batch meanwhile."""


class TooManyWriters(Conflict):
    """Other writers kept changing the same datastreams; the batch must be tried again."""


@dataclass(slots=True)
class _Result:
    """What is to be stored for the rows of a batch."""

    outcome: npt.NDArray[np.int8]
    quality: npt.NDArray[np.uint8]
    tests: npt.NDArray[np.int64]
    revision: npt.NDArray[np.int16]
    updates: list[Update]
    plan: Plan
    deep_ids: npt.NDArray[np.int64]


def _mark_of(body: bytes) -> str | None:
    """The mark of a replay's envelope; None where it is none or cannot be read."""
    try:
        opened = open_envelope(body)
    except Refused:
        return None
    return None if opened is None else opened.mark


class Acceptor:
    """Keeps batches, one after the other; holds the memory that quality control needs."""

    def __init__(self, *, exercise: bool, clock_skew_s: float = 120.0, max_message_bytes: int = 64 * 1024) -> None:
        self._exercise = exercise
        self._skew_us = int(clock_skew_s * MICROSECOND)
        self._decoder = Decoder(exercise=exercise, max_bytes=max_message_bytes)
        self.memory = SeriesMemory()
        self._catalog = Catalog(self.memory)
        self.latest = LatestValues()
        self._days: set[int] = set()
        self.conflict_share = 0.0
        self._stale: set[int] = set()

    def heard_of_other_writers(self, datastream_ids: Sequence[int]) -> None:
        """Another process wrote readings of these datastreams: what is remembered of them no longer holds."""
        self._stale.update(datastream_ids)

    def forget(self) -> None:
        """After a lost connection: what was committed is not known, so everything is looked up again."""
        self.memory.forget_all()

    # ------------------------------------------------------------------ checking
    async def _check(self, conn: AsyncConnection, rows: Rows, active: npt.NDArray[np.intp]) -> _Result:
        """Outcome and flags of the active rows; the arrays have one place for each row of the batch."""
        n = len(rows.ds)
        lone = (rows.checks[active] & int(CLOCK_SUSPECT)) > 0
        series = active[~lone]
        missing = self.memory.not_loaded(rows.ds[series])
        if missing:
            loaded = await repository.recent(conn, missing, self.memory.capacity)
            none = np.zeros(0, dtype=KNOWN_DTYPE)
            for ds in missing:
                found = loaded.get(ds, none)
                self.memory.load(ds, found, complete=len(found) < self.memory.capacity)
        plan = self.memory.plan(rows.ds[series], rows.observed[series], rows.value[series], rows.correction[series])
        result = _Result(
            np.full(n, int(Outcome.SAME), dtype=np.int8),
            np.full(n, int(Quality.UNKNOWN), dtype=np.uint8),
            rows.checks.copy(),
            np.zeros(n, dtype=np.int16),
            list(plan.updates),
            plan,
            np.unique(rows.ds[series][plan.deep]),
        )
        self._take(result, series[~plan.deep], plan, ~plan.deep)
        if plan.deep.any():
            await self._check_deep(conn, rows, series[plan.deep], result)
        if lone.any():
            await self._check_lone(conn, rows, active[lone], result)
        return result

    @staticmethod
    def _take(result: _Result, where: npt.NDArray[np.intp], plan: Plan, which: npt.NDArray[np.bool_]) -> None:
        result.outcome[where] = plan.outcome[which]
        result.quality[where] = plan.quality[which]
        result.tests[where] |= plan.tests[which]
        result.revision[where] = plan.revision[which]

    async def _check_deep(self, conn: AsyncConnection, rows: Rows, deep: npt.NDArray[np.intp], result: _Result) -> None:
        """Rows further back than the memory reaches: against a window of what is stored."""
        ds, observed = rows.ds[deep], rows.observed[deep]
        spans = {i: (int(observed[ds == i].min()), int(observed[ds == i].max())) for i in np.unique(ds).tolist()}
        stored = await repository.window(conn, spans, n_before=2 * CONTEXT, n_after=AFTER)
        longest = max((len(found) for found in stored.values()), default=0)
        memory = self.memory.window(ds, longest + len(deep))
        none = np.zeros(0, dtype=KNOWN_DTYPE)
        for i, (since, until) in spans.items():
            found = stored.get(i, none)
            n_before = int((found["observed_us"] < since).sum())
            n_after = int((found["observed_us"] > until).sum())
            memory.load(i, found, complete=n_before < 2 * CONTEXT, newest=n_after < AFTER)
        plan = memory.plan(ds, observed, rows.value[deep], rows.correction[deep])
        self._take(result, deep, plan, np.ones(len(deep), dtype=bool))
        result.updates += plan.updates

    async def _check_lone(self, conn: AsyncConnection, rows: Rows, lone: npt.NDArray[np.intp], result: _Result) -> None:
        """Readings with a wrong clock: no neighbours, so only their key and their range are looked at."""
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i in lone.tolist():
            groups[int(rows.ds[i]), int(rows.observed[i])].append(i)
        stored = await repository.by_key(conn, list(groups))
        bounds = [QUANTITIES[rows.quantity[i]] for i in lone.tolist()]
        gross = gross_range(
            rows.value[lone],
            fail_below=np.array([q.lowest for q in bounds]),
            fail_above=np.array([q.highest for q in bounds]),
        )
        result.quality[lone] = np.where(gross == Quality.MISSING, gross, np.maximum(gross, np.uint8(Quality.SUSPECT)))
        result.tests[lone[gross == Quality.FAIL]] |= int(Check.GROSS_RANGE)
        for key, members in groups.items():
            outcomes, revisions, *_ = settle(
                stored.get(key), [float(rows.value[i]) for i in members], [bool(rows.correction[i]) for i in members]
            )
            for i, outcome, revision in zip(members, outcomes, revisions, strict=True):
                result.outcome[i], result.revision[i] = outcome, revision

    # ------------------------------------------------------------------ keeping
    def decode(self, messages: Sequence[Message]) -> Batch:
        """The first half of `accept`, which needs no database: it may run while the batch before is being stored."""
        return self._decoder.decode(messages)

    async def accept(self, conn: AsyncConnection, messages: Sequence[Message] | Batch) -> Accepted:
        """Keeps a batch in one transaction; after it returns every message may be acknowledged.

        `conn` is in autocommit and serves nobody else meanwhile; one batch at a time. Raises ConnectionLost where the
        database went away: the batch must then be given again, and what was stored of it has no second effect.
        """
        batch = messages if isinstance(messages, Batch) else self.decode(messages)
        async with errors_as_kinds():
            rows = await rows_of(conn, batch, self._catalog, skew_us=self._skew_us)
            await self._ensure_partitions(conn, rows)
        _share_clock(rows, _wrong_clocks(rows))
        n_rejected = len(batch.rejected)
        accepted = Accepted(
            n_messages=len(batch.messages),
            rejected=batch.rejected,
            received_until_us=batch.received_until_us,
            step_ends=batch.step_ends,
            marks=batch.marks,
        )
        staged = self.conflict_share > _STAGE_ABOVE
        overtaken = False
        for _ in range(_MAX_TRIES):
            del accepted.rejected[n_rejected:]
            accepted.outcomes = Counter({"same": batch.n_same} if batch.n_same else {})
            try:
                async with errors_as_kinds(), conn.transaction():
                    if overtaken:
                        # What was ahead of the clock on its first arrival may be in time on its second: one reading
                        # still, and it is not among the neighbours that quality control knows.
                        bits = int(CLOCK_SUSPECT)
                        _share_clock(rows, await repository.wrong_clocks(conn, rows.ds, rows.observed, bits))
                    result = await self._check_and_keep(conn, rows, batch, accepted, staged=staged)
            except (AlreadyStored, _Overtaken) as met:
                # Keys that were stored before what is remembered, or by somebody else: look again, and stage.
                log.debug("a batch meets known keys", what=str(met))
                self.memory.forget_known(set(rows.ds.tolist()))
                staged = overtaken = True
                continue
            self.memory.commit(result.plan)
            if len(result.deep_ids):
                self.memory.forget(result.deep_ids)
            self.latest.take(
                rows.ds, rows.observed, rows.value, rows.received, result.outcome, result.quality, rows.checks
            )
            self.latest.amend(result.updates)
            known = overtaken or (staged and accepted.outcomes["same"] > 0)
            self.conflict_share = 0.9 * self.conflict_share + (0.1 if known else 0.0)
            accepted.staged = staged
            return accepted
        raise TooManyWriters(n_datastreams=len(set(rows.ds.tolist())))

    async def set_aside(self, conn: AsyncConnection, message: Message, error: Exception) -> Accepted:
        """Keeps a message whole in quarantine that this code could not deal with, so that others are not held up."""
        rejected = Rejected(0, message.topic, message.body, "not_kept", f"{type(error).__name__}: {error}",
                            message.received_us)  # fmt: skip
        async with errors_as_kinds(), conn.transaction():
            await self._keep_quarantine(conn, [rejected])
            if self._exercise and (mark := _mark_of(message.body)) is not None:
                await repository.execute(conn, "tell_replay", {"mark": mark})  # else a replay waits for it in vain
        return Accepted(n_messages=1, rejected=[rejected], received_until_us=message.received_us)

    async def _check_and_keep(
        self, conn: AsyncConnection, rows: Rows, batch: Batch, accepted: Accepted, *, staged: bool
    ) -> _Result:
        active = np.arange(len(rows.ds))
        if staged and rows.ids:
            active = await self._keep_ledger_staged(conn, rows, batch, accepted)
        if self._stale:  # told by what other writers notified until this transaction began
            self.memory.forget_known(self._stale)
            self._stale.clear()
        result = await self._check(conn, rows, active)
        if rows.ids and not staged:
            await repository.copy_bytes(conn, "copy_ledger", self._ledger_buffer(rows, numbered=False))
        for i in active[result.outcome[active] == Outcome.CONFLICT].tolist():
            detail = f"{rows.quantity[i]} at {moment(int(rows.observed[i])).isoformat()} is stored with another value."
            batch.reject(int(rows.message[i]), "conflict", detail, int(rows.received[i]))
        await self._keep_readings(conn, rows, result, staged=staged)
        await self._keep_quarantine(conn, accepted.rejected)
        for outcome, n in zip(*np.unique(result.outcome[active], return_counts=True), strict=True):
            accepted.outcomes[Outcome(int(outcome)).name.lower()] += int(n)
        await self._tell(conn, rows, result)
        if self._exercise and accepted.received_until_us:
            await repository.execute(conn, "move_clock", {"at": moment(accepted.received_until_us)})
        for mark in accepted.marks:
            await repository.execute(conn, "tell_replay", {"mark": mark})
        return result

    @staticmethod
    def _ledger_buffer(rows: Rows, *, numbered: bool) -> bytes:
        at = list(rows.ids)
        return repository.ledger_buffer(
            rows.ids.values(),
            rows.ds[at].tolist(),
            rows.observed[at].tolist(),
            rows.received[at].tolist(),
            numbers=at if numbered else None,
        )

    async def _keep_ledger_staged(
        self, conn: AsyncConnection, rows: Rows, batch: Batch, accepted: Accepted
    ) -> npt.NDArray[np.intp]:
        """Keeps new message ids; gives back the rows whose message is new or has no id."""
        await repository.make_staging(conn)
        await repository.copy_bytes(conn, "copy_staged_ledger", self._ledger_buffer(rows, numbered=True))
        new = {(source, message_id) for source, message_id in await repository.fetch(conn, "keep_staged_ledger")}
        if len(new) == len(rows.ids):
            return np.arange(len(rows.ds))
        active = np.ones(len(rows.ds), dtype=bool)
        for i, same in await repository.fetch(conn, "known_staged_ledger"):
            if rows.ids[i] in new:
                continue
            active[i] = False
            if same:
                accepted.outcomes["same"] += 1
            else:
                batch.reject(int(rows.message[i]), "message_id_reused", ID_REUSED, int(rows.received[i]))
        return np.flatnonzero(active)

    async def _ensure_partitions(self, conn: AsyncConnection, rows: Rows) -> None:
        """Asks for the partitions of days that this process has not met yet, near enough to now to be real."""
        if not len(rows.ds):
            return
        days = np.unique(rows.observed // _DAY_US)
        today = int(rows.received.max() // _DAY_US)
        near = {int(d) for d in days if today - _PARTITION_DAYS_BACK <= d <= today + _PARTITION_DAYS_AHEAD} - self._days
        if near:
            await repository.ensure_partitions(conn, [moment(d * _DAY_US).date().isoformat() for d in sorted(near)])
            self._days |= near

    async def _keep_readings(self, conn: AsyncConnection, rows: Rows, result: _Result, *, staged: bool) -> None:
        outcome = result.outcome
        base = (outcome == Outcome.NEW) | (outcome == Outcome.CORRECTION_FIRST)
        stands_in = outcome[base] == Outcome.CORRECTION_FIRST
        if base.any():
            buffer = repository.copy_buffer(
                rows.ds[base],
                rows.observed[base],
                np.where(stands_in, np.nan, rows.value[base]),
                np.where(stands_in, np.uint8(Quality.MISSING), result.quality[base]),
                np.where(
                    stands_in, (rows.checks[base] & int(CLOCK_SUSPECT)) | int(Check.STANDS_IN), result.tests[base]
                ),
                rows.received[base],
            )
            if staged:
                await repository.make_staging(conn)
                await repository.copy_bytes(conn, "copy_staged_observations", buffer)
                if await repository.execute(conn, "keep_staged_observations") != int(base.sum()):
                    raise _Overtaken
            else:
                await repository.copy_bytes(conn, "copy_observations", buffer)
        revisions: list[tuple[object, ...]] = []
        for i in np.flatnonzero((outcome == Outcome.CORRECTION) | (outcome == Outcome.CORRECTION_FIRST)).tolist():
            revisions.append(self._revision(rows, result, i, revision=int(result.revision[i]), flags_version=0))
        for i in np.flatnonzero(outcome == Outcome.ORIGINAL_LATE).tolist():
            # What stands in for it holds version 0 of revision 0; the original, come late, is version 1.
            revisions.append(self._revision(rows, result, i, revision=0, flags_version=1))
        last = moment(int(rows.received.max())) if len(rows.ds) else None
        for u in result.updates:
            value = None if u.value != u.value else u.value
            revisions.append(
                (u.datastream_id, moment(u.observed_us), u.revision, u.flags_version, value, u.quality, u.tests, last)
            )
        if revisions:
            await repository.copy_rows(conn, "copy_revisions", revisions)

    @staticmethod
    def _revision(rows: Rows, result: _Result, i: int, *, revision: int, flags_version: int) -> tuple[object, ...]:
        value = float(rows.value[i])
        return (
            int(rows.ds[i]),
            moment(int(rows.observed[i])),
            revision,
            flags_version,
            None if value != value else value,
            int(Quality.MISSING) if value != value else int(result.quality[i]),
            int(result.tests[i]),
            moment(int(rows.received[i])),
        )

    async def _keep_quarantine(self, conn: AsyncConnection, rejected: Sequence[Rejected]) -> None:
        by_print: dict[bytes, tuple[Rejected, int]] = {}
        for each in rejected:
            told = hashlib.sha256(b"\0".join((each.topic.encode(), each.reason.encode(), each.body))).digest()
            first, n = by_print.get(told, (each, 0))
            by_print[told] = (first, n + 1)
        if not by_print:
            return
        kept = [first for first, _ in by_print.values()]
        await repository.execute(
            conn,
            "quarantine",
            {
                "ids": [new_id() for _ in kept],
                "fingerprints": list(by_print),
                "topics": [each.topic.replace("\0", "\ufffd")[:1000] for each in kept],
                "payloads": [each.body[:_KEPT_PAYLOAD_BYTES] for each in kept],
                "reasons": [each.reason for each in kept],
                "details": [each.detail.replace("\0", "\ufffd")[:1000] for each in kept],
                "seen": [moment(each.received_us) for each in kept],
                "counts": [n for _, n in by_print.values()],
            },
        )

    async def _tell(self, conn: AsyncConnection, rows: Rows, result: _Result) -> None:
        """The events of what changed, one for each tenant, and the hours whose rollup it changes."""
        outcome = result.outcome
        changed = (outcome == Outcome.NEW) | (outcome == Outcome.CORRECTION) | (outcome == Outcome.CORRECTION_FIRST)
        if not changed.any():
            return
        ids = np.concatenate([rows.ds[changed], np.array([u.datastream_id for u in result.updates], dtype=np.int64)])
        times = np.concatenate(
            [rows.observed[changed], np.array([u.observed_us for u in result.updates], dtype=np.int64)]
        )
        # one reading of each datastream and hour is enough to mark it
        _, one = np.unique(ids * _HOURS_APART + times // _HOUR_US, return_index=True)
        await rollup.mark_dirty(conn, ids[one], times[one])
        by_tenant: dict[UUID | None, list[int]] = defaultdict(list)
        for ds in np.unique(rows.ds[changed]).tolist():
            by_tenant[rows.tenant[ds]].append(ds)
        for tenant, own in by_tenant.items():
            mine = changed & np.isin(rows.ds, own)
            trusted = mine & ((rows.checks & int(CLOCK_SUSPECT)) == 0)
            span = rows.observed[trusted] if trusted.any() else rows.received[mine]
            event = ObservationsStored(
                datastream_ids=own,
                observed_from=moment(int(span.min())),
                observed_until=moment(int(span.max())),
                received_until=moment(int(rows.received[mine].max())),
            )
            await outbox.publish(conn, event, ordering_key=f"readings:{tenant or 'public'}", tenant_id=tenant)


def _wrong_clocks(rows: Rows) -> dict[tuple[int, int], int]:
    """Clock checks that failed, by (datastream, microseconds since 1970)."""
    bits = rows.checks & int(CLOCK_SUSPECT)
    found: dict[tuple[int, int], int] = defaultdict(int)
    for i in np.flatnonzero(bits).tolist():
        found[int(rows.ds[i]), int(rows.observed[i])] |= int(bits[i])
    return found


def _share_clock(rows: Rows, wrong: Mapping[tuple[int, int], int]) -> None:
    """What arrives twice is one reading: where the clock was wrong at one arrival, it counts as wrong at the other."""
    if not wrong:
        return
    for i in np.flatnonzero(np.isin(rows.observed, [observed for _, observed in wrong])).tolist():
        rows.checks[i] |= wrong.get((int(rows.ds[i]), int(rows.observed[i])), 0)


@dataclass(frozen=True, slots=True)
class Item:
    """One payload that came by HTTP, and the station that its sender may speak for."""

    station: str  #: its code
    body: bytes
    quantity: str | None = None  #: none: the payload says it


async def accept_payloads(conn: AsyncConnection, tenant: str, items: Sequence[Item], now_us: int) -> Accepted:
    """Keeps payloads that came by HTTP, as one batch; the same rules as over MQTT.

    Parameters
    ----------
    conn : a worker's connection in autocommit
    tenant : slug of the tenant that the sender belongs to
    now_us : arrival in microseconds since 1970, by the one clock
    """
    acceptor = Acceptor(exercise=False)  # a replay comes through the broker: nobody moves the clock by HTTP
    messages = [
        Message(str(Topic(tenant, segment(item.station), item.quantity or MIXED)), item.body, now_us) for item in items
    ]
    accepted = await acceptor.accept(conn, messages)
    await acceptor.latest.flush(conn)
    changed = acceptor.latest.written
    if changed:
        # The ingest process remembers recent readings: it must look these up again.
        for start in range(0, len(changed), 500):
            told = ",".join(map(str, changed[start : start + 500]))
            await repository.execute(conn, "tell_writers", {"datastream_ids": told})
    return accepted
