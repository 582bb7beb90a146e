"""The agent against a real coordinator: whole sessions from consent to the published result."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.coordinator import RunningCoordinator, running_coordinator
from testkit.institutions import write_prompts
from testkit.sessions import (
    SITES,
    Runs,
    consortium,
    journal_of,
    kinds,
    recorded,
    run_with_failpoint,
    wait_for_journal,
)
from vdb_participant.session import records
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.session.countersigning import audit_without_us
from vdb_participant.session.exchange import ADVERTISE_SENT
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.session.terms import verify_opening
from vdb_participant.site.ledger import Ledger
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.record import METRICS
from vdb_shared.bundle.statement import Join, parse_statement
from vdb_shared.canonical import parse_canonical_json, sha256_digest
from vdb_shared.errors import DatasetError, SessionAbortedError, VdbError, VerificationError
from vdb_shared.privacy.ledger import standing


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=SITES) as running:
        yield running


@pytest.mark.parametrize("mechanism", ["distributed-discrete-gaussian", "none"])
def test_all_take_part_and_keep_the_same_verified_result(
    coordinator: RunningCoordinator, tmp_path: Path, mechanism: str
) -> None:
    institutions = consortium(coordinator, tmp_path, mechanism=mechanism)
    said: list[str] = []
    institutions[0].resources = replace(institutions[0].resources, say=said.append)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    assert not runs.errors
    assert [line.partition(";")[0] for line in said] == ["joined", "measured"], "what it waits for, in order"
    bundles = {outcome.bundle.read_bytes() for outcome in runs.outcomes.values()}
    assert len(bundles) == 1
    report = verify(next(iter(bundles)), root=coordinator.root_fingerprint)
    assert [line.id for line in report.lines if line.status == "FAIL"] == ([] if mechanism != "none" else ["V42"])
    figures = parse_canonical_json(read_archive(bundles.pop())[METRICS])
    public = [item for item in figures["counts"] if item["side"] == "public"]
    assert {(item["succeeded"], item["failed"]) for item in public} == {("2", "0")}
    for institution in institutions:
        assert institution.measure.calls == 1
        assert kinds(institution) == (["debit"] if mechanism != "none" else [])
        assert "secret" not in journal_of(institution).values()


def test_lanes_are_overwritten_in_memory_when_the_rounds_have_ended(
    coordinator: RunningCoordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[records.Measured] = []
    real = records.Measured.decode

    def decode(record: bytes) -> records.Measured:
        decoded.append(real(record))
        assert decoded[-1].lanes.any()
        return decoded[-1]

    monkeypatch.setattr(records.Measured, "decode", decode)
    runs = Runs()
    runs.start(*consortium(coordinator, tmp_path))
    runs.join()
    assert not runs.errors
    assert len(decoded) == SITES
    assert not any(measured.lanes.any() for measured in decoded)


def test_running_again_after_the_end_does_nothing(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    institutions = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    before = (institutions[0].folder / "journal").read_bytes()
    coordinator.stop()
    assert institutions[0].take_part().bundle == institutions[0].folder / "result.vdbb"
    assert (institutions[0].folder / "journal").read_bytes() == before
    assert institutions[0].measure.calls == 1


def test_what_is_debited_is_what_was_announced_and_consented_to(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    institutions = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*institutions)
    runs.join()
    plan = records.Consented.decode(recorded(institutions[0], records.CONSENTED)).plan
    join, _ = parse_statement(Envelope.from_json(recorded(institutions[0], records.JOIN_SENT)).payload, Join)
    assert join.consent == sha256_digest(plan.encode())
    with Ledger(institutions[0].site.folder.ledger) as ledger:
        spent = standing(ledger.chain()).spent
    (told,) = re.findall(r"This session takes rho (\S+) of this site's budget", " ".join(plan.split()))
    assert Decimal(0) < spent <= Decimal(told)


def test_a_restarted_coordinator_is_waited_for(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    *early, late = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(*early)
    wait_for_journal(early[0], records.JOIN_SENT)
    coordinator.restart()
    runs.start(late)
    runs.join()
    assert not runs.errors
    assert len(runs.outcomes) == SITES


def test_an_aborted_session_is_told_to_those_who_wait(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    runs = Runs()
    runs.start(first)
    wait_for_journal(first, records.JOIN_SENT)
    coordinator.admin.abort_session(first.session, "the lead thought better of it")
    runs.join()
    (error,) = runs.errors.values()
    assert "the lead thought better of it" in str(error)
    with pytest.raises(SessionAbortedError, match="the lead thought better of it"):
        first.take_part()
    assert kinds(first) == []
    assert "secret" not in journal_of(first).values()


def test_who_came_back_too_late_computes_nothing_and_keeps_what_the_others_published(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    """Hours of a GPU would be for nothing; and the result is for everybody in the roster."""
    victim, *others = consortium(coordinator, tmp_path, minimum=3, waiting_seconds=300)
    runs = Runs()
    runs.start(*others)
    assert run_with_failpoint(victim, "after-join=kill") == -signal.SIGKILL
    for other in others:
        wait_for_journal(other, ADVERTISE_SENT + ACKNOWLEDGED)
    coordinator.expire(victim.session)
    runs.join()
    assert not runs.errors
    with pytest.raises(SessionAbortedError, match="too late: now published"):
        victim.take_part()
    assert victim.measure.calls == 1
    assert victim.measure.statistics == [], "it was told before it began"
    words = (
        "join",
        victim.session[7:19],
        "--data",
        victim.resources.data,
        "--models",
        victim.resources.models,
        "--yes",
    )
    again = run("--dir", victim.site.folder.path, *words)
    assert again.returncode == 1
    kept = victim.folder / RESULT_FILE
    assert f"the others published a result without us, which passed the audit and is kept in {kept}" in again.stderr
    assert kept.read_bytes() == (others[0].folder / RESULT_FILE).read_bytes()
    shown = run("--dir", victim.site.folder.path, "report", victim.session[7:19])
    assert shown.returncode == 0, shown.stderr
    assert kinds(victim) == []


def test_a_result_of_another_session_is_not_kept_for_the_one_that_ended_without_us(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    first, *others = consortium(coordinator, tmp_path / "one")
    runs = Runs()
    runs.start(first, *others)
    runs.join()
    bundle = (first.folder / RESULT_FILE).read_bytes()
    consented = records.Consented.decode(recorded(first, records.CONSENTED))
    opening = verify_opening(consented.offered, first.session, first.site.pins, consented.moment)
    audit_without_us(bundle, opening, first.site.config.root_fingerprint)
    with pytest.raises(VerificationError, match="is of another session"):
        audit_without_us(bundle, replace(opening, session="sha256:" + "0" * 64), first.site.config.root_fingerprint)
    damaged = bytearray(bundle)
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(VdbError):
        audit_without_us(bytes(damaged), opening, first.site.config.root_fingerprint)


def test_other_data_than_those_consented_to_are_told_before_anybody_waits_for_us(
    coordinator: RunningCoordinator, tmp_path: Path
) -> None:
    first, *_ = consortium(coordinator, tmp_path)
    assert run_with_failpoint(first, "before-cosign=kill") == -signal.SIGKILL
    other = write_prompts(tmp_path / "other", 99)
    with pytest.raises(DatasetError, match="the data are not those that were consented to"):
        replace(first, resources=replace(first.resources, data=other)).take_part()
    assert f"{records.JOIN_SENT}/acknowledged" not in journal_of(first)
