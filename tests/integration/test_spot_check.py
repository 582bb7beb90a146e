"""A spot check from end to end: a session over gRPC, the coordinator's log on disk, and both programs' command lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.audit_cli import vdb_audit
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution, session_spec
from testkit.sessions import SITES, Runs, consortium
from vdb_participant.session.retention import drop_old_samples
from vdb_participant.session.samples import SAMPLES_FILE
from vdb_participant.site.policy import DEFAULT_POLICY


@dataclass(frozen=True)
class Published:
    """A published session, and the folder in which another one was opened after it.

    Attributes:
        coordinator: still running.
        site: one of the institutions.
        choice: what the auditor asks with.
        path: for files.
    """

    coordinator: RunningCoordinator
    site: Institution
    choice: Path
    path: Path

    @property
    def bundle(self) -> Path:
        return self.site.folder / "result.vdbb"

    def audit(self, command: str, *words: str | Path) -> tuple[int, str]:
        done = vdb_audit(command, self.bundle, *words, "--root", self.coordinator.root_fingerprint)
        return done.returncode, done.stdout + done.stderr

    def prove(self, out: Path, *words: str | Path) -> tuple[int, str]:
        session = self.site.session.removeprefix("sha256:")[:12]
        done = run(
            "--dir",
            self.site.site.folder.path,
            "prove-sample",
            session,
            *("--checkpoint", self.choice, "--auditor", "office-of-audits", "--out", out),
            *words,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    path = tmp_path_factory.mktemp("spot")
    with running_coordinator(path / "coordinator", institutions=SITES) as coordinator:
        institutions = consortium(coordinator, path)
        runs = Runs()
        runs.start(*institutions)
        runs.join()
        assert not runs.errors
        story = Published(coordinator, institutions[1], path / "choice.json", path)
        log = ("--log", coordinator.home.log, "--out", story.choice)
        code, words = story.audit("choose-sample", *log)
        assert (code, "nothing chooses lines yet" in words) == (1, True)
        coordinator.admin.create_session(session_spec(path / "second"))
        code, words = story.audit("choose-sample", *log)
        assert code == 0, words
        assert f"prove-sample {institutions[1].session[7:19]}" in words
        yield story


def test_an_auditor_asks_an_institution_answers_and_the_answer_holds(published: Published) -> None:
    out = published.path / "samples.vdbs"
    code, words = published.prove(out, "--count", "5", "--yes")
    assert code == 0, words
    assert "This opens 5 records" in words
    assert "the ledger does not count it" in words.lower()
    assert out.stat().st_mode & 0o077 == 0
    log = ("--log", published.coordinator.home.log)
    code, words = published.audit("check-sample", out, "--count", "5", *log, "--checkpoint", published.choice)
    assert code == 0, words
    assert "5 records of" in words
    assert "N01" in words
    code, words = published.audit("check-sample", out, "--count", "6", *log)
    assert code == 1
    assert "6 were asked for" in words
    code, words = published.audit("check-sample", out, "--count", "5", "--json")
    report = json.loads(words)
    assert report["verdict"] == "PASS"
    assert {line["id"]: line["status"] for line in report["checks"]}["S05"] == "NOT PROVEN"


def test_nothing_is_written_without_consent(published: Published) -> None:
    out = published.path / "refused.vdbs"
    code, words = published.prove(out)
    assert code == 2
    assert "nothing was written" in words
    assert "line " in words
    assert not out.exists()


def test_the_auditor_is_named_as_a_member_would_be(published: Published) -> None:
    code, words = published.prove(published.path / "named.vdbs", "--auditor", "The Office\x1b[2J", "--yes")
    assert code == 2
    assert "expected a name as in the roster" in words
    assert "\x1b" not in words


def test_a_clip_that_is_not_there_any_more_is_not_made_up(published: Published) -> None:
    code, words = published.prove(published.path / "clips.vdbs", "--with-clips", "--yes")
    assert code == 1
    assert "was removed or changed since it was measured" in words


def test_a_list_goes_when_the_policy_says_so_and_no_sooner(published: Published) -> None:
    site, kept = published.site.site, published.site.folder / SAMPLES_FILE
    assert site.policy.samples_days is None
    policy = site.policy.model_copy(update={"samples_days": 30})
    assert "# samples_days = 1095" in DEFAULT_POLICY
    measured = datetime.fromtimestamp(kept.stat().st_mtime, UTC)
    assert drop_old_samples(site.folder, site.policy, measured + timedelta(days=10_000)) == ()
    assert drop_old_samples(site.folder, policy, measured + timedelta(days=29)) == ()
    content = kept.read_bytes()
    assert drop_old_samples(site.folder, policy, measured + timedelta(days=31)) == (published.site.session,)
    assert not kept.exists()
    code, words = published.prove(published.path / "late.vdbs", "--yes")
    assert code == 2
    assert "expected the list of what was measured" in words
    journal = published.site.folder / "journal"
    whole = journal.read_bytes()
    kept.write_bytes(content)
    os.utime(kept, (0, 0))
    journal.write_bytes(whole[:54])
    assert drop_old_samples(site.folder, policy, measured) == ()
    journal.write_bytes(whole)
