"""The relay's part in renewing the site's TLS certificate: the key is made and stays here, the signature comes from the site.

Promises that the pair in use is replaced at once, and only by one that certifies the key made here for the same name; that
killed at any step the next run goes on with the same key; and that a renewal which fails stops nothing else that is carried.
Leaves the signature to `renewing.py` at the site.

The steps: key and request are durable; the answer asks the site for its signature; a request brings that; the coordinator is
asked; what it says is checked; key and certificate take the place of the present ones in one file; what was replaced is erased.

Source: protos/README.md §11.2, §12.7, §12.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError

from vdb_participant.network.connection import CALL_SECONDS, Connection
from vdb_participant.offline.files import Call, Refusal, Reply, Request
from vdb_participant.offline.relay_folder import RelayFile, RelayFolder
from vdb_participant.offline.renewing import QUESTION, RENEW
from vdb_participant.site.config import StateFolder
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.keys import (
    certificate_uri,
    certificate_validity,
    encode_tls_key,
    requested_key,
    same_public_key,
)
from vdb_participant.site.renewal import Expected, key_to_certify, renewal_time, waiting_key
from vdb_participant.site.tls_files import forget_what_was_replaced, only_one, read_pair, write_pair
from vdb_shared.errors import FormatError, IdentityError, StoreError, UnreachableError, UsageError, VdbError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import MembershipServiceStub
from vdb_shared.wire.versions import CERTIFICATE_RENEWAL

_NOT_RENEWED: Final = "FAILED_PRECONDITION"
"""gRPC's name for what is said to the site of a renewal that failed, whoever refused it."""


@dataclass(frozen=True, slots=True)
class CertificateKeeper:
    """Keeps the certificate of a relay young.

    Attributes:
        folder: of the relay.
        file: relay.json.
        connect: returns the connection to the coordinator, under the present certificate.
        replaced: called when there is a new pair: connections are to be opened anew.
        say: told what happens, in lines.
        now: our clock, UTC.
        failpoints: none outside tests.
    """

    folder: RelayFolder
    file: RelayFile
    connect: Callable[[], Connection]
    replaced: Callable[[], None]
    say: Callable[[str], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    failpoints: Failpoints = field(default_factory=Failpoints)

    def wish(self, request: Request) -> tuple[Reply, ...]:
        """Return what asks the site for its signature, to go with the answer to a request; nothing if it is not time."""
        if not self.folder.enrolled or QUESTION in request.calls:
            return ()
        try:
            begins, ends = certificate_validity(read_pair(self._place)[1])
            if self.now() < renewal_time(begins, ends):
                return ()
            asked = self._asked()
        except VdbError as error:
            self.say(f"the certificate was not renewed: {error}")
            return ()
        self.say(
            f"the certificate ends on {ends:%Y-%m-%d %H:%M} UTC; what renews it comes with the site's next request"
        )
        return (asked,)

    def reply(self, call: Call, *, alone: bool) -> Reply:
        """Return the reply to a call of a renewal.

        Args:
            call: the question what is to be signed, or what the site signed.
            alone: whether the site waits for this one, so that it is worth carrying again if the coordinator is away.

        Raises:
            UnreachableError: the coordinator is away, and the site waits for this.
            StoreError: files cannot be read or written, or another process is at it.
        """
        try:
            if call == QUESTION:
                return self._asked()
            return Reply(RENEW, call.digest, (self._renewed(call, patient=alone),))
        except StoreError:
            raise
        except VdbError as error:
            if alone and isinstance(error, UnreachableError):
                raise
            self.say(f"the certificate was not renewed: {error}")
            return Reply(RENEW, call.digest, (), Refusal(_NOT_RENEWED, str(error), b""))

    @property
    def _place(self) -> StateFolder:
        """Where key and certificate lie: under the names that they have in a state folder (§12.7)."""
        return StateFolder(self.folder.path)

    def _asked(self) -> Reply:
        """Return what the site is to sign: certificate, and request for a new key, which is durable."""
        if not self.folder.enrolled:
            raise IdentityError("this relay has no certificate yet")
        if CERTIFICATE_RENEWAL not in self.connect().agreement().capabilities:
            raise UsageError(
                "the coordinator renews no certificates; ask the lead to update it, or for a new invitation"
            )
        with only_one(self._place) as alone:
            _check_alone(self._place, alone=alone)
            _, chain = read_pair(self._place)
            _, request = key_to_certify(self._place, self.file.parties.institution, chain, None)
        return Reply(RENEW, QUESTION.digest, (chain, request))

    def _renewed(self, call: Call, *, patient: bool) -> bytes:
        """Return the message with the new chain once it is in use."""
        request = _message(call)
        with only_one(self._place) as alone:
            _check_alone(self._place, alone=alone)
            _, chain = read_pair(self._place)
            # It is in use already if this process was killed before the answer was written.
            if same_public_key(chain, requested_key(request.certificate_request)):
                forget_what_was_replaced(self._place)
                return _answer(chain)
            found = waiting_key(self._place, chain, None)
            if found is None or found[1] != request.certificate_request:
                raise IdentityError("the site signed for a key that this relay has not; it asks again when it is time")
            self.failpoints.reach("before-renewal")
            fresh = self._certified(request, patient=patient)
            self.failpoints.reach("after-renewal-answered")
            authority = self.file.invited.ca_certificate.encode()
            Expected(certificate_uri(chain), authority, chain, self.now()).check(fresh, found[0].public_key())
            write_pair(self._place, encode_tls_key(found[0], None), fresh)
            self.failpoints.reach("after-renewal-kept")
            self.replaced()
            forget_what_was_replaced(self._place)
        self.say(f"the certificate was renewed; it ends on {certificate_validity(fresh)[1]:%Y-%m-%d %H:%M} UTC")
        return _answer(fresh)

    def _certified(self, request: pb.RenewCertificateRequest, *, patient: bool) -> bytes:
        connection = self.connect()
        stub = MembershipServiceStub(connection.channel)
        found = connection.attempt(lambda: stub.RenewCertificate(request, timeout=CALL_SECONDS), patient=patient)
        return bytes(found.certificate_chain)


def _message(call: Call) -> pb.RenewCertificateRequest:
    try:
        return pb.RenewCertificateRequest.FromString(b"".join(call.parts))
    except DecodeError as error:
        raise FormatError(f"{call.method}: a message that is none") from error


def _answer(chain: bytes) -> bytes:
    return bytes(pb.RenewCertificateResponse(certificate_chain=chain).SerializeToString())


def _check_alone(place: StateFolder, *, alone: bool) -> None:
    if not alone:
        raise StoreError(f"{place.path}: another vdb-participant renews the certificate; run again")
