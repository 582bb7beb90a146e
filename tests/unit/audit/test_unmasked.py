"""Unmasking played again, one message at a time: what comes out, and which message is refused for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from testkit.bundles import SmallSession, small_session, small_spec
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.unmasked import Replayed, replay_unmasking
from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.errors import FormatError, ProtocolError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Transcript


@cache
def session() -> SmallSession:
    """Return a session with little to compute, from which one institution dropped out after it had shared its keys."""
    spec = small_spec(extractors="[]", metrics='[{ id = "temporal-flickering@1", inputs = "private" }]')
    return small_session("unmasked", spec)


@cache
def evidence() -> Evidence:
    return Evidence(session().full(), session().root, DEFAULT_POLICY, draft=False)


@cache
def transcript() -> Transcript:
    rounds = evidence().rounds
    return Transcript(evidence().parameters, rounds.advertised, rounds.shared, rounds.masked)


def replayed(masked: Mapping[Seat, bytes] | None = None, revealed: Mapping[Seat, Signed] | None = None) -> Replayed:
    kept = session().messages
    messages = KeptMessages(kept.masked if masked is None else masked, kept.revealed if revealed is None else revealed)
    return replay_unmasking(transcript(), messages)


def test_the_messages_give_the_published_total_and_name_who_revealed() -> None:
    found, record = replayed(), session().record
    assert np.array_equal(found.lanes, record.aggregate)
    assert found.gives(record.aggregate, list(found.blinders))
    assert found.signers == frozenset(session().messages.revealed)
    assert found.left_out == ()
    assert found.lanes.dtype == np.uint64
    assert str(found.blinders[0]) not in repr(found), "totals do not print"


def test_another_lane_or_another_blinder_is_not_given() -> None:
    found = replayed()
    other = found.lanes.copy()
    other[-1] += np.uint64(1)
    assert not found.gives(other, found.blinders)
    assert not found.gives(found.lanes[:-1], found.blinders)
    assert not found.gives(found.lanes, (found.blinders[0] + 1, *found.blinders[1:]))
    assert not found.gives(found.lanes, found.blinders[:-1])


def test_a_vector_that_its_sender_did_not_sign_is_refused_in_the_senders_name() -> None:
    for seat, data in session().messages.masked.items():
        changed = bytes([data[0] ^ 1]) + data[1:]
        with pytest.raises(
            ProtocolError, match="its masked vector is not the one that its signed header names"
        ) as caught:
            replayed(masked={**session().messages.masked, seat: changed})
        assert str(seat) in caught.value.peer


def test_shares_under_another_signature_are_refused_in_the_senders_name() -> None:
    kept = session().messages.revealed
    first, second = sorted(kept)[:2]
    for wrong in (kept[second], Signed(kept[first].body, kept[second].signature)):
        with pytest.raises(ProtocolError) as caught:
            replayed(revealed={**kept, first: wrong})
        assert str(first) in caught.value.peer


def test_the_order_of_messages_does_not_matter_and_four_shares_are_enough() -> None:
    kept = session().messages
    turned = KeptMessages(dict(reversed([*kept.masked.items()])), dict(reversed([*kept.revealed.items()])))
    found = replay_unmasking(transcript(), turned)
    assert found.gives(replayed().lanes, replayed().blinders)
    assert replace(found, lanes=replayed().lanes).signers == replayed().signers


def test_too_few_shares_say_whose_seed_is_missing() -> None:
    kept = session().messages.revealed
    some = {seat: kept[seat] for seat in sorted(kept)[:3]}
    with pytest.raises(
        FormatError, match=r"^the shares of 3 institutions do not give the (self-mask|mask-key) seed of seat [0-4]$"
    ):
        replayed(revealed=some)
