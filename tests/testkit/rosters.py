"""Rosters of a small consortium, signed under roots of any keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from vdb_shared.identity import StatementKey
from vdb_shared.roster import ROSTER_TARGET, Member, Roster

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
