"""Revoked keys in an audit: what they signed before stays valid, a session that was sealed after is refused.

The adversary holds the key of an institution that was revoked. With the coordinator on its side, which uses an old roster
once more, every signature in a bundle is genuine and every number right: nothing but the log tells.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from testkit.bundles import Past, SmallSession, logged, small_session, witnesses_of
from testkit.logs import MadeLog
from testkit.statements import INSTITUTIONS
from vdb_shared.audit.monitor import Monitored, monitor
from vdb_shared.audit.report import Line, Report, Status, Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.logged import RevocationReason, RevokedRecord, encode_record, parse_record
from vdb_shared.bundle.record import RESULT_PROOF
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import Checkpoint
from vdb_shared.transparency.tiles import Fetch

VICTIM = "lab-kyoto"
EVERYBODY = range(5)
LONG_AGO = "2001-01-01T00:00:00Z"
IN_A_CENTURY = "2126-01-01T00:00:00Z"


def revocation(key: str | None = None, reason: RevocationReason = "compromised", revoked: str = LONG_AGO) -> bytes:
    """Return the entry of a revocation of the victim's key, or of another one."""
    key = key or key_of(small_session())
    return encode_record(RevokedRecord(institution=VICTIM, key=key, reason=reason, revoked=revoked, salt="0" * 64))


def key_of(session: SmallSession) -> str:
    return parse_roster(session.record.roster.roster).member(VICTIM).public_key.key_id


def serving(files: Mapping[str, bytes]) -> Fetch:
    return lambda path: files[path]


def audited(session: SmallSession, log: MadeLog, data: bytes | None = None) -> tuple[Report, Line]:
    """Return the report of a bundle beside a log, and its line about revoked keys."""
    report = verify(data or session.bundle(), root=session.root, fetch=serving(log.files()))
    return report, next(line for line in report.lines if line.id == "V65")


def longer(log: MadeLog, *entries: bytes) -> MadeLog:
    return MadeLog(log.consortium, log.signer, [*log.entries, *entries])


def test_a_stolen_key_signs_a_new_session_and_only_the_log_tells() -> None:
    session = small_session(past=Past(entries=(revocation(),)))
    without = verify(session.bundle(), root=session.root)
    assert without.verdict is Verdict.PASS, "the attack: every signature is genuine"
    report, line = audited(session, logged(session))
    assert report.verdict is Verdict.FAIL
    assert report.first_failure == line
    assert line.detail == (
        f"the key of {VICTIM} was revoked in entry 0 of the log (compromised), and the session was opened after that."
    )


@pytest.mark.parametrize("revoked", [LONG_AGO, IN_A_CENTURY])
def test_what_counts_is_the_place_in_the_log_and_no_clock(revoked: str) -> None:
    session = small_session(past=Past(entries=(revocation(revoked=revoked),)))
    assert audited(session, logged(session))[0].verdict is Verdict.FAIL
    after = small_session()
    assert audited(after, longer(logged(after), revocation(revoked=revoked)))[0].verdict is Verdict.PASS


def test_a_session_that_was_open_already_must_not_be_sealed_with_a_revoked_key() -> None:
    session = small_session(past=Past(meanwhile=(revocation(reason="left"),)))
    report, line = audited(session, logged(session))
    assert report.first_failure == line
    assert "revoked in entry 1 of the log (left), and the session was sealed after that" in line.detail


def test_what_was_signed_before_the_revocation_stays_valid(plain: SmallSession) -> None:
    report, line = audited(plain, longer(logged(plain), revocation(key_of(plain))))
    assert (report.verdict, line.status) == (Verdict.PASS, Status.PASS)
    assert f"Revoked since: {VICTIM} (compromised, entry 2); what was signed before stays valid." in line.sentence


def test_a_key_that_was_revoked_while_the_session_ran_is_told_and_not_proven(plain: SmallSession) -> None:
    opened, result = logged(plain).entries
    log = MadeLog("testbed", plain.coordinator, [opened, revocation(key_of(plain)), result])
    proof = log.proof(2, witnesses_of(plain.seed, (0, 1, 3, 4))).to_bytes()
    report, line = audited(plain, log, plain.edited({RESULT_PROOF: proof}))
    assert (report.verdict, line.status) == (Verdict.PASS, Status.NOT_PROVEN)
    assert f"keys were revoked: {VICTIM} (compromised, entry 1)" in line.sentence


def test_another_key_of_the_same_institution_does_not_matter() -> None:
    """It was revoked, and came back with a new key, which is the one in this session's roster."""
    session = small_session(past=Past(entries=(revocation(key="0" * 64),)))
    report, line = audited(session, logged(session))
    assert (report.verdict, line.status) == (Verdict.PASS, Status.PASS)


def test_the_coordinators_own_key_counts_too() -> None:
    key = small_session().coordinator.public_key.key_id
    session = small_session(past=Past(entries=(revocation(key=key),)))
    assert audited(session, logged(session))[0].verdict is Verdict.FAIL


def test_without_the_log_nothing_is_said_and_an_older_copy_says_nothing() -> None:
    session = small_session(past=Past(entries=(revocation(),)))
    line = next(line for line in verify(session.bundle(), root=session.root).lines if line.id == "V65")
    assert line.status is Status.NOT_PROVEN
    assert "with --log" in line.sentence
    older = MadeLog("testbed", session.coordinator, logged(session).entries[:1])
    report, line = audited(session, older)
    assert (report.verdict, line.status) == (Verdict.INCOMPLETE, Status.SKIPPED)


def test_a_revocation_has_one_encoding() -> None:
    entry = revocation()
    assert encode_record(parse_record(entry)) == entry
    for wrong in (
        entry.replace(b'"compromised"', b'"bored"'),
        entry.replace(b'"key":"', b'"key":"A'),
        entry.replace(b'"version"', b'"session":"x","version"'),
        entry + b" ",
    ):
        with pytest.raises(FormatError):
            parse_record(wrong)


# What monitors say.


def read(entries: list[bytes]) -> Monitored:
    return monitor(Checkpoint("testbed/vdb-log", len(entries), bytes(32)), entries, "2026-03-01T00:00:00Z")


def test_monitors_list_revocations_and_ask_about_results_that_name_the_institution_later(plain: SmallSession) -> None:
    assert VICTIM in INSTITUTIONS
    opened, result = logged(plain).entries
    session = plain.record.open.payload_digest
    for entries, later, under_way in (
        ([revocation(), opened, result], (session,), ()),
        ([opened, revocation(), result], (), (session,)),
        ([opened, result, revocation()], (), ()),
    ):
        found = read(entries)
        assert not found.wrong
        assert not found.alarming
        (item,) = found.revocations
        assert (item.institution, item.reason, item.index) == (VICTIM, "compromised", entries.index(revocation()))
        assert (item.opened_later, item.under_way) == (later, under_way)
        assert len(found.remarks) == len(later) + len(under_way)
        assert found.to_json()["revocations"] == [item.to_json()]
    assert "audit the bundle, which names the key (V65)" in read([revocation(), opened, result]).remarks[0]


def test_an_institution_that_is_not_in_the_result_raises_no_question(plain: SmallSession) -> None:
    opened, result = logged(plain).entries
    other = revocation().replace(b"lab-kyoto", b"lab-osaka")
    assert not read([other, opened, result]).remarks


# What is said, word for word, of an institution whose records are nobody's.


def placed(kind: str, session: str, **fields: object) -> bytes:
    """Return the entry of an opening or a result of a made-up session."""
    said: dict[str, object] = {"kind": f"session-{kind}", "session": session, "version": "vdb-log/1"}
    return canonical_json(said | fields)


def ran(session: str, *survivors: str) -> tuple[bytes, bytes]:
    """Return the entries of a made-up session's opening and of its result."""
    times = {"opened": "2026-02-01T12:00:00Z", "due": "2026-02-01T13:00:00Z"}
    spec = {"spec": session, "roster": session}
    spent = {"rho": "0.5", "delta": "0.000001", "published": "2026-02-01T12:30:00Z"}
    return (
        placed("opened", session, **times, **spec),
        placed("published", session, result=session, survivors=list(survivors), **spent),
    )


def test_what_to_ask_after_a_revocation_is_said_in_full() -> None:
    later, during, before = (f"sha256:{digit * 64}" for digit in "123")
    key = "0123456789abcdef" * 4
    entries = [
        *ran(before, VICTIM),
        ran(during, "lab-osaka", VICTIM)[0],
        revocation(key, "left"),
        ran(during, "lab-osaka", VICTIM)[1],
        *ran(later, VICTIM, "lab-osaka"),
    ]
    found = read(entries)
    named = f"the key 0123456789abcdef… of {VICTIM} was revoked (entry 3, left), and {VICTIM} is in its result: "
    assert found.remarks == (
        f"session {later} was opened after {named}audit the bundle, which names the key (V65)",
        f"session {during} was under way when {named}its part may have been signed before",
    )
    assert [item.to_json() for item in found.revocations] == [
        {
            "index": 3,
            "institution": VICTIM,
            "key": key,
            "reason": "left",
            "revoked": LONG_AGO,
            "opened_later": [later],
            "under_way": [during],
        }
    ]
