"""Founding a consortium: its keys, trust root, certificate authority, first roster and configuration.

Promises that a directory is founded once, as a whole, and that keys are readable by their owner only.

Source: protos/README.md §3.3, §11.1.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from vdb_coordinator.config import CONFIG_VERSION, ConfigFile, Home, render_config
from vdb_coordinator.files import read_file, write_durably, write_secret
from vdb_coordinator.identity.ca import CertificateAuthority, needs_renewal, spiffe_id
from vdb_coordinator.identity.keys import new_tls_key, write_key
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.identity.trust import make_root
from vdb_coordinator.store.database import create_database
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.identity import StatementKey
from vdb_shared.roster import Member, Roster

LEAD: Final = "lead"


def new_config(consortium: str, address: str, listen: str, database: str | None = None) -> ConfigFile:
    """Return the configuration of a new consortium with one lead."""
    return ConfigFile(
        version=CONFIG_VERSION,
        consortium=consortium,
        address=address,
        listen=listen,
        admins=(spiffe_id(consortium, "admin", LEAD),),
        database=database,
    )


def found(home: Home, config: ConfigFile, passphrase: bytes | None, now: datetime) -> str:
    """Make a consortium in a new directory and return its root fingerprint.

    Raises:
        UsageError: the directory is not empty, or the database holds a consortium.
        StoreError: the database cannot be reached or written.
    """
    if home.path.exists() and (not home.path.is_dir() or any(home.path.iterdir())):
        why = "exists and is not empty" if home.path.is_dir() else "is no directory"
        raise UsageError(f"{home.path}: {why}; name a new directory")
    root_key, roster_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    statement_key, admin_key = StatementKey.generate(), new_tls_key()
    authority, authority_key = CertificateAuthority.create(config.consortium, now)
    root = make_root(root_key, roster_key, now)
    _create_database(home, config, RosterAuthority((root,), roster_key), _first_roster(config, statement_key), now)
    home.key("root").parent.mkdir(mode=0o700, parents=True)
    write_key(home.key("root"), root_key, passphrase)
    write_key(home.key("roster"), roster_key, passphrase)
    write_key(home.key("ca"), authority_key, passphrase)
    write_key(home.key("admin"), admin_key, passphrase)
    write_secret(home.key("statement"), statement_key.to_pem(passphrase))
    write_durably(home.ca_certificate, authority.pem)
    certificate = authority.issue_client(admin_key.public_key(), config.admins[0], now)
    write_durably(home.admin_certificate, certificate)
    write_durably(home.root, root)
    write_durably(home.config_file, render_config(config).encode())
    return sha256_digest(root)


def _create_database(home: Home, config: ConfigFile, rosters: RosterAuthority, first: Roster, now: datetime) -> None:
    """Make the database with the first roster; where that fails there is no directory either."""
    there = home.path.exists()
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.path.chmod(0o700)

    def store(connection: Connection) -> None:
        rosters.store(connection, first, 1, now)

    try:
        create_database(home.database(config), store)
    except BaseException:
        if not there:
            shutil.rmtree(home.path)
        raise


def renew_admin_certificate(home: Home, authority: CertificateAuthority, admin: str, now: datetime) -> None:
    """Issue the lead's certificate anew when it nears expiry, for the key it has.

    Raises:
        UsageError: it is not there.
        IdentityError: the file is none.
        StoreError: it cannot be written.
    """
    pem = read_file(home.admin_certificate)
    try:
        if not needs_renewal(pem, now):
            return
        key = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError as error:
        raise IdentityError(f"{home.admin_certificate}: is no certificate; put the lead's back") from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise IdentityError(f"{home.admin_certificate}: expected a certificate of a P-256 key")
    write_durably(home.admin_certificate, authority.issue_client(key, admin, now))


def _first_roster(config: ConfigFile, statement_key: StatementKey) -> Roster:
    coordinator = Member(
        institution=config.name,
        role="coordinator",
        seat=None,
        statement_key=statement_key.public_key.raw.hex(),
        spiffe_id=spiffe_id(config.consortium, "coordinator", config.name),
    )
    return Roster(version="vdb-roster/1", consortium=config.consortium, members=(coordinator,))
