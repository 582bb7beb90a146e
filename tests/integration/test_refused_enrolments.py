"""What a site's folder says after a coordinator refused it, or showed another trust root than the invitation names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase, write_site
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.commands.findings import Status
from vdb_participant.site.pending import read_pending, write_pending
from vdb_shared.identity import StatementKey
from vdb_shared.wire.enrolment import parse_invitation

PLAIN = "--plaintext-keys"


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path) as running:
        yield running


def invitation_of(coordinator: RunningCoordinator, name: str, path: Path) -> Path:
    path.write_bytes(coordinator.admin.invite(name))
    return path


def enroll(state: Path, invitation: Path) -> str:
    """Return what is complained of, one line, or "" when the request waits or is granted."""
    done = run("--dir", state, "enroll", invitation, PLAIN)
    assert (done.returncode == 0) == (not done.stderr), done.stdout + done.stderr
    return done.stderr


def told(state: Path) -> list[str]:
    """Return what each command says of the folder."""
    found = [run("--dir", state, *words) for words in (("status",), ("sessions",), ("doctor",))]
    return [done.stdout + done.stderr for done in found]


def approve(coordinator: RunningCoordinator, name: str, state: Path) -> None:
    key = StatementKey.from_pem((state / "statement-key.pem").read_bytes(), None)
    coordinator.admin.approve(name, key.public_key.key_id)


def test_a_used_invitation_is_not_said_to_wait_for_approval(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    state, used = tmp_path / "state", invitation_of(coordinator, "clinic", tmp_path / "used")
    assert enroll(tmp_path / "first", used) == ""
    assert enroll(state, used) == "error: invitation was used already; ask the lead for a new one\n"
    said = (
        f"{state}: clinic began to enrol in testbed and cannot become a member by that invitation: invitation was used "
        f"already; ask the lead for a new one. Next: run `vdb-participant --dir {state} enroll INVITATION --wait` with a new "
        "invitation of the lead"
    )
    for printed in told(state):
        assert said in " ".join(printed.split())
        assert "approved" not in printed
    assert enroll(state, used).endswith("ask the lead for a new one\n"), "it may be tried again"
    assert enroll(state, invitation_of(coordinator, "archive", tmp_path / "meant")) == "", "it was another's by mistake"
    assert "gives once the lead has approved" in " ".join(told(state)[0].split())
    approve(coordinator, "archive", state)
    assert enroll(state, tmp_path / "meant") == ""
    assert enroll(tmp_path / "first", used) == "", "whose it was is not refused"


def test_a_replaced_invitation_is_refused_after_it_waited(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    state, first = tmp_path / "state", invitation_of(coordinator, "clinic", tmp_path / "first")
    assert enroll(state, first) == ""
    second = invitation_of(coordinator, "clinic", tmp_path / "second")
    assert "was replaced by a newer one" in enroll(state, first)
    assert "cannot become a member by that invitation: invitation is not known here" in " ".join(told(state)[0].split())
    assert enroll(state, second) == ""
    assert "cannot become" not in told(state)[0]


def test_a_refusal_that_is_taken_back_is_forgotten(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """A coordinator that was restored from an old backup, and then from the newest."""
    state, invitation = tmp_path / "state", invitation_of(coordinator, "clinic", tmp_path / "invitation")
    assert enroll(state, invitation) == ""
    place = state / "enrolment.json"
    waiting = place.read_bytes()
    write_pending(place, replace(read_pending(place), refused="invitation is not known here"))
    assert "cannot become a member" in told(state)[0]
    assert enroll(state, invitation) == ""
    assert place.read_bytes() == waiting, "and what waits is written as before"


def test_another_trust_root_is_explained(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    state, invitation = tmp_path / "state", invitation_of(coordinator, "clinic", tmp_path / "invitation")
    wrong = f"sha256:{'b8' * 32}"
    changed = parse_invitation(invitation.read_bytes()).model_copy(update={"root_fingerprint": wrong})
    invitation.write_bytes(changed.encode())
    assert enroll(state, invitation) == ""
    approve(coordinator, "clinic", state)
    why = (
        f"the coordinator at {coordinator.address} has the trust root {coordinator.root_fingerprint}, but the invitation names "
        f"{wrong}: either the invitation was changed on its way, or that is not the coordinator of this consortium; nothing of "
        "it was accepted here. Compare both by telephone with what `vdb-coordinator fingerprint` shows the lead, and ask for "
        "a new invitation"
    )
    assert enroll(state, invitation) == f"error: {why}\n"
    for printed in told(state):
        assert f"cannot become a member by that invitation: {why}. Next: run" in " ".join(printed.split())
        assert "approved" not in printed
    assert not (state / "config.json").exists()
    better = invitation_of(coordinator, "clinic", tmp_path / "better")
    assert enroll(state, better) == ""
    approve(coordinator, "clinic", state)
    assert enroll(state, better) == ""
    assert (state / "config.json").exists()


def test_doctor_of_a_revoked_site_fails_once_and_says_so(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """Protocol and clock are not to blame, and were not looked at."""
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    assert [item.subject for item in examine_connection(site.folder, no_passphrase)][-3:] == [
        "coordinator",
        "protocol",
        "clock",
    ]
    coordinator.admin.revoke("clinic", "left", "")
    *before, last = examine_connection(site.folder, no_passphrase)
    assert {item.status for item in before} == {Status.PASS}
    assert (last.status, last.subject) == (Status.FAIL, "coordinator")
    assert "its membership was revoked" in last.words
