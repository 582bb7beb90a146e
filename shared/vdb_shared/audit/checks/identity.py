"""V10 to V12: who the signers are, and that they signed.

The result and its countersignatures have their own checks, V50 and V51; headers of the transcript have V30.

Source: protos/README.md §10.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vdb_shared import labels
from vdb_shared.audit.checks.base import Check, Finding, demand, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.errors import IdentityError, SignatureError
from vdb_shared.roster import Member, Roster
from vdb_shared.wording import counted


def _root(evidence: Evidence) -> Finding:
    roster = evidence.roster
    who = f"{counted(len(roster.participants), 'institution')} and one coordinator of consortium {roster.consortium}"
    fingerprint = evidence.record.roster.root_fingerprint
    if evidence.root is None:
        return not_proven(
            f"The membership list ({who}) is signed under the trust root inside the bundle, but nothing outside the "
            f"bundle says that this root is the consortium's. Compare {fingerprint} with what the consortium published, "
            "or give it with --root."
        )
    signed = f"The membership list ({who}) is signed as the trust root {fingerprint} demands"
    if evidence.root == fingerprint:
        return passed(f"{signed}.")
    return passed(f"{signed}, and as its later version {evidence.root} does, which you pinned.")


def _single(evidence: Evidence) -> Iterator[tuple[str, Envelope, Member]]:
    """Yield each statement that has exactly one rightful signer, its name and that signer.

    Raises:
        IdentityError: a statement of an institution that is not a participant.
    """
    record, roster = evidence.record, evidence.roster
    yield "opening", record.open, roster.coordinator
    yield "seal", record.seal, roster.coordinator
    for kind, envelopes in (("join", record.joins), ("contribution", record.contributions)):
        for institution, envelope in envelopes.items():
            yield f"{kind} of {institution}", envelope, participant(roster, institution)


def participant(roster: Roster, institution: str) -> Member:
    """Return the participant of this name.

    Raises:
        IdentityError: no member, or one with another role.
    """
    member = roster.member(institution)
    if member.role != "participant":
        raise IdentityError(f"{institution} is a {member.role} of the consortium, not a participant.")
    return member


def _signers(evidence: Evidence) -> Finding:
    count = 0
    for name, envelope, member in _single(evidence):
        found = [item.key_id for item in envelope.signatures]
        demand(
            "V11",
            found == [member.public_key.key_id],
            f"{name}: must be signed by {member.institution} alone, but is signed by {_who(evidence.roster, found)}.",
        )
        count += 1
    seats = {member.public_key.key_id for member in evidence.roster.participants}
    strangers = [item.key_id for item in evidence.record.survivors.signatures if item.key_id not in seats]
    demand(
        "V11",
        not strangers,
        f"survivors: is signed by {_who(evidence.roster, strangers)}, which is not a participant.",
    )
    return passed(
        f"{counted(count + 1, 'statement')} bear signatures of members whose role allows it, each member's once."
    )


def _who(roster: Roster, key_ids: list[str]) -> str:
    names = {member.public_key.key_id: member.institution for member in roster.members}
    return ", ".join(names.get(key_id, f"an unknown key {key_id[:16]}") for key_id in key_ids)


def _signatures(evidence: Evidence) -> Finding:
    count = 0
    for name, envelope, member in _single(evidence):
        _verify(name, envelope, labels.TYPE_STATEMENT, (member,))
        count += 1
    survivors = evidence.record.survivors
    _verify("survivors", survivors, labels.TYPE_CONSISTENCY, evidence.roster.participants)
    return passed(
        f"{counted(count + len(survivors.signatures), 'signature')} under the session's statements are genuine."
    )


def _verify(name: str, envelope: Envelope, payload_type: str, members: tuple[Member, ...]) -> None:
    try:
        envelope.verify(payload_type, [member.public_key for member in members])
    except SignatureError as error:
        raise SignatureError(f"{name}: {error}") from error


CHECKS: Final = (
    Check(
        "V10",
        "Trust root and membership",
        "The membership list is not signed as the trust root demands, or the root is not the one you trust.",
        ("V05",),
        _root,
    ),
    Check(
        "V11",
        "Signers",
        "A statement is signed by someone who may not sign it.",
        ("V10",),
        _signers,
    ),
    Check("V12", "Signatures", "A signature is not genuine.", ("V11",), _signatures),
)
