"""V01 to V05 asked by themselves: members that do not belong together, documents that nobody reads one way only."""

from __future__ import annotations

import pytest

from testkit.evidence import but_for, found, golden_evidence, refused, with_subjects
from testkit.golden import golden_file, golden_session
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Status
from vdb_shared.bundle.record import (
    ADDED,
    COUNTERSIGN,
    METRICS,
    OPEN,
    RESULT,
    RESULT_PROOF,
    SEAL,
    SPEC,
    SURVIVORS,
    TRANSCRIPT,
)
from vdb_shared.bundle.statement import Statement
from vdb_shared.errors import FormatError, SpecError
from vdb_shared.seal import MAX_JSON_BYTES


@pytest.fixture
def evidence() -> Evidence:
    return golden_evidence("dropout")


@pytest.fixture
def unread() -> Evidence:
    """The same bundle, of which nothing was parsed yet."""
    return Evidence(golden_file("dropout").read_bytes(), None, DEFAULT_POLICY, draft=False)


def with_member(evidence: Evidence, name: str, data: bytes | None) -> Evidence:
    """Return evidence with a member put in, replaced, or taken out."""
    members = {**evidence.members, name: data or b""}
    if data is None:
        del members[name]
    return but_for(evidence, members=members)


def test_members_are_counted(evidence: Evidence) -> None:
    assert found("V01", evidence).sentence.startswith("The file is one result bundle of 27 members in its only")


# V02.


def test_documents_are_counted_without_those_of_the_roster(evidence: Evidence) -> None:
    assert found("V02", evidence).sentence == "20 documents can be read in one way only."
    beside_form = with_member(evidence, "roster/targets.json", b"{ }")
    assert found("V02", beside_form).status is Status.PASS


def test_no_document_is_larger_than_any_reader_accepts(evidence: Evidence) -> None:
    for name in (METRICS, "roster/targets.json"):
        reason = refused("V02", with_member(evidence, name, b" " * (MAX_JSON_BYTES + 1)))
        assert reason == f"{name} has {MAX_JSON_BYTES + 1} bytes, more than any reader accepts."
    just_fits = b'"' + b"x" * (MAX_JSON_BYTES - 2) + b'"'
    assert found("V02", with_member(evidence, METRICS, just_fits)).status is Status.PASS


def test_a_document_that_can_be_read_in_two_ways_is_named(evidence: Evidence) -> None:
    for name in (METRICS, SPEC, RESULT, "roster.json"):
        with pytest.raises(FormatError, match=f"^{name}: "):
            found("V02", with_member(evidence, name, b'{"a":1, "a":1}'))
    with pytest.raises(FormatError, match=r"^joins/lab-kyoto\.dsse\.json: "):
        found("V02", with_member(evidence, "joins/lab-kyoto.dsse.json", b"{ }"))


def test_nothing_is_read_of_a_file_with_other_members(evidence: Evidence) -> None:
    for changed in (with_member(evidence, "extra.json", b"{ }"), with_member(evidence, SPEC, None)):
        finding = found("V02", changed)
        assert finding.status is Status.SKIPPED
        assert finding.sentence == "Nothing was read, since the members are not those of a bundle (V03)."


# V03.


def test_a_member_that_no_bundle_has_is_named(evidence: Evidence) -> None:
    with pytest.raises(FormatError, match=r"^extra: a bundle has no such member"):
        found("V03", with_member(evidence, "extra", b""))


def test_every_member_is_there(evidence: Evidence) -> None:
    bare = with_member(with_member(evidence, COUNTERSIGN, None), RESULT_PROOF, None)
    assert refused("V03", bare) == f"{COUNTERSIGN}, {RESULT_PROOF}: this member is missing."
    assert found("V03", but_for(bare, draft=True)).status is Status.PASS
    assert found("V03", but_for(evidence, draft=True)).status is Status.PASS
    draft = but_for(with_member(bare, METRICS, None), draft=True)
    assert refused("V03", draft) == f"{METRICS}: this member is missing."


def test_the_result_names_every_member_once_and_in_order(evidence: Evidence) -> None:
    first, second, *others = evidence.subjects
    out_of_order = "The result does not name each member once, in order."
    assert refused("V03", with_subjects(evidence, second, first, *others)) == out_of_order
    assert refused("V03", with_subjects(evidence, first, first, second, *others)) == out_of_order
    one_sided = "either in the bundle or named by the result, but not both."
    assert refused("V03", with_subjects(evidence, *others)) == f"{first.name}, {second.name}: {one_sided}"
    for name in (RESULT, *ADDED):
        named = [*evidence.subjects, first.model_copy(update={"name": name})]
        named.sort(key=lambda subject: subject.name)
        assert refused("V03", with_subjects(evidence, *named)) == f"{name}: {one_sided}"


# V04.


def test_every_member_has_the_fingerprint_that_the_result_names(evidence: Evidence) -> None:
    assert found("V04", evidence).status is Status.PASS
    for place in (0, -1):
        subjects = list(evidence.subjects)
        honest = subjects[place]
        subjects[place] = honest.model_copy(update={"sha256": "0" * 64})
        assert refused("V04", with_subjects(evidence, *subjects)) == (
            f"{honest.name}: the result names sha256:{'0' * 64}, the member has sha256:{honest.sha256}."
        )


# V05.


def test_statements_are_counted(unread: Evidence) -> None:
    assert found("V05", unread).sentence == (
        "The spec and 13 statements follow the exact formats of this version; nothing in them is unknown to this reader."
    )


@pytest.mark.parametrize(
    ("name", "other", "begins"),
    [
        (SPEC, SURVIVORS, ""),
        (OPEN, SURVIVORS, "open: "),
        (SEAL, OPEN, "seal: "),
        ("joins/lab-kyoto.dsse.json", OPEN, "join of lab-kyoto: "),
        ("contributions/lab-kyoto.dsse.json", OPEN, "contribution of lab-kyoto: "),
        (SURVIVORS, OPEN, ""),
        (TRANSCRIPT, SPEC, TRANSCRIPT),
    ],
)
def test_every_statement_is_read(unread: Evidence, name: str, other: str, begins: str) -> None:
    """Another of the bundle's own documents stands in its place: well formed, and something else."""
    with pytest.raises((FormatError, SpecError), match=f"^{begins}"):
        found("V05", with_member(unread, name, unread.members[other]))


def test_only_a_result_names_subjects(unread: Evidence) -> None:
    session = golden_session("dropout")
    statement = Statement(unread.subjects[:1], unread.opening).sign(session.coordinator)
    again = but_for(Evidence(unread.data, None, DEFAULT_POLICY, draft=False), members=unread.members)
    with pytest.raises(FormatError, match=r"^open: a session-open statement names no subjects$"):
        found("V05", with_member(again, OPEN, statement.to_json()))
