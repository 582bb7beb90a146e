"""Every change of one field of a finished session: found by walking its opened members, not listed by hand.

A field is named by its member and its path, with [] for any place of a list. Of a list the first element is changed, of
what each institution signed that of the first and that of the last institution. Each value gives another of the same kind;
each list gets shorter and longer by one, and two elements swapped; each entry is removed, one added to each mapping; so
with members.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from testkit.bundles import DROPOUT, SmallSession
from testkit.conspiracy import Edit, Trees
from testkit.opened import Tree, open_member
from testkit.statements import INSTITUTIONS
from vdb_shared.bundle.record import RESTARTS, TRANSCRIPT
from vdb_shared.canonical import decode_base64, encode_base64
from vdb_shared.errors import FormatError

How = Literal["other", "removed", "added", "shorter", "longer", "swapped"]
Step = str | int

SIBLINGS: Final[Mapping[str, str]] = {
    "exact": "fast",
    "opendp": "integer",
    "distributed-discrete-gaussian": "none",
    "public": "private",
    "private": "public",
    "shared-keys": "joined",
    "left-out": "joined",
    "VideoMAEModel": "CLIPModel",
    "temporal-flickering@1": "latency@1",
    "WanPipeline": "LTXPipeline",
    "python": "python3",
    "clips": "records",
}
"""Another value for words of which a schema knows only some."""

OF_INSTITUTIONS: Final = (TRANSCRIPT, RESTARTS)
"""Members with lists of what institutions signed, by ascending seat."""

_HEX = re.compile(r"[0-9a-f]{64}")
_MEMBER = re.compile(rf"(joins|contributions)/({'|'.join(INSTITUTIONS)})\.dsse\.json")


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        field: that is changed, named for all places in which it stands.
        how: what becomes of it.
        last: whether the last of several places is meant, which is an honest institution's; else the first, an accomplice's.
        edit: makes it.
    """

    field: str
    how: How
    last: bool
    edit: Edit

    def __str__(self) -> str:
        return f"{self.field} {self.how}{', last' if self.last else ''}"


def changes_of(session: SmallSession) -> Iterator[Change]:
    """Yield every change of a session, each field once for the first and, where it has several places, once for the last."""
    trees = {name: open_member(name, data) for name, data in session.members.items()}
    yield Change("notes.json", "added", False, lambda forged: forged.update({"notes.json": {}}))
    for name, tree in trees.items():
        named = _MEMBER.sub(r"\1/*", name)
        last = named != name and name.endswith(f"/{_last_of(trees, name)}")
        if named == name or last or INSTITUTIONS[0] in name:
            yield Change(named, "removed", last, lambda forged, name=name: forged.pop(name) and None)  # type: ignore[misc]  # mypy sees no type for a default
            yield from _below(name, named, tree, (), last)


def _last_of(trees: Trees, name: str) -> str:
    """Return the file of the last institution in the folder of a member."""
    return max(other for other in trees if other.rpartition("/")[0] == name.rpartition("/")[0]).rpartition("/")[2]


def _below(name: str, named: str, tree: Tree, steps: tuple[Step, ...], last: bool) -> Iterator[Change]:
    """Yield the changes of a subtree: those of the first of several places unless `last`."""
    field = f"{named} {_path(steps)}".strip()

    def change(how: How, value: Any) -> Change:
        return Change(field, how, last, lambda forged: _put(forged, name, steps, value))

    match tree:
        case dict():
            yield from _of_mapping(name, named, tree, steps, last)
        case [] if name.endswith(".proof"):
            yield change("other", [bytes(32)])
        case list() if tree:
            yield change("shorter", tree[:-1])
            yield change("longer", [*tree, tree[0]])
            if len(tree) > 1 and tree[0] != tree[1]:
                yield change("swapped", [tree[1], tree[0], *tree[2:]])
            yield from _below(name, named, tree[0], (*steps, 0), last)
            if name in OF_INSTITUTIONS and len(tree) > 1:
                yield from _below(name, named, tree[-1], (*steps, -1), True)
        case _:
            yield change("other", other_value(tree))
            if isinstance(tree, frozenset):
                yield change("shorter", tree - {max(tree)})
                yield change("longer", tree | {max(tree) + 1})


def _of_mapping(name: str, named: str, tree: Tree, steps: tuple[Step, ...], last: bool) -> Iterator[Change]:
    """Yield the changes of a mapping; lines of a proof have no names, so that none is added there."""
    proof = name.endswith(".proof")
    for key, value in tree.items():
        yield from _below(name, named, value, (*steps, key), last)
        inner = f"{named} {_path((*steps, key))}"
        left = {other: kept for other, kept in tree.items() if other != key}
        if value != [] or not proof:
            yield Change(inner, "removed", last, lambda forged, left=left: _put(forged, name, steps, left))  # type: ignore[misc]  # as above
    if not proof:
        more = tree | {"zzz": b"x" if any(isinstance(value, bytes) for value in tree.values()) else "x"}
        field = f"{named} {_path(steps)}".strip()
        yield Change(field, "added", last, lambda forged: _put(forged, name, steps, more))


def _path(steps: tuple[Step, ...]) -> str:
    names = ("[]" if isinstance(step, int) else "*" if _HEX.fullmatch(step) else step for step in steps)
    return ".".join(names).replace(".[]", "[]")


def _put(forged: Trees, name: str, steps: tuple[Step, ...], value: Any) -> None:
    if not steps:
        forged[name] = value
        return
    holder = forged[name]
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value


def other_value(value: Any) -> Any:
    """Return another value of the same kind, well formed wherever its kind can be seen."""
    if isinstance(value, bool) or value is None:
        return "1" if value is None else not value
    match value:
        case int():
            return value + 1
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case frozenset():
            return value - ({DROPOUT} & value or {max(value)})
        case str():
            return _other_text(value)
    return ["x"]


def _other_text(text: str) -> str:
    if text in SIBLINGS:
        return SIBLINGS[text]
    if text in INSTITUTIONS:
        return INSTITUTIONS[INSTITUTIONS.index(text) - 1]
    for pattern, other in _KINDS:
        if pattern.fullmatch(text):
            return other(text)
    return _other_base64(text) or text + "x"


def _other_decimal(text: str) -> str:
    """Return a number a little smaller or larger, so that it stays within most bounds."""
    if text in {"0", "1"}:
        return "0.9"
    mantissa, _, exponent = text.partition("e")
    last = int(mantissa[-1])
    return f"{mantissa[:-1]}{last - 1 if last > 1 else last + 1}" + (f"e{exponent}" if exponent else "")


def _other_base64(text: str) -> str:
    try:
        data = decode_base64(text)
    except FormatError:
        return ""
    return encode_base64(data[:-1] + bytes([data[-1] ^ 1])) if len(data) >= 16 else ""


_KINDS: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (re.compile(r"sha256:[0-9a-f]{64}"), lambda text: "sha256:" + hashlib.sha256(text.encode()).hexdigest()),
    (_HEX, lambda text: hashlib.sha256(text.encode()).hexdigest()),
    (
        re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        lambda text: text[:-2] + ("1Z" if text[-2] == "0" else "0Z"),
    ),
    (re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?"), _other_decimal),
)
"""Digests, key ids, times and numbers, and what gives another one."""
