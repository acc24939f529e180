"""Messages on disk while the database is away: kept before they are acknowledged, given back in order.

A record is its length, a CRC-32 and the message; a batch is synced to disk before `append` returns. Files are whole
segments, removed once they are stored. What was given back but not yet removed comes again after a crash, which does
no harm: a reading has a key. A torn last record, from a crash while writing, was never acknowledged and is cut off.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import Unavailable
from core.log import get_logger
from ingest.batch import Message

log = get_logger("spool")

_HEADER = struct.Struct("<II")  # length of the record, CRC-32 of it
_RECORD = struct.Struct("<qH")  # received_us, length of the topic; then topic and body
_SEGMENT_BYTES = 16 * 1024**2


class SpoolFull(Unavailable):
    """The spool has no room: nothing more can be acknowledged until the database is back."""


@dataclass(frozen=True, slots=True)
class _Place:
    segment: int
    offset: int


class Spool:
    """A bounded queue of messages in a folder of its own; one process at a time."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sizes: dict[int, int] = {int(f.stem): f.stat().st_size for f in folder.glob("*.spool")}
        self._place = self._read_place()
        self._peeked = self._place
        self._warned = False
        if self._sizes:
            self._cut_torn_tail(max(self._sizes))
        for segment in [s for s in self._sizes if s < self._place.segment]:
            self._remove(segment)

    # ------------------------------------------------------------------ state
    def __bool__(self) -> bool:
        return self.n_bytes > 0

    @property
    def n_bytes(self) -> int:
        """Bytes that wait."""
        waiting = sum(size for segment, size in self._sizes.items() if segment >= self._place.segment)
        return max(0, waiting - self._place.offset)

    def _file(self, segment: int) -> Path:
        return self._folder / f"{segment:012d}.spool"

    def _read_place(self) -> _Place:
        try:
            segment, offset = (self._folder / "place").read_text().split()
            place = _Place(int(segment), int(offset))
        except (FileNotFoundError, ValueError):
            return _Place(min(self._sizes, default=0), 0)
        if place.segment not in self._sizes:
            later = [s for s in self._sizes if s > place.segment]
            return _Place(min(later), 0) if later else _Place(place.segment + 1, 0)
        return place

    def _write_place(self) -> None:
        draft = self._folder / "place.new"
        draft.write_text(f"{self._place.segment} {self._place.offset}")
        draft.replace(self._folder / "place")

    def _remove(self, segment: int) -> None:
        self._sizes.pop(segment, None)
        self._file(segment).unlink(missing_ok=True)

    def _cut_torn_tail(self, segment: int) -> None:
        good = 0
        with self._file(segment).open("rb") as file:
            data = file.read()
        while (record := _read(data, good)) is not None:
            good = record[1]
        if good < len(data):
            log.warning("the spool ended in a torn record, which was never acknowledged", bytes=len(data) - good)
            with self._file(segment).open("r+b") as file:
                file.truncate(good)
                os.fsync(file.fileno())
            self._sizes[segment] = good

    # ------------------------------------------------------------------ in
    def append(self, messages: Sequence[Message]) -> None:
        """Keeps messages; when it returns they are on disk. Raises SpoolFull, and has then kept none of them."""
        data = b"".join(_written(message) for message in messages)
        if self.n_bytes + len(data) > self._max_bytes:
            raise SpoolFull(bytes=self.n_bytes, max_bytes=self._max_bytes)
        segment = max(self._sizes, default=self._place.segment)
        segment = max(segment, self._place.segment)
        if self._sizes.get(segment, 0) >= _SEGMENT_BYTES:
            segment += 1
        before = self._sizes.get(segment, 0)
        is_new = segment not in self._sizes
        try:
            with self._file(segment).open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                _sync_folder(self._folder)
        except OSError as error:
            # A full disk must leave no half batch behind: what is there must be exactly what was acknowledged.
            if self._file(segment).exists():
                os.truncate(self._file(segment), before)
            raise SpoolFull(f"The spool cannot be written: {error.strerror}.", folder=str(self._folder)) from error
        self._sizes[segment] = before + len(data)
        if not self._warned and self.n_bytes > self._max_bytes // 2:
            self._warned = True
            log.error("the spool is half full; the database is still away", bytes=self.n_bytes, max=self._max_bytes)

    # ------------------------------------------------------------------ out
    def peek(self, n: int) -> list[Message]:
        """The oldest messages, up to `n`; they stay until `advance`."""
        messages: list[Message] = []
        place = self._place
        while len(messages) < n and place.segment in self._sizes:
            with self._file(place.segment).open("rb") as file:
                file.seek(place.offset)
                data = file.read(max(4 * 1024**2, n * 256))
            offset = 0
            while len(messages) < n and (record := _read(data, offset)) is not None:
                messages.append(record[0])
                offset = record[1]
            place = _Place(place.segment, place.offset + offset)
            if len(messages) >= n:
                break
            if place.offset >= self._sizes[place.segment]:
                later = [s for s in self._sizes if s > place.segment]
                place = _Place(min(later), 0) if later else _Place(place.segment + 1, 0)
            elif offset == 0:
                damaged = self._file(place.segment)
                log.error("a damaged part of the spool is set aside", file=damaged.name, offset=place.offset)
                damaged.replace(damaged.with_suffix(".damaged"))
                self._sizes.pop(place.segment)
                later = [s for s in self._sizes if s > place.segment]
                place = _Place(min(later), 0) if later else _Place(place.segment + 1, 0)
        self._peeked = place
        return messages

    def advance(self) -> None:
        """What the last `peek` gave is stored; it is not given again."""
        old = self._place
        self._place = self._peeked
        self._write_place()
        for segment in [s for s in self._sizes if old.segment <= s < self._place.segment]:
            self._remove(segment)
        if not self.n_bytes:
            self._warned = False


def _written(message: Message) -> bytes:
    topic = message.topic.encode()
    record = _RECORD.pack(message.received_us, len(topic)) + topic + message.body
    return _HEADER.pack(len(record), zlib.crc32(record)) + record


def _read(data: bytes, offset: int) -> tuple[Message, int] | None:
    """(message, where the next record begins), or none: no whole, undamaged record begins there."""
    if offset + _HEADER.size > len(data):
        return None
    length, checksum = _HEADER.unpack_from(data, offset)
    start, end = offset + _HEADER.size, offset + _HEADER.size + length
    if length < _RECORD.size or end > len(data):
        return None
    record = data[start:end]
    if zlib.crc32(record) != checksum:
        return None
    received_us, n_topic = _RECORD.unpack_from(record)
    topic = record[_RECORD.size : _RECORD.size + n_topic]
    return Message(topic.decode(), record[_RECORD.size + n_topic :], received_us), end


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
