"""What a caller sends is bounded before it is read: what no honest one sends is refused, what the largest sends is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from testkit.metric_specs import CLIP_SCORE, FLICKERING, FRECHET, KERNEL, make_spec
from testkit.session_story import Story, story
from testkit.statements import INSTITUTIONS, coordinator_key
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.sizes import (
    LIMITS,
    NESTED,
    check_about_seats,
    check_body,
    check_sealed,
    check_sizes,
    contribution,
    contribution_bytes,
    countersignature,
    statement,
)
from vdb_coordinator.serving.live import LiveSession, Snapshot
from vdb_coordinator.states import Finalising
from vdb_coordinator.store.eventlog import Position
from vdb_shared import labels
from vdb_shared.bundle.envelope import sign_envelope
from vdb_shared.bundle.statement import (
    PROFILE_OF,
    THUMBNAIL_BYTES,
    VECTOR_LANES,
    Abort,
    CheckedClip,
    Contribution,
    NamedDigest,
    RunManifest,
    Statement,
)
from vdb_shared.canonical import canonical_json, encode_base64, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed, UnmaskingShares
from vdb_shared.spec import Spec
from vdb_shared.tasks import MOST_CHECKED, checked_count
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb

DIGEST = sha256_digest(b"x")
TWENTY = [f"a-model-with-quite-a-long-name-{number:02}-{'x' * 30}" for number in range(20)]
METHODS = [method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods]


def fields_of(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and field.name not in NESTED:
            yield from fields_of(field.message_type)


def spec_of(models: list[str], share: str) -> Spec:
    metrics = [FLICKERING, CLIP_SCORE, FRECHET, KERNEL]
    return make_spec(metrics, models=models, generation={"samples": 4, "checked_share": share})


def largest_contribution(spec: Spec) -> bytes:
    """Return what a site says whose machine has much to say of itself, and whose every clip could be measured."""
    measures = [metric.id for metric in spec.metrics]
    clip = {
        "clip": DIGEST,
        "thumbnail": encode_base64(b"\xff" * THUMBNAIL_BYTES),
        "scores": dict.fromkeys(measures, "0.000123456"),
        "vectors": dict.fromkeys(measures, encode_base64(bytes(4 * VECTOR_LANES // len(measures)))),
    }
    first = 2**24 - checked_count(spec)
    manifest = RunManifest(
        environment={f"library-{number}": "x" * 200 for number in range(150)}
        | {PROFILE_OF + model.id: "x" * 100 for model in spec.models},
        models=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.models),
        extractors=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.extractors),
        profile="exact",
        public_clips_made=2**31,
        public_clips_failed=2**31,
        sample_root=DIGEST,
        checked=tuple(
            CheckedClip.model_validate_json(canonical_json(clip | {"task": first + number}))
            for number in range(checked_count(spec))
        ),
    )
    made = Contribution(
        session=DIGEST,
        seal=DIGEST,
        institution="x" * 64,
        seat=65534,
        masked_input=DIGEST,
        ledger_entry=DIGEST,
        manifest=manifest,
    )
    return Statement((), made).sign(coordinator_key(0)).to_json()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_every_field_of_every_request_has_a_bound(method: Any) -> None:
    for field in fields_of(method.input_type):
        if field.type in (field.TYPE_BYTES, field.TYPE_STRING) or field.default_value == []:
            assert field.name in LIMITS, f"{method.input_type.name}.{field.name} has no bound"


@pytest.mark.parametrize(
    "request_",
    [
        pb.GetSessionRequest(session="x" * 129),
        pb.QueryUploadRequest(digest=bytes(33)),
        pb.EnrolRequest(certificate_request=bytes(2**20)),
        pb.NegotiateRequest(capabilities=["x"] * 65),
        pb.ProposeActionRequest(abort_session=pb.AbortSessionRequest(reason="x" * 2**20)),
        pb.UploadMaskedInputRequest(start=pb.UploadStart(session="x" * 2**20)),
        pb.CosignRequest(cosignature=bytes(129)),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_no_session_wants_is_refused(request_: Message) -> None:
    with pytest.raises(FormatError, match="at most"):
        check_sizes(request_)


def test_a_field_that_nobody_thought_of_may_be_empty_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LIMITS, "session")
    check_sizes(pb.GetSessionRequest())
    with pytest.raises(FormatError, match="session"):
        check_sizes(pb.GetSessionRequest(session="x"))


@pytest.mark.parametrize(("models", "share"), [(TWENTY, "1"), (TWENTY, "0"), (["alpha"], "1"), (["alpha"], "0")])
def test_the_largest_honest_contribution_is_taken_and_not_much_more(models: list[str], share: str) -> None:
    """Twenty models and as many checked clips as there ever are, or one model and none: the bound goes with the spec."""
    spec = spec_of(models, share)
    data = largest_contribution(spec)
    assert contribution(spec, data).to_json() == data
    assert len(data) < contribution_bytes(spec) < 1.5 * len(data) + 2**16
    assert contribution_bytes(spec) < convert.MAX_MESSAGE_BYTES / 2
    if (models, share) == (TWENTY, "1"):
        assert checked_count(spec) == MOST_CHECKED
    with pytest.raises(FormatError, match="at most"):
        contribution(spec, data + b" " * contribution_bytes(spec))


def test_the_longest_abort_is_taken() -> None:
    """Every letter of its three lines takes six bytes in JSON."""
    line = "\x01" * 1000
    made = Abort(session=DIGEST, institution=line, stage=line, reason=line, aborted="2026-01-31T12:00:00Z")
    statement(Statement((), made).sign(coordinator_key(0)).to_json())


def test_what_cannot_be_an_envelope_is_not_parsed() -> None:
    """Neither a large one, nor one of many values, which would take the longest: both are no JSON, and nobody sees that."""
    with pytest.raises(FormatError, match="at most 32768 are read"):
        statement(b"[" + b"0" * 2**20)
    with pytest.raises(FormatError, match="not a DSSE envelope with payload, payloadType and one signature"):
        statement(b"[" + b"0," * 100)
    with pytest.raises(FormatError, match="not strict JSON"):
        statement(b"[")


def test_a_countersignature_is_as_large_as_the_result_and_read_only_when_one_is_awaited() -> None:
    state = story(Story.countersign).state
    assert isinstance(state, Finalising)
    honest = sign_envelope(labels.TYPE_STATEMENT, state.draft.result, coordinator_key(0)).to_json()
    assert countersignature(state, honest).payload == state.draft.result
    with pytest.raises(FormatError, match="at most"):
        countersignature(state, b"[" + bytes(8192 + 2 * len(state.draft.result)))
    with pytest.raises(RefusedError) as caught:
        countersignature(story(Story.reveal).state, b"[")
    assert caught.value.reason == reasons.NOT_YET


def test_messages_of_the_rounds_grow_with_the_roster_and_the_vector() -> None:
    opening = story(Story.advertise).state.opening
    seats = dict.fromkeys(opening.seats, 2**250)
    body = UnmaskingShares(bytes(32), 0, seats, {}).encode()
    check_about_seats(opening, Signed(body, bytes(64)))
    check_sealed(opening, [b""] * len(INSTITUTIONS))
    check_body(Signed(bytes(1024 + 48), bytes(64)), 48)
    with pytest.raises(FormatError):
        check_about_seats(opening, Signed(bytes(2**16), bytes(64)))
    with pytest.raises(FormatError):
        check_sealed(opening, [b""] * (len(INSTITUTIONS) + 1))
    with pytest.raises(FormatError):
        check_body(Signed(bytes(1024 + 49), bytes(64)), 48)


def test_of_a_stage_no_more_is_looked_at_than_is_shown() -> None:
    class Long(str):
        """A text of which nobody may look at every letter."""

        __slots__ = ()

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("every letter is looked at")

    told = story(Story.advertise)
    live = LiveSession(Snapshot(told.state, Position(len(told.events), bytes(32)), {}), 0.0)
    live.report(0, Long("\x1b" + "x" * 2**20), 1, 2)
    assert "says: " + "x" * 60 + " 1/2" in live.status().sites[0].stage
