"""What an auditor found, signed: a Simple Verification Result in a DSSE envelope.

Promises one form in canonical bytes, that only an audit with the verdict PASS is attested, and that whoever reads one
learns which checks passed, under which demands, of which bytes, and by whose key. Leaves to the reader whom to believe: an
attestation is the word of a key, and the bundle can be verified by anyone. Unlike readers of in-toto in general, this one
refuses fields that it does not know.

Source: in-toto attestation framework, spec/predicates/svr.md (version 0.2), spec/v1/resource_descriptor.md;
protos/README.md §10.13.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from vdb_shared import __version__, labels
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.report import Report, Status, Verdict
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Hex32, Predicate, Statement, Subject, Time, parse_statement
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, sha256_digest
from vdb_shared.errors import FormatError, IdentityError, VerificationError
from vdb_shared.identity import Signer, StatementPublicKey

MAX_ATTESTATION_BYTES: Final = 2**16

SUBJECT: Final = "result.vdbb"
"""Name of the subject; only its digest tells which bundle is meant."""

JSON_MEDIA_TYPE: Final = "application/json"

_VERIFIER: Final = re.compile(r"urn:vdb:auditor:([0-9a-f]{64}):video-diffusion-bench:([0-9A-Za-z.+-]{1,64})")
MARKED: Final = {
    "withdrawn": "VDB_RESULT_WITHDRAWN",
    "superseded": "VDB_RESULT_SUPERSEDED",
    "objected to": "VDB_RESULT_OBJECTED_TO",
}
"""Properties that say how a result stood when it was audited; without any of them nobody knows, or nothing was said."""

_PROPERTY: Final = re.compile(rf"VDB_[A-Z0-9_]{{1,60}}_PASS|{'|'.join(MARKED.values())}")


def _verifier(text: str) -> str:
    if not _VERIFIER.fullmatch(text):
        raise ValueError("expected urn:vdb:auditor:<key id>:video-diffusion-bench:<version>")
    return text


def _properties(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or list(names) != sorted(set(names)) or not all(_PROPERTY.fullmatch(name) for name in names):
        raise ValueError("expected names such as VDB_V01_PASS, ascending, each once")
    return names


class Sha256(Predicate):
    """A set of digests that has one."""

    kind: ClassVar[str] = "digest set"
    sha256: Hex32


class AppliedPolicy(Predicate):
    """The demands under which an audit was made, whole: a resource descriptor with its content."""

    kind: ClassVar[str] = "policy"
    name: Literal["vdb-audit-policy/1"]
    digest: Sha256
    content: Annotated[str, StringConstraints(max_length=4096)]
    mediaType: Literal["application/json"]  # noqa: N815 - the field's name in a resource descriptor


class Verifier(Predicate):
    """Who audited: key and version of the software, and the demands."""

    kind: ClassVar[str] = "verifier"
    id: Annotated[str, AfterValidator(_verifier)]
    policies: Annotated[tuple[AppliedPolicy, ...], Field(min_length=1, max_length=1)]


class SimpleVerificationResult(Predicate):
    """SVR 0.2: what was verified, by whom, when (UTC, the auditor's own clock)."""

    kind: ClassVar[str] = "simple verification result"
    verifier: Verifier
    timeCreated: Time  # noqa: N815 - the field's name in the predicate
    properties: Annotated[tuple[str, ...], AfterValidator(_properties)]

    @classmethod
    def type_uri(cls) -> str:
        """Return the predicateType of the in-toto project."""
        return labels.PREDICATE_SVR


@dataclass(frozen=True, slots=True)
class Attestation:
    """What a verified attestation says.

    Attributes:
        bundle: digest of the bundle.
        auditor: key id of the auditor.
        software: version of the software that audited.
        created: when, by the auditor's clock.
        policy: the demands; its root is the one that was pinned, or None.
        properties: what passed, such as "VDB_V41_PASS", and how the result stood (`MARKED`).
    """

    bundle: str
    auditor: str
    software: str
    created: str
    policy: Policy
    properties: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, as `vdb-audit attestation --json` prints it."""
        return {
            "version": "vdb-audit-attestation/1",
            "bundle": self.bundle,
            "auditor": self.auditor,
            "software": self.software,
            "created": self.created,
            "policy": self.policy.model_dump(mode="json"),
            "properties": list(self.properties),
        }


def property_of(check: str) -> str:
    """Return the property that says that a check passed: "V34.commitments" is VDB_V34_COMMITMENTS_PASS."""
    return f"VDB_{check.upper().replace('.', '_')}_PASS"


VERDICT: Final = property_of("verdict")
"""That the audit as a whole passed: nothing failed, and no required check was left out."""


def attest(report: Report, policy: Policy, root: str | None, created: str, signer: Signer) -> Envelope:
    """Return the signed attestation of an audit.

    Args:
        report: of the audit.
        policy: its demands.
        root: digest of the trust root that was pinned, or None.
        created: the time, as statements write it.
        signer: the auditor's key.

    Raises:
        VerificationError: the verdict is not PASS; nothing is attested of such a bundle.
    """
    if report.verdict is not Verdict.PASS:
        undone = next(line for line in report.lines if line.status not in {Status.PASS, Status.NOT_PROVEN})
        failure = report.first_failure or undone
        raise VerificationError(f"nothing is attested of a bundle whose audit is {report.verdict}", check=failure.id)
    passed = [property_of(line.id) for line in report.lines if line.status is Status.PASS]
    key_id = signer.public_key.key_id
    result = SimpleVerificationResult(
        verifier=Verifier(
            id=f"urn:vdb:auditor:{key_id}:video-diffusion-bench:{__version__}",
            policies=(_descriptor(policy.model_copy(update={"root": root or policy.root})),),
        ),
        timeCreated=created,
        properties=tuple(sorted({VERDICT, *passed, *_marked(report)})),
    )
    subject = Subject(name=SUBJECT, sha256=report.bundle.removeprefix("sha256:"))
    return Statement((subject,), result).sign(signer)


def _marked(report: Report) -> tuple[str, ...]:
    """Return what stands in an attestation of a result that was withdrawn, replaced or objected to."""
    mark = "" if report.standing is None else report.standing.mark
    return (MARKED[mark],) if mark else ()


def read_attestation(data: bytes, key: StatementPublicKey) -> Attestation:
    """Return what an attestation says, if it is signed by this key alone.

    Raises:
        FormatError: not an attestation in its one form.
        SignatureError: of another key, or the signature does not verify.
        IdentityError: the key signed in the name of another.
    """
    if len(data) > MAX_ATTESTATION_BYTES:
        raise FormatError(f"an attestation has at most {MAX_ATTESTATION_BYTES} bytes, not {len(data)}")
    payload = Envelope.from_json(data).verify(labels.TYPE_STATEMENT, [key])
    result, subjects = parse_statement(payload, SimpleVerificationResult)
    if [subject.name for subject in subjects] != [SUBJECT]:
        raise FormatError(f"an attestation is about one subject, {SUBJECT}")
    named = _VERIFIER.fullmatch(result.verifier.id)
    if named is None or named[1] != key.key_id:
        raise IdentityError(f"the attestation names the auditor {result.verifier.id}, but is signed by {key.key_id}")
    return Attestation(
        bundle=f"sha256:{subjects[0].sha256}",
        auditor=key.key_id,
        software=named[2],
        created=result.timeCreated,
        policy=_policy(result.verifier.policies[0]),
        properties=result.properties,
    )


def _descriptor(policy: Policy) -> AppliedPolicy:
    content = canonical_json(policy.model_dump(mode="json"))
    digest = Sha256(sha256=sha256_digest(content).removeprefix("sha256:"))
    return AppliedPolicy(name=policy.version, digest=digest, content=encode_base64(content), mediaType=JSON_MEDIA_TYPE)


def _policy(described: AppliedPolicy) -> Policy:
    content = decode_base64(described.content)
    if sha256_digest(content) != f"sha256:{described.digest.sha256}":
        raise FormatError("the policy in the attestation has another digest than the attestation says")
    try:
        policy = Policy.model_validate_json(content)
    except ValidationError as error:
        raise FormatError("the policy in the attestation is not one that this version knows") from error
    if canonical_json(policy.model_dump(mode="json")) != content:
        raise FormatError("the policy in the attestation is not in its one form")
    return policy
