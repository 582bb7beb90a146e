"""A real agent's link over gRPC that remembers what the agent submits, and lies to it in one place.

The coordinator behind it is honest, so a story sees both what the agent that was lied to does and what becomes of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from testkit.crashes import Crash
from testkit.institutions import Institution
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.network.link import Upload
from vdb_shared.bundle.envelope import Envelope, EnvelopeSignature
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire.status import SealedSession, Shares

Dies = Callable[[], None]


def lives() -> None:
    """Pass."""


def dies() -> NoReturn:
    """End the life that comes here."""
    raise Crash


class Remembering(Client):
    """The link of one life.

    Attributes:
        sent: all that was submitted, whether or not it arrived, as kind and bytes.
        before_abort, after_abort: reached around the submission of an abort statement.
    """

    def __init__(self, institution: Institution, before_abort: Dies = lives, after_abort: Dies = lives) -> None:
        super().__init__(Connection(institution.site.config.address, institution.site.tls, institution.site.egress))
        self.sent: list[tuple[str, bytes]] = []
        self.before_abort, self.after_abort = before_abort, after_abort

    @property
    def kinds(self) -> list[str]:
        """What was submitted, in order."""
        return [kind for kind, _ in self.sent]

    def join(self, session: str, statement: bytes) -> None:
        self.sent.append(("join", statement))
        super().join(session, statement)

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        self.sent.append(("keys", keys.body))
        super().advertise_keys(session, seat, attempt, keys)

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        self.sent.append(("shares", header.body))
        super().share_keys(session, seat, attempt, header, sealed)

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        self.sent.append(("complaint", complaint.body))
        super().complain(session, seat, attempt, complaint)

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        self.sent.append(("input", upload.header.body))
        super().upload(session, seat, attempt, upload)

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        self.sent.append(("consistency", statement.body))
        super().sign_consistency(session, seat, attempt, statement)

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        self.sent.append(("unmasking", shares.body))
        super().reveal_shares(session, seat, attempt, shares)

    def countersign(self, session: str, countersignature: bytes) -> None:
        self.sent.append(("countersignature", countersignature))
        super().countersign(session, countersignature)

    def abort(self, session: str, statement: bytes) -> None:
        self.sent.append(("abort", statement))
        self.before_abort()
        super().abort(session, statement)
        self.after_abort()


class ForgedSeal(Remembering):
    """Shows a seal that somebody altered after the coordinator signed it."""

    def seal(self, session: str) -> SealedSession:
        found = super().seal(session)
        return SealedSession(_altered_signature(found.seal), found.joins, found.open_proof)


class ForgedHeader(Remembering):
    """Shows a round-1 header of another that its sender did not sign."""

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        found = super().shared_keys(session, seat, attempt)
        other = min(found.headers.keys() - {seat})
        signed = found.headers[other]
        forged = Signed(signed.body, bytes([signed.signature[0] ^ 1]) + signed.signature[1:])
        return Shares({**found.headers, other: forged}, found.sealed)


class FewSurvivors(Remembering):
    """Shows a U3 of our own input and one other."""

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found = super().masked_inputs(session, attempt)
        (own,) = (seat for seat, signed in found.items() if ("input", signed.body) in self.sent)
        return {seat: found[seat] for seat in (own, min(found.keys() - {own}))}


class StrangeStatement(Remembering):
    """Shows that another survivor signed another T3 than we did."""

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found = super().consistency(session, attempt)
        (own,) = {body for kind, body in self.sent if kind == "consistency"}
        (other, *_) = sorted(seat for seat in found)
        strange = Signed(own[:-1] + bytes([own[-1] ^ 1]), found[other].signature)
        return {**found, other: strange}


def _altered_signature(envelope: bytes) -> bytes:
    found = Envelope.from_json(envelope)
    (signed,) = found.signatures
    altered = EnvelopeSignature(signed.key_id, bytes([signed.signature[0] ^ 1]) + signed.signature[1:])
    return Envelope(found.payload_type, found.payload, (altered,)).to_json()
