"""Later versions of the trust root: several keys, a threshold, keys that are replaced.

A version is proposed as a file, signed by each holder of a root key on a machine of its own, and accepted once it bears
enough signatures for the version before it and for itself. Promises that what it accepts verifies under
`vdb_shared.roster` for everybody who pinned the first version. Leaves files to `commands/roots.py`, and the roster that is
signed under the new version to `rosters.py`.

Source: The Update Framework specification 1.0, §4.3, §5.3, §6.1 (key management); protos/README.md §3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.signer._crypto_signer import CryptoSigner
from tuf.api._payload import Root, Snapshot, Targets, Timestamp
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError

from vdb_coordinator.identity.trust import ROOT_LIFETIME, tuf_key
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.roster import last_root, read_root

_ONLINE = (Targets.type, Snapshot.type, Timestamp.type)
"""Roles that the roster key has."""


@dataclass(frozen=True, slots=True)
class RootChange:
    """What a new version changes; nothing but the expiry by default.

    Attributes:
        add: keys that become root keys.
        remove: key ids (§3.2) of those that are root keys no more.
        threshold: how many root keys must sign from then on, or None for as many as now.
        roster_key: takes the place of the roster's key, or None.
    """

    add: tuple[Ed25519PublicKey, ...] = ()
    remove: tuple[str, ...] = ()
    threshold: int | None = None
    roster_key: Ed25519PublicKey | None = None


@dataclass(frozen=True, slots=True)
class RootContents:
    """What a version of the root says.

    Attributes:
        version: its number.
        expires: UTC.
        threshold: how many root keys must sign.
        keys: key ids (§3.2) of the root keys, ascending.
        roster_keys: of the keys that sign the roster.
        signed: key ids of the root keys of this version whose signature it bears.
    """

    version: int
    expires: datetime
    threshold: int
    keys: tuple[str, ...]
    roster_keys: tuple[str, ...]
    signed: tuple[str, ...]


def newest(chain: Sequence[bytes]) -> Root:
    """Return the newest of all versions of the root.

    Raises:
        IdentityError: they do not form a chain.
    """
    try:
        return last_root(chain).signed
    except (RepositoryError, DeserializationError, KeyError, ValueError) as error:
        raise IdentityError(f"the files of the trust root form no chain ({error}); put the right ones back") from error


def proposed(chain: Sequence[bytes], change: RootChange, now: datetime) -> bytes:
    """Return the next version of the root, without signatures.

    Raises:
        UsageError: a key is there already or is none, or the threshold asks for more keys than there are.
    """
    root = newest(chain)
    root.version += 1
    root.expires = now + ROOT_LIFETIME
    by_id = {_key_id(root, name): name for name in root.roles[Root.type].keyids}
    for key_id in change.remove:
        if key_id not in by_id:
            raise UsageError(f"{key_id[:16]}… is no root key; `vdb-coordinator root show` lists them")
        root.revoke_key(by_id.pop(key_id), Root.type)
    for key in change.add:
        if tuf_key(key).keyid in root.keys:
            raise UsageError(f"{key_id_of(key)[:16]}… is a key of the root or of the roster already")
        root.add_key(tuf_key(key), Root.type)
    if change.roster_key is not None:
        _replace_roster_key(root, change.roster_key)
    role = root.roles[Root.type]
    role.threshold = change.threshold or role.threshold
    if not 1 <= role.threshold <= len(role.keyids):
        raise UsageError(
            f"{role.threshold} of {len(role.keyids)} root keys would have to sign; name another --threshold, or add keys"
        )
    return Metadata(root).to_bytes()


def with_signature(file: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return a proposed version with one more signature.

    Raises:
        IdentityError: it is no root.
    """
    metadata = _parsed(file)
    metadata.sign(CryptoSigner(key), append=True)
    return metadata.to_bytes()


def accepted(chain: Sequence[bytes], files: Sequence[bytes], now: datetime) -> bytes:
    """Return the next version of the root, signed by enough of the keys of the last one and of its own.

    Args:
        chain: all versions so far.
        files: copies of one proposed version, with signatures of different holders.
        now: UTC.

    Raises:
        IdentityError: the copies differ, signatures are missing, it does not follow the last version, or has expired.
    """
    previous = newest(chain)
    merged = _merged(files, previous)
    if merged.signed.version != previous.version + 1:
        raise IdentityError(
            f"this is version {merged.signed.version} of the root, {previous.version + 1} is next; propose it anew"
        )
    if merged.signed.is_expired(now):
        raise IdentityError(f"this version of the root expired on {merged.signed.expires}; propose it anew")
    found = merged.signed.get_root_verification_result(previous, merged.signed_bytes, merged.signatures)
    for words, result in ((f"version {previous.version}", found.first), ("its own keys", found.second)):
        if not result.verified:
            raise IdentityError(
                f"{len(result.signed)} of {result.threshold} signatures that {words} demands; let more holders sign with "
                "`vdb-coordinator root sign`"
            )
    data = merged.to_bytes()
    newest([*chain, data])
    return data


def contents(file: bytes) -> RootContents:
    """Return what a version of the root says, whoever signed it.

    Raises:
        IdentityError: it is no root.
    """
    metadata = _parsed(file)
    root, role = metadata.signed, metadata.signed.roles[Root.type]
    signed = root.get_verification_result(Root.type, metadata.signed_bytes, metadata.signatures).signed
    return RootContents(
        version=root.version,
        expires=root.expires.replace(tzinfo=UTC),
        threshold=role.threshold,
        keys=tuple(sorted(_key_id(root, name) for name in role.keyids)),
        roster_keys=tuple(sorted(_key_id(root, name) for name in root.roles[Targets.type].keyids)),
        signed=tuple(sorted(_key_id(root, name) for name in signed)),
    )


def digest_of(file: bytes) -> str:
    """Return the digest of what the holders of a version sign, whoever has signed this copy.

    Raises:
        IdentityError: it is no root.
    """
    return sha256_digest(_parsed(file).signed_bytes)


def key_id_of(key: Ed25519PublicKey) -> str:
    """Return the key id (§3.2) of a root key or of the roster's."""
    return StatementPublicKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).key_id


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key as its holder sends it to the lead."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def parse_public_pem(data: bytes) -> Ed25519PublicKey:
    """Return the key that a holder sent.

    Raises:
        IdentityError: it is no Ed25519 public key.
    """
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IdentityError("expected a public key as `vdb-coordinator root key` writes it (FILE.pub)") from error
    if not isinstance(key, Ed25519PublicKey):
        raise IdentityError("expected an Ed25519 key, found another kind")
    return key


def _replace_roster_key(root: Root, key: Ed25519PublicKey) -> None:
    fresh = tuf_key(key)
    if fresh.keyid in root.keys:
        raise UsageError("the new roster key is a key of the root or of the roster already")
    for role in _ONLINE:
        for name in tuple(root.roles[role].keyids):
            root.revoke_key(name, role)
        root.add_key(fresh, role)
        root.roles[role].threshold = 1


def _merged(files: Sequence[bytes], previous: Root) -> Metadata[Root]:
    """Return one proposed version with all genuine signatures of keys that it or the previous version knows."""
    copies = [_parsed(file) for file in files]
    first, signatures = copies[0], {}
    for copy in copies:
        if copy.signed_bytes != first.signed_bytes:
            raise IdentityError("these files are not copies of one proposed version of the root")
        for name, signature in copy.signatures.items():
            for root in (previous, first.signed):
                alone = root.get_verification_result(Root.type, first.signed_bytes, {name: signature})
                if name in alone.signed:
                    signatures[name] = signature
    first.signatures = signatures
    return first


def _parsed(file: bytes) -> Metadata[Root]:
    try:
        return read_root(file)
    except (RepositoryError, DeserializationError, KeyError, ValueError) as error:
        raise IdentityError(f"this is no version of a trust root: {error}") from error


def _key_id(root: Root, name: str) -> str:
    """Return the key id of §3.2 of a key that the root names in its own way."""
    return StatementPublicKey(bytes.fromhex(root.keys[name].keyval["public"])).key_id
