"""Commands at a site without a network: leaving by files, waiting for files, objecting; and what it is told to do instead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.agent_cli import PROGRAM, run
from testkit.audit_cli import vdb_audit
from testkit.carried import OfflineSite
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import Institution, session_spec, write_prompts
from testkit.sessions import SITES, Runs, consortium, journal_of, kinds, recorded
from vdb_participant.session import records
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.site.egress import EgressJournal
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.errors import AwaitedAnswerError

CARRIED = 3
"""Exit status of a command that ended because something is to be carried."""


@contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and end it by its process id if it has not ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "120", "TERM": "dumb", "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def called(site: OfflineSite) -> list[str]:
    """Return the calls that a relay made, in order."""
    entries = EgressJournal(site.relay_folder.egress).read().entries
    return [entry.departure.what.rpartition("/")[2] for entry in entries if entry.departure.kind == "message"]


def test_nobody_types_anything_where_a_program_moves_the_files(tmp_path: Path) -> None:
    """Enrolment and a dry run with --wait and --wait-for-files, beside a relay with --watch: each command runs once."""
    stick, state, data = tmp_path / "stick", tmp_path / "state", write_prompts(tmp_path / "data", 0)
    invitation = tmp_path / "archive.invitation"
    with running_coordinator(tmp_path, institutions=SITES - 1) as coordinator:
        invitation.write_bytes(coordinator.admin.invite("archive"))
        assert run("--dir", tmp_path / "relay", "relay", "prepare", invitation, stick).returncode == 0
        with started("--dir", tmp_path / "relay", "relay", "carry", stick, "--watch") as relay:
            offer = stick / "inbox" / "archive.offer"
            enrol = ("enroll", offer, "--plaintext-keys", "--offline", stick, "--wait")
            with started("--dir", state, *enrol) as site:
                assert site.stdout is not None
                line = next(line for line in site.stdout if line.startswith("fingerprint: "))
                fingerprint = line.removeprefix("fingerprint: ").strip().replace(" ", "")
                while not any(item.fingerprint == fingerprint for item in coordinator.admin.enrolments()):
                    assert relay.poll() is None
                coordinator.admin.approve("archive", fingerprint)
                printed, complained = site.communicate(timeout=120)
            assert site.returncode == 0, printed + complained
            assert "archive is a member of testbed" in printed
            assert f"carry {stick}/outbox/archive-000001.request to the relay" in complained, "said before it waited"
            session = coordinator.admin.create_session(session_spec(tmp_path / "models"))
            look = ("join", session, "--data", data, "--models", tmp_path / "models", "--dry-run", "--no-timing")
            once = run("--dir", state, *look, "--offline", stick)
            assert once.returncode == CARRIED, "without --wait-for-files it ends, and is run again"
            done = run("--dir", state, *look, "--offline", stick, "--wait-for-files")
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"Session  {session}" in done.stdout
            assert "CARRIED BY HAND" in done.stdout
            assert "not timed: left out (--no-timing)" in " ".join(done.stdout.split())
            assert relay.poll() is None, "it goes on watching"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path / "lead", institutions=SITES - 1) as running:
        yield running


def test_leaving_by_files_is_said_at_once_and_told_when_it_was_carried(
    small: RunningCoordinator, tmp_path: Path
) -> None:
    site = OfflineSite(tmp_path / "clinic", "clinic")
    site.enrol(small)
    others = consortium(small, tmp_path / "session")
    clinic = site.meet(others[0].session, tmp_path / "session" / "models")
    while not (clinic.folder / "journal").exists() or records.JOIN_SENT + ACKNOWLEDGED not in journal_of(clinic):
        with pytest.raises(AwaitedAnswerError):
            site.life()
        site.carry(wait=False)
    leave = ("--dir", site.state.path, "leave", clinic.session[7:19], "--reason", "our data were withdrawn", "--yes")
    connected = run(*leave)
    assert connected.returncode == 2
    assert "this site is not connected, its relay is; say with --offline DIR" in connected.stderr
    assert records.OUTCOME not in journal_of(clinic), "nothing was left by that"
    left = run(*leave, "--offline", site.exchange)
    assert left.returncode == CARRIED, left.stdout + left.stderr
    assert "left; the coordinator was not told, and will see it at the deadline" in left.stdout
    assert f"carry {site.exchange}/outbox to the relay, so that the others need not wait" in left.stdout
    statement = recorded(clinic, records.ABORT_SENT)
    said, _ = parse_statement(Envelope.from_json(statement).payload, Abort)
    assert said.reason == "our data were withdrawn"
    assert called(site).count("Abort") == 0
    assert not site.carry(wait=False).refused
    assert called(site).count("Abort") == 1
    assert kinds(clinic) == []
    again = run(*leave, "--offline", site.exchange)
    assert again.returncode == 2
    assert "has ended for us" in again.stderr


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("lead"), institutions=SITES) as running:
        yield running


@dataclass(frozen=True)
class Finished:
    """A session that an institution without a network took part in."""

    site: OfflineSite
    hospital: Institution
    other: Institution

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return run("--dir", self.site.state.path, *words)

    @property
    def session(self) -> str:
        return self.hospital.session[7:19]


@pytest.fixture(scope="module")
def finished(coordinator: RunningCoordinator, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    path = tmp_path_factory.mktemp("finished")
    site = OfflineSite(path / "hospital", "hospital")
    site.enrol(coordinator)
    others = consortium(coordinator, path, minimum=5, round_seconds=300, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    hospital = site.meet(others[0].session, path / "models")
    site.take_part()
    runs.join()
    assert not runs.errors
    return Finished(site, hospital, others[0])


def test_an_objection_is_signed_here_and_handed_in_by_any_member(finished: Finished, tmp_path: Path) -> None:
    words = ("object", finished.session, "--reason", "model", "--text", "Our driver was broken.")
    bare = finished.run(*words)
    assert (bare.returncode, bare.stdout) == (2, "")
    assert "this site is not connected: say -o FILE, and let any member hand FILE in with --carry" in bare.stderr
    mine = tmp_path / "mine.dsse.json"
    signed = finished.run(*words, "-o", mine)
    assert signed.returncode == 0, signed.stderr
    assert "signed, and not handed in: this site is not connected" in signed.stdout
    assert f"vdb-participant object {finished.session} --carry mine.dsse.json" in signed.stdout
    kept = {path.read_bytes() for path in finished.site.state.objections.iterdir()}
    assert mine.read_bytes() in kept
    here = finished.run("object", finished.session, "--carry", mine)
    assert here.returncode == 2
    assert f"this site is not connected, its relay is: bring {mine} to any member that is" in here.stderr
    member = finished.other.site.folder.path
    brought = run("--dir", member, "object", finished.session, "--carry", mine)
    assert brought.returncode == 0, brought.stderr
    assert "the objection is entry" in brought.stdout

    out = tmp_path / "statements"
    fetch = ("objections", finished.session, "--out", out, "--offline", finished.site.exchange)
    assert finished.run(*fetch).returncode == CARRIED
    finished.site.carry()
    fetched = finished.run(*fetch)
    assert fetched.returncode == 0, fetched.stderr
    assert [path.read_bytes() for path in out.iterdir()] == [mine.read_bytes()]


def test_without_a_result_there_is_nothing_to_object_to(finished: Finished, tmp_path: Path) -> None:
    done = finished.run("object", "00000000", "--reason", "model", "--text", "It.", "-o", tmp_path / "mine")
    assert done.returncode == 2
    assert "no result of such a session is kept here, so there is nothing to object to" in done.stderr
    assert not (tmp_path / "mine").exists()


def test_the_certificate_is_at_the_relay(finished: Finished) -> None:
    shown = finished.run("certificate", "show")
    assert shown.returncode == 0, shown.stderr
    assert "it lies at the relay, which showed it last" in shown.stdout
    done = finished.run("certificate", "renew")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: this site is not connected, its relay is: run `vdb-participant certificate renew"
    )
    assert "docs/offline.md" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_spot_check_needs_no_network_but_a_copy_of_the_log(
    coordinator: RunningCoordinator, finished: Finished, tmp_path: Path
) -> None:
    bundle, choice, out = finished.hospital.folder / "result.vdbb", tmp_path / "choice.json", tmp_path / "samples.vdbs"
    coordinator.admin.create_session(session_spec(tmp_path / "next"))
    log = ("--log", coordinator.home.log)
    chosen = vdb_audit("choose-sample", bundle, *log, "--out", choice, "--root", coordinator.root_fingerprint)
    assert chosen.returncode == 0, chosen.stdout + chosen.stderr
    prove = ("prove-sample", finished.session, "--checkpoint", choice, "--auditor", "office-of-audits", "--out", out)
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xaf")
    other = finished.run(*prove[:3], noise, *prove[4:], "--yes", *log)
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr == (
        f"error: --checkpoint: {noise} is not the file that `vdb-audit choose-sample` writes (not strict JSON: from byte 0 on "
        "it is no text in UTF-8); ask the auditor for it\n"
    )
    refused = finished.run(*prove, "--count", "2", "--yes")
    assert refused.returncode == 2
    assert "let the auditor bring a copy of the log's folder, and name it with --log FOLDER" in refused.stderr
    assert not out.exists()
    proven = finished.run(*prove, "--count", "2", "--yes", *log)
    assert proven.returncode == 0, proven.stdout + proven.stderr
    assert out.exists()
