"""Files and members of any content: a report, never more than a failed check. Changed bytes: tests/golden."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.bundles import SmallSession
from testkit.statements import COORDINATOR
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.record import ADDED, RESULT, VERSION


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
