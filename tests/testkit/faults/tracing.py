"""What strace writes of a program's file operations, as operations of a disk.

Promises that an operation on a watched folder which the disk does not know is an error, not left out. strace lets a thread go
on only after it has written down what the thread did, so its record keeps the order of whatever depends on each other, across
processes too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from testkit.faults.disks import Kind, Operation

CALLS: Final = (
    "openat,open,creat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,fallocate,fsync,fdatasync,"
    "sync_file_range,ftruncate,truncate,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,"
    "rmdir"
)
_LINE: Final = re.compile(r"(?:(\d+) +)?(\w+)\((.*)\) += (-?\d+)")
_BEGUN: Final = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_ENDED: Final = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PATH: Final = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")


def tracer() -> str | None:
    """Return the path of strace, or None where there is none or it may not trace."""
    found = shutil.which("strace")
    if found is None or subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        return None
    return found


def command(strace: str, log: Path, program: Sequence[str]) -> list[str]:
    """Return the command that runs a program, and all that it starts, and writes down what they do to files."""
    return [
        strace,
        "-f",
        "--seccomp-bpf",
        "-y",
        "-xx",
        "-s",
        str(2**26),
        "-e",
        f"trace={CALLS}",
        "-o",
        str(log),
        *program,
    ]


def operations(lines: Iterable[str], root: Path, told: Path, before: Path) -> Iterator[Operation]:
    """Yield what was done to a folder.

    Args:
        lines: of strace's record.
        root: the folder.
        told: a file outside; each write to it says a line.
        before: a copy of the folder as it was.
    """
    sizes = {str(path.relative_to(before)): path.stat().st_size for path in before.rglob("*") if path.is_file()}
    reading = _Reading(f"{root}/", str(told), sizes)
    for line in _whole(lines):
        match = _LINE.match(line)
        if match is not None and int(match[4]) >= 0:
            yield from reading.read(match[2], match[3], line[match.end(3) :], int(match[4]))


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Yield calls as they returned, those put together that another thread interrupted."""
    begun: dict[str, str] = {}
    for line in lines:
        if (match := _BEGUN.match(line)) is not None:
            begun[match[1]] = f"{match[1]} {match[2]}({match[3]}"
        elif (match := _ENDED.match(line)) is not None:
            yield begun.pop(match[1], "") + match[3].lstrip()
        else:
            yield line


@dataclass
class _Reading:
    """What is known of a record so far.

    Attributes:
        root: of the watched folder, with a slash.
        told: path of the file whose writes are said.
        sizes: of the files below the root.
        places: where the next write goes, by descriptor and path; None at the end, wherever that is.
    """

    root: str
    told: str
    sizes: dict[str, int]
    places: dict[tuple[str, str], int | None] = field(default_factory=dict)

    def read(self, call: str, arguments: str, rest: str, result: int) -> Iterator[Operation]:
        """Yield what one call did."""
        if call in ("openat", "open", "creat"):
            yield from self._open(arguments, rest, result)
        elif call in _ON_NAMES:
            yield from self._on_names(call, arguments)
        elif call != "close":
            yield from self._on_descriptor(call, arguments, result)

    def _open(self, arguments: str, rest: str, result: int) -> Iterator[Operation]:
        full = _texts(_PATH, rest)[-1]
        path = self._inside(full)
        self.places[str(result), full] = None if "O_APPEND" in arguments else 0
        if not path:
            return
        if "O_CREAT" in arguments and path not in self.sizes:
            self.sizes[path] = 0
            yield Operation("make", path)
        elif "O_TRUNC" in arguments:
            self.sizes[path] = 0
            yield Operation("truncate", path)

    def _on_names(self, call: str, arguments: str) -> Iterator[Operation]:
        above = _texts(_PATH, arguments)
        named = [os.path.join(above[0] if above else "/", text) for text in _texts(_TEXT, arguments)]
        path, target = self._inside(named[0]), self._inside(named[-1])
        if not path and not target:
            return
        kind = _ON_NAMES[call]
        if kind is None or not path or not target:
            raise AssertionError(f"{call} of {named} is not replayed")
        if kind == "remove":
            self.sizes.pop(path, None)
        elif kind == "rename":
            self.sizes[target] = self.sizes.pop(path)
        elif kind == "link":
            self.sizes[target] = self.sizes[path]
        yield Operation(kind, path, target if kind in ("rename", "link") else "")

    def _on_descriptor(self, call: str, arguments: str, result: int) -> Iterator[Operation]:
        number, (full, *_) = arguments.partition("<")[0], (*_texts(_PATH, arguments), "")
        path, place = self._inside(full), (number, full)
        if call == "write" and full == self.told:
            yield Operation("say", data=_bytes(arguments).strip())
        elif call in ("fsync", "fdatasync") and f"{full}/".startswith(self.root):
            yield Operation("sync", path)
        elif path and ">(deleted)" not in arguments:
            yield from self._on_file(call, arguments, result, place)

    def _on_file(self, call: str, arguments: str, result: int, place: tuple[str, str]) -> Iterator[Operation]:
        path = self._inside(place[1])
        if call == "lseek":
            if self.places.get(place, 0) is not None:
                self.places[place] = result
        elif call == "pwrite64":
            yield self._written(path, int(arguments.rpartition(", ")[2]), _bytes(arguments)[:result])
        elif call == "write":
            at = self.places[place]
            yield self._written(path, self.sizes[path] if at is None else at, _bytes(arguments)[:result])
            self.places[place] = None if at is None else at + result
        elif call == "ftruncate":
            self.sizes[path] = int(arguments.rpartition(", ")[2])
            yield Operation("truncate", path, position=self.sizes[path])
        else:
            raise AssertionError(f"{call} of {path} is not replayed")

    def _written(self, path: str, position: int, data: bytes) -> Operation:
        self.sizes[path] = max(self.sizes[path], position + len(data))
        return Operation("write", path, position=position, data=data)

    def _inside(self, path: str) -> str:
        return path.removeprefix(self.root) if path.startswith(self.root) else ""


_ON_NAMES: Final[dict[str, Kind | None]] = {
    "unlink": "remove",
    "unlinkat": "remove",
    "rmdir": "remove",
    "rename": "rename",
    "renameat": "rename",
    "renameat2": "rename",
    "link": "link",
    "linkat": "link",
    "mkdir": "folder",
    "mkdirat": "folder",
    "symlink": None,
    "symlinkat": None,
    "truncate": None,
}
"""Calls that name what they change, and what they do to it; None is not replayed."""


def _texts(pattern: re.Pattern[str], text: str) -> list[str]:
    return [bytes.fromhex(found.replace("\\x", "")).decode() for found in pattern.findall(text)]


def _bytes(arguments: str) -> bytes:
    return bytes.fromhex(_TEXT.findall(arguments)[0].replace("\\x", ""))
