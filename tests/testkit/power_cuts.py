"""Power cuts while a ledger is debited: every file operation of two debits, replayed up to each one with unsynced ones lost.

    PYTHONPATH=tests python -m testkit.power_cuts [--synchronous FULL] [--seed 1]

strace records what a process that debits does to the ledger's folder. The replay knows a disk that keeps only what was asked
to be kept: what was written to a file since its last fsync, sector by sector of 512 bytes, and every name that was made or
removed since the folder's last fsync, is there or not, each by itself. Prints one line of JSON and returns 1 when some disk
so left holds a ledger that cannot be used, or lacks a debit that had been returned. SQLite's weaker settings are chosen with
--synchronous, to see that they are found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from testkit.charges import CAP, NOW, charge, list_of
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import StoreError

SECTOR = 512
DISKS = 6
"""Disks that are tried for each moment, besides those on which all or nothing is left."""

FILE = "ledger.sqlite"
CALLS = "openat,open,pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,close"
_LINE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Operation:
    """What was done: "make", "write", "truncate", "sync", "remove" a file; "sync folder"; "say" a line on standard output."""

    kind: str
    name: str = ""
    position: int = 0
    data: bytes = b""


def tracer() -> str | None:
    """Return the path of strace, or None where there is none or it may not trace."""
    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        return None
    return found


def record(strace: str, synchronous: str) -> list[Operation]:
    """Return what two debits do to an empty folder."""
    with TemporaryDirectory() as place:
        folder, log = Path(place) / "ledger", Path(place) / "log"
        program = [sys.executable, "-m", "testkit.power_cuts", "--debit", str(folder), "--synchronous", synchronous]
        command = [strace, "-xx", "-s", str(2**24), "-e", f"trace={CALLS}", "-o", str(log), *program]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return list(_operations(log.read_text().splitlines(), str(folder)))


def debit_twice(folder: Path, synchronous: str) -> None:
    """Debit two sessions over data that take several pages, and say the digest of each entry when it was returned."""
    with Ledger(folder / FILE) as ledger:
        ledger._database.execute(f"PRAGMA synchronous={synchronous}")
        for number in range(2):
            data = list_of("common", *(f"words {item} of {number}/{item}" for item in range(40)))
            entry = ledger.debit(data, charge(number, data), CAP, "overlapping", NOW)
            sys.stdout.write(entry.digest + "\n")
            sys.stdout.flush()


def _operations(lines: Sequence[str], folder: str) -> Iterator[Operation]:
    opened: dict[int, str] = {1: ">"}
    known: set[str] = set()
    for line in lines:
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments, result = match[1], match[2], int(match[3])
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
        if call in ("openat", "open"):
            opened[result] = texts[0].decode()
            name = _inside(opened[result], folder)
            if name and "O_CREAT" in arguments and name not in known:
                known.add(name)
                yield Operation("make", name)
        elif call in ("unlink", "unlinkat", "rename"):
            name = _inside(texts[0].decode(), folder)
            if name:
                known.discard(name)
                yield Operation("remove", name)
                if call == "rename":
                    raise AssertionError("SQLite is not known to rename")
        else:
            yield from _on_descriptor(call, arguments, texts, opened, folder)


def _on_descriptor(
    call: str, arguments: str, texts: list[bytes], opened: dict[int, str], folder: str
) -> Iterator[Operation]:
    numbers = [int(number) for number in re.findall(r"(?:^|, )(\d+)", _TEXT.sub("", arguments))]
    path = opened.get(numbers[0], "")
    name = _inside(path, folder)
    if call == "write" and path == ">":
        yield Operation("say", data=texts[0].strip())
    elif path == folder and call in ("fsync", "fdatasync"):
        yield Operation("sync folder")
    elif call == "close":
        opened.pop(numbers[0], None)
    elif name and call == "pwrite64":
        yield Operation("write", name, numbers[-1], texts[0])
    elif name and call == "ftruncate":
        yield Operation("truncate", name, numbers[-1])
    elif name and call in ("fsync", "fdatasync"):
        yield Operation("sync", name)
    elif name:
        raise AssertionError(f"{call} on {name} is not replayed")


def _inside(path: str, folder: str) -> str:
    return path.removeprefix(folder + "/") if path.startswith(folder + "/") else ""


@dataclass
class Inode:
    """A file's bytes that are surely there, and what was done to it since, sector by sector."""

    kept: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    def content(self, chosen: random.Random | bool) -> bytes:
        """Return the bytes that a disk may hold: with none, all, or some of what is pending."""
        found = bytearray(self.kept)
        for operation in self.pending:
            if not _happens(chosen):
                continue
            if operation.kind == "truncate":
                del found[operation.position :]
                found.extend(bytes(operation.position - len(found)))
            else:
                end = operation.position + len(operation.data)
                found.extend(bytes(max(0, end - len(found))))
                found[operation.position : end] = operation.data
        return bytes(found)


def _happens(chosen: random.Random | bool) -> bool:
    return chosen if isinstance(chosen, bool) else chosen.random() < 0.5


@dataclass
class Disk:
    """The folder as it is, and what of it is surely there after a power cut."""

    names: dict[str, Inode] = field(default_factory=dict)
    kept_names: dict[str, Inode] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        """Do the next operation."""
        name = operation.name
        match operation.kind:
            case "make":
                self.names[name] = Inode()
            case "remove":
                del self.names[name]
            case "sync folder":
                self.kept_names = dict(self.names)
            case "say":
                self.said.append(operation.data.decode())
            case "sync":
                self.names[name].kept, self.names[name].pending = self.names[name].content(True), []
            case "truncate":
                self.names[name].pending.append(operation)
            case _:
                self.names[name].pending.extend(_sectors(operation))

    def after_a_cut(self, chosen: random.Random | bool) -> dict[str, bytes]:
        """Return files that may be left."""
        found = {}
        for name in sorted({*self.names, *self.kept_names}):
            now, kept = self.names.get(name), self.kept_names.get(name)
            inode = now if now is kept or _happens(chosen) else kept
            if inode is not None:
                found[name] = inode.content(chosen)
        return found


def _sectors(write: Operation) -> Iterator[Operation]:
    start = write.position
    while start < write.position + len(write.data):
        end = min(write.position + len(write.data), (start // SECTOR + 1) * SECTOR)
        yield Operation("write", write.name, start, write.data[start - write.position : end - write.position])
        start = end


@dataclass(slots=True)
class Findings:
    """What was found out: operations replayed, different disks opened, and what was wrong with them."""

    operations: int = 0
    disks: int = 0
    undercounts: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.undercounts or self.unusable)


def campaign(operations: Sequence[Operation], seed: int, disks: int = DISKS) -> Findings:
    """Cut the power after every operation, in several ways, and open what is left."""
    dice = random.Random(seed)  # noqa: S311 (losses, no secrets)
    disk, found, tried = Disk(), Findings(), set[tuple[tuple[str, bytes], ...]]()
    for number, operation in enumerate(operations):
        disk.do(operation)
        ways: list[random.Random | bool] = [False, True, *[dice] * disks]
        for chosen in ways:
            files = disk.after_a_cut(chosen)
            state = (*sorted(files.items()), ("said", str(len(disk.said)).encode()))
            if state not in tried:
                tried.add(state)
                _open(files, disk.said, f"after operation {number} ({operation.kind} {operation.name})", found)
        found.operations += 1
    found.disks = len(tried)
    return found


def _open(files: dict[str, bytes], said: Sequence[str], place: str, found: Findings) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - only to be quick; an own folder is made there
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        try:
            with Ledger(Path(folder) / FILE) as ledger:
                digests = [entry.digest for entry in ledger.verify()]
        except StoreError as error:
            found.unusable.append(f"{place}: {str(error).removeprefix(folder)}")
            return
        if digests[: len(said)] != list(said):
            found.undercounts.append(f"{place}: {len(said)} debits were returned, the ledger has {len(digests)}")


def main() -> int:
    """Record and replay; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description="Cut the power while a ledger is debited.")
    parser.add_argument("--synchronous", default="EXTRA", choices=["OFF", "NORMAL", "FULL", "EXTRA"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disks", type=int, default=DISKS)
    parser.add_argument("--debit", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.debit is not None:
        debit_twice(chosen.debit, chosen.synchronous)
        return 0
    strace = tracer()
    if strace is None:
        sys.stderr.write("needs strace, and a system on which it may trace\n")
        return 2
    found = campaign(record(strace, chosen.synchronous), chosen.seed, chosen.disks)
    sys.stdout.write(json.dumps({item.name: getattr(found, item.name) for item in fields(found)}) + "\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
