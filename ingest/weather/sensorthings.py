"""OGC SensorThings 1.1: observations as published, as subscribed to, and in a data array.

phenomenonTime is when it was true, an instant or an interval (its end counts); resultTime may be null. A result may be
any JSON: only numbers are readings. Which station and quantity a datastream is, its registration says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingest.weather.items import BadFeed, Measured, a_list, a_number, a_time, an_object, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Datastream:
    """What a SensorThings datastream is to us."""

    code: str
    quantity: str
    unit: str


def parse(body: bytes, known: Mapping[str, Datastream], *, topic: str | None = None) -> list[Measured]:
    """Readings of a message; `topic` names the datastream where the message does not. Raises BadFeed."""
    document = read_json(body)
    if isinstance(document, list):
        return [one for n, group in enumerate(document) for one in _array(an_object(group, f"[{n}]"), f"[{n}]", known)]
    given = an_object(document, "observation")
    if "dataArray" in given:
        return list(_array(given, "observation", known))
    return [_one(given, known, _id(given.get("Datastream")) or _id_of_topic(topic), "observation")]


def _id(given: Any) -> str | None:
    return str(given["@iot.id"]) if isinstance(given, dict) and "@iot.id" in given else None


def _id_of_topic(topic: str | None) -> str | None:
    """`v1.1/Datastreams(118)/Observations` -> 118."""
    if topic is None:
        return None
    _, found, rest = topic.partition("Datastreams(")
    return rest.partition(")")[0].strip("'") if found else None


def _stream(known: Mapping[str, Datastream], told: str | None, where: str) -> Datastream:
    if told is None:
        raise BadFeed("An observation names its Datastream, or its topic does.", where=where)
    stream = known.get(told)
    if stream is None:
        raise BadFeed("This datastream is not registered.", where=where, datastream=told[:40])
    return stream


def _when(given: Any, where: str) -> datetime:
    return a_time(str(given).rpartition("/")[2], where)


def _one(given: Mapping[str, Any], known: Mapping[str, Datastream], told: str | None, where: str) -> Measured:
    stream = _stream(known, told, where)
    result = given.get("result")
    if isinstance(result, bool) or not (result is None or isinstance(result, int | float)):
        raise BadFeed("Only a number is a reading.", where=f"{where}.result", given=str(result)[:40])
    quality = given.get("resultQuality")
    codes = [
        str((one.get("DQ_Result") or {}).get("code"))
        for one in (quality if isinstance(quality, list) else [quality])
        if isinstance(one, dict)
    ]
    return Measured(
        code=stream.code,
        quantity=stream.quantity,
        unit=stream.unit,
        observed_at=_when(given.get("phenomenonTime"), f"{where}.phenomenonTime"),
        value=None if result is None else a_number(result, f"{where}.result"),
        note=",".join(codes),
    )


def _array(group: Mapping[str, Any], where: str, known: Mapping[str, Datastream]) -> list[Measured]:
    names = [str(one) for one in a_list(group.get("components"), f"{where}.components")]
    if "result" not in names or "phenomenonTime" not in names:
        raise BadFeed("A data array has phenomenonTime and result.", where=f"{where}.components")
    rows = a_list(group.get("dataArray"), f"{where}.dataArray")
    count = group.get("dataArray@iot.count")
    if count is not None and count != len(rows):
        raise BadFeed("A data array that is cut off.", where=where, told=count, found=len(rows))
    found = []
    for n, row in enumerate(rows):
        cells = a_list(row, f"{where}.dataArray[{n}]")
        if len(cells) != len(names):
            raise BadFeed("A row with another number of cells.", where=f"{where}.dataArray[{n}]")
        found.append(_one(dict(zip(names, cells, strict=True)), known, _id(group.get("Datastream")), f"{where}[{n}]"))
    return found
