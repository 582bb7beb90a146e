"""`vdb-coordinator backup` and `restore` as an operator types them."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.backups import back_up, key_of, newest_note, refusal, serving, unsound
from testkit.coordinator import CALL, Applicant, RunningCoordinator, running_coordinator
from testkit.small_specs import small_spec
from vdb_coordinator.cli import app
from vdb_coordinator.config import Home
from vdb_coordinator.serving.log_server import LogServer
from vdb_shared.audit.log_files import open_log
from vdb_shared.errors import VdbError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.checkpoint import Checkpoint, sign_checkpoint
from vdb_shared.wire import reasons
from vdb_shared.wire.enrolment import parse_invitation
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("lead"), institutions=4) as running:
        running.admin.create_session(small_spec())
        yield running


def lead(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.output


def problem(*words: str | Path) -> str:
    """Return why a command is refused, in one line."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert isinstance(done.exception, VdbError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_a_backup_says_what_it_holds_and_that_it_holds_the_keys(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    said = lead("--dir", coordinator.home.path, "backup", "--to", tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("testbed-")
    assert file.name.endswith("Z.vdbbackup")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "(a coordinator served)" in said
    assert "1 entry of the log, with private keys" in said
    assert "it holds the coordinator's private keys IN PLAIN TEXT: whoever has it can speak for the consortium" in said
    digest = next(line for line in said.splitlines() if line.startswith("sha256:"))
    assert digest in lead("backup", "--check", file)
    checked = json.loads(lead("backup", "--check", file, "--json"))
    assert (checked["digest"], checked["keys"], checked["stopped"]) == (digest, True, False)
    without = lead("--dir", coordinator.home.path, "backup", "--to", tmp_path / "bare", "--without-keys")
    assert "without private keys" in without
    assert "IN PLAIN TEXT" not in without


def test_a_restoration_says_what_is_lost(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    back_up(coordinator, tmp_path / "backup")
    later = coordinator.admin.create_session(small_spec())
    server = LogServer(coordinator.home.log, "127.0.0.1:0")
    try:
        words = ("restore", tmp_path / "backup", "--log", f"http://{server.address}")
        found = json.loads(lead(*words, "--into", tmp_path / "one", "--json"))
        said = lead(*words, "--into", tmp_path / "two")
    finally:
        server.stop()
    assert found["lost"] == [later]
    assert len(found["aborted"]) >= 1
    assert found["entries"] == 1
    assert f"{later}: it was opened after the backup" in said
    assert (
        "make sure that no other coordinator of this consortium serves or ever will: two of them fork the log" in said
    )
    for name in ("one", "two"):
        home = Home(tmp_path / name)
        assert unsound(home) == {}
        assert newest_note(home) == newest_note(coordinator.home)
        log, _ = open_log(str(home.log), key_of(coordinator))
        assert len(list(log.entries())) == log.checkpoint.size


def test_an_invitation_from_before_the_backup_opens_nothing(tmp_path: Path) -> None:
    """It may have been used since: what was made of it is lost."""
    with running_coordinator(tmp_path, institutions=1) as coordinator:
        open_one = coordinator.invite("site-8")
        used = Applicant.of(parse_invitation(coordinator.admin.invite("site-9")))
        back_up(coordinator, tmp_path / "backup")
        with used.channel(coordinator.address) as channel:
            EnrolmentServiceStub(channel).Enrol(used.enrol_request(), timeout=CALL)
        coordinator.admin.approve("site-9", used.statement_key.public_key.key_id)
        coordinator.stop()
        lead("restore", tmp_path / "backup", "--into", tmp_path / "new", "--log", coordinator.home.log)
        with serving(tmp_path / "new", coordinator) as restored:
            for applicant in (open_one, used):
                with applicant.channel(restored.address) as channel, refusal(reasons.INVITATION, "not known here"):
                    EnrolmentServiceStub(channel).Enrol(applicant.enrol_request(), timeout=CALL)
            again = restored.enrol("site-9")
    assert again.institution == "site-9"


def test_what_cannot_be_is_told_in_one_line(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    home, backup, new = coordinator.home.path, tmp_path / "backup", tmp_path / "new"
    back_up(coordinator, backup)
    (tmp_path / "cut").write_bytes(backup.read_bytes()[:-4096])
    given: list[tuple[tuple[str | Path, ...], str]] = [
        (("--dir", home, "backup"), "give either --to"),
        (("--dir", home, "backup", "--to", tmp_path / "x", "--check", backup), "give either --to"),
        (("--dir", home, "backup", "--to", backup), "exists already"),
        (("--dir", tmp_path, "backup", "--to", tmp_path / "x"), "is no coordinator's directory"),
        (("backup", "--check", home / "ca.pem"), "is no backup of a coordinator"),
        (("backup", "--check", tmp_path / "cut"), "is damaged or cut short"),
        (("restore", tmp_path / "cut", "--into", new, "--log", home / "log"), "is damaged or cut short"),
        (("restore", backup, "--into", new), "may sign a second log: give --log"),
        (("restore", backup, "--into", home, "--log", home / "log"), "exists and is not empty"),
        (("restore", backup, "--into", new, "--log", home / "ca.pem"), "ca.pem: "),
        (("restore", backup, "--into", new, "--log", home / "keys"), "holds no log"),
        (("restore", backup, "--into", new, "--newest-known", "99"), "--newest-known 99: "),
        (
            ("restore", backup, "--into", new, "--log", home / "log", "--database", "mysql://x/y"),
            "expected a database as postgresql://",
        ),
    ]
    for words, said in given:
        assert said in problem(*words), words
    assert not new.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def execute(statement: str) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        with closing(sqlite3.connect(home.sqlite)) as connection:
            assert connection.execute(statement).rowcount > 0
            connection.commit()

    return change


def another_root(home: Home) -> None:
    """Let the restoration have gone on from a checkpoint of the same key and size, of another log."""
    signer = StatementKey.from_pem(home.key("statement").read_bytes(), None)
    forged = sign_checkpoint(Checkpoint("testbed/vdb-log", 1, sha256(b"another").digest()), signer).to_bytes()
    with closing(sqlite3.connect(home.sqlite)) as connection:
        connection.execute("UPDATE restorations SET checkpoint = ?", [forged])
        connection.commit()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (another_root, "was signed for 1 entries that are not these"),
        (execute("UPDATE restorations SET size = size + 9"), "entries of"),
        (execute("UPDATE restorations SET kept = size"), "are of no event of their session"),
        (execute("UPDATE restorations SET checkpoint = x'78'"), "note"),
        (execute("DELETE FROM events WHERE CAST(body AS TEXT) LIKE '%session-failed%'"), "its row among the sessions"),
    ],
)
def test_fsck_reads_what_a_restoration_left(
    coordinator: RunningCoordinator, tmp_path: Path, change: Callable[[Home], None], named: str
) -> None:
    back_up(coordinator, tmp_path / "backup")
    coordinator.admin.create_session(small_spec())
    lead("restore", tmp_path / "backup", "--into", tmp_path / "new", "--log", coordinator.home.log)
    home = Home(tmp_path / "new")
    change(home)
    assert any(named in text for text in unsound(home).values()), unsound(home)


def test_what_is_damaged_in_a_database_is_not_restored(tmp_path: Path) -> None:
    """The backup is as it was written, but what it was made of was not."""
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        coordinator.admin.create_session(small_spec())
    execute("UPDATE sessions SET title = 'another'")(coordinator.home)
    back_up(coordinator, tmp_path / "backup")
    said = problem(
        "restore", tmp_path / "backup", "--into", tmp_path / "new", "--log", coordinator.home.log, "--nothing-lost"
    )
    assert "is not sound, and nothing was restored" in said
    assert "its row among the sessions" in said
    assert not (tmp_path / "new").exists()
