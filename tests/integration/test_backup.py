"""A coordinator comes back from a backup: what ended stays ended, what was lost is aborted, and there is one log."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from testkit.backups import back_up, bring_back, key_of, monitored, newest_note, refusal, serving, unsound
from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.members import TestMember
from testkit.playing import PHASES, STEPS, play
from testkit.postgres import running_postgres
from testkit.small_specs import small_spec
from vdb_coordinator.backups.container import read_container
from vdb_coordinator.config import Home
from vdb_shared.audit.log_files import ForkError
from vdb_shared.audit.verify import verify
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase

PATIENT = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
SITES = 4


def members_of(stack: ExitStack, coordinator: RunningCoordinator, among: int = SITES) -> list[TestMember]:
    """Open a session and return its members."""
    session = coordinator.admin.create_session(PATIENT)
    return [stack.enter_context(TestMember(coordinator, each, session)) for each in coordinator.identities[-among:]]


def publish(stack: ExitStack, coordinator: RunningCoordinator, among: int = SITES) -> list[TestMember]:
    """Play a whole session."""
    members = members_of(stack, coordinator, among)
    play(members, *STEPS)
    members[0].wait(Phase.PUBLISHED)
    return members


def finish(members: list[TestMember], begun: int) -> None:
    """Play the rest of a session."""
    play(members, *STEPS[begun:])
    members[0].wait(Phase.PUBLISHED)


def lived(
    path: Path, stack: ExitStack, database: str | None = None
) -> tuple[RunningCoordinator, dict[str, list[TestMember]]]:
    """Return a coordinator that was backed up in the middle of its life, and stopped much later; its sessions by their fate."""
    coordinator = stack.enter_context(running_coordinator(path, institutions=SITES, database=database))
    found = {"published": publish(stack, coordinator)}
    found["finished later"] = members_of(stack, coordinator)
    play(found["finished later"], *STEPS[:4])
    found["given up"] = members_of(stack, coordinator)
    play(found["given up"], *STEPS[:3])
    found["aborted later"] = members_of(stack, coordinator)
    back_up(coordinator, path / "backup")
    finish(found["finished later"], 4)
    coordinator.admin.abort_session(found["aborted later"][0].session, "not needed")
    coordinator.settle(found["aborted later"][0].session)
    play(found["given up"], STEPS[3])
    found["opened later"] = members_of(stack, coordinator)
    play(found["opened later"], STEPS[0])
    found["all later"] = publish(stack, coordinator)
    coordinator.admin.revoke("site-3", "compromised", "")
    coordinator.stop()
    return coordinator, found


def check_restored(
    coordinator: RunningCoordinator, found: dict[str, list[TestMember]], stack: ExitStack, into: Path
) -> None:
    """Check what became of all that `lived`, and that the restored coordinator is a whole one."""
    remembered, key = newest_note(coordinator.home), key_of(coordinator)
    everyone = [member for members in found.values() for member in members]
    with serving(into, coordinator, everyone) as restored:
        for fate, phase in (
            ("published", Phase.PUBLISHED),
            ("finished later", Phase.PUBLISHED),
            ("given up", Phase.ABORTED),
            ("aborted later", Phase.ABORTED),
        ):
            assert found[fate][0].wait(Phase.PUBLISHED).phase is phase, fate
        assert "restored" in found["given up"][0].wait(Phase.ABORTED).reason
        for member in found["given up"]:
            restored.settle(member.session)
        assert not [line for line in verify(found["published"][0].bundle()).lines if line.status.value == "FAIL"]
        with refusal(reasons.TOO_LATE, "an institution whose agent had finished has the bundle"):
            found["finished later"][0].bundle()
        with refusal(reasons.ABORTED, "it is aborted, and the log says so"):
            found["opened later"][0].details()
        with refusal(reasons.ABORTED, "it had a result, which institutions have"):
            found["all later"][0].details()
        with refusal(reasons.NOT_A_MEMBER, "no longer a member"):
            found["published"][3].details()
        restored.enrol("site-4")
        again = [*(restored.identities[:3]), restored.identities[4]]
        session = restored.admin.create_session(PATIENT)
        members = [stack.enter_context(TestMember(restored, each, session)) for each in again]
        play(members, *STEPS)
        members[0].wait(Phase.PUBLISHED)
        for member in members:
            member.gone.set()
        report = monitored(restored.home, key, remembered)
    assert report.wrong == ()
    states = {item.session: item.state for item in report.sessions}
    assert [states[found[fate][0].session] for fate in found] == [
        "published",
        "published",
        "aborted",
        "aborted",
        "aborted",
        "published",
    ]
    assert states[session] == "published"
    assert unsound(Home(into)) == {}


@pytest.mark.parametrize("server", [False, True], ids=["from a file to a server", "from a server to a file"])
def test_what_happened_after_the_backup_is_not_undone(tmp_path: Path, server: bool) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres()).database("vdb")
        coordinator, found = lived(tmp_path, stack, url if server else None)
        into, backup = tmp_path / "restored", tmp_path / "backup"
        done = bring_back(backup, into, coordinator.home.log, database=None if server else url)
        assert [item.session for item in done.losses.lost] == [
            found[each][0].session for each in ("opened later", "all later")
        ]
        assert set(done.losses.ended) == {found[each][0].session for each in ("finished later", "aborted later")}
        assert done.losses.aborted == (found["given up"][0].session,)
        assert done.losses.left_out == ("site-3",)
        check_restored(coordinator, found, stack, into)


@pytest.fixture
def midway(tmp_path: Path) -> tuple[RunningCoordinator, list[TestMember]]:
    """Return a coordinator that was stopped in the middle of a session."""
    stack = ExitStack()
    coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=SITES))
    members = members_of(stack, coordinator)
    play(members, *STEPS[:4])
    members[0].wait(PHASES[4])
    members[0].agree()
    coordinator.stop()
    return coordinator, members


def test_a_coordinator_that_moves_goes_on_in_the_middle_of_a_round(
    midway: tuple[RunningCoordinator, list[TestMember]], tmp_path: Path
) -> None:
    """Nothing is lost: the backup was made while nobody served, and the operator says that nobody did since."""
    coordinator, members = midway
    assert back_up(coordinator, tmp_path / "backup").manifest.stopped
    done = bring_back(tmp_path / "backup", tmp_path / "moved", coordinator.home.log, nothing_lost=True)
    assert (done.losses.aborted, done.losses.entries) == ((), 0)
    with serving(tmp_path / "moved", coordinator, members) as moved:
        receipt = members[0].agree()
        for member in members[1:]:
            member.agree()
        assert members[0].agree() == receipt
        finish(members, 5)
        bundle = moved.admin.bundle(members[0].session)
        for member in members:
            member.gone.set()
    assert not [line for line in verify(bundle).lines if line.status.value == "FAIL"]


def test_a_result_that_was_logged_is_published_once_its_institutions_witness_the_log_again(tmp_path: Path) -> None:
    """Also if that is in another session: those who had finished do not come back into this one."""
    with ExitStack() as stack:
        coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=SITES))
        members = members_of(stack, coordinator)
        play(members, *STEPS[:-1])
        for member in members:
            member.gone.set()
        play(members, STEPS[-1])
        back_up(coordinator, tmp_path / "backup")
        coordinator.stop()
        assert bring_back(tmp_path / "backup", tmp_path / "restored", coordinator.home.log).losses.aborted == ()
        with serving(tmp_path / "restored", coordinator, members) as restored:
            assert members[0].details().status.phase is Phase.FINALISING
            for other in members_of(stack, restored):
                other.join()
            assert members[0].wait(Phase.PUBLISHED).phase is Phase.PUBLISHED
            report = verify(members[0].bundle(), root=restored.root_fingerprint)
            assert monitored(restored.home, key_of(coordinator), newest_note(coordinator.home)).wrong == ()
    assert not [line for line in report.lines if line.status.value == "FAIL"]


def test_without_that_word_the_session_is_aborted_once(
    midway: tuple[RunningCoordinator, list[TestMember]], tmp_path: Path
) -> None:
    coordinator, members = midway
    back_up(coordinator, tmp_path / "backup")
    bring_back(tmp_path / "backup", tmp_path / "restored", coordinator.home.log)
    with serving(tmp_path / "restored", coordinator, members) as restored:
        assert "from a backup of" in members[0].wait(Phase.ABORTED).reason
        restored.settle(members[0].session)
        with refusal(reasons.ABORTED, "what happened in this session since then is lost"):
            members[1].agree()
        restored.restart()
        report = monitored(restored.home, key_of(coordinator), newest_note(coordinator.home))
    assert report.wrong == ()
    assert [session.state for session in report.sessions] == ["aborted"]


def test_nothing_lost_is_not_believed_of_a_backup_that_was_made_while_somebody_served(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=SITES) as coordinator:
        coordinator.admin.create_session(PATIENT)
        assert not back_up(coordinator, tmp_path / "backup").manifest.stopped
        with pytest.raises(UsageError, match="made while a coordinator served"):
            bring_back(tmp_path / "backup", tmp_path / "new", coordinator.home.log, nothing_lost=True)
        coordinator.stop()
        back_up(coordinator, tmp_path / "stopped")
        coordinator.start()
        coordinator.admin.create_session(PATIENT)
        with pytest.raises(UsageError, match="a coordinator served after it"):
            bring_back(tmp_path / "stopped", tmp_path / "new", coordinator.home.log, nothing_lost=True)
    assert not (tmp_path / "new").exists()


def size_of(note: bytes) -> int:
    return parse_checkpoint(parse_note(note).text).size


def test_a_shorter_log_is_refused_and_who_gets_round_that_is_caught(tmp_path: Path) -> None:
    """The attack: an operator who says that nobody saw more than the backup has signs a second log, and everybody can tell."""
    with ExitStack() as stack:
        coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=SITES))
        publish(stack, coordinator)
        back_up(coordinator, tmp_path / "backup")
        had = size_of(newest_note(coordinator.home))
        victim = members_of(stack, coordinator)[0]
        victim.witness()
        note, key = newest_note(coordinator.home), key_of(coordinator)
        coordinator.stop()
        seen, backup, into = tmp_path / "checkpoint-of-a-site", tmp_path / "backup", tmp_path / "restored"
        seen.write_bytes(note)
        for words, wish in (
            ("may sign a second log", {}),
            ("give --log its files too", {"logs": (str(seen),), "newest_known": had + 1}),
            ("has a checkpoint of 2 entries, and 2 are at hand", {"newest_known": had - 1}),
            ("has a checkpoint of 2 entries, and 2 are at hand", {"newest_known": had + 1}),
            ("expected the folder of a log, or its URL", {"logs": ("nowhere",)}),
        ):
            with pytest.raises(UsageError, match=words):
                bring_back(backup, into, **wish)
            assert not into.exists()
        bring_back(backup, into, newest_known=had)
        with serving(into, coordinator, [victim]) as fork:
            other = members_of(stack, fork)
            assert size_of(newest_note(fork.home)) == size_of(note)
            answer = other[0].log.GetCheckpoint(
                pb.GetCheckpointRequest(session=other[0].session, size=size_of(note)), timeout=CALL
            )
            assert parse_note(answer.checkpoint).text != parse_note(note).text
            with pytest.raises(ForkError, match="not those that were read last"):
                monitored(fork.home, key, note)
            forked = newest_note(fork.home)
        (tmp_path / "forked").write_bytes(forked)
        with pytest.raises(FormatError, match="two were signed with one key"):
            bring_back(backup, tmp_path / "third", coordinator.home.log, tmp_path / "forked")


def test_an_old_backup_of_another_branch_is_refused(tmp_path: Path) -> None:
    """A backup of the fork, and the true log: the entries of one are not those of the other."""
    with ExitStack() as stack:
        coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=SITES))
        back_up(coordinator, tmp_path / "first")
        for _ in range(3):
            coordinator.admin.create_session(PATIENT)
        coordinator.stop()
        bring_back(tmp_path / "first", tmp_path / "fork", newest_known=0)
        with serving(tmp_path / "fork", coordinator) as fork:
            fork.admin.create_session(PATIENT)
            back_up(fork, tmp_path / "second")
        with pytest.raises(FormatError, match="does not begin with the 1 of this backup"):
            bring_back(tmp_path / "second", tmp_path / "third", coordinator.home.log)
        assert not (tmp_path / "third").exists()


def test_a_backup_under_load_holds_all_that_its_checkpoint_names(tmp_path: Path) -> None:
    with running_coordinator(tmp_path, institutions=SITES) as coordinator:
        ended = threading.Event()

        def load() -> None:
            while not ended.is_set():
                session = coordinator.admin.create_session(PATIENT)
                coordinator.admin.abort_session(session, "only load")

        thread = threading.Thread(target=load)
        thread.start()
        try:
            for number in range(6):
                made = back_up(coordinator, tmp_path / f"backup-{number}")
                read_container(tmp_path / f"backup-{number}", tmp_path / f"files-{number}")
                assert size_of(newest_note(Home(tmp_path / f"files-{number}"))) <= made.manifest.entries
        finally:
            ended.set()
            thread.join()
        coordinator.stop()
        entries = []
        for number in range(6):
            done = bring_back(tmp_path / f"backup-{number}", tmp_path / f"restored-{number}", coordinator.home.log)
            entries.append(done.manifest.entries)
        assert entries == sorted(entries)
        assert entries[-1] > entries[0]
        with serving(tmp_path / "restored-0", coordinator) as restored:
            report = monitored(restored.home, key_of(coordinator), newest_note(coordinator.home))
    assert report.wrong == ()


def test_who_waits_for_a_session_that_was_lost_is_told(tmp_path: Path) -> None:
    """A watch on the restored coordinator ends at once, with the reason."""
    with ExitStack() as stack:
        coordinator = stack.enter_context(running_coordinator(tmp_path, institutions=SITES))
        back_up(coordinator, tmp_path / "backup")
        members = members_of(stack, coordinator)
        coordinator.stop()
        bring_back(tmp_path / "backup", tmp_path / "restored", coordinator.home.log)
        with serving(tmp_path / "restored", coordinator, members), pytest.raises(grpc.RpcError) as refusal:
            members[0].wait(Phase.SHARING_KEYS)
    assert "opened after the backup" in str(refusal.value)
