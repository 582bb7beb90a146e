"""The roster is what the pinned root vouches for, and nothing else."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from vdb_participant.site.config import StateFolder
from vdb_participant.site.known_roster import accept_roster
from vdb_shared.errors import FormatError, IdentityError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import ROSTER_TARGET, Member, Roster, SignedRoster, parse_roster

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def member(name: str, seat: int | None) -> Member:
    role: Literal["coordinator", "participant"] = "coordinator" if seat is None else "participant"
    return Member(
        institution=name,
        role=role,
        seat=seat,
        statement_key=StatementKey.from_seed(name.encode().ljust(32, b".")).public_key.raw.hex(),
        spiffe_id=f"spiffe://test/{role}/{name}",
    )


ROSTER = Roster(
    version="vdb-roster/1", consortium="test", members=(member("a", 0), member("b", 1), member("lead", None))
)


def root_signed_by(
    signers: list[CryptoSigner], version: int = 1, threshold: int = 1, also: tuple[CryptoSigner, ...] = ()
) -> bytes:
    root = Root(version=version, expires=NOW + timedelta(days=365))
    for signer in signers:
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(signer.public_key, role)
    root.roles["root"].threshold = threshold
    root.roles["targets"].threshold = threshold
    metadata = Metadata(root)
    for signer in (*signers, *also):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def targets_signed_by(signers: list[CryptoSigner], roster: bytes, version: int = 1) -> bytes:
    targets = Targets(version=version, expires=NOW + timedelta(days=30))
    targets.targets[ROSTER_TARGET] = TargetFile.from_data(ROSTER_TARGET, roster)
    metadata = Metadata(targets)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


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


class Consortium:
    """Whoever signs rosters, and a site that is shown them."""

    def __init__(self, folder: Path) -> None:
        self.folder = StateFolder(folder)
        self._keys = [CryptoSigner.generate_ed25519()]
        self._root = root_signed_by(self._keys)

    def signed(self, version: int, *members: Member) -> SignedRoster:
        roster = Roster(version="vdb-roster/1", consortium="test", members=members).canonical()
        return SignedRoster((self._root,), targets_signed_by(self._keys, roster, version=version), roster)


A, B, C, LEAD = member("a", 0), member("b", 1), member("c", 2), member("lead", None)
B_WITH_ANOTHER_KEY = B.model_copy(update={"statement_key": member("stolen", 1).statement_key})


def test_a_session_opened_before_somebody_was_admitted_can_be_joined(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    newest = consortium.signed(2, A, B, C, LEAD)
    accept_roster(consortium.folder, newest)
    accept_roster(consortium.folder, consortium.signed(1, A, B, LEAD))
    assert (tmp_path / "roster" / "roster.json").read_bytes() == newest.roster, "the newest one is kept"


@pytest.mark.parametrize(
    "since", [(A, LEAD), (A, B_WITH_ANOTHER_KEY, LEAD), (A, C, LEAD)], ids=["revoked", "another key", "another member"]
)
def test_whoever_was_taken_out_does_not_come_back_with_an_older_roster(
    since: tuple[Member, ...], tmp_path: Path
) -> None:
    """Genuinely signed, not expired, but older than one that was seen."""
    consortium = Consortium(tmp_path)
    older = consortium.signed(1, A, B, LEAD)
    accept_roster(consortium.folder, older)
    accept_roster(consortium.folder, consortium.signed(2, *since))
    with pytest.raises(IdentityError, match="version 2 was seen here since: b is no member any more"):
        accept_roster(consortium.folder, older)


def test_an_older_roster_that_was_never_signed_before_brings_nobody_in(tmp_path: Path) -> None:
    """Who holds the roster key today can sign any number: an older one must not admit whom the newest does not have."""
    consortium = Consortium(tmp_path)
    accept_roster(consortium.folder, consortium.signed(7, A, B, LEAD))
    with pytest.raises(IdentityError, match="c is no member any more"):
        accept_roster(consortium.folder, consortium.signed(3, A, C, LEAD))


def test_a_site_that_stopped_between_two_files_takes_no_older_roster(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    older, newer = consortium.signed(1, A, B, LEAD), consortium.signed(2, A, LEAD)
    accept_roster(consortium.folder, older)
    (tmp_path / "roster" / "targets.json").write_bytes(newer.targets)
    with pytest.raises(IdentityError, match="is not known here"):
        accept_roster(consortium.folder, older)
    accept_roster(consortium.folder, newer)


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


def seen_with_two_roots(folder: StateFolder) -> tuple[list[CryptoSigner], list[CryptoSigner], SignedRoster]:
    """Return the keys of two versions of the root, and the roster under both, which the folder has seen."""
    old, new = [CryptoSigner.generate_ed25519()], [CryptoSigner.generate_ed25519()]
    roster = ROSTER.canonical()
    chain = (root_signed_by(old), root_signed_by(new, version=2, also=(old[0],)))
    seen = SignedRoster(chain, targets_signed_by(new, roster, version=2), roster)
    seen.verify(seen.root_fingerprint, NOW)
    accept_roster(folder, seen)
    return old, new, seen


def test_keys_that_the_root_replaced_cannot_come_back_behind_a_shorter_chain(tmp_path: Path) -> None:
    """Whoever holds the old roster key signs any version under the root that named it: the pin alone does not help."""
    folder = StateFolder(tmp_path)
    old, _, seen = seen_with_two_roots(folder)
    roster = ROSTER.canonical()
    rolled_back = SignedRoster(seen.roots[:1], targets_signed_by(old, roster, version=99), roster)
    assert rolled_back.verify(seen.root_fingerprint, NOW) == ROSTER
    with pytest.raises(IdentityError, match="version 1 of the trust root, version 2 was seen before"):
        accept_roster(folder, rolled_back)


def test_another_second_root_than_the_one_that_was_seen_is_refused(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    old, _, seen = seen_with_two_roots(folder)
    thief, roster = [CryptoSigner.generate_ed25519()], ROSTER.canonical()
    fork = root_signed_by(thief, version=2, also=(old[0],))
    forked = SignedRoster((seen.roots[0], fork), targets_signed_by(thief, roster, version=99), roster)
    assert forked.verify(seen.root_fingerprint, NOW) == ROSTER
    with pytest.raises(IdentityError, match="another version 2 of the trust root"):
        accept_roster(folder, forked)


def test_a_longer_chain_than_was_seen_is_taken_and_remembered(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    _, new, seen = seen_with_two_roots(folder)
    third, roster = [CryptoSigner.generate_ed25519()], ROSTER.canonical()
    chain = (*seen.roots, root_signed_by(third, version=3, also=(new[0],)))
    longer = SignedRoster(chain, targets_signed_by(third, roster, version=3), roster)
    longer.verify(seen.root_fingerprint, NOW)
    accept_roster(folder, longer)
    with pytest.raises(IdentityError, match="version 2 of the trust root, version 3 was seen"):
        accept_roster(folder, seen)
