from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import FormatError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import MAX_SEAT
from vdb_shared.secagg.restarts import Restart
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import (
    Phase,
    Receipt,
    SealedSession,
    SessionDetails,
    SessionStatus,
    SessionSummary,
    Shares,
    SiteStatus,
)

seats = st.integers(0, MAX_SEAT)
signed = st.builds(Signed, st.binary(min_size=1, max_size=50), st.binary(min_size=64, max_size=64))
statuses = st.builds(
    SessionStatus,
    st.sampled_from(Phase),
    st.integers(0, 2**40),
    st.text(max_size=20),
    st.lists(st.builds(SiteStatus, st.text(max_size=10), seats, st.text(max_size=10)), max_size=3).map(tuple),
    st.integers(0, 2**32 - 1),
)
restarts = st.builds(
    Restart,
    st.dictionaries(seats, signed, max_size=3),
    seats,
    signed,
)
DIGEST = "sha256:" + "ab" * 32


@given(st.dictionaries(seats, signed, max_size=5))
def test_signed_messages_survive_the_wire(messages: dict[int, Signed]) -> None:
    wire = [pb.SignedMessage.FromString(item.SerializeToString()) for item in convert.signed_set_to_wire(messages)]
    assert [item.seat for item in wire] == sorted(messages)
    assert convert.signed_set_from_wire(wire) == messages


@given(statuses)
def test_statuses_and_details_survive_the_wire(status: SessionStatus) -> None:
    details = SessionDetails(DIGEST, b"spec", b"open", SignedRoster((b"1", b"2"), b"targets", b"roster"), status)
    assert convert.status_from_wire(convert.status_to_wire(status)) == status
    assert convert.details_from_wire(convert.details_to_wire(details)) == details


@given(st.dictionaries(seats, st.binary(max_size=9), max_size=4), st.dictionaries(seats, signed, max_size=3), seats)
def test_sealed_shares_survive_the_wire(sealed: dict[int, bytes], headers: dict[int, Signed], seat: int) -> None:
    assert convert.sealed_from_wire(seat, convert.sealed_to_wire(seat, sealed)) == sealed
    shares = Shares(headers, sealed)
    assert convert.shares_from_wire(convert.shares_to_wire(shares, seat), seat) == shares


@given(st.lists(restarts, max_size=3))
def test_restarts_survive_the_wire_in_order(found: list[Restart]) -> None:
    message = pb.GetRestartsResponse(restarts=[convert.restart_to_wire(restart) for restart in found])
    again = pb.GetRestartsResponse.FromString(message.SerializeToString())
    assert convert.restarts_from_wire(again) == tuple(found)


def test_malformed_restarts_are_refused() -> None:
    parts: dict[str, Any] = {"advertised": [message(1), message(3)], "complaint": message(3)}
    assert convert.restart_from_wire(pb.RestartRecord(**parts)).complainer == 3
    for wrong in (
        {"complaint": None},
        {"complaint": message(MAX_SEAT + 1)},
        {"complaint": message(3, signature=b"")},
        {"advertised": [message(1), message(1)]},
        {"advertised": [message(1, body=b"")]},
    ):
        changed: dict[str, Any] = {**parts, **wrong}
        with pytest.raises(FormatError):
            convert.restart_from_wire(pb.RestartRecord(**changed))


def test_statuses_are_ordered_by_attempt_and_then_by_phase() -> None:
    status = SessionStatus(Phase.SHARING_KEYS, 9, "", (), attempt=1)
    assert status.reached(Phase.SHARING_KEYS, 1)
    assert status.reached(Phase.PUBLISHED)
    assert not status.reached(Phase.MASKING_INPUT, 1)
    assert not status.reached(Phase.ADVERTISING_KEYS, 2)


def test_summaries_and_seals_survive_the_wire() -> None:
    summary, sealed = (
        SessionSummary(DIGEST, "title", Phase.PUBLISHED, withdrawn=True),
        SealedSession(b"seal", (b"1", b"2"), b"proof"),
    )
    assert convert.summary_from_wire(convert.summary_to_wire(summary)) == summary
    assert convert.seal_from_wire(convert.seal_to_wire(sealed)) == sealed


def test_phases_have_the_numbers_of_the_schema() -> None:
    assert {f"PHASE_{phase.name}": int(phase) for phase in Phase} == {
        name: number for name, number in pb.Phase.items() if number
    }


def message(seat: int = 1, body: bytes = b"x", signature: bytes = bytes(64)) -> pb.SignedMessage:
    return pb.SignedMessage(seat=seat, body=body, signature=signature)


@pytest.mark.parametrize(
    "messages",
    [
        [message(seat=MAX_SEAT + 1)],
        [message(body=b"")],
        [message(signature=bytes(63))],
        [message(seat=3), message(seat=3, body=b"y")],
    ],
    ids=["seat", "body", "signature", "twice"],
)
def test_malformed_signed_messages_are_refused(messages: list[pb.SignedMessage]) -> None:
    with pytest.raises(FormatError):
        convert.signed_set_from_wire(messages)


def test_shares_of_somebody_else_are_refused() -> None:
    stranger = pb.SealedShares(dealer=2, holder=3, ciphertext=b"")
    with pytest.raises(FormatError, match="dealer 2"):
        convert.sealed_from_wire(1, [stranger])
    with pytest.raises(FormatError, match="holder 3"):
        convert.shares_from_wire(pb.GetSharedKeysResponse(sealed=[stranger]), 1)
    twice = pb.SealedShares(dealer=1, holder=3, ciphertext=b"")
    with pytest.raises(FormatError):
        convert.sealed_from_wire(1, [twice, twice])


def test_unknown_phases_ask_for_an_update() -> None:
    with pytest.raises(FormatError, match="update"):
        convert.status_from_wire(pb.SessionStatus(phase=pb.PHASE_UNSPECIFIED))


def test_receipts_must_be_for_what_was_sent() -> None:
    receipt = Receipt(convert.join_digest(b"mine"), 7)
    wire = convert.receipt_to_wire(receipt)
    assert convert.receipt_from_wire(wire, convert.join_digest(b"mine")) == receipt
    with pytest.raises(FormatError, match="receipt"):
        convert.receipt_from_wire(wire, convert.join_digest(b"other"))


def test_submission_digests_tell_kinds_attempts_and_parts_apart() -> None:
    one, two = Signed(b"a", b"b"), Signed(b"ab", b"")
    digests = [
        convert.keys_digest(one, 0),
        convert.keys_digest(one, 1),
        convert.keys_digest(two, 0),
        convert.consistency_digest(one, 0),
        convert.consistency_digest(one, 1),
        convert.unmasking_digest(one, 0),
        convert.unmasking_digest(one, 1),
        convert.complaint_digest(one, 0),
        convert.complaint_digest(one, 1),
        convert.masked_digest(one, b"", 0),
        convert.masked_digest(one, b"", 1),
        convert.shares_digest(one, {}, 0),
        convert.shares_digest(one, {}, 1),
        convert.shares_digest(one, {1: b"x"}, 0),
        convert.shares_digest(one, {2: b"x"}, 0),
        convert.join_digest(b"ab"),
        convert.countersign_digest(b"ab"),
        convert.abort_digest(b"ab"),
    ]
    assert len(set(digests)) == len(digests)
    assert convert.round_kind("ShareKeys", 0) == "ShareKeys"
    assert convert.round_kind("ShareKeys", 2) == "ShareKeys/2"
    assert convert.shares_digest(one, {1: b"x", 2: b"y"}, 0) == convert.shares_digest(one, {2: b"y", 1: b"x"}, 0)


def test_a_roster_without_a_root_is_refused() -> None:
    with pytest.raises(FormatError, match="root"):
        convert.roster_from_wire(pb.SignedRoster(targets=b"t", roster=b"r"))
