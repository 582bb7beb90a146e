"""Later versions of the trust root: who must sign them, and what nobody can do without the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from testkit.consortium import entropy
from vdb_coordinator.identity.roots import (
    RootChange,
    accepted,
    contents,
    key_id_of,
    parse_public_pem,
    proposed,
    public_pem,
    with_signature,
)
from vdb_coordinator.identity.trust import ROOT_LIFETIME, make_root, roster_needs_renewal, sign_roster
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.roster import SignedRoster
from vdb_shared.roster import last_root as last_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEAD, ANNA, BELA, ROSTER, OTHER = (
    Ed25519PrivateKey.from_private_bytes(entropy("root", name, size=32))
    for name in ("lead", "anna", "bela", "roster", "x")
)
FIRST = make_root(LEAD, ROSTER, NOW)
TWO_OF_THREE = RootChange(add=(ANNA.public_key(), BELA.public_key()), threshold=2)


def signed(file: bytes, *keys: Ed25519PrivateKey) -> bytes:
    for key in keys:
        file = with_signature(file, key)
    return file


def second() -> bytes:
    """Return version 2, of which two of three holders must sign the next one."""
    return accepted([FIRST], [signed(proposed([FIRST], TWO_OF_THREE, NOW), LEAD, ANNA)], NOW)


def test_more_holders_and_a_threshold() -> None:
    found = contents(second())
    assert (found.version, found.threshold, len(found.keys)) == (2, 2, 3)
    assert set(found.signed) == {key_id_of(key.public_key()) for key in (LEAD, ANNA)}
    assert found.roster_keys == (key_id_of(ROSTER.public_key()),)
    assert found.expires == NOW + ROOT_LIFETIME


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), "0 of 1 signatures that version 1 demands"),
        ((ANNA, BELA), "0 of 1 signatures that version 1 demands"),
        ((LEAD,), "1 of 2 signatures that its own keys demands"),
        ((LEAD, LEAD), "1 of 2 signatures that its own keys demands"),
        ((LEAD, OTHER), "1 of 2 signatures that its own keys demands"),
        ((LEAD, ROSTER), "1 of 2 signatures that its own keys demands"),
    ],
)
def test_both_thresholds_must_be_met(keys: tuple[Ed25519PrivateKey, ...], words: str) -> None:
    with pytest.raises(IdentityError, match=words):
        accepted([FIRST], [signed(proposed([FIRST], TWO_OF_THREE, NOW), *keys)], NOW)


def test_holders_sign_copies_and_the_lead_puts_them_together() -> None:
    draft = proposed([FIRST], TWO_OF_THREE, NOW)
    together = accepted([FIRST], [signed(draft, LEAD), signed(draft, ANNA), signed(draft, OTHER)], NOW)
    assert together == second()
    assert accepted([FIRST], [signed(draft, ANNA, OTHER), signed(draft, LEAD)], NOW)
    other = proposed([FIRST], TWO_OF_THREE, NOW + timedelta(days=1))
    with pytest.raises(IdentityError, match="not copies of one"):
        accepted([FIRST], [signed(draft, LEAD), signed(other, ANNA)], NOW)


def test_a_signature_that_does_not_verify_takes_nobodys_place() -> None:
    draft = proposed([FIRST], TWO_OF_THREE, NOW)
    spoiled = signed(proposed([FIRST], RootChange(), NOW), LEAD)
    genuine, wrong = last_of([FIRST]), contents(spoiled)
    assert wrong.signed, "the lead did sign something else"
    stolen = spoiled[spoiled.index(b'"signatures"') : spoiled.index(b'"signed"')]
    mine = signed(draft, LEAD)
    forged = mine.replace(mine[mine.index(b'"signatures"') : mine.index(b'"signed"')], stolen)
    assert genuine.signed.version == 1
    assert accepted([FIRST], [signed(draft, LEAD, ANNA), forged], NOW) == second()
    with pytest.raises(IdentityError, match="signatures that version 1 demands"):
        accepted([FIRST], [signed(forged, ANNA)], NOW)


def test_the_lead_alone_cannot_take_the_root_back() -> None:
    chain = [FIRST, second()]
    draft = proposed(chain, RootChange(remove=contents(second()).keys[:0], threshold=1), NOW)
    with pytest.raises(IdentityError, match="1 of 2 signatures that version 2 demands"):
        accepted(chain, [signed(draft, LEAD)], NOW)
    with pytest.raises(IdentityError, match="version 2 of the root, 3 is next"):
        accepted(chain, [signed(proposed([FIRST], RootChange(), NOW), LEAD)], NOW)


def test_a_key_is_replaced_with_the_others_signatures_and_its_holder_need_not_be_there() -> None:
    """The lead's own key was lost: the two others take it out and a new one in."""
    chain = [FIRST, second()]
    change = RootChange(add=(OTHER.public_key(),), remove=(key_id_of(LEAD.public_key()),))
    third = accepted(chain, [signed(proposed(chain, change, NOW), ANNA, BELA)], NOW)
    assert key_id_of(LEAD.public_key()) not in contents(third).keys
    last_of([*chain, third])
    chain.append(third)
    fourth = signed(proposed(chain, RootChange(), NOW), LEAD, ANNA)
    with pytest.raises(IdentityError, match="1 of 2 signatures that version 3 demands"):
        accepted(chain, [fourth], NOW)


def test_the_roster_key_is_replaced_and_the_old_one_signs_nothing_more() -> None:
    fresh = Ed25519PrivateKey.generate()
    rotated = accepted([FIRST], [signed(proposed([FIRST], RootChange(roster_key=fresh.public_key()), NOW), LEAD)], NOW)
    roots, roster = (FIRST, rotated), b"{}"
    assert roster_needs_renewal(roots, sign_roster(ROSTER, roster, 8, NOW), NOW)
    assert not roster_needs_renewal(roots, sign_roster(fresh, roster, 9, NOW), NOW)
    with pytest.raises(IdentityError, match="not signed as the trust root demands"):
        SignedRoster(roots, sign_roster(ROSTER, roster, 99, NOW), roster).verify(None, NOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (RootChange(threshold=2), "2 of 1 root keys"),
        (RootChange(remove=(key_id_of(LEAD.public_key()),)), "1 of 0 root keys"),
        (RootChange(remove=("0" * 64,)), "is no root key"),
        (RootChange(add=(LEAD.public_key(),)), "is a key of the root or of the roster already"),
        (RootChange(add=(ROSTER.public_key(),)), "is a key of the root or of the roster already"),
        (RootChange(roster_key=LEAD.public_key()), "is a key of the root or of the roster already"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(change: RootChange, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        proposed([FIRST], change, NOW)


def test_an_expired_proposal_is_refused() -> None:
    draft = signed(proposed([FIRST], RootChange(), NOW), LEAD)
    with pytest.raises(IdentityError, match="expired"):
        accepted([FIRST], [draft], NOW + ROOT_LIFETIME + timedelta(days=1))


def test_public_keys_travel_as_pem() -> None:
    assert parse_public_pem(public_pem(ANNA.public_key())) == ANNA.public_key()
    for wrong in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(IdentityError, match="expected a public key"):
            parse_public_pem(wrong)
    with pytest.raises(IdentityError, match="no version of a trust root"):
        contents(sign_roster(ROSTER, b"{}", 1, NOW))
