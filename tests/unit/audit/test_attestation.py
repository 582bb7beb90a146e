"""What an auditor signs, and what nobody can pass off as it."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as DsseEnvelope
from securesystemslib.exceptions import VerificationError as DsseVerificationError
from securesystemslib.signer import SSlibKey

from testkit.audit_cli import vdb_audit
from testkit.bundles import SmallSession
from vdb_shared import __version__, labels
from vdb_shared.audit.attestation import VERDICT, attest, property_of, read_attestation
from vdb_shared.audit.auditor_key import make_key, passphrase_from, public_pem, read_key, read_public_key
from vdb_shared.audit.checks import CHECKS
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Status
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import COUNTERSIGN
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError, VdbError, VerificationError
from vdb_shared.identity import StatementKey

KEY = StatementKey.from_seed(b"auditor".ljust(32))
OTHER = StatementKey.from_seed(b"somebody else".ljust(32))
TIME = "2026-02-01T09:00:00Z"


@pytest.fixture(scope="module")
def signed(session: SmallSession) -> bytes:
    return attest(verify(session.bundle(), root=session.root), DEFAULT_POLICY, session.root, TIME, KEY).to_json()


def test_it_says_what_passed_of_which_bytes_under_which_demands(session: SmallSession, signed: bytes) -> None:
    found = read_attestation(signed, KEY.public_key)
    report = verify(session.bundle(), root=session.root)
    assert found.bundle == sha256_digest(session.bundle())
    assert found.auditor == KEY.public_key.key_id
    assert (found.created, found.software) == (TIME, __version__)
    assert found.policy == Policy(root=session.root)
    passed = {property_of(line.id) for line in report.lines if line.status is Status.PASS}
    assert set(found.properties) == passed | {VERDICT}
    assert "VDB_V34_COMMITMENTS_PASS" in found.properties
    assert "VDB_V10_PASS" in found.properties


def test_it_has_the_fields_of_the_simple_verification_result(session: SmallSession, signed: bytes) -> None:
    """in-toto attestation framework, spec/predicates/svr.md, version 0.2: exactly its required fields."""
    envelope = json.loads(signed)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(decode_base64(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert statement["subject"] == [{"digest": {"sha256": sha256_digest(session.bundle())[7:]}, "name": "result.vdbb"}]
    predicate = statement["predicate"]
    assert predicate.keys() == {"verifier", "timeCreated", "properties"}
    assert predicate["verifier"].keys() == {"id", "policies"}
    assert re.fullmatch(r"urn:[a-z0-9][a-z0-9-]{0,31}:\S+", predicate["verifier"]["id"])
    (policy,) = predicate["verifier"]["policies"]
    assert policy.keys() == {"name", "digest", "content", "mediaType"}
    assert sha256_digest(decode_base64(policy["content"])) == f"sha256:{policy['digest']['sha256']}"


def test_another_implementation_of_dsse_verifies_it(signed: bytes) -> None:
    key = SSlibKey(KEY.public_key.key_id, "ed25519", "ed25519", {"public": KEY.public_key.raw.hex()})
    other = SSlibKey(OTHER.public_key.key_id, "ed25519", "ed25519", {"public": OTHER.public_key.raw.hex()})
    envelope = DsseEnvelope.from_dict(json.loads(signed))
    assert envelope.verify([key], threshold=1) == {key.keyid: key}
    with pytest.raises(DsseVerificationError):
        envelope.verify([other], threshold=1)


def test_a_root_that_was_not_pinned_is_not_claimed(session: SmallSession) -> None:
    found = read_attestation(
        attest(verify(session.bundle()), DEFAULT_POLICY, None, TIME, KEY).to_json(), KEY.public_key
    )
    assert found.policy.root is None
    assert "VDB_V10_PASS" not in found.properties


def test_every_check_has_a_property_of_its_own() -> None:
    names = [property_of(check.id) for check in CHECKS]
    assert len(set(names)) == len(names)
    assert VERDICT not in names


def test_nothing_is_attested_of_a_bundle_that_does_not_pass(session: SmallSession) -> None:
    failed = verify(session.forged({"metrics.json": b"{}"}), root=session.root)
    draft = {name: data for name, data in session.members.items() if name != COUNTERSIGN}
    incomplete = verify(write_archive(draft), root=session.root, draft=True)
    for report, check in ((failed, "V41"), (incomplete, "V51")):
        with pytest.raises(VerificationError, match="nothing is attested") as caught:
            attest(report, DEFAULT_POLICY, None, TIME, KEY)
        assert caught.value.check == check


def test_every_changed_byte_and_every_cut_is_refused(signed: bytes) -> None:
    for place in range(0, len(signed), 3):
        for changed in (signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :], signed[:place]):
            with pytest.raises(VdbError):
                read_attestation(changed, KEY.public_key)


def test_another_key_is_refused_and_so_is_a_second_signature(signed: bytes) -> None:
    with pytest.raises(SignatureError, match="not known here"):
        read_attestation(signed, OTHER.public_key)
    envelope = Envelope.from_json(signed)
    both = sign_envelope(envelope.payload_type, envelope.payload, KEY, OTHER)
    with pytest.raises(SignatureError, match="not known here"):
        read_attestation(both.to_json(), KEY.public_key)


def test_a_key_cannot_sign_in_the_name_of_another(signed: bytes) -> None:
    envelope = Envelope.from_json(signed)
    forged = sign_envelope(envelope.payload_type, envelope.payload, OTHER)
    with pytest.raises(IdentityError, match=r"names the auditor .* but is signed by"):
        read_attestation(forged.to_json(), OTHER.public_key)


def weaker_policy(statement: Any) -> None:
    policy = statement["predicate"]["verifier"]["policies"][0]
    content = parse_canonical_json(decode_base64(policy["content"]))
    policy["content"] = encode_base64(canonical_json(content | {"maximum_epsilon": "1"}))


def policy_of_another_form(statement: Any) -> None:
    policy = statement["predicate"]["verifier"]["policies"][0]
    content = canonical_json({"version": "vdb-audit-policy/1"})
    policy.update(content=encode_base64(content), digest={"sha256": sha256_digest(content)[7:]})


def policy_that_is_none(statement: Any) -> None:
    policy = statement["predicate"]["verifier"]["policies"][0]
    content = canonical_json({"version": "vdb-audit-policy/1", "minimum_cohort": 1})
    policy.update(content=encode_base64(content), digest={"sha256": sha256_digest(content)[7:]})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(extra="x"),
        lambda s: s.update(predicateType="https://in-toto.io/attestation/svr/v0.1"),
        lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda s: s.update(subject=[]),
        lambda s: s.update(subject=s["subject"] * 2),
        lambda s: s["subject"][0].update(name="other.vdbb"),
        lambda s: s["subject"][0]["digest"].update(sha512="0" * 128),
        lambda s: s["predicate"].update(extra="x"),
        lambda s: s["predicate"].pop("timeCreated"),
        lambda s: s["predicate"].update(timeCreated="yesterday"),
        lambda s: s["predicate"].update(properties=[]),
        lambda s: s["predicate"]["properties"].reverse(),
        lambda s: s["predicate"]["properties"].append("VDB_V99_FAIL"),
        lambda s: s["predicate"]["properties"].append(s["predicate"]["properties"][-1]),
        lambda s: s["predicate"]["verifier"].update(id="https://example.org/auditor"),
        lambda s: s["predicate"]["verifier"].update(policies=[]),
        lambda s: s["predicate"]["verifier"]["policies"][0].update(uri="https://example.org"),
        weaker_policy,
        policy_of_another_form,
        policy_that_is_none,
    ],
)
def test_whatever_is_not_in_its_one_form_is_refused_though_the_auditor_signed_it(
    signed: bytes, change: Callable[[Any], object]
) -> None:
    statement = parse_canonical_json(Envelope.from_json(signed).payload)
    change(statement)
    resigned = sign_envelope(labels.TYPE_STATEMENT, canonical_json(statement), KEY).to_json()
    with pytest.raises(FormatError):
        read_attestation(resigned, KEY.public_key)


def test_other_statements_of_the_same_key_are_no_attestations(session: SmallSession) -> None:
    seal = session.record.seal
    with pytest.raises(FormatError, match=r"expected a statement of type https://in-toto\.io/attestation/svr/v0\.2"):
        read_attestation(seal.to_json(), session.coordinator.public_key)
    with pytest.raises(FormatError, match="at most"):
        read_attestation(bytes(2**17), KEY.public_key)


def test_a_key_is_kept_encrypted_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "auditor.pem"
    public, public_file = make_key(path, b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    assert public_file == tmp_path / "auditor.pub.pem"
    assert read_public_key(public_file) == public
    assert read_key(path, lambda: b"secret").public_key == public
    with pytest.raises(IdentityError, match="passphrase"):
        read_key(path, lambda: b"guess")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    make_key(tmp_path / "a.pem", None)
    before = (tmp_path / "a.pem").read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(tmp_path / "a.pem", None)
    (tmp_path / "a.pub.pem").unlink()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(tmp_path / "a.pem", None)
    (tmp_path / "b.pub.pem").touch()
    with pytest.raises(UsageError, match="never overwritten"):
        make_key(tmp_path / "b.pem", None)
    assert (tmp_path / "a.pem").read_bytes() == before
    assert not (tmp_path / "b.pem").exists()


def test_what_is_no_public_key_is_refused_in_one_line(tmp_path: Path) -> None:
    make_key(tmp_path / "a.pem", None)
    with pytest.raises(IdentityError, match=r"this is a private key; give its public half, a\.pub\.pem"):
        read_public_key(tmp_path / "a.pem")
    (tmp_path / "c.pem").write_text("no key")
    with pytest.raises(IdentityError, match="expected an Ed25519 public key in PEM"):
        read_public_key(tmp_path / "c.pem")
    assert read_public_key(tmp_path / "a.pub.pem").raw
    (tmp_path / "d.pem").write_bytes(public_pem(KEY.public_key))
    assert read_public_key(tmp_path / "d.pem") == KEY.public_key


def test_a_passphrase_comes_from_file_variable_or_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VDB_PASSPHRASE", raising=False)
    with pytest.raises(UsageError, match="--passphrase-file"):
        passphrase_from(None, None)
    assert passphrase_from(None, lambda: "asked") == b"asked"
    monkeypatch.setenv("VDB_PASSPHRASE", "told")
    assert passphrase_from(None, lambda: "asked") == b"told"
    (tmp_path / "phrase").write_bytes(b"read\r\nmore")
    assert passphrase_from(tmp_path / "phrase", None) == b"read"
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="empty"):
        passphrase_from(tmp_path / "empty", None)


def test_an_auditor_attests_and_somebody_else_checks(
    session: SmallSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VDB_PASSPHRASE", "secret")
    bundle, other = tmp_path / "result.vdbb", tmp_path / "other.vdbb"
    bundle.write_bytes(session.bundle())
    other.write_bytes(session.forged({"metrics.json": b"{}"}))
    key, public, out = (tmp_path / name for name in ("auditor.pem", "auditor.pub.pem", "result.svr.json"))
    made = vdb_audit("key", key)
    assert made.returncode == 0
    assert f"fingerprint: {read_public_key(public).key_id[:4]} " in made.stdout
    done = vdb_audit("verify", bundle, "--root", session.root, "--attest", out, "--key", key)
    assert done.returncode == 0, done.stderr
    shown = vdb_audit("attestation", out, "--key", public, "--bundle", bundle)
    assert shown.returncode == 0, shown.stderr
    assert f"Trust root  {session.root}" in shown.stdout
    assert re.search(r"^Passed .*V34\.commitments .*V51", shown.stdout, re.MULTILINE)
    assert re.search(r"^Not passed .*N01 N02 N03 N04", shown.stdout, re.MULTILINE)
    assert json.loads(vdb_audit("attestation", out, "--key", public, "--json").stdout)["bundle"] == sha256_digest(
        session.bundle()
    )
    wrong = vdb_audit("attestation", out, "--key", public, "--bundle", other)
    assert wrong.returncode == 1
    assert "is about sha256:" in wrong.stderr


def test_the_key_is_not_written_over_by_what_it_signs(session: SmallSession, tmp_path: Path) -> None:
    bundle, key = tmp_path / "result.vdbb", tmp_path / "a.pem"
    bundle.write_bytes(session.bundle())
    make_key(key, None)
    before = key.read_bytes()
    done = vdb_audit("verify", bundle, "--attest", tmp_path / "." / "a.pem", "--key", key)
    assert (done.returncode, key.read_bytes()) == (2, before)
    assert "would be written over; name another file" in done.stderr


def test_a_failed_audit_writes_no_attestation_and_says_so(session: SmallSession, tmp_path: Path) -> None:
    bundle, key, out = tmp_path / "forged.vdbb", tmp_path / "a.pem", tmp_path / "out.json"
    bundle.write_bytes(session.forged({"metrics.json": b"{}"}))
    make_key(key, None)
    done = vdb_audit("verify", bundle, "--attest", out, "--key", key)
    assert done.returncode == 1
    assert "not written; only an audit that passes is attested" in done.stderr
    assert not out.exists()


def test_attest_and_key_go_together_and_a_wrong_passphrase_is_one_line(session: SmallSession, tmp_path: Path) -> None:
    bundle, key, out = tmp_path / "result.vdbb", tmp_path / "a.pem", tmp_path / "out.json"
    bundle.write_bytes(session.bundle())
    make_key(key, b"secret")
    guess = tmp_path / "guess"
    guess.write_text("guess\n")
    assert vdb_audit("verify", bundle, "--attest", out).returncode == 2
    done = vdb_audit("verify", bundle, "--attest", out, "--key", key, "--passphrase-file", guess)
    assert done.returncode == 1
    assert "is not opened by this passphrase" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()
