"""Bytes to readings, strictly: what is not exactly right is refused with a reason, and the caller keeps it.

Two forms: a SenML JSON pack (RFC 8428, an array) and our plain JSON (an object). One wrong record refuses its whole
pack, because a half-read pack cannot be told from a whole one later.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from core.errors import InvalidInput
from core.units import QUANTITIES, UnknownQuantity, UnknownUnit, conversion
from ingest.observation import MICROSECOND, Check, Reading
from ingest.senml import RELATIVE_BELOW_S, BadPack, is_name, resolve
from ingest.station import MIXED, Topic, segment

MAX_DEPTH = 16

#: Numbers that instruments and services send for "no value" (USGS: -999999). They are no measurement in any unit;
#: -999 may be one in millimetres, so it counts only where the quantity cannot be so low.
_NO_DATA = frozenset({-9999.0, -99999.0, -999999.0, -9999999.0})
_SPECIAL = _NO_DATA | {-999.0}

#: Seconds at and above which a time is taken for milliseconds: 1e11 s is the year 5138, 1e11 ms is March 1973.
_MILLISECONDS_FROM = 1e11
_MILLISECONDS_UNTIL = 1e14

#: 0001-01-01 and 9999-12-31 in seconds since 1970: what a timestamp can hold.
_EARLIEST_S, _LATEST_S = -62_135_596_800.0, 253_402_300_799.0


class Refused(InvalidInput):
    """A message that cannot be decoded. `reason` is one of a fixed set of words; the message says more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str | msgspec.UnsetType = msgspec.UNSET
    tenant: str | msgspec.UnsetType = msgspec.UNSET
    station: str | msgspec.UnsetType = msgspec.UNSET
    quantity: str | msgspec.UnsetType = msgspec.UNSET
    t: float | msgspec.UnsetType = msgspec.UNSET
    observed_at: str | msgspec.UnsetType = msgspec.UNSET
    v: float | msgspec.UnsetType | None = msgspec.UNSET
    u: str | msgspec.UnsetType = msgspec.UNSET
    corrects: str | msgspec.UnsetType = msgspec.UNSET


class _Arrival(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    arrival: float
    end: bool = False
    mark: str | msgspec.UnsetType = msgspec.UNSET


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    replay: _Arrival
    payload: msgspec.Raw


_plain = msgspec.json.Decoder(_Plain)
_pack = msgspec.json.Decoder(list[dict[str, float | str | bool | None]])
_envelope = msgspec.json.Decoder(_Envelope)


def _n_given(m: _Plain) -> int:
    """How many of the object's names were given."""
    unset = msgspec.UNSET
    return (
        (m.id is not unset)
        + (m.tenant is not unset)
        + (m.station is not unset)
        + (m.quantity is not unset)
        + (m.t is not unset)
        + (m.observed_at is not unset)
        + (m.v is not unset)
        + (m.u is not unset)
        + (m.corrects is not unset)
    )


def check_structure(body: bytes) -> None:
    """Refuses what no parser may be given: nesting over 16, a name twice in one object, NaN, Infinity, bad UTF-8.

    Exact and linear in the length, and slow: the decoders below call it only for what they cannot vouch for.
    """
    try:
        told = body.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise Refused("bad_utf8", f"The payload is not UTF-8: {error.reason} at byte {error.start}.") from None
    depth = 0
    in_text = escaped = False
    for byte in body:
        if in_text:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > MAX_DEPTH:
                raise Refused("too_deep", f"The payload nests deeper than {MAX_DEPTH}.")
        elif byte in (0x5D, 0x7D):
            depth -= 1

    def no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise Refused("duplicate_key", f"The name {twice[:40]!r} stands twice in one object.")
        return found

    def not_finite(text: str) -> float:
        raise Refused("not_finite", f"{text} is not a number that can be stored.")

    def finite(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else not_finite(text[:40])

    try:
        json.loads(told, object_pairs_hook=no_name_twice, parse_constant=not_finite, parse_float=finite)
    except json.JSONDecodeError as error:
        raise Refused("bad_json", f"The payload is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError as error:  # an integer too long to read
        raise Refused("not_finite", f"The payload holds a number that cannot be read: {error}.") from None


def _names_at_most(body: bytes, n_names: int) -> bool:
    """Whether the bytes can hold no more than `n_names` names of objects.

    Every name is followed by a colon, with or without white space between. Where no white space stands before a
    colon, `":` occurs at least once for each name, so that a name given twice makes the count larger than the number
    of names that were decoded. Text that holds such signs can only make it larger still: then the exact way decides.
    """
    return (
        body.count(b'":') <= n_names
        and b" :" not in body
        and b"\t:" not in body
        and b"\n:" not in body
        and b"\r:" not in body
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a replay wraps each payload in."""

    arrival_s: float  #: the recorded arrival in seconds since 1970
    end: bool  #: a step of the replay ends here
    mark: str | None  #: said on the channel tocsin_replay once this message is committed
    payload: bytes


def open_envelope(body: bytes) -> Envelope | None:
    """The envelope of {"replay": {"arrival": s, "end": bool, "mark": text}, "payload": ...}; none: it is no envelope.

    With a mark the payload may be null: then nothing is stored, and the mark says that somebody listens.

    Only an exercise database takes one; the caller refuses it elsewhere. Raises Refused for a broken one.
    """
    if not body.startswith(b'{"replay"'):
        return None
    try:
        found = _envelope.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        check_structure(body)
        raise Refused("bad_envelope", f"The replay envelope cannot be read: {error}.") from None
    if not _EARLIEST_S <= found.replay.arrival <= _LATEST_S:
        raise Refused("bad_envelope", "The replay envelope's arrival is out of range.")
    mark = None if found.replay.mark is msgspec.UNSET else found.replay.mark[:100]
    return Envelope(found.replay.arrival, found.replay.end, mark, bytes(found.payload))


def _time_us(seconds: float) -> tuple[int, int]:
    """(microseconds since 1970, Check bits) of a time a device sent in seconds; raises Refused."""
    if _MILLISECONDS_FROM <= seconds < _MILLISECONDS_UNTIL:
        return round(seconds * 1000), int(Check.EPOCH_MS)
    if not _EARLIEST_S <= seconds <= _LATEST_S:
        raise Refused("bad_time", f"The time {seconds!r} is neither seconds nor milliseconds since 1970.")
    return round(seconds * MICROSECOND), 0


def _iso_us(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused("bad_time", f"observed_at is not an ISO 8601 time: {text[:40]!r}.") from None
    if at.tzinfo is None:
        raise Refused("bad_time", f"observed_at has no offset from UTC: {text[:40]!r}.")
    # whole microseconds: a float of seconds would lose the last one
    gap = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (gap.days * 86_400 + gap.seconds) * MICROSECOND + gap.microseconds


def _identifier(name: str, text: str | msgspec.UnsetType) -> str | None:
    if text is msgspec.UNSET:
        return None
    if not 1 <= len(text) <= 200 or not text.isprintable():
        raise Refused("bad_field", f"{name} must be 1 to 200 printable characters.")
    return text


def _read_plain(topic: Topic, body: bytes) -> Reading:
    try:
        message = _plain.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        check_structure(body)
        raise Refused("bad_field", f"{error}.") from None
    if not _names_at_most(body, _n_given(message)):
        check_structure(body)
    if message.v is msgspec.UNSET:
        raise Refused("no_value", "v is missing; send null where there is no value.")
    if (message.t is msgspec.UNSET) == (message.observed_at is msgspec.UNSET):
        raise Refused("bad_time", "Give either t (seconds since 1970) or observed_at (ISO 8601).")
    if message.tenant is not msgspec.UNSET and message.tenant != topic.tenant:
        raise Refused(
            "tenant_mismatch", f"The topic says tenant {topic.tenant!r}, the payload {message.tenant[:80]!r}."
        )
    if message.station is not msgspec.UNSET and segment(message.station) != topic.station:
        raise Refused(
            "station_mismatch", f"The topic says station {topic.station!r}, the payload {message.station[:80]!r}."
        )
    quantity = topic.quantity
    if message.quantity is not msgspec.UNSET:
        if quantity not in (MIXED, message.quantity):
            raise Refused("quantity_mismatch", f"The topic says {quantity!r}, the payload {message.quantity[:80]!r}.")
        quantity = message.quantity
    elif quantity == MIXED:
        raise Refused("unknown_quantity", "Neither topic nor payload says which quantity this is.")
    observed_us, checks = (_iso_us(str(message.observed_at)), 0) if message.t is msgspec.UNSET else _time_us(message.t)
    corrects = _identifier("corrects", message.corrects)
    message_id = _identifier("id", message.id)
    if corrects is not None and corrects == message_id:
        raise Refused("bad_field", "A message cannot correct itself.")
    return Reading(
        quantity=quantity,
        observed_us=observed_us,
        value=_stored(quantity, message.v, None if message.u is msgspec.UNSET else message.u),
        checks=checks,
        message_id=message_id,
        corrects=corrects,
    )


def _stored(quantity: str, value: float | None, unit: str | None) -> float:
    try:
        factor, offset = conversion(quantity, unit)
    except UnknownUnit as error:
        raise Refused("unknown_unit", str(error)) from None
    except UnknownQuantity as error:
        raise Refused("unknown_quantity", str(error)) from None
    if value is None or value in _NO_DATA:
        return math.nan
    stored = value * factor + offset
    if value == -999 and stored < QUANTITIES[quantity].lowest:
        return math.nan
    if not math.isfinite(stored):
        raise Refused("not_finite", "The value overflows in the stored unit.")
    return stored


def _quantity_of(name: str, topic: Topic) -> str:
    """The quantity a SenML name stands for, after checking that it names the topic's station or none."""
    head, separator, tail = name, "", name
    for i in range(len(name) - 1, -1, -1):
        if name[i] in ":/":
            head, separator, tail = name[:i], name[i], name[i + 1 :]
            break
    if tail == topic.station and topic.quantity != MIXED:
        return topic.quantity  # a device with one sensor is named by the device alone
    if separator:
        last = head.replace("/", ":").rsplit(":", 1)[-1]
        if last != topic.station:
            raise Refused("station_mismatch", f"The topic says station {topic.station!r}, the record {name[:80]!r}.")
    if topic.quantity not in (MIXED, tail):
        raise Refused("quantity_mismatch", f"The topic says {topic.quantity!r}, the record {name[:80]!r}.")
    return tail


def _read_pack(topic: Topic, body: bytes, received_s: float) -> list[Reading]:
    pack: Sequence[dict[str, Any]]
    try:
        pack = _pack.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        check_structure(body)
        loose = json.loads(body.decode())
        if not isinstance(loose, list) or not all(isinstance(record, dict) for record in loose):
            raise Refused("bad_senml", "A SenML pack is an array of objects.") from None
        pack = loose
    else:
        if not _names_at_most(body, sum(map(len, pack))):
            check_structure(body)
    try:
        records = resolve(pack, received_s)
    except BadPack as error:
        raise Refused("bad_senml", str(error)) from None
    readings = []
    quantities: dict[str, str] = {}
    for record in records:
        if record.value is None:
            raise Refused("no_value", f"The record {record.name[:80]!r} has no numeric value.")
        quantity = quantities.get(record.name)
        if quantity is None:
            quantity = quantities[record.name] = _quantity_of(record.name, topic)
        observed_us, checks = _time_us(record.time_s)
        readings.append(
            Reading(
                quantity=quantity,
                observed_us=observed_us,
                value=_stored(quantity, record.value, record.unit),
                checks=checks,
            )
        )
    return readings


class _Record(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A SenML record of the commonest kind; any other field sends the pack the exact way."""

    bn: str | msgspec.UnsetType = msgspec.UNSET
    bt: float | msgspec.UnsetType = msgspec.UNSET
    bu: str | msgspec.UnsetType = msgspec.UNSET
    n: str | msgspec.UnsetType = msgspec.UNSET
    u: str | msgspec.UnsetType = msgspec.UNSET
    t: float | msgspec.UnsetType = msgspec.UNSET
    v: float | msgspec.UnsetType = msgspec.UNSET


_records = msgspec.json.Decoder(list[_Record])


@dataclass(frozen=True, slots=True)
class Columns:
    """The readings of a pack side by side: nothing known of their clocks yet, no message ids, no corrections."""

    quantity: list[str]
    observed_s: list[float]  #: seconds since 1970
    value: list[float]


@lru_cache(maxsize=100_000)
def _meaning(name: str, unit: str | None, tenant: str, station: str, quantity: str) -> tuple[str, float, float] | None:
    """(quantity, factor, offset) of a resolved name and unit under a topic; none: `decode` says why it does not fit."""
    if not is_name(name):
        return None
    try:
        found = _quantity_of(name, Topic(tenant, station, quantity))
        return (found, *conversion(found, unit))
    except InvalidInput:
        return None


def _one_series(topic: Topic, body: bytes, records: list[_Record], received_s: float) -> Columns | None:
    """`decode_columns` of a pack whose records after the first hold n, t and v alone, all of one name; none: another.

    With as many names in the bytes as those fields have, no record can hold anything else.
    """
    first, rest = records[0], records[1:]
    unset = msgspec.UNSET
    times, values, names = [r.t for r in rest], [r.v for r in rest], [r.n for r in rest]
    name = names[0]
    if name is unset or names.count(name) != len(names) or first.v is unset:
        return None
    n_given = (
        1
        + (first.bn is not unset)
        + (first.bt is not unset)
        + (first.bu is not unset)
        + (first.n is not unset)
        + (first.u is not unset)
        + (first.t is not unset)
    )
    if not _names_at_most(body, n_given + 3 * len(rest)):
        return None
    base_name = "" if first.bn is unset else first.bn
    own_name = "" if first.n is unset else first.n
    base_time = 0.0 if first.bt is unset else first.bt
    base_unit = None if first.bu is unset else first.bu
    if own_name != name or (first.u is not unset and first.u != base_unit):
        return None
    meaning = _meaning(base_name + own_name, base_unit, topic.tenant, topic.station, topic.quantity)
    if meaning is None:
        return None
    quantity, factor, offset = meaning
    times.insert(0, 0.0 if first.t is unset else first.t)
    values.insert(0, first.v)
    try:
        # an unset time or value is no number
        observed_s = [base_time + t for t in times]  # type: ignore[operator]
        lowest, total = min(values), sum(values)  # type: ignore[type-var,arg-type]
    except TypeError:
        return None
    if lowest <= -999.0 or not math.isfinite(total):  # type: ignore[operator]
        return None  # it may be one of the numbers for "no value"
    if factor != 1.0 or offset != 0.0:
        values = [v * factor + offset for v in values]  # type: ignore[operator]
        if not math.isfinite(sum(values)):  # type: ignore[arg-type]
            return None
    if min(observed_s) < RELATIVE_BELOW_S:
        observed_s = [t + received_s if -RELATIVE_BELOW_S < t < RELATIVE_BELOW_S else t for t in observed_s]
    if min(observed_s) < _EARLIEST_S or max(observed_s) >= _MILLISECONDS_FROM:
        return None
    return Columns([quantity] * len(values), observed_s, values)  # type: ignore[arg-type]


def decode_columns(topic: Topic, body: bytes, received_s: float) -> Columns | None:
    """What `decode` would give for a good pack of the commonest kind, faster; none: `decode` must decide.

    Shown equal to `decode` in tests/unit/ingest/test_payload.py.
    """
    try:
        records = _records.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(records) > 1:
        found = _one_series(topic, body, records, received_s)
        if found is not None:
            return found
    return _any_series(topic, body, records, received_s)


def _any_series(topic: Topic, body: bytes, records: list[_Record], received_s: float) -> Columns | None:
    """`decode_columns` of a pack with several names, units or base fields on the way."""
    unset = msgspec.UNSET
    base_name, base_time, n_given = "", 0.0, 0
    base_unit: str | None = None
    quantities: list[str] = []
    times: list[float] = []
    values: list[float] = []
    for r in records:
        name, t, v = r.n, r.t, r.v
        if v is unset:
            return None
        n_given += 1
        if r.bn is not unset:
            base_name, n_given = r.bn, n_given + 1
        if r.bt is not unset:
            base_time, n_given = r.bt, n_given + 1
        if r.bu is not unset:
            base_unit, n_given = r.bu, n_given + 1
        if name is unset:
            full = base_name
        else:
            full, n_given = base_name + name, n_given + 1
        if r.u is unset:
            unit = base_unit
        else:
            unit, n_given = r.u, n_given + 1
        if t is unset:
            t = base_time
        else:
            t, n_given = t + base_time, n_given + 1
        found = _meaning(full, unit, topic.tenant, topic.station, topic.quantity)
        if found is None:
            return None
        quantities.append(found[0])
        times.append(t)
        values.append(v * found[1] + found[2])
        if v in _SPECIAL:
            return None
    if not records or not _names_at_most(body, n_given):
        return None
    if min(times) < RELATIVE_BELOW_S:
        times = [t + received_s if -RELATIVE_BELOW_S < t < RELATIVE_BELOW_S else t for t in times]
    if min(times) < _EARLIEST_S or max(times) >= _MILLISECONDS_FROM or not math.isfinite(sum(values)):
        return None
    return Columns(quantities, times, values)


def decode(topic: Topic, body: bytes, received_s: float, *, max_bytes: int = 64 * 1024) -> list[Reading]:
    """The readings of one message; raises Refused with the reason.

    Parameters
    ----------
    topic : where it was published; station, tenant and quantity in the payload must agree with it
    body : SenML JSON (an array) or plain JSON (an object)
    received_s : arrival in seconds since 1970; SenML's relative times count from it
    """
    if len(body) > max_bytes:
        raise Refused("too_large", f"The payload has {len(body)} bytes; {max_bytes} are allowed.")
    head = body[:1]
    if head == b"[":
        return _read_pack(topic, body, received_s)
    if head == b"{":
        return [_read_plain(topic, body)]
    start = body.lstrip(b" \t\r\n")[:1]
    if start == b"[":
        return _read_pack(topic, body, received_s)
    if start == b"{":
        return [_read_plain(topic, body)]
    check_structure(body)
    raise Refused("bad_json", "A payload is a SenML array or a plain object.")
