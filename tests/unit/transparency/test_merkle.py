"""The Merkle tree: published vectors, a plain transcription of RFC 6962, and proofs that hold for one thing only.

merkle_proofs.json holds the proofs of inclusion and consistency, good and bad, that the transparency-dev project publishes for
implementers (github.com/transparency-dev/merkle, testdata, Apache-2.0).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import FormatError
from vdb_shared.transparency.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    of_leaves,
    tree_root,
)

PUBLISHED = json.loads((Path(__file__).parent / "merkle_proofs.json").read_text(encoding="utf-8"))

REFERENCE_ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
REFERENCE_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
"""Of these eight entries, as implementations of RFC 6962 publish it."""

LARGEST = 70


def plain_root(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\x01" + plain_root(entries[:split]) + plain_root(entries[split:])).digest()


def entries_of(size: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(size)]


def leaves_of(size: int) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries_of(size)]


def accepted(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except FormatError:
        return False
    return True


def test_the_reference_tree_has_the_published_root() -> None:
    leaves = [leaf_hash(entry) for entry in REFERENCE_ENTRIES]
    assert tree_root(8, of_leaves(leaves)).hex() == REFERENCE_ROOT
    assert tree_root(0, of_leaves([])) == EMPTY_ROOT


@pytest.mark.parametrize("row", PUBLISHED["inclusion"])
def test_published_proofs_of_inclusion(row: dict[str, Any]) -> None:
    leaf, root = bytes.fromhex(row["leaf"]), bytes.fromhex(row["root"])
    proof = [bytes.fromhex(text) for text in row["proof"]]
    assert accepted(check_inclusion, leaf, row["index"], row["size"], proof, root) == row["holds"]


@pytest.mark.parametrize("row", PUBLISHED["consistency"])
def test_published_proofs_of_consistency(row: dict[str, Any]) -> None:
    """Roots that are no hashes, which one of the vectors takes as equal, are refused here."""
    old_root, root = bytes.fromhex(row["old_root"]), bytes.fromhex(row["root"])
    proof = [bytes.fromhex(text) for text in row["proof"]]
    expected = row["holds"] and len(root) == 32
    assert accepted(check_consistency, row["old"], old_root, row["size"], root, proof) == expected


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, LARGEST])
def test_every_entry_is_shown_and_no_other(size: int) -> None:
    complete = of_leaves(leaves_of(size))
    root = plain_root(entries_of(size))
    assert tree_root(size, complete) == root
    for index, leaf in enumerate(leaves_of(size)):
        proof = inclusion_proof(index, size, complete)
        check_inclusion(leaf, index, size, proof, root)
        for wrong in {index - 1, index + 1, index ^ 1, size} - {index}:
            assert not accepted(check_inclusion, leaf, wrong, size, proof, root)
        assert not accepted(check_inclusion, leaf_hash(b"another"), index, size, proof, root)
        assert not accepted(check_inclusion, leaf, index, size, [*proof, root], root)
        assert not proof or not accepted(check_inclusion, leaf, index, size, proof[:-1], root)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 16, 31, 33, LARGEST])
def test_growth_is_shown_from_every_earlier_size_and_from_no_other_log(size: int) -> None:
    complete = of_leaves(leaves_of(size))
    root = tree_root(size, complete)
    for old in range(size + 1):
        old_root = plain_root(entries_of(old))
        proof = consistency_proof(old, size, complete)
        check_consistency(old, old_root, size, root, proof)
        if old == 0:
            continue
        changed = plain_root([b"changed", *entries_of(old)[1:]])
        assert not accepted(check_consistency, old, changed, size, root, proof)
        assert not accepted(check_consistency, old, old_root, size, changed, proof)
        assert not accepted(check_consistency, old, old_root, size, root, [*proof, root])
        assert not proof or not accepted(check_consistency, old, old_root, size, root, proof[:-1])
        for other in {old - 1, old + 1} - {0, size + 1}:
            assert not accepted(check_consistency, other, old_root, size, root, proof)


def test_a_log_that_shrinks_is_refused() -> None:
    root = plain_root(entries_of(5))
    with pytest.raises(FormatError, match="fewer than the 6"):
        check_consistency(6, root, 5, root, [])
    with pytest.raises(ValueError, match="did not grow"):
        consistency_proof(6, 5, of_leaves(leaves_of(5)))
    with pytest.raises(ValueError, match="no leaf 5"):
        inclusion_proof(5, 5, of_leaves(leaves_of(5)))


@given(st.data())
def test_a_changed_bit_of_a_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, LARGEST))
    old = data.draw(st.integers(1, size - 1))
    complete = of_leaves(leaves_of(size))
    root, old_root = tree_root(size, complete), plain_root(entries_of(old))
    proof = consistency_proof(old, size, complete)
    place, bit = data.draw(st.integers(0, len(proof) * 32 - 1)), data.draw(st.integers(0, 7))
    flipped = bytearray(b"".join(proof))
    flipped[place] ^= 1 << bit
    wrong = [bytes(flipped[start : start + 32]) for start in range(0, len(flipped), 32)]
    assert not accepted(check_consistency, old, old_root, size, root, wrong)
