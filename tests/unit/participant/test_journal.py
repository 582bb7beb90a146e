"""The journal: read back as written, or refused; a value recorded is a value for ever."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.crashes import Crash, Disk, Loss
from vdb_participant.site.journal import Journal
from vdb_participant.site.journal_format import PREAMBLE_BYTES, Record, encode_journal, read_journal
from vdb_participant.site.storage import FileStorage
from vdb_shared.errors import StoreError

SESSION = bytes(range(32))
RECORDS = (
    Record("consent", "public", b"the plan"),
    Record("entropy", "secret", b"\x01" * 31 + b"\0"),
    Record("sent", "public", b""),
    Record("input", "secret", bytes(range(256)) * 9),
)


def boundaries() -> list[int]:
    return [len(encode_journal(SESSION, RECORDS[:count])[0]) for count in range(len(RECORDS) + 1)]


def test_gives_back_what_was_written() -> None:
    data, link = encode_journal(SESSION, RECORDS)
    reading = read_journal(data, SESSION)
    assert reading.records == RECORDS
    assert (reading.link, reading.size) == (link, len(data))


def test_a_journal_cut_anywhere_holds_the_records_before_the_cut() -> None:
    data, _ = encode_journal(SESSION, RECORDS)
    ends = boundaries()
    for size in range(len(data) + 1):
        whole = sum(end <= size for end in ends) - 1
        reading = read_journal(data[:size], SESSION)
        assert reading.records == RECORDS[: max(whole, 0)]
        assert reading.size == (ends[whole] if whole >= 0 else 0)


@pytest.mark.parametrize("size", [*boundaries()[1:-1], 100, 333])
def test_zeros_beyond_the_end_are_size_without_content(size: int) -> None:
    data = encode_journal(SESSION, RECORDS)[0][:size] + bytes(5000)
    assert read_journal(data, SESSION).records == RECORDS[: sum(end <= size for end in boundaries()) - 1]


@given(st.data())
def test_a_changed_byte_is_never_taken_for_a_torn_end(data: st.DataObject) -> None:
    whole = encode_journal(SESSION, RECORDS)[0]
    place = data.draw(st.integers(0, len(whole) - 2))
    changed = bytearray(whole)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StoreError):
        read_journal(bytes(changed), SESSION)


def test_records_cannot_be_reordered_or_left_out() -> None:
    data, _ = encode_journal(SESSION, RECORDS)
    start, first, second = boundaries()[:3]
    for forged in (
        data[:start] + data[first:second] + data[start:first] + data[second:],
        data[:start] + data[first:],
    ):
        with pytest.raises(StoreError, match="damaged"):
            read_journal(forged, SESSION)


def test_another_sessions_journal_is_refused() -> None:
    data, _ = encode_journal(SESSION, RECORDS)
    with pytest.raises(StoreError, match="not one of this session"):
        read_journal(data, bytes(32))


def test_once_makes_a_value_once() -> None:
    disk = Disk()
    first = Journal(disk, SESSION).once("entropy", lambda: os.urandom(32), secret=True)
    again = Journal(Disk(disk.data), SESSION)
    assert again.once("entropy", lambda: os.urandom(32), secret=True) == first
    assert again.names == ("entropy",)


def test_a_second_value_is_refused_for_ever() -> None:
    disk = Disk()
    journal = Journal(disk, SESSION)
    journal.record("consistency/sent", b"T3")
    assert journal.record("consistency/sent", b"T3") == b"T3"
    for later in (journal, Journal(Disk(disk.data), SESSION)):
        with pytest.raises(StoreError, match="another value"):
            later.record("consistency/sent", b"another T3")
        assert later.recall("consistency/sent") == b"T3"


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("crash_at", range(6))
def test_power_loss_at_any_write_leaves_a_journal_that_goes_on(crash_at: int, loss: Loss) -> None:
    disk = Disk(crash_at=crash_at, loss=loss)
    used: dict[str, bytes] = {}

    def live(journal: Journal) -> None:
        for name in ("a", "b", "c", "d"):
            value = journal.once(name, lambda: os.urandom(40), secret=name in "bd")
            assert used.setdefault(name, value) == value
        journal.erase_secrets()

    with pytest.raises(Crash):
        live(Journal(disk, SESSION))
    disk.crash_at = None
    if "erased" not in kinds(disk):
        live(Journal(disk, SESSION))
    assert kinds(disk) == ["public", "erased", "public", "erased"]


def kinds(disk: Disk) -> list[str]:
    return [record.kind for record in read_journal(disk.data, SESSION).records]


def test_erased_secrets_are_gone_and_known_to_have_been_there() -> None:
    disk = Disk()
    journal = Journal(disk, SESSION)
    journal.record("seed", b"very secret seed", secret=True)
    journal.record("sent", b"public message")
    journal.erase_secrets()
    assert b"very secret seed" not in disk.data
    assert b"public message" in disk.data
    for later in (journal, Journal(Disk(disk.data), SESSION)):
        assert "seed" in later
        with pytest.raises(StoreError, match="erased"):
            later.recall("seed")
        with pytest.raises(StoreError, match="erased"):
            later.once("seed", lambda: b"a new seed")
        assert later.recall("sent") == b"public message"


class FullDisk(Disk):
    def append(self, position: int, data: bytes) -> None:
        raise StoreError("no space left")


def test_nothing_is_used_that_could_not_be_written() -> None:
    disk = Disk()
    Journal(disk, SESSION)
    journal = Journal(FullDisk(disk.data), SESSION)
    for _ in range(2):
        with pytest.raises(StoreError):
            journal.once("entropy", lambda: os.urandom(32))
    assert "entropy" not in journal
    with pytest.raises(StoreError, match="earlier write"):
        journal.record("sent", b"")


class IrreplaceableDisk(Disk):
    def replace(self, data: bytes) -> None:
        raise StoreError("I/O error")


def record_one_more(journal: Journal) -> None:
    journal.record("one more", b"")


@pytest.mark.parametrize(("kind", "fails"), [(FullDisk, record_one_more), (IrreplaceableDisk, Journal.erase_secrets)])
def test_after_a_failed_write_nothing_is_written_until_all_is_read_again(
    kind: type[Disk], fails: Callable[[Journal], None]
) -> None:
    """Until then nobody knows which bytes are on the disk, and under which name."""
    disk = kind(encode_journal(SESSION, RECORDS)[0])
    journal = Journal(disk, SESSION)
    with pytest.raises(StoreError, match=r"no space left|I/O error"):
        fails(journal)
    for write in (record_one_more, Journal.erase_secrets):
        with pytest.raises(StoreError, match="earlier write"):
            write(journal)
    assert read_journal(disk.data, SESSION).records == RECORDS


def test_a_torn_end_on_a_real_disk_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "session" / "journal"
    with Journal(FileStorage(path), SESSION) as journal:
        journal.record("a", b"1")
        journal.record("b", b"2")
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(FileStorage(path), SESSION) as journal:
        assert journal.names == ("a",)
        journal.record("b", b"3")
    with Journal(FileStorage(path), SESSION) as journal:
        assert journal.recall("b") == b"3"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_two_agents_never_share_a_session(tmp_path: Path) -> None:
    with (
        Journal(FileStorage(tmp_path / "journal"), SESSION),
        pytest.raises(StoreError, match="another vdb-participant works on this session"),
    ):
        FileStorage(tmp_path / "journal")


def test_replacing_overwrites_the_old_bytes(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(FileStorage(path), SESSION) as journal:
        journal.record("seed", b"very secret seed", secret=True)
        with path.open("rb") as old:
            journal.erase_secrets()
            assert not any(old.read())
        journal.record("outcome", b"published")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["journal", "journal.lock"]
    with Journal(FileStorage(path), SESSION) as journal:
        assert journal.names == ("seed", "outcome")


CALLS = ("open", "link", "replace", "fsync", "pwrite", "close", "unlink")
"""The system calls that a replacement makes."""


class Died(BaseException):
    """The process is gone before this call."""


@pytest.mark.parametrize("fault", [Died(), OSError(5, "I/O error")], ids=["killed", "I/O error"])
def test_whatever_call_of_a_replacement_fails_the_journal_goes_on(
    fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between link and rename old and new name mean one file: overwriting the old one then would take what was sent along."""
    failed_at = -1
    for fails_at in range(100):
        path = tmp_path / str(fails_at) / "journal"
        with Journal(FileStorage(path), SESSION) as journal:
            journal.record("seed", b"very secret seed", secret=True)
            journal.record("consistency/sent", b"T3")
            with monkeypatch.context() as patch:
                _fail_call(patch, fails_at, fault)
                try:
                    journal.erase_secrets()
                except (Died, OSError, StoreError):
                    failed_at = fails_at
        with Journal(FileStorage(path), SESSION) as journal:
            assert journal.recall("consistency/sent") == b"T3"
            with pytest.raises(StoreError, match="a second"):
                journal.record("consistency/sent", b"another T3")
            journal.erase_secrets()
        assert b"very secret seed" not in path.read_bytes()
        assert sorted(item.name for item in path.parent.iterdir()) == ["journal", "journal.lock"]
        if failed_at < fails_at:
            break
    assert failed_at > 10


def _fail_call(patch: pytest.MonkeyPatch, number: int, fault: BaseException) -> None:
    """Let the n-th of all system calls of a replacement fail before it does anything."""
    made = itertools.count()

    def failing(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if next(made) == number:
                raise fault
            return original(*arguments, **named)

        return call

    for name in CALLS:
        patch.setattr(os, name, failing(getattr(os, name)))


@pytest.mark.parametrize("size", [PREAMBLE_BYTES + 1, 500, 5000])
def test_a_journal_of_zeros_is_damaged_not_new(size: int) -> None:
    with pytest.raises(StoreError, match="not one of this session"):
        read_journal(bytes(size), SESSION)


PROGRAM = """
import os, signal, sys
from pathlib import Path
from vdb_participant.site.journal import Journal
from vdb_participant.site.storage import FileStorage
with Journal(FileStorage(Path(sys.argv[1])), bytes(32)) as journal:
    for number in range(1000):
        value = journal.once(f"r{number}", lambda: os.urandom(300), secret=True)
        print(number, value.hex(), flush=True)
"""


def test_kill_9_keeps_every_value_that_was_used(tmp_path: Path) -> None:
    used: dict[int, str] = {}
    for pause in (3, 11, 40):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "journal")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                number, value = line.split()
                assert used.setdefault(int(number), value) == value
                if int(number) >= pause:
                    process.kill()
                    break
    assert len(used) > 40


def test_preamble_is_as_documented() -> None:
    assert PREAMBLE_BYTES == 46
