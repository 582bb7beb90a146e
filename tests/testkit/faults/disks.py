"""A disk that keeps only what it was asked to keep: folders and files as they are, and what a power cut may leave of them.

What was written to a file since its last fsync is there or not, sector by sector; the name of whatever was made, removed or
renamed since the last fsync of its folder is there or not, in the order in which each name changed. Names in one folder do
not wait for each other, but for one thing that rename(2) promises: what was renamed is under its new name before the old one is
gone. That is less than the journals of ext4, XFS or Btrfs promise, and what POSIX does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

SECTOR: Final = 512

Kind = Literal["folder", "make", "write", "truncate", "sync", "remove", "rename", "link", "say"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What was done: a folder or a file made, a file written to or cut, file or folder synced, a name removed; or said.

    Attributes:
        kind: what.
        path: of file or folder, relative to the disk's root; of a renamed or linked one the old path.
        target: the new path.
        position: where it was written, or the size that it was given.
        data: what was written, or said.
    """

    kind: Kind
    path: str = ""
    target: str = ""
    position: int = 0
    data: bytes = b""


Chance = random.Random | bool
"""How much of what is not synced survives: nothing, all, or some of it."""


@dataclass(slots=True, eq=False)
class File:
    """A file's bytes that are surely there, and what was done to it since, sector by sector."""

    kept: bytes = b""
    pending: list[Operation] = field(default_factory=list)

    def content(self, chance: Chance) -> bytes:
        """Return the bytes that a disk may hold."""
        found = bytearray(self.kept)
        for operation in self.pending:
            if not _happens(chance):
                continue
            if operation.kind == "truncate":
                del found[operation.position :]
                found.extend(bytes(operation.position - len(found)))
            else:
                end = operation.position + len(operation.data)
                found.extend(bytes(max(0, end - len(found))))
                found[operation.position : end] = operation.data
        return bytes(found)

    def sync(self) -> None:
        """Keep all that was done."""
        self.kept, self.pending = self.content(chance=True), []


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A name that means another file or folder, or nothing; `after` is the change that a rename makes first."""

    name: str
    node: Node | None
    after: Change | None = None


@dataclass(slots=True, eq=False)
class Folder:
    """Names that are surely there, what they mean now, and how they changed since."""

    kept: dict[str, Node] = field(default_factory=dict)
    now: dict[str, Node] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, name: str, node: Node | None, after: Change | None = None) -> Change:
        """Let a name mean something else, or nothing."""
        made = Change(name, node, after)
        self.pending.append(made)
        if node is None:
            del self.now[name]
        else:
            self.now[name] = node
        return made

    def names(self, chance: Chance) -> dict[str, Node]:
        """Return what names may mean after a cut."""
        some = set[Change]()
        for name in dict.fromkeys(change.name for change in self.pending):
            mine = [change for change in self.pending if change.name == name]
            some.update(mine[: _how_many(chance, len(mine))])
        for change in [change for change in self.pending if change.after is not None and change in some]:
            if change.after is not None and change.after not in some:
                wanted = self.pending.index(change.after)
                some.update(one for one in self.pending[: wanted + 1] if one.name == change.after.name)
        found = dict(self.kept)
        for change in self.pending:
            if change not in some:
                continue
            if change.node is None:
                found.pop(change.name, None)
            else:
                found[change.name] = change.node
        return found

    def sync(self) -> None:
        """Keep all names."""
        self.kept, self.pending = dict(self.now), []


Node = File | Folder


def _happens(chance: Chance) -> bool:
    return chance if isinstance(chance, bool) else chance.random() < 0.5


def _how_many(chance: Chance, most: int) -> int:
    return (most if chance else 0) if isinstance(chance, bool) else chance.randint(0, most)


class Disk:
    """A folder and all below it.

    Attributes:
        said: what was said so far.
    """

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self._root = Folder()

    @classmethod
    def of(cls, place: Path) -> Disk:
        """Return a disk that surely holds what lies in a folder."""
        disk = cls()
        disk._root = _copied(place)
        return disk

    def do(self, operation: Operation) -> None:
        """Do the next operation."""
        if operation.kind == "say":
            self.said.append(operation.data)
            return
        folder, name = self._place(operation.path)
        match operation.kind:
            case "folder" | "make":
                folder.change(name, Folder() if operation.kind == "folder" else File())
            case "remove":
                folder.change(name, None)
            case "link" | "rename":
                self._move(folder, name, operation)
            case "sync":
                self._node(operation.path).sync()
            case "truncate":
                self._file(operation.path).pending.append(operation)
            case "write":
                self._file(operation.path).pending.extend(_sectors(operation))

    def after_a_cut(self, chance: Chance, below: str) -> dict[str, bytes | None]:
        """Return paths of all that may be left below a folder, relative to it: bytes of files, None for folders."""
        node = self._node(below)
        if not isinstance(node, Folder):
            raise AssertionError(f"{below} is a file")
        return dict(_walk(node, "", chance, {}))

    def _move(self, folder: Folder, name: str, operation: Operation) -> None:
        other, new = self._place(operation.target)
        made = other.change(new, folder.now[name])
        if operation.kind == "rename":
            if other is not folder:
                raise AssertionError(f"{operation}: only renaming within a folder is known here")
            folder.change(name, None, after=made)

    def _place(self, path: str) -> tuple[Folder, str]:
        *above, name = path.split("/")
        folder = self._root
        for part in above:
            inner = folder.now[part]
            if not isinstance(inner, Folder):
                raise AssertionError(f"{path}: {part} is a file")
            folder = inner
        return folder, name

    def _node(self, path: str) -> Node:
        folder, name = self._place(path)
        return folder.now[name] if name else folder

    def _file(self, path: str) -> File:
        node = self._node(path)
        if not isinstance(node, File):
            raise AssertionError(f"{path} is a folder")
        return node


def _copied(place: Path) -> Folder:
    found: dict[str, Node] = {
        path.name: _copied(path) if path.is_dir() else File(path.read_bytes()) for path in place.iterdir()
    }
    return Folder(found, dict(found))


def _walk(
    folder: Folder, prefix: str, chance: Chance, contents: dict[File, bytes]
) -> Iterator[tuple[str, bytes | None]]:
    for name, node in sorted(folder.names(chance).items()):
        if isinstance(node, Folder):
            yield prefix + name, None
            yield from _walk(node, f"{prefix}{name}/", chance, contents)
        else:
            if node not in contents:  # a file with two names has the same bytes under both
                contents[node] = node.content(chance)
            yield prefix + name, contents[node]


def _sectors(write: Operation) -> Iterator[Operation]:
    start, end = write.position, write.position + len(write.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        data = write.data[start - write.position : stop - write.position]
        yield Operation("write", write.path, position=start, data=data)
        start = stop


def write_out(left: Mapping[str, bytes | None], place: Path) -> None:
    """Make files and folders of what a cut left, readable by their owner alone."""
    place.mkdir(mode=0o700)
    for path, data in left.items():
        if data is None:
            (place / path).mkdir(mode=0o700)
        else:
            (place / path).touch(mode=0o600)
            (place / path).write_bytes(data)
