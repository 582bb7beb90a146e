"""Every byte of the golden bundles, changed by someone who cannot sign: each change is a failed check, and no more."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from testkit.golden import FATES, golden_file, golden_session
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.record import ADDED, COUNTERSIGN, RESULT, RESULT_PROOF

LEAST = 25_000
"""Changes that the design asks for of one bundle."""

STRIDE = 127
"""Every so many bytes of a member are changed where a change costs a whole audit."""

EVERYBODY = (0, 1, 3, 4)


def change_of(position: int) -> int:
    """What a byte is xored with: over a bundle, every change of a byte comes up many times."""
    return 1 + zlib.crc32(position.to_bytes(4, "big")) % 255


def changed(data: bytes, position: int) -> bytes:
    edited = bytearray(data)
    edited[position] ^= change_of(position)
    return bytes(edited)


def failure(data: bytes, root: str | None = None) -> str | None:
    report = verify(data, root=root)
    assert (report.verdict is Verdict.FAIL) == (report.first_failure is not None)
    return report.first_failure.id if report.first_failure else None


@pytest.mark.parametrize("name", FATES)
def test_every_changed_byte_and_every_cut_of_the_file_is_refused(name: str) -> None:
    """The others have the same form: they are changed at every seventh byte here, and at every one by `make fuzz`."""
    data = golden_file(name).read_bytes()
    step = 1 if name == "dropout" else 7
    found = [failure(changed(data, position)) for position in range(0, len(data), step)]
    found += [failure(data[:length]) for length in range(0, len(data), step)]
    assert len(found) >= (LEAST if step == 1 else LEAST // 7)
    assert set(found) == {"V01"}


@pytest.mark.parametrize("name", FATES)
def test_nothing_may_follow_the_file(name: str) -> None:
    data = golden_file(name).read_bytes()
    assert {failure(data + bytes([added])) for added in range(256)} == {"V01"}


def edits(name: str) -> Iterator[tuple[str, bytes]]:
    for member, data in sorted(golden_session(name).members.items()):
        offset = zlib.crc32(member.encode()) % STRIDE
        for position in range(min(offset, len(data) - 1), len(data), STRIDE):
            yield member, changed(data, position)


@pytest.mark.parametrize("name", FATES)
def test_a_changed_member_is_found_in_a_repaired_container(name: str) -> None:
    """Checksums and lengths are right again; what is left are the documents and their digests."""
    session = golden_session(name)
    for member, data in edits(name):
        found = failure(session.edited({member: data}), session.root)
        if member == RESULT:
            # Whatever it now says differs from the rounds, if its signature is not what is tried first.
            assert found not in {None, "V01"}
            continue
        strict = member.endswith(".json") and not member.startswith("roster/")
        own = {COUNTERSIGN: {"V51"}, RESULT_PROOF: {"V60", "V61"}}
        assert found in own.get(member, {"V04"}) | ({"V02"} if strict else set()), member


@pytest.mark.parametrize("name", FATES)
def test_a_changed_member_is_found_even_if_all_survivors_sign_the_result_again(name: str) -> None:
    """Digests then fit, so that each member must be refused for what it says."""
    session = golden_session(name)
    for member, data in list(edits(name))[:: 1 if name == "dropout" else 5]:
        if member not in {RESULT, *ADDED}:
            found = failure(session.forged({member: data}, accomplices=EVERYBODY), session.root)
            assert found is not None, member
            assert found not in {"V01", "V03", "V04"}, member
