"""What the vectors call bad is refused, by whom they say, with the blame they say; all else of the session is good."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature

from testkit import oracle
from testkit.replay import Json, Replay, by_seat, load, parameters_of, signed, with_changes
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingUnmasking,
    Complained,
    ConsistencySigned,
    Failed,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Phase,
    SharesRevealed,
    receive,
)
from vdb_participant.rounds import agree, commit_input, complain, mask_input, reveal, share_keys
from vdb_shared import errors
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.encoding import ring_from_bytes
from vdb_shared.secagg.messages import ConsistencyStatement, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart, verify_restart

KEYS, SHARING, MASKING, UNMASKING, RESTART = (
    load(f"{name}.json")
    for name in ("keys-and-transcripts", "sharing", "masking", "consistency-and-unmasking", "restart")
)
SURVIVORS = [0, 2, 6]
ROUND_FAULTS = [
    *[case | {"round": 0} for case in KEYS["bad"]],
    *[case | {"round": 1} for case in SHARING["bad"]],
    *[case | {"round": 2} for case in MASKING["bad"]],
    *UNMASKING["bad"],
]
GOOD_SUM, *BAD_SUMS = UNMASKING["bad_sums"]


def refusals(cases: list[Json]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("case", "receiver", "blamed"),
        [
            pytest.param(
                case, receiver, blamed, id=f"{case.get('round', '')}{case['name']}-{receiver.replace(' ', '')}"
            )
            for case in cases
            for receiver, blamed in case["refused_by"].items()
        ],
    )


def error_of(case: Json, receiver: str) -> type[errors.VdbError]:
    name = case["error"] if isinstance(case["error"], str) else case["error"][receiver]
    found: type[errors.VdbError] = getattr(errors, name)
    return found


def assert_refused(act: Callable[[], object], case: Json, receiver: str, blamed: str) -> None:
    with pytest.raises(errors.VdbError) as caught:
        act()
    assert type(caught.value) is error_of(case, receiver), caught.value
    if blamed:
        assert isinstance(caught.value, errors.ProtocolError)
        assert caught.value.peer == blamed


@cache
def session() -> Replay:
    return Replay(KEYS, SHARING, MASKING).agree(SURVIVORS)


@cache
def whole_session() -> Replay:
    return Replay(KEYS, SHARING, MASKING).agree([0, 2, 3, 6])


def changed(good: dict[Seat, Signed], case: Json) -> dict[Seat, Signed]:
    changes = case["changes"].get("messages", {})
    return with_changes(good, {seat: entry and signed(entry) for seat, entry in changes.items()})


def sender_of(case: Json) -> Seat:
    """Return whose message a case changes."""
    (seat,) = {seat for change in case["changes"].values() for seat in change}
    return int(seat)


@refusals(ROUND_FAULTS)
def test_refused(case: Json, receiver: str, blamed: str) -> None:
    if receiver == "coordinator":
        phase, message = at_coordinator(case)
        assert_refused(lambda: receive(phase, message), case, receiver, blamed)
    else:
        seat = int(receiver.removeprefix("seat "))
        assert_refused(lambda: at_participant(case, seat), case, receiver, blamed)


def at_coordinator(
    case: Json,
) -> tuple[Phase, KeysAdvertised | KeysShared | InputMasked | ConsistencySigned | SharesRevealed]:
    """Return the coordinator as it waits for a message, having those of lower seats, and the message."""
    good, seat, changes = session(), sender_of(case), case["changes"]
    match case["round"]:
        case 0:
            lower = [other for other in good.seats if other < seat]
            return good.at_keys(lower), KeysAdvertised(seat, changed(good.round0, case)[seat])
        case 1:
            lower = [other for other in good.seats if other < seat]
            pairs = with_changes(
                good.sealed[seat],
                {to: pair and bytes.fromhex(pair) for to, pair in changes.get("sealed", {}).get(str(seat), {}).items()},
            )
            return good.at_shares(lower), KeysShared(seat, changed(good.round1, case)[seat], pairs)
        case 2:
            played = replayed(case)
            masked = changes.get("masked", {}).get(str(seat))
            data = played.uploads[seat] if masked is None else bytes.fromhex(masked)
            lower = [other for other in played.seats if other < seat]
            return played.at_inputs(lower), InputMasked(seat, changed(played.round2, case)[seat], data)
        case 3:
            lower = [other for other in SURVIVORS if other < seat]
            signature = bytes.fromhex(changes["signatures"][str(seat)])
            return good.at_signatures(SURVIVORS, lower), ConsistencySigned(seat, signature)
        case _:
            unmasking = {other: shares for other, shares in revealed().items() if other < seat}
            phase = good.at_signatures(SURVIVORS, SURVIVORS)
            for other, shares in unmasking.items():
                phase = receive(phase, SharesRevealed(other, shares))
            assert isinstance(phase, CollectingUnmasking)
            return phase, SharesRevealed(seat, changed(revealed(), case)[seat])


def replayed(case: Json) -> Replay:
    """Return the session up to round 2, with the round-1 headers that a case puts in place of honest ones."""
    instead = {seat: signed(entry) for seat, entry in by_seat(case["changes"].get("shared", {})).items()}
    return Replay(KEYS, SHARING, MASKING, instead).mask() if instead else session()


def revealed() -> dict[Seat, Signed]:
    entries = UNMASKING["sessions"][0]["revealed"]
    return {seat: signed(entry) for seat, entry in by_seat(entries).items()}


def at_participant(case: Json, seat: Seat) -> None:
    """Show a participant the changed messages of a round."""
    good, changes = session(), case["changes"]
    match case["round"]:
        case 0:
            fresh = bytes.fromhex(SHARING["participants"][str(seat)]["entropy"])
            share_keys(good.advertised[seat], changed(good.round0, case), fresh, good.committed[seat].commitments)
        case 1 if "lanes" in changes:
            fresh = bytes.fromhex(SHARING["participants"][str(seat)]["committed"]["entropy"])
            commit_input(good.parameters, np.array(changes["lanes"], dtype=np.int64), fresh)
        case 1:
            arrived = {
                dealer: pairs[str(seat)] for dealer, pairs in changes.get("sealed", {}).items() if str(seat) in pairs
            }
            delivered = {dealer: pair and bytes.fromhex(pair) for dealer, pair in arrived.items()}
            sealed = with_changes(good.sealed_for(seat), delivered)
            mask_input(good.shared[seat], changed(good.round1, case), sealed, good.committed[seat])
        case 2:
            played = replayed(case)
            agree(played.masked[seat], changed(played.round2, case))
        case _:
            good = whole_session() if case.get("session") == "all stay" else good
            signatures = {signer: message.signature for signer, message in good.round3.items()}
            others = {signer: data and bytes.fromhex(data) for signer, data in changes["signatures"].items()}
            reveal(good.agreed[seat], with_changes(signatures, others))


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case['round']}{case['name']}") for case in ROUND_FAULTS])
def test_bad_messages_are_signed_unless_that_is_the_fault(case: Json) -> None:
    """So that no case is refused for its signature that should be refused for something else."""
    names = ("advertise-keys", "share-keys", "masked-input", "consistency", "unmasking")
    unsigned = {"_bad_signature", "_bad_signed_for_another_round", "_bad_signed_by_another_seat", "_bad_unknown_seat"}
    for seat, entry in case["changes"].get("messages", {}).items():
        if entry is None:
            continue
        message = bytes.fromhex(entry["body"]), bytes.fromhex(entry["signature"])
        key = KEYS["parameters"]["roster"].get(seat)
        if case["name"] in unsigned:
            if key is not None:
                with pytest.raises(InvalidSignature):
                    oracle.verify(bytes.fromhex(key), oracle.round_type(names[case["round"]]), message)
        else:
            oracle.verify(bytes.fromhex(key), oracle.round_type(names[case["round"]]), message)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{case['kind']}{case['name']}") for case in UNMASKING["bad_bodies"]]
)
def test_bodies_that_are_refused_by_themselves(case: Json) -> None:
    decode = {"consistency": ConsistencyStatement.decode, "unmasking": UnmaskingShares.decode}[case["kind"]]
    with pytest.raises(errors.FormatError):
        decode(bytes.fromhex(case["body"]))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in [GOOD_SUM, *BAD_SUMS]])
def test_sums(case: Json) -> None:
    shown = GOOD_SUM | case
    commitments = [bytes.fromhex(data) for _, data in sorted(by_seat(shown["commitments"]).items())]
    totals = ring_from_bytes(bytes.fromhex(shown["encoded"]), KEYS["parameters"]["lanes"])
    blinders = [oracle.number(bytes.fromhex(blinder)) for blinder in shown["blinders"]]
    if "error" in case:
        with pytest.raises(errors.FormatError):
            commitments_open(commitments, totals, blinders)
    else:
        assert commitments_open(commitments, totals, blinders) == case["opens"]


ATTEMPTS = RESTART["attempts"]


def record(section: Json) -> Restart:
    advertised = {seat: signed(entry) for seat, entry in by_seat(section["advertised"]).items()}
    return Restart(advertised, section["complainer"], signed(section["complaint"]))


@cache
def attempt(number: int) -> Replay:
    return Replay(ATTEMPTS[number]["keys"], ATTEMPTS[number]["sharing"]).share()


def awaiting_inputs(number: int, known: Parameters) -> Phase:
    """Return the coordinator in round 2 of an attempt."""
    good = attempt(number)
    phase: Phase = CollectingKeys(known)
    for seat in good.seats:
        phase = receive(phase, KeysAdvertised(seat, good.round0[seat]))
    for seat in good.seats:
        phase = receive(phase, KeysShared(seat, good.round1[seat], good.sealed[seat]))
    assert isinstance(phase, CollectingMaskedInputs)
    return phase


@pytest.mark.parametrize("number", range(len(RESTART["restarts"])))
def test_restarts(number: int) -> None:
    written, good = RESTART["restarts"][number], attempt(number)
    shown = record(written["record"])
    t1, before = bytes.fromhex(ATTEMPTS[number]["keys"]["t1"]), good.parameters.session
    complainer, dealer = shown.complainer, shown.dealer
    assert shown.advertised == good.round0
    assert shown.complaint.body == oracle.fields(t1, oracle.u32(complainer), oracle.u32(dealer))
    seed = bytes.fromhex(ATTEMPTS[number]["keys"]["participants"][str(complainer)]["statement_seed"])
    assert shown.complaint.signature == oracle.sign(seed, oracle.round_type("complaint"), shown.complaint.body)
    following = oracle.h("restart", before, t1, oracle.u32(complainer), shown.complaint.body, shown.complaint.signature)
    assert written["session"] == following.hex()
    # The product: a pair that does not open leads to this complaint, and this complaint to the next attempt.
    sealed = good.sealed_for(complainer) | {dealer: bytes(80)}
    with pytest.raises(errors.UnusableShareError) as caught:
        mask_input(good.shared[complainer], good.round1, sealed, good.committed[complainer])
    assert caught.value.dealer == dealer
    assert complain(good.shared[complainer], dealer) == shown.complaint
    found = verify_restart(good.parameters, shown, "coordinator")
    assert found == parameters_of(ATTEMPTS[number + 1]["keys"]["parameters"])
    assert (found.session.hex(), sorted(found.left_out)) == (written["session"], written["left_out"])
    assert sorted(found.complained) == written["complained"]
    phase = awaiting_inputs(number, good.parameters)
    assert receive(phase, Complained(complainer, shown.complaint)) == CollectingKeys(found)


@refusals(RESTART["bad"])
def test_complaints_and_records_that_do_not_hold(case: Json, receiver: str, blamed: str) -> None:
    number, changes = case["attempt"], case["changes"]
    section = RESTART["restarts"][number]["record"] | {
        name: changes[name] for name in ("complaint", "complainer") if name in changes
    }
    advertised = section["advertised"] | changes.get("advertised", {})
    section["advertised"] = {seat: entry for seat, entry in advertised.items() if entry is not None}
    shown, good = record(section), attempt(number).parameters
    known = replace(
        good,
        smallest_cohort=changes.get("smallest_cohort", good.smallest_cohort),
        session=bytes.fromhex(changes.get("session", good.session.hex())),
    )
    if receiver == "reader":
        assert_refused(lambda: verify_restart(known, shown, "coordinator"), case, receiver, blamed)
        return
    phase, message = awaiting_inputs(number, known), Complained(shown.complainer, shown.complaint)
    if blamed:
        assert_refused(lambda: receive(phase, message), case, receiver, blamed)
    else:
        assert isinstance(receive(phase, message), Failed)


@refusals(RESTART["bad_in_last_attempt"])
def test_who_was_left_out_stays_out(case: Json, receiver: str, blamed: str) -> None:
    last, seat = attempt(len(ATTEMPTS) - 1), sender_of(case)
    returning = changed(last.round0, case)
    if receiver == "coordinator":
        phase = CollectingKeys(last.parameters)
        assert_refused(lambda: receive(phase, KeysAdvertised(seat, returning[seat])), case, receiver, blamed)
        return
    me = int(receiver.removeprefix("seat "))
    fresh = bytes.fromhex(last.sharing["participants"][str(me)]["entropy"])
    commitments = last.committed[me].commitments
    assert_refused(lambda: share_keys(last.advertised[me], returning, fresh, commitments), case, receiver, blamed)


def test_the_good_session_is_accepted() -> None:
    """What the bad cases are compared with: without a change nobody refuses anything."""
    assert isinstance(session().at_signatures(SURVIVORS, SURVIVORS[:-1]), CollectingConsistency)
    assert isinstance(session().at_signatures(SURVIVORS, SURVIVORS), CollectingUnmasking)
