"""Transcript digests depend on every byte of every message, signature and seat; no participant goes on with other bytes."""

from collections.abc import Iterator
from functools import cache

import pytest

from testkit.adversary import Equivocator, equivocator, everyone
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import chain

N = 4
ME, OTHER = 0, 1


@cache
def story() -> Equivocator:
    found = equivocator(N)
    found.share_keys(everyone(range(N), range(N)))
    found.mask_inputs(everyone(range(N), range(N)))
    return found


def rounds() -> dict[str, dict[Seat, Signed]]:
    return {
        "keys": story().advertised,
        "headers": story().headers(range(N)),
        "inputs": {seat: sent.header for seat, sent in story().masked.items()},
    }


def flipped(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


def variants(signed: Signed) -> Iterator[Signed]:
    yield from (Signed(body, signed.signature) for body in flipped(signed.body))
    yield from (Signed(signed.body, signature) for signature in flipped(signed.signature))


@pytest.mark.parametrize("name", ["keys", "headers", "inputs"])
def test_a_digest_changes_with_every_byte_of_body_and_signature(name: str) -> None:
    messages = rounds()[name]
    seen = {chain("label", bytes(32), messages)}
    changed = list(variants(messages[OTHER]))
    seen |= {chain("label", bytes(32), {**messages, OTHER: signed}) for signed in changed}
    assert len(seen) == 1 + len(changed)


@pytest.mark.parametrize("name", ["keys", "headers", "inputs"])
def test_a_digest_changes_with_seats_members_labels_and_what_came_before(name: str) -> None:
    messages = rounds()[name]
    exchanged = {**messages, 0: messages[1], 1: messages[0]}
    elsewhere = {seat + 1: signed for seat, signed in messages.items()}
    fewer = {seat: messages[seat] for seat in range(3)}
    seen = {
        chain("label", bytes(32), messages),
        chain("other", bytes(32), messages),
        chain("label", b"\x01" + bytes(31), messages),
        chain("label", bytes(32), exchanged),
        chain("label", bytes(32), elsewhere),
        chain("label", bytes(32), fewer),
        chain("label", bytes(32), {}),
    }
    assert len(seen) == 7
    assert chain("label", bytes(32), dict(reversed(messages.items()))) in seen


def test_bytes_moved_between_body_and_signature_change_the_digest() -> None:
    messages = rounds()["keys"]
    signed = messages[OTHER]
    moved = Signed(signed.body + signed.signature[:1], signed.signature[1:])
    assert chain("label", bytes(32), messages) != chain("label", bytes(32), {**messages, OTHER: moved})


@pytest.mark.parametrize("seat", [ME, OTHER])
def test_no_participant_accepts_a_changed_byte_in_any_round(seat: Seat) -> None:
    fresh = Equivocator(story().parameters, story().inputs)
    for signed in variants(story().advertised[seat]):
        with pytest.raises(ProtocolError, match="coordinator: "):
            fresh.participants.share_keys(ME, {**story().advertised, seat: signed})


@pytest.mark.parametrize("seat", [ME, OTHER])
def test_no_participant_accepts_a_changed_byte_in_a_header(seat: Seat) -> None:
    pairs, headers = story().sealed_for(ME, range(N)), story().headers(range(N))
    shared_by = equivocator(N)
    shared_by.share_keys(everyone(range(N), range(N)))
    for signed in variants(headers[seat]):
        with pytest.raises(ProtocolError, match="coordinator: "):
            shared_by.participants.prepare_input(ME, {**headers, seat: signed}, pairs)


@pytest.mark.parametrize("seat", [ME, OTHER])
def test_no_participant_signs_a_t3_over_a_changed_byte(seat: Seat) -> None:
    inputs = rounds()["inputs"]
    for signed in variants(inputs[seat]):
        with pytest.raises(ProtocolError, match="coordinator: "):
            story().participants.agree(ME, {**inputs, seat: signed})


def test_no_participant_reveals_for_a_changed_signature() -> None:
    found = equivocator(N)
    found.share_keys(everyone(range(N), range(N)))
    found.mask_inputs(everyone(range(N), range(N)))
    found.agree(everyone(range(N), range(N)))
    signatures = {seat: signed.signature for seat, signed in found.agreed.items()}
    for seat in (ME, OTHER):
        for changed in flipped(signatures[seat]):
            with pytest.raises(ProtocolError, match="coordinator: "):
                found.participants.reveal(ME, {**signatures, seat: changed})
    found.participants.reveal(ME, signatures)
