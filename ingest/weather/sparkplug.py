"""Sparkplug B (Eclipse, version 3): protobuf payloads of edge nodes, with births that declare what later data mean.

A birth names its metrics and gives them aliases; data may then send aliases alone. `seq` counts 0 to 255 and begins
again with a node's birth: a hole means that something was lost, and a rebirth has to be asked for. A death belongs to
the birth with the same `bdSeq`; one that comes late ends nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from ingest.weather.items import BadFeed

_MAX_METRICS = 10_000
_FLOAT, _DOUBLE, _BOOLEAN, _STRING = 9, 10, 11, 12
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}  # Int8 to Int64 are sent as unsigned numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One value of a payload."""

    name: str | None
    alias: int | None
    at: datetime | None
    datatype: int | None
    historical: bool
    value: float | int | bool | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A message of a node or device."""

    at: datetime | None
    seq: int | None
    metrics: tuple[Metric, ...]


def _varint(data: bytes, i: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if i >= len(data) or shift > 63:
            raise BadFeed("A payload that is cut off.", byte=i)
        value |= (data[i] & 0x7F) << shift
        i += 1
        if data[i - 1] < 0x80:
            return value & (1 << 64) - 1, i
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    i = 0
    while i < len(data):
        key, i = _varint(data, i)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise BadFeed("A payload with field 0.", byte=i)
        if kind == 0:
            value, i = _varint(data, i)
            yield number, value
            continue
        if kind == 2:
            size, i = _varint(data, i)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise BadFeed("A payload of a kind that is not protobuf's.", kind=kind)
        if size > len(data) - i:
            raise BadFeed("A payload that is cut off.", byte=i)
        yield number, data[i : i + size]
        i += size


def _time(ms: int | bytes) -> datetime:
    if not isinstance(ms, int) or ms > 253_402_300_799_000:
        raise BadFeed("A time of a payload lies off the calendar.")
    return datetime.fromtimestamp(ms / 1000, UTC)


def _metric(data: bytes) -> Metric:
    told: dict[int, int | bytes] = dict(_fields(data))
    datatype = told.get(4)
    kind = datatype if isinstance(datatype, int) else None
    value: float | int | bool | str | None = None
    if not told.get(7):
        value = _value(told, kind)
    name, alias, at = told.get(1), told.get(2), told.get(3)
    return Metric(
        name=name.decode("utf-8", "replace") if isinstance(name, bytes) else None,
        alias=alias if isinstance(alias, int) else None,
        at=_time(at) if at is not None else None,
        datatype=kind,
        historical=bool(told.get(5)),
        value=value,
    )


def _value(told: dict[int, int | bytes], kind: int | None) -> float | int | bool | str | None:
    for number in (10, 11):
        given = told.get(number)
        if isinstance(given, int):
            bits = _SIGNED.get(kind or 0)
            return given - (1 << bits) if bits is not None and given >= 1 << (bits - 1) else given
    for number, form in ((12, "<f"), (13, "<d")):
        given = told.get(number)
        if isinstance(given, bytes):
            number_: float = struct.unpack(form, given)[0]
            return number_
    if 14 in told:
        return bool(told[14])
    text = told.get(15)
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else None


def decode(data: bytes) -> Payload:
    """The payload; raises BadFeed for what is no protobuf of Sparkplug."""
    at: datetime | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    for number, value in _fields(data):
        if number == 1:
            at = _time(value)
        elif number == 2 and isinstance(value, bytes):
            metrics.append(_metric(value))
            if len(metrics) > _MAX_METRICS:
                raise BadFeed("A payload with too many metrics.", limit=_MAX_METRICS)
        elif number == 3 and isinstance(value, int):
            seq = value
    return Payload(at=at, seq=seq, metrics=tuple(metrics))


@dataclass(frozen=True, slots=True)
class Topic:
    """`spBv1.0/group/kind/node[/device]`."""

    group: str
    kind: str
    node: str
    device: str | None

    @classmethod
    def parse(cls, topic: str) -> "Topic":
        parts = topic.split("/")
        if len(parts) not in (4, 5) or parts[0] != "spBv1.0" or not all(parts):
            raise BadFeed("This is no topic of Sparkplug B.", topic=topic[:120])
        if parts[2] not in ("NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"):
            raise BadFeed("This kind of message is not read.", kind=parts[2][:20])
        if (parts[2][0] == "D") != (len(parts) == 5):
            raise BadFeed("A message of a device names the device, one of a node does not.", topic=topic[:120])
        return cls(parts[1], parts[2], parts[3], parts[4] if len(parts) == 5 else None)


@dataclass(slots=True)
class _Node:
    online: bool = False
    bd_seq: int | None = None
    seq: int | None = None
    #: device (none: the node) -> alias -> metric as it was born
    born: dict[str | None, dict[int, Metric]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one message means."""

    metrics: tuple[Metric, ...] = ()  #: named, with a time
    online: bool | None = None  #: the node or device came (True) or went (False)
    rebirth: str | None = None  #: why a rebirth has to be asked for


class Nodes:
    """What is known of the nodes of a broker; hears their messages in order."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], _Node] = {}

    def hear(self, topic: Topic, payload: Payload) -> Heard:
        """What the message says, with names for aliases; it changes what is known of its node."""
        node = self._nodes.setdefault((topic.group, topic.node), _Node())
        bd_seq = next((m.value for m in payload.metrics if m.name == "bdSeq"), None)
        if topic.kind == "NDEATH":
            if not node.online or node.bd_seq != bd_seq:
                return Heard()  # the will of an earlier session
            node.online, node.seq, node.born = False, None, {}
            return Heard(online=False)
        if topic.kind == "NBIRTH":
            if payload.seq != 0:
                return Heard(rebirth="a birth begins with seq 0")
            node.online, node.born, node.seq = True, {}, 0
            node.bd_seq = int(bd_seq) if isinstance(bd_seq, int | float) else None
            return self._born(node, None, payload)
        if not node.online:
            return Heard(rebirth="data before the birth")
        expected = ((node.seq if node.seq is not None else -1) + 1) % 256
        lost = payload.seq is not None and payload.seq != expected
        node.seq = payload.seq if payload.seq is not None else node.seq
        why = f"seq {payload.seq} after {(expected - 1) % 256}" if lost else None
        if topic.kind == "DDEATH":
            node.born.pop(topic.device, None)
            return Heard(online=False, rebirth=why)
        if topic.kind == "DBIRTH":
            return replace(self._born(node, topic.device, payload), rebirth=why)
        named = []
        for metric in payload.metrics:
            if metric.name is None:
                known = node.born.get(topic.device, {}).get(metric.alias if metric.alias is not None else -1)
                if known is None:
                    why = why or f"alias {metric.alias} was never born"
                    continue
                metric = replace(metric, name=known.name, datatype=metric.datatype or known.datatype)
            named.append(replace(metric, at=metric.at or payload.at))
        return Heard(metrics=tuple(named), rebirth=why)

    @staticmethod
    def _born(node: _Node, device: str | None, payload: Payload) -> Heard:
        born = node.born.setdefault(device, {})
        born.clear()
        for metric in payload.metrics:
            if metric.alias is not None:
                born[metric.alias] = metric
        told = [
            replace(m, at=m.at or payload.at)
            for m in payload.metrics
            if m.name and m.name != "bdSeq" and not m.name.startswith("Node Control/")
        ]
        return Heard(metrics=tuple(told), online=True)
