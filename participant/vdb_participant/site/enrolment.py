"""Enrolment: from an invitation to membership.

Promises that both private keys are made here and stay here, or that the one for statements never comes here (signer.toml),
that the trust root is the one the invitation names, and that a certificate or roster which is not for our keys is refused.
Leaves the comparison of fingerprints to two people.

Source: protos/README.md §11.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from vdb_participant.network.absence import Say, unsaid
from vdb_participant.network.calls import Calls
from vdb_participant.network.connection import PATIENCE_SECONDS, Connection
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.keys import (
    Passphrase,
    TlsIdentity,
    certificate_request,
    certificate_uri,
    decode_tls_key,
    encode_tls_key,
    generate_tls_key,
    requested_key,
    same_public_key,
    unlock,
)
from vdb_participant.site.known_roster import accept_roster
from vdb_participant.site.pending import Pending, read_pending, write_pending
from vdb_participant.site.policy import DEFAULT_POLICY, check_address, policy_in
from vdb_participant.site.signing import external_signer, open_signer
from vdb_participant.site.storage import erase, make_folder, write_durably
from vdb_shared import labels
from vdb_shared.errors import FormatError, IdentityError, InvitationError, UsageError
from vdb_shared.identity import Signer, StatementKey, StatementPublicKey
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import InvitationFile, parse_invitation, possession_body
from vdb_shared.wire.federation_pb2_grpc import EnrolmentServiceStub
from vdb_shared.wire.status import Enrolment


@dataclass(frozen=True, slots=True)
class Request:
    """An enrolment that waits for approval.

    Attributes:
        invitation: who invited us.
        statement_key: the public key whose fingerprint is read out.
        certificate_request: PKCS#10, DER.
        possession: signature of the statement key over both.
    """

    invitation: InvitationFile
    statement_key: StatementPublicKey
    certificate_request: bytes
    possession: bytes

    @property
    def fingerprint(self) -> str:
        """Key id of the statement key, 64 hex digits."""
        return self.statement_key.key_id


@dataclass(frozen=True, slots=True)
class RelayPart:
    """What a relay has and a site that is not connected has not.

    Attributes:
        certificate_request: for the relay's TLS key, PKCS#10, DER.
        key: under which the relay signs answers.
    """

    certificate_request: bytes
    key: StatementPublicKey


def read_invitation(path: Path) -> InvitationFile:
    """Return the invitation in a file.

    Raises:
        IdentityError: it is not one.
    """
    try:
        return parse_invitation(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: expected an invitation file, cannot read it ({error.strerror})") from error
    except FormatError as error:
        raise IdentityError(
            f"{path}: expected an invitation file, found something else, or one that was edited or cut ({error}); ask the lead "
            "to send it again"
        ) from error


def begin(
    folder: StateFolder,
    invitation: InvitationFile,
    passphrase: Passphrase | None,
    now: datetime,
    relay: RelayPart | None = None,
) -> Request:
    """Return the request to enrol: the one that waits in the folder, or a new one with fresh keys.

    Args:
        folder: state folder.
        invitation: from the lead.
        passphrase: encrypts both keys, or None to store them in plain.
        now: UTC.
        relay: has the TLS key of this site, where that is not connected; else the key is made here.

    Raises:
        BudgetError: a policy that lies in the folder already does not allow the coordinator's address.
        IdentityError: the folder belongs to somebody else, or the invitation has expired.
    """
    if folder.config.exists():
        raise IdentityError(f"{folder.path}: an institution is enrolled here already; choose another --dir")
    if folder.enrolment.exists() and (waiting := _resume(folder, invitation, passphrase)) is not None:
        return waiting
    if now >= datetime.strptime(invitation.expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC):
        raise IdentityError(f"the invitation expired on {invitation.expires}; ask the lead for a new one")
    if relay is None:
        check_address(policy_in(folder), invitation.address, "the coordinator's address")
    make_folder(folder.path)
    secret = passphrase() if passphrase is not None else None
    signer = _signer(folder, secret)
    request = _tls_request(folder, invitation.institution, secret) if relay is None else relay.certificate_request
    body = possession_body(invitation.token_bytes, invitation.institution, request)
    possession = signer.sign(labels.TYPE_POSSESSION, body)
    if relay is not None:
        write_durably(folder.relay_key, relay.key.raw)
    if not folder.policy.exists():
        write_durably(folder.policy, DEFAULT_POLICY.encode())
    write_pending(folder.enrolment, Pending(invitation, request, possession))
    return Request(invitation, signer.public_key, request, possession)


def reach(
    folder: StateFolder, request: Request, *, say: Say = unsaid, patience: float = PATIENCE_SECONDS
) -> Connection:
    """Return a connection that may only enrol.

    Args:
        folder: state folder; its egress journal records what leaves.
        request: what `begin` returned.
        say: told that the coordinator went, and that it is back.
        patience: seconds for which a coordinator that answered before is asked again.
    """
    invitation = request.invitation
    tls = TlsIdentity(
        invitation.bootstrap_certificate.encode(), invitation.bootstrap_key.encode(), invitation.ca_certificate.encode()
    )
    return Connection(invitation.address, tls, EgressJournal(folder.egress), patience=patience, say=say)


def submit(request: Request, calls: Calls) -> None:
    """Send the request; again with the same bytes is harmless.

    Args:
        request: what `begin` returned.
        calls: how the coordinator is reached.

    Raises:
        IdentityError: the invitation is used or expired, in the coordinator's words.
        UnreachableError: names the cause.
    """
    message = pb.EnrolRequest(
        institution=request.invitation.institution,
        token=request.invitation.token_bytes,
        certificate_request=request.certificate_request,
        statement_key=request.statement_key.raw,
        possession=request.possession,
    )
    stub = EnrolmentServiceStub(calls.channel)
    calls.attempt(lambda: stub.Enrol(message, timeout=calls.call_seconds))


def ask(request: Request, calls: Calls) -> Enrolment | None:
    """Return certificate and roster if the lead has approved, else None; arguments as for `submit`."""
    message = pb.GetEnrolmentRequest(institution=request.invitation.institution, token=request.invitation.token_bytes)
    stub = EnrolmentServiceStub(calls.channel)
    return calls.attempt(lambda: convert.enrolment_from_wire(stub.GetEnrolment(message, timeout=calls.call_seconds)))


@contextmanager
def noting_refusal(folder: StateFolder) -> Iterator[None]:
    """Note in the state folder that the request leads to no membership, if that is found out, and that it does not, if not."""
    try:
        yield
    except InvitationError as error:
        _note(folder, str(error))
        raise
    _note(folder, "")


def _note(folder: StateFolder, refused: str) -> None:
    if folder.enrolment.exists() and (pending := read_pending(folder.enrolment)).refused != refused:
        write_pending(folder.enrolment, replace(pending, refused=refused))


def check_root(request: Request, found: Enrolment) -> None:
    """Check that whoever answers has the trust root that the invitation names.

    Raises:
        InvitationError: another one; the lead can be asked which is right.
    """
    invitation, roots = request.invitation, found.roster
    if invitation.root_fingerprint not in roots.root_fingerprints:
        raise InvitationError(
            f"the coordinator at {invitation.address} has the trust root {roots.root_fingerprint}, but the invitation names "
            f"{invitation.root_fingerprint}: either the invitation was changed on its way, or that is not the coordinator of "
            "this consortium; nothing of it was accepted here. Compare both by telephone with what `vdb-coordinator "
            "fingerprint` shows the lead, and ask for a new invitation"
        )


def finish(
    folder: StateFolder, request: Request, enrolment: Enrolment, passphrase: Passphrase, now: datetime
) -> ConfigFile:
    """Check certificate and roster, keep them, and forget the invitation.

    Raises:
        IdentityError: certificate or roster is not for us, or not vouched for by the pinned root.
    """
    invitation = request.invitation
    member = enrolment.roster.verify(invitation.root_fingerprint, now).member(invitation.institution)
    if member.public_key != request.statement_key or member.seat is None:
        raise IdentityError("the roster names another key for us than the one made here; tell the lead by telephone")
    if not same_public_key(enrolment.certificate_chain, _asked_key(folder, request, passphrase)):
        raise IdentityError("the certificate is for another key than the one made here; tell the lead by telephone")
    if certificate_uri(enrolment.certificate_chain) != member.spiffe_id:
        raise IdentityError("certificate and roster name us differently; tell the lead by telephone")
    config = ConfigFile(
        consortium=invitation.consortium,
        institution=invitation.institution,
        address=invitation.address,
        root_fingerprint=invitation.root_fingerprint,
        ca_certificate=invitation.ca_certificate,
        spiffe_id=member.spiffe_id,
    )
    accept_roster(folder, enrolment.roster)
    write_durably(folder.certificate, enrolment.certificate_chain)
    write_durably(folder.config, config.encode())
    erase(folder.enrolment)
    return config


def _tls_request(folder: StateFolder, institution: str, secret: bytes | None) -> bytes:
    """Return the request for a certificate of a fresh TLS key, which is written down."""
    key = generate_tls_key()
    write_durably(folder.tls_key, encode_tls_key(key, secret))
    return certificate_request(key, institution)


def _asked_key(folder: StateFolder, request: Request, passphrase: Passphrase) -> PublicKeyTypes:
    """Return the public key that our certificate must be for."""
    if folder.relay_key.exists():
        return requested_key(request.certificate_request)
    data = folder.tls_key.read_bytes()
    return decode_tls_key(data, unlock(data, passphrase)).public_key()


def _resume(folder: StateFolder, invitation: InvitationFile, passphrase: Passphrase | None) -> Request | None:
    """Return the request that waits; None when another invitation takes its place: the institution's own, or any if refused."""
    pending = read_pending(folder.enrolment)
    stored = pending.invitation
    if stored != invitation and pending.refused:
        return None
    if (stored.consortium, stored.institution) != (invitation.consortium, invitation.institution):
        raise IdentityError(
            f"{folder.path}: {stored.institution} of {stored.consortium} began to enrol here by another invitation; go on with "
            "that one, or choose another --dir"
        )
    if stored != invitation:
        return None
    signer = open_signer(folder, passphrase or _no_passphrase)
    return Request(stored, signer.public_key, pending.certificate_request, pending.possession)


def _no_passphrase() -> bytes:
    raise IdentityError("the keys in this folder are encrypted; run without --plaintext-keys")


def _signer(folder: StateFolder, secret: bytes | None) -> Signer:
    """Return who signs for a new institution: the program of signer.toml, or a fresh key that is written down."""
    external = external_signer(folder)
    if external is not None:
        external.probe()
        return external
    key = StatementKey.generate()
    write_durably(folder.statement_key, key.to_pem(secret))
    return key
