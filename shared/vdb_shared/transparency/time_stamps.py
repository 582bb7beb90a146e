"""Time stamps of a third party on a checkpoint of the log (RFC 3161): asking for one, and reading what came back.

Promises that a stamp which is returned was signed by an authority under one of the reader's own root certificates, for exactly
the bytes given, with a certificate for time stamps that was valid at that time. Leaves revocation of the authority's
certificate to the reader: nothing is looked up.

Source: RFC 3161; RFC 5816; protos/README.md §9.9.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from vdb_shared.errors import FormatError, SignatureError, UsageError
from vdb_shared.transparency.time_signer import granted, one_line, signing_authority

MAX_STAMP_BYTES: Final = 2**17
"""Of an answer with all certificates of its authority."""

QUERY_TYPE: Final = "application/timestamp-query"
"""Media type of a question over HTTP (RFC 3161 §3.4)."""


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What an authority says of some bytes: that they were there.

    Attributes:
        at: POSIX seconds of the authority's clock.
        accuracy: seconds by which it may be off, rounded up; 0 where the authority does not say.
        authority: common name in the certificate that signed, or its whole subject; one line of at most 80 characters.
    """

    at: int
    accuracy: int
    authority: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question to an authority, DER, and the number that its answer has to repeat."""

    data: bytes
    nonce: int


def ask(message: bytes) -> Question:
    """Return the question for a stamp on a message; it holds the SHA-512 digest of the message, and a random number."""
    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA512)
    request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    if request.nonce is None:
        raise AssertionError("asked for a nonce and got none")
    return Question(request.as_bytes(), request.nonce)


def read_roots(data: bytes) -> tuple[x509.Certificate, ...]:
    """Return the root certificates of authorities that a reader trusts, from PEM.

    Raises:
        FormatError: there is none, or one cannot be read.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError as error:
        raise FormatError("expected certificates in PEM, with BEGIN CERTIFICATE") from error


def check_answer(answer: bytes, question: Question, message: bytes) -> None:
    """Check that an authority answered this question with a stamp for this message; its signature is not looked at.

    Raises:
        FormatError: it is no answer.
        UsageError: the authority refused, or answered another question.
    """
    found = _decoded(_bounded(answer))
    if found.status != 0:
        raise UsageError(f"the authority gave no time stamp: {_refusal(found)}")
    if found.tst_info.nonce != question.nonce:
        raise UsageError("the authority answered another question than this one; ask again")
    _check_imprint(found, message)


def read_time_stamp(answer: bytes, message: bytes, roots: Sequence[x509.Certificate]) -> TimeStamp:
    """Return what an authority under one of these roots says of a message.

    Args:
        answer: its answer (TimeStampResp, DER), or the token of one.
        message: what was to be stamped.
        roots: at least one.

    Raises:
        FormatError: it is no answer, or holds no stamp.
        UsageError: the stamp is on something else.
        SignatureError: none of the roots vouches for it.
    """
    answer = _bounded(answer)
    found = _decoded(answer)
    if found.status != 0:
        raise FormatError(f"holds no time stamp: {_refusal(found)}")
    _check_imprint(found, message)
    builder = VerifierBuilder()
    for root in dict.fromkeys(roots):
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(found, message)
    except (VerificationError, ValueError) as error:
        raise SignatureError(f"no authority that you trust vouches for it: {_reason(str(error))}") from error
    return TimeStamp(int(found.tst_info.gen_time.timestamp()), _accuracy(found), signing_authority(answer))


def _bounded(answer: bytes) -> bytes:
    if len(answer) > MAX_STAMP_BYTES:
        raise FormatError(f"has more than the {MAX_STAMP_BYTES} bytes of a time stamp")
    return granted(answer)


def _decoded(answer: bytes) -> TimeStampResponse:
    try:
        return decode_timestamp_response(answer)
    except ValueError as error:
        raise FormatError("expected the answer of a time stamp authority (RFC 3161, DER)") from error


def _refusal(found: TimeStampResponse) -> str:
    words = one_line("; ".join(found.status_string))
    return f"status {found.status}, {f'“{words}”' if words else 'it says no reason'}"


def _check_imprint(found: TimeStampResponse, message: bytes) -> None:
    """Check that a stamp is on a message."""
    try:
        imprint = found.tst_info.message_imprint
        digest = _digest(imprint.hash_algorithm.dotted_string, message)
        same = imprint.message == digest
    except ValueError as error:
        raise FormatError("holds no time stamp that can be read") from error
    if not same:
        raise UsageError("it is on something else than the log's checkpoint in this bundle")


def _digest(algorithm: str, message: bytes) -> bytes:
    if algorithm not in _DIGESTS:
        raise FormatError(
            f"is on a digest of a kind that is not accepted ({algorithm}); accepted are SHA-256, 384 and 512"
        )
    return hashlib.new(_DIGESTS[algorithm], message).digest()


_DIGESTS: Final = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def _reason(words: str) -> str:
    """Return what a reader can use of the library's words, which may quote OpenSSL's whole stack of errors."""
    quoted = _VERIFY_ERROR.search(words)
    if quoted is not None:
        return quoted[1]
    return "its signature does not hold" if "ErrorStack" in words else words.rstrip(".")


_VERIFY_ERROR: Final = re.compile(r"Verify error: ?([^\"]+)")


def _accuracy(found: TimeStampResponse) -> int:
    """Return the seconds by which the authority says it may be off, rounded up."""
    accuracy = found.tst_info.accuracy
    if accuracy is None:
        return 0
    return (accuracy.seconds or 0) + bool(accuracy.millis or accuracy.micros)
