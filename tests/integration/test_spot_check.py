"""A spot check from end to end: a session over gRPC, the coordinator's log on disk, and both programs' command lines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.audit_cli import vdb_audit
from testkit.coordinator import CONSORTIUM, RunningCoordinator, running_coordinator
from testkit.institutions import Institution, session_spec
from testkit.logs import MadeLog
from testkit.opened_lines import entry_of
from testkit.sessions import SITES, Runs, consortium
from vdb_coordinator.serving.server import read_keys
from vdb_participant.session.retention import drop_old_samples
from vdb_participant.session.samples import SAMPLES_FILE
from vdb_participant.site.policy import DEFAULT_POLICY
from vdb_shared.audit.log_files import open_log
from vdb_shared.bundle.logged import AbortedRecord, ObjectionRecord, RevokedRecord, log_origin, parse_record
from vdb_shared.bundle.sample_choice import may_choose
from vdb_shared.canonical import canonical_json
from vdb_shared.transparency.note import ED25519, NoteKey


@dataclass(frozen=True)
class Published:
    """A published session, and the folder in which another one was opened after it.

    Attributes:
        coordinator: still running.
        site: one of the institutions.
        choice: what the auditor asks with.
        path: for files.
        folder: the site's state folder, if it is another than its own.
    """

    coordinator: RunningCoordinator
    site: Institution
    choice: Path
    path: Path
    folder: Path | None = None

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
            self.folder or self.site.site.folder.path,
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
        asked = f"vdb-participant prove-sample {institutions[1].session[7:19]} --checkpoint choice.json"
        assert f"`{asked} --auditor your-name --out samples.vdbs`" in words
        yield story


def made_for_the_question(published: Published) -> MadeLog:
    """Return a log that the coordinator signs as well as the true one: another entry chooses."""
    key = read_keys(published.coordinator.home, None).statement
    log, _ = open_log(str(published.coordinator.home.log), NoteKey(log_origin(CONSORTIUM), ED25519, key.public_key.raw))
    entries = list(log.entries())
    return MadeLog(CONSORTIUM, key, [*entries[:2], entry_of("tried until it chose well"), *entries[2:]])


def test_a_log_that_was_made_for_the_question_is_answered_by_no_site(published: Published) -> None:
    """The coordinator signs it, so the file is in order: the site asks how it goes on from what it saw itself."""
    for path, data in made_for_the_question(published).files().items():
        place = published.path / "forged" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    asked = published.path / "forged.json"
    code, words = published.audit("choose-sample", "--log", published.path / "forged", "--out", asked)
    assert code == 0, words
    out = published.path / "forged.vdbs"
    code, words = replace(published, choice=asked).prove(out, "--yes")
    assert code == 1
    assert "shows another log than before" in words
    assert "line " not in words
    assert not out.exists()
    assert list(published.site.site.folder.log.glob("fork-*.txt"))


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


def test_without_the_coordinator_a_copy_of_the_log_will_do_and_a_forged_one_will_not(published: Published) -> None:
    """`unreachable` is the site with a coordinator that nobody can reach any more; it keeps what it saw of the log."""
    unreachable = published.path / "unreachable"
    shutil.copytree(published.site.site.folder.path, unreachable, ignore=shutil.ignore_patterns("lock"))
    config = json.loads((unreachable / "config.json").read_text())
    (unreachable / "config.json").write_bytes(canonical_json(config | {"address": "127.0.0.1:1"}))
    away, out = replace(published, folder=unreachable), published.path / "offline.vdbs"
    code, words = away.prove(out, "--yes", "--count", "5")
    assert (code, "127.0.0.1:1" in words) == (1, True), words
    assert not out.exists()
    for name in ("copy", "forged"):
        shutil.rmtree(published.path / name, ignore_errors=True)
    log = shutil.copytree(published.coordinator.home.log, published.path / "copy")
    forged = published.path / "forged"
    for path, data in made_for_the_question(published).files().items():
        (forged / path).parent.mkdir(parents=True, exist_ok=True)
        (forged / path).write_bytes(data)
    code, words = away.prove(out, "--yes", "--count", "5", "--log", forged)
    assert code == 1, "the attack: the auditor hands over a copy of the log that was made for one question"
    assert "shows another log than before" in words
    assert not out.exists()
    code, words = away.prove(out, "--yes", "--count", "5", "--log", log)
    assert code == 0, words
    code, words = published.audit("check-sample", out, "--count", "5", "--log", log, "--checkpoint", published.choice)
    assert code == 0, words
    assert (unreachable / "log" / "checkpoint").read_bytes() == (log / "checkpoint").read_bytes()


def test_what_is_there_is_not_overwritten(published: Published) -> None:
    before = published.bundle.read_bytes()
    log = ("--log", published.coordinator.home.log)
    code, words = published.audit("choose-sample", *log, "--out", published.bundle)
    assert code == 2
    assert "exists already; name another file or remove it" in words
    assert published.bundle.read_bytes() == before


def test_nobody_knows_beforehand_what_an_entry_of_a_member_will_be(published: Published) -> None:
    """Each has a salt of its own; the session that was opened has its random id."""
    words = ("--reason", "data", "--text", "I wonder about the ranks.")
    for _ in range(2):
        done = run("--dir", published.site.site.folder.path, "object", published.site.session[:19], *words)
        assert done.returncode == 0, done.stderr
    opened = published.coordinator.admin.create_session(session_spec(published.path / "third"))
    published.coordinator.admin.abort_session(opened, "to see its entry")
    published.coordinator.settle(opened)
    published.coordinator.admin.revoke(published.coordinator.identities[0].institution, "left", "")
    key = read_keys(published.coordinator.home, None).statement.public_key.raw
    log, _ = open_log(str(published.coordinator.home.log), NoteKey(log_origin(CONSORTIUM), ED25519, key))
    records = [parse_record(entry) for entry in log.entries()]
    salted = [item for item in records if isinstance(item, AbortedRecord | ObjectionRecord | RevokedRecord)]
    assert {type(item) for item in salted} == {AbortedRecord, ObjectionRecord, RevokedRecord}
    salts = {item.salt for item in salted}
    assert len(salts) == len(salted) >= 3
    assert all(len(set(bytes.fromhex(salt))) > 16 for salt in salts), "no salt is a constant"
    assert all(may_choose(entry) for entry in list(log.entries())[2:])


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
