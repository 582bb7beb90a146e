"""How a result stands: objections, withdrawals and what replaced it are said loudly, and fail no bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.bundles import logged
from testkit.consortium import signer
from testkit.disputed import (
    SEAT,
    Dispute,
    dispute,
    objection,
    objection_entry,
    session_id,
    withdrawal,
    withdrawal_entry,
)
from testkit.logs import MadeLog
from testkit.statements import AUDITOR, COORDINATOR, INSTITUTIONS, auditor_key, coordinator_key, sign
from vdb_shared.audit.report import Report, Status, Verdict
from vdb_shared.audit.standing import Standing
from vdb_shared.audit.text import verdict_sentence
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.objections import MAX_OBJECTION_BYTES
from vdb_shared.identity import StatementKey

SEED = "dispute"
OTHER = "sha256:" + "7" * 64


@pytest.fixture(scope="module")
def disputed() -> Dispute:
    return dispute(SEED)


def audited(
    found: Dispute, log: MadeLog | None = None, statements: Mapping[str, bytes] | None = None
) -> tuple[Report, str]:
    """Return the report of the first result, and what its line about objections says, with what others said, line by line."""
    fetch = None if log is None else log.files().__getitem__
    report = verify(found.first.bundle(), root=found.first.root, fetch=fetch, statements=statements)
    line = next(item for item in report.lines if item.id == "V63.standing")
    assert line.status in {Status.PASS, Status.NOT_PROVEN}
    assert report.verdict is Verdict.PASS
    return report, "\n".join((line.sentence, *line.said))


def standing(report: Report) -> Standing:
    assert report.standing is not None
    return report.standing


def test_without_log_and_statements_nothing_is_known(disputed: Dispute) -> None:
    report, sentence = audited(disputed)
    assert report.standing is None
    assert "is seen in the log: give --log" in sentence
    assert verdict_sentence(report).startswith("PASS: ")


def test_a_result_that_nobody_disputes_stands(disputed: Dispute) -> None:
    report, sentence = audited(disputed, logged(disputed.first))
    assert next(item.status for item in report.lines if item.id == "V63.standing") is Status.PASS
    assert sentence.startswith("The log has no objection to the result")
    assert standing(report).mark == ""


def test_the_log_alone_shows_who_objects_that_it_was_withdrawn_and_what_replaces_it(disputed: Dispute) -> None:
    report, sentence = audited(disputed, disputed.log)
    assert verdict_sentence(report).startswith("PASS, BUT THE RESULT IS WITHDRAWN: ")
    assert verdict_sentence(report).endswith("2 objections to it: see V63.standing.")
    assert [item.objector for item in standing(report).objections] == [INSTITUTIONS[SEAT], AUDITOR]
    assert not any(item.text for item in standing(report).objections)
    assert f"Session {session_id(disputed.second)} replaces it" in sentence
    assert disputed.withdrawal.payload_digest in sentence


def test_statement_files_give_the_words(disputed: Dispute) -> None:
    report, sentence = audited(disputed, disputed.log, disputed.statements)
    assert "Our driver was broken" in sentence
    assert "The ranks rest on those clips." in sentence
    assert "A site measured clips of another model." in sentence
    assert not standing(report).refused


def test_statements_without_the_log_are_shown_as_signed(disputed: Dispute) -> None:
    report, sentence = audited(disputed, None, disputed.statements)
    assert (standing(report).read, standing(report).mark) == (False, "withdrawn")
    assert "Our driver was broken" in sentence
    assert "give --log" in sentence


def test_an_objection_that_the_log_has_not_is_shown_as_that(disputed: Dispute) -> None:
    """A coordinator that takes an objection and logs it not is seen by who holds the signed file."""
    _, sentence = audited(disputed, logged(disputed.first), disputed.statements)
    assert "lab-kyoto objects (model; not in the log)" in sentence
    assert "(The log does not have this withdrawal.)" in sentence


def test_what_replaces_it_says_so_itself(disputed: Dispute) -> None:
    fetch = disputed.log.files().__getitem__
    report = verify(disputed.second.bundle(), root=disputed.second.root, fetch=fetch)
    assert report.verdict is Verdict.PASS
    line = next(item for item in report.lines if item.id == "V63.standing")
    assert line.sentence.endswith(f"It was opened to replace the result of session {session_id(disputed.first)}.")
    assert report.to_json()["facts"]["supersedes"] == session_id(disputed.first)


def test_an_open_session_that_is_to_replace_it_marks_nothing_yet(disputed: Dispute) -> None:
    entries = [*logged(disputed.first).entries, disputed.second.log.entries[-1]]
    report, sentence = audited(disputed, MadeLog("testbed", coordinator_key(SEED), entries))
    assert standing(report).mark == ""
    assert (
        "is to replace it; that session is overdue" in sentence or "is to replace it; that session is open" in sentence
    )


def test_a_published_session_that_replaces_it_is_enough(disputed: Dispute) -> None:
    """A consortium need not withdraw what it replaces; readers are told all the same."""
    fresh = [entry for entry in disputed.log.entries if b'"withdrawal"' not in entry and b'"objection"' not in entry]
    report, _ = audited(disputed, MadeLog("testbed", coordinator_key(SEED), fresh))
    assert standing(report).mark == "superseded"
    assert "PASS, BUT ANOTHER RESULT REPLACES THIS ONE" in verdict_sentence(report)


# Forged, foreign, duplicated, oversized.


def signed_by(key: StatementKey, found: Dispute, objector: str, **changes: str) -> Envelope:
    return sign(objection(found.first, objector, **changes), key)


def foreign(found: Dispute) -> dict[str, tuple[bytes, str]]:
    """Return files that say nothing about the result, and why, by fault."""
    ours, name = signer(SEED, SEAT), INSTITUTIONS[SEAT]
    stranger = StatementKey.from_seed(bytes(32))
    good = signed_by(ours, found, name)
    return {
        "stranger": (signed_by(stranger, found, name).to_json(), "a key that is not known here"),
        "another member": (signed_by(signer(SEED, 0), found, name).to_json(), "a key that is not known here"),
        "not in the roster": (signed_by(stranger, found, "zoo-zurich").to_json(), "zoo-zurich is not a member"),
        "coordinator": (
            signed_by(coordinator_key(SEED), found, COORDINATOR).to_json(),
            "does not object but withdraws",
        ),
        "two signatures": (
            sign(objection(found.first), ours, signer(SEED, 0)).to_json(),
            "signed by a key that is not known here",
        ),
        "another session": (signed_by(ours, found, name, session=OTHER).to_json(), "about another session"),
        "another result": (signed_by(ours, found, name, result=OTHER).to_json(), "about another result"),
        "withdrawal of a member": (sign(withdrawal(found.first), ours).to_json(), "a key that is not known here"),
        "oversized": (good.to_json() + b" " * MAX_OBJECTION_BYTES, "has at most 16384 bytes"),
        "no envelope": (b"{}", "not a DSSE envelope"),
        "changed": (good.to_json().replace(b'"sig":"', b'"sig":"AAAA', 1), ""),
    }


def test_what_is_no_members_word_about_this_result_is_named_and_not_counted(disputed: Dispute) -> None:
    files = foreign(disputed)
    report, sentence = audited(disputed, logged(disputed.first), {name: data for name, (data, _) in files.items()})
    found = standing(report)
    assert (found.objections, found.withdrawn, found.mark) == ((), None, "")
    assert found.refused.keys() == files.keys()
    for name, (_, why) in files.items():
        assert why in found.refused[name]
        assert f"{name} was not counted: " in sentence


def test_the_same_statement_in_two_files_counts_once(disputed: Dispute) -> None:
    data = disputed.objections[0].to_json()
    report, _ = audited(disputed, disputed.log, {"a.dsse.json": data, "b.dsse.json": data})
    assert [bool(item.text) for item in standing(report).objections] == [True, False]


def test_words_cannot_rewrite_the_screen(disputed: Dispute) -> None:
    for text in ("a\x1b[2Jb", "a\nb", "a\u202eb", ""):
        with pytest.raises(ValueError, match="1 validation error"):
            objection(disputed.first, text=text)


# What a log says that is out of order fails nobody's bundle.


def test_a_log_that_invents_objections_and_withdrawals_fails_no_bundle(disputed: Dispute) -> None:
    stated, said = disputed.objections[0], objection(disputed.first)
    wrong = (
        objection_entry(stated, said.model_copy(update={"result": OTHER})),
        objection_entry(stated, said),
        objection_entry(stated, said),
        withdrawal_entry(disputed.withdrawal, withdrawal(disputed.first, superseded_by=OTHER)),
    )
    log = MadeLog("testbed", coordinator_key(SEED), [*logged(disputed.first).entries, *wrong])
    report, sentence = audited(disputed, log)
    assert len(standing(report).faults) == 3
    assert "is to no result that session" in sentence
    assert "is logged again" in sentence
    assert f"Session {OTHER} is to replace it." in sentence
    assert len(standing(report).objections) == 1


# The command line.


@pytest.fixture
def files(disputed: Dispute, tmp_path: Path) -> Path:
    """Return a folder with both bundles, the log, the statements, and the auditor's key."""
    for name, data in {
        "first.vdbb": disputed.first.bundle(),
        "second.vdbb": disputed.second.bundle(),
        "auditor.pem": auditor_key(SEED).to_pem(None),
        **{f"log/{path}": data for path, data in disputed.log.files().items()},
        **{f"said/{path}": data for path, data in disputed.statements.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_verify_says_it_in_text_json_and_html(disputed: Dispute, files: Path) -> None:
    given: list[str | Path] = [
        files / "first.vdbb",
        "--root",
        disputed.first.root,
        "--log",
        files / "log",
        "--statements",
        files / "said",
    ]
    done = vdb_audit("verify", *given, "--html", files / "report.html")
    assert done.returncode == 0
    assert "PASS, BUT THE RESULT IS WITHDRAWN" in done.stdout
    assert "Our driver was broken" in done.stdout
    assert ">withdrawn<" in (files / "report.html").read_text()
    shown = json.loads(vdb_audit("verify", *given, "--json").stdout)["standing"]
    assert (shown["mark"], len(shown["objections"]), shown["withdrawn"]["logged"]) == ("withdrawn", 2, True)


def test_the_leaderboard_marks_what_was_withdrawn_only_where_the_log_is_read(disputed: Dispute, files: Path) -> None:
    given: list[str | Path] = [files / "first.vdbb", files / "second.vdbb", "--root", disputed.first.root]
    without = vdb_audit("leaderboard", *given)
    assert without.returncode == 0
    assert "withdrawn" not in without.stdout
    out: list[str | Path] = [
        "--html",
        files / "boards.html",
        "--csv",
        files / "boards.csv",
        "--latex",
        files / "boards.tex",
    ]
    done = vdb_audit("leaderboard", *given, "--log", files / "log", *out)
    assert "first.vdbb: WITHDRAWN by the coordinator" in done.stdout
    tables = json.loads(vdb_audit("leaderboard", *given, "--log", files / "log", "--json").stdout)["tables"]
    marks = {(row["result"], row["mark"]) for table in tables for row in table["rows"]}
    assert marks == {("first", "withdrawn"), ("second", "")}
    assert "first (withdrawn)" in (files / "boards.html").read_text()
    assert "first (withdrawn)" in (files / "boards.tex").read_text()
    assert (files / "boards.csv").read_text().splitlines()[1].endswith(",withdrawn")


def test_the_leaderboard_of_one_withdrawn_result_begins_with_that(disputed: Dispute, files: Path) -> None:
    given: list[str | Path] = [
        files / "first.vdbb",
        "--root",
        disputed.first.root,
        "--log",
        files / "log",
        "--html",
        files / "board.html",
    ]
    done = vdb_audit("leaderboard", *given)
    assert done.stdout.index("WITHDRAWN") < done.stdout.index("Rank")
    page = (files / "board.html").read_text()
    assert "Since it was published" in page
    assert ">withdrawn<" in page


def test_a_log_of_others_is_not_taken_for_silence(disputed: Dispute, files: Path) -> None:
    (files / "log" / "checkpoint").write_text("no checkpoint")
    done = vdb_audit("leaderboard", files / "first.vdbb", "--root", disputed.first.root, "--log", files / "log")
    assert done.returncode == 1
    assert "V62: " in done.stderr


def test_an_auditor_of_the_roster_signs_an_objection(disputed: Dispute, files: Path) -> None:
    words = ["--reason", "figures", "--text", "The ranks rest on those clips."]
    given: list[str | Path] = [files / "first.vdbb", *words, "--key", files / "auditor.pem"]
    done = vdb_audit("object", *given, "--out", files / "said" / "mine.dsse.json")
    assert done.returncode == 0, done.stderr
    report, sentence = audited(disputed, None, {"mine": (files / "said" / "mine.dsse.json").read_bytes()})
    assert f"{AUDITOR} objects (figures; signed): “The ranks rest on those clips.”" in sentence
    assert not standing(report).refused
    shown = json.loads(vdb_audit("inspect", files / "said" / "mine.dsse.json", "--json").stdout)
    assert (shown["statement"], shown["objector"], shown["reason"]) == ("objection", AUDITOR, "figures")
    again = vdb_audit("object", *given, "--out", files / "said" / "mine.dsse.json")
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("key", "words", "message"),
    [
        (
            b"a stranger".ljust(32),
            ["--reason", "data", "--text", "x"],
            "no participant or auditor in the session's roster",
        ),
        (None, ["--reason", "taste", "--text", "x"], "reason: expected 'data', 'model', "),
        (None, ["--reason", "data", "--text", "a\x07b"], "text: one paragraph, without control characters"),
        (None, ["--reason", "data", "--text", "x" * 2001], "text: expected at most 2000 characters"),
    ],
)
def test_objections_that_nobody_would_take_are_not_signed(
    files: Path, key: bytes | None, words: list[str], message: str
) -> None:
    if key is not None:
        (files / "auditor.pem").write_bytes(StatementKey.from_seed(key).to_pem(None))
    out = files / "out.dsse.json"
    done = vdb_audit("object", files / "first.vdbb", *words, "--key", files / "auditor.pem", "--out", out)
    assert done.returncode != 0
    assert message in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("folder", "message"), [("nothing", "expected a folder with statements"), ("log", "expected 1 to 1000 statements")]
)
def test_a_folder_without_statements_is_one_line(files: Path, folder: str, message: str) -> None:
    done = vdb_audit("verify", files / "first.vdbb", "--statements", files / folder)
    assert done.returncode == 2
    assert message in done.stderr
