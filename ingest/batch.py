"""A batch on its way in: decoded, and laid out as arrays with the datastreams that its readings belong to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ingest import payload
from ingest.catalog import Catalog
from ingest.observation import MICROSECOND, Reading, clock_checks
from ingest.payload import Refused
from ingest.station import BadTopic, Topic
from store.pool import AsyncConnection

ID_REUSED = "This message id stood for another reading."


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came from the broker, the spool or HTTP."""

    topic: str
    body: bytes
    received_us: int  #: microseconds since 1970


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message, or one reading of it, that goes to quarantine."""

    n: int  #: which message of the batch
    topic: str
    body: bytes
    reason: str
    detail: str
    received_us: int


@dataclass(slots=True)
class Accepted:
    """What became of a batch, for the caller's counters."""

    n_messages: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    received_until_us: int = 0
    step_ends: bool = False  #: a replay's step ended with this batch
    marks: list[str] = field(default_factory=list)  #: a replay waits to hear that these were committed
    staged: bool = False

    def add(self, other: "Accepted") -> None:
        """Takes in what became of the messages that come behind these."""
        self.n_messages += other.n_messages
        self.outcomes.update(other.outcomes)
        self.rejected += other.rejected
        self.received_until_us = max(self.received_until_us, other.received_until_us)
        self.step_ends |= other.step_ends
        self.marks += other.marks
        self.staged |= other.staged


@dataclass(slots=True)
class Rows:
    """A batch's readings as arrays, in order of arrival, and where each came from."""

    message: npt.NDArray[np.int64]
    ds: npt.NDArray[np.int64]
    observed: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    checks: npt.NDArray[np.int64]
    received: npt.NDArray[np.int64]
    correction: npt.NDArray[np.bool_]
    ids: dict[int, tuple[str, str]]  #: row -> (source, message id)
    quantity: list[str]
    tenant: dict[int, UUID | None]  #: datastream -> tenant


@dataclass(slots=True)
class Batch:
    """Messages that were decoded, and those that could not be."""

    messages: Sequence[Message]
    #: (message, topic, readings, received in microseconds) of what can be read
    decoded: list[tuple[int, Topic, payload.Columns | list[Reading], int]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    n_same: int = 0  #: messages that repeat another one of the batch
    received_until_us: int = 0
    step_ends: bool = False  #: a replay's step ends with this batch
    marks: list[str] = field(default_factory=list)

    def reject(self, n: int, reason: str, detail: str, received_us: int) -> None:
        """Message n, or a reading of it, goes to quarantine."""
        message = self.messages[n]
        self.rejected.append(Rejected(n, message.topic, message.body, reason, detail, received_us))


class Decoder:
    """Bytes to readings, message by message; needs no database."""

    def __init__(self, *, exercise: bool, max_bytes: int) -> None:
        self._exercise = exercise
        self._max_bytes = max_bytes
        self._topics: dict[str, Topic | Refused] = {}

    def _topic(self, text: str) -> Topic | Refused:
        found = self._topics.get(text)
        if found is None:
            try:
                found = Topic.parse(text)
            except BadTopic as error:
                found = Refused("bad_topic", str(error))
            if len(self._topics) > 100_000:
                self._topics.clear()
            self._topics[text] = found
        return found

    def decode(self, messages: Sequence[Message]) -> Batch:
        """What can be read of the messages; the rest stands in `Batch.rejected` with its reason."""
        batch = Batch(messages=messages)
        for n, message in enumerate(messages):
            body, received_us = message.body, message.received_us
            try:
                if len(body) > self._max_bytes:
                    raise Refused("too_large", f"The payload has {len(body)} bytes; {self._max_bytes} are allowed.")
                topic = self._topic(message.topic)
                if isinstance(topic, Refused):
                    raise topic
                if body.startswith(b'{"replay"'):
                    if not self._exercise:
                        raise Refused("replay_outside_exercise", "A replay envelope is taken in an exercise only.")
                    opened = payload.open_envelope(body)
                    assert opened is not None
                    body, received_us = opened.payload, round(opened.arrival_s * MICROSECOND)
                    batch.step_ends |= opened.end
                    if opened.mark is not None:
                        batch.marks.append(opened.mark)
                        if body == b"null":
                            continue  # a question whether anybody listens
                readings: payload.Columns | list[Reading] | None = None
                if body.startswith(b"["):
                    readings = payload.decode_columns(topic, body, received_us / MICROSECOND)
                if readings is None:
                    readings = payload.decode(topic, body, received_us / MICROSECOND, max_bytes=self._max_bytes)
            except Refused as refused:
                batch.reject(n, refused.reason, refused.message, received_us)
            else:
                batch.decoded.append((n, topic, readings, received_us))
            batch.received_until_us = max(batch.received_until_us, received_us)
        return batch


async def rows_of(conn: AsyncConnection, batch: Batch, catalog: Catalog, *, skew_us: int) -> Rows:
    """The batch's readings with their datastreams; those of stations that are not registered are rejected."""
    await catalog.refresh(conn, {(topic.tenant, topic.station) for _, topic, _, _ in batch.decoded})
    # What is the same for a run of rows is told once for the run: a pack is one.
    runs: list[tuple[int, int, int]] = []  # message, received, how many
    ds: list[int] = []
    n_of_ds: list[int] = []
    value: list[float] = []
    seconds: list[float] = []  # of packs, in the order of their rows
    exact: dict[int, int] = {}  # row -> microseconds, of single readings
    checks: dict[int, int] = {}
    corrections: list[int] = []
    names: list[str] = []
    ids: dict[int, tuple[str, str]] = {}
    tenant: dict[int, UUID | None] = {}
    seen: dict[tuple[str, str], tuple[int, int, float]] = {}
    for n, topic, readings, received_us in batch.decoded:
        site = catalog.site(topic.tenant, topic.station)
        if site is None:
            batch.reject(n, "unknown_station", "No station of this name is registered.", received_us)
            continue
        if isinstance(readings, payload.Columns):
            quantities = set(readings.quantity)
            for name in quantities - site.streams.keys():
                await catalog.add(conn, topic.tenant, topic.station, name)
                site = catalog.site(topic.tenant, topic.station) or site
            k = len(readings.value)
            runs.append((n, received_us, k))
            if len(quantities) == 1:
                ds.append(site.streams[readings.quantity[0]].datastream_id)
                n_of_ds.append(k)
            else:
                ds += [site.streams[name].datastream_id for name in readings.quantity]
                n_of_ds += [1] * k
            value += readings.value
            seconds += readings.observed_s
            names += readings.quantity
            for name in quantities:
                tenant[site.streams[name].datastream_id] = site.tenant_id
            continue
        for reading in readings:
            stream = site.streams.get(reading.quantity)
            if stream is None:
                await catalog.add(conn, topic.tenant, topic.station, reading.quantity)
                site = catalog.site(topic.tenant, topic.station) or site
                stream = site.streams[reading.quantity]
            if reading.message_id is not None:
                key = (f"{topic.tenant}/{site.code}", reading.message_id)
                mine = (stream.datastream_id, reading.observed_us, reading.value)
                first = seen.setdefault(key, mine)
                if first is not mine:
                    if first[:2] == mine[:2] and (first[2] == mine[2] or (mine[2] != mine[2] and first[2] != first[2])):
                        batch.n_same += 1
                    else:
                        batch.reject(n, "message_id_reused", ID_REUSED, received_us)
                    continue
                ids[len(names)] = key
            tenant[stream.datastream_id] = site.tenant_id
            at = len(names)
            runs.append((n, received_us, 1))
            ds.append(stream.datastream_id)
            n_of_ds.append(1)
            value.append(reading.value)
            exact[at] = reading.observed_us
            if reading.checks:
                checks[at] = reading.checks
            if reading.corrects is not None:
                corrections.append(at)
            names.append(reading.quantity)
    n_rows = len(names)
    told = np.array(runs, dtype=np.int64).reshape(-1, 3)
    received = np.repeat(told[:, 1], told[:, 2])
    observed = np.zeros(n_rows, dtype=np.int64)
    from_packs = np.ones(n_rows, dtype=bool)
    if exact:
        at_rows = np.fromiter(exact, dtype=np.int64, count=len(exact))
        observed[at_rows] = np.fromiter(exact.values(), dtype=np.int64, count=len(exact))
        from_packs[at_rows] = False
    # as round() does it: half to even, of the same product
    observed[from_packs] = np.rint(np.array(seconds, dtype=np.float64) * MICROSECOND).astype(np.int64)
    found = clock_checks(observed, received, skew_us)
    for i, bits in checks.items():
        found[i] |= bits
    correction = np.zeros(n_rows, dtype=bool)
    correction[corrections] = True
    return Rows(
        np.repeat(told[:, 0], told[:, 2]),
        np.repeat(np.array(ds, dtype=np.int64), np.array(n_of_ds, dtype=np.int64)),
        observed,
        np.array(value, dtype=np.float64),
        found,
        received,
        correction,
        ids,
        names,
        tenant,
    )
