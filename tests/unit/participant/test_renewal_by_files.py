"""Renewal where the TLS key lies at a relay: what its site signs and what not, what the relay takes, and steps that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from testkit.failing_disk import FailingDisk, KilledError
from testkit.renewal_office import LIST, NAME, NOW, SITE, Desk, Office
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import new_tls_key
from vdb_participant.offline import renewing
from vdb_participant.offline.files import (
    Answer,
    Call,
    Refusal,
    Reply,
    Request,
)
from vdb_participant.offline.renewing import QUESTION, RENEW, Wish, read_signed
from vdb_participant.site import tls_files
from vdb_participant.site.keys import (
    certificate_digest,
    certificate_request,
    decode_tls_key,
    encode_tls_key,
    generate_tls_key,
)
from vdb_participant.site.storage import write_durably
from vdb_participant.site.tls_files import read_pair
from vdb_shared import labels
from vdb_shared.errors import AwaitedAnswerError, IdentityError, SignatureError, UnreachableError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import possession_body, renewal_body


@pytest.fixture
def office(tmp_path: Path) -> Office:
    authority, _ = CertificateAuthority.create("testbed", NOW - timedelta(days=100))
    found, key = Office(tmp_path, authority), generate_tls_key()
    chain = authority.issue_client(key.public_key(), NAME, NOW - timedelta(days=12)) + authority.pem
    write_durably(found.relay.tls_key, encode_tls_key(key, None))
    for folder in (found.relay, found.state):
        write_durably(folder.certificate, chain)
    return found


def asked(office: Office) -> Reply:
    """Return what the relay asks for."""
    (found,) = office.keeper().wish(Request(1, (Call(LIST, (b"",)),)))
    return found


def test_the_relay_asks_the_site_signs_and_the_pair_is_replaced(office: Office) -> None:
    before = office.pair()
    call = office.signer().sign(asked(office))
    answer = office.keeper().reply(call, alone=False)
    assert (answer.refusal, office.replaced) == (None, 1)
    assert office.signer().settle(answer) is not None
    assert office.pair() == office.state.certificate.read_bytes() != before
    assert office.signer().waiting() is None
    assert sorted(path.name for path in office.relay.path.iterdir()) == ["tls.lock", "tls.pem"]
    assert office.keeper().wish(Request(2, (Call(LIST, (b"",)),))) == (), "it is young"


# What is signed.


def test_the_signature_is_good_for_this_renewal_and_nothing_else(office: Office) -> None:
    before = office.pair()
    message = pb.RenewCertificateRequest.FromString(office.signer().sign(asked(office)).parts[0])
    body = renewal_body("testbed", "clinic", certificate_digest(before), message.certificate_request)
    SITE.public_key.verify(labels.TYPE_RENEWAL, body, message.possession)
    others = [
        (labels.TYPE_POSSESSION, body),
        (labels.TYPE_POSSESSION, possession_body(bytes(32), "clinic", message.certificate_request)),
        (labels.TYPE_CARRIED_REQUEST, body),
        (labels.TYPE_RENEWAL, message.certificate_request),
        (
            labels.TYPE_RENEWAL,
            renewal_body("testbed", "other", certificate_digest(before), message.certificate_request),
        ),
    ]
    for kind, other in others:
        with pytest.raises(SignatureError):
            SITE.public_key.verify(kind, other, message.possession)


def _named(key: Any, name: str = "clinic", **more: Any) -> bytes:
    builder = x509.CertificateSigningRequestBuilder()
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    if "extension" in more:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if "attribute" in more:
        builder = builder.add_attribute(
            AttributeOID.CHALLENGE_PASSWORD, b"a statement that somebody wants to be signed"
        )
    digest = None if isinstance(key, Ed25519PrivateKey) else SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def _unsigned() -> bytes:
    data = bytearray(certificate_request(generate_tls_key(), "clinic"))
    data[-1] ^= 1
    return bytes(data)


ATTACKS: dict[str, tuple[Callable[[Office, Reply], tuple[bytes, ...]], str]] = {
    "bytes of its choice": (lambda _, r: (r.parts[0], b'{"reason":"we abort"}'), "cannot be read"),
    "bytes behind a request": (lambda _, r: (r.parts[0], r.parts[1] + b"\0"), "cannot be read"),
    "a long text": (lambda _, r: (r.parts[0], r.parts[1] + bytes(2**13)), "asks for no renewal"),
    "three parts": (lambda _, r: (*r.parts, b""), "asks for no renewal"),
    "nothing": (lambda _o, _r: (), "asks for no renewal"),
    "a key that it has not": (lambda _, r: (r.parts[0], _unsigned()), "not signed by its own key"),
    "another name": (lambda _, r: (r.parts[0], _named(new_tls_key(), "other")), "says more or else than clinic"),
    "an authority": (lambda _, r: (r.parts[0], _named(new_tls_key(), extension=True)), "says more or else than clinic"),
    "a hidden text": (
        lambda _, r: (r.parts[0], _named(new_tls_key(), attribute=True)),
        "says more or else than clinic",
    ),
    "a statement key": (lambda _, r: (r.parts[0], _named(Ed25519PrivateKey.generate())), "another kind of key"),
    "a larger curve": (lambda _, r: (r.parts[0], _named(generate_private_key(SECP384R1()))), "another kind of key"),
    "no certificate": (lambda _, r: (b"nonsense", r.parts[1]), "cannot be read"),
    "another institution's": (
        lambda o, r: (o.chain(name=spiffe_id("testbed", "participant", "other")), r.parts[1]),
        "a certificate of another name",
    ),
    "another authority's": (
        lambda o, r: (o.chain(authority=CertificateAuthority.create("testbed", NOW)[0]), r.parts[1]),
        "a certificate of another authority",
    ),
    "one that ended": (lambda o, r: (o.chain(31), r.parts[1]), "that ended on .*; ask the lead for a new invitation"),
    "an older one": (lambda o, r: (o.chain(14), r.parts[1]), "older than one that it had before"),
    "a young one": (lambda o, r: (o.chain(3), r.parts[1]), "that is not due before"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_relay_has_nothing_else_signed(office: Office, attack: str) -> None:
    make, words = ATTACKS[attack]
    honest = asked(office)
    forged = replace(honest, parts=make(office, honest))
    with pytest.raises(IdentityError, match=words):
        office.signer().sign(forged)
    office.signer().look(Answer(1, "", (forged,)))
    assert read_signed(office.state) is None
    assert office.signer().waiting() is None
    assert office.signer().sign(honest), "what an honest one asks is signed"


def test_the_key_that_is_certified_already_is_not_signed_for_again(office: Office) -> None:
    key_pem, chain = read_pair(office.relay)
    request = certificate_request(decode_tls_key(key_pem, None), "clinic")
    with pytest.raises(IdentityError, match="for the key that it has already"):
        office.signer().sign(Reply(RENEW, QUESTION.digest, (chain, request)))


def test_one_key_is_signed_for_after_each_certificate(office: Office) -> None:
    """A thief with a copy of the relay asks with a key of his own, before or after the relay: one of the two is told."""
    honest = asked(office)
    thief = replace(honest, parts=(honest.parts[0], certificate_request(generate_tls_key(), "clinic")))
    first = office.signer().sign(honest)
    assert office.signer().sign(honest) == first, "the same again is the same"
    with pytest.raises(IdentityError, match="it may have been copied: have the lead revoke"):
        office.signer().sign(thief)
    answer = office.keeper().reply(first, alone=True)
    office.signer().settle(answer)
    with pytest.raises(IdentityError, match="older than one that it had before"):
        office.signer().sign(thief)
    assert office.signer().sign(thief, Wish(another=True)), "the protection is off when the operator says so"


def test_by_hand_a_young_one_is_renewed_too(office: Office) -> None:
    honest = asked(office)
    young = replace(honest, parts=(office.chain(3), honest.parts[1]))
    assert office.signer().sign(young, Wish(early=True))


# What is taken.

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"key": new_tls_key().public_key()}, "for another key"),
    ({"name": spiffe_id("testbed", "participant", "other")}, "for another name"),
    ({"answering": CertificateAuthority.create("testbed", NOW)[0]}, "by another authority"),
    ({"issued": NOW + timedelta(days=2)}, "for another time"),
    ({"lifetime": timedelta(days=2)}, "that ends before the present one"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_certificate_that_is_not_for_us_is_taken_nowhere(office: Office, change: dict[str, Any], words: str) -> None:
    """A coordinator lies to the relay; or the relay to its site, which shows the operator what it was told."""
    before, call = office.pair(), office.signer().sign(asked(office))
    lying = replace(office, **change)
    answer = lying.keeper().reply(call, alone=True)
    assert answer.refusal is not None
    assert words in answer.refusal.words
    assert (office.pair(), office.relay.tls.exists()) == (before, False)
    with pytest.raises(IdentityError, match=f"{words}.*the relay's present one stays"):
        office.signer().settle(answer)
    assert office.signer().waiting() is None
    if words == "for another time":
        return
    call = office.signer().sign(asked(office))
    message = lying._answer(pb.RenewCertificateRequest.FromString(call.parts[0]), 1.0)
    with pytest.raises(IdentityError, match=words):
        office.signer().settle(Reply(RENEW, call.digest, (message.SerializeToString(),)))
    assert office.state.certificate.read_bytes() == before
    assert office.keeper().reply(office.signer().sign(asked(office)), alone=True).refusal is None


def test_a_site_whose_clock_is_behind_knows_the_new_one_too(office: Office) -> None:
    """Nothing sets the clock of a machine without a network; the relay looks at its own before it uses a certificate."""
    behind = replace(office.signer(), now=lambda: NOW - timedelta(days=1))
    answer = office.keeper().reply(behind.sign(asked(office)), alone=True)
    assert behind.settle(answer) is not None
    assert office.state.certificate.read_bytes() == office.pair()


def test_a_relay_that_says_nothing_intelligible_is_told_apart(office: Office) -> None:
    call = office.signer().sign(asked(office))
    assert office.signer().settle(Reply(RENEW, QUESTION.digest, (b"",))) is None, "the answer to another call"
    with pytest.raises(IdentityError, match="has no certificate"):
        office.signer().settle(Reply(RENEW, call.digest, (b"\xff",)))
    with pytest.raises(IdentityError, match="the relay says: no"):
        office.signer().sign(Reply(RENEW, QUESTION.digest, (), Refusal("UNKNOWN", "no", b"")))


def test_a_coordinator_that_is_away_stops_only_who_waits_for_this(office: Office) -> None:
    call = office.signer().sign(asked(office))
    office.away = True
    assert office.keeper().reply(call, alone=False).refusal is not None
    with pytest.raises(UnreachableError):
        office.keeper().reply(call, alone=True)
    office.away = False
    assert office.keeper().reply(call, alone=True).refusal is None


def test_a_coordinator_that_renews_nothing_is_not_asked_to(office: Office) -> None:
    office.capabilities = frozenset()
    assert office.keeper().wish(Request(1, (Call(LIST, (b"",)),))) == ()
    assert office.said[-1].endswith("ask the lead to update it, or for a new invitation")
    answer = office.keeper().reply(QUESTION, alone=True)
    assert answer.refusal is not None
    assert not office.relay.tls_next.exists()


# Steps that fail.


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failing", range(5))
def test_killed_at_any_operation_of_its_disk_the_relay_has_a_pair_and_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing: int, after: bool
) -> None:
    """The key is written, the pair is written, three files are erased."""
    before, disk = office.pair(), FailingDisk(failing, after=after)
    with monkeypatch.context() as broken:
        for name in ("write_durably", "erase"):
            broken.setattr(tls_files, name, disk.around(getattr(tls_files, name)))
        with pytest.raises(KilledError):
            office.keeper().reply(office.signer().sign(asked(office)), alone=True)
    assert office.pair()
    call = office.signer().waiting() or office.signer().sign(asked(office))
    answer = office.keeper().reply(call, alone=True)
    assert answer.refusal is None
    assert office.signer().settle(answer) is not None
    assert office.pair() == office.state.certificate.read_bytes() != before
    assert len({request.certificate_request for request in office.asked}) == 1, "one key"
    assert sorted(path.name for path in office.relay.path.iterdir()) == ["tls.lock", "tls.pem"]


def test_what_was_signed_goes_with_every_request_until_it_is_answered(office: Office) -> None:
    """The site may ask something else before the answer comes, and dies before it has looked."""
    desk = Desk(office)
    with pytest.raises(AwaitedAnswerError):
        desk.client().sessions()
    desk.answer(asked(office))
    client = desk.client()
    client.sessions()
    signed = office.signer().waiting()
    assert signed is not None
    for number in (2, 3):
        with pytest.raises(AwaitedAnswerError):
            client.sessions() if number == 2 else desk.client().details("4f2a")
        request, _ = desk.request()
        assert (request.number, request.calls[0]) == (number, signed)
    with pytest.raises(AwaitedAnswerError):
        desk.client().details("4f2a")
    assert desk.request()[0].number == 3, "asking again makes no new file"
    left = [item.what for item in desk.egress.departures]
    assert left.count(RENEW) == 2, "once for each file, before it was there"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("failing", range(4))
def test_killed_at_any_write_of_the_site_the_next_files_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, failing: int, after: bool
) -> None:
    """It writes the certificate that it was shown and what it signed, then the new certificate and that it is settled."""
    desk, before, disk, killed = Desk(office), office.pair(), FailingDisk(failing, after=after), 0
    monkeypatch.setattr(renewing, "write_durably", disk.around(write_durably))
    for _ in range(6):
        client = desk.client()
        try:
            client.sessions()
            client.sessions()  # what is here already is used up first
        except KilledError:
            killed += 1
        except AwaitedAnswerError:
            request, _ = desk.request()
            keeper = office.keeper()
            renewals = [keeper.reply(call, alone=False) for call in request.calls if call.method == RENEW]
            desk.answer(*renewals, *keeper.wish(request))
    assert killed == 1
    assert office.pair() == office.state.certificate.read_bytes() != before
    assert office.signer().waiting() is None
    assert len({request.certificate_request for request in office.asked}) == 1, "one key"


@pytest.mark.parametrize("attack", ["bytes of its choice", "another name", "a young one"])
def test_what_a_relay_must_not_ask_disturbs_no_session_and_leaves_nothing(office: Office, attack: str) -> None:
    desk, honest = Desk(office), asked(office)
    client = desk.client()
    with pytest.raises(AwaitedAnswerError):
        client.sessions()
    desk.answer(replace(honest, parts=ATTACKS[attack][0](office, honest)))
    assert client.sessions() == ()
    with pytest.raises(AwaitedAnswerError):
        client.sessions()
    assert [call.method for call in desk.request()[0].calls] == [LIST]
    assert {item.what for item in desk.egress.departures} == {LIST}
    desk.answer(honest)
    assert client.sessions() == ()
    with pytest.raises(AwaitedAnswerError):
        client.sessions()
    assert [call.method for call in desk.request()[0].calls] == [RENEW, LIST], "what an honest one asks goes along"
