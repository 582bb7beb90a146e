"""Unmasking played again, one message at a time: what comes out, and which message is refused for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from testkit.bundles import SmallSession, small_session
from testkit.evidence import but_for, found, refused
from testkit.small_specs import small_spec
from vdb_shared.audit import unmasked
from vdb_shared.audit.checks.base import passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.unmasked import MissingSharesError, Replayed, replay_unmasking
from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.errors import FormatError, ProtocolError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Transcript
from vdb_shared.secagg.unmasking import LeftOutShare, Unrecovered


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


def test_a_seed_that_all_shares_do_not_give_is_no_lack_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether messages are missing, or all are there and do not fit, decides whether anybody can be at fault."""
    kept = session().messages.revealed
    assert type(_problem(dict(sorted(kept.items())[:3]))) is MissingSharesError
    monkeypatch.setattr(unmasked, "recover", lambda *_: Unrecovered(2, "self-mask"))
    for revealed in (kept, dict(sorted(kept.items())[:-1])):
        found = _problem(revealed)
        assert type(found) is (FormatError if len(revealed) == len(kept) else MissingSharesError)
        assert str(found) == f"the shares of {len(revealed)} institutions do not give the self-mask seed of seat 2"


def _problem(revealed: Mapping[Seat, Signed]) -> FormatError:
    with pytest.raises(FormatError) as caught:
        replayed(revealed=revealed)
    return caught.value


# V33 asked by itself, of what the messages give.


def given(**parts: Any) -> Evidence:
    """Return a bundle of the profile full whose messages give its total, but for these parts."""
    record = evidence().record
    honest = Replayed(evidence().aggregate, tuple(record.blinders), frozenset(range(4)), ())
    return but_for(evidence(), replayed=replace(honest, **parts))


def test_messages_that_give_the_total_pass_and_wrong_shares_are_counted() -> None:
    words = (
        "Unmasking was played again: the masked vectors of 4 institutions and the shares that 4 of them revealed give the "
        "published total, lane for lane."
    )
    share = LeftOutShare(1, 2)
    for left_out, also in (
        ((), ""),
        ((share,), " 1 wrong share had to be left out."),
        ((share, share), " 2 wrong shares had to be left out."),
    ):
        assert found("V33", given(left_out=left_out)) == passed(f"{words}{also}")


def test_messages_that_give_another_total_show_who_published_it() -> None:
    lanes, blinders = evidence().aggregate.copy(), evidence().record.blinders
    lanes[0] += np.uint64(1)
    for wrong in ({"lanes": lanes}, {"blinders": (1, *blinders[1:])}):
        assert refused("V33", given(**wrong)).endswith("so the coordinator published a total that it did not receive.")
