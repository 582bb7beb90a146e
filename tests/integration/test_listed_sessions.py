"""`sessions`: what an institution is shown of what there is to join."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import write_site
from testkit.members import TestMember
from testkit.sessions import SITES
from testkit.specs import small_spec


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path) as running:
        yield running


def printed(*words: str | Path) -> str:
    done = run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_members_see_what_can_be_joined(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    for number in range(SITES):
        coordinator.enrol(f"site-{number}")
    identity = coordinator.enrol("clinic")
    site = write_site(tmp_path / "clinic", identity, coordinator.address)
    words = ("--dir", site.folder.path, "sessions")
    assert printed(*words) == "no session: the lead has opened none yet\n"
    ended = coordinator.admin.create_session(small_spec())
    coordinator.admin.abort_session(ended, "the lead chose another spec")
    can_be_joined = coordinator.admin.create_session(small_spec().model_copy(update={"title": "A second try"}))
    found = printed(*words)
    assert found.splitlines() == [
        f"{can_be_joined[7:19]}  A second try",
        "  can be joined",
        f"{ended[7:19]}  {small_spec().title}",
        "  ended without a result",
        f"What a session would cost and send: vdb-participant --dir {site.folder.path} join {can_be_joined[7:19]} --data DIR "
        "--dry-run",
    ]
    assert [item["joined"] for item in json.loads(printed(*words, "--json"))] == [False, False]
    with TestMember(coordinator, identity, can_be_joined) as member:
        member.join()
    found = printed(*words)
    assert found.splitlines()[1:] == [
        "  joined by this site; others can join still",
        f"{ended[7:19]}  {small_spec().title}",
        "  ended without a result",
    ]
    assert [item["joined"] for item in json.loads(printed(*words, "--json"))] == [True, False]
    late = write_site(tmp_path / "late", coordinator.enrol("late"), coordinator.address)
    (_, why, *_) = printed("--dir", late.folder.path, "sessions").splitlines()
    assert why.startswith("  cannot be joined by this site: ")
    facts = json.loads(printed(*words, "--json"))
    assert [item["obstacle"] for item in facts] == ["", ""]
    assert [(item["session"], item["title"]) for item in facts] == [
        (can_be_joined, "A second try"),
        (ended, small_spec().title),
    ]
