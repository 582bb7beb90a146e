"""The key that signs the roster, and how another one takes its place.

A new key waits beside the present one until a version of the trust root names it. Promises that the key which is returned is
the one that the newest root names, also when a replacement was interrupted.

Source: protos/README.md §3.3.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vdb_coordinator.config import Home
from vdb_coordinator.files import sync_directory
from vdb_coordinator.identity.keys import read_signing_key, write_key
from vdb_coordinator.identity.roots import contents, key_id_of, newest
from vdb_shared.errors import IdentityError


def next_roster_key(home: Home, passphrase: bytes | None) -> Ed25519PublicKey:
    """Return the public key of a new roster key, which is made and kept until the trust root names it."""
    key = Ed25519PrivateKey.generate()
    write_key(home.key("roster-next"), key, passphrase)
    return key.public_key()


def check_held(home: Home, root: bytes, passphrase: bytes | None) -> None:
    """Check that the one roster key that a version of the root names is here.

    Raises:
        IdentityError: it is not.
    """
    _place(home, root, passphrase)


def read_roster_key(home: Home, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Return the roster key that the newest root names; a new one takes the place of the old one now.

    Raises:
        IdentityError: neither of the keys in the directory is the one, or the root's versions form no chain.
    """
    chain = home.read_roots()
    newest(chain)
    place, key = _place(home, chain[-1], passphrase)
    if place == "roster-next":
        home.key("roster-next").replace(home.key("roster"))
        sync_directory(home.key("roster").parent)
    return key


def _place(home: Home, root: bytes, passphrase: bytes | None) -> tuple[str, Ed25519PrivateKey]:
    named = contents(root).roster_keys
    for place in ("roster", "roster-next"):
        file = home.key("roster" if place == "roster" else "roster-next")
        if file.exists():
            key = read_signing_key(file, passphrase)
            if named == (key_id_of(key.public_key()),):
                return place, key
    raise IdentityError(
        f"{home.key('roster')}: is not the one roster key that version {contents(root).version} of the trust root names; "
        "put the right one there"
    )
