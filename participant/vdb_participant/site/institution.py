"""An enrolled institution with its keys unlocked: what every command but enrolment begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from vdb_participant.session.terms import Pins
from vdb_participant.site.config import ConfigFile, StateFolder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.keys import Passphrase, TlsIdentity, decode_tls_key, encode_tls_key, unlock
from vdb_participant.site.policy import PolicyFile, check_address, read_policy
from vdb_participant.site.signing import StatementSigner, open_signer
from vdb_participant.site.tls_files import read_pair
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.identity import statement_key_of


@dataclass(frozen=True, slots=True)
class Site:
    """An institution.

    Attributes:
        folder: its state folder.
        config: who it is and whom it trusts.
        policy: its own rules.
        signer: signs with its statement key, wherever that lies.
        connected: what its connections show and trust; None where there is no network and a relay has it.
    """

    folder: StateFolder
    config: ConfigFile
    policy: PolicyFile
    signer: StatementSigner = field(repr=False)
    connected: TlsIdentity | None = field(repr=False)

    @property
    def tls(self) -> TlsIdentity:
        """What its connections show and trust.

        Raises:
            UsageError: it has none: this site has no network.
        """
        if self.connected is None:
            raise UsageError(
                f"{self.folder.path}: this site is not connected, its relay is; say with --offline DIR where its requests lie"
            )
        return self.connected

    @property
    def pins(self) -> Pins:
        """What we know without asking the coordinator."""
        config = self.config
        return Pins(config.root_fingerprint, config.consortium, config.institution, self.signer.public_key)

    @property
    def egress(self) -> EgressJournal:
        """Where all that leaves is written down first."""
        return EgressJournal(self.folder.egress)


def check_connected(folder: StateFolder, advice: str) -> None:
    """Refuse what needs a connection of the site's own.

    Args:
        folder: of the site.
        advice: what a site without a network does instead.

    Raises:
        UsageError: this site has no network.
    """
    if folder.relay_key.exists():
        raise UsageError(f"this site is not connected, its relay is: {advice}")


def open_site(folder: StateFolder, passphrase: Passphrase) -> Site:
    """Return the institution of a state folder.

    Args:
        folder: the state folder.
        passphrase: asked once if a key is encrypted.

    Raises:
        BudgetError: the policy does not allow the coordinator's address.
        IdentityError: not enrolled, or the passphrase is wrong.
        StoreError: a file is missing or damaged.
        UsageError: signer.toml is not in order.
    """
    config, asked_once = read_config(folder), cache(passphrase)
    policy = read_policy(folder.policy)
    if folder.relay_key.exists():
        return Site(folder, config, policy, open_signer(folder, asked_once), None)
    check_address(policy, config.address, "the coordinator's address")
    tls, signer = _tls(folder, config, asked_once), open_signer(folder, asked_once)
    _check_ours(folder, tls, signer)
    return Site(folder, config, policy, signer, tls)


def _check_ours(folder: StateFolder, tls: TlsIdentity, signer: StatementSigner) -> None:
    """Check that we sign with the key under which our certificate was issued.

    An encrypted key file whose bytes changed can open, with the right passphrase, as another key.

    Raises:
        IdentityError: it is another one.
    """
    named = statement_key_of(tls.certificate_chain)
    if named is not None and named != signer.public_key.raw:
        place = folder.signer if folder.signer.exists() else folder.statement_key
        raise IdentityError(
            f"{place}: gives another key than the one that we were enrolled with (it was exchanged, or bytes of its "
            "file changed); restore it from a backup"
        )


def _tls(folder: StateFolder, config: ConfigFile, passphrase: Passphrase) -> TlsIdentity:
    pem, chain = read_pair(folder)
    key = decode_tls_key(pem, unlock(pem, passphrase))
    return TlsIdentity(chain, encode_tls_key(key, None), config.ca_certificate.encode())
