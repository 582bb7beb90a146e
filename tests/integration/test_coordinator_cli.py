"""`vdb-coordinator` as a program."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.coordinator import CALL, Applicant, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from vdb_coordinator.commands.presets import read_preset
from vdb_coordinator.config import Home
from vdb_shared.audit.verify import verify
from vdb_shared.canonical import sha256_digest
from vdb_shared.wire.enrolment import grouped, parse_invitation
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub
from vdb_shared.wire.status import Phase

PROGRAM = [sys.executable, "-c", "from vdb_coordinator.cli import main; main()"]


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str | Path, expect: int = 0, **environment: str) -> tuple[str, str]:
    """Return what a command writes to stdout and stderr."""
    process = start(*arguments, **environment)
    out, error = process.communicate(timeout=60)
    assert process.returncode == expect, out + error
    assert "Traceback" not in error
    return out, error


def answered(answer: str, *arguments: str | Path, expect: int = 0) -> str:
    """Return what a command shows at a terminal at which somebody answers its question."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    with open(ours, "rb", buffering=0), open(theirs, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "100"},
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    """Return a coordinator with four members."""
    with running_coordinator(tmp_path_factory.mktemp("cli"), institutions=4) as running:
        yield running


def demo_spec(path: Path) -> Path:
    path.write_text(read_preset("demo"))
    return path


def test_from_founding_to_serving_with_encrypted_keys(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    home = Home(tmp_path / "lung-video")
    out, _ = run("--passphrase-file", passphrase, "init", home.path, "--address", "127.0.0.1:0", "--json")
    assert json.loads(out)["root"] == sha256_digest(home.root.read_bytes())
    assert json.loads(out)["consortium"] == "lung-video"
    _, error = run("--dir", home.path, "serve", expect=2)
    assert "VDB_PASSPHRASE" in error
    _, error = run("--dir", home.path, "serve", VDB_PASSPHRASE="wrong", expect=1)
    assert "passphrase" in error
    server = start("--dir", home.path, "serve", VDB_PASSPHRASE="correct horse")
    assert server.stdout is not None
    assert "serving at 127.0.0.1:" in server.stdout.readline()
    out, _ = run("--dir", home.path, "enrolments", VDB_PASSPHRASE="correct horse")
    assert "nobody was invited yet" in out
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)
    assert server.returncode == 0
    assert not home.bound.exists()


def test_founding_twice_or_without_a_passphrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    _, error = run("init", tmp_path / "full", "--plaintext-keys", expect=2)
    assert "not empty" in error
    _, error = run("init", tmp_path / "new", expect=2)
    assert "passphrase" in error
    assert not (tmp_path / "new").exists()
    _, error = run("init", tmp_path / "new", "--plaintext-keys", "--address", "nonsense", expect=2)
    assert "address" in error


def test_inviting_and_approving(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    lead = ("--dir", coordinator.home.path)
    path = tmp_path / "clinic.invitation"
    run(*lead, "invite", "clinic", "-o", path)
    assert path.stat().st_mode & 0o777 == 0o600
    _, error = run(*lead, "invite", "clinic", "-o", path, expect=2)
    assert "exists already" in error
    _, error = run(*lead, "approve", "clinic", "--yes", expect=1)
    assert "does not wait for approval" in error
    applicant = Applicant.of(parse_invitation(path.read_bytes()))
    with applicant.channel(coordinator.address) as channel:
        EnrolmentServiceStub(channel).Enrol(applicant.enrol_request(), timeout=CALL)
    key = applicant.statement_key.public_key.key_id
    _, error = run(*lead, "approve", "clinic", expect=2)
    assert "--fingerprint" in error
    _, error = run(*lead, "approve", "clinic", "--fingerprint", "0" * 64, expect=2)
    assert "do not approve" in error
    out, _ = run(*lead, "approve", "clinic", "--fingerprint", grouped(key))
    assert "seat 4" in out
    out, _ = run(*lead, "enrolments", "--json")
    assert {"clinic": ("approved", 4, key)}.items() <= {
        item["institution"]: (item["state"], item["seat"], item["fingerprint"]) for item in json.loads(out)
    }.items()
    out, _ = run(*lead, "invite", "clinic", "-o", tmp_path / "again.invitation")
    assert f"clinic is a member with the key {grouped(key)}: approving another ends that one at once" in " ".join(
        out.split()
    )


def test_a_session_from_spec_to_exported_bundle(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        lead = ("--dir", coordinator.home.path)
        out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"), "--json")
        session = json.loads(out)["session"]
        out, _ = run(*lead, "session", "list", "--json")
        assert [item["session"] for item in json.loads(out)] == [session]
        _, error = run(*lead, "export", session, "-o", tmp_path / "early.vdbb", expect=2)
        assert "the session goes on (institutions join)" in error
        watch = start(*lead, "session", "watch", session[7:19])
        assert watch.stdout is not None
        lines = [watch.stdout.readline()]
        members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
        for member in members:
            member.__exit__(None, None, None)
        rest, _ = watch.communicate(timeout=30)
        assert watch.returncode == 0
        printed = "".join(lines) + rest
        assert "site-0: has not joined" in printed
        assert printed.rstrip().endswith("— published")
        out, _ = run(*lead, "session", "status", session[:12])
        assert "site-3" in out
        bundle = tmp_path / "result.vdbb"
        out, _ = run(*lead, "session", "status", session)
        hint = out.splitlines()[-1].removeprefix("its result: vdb-coordinator ")
        run(*shlex.split(hint.replace("result.vdbb", str(bundle))))
        out, _ = run(*lead, "fingerprint")
        report = verify(bundle.read_bytes(), root=out.strip())
        assert not [line for line in report.lines if line.status.value == "FAIL"]
        full = tmp_path / "full.vdbb"
        words = (*lead, "export", session[7:19], "-o", full, "--profile", "full")
        _, error = run(*words, expect=2)
        assert "needs a terminal, or --yes" in error
        out, _ = run(*words, "--yes")
        assert "what this coordinator sees" in out
        assert full.stat().st_mode & 0o077 == 0
    replayed = verify(full.read_bytes(), root=coordinator.root_fingerprint)
    assert {line.id: line.status.value for line in replayed.lines} == {
        line.id: line.status.value for line in report.lines
    } | {"V33": "PASS"}


def test_a_session_without_a_result_has_no_full_profile(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    lead = ("--dir", coordinator.home.path)
    out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"), "--json")
    session = json.loads(out)["session"]
    for name, words in ((session, "has no published result"), ("0" * 12, "expected the id of one session")):
        _, error = run(*lead, "export", name, "-o", tmp_path / "none", "--profile", "full", "--yes", expect=2)
        assert words in error


def test_a_restart_of_the_rounds_is_shown(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=5) as coordinator:
        lead = ("--dir", coordinator.home.path)
        out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"), "--json")
        session = json.loads(out)["session"]
        members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
        play(members, *STEPS[:3])
        members[0].wait(Phase.MASKING_INPUT)
        members[0].complain(4)
        for member in members:
            member.__exit__(None, None, None)
        out, _ = run(*lead, "session", "status", session)
        assert "institutions exchange keys, attempt 2" in out
        assert "left out" in out
        out, _ = run(*lead, "session", "status", session, "--json")
        assert json.loads(out)["attempt"] == 1


def test_an_aborted_session_ends_the_watch_with_one(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    lead = ("--dir", coordinator.home.path)
    out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"))
    session = next(word for word in out.split() if word.startswith("sha256:"))
    again, _ = run(*lead, "session", "create", demo_spec(tmp_path / "again.toml"))
    assert f"note: session {session[7:19]} has the same spec and is open still" in again
    twin = next(word for word in again.split() if word.startswith("sha256:"))
    _, error = run(*lead, "session", "abort", session, "--reason", "wrong prompts", expect=2)
    assert "nothing was done: this cannot be taken back, and needs a terminal, or --yes" in error
    shown = answered("n", *lead, "session", "abort", session, "--reason", "wrong prompts", expect=2)
    assert "institutions join; 0 institutions in it. It ends for good" in " ".join(shown.split())
    assert not coordinator.admin.details(session).status.phase.ended
    answered("y", *lead, "session", "abort", twin, "--reason", "opened twice")
    run(*lead, "session", "abort", session, "--reason", "wrong prompts", "--yes")
    out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "third.toml"), "--json")
    assert session not in json.loads(out)["open_with_same_spec"], "it has ended"
    out, error = run(*lead, "session", "watch", session, expect=1)
    assert "aborted by the lead: wrong prompts" in out
    assert "error: the session was aborted" in error


def test_whoever_is_approved_while_a_session_is_open_is_not_in_it(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        lead = ("--dir", coordinator.home.path)
        run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"))
        out, _ = run(*lead, "invite", "late", "-o", tmp_path / "first")
        assert "already" not in out
        out, _ = run(*lead, "invite", "late", "-o", tmp_path / "second")
        assert "late had an invitation already: that one counts no more" in out
        applicant = Applicant.of(parse_invitation((tmp_path / "second").read_bytes()))
        with applicant.channel(coordinator.address) as channel:
            EnrolmentServiceStub(channel).Enrol(applicant.enrol_request(), timeout=CALL)
        out, _ = run(*lead, "approve", "late", "--yes")
        assert "1 open session has the roster from before: late can join those that are created from now on" in out


def test_a_lead_sees_who_was_missing(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        lead = ("--dir", coordinator.home.path)
        out, _ = run(*lead, "session", "create", demo_spec(tmp_path / "spec.toml"), "--json")
        session = json.loads(out)["session"]
        out, _ = run(*lead, "session", "list")
        assert out.startswith(f"{session[7:19]}  ")
        assert out.endswith(": institutions join\n")
        coordinator.expire(session)
        coordinator.settle(session)
        names = ", ".join(f"{identity.institution} (has not joined)" for identity in coordinator.identities)
        recorded = "0 institutions joined, the spec asks for at least 4"
        said = f"{recorded}; missing: {names}"
        for command in ("status", "watch"):
            out, error = run(*lead, "session", command, session, expect=command == "watch")
            assert f"ended without a result: {said}\n" in out
            assert error == ("" if command == "status" else f"error: the session was aborted: {said}\n")
        out, _ = run(*lead, "session", "status", session, "--json")
        assert (json.loads(out)["phase"], json.loads(out)["reason"]) == ("aborted", recorded)
        _, error = run(*lead, "export", session, "-o", tmp_path / "none", expect=1)
        assert said in error


def test_without_a_server_the_line_says_how_to_start_one(tmp_path: Path) -> None:
    home = tmp_path / "quiet"
    run("init", home, "--plaintext-keys", "--address", "127.0.0.1:1")
    _, error = run("--dir", home, "session", "list", expect=1)
    assert error == (
        f"error: no coordinator answers at 127.0.0.1:1; start it with `vdb-coordinator --dir {home} serve`\n"
    )


def test_a_port_that_another_program_has_is_one_line_and_none_of_a_library(tmp_path: Path) -> None:
    home = tmp_path / "lead"
    run("init", home, "--plaintext-keys", "--address", "127.0.0.1:1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        _, error = run("--dir", home, "serve", "--listen", address, expect=2)
    assert error == (
        f"error: cannot listen on {address}: is another program there? End it, or choose another address with --listen, or in "
        "coordinator.toml\n"
    )


@pytest.mark.parametrize("name", ["statement", "ca"])
def test_a_key_that_is_not_there_is_told_with_where_it_may_be_had_from(tmp_path: Path, name: str) -> None:
    home = tmp_path / "lead"
    run("init", home, "--plaintext-keys", "--address", "127.0.0.1:1")
    (home / "keys" / f"{name}.pem").unlink()
    _, error = run("--dir", home, "serve", expect=2)
    assert error == (
        f"error: {home}/keys/{name}.pem: is not there; copy it back from where {home}/keys is kept, or make the coordinator "
        "anew from a backup: `vdb-coordinator restore --help`. Nobody else has this key\n"
    )


def test_specs_are_written_and_checked_without_a_server(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    out, _ = run("spec", "init", "text-to-video", "-o", path)
    assert "unpinned" in out
    _, error = run("spec", "lint", path, expect=2)
    assert error.startswith(f"error: {path}:")
    assert "models.0.manifest" in error
    assert len(error.splitlines()) == path.read_text().count('"unpinned"')
    path.write_text(path.read_text().replace("epsilon = ", "epsilom = ").replace("minimum = 5", "minimum = 4.5"))
    _, error = run("spec", "lint", path, expect=2)
    whole, misspelt, *unpinned = error.splitlines()
    assert whole.endswith("cohort.minimum: expected a whole number (found 4.5)")
    assert misspelt.endswith("privacy.epsilom: is not a field of a spec; did you mean epsilon?")
    assert all("manifest: 'unpinned' is not a digest" in line for line in unpinned), (
        "a misspelt field is not missing too"
    )
    assert all("or start with `spec init PRESET --models DIR`" in line for line in unpinned)
    path = tmp_path / "demo.toml"
    out, _ = run("spec", "init", "demo", "-o", path)
    assert "unpinned" not in out
    out, _ = run("spec", "lint", path, "--json")
    assert json.loads(out)["public_clips"] == 72
    path.write_text(path.read_text().replace("delta = 1e-6", "delta = 1e-17"))
    _, error = run("spec", "lint", path, expect=1)
    line = path.read_text().splitlines().index("delta = 1e-17") + 1
    assert error.startswith(f"error: {path}:{line}: privacy.delta: ")
    assert error.endswith("is too small to account for; raise it, to 1e-15 or more\n")


def test_every_help_has_an_example() -> None:
    for command in (["init"], ["serve"], ["approve"], ["spec", "lint"], ["session", "watch"], ["export"]):
        out, _ = run(*command, "--help")
        assert "Example: vdb-coordinator" in out
