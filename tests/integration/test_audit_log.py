"""What leads do stands in the audit log; an export of it convinces somebody who has only the key of the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.refusals import refused
from testkit.specs import small_spec
from vdb_coordinator.cli import app
from vdb_coordinator.config import Home
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.store.database import Database
from vdb_shared.errors import StoreError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.federation_pb2_grpc import AdminServiceStub


def lead(*words: str, expect: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == expect, done.output + str(done.exception)
    return done.output if expect == 0 else str(done.exception)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningCoordinator, list[bytes]]]:
    """Return a coordinator that was stopped after some doings, and secrets that it has handled."""
    folder = tmp_path_factory.mktemp("audit")
    with running_coordinator(folder, institutions=5) as coordinator:
        token = coordinator.invite("late").invitation.token_bytes
        session = coordinator.admin.create_session(small_spec())
        coordinator.admin.abort_session(session, "wrong prompts")
        coordinator.admin.revoke("site-4", "left", "on its own wish")
        with coordinator.channel(coordinator.identities[0]) as channel:
            stub, request = AdminServiceStub(channel), pb.InviteInstitutionRequest(institution="x")
            for _ in range(3):
                assert refused(lambda: stub.InviteInstitution(request, timeout=CALL)) == reasons.NOT_A_MEMBER
        coordinator.restart()
        secrets = [token, token.hex().encode(), *(item.tls_key.split(b"\n")[1] for item in coordinator.identities)]
        coordinator.stop()
        yield coordinator, secrets


def test_who_did_what_and_what_was_refused_is_told_and_no_secret(
    story: tuple[RunningCoordinator, list[bytes]], tmp_path: Path
) -> None:
    coordinator, secrets = story
    home, file = str(coordinator.home.path), tmp_path / "audit.jsonl"
    assert "entries" in lead("--dir", home, "audit", "export", "-o", str(file))
    told = [json.loads(line) for line in file.read_bytes().splitlines()[:-1]]
    actions = [item["action"] for item in told]
    assert actions == [
        "serve",
        *["invite", "approve"] * 5,
        "invite",
        "create session",
        "abort session",
        "revoke",
        "refused calls",
        "stop",
        "serve",
        "stop",
    ]
    who = {item["who"] for item in told if item["action"] in ("invite", "approve", "revoke", "create session")}
    assert who == {"spiffe://testbed/admin/lead"}
    outcomes = {item["action"]: item["outcome"] for item in told}
    assert outcomes["refused calls"].endswith(": VDB_NOT_A_MEMBER 3")
    assert outcomes["revoke"] == "site-4, left: on its own wish"
    assert f"root version 1 {coordinator.root_fingerprint}" in outcomes["serve"]
    for secret in secrets:
        assert secret not in file.read_bytes()
    assert b"PRIVATE" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0


def test_an_export_is_checked_with_the_key_of_the_log_alone(
    story: tuple[RunningCoordinator, list[bytes]], tmp_path: Path
) -> None:
    coordinator, _ = story
    home, file, key = str(coordinator.home.path), tmp_path / "a.jsonl", coordinator.home.log_key.read_text().strip()
    lead("--dir", home, "audit", "export", "-o", str(file))
    words = ("--dir", str(tmp_path), "audit", "verify", str(file), "--key", key)
    assert "unbroken; their end is signed by testbed/vdb-audit" in lead(*words)
    found = json.loads(lead(*words, "--earlier", str(file), "--json"))
    assert found["entries"] == len(file.read_bytes().splitlines()) - 1
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(file.read_bytes().replace(b"on its own wish", b"on their wish.."))
    assert "is not the one that was written" in lead("audit", "verify", str(changed), "--key", key, expect=1)
    other = key.replace("testbed", "elsewhere")
    assert "--key" in lead("audit", "verify", str(file), "--key", other, expect=1)
    assert "exists already" in lead("--dir", home, "audit", "export", "-o", str(file), expect=1)
    shown = lead("--dir", home, "audit", "show", "--last", "1")
    assert shown.strip().endswith("vdb-coordinator serve  stop: in good order")


def test_a_database_whose_audit_log_was_changed_is_not_served(
    story: tuple[RunningCoordinator, list[bytes]], tmp_path: Path
) -> None:
    """Last in this file: it spoils the database."""
    coordinator, _ = story
    home = coordinator.home
    with sqlite3.connect(home.sqlite) as connection:
        connection.execute("DELETE FROM attempts WHERE action = 'revoke'")
    connection.close()
    with pytest.raises(StoreError, match="of the audit log is not the one that was written"):
        coordinator.start()
    found = _findings(home)
    assert "of the audit log is not the one that was written" in found["audit log"]
    assert [what for what, problem in found.items() if problem] == ["audit log"]
    refusal = lead("--dir", str(home.path), "audit", "export", "-o", str(tmp_path / "x"), expect=1)
    assert "of the audit log is not the one that was written" in refusal


def _findings(home: Home) -> dict[str, str]:
    database = Database(home.sqlite)
    try:
        return {item.what: item.problem for item in look(Holdings(home, database))}
    finally:
        database.close()
