"""What a participant refuses from its coordinator, round by round; nothing leaves it after a refusal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from testkit.consortium import Participants, entropy, inputs_for, parameters, signer
from vdb_participant.rounds import (
    MaskedInputMessage,
    SharedKeysMessage,
)
from vdb_shared import labels
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import Parameters, Seat

N = 5
ME = 0
Messages = dict[Seat, Signed]
Tamper = Callable[[Messages], Mapping[Seat, Signed]]


@dataclass(frozen=True)
class Room:
    """An honest coordinator's notes up to the round a test needs."""

    participants: Participants

    @property
    def sealed(self) -> Parameters:
        return self.participants.parameters

    def advertised(self) -> Messages:
        return {seat: self.participants.advertise(seat) for seat in range(N)}

    def shared(self) -> dict[Seat, SharedKeysMessage]:
        messages = self.advertised()
        return {seat: self.participants.share_keys(seat, messages) for seat in range(N)}

    def masked(self) -> dict[Seat, MaskedInputMessage]:
        shared = self.shared()
        headers = {seat: sent.header for seat, sent in shared.items()}
        return {seat: self.participants.mask_input(seat, headers, sealed_for(seat, shared)) for seat in range(N)}

    def agreed(self) -> Messages:
        headers = {seat: sent.header for seat, sent in self.masked().items()}
        return {seat: self.participants.agree(seat, headers) for seat in range(N)}


def sealed_for(seat: Seat, shared: Mapping[Seat, SharedKeysMessage]) -> dict[Seat, bytes]:
    return {peer: sent.sealed[seat] for peer, sent in shared.items() if peer != seat}


@pytest.fixture
def room() -> Room:
    sealed = parameters(N)
    return Room(Participants(sealed, inputs_for(sealed)))


def signed_by(seat: Seat, payload_type: str, body: bytes) -> Signed:
    return Signed(body, signer(0, seat).sign(payload_type, body))


def without(*seats: Seat) -> Tamper:
    return lambda messages: {seat: signed for seat, signed in messages.items() if seat not in seats}


def forged(messages: Messages) -> Messages:
    wrong = messages[1].signature[:-1] + bytes([messages[1].signature[-1] ^ 1])
    return messages | {1: Signed(messages[1].body, wrong)}


def signed_by_another(messages: Messages) -> Messages:
    return messages | {1: messages[2]}


def own_signature_changed(messages: Messages) -> Messages:
    return messages | {ME: Signed(messages[ME].body, bytes(64))}


def stranger(messages: Messages) -> Messages:
    return messages | {77: messages[1]}


def other_payload_type(messages: Messages) -> Messages:
    return messages | {1: signed_by(1, labels.TYPE_STATEMENT, messages[1].body)}


COMMON: list[tuple[Tamper, str]] = [
    (without(1, 2), "holds 3 participants, expected at least 4"),
    (without(ME), "our own message is missing"),
    (own_signature_changed, "our own message is missing or changed"),
    (forged, "message of seat 1: signature"),
    (signed_by_another, "message of seat 1: signature"),
    (other_payload_type, "message of seat 1: signature"),
    (stranger, "holds seat 77"),
]


def keys_of(messages: Messages, seat: Seat) -> AdvertisedKeys:
    return AdvertisedKeys.decode(messages[seat].body)


def readvertised(seat: Seat, keys: AdvertisedKeys) -> Signed:
    return signed_by(seat, labels.TYPE_ADVERTISE_KEYS, keys.encode())


def key_of_another(messages: Messages) -> Messages:
    keys = replace(keys_of(messages, 1), mask_key=keys_of(messages, 2).channel_key)
    return messages | {1: readvertised(1, keys)}


def one_key_for_both_uses(messages: Messages) -> Messages:
    keys = replace(keys_of(messages, 1), mask_key=keys_of(messages, 1).channel_key)
    return messages | {1: readvertised(1, keys)}


def foreign_session(messages: Messages) -> Messages:
    return messages | {1: readvertised(1, replace(keys_of(messages, 1), session=entropy("foreign", size=32)))}


def other_seat(messages: Messages) -> Messages:
    return messages | {1: readvertised(1, replace(keys_of(messages, 1), seat=2))}


def key_of_small_order(messages: Messages) -> Messages:
    return messages | {1: readvertised(1, replace(keys_of(messages, 1), mask_key=bytes(32)))}


def own_keys_signed_anew(messages: Messages) -> Messages:
    return messages | {ME: readvertised(ME, replace(keys_of(messages, ME), nonce=bytes(32)))}


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        *COMMON,
        (key_of_another, "advertises a key that seat 1 advertises"),
        (one_key_for_both_uses, "advertises a key that seat 1 advertises"),
        (foreign_session, "message of seat 1 is for session"),
        (other_seat, "message of seat 1 names seat 2"),
        (key_of_small_order, "message of seat 1: a public key of small order"),
        (own_keys_signed_anew, "our own message is missing or changed"),
    ],
)
def test_round_1_is_refused(room: Room, tamper: Tamper, reason: str) -> None:
    messages = tamper(room.advertised())
    with pytest.raises(ProtocolError, match=reason) as caught:
        room.participants.share_keys(ME, messages)
    assert caught.value.peer == "coordinator"


def header_for_another_t1(messages: Messages) -> Messages:
    header = replace(SharedKeysHeader.decode(messages[1].body), t1=entropy("other", size=32))
    return messages | {1: signed_by(1, labels.TYPE_SHARE_KEYS, header.encode())}


def header_of_another_seat(messages: Messages) -> Messages:
    header = replace(SharedKeysHeader.decode(messages[1].body), seat=2)
    return messages | {1: signed_by(1, labels.TYPE_SHARE_KEYS, header.encode())}


def own_header_signed_anew(messages: Messages) -> Messages:
    header = replace(SharedKeysHeader.decode(messages[ME].body), self_seed_digest=bytes(32))
    return messages | {ME: signed_by(ME, labels.TYPE_SHARE_KEYS, header.encode())}


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        *COMMON,
        (header_for_another_t1, "message of seat 1 is for T1"),
        (header_of_another_seat, "message of seat 1 names seat 2"),
        (own_header_signed_anew, "our own message is missing or changed"),
    ],
)
def test_round_2_is_refused(room: Room, tamper: Tamper, reason: str) -> None:
    shared = room.shared()
    headers = tamper({seat: sent.header for seat, sent in shared.items()})
    sealed = {seat: pair for seat, pair in sealed_for(ME, shared).items() if seat in headers}
    with pytest.raises(ProtocolError, match=reason) as caught:
        room.participants.mask_input(ME, headers, sealed)
    assert caught.value.peer == "coordinator"


def test_sealed_shares_must_be_those_of_exactly_the_others_in_u2(room: Room) -> None:
    shared = room.shared()
    headers = {seat: sent.header for seat, sent in shared.items()}
    sealed = sealed_for(ME, shared)
    for wrong in ({1: sealed[1]}, sealed | {ME: sealed[1]}, sealed | {9: sealed[1]}):
        with pytest.raises(ProtocolError, match="sealed shares are not those"):
            room.participants.mask_input(ME, headers, wrong)


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: sealed | {2: sealed[3]},
        lambda sealed: sealed | {2: bytes(80)},
        lambda sealed: sealed | {2: sealed[2][:-1]},
        lambda sealed: sealed | {2: b""},
    ],
    ids=["of_another_dealer", "zeros", "cut", "empty"],
)
def test_a_sealed_share_that_does_not_open_names_its_dealer(
    room: Room, change: Callable[[dict[Seat, bytes]], dict[Seat, bytes]]
) -> None:
    shared = room.shared()
    headers = {seat: sent.header for seat, sent in shared.items()}
    with pytest.raises(ProtocolError, match="restart without it") as caught:
        room.participants.mask_input(ME, headers, change(sealed_for(ME, shared)))
    assert caught.value.peer == "seat 2"


def masked_header(messages: Messages, seat: Seat) -> MaskedInputHeader:
    return MaskedInputHeader.decode(messages[seat].body)


def header_for_another_t2(messages: Messages) -> Messages:
    header = replace(masked_header(messages, 1), t2=entropy("other", size=32))
    return messages | {1: signed_by(1, labels.TYPE_MASKED_INPUT, header.encode())}


def other_commitments(messages: Messages) -> Messages:
    header = replace(masked_header(messages, 1), commitments=masked_header(messages, 2).commitments)
    return messages | {1: signed_by(1, labels.TYPE_MASKED_INPUT, header.encode())}


def one_commitment_too_many(messages: Messages) -> Messages:
    header = replace(masked_header(messages, 1), commitments=2 * masked_header(messages, 1).commitments)
    return messages | {1: signed_by(1, labels.TYPE_MASKED_INPUT, header.encode())}


def own_contribution_changed(messages: Messages) -> Messages:
    header = replace(masked_header(messages, ME), contribution=bytes(32))
    return messages | {ME: signed_by(ME, labels.TYPE_MASKED_INPUT, header.encode())}


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        *COMMON,
        (header_for_another_t2, "message of seat 1 is for T2"),
        (other_commitments, "message of seat 1 holds other commitments than those it fixed in round 1"),
        (one_commitment_too_many, "message of seat 1 holds 2 commitments, expected 1"),
        (own_contribution_changed, "our own message is missing or changed"),
    ],
)
def test_round_3_is_refused(room: Room, tamper: Tamper, reason: str) -> None:
    headers = tamper({seat: sent.header for seat, sent in room.masked().items()})
    with pytest.raises(ProtocolError, match=reason) as caught:
        room.participants.agree(ME, headers)
    assert caught.value.peer == "coordinator"


def test_u2_within_u1_and_u3_within_u2_are_enforced(room: Room) -> None:
    messages = room.advertised()
    four = {seat: messages[seat] for seat in range(4)}
    shared = {seat: room.participants.share_keys(seat, four) for seat in range(4)}
    header_of_4 = SharedKeysHeader.decode(shared[1].header.body)
    stray = signed_by(4, labels.TYPE_SHARE_KEYS, replace(header_of_4, seat=4).encode())
    headers = {seat: sent.header for seat, sent in shared.items()}
    with pytest.raises(ProtocolError, match="U2 holds seat 4"):
        room.participants.mask_input(ME, headers | {4: stray}, sealed_for(ME, shared))


def test_u3_within_u2_is_enforced(room: Room) -> None:
    shared = room.shared()
    headers = {seat: shared[seat].header for seat in range(4)}
    sealed = {seat: {peer: shared[peer].sealed[seat] for peer in range(4) if peer != seat} for seat in range(4)}
    masked = {seat: room.participants.mask_input(seat, headers, sealed[seat]).header for seat in range(4)}
    stray = replace(masked_header(masked, 1), seat=4)
    with pytest.raises(ProtocolError, match="U3 holds seat 4"):
        room.participants.agree(ME, masked | {4: signed_by(4, labels.TYPE_MASKED_INPUT, stray.encode())})


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (without(1, 2), "no quorum: expected 4 signatures, found 3"),
        (without(ME), "our own signature of T3 is missing"),
        (own_signature_changed, "our own signature of T3 is missing or changed"),
        (forged, "message of seat 1: signature"),
        (signed_by_another, "message of seat 1: signature"),
        (stranger, "seat 77 signs T3"),
    ],
)
def test_round_4_is_refused(room: Room, tamper: Tamper, reason: str) -> None:
    signatures = {seat: signed.signature for seat, signed in tamper(room.agreed()).items()}
    with pytest.raises(ProtocolError, match=reason) as caught:
        room.participants.reveal(ME, signatures)
    assert caught.value.peer == "coordinator"


def test_a_quorum_is_enough_to_reveal(room: Room) -> None:
    agreed = room.agreed()
    room.participants.reveal(ME, {seat: agreed[seat].signature for seat in range(4)})


def test_exactly_one_kind_of_share_is_revealed_for_each_member_of_u2(room: Room) -> None:
    headers = {seat: sent.header for seat, sent in room.masked().items() if seat != 3}
    agreed = {seat: room.participants.agree(seat, headers) for seat in headers}
    signed = room.participants.reveal(ME, {seat: message.signature for seat, message in agreed.items()})
    shares = UnmaskingShares.decode(signed.body)
    assert shares.self_mask.keys() == {0, 1, 2, 4}
    assert shares.mask_key.keys() == {3}
