"""The consortium's trust root and its roster, as signed TUF metadata.

Promises that what it signs verifies under `vdb_shared.roster`. Root keys sign new versions of the root alone, and belong
offline; the roster key signs each new version of the roster. Leaves later versions of the root to `roots.py`.

Source: The Update Framework specification 1.0, §4.3 (root), §4.5 (targets); protos/README.md §3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import SSlibKey
from tuf.api._payload import Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata

from vdb_shared.roster import ROSTER_TARGET, last_root

ROOT_LIFETIME: Final = timedelta(days=3652)
ROSTER_LIFETIME: Final = timedelta(days=365)
ROSTER_RENEWAL: Final = timedelta(days=90)
"""The roster is signed anew when less than this is left, so that members never meet an expired one."""


def make_root(root_key: Ed25519PrivateKey, roster_key: Ed25519PrivateKey, now: datetime) -> bytes:
    """Return version 1 of the trust root: one key for the root, one for the roster.

    TUF demands snapshot and timestamp roles; we publish neither, and their key is the roster's.
    """
    root = Root(expires=now + ROOT_LIFETIME)
    root.add_key(_public(root_key), Root.type)
    for role in (Targets.type, Snapshot.type, Timestamp.type):
        root.add_key(_public(roster_key), role)
    metadata = Metadata(root)
    metadata.sign(CryptoSigner(root_key))
    return metadata.to_bytes()


def sign_roster(roster_key: Ed25519PrivateKey, roster: bytes, version: int, now: datetime) -> bytes:
    """Return targets metadata that vouches for these bytes of `roster.json`."""
    target = TargetFile.from_data(ROSTER_TARGET, roster, ["sha256"])
    metadata = Metadata(Targets(version=version, expires=now + ROSTER_LIFETIME, targets={ROSTER_TARGET: target}))
    metadata.sign(CryptoSigner(roster_key))
    return metadata.to_bytes()


def roster_needs_renewal(roots: Sequence[bytes], targets: bytes, now: datetime) -> bool:
    """Return whether the roster's signature is close to its expiry, or the newest root names another key for it."""
    metadata: Metadata[Targets] = Metadata.from_bytes(targets)
    try:
        last_root(roots).signed.verify_delegate(Targets.type, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return True
    return bool(metadata.signed.is_expired(now + ROSTER_RENEWAL))


def tuf_key(key: Ed25519PublicKey) -> SSlibKey:
    """Return a public key as metadata name it."""
    return SSlibKey.from_crypto(key)


def _public(key: Ed25519PrivateKey) -> SSlibKey:
    return tuf_key(key.public_key())
