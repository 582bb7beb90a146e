"""Every field of every payload, changed and signed again by the coordinator alone, and by it and q − 1 participants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from golden.expected import EXPECTED, STRUCTURE
from testkit.bundles import DROPOUT, SmallSession
from testkit.conspiracy import Trees, conspire
from testkit.field_changes import Change, changes_of
from testkit.golden import golden_session
from testkit.remembering import remember
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.record import OPEN, RESTARTS, SEAL, TRANSCRIPT
from vdb_shared.secagg.parameters import share_threshold

ACCOMPLICES = (0, 1, 3)
"""One fewer than q = 4; the last institution is honest."""

KINDS = ("removed", "added", "shorter", "longer", "swapped")

PARTICIPANTS = ("joins/*", "contributions/*", TRANSCRIPT, RESTARTS)
"""Members that hold what single institutions signed: whose message it is matters."""


@pytest.fixture(autouse=True, scope="module")
def quick_audits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        remember(patch.setattr)
        yield


def session_of(member: str) -> SmallSession:
    return golden_session("restarted" if member == RESTARTS else "dropout")


def changes_by_member() -> Mapping[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for name in ("dropout", "restarted"):
        for change in changes_of(golden_session(name)):
            member = change.field.split(" ")[0]
            if (member == RESTARTS) == (name == "restarted"):
                found.setdefault(member, []).append(change)
    return found


CHANGES = changes_by_member()


def expected_of(change: Change, adversary: int) -> str:
    """Return the id of the check that should find a change.

    Args:
        change: the change.
        adversary: 0: the coordinator alone; 1: with accomplices, of whom one signed what is changed; 2: none of them did.
    """
    member = change.field.split(" ")[0]
    words = [item.split(" ") for item in EXPECTED.get(change.field, "").split("; ")]
    ids = {item[0] if item[0] in KINDS else "other": " ".join(item[item[0] in KINDS :]) for item in words}
    found = ids.get(change.how, "" if change.how == "other" else STRUCTURE.get(member, "")).split()
    if not found:
        return "a line in the table (expected.py)"
    return found[0] if len(found) == 1 else found[adversary]


def first_failure(session: SmallSession, change: Change, seats: tuple[int, ...]) -> str:
    report = verify(conspire(session, change.edit, seats), root=session.root)
    return report.first_failure.id if report.first_failure else f"nobody: {report.verdict}"


@pytest.mark.parametrize("member", CHANGES)
def test_the_check_made_for_a_field_finds_its_change(member: str) -> None:
    session, wrong = session_of(member), []
    for change in CHANGES[member]:
        if change.last and (change.how != "other" or member not in PARTICIPANTS):
            continue
        adversaries = [1] if change.how != "other" else [2] if change.last else [0, 1]
        for adversary in adversaries:
            found = first_failure(session, change, ACCOMPLICES if adversary else ())
            if found != (wanted := expected_of(change, adversary)):
                wrong.append(f"{change}, adversary {adversary}: found by {found}, expected {wanted}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_line_for_a_field_that_does_not_exist() -> None:
    assert sorted(EXPECTED.keys() - {change.field for found in CHANGES.values() for change in found}) == []


def test_there_are_many_changes_of_every_kind() -> None:
    counts = Counter(change.how for found in CHANGES.values() for change in found)
    assert counts["other"] > 300
    assert counts["removed"] > 300
    assert counts["added"] > 80
    assert min(counts["shorter"], counts["longer"]) > 20
    assert counts["swapped"] > 10


def test_the_accomplices_are_one_too_few() -> None:
    assert len(ACCOMPLICES) == share_threshold(5, 1) - 1


@pytest.mark.parametrize(("member", "field"), [(OPEN, "software"), (OPEN, "nonce"), (SEAL, "sealed")])
@pytest.mark.parametrize("name", ["full", "dropout", "restarted"])
def test_with_all_keys_a_change_can_be_carried_through(name: str, member: str, field: str) -> None:
    """Nothing but missing signatures gives the forgeries above away: with those of all institutions each of these passes."""
    session = golden_session(name)
    other = {"software": "another", "nonce": "0" * 64, "sealed": "2026-01-31T12:10:01Z"}[field]

    def edit(trees: Trees) -> None:
        trees[member]["payload"]["predicate"][field] = other

    forged = conspire(session, edit, tuple(range(5)))
    assert verify(forged, root=session.root).verdict is Verdict.PASS
    assert forged != session.bundle()


@pytest.mark.parametrize("seats", [(), ACCOMPLICES])
def test_signing_again_without_a_change_gives_the_same_bundle(seats: tuple[int, ...]) -> None:
    session = golden_session("dropout")
    assert DROPOUT not in seats
    assert conspire(session, lambda _trees: None, seats) == session.bundle()
