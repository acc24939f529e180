"""The recent past of every datastream, and what a batch of readings means against it.

Quality control of a new reading needs the readings around it. `SeriesMemory` keeps the newest of each datastream in
arrays, finds for each row of a batch whether it is new, known, in conflict or a correction, and flags new readings
together with the stored ones whose flags they change: a spike is known by the reading after it, a stuck sensor by the
run it makes. The result is the one that `quality.check_series` gives for the whole sorted series, whatever the order
of arrival (tests/unit/ingest/test_series.py).

Nothing here reads or writes: the caller loads what `SeriesMemory` asks for, stores what a `Plan` says, and then calls
`commit`. A plan that was not stored is dropped, and the memory is as it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ingest import quality
from ingest.observation import MICROSECOND, Check
from ingest.quality import MISSING, STUCK_CONTEXT, SUSPECT, UNKNOWN, FlagArray, IntArray, Runs, Thresholds

#: A stored reading as the memory knows it; `value` is the newest revision's, `original` the first one's.
KNOWN_DTYPE = np.dtype(
    [
        ("observed_us", "i8"),
        ("value", "f8"),
        ("original", "f8"),
        ("quality", "u1"),
        ("tests", "i4"),
        ("revision", "i2"),
        ("flags_version", "i2"),
        ("awaited", "?"),
        ("length", "i8"),  # quality.Runs
        ("repeat", "f8"),
    ]
)
Known = npt.NDArray[np.void]

#: Readings before a change that its flags may depend on: the adaptive flat line's context and some missing ones.
CONTEXT = STUCK_CONTEXT + 16

#: Readings after a change that its flags may reach, with room for the run that the last of them begins.
AFTER = STUCK_CONTEXT + 48
_REACH = STUCK_CONTEXT + 16

_FLAT = int(Check.FLAT_LINE)
_AGAINST = int(Check.SPIKE | Check.RATE | Check.FLAT_LINE)


class Outcome(IntEnum):
    """What becomes of one row of a batch."""

    NEW = 0  #: a reading not seen before
    SAME = 1  #: known already, with this value
    CONFLICT = 2  #: known already, with another value, and this is no correction: the first is kept
    CORRECTION = 3  #: a new revision
    CORRECTION_FIRST = 4  #: a correction whose original has not come: a row without a value stands in for it
    ORIGINAL_LATE = 5  #: the original of such a correction


@dataclass(frozen=True, slots=True)
class Update:
    """New flags of a reading that is stored already."""

    datastream_id: int
    observed_us: int
    revision: int
    flags_version: int
    value: float
    quality: int
    tests: int


@dataclass(slots=True)
class Plan:
    """What a batch means. The row arrays are in the batch's own order."""

    outcome: npt.NDArray[np.int8]
    quality: FlagArray
    tests: IntArray
    revision: npt.NDArray[np.int16]
    updates: list[Update]
    deep: npt.NDArray[np.bool_]  #: rows too far back for the memory: plan them against a window of the database
    writes: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Known] | None = None  #: for `SeriesMemory.commit`
    totals: tuple[npt.NDArray[np.intp], IntArray] | None = None


def _same_value(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def settle(
    known: np.void | None, values: Sequence[float], corrections: Sequence[bool]
) -> tuple[list[Outcome], list[int], float, float, int, bool]:
    """What becomes of rows with one key (datastream and time), in order of arrival.

    Returns outcome and revision of each row, then the key's value, original value, revision, and whether its original
    is still to come. Originals are settled before corrections: which of them came first does not matter.
    """
    outcomes = [Outcome.SAME] * len(values)
    revisions = [0] * len(values)
    if known is not None:
        value, original = float(known["value"]), float(known["original"])
        revision, awaited, exists = int(known["revision"]), bool(known["awaited"]), True
    else:
        value = original = float("nan")
        revision, awaited, exists = 0, False, False
    for i, new in enumerate(values):
        if corrections[i]:
            continue
        if not exists:
            outcomes[i], exists = Outcome.NEW, True
            value = original = new
        elif awaited:
            outcomes[i], awaited, original = Outcome.ORIGINAL_LATE, False, new
        elif not (_same_value(new, original) or _same_value(new, value)):
            outcomes[i] = Outcome.CONFLICT
    for i, new in enumerate(values):
        if not corrections[i]:
            continue
        if not exists:
            outcomes[i], exists, awaited = Outcome.CORRECTION_FIRST, True, True
        elif _same_value(new, value):
            continue
        else:
            outcomes[i] = Outcome.CORRECTION
        revision += 1
        revisions[i], value = revision, new
    return outcomes, revisions, value, original, revision, awaited


class SeriesMemory:
    """The newest `capacity` readings of each datastream."""

    def __init__(self, capacity: int = 2 * CONTEXT) -> None:
        self._capacity = capacity
        self._slots: dict[int, int] = {}
        self._ids = np.zeros(0, dtype=np.int64)
        self._rows: Known = np.zeros((0, capacity), dtype=KNOWN_DTYPE)
        self._total = np.zeros(0, dtype=np.int64)  # rows ever put in; row j lies at j % capacity
        self._first = np.zeros(0, dtype=np.int64)  # oldest row that is held
        self._cut = np.zeros(0, dtype=bool)  # older readings exist than were ever held
        self._tail_cut = np.zeros(0, dtype=bool)  # newer readings exist than were loaded: this is a window
        self._loaded = np.zeros(0, dtype=bool)
        self._th: dict[str, npt.NDArray[np.float64]] = {name: np.zeros(0) for name in _THRESHOLD_COLUMNS}
        self._flat: dict[int, tuple[int, int | None, float]] = {}  # slot -> fixed flat line: counts and tolerance
        self._need = np.zeros(0, dtype=np.int64)
        self._registered: dict[int, tuple[Thresholds, float]] = {}

    def window(self, datastream_ids: IntArray, capacity: int) -> "SeriesMemory":
        """An empty memory of these datastreams with room for a longer stretch of the past."""
        other = SeriesMemory(max(capacity, 2 * CONTEXT))
        for datastream_id in np.unique(datastream_ids).tolist():
            thresholds, interval_s = self._registered[datastream_id]
            other.register(datastream_id, thresholds, interval_s=interval_s)
        return other

    def register(self, datastream_id: int, thresholds: Thresholds, *, interval_s: float) -> None:
        """Makes a datastream known, or gives it other thresholds."""
        self._registered[datastream_id] = (thresholds, interval_s)
        slot = self._slots.get(datastream_id)
        if slot is None:
            slot = self._slots[datastream_id] = len(self._slots)
            if slot >= len(self._total):
                self._grow(max(64, 2 * len(self._total)))
            self._ids[slot] = datastream_id
        for name, column in self._th.items():
            value = getattr(thresholds, name)
            column[slot] = _OFF[name] if value is None else value
        need = CONTEXT if thresholds.stuck_p is not None else 2
        self._flat.pop(slot, None)
        if thresholds.flat_suspect_s is not None:
            n_suspect = max(1, int(thresholds.flat_suspect_s / interval_s))
            n_fail = None if thresholds.flat_fail_s is None else max(1, int(thresholds.flat_fail_s / interval_s))
            self._flat[slot] = (n_suspect, n_fail, thresholds.flat_tolerance)
            need = max(need, 1 + max(n_suspect, n_fail or 0))
            if need > 4096:
                raise quality.BadThresholds("The flat-line time is over 4,096 readings.", datastream_id=datastream_id)
            if 2 * need > self._capacity:
                self._widen(2 * need)
        self._need[slot] = need

    def _grow(self, n: int) -> None:
        extra = n - len(self._total)
        self._rows = np.concatenate([self._rows, np.zeros((extra, self._capacity), dtype=KNOWN_DTYPE)])
        for name in ("_ids", "_total", "_first", "_cut", "_tail_cut", "_loaded", "_need"):
            old = getattr(self, name)
            setattr(self, name, np.concatenate([old, np.zeros(extra, dtype=old.dtype)]))
        for name, column in self._th.items():
            self._th[name] = np.concatenate([column, np.zeros(extra)])

    def _widen(self, capacity: int) -> None:
        """A longer memory for all; what was held is loaded again when it is needed."""
        self._capacity = capacity
        self._rows = np.zeros((len(self._total), capacity), dtype=KNOWN_DTYPE)
        self.forget_all()

    @property
    def capacity(self) -> int:
        """Readings to load for each datastream that is not loaded."""
        return self._capacity

    def not_loaded(self, datastream_ids: IntArray) -> list[int]:
        """Those of these (registered) datastreams whose stored readings the memory has not seen."""
        slots = self._slots_of(np.unique(datastream_ids))
        return [int(i) for i in self._ids[slots[~self._loaded[slots]]]]

    def load(self, datastream_id: int, rows: Known, *, complete: bool, newest: bool = True) -> None:
        """Takes a datastream's stored readings, oldest first.

        `complete`: there are no older ones. `newest`: there are no newer ones; else this is a window, and must reach
        `AFTER` readings beyond what will be planned against it.
        """
        slot = self._slots[datastream_id]
        rows = rows[-self._capacity :] if len(rows) > self._capacity else rows
        self._rows[slot, : len(rows)] = rows
        self._rows[slot, : len(rows)]["length"] = 0
        self._rows[slot, : len(rows)]["repeat"] = np.nan
        self._total[slot], self._first[slot] = len(rows), 0
        self._cut[slot] = not complete
        self._tail_cut[slot] = not newest
        self._loaded[slot] = True
        if len(rows) and self._th["stuck_p"][slot] == self._th["stuck_p"][slot]:
            n = len(rows)
            _, runs = quality.stuck_runs(
                rows["value"],
                starts=np.zeros(1, dtype=np.int64),
                stuck_p=np.full(n, self._th["stuck_p"][slot]),
                min_readings=np.full(n, self._th["stuck_min_readings"][slot]),
                max_repeat=np.full(n, self._th["stuck_max_repeat"][slot]),
                cut=self._cut[slot : slot + 1],
            )
            self._rows[slot, :n]["length"] = runs.length
            self._rows[slot, :n]["repeat"] = runs.repeat

    def forget(self, datastream_ids: IntArray) -> None:
        """Drops what is held of these datastreams: it is loaded again when it is needed."""
        slots = self._slots_of(np.unique(datastream_ids))
        self._loaded[slots] = False
        self._total[slots] = self._first[slots] = 0

    def forget_known(self, datastream_ids: Iterable[int]) -> None:
        """`forget` for ids of which some may never have been registered here."""
        self.forget(np.array([i for i in datastream_ids if i in self._slots], dtype=np.int64))

    def forget_all(self) -> None:
        """Drops everything held, for instance because another process may have written meanwhile."""
        self._loaded[:] = False
        self._total[:] = self._first[:] = 0

    def _slots_of(self, datastream_ids: IntArray) -> npt.NDArray[np.intp]:
        return np.fromiter(
            map(self._slots.__getitem__, datastream_ids.tolist()), dtype=np.intp, count=len(datastream_ids)
        )

    def plan(
        self,
        datastream_ids: IntArray,
        observed_us: IntArray,
        values: npt.NDArray[np.float64],
        corrections: npt.NDArray[np.bool_],
    ) -> Plan:
        """What a batch means; all its datastreams are registered and loaded. (n,) each, in order of arrival."""
        n = len(values)
        plan = Plan(
            outcome=np.zeros(n, dtype=np.int8),
            quality=np.full(n, UNKNOWN, dtype=np.uint8),
            tests=np.zeros(n, dtype=np.int64),
            revision=np.zeros(n, dtype=np.int16),
            updates=[],
            deep=np.zeros(n, dtype=bool),
        )
        if n == 0:
            return plan
        row_slot = self._slots_of(datastream_ids)
        order = np.lexsort((observed_us, row_slot))  # stable: rows with one key stay in order of arrival
        s = row_slot[order]
        begins = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
        slots = s[begins]
        oldest_new = observed_us[order][begins]
        total, first = self._total[slots], self._first[slots]
        newest = np.where(
            total > first, self._rows["observed_us"][slots, (total - 1) % self._capacity], np.iinfo(np.int64).min
        )
        place = total.copy()  # where the first new row of each datastream goes
        unsorted = oldest_new <= newest
        for i in np.flatnonzero(unsorted):
            held = self._rows["observed_us"][slots[i], np.arange(first[i], total[i]) % self._capacity]
            place[i] = first[i] + int(np.searchsorted(held, oldest_new[i]))
        need = self._need[slots]
        deep = unsorted & (self._cut[slots] | (first > 0)) & (place - first < need)
        if deep.any():
            counts = np.diff(np.r_[begins, n])
            in_deep = np.repeat(deep, counts)
            plan.deep[order[in_deep]] = True
            order = order[~in_deep]
            keep = ~deep
            slots, total, first, place = slots[keep], total[keep], first[keep], place[keep]
            need, unsorted = need[keep], unsorted[keep]
            counts = counts[keep]
            if not len(slots):
                return plan
            begins = np.cumsum(np.r_[0, counts[:-1]])
        counts = np.diff(np.r_[begins, len(order)])
        start = np.maximum(first, place - need)  # first row of the memory that each piece takes as context
        self._evaluate(plan, order, slots, counts, start, total, unsorted, observed_us, values, corrections)
        return plan

    def _evaluate(
        self,
        plan: Plan,
        order: npt.NDArray[np.intp],
        slots: npt.NDArray[np.intp],
        counts: IntArray,
        start: IntArray,
        total: IntArray,
        unsorted: npt.NDArray[np.bool_],
        observed_us: IntArray,
        values: npt.NDArray[np.float64],
        corrections: npt.NDArray[np.bool_],
    ) -> None:
        # Lay out one piece for each datastream: its context out of the memory, then the new rows.
        context = total - start
        length = context + counts
        begin = np.cumsum(np.r_[0, length[:-1]])
        size = int(length.sum())
        piece = np.repeat(np.arange(len(slots)), length)
        within = np.arange(size) - begin[piece]
        is_new = within >= context[piece]
        rows: Known = np.zeros(size, dtype=KNOWN_DTYPE)
        old = ~is_new
        rows[old] = self._rows[slots[piece[old]], (start[piece[old]] + within[old]) % self._capacity]
        source = np.full(size, -1, dtype=np.int64)
        source[is_new] = order
        fresh = np.zeros(len(order), dtype=KNOWN_DTYPE)
        fresh["observed_us"] = observed_us[order]
        fresh["value"] = fresh["original"] = values[order]
        fresh["repeat"] = np.nan
        rows[is_new] = fresh
        for i in np.flatnonzero(unsorted):
            cut = slice(int(begin[i]), int(begin[i] + length[i]))
            by_time = np.argsort(rows["observed_us"][cut], kind="stable")
            rows[cut] = rows[cut][by_time]
            source[cut] = source[cut][by_time]

        changed = source >= 0
        t = rows["observed_us"]
        doubled = np.r_[False, (t[1:] == t[:-1]) & (piece[1:] == piece[:-1])]
        corrected = np.zeros(size, dtype=bool)
        corrected[changed] = corrections[source[changed]]
        touched = np.zeros(size, dtype=bool)
        if doubled.any() or corrected.any():
            keep = self._settle(plan, rows, source, changed, touched, doubled, corrected, values)
            rows, source, changed, touched, piece = rows[keep], source[keep], changed[keep], touched[keep], piece[keep]
            length = np.bincount(piece, minlength=len(slots))
            begin = np.cumsum(np.r_[0, length[:-1]])
        self._flag(plan, rows, source, changed, touched, piece, begin, length, slots, start)

    def _settle(
        self,
        plan: Plan,
        rows: Known,
        source: IntArray,
        changed: npt.NDArray[np.bool_],
        touched: npt.NDArray[np.bool_],
        doubled: npt.NDArray[np.bool_],
        corrected: npt.NDArray[np.bool_],
        values: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.bool_]:
        """Settles keys that occur more than once or are corrected; gives back which rows of the pieces stay.

        The row that stays for a key takes, in `source`, the batch row that gives it its newest value, or none.
        """
        keep = ~doubled
        group = np.cumsum(keep) - 1
        heads = np.flatnonzero(keep)
        ends = np.r_[heads[1:], len(rows)]
        for g in np.unique(group[doubled | corrected]):
            head, end = int(heads[g]), int(ends[g])
            known = rows[head].copy() if source[head] < 0 else None
            members = [int(source[i]) for i in range(head, end) if source[i] >= 0]
            outcomes, revisions, value, original, revision, awaited = settle(
                known,
                [float(values[j]) for j in members],
                [bool(corrected[head + k + (known is not None)]) for k in range(len(members))],
            )
            final = -1
            for j, outcome, number in zip(members, outcomes, revisions, strict=True):
                plan.outcome[j] = outcome
                plan.revision[j] = number
                if outcome in (Outcome.CORRECTION, Outcome.CORRECTION_FIRST, Outcome.NEW):
                    final = j  # corrections come after the original in `members` or in their effect
            if revision:
                final = next((j for j, r in zip(members, revisions, strict=True) if r == revision), -1)
            row = rows[head : head + 1]
            row["value"], row["original"] = value, original
            row["awaited"] = awaited
            if final >= 0:
                row["revision"], row["flags_version"] = revision, 0
            source[head] = final
            changed[head] = final >= 0
            touched[head] = True
        return keep

    def _flag(
        self,
        plan: Plan,
        rows: Known,
        source: IntArray,
        changed: npt.NDArray[np.bool_],
        touched: npt.NDArray[np.bool_],
        piece: IntArray,
        begin: IntArray,
        length: IntArray,
        slots: npt.NDArray[np.intp],
        start: IntArray,
    ) -> None:
        """Flags of the changed rows, and of stored ones that a change beside them gives other flags."""
        size = len(rows)
        within = np.arange(size) - begin[piece]
        row_slot = slots[piece]
        first_changed = np.full(len(slots), size, dtype=np.int64)
        at = np.flatnonzero(changed)
        np.minimum.at(first_changed, piece[at], within[at])
        last_changed = np.full(len(slots), -1, dtype=np.int64)
        np.maximum.at(last_changed, piece[at], within[at])
        depth = within - first_changed[piece]  # < 0: before the first change of its piece
        times_s = rows["observed_us"] / MICROSECOND
        values = rows["value"].astype(np.float64)
        th = {name: column[row_slot] for name, column in self._th.items()}

        gross = quality.gross_range(
            values,
            fail_below=th["fail_below"],
            fail_above=th["fail_above"],
            suspect_below=th["suspect_below"],
            suspect_above=th["suspect_above"],
        )
        spikes = quality.spike(values, suspect=th["spike"], starts=begin)
        spikes[np.isnan(th["spike"]) & (spikes == SUSPECT)] = UNKNOWN
        rate = quality.rate_of_change(times_s, values, suspect_per_s=th["rate_per_s"], starts=begin)
        gap = quality.time_gap(times_s, gap_s=th["gap_s"], starts=begin)
        cut = (start > 0) | self._cut[slots]
        stuck, runs = quality.stuck_runs(
            values,
            starts=begin,
            stuck_p=th["stuck_p"],
            min_readings=th["stuck_min_readings"],
            max_repeat=th["stuck_max_repeat"],
            known=Runs(np.where(depth < 0, rows["length"], 0), np.where(depth < 0, rows["repeat"], np.nan)),
            cut=cut,
            was_stuck=(rows["tests"] & _FLAT) > 0,
        )
        flat = np.full(size, UNKNOWN, dtype=np.uint8)
        for i, slot in enumerate(slots.tolist()):
            fixed = self._flat.get(slot)
            if fixed is not None:
                here = slice(int(begin[i]), int(begin[i] + length[i]))
                flat[here] = quality.flat_line(values[here], n_suspect=fixed[0], n_fail=fixed[1], tolerance=fixed[2])
        flags = quality.combine(values, gross=gross, spikes=spikes, rate=rate, flat=flat, stuck=stuck, gap=gap)

        # The newest reading has no reading after it: a large step waits for one.
        last = begin + length - 1
        before = np.maximum(last - 1, begin)
        with np.errstate(invalid="ignore"):
            leap = (
                (np.abs(values[last] - values[before]) > th["provisional_step"][last])
                & (length > 1)
                & ~self._tail_cut[slots]
            )
        flags.tests[last[leap]] |= int(Check.SPIKE | Check.PROVISIONAL)
        flags.quality[last[leap]] = np.maximum(flags.quality[last[leap]], SUSPECT)

        # Before the change only the flat line can have changed, for a run that goes on; just before it, the spike too.
        stored_tests = rows["tests"].astype(np.int64)
        has_fixed = np.array([slot in self._flat for slot in slots.tolist()], dtype=bool)[piece]
        flat_bit = np.where(has_fixed, (stored_tests | flags.tests) & _FLAT, flags.tests & _FLAT)
        tests_before = (stored_tests & ~_FLAT) | flat_bit
        quality_before = np.where(
            values != values, MISSING, np.maximum(gross, np.where((tests_before & _AGAINST) > 0, SUSPECT, 1))
        )
        kept = (depth < -1) & (tests_before == stored_tests)
        tests = np.where(depth < -1, tests_before, flags.tests)
        verdict = np.where(kept, rows["quality"], np.where(depth < -1, quality_before, flags.quality)).astype(np.uint8)
        # The row just before the change lacks its own left neighbour where the piece begins with it.
        edge = (depth == -1) & (within == 0) & cut[piece]
        # In a window of the past what lies far behind the change keeps its flags: it cannot see its own neighbours.
        edge |= self._tail_cut[row_slot] & ~changed & (within - last_changed[piece] > _REACH)
        edge |= self._tail_cut[row_slot] & ~changed & (within == (length - 1)[piece])
        tests[edge], verdict[edge] = stored_tests[edge], rows["quality"][edge]
        update = ~changed & ((tests != stored_tests) | (verdict != rows["quality"])) & (first_changed < size)[piece]

        rows_of_batch = source[at]
        plan.quality[rows_of_batch] = verdict[at]
        plan.tests[rows_of_batch] = tests[at]
        rows["tests"], rows["quality"] = tests, verdict
        rows["length"], rows["repeat"] = runs.length, runs.repeat
        rows["flags_version"] += update.astype(np.int16)
        for i in np.flatnonzero(update).tolist():
            row = rows[i]
            plan.updates.append(
                Update(
                    datastream_id=int(self._ids[row_slot[i]]),
                    observed_us=int(row["observed_us"]),
                    revision=int(row["revision"]),
                    flags_version=int(row["flags_version"]),
                    value=float(row["value"]),
                    quality=int(row["quality"]),
                    tests=int(row["tests"]),
                )
            )
        end = start + length
        write = (changed | touched | update | (depth >= -1)) & (within + start[piece] >= end[piece] - self._capacity)
        self_rows = np.flatnonzero(write)
        plan.writes = (row_slot[self_rows], (start[piece] + within)[self_rows] % self._capacity, rows[self_rows])
        plan.totals = (slots, end)

    def commit(self, plan: Plan) -> None:
        """Remembers what a plan says, once it is stored."""
        if plan.totals is None or plan.writes is None:
            return
        slots, places, rows = plan.writes
        self._rows[slots, places] = rows
        slots, total = plan.totals
        self._total[slots] = total
        self._first[slots] = np.maximum(self._first[slots], total - self._capacity)


#: Threshold columns and the value that switches a test off.
_OFF = {
    "fail_below": -np.inf,
    "fail_above": np.inf,
    "suspect_below": -np.inf,
    "suspect_above": np.inf,
    "spike": np.nan,
    "provisional_step": np.nan,
    "rate_per_s": np.nan,
    "stuck_p": np.nan,
    "stuck_min_readings": 5.0,
    "stuck_max_repeat": 0.5,
    "gap_s": np.nan,
}
_THRESHOLD_COLUMNS = tuple(_OFF)
