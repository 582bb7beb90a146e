"""A new version of the trust root, from its holders' machines to agents that enrolled under the first one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import write_site
from testkit.sessions import Runs, consortium
from vdb_coordinator.cli import app
from vdb_coordinator.serving.server import read_keys
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, UsageError


def run(*words: str | Path, error: str = "") -> str:
    """Return what a command prints, or check the line with which it fails."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if error:
        assert isinstance(done.exception, IdentityError | UsageError), done.output
        assert error in str(done.exception)
        assert "\n" not in str(done.exception)
    else:
        assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def shown(*words: str | Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(run(*words, "--json"))
    return found


def rotate(coordinator: RunningCoordinator, path: Path) -> None:
    """Give the root two more holders, of three any two; and the roster a new key."""
    lead = ("--dir", coordinator.home.path, "root")
    anna, bela, draft = path / "anna.pem", path / "bela.pem", path / "draft.json"
    for holder in (anna, bela):
        run("root", "key", holder, "--plaintext-keys")
        assert holder.stat().st_mode & 0o777 == 0o600
    added = ("--add", f"{anna}.pub", "--add", f"{bela}.pub")
    run(*lead, "change", *added, "--threshold", "2", "--new-roster-key", "-o", draft)
    copy = path / "annas-copy.json"
    copy.write_bytes(draft.read_bytes())
    run("root", "sign", copy, "--key", anna, error="compare what is shown")
    run("root", "sign", copy, "--key", anna, "--yes")
    run(*lead, "install", copy, error="0 of 1 signatures that version 1 demands")
    run(*lead, "sign", draft, "--yes")
    run(*lead, "install", draft, error="1 of 2 signatures that its own keys demands")
    assert shown(*lead, "show")["version"] == 1
    run(*lead, "install", draft, copy)
    found = shown(*lead, "show")
    assert (found["version"], found["threshold"]) == (2, 2)
    assert len(signers(coordinator.home.root_version(2))) == 2
    assert signers(coordinator.home.root_version(2)) == signers(copy) | signers(draft)


def signers(file: Path) -> set[str]:
    """Return the lines that name who signed a version."""
    return {line for line in run("root", "show", file).splitlines() if "signed this one" in line}


def test_agents_that_enrolled_under_the_first_root_follow_it_and_never_go_back(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=4) as coordinator:
        home = coordinator.home
        old_key = home.key("roster").read_bytes()
        run("--dir", home.path, "root", "install", home.root, error="another process serves")
        coordinator.stop()
        rotate(coordinator, tmp_path)
        coordinator.start()
        assert home.key("roster").read_bytes() != old_key
        assert sha256_digest(home.root.read_bytes()) == coordinator.root_fingerprint
        late = coordinator.enrol("site-4")
        assert len(late.roster.roots) == 2

        institutions = consortium(coordinator, tmp_path / "first")
        runs = Runs()
        runs.start(*institutions)
        runs.join()
        assert not runs.errors
        bundle = coordinator.admin.bundle(institutions[0].session)
        assert read_archive(bundle)["roster/root.2.json"] == home.root_version(2).read_bytes()
        (line,) = [line for line in verify(bundle, root=coordinator.root_fingerprint).lines if line.id == "V10"]
        assert line.status.value == "PASS", line

        coordinator.stop()  # whoever has the old roster key, or an old backup, shows the first root alone
        home.root_version(2).unlink()
        home.key("roster").write_bytes(old_key)
        coordinator.start()
        again = consortium(coordinator, tmp_path / "second")
        for before, now in zip(institutions, again, strict=True):
            with pytest.raises(IdentityError, match="version 1 of the trust root, version 2 was seen before"):
                type(now)(before.site, now.resources, now.session).take_part()


def test_a_root_that_names_a_roster_key_from_elsewhere_is_not_installed(tmp_path: Path) -> None:
    with running_coordinator(tmp_path) as coordinator:
        coordinator.stop()
        home, draft = coordinator.home, tmp_path / "draft.json"
        lead = ("--dir", home.path, "root")
        run(*lead, "change", "--new-roster-key", "-o", draft)
        run(*lead, "sign", draft, "--yes")
        home.key("roster-next").unlink()
        run(*lead, "install", draft, error="is not the one roster key that version 2 of the trust root names")
        home.root_version(2).parent.mkdir()
        home.root_version(2).write_bytes(draft.read_bytes())
        with pytest.raises(IdentityError, match="put the right one there"):
            read_keys(home, None)


@pytest.mark.parametrize("damage", ["unsigned", "gap"])
def test_a_coordinator_whose_roots_form_no_chain_does_not_start(tmp_path: Path, damage: str) -> None:
    with running_coordinator(tmp_path) as coordinator:
        coordinator.stop()
        home, draft = coordinator.home, tmp_path / "draft.json"
        run("--dir", home.path, "root", "change", "-o", draft)
        number = 2 if damage == "unsigned" else 3
        home.root_version(2).parent.mkdir()
        home.root_version(number).write_bytes(draft.read_bytes())
        with pytest.raises((IdentityError, UsageError), match=r"put the right ones back|root\.2\.json: cannot be read"):
            read_keys(home, None)


def test_an_interrupted_replacement_of_the_roster_key_is_finished_at_the_next_start(tmp_path: Path) -> None:
    """The root is there, the key has not moved yet: the start moves it and signs the roster anew."""
    with running_coordinator(tmp_path, institutions=1) as coordinator:
        coordinator.stop()
        home, draft = coordinator.home, tmp_path / "draft.json"
        lead = ("--dir", home.path, "root")
        run(*lead, "change", "--new-roster-key", "-o", draft)
        coordinator.start()  # proposed, and not installed: nothing changes
        assert home.key("roster-next").exists()
        coordinator.stop()
        run(*lead, "sign", draft, "--yes")
        run(*lead, "install", draft)
        coordinator.start()
        assert not home.key("roster-next").exists()
        newcomer = coordinator.enrol("newcomer")
        assert newcomer.roster.verify(coordinator.root_fingerprint, None).member("site-0")
        assert write_site(tmp_path / "site", newcomer, coordinator.address)
