"""The roster is what the pinned root vouches for, and nothing else."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from testkit.rosters import NOW, ROSTER, member, root_signed_by, targets_signed_by
from vdb_shared.errors import FormatError, IdentityError
from vdb_shared.roster import Member, Roster, SignedRoster, parse_roster


def test_roster_of_the_pinned_root_is_returned() -> None:
    keys = [CryptoSigner.generate_ed25519()]
    signed = SignedRoster((root_signed_by(keys),), targets_signed_by(keys, ROSTER.canonical()), ROSTER.canonical())
    assert signed.verify(signed.root_fingerprint, NOW) == ROSTER
    assert signed.verify(None, None) == ROSTER


def test_another_root_is_refused() -> None:
    keys = [CryptoSigner.generate_ed25519()]
    signed = SignedRoster((root_signed_by(keys),), targets_signed_by(keys, ROSTER.canonical()), ROSTER.canonical())
    with pytest.raises(IdentityError, match="is pinned"):
        signed.verify("sha256:" + "0" * 64, NOW)


def test_roster_signed_by_a_stranger_is_refused() -> None:
    keys, stranger = [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    signed = SignedRoster((root_signed_by(keys),), targets_signed_by(stranger, ROSTER.canonical()), ROSTER.canonical())
    with pytest.raises(IdentityError, match="trust root demands"):
        signed.verify(None, NOW)


def test_swapped_roster_is_refused() -> None:
    keys = [CryptoSigner.generate_ed25519()]
    other = Roster(version="vdb-roster/1", consortium="test", members=(member("evil", 0), member("lead", None)))
    signed = SignedRoster((root_signed_by(keys),), targets_signed_by(keys, ROSTER.canonical()), other.canonical())
    with pytest.raises(IdentityError, match="trust root demands"):
        signed.verify(None, NOW)


def test_threshold_counts() -> None:
    keys = [CryptoSigner.generate_ed25519() for _ in range(3)]
    root = root_signed_by(keys, threshold=2)
    enough = SignedRoster((root,), targets_signed_by(keys[:2], ROSTER.canonical()), ROSTER.canonical())
    assert enough.verify(None, NOW) == ROSTER
    too_few = SignedRoster((root,), targets_signed_by(keys[:1], ROSTER.canonical()), ROSTER.canonical())
    with pytest.raises(IdentityError):
        too_few.verify(None, NOW)


def test_root_rotation_needs_the_old_keys() -> None:
    old, new = [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    first = root_signed_by(old)
    roster, targets = ROSTER.canonical(), targets_signed_by(new, ROSTER.canonical())
    rotated = SignedRoster((first, root_signed_by(new, version=2, also=(old[0],))), targets, roster)
    assert rotated.verify(rotated.root_fingerprint, NOW) == ROSTER
    hijacked = SignedRoster((first, root_signed_by(new, version=2)), targets, roster)
    with pytest.raises(IdentityError):
        hijacked.verify(hijacked.root_fingerprint, NOW)
    skipped = SignedRoster((first, root_signed_by(new, version=3, also=(old[0],))), targets, roster)
    with pytest.raises(IdentityError, match="does not follow"):
        skipped.verify(None, NOW)


def test_who_knows_of_a_rotation_can_pin_the_newer_root() -> None:
    """The old key goes on signing; what it signs has a chain that ends before the root that replaced it."""
    old, new = [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    first, second = root_signed_by(old), root_signed_by(new, version=2, also=(old[0],))
    roster = ROSTER.canonical()
    honest = SignedRoster((first, second), targets_signed_by(new, roster), roster)
    by_thief = SignedRoster((first,), targets_signed_by(old, roster), roster)
    pinned = honest.root_fingerprints[1]
    assert by_thief.verify(honest.root_fingerprint, NOW) == ROSTER, "who pins the first root cannot tell"
    assert honest.verify(pinned, NOW) == ROSTER
    with pytest.raises(IdentityError, match="is pinned"):
        by_thief.verify(pinned, NOW)
    with pytest.raises(IdentityError):
        SignedRoster((root_signed_by(old, version=1), second), targets_signed_by(old, roster), roster).verify(
            pinned, NOW
        )


def test_the_roster_is_named_by_its_sha256_alone() -> None:
    keys, roster = [CryptoSigner.generate_ed25519()], ROSTER.canonical()
    targets: Metadata[Targets] = Metadata.from_bytes(targets_signed_by(keys, roster))
    weak = {"md5": hashlib.md5(roster, usedforsecurity=False).hexdigest()}
    targets.signed.targets["roster.json"] = TargetFile(len(roster), weak, "roster.json")
    targets.sign(keys[0])
    with pytest.raises(IdentityError, match="SHA-256 alone"):
        SignedRoster((root_signed_by(keys),), targets.to_bytes(), roster).verify(None, NOW)


def test_expiry_is_judged_at_the_time_given() -> None:
    keys = [CryptoSigner.generate_ed25519()]
    signed = SignedRoster((root_signed_by(keys),), targets_signed_by(keys, ROSTER.canonical()), ROSTER.canonical())
    with pytest.raises(IdentityError, match="expired"):
        signed.verify(None, NOW + timedelta(days=31))


@pytest.mark.parametrize(
    "members",
    [
        (member("a", 0), member("b", 0), member("lead", None)),
        (member("b", 1), member("a", 0), member("lead", None)),
        (member("a", 0), member("b", 1)),
        (member("a", 0), member("a", 0), member("lead", None)),
    ],
    ids=["seat twice", "unsorted", "no coordinator", "name twice"],
)
def test_incoherent_rosters_are_refused(members: tuple[Member, ...]) -> None:
    forged = Roster.model_construct(version="vdb-roster/1", consortium="test", members=members)
    with pytest.raises(FormatError, match="roster"):
        parse_roster(forged.canonical())


def test_a_key_under_two_names_does_not_count_twice() -> None:
    """Two of two must sign, and one holder has both names."""
    keys, root = [CryptoSigner.generate_ed25519()], Root(expires=NOW + timedelta(days=365))
    twin = CryptoSigner(keys[0]._private_key, SSlibKey("1" * 64, "ed25519", "ed25519", keys[0].public_key.keyval))
    for signer in (*keys, twin):
        for role in ("root", "targets"):
            root.add_key(signer.public_key, role)
            root.roles[role].threshold = 2
    metadata = Metadata(root)
    for signer in (*keys, twin):
        metadata.sign(signer, append=True)
    roster, targets = ROSTER.canonical(), targets_signed_by([*keys, twin], ROSTER.canonical())
    with pytest.raises(IdentityError, match="under two names"):
        SignedRoster((metadata.to_bytes(),), targets, roster).verify(None, NOW)
