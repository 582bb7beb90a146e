"""A consortium's log in memory, with institutions that witness it, for made-up sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vdb_shared.bundle.logged import log_origin
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.checkpoint import Checkpoint, cosign, sign_checkpoint
from vdb_shared.transparency.merkle import inclusion_proof, leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.proof import LogProof
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, grown_files

SEEN = 1_769_860_900
"""When witnesses of made-up sessions sign: 2026-01-31, shortly after noon, UTC."""


@dataclass
class MadeLog:
    """Entries under the key of their log.

    Attributes:
        consortium: whose.
        signer: key of the log.
        entries: so far.
    """

    consortium: str
    signer: StatementKey
    entries: list[bytes] = field(default_factory=list)

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        return Checkpoint(log_origin(self.consortium), len(leaves), tree_root(len(leaves), of_leaves(leaves)))

    def proof(self, index: int, witnesses: Mapping[str, StatementKey], moment: int = SEEN) -> LogProof:
        """Return the proof of an entry in the newest checkpoint, signed by these institutions in the order of their names."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        note = sign_checkpoint(self.checkpoint, self.signer).with_signatures(
            cosign(self.checkpoint, witness_name(self.consortium, name), witnesses[name], moment)
            for name in sorted(witnesses)
        )
        return LogProof(index, tuple(inclusion_proof(index, len(leaves), of_leaves(leaves))), note.to_bytes())

    def files(self) -> Mapping[str, bytes]:
        """Return the log's files, by path."""
        leaves = [leaf_hash(entry) for entry in self.entries]
        files = dict(grown_files(0, self.entries, leaves))
        return {**files, CHECKPOINT_PATH: sign_checkpoint(self.checkpoint, self.signer).to_bytes()}
