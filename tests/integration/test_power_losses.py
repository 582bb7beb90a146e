"""Coordinator and agents come up on every disk that a power cut may leave, and know what they said: part of `make faults`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.faults.disks import Disk, Operation
from testkit.faults.power_losses import COORDINATOR, Cut, Recording, cuts, record, suffer
from testkit.faults.tracing import operations, tracer


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    strace = tracer()
    if strace is None:
        pytest.skip("strace, which records what a session does to its disks, is not there or may not trace")
    return record(strace, tmp_path_factory.mktemp("traced"))


def test_nothing_that_was_said_is_lost(recording: Recording) -> None:
    outcomes = [suffer(recording, cut) for cut in cuts(recording, 24, seed=1)]
    assert [one.broken for one in outcomes if one.broken] == []


def test_a_session_goes_on_after_a_cut(recording: Recording) -> None:
    (cut, *_) = cuts(recording, 1, seed=2)
    outcome = suffer(recording, cut, go_on=True)
    assert not outcome.broken
    assert outcome.ended.startswith("published")


def forgetting(recording: Recording, lost: Callable[[Operation], bool]) -> Recording:
    """Return a recording in which some operations were never asked for."""
    return replace(recording, operations=[one for one in recording.operations if not lost(one)])


@pytest.mark.parametrize(
    ("whose", "lost"),
    [
        (COORDINATOR, lambda one: one.kind == "sync" and one.path.endswith("coordinator.sqlite-wal")),
        (COORDINATOR, lambda one: one.kind == "sync" and one.path == "coordinator/blobs"),
        ("site-0", lambda one: one.kind == "sync" and one.path.endswith("/journal")),
        ("site-0", lambda one: one.kind == "sync" and one.path in ("site-0", "site-0/sessions")),
        ("site-0", lambda one: one.kind == "sync" and one.path.endswith("/egress.jsonl")),
    ],
    ids=["database", "blobs", "journal", "folders of the journal", "egress journal"],
)
def test_a_sync_that_is_missing_is_noticed(recording: Recording, whose: str, lost: Callable[[Operation], bool]) -> None:
    broken = forgetting(recording, lost)
    moments = broken.moments(whose)
    places = [moments[len(moments) * share // 10] for share in (5, 7, 9)]
    assert any(suffer(broken, Cut(whose, place, chance=False)).broken for place in places)


def test_a_disk_keeps_what_was_synced_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    disk = Disk.of(tmp_path)
    for operation in (
        Operation("folder", "inner"),
        Operation("make", "inner/file"),
        Operation("write", "inner/file", data=b"kept"),
        Operation("sync", "inner/file"),
        Operation("sync", "inner"),
        Operation("write", "inner/file", position=4, data=b" lost"),
        Operation("remove", "old"),
    ):
        disk.do(operation)
    assert disk.after_a_cut(chance=False, below="") == {"old": b"old"}
    assert disk.after_a_cut(chance=True, below="") == {"inner": None, "inner/file": b"kept lost"}
    disk.do(Operation("sync", ""))
    assert disk.after_a_cut(chance=False, below="") == {"inner": None, "inner/file": b"kept"}


def test_what_is_renamed_is_never_gone_under_both_names(tmp_path: Path) -> None:
    import random  # noqa: PLC0415 - only here

    disk = Disk.of(tmp_path)
    for operation in (Operation("make", "new"), Operation("sync", ""), Operation("rename", "new", "name")):
        disk.do(operation)
    left = {tuple(disk.after_a_cut(random.Random(seed), "")) for seed in range(50)}  # noqa: S311 (losses, no secrets)
    assert left == {("new",), ("name",), ("name", "new")}


def test_a_record_of_system_calls_is_read_in_the_order_in_which_they_returned(tmp_path: Path) -> None:
    root, told = tmp_path / "root", tmp_path / "told"
    root.mkdir()
    file = f"{root}/a"

    def hexed(text: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in text.encode())

    lines = [
        f'7 openat(AT_FDCWD<{hexed("/")}>, "{hexed(file)}", O_WRONLY|O_CREAT, 0600) = 3<{hexed(file)}>',
        f'7 write(3<{hexed(file)}>, "{hexed("one")}", 3 <unfinished ...>',
        f'8 write(4<{hexed(str(told))}>, "{hexed("said")}", 4) = 4',
        "7 <... write resumed>) = 3",
        f"7 fsync(3<{hexed(file)}>) = -1 EIO (Input/output error)",
        f'7 write(3<{hexed(file)}>, "{hexed("two")}", 3) = 3',
        f'7 rename("{hexed(file)}", "{hexed(f"{root}/b")}") = 0',
        f"7 fsync(5<{hexed(str(root))}>) = 0",
    ]
    assert list(operations(lines, root, told, root)) == [
        Operation("make", "a"),
        Operation("say", data=b"said"),
        Operation("write", "a", position=0, data=b"one"),
        Operation("write", "a", position=3, data=b"two"),
        Operation("rename", "a", "b"),
        Operation("sync", ""),
    ]
