"""Recorded readings, as a replay plays them: an arrival stream, a table of levels, or a scenario's folder.

- NDJSON, also gzipped: lines of {"arrival", "topic", "payload"}, as they came; `tocsin/v1/lk/X/level` means
  `tocsin/v1/lk/obs/X/level`.
- CSV: a row a reading, with the station, the time and the value; stations beside it in a file of their own.
- a folder with scenario.toml: `[scenario]` with `tenant`, `readings` (files as above) and `stations`.
"""

import csv
import gzip
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.errors import InvalidInput
from core.units import QUANTITIES
from ingest.station import PUBLIC, Station, Topic, segment, stations_from_rows


class BadRecording(InvalidInput):
    """This file cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message as it came."""

    arrival_s: float
    topic: str
    payload: bytes


@dataclass(slots=True)
class Recording:
    """What is to be played."""

    name: str
    tenant: str
    messages: list[Recorded]
    stations: list[Station]
    #: station -> (seconds since 1970, value) of good readings as recorded, for the official crossings
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


#: Columns of a table of readings.
_STATION = ("station", "station_name", "code", "code_station", "station_code")
_TIME = ("time_utc", "observed_at", "time", "t")
_VALUES = {"water_level_m": "m", "level_m": "m", "level_mm": "mm", "value_m": "m", "value": None}


def read(path: Path, *, stations: Path | None = None, tenant: str | None = None) -> Recording:
    """The recording in a file or folder; raises BadRecording naming file, line and reason, or BadStation."""
    if path.is_dir():
        return _read_scenario(path, tenant)
    if not path.is_file():
        raise BadRecording("There is no such file.", file=str(path))
    suffixes = "".join(path.suffixes)
    known = _read_stations(stations) if stations is not None else []
    if suffixes.endswith((".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")):
        return _read_stream(path, known, tenant)
    if suffixes.endswith((".csv", ".csv.gz")):
        if not known:
            beside = path.with_name(path.name.replace("levels", "stations"))
            if beside != path and beside.is_file():
                known = _read_stations(beside)
        return _read_table(path, known, tenant)
    raise BadRecording("A recording is .ndjson, .csv (both also .gz) or a folder with scenario.toml.", file=str(path))


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="")


def _read_stations(path: Path) -> list[Station]:
    if not path.is_file():
        raise BadRecording("There is no such stations file.", file=str(path))
    with _open(path) as lines:
        return stations_from_rows(csv.DictReader(lines))


def _read_scenario(folder: Path, tenant: str | None) -> Recording:
    file = folder / "scenario.toml"
    if not file.is_file():
        raise BadRecording("A scenario's folder holds scenario.toml.", folder=str(folder))
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))["scenario"]
        readings, stations = list(told["readings"]), told.get("stations")
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadRecording(f"scenario.toml needs [scenario] with readings: {error}", file=str(file)) from error
    parts = [
        read(folder / name, stations=folder / stations if stations else None, tenant=tenant or told.get("tenant"))
        for name in readings
    ]
    if not parts:
        raise BadRecording("The scenario names no readings.", file=str(file))
    whole = parts[0]
    for part in parts[1:]:
        whole.messages += part.messages
        known = {s.segment for s in whole.stations}
        whole.stations += [s for s in part.stations if s.segment not in known]
        for code, series in part.series.items():
            whole.series.setdefault(code, []).extend(series)
    whole.messages.sort(key=lambda m: m.arrival_s)
    whole.name = str(told.get("name", folder.name))
    return whole


# ---------------------------------------------------------------- an arrival stream


def map_topic(topic: str) -> Topic:
    """The topic of our scheme that a recorded one stands for; raises BadRecording, BadTopic."""
    parts = topic.split("/")
    if len(parts) == 5 and parts[:2] == ["tocsin", "v1"]:
        tenant, station, quantity = parts[2:]
        return Topic.parse(f"tocsin/v1/{tenant}/obs/{segment(station)}/{quantity}")
    return Topic.parse(topic)


def _read_stream(path: Path, known: Sequence[Station], tenant: str | None) -> Recording:
    messages: list[Recorded] = []
    names: dict[str, str] = {s.segment: s.code for s in known}
    quantities: dict[str, str] = {}
    times: dict[str, list[float]] = defaultdict(list)
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    tenants: set[str] = set()
    with _open(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                told = json.loads(line)
                arrival_s, topic, payload = float(told["arrival"]), map_topic(told["topic"]), told["payload"]
            except (ValueError, KeyError, TypeError, InvalidInput) as error:
                raise BadRecording(
                    f"A line is {{arrival, topic, payload}}: {error}", file=path.name, line=number
                ) from error
            if tenant is not None:
                topic = replace(topic, tenant=tenant)
            tenants.add(topic.tenant)
            body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
            messages.append(Recorded(arrival_s, str(topic), body))
            quantities.setdefault(topic.station, topic.quantity)
            if isinstance(payload, dict):
                if isinstance(payload.get("station"), str) and segment(payload["station"]) == topic.station:
                    names.setdefault(topic.station, payload["station"])
                if isinstance(payload.get("t"), int | float) and abs(payload["t"] - arrival_s) < 3600:
                    times[topic.station].append(float(payload["t"]))
    if not messages:
        raise BadRecording("The file holds no messages.", file=path.name)
    if len(tenants) > 1:
        raise BadRecording("A recording is of one tenant; name one with --tenant.", tenants=sorted(tenants))
    messages.sort(key=lambda m: m.arrival_s)  # stable
    have = {s.segment: s for s in known}
    stations = [
        replace(
            have.get(each)
            or Station(code=names.get(each, each), name=names.get(each, each), quantity=_stored_quantity(quantity)),
            interval_s=_interval(times[each]),
        )
        for each, quantity in sorted(quantities.items())
    ]
    return Recording(path.name, tenants.pop(), messages, stations, dict(series))


def _stored_quantity(name: str) -> str:
    return name if name in QUANTITIES else "level"


def _interval(times_s: Sequence[float]) -> float:
    """The usual step between readings, rounded to a whole minute; ten minutes where there is nothing to go by."""
    steps = np.diff(np.unique(np.asarray(times_s, dtype=float)))
    if len(steps) < 3:
        return 600.0
    return float(max(60.0, round(float(np.median(steps)) / 60.0) * 60.0))


# ---------------------------------------------------------------- a table of readings


def _read_table(path: Path, known: Sequence[Station], tenant: str | None) -> Recording:
    by_code = {s.code: s for s in known}
    rows: list[tuple[float, str, float | None]] = []
    with _open(path) as lines:
        reader = csv.DictReader(lines)
        columns = reader.fieldnames or []
        station = next((c for c in _STATION if c in columns), None)
        time = next((c for c in _TIME if c in columns), None)
        value = next((c for c in _VALUES if c in columns), None)
        if station is None or time is None or value is None:
            raise BadRecording(
                "A table of readings has a station, a time and a value column.",
                file=path.name,
                station=_STATION,
                time=_TIME,
                value=tuple(_VALUES),
            )
        unit = _VALUES[value] or "m"
        for number, row in enumerate(reader, start=2):
            try:
                rows.append((_seconds(row[time]), row[station].strip(), float(row[value]) if row[value] else None))
            except (ValueError, AttributeError, TypeError) as error:
                raise BadRecording(f"A row cannot be read: {error}", file=path.name, line=number) from error
    if not rows:
        raise BadRecording("The table holds no readings.", file=path.name)
    rows.sort(key=lambda r: r[0])  # stable: in the order of time, as they would have come
    chosen = tenant or "lk"
    times: dict[str, list[float]] = defaultdict(list)
    series: dict[str, list[tuple[float, float]]] = defaultdict(list)
    factor, offset = QUANTITIES["level"].accepts[unit]
    messages = []
    for t, code, v in rows:
        times[code].append(t)
        if v is not None:
            series[code].append((t, v * factor + offset))
        payload = json.dumps({"station": code, "t": t, "v": v, "u": unit}, ensure_ascii=False, separators=(",", ":"))
        messages.append(Recorded(t, str(Topic(chosen, segment(code), "level")), payload.encode()))
    stations = [
        replace(by_code.get(code) or Station(code=code, name=code), interval_s=_interval(found))
        for code, found in sorted(times.items())
    ]
    return Recording(path.name, chosen, messages, stations, dict(series))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError(f"{text!r} has no offset from UTC") from None
        return at.timestamp()


# ---------------------------------------------------------------- as it is played


def enveloped(messages: Sequence[Recorded], *, step_s: float, mark: str) -> Iterator[tuple[Recorded, bytes]]:
    """Each message with its envelope; steps of `step_s` end with their last message, and the whole ends with `mark`."""
    for i, message in enumerate(messages):
        told: dict[str, Any] = {"arrival": message.arrival_s}
        following = messages[i + 1] if i + 1 < len(messages) else None
        if following is None or following.arrival_s // step_s != message.arrival_s // step_s:
            told["end"] = True
        if following is None:
            told["mark"] = mark
        head = json.dumps({"replay": told}, separators=(",", ":"))[:-1].encode()
        yield message, head + b',"payload":' + message.payload + b"}"


def official_crossings(recording: Recording) -> list[tuple[str, str, float, float]]:
    """(station, official level, threshold, seconds since 1970 of the first recorded reading at or above it)."""
    found = []
    for station in recording.stations:
        for level, threshold in station.official_levels.items():
            first = next((t for t, v in recording.series.get(station.code, ()) if v >= threshold), None)
            if first is not None:
                found.append((station.code, level, threshold, first))
    return found


def public_tenant(name: str) -> bool:
    """Whether a recording's tenant stands for stations without one."""
    return name == PUBLIC
