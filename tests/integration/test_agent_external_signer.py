"""Institutions whose statement key their agent never sees: enrolment and a whole session through a program in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.agent_cli import run as participant
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import no_passphrase
from testkit.moved_keys import move_key_out
from testkit.sessions import SITES, Runs, consortium
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.signing import CommandSigner
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.identity import StatementKey


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


def test_a_whole_session_is_signed_by_the_program(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    institutions = consortium(coordinator, tmp_path)
    folder = institutions[0].site.folder
    move_key_out(folder, coordinator.identities[0].statement_key, tmp_path / "module")
    institutions[0].site = open_site(folder, no_passphrase)
    assert isinstance(institutions[0].site.signer, CommandSigner)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    assert not runs.errors
    bundle = runs.outcomes["site-0"].bundle.read_bytes()
    report = verify(bundle, root=coordinator.root_fingerprint)
    assert report.verdict is Verdict.PASS
    assert report.facts is not None
    assert "site-0" in report.facts.survivors
    seen = (tmp_path / "module" / "key.pem.log").read_text()
    for what in (
        "in-toto+json",
        "secagg.advertise-keys",
        "secagg.masked-input",
        "secagg.consistency",
        "cosignature/v1",
    ):
        assert what in seen


def test_it_enrols_with_the_programs_key_and_makes_none(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    folder, key = StateFolder(tmp_path / "late"), StatementKey.generate()
    move_key_out(folder, key, tmp_path / "module")
    invitation = tmp_path / "late.invitation"
    invitation.write_bytes(coordinator.admin.invite("late"))
    words: list[str | Path] = ["--dir", folder.path, "enroll", invitation, "--plaintext-keys"]
    first = participant(*words)
    assert first.returncode == 0, first.stderr
    coordinator.admin.approve("late", key.public_key.key_id)
    second = participant(*words)
    assert second.returncode == 0, second.stderr
    assert open_site(folder, no_passphrase).signer.public_key == key.public_key
    assert not folder.statement_key.exists()
