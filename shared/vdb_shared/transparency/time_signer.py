"""Who signed a time stamp: the one certificate that its signature covers; and the answer around it, which nobody signed.

The certificates of a stamp are a list that nobody signs: anybody can add one with the same issuer and number and any name. What
is signed is the attribute that names the certificate by its digest (ESSCertID). Promises that it names exactly one, and that no
digest below the signature is one that collides. Leaves the signature and the chain to `time_stamps.py`.

Source: RFC 3161 §2.4.1; RFC 5816; RFC 5652 §5.3; protos/README.md §9.9.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from asn1crypto import cms, tsp

from vdb_shared.errors import SignatureError

LONGEST_NAME: Final = 80

_DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})


def granted(data: bytes) -> bytes:
    """Return a time stamp as the plain answer that grants it (TimeStampResp, DER).

    Some authorities grant with modifications, and some tools keep the token alone; the signature covers no more than that.

    Args:
        data: an answer, also one that grants with modifications, or a token alone; all else is returned as it is.
    """
    try:
        token = _token(data)
        if token is None:
            return data
        encoded: bytes = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
    except _UNREADABLE:
        return data
    return encoded


def _token(data: bytes) -> cms.ContentInfo | None:
    """Return the token that stands alone, or that was granted with modifications; None for all else."""
    try:
        answer = tsp.TimeStampResp.load(data, strict=True)
        if answer["status"]["status"].native != "granted_with_mods":
            return None
        token = answer["time_stamp_token"]
    except _UNREADABLE:
        token = cms.ContentInfo.load(data, strict=True)
    return token if token["content_type"].native == "signed_data" else None


_UNREADABLE: Final = (ValueError, TypeError, LookupError, AttributeError)
"""What asn1crypto raises for bytes that are something else."""


def signing_authority(answer: bytes) -> str:
    """Return the name in the certificate that a stamp's signature covers.

    Args:
        answer: TimeStampResp, DER, whose signature was verified.

    Raises:
        SignatureError: it names no certificate or several, or rests on a digest that collides.
    """
    try:
        signed = tsp.TimeStampResp.load(answer, strict=True)["time_stamp_token"]["content"]
        (signer,) = signed["signer_infos"]
        digest = signer["digest_algorithm"]["algorithm"].native
        attributes = {item["type"].native: item["values"] for item in signer["signed_attrs"]}
        kinds = [item.native for item in attributes.get("content_type", ())]
        certificates = [item.chosen for item in signed["certificates"] if item.name == "certificate"]
        named = [item for item in certificates if _is_named(item.dump(), attributes)]
        signers = {item.dump() for item in named if _is_of(item, signer["sid"].chosen)}
    except _UNREADABLE as error:
        raise SignatureError("what it signs cannot be read") from error
    if digest not in _DIGESTS:
        raise SignatureError(f"its signature rests on a digest that is not accepted ({digest})")
    if kinds != ["tst_info"]:
        raise SignatureError("it is not signed as a time stamp")
    if len(signers) != 1:
        raise SignatureError("its signature does not name the one certificate that it was made with")
    subject = named[0].subject.native
    name = subject.get("common_name") or ", ".join(str(value) for value in subject.values())
    return one_line(str(name)) or "an authority without a name"


def _is_of(certificate: Any, signer: Any) -> bool:
    """Return whether a certificate is the one by whose issuer and number the signature was verified.

    Its digest alone could name another authority's, which lies beside the signer's.
    """
    return bool(certificate.issuer == signer["issuer"] and certificate.serial_number == signer["serial_number"].native)


def _is_named(encoded: bytes, attributes: dict[str, Any]) -> bool:
    """Return whether signed attributes name a certificate (DER) first, which is the signer's."""
    found = False
    for kind in ("signing_certificate_v2", "signing_certificate"):
        for value in attributes.get(kind, ()):
            first = value["certs"][0]
            algorithm = first["hash_algorithm"]["algorithm"].native if kind.endswith("v2") else "sha1"
            if algorithm not in _DIGESTS and kind.endswith("v2"):
                raise ValueError(algorithm)
            if hashlib.new(algorithm, encoded, usedforsecurity=False).digest() != first["cert_hash"].native:
                return False
            found = True
    return found


def one_line(words: str) -> str:
    """Return others' words as one line of at most 80 characters, without quotation marks of ours."""
    line = " ".join(words.split())
    plain = "".join(
        "'" if sign in "“”" else sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line
    )
    return plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 1]}…"
