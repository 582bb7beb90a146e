"""How an audit goes on: what a failed check leaves untried, whose words are shown, what is told without being proven."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.golden import FOLDER, golden_file
from vdb_shared.audit import verify as auditing
from vdb_shared.audit.checks.base import Check, Finding, demand, demand_equal, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Line, Status
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, UnreachableError, UsageError, VerificationError

BUNDLE = golden_file("dropout").read_bytes()
EVIDENCE = Evidence(BUNDLE, None, DEFAULT_POLICY, draft=False)
ROOT = EVIDENCE.record.roster.root_fingerprint
OTHER = "sha256:" + "0" * 64


def attempted(check: Check, *out_of_reach: str) -> Line:
    return auditing._line(check, EVIDENCE, set(out_of_reach))


def check(problem: Exception | None = None, *needs: str) -> Check:
    def attempt(_evidence: Evidence) -> Finding:
        if problem is not None:
            raise problem
        return passed("It is so.")

    return Check("V98", "Title", "It is not so.", needs, attempt)


def test_what_a_check_builds_on_is_named_if_it_did_not_pass() -> None:
    def never(_evidence: Evidence) -> Finding:
        raise AssertionError("this check was tried")

    builds_on_three = Check("V98", "Title", "It is not so.", ("V01", "V02", "V03"), never)
    for missing, named in ((("V03", "V01"), "V01 and V03"), (("V02", "V77"), "V02")):
        sentence = f"Not tried: it builds on {named}, which did not pass."
        assert attempted(builds_on_three, *missing) == Line("V98", "Title", Status.NOT_REACHED, sentence)
    assert attempted(check(None, "V01"), "V02") == Line("V98", "Title", Status.PASS, "It is so.")


def test_a_failure_is_told_in_the_words_of_the_check_and_of_the_error() -> None:
    failed = attempted(check(VerificationError("1 is not 2.", check="V98")))
    assert failed == Line("V98", "Title", Status.FAIL, "It is not so.", "1 is not 2.")
    failed = attempted(check(FormatError("no such form")))
    assert failed == Line("V98", "Title", Status.FAIL, "It is not so.", "no such form")
    with pytest.raises(RuntimeError):  # a mistake of ours is no verdict on a bundle
        attempted(check(RuntimeError("broken")))


def test_findings_keep_their_status() -> None:
    assert passed("a.") == Finding(Status.PASS, "a.")
    assert not_proven("a.") == Finding(Status.NOT_PROVEN, "a.")


def test_a_demand_that_does_not_hold_names_its_check_and_both_values() -> None:
    demand("V98", True, "never told")
    demand_equal("V98", "number", 1, 1)
    with pytest.raises(VerificationError) as caught:
        demand_equal("V98", "number", 1, 2)
    assert (caught.value.check, caught.value.reason) == ("V98", "number: expected 1, found 2.")


def test_the_root_is_the_one_given_or_the_policys() -> None:
    for root, policy in ((ROOT, None), (None, ROOT), (ROOT, ROOT)):
        report = verify(BUNDLE, root=root, policy=Policy(root=policy))
        assert report.pinned
        assert report.first_failure is None
    assert not verify(BUNDLE).pinned
    assert verify(BUNDLE, root=OTHER).first_failure == next(
        line for line in verify(BUNDLE, root=OTHER).lines if line.id == "V10"
    )
    with pytest.raises(UsageError) as caught:
        verify(BUNDLE, root=ROOT, policy=Policy(root=OTHER))
    assert str(caught.value) == f"the policy demands the trust root {OTHER}, but {ROOT} was given; use one of them"


def test_facts_are_told_of_members_that_belong_there_alone() -> None:
    report = verify(BUNDLE, root=OTHER)
    assert (report.bundle, report.size) == (sha256_digest(BUNDLE), len(BUNDLE))
    assert report.facts is not None
    assert report.facts.title == EVIDENCE.spec.title
    more = write_archive({**EVIDENCE.members, "extra": b""})
    assert EVIDENCE.members["spec.json"]
    assert verify(more).facts is None
    beside_form = write_archive({**EVIDENCE.members, "metrics.json": b"{ }"})
    assert verify(beside_form).facts is None


def test_a_bundle_whose_statements_cannot_be_read_has_no_facts() -> None:
    broken = write_archive({**EVIDENCE.members, "open.dsse.json": EVIDENCE.members["seal.dsse.json"]})
    report = verify(broken)
    assert report.first_failure is not None
    assert report.first_failure.id == "V04"
    assert report.facts is None


def test_what_was_said_since_is_told_unless_the_log_was_refuted_or_nothing_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A log that is another one than the bundle's says nothing about the bundle's result."""
    data = golden_file("disputed").read_bytes()
    said = {file.name: file.read_bytes() for file in (FOLDER / "disputed" / "statements").iterdir()}
    found = {}
    for name, problem in {"holds": None, "refuted": VerificationError("two logs", check="V62")}.items():
        asked = replace(check(problem), id="V62")
        monkeypatch.setattr(auditing, "CHECKS", (asked,))
        found[name] = verify(data, statements=said)
    standing = found["holds"].standing
    assert standing is not None
    assert (len(standing.objections), standing.mark, standing.refused) == (2, "withdrawn", {})
    assert found["refuted"].standing is None
    monkeypatch.setattr(auditing, "CHECKS", (check(),))
    assert verify(data, statements=said, fetch=_unreachable).standing is None, "the checks of the log say so"
    logged = verify(data, fetch=lambda path: (FOLDER / "disputed" / "log" / path).read_bytes()).standing
    assert logged is not None
    assert (logged.read, logged.mark, len(logged.objections)) == (True, "withdrawn", 2)
    assert verify(data).standing is None
    assert verify(data, statements=said, draft=True).standing is None


def test_facts_name_the_session_that_was_replaced() -> None:
    old, new = (
        Evidence(golden_file(name).read_bytes(), None, DEFAULT_POLICY, False) for name in ("disputed", "successor")
    )
    assert auditing.facts_of(old).supersedes == ""
    assert auditing.facts_of(new).supersedes == auditing.facts_of(old).session
    for evidence in (old, new):
        said = replace(evidence, fetch=lambda path: (FOLDER / "disputed" / "log" / path).read_bytes()).standing
        assert said is not None
        assert said.supersedes == auditing.facts_of(evidence).supersedes


def test_a_file_that_is_none_has_no_profile() -> None:
    assert not Evidence(b"no bundle", None, DEFAULT_POLICY, draft=False).full


def _unreachable(_path: str) -> bytes:
    raise UnreachableError("nobody is there")
