"""Each rule of the record of a restart: what holds gives the next attempt's parameters, whatever else gives nothing."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import fields as fields_of
from dataclasses import replace
from functools import cache

import pytest

from testkit.adversary import Equivocator, everyone
from testkit.consortium import Participants, inputs_for, parameters, signer
from vdb_shared import labels
from vdb_shared.errors import FormatError, ProtocolError, SessionAbortedError
from vdb_shared.secagg.messages import AdvertisedKeys, Complaint, Signed
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart, verify_restart

N = 7
DEALER, COMPLAINER = 2, 5
Change = Callable[[Restart], Restart]


def record_of(sealed: Parameters, dealer: Seat = DEALER, complainer: Seat = COMPLAINER) -> Restart:
    """Return the record of an attempt in which somebody could not open a dealer's pair."""
    story = Equivocator(sealed, inputs_for(sealed))
    story.share_keys(everyone(sorted(sealed.seats), sorted(sealed.seats)))
    return Restart(story.advertised, complainer, story.participants.complain(complainer, dealer))


@cache
def restart() -> Restart:
    return record_of(parameters(N))


def after(*steps: tuple[Seat, Seat]) -> Parameters:
    """Return the parameters after restarts for these dealers and complainers."""
    found = parameters(N)
    for dealer, complainer in steps:
        found = verify_restart(found, record_of(found, dealer, complainer), "coordinator")
    return found


def signed_by(seat: Seat, payload_type: str, body: bytes) -> Signed:
    return Signed(body, signer(0, seat).sign(payload_type, body))


def fields(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<Q", len(part)) + part for part in parts)


def test_the_next_attempt_lacks_the_dealer_and_nothing_else_changes() -> None:
    before, now = parameters(N), after((DEALER, COMPLAINER))
    assert now == replace(before, session=now.session, left_out=frozenset({DEALER}), complained=frozenset({COMPLAINER}))
    assert now.seats == before.seats - {DEALER}
    assert now.quorum == before.quorum
    assert restart().dealer == DEALER


def test_the_next_session_is_the_hash_of_the_record() -> None:
    t1 = Complaint.decode(restart().complaint.body).t1
    complaint = restart().complaint
    expected = fields(
        b"vdb-secagg/1|restart",
        parameters(N).session,
        t1,
        struct.pack("<I", COMPLAINER),
        complaint.body,
        complaint.signature,
    )
    assert complaint.body == fields(t1, struct.pack("<I", COMPLAINER), struct.pack("<I", DEALER))
    assert after((DEALER, COMPLAINER)).session == hashlib.sha256(expected).digest()


def test_other_complaints_give_other_sessions() -> None:
    steps = ((2, 5), (2, 4), (3, 5))
    assert len({after(step).session for step in steps} | {parameters(N).session}) == 4
    assert after((2, 5), (3, 4)).session != after((3, 4), (2, 5)).session


def test_restarts_add_up() -> None:
    now = after((2, 5), (4, 6))
    assert now.left_out == {2, 4}
    assert now.complained == {5, 6}
    assert now.quorum == parameters(N).quorum


def test_nobody_complains_twice_in_a_session() -> None:
    with pytest.raises(ProtocolError, match="seat 5 complains a second time; only its first complaint counts"):
        after((2, 5), (3, 5))


def test_who_complained_may_be_complained_about() -> None:
    assert after((2, 5), (5, 6)).left_out == {2, 5}


def test_a_complaint_names_nothing_but_its_attempt_and_two_seats() -> None:
    """It may carry no key and no share: a coordinator can provoke as many complaints as it likes."""
    assert [field.name for field in fields_of(Complaint)] == ["t1", "seat", "dealer"]


# Records that hold nothing.


def without_seat(seat: Seat) -> Change:
    return lambda r: replace(r, advertised={s: m for s, m in r.advertised.items() if s != seat})


def too_few(r: Restart) -> Restart:
    return replace(r, advertised={seat: r.advertised[seat] for seat in (DEALER, COMPLAINER, 0)})


def readvertised(r: Restart, at: Seat, **changes: object) -> Restart:
    keys = replace(AdvertisedKeys.decode(r.advertised[at].body), **changes)  # type: ignore[arg-type]  # any field is meant
    return replace(r, advertised={**r.advertised, at: signed_by(at, labels.TYPE_ADVERTISE_KEYS, keys.encode())})


def key_twice(r: Restart) -> Restart:
    return readvertised(r, 0, channel_key=AdvertisedKeys.decode(r.advertised[1].body).mask_key)


def forged_keys(r: Restart) -> Restart:
    return replace(r, advertised={**r.advertised, 1: Signed(r.advertised[1].body, bytes(64))})


def stranger(r: Restart) -> Restart:
    return replace(r, advertised={**r.advertised, 77: r.advertised[1]})


def recomplained(r: Restart, **changes: object) -> Restart:
    complaint = replace(Complaint.decode(r.complaint.body), **changes)  # type: ignore[arg-type]  # any field is meant
    return replace(r, complaint=signed_by(r.complainer, labels.TYPE_COMPLAINT, complaint.encode()))


def retyped(r: Restart) -> Restart:
    return replace(r, complaint=signed_by(COMPLAINER, labels.TYPE_SHARE_KEYS, r.complaint.body))


def forged_complaint(r: Restart) -> Restart:
    return replace(r, complaint=Signed(r.complaint.body, bytes(64)))


def junk_complaint(r: Restart) -> Restart:
    return replace(r, complaint=signed_by(COMPLAINER, labels.TYPE_COMPLAINT, b"junk"))


def of_another_attempt(_: Restart) -> Restart:
    return record_of(after((DEALER, COMPLAINER)), 4, 6)


def complaint_of_another_attempt(r: Restart) -> Restart:
    return replace(r, complaint=record_of(after((3, 4)), DEALER, COMPLAINER).complaint)


REFUSED: list[tuple[str, Change, str]] = [
    ("keys_forged", forged_keys, "message of seat 1: signature"),
    ("keys_of_a_stranger", stranger, "seat 77, which is not among the sealed joins"),
    ("keys_of_another_session", lambda r: readvertised(r, 0, session=bytes(32)), "message of seat 0 is for session"),
    ("keys_of_another_seat", lambda r: readvertised(r, 0, seat=1), "message of seat 0 names seat 1"),
    ("a_key_twice", key_twice, "advertises a key that seat"),
    ("too_few_advertised", too_few, "a restart of a round with 3 participants"),
    ("complainer_never_advertised", without_seat(COMPLAINER), "seat 5, which advertised no keys"),
    ("another_u1", without_seat(0), "message of seat 5 is for T1"),
    ("complaint_forged", forged_complaint, "message of seat 5: signature"),
    ("complaint_by_another", lambda r: replace(r, complainer=4), "message of seat 4: signature"),
    ("complaint_of_another_t1", lambda r: recomplained(r, t1=bytes(32)), "message of seat 5 is for T1"),
    ("complaint_names_another_seat", lambda r: recomplained(r, seat=4), "message of seat 5 names seat 4"),
    ("complaint_about_nobody", lambda r: recomplained(r, dealer=9), "about seat 9, which advertised no keys"),
    ("complaint_about_itself", lambda r: recomplained(r, dealer=COMPLAINER), "seat 5 complains about itself"),
    ("complaint_of_another_type", retyped, "message of seat 5: signature"),
    ("complaint_of_junk", junk_complaint, "message of seat 5: .*cut short"),
    ("complaint_of_another_attempt", complaint_of_another_attempt, "message of seat 5 is for T1"),
    ("record_of_another_attempt", of_another_attempt, "is for session"),
]


@pytest.mark.parametrize(("change", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_record_that_does_not_hold_restarts_nothing_and_is_its_bearers_fault(change: Change, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason) as caught:
        verify_restart(parameters(N), change(restart()), "whoever shows it")
    assert caught.value.peer == "whoever shows it"


def test_a_complaint_about_a_seat_that_advertised_nothing_is_refused() -> None:
    story = Equivocator(parameters(N), inputs_for(parameters(N)))
    six = [seat for seat in range(N) if seat != DEALER]
    story.share_keys(everyone(six, six))
    record = Restart({seat: story.advertised[seat] for seat in six}, 5, story.participants.complain(5, DEALER))
    with pytest.raises(ProtocolError, match="about seat 2, which advertised no keys"):
        verify_restart(parameters(N), record, "coordinator")


def test_a_record_restarts_once() -> None:
    with pytest.raises(ProtocolError, match=r"without which the rounds were restarted|is for session"):
        verify_restart(after((DEALER, COMPLAINER)), restart(), "coordinator")


def test_who_was_left_out_takes_no_part_in_a_later_restart() -> None:
    later = after((DEALER, COMPLAINER))
    record = record_of(later, 4, 6)
    old = Participants(parameters(N), inputs_for(parameters(N))).advertise(DEALER)
    with pytest.raises(ProtocolError, match="seat 2, without which the rounds were restarted"):
        verify_restart(later, replace(record, advertised={**record.advertised, DEALER: old}), "coordinator")


def test_a_dealer_is_left_out_only_if_enough_remain() -> None:
    sealed = parameters(4, dropout="0")
    with pytest.raises(SessionAbortedError, match=r"seat 2 cannot open what seat 1 sealed .*only 3 of at least 4"):
        verify_restart(sealed, record_of(sealed, 1, 2), "coordinator")


def test_a_malformed_complaint_names_no_dealer() -> None:
    with pytest.raises(FormatError):
        assert junk_complaint(restart()).dealer
