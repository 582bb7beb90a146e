"""Leads who need each other: from a refused command to a revocation that two people have signed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.refusals import refused
from testkit.small_specs import small_spec as whole_spec
from testkit.specs import small_spec
from vdb_coordinator.approvals import named
from vdb_coordinator.cli import app
from vdb_coordinator.config import render_config
from vdb_coordinator.service.admin import LONGEST_WORDS
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub
from vdb_shared.wire.status import Phase

PATIENT = "{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }"


def lead(*words: str | Path, expect: int = 0) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == expect, done.output + str(done.exception)
    return done.output if expect == 0 else str(done.exception)


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    """Return a coordinator that wants two of three people to revoke, to abort a session, and to close a phase early."""
    with running_coordinator(tmp_path, institutions=5) as running:
        lines = []
        for name in ("anna", "ben", "carla"):
            printed = lead("approvals", "key", tmp_path / f"{name}.pem", "--plaintext-keys")
            lines.append(printed.splitlines()[-1].replace("NAME", name))
        table = (
            "[approvals]\nactions = { revoke_institution = 2, abort_session = 2, close_early = 2 }\n[approvals.keys]\n"
        )
        config = render_config(running.home.read_config())
        running.home.config_file.write_text(config + table + "\n".join(lines) + "\n")
        running.restart()
        yield running


def test_a_lead_alone_revokes_nobody_and_two_people_do(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    home, file = ("--dir", coordinator.home.path), tmp_path / "revoke.json"
    alone = lead(*home, "revoke", "site-4", "--reason", "left", "--yes", expect=1)
    assert alone.startswith("2 of 3 people must sign this; see `vdb-coordinator approvals propose --help`")
    lead(*home, "approvals", "propose", "revoke", "site-4", "--reason", "left", "-o", file)
    assert 'institution: "site-4"' in lead("approvals", "show", file)
    for name in ("anna", "ben"):
        lead("approvals", "sign", file, "--name", name, "--key", tmp_path / f"{name}.pem", "--yes")
    assert "anna has signed: 1 of 2" in lead(*home, "approvals", "submit", file, f"{file}.anna.sig")
    assert "2 people must sign this, 1 have" in lead(*home, "approvals", "execute", file, expect=1)
    coordinator.restart()
    (waiting,) = json.loads(lead(*home, "approvals", "list", "--json"))
    assert (waiting["approved_by"], waiting["needed"]) == (["anna"], 2)
    lead(*home, "approvals", "submit", file, f"{file}.ben.sig")
    assert "site-4 is revoked; the roster has version 7, without it" in lead(*home, "approvals", "execute", file)
    assert "a proposal is done once" in lead(*home, "approvals", "execute", file, expect=1)
    assert "nothing waits" in lead(*home, "approvals", "list")
    shown = lead(*home, "audit", "show")
    assert "approvals: abort_session 2 of 3, close_early 2 of 3, revoke_institution 2 of 3" in shown
    for words in (
        "propose: ",
        "approve proposal: anna: ",
        "approve proposal: ben: ",
        "revoke: refused: 2 of 3 people must sign this",
        "revoke: site-4, left",
    ):
        assert words in shown, words
    config = coordinator.home.read_config()
    anna, ben, carla = named(config.approvals.keys)
    assert f": approved by {anna}, {ben}, revoke_institution: " in shown
    assert f"admin {config.admins[0]}, approvals: abort" in shown
    assert f"policy {config.approvals.digest}, 72 hours, {anna}, {ben}, {carla}" in shown


def test_what_was_signed_and_cannot_be_done_is_told(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    """Nobody signs the end of no membership; and where the key has changed since, another one is not revoked for it."""
    home, file = ("--dir", coordinator.home.path), tmp_path / "revoke.json"
    propose = (*home, "approvals", "propose", "revoke")
    assert "not a member" in lead(*propose, "nobody", "--reason", "compromised", "-o", file, expect=1)
    assert "propose: refused: " in lead(*home, "audit", "show", "--last", "1")
    lead(*propose, "site-4", "--reason", "compromised", "-o", file)
    key = coordinator.identities[4].statement_key.public_key.key_id
    assert f'fingerprint: "{key}"' in lead("approvals", "show", file)
    for name in ("anna", "carla"):
        lead("approvals", "sign", file, "--name", name, "--key", tmp_path / f"{name}.pem", "--yes")
        lead(*home, "approvals", "submit", file, f"{file}.{name}.sig")
    new = coordinator.enrol("site-4")
    assert "site-4 has another key now" in lead(*home, "approvals", "execute", file, expect=1)
    assert "execute proposal: failed: " in lead(*home, "audit", "show", "--last", "1")
    with coordinator.channel(new) as channel:
        SessionServiceStub(channel).ListSessions(pb.ListSessionsRequest(), timeout=CALL)


def test_what_would_be_cut_off_is_refused_before_anybody_signs_it(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    home, file = ("--dir", coordinator.home.path), tmp_path / "p.json"
    session = coordinator.admin.create_session(small_spec())
    long, most = "A harmless reason. " * 26 + "and what is read beyond that", "x" * LONGEST_WORDS
    propose = (*home, "approvals", "propose")
    assert "at most 500 are kept" in lead(*propose, "abort", session, "--reason", long, "-o", file, expect=1)
    revoke = (*propose, "revoke", "site-4", "--reason", "left", "-o", file)
    assert "at most 500 are kept" in lead(*revoke, "--note", long, expect=1)
    lead(*propose, "abort", session, "--reason", f" {most}\n", "-o", file)
    assert f'reason: "{most}"' in lead("approvals", "show", file).replace("\n", "")
    for name in ("anna", "ben"):
        lead("approvals", "sign", file, "--name", name, "--key", tmp_path / f"{name}.pem", "--yes")
        lead(*home, "approvals", "submit", file, f"{file}.{name}.sig")
    lead(*home, "approvals", "execute", file)
    assert coordinator.admin.details(session).status.reason == f"aborted by the lead: {most}"


def test_a_session_is_named_whole_and_other_actions_need_nobody(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """The beginning of an id is resolved before anybody signs."""
    home, file = ("--dir", coordinator.home.path), tmp_path / "abort.json"
    session = coordinator.admin.create_session(small_spec())
    lead(*home, "approvals", "propose", "abort", session[7:15], "--reason", "wrong prompts", "-o", file)
    assert f'session: "{session}"' in lead("approvals", "show", file)
    changed = tmp_path / "changed.json"
    changed.write_bytes(file.read_bytes().replace(b"wrong prompts", b"right prompts"))
    lead("approvals", "sign", changed, "--name", "anna", "--key", tmp_path / "anna.pem", "--yes")
    refused = lead(*home, "approvals", "submit", file, f"{changed}.anna.sig", expect=1)
    assert "does not verify" in refused
    assert "no such proposal" in lead(*home, "approvals", "execute", changed, expect=1)
    for name in ("anna", "ben"):
        lead("approvals", "sign", file, "--name", name, "--key", tmp_path / f"{name}.pem", "--yes")
        lead(*home, "approvals", "submit", file, f"{file}.{name}.sig")
    lead(*home, "approvals", "execute", file)
    status = coordinator.admin.details(session).status
    assert (status.phase, status.reason) == (Phase.ABORTED, "aborted by the lead: wrong prompts")
    coordinator.enrol("site-9")


def test_two_people_close_joining_before_its_deadline_and_one_does_not(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """Four of five have joined and nobody waits an hour for the fifth; what was decided is there after a restart."""
    home, file = ("--dir", coordinator.home.path), tmp_path / "close.json"
    session = coordinator.admin.create_session(whole_spec(deadlines=PATIENT))
    members = [TestMember(coordinator, identity, session) for identity in coordinator.identities]
    for member in members[:3]:
        member.join()
    propose = (*home, "approvals", "propose", "close-early", session[7:15], "-o", file)
    assert "3 institutions are there, at least 4 must be" in lead(*propose, expect=1)
    members[3].join()
    lead(*propose)
    shown = lead("approvals", "show", file)
    for words in (f'session: "{session}"', 'phase: "accepting"', 'institutions: "site-0, site-1, site-2, site-3"'):
        assert words in shown, words
    lead("approvals", "sign", file, "--name", "anna", "--key", tmp_path / "anna.pem", "--yes")
    lead(*home, "approvals", "submit", file, f"{file}.anna.sig")
    assert "2 people must sign this, 1 have" in lead(*home, "approvals", "execute", file, expect=1)
    assert coordinator.admin.details(session).status.phase is Phase.ACCEPTING
    lead("approvals", "sign", file, "--name", "carla", "--key", tmp_path / "carla.pem", "--yes")
    lead(*home, "approvals", "submit", file, f"{file}.carla.sig")
    done = lead(*home, "approvals", "execute", file)
    assert "accepting is over; on go site-0, site-1, site-2, site-3" in done
    assert refused(members[4].join) == reasons.TOO_LATE
    members[0].wait(Phase.ADVERTISING_KEYS)
    assert [join.seat for join in members[0].seal()[1].joins] == [0, 1, 2, 3]
    assert "a proposal is done once" in lead(*home, "approvals", "execute", file, expect=1)
    assert f"close early: {session}: accepting" in lead(*home, "audit", "show", "--last", "2")
    for member in members:
        member.__exit__(None, None, None)
    coordinator.restart()
    assert coordinator.admin.details(session).status.phase is Phase.ADVERTISING_KEYS
    coordinator.stop()
    assert "everything is sound" in lead(*home, "fsck")


def test_nobody_closes_early_where_the_policy_does_not_say_who_must_sign(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    config = coordinator.home.config_file
    config.write_text(config.read_text().replace(", close_early = 2", ""))
    coordinator.restart()
    session = coordinator.admin.create_session(small_spec())
    propose = ("approvals", "propose", "close-early", session, "-o", tmp_path / "close.json")
    assert "nobody can order this alone" in lead("--dir", coordinator.home.path, *propose, expect=1)


def test_who_may_not_propose_is_in_the_audit_log(coordinator: RunningCoordinator) -> None:
    home = ("--dir", coordinator.home.path)
    session = coordinator.admin.create_session(small_spec())
    lead(
        *home,
        "approvals",
        "propose",
        "withdraw",
        session,
        "--reason",
        "wrong",
        "-o",
        coordinator.home.path / "w.json",
        expect=1,
    )
    assert "propose: refused: nobody must sign this" in lead(*home, "audit", "show", "--last", "1")
