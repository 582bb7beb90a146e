"""Objections and withdrawals as statements: whose word they are, which result they are about, and in which files they lie."""

from __future__ import annotations

import pytest

from testkit.consortium import signer
from testkit.disputed import SEAT
from testkit.evidence import golden_evidence
from testkit.golden import FOLDER, golden_withdrawal
from testkit.statements import AUDITOR, COORDINATOR, INSTITUTIONS, auditor_key, coordinator_key
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.objections import (
    MAX_OBJECTION_BYTES,
    Objection,
    Withdrawal,
    check_about,
    files_of,
    made,
    names_withdrawal,
    objector_of,
    parse_envelope,
    read_objection,
    read_withdrawal,
    sign_objection,
)
from vdb_shared.bundle.statement import Statement, Subject
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.identity import StatementKey, StatementPublicKey

SESSION, RESULT, OTHER = (f"sha256:{digit * 64}" for digit in "123")
ROSTER = golden_evidence("disputed").roster
FIELDS: dict[str, str] = {
    "session": SESSION,
    "result": RESULT,
    "objector": INSTITUTIONS[SEAT],
    "reason": "model",
    "text": "Our driver was broken.",
    "objected": "2026-02-02T09:00:00Z",
}
KEY = signer("golden", SEAT)


def objection(**changes: str) -> Objection:
    return made(Objection, **FIELDS | changes)


def withdrawal(**changes: str | None) -> Withdrawal:
    fields: dict[str, str | None] = {
        "session": SESSION,
        "result": RESULT,
        "reason": "Broken.",
        "withdrawn": "2026-02-03T10:00:00Z",
    }
    return made(Withdrawal, **fields | changes)


def test_an_objection_is_read_as_it_was_signed() -> None:
    said = objection()
    assert read_objection(parse_envelope(sign_objection(said, KEY)), ROSTER) == said
    by_auditor = objection(objector=AUDITOR)
    assert read_objection(parse_envelope(sign_objection(by_auditor, auditor_key("golden"))), ROSTER) == by_auditor


def test_a_withdrawal_is_read_as_it_was_signed_and_names_a_successor_only_where_there_is_one() -> None:
    for said in (withdrawal(), withdrawal(superseded_by=OTHER)):
        envelope = Statement((), said).sign(coordinator_key("golden"))
        assert read_withdrawal(envelope, ROSTER) == said
        assert (b"superseded_by" in envelope.payload) == (said.superseded_by is not None)
        assert names_withdrawal(envelope)
    assert not names_withdrawal(parse_envelope(sign_objection(objection(), KEY)))


def test_nobody_signs_for_another_and_the_coordinator_does_not_object() -> None:
    with pytest.raises(SignatureError, match="signed by a key that is not known here"):
        read_objection(parse_envelope(sign_objection(objection(), signer("golden", 0))), ROSTER)
    with pytest.raises(SignatureError, match="signed by a key that is not known here"):
        read_withdrawal(Statement((), withdrawal()).sign(KEY), ROSTER)
    said = objection(objector=COORDINATOR)
    with pytest.raises(IdentityError) as caught:
        read_objection(parse_envelope(sign_objection(said, coordinator_key("golden"))), ROSTER)
    assert str(caught.value) == f"{COORDINATOR} is the coordinator, which does not object but withdraws its result"


def test_a_statement_that_nobody_signed_is_nobodys_word() -> None:
    """No file can hold one, but code can make one."""
    for said, read in ((objection(), read_objection), (withdrawal(), read_withdrawal)):
        bare = Envelope(labels.TYPE_STATEMENT, Statement((), said).encode(), ())
        with pytest.raises(SignatureError, match=r"^expected the signature of .* alone, found 0$"):
            read(bare, ROSTER)


def test_neither_names_subjects() -> None:
    subject = Subject(name="metrics.json", sha256="0" * 64)
    with pytest.raises(FormatError, match=r"^a statement of the kind objection names no subjects$"):
        read_objection(Statement((subject,), objection()).sign(KEY), ROSTER)
    with pytest.raises(FormatError, match=r"^a statement of the kind withdrawal names no subjects$"):
        read_withdrawal(Statement((subject,), withdrawal()).sign(coordinator_key("golden")), ROSTER)


def test_a_key_objects_under_the_name_that_the_roster_gives_it() -> None:
    assert objector_of(ROSTER, KEY.public_key) == INSTITUTIONS[SEAT]
    assert objector_of(ROSTER, auditor_key("golden").public_key) == AUDITOR
    stranger = StatementKey.from_seed(bytes(32)).public_key
    for key in (stranger, coordinator_key("golden").public_key):
        with pytest.raises(IdentityError) as caught:
            objector_of(ROSTER, key)
        assert str(caught.value) == refusal(key)


def refusal(key: StatementPublicKey) -> str:
    return (
        f"no participant or auditor in the session's roster of testbed has the key {key.key_id[:16]}; only they can object, so "
        "have the lead admit an auditor before a session is opened"
    )


def test_what_is_about_another_result_says_which() -> None:
    for said in (objection(), withdrawal()):
        check_about(said, SESSION, RESULT)
        with pytest.raises(FormatError) as caught:
            check_about(said, OTHER, RESULT)
        assert str(caught.value) == f"this {said.kind} is about another session: {SESSION}, expected {OTHER}"
        with pytest.raises(FormatError) as caught:
            check_about(said, SESSION, OTHER)
        assert str(caught.value) == f"this {said.kind} is about another result: {RESULT}, expected {OTHER}"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reason": "taste"}, "reason: expected 'data', 'model'"),
        ({"text": ""}, "text: is empty"),
        ({"text": "x" * 2001}, "text: expected at most 2000 characters"),
        (
            {"text": "a\x00b"},
            "text: one paragraph, without control characters and without marks that turn the direction",
        ),
        ({"session": "1"}, "session: "),
        ({"objected": "yesterday"}, "objected: "),
    ],
)
def test_what_cannot_stand_in_an_objection_is_named_by_its_field(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        objection(**changes)
    assert str(caught.value).startswith(problem)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize(
    "mark", [*map(chr, (0, 0x1F, 0x7F, 0x9F, 0x61C, 0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0x2069))]
)
def test_no_mark_that_rewrites_a_screen_stands_in_words(mark: str) -> None:
    for change in ({"text": f"a{mark}b"}, {"text": mark}):
        with pytest.raises(UsageError):
            objection(**change)
    with pytest.raises(UsageError):
        withdrawal(reason=f"a{mark}b")


def test_words_of_any_language_stand_in_words() -> None:
    for words in ("ὁ λόγος", "تم القياس", "測定 – „falsch“", "a\u2027b\u202fc\u2065d\u206a", "x" * 2000):
        assert objection(text=words).text == words


def test_a_file_is_bounded_to_the_byte() -> None:
    with pytest.raises(FormatError) as caught:
        parse_envelope(bytes(MAX_OBJECTION_BYTES + 1))
    assert str(caught.value) == f"an objection or withdrawal has at most {2**14} bytes, not {2**14 + 1}"
    with pytest.raises(FormatError) as caught:
        parse_envelope(bytes(MAX_OBJECTION_BYTES))
    assert "at most" not in str(caught.value)


def test_files_are_named_by_what_they_say() -> None:
    kept = {file.name: file.read_bytes() for file in (FOLDER / "disputed" / "statements").iterdir()}
    taken_back = kept[golden_withdrawal().name]
    objections = [data for name, data in kept.items() if name != golden_withdrawal().name]
    assert files_of(objections, taken_back) == kept
    assert files_of([], b"") == {}
    (name,) = files_of(objections[:1], b"")
    digest = sha256_digest(objections[0])
    assert name == f"objection-{digest[7:23]}.dsse.json"


@pytest.mark.parametrize("wrong", [b"", b"{}", b"[]", b"x"])
def test_what_is_no_envelope_gets_no_file(wrong: bytes) -> None:
    """A coordinator that answers with something else puts nothing into anybody's folder."""
    good = (FOLDER / "disputed" / "statements" / golden_withdrawal().name).read_bytes()
    for objections, taken_back in (([wrong], b""), ([good, wrong], good), ([good], wrong or b"x")):
        with pytest.raises(FormatError):
            files_of(objections, taken_back)


def test_whatever_is_signed_is_read_as_one_of_the_two() -> None:
    """JSON of any kind can be signed; reading it tells what it is."""
    for payload in (b"[]", b"1", b"null", b'"withdrawal"', b"{}"):
        assert not names_withdrawal(Envelope(labels.TYPE_STATEMENT, payload, ()))
