"""The egress journal as a file: one chain, whatever crashes, and whoever of the site writes at the same time."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure, Part, read_egress
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StoreError


def departure(number: int = 0) -> Departure:
    part = Part("join", 3, sha256_digest(b"abc"))
    return Departure("message", "127.0.0.1:1", "/vdb.v1.SessionService/Join", 7, part.digest, {"n": number}, (part,))


def written(path: Path, count: int = 4) -> bytes:
    journal = EgressJournal(path)
    for number in range(count):
        journal.record(departure(number))
    return path.read_bytes()


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "state" / "egress.jsonl")
    assert journal.read().entries == ()
    for number in range(3):
        journal.record(departure(number))
    reading = journal.read()
    assert [entry.departure for entry in reading.entries] == [departure(number) for number in range(3)]
    assert reading.head == reading.entries[-1].digest
    assert journal.path.stat().st_mode & 0o077 == 0


def test_no_byte_can_be_changed_unnoticed(tmp_path: Path) -> None:
    data = written(tmp_path / "egress.jsonl", 2)
    for place in range(len(data)):
        for byte in {0, 10, data[place] ^ 1} - {data[place]}:
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            try:
                assert len(read_egress(changed).entries) < 2, place
            except StoreError:
                continue


def test_no_line_can_be_removed_added_or_moved(tmp_path: Path) -> None:
    lines = written(tmp_path / "egress.jsonl").splitlines(keepends=True)
    for changed in (
        lines[1:],
        lines[:1] + lines[2:],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:2], lines[1], *lines[2:]],
    ):
        with pytest.raises(StoreError, match=r"egress journal, line \d: "):
            read_egress(b"".join(changed))


def test_lines_of_two_journals_do_not_make_one(tmp_path: Path) -> None:
    """Every line is whole, and its number the next: only what it says of its predecessor gives it away."""
    one = written(tmp_path / "one.jsonl").splitlines(keepends=True)
    journal = EgressJournal(tmp_path / "other.jsonl")
    for number in range(4):
        journal.record(departure(10 + number))
    other = journal.path.read_bytes().splitlines(keepends=True)
    with pytest.raises(StoreError, match=r"line 3: does not follow the line before it"):
        read_egress(b"".join([*one[:2], *other[2:]]))


def test_a_line_that_a_crash_cut_short_was_never_written(tmp_path: Path) -> None:
    """Wherever the last write ended: the lines before it stand, and the chain goes on from them."""
    whole = written(tmp_path / "egress.jsonl", 3)
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        for zeros in (0, 5, len(whole) - end):
            path = tmp_path / f"{end}-{zeros}.jsonl"
            path.write_bytes(whole[:end] + bytes(zeros))
            journal = EgressJournal(path)
            assert len(journal.read().entries) == 2
            if end % 40 == 0:
                journal.record(departure(9))
                assert [entry.departure.fields["n"] for entry in journal.read().entries] == [0, 1, 9]


def test_a_torn_last_line_is_cut_short_too(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    whole = written(path, 2)
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: last + 9] + bytes(20) + whole[last + 29 :])
    journal = EgressJournal(path)
    journal.record(departure(5))
    assert [entry.departure.fields["n"] for entry in journal.read().entries] == [0, 5]


def test_lines_longer_than_what_is_read_of_the_end(tmp_path: Path) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    parts = tuple(Part(f"sealed[{number}].ciphertext", 64, sha256_digest(b"x")) for number in range(2000))
    for _ in range(3):
        journal.record(Departure("message", "a:1", "/x", 1, sha256_digest(b""), {}, parts))
        journal.record(departure())
    assert len(journal.read().entries) == 6


def test_a_damaged_end_stops_everything(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    whole = written(path, 2)
    path.write_bytes(whole[:-5] + b"#" + whole[-4:])
    with pytest.raises(StoreError, match=r"its last line is damaged .* so nothing is sent"):
        EgressJournal(path).record(departure())


def _write_some(path: Path) -> None:
    written(path, 25)


def test_processes_of_one_site_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "egress.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_some, args=[path]) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(EgressJournal(path).read().entries) == 75


def test_a_failed_write_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = EgressJournal(tmp_path / "egress.jsonl")
    journal.record(departure())
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _refuse)
        with pytest.raises(StoreError, match=r"No space left.*so nothing is sent"):
            journal.record(departure())
    with pytest.raises(StoreError, match="an earlier write failed"):
        journal.record(departure())


def test_threads_of_one_process_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC records the rest of an upload from a thread of its own while the next call is recorded here."""
    journal, fsync = EgressJournal(tmp_path / "egress.jsonl"), os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.01)  # long enough that every other thread begins meanwhile
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(journal.record, [departure(number) for number in range(8)]))
    assert len(journal.read().entries) == 8


def _refuse(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_threads_of_one_journal_write_one_chain(tmp_path: Path) -> None:
    """A write under way in another thread is no failed write."""
    journal, failures = EgressJournal(tmp_path / "egress.jsonl"), list[BaseException]()

    def write() -> None:
        try:
            for number in range(20):
                journal.record(departure(number))
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(journal.read().entries) == 80
