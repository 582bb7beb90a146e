from __future__ import annotations

from decimal import Decimal

import pytest

from testkit.bundles import SmallSession, small_session
from testkit.small_specs import small_spec
from testkit.specs import without_noise
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.report import Report, Status, Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.record import ADDED
from vdb_shared.errors import UsageError, VerificationError
from vdb_shared.spec import Spec

UNPROVEN = ["V33", "V62", "V63", "V63.standing", "V64", "V65", "V70", "N01", "N02", "N03", "N04"]
PROVEN = ["V01", "V02", "V03", "V04", "V05", "V10", "V11", "V12", "V20", "V21", "V21.log", "V22", "V30", "V31", "V32"]
PROVEN += ["V34", "V34.commitments", "V35", "V40", "V41", "V42", "V43", "V50", "V51", "V60", "V61"]


def ids(report: Report, status: Status) -> list[str]:
    return [line.id for line in report.lines if line.status is status]


def test_an_honest_bundle_passes_and_says_what_it_cannot_prove(session: SmallSession) -> None:
    report = verify(session.bundle(), root=session.root)
    assert report.verdict is Verdict.PASS
    assert ids(report, Status.PASS) == PROVEN
    assert ids(report, Status.NOT_PROVEN) == UNPROVEN
    report.require()


def test_every_line_is_a_sentence(session: SmallSession) -> None:
    for line in verify(session.bundle()).lines:
        assert line.sentence[0].isupper() or line.sentence[0].isdigit()
        assert line.sentence.endswith(".")
        assert not line.detail


def test_without_a_pin_the_root_is_not_proven_and_its_fingerprint_is_shown(session: SmallSession) -> None:
    report = verify(session.bundle())
    assert report.verdict is Verdict.PASS
    assert not report.pinned
    (root,) = [line for line in report.lines if line.id == "V10"]
    assert root.status is Status.NOT_PROVEN
    assert session.root in root.sentence


def test_another_root_fails_and_what_builds_on_it_is_not_reached(session: SmallSession) -> None:
    report = verify(session.bundle(), root="sha256:" + "0" * 64)
    assert report.first_failure is not None
    assert report.first_failure.id == "V10"
    assert ids(report, Status.NOT_REACHED) == [
        *(check for check in PROVEN if check > "V10"),
        *("V62", "V63", "V63.standing", "V64", "V65"),
    ]


def test_a_policy_can_pin_the_root(session: SmallSession) -> None:
    assert verify(session.bundle(), policy=Policy(root=session.root)).pinned
    assert failure(session.bundle(), policy=Policy(root="sha256:" + "0" * 64)) == "V10"
    with pytest.raises(UsageError):
        verify(session.bundle(), root=session.root, policy=Policy(root="sha256:" + "0" * 64))


def failure(data: bytes, *, policy: Policy | None = None, draft: bool = False) -> str | None:
    report = verify(data, policy=policy or Policy(), draft=draft)
    return report.first_failure.id if report.first_failure else None


@pytest.mark.parametrize(
    "policy",
    [
        Policy(maximum_epsilon=Decimal("7.999")),
        Policy(maximum_delta=Decimal("9e-7")),
        Policy(minimum_cohort=5),
        Policy(minimum_collusion=2),
    ],
)
def test_parameters_below_the_policy_fail_but_the_rest_is_still_tried(session: SmallSession, policy: Policy) -> None:
    report = verify(session.bundle(), policy=policy)
    assert report.first_failure is not None
    assert report.first_failure.id == "V22"
    assert not ids(report, Status.NOT_REACHED)


def test_the_default_policy_refuses_a_weak_promise() -> None:
    assert failure(small_session(spec=weak("epsilon = 32, delta = 1e-6")).bundle()) == "V22"
    assert failure(small_session(spec=weak("epsilon = 8, delta = 1e-3", records=10)).bundle()) == "V22"


def test_a_cohort_below_the_policy_fails_as_promised_and_as_found(session: SmallSession) -> None:
    report = verify(session.bundle(), policy=Policy(minimum_cohort=5))
    assert ids(report, Status.FAIL) == ["V22", "V43"]


def weak(promise: str, records: int = 2000) -> Spec:
    return small_spec(privacy=f"{{ {promise}, maximum_records = {records} }}")


def test_a_session_without_noise_is_not_private() -> None:
    report = verify(small_session(spec=without_noise(small_spec())).bundle())
    assert ids(report, Status.FAIL) == ["V42"]
    assert report.first_failure is not None
    assert "not private" in report.first_failure.detail


def test_false_declarations_are_found() -> None:
    report = verify(small_session(liar=3).bundle())
    assert ids(report, Status.FAIL) == ["V34", "V40"]
    weights, total = (line for line in report.lines if line.status is Status.FAIL)
    assert "lab-kyoto" in weights.detail
    assert "failed public clips declared" in total.detail


def test_a_draft_lacks_only_what_is_about_its_result(session: SmallSession) -> None:
    draft = write_archive({name: data for name, data in session.members.items() if name not in ADDED})
    report = verify(draft, root=session.root, draft=True)
    report.require()
    assert report.verdict is Verdict.INCOMPLETE
    assert report.exit_code == 3
    assert ids(report, Status.SKIPPED) == ["V51", "V60", "V61"]
    assert failure(draft) == "V03"


def test_require_names_the_first_failure(session: SmallSession) -> None:
    with pytest.raises(VerificationError, match=r"^V41: ") as caught:
        verify(session.forged({"metrics.json": b"{}"})).require()
    assert caught.value.check == "V41"


def test_exit_codes(session: SmallSession) -> None:
    assert verify(session.bundle()).exit_code == 0
    assert verify(b"").exit_code == 1


def test_facts_name_survivors_and_dropouts(session: SmallSession) -> None:
    facts = verify(session.bundle()).facts
    assert facts is not None
    assert facts.survivors == ("archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima")
    assert facts.dropped == {"film-studio": "shared-keys"}
    assert verify(b"PK").facts is None
