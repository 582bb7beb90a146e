from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from testkit.consortium import entropy
from vdb_shared.errors import FormatError
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.sealing import (
    SEALED_BYTES,
    Route,
    SharePair,
    open_sealed,
    seal,
    sealed_digest,
    self_seed_digest,
)

ROUTE = Route(entropy("T1", size=32), 2, 5)
AGREEMENT = entropy("channel", size=32)
PAIR = SharePair(FIELD_ORDER - 1, 7)


def test_a_sealed_pair_opens_on_its_route() -> None:
    sealed = seal(PAIR, ROUTE, AGREEMENT)
    assert len(sealed) == SEALED_BYTES
    assert open_sealed(sealed, ROUTE, AGREEMENT) == PAIR


@pytest.mark.parametrize(
    "route",
    [
        replace(ROUTE, t1=bytes(32)),
        replace(ROUTE, sender=3),
        replace(ROUTE, recipient=6),
        replace(ROUTE, sender=5, recipient=2),
    ],
    ids=["other_transcript", "other_sender", "other_recipient", "reflected"],
)
def test_it_opens_on_no_other_route(route: Route) -> None:
    with pytest.raises(FormatError, match="does not open"):
        open_sealed(seal(PAIR, ROUTE, AGREEMENT), route, AGREEMENT)


def test_it_opens_with_no_other_agreement() -> None:
    with pytest.raises(FormatError, match="does not open"):
        open_sealed(seal(PAIR, ROUTE, AGREEMENT), ROUTE, bytes(32))


def test_every_changed_byte_is_noticed() -> None:
    sealed = seal(PAIR, ROUTE, AGREEMENT)
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(FormatError, match="does not open"):
            open_sealed(changed, ROUTE, AGREEMENT)


@pytest.mark.parametrize("plain", [b"", bytes(32), bytes(63), bytes(65), bytes(96)])
def test_what_opens_must_have_the_size_of_two_shares(plain: bytes) -> None:
    sealed = ChaCha20Poly1305(ROUTE.key(AGREEMENT)).encrypt(bytes(12), plain, ROUTE.associated())
    with pytest.raises(FormatError, match="a pair of shares has 64 bytes"):
        open_sealed(sealed, ROUTE, AGREEMENT)


@pytest.mark.parametrize("plain", [bytes(32) + b"\xff" * 32, b"\xff" * 32 + bytes(32)])
def test_what_opens_must_be_two_shares(plain: bytes) -> None:
    sealed = ChaCha20Poly1305(ROUTE.key(AGREEMENT)).encrypt(bytes(12), plain, ROUTE.associated())
    with pytest.raises(FormatError, match="below the order"):
        open_sealed(sealed, ROUTE, AGREEMENT)


def test_empty_ciphertext_is_refused() -> None:
    with pytest.raises(FormatError, match="does not open"):
        open_sealed(b"", ROUTE, AGREEMENT)


def test_shares_do_not_print() -> None:
    assert repr(SharePair(123456, 654321)) == "SharePair()"


def test_digests_depend_on_all_they_are_given() -> None:
    t1 = ROUTE.t1
    sealed = {3: b"a", 4: b"b"}
    assert sealed_digest(t1, 2, sealed) == sealed_digest(t1, 2, dict(reversed(sealed.items())))
    assert (
        len({sealed_digest(t1, 2, sealed), sealed_digest(t1, 3, sealed), sealed_digest(t1, 2, {3: b"b", 4: b"a"})}) == 3
    )
    assert len({self_seed_digest(t1, 2, b"s"), self_seed_digest(t1, 3, b"s"), self_seed_digest(t1, 2, b"t")}) == 3
