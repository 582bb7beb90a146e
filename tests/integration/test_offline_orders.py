"""A restoration and a new trust root where the policy wants two people for them, as they type it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.backups import back_up, newest_note, unsound
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.postgres import running_postgres
from testkit.specs import small_spec
from vdb_coordinator.approvals import named, parse_proposal
from vdb_coordinator.cli import app
from vdb_coordinator.config import Home, render_config
from vdb_shared.errors import VdbError


def run(*words: str | Path, error: str = "") -> str:
    """Return what a command prints, or check the line with which it fails."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if error:
        assert isinstance(done.exception, VdbError), done.output
        assert error in str(done.exception)
        assert "\n" not in str(done.exception)
    else:
        assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    """Return a coordinator that wants two of three people for both, and has four institutions and a session."""
    with running_coordinator(tmp_path, institutions=4) as running:
        lines = []
        for name in ("anna", "ben", "carla"):
            printed = run("approvals", "key", tmp_path / f"{name}.pem", "--plaintext-keys")
            lines.append(printed.splitlines()[-1].replace("NAME", name))
        table = "[approvals]\nactions = { restore = 2, install_root = 2 }\n[approvals.keys]\n"
        config = render_config(running.home.read_config())
        running.home.config_file.write_text(config + table + "\n".join(lines) + "\n")
        running.restart()
        running.admin.create_session(small_spec())
        running.stop()
        yield running


def sign(file: Path, *names: str) -> None:
    for name in names:
        run("approvals", "sign", file, "--name", name, "--key", file.parent / f"{name}.pem", "--yes")


def test_nobody_restores_alone(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    backup, order, log = tmp_path / "backup", tmp_path / "restore.json", coordinator.home.log
    back_up(coordinator, backup)
    words = ("restore", backup, "--log", log, "--into", tmp_path / "new")
    run(*words, error="2 of 3 people must sign this: write it down with `vdb-coordinator approvals propose`")
    run("approvals", "propose", "restore", backup, "--entries", "1", "-o", order)
    run(*words, "--order", order, error="2 people must sign this, 0 have")
    sign(order, "anna")
    run(*words, "--order", order, error="2 people must sign this, 1 have")
    sign(order, "carla")
    run("approvals", "propose", "restore", backup, "--entries", "0", "-o", tmp_path / "restore.json.v2")
    sign(tmp_path / "restore.json.v2", "anna")  # whose file is called like one of a signature of the other proposal
    run(*words, "--order", order, "--nothing-lost", error="--order: nothing_lost: no was signed, this is yes")
    assert not (tmp_path / "new").exists(), "what is refused leaves nothing"
    assert "restored the backup" in run(*words, "--order", order)
    home = Home(tmp_path / "new")
    assert unsound(home) == {}
    assert newest_note(home) == newest_note(coordinator.home)
    shown = run("--dir", home.path, "audit", "show", "--last", "1")
    assert "restore: backup of" in shown
    anna, _, carla = named(home.read_config().approvals.keys)
    assert f": approved by {anna}, {carla}" in shown


def test_two_people_say_how_long_the_log_is_and_of_which_backup_they_speak(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """Whoever restores alone with an old checkpoint would sign a second log."""
    backup, other = tmp_path / "backup", tmp_path / "other"
    back_up(coordinator, backup)
    coordinator.start()
    coordinator.admin.create_session(small_spec())
    coordinator.stop()
    back_up(coordinator, other)
    order = tmp_path / "restore.json"
    run("approvals", "propose", "restore", backup, "--entries", "2", "-o", order)
    sign(order, "anna", "ben")
    alone = ("restore", "--newest-known", "1", "--into", tmp_path / "new", "--order", order)
    run(*alone, backup, error="--order: entries: 2 was signed, this is 1; propose it again")
    run("restore", other, "--log", coordinator.home.log, "--into", tmp_path / "new", "--order", order, error="backup: ")
    run("restore", backup, "--log", coordinator.home.log, "--into", tmp_path / "new", "--order", order)


def test_an_order_that_names_no_number_of_entries_is_refused_in_one_line(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    backup, order = tmp_path / "backup", tmp_path / "restore.json"
    back_up(coordinator, backup)
    run("approvals", "propose", "restore", backup, "--entries", "1", "-o", order)
    proposal = parse_proposal(order.read_bytes())
    order.write_bytes(
        proposal.model_copy(update={"parameters": proposal.parameters | {"entries": "0" * 5000}}).encode()
    )
    words = ("restore", backup, "--log", coordinator.home.log, "--order", order, "--into", tmp_path / "new")
    run(*words, error="--order: entries: 000")


def test_a_policy_at_the_end_of_the_file_does_not_swallow_a_new_database(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """A line behind the head of a TOML table is the table's."""
    backup, order = tmp_path / "backup", tmp_path / "restore.json"
    back_up(coordinator, backup)
    run("approvals", "propose", "restore", backup, "--entries", "1", "-o", order)
    sign(order, "anna", "ben")
    words = ("restore", backup, "--log", coordinator.home.log, "--order", order, "--into", tmp_path / "new")
    with running_postgres() as server:
        address = server.database("vdb")
        run(*words, "--database", address)
        config = Home(tmp_path / "new").read_config()
    assert (config.database, config.approvals.actions) == (address, {"restore": 2, "install_root": 2})


def test_nobody_installs_a_root_alone_although_one_key_signs_it(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    lead, draft, order = ("--dir", coordinator.home.path), tmp_path / "root.json", tmp_path / "order.json"
    run(*lead, "root", "change", "-o", draft)
    run(*lead, "root", "sign", draft, "--yes")
    run(*lead, "root", "install", draft, error="2 of 3 people must sign this")
    run(*lead, "approvals", "propose", "install-root", draft, "-o", order)
    sign(order, "ben")
    run(*lead, "root", "install", draft, "--order", order, error="2 people must sign this, 1 have")
    sign(order, "anna")
    another = tmp_path / "another.json"
    run(*lead, "root", "change", "--new-roster-key", "-o", another)
    run(*lead, "root", "sign", another, "--yes")
    run(*lead, "root", "install", another, "--order", order, error="--order: root: sha256:")
    assert len(coordinator.home.read_roots()) == 1, "what is refused leaves nothing"
    run(*lead, "root", "install", draft, "--order", order)
    assert len(coordinator.home.read_roots()) == 2
    shown = run(*lead, "audit", "show", "--last", "1")
    assert "install root: version 2, sha256:" in shown
    anna, ben, _ = named(coordinator.home.read_config().approvals.keys)
    assert f": approved by {anna}, {ben}" in shown
    coordinator.start()
