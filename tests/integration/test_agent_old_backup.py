"""A coordinator that is put back from an old backup asks again: it gets the same bytes, or there is a second debit."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.crashes import Crash
from testkit.dishonest import Remembering
from testkit.institutions import ChosenMeasurement, Institution
from testkit.lives import DyingAt
from testkit.sessions import SITES, Runs, consortium, kinds, recorded, wait_for_journal
from vdb_participant.commands import budgeting
from vdb_participant.network.link import Upload
from vdb_participant.session import records
from vdb_participant.session.exchange import MASK_SENT
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.receipts import bundle_receipt
from vdb_shared.canonical import decimal_string
from vdb_shared.errors import ProtocolError, StoreError, VdbError
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import parse_spec_json


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


class Uploading(Remembering):
    """Keeps every byte of the masked inputs that are sent; dies when the coordinator has one, if it is mortal."""

    def __init__(self, institution: Institution, *, mortal: bool) -> None:
        super().__init__(institution)
        self.uploads: list[bytes] = []
        self._mortal = mortal

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        self.uploads.append(upload.header.body + upload.header.signature + upload.masked + upload.contribution)
        super().upload(session, seat, attempt, upload)
        if self._mortal:
            raise Crash


def backup(coordinator: RunningCoordinator, place: Path) -> None:
    """Keep a copy of all that the coordinator knows."""
    coordinator.stop()
    shutil.copytree(coordinator.home.path, place)
    coordinator.start()


def restore(coordinator: RunningCoordinator, place: Path) -> None:
    """Put the copy back."""
    coordinator.stop()
    shutil.rmtree(coordinator.home.path)
    shutil.copytree(place, coordinator.home.path)
    coordinator.start()


def die_before_the_input(institutions: list[Institution]) -> None:
    """Let all come to the moment before their inputs leave, and die there."""

    def run(institution: Institution) -> None:
        with pytest.raises(Crash):
            replace(institution, failpoints=DyingAt(place="before-masked-input")).take_part()

    threads = [threading.Thread(target=run, args=[institution], daemon=True) for institution in institutions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "an agent hangs"


def entry_of(institution: Institution) -> str:
    """Return the ledger entry that an institution's contribution in the published bundle names."""
    return bundle_receipt(institution.site.folder, institution.folder / RESULT_FILE).entry


def test_one_that_forgot_an_input_gets_the_same_bytes_again_for_the_same_debit(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    institutions = consortium(coordinator, tmp_path)
    *others, victim = institutions
    die_before_the_input(institutions)
    backup(coordinator, tmp_path / "backup")
    with Uploading(victim, mortal=True) as first, pytest.raises(Crash):
        victim.take_part(first)
    restore(coordinator, tmp_path / "backup")
    with Uploading(victim, mortal=True) as second, pytest.raises(Crash):
        victim.take_part(second)
    restore(coordinator, tmp_path / "backup")
    runs = Runs()
    runs.start(*others)
    with Uploading(victim, mortal=False) as third:
        victim.take_part(third)
    runs.join()
    assert not runs.errors
    assert first.uploads == second.uploads == third.uploads
    assert len(first.uploads) == 1
    assert victim.measure.calls == 1
    with Ledger(victim.site.folder.ledger) as ledger:
        (entry,) = ledger.verify()
    assert entry.kind == "debit"
    assert entry_of(victim) == entry.digest


def test_one_that_forgot_an_input_which_it_acknowledged_gets_no_input_any_more(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    institutions = consortium(coordinator, tmp_path)
    *others, victim = institutions
    die_before_the_input(institutions)
    backup(coordinator, tmp_path / "backup")
    with Uploading(victim, mortal=False) as first, pytest.raises(Crash):
        replace(victim, failpoints=DyingAt(place="after-masked-input")).take_part(first)
    restore(coordinator, tmp_path / "backup")
    runs = Runs()
    runs.start(*others)
    for institution in others:
        wait_for_journal(institution, f"{MASK_SENT}/acknowledged")
    coordinator.expire(victim.session)
    with Uploading(victim, mortal=False) as second, pytest.raises(VdbError):
        victim.take_part(second)
    runs.join()
    assert not runs.errors, "they have a result without it"
    assert first.kinds == ["input"]
    assert "input" not in second.kinds
    assert kinds(victim) == ["debit"], "what left once is not refunded"


def test_one_that_forgot_the_whole_session_gets_nothing_in_it_and_pays_for_the_next(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    institutions = consortium(coordinator, tmp_path)
    victim = institutions[0]
    backup(coordinator, tmp_path / "backup")
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    assert not runs.errors
    backup(coordinator, tmp_path / "afterwards")
    restore(coordinator, tmp_path / "backup")
    with Uploading(victim, mortal=False) as again:
        victim.take_part(again)
    assert again.sent == [], "it has its result"
    assert kinds(victim) == ["debit"]

    spec = parse_spec_json(records.Consented.decode(recorded(victim, records.CONSENTED)).offered.spec)
    for item in institutions:
        forgetful = coordinator.admin.create_session(
            spec
        )  # one each: whoever leaves ends it for the others, who are too few
        with pytest.raises(ProtocolError, match="another log than before"):
            replace(item, session=forgetful, measure=ChosenMeasurement()).take_part()
    assert kinds(victim) == ["debit"], "nobody goes on with a coordinator whose log forgot a result"

    restore(coordinator, tmp_path / "afterwards")
    session = coordinator.admin.create_session(spec)
    second = [replace(item, session=session, measure=ChosenMeasurement()) for item in institutions]
    runs = Runs()
    runs.start(*second)
    runs.join()
    assert not runs.errors
    with Ledger(victim.site.folder.ledger) as ledger:
        one, other = ledger.verify()
    assert (one.kind, other.kind) == ("debit", "debit")
    assert (one.charge.spec, one.charge.records) == (other.charge.spec, other.charge.records)
    assert {entry_of(item) for item in (victim, second[0])} == {
        one.digest,
        other.digest,
    }
    plan = " ".join(records.Consented.decode(recorded(second[0], records.CONSENTED)).plan.split())
    assert f"rho {decimal_string(one.charge.rho)} of" in plan
    assert "by 1 earlier session with overlapping data" in plan
    assert f"Data set {one.charge.dataset}, 3 records in all." in plan

    folder = victim.site.folder
    budgeting.verify(folder, [victim.folder / RESULT_FILE])
    with sqlite3.connect(folder.ledger) as database:
        database.execute("DROP TRIGGER entries_never_vanish")
        database.execute("DELETE FROM entries WHERE sequence = 1")
    with pytest.raises(StoreError, match="cut off"):
        budgeting.verify(folder)  # the journal of the second session names it
    (second[0].folder / "journal").unlink()
    budgeting.verify(folder)
    with pytest.raises(StoreError, match="cut off"):
        budgeting.verify(folder, [second[0].folder / RESULT_FILE])
    stranger = institutions[1].site.folder
    with pytest.raises(StoreError, match="cut off"):
        budgeting.verify(stranger, head=one.digest)
