"""A third party's time stamp on the log's checkpoint: what it shows of a result's age, and whom nobody has to believe.

The authority of these tests is built from other code than the one that reads its answers (`testkit/time_authority.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms, tsp
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from testkit.bundles import SmallSession
from testkit.evidence import but_for, found, golden_evidence, refused, with_result
from testkit.time_authority import PUBLISHED, Authority, checkpoint_of, refusal
from vdb_shared.audit.checks.stamped import CLOCKS
from vdb_shared.audit.evidence import GivenStamp
from vdb_shared.audit.report import Line, Report, Status, Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.witnessed import check_logged
from vdb_shared.errors import FormatError, SignatureError, UsageError, VdbError
from vdb_shared.transparency.time_signer import one_line
from vdb_shared.transparency.time_stamps import MAX_STAMP_BYTES, ask, check_answer, read_roots, read_time_stamp

NOTE = b"a checkpoint of some log"


def judged(session: SmallSession, given: GivenStamp | None) -> tuple[Report, Line]:
    report = verify(session.bundle(), root=session.root, stamp=given)
    return report, next(line for line in report.lines if line.id == "V64")


def stamped(session: SmallSession, authority: Authority, at: datetime) -> tuple[Report, Line]:
    return judged(session, GivenStamp(authority.stamp(checkpoint_of(session), at), authority.roots))


def test_a_stamp_of_the_same_hour_shows_that_the_result_is_as_old_as_it_says(
    plain: SmallSession, authority: Authority
) -> None:
    report, line = stamped(plain, authority, PUBLISHED + timedelta(minutes=5))
    assert (line.status.value, report.verdict) == ("PASS", Verdict.PASS)
    assert line.sentence == (
        "“Clock of the Observatory” attests that the result stood in the log, signed as here, by 2026-01-31T12:45:01Z. "
        "The coordinator gives 2026-01-31T12:40:00Z as the time of publication."
    )


def test_without_a_stamp_the_age_is_not_proven_and_the_line_says_how_to_get_one(plain: SmallSession) -> None:
    report, line = judged(plain, None)
    assert (line.status.value, report.verdict) == ("NOT PROVEN", Verdict.PASS)
    assert "vdb-audit time-stamp" in line.sentence


def test_back_dated_by_years_a_result_passes_without_a_stamp_and_is_told_with_one(
    plain: SmallSession, authority: Authority
) -> None:
    assert judged(plain, None)[0].verdict is Verdict.PASS
    _, line = stamped(plain, authority, PUBLISHED + timedelta(days=800))
    assert line.status.value == "NOT PROVEN"
    assert "800 days after 2026-01-31T12:40:00Z" in line.sentence


@pytest.mark.parametrize(
    ("seconds", "status"), [(-301, "PASS"), (-302, "FAIL"), (86699, "PASS"), (86700, "NOT PROVEN")]
)
def test_clocks_may_differ_by_five_minutes_and_what_the_authority_allows(
    plain: SmallSession, authority: Authority, seconds: int, status: str
) -> None:
    assert stamped(plain, authority, PUBLISHED + timedelta(seconds=seconds))[1].status.value == status


def test_a_result_that_claims_a_later_time_than_a_third_party_saw_it_fails(
    plain: SmallSession, authority: Authority
) -> None:
    report, line = stamped(plain, authority, PUBLISHED - timedelta(hours=2))
    assert (report.verdict, line.sentence) == (
        Verdict.FAIL,
        "The times in the bundle are later than a third party saw it.",
    )
    assert "the coordinator says that it signed at 2026-01-31T12:40:00Z" in line.detail


def test_institutions_that_signed_later_than_a_third_party_saw_it_are_told_by_themselves(authority: Authority) -> None:
    """The coordinator dated its result back; the clocks of the institutions that witnessed the log were right."""
    evidence = with_result(golden_evidence("dropout"), published="2020-01-01T00:00:00Z")
    proof = evidence.result_proof
    seen = min(
        check_logged(proof, evidence.published_entry, evidence.roster, evidence.joins, evidence.quorum).times.values()
    )
    for late, words in ((CLOCKS + 2, "every institution says that it signed at"), (CLOCKS + 1, None)):
        at = datetime.fromtimestamp(seen - late, UTC)
        given = but_for(evidence, stamp=GivenStamp(authority.stamp(proof.checkpoint, at), authority.roots))
        if words is None:
            assert found("V64", given).status is Status.NOT_PROVEN
        else:
            assert refused("V64", given).startswith(words)


def test_a_stamp_that_proves_nothing_leaves_the_audit_incomplete_and_accuses_nobody(
    plain: SmallSession, session: SmallSession, authority: Authority
) -> None:
    at, checkpoint = PUBLISHED + timedelta(minutes=5), checkpoint_of(plain)
    stamps = {
        "it is on something else": GivenStamp(authority.stamp(checkpoint_of(session), at), authority.roots),
        "no authority that you trust": GivenStamp(Authority().stamp(checkpoint, at), authority.roots),
        "holds no time stamp: status 2, “come back later”": GivenStamp(refusal("come back later"), authority.roots),
        "expected the answer": GivenStamp(b"<html>", authority.roots),
        "unable to get local issuer": GivenStamp(authority.stamp(checkpoint, at), authority.leaf),
    }
    for words, given in stamps.items():
        report, line = judged(plain, given)
        assert (line.status.value, report.exit_code) == ("SKIPPED", 3), words
        assert words in line.sentence


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"purpose": (ExtendedKeyUsageOID.CODE_SIGNING, True)}, "unsuitable certificate purpose"),
        ({"purpose": (ExtendedKeyUsageOID.TIME_STAMPING, False)}, "unsuitable certificate purpose"),
        ({"ends": PUBLISHED - timedelta(days=1)}, "certificate has expired"),
    ],
)
def test_an_authority_needs_a_certificate_for_time_stamps_that_was_valid_then(
    authority: Authority, wrong: dict[str, object], words: str
) -> None:
    with pytest.raises(SignatureError, match=words):
        read_time_stamp(replace(authority, **wrong).stamp(NOTE, PUBLISHED), NOTE, read_roots(authority.roots))  # type: ignore[arg-type]  # two fields of other types


def test_a_certificate_beside_the_signers_names_nobody(authority: Authority) -> None:
    """The list of certificates is signed by nobody; one with the signer's issuer and number and another name is soon made."""
    twin = Authority(name="National Notary", ends=authority.ends)
    forged = twin.certificate_of(issuer=authority.name)
    stamp = replace(authority, beside=(forged,)).stamp(NOTE, PUBLISHED)
    try:
        named = read_time_stamp(stamp, NOTE, read_roots(authority.roots)).authority
    except SignatureError:  # where the other certificate is taken for the signer's, and does not fit
        return
    assert named == "Clock of the Observatory"


def test_an_authority_cannot_sign_in_the_name_of_another_that_the_reader_trusts(authority: Authority) -> None:
    """The signed attribute names the other's true certificate, which lies beside the signer's."""
    sister = replace(authority, serial=3, organisation="Under the same root").certificate.public_bytes(Encoding.DER)
    forger = replace(authority, names=hashlib.sha256(sister).digest(), beside=(sister,))
    with pytest.raises(SignatureError, match="does not name the one certificate"):
        read_time_stamp(forger.stamp(NOTE, PUBLISHED), NOTE, read_roots(authority.roots))
    other = Authority(name="National Notary")
    certificate = other.certificate.public_bytes(Encoding.DER)
    forger = replace(authority, names=hashlib.sha256(certificate).digest(), beside=(certificate,))
    roots = (*read_roots(authority.roots), *read_roots(other.roots))
    with pytest.raises(SignatureError, match="does not name the one certificate"):
        read_time_stamp(forger.stamp(NOTE, PUBLISHED), NOTE, roots)
    assert read_time_stamp(replace(authority, beside=(certificate,)).stamp(NOTE, PUBLISHED), NOTE, roots).authority == (
        "Clock of the Observatory"
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"names": bytes(32)}, "does not name the one certificate"),
        ({"attributes": ("content_type", "message_digest")}, "does not name the one certificate"),
        ({"certificates_named": 0}, "cannot be read"),
        ({"attributes": ("message_digest", "signing_certificate_v2")}, "not signed as a time stamp"),
        ({"attributes": ("content_type", "message_digest", "weak")}, "cannot be read"),
        ({"digest": "sha1"}, "rests on a digest that is not accepted"),
    ],
)
def test_what_is_signed_names_its_certificate_and_is_a_time_stamp(
    authority: Authority, wrong: dict[str, object], words: str
) -> None:
    with pytest.raises(SignatureError, match=words):
        read_time_stamp(replace(authority, **wrong).stamp(NOTE, PUBLISHED), NOTE, read_roots(authority.roots))  # type: ignore[arg-type]  # fields of several types


def test_the_older_attribute_names_the_certificate_as_well(authority: Authority) -> None:
    """ESSCertID, by SHA-1, which is what RFC 3161 knew: a second preimage of a certificate is still out of reach."""
    older = ("content_type", "message_digest", "signing_certificate")
    stamp = replace(authority, attributes=older).stamp(NOTE, PUBLISHED)
    assert read_time_stamp(stamp, NOTE, read_roots(authority.roots)).authority == "Clock of the Observatory"
    for wrong in (
        {"attributes": older, "names": bytes(20)},
        {"attributes": (*older, "signing_certificate_v2"), "names": bytes(32)},
    ):
        with pytest.raises(SignatureError, match="does not name the one certificate"):
            read_time_stamp(replace(authority, **wrong).stamp(NOTE, PUBLISHED), NOTE, read_roots(authority.roots))  # type: ignore[arg-type]  # fields of several types
    both = replace(authority, attributes=(*older, "signing_certificate_v2")).stamp(NOTE, PUBLISHED)
    assert read_time_stamp(both, NOTE, read_roots(authority.roots)).authority == "Clock of the Observatory"


@pytest.mark.parametrize(
    ("organisation", "shown"),
    [
        ("Observatory of Lyon", "Observatory of Lyon"),
        (" ", "an authority without a name"),
        ("x" * 64, "x" * 64),
    ],
)
def test_an_authority_without_a_common_name_is_called_by_its_subject(
    authority: Authority, organisation: str, shown: str
) -> None:
    roots, named = read_roots(authority.roots), replace(authority, organisation=organisation)
    nameless = replace(named, nameless=True)
    assert read_time_stamp(nameless.stamp(NOTE, PUBLISHED), NOTE, roots).authority == shown
    assert read_time_stamp(named.stamp(NOTE, PUBLISHED), NOTE, roots).authority == "Clock of the Observatory"


def test_words_of_others_have_80_characters_at_most() -> None:
    assert one_line("x" * 80) == "x" * 80
    assert one_line("x" * 81) == "x" * 79 + "…"


@pytest.mark.parametrize(
    ("stated", "seconds"), [({"millis": 500}, 1), ({"micros": 1}, 1), ({"seconds": 2, "millis": 1}, 3), (None, 0)]
)
def test_an_accuracy_may_have_any_of_its_parts(
    authority: Authority, stated: dict[str, int] | None, seconds: int
) -> None:
    stamp = authority.stamp(NOTE, PUBLISHED, accuracy=stated)
    assert read_time_stamp(stamp, NOTE, read_roots(authority.roots)).accuracy == seconds


def test_an_authority_that_may_be_off_by_years_shows_no_day(plain: SmallSession, authority: Authority) -> None:
    stamp = authority.stamp(checkpoint_of(plain), PUBLISHED, accuracy={"seconds": 400 * 86400})
    _, line = judged(plain, GivenStamp(stamp, authority.roots))
    assert (line.status.value, "400 days after" in line.sentence) == ("NOT PROVEN", True)


def test_names_and_reasons_of_others_stay_on_their_line(plain: SmallSession) -> None:
    """Else a name could print a line of its own: PASS, and anything behind it."""
    liar = Authority(name="Notary”\nV62              PASS        \x1b[1A" + "x" * 10)
    _, line = judged(plain, GivenStamp(liar.stamp(checkpoint_of(plain), PUBLISHED), liar.roots))
    assert line.sentence.startswith("“Notary' V62 PASS \N{REPLACEMENT CHARACTER}[1A" + "x" * 10 + "” attests")
    _, told = judged(plain, GivenStamp(refusal("no\nV63 PASS " + "y" * 500), liar.roots))
    assert "\n" not in told.sentence
    assert len(told.sentence) < 200
    assert "(" not in told.sentence
    assert told.sentence.endswith("…”.")
    assert "status 2, it says no reason." in judged(plain, GivenStamp(refusal(""), liar.roots))[1].sentence


def test_a_stamp_has_a_largest_size(authority: Authority) -> None:
    for size, words in ((MAX_STAMP_BYTES, "expected the answer"), (MAX_STAMP_BYTES + 1, "has more than the")):
        with pytest.raises(FormatError, match=words):
            read_time_stamp(bytes(size), NOTE, read_roots(authority.roots))


def test_a_signature_that_does_not_hold_is_told_in_our_words(authority: Authority) -> None:
    stamp = authority.stamp(NOTE, PUBLISHED)
    with pytest.raises(SignatureError, match=r"vouches for it: its signature does not hold$"):
        read_time_stamp(stamp[:-1] + bytes([stamp[-1] ^ 1]), NOTE, read_roots(authority.roots))


def test_a_token_alone_and_one_with_modifications_are_stamps_as_well(authority: Authority) -> None:
    """The signature covers the token; the answer around it is signed by nobody."""
    roots, answer = read_roots(authority.roots), authority.stamp(NOTE, PUBLISHED)
    honest = read_time_stamp(answer, NOTE, roots)
    token = tsp.TimeStampResp.load(answer)["time_stamp_token"]
    assert read_time_stamp(token.dump(), NOTE, roots) == honest
    for data in (answer + b"x", token.dump() + b"x", answered(token, "granted_with_mods") + b"x"):
        with pytest.raises(FormatError, match="expected the answer"):
            read_time_stamp(data, NOTE, roots)
    assert read_time_stamp(answered(token, "granted_with_mods"), NOTE, roots) == honest
    for status in ("rejection", "waiting", "revocation_notification"):
        with pytest.raises(FormatError, match="holds no time stamp: status"):
            read_time_stamp(answered(token, status), NOTE, roots)
    with pytest.raises(SignatureError):
        read_time_stamp(Authority().stamp(NOTE, PUBLISHED)[9:], NOTE, roots)


def answered(token: cms.ContentInfo, status: str) -> bytes:
    encoded: bytes = tsp.TimeStampResp({"status": {"status": status}, "time_stamp_token": token}).dump()
    return encoded


def test_a_digest_that_collides_is_not_accepted(authority: Authority) -> None:
    imprint = {"hash_algorithm": {"algorithm": "sha1"}, "hashed_message": bytes(20)}
    stamp = authority.stamp(NOTE, PUBLISHED, message_imprint=imprint)
    with pytest.raises(FormatError, match="not accepted"):
        read_time_stamp(stamp, NOTE, read_roots(authority.roots))


def test_no_byte_of_a_stamp_can_be_changed_so_that_it_says_something_else(authority: Authority) -> None:
    roots, good = read_roots(authority.roots), authority.stamp(NOTE, PUBLISHED)
    honest = read_time_stamp(good, NOTE, roots)
    outcomes: Counter[str] = Counter()
    for place in range(len(good)):
        for data in (good[:place], good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]):
            try:
                assert read_time_stamp(data, NOTE, roots) == honest
                outcomes["the same"] += 1
            except VdbError as error:
                outcomes[type(error).__name__] += 1
    assert outcomes["SignatureError"] > 200
    assert outcomes["the same"] < 20, "some bytes beside what is signed are of no meaning"


def test_a_question_holds_no_more_than_a_digest_and_its_answer_must_repeat_its_number(authority: Authority) -> None:
    one, other = ask(NOTE), ask(NOTE)
    fields = tsp.TimeStampReq.load(one.data)
    assert set(fields.native) == {"version", "message_imprint", "req_policy", "nonce", "cert_req", "extensions"}
    assert (fields["extensions"].native, len(one.data) < 110, fields["cert_req"].native) == (None, True, True)
    assert (fields["nonce"].native, one.nonce != other.nonce) == (one.nonce, True)
    check_answer(authority.answer(one.data, PUBLISHED), one, NOTE)
    with pytest.raises(UsageError, match="another question"):
        check_answer(authority.answer(other.data, PUBLISHED), one, NOTE)
    with pytest.raises(UsageError, match="something else"):
        check_answer(authority.answer(one.data, PUBLISHED), one, b"other")
