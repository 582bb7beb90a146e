"""What the coordinator refuses from a participant, what it lets pass, and how it survives wrong shares."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.adversary import remasked, reshared, signed_by
from testkit.consortium import (
    STAGES,
    Consortium,
    Network,
    consortium,
    entropy,
    expect,
    inputs_for,
    parameters,
    signer,
)
from vdb_coordinator.rounds import (
    Complained,
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    Phase,
    SharesRevealed,
    Summed,
    expire,
    receive,
)
from vdb_shared import labels
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    ConsistencyStatement,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.sealing import sealed_digest
from vdb_shared.secagg.transcript import Stage

N = 5
LIAR = 2
KINDS: tuple[type[Message], ...] = (KeysAdvertised, KeysShared, InputMasked, ConsistencySigned, SharesRevealed)


class Waiting(Network):
    """Keeps back the liar's message of one kind, so that a test can send another."""

    def __init__(self, kind: type[Message]) -> None:
        self.kind = kind
        self.kept: list[Message] = []

    def up(self, message: Message) -> Message | None:
        if isinstance(message, self.kind) and message.seat == LIAR:
            self.kept.append(message)
            return None
        return message


def before_the_liar(kind: type[Message]) -> tuple[Phase, Message]:
    """Return the phase in which all but the liar have sent, and the honest message it would send."""
    place = KINDS.index(kind)
    network = Waiting(kind)
    sealed = parameters(N)
    all_parties = Consortium(sealed, inputs_for(sealed), network=network)
    all_parties.run_until(STAGES[place])
    all_parties.deadlines = False
    all_parties.run_until(STAGES[place + 1])
    return all_parties.phase, network.kept[0]


def readvertised(message: Message, **changes: object) -> KeysAdvertised:
    sent = expect(KeysAdvertised, message)
    body = replace(AdvertisedKeys.decode(sent.signed.body), **changes).encode()  # type: ignore[arg-type]  # any field, also a wrong one, is meant
    return KeysAdvertised(LIAR, signed_by(LIAR, labels.TYPE_ADVERTISE_KEYS, body))


def resealed(message: Message, sealed: dict[Seat, bytes]) -> KeysShared:
    header = SharedKeysHeader.decode(expect(KeysShared, message).header.body)
    again = reshared(message, sealed_digest=sealed_digest(header.t1, LIAR, sealed))
    return replace(again, sealed=sealed)


def flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def sealed_of(message: Message) -> dict[Seat, bytes]:
    return dict(expect(KeysShared, message).sealed)


def resigned(message: Message, signature: bytes) -> Message:
    match message:
        case KeysAdvertised() | SharesRevealed():
            return replace(message, signed=replace(message.signed, signature=signature))
        case KeysShared() | InputMasked():
            return replace(message, header=replace(message.header, signature=signature))
        case ConsistencySigned():
            return replace(message, signature=signature)
        case Complained():
            raise AssertionError(message)


def with_payload_changed(message: Message) -> Message:
    match message:
        case KeysShared():
            return replace(message, sealed=sealed_of(message) | {0: bytes(80)})
        case InputMasked():
            return replace(message, masked=flip(message.masked))
        case _:
            raise AssertionError(message)


Change = Callable[[Message], Message]
OTHER = entropy("other", size=32)

REFUSED: list[tuple[type[Message], Change, str]] = [
    (KeysAdvertised, lambda m: resigned(m, bytes(64)), "signature"),
    (KeysAdvertised, lambda m: readvertised(m, session=OTHER), "is for session"),
    (KeysAdvertised, lambda m: readvertised(m, seat=3), "names seat 3"),
    (KeysAdvertised, lambda m: readvertised(m, mask_key=bytes(32)), "small order"),
    (KeysAdvertised, lambda m: KeysAdvertised(LIAR, signed_by(LIAR, labels.TYPE_ADVERTISE_KEYS, b"junk")), "cut short"),
    (KeysShared, lambda m: resigned(m, bytes(64)), "signature"),
    (KeysShared, lambda m: reshared(m, t1=OTHER), "is for T1"),
    (KeysShared, lambda m: reshared(m, seat=3), "names seat 3"),
    (KeysShared, with_payload_changed, "not those its header names"),
    (KeysShared, lambda m: resealed(m, {0: bytes(80)}), "other recipients"),
    (KeysShared, lambda m: resealed(m, sealed_of(m) | {LIAR: bytes(80)}), "other recipients"),
    (KeysShared, lambda m: resealed(m, sealed_of(m) | {0: bytes(81)}), "must have 80 bytes"),
    (InputMasked, lambda m: resigned(m, bytes(64)), "signature"),
    (InputMasked, with_payload_changed, "not the one its header names"),
    (InputMasked, lambda m: remasked(m, t2=OTHER), "is for T2"),
    (InputMasked, lambda m: remasked(m, seat=3), "names seat 3"),
    (InputMasked, lambda m: remasked(m, masked=bytes(39)), "masked input: a vector of 5 lanes"),
    (InputMasked, lambda m: remasked(m, masked=bytes(40) + b"\xff" * 32), "below the order"),
    (InputMasked, lambda m: remasked(m, commitments=bytes(96)), "holds 2 commitments, expected 1"),
    (InputMasked, lambda m: remasked(m, commitments=bytes(48)), "other commitments than those it fixed in round 1"),
    (ConsistencySigned, lambda m: ConsistencySigned(LIAR, bytes(64)), "signature"),
]


@pytest.mark.parametrize(("kind", "change", "reason"), REFUSED)
def test_faulty_message_is_refused_by_seat_and_the_phase_stands(
    kind: type[Message], change: Change, reason: str
) -> None:
    phase, honest = before_the_liar(kind)
    with pytest.raises(ProtocolError, match=reason) as caught:
        receive(phase, change(honest))
    assert caught.value.peer == "seat 2"
    assert receive(phase, honest) is not phase


def rerevealed(message: Message, **changes: object) -> SharesRevealed:
    shares = replace(UnmaskingShares.decode(expect(SharesRevealed, message).signed.body), **changes)  # type: ignore[arg-type]  # any field, also a wrong one, is meant
    return SharesRevealed(LIAR, signed_by(LIAR, labels.TYPE_UNMASKING, shares.encode()))


REVEALED: list[tuple[Change, str]] = [
    (lambda m: resigned(m, bytes(64)), "signature"),
    (lambda m: SharesRevealed(LIAR, Signed(b"", b"")), "signature"),
    (lambda m: SharesRevealed(LIAR, signed_by(LIAR, labels.TYPE_UNMASKING, b"junk")), "cut short"),
    (lambda m: rerevealed(m, t3=OTHER), "is for T3"),
    (lambda m: rerevealed(m, seat=3), "names seat 3"),
    (lambda m: rerevealed(m, self_mask={0: 1}), "another set than the survivors"),
    (lambda m: rerevealed(m, mask_key={9: 1}), "another set than those who dropped out"),
]


@pytest.mark.parametrize(("change", "reason"), REVEALED)
def test_faulty_shares_are_refused_also_when_the_sum_is_there_without_them(change: Change, reason: str) -> None:
    """A receipt says that a message was good, and what breaks the protocol is recorded, however late it comes."""
    network, sealed = Waiting(SharesRevealed), parameters(N)
    phase = Consortium(sealed, inputs_for(sealed), network=network).run()
    assert isinstance(phase, Summed)
    honest = network.kept[0]
    with pytest.raises(ProtocolError, match=reason) as caught:
        receive(phase, change(honest))
    assert caught.value.peer == "seat 2"
    assert receive(phase, honest) is phase


def test_signature_of_another_view_is_refused() -> None:
    phase, _ = before_the_liar(ConsistencySigned)
    other = ConsistencyStatement(OTHER, frozenset({1}), frozenset({1}), frozenset({1})).encode()
    with pytest.raises(ProtocolError, match="seat 2: message of seat 2: signature"):
        receive(phase, ConsistencySigned(LIAR, signer(0, LIAR).sign(labels.TYPE_CONSISTENCY, other)))


def test_keys_of_another_seat_are_refused() -> None:
    phase, honest = before_the_liar(KeysAdvertised)
    taken = next(iter(phase.keys.values()))  # type: ignore[union-attr]  # the phase is known here
    for key in (taken.channel_key, taken.mask_key):
        with pytest.raises(ProtocolError, match="seat 2 advertises a key that seat 0 advertises"):
            receive(phase, readvertised(honest, channel_key=key))


def test_a_seat_outside_the_sealed_roster_is_refused() -> None:
    phase, honest = before_the_liar(KeysAdvertised)
    with pytest.raises(ProtocolError, match="not among the sealed joins") as caught:
        receive(phase, KeysAdvertised(9, expect(KeysAdvertised, honest).signed))
    assert caught.value.peer == "seat 9"


def other_bytes(message: Message) -> Message:
    match message:
        case KeysAdvertised():
            return readvertised(message, nonce=OTHER)
        case KeysShared():
            return reshared(message, self_seed_digest=OTHER)
        case InputMasked():
            return remasked(message, contribution=OTHER)
        case ConsistencySigned():
            return ConsistencySigned(message.seat, flip(message.signature))
        case SharesRevealed():
            return SharesRevealed(message.seat, replace(message.signed, signature=flip(message.signed.signature)))
        case Complained():
            raise AssertionError(message)


@pytest.mark.parametrize("kind", KINDS)
def test_resend_of_the_same_bytes_is_the_same_phase_and_other_bytes_are_refused_ever_after(
    kind: type[Message],
) -> None:
    all_parties = consortium(N)
    seen: Message | None = None
    phase: Phase = all_parties.phase
    all_parties.run()
    for message in all_parties.sent:
        phase = receive(phase, message)
        seen = message if isinstance(message, kind) and message.seat == LIAR else seen
        if seen is not None:
            assert receive(phase, seen) is phase
            with pytest.raises(ProtocolError, match="other bytes") as caught:
                receive(phase, other_bytes(seen))
            assert caught.value.peer == "seat 2"
    assert isinstance(phase, Summed)


@pytest.mark.parametrize(
    ("kind", "reason"), [(KeysShared, "sealed shares are not"), (InputMasked, "masked input is not")]
)
def test_resend_with_the_same_header_and_another_payload_is_refused(kind: type[Message], reason: str) -> None:
    all_parties = consortium(N)
    end = all_parties.run()
    sent = next(message for message in all_parties.sent if isinstance(message, kind) and message.seat == LIAR)
    with pytest.raises(ProtocolError, match=reason):
        receive(end, with_payload_changed(sent))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_message_of_a_round_that_has_not_begun_is_refused(kind: type[Message]) -> None:
    all_parties = consortium(N)
    start = all_parties.phase
    all_parties.run()
    early = next(message for message in all_parties.sent if isinstance(message, kind))
    with pytest.raises(ProtocolError, match="has not begun"):
        receive(start, early)


@pytest.mark.parametrize("kind", KINDS[:4])
def test_message_of_a_closed_round_is_refused(kind: type[Message]) -> None:
    phase, late = before_the_liar(kind)
    with pytest.raises(ProtocolError, match="after that round closed") as caught:
        receive(expire(phase), late)
    assert caught.value.peer == "seat 2"


def test_only_survivors_may_sign_and_only_signers_may_reveal() -> None:
    all_parties = consortium(N)
    all_parties.run_until(Stage.CONSISTENCY, {LIAR: Stage.MASKED_INPUT})
    with pytest.raises(ProtocolError, match="not among the survivors"):
        receive(all_parties.phase, ConsistencySigned(LIAR, bytes(64)))
    all_parties.agree()
    junk = Signed(b"", b"")
    with pytest.raises(ProtocolError, match="not among the signers"):
        receive(all_parties.phase, SharesRevealed(LIAR, junk))
    all_parties.reveal()
    with pytest.raises(ProtocolError, match="not among the signers"):
        receive(all_parties.phase, SharesRevealed(LIAR, junk))


def test_only_members_of_u1_may_share_and_only_members_of_u2_may_mask() -> None:
    absent = consortium(N)
    absent.run_until(Stage.SHARE_KEYS, {LIAR: Stage.ADVERTISE_KEYS})
    with pytest.raises(ProtocolError, match="not among those who advertised"):
        receive(absent.phase, KeysShared(LIAR, Signed(b"", b""), {}))
    absent.share_keys()
    with pytest.raises(ProtocolError, match="not among those who shared"):
        receive(absent.phase, InputMasked(LIAR, Signed(b"", b""), b""))
