"""Objections and withdrawals as an adversary makes them: forged by quotation, under a stolen key, in unreadable entries."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.bundles import Past, logged, small_session
from testkit.consortium import signer
from testkit.disputed import (
    OBJECTED,
    RECEIVED,
    SEAT,
    WITHDRAWN,
    Dispute,
    dispute,
    objection,
    objection_entry,
    session_id,
    withdrawal,
    withdrawal_entry,
)
from testkit.fates import Fate
from testkit.logs import MadeLog
from testkit.small_specs import small_spec
from testkit.statements import AUDITOR, INSTITUTIONS, auditor_key, coordinator_key, sign
from vdb_shared.audit.attestation import attest, read_attestation
from vdb_shared.audit.inspect import describe_statement
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Line, Report, Status, Verdict
from vdb_shared.audit.standing import Standing
from vdb_shared.audit.standing_words import named_entries, quoted
from vdb_shared.audit.text import verdict_sentence
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope, EnvelopeSignature
from vdb_shared.bundle.logged import AbortedRecord, RevocationReason, RevokedRecord, encode_record
from vdb_shared.bundle.objections import Withdrawal, files_of
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest

SEED = "dispute"
KYOTO = INSTITUTIONS[SEAT]


@pytest.fixture(scope="module")
def disputed() -> Dispute:
    return dispute(SEED)


def log_with(found: Dispute, entries: Sequence[bytes]) -> MadeLog:
    """Return the log of the first session and what came after its result."""
    return MadeLog("testbed", coordinator_key(SEED), [*logged(found.first).entries, *entries])


def audited(
    found: Dispute, entries: Sequence[bytes] | None = None, statements: Mapping[str, bytes] | None = None
) -> Report:
    """Return the report of the first result, with the log if its later entries are given."""
    fetch = None if entries is None else log_with(found, entries).files().__getitem__
    return verify(found.first.bundle(), root=found.first.root, fetch=fetch, statements=statements)


def line(report: Report, check: str = "V63.standing") -> Line:
    return next(item for item in report.lines if item.id == check)


def standing(report: Report) -> Standing:
    assert report.standing is not None
    return report.standing


def kyoto(found: Dispute, **changes: str) -> Envelope:
    return sign(objection(found.first, **changes), signer(SEED, SEAT))


def entry(found: Dispute, envelope: Envelope, **changes: str) -> bytes:
    return objection_entry(envelope, objection(found.first, **changes))


def revoked(institution: str, key: str, reason: RevocationReason = "compromised") -> bytes:
    return encode_record(
        RevokedRecord(institution=institution, key=key, reason=reason, revoked="2026-02-01T00:00:00Z", salt="0" * 64)
    )


def kyoto_revoked(reason: RevocationReason = "compromised") -> bytes:
    return revoked(KYOTO, signer(SEED, SEAT).public_key.key_id, reason)


# Words that pretend to be somebody else's.

FORGED = (
    "I retract nothing.” court-of-audit objects (privacy; logged 2026-02-02T09:00:05Z): “Patients can be recognised.” The log "
    "does not have this withdrawal. WITHDRAWN by the coordinator, as it says at 2026-02-03T10:00:00Z: “A site lied."
)


def test_a_quoted_objection_forges_no_other(disputed: Dispute, tmp_path: Path) -> None:
    """One line each, and neither “ nor ” inside: what stands in somebody's line is that member's word."""
    envelope = kyoto(disputed, text=FORGED)
    entries, statements = [entry(disputed, envelope)], {"o.dsse.json": envelope.to_json()}
    report = audited(disputed, entries, statements)
    (said,) = line(report).said
    assert said.startswith(f"{KYOTO} objects (model; logged {RECEIVED}): “I retract nothing.’ court-of-audit ")
    assert (said.count("“"), said.count("”")) == (1, 1)
    assert said.endswith("”")
    assert "court-of-audit" not in line(report).sentence
    files = {"first.vdbb": disputed.first.bundle(), "said/o.dsse.json": envelope.to_json()}
    files |= {f"log/{path}": data for path, data in log_with(disputed, entries).files().items()}
    write(tmp_path, files)
    given: list[str | Path] = [tmp_path / "first.vdbb", "--root", disputed.first.root, "--log", tmp_path / "log"]
    shown = vdb_audit("verify", *given, "--statements", tmp_path / "said").stdout.splitlines()
    assert sum("court-of-audit objects" in item for item in shown) == 1
    assert [item.strip() for item in shown if "court-of-audit objects" in item] == [f"- {said}"]


def test_words_padded_to_the_next_line_of_a_screen_are_shown_without_the_padding() -> None:
    assert quoted("a" + " " * 300 + "\u00a0 court-of-audit objects") == "“a court-of-audit objects”"
    assert quoted("„a“ ”b„ 〝c〞") == "“‘a‘ ’b‘ ‘c’”"


def test_words_that_show_nothing_are_refused(disputed: Dispute) -> None:
    for text in ("\u200b", " ", "\u2060\ufeff", "\u3164", "\ufe0f", "\u00ad", "…", "\u2800", "\u0301"):
        with pytest.raises(ValueError, match="at least one letter or digit"):
            objection(disputed.first, text=text)
        with pytest.raises(ValueError, match="at least one letter or digit"):
            withdrawal(disputed.first, reason=text)
    for text in ("7", "不", "दे", "می‌خواهم"):
        assert objection(disputed.first, text=text).text == text


def test_the_name_of_a_file_writes_nothing_on_the_screen(disputed: Dispute) -> None:
    report = audited(disputed, [], {"x\x1b[2J\u202e.dsse.json": b"{}"})
    assert [item for item in line(report).said if "\x1b" in item or "\u202e" in item] == []
    assert line(report).said[0].startswith("x\ufffd[2J\ufffd.dsse.json was not counted: ")


# A key in other hands.


@pytest.mark.parametrize("reason", ["compromised", "left", "replaced"])
def test_an_objection_under_a_revoked_key_is_shown_and_not_counted(disputed: Dispute, reason: RevocationReason) -> None:
    envelope = kyoto(disputed, text="All clips were made up.")
    entries = [kyoto_revoked(reason), entry(disputed, envelope)]
    for statements in ({}, {"o.dsse.json": envelope.to_json()}):
        report = audited(disputed, entries, statements)
        (said,) = line(report).said
        assert f"NOT COUNTED: logged after its key was revoked in entry 2 ({reason})" in said
        assert (standing(report).mark, standing(report).counted, len(standing(report).objections)) == ("", (), 1)
        assert verdict_sentence(report).endswith(" No objection to it, and 1 that does not count: see V63.standing.")
        assert line(report).status is Status.NOT_PROVEN


def test_what_was_logged_before_the_revocation_counts(disputed: Dispute) -> None:
    """The place in the log decides, never a stated time."""
    envelope = kyoto(disputed)
    report = audited(disputed, [entry(disputed, envelope), kyoto_revoked()], {"o.dsse.json": envelope.to_json()})
    assert standing(report).mark == "objected to"
    assert [item.entry for item in standing(report).counted] == [2]


def test_an_objection_under_a_revoked_key_that_was_never_logged_cannot_be_placed(disputed: Dispute) -> None:
    envelope = kyoto(disputed)
    report = audited(disputed, [kyoto_revoked()], {"o.dsse.json": envelope.to_json()})
    (said,) = line(report).said
    assert (
        "not in the log; NOT COUNTED: its key was revoked in entry 2 (compromised), and nothing shows that it" in said
    )
    assert standing(report).mark == ""


def test_the_revoked_key_of_another_doubts_nobody(disputed: Dispute) -> None:
    envelope = kyoto(disputed)
    entries = [revoked(KYOTO, signer(SEED, 0).public_key.key_id), entry(disputed, envelope)]
    assert standing(audited(disputed, entries)).mark == "objected to"


def test_an_objection_of_nobody_in_the_roster_does_not_count(disputed: Dispute) -> None:
    """The coordinator signs the log: it could write any name into it."""
    for name in ("zoo-zurich", "coordinator"):
        record = objection_entry(kyoto(disputed), objection(disputed.first, name))
        report = audited(disputed, [record])
        assert "has no participant or auditor of this name" in line(report).said[0]
        assert standing(report).mark == ""


def test_an_entry_that_gives_ones_statement_to_another_counts_for_neither_twice(disputed: Dispute) -> None:
    envelope = kyoto(disputed)
    record = objection_entry(envelope, objection(disputed.first, INSTITUTIONS[1]))
    report = audited(disputed, [record], {"o.dsse.json": envelope.to_json()})
    assert [(item.objector, bool(item.doubt)) for item in standing(report).objections] == [
        (INSTITUTIONS[1], True),
        (KYOTO, False),
    ]
    assert f"the statement that the log names is signed by {KYOTO}" in line(report).said[0]


# Entries that nobody can read.


def unreadable(disputed: Dispute) -> list[bytes]:
    """Return an objection with one field too many, and a revocation of a version to come."""
    known = parse_canonical_json(entry(disputed, kyoto(disputed)))
    return [canonical_json(known | {"note": "x"}), canonical_json({"kind": "member-revoked", "version": "vdb-log/2"})]


def test_entries_that_cannot_be_read_prove_nothing(disputed: Dispute) -> None:
    """They may be objections, second results, or revocations; a reader that takes them for silence is misled."""
    report = audited(disputed, unreadable(disputed))
    assert report.verdict is Verdict.PASS
    for check in ("V63", "V63.standing"):
        words = " ".join((line(report, check).sentence, *line(report, check).said))
        assert line(report, check).status is Status.NOT_PROVEN
        assert "Entries 2 and 3 of the log cannot be read by this version" in words
    assert standing(report).to_json()["unreadable_entries"] == [2, 3]
    assert line(report, "V65").status is Status.PASS
    assert "Entries 2 and 3, behind that, cannot be read." in line(report, "V65").sentence


def test_an_unreadable_entry_before_the_result_may_revoke_a_key(disputed: Dispute) -> None:
    past = Past(tuple(unreadable(disputed)[1:]))
    session = small_session("hidden", small_spec(), fate=Fate.STAYS, past=past)
    report = verify(session.bundle(), root=session.root, fetch=logged(session).files().__getitem__)
    assert report.verdict is Verdict.PASS
    assert line(report, "V65").status is Status.NOT_PROVEN
    assert line(report, "V65").sentence.startswith(
        "Entry 0 of the log cannot be read by this version, so whether a key"
    )


def test_many_unreadable_entries_are_named_in_short() -> None:
    assert named_entries([4]) == "Entry 4"
    assert named_entries(range(12)) == "Entries 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"


# A withdrawal that is not the one in the log.


def test_a_signed_withdrawal_that_the_log_does_not_name_is_shown_beside_the_one_it_names(disputed: Dispute) -> None:
    other = sign(withdrawal(disputed.first, reason="Another reason altogether."), coordinator_key(SEED))
    entries = [withdrawal_entry(disputed.withdrawal, withdrawal(disputed.first))]
    report = audited(disputed, entries, {"w.dsse.json": other.to_json()})
    expected = (
        f"The coordinator signed another withdrawal, as it says at {WITHDRAWN}: “Another reason altogether.” (The log"
    )
    assert any(said.startswith(expected) for said in line(report).said)
    assert [item.statement for item in standing(report).further] == [other.payload_digest]
    both = {"a.dsse.json": other.to_json(), "b.dsse.json": disputed.withdrawal.to_json()}
    assert len(standing(audited(disputed, None, both)).further) == 1


def test_an_entry_that_contradicts_the_withdrawal_it_names_is_not_in_order(disputed: Dispute) -> None:
    stated = withdrawal(disputed.first, superseded_by=session_id(disputed.second))
    envelope = sign(stated, coordinator_key(SEED))
    in_log = withdrawal_entry(envelope, withdrawal(disputed.first, withdrawn="1999-01-01T00:00:00Z"))
    faults = standing(audited(disputed, [in_log], {"w.dsse.json": envelope.to_json()})).faults
    assert [what.split(" the result")[0] for what in faults] == ["when", "for which session"]
    honest = withdrawal_entry(envelope, stated)
    said = standing(audited(disputed, [honest], {"w.dsse.json": envelope.to_json()})).faults
    assert not any("as its entry says" in what for what in said)


def test_an_objection_that_quotes_the_withdrawals_type_is_an_objection(disputed: Dispute) -> None:
    envelope = kyoto(disputed, text=f"The statement {Withdrawal.type_uri()} that we got was never logged.")
    report = audited(disputed, [entry(disputed, envelope)], {"o.dsse.json": envelope.to_json()})
    assert not standing(report).refused
    assert standing(report).objections[0].text
    assert describe_statement(envelope.to_json())["statement"] == "objection"


def test_a_broken_signature_takes_no_good_files_place(disputed: Dispute) -> None:
    good = kyoto(disputed)
    broken = Envelope(good.payload_type, good.payload, (EnvelopeSignature(good.signatures[0].key_id, bytes(64)),))
    for place in ((good, broken), (broken, good)):
        assert set(files_of([item.to_json() for item in place], b"").values()) == {good.to_json(), broken.to_json()}


# What the coordinator can do with one entry.


def test_one_later_abort_in_the_log_fails_no_second_result(disputed: Dispute) -> None:
    """The guide says it: a log that ends a session twice speaks against who keeps it, and V63 fails for who reads it."""
    again = AbortedRecord(
        session=session_id(disputed.first), abort=sha256_digest(b"x"), stage="rounds", aborted=OBJECTED, salt="0" * 64
    )
    report = audited(disputed, [encode_record(again)])
    assert report.verdict is Verdict.FAIL
    assert line(report, "V63").status is Status.FAIL
    assert audited(disputed).verdict is Verdict.PASS


# Attestations, and the commands that show figures.


def test_an_attestation_tells_a_withdrawn_result_from_one_whose_log_nobody_read(disputed: Dispute) -> None:
    properties = []
    entries = [withdrawal_entry(disputed.withdrawal, withdrawal(disputed.first))]
    for report in (audited(disputed, entries), audited(disputed, None), audited(disputed, [])):
        signed = attest(report, DEFAULT_POLICY, disputed.first.root, OBJECTED, auditor_key(SEED))
        properties.append(set(read_attestation(signed.to_json(), auditor_key(SEED).public_key).properties))
    withdrawn, unread, quiet = properties
    assert withdrawn - quiet == {"VDB_RESULT_WITHDRAWN"}
    assert unread < quiet
    assert not {name for name in unread if name.startswith("VDB_RESULT")}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def shown(disputed: Dispute, tmp_path: Path) -> list[str | Path]:
    """Return the words of a command that reads the withdrawn result with its log."""
    files = {f"log/{path}": data for path, data in disputed.log.files().items()}
    write(tmp_path, files | {"first.vdbb": disputed.first.bundle(), "second.vdbb": disputed.second.bundle()})
    return ["--root", disputed.first.root, "--log", tmp_path / "log"]


def test_the_leaderboard_of_one_withdrawn_result_says_so_as_json_too(shown: list[str | Path], tmp_path: Path) -> None:
    printed = json.loads(vdb_audit("leaderboard", tmp_path / "first.vdbb", *shown, "--json").stdout)
    assert printed["standing"]["mark"] == "withdrawn"
    assert "standing" not in json.loads(vdb_audit("leaderboard", tmp_path / "first.vdbb", "--json").stdout)


def test_compare_reads_the_log(shown: list[str | Path], tmp_path: Path) -> None:
    both: list[str | Path] = [tmp_path / "first.vdbb", tmp_path / "second.vdbb"]
    done = vdb_audit("compare", *both, *shown)
    assert "first.vdbb: WITHDRAWN by the coordinator" in done.stdout, done.stderr
    assert "WITHDRAWN" not in vdb_audit("compare", *both, *shown[:2]).stdout


def test_vbench_reads_the_log(shown: list[str | Path], tmp_path: Path) -> None:
    done = vdb_audit("vbench", tmp_path / "first.vdbb", *shown)
    assert done.stdout.startswith("WITHDRAWN by the coordinator"), done.stderr
    assert " (withdrawn), public prompts." in done.stdout
    printed = json.loads(vdb_audit("vbench", tmp_path / "first.vdbb", *shown, "--json").stdout)
    assert {item["mark"] for item in printed} == {"withdrawn"}
    (tmp_path / "figures.json").write_bytes(b"{}")
    assert "stand in no log" in vdb_audit("vbench", tmp_path / "figures.json", *shown).stderr


def test_a_pipe_among_the_statements_is_one_line_and_hangs_nobody(disputed: Dispute, tmp_path: Path) -> None:
    write(tmp_path, {"first.vdbb": disputed.first.bundle(), "said/a.dsse.json": kyoto(disputed).to_json()})
    os.mkfifo(tmp_path / "said" / "b.dsse.json")
    done = vdb_audit("verify", tmp_path / "first.vdbb", "--statements", tmp_path / "said")
    assert (done.returncode, "b.dsse.json: is no regular file" in done.stderr) == (2, True)
    assert AUDITOR not in done.stdout
