"""Backup and restore are killed before every one of their file operations: there is nothing, or a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.backups import back_up, bring_back, unsound
from testkit.coordinator import running_coordinator
from testkit.members import TestMember
from testkit.playing import STEPS, play
from testkit.postgres import running_postgres
from testkit.small_specs import small_spec
from vdb_coordinator.backups.container import read_container
from vdb_coordinator.config import Home
from vdb_shared.errors import UsageError

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a stopped coordinator's directory, and a backup of it from the middle of a session."""
    path = tmp_path_factory.mktemp("kept")
    with running_coordinator(path, institutions=4) as coordinator, ExitStack() as stack:
        session = coordinator.admin.create_session(PATIENT)
        members = [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities]
        play(members, *STEPS[:3])
        members[0].mask()
        back_up(coordinator, path / "backup")
        coordinator.admin.create_session(PATIENT)
    return path / "coordinator", path / "backup"


def lives(*words: str | Path) -> list[dict[str, int]]:
    """Return what became of each life."""
    done = subprocess.run(
        [sys.executable, "-m", "testkit.backup_lives", *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_backup_is_whole_or_not_there(kept: tuple[Path, Path], tmp_path: Path) -> None:
    home, _ = kept
    *found, _, last = lives("backup", home, tmp_path / "target")
    found.append(last)
    whole = [life["last"] for life in found if life["there"]]
    assert len(found) > 12
    assert whole
    assert not found[-1]["killed"]
    assert [life["there"] for life in found] == sorted(life["there"] for life in found)
    digests = {read_container(tmp_path / f"target-{last}")[0].files for last in whole}
    assert len({tuple(entry.path for entry in files) for files in digests}) == 1
    assert {path.name for path in tmp_path.iterdir()} == {f"target-{last}" for last in whole}


def test_a_restored_directory_is_whole_or_not_there(kept: tuple[Path, Path], tmp_path: Path) -> None:
    home, backup = kept
    *found, _, last = lives("restore", backup, tmp_path / "target", "--log", home / "log")
    found.append(last)
    whole = [life["last"] for life in found if life["there"]]
    assert len(found) > 60
    assert whole
    for life in whole:
        assert unsound(Home(tmp_path / f"target-{life}")) == {}
    assert {path.name for path in tmp_path.iterdir()} == {f"target-{last}" for last in whole}


def test_a_restored_database_on_a_server_is_whole_or_no_directory_names_it(
    kept: tuple[Path, Path], tmp_path: Path
) -> None:
    """The database is committed before the directory has its name; where only the first happened, another one is asked for."""
    home, backup = kept
    with running_postgres() as server:
        taken = 0
        first = ("restore", backup, tmp_path / "first", "--log", home / "log", "--database", server.database("first"))
        operations = lives(*first, "--last", "1000", "--lives", "1")[0]["operations"]
        for last in (operations - before for before in (2, 8)):
            folder, url = tmp_path / str(last), server.database(f"db-{last}")
            folder.mkdir()
            words = ("restore", backup, folder / "target", "--log", home / "log", "--database", url)
            (life,) = lives(*words, "--last", str(last), "--lives", "1")
            if life["there"]:
                assert unsound(Home(folder / f"target-{last}")) == {}
                continue
            problem = ""
            try:
                bring_back(backup, folder / "again", home / "log", database=url)
            except UsageError as error:
                problem = str(error)
            if problem:
                assert "holds a consortium already" in problem
                taken += 1
                bring_back(backup, folder / "again", home / "log", database=server.database(f"db-{last}-again"))
            assert unsound(Home(folder / "again")) == {}
        assert taken
