from __future__ import annotations

import json

import pytest

from vdb_shared.canonical import canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.wire.enrolment import (
    InvitationFile,
    grouped,
    parse_invitation,
    possession_body,
    token_hash,
    ungrouped,
)

INVITATION = InvitationFile(
    consortium="lung-video",
    address="vdb.example.org:7443",
    institution="hospital-a",
    ca_certificate="-----BEGIN CERTIFICATE-----\nx",
    root_fingerprint="sha256:" + "0" * 64,
    token="12" * 32,
    bootstrap_certificate="-----BEGIN CERTIFICATE-----\ny",
    bootstrap_key="-----BEGIN PRIVATE KEY-----\nz",
    expires="2026-01-31T12:00:00Z",
)


def test_an_invitation_reads_back_also_with_a_newline() -> None:
    assert parse_invitation(INVITATION.encode()) == INVITATION
    assert parse_invitation(INVITATION.encode() + b"\n") == INVITATION


def test_an_invitation_does_not_print_its_secrets() -> None:
    assert INVITATION.token not in repr(INVITATION)
    assert "PRIVATE KEY" not in repr(INVITATION)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "vdb-invitation/2"},
        {"token": "12"},
        {"address": "vdb.example.org"},
        {"institution": "Hospital A"},
        {"root_fingerprint": "abc"},
        {"expires": "tomorrow"},
        {"surplus": "x"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_wrong_field_is_named_and_its_value_is_not_shown(change: dict[str, str]) -> None:
    values = json.loads(INVITATION.encode()) | change
    with pytest.raises(FormatError, match=next(iter(change))) as caught:
        parse_invitation(canonical_json(values))
    assert INVITATION.token not in str(caught.value)


def test_other_bytes_are_refused() -> None:
    for data in (b"", b"{}", b"\xff", INVITATION.encode()[:-1], b" " + INVITATION.encode(), b"x" * 70_000):
        with pytest.raises(FormatError):
            parse_invitation(data)


def test_possession_covers_token_institution_and_request() -> None:
    token = INVITATION.token_bytes
    bodies = {
        possession_body(token, "a", b"csr"),
        possession_body(bytes(32), "a", b"csr"),
        possession_body(token, "b", b"csr"),
        possession_body(token, "a", b"other"),
    }
    assert len(bodies) == 4
    assert token not in possession_body(token, "a", b"csr")
    assert token_hash(token) in possession_body(token, "a", b"csr")


def test_fingerprints_survive_being_read_out() -> None:
    fingerprint = "0123456789abcdef" * 4
    assert grouped(fingerprint).startswith("0123 4567 89ab ")
    assert ungrouped(grouped(fingerprint).upper().replace(" ", "-")) == fingerprint
