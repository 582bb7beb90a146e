"""What a participant keeps to itself, and what it refuses of its own durable layer."""

from dataclasses import fields

import numpy as np
import pytest

from testkit.adversary import Equivocator, equivocator, everyone
from testkit.consortium import Participants, expect, inputs_for, parameters, signer
from vdb_participant.rounds import (
    Advertised,
    Masked,
    Prepared,
    SharedKeys,
    advertise,
    commit_input,
    mask_input,
    share_keys,
    state_input,
)
from vdb_shared.errors import StatisticError

N = 5
ME = 0


@pytest.fixture
def room() -> Equivocator:
    """Return the parties after round 0."""
    return equivocator(N)


def share(room: Equivocator) -> None:
    room.share_keys(everyone(range(N), range(N)))


def test_a_lane_that_overflows_is_never_committed_to() -> None:
    sealed = parameters(N)
    inputs = inputs_for(sealed) | {ME: np.full(sealed.lanes, 2**47, dtype=np.int64)}
    with pytest.raises(StatisticError, match="lane 0"):
        Participants(sealed, inputs).committed(ME)


def test_a_vector_that_was_not_committed_to_is_never_masked(room: Equivocator) -> None:
    share(room)
    phase = expect(SharedKeys, room.participants.phases[ME])
    headers, pairs = room.headers(range(N)), room.sealed_for(ME, range(N))
    with pytest.raises(ValueError, match="other commitments"):
        mask_input(phase, headers, pairs, room.participants.committed(1))


def test_no_phase_prints_a_secret(room: Equivocator) -> None:
    advertised = expect(Advertised, room.participants.phases[ME])
    assert "secrets" not in repr(advertised)
    assert "signer" not in repr(advertised)
    assert repr(advertised.secrets) == "Secrets()"
    share(room)
    for secret in ("secrets", "own_pair", "held", "sealed"):
        assert secret not in repr(room.participants.phases[ME])
        assert secret not in repr(room.shared[ME])
    committed = room.participants.committed(ME)
    assert repr(committed) == "Committed()"
    prepared = room.participants.prepare_input(ME, room.headers(range(N)), room.sealed_for(ME, range(N)))
    assert "masked" not in repr(prepared)
    assert "held" not in repr(prepared)


def test_secrets_are_overwritten_when_erased(room: Equivocator) -> None:
    share(room)
    secrets = expect(SharedKeys, room.participants.phases[ME]).secrets
    kept = [secrets.mask_seed, secrets.channel_private, secrets.self_seed, *secrets.channels.values()]
    assert all(any(secret) for secret in kept)
    secrets.erase()
    assert not any(any(secret) for secret in kept)
    assert [len(secret) for secret in kept] == [31, 32, 31, *[32] * (N - 1)]


def test_a_vector_is_overwritten_when_erased(room: Equivocator) -> None:
    committed = room.participants.committed(ME)
    assert committed.vector.lanes.any()
    committed.erase()
    assert not committed.vector.lanes.any()
    assert committed.vector.blinders == []


def test_no_later_phase_holds_a_seed_a_key_or_a_lane(room: Equivocator) -> None:
    assert {field.name for field in fields(Masked)} == {"membership", "advertised", "shared", "own", "held"}
    assert {field.name for field in fields(Prepared)}.isdisjoint({"secrets", "vector", "lanes", "blinders"})


@pytest.mark.parametrize("size", [0, 94, 96])
def test_entropy_of_another_size_is_our_misuse(size: int) -> None:
    with pytest.raises(ValueError, match="95 bytes of entropy"):
        advertise(parameters(N), ME, signer(0, ME), bytes(size))


def test_entropy_of_round_1_of_another_size_is_our_misuse(room: Equivocator) -> None:
    with pytest.raises(ValueError, match="63 bytes of entropy"):
        share_keys(expect(Advertised, room.participants.phases[ME]), room.advertised, bytes(64), bytes(48))


def test_a_signer_that_does_not_own_the_seat_is_our_misuse() -> None:
    with pytest.raises(ValueError, match="seat 1"):
        advertise(parameters(N), 1, signer(0, ME), bytes(95))


@pytest.mark.parametrize("lanes", [4, 6])
def test_a_vector_of_another_length_is_our_misuse(lanes: int) -> None:
    sealed = parameters(N)
    with pytest.raises(ValueError, match="5 lanes"):
        Participants(sealed, {ME: np.zeros(lanes, dtype=np.int64)}).committed(ME)


def test_entropy_of_the_blinders_of_another_size_is_our_misuse() -> None:
    sealed = parameters(N)
    with pytest.raises(ValueError, match="64 bytes of entropy"):
        commit_input(sealed, inputs_for(sealed)[ME], bytes(63))


def test_a_contribution_of_another_size_than_a_digest_is_our_misuse(room: Equivocator) -> None:
    share(room)
    phase = expect(SharedKeys, room.participants.phases[ME])
    headers, pairs = room.headers(range(N)), room.sealed_for(ME, range(N))
    prepared = mask_input(phase, headers, pairs, room.participants.committed(ME))
    with pytest.raises(ValueError, match="32 bytes of digest"):
        state_input(prepared, bytes(31))
