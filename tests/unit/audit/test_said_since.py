"""What is said of a result since it was published, one question at a time: who is believed, and in what order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from testkit.consortium import signer
from testkit.disputed import SEAT
from testkit.evidence import golden_evidence
from testkit.golden import FOLDER, golden_withdrawal
from testkit.said import digest, standing
from testkit.statements import COORDINATOR, INSTITUTIONS, coordinator_key, sign
from vdb_shared.audit.entries import Fault, LoggedObjection
from vdb_shared.audit.monitor import LoggedSession, Monitored
from vdb_shared.audit.standing import Objected, Published, Successor, Withdrawn, standing_of
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import ObjectionRecord, WithdrawalRecord
from vdb_shared.bundle.objections import Objection, Withdrawal
from vdb_shared.transparency.checkpoint import Checkpoint


def logged(number: int, state: str = "published", /, **parts: Any) -> LoggedSession:
    fields: dict[str, Any] = {"session": digest(number), "spec": digest(5), "opened": "", "ended": "", "statement": ""}
    return LoggedSession(**fields | {"state": state} | parts)


def taken_back(number: int, successor: int | None = None) -> WithdrawalRecord:
    return WithdrawalRecord(
        session=digest(number),
        result=digest(900),
        withdrawal=digest(901),
        superseded_by=None if successor is None else digest(successor),
        withdrawn="2026-02-03T12:00:00Z",
        salt="0" * 64,
    )


def log_of(*sessions: LoggedSession, faults: tuple[Fault, ...] = ()) -> Monitored:
    return Monitored(Checkpoint("testbed/vdb-log", 9, bytes(32)), sessions, (), faults, (), ())


def result(number: int = 1) -> Published:
    return Published(digest(number), digest(900), golden_evidence("disputed").roster, "")


def disputed() -> Published:
    """Return the golden result that is objected to."""
    evidence = golden_evidence("disputed")
    return Published(evidence.record.open.payload_digest, evidence.result_envelope.payload_digest, evidence.roster, "")


def stated() -> dict[str, bytes]:
    """Return the signed objections and the withdrawal of the golden result that is objected to."""
    return {file.name: file.read_bytes() for file in (FOLDER / "disputed" / "statements").iterdir()}


def objected(when: str, session: str = "") -> Envelope:
    """Return another objection of the same institution to that result."""
    about = disputed()
    said = Objection(
        session=session or about.session,
        result=about.result,
        objector=INSTITUTIONS[SEAT],
        reason="data",
        text="X.",
        objected=when,
    )
    return sign(said, signer("golden", SEAT))


def withdrawn(when: str, reason: str, superseded_by: str | None = None, session: str = "") -> Envelope:
    """Return another withdrawal of that result."""
    about = disputed()
    said = Withdrawal(
        session=session or about.session,
        result=about.result,
        reason=reason,
        superseded_by=superseded_by,
        withdrawn=when,
    )
    return sign(said, coordinator_key("golden"))


def test_files_alone_are_believed_in_the_order_of_their_own_times() -> None:
    """Objections by when they were made, the earliest withdrawal: whatever the names of the files."""
    found = standing_of(disputed(), None, stated())
    assert (found.read, found.supersedes, found.faults, found.successors) == (False, "", (), ())
    assert {(item.reason, item.logged) for item in found.objections} == {("model", ""), ("figures", "")}
    assert [item.statement for item in found.objections] == sorted(item.statement for item in found.objections)
    known = found.withdrawn
    assert known is not None
    assert (known.at, known.logged, known.superseded_by) == ("2026-02-03T10:00:00Z", False, "")
    assert known.statement == Envelope.from_json(golden_withdrawal().read_bytes()).payload_digest
    assert known.reason == "A site measured clips of another model."
    assert (found.further, found.unreadable) == ((), ())


def test_an_earlier_objection_and_an_earlier_withdrawal_come_first() -> None:
    digests = {}
    files = dict(stated())
    for place, when in enumerate(("2026-02-02T08:00:00Z", "2026-02-02T10:00:00Z")):
        envelope = objected(when)
        digests[when] = envelope.payload_digest
        files[f"{place}.dsse.json"] = envelope.to_json()
    earlier = withdrawn("2026-02-03T09:00:00Z", "Sooner.", superseded_by=digest(4))
    later = withdrawn("2026-02-03T11:00:00Z", "Later.")
    files |= {"a.dsse.json": later.to_json(), "b.dsse.json": earlier.to_json()}
    found = standing_of(disputed(), None, files)
    assert not found.refused
    shown = [item.statement for item in found.objections]
    assert (shown[0], shown[-1]) == (digests["2026-02-02T08:00:00Z"], digests["2026-02-02T10:00:00Z"])
    assert found.withdrawn is not None
    assert (found.withdrawn.reason, found.withdrawn.superseded_by) == ("Sooner.", digest(4))
    assert [item.reason for item in found.further] == ["A site measured clips of another model.", "Later."]
    assert not any(item.logged for item in found.further)


def test_what_says_nothing_about_this_result_is_named_and_not_counted() -> None:
    files = {
        "a": b"{}",
        "b": objected("2026-02-02T08:00:00Z", digest(7)).to_json(),
        "c": withdrawn("2026-02-03T10:00:00Z", "Broken.", session=digest(7)).to_json(),
    }
    found = standing_of(disputed(), None, files)
    assert (found.objections, found.withdrawn) == ((), None)
    expected = disputed().session
    assert found.refused == {
        "a": "not a DSSE envelope with payload, payloadType and signatures",
        "b": f"this objection is about another session: {digest(7)}, expected {expected}",
        "c": f"this withdrawal is about another session: {digest(7)}, expected {expected}",
    }


def test_of_two_withdrawals_of_one_moment_the_one_with_the_smaller_digest_counts() -> None:
    several = [withdrawn("2026-02-03T10:00:00Z", f"Reason {number}.") for number in range(4)]
    for order in (several, several[::-1]):
        files = {f"{place}.dsse.json": item.to_json() for place, item in enumerate(order)}
        found = standing_of(disputed(), None, files)
        assert found.withdrawn is not None
        shown = [item.statement for item in (found.withdrawn, *found.further)]
        assert shown == sorted(item.payload_digest for item in several)


def test_the_log_and_the_files_are_joined_by_digest_and_name() -> None:
    about, files = disputed(), stated()
    signed = standing_of(about, None, files)
    pairs = [(item.statement, name) for item in signed.objections for name in (item.objector, "museum-lima")]
    records = tuple(
        LoggedObjection(
            index,
            ObjectionRecord(
                session=about.session,
                result=about.result,
                objector=objector,
                objection=statement,
                received="2026-02-02T09:30:00Z",
                salt="0" * 64,
            ),
        )
        for index, (statement, objector) in enumerate(pairs, 4)
    )
    known = signed.withdrawn
    assert known is not None
    record = WithdrawalRecord(
        session=about.session,
        result=about.result,
        withdrawal=known.statement,
        superseded_by=digest(8),
        withdrawn="2026-02-03T10:00:01Z",
        salt="0" * 64,
    )
    session = logged(0, session=about.session, objections=records, withdrawal=record)
    found = standing_of(about, log_of(session), files)
    (first, foreign, second, other) = found.objections
    for entry, shown, told in zip((4, 6), (first, second), signed.objections, strict=True):
        assert shown == Objected(told.objector, told.statement, "2026-02-02T09:30:00Z", told.reason, told.text, entry)
    for entry, shown, told in zip((5, 7), (foreign, other), signed.objections, strict=True):
        doubt = f"the statement that the log names is signed by {told.objector}"
        assert shown == Objected("museum-lima", told.statement, "2026-02-02T09:30:00Z", entry=entry, doubt=doubt)
    assert found.counted == (first, second)
    assert found.withdrawn == Withdrawn("2026-02-03T10:00:01Z", known.statement, True, known.reason, digest(8))
    assert found.further == ()
    assert found.faults == (
        "when the result was withdrawn: 2026-02-03T10:00:01Z as its entry says, 2026-02-03T10:00:00Z as the coordinator signed",
        f"for which session the result was withdrawn: {digest(8)} as its entry says, none as the coordinator signed",
    )
    unnamed = logged(0, session=about.session, withdrawal=record.model_copy(update={"superseded_by": None}))
    bare = standing_of(about, log_of(unnamed), {}).withdrawn
    assert bare is not None
    assert bare.superseded_by == ""
    alone = standing_of(about, log_of(session), {})
    assert alone.withdrawn == Withdrawn("2026-02-03T10:00:01Z", known.statement, True, "", digest(8))
    assert alone.faults == (), "nothing is at hand that the entry could contradict"
    assert all((item.text, item.doubt) == ("", "") for item in alone.objections), "what the log alone names"
    for name in ("nobody-here", COORDINATOR):
        strange = LoggedObjection(4, records[0].record.model_copy(update={"objector": name}))
        nobody = standing_of(about, log_of(logged(0, session=about.session, objections=(strange,))), {})
        assert [item.doubt for item in nobody.objections] == [
            "the session's roster has no participant or auditor of this name"
        ]
        assert (nobody.counted, nobody.mark) == ((), "")
    silent = standing_of(about, log_of(logged(0, session=about.session)), files)
    assert [(item.objector, item.logged, item.text) for item in silent.objections] == [
        (item.objector, "", item.text) for item in signed.objections
    ]
    assert silent.withdrawn == known


def test_an_entry_that_leaves_out_what_replaces_the_result_contradicts_the_statement() -> None:
    about, signed = disputed(), withdrawn("2026-02-03T12:00:00Z", "Broken.", superseded_by=digest(4))
    record = taken_back(0).model_copy(update={"session": about.session, "withdrawal": signed.payload_digest})
    found = standing_of(
        about, log_of(logged(0, session=about.session, withdrawal=record)), {"a.dsse.json": signed.to_json()}
    )
    assert found.faults == (
        f"for which session the result was withdrawn: none as its entry says, {digest(4)} as the coordinator signed",
    )


def test_of_a_log_that_names_one_withdrawal_the_others_that_were_signed_are_further_ones() -> None:
    about, known = disputed(), standing_of(disputed(), None, stated()).withdrawn
    assert known is not None
    record = taken_back(0).model_copy(update={"session": about.session, "withdrawal": known.statement})
    earlier = withdrawn("2026-02-03T09:00:00Z", "Sooner.", superseded_by=digest(4))
    files = stated() | {"earlier.dsse.json": earlier.to_json()}
    found = standing_of(about, log_of(logged(0, session=about.session, withdrawal=record)), files)
    assert found.withdrawn == Withdrawn(record.withdrawn, known.statement, True, known.reason, "")
    assert found.further == (Withdrawn("2026-02-03T09:00:00Z", earlier.payload_digest, False, "Sooner.", digest(4)),)


def test_entries_that_cannot_be_read_may_be_about_any_result() -> None:
    log = replace(log_of(logged(1)), unreadable=(3, 5))
    assert standing_of(result(), log, {}).unreadable == (3, 5)
    assert standing_of(result(7), log, {}).unreadable == (3, 5)


def test_of_the_logs_faults_only_those_count_that_are_of_this_result_and_of_what_came_after_it() -> None:
    faults = (
        Fault(digest(1), "entry 3: said of it", afterwards=True),
        Fault(digest(1), "entry 4: opened again"),
        Fault(digest(2), "entry 5: said of another", afterwards=True),
        Fault(digest(2), "entry 6: another ends again"),
    )
    assert standing_of(result(), log_of(logged(1), faults=faults), {}).faults == ("entry 3: said of it",)


def test_successors_are_followed_each_once_and_never_back_to_the_result() -> None:
    sessions = (
        logged(1, successors=(digest(2), digest(3), digest(9))),
        logged(2, "aborted", successors=(digest(4), digest(1))),
        logged(3, successors=(digest(4), digest(2)), withdrawal=taken_back(3)),
        logged(4, "open", successors=(digest(1), digest(2))),
    )
    found = standing_of(result(), log_of(*sessions), {})
    assert found.successors == (
        Successor(digest(2), "aborted", False),
        Successor(digest(3), "published", True),
        Successor(digest(4), "open", False),
    )
    assert standing_of(result(7), log_of(*sessions), {}).successors == ()


def test_the_mark_is_the_worst_that_was_said() -> None:
    objected, replaced = Objected("lab-kyoto", digest(1)), Successor(digest(2), "published", False)
    doubted = replace(objected, doubt="its key was revoked")
    taken = Withdrawn("", "", True, "", "")
    for parts, mark in (
        ({}, ""),
        ({"objections": (objected,)}, "objected to"),
        ({"objections": (doubted,)}, ""),
        ({"objections": (doubted, objected)}, "objected to"),
        ({"unreadable": (3,)}, ""),
        ({"objections": (objected,), "successors": (replaced,)}, "superseded"),
        ({"successors": (Successor(digest(2), "open", False),)}, ""),
        ({"objections": (objected,), "successors": (replaced,), "withdrawn": taken}, "withdrawn"),
    ):
        assert standing(**parts).mark == mark


def test_json_has_every_field() -> None:
    objected = Objected(
        "lab-kyoto", digest(1), "2026-02-02T09:00:05Z", "model", "Our driver was broken.", 7, "its key was revoked"
    )
    found = standing(
        objections=(objected,),
        withdrawn=Withdrawn("2026-02-03T10:00:00Z", digest(3), True, "Broken.", digest(4)),
        further=(Withdrawn("2026-02-03T11:00:00Z", digest(8), False, "Again.", ""),),
        successors=(Successor(digest(4), "open", False),),
        supersedes=digest(6),
        refused={"a.dsse.json": "not a DSSE envelope"},
        faults=("entry 3: is logged again",),
        unreadable=(5, 6),
    )
    assert found.to_json() == {
        "log_read": True,
        "mark": "withdrawn",
        "objections": [
            {
                "objector": "lab-kyoto",
                "statement": digest(1),
                "logged": "2026-02-02T09:00:05Z",
                "reason": "model",
                "text": "Our driver was broken.",
                "entry": 7,
                "doubt": "its key was revoked",
            }
        ],
        "withdrawn": {
            "at": "2026-02-03T10:00:00Z",
            "statement": digest(3),
            "logged": True,
            "reason": "Broken.",
            "superseded_by": digest(4),
        },
        "further_withdrawals": [
            {
                "at": "2026-02-03T11:00:00Z",
                "statement": digest(8),
                "logged": False,
                "reason": "Again.",
                "superseded_by": "",
            }
        ],
        "successors": [{"session": digest(4), "state": "open", "withdrawn": False}],
        "supersedes": digest(6),
        "refused": {"a.dsse.json": "not a DSSE envelope"},
        "faults": ["entry 3: is logged again"],
        "unreadable_entries": [5, 6],
    }
    empty = standing(read=False).to_json()
    assert (empty["log_read"], empty["withdrawn"], empty["mark"]) == (False, None, "")
