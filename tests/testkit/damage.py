"""Damaged bytes: what a storm, a careless tool or an adversary makes of a good file; follows from a seed.

Half of the damage is to bytes. The other half knows JSON, since a strict reader refuses nearly all other damage in its
first line: it changes one value inside and writes the document in its one canonical form again, envelopes and their
payloads too.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import rfc8785

TOKENS: Final = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\xff" * 8, b"\x00" * 8, b"\x80\x00\x00\x00", b"\xff\xff\xff\x7f"),
    *(
        b'"\\ud800"',
        b"\\u0000",
        b"NaN",
        b"1e400",
        b"-0",
        b"1.0",
        b"{}",
        b"[]",
        b"null",
        b'"":',
        b"[" * 600,
        b"1" * 5000,
    ),
    *(
        b"\xe2\x80\x94 ",
        b"\n\n",
        b"\r\n",
        b"+",
        b"=",
        b"A===",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"index -1",
    ),
)
"""Bytes that parsers have stumbled over before."""

VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2, 65534, 65535, 65536, 2**31, 2**32, 2**53 - 1, -(2**53 - 1)),
    *("", " ", "x", "0", "-0", "1e-300", "1e300", "1e999999", "NaN", "Infinity", "0." + "0" * 400 + "1", "9" * 5000),
    *("sha256:" + "0" * 64, "f" * 64, "2026-02-30T25:61:61Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    *("\x00", "\u2028", "\U0010ffff", "é" * 300, "../../etc/passwd", "AAAA", "=", "AAA="),
    *([], {}, [[]], {"": {}}, [None] * 300, {"sha256": "0" * 64}, [0, 0], ["x", "x"]),
)
"""Values that a schema may have forgotten."""


def damaged(data: bytes, dice: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return damaged bytes.

    Args:
        data: the good ones.
        dice: chooses the damage.
        others: good ones of the same kind, of which pieces may be put in.
    """
    if dice.random() < 0.5:
        inside = damaged_inside(data, dice)
        if inside is not None:
            return inside
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        data = dice.choice(_WAYS)(data, dice, others)
    return data


def damaged_inside(data: bytes, dice: random.Random) -> bytes | None:
    """Return canonical JSON in which one value is another, or None if the bytes are no JSON that can be changed."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(tree, dict) and isinstance(tree.get("payload"), str) and dice.random() < 0.7:
        inner = damaged_inside(_decoded(tree["payload"]), dice)
        changed = {**tree, "payload": base64.b64encode(inner).decode()} if inner else tree
    else:
        changed = _with_one_other(tree, dice)
    try:
        return rfc8785.dumps(changed)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError):  # half a surrogate pair, as a name
        return None


def _decoded(text: str) -> bytes:
    """Return what base64 holds; nothing where it is no base64."""
    try:
        return base64.b64decode(text + "==")
    except ValueError:
        return b""


def _with_one_other(tree: Any, dice: random.Random) -> Any:
    """Return a tree with another value at some place."""
    if not isinstance(tree, dict | list) or not tree or dice.random() < 0.15:
        return dice.choice(VALUES)
    return _other_entry(tree, dice) if isinstance(tree, dict) else _other_element(tree, dice)


def _other_entry(tree: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    key, way = dice.choice(list(tree)), dice.random()
    if way < 0.1:
        return {other: value for other, value in tree.items() if other != key}
    if way < 0.2:
        return tree | {dice.choice(("x", "", "version", "kind")): dice.choice(VALUES)}
    return tree | {key: _with_one_other(tree[key], dice)}


def _other_element(tree: list[Any], dice: random.Random) -> list[Any]:
    place, way = dice.randrange(len(tree)), dice.random()
    if way < 0.1:
        return tree[:place] + tree[place + 1 :]
    if way < 0.25:
        return [*tree[:place], tree[place], *tree[place:]]
    return [*tree[:place], _with_one_other(tree[place], dice), *tree[place + 1 :]]


def _flip(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    if not data:
        return bytes([dice.randrange(256)])
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


def _put_in(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    place = dice.randint(0, len(data))
    return data[:place] + dice.choice(TOKENS) + data[place:]


def _put_over(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    place, token = dice.randint(0, len(data)), dice.choice(TOKENS)
    return data[:place] + token + data[place + len(token) :]


def _cut(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    return data[: dice.randint(0, len(data))]


def _take_out(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    start = dice.randint(0, len(data))
    return data[:start] + data[start + dice.choice((1, 1, 4, 8, 32, 48)) :]


def _repeat(data: bytes, dice: random.Random, _others: Sequence[bytes]) -> bytes:
    start = dice.randint(0, len(data))
    end = start + dice.choice((1, 4, 8, 40, 72, 400))
    return data[:end] + data[start:end] * dice.choice((1, 1, 3)) + data[end:]


def _splice(data: bytes, dice: random.Random, others: Sequence[bytes]) -> bytes:
    other = dice.choice(others) if others else data
    return data[: dice.randint(0, len(data))] + other[dice.randint(0, len(other)) :]


_WAYS: Final[tuple[Callable[[bytes, random.Random, Sequence[bytes]], bytes], ...]] = (
    *(_flip, _flip, _put_in, _put_over, _cut, _take_out, _repeat, _splice),
)
