"""Enrolment and the commands of an institution, as processes against a real coordinator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.authorities import Authority
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import session_spec, write_prompts, write_site
from testkit.proxies import ConnectProxy, tls_server
from testkit.sessions import SITES, consortium
from vdb_participant.commands.connecting import examine_connection
from vdb_participant.network.client import Client
from vdb_participant.network.connection import FIRST_CALL_SECONDS, FIRST_PAUSE, Connection
from vdb_participant.network.diagnosis import DIAGNOSIS_SECONDS
from vdb_participant.network.proxy import parse_proxy
from vdb_shared.errors import UnreachableError
from vdb_shared.identity import StatementKey

PROGRAM = "from vdb_participant.cli import main; main()"


def start(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "120"} | environment,
    )


def run(*words: str | Path, expect: int = 0, **environment: str) -> tuple[str, str]:
    """Return what a command printed and what it complained of."""
    with start(*words, **environment) as process:
        printed, complained = process.communicate(timeout=120)
    assert process.returncode == expect, printed + complained
    assert "Traceback" not in complained
    return printed, complained


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path) as running:
        yield running


def invitation_of(coordinator: RunningCoordinator, name: str, folder: Path) -> Path:
    path = folder / f"{name}.invitation"
    path.write_bytes(coordinator.admin.invite(name))
    return path


def fingerprint_in(printed: str) -> str:
    (line,) = (line for line in printed.splitlines() if line.startswith("fingerprint: "))
    return line.removeprefix("fingerprint: ").replace(" ", "")


def test_enrolment_in_two_steps(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    invitation, state = invitation_of(coordinator, "clinic", tmp_path), tmp_path / "state"
    printed, _ = run("--dir", state, "enroll", invitation, VDB_PASSPHRASE="correct horse")
    fingerprint = fingerprint_in(printed)
    assert len(fingerprint) == 64
    assert f"Once approved, run: vdb-participant --dir {state} enroll {invitation}" in " ".join(printed.split())
    again, _ = run("--dir", state, "enroll", invitation, VDB_PASSPHRASE="correct horse")
    assert fingerprint_in(again) == fingerprint
    coordinator.admin.approve("clinic", fingerprint)
    printed, _ = run("--dir", state, "enroll", invitation, VDB_PASSPHRASE="correct horse")
    assert "clinic is a member of testbed" in printed
    assert not (state / "enrolment.json").exists()
    assert b"ENCRYPTED" in (state / "statement-key.pem").read_bytes()
    assert b"ENCRYPTED" in (state / "tls-key.pem").read_bytes()
    assert {path.stat().st_mode & 0o077 for path in state.rglob("*")} == {0}
    _, complained = run("--dir", state, "doctor", expect=1, VDB_PASSPHRASE="wrong")
    assert complained == ""
    printed, _ = run("--dir", state, "doctor", "--json", VDB_PASSPHRASE="correct horse")
    statuses = {item["subject"]: item["status"] for item in json.loads(printed)}
    for subject in ("enrolment", "certificate and clock", "port", "TLS", "coordinator", "clock", "egress journal"):
        assert statuses[subject] == "PASS", subject


def test_waiting_for_approval(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    invitation, state = invitation_of(coordinator, "clinic", tmp_path), tmp_path / "state"
    with start("--dir", state, "enroll", invitation, "--plaintext-keys", "--wait") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("fingerprint: "))
        coordinator.stop()
        assert any("does not answer since" in line and "nothing is lost" in line for line in process.stdout)
        coordinator.start()
        assert any("answers again" in line for line in process.stdout)
        coordinator.admin.approve("clinic", fingerprint_in(line))
        assert "clinic is a member of testbed" in process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert b"ENCRYPTED" not in (state / "statement-key.pem").read_bytes()


def test_a_used_invitation(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    invitation = invitation_of(coordinator, "clinic", tmp_path)
    run("--dir", tmp_path / "first", "enroll", invitation, "--plaintext-keys")
    _, complained = run("--dir", tmp_path / "second", "enroll", invitation, "--plaintext-keys", expect=1)
    assert complained == "error: invitation was used already; ask the lead for a new one\n"


def test_another_invitation_in_the_same_folder(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run("--dir", state, "enroll", invitation_of(coordinator, "clinic", tmp_path), "--plaintext-keys")
    other = invitation_of(coordinator, "archive", tmp_path)
    _, complained = run("--dir", state, "enroll", other, "--plaintext-keys", expect=1)
    assert complained == (
        f"error: {state}: clinic of testbed began to enrol here by another invitation; go on with that one, or choose "
        "another --dir\n"
    )


@pytest.mark.parametrize("command", [("status",), ("journal", "verify"), ("budget",)])
def test_a_folder_that_is_not_there_is_not_taken_for_an_empty_one(command: tuple[str, ...], tmp_path: Path) -> None:
    _, complained = run("--dir", tmp_path / "mistyped", *command, expect=2)
    assert (
        complained
        == f"error: {tmp_path}/mistyped: expected this site's state folder, found none; choose it with --dir\n"
    )


def test_a_new_invitation_replaces_one_that_waits(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """The lead replaced an invitation, or the first one had a wrong address: the folder is not lost."""
    state = tmp_path / "state"
    first, _ = run("--dir", state, "enroll", invitation_of(coordinator, "clinic", tmp_path), "--plaintext-keys")
    second, _ = run("--dir", state, "enroll", invitation_of(coordinator, "clinic", tmp_path), "--plaintext-keys")
    assert fingerprint_in(first) != fingerprint_in(second)
    coordinator.admin.approve("clinic", fingerprint_in(second))
    run("--dir", state, "enroll", tmp_path / "clinic.invitation", "--plaintext-keys", "--wait")


def test_keys_need_a_passphrase_or_a_flag(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    invitation = invitation_of(coordinator, "clinic", tmp_path)
    _, complained = run("--dir", tmp_path / "state", "enroll", invitation, expect=2)
    assert complained == "error: the keys need a passphrase; give --passphrase-file or set VDB_PASSPHRASE\n"
    _, complained = run("--dir", tmp_path / "state", "enroll", invitation, expect=2, VDB_PASSPHRASE="")
    assert complained == "error: VDB_PASSPHRASE is empty, which protects no key; give a passphrase\n"
    assert not (tmp_path / "state" / "statement-key.pem").exists()


def test_a_coordinator_that_is_not_running_is_named_within_ten_seconds(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    coordinator.stop()
    (tmp_path / "clips").mkdir()
    # The wait ends by itself: the first call has a deadline, and so have all probes together.
    assert FIRST_CALL_SECONDS + DIAGNOSIS_SECONDS < 10
    _, complained = run("--dir", site.folder.path, "join", "0" * 64, "--data", tmp_path, expect=1)
    assert complained == (
        f"error: cannot reach the coordinator at {coordinator.address}: nothing listens there; "
        "ask the lead whether `vdb-coordinator serve` is running, and whether the port is right\n"
    )


def test_a_site_that_is_not_approved_yet_says_what_is_missing_and_what_to_run(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    invitation, state = invitation_of(coordinator, "clinic", tmp_path), tmp_path / "state"
    run("--dir", state, "enroll", invitation, "--plaintext-keys")
    said = (
        f"{state}: clinic began to enrol in testbed and is no member yet: keys are here, the certificate is missing, which the "
        f"coordinator at {coordinator.address} gives once the lead has approved. Next: run `vdb-participant "
        f"--dir {state} enroll INVITATION --wait` with the lead's invitation; it shows the fingerprint that the lead approves "
        "by telephone, and fetches the certificate as soon as that is done"
    )
    (tmp_path / "clips").mkdir()
    _, complained = run("--dir", state, "join", "0" * 64, "--data", tmp_path, expect=1)
    assert complained == f"error: {said}\n"
    printed, _ = run("--dir", state, "status")
    assert printed == f"no session: nobody consented to one here\n{said}\n"
    printed, _ = run("--dir", state, "doctor", expect=1)
    assert said in printed
    key = StatementKey.from_pem((state / "statement-key.pem").read_bytes(), None)
    coordinator.admin.approve("clinic", key.public_key.key_id)
    advised = said.partition("`vdb-participant ")[2].partition("`")[0].replace("INVITATION", str(invitation))
    printed, _ = run(*advised.split(), "--plaintext-keys")
    assert "clinic is a member of testbed" in printed


def test_status_says_whether_the_coordinators_server_answers(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """By a greeting that shows nothing of us and needs no passphrase; what it tells of sessions is read here either way."""
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    nothing = "no session: nobody consented to one here\n"
    printed, _ = run("--dir", site.folder.path, "status")
    assert printed == f"{nothing}coordinator: its server at {coordinator.address} answers over TLS\n"
    coordinator.stop()
    printed, _ = run("--dir", site.folder.path, "status")
    assert printed == (
        f"{nothing}coordinator: {coordinator.address} cannot be reached now: nothing listens there; ask the lead whether "
        "`vdb-coordinator serve` is running, and whether the port is right. Nothing is lost\n"
    )
    left = [entry.departure.kind for entry in site.egress.read().entries]
    assert left == ["greeting", "greeting"]
    printed, _ = run("--dir", site.folder.path, "status", "--json")
    assert json.loads(printed) == []
    site.folder.relay_key.write_bytes(bytes(32))
    printed, _ = run("--dir", site.folder.path, "status")
    assert printed == nothing
    assert len(site.egress.read().entries) == 2, (
        "JSON is of our own files alone, and a site without a network is silent"
    )


def test_a_mistyped_data_folder_is_told_before_anything_that_takes_long(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """Models of a folder that does not exist either would take the blame if they were looked at first."""
    for number in range(SITES):
        coordinator.enrol(f"site-{number}")
    first, *_ = consortium(coordinator, tmp_path)
    words = ("--dir", first.site.folder.path, "join", first.session[7:20], "--data", tmp_path / "mistyped", "--dry-run")
    _, complained = run(*words, expect=2)
    assert complained == (
        f"error: {tmp_path}/mistyped: expected a data folder, found none; name the one with clips/ and prompts.jsonl\n"
    )


def test_dry_run_prints_the_plan_and_promises_nothing(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    for number in range(SITES):
        coordinator.enrol(f"site-{number}")
    first, *_ = consortium(coordinator, tmp_path, minimum=3)
    words = ("--dir", first.site.folder.path, "join", first.session[7:20], "--data", first.resources.data)
    models = ("--models", first.resources.models)  # of a size and digest, but no models: none can be run
    nothing, unloadable = run(*words, *models, "--dry-run", expect=1)
    assert nothing == "", "standard output is for the plan"
    assert unloadable.startswith("making one short clip with tiny-wan-a on cpu to estimate the time (")
    assert "expected the index of a diffusers pipeline" in unloadable
    printed, _ = run(*words, *models, "--dry-run", "--no-timing")
    for expected in (
        "left out (--no-timing)",
        "WHAT LEAVES",
        "private/*/clip-score@1/moments",
        "This session takes rho",
        "two institutions make",
        "Plan number",
    ):
        assert expected in " ".join(printed.split())
    assert not first.folder.exists()
    _, complained = run(*words, *models, "--no-timing", expect=2)
    assert complained.startswith(
        "error: not joined, nothing was sent: consent needs a terminal to be asked on, or --yes;"
    )
    _, complained = run(*words, *models, "--no-timing", "--yes", expect=2)
    assert "--yes consents without a person, which policy.toml does not allow" in complained
    assert not first.folder.exists()
    assert "note: " not in printed
    coordinator.admin.revoke("site-2", "compromised", "")
    again, _ = run(*words, *models, "--dry-run", "--no-timing")
    assert "note: revoked since this session was opened, says the coordinator, and out of it: site-2\n" in again


def test_join_takes_an_invitation(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    for number in range(SITES - 1):
        coordinator.enrol(f"site-{number}")
    invitation, state = invitation_of(coordinator, "late", tmp_path), tmp_path / "late"
    run("--dir", state, "enroll", invitation, "--plaintext-keys")
    key = StatementKey.from_pem((state / "statement-key.pem").read_bytes(), None)
    coordinator.admin.approve("late", key.public_key.key_id)
    coordinator.admin.create_session(session_spec(tmp_path / "models"))
    data = write_prompts(tmp_path / "data", 0)
    printed, _ = run(
        "--dir",
        state,
        "join",
        invitation,
        "--data",
        data,
        "--models",
        tmp_path / "models",
        "--dry-run",
        "--no-timing",
        "--plaintext-keys",
    )
    assert "late is a member of testbed" in printed
    assert "WHAT LEAVES" in printed


def test_calls_are_retried_while_the_coordinator_restarts(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            coordinator.start()
        time.sleep(seconds)

    with Client(Connection(site.config.address, site.tls, site.egress, pause=pause)) as client:
        assert client.sessions() == ()
        coordinator.stop()
        assert client.sessions() == ()
    assert len(pauses) >= 3
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]


def test_a_proxy_passes_on_what_it_cannot_read(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """The way from a hospital's network: CONNECT, and TLS with the coordinator itself behind it."""
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    with ConnectProxy({coordinator.address: coordinator.address}) as proxy:
        found = parse_proxy(f"http://anna:secret@{proxy.address}")
        connection = Connection(site.config.address, site.tls, site.egress, find_proxy=lambda host, port: found)
        with Client(connection) as client:
            assert client.sessions() == ()
    assert proxy.asked == [coordinator.address]
    assert proxy.logins == ["Basic YW5uYTpzZWNyZXQ="]
    assert b"vdb.v1" not in proxy.passed
    opened = site.egress.read().entries[0].departure
    assert (opened.kind, opened.what) == (
        "connection",
        f"TLS with our certificate, through the proxy {proxy.address}",
    )


def test_a_coordinator_on_this_machine_needs_no_proxy(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC on its own would follow https_proxy even to 127.0.0.1, and http_proxy for TLS."""
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with Client(Connection(site.config.address, site.tls, site.egress)) as client:
        assert client.sessions() == ()


def test_doctor_tells_apart_how_far_it_comes(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """A closed port, a proxy that looks into TLS, and a coordinator that answers are three different findings."""
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    found = {item.subject: item for item in examine_connection(site.folder, bytes)}
    assert [found[name].status.value for name in ("port", "TLS", "coordinator", "clock")] == ["PASS"] * 4
    now = datetime.now(UTC)
    before, policy = site.folder.egress.read_bytes(), site.folder.policy.read_bytes()
    site.folder.policy.write_text("epsilon_total = 'much'\n")
    told = list(examine_connection(site.folder, bytes))
    assert [item.status.value for item in told] == ["PASS", "WARN"]
    assert told[1].words.startswith("was not asked: policy.toml, which says where we may connect to, cannot be read")
    assert site.folder.egress.read_bytes() == before
    site.folder.policy.write_bytes(policy)
    forged = Authority("Corporate Inspection CA").issue(now - timedelta(hours=1), now + timedelta(hours=1))
    with tls_server(tmp_path, *forged) as address:
        between = write_site(tmp_path / "between", coordinator.identities[0], address)
        found = {item.subject: item for item in examine_connection(between.folder, bytes)}
    assert (found["port"].status.value, found["TLS"].status.value) == ("PASS", "FAIL")
    assert "signed by 'Corporate Inspection CA'" in found["TLS"].words
    assert re.match(r"127\.0\.0\.1:\d+: its certificate ", found["TLS"].words)
    assert "coordinator" not in found, "nothing of ours was sent there"
    coordinator.stop()
    found = {item.subject: item for item in examine_connection(site.folder, bytes)}
    assert found["port"].status.value == "FAIL"
    assert found["port"].words.startswith(f"{coordinator.address}: nothing listens there; ")
    assert "TLS" not in found


def test_patience_ends(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    site = write_site(tmp_path / "clinic", coordinator.enrol("clinic"), coordinator.address)
    with Client(Connection(site.config.address, site.tls, site.egress, patience=0.5)) as client:
        client.sessions()
        coordinator.stop()
        with pytest.raises(UnreachableError, match="nothing listens there"):
            client.sessions()
