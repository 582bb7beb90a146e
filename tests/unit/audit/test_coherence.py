"""One wrong field that everybody signed: no signature and no digest gives it away, only the comparison made for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest

from testkit.bundles import SmallSession, small_session
from testkit.forgeries import check_named
from testkit.statements import INSTITUTIONS, Twist
from vdb_shared import labels
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.envelope import sign_envelope
from vdb_shared.bundle.record import SURVIVORS, TRANSCRIPT, encode_transcript
from vdb_shared.bundle.statement import Contribution, Join, Predicate, Seal, SessionOpen, parse_statement
from vdb_shared.canonical import digest_bytes
from vdb_shared.secagg.masking import commitments_digest
from vdb_shared.secagg.messages import AdvertisedKeys, ConsistencyStatement, MaskedInputHeader, SharedKeysHeader, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import chain
from vdb_shared.spec import parse_spec_json

DIGEST = "sha256:" + "0" * 64

FIELDS: list[tuple[type[Predicate], str, object, str]] = [
    (SessionOpen, "spec", DIGEST, "spec of the opening"),
    (SessionOpen, "roster", DIGEST, "roster of the opening"),
    (SessionOpen, "root", DIGEST, "trust root of the opening"),
    (SessionOpen, "consortium", "other", "consortium of the opening"),
    (Join, "session", DIGEST, "session of the join of lab-kyoto"),
    (Join, "spec", DIGEST, "spec of the join of lab-kyoto"),
    (Join, "roster", DIGEST, "roster of the join of lab-kyoto"),
    (Join, "institution", "other", "institution of the join of lab-kyoto"),
    (Join, "seat", 9, "seat of the join of lab-kyoto"),
    (Seal, "session", DIGEST, "session of the seal"),
    (Seal, "spec", DIGEST, "spec of the seal"),
    (Seal, "roster", DIGEST, "roster of the seal"),
    (Seal, "joins", (), "exactly the joins"),
    (Seal, "smallest_cohort", 3, "smallest cohort of the seal"),
    (Seal, "layout", DIGEST, "layout of the seal"),
    (Seal, "lanes", 1, "lanes of the seal"),
    (Seal, "private_lanes", 0, "private lanes of the seal"),
    (Seal, "noise_multiplier", "0.1", "noise multiplier of the seal"),
    (Seal, "scale", "90000", "scale of the seal"),
    (Seal, "public_tasks", 1, "public clips of the seal"),
    (Seal, "generators", DIGEST, "generators of the seal"),
    (Contribution, "session", DIGEST, "session of the contribution of lab-kyoto"),
    (Contribution, "seal", DIGEST, "seal of the contribution of lab-kyoto"),
    (Contribution, "institution", "other", "institution of the contribution of lab-kyoto"),
    (Contribution, "seat", 9, "seat of the contribution of lab-kyoto"),
]


def first_failure(session: SmallSession, data: bytes) -> tuple[str, str]:
    failure = verify(data, root=session.root).first_failure
    assert failure is not None
    assert check_named(session, data, failure.id) == failure.id
    return failure.id, failure.detail


@pytest.mark.parametrize(("kind", "field", "value", "detail"), FIELDS)
def test_a_field_that_contradicts_the_others_is_named(
    plain: SmallSession, kind: type[Predicate], field: str, value: object, detail: str
) -> None:
    spec = parse_spec_json(plain.record.spec)
    session = small_session(plain.seed, spec, twist=Twist(kind, field, value))
    check, found = first_failure(session, session.bundle())
    assert check == "V20"
    assert detail in found


@pytest.mark.parametrize("field", ["session", "seal"])
def test_a_result_of_another_session_is_named(plain: SmallSession, field: str) -> None:
    check, detail = first_failure(plain, plain.forged({}, accomplices=(0, 1, 3, 4), **{field: DIGEST}))
    assert check == "V20"
    assert f"{field} of the result" in detail


def test_another_masked_input_than_the_header_names_is_found(plain: SmallSession) -> None:
    spec = parse_spec_json(plain.record.spec)
    session = small_session(plain.seed, spec, twist=Twist(Contribution, "masked_input", DIGEST))
    check, detail = first_failure(session, session.bundle())
    assert check == "V31"
    assert "masked input named by the signed message of lab-kyoto" in detail


@pytest.mark.parametrize(("kind", "field"), [(SessionOpen, "opened"), (Seal, "sealed")])
def test_times_out_of_order_are_found(plain: SmallSession, kind: type[Predicate], field: str) -> None:
    spec = parse_spec_json(plain.record.spec)
    session = small_session(plain.seed, spec, twist=Twist(kind, field, "2026-01-31T13:00:00Z"))
    check, _ = first_failure(session, session.bundle())
    assert check == "V21"


def signed_through(
    plain: SmallSession, advertised: Mapping[Seat, Signed] | None = None, sharing: Collection[Seat] | None = None
) -> bytes:
    """Return the bundle of rounds that went otherwise, and that everybody signed up to the result.

    Args:
        plain: the honest session.
        advertised: the messages of round 0, if other ones.
        sharing: who took part in round 1, if others.
    """
    record = plain.record
    advertised = record.advertised if advertised is None else advertised
    t1 = chain(labels.HASH_T1, digest_bytes(record.seal.payload_digest), advertised)
    shared = {seat: shared_behind(plain, seat, t1) for seat in (record.shared if sharing is None else sharing)}
    t2 = chain(labels.HASH_T2, t1, shared)
    masked = {seat: masked_behind(plain, seat, t2) for seat in record.masked}
    t3 = chain(labels.HASH_T3, t2, masked)
    edits = {TRANSCRIPT: encode_transcript(advertised, shared, masked)}
    return plain.forged(edits, accomplices=tuple(masked), t1=t1.hex(), t2=t2.hex(), t3=t3.hex())


def shared_behind(plain: SmallSession, seat: Seat, t1: bytes) -> Signed:
    """Return a seat's header of round 1, signed again behind another T1; survivors fix the same commitments."""
    header = replace(SharedKeysHeader.decode(plain.record.shared[seat].body), t1=t1)
    if seat in plain.record.masked:
        commitments = MaskedInputHeader.decode(plain.record.masked[seat].body).commitments
        header = replace(header, commitments_digest=commitments_digest(t1, seat, commitments))
    return Signed(header.encode(), plain.key(seat).sign(labels.TYPE_SHARE_KEYS, header.encode()))


def masked_behind(plain: SmallSession, seat: Seat, t2: bytes) -> Signed:
    """Return a seat's header of round 2, signed again behind another T2."""
    body = replace(MaskedInputHeader.decode(plain.record.masked[seat].body), t2=t2).encode()
    return Signed(body, plain.key(seat).sign(labels.TYPE_MASKED_INPUT, body))


def test_the_honest_rounds_signed_again_are_those_of_the_session(plain: SmallSession) -> None:
    """The stories below fail for their reason."""
    assert signed_through(plain) == plain.bundle()


def test_a_ghost_that_never_advertised_keys_is_found(plain: SmallSession) -> None:
    """Five institutions sign rounds in which one shares keys that it never advertised."""
    advertised = {seat: signed for seat, signed in plain.record.advertised.items() if seat != 4}
    check, detail = first_failure(plain, signed_through(plain, advertised=advertised))
    assert check == "V30"
    assert "without having taken part" in detail


def test_a_ghost_that_never_shared_keys_is_found(plain: SmallSession) -> None:
    ghost = max(plain.record.masked)
    check, detail = first_failure(plain, signed_through(plain, sharing=plain.record.shared.keys() - {ghost}))
    assert check == "V30"
    assert f"a masked input of seat {ghost}, which shared no keys" in detail


@pytest.mark.parametrize("field", ["channel_key", "mask_key"])
def test_a_key_that_stands_twice_is_found(plain: SmallSession, field: str) -> None:
    """All five sign rounds in which one advertises the key of another."""
    keys = {seat: AdvertisedKeys.decode(plain.record.advertised[seat].body) for seat in (0, 4)}
    copied = replace(keys[4], **{field: getattr(keys[0], field)}).encode()
    again = Signed(copied, plain.key(4).sign(labels.TYPE_ADVERTISE_KEYS, copied))
    check, detail = first_failure(plain, signed_through(plain, advertised={**plain.record.advertised, 4: again}))
    assert check == "V30"
    assert "every key must be fresh" in detail


def consistency(plain: SmallSession, signers: Collection[Seat], **changes: Any) -> bytes:
    """Return a consistency statement with changed fields, signed by these seats."""
    statement = replace(ConsistencyStatement.decode(plain.record.survivors.payload), **changes)
    keys = (plain.key(seat) for seat in signers)
    return sign_envelope(labels.TYPE_CONSISTENCY, statement.encode(), *keys).to_json()


def test_survivors_that_saw_another_transcript_are_found(plain: SmallSession) -> None:
    edits = {SURVIVORS: consistency(plain, (0, 1, 3, 4), t3=bytes(32))}
    check, detail = first_failure(plain, plain.forged(edits, accomplices=(0, 1, 3, 4)))
    assert check == "V32"
    assert "another view" in detail


def test_a_dropout_has_no_say_about_the_survivors(plain: SmallSession) -> None:
    edits = {SURVIVORS: consistency(plain, (0, 1, 2, 3, 4))}
    check, detail = first_failure(plain, plain.forged(edits, accomplices=(0, 1, 3, 4)))
    assert check == "V32"
    assert detail.startswith("1 signature by institutions")


def test_fewer_than_the_smallest_cohort_are_found(plain: SmallSession) -> None:
    record = plain.record
    masked = {seat: signed for seat, signed in record.masked.items() if seat != 4}
    t3 = chain(labels.HASH_T3, MaskedInputHeader.decode(masked[0].body).t2, masked)
    edits = {
        TRANSCRIPT: encode_transcript(record.advertised, record.shared, masked),
        SURVIVORS: consistency(plain, (0, 1, 3), t3=t3, masked=frozenset(masked)),
        "contributions/museum-lima.dsse.json": None,
    }
    check, detail = first_failure(plain, plain.forged(edits, accomplices=(0, 1, 3), t3=t3.hex()))
    assert check == "V32"
    assert "3 institutions are in the sum; the seal demands at least 4" in detail


def test_more_clips_declared_than_counted_are_found(session: SmallSession) -> None:
    contribution, _ = parse_statement(session.record.contributions["lab-kyoto"].payload, Contribution)
    manifest = contribution.manifest.model_copy(update={"public_clips_made": 1000})
    spec = parse_spec_json(session.record.spec)
    twisted = small_session.__wrapped__(0, spec, twist=Twist(Contribution, "manifest", manifest))
    check, detail = first_failure(twisted, twisted.bundle())
    assert check == "V40"
    assert detail.startswith("public clips declared")


def test_the_honest_session_has_all_institutions(plain: SmallSession) -> None:
    assert tuple(plain.record.joins) == INSTITUTIONS
