"""Bytes changed by someone who cannot sign: every change is found, and none is more than a failed check."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.bundles import SmallSession
from testkit.statements import COORDINATOR
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.record import ADDED, RESULT, VERSION

STRIDE = 97
SMALL = 500
"""Members up to this size are changed at every eighth byte, tiny ones at every byte."""


def positions(size: int) -> range:
    return range(0, size, 1 if size <= 64 else 8 if size <= SMALL else STRIDE)


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << (position % 8)
    return bytes(changed)


def changes(plain: SmallSession) -> Iterator[tuple[str, bytes]]:
    for name, data in sorted(plain.members.items()):
        for position in positions(len(data)):
            yield name, flipped(data, position)


def test_every_changed_byte_of_the_file_is_found(plain: SmallSession) -> None:
    data = plain.bundle()
    for position in range(0, len(data), STRIDE):
        assert verify(flipped(data, position)).first_failure is not None


def test_every_truncation_is_found(plain: SmallSession) -> None:
    data = plain.bundle()
    for length in range(0, len(data), STRIDE):
        assert verify(data[:length]).first_failure is not None


def test_every_changed_byte_of_a_member_is_found_in_a_repaired_container(plain: SmallSession) -> None:
    for name, data in changes(plain):
        report = verify(plain.edited({name: data}), root=plain.root)
        assert report.first_failure is not None, name
        assert report.first_failure.id != "V01"


def test_every_changed_byte_is_found_even_if_all_survivors_sign_the_result_again(plain: SmallSession) -> None:
    """Digests then fit, so that each member must be refused for what it says."""
    for name, data in changes(plain):
        if name in {RESULT, *ADDED}:
            continue
        report = verify(plain.forged({name: data}, accomplices=(0, 1, 3, 4)), root=plain.root)
        assert report.first_failure is not None, name
        assert report.first_failure.id not in ("V01", "V04"), name


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_file_gives_a_report(data: bytes) -> None:
    assert verify(data).verdict is Verdict.FAIL


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_content_of_any_member_gives_a_report(plain: SmallSession, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(plain.members)))
    content = data.draw(
        st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b"0", b"[" * 3000, b'"\\ud800"'])
    )
    report = verify(
        plain.forged({name: content}, accomplices=(0, 1, 3, 4))
        if name not in {RESULT, *ADDED}
        else plain.edited({name: content})
    )
    assert report.verdict is Verdict.FAIL or content == plain.members[name]


@pytest.mark.parametrize("depth", [900, 1100, 100_000])
def test_deep_nesting_is_refused(plain: SmallSession, depth: int) -> None:
    report = verify(plain.edited({"metrics.json": b"[" * depth + b"]" * depth}))
    assert report.first_failure is not None


def test_members_alone_are_not_a_bundle() -> None:
    report = verify(write_archive({VERSION: b"vdb-bundle/1\n", "notes": COORDINATOR.encode()}))
    assert report.first_failure is not None
    assert report.first_failure.id == "V03"
