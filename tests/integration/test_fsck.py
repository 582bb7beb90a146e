"""`vdb-coordinator fsck`: whatever is lost or changed of what a coordinator keeps is named, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from testkit.coordinator import running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.postgres import running_postgres
from testkit.small_specs import small_spec
from vdb_coordinator.commands.upkeep import held
from vdb_coordinator.config import Home
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_shared.wire.status import Phase

SPEC = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


def played(path: Path, database: str | None = None) -> Path:
    """Return the directory of a coordinator that stopped after a published, an aborted and in the middle of a session."""
    with running_coordinator(path, institutions=4, database=database) as coordinator, ExitStack() as stack:
        for steps in (STEPS, STEPS[:1], STEPS[:4]):
            session = coordinator.admin.create_session(SPEC)
            members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
            play(members, *steps)
            if steps == STEPS:
                members[0].wait(Phase.PUBLISHED)
            elif len(steps) == 1:
                coordinator.admin.abort_session(session, "no longer needed")
                members[0].wait(Phase.ABORTED)
    return path / "coordinator"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("played"))


def fsck(home: Path) -> dict[str, str]:
    """Return what is not sound."""
    with held(Home(home)) as database:
        return {item.what: item.problem for item in look(Holdings(Home(home), database)) if item.problem}


def program(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from vdb_coordinator.cli import main; main()", "--dir", home, "fsck", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_coordinator_wrote_is_sound(kept: Path) -> None:
    assert fsck(kept) == {}
    done = program(kept)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "everything is sound"
    assert done.stdout.count("session sha256:") == 3


def test_what_is_not_sound_is_told_and_the_exit_status_is_one(kept: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "copy")
    shutil.copytree(kept, home.path)
    lose_blob(home)
    done = program(home.path, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert not report["sound"]
    assert sum(item["problem"] is not None for item in report["findings"]) >= 1


def test_what_it_wrote_to_postgresql_is_sound(tmp_path: Path) -> None:
    with running_postgres() as server:
        assert fsck(played(tmp_path, server.database("vdb"))) == {}


def execute(statement: str) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        with closing(sqlite3.connect(home.sqlite)) as connection:
            assert connection.execute(statement).rowcount > 0
            connection.commit()

    return change


def lose_blob(home: Home) -> None:
    next(iter(home.blobs.iterdir())).unlink()


def flip_blob(home: Home) -> None:
    path = next(iter(home.blobs.iterdir()))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_tile(home: Home) -> None:
    shutil.rmtree(home.log / "tile" / "entries")


def lose_checkpoint(home: Home) -> None:
    (home.log / "checkpoint").unlink()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (execute("UPDATE events SET body = body || ' ' WHERE sequence = 3"), "is not the one that was written"),
        (
            execute("UPDATE sessions SET last_event = last_event + 1"),
            "its row among the sessions is not what its events",
        ),
        (execute("UPDATE sessions SET phase = 1"), "its row among the sessions"),
        (execute("UPDATE sessions SET title = 'another'"), "its row among the sessions"),
        (execute("UPDATE sessions SET withdrawn = 1"), "its row among the sessions"),
        (execute("DELETE FROM sessions"), "its row among the sessions"),
        (execute("UPDATE receipts SET sequence = 1 WHERE sequence = 4"), "receipts name events that it does not have"),
        (execute("UPDATE blobs SET size = size + 1"), "its row says"),
        (execute("DELETE FROM log_entries WHERE position > 2"), "sessions' events call for are not there"),
        (execute("UPDATE log_entries SET position = 100 - position"), "not in the order of its events"),
        (execute("UPDATE log_entries SET entry = x'78' WHERE position > 2"), "call for are not there"),
        (execute("UPDATE cosignatures SET size = size + 99"), "are for more entries than the log has"),
        (execute("UPDATE alembic_version SET version_num = '0002'"), "is of revision 0002"),
        (lose_blob, "cannot be read"),
        (flip_blob, "is damaged"),
        (lose_tile, "are lost or damaged"),
        (lose_checkpoint, "cannot be read"),
    ],
)
def test_whatever_was_changed_is_named(kept: Path, tmp_path: Path, change: Callable[[Home], None], named: str) -> None:
    home = Home(tmp_path / "copy")
    shutil.copytree(kept, home.path)
    change(home)
    found = fsck(home.path)
    assert any(named in problem for problem in found.values()), found
    assert all("\n" not in problem for problem in found.values())


def test_it_waits_for_nobody_who_serves(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as coordinator:
        done = program(coordinator.home.path)
    assert done.returncode == 2
    assert "another" in done.stderr
