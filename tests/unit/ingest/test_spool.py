"""The spool: what it acknowledged it gives back, in order, whatever happens to the process or the disk."""

import errno
import os
from pathlib import Path

import pytest

from ingest import spool as spools
from ingest.batch import Message
from ingest.spool import Spool, SpoolFull


def messages(start: int, n: int) -> list[Message]:
    return [Message(f"tocsin/v1/lk/obs/g{i % 7}/level", b'{"t":%d}' % i, i * 1000) for i in range(start, start + n)]


def drained(spool: Spool, size: int = 100) -> list[Message]:
    found: list[Message] = []
    while spool:
        piece = spool.peek(size)
        assert piece
        found += piece
        spool.advance()
    return found


def test_messages_come_back_in_order_over_restarts_and_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_SEGMENT_BYTES", 2000)
    spool = Spool(tmp_path, max_bytes=10**8)
    for start in range(0, 500, 50):
        spool.append(messages(start, 50))
    assert len(list(tmp_path.glob("*.spool"))) > 3
    first = spool.peek(120)
    spool.advance()
    assert first == messages(0, 120)
    again = Spool(tmp_path, max_bytes=10**8)
    again.append(messages(500, 10))
    assert drained(again) == messages(120, 390)
    assert list(tmp_path.glob("*.spool")) == [] or not Spool(tmp_path, max_bytes=10**8)
    assert drained(Spool(tmp_path, max_bytes=10**8)) == []


def test_what_was_given_but_not_stored_comes_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=10**8)
    spool.append(messages(0, 30))
    assert spool.peek(10) == messages(0, 10)
    assert Spool(tmp_path, max_bytes=10**8).peek(10) == messages(0, 10)


def test_new_messages_may_come_while_old_ones_are_drained(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=10**8)
    found: list[Message] = []
    for start in range(0, 100, 10):
        spool.append(messages(start, 10))
        found += spool.peek(7)
        spool.advance()
    assert found + drained(spool) == messages(0, 100)


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_torn_last_record_is_cut_off(tmp_path: Path, cut: int) -> None:
    spool = Spool(tmp_path, max_bytes=10**8)
    spool.append(messages(0, 20))
    (file,) = tmp_path.glob("*.spool")
    os.truncate(file, file.stat().st_size - cut)
    again = Spool(tmp_path, max_bytes=10**8)
    again.append(messages(20, 5))
    assert drained(again) == messages(0, 19) + messages(20, 5)


def test_a_damaged_record_costs_its_segment_and_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_SEGMENT_BYTES", 500)
    spool = Spool(tmp_path, max_bytes=10**8)
    for start in range(0, 60, 20):
        spool.append(messages(start, 20))
    first = min(tmp_path.glob("*.spool"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    found = drained(Spool(tmp_path, max_bytes=10**8), size=1000)
    assert found[-40:] == messages(20, 40)
    assert 0 < len(found) - 40 < 20
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_a_full_spool_keeps_nothing_of_a_batch(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=2000)
    spool.append(messages(0, 20))
    with pytest.raises(SpoolFull):
        spool.append(messages(20, 100))
    assert drained(spool) == messages(0, 20)
    spool.append(messages(20, 20))
    assert drained(spool) == messages(20, 20)


def test_a_full_disk_is_a_full_spool_and_leaves_no_half_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, max_bytes=10**8)
    spool.append(messages(0, 10))

    def no_space(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(messages(10, 10))
    spool.append(messages(20, 10))
    assert drained(Spool(tmp_path, max_bytes=10**8)) == messages(0, 10) + messages(20, 10)


def test_every_batch_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counting(fd: int) -> None:
        fsync(fd)
        synced.append(fd)

    monkeypatch.setattr(os, "fsync", counting)
    spool = Spool(tmp_path, max_bytes=10**8)
    spool.append(messages(0, 3))
    n = len(synced)
    assert n >= 2  # the file and, as it is new, its folder
    spool.append(messages(3, 3))
    assert len(synced) == n + 1
