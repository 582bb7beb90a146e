"""The roster is what the pinned root vouches for, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from vdb_participant.site.config import StateFolder, check_not_superseded, save_roster
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


def test_a_superseded_roster_is_refused(tmp_path: Path) -> None:
    """Genuinely signed, not expired, but older than one seen before: a replaced key must not come back."""
    keys = [CryptoSigner.generate_ed25519()]
    roster, root = ROSTER.canonical(), root_signed_by(keys)
    older = SignedRoster((root,), targets_signed_by(keys, roster, version=1), roster)
    newer = SignedRoster((root,), targets_signed_by(keys, roster, version=2), roster)
    folder = StateFolder(tmp_path)
    check_not_superseded(folder, older)
    save_roster(folder, newer)
    check_not_superseded(folder, newer)
    with pytest.raises(IdentityError, match="version 2 was seen before"):
        check_not_superseded(folder, older)
