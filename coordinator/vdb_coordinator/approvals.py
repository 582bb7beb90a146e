"""Actions that one person alone cannot order: which they are, who may sign, and what is signed.

Promises that a proposal has one encoding, which says the action with all its parameters, and that only signatures over exactly
these bytes by different keys of the policy count. Leaves keeping them to `store/proposals.py`, and doing it to the service.

Source: protos/README.md §11.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vdb_coordinator.refusals import RefusedError
from vdb_shared import labels
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.fields import Name
from vdb_shared.identity import Signer, StatementPublicKey
from vdb_shared.schema_words import first_mistake
from vdb_shared.wire import reasons

Action = Literal[
    "revoke_institution",
    "abort_session",
    "withdraw_result",
    "approve_enrolment",
    "admit_auditor",
    "close_early",
    "restore",
    "install_root",
]
"""As ProposeActionRequest names them; the last two are done while nobody serves (`orders.py`)."""

NEVER_ALONE: Final[frozenset[Action]] = frozenset({"close_early"})
"""What nobody can order where the policy does not say how many must sign it."""

MAX_BYTES: Final = 64 * 2**10
NONCE_BYTES: Final = 16

PublicKeyHex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Moment = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class ApprovalPolicy(BaseModel):
    """[approvals] in coordinator.toml.

    Attributes:
        hours: how long a proposal may be signed and done.
        actions: how many must sign each action; one that is not named needs nobody but a lead.
        keys: Ed25519 public keys (32 bytes, hex) of those who may sign, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hours: Annotated[int, Field(ge=1, le=24 * 30)] = 72
    actions: dict[Action, Annotated[int, Field(ge=2, le=20)]] = Field(default_factory=dict)
    keys: dict[Name, PublicKeyHex] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(set(self.keys.values())) != len(self.keys):
            raise ValueError("keys: a key stands there twice; everybody signs with their own")
        for action, needed in self.actions.items():
            if needed > len(self.keys):
                raise ValueError(f"actions: {action} needs {needed} signatures, but there are {len(self.keys)} keys")
        return self

    def needed(self, action: Action) -> int:
        """Return how many must sign an action, 0 if nobody."""
        return self.actions.get(action, 0)

    @property
    def digest(self) -> str:
        """What all of the policy is known by: SHA-256 of its canonical JSON."""
        return sha256_digest(canonical_json(self.model_dump(mode="json")))

    def words(self) -> list[str]:
        """Return the policy as the audit log says it: what it is, its digest, and who may sign with which key."""
        told = ", ".join(f"{action} {count} of {len(self.keys)}" for action, count in sorted(self.actions.items()))
        return [f"approvals: {told or 'none'}", f"policy {self.digest}", f"{self.hours} hours", *named(self.keys)]


class Proposal(BaseModel):
    """What is to be done.

    Attributes:
        consortium: in which.
        action: which.
        parameters: of the action, as its request names them.
        proposer: SPIFFE id of the lead.
        proposed, expires: UTC.
        nonce: random, so that what is proposed again is signed again.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-proposal/1"] = "vdb-proposal/1"
    consortium: Name
    action: Action
    parameters: dict[str, str]
    proposer: str
    proposed: Moment
    expires: Moment
    nonce: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]

    def encode(self) -> bytes:
        """Return the bytes that are signed: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))


def parse_proposal(data: bytes) -> Proposal:
    """Return the proposal in a file.

    Raises:
        FormatError: it is none, or not in its one encoding.
    """
    if len(data) > MAX_BYTES:
        raise FormatError(f"a proposal of {len(data)} bytes is longer than {MAX_BYTES}")
    parse_canonical_json(data)
    try:
        found = Proposal.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"no proposal: {first_mistake(error)}") from error
    if found.encode() != data:
        raise FormatError("a proposal that is not in its one encoding")
    return found


def proposal_digest(data: bytes) -> bytes:
    """Return what a proposal is called, 32 bytes."""
    return sha256(data).digest()


def sign_proposal(data: bytes, signer: Signer) -> bytes:
    """Return somebody's signature of a proposal."""
    return signer.sign(labels.TYPE_APPROVAL, data)


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """A proposal that was taken to be done, with what proves that so many had signed it.

    Attributes:
        body: the proposal's bytes.
        needed: how many had to sign.
        keys: whose signatures counted, as the policy had it: all of them, by name.
        signatures: those that counted, by name.
    """

    body: bytes
    needed: int
    keys: Mapping[str, str] = field(repr=False)
    signatures: Mapping[str, bytes] = field(repr=False)

    @property
    def proposal(self) -> Proposal:
        """What is done.

        Raises:
            FormatError: the bytes are no proposal.
        """
        return parse_proposal(self.body)

    def check(self) -> None:
        """Check that so many different people signed exactly these bytes.

        Raises:
            RefusedError: they did not.
        """
        try:
            policy = ApprovalPolicy(actions={self.proposal.action: self.needed}, keys=dict(self.keys))
        except ValidationError as error:
            raise RefusedError(reasons.NEEDS_APPROVAL, f"no order of several people: {error}") from error
        found = counted(policy, self.body, self.signatures)
        if len(found) < self.needed:
            raise RefusedError(reasons.NEEDS_APPROVAL, f"{self.needed} people must sign this, {len(found)} have")

    @property
    def signers(self) -> list[str]:
        """Who has signed, as the audit log names them."""
        return named({name: self.keys[name] for name in self.signatures})

    def encode(self) -> dict[str, Any]:
        """Return it as a value of canonical JSON."""
        return {
            "body": encode_base64(self.body),
            "needed": self.needed,
            "keys": dict(self.keys),
            "signatures": {name: encode_base64(signature) for name, signature in self.signatures.items()},
        }

    @classmethod
    def decode(cls, value: Mapping[str, Any]) -> Self:
        """Return what `encode` made a value of.

        Raises:
            FormatError, KeyError, TypeError, ValueError: it is none.
        """
        signatures = {name: decode_base64(text) for name, text in dict(value["signatures"]).items()}
        found = cls(decode_base64(value["body"]), value["needed"], dict(value["keys"]), signatures)
        if found.encode() != value:
            raise FormatError("a signed order that is not in its one encoding")
        return found


def named(keys: Mapping[str, str]) -> list[str]:
    """Return people as the audit log names them: with the id of the key (hex) that was theirs."""
    return [f"{name} ({StatementPublicKey(bytes.fromhex(key)).key_id})" for name, key in sorted(keys.items())]


def check_approval(policy: ApprovalPolicy, data: bytes, name: str, signature: bytes) -> None:
    """Check that a signature of a proposal is of the key that the policy has under a name.

    Raises:
        SignatureError: it is not, or there is no such name.
    """
    key = policy.keys.get(name)
    if key is None:
        raise SignatureError(f"{name!r} is nobody whose signature counts; the coordinator's policy names them")
    StatementPublicKey(bytes.fromhex(key)).verify(labels.TYPE_APPROVAL, data, signature)


def counted(policy: ApprovalPolicy, data: bytes, signatures: Mapping[str, bytes]) -> list[str]:
    """Return the names whose signatures of a proposal count under the policy as it is now."""
    found = []
    for name, signature in signatures.items():
        try:
            check_approval(policy, data, name, signature)
        except SignatureError:
            continue  # of a key that was taken out or replaced since
        found.append(name)
    return sorted(found)
