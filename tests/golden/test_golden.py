"""The golden bundles are what the product makes today, and they verify."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.golden import FATES, FOLDER, disputed_files, golden_dispute, golden_file, golden_report, golden_session
from testkit.moved_keys import move_key_out
from testkit.statements import INSTITUTIONS
from vdb_participant.site.config import StateFolder
from vdb_participant.site.signing import external_signer
from vdb_shared.audit.log_files import fetch_from
from vdb_shared.audit.reading import statements_in
from vdb_shared.audit.report import Report, Status, Verdict
from vdb_shared.audit.standing import Published, standing_of
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import COUNTERSIGN, RESULT, SURVIVORS, read_envelope
from vdb_shared.roster import parse_roster


def unless_passed(report: Report) -> dict[str, Status]:
    return {line.id: line.status for line in report.lines if line.status is not Status.PASS}


@pytest.mark.parametrize("name", FATES)
def test_making_it_again_gives_the_same_bytes(name: str) -> None:
    assert golden_session(name).bundle() == golden_file(name).read_bytes(), (
        "a format changed; make them anew with `PYTHONPATH=tests python -m testkit.golden`"
    )


@pytest.mark.parametrize("name", FATES)
def test_its_audit_says_word_for_word_the_same(name: str) -> None:
    assert golden_report(name).decode() == golden_file(name).with_suffix(".report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FATES)
def test_it_verifies_under_its_root(name: str) -> None:
    report = verify(golden_file(name).read_bytes(), root=golden_session(name).root)
    assert report.verdict is Verdict.PASS
    assert set(unless_passed(report).values()) == {Status.NOT_PROVEN}
    assert {"V10", "V20", "V30", "V34.commitments", "V35", "V41", "V51"}.isdisjoint(unless_passed(report))


def test_they_are_of_one_consortium_and_of_different_sessions() -> None:
    reports = [verify(golden_file(name).read_bytes()) for name in FATES]
    facts = [report.facts for report in reports if report.facts is not None]
    assert len({item.root for item in facts}) == 1
    assert [set(item.dropped.values()) for item in facts] == [set(), {"shared-keys"}, {"left-out"}]
    assert len({report.bundle for report in reports}) == len(FATES)


def test_a_disputed_result_with_its_log_and_statements_is_what_is_made_now() -> None:
    for file, data in disputed_files().items():
        assert file.read_bytes() == data, (
            f"{file} changed; make it anew with `PYTHONPATH=tests python -m testkit.golden`"
        )
    kept = {file for file in (FOLDER / "disputed").rglob("*") if file.is_file()}
    assert kept == {file for file in disputed_files() if (FOLDER / "disputed") in file.parents}


def test_a_disputed_result_verifies_and_its_line_tells_what_became_of_it() -> None:
    place = FOLDER / "disputed"
    report = verify(
        golden_file("disputed").read_bytes(),
        root=golden_dispute().first.root,
        fetch=fetch_from(str(place / "log")),
        statements=statements_in(place / "statements"),
    )
    assert report.verdict is Verdict.PASS
    assert report.standing is not None
    assert (report.standing.mark, len(report.standing.objections), report.standing.faults) == ("withdrawn", 2, ())
    assert all(item.text and item.logged for item in report.standing.objections)
    assert [item.session for item in report.standing.successors] == [golden_dispute().second.record.open.payload_digest]


def test_no_changed_byte_of_a_statement_is_taken() -> None:
    first = golden_dispute().first
    session, roster = first.record.open.payload_digest, parse_roster(first.record.roster.roster)
    for name, data in golden_dispute().statements.items():
        about = Published(session, golden_result(), roster, "")
        for position in range(len(data)):
            changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
            found = standing_of(about, None, {name: changed, "cut": data[:position]})
            assert found.refused.keys() == {name, "cut"}, position
            assert (found.objections, found.withdrawn) == ((), None)


def golden_result() -> str:
    """Return the digest of the disputed result's statement."""
    return read_envelope(golden_dispute().first.members, RESULT).payload_digest


def test_a_program_in_front_of_a_key_makes_the_same_bundle(tmp_path: Path) -> None:
    """Ed25519 has one signature for a key and a message: all of an institution, made anew by its external signer."""
    session, folder = golden_session("full"), StateFolder(tmp_path / "state")
    move_key_out(folder, session.key(0), tmp_path / "module")
    signer = external_signer(folder)
    assert signer is not None
    names = [name for name in session.members if name.endswith(f"/{INSTITUTIONS[0]}.dsse.json")]
    for name in (*names, SURVIVORS, COUNTERSIGN):
        envelope = read_envelope(read_archive(golden_file("full").read_bytes()), name)
        ours = [item.signature for item in envelope.signatures if item.key_id == signer.public_key.key_id]
        assert ours == [signer.sign(envelope.payload_type, envelope.payload)], name
    assert len(names) == 2
