"""An enrolled institution with its keys unlocked: what every command but enrolment begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from vdb_participant.session.terms import Pins
from vdb_participant.site.config import ConfigFile, StateFolder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.keys import Passphrase, TlsIdentity, decode_tls_key, encode_tls_key, unlock
from vdb_participant.site.policy import PolicyFile, read_policy
from vdb_participant.site.signing import StatementSigner, open_signer
from vdb_participant.site.tls_files import read_pair


@dataclass(frozen=True, slots=True)
class Site:
    """An institution.

    Attributes:
        folder: its state folder.
        config: who it is and whom it trusts.
        policy: its own rules.
        signer: signs with its statement key, wherever that lies.
        tls: what its connections show and trust.
    """

    folder: StateFolder
    config: ConfigFile
    policy: PolicyFile
    signer: StatementSigner = field(repr=False)
    tls: TlsIdentity = field(repr=False)

    @property
    def pins(self) -> Pins:
        """What we know without asking the coordinator."""
        config = self.config
        return Pins(config.root_fingerprint, config.consortium, config.institution, self.signer.public_key)

    @property
    def egress(self) -> EgressJournal:
        """Where all that leaves is written down first."""
        return EgressJournal(self.folder.egress)


def open_site(folder: StateFolder, passphrase: Passphrase) -> Site:
    """Return the institution of a state folder.

    Args:
        folder: the state folder.
        passphrase: asked once if a key is encrypted.

    Raises:
        IdentityError: not enrolled, or the passphrase is wrong.
        StoreError: a file is missing or damaged.
        UsageError: signer.toml is not in order.
    """
    config = read_config(folder)
    tls_pem, chain = read_pair(folder)
    asked_once = cache(passphrase)
    signer = open_signer(folder, asked_once)
    tls_key = decode_tls_key(tls_pem, unlock(tls_pem, asked_once))
    tls = TlsIdentity(chain, encode_tls_key(tls_key, None), config.ca_certificate.encode())
    return Site(folder, config, read_policy(folder.policy), signer, tls)
