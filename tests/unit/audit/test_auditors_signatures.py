"""What an auditor signs: with which keys, attestations of what was found, objections, and what a signed file says of itself."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from testkit.consortium import signer
from testkit.disputed import SEAT
from testkit.golden import golden_file, golden_withdrawal
from testkit.logs import MadeLog
from testkit.one_line import refused
from testkit.published import golden_told
from testkit.statements import AUDITOR, INSTITUTIONS, auditor_key, coordinator_key
from vdb_shared import __version__, labels
from vdb_shared.audit.attestation import MAX_ATTESTATION_BYTES, attest, read_attestation
from vdb_shared.audit.auditor_key import (
    MAX_KEY_BYTES,
    make_key,
    passphrase_from,
    public_path,
    public_pem,
    read_key,
    read_public_key,
)
from vdb_shared.audit.inspect import describe, describe_statement, is_statement
from vdb_shared.audit.objecting import Target, object_to, place_of, target_of
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Report, Status
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.logged import ObjectionRecord, OpenedRecord, encode_record
from vdb_shared.bundle.objections import parse_envelope
from vdb_shared.bundle.record import RESULT
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError, VerificationError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.proof import Witnessed

KEY = StatementKey.from_seed(b"auditor".ljust(32))
TIME = "2026-02-01T09:00:00Z"
DIGEST = "sha256:" + "4" * 64


# Keys.


def test_the_public_half_is_there_for_everybody_and_no_program(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        _, public = make_key(tmp_path / "auditor.pem", None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "auditor.pem").stat().st_mode) == 0o600
    assert public_path(Path("keys/auditor.pem")) == Path("keys/auditor.pub.pem")
    assert public_path(Path("keys/auditor")) == Path("keys/auditor.pub.pem")


def test_a_key_that_cannot_be_written_or_read_names_its_file(tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "a.pem"
    words = f"{nowhere}: cannot be written: No such file or directory"
    assert refused(UsageError, lambda: make_key(nowhere, None)) == words
    make_key(tmp_path / "a.pem", b"secret")
    assert refused(IdentityError, lambda: read_key(tmp_path / "a.pem", lambda: b"guess")).startswith(
        f"{tmp_path}/a.pem: "
    )
    (tmp_path / "long.pem").write_bytes(bytes(MAX_KEY_BYTES + 1))
    assert "larger than the 16384 bytes" in refused(UsageError, lambda: read_public_key(tmp_path / "long.pem"))
    again = f"{tmp_path}/a.pub.pem: is there already; a key is never overwritten, choose another name"
    assert refused(UsageError, lambda: make_key(tmp_path / "a.pem", None)) == again
    (tmp_path / "a.pub.pem").unlink()
    again = f"{tmp_path}/a.pem: is there already; a key is never overwritten, choose another name"
    assert refused(UsageError, lambda: make_key(tmp_path / "a.pem", None)) == again


def test_a_passphrase_is_asked_for_only_where_a_key_is_encrypted(tmp_path: Path) -> None:
    public, _ = make_key(tmp_path / "a.pem", None)

    def never() -> bytes:
        raise AssertionError("nobody is to be asked")

    assert read_key(tmp_path / "a.pem", never).public_key == public


def test_keys_of_another_kind_are_no_auditors_keys(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    other = generate_private_key(SECP256R1()).public_key()
    path.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert (
        refused(IdentityError, lambda: read_public_key(path))
        == f"{path}: expected an Ed25519 public key, found another kind"
    )
    unheard_of = "-----BEGIN PUBLIC KEY-----\nMAwwBAYCKgMDBAAAAAA=\n-----END PUBLIC KEY-----\n"
    path.write_text(unheard_of)
    words = f"{path}: expected an Ed25519 public key in PEM, as `vdb-audit key` writes it"
    assert refused(IdentityError, lambda: read_public_key(path)) == words
    path.write_bytes(public_pem(KEY.public_key))
    assert read_public_key(path) == KEY.public_key


def test_what_is_missing_of_a_passphrase_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VDB_PASSPHRASE", raising=False)
    words = "the key needs a passphrase; give --passphrase-file or set VDB_PASSPHRASE"
    assert refused(UsageError, lambda: passphrase_from(None, None)) == words
    empty = "the passphrase is empty; choose one, or ask for a key in plain with --plaintext-key"
    assert refused(UsageError, lambda: passphrase_from(None, str)) == empty
    (tmp_path / "long").write_bytes(b"x" * (MAX_KEY_BYTES + 1))
    assert "larger than" in refused(UsageError, lambda: passphrase_from(tmp_path / "long", None))
    (tmp_path / "unix").write_bytes(b"a b\nsecond")
    assert passphrase_from(tmp_path / "unix", None) == b"a b"


# Attestations.


def attested(report: Report | None = None, policy: Policy = DEFAULT_POLICY, root: str | None = None) -> bytes:
    return attest(report or golden_told("full"), policy, root, TIME, KEY).to_json()


def test_json_of_an_attestation_has_every_field() -> None:
    found = read_attestation(attested(root=DIGEST), KEY.public_key)
    passed = {
        f"VDB_{line.id.upper().replace('.', '_')}_PASS" for line in golden_told("full").lines if line.status == "PASS"
    }
    assert found.to_json() == {
        "version": "vdb-audit-attestation/1",
        "bundle": golden_told("full").bundle,
        "auditor": KEY.public_key.key_id,
        "software": __version__,
        "created": TIME,
        "policy": json.loads(Policy(root=DIGEST).model_dump_json()),
        "properties": sorted({"VDB_VERDICT_PASS"} | passed),
    }


def test_the_root_that_counts_is_the_one_given_or_else_that_of_the_policy() -> None:
    other = "sha256:" + "5" * 64
    for root, demanded, told in (
        (DIGEST, None, DIGEST),
        (None, other, other),
        (DIGEST, other, DIGEST),
        (None, None, None),
    ):
        policy = Policy(root=demanded)
        assert read_attestation(attested(None, policy, root), KEY.public_key).policy.root == told


def test_what_keeps_an_audit_from_being_attested_is_named() -> None:
    """The first check that failed, also where another one that was left out stands before it."""
    lines = golden_told("full").lines
    for changes, check, verdict in (
        ({"V31": Status.SKIPPED, "V50": Status.FAIL}, "V50", "FAIL"),
        ({"V31": Status.SKIPPED, "V50": Status.NOT_REACHED}, "V31", "INCOMPLETE"),
    ):
        report = replace(
            golden_told("full"), lines=tuple(replace(line, status=changes.get(line.id, line.status)) for line in lines)
        )
        with pytest.raises(VerificationError) as caught:
            attested(report)
        assert caught.value.check == check
        assert caught.value.reason == f"nothing is attested of a bundle whose audit is {verdict}"


@pytest.mark.parametrize(
    "properties", [["VDB_V99_FAIL"], ["VDB_V10_PASS", "VDB_x_PASS"], ["VDB_V10_PASS", "VDB_V10_PASS"]]
)
def test_only_names_of_properties_are_properties(properties: list[str]) -> None:
    statement: Any = parse_canonical_json(Envelope.from_json(attested()).payload)
    statement["predicate"]["properties"] = properties
    resigned = sign_envelope(labels.TYPE_STATEMENT, canonical_json(statement), KEY).to_json()
    assert "ascending, each once" in refused(FormatError, lambda: read_attestation(resigned, KEY.public_key))


def test_an_attestation_is_bounded_to_the_byte() -> None:
    long = refused(FormatError, lambda: read_attestation(bytes(MAX_ATTESTATION_BYTES + 1), KEY.public_key))
    assert long == "an attestation has at most 65536 bytes, not 65537"
    assert "at most" not in refused(FormatError, lambda: read_attestation(bytes(MAX_ATTESTATION_BYTES), KEY.public_key))


# Objecting.


def target() -> Target:
    return target_of(golden_file("disputed").read_bytes())


def test_the_target_is_the_very_result_in_a_bundle() -> None:
    found, members = target(), read_archive(golden_file("disputed").read_bytes())
    assert found.session == golden_told("disputed").facts.session  # type: ignore[union-attr]  # a golden bundle has facts
    assert found.result == Envelope.from_json(members[RESULT]).payload_digest
    root = sha256_digest(members["roster/root.1.json"])
    assert target_of(golden_file("disputed").read_bytes(), root) == found
    with pytest.raises(IdentityError):
        target_of(golden_file("disputed").read_bytes(), DIGEST)


def test_an_objection_is_signed_under_the_name_in_the_roster() -> None:
    for key, name in ((signer("golden", SEAT), INSTITUTIONS[SEAT]), (auditor_key("golden"), AUDITOR)):
        said = describe_statement(object_to(target(), key, "data", "Wrong clips.", TIME))
        assert said == {
            "statement": "objection",
            "digest": said["digest"],
            "session": target().session,
            "result": target().result,
            "objector": name,
            "reason": "data",
            "text": "Wrong clips.",
            "objected": TIME,
            "signed_by": key.public_key.key_id,
        }
    with pytest.raises(IdentityError):
        object_to(target(), KEY, "data", "Wrong clips.", TIME)


def test_a_place_in_the_log_is_that_of_an_entry_which_says_all_that_was_objected_behind_the_result() -> None:
    about, said = target(), object_to(target(), signer("golden", SEAT), "data", "Wrong clips.", TIME)
    digest = parse_envelope(said).payload_digest

    def entry(**changes: str) -> bytes:
        fields: dict[str, Any] = {
            "session": about.session,
            "objection": digest,
            "result": about.result,
            "objector": INSTITUTIONS[SEAT],
            "received": TIME,
            "salt": "0" * 64,
        }
        return encode_record(ObjectionRecord(**fields | changes))

    opening = encode_record(OpenedRecord(session=about.session, spec=DIGEST, roster=DIGEST, opened=TIME, due=TIME))
    wrong = {name: entry(**{name: DIGEST}) for name in ("session", "objection", "result")}
    wrong |= {"objector": entry(objector=INSTITUTIONS[SEAT - 1])}
    wrong |= {"due, kind, objection, objector, opened, result, roster, spec": opening}
    own = {"as told": entry(), "later": entry(received="2026-12-01T00:00:00Z"), "salted": entry(salt="1" * 64)}
    before = about.published().checkpoint.size
    log = MadeLog(
        "testbed", coordinator_key("golden"), [entry()] * before + [*own.values(), *wrong.values(), b"no record"]
    )
    proofs = [log.proof(place, {}).to_bytes() for place in range(len(log.entries))]
    for place, good in enumerate(own.values(), before):
        assert place_of(about, said, good, proofs[place]) == Witnessed(log.checkpoint, place, {})
    words = (
        "the coordinator answered with an entry of the log that is not of this objection: it says something else as "
    )
    for place, (fields, other) in enumerate(wrong.items(), before + len(own)):
        told = refused(FormatError, lambda at=place, of=other: place_of(about, said, of, proofs[at]))  # type: ignore[misc]  # a default binds each
        assert told == f"{words}{fields}; keep both and ask the lead"
    with pytest.raises(FormatError):
        place_of(about, said, b"no record", proofs[-1])
    elsewhere = object_to(replace(about, result=DIGEST), signer("golden", SEAT), "data", "Wrong clips.", TIME)
    brought = entry(objection=parse_envelope(elsewhere).payload_digest)
    alone = MadeLog("testbed", coordinator_key("golden"), [entry()] * before + [brought])
    with pytest.raises(FormatError, match="is about"):
        place_of(about, elsewhere, brought, alone.proof(before, {}).to_bytes())
    with pytest.raises(FormatError):
        place_of(about, said, entry(), proofs[before + 1])
    assert refused(FormatError, lambda: place_of(about, said, entry(), proofs[before - 1])) == (
        f"the coordinator places the objection at entry {before - 1} of the log, among the {before} that stood there before "
        "the result was published; no reader counts it there, so keep both and ask the lead"
    )
    other_log = MadeLog("testbed", coordinator_key("another"), [b"first"] * before + [entry()])
    with pytest.raises(SignatureError):
        place_of(about, said, entry(), other_log.proof(before, {}).to_bytes())


# Looking into files.


def test_what_a_bundle_says_of_itself() -> None:
    data = golden_file("dropout").read_bytes()
    found, members = describe(data), read_archive(data)
    assert found.facts == golden_told("dropout").facts
    assert list(found.members.items()) == [(name, len(members[name])) for name in sorted(members)]
    assert found.to_json() == {**found.facts.to_json(), "members": dict(found.members)}
    assert not is_statement(data)


def test_what_a_withdrawal_says_of_itself() -> None:
    data = golden_withdrawal().read_bytes()
    assert is_statement(data)
    assert describe_statement(data) == {
        "statement": "withdrawal",
        "digest": parse_envelope(data).payload_digest,
        "session": target().session,
        "result": target().result,
        "reason": "A site measured clips of another model.",
        "withdrawn": "2026-02-03T10:00:00Z",
        "signed_by": coordinator_key("golden").public_key.key_id,
    }


def test_whose_signatures_are_there_is_told_of_every_one() -> None:
    envelope = parse_envelope(object_to(target(), signer("golden", SEAT), "data", "Wrong clips.", TIME))
    both = sign_envelope(envelope.payload_type, envelope.payload, KEY, signer("golden", SEAT))
    keys = sorted((KEY.public_key.key_id, signer("golden", SEAT).public_key.key_id))
    assert describe_statement(both.to_json())["signed_by"] == ", ".join(keys)
