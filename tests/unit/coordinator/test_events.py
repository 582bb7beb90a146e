"""Events as they are stored."""

from __future__ import annotations

import json

import pytest

from testkit.orders import order_to_close
from testkit.session_story import EVERYBODY, STEPS, Story, story
from vdb_coordinator.events import (
    ClosedEarly,
    EndLost,
    Event,
    MemberRevoked,
    SessionFailed,
    blob_of,
    decode_event,
    encode_event,
)
from vdb_shared.canonical import canonical_json, sha256_digest
from vdb_shared.errors import StoreError


@pytest.fixture(scope="module")
def told() -> Story:
    """Return a session in which somebody left while joining, one phase ended by its deadline, and all else went well."""
    told = Story()
    told.leave(4)
    for step in STEPS:
        step(told, *EVERYBODY[:4]) if step is not Story.countersign else step(told, *EVERYBODY[:3])
    told.expire()
    return told


def events_of(told: Story) -> list[Event]:
    ours: list[Event] = [MemberRevoked(told.now(), 4), SessionFailed(told.now(), "why"), EndLost(told.now(), b"{}")]
    half = Story()
    half.join(*EVERYBODY[:4])
    ours.append(ClosedEarly(half.now(), order_to_close(half)))
    return [*told.events, *ours, *aborted().events[-1:], story(Story.mask).complaint(0, 1)]


def aborted() -> Story:
    told = Story()
    told.expire()
    return told


def test_every_event_reads_back_as_it_was(told: Story) -> None:
    events = events_of(told)
    assert len({type(event) for event in events}) == 19
    for event in events:
        body = encode_event(event)
        assert decode_event(body, told.blobs.__getitem__) == event
        assert encode_event(decode_event(body, told.blobs.__getitem__)) == body


def test_vectors_and_archives_stand_in_events_by_digest(told: Story) -> None:
    for event in told.events:
        content = blob_of(event)
        if content is not None:
            assert sha256_digest(content).encode() in encode_event(event)
            assert len(encode_event(event)) < 10_000


def test_bodies_that_were_never_written_are_refused(told: Story) -> None:
    body = json.loads(encode_event(told.events[1]))
    for wrong in (
        {**body, "event": "unheard-of"},
        {**body, "surplus": 1},
        {name: value for name, value in body.items() if name != "at"},
        {**body, "at": "yesterday"},
        {**body, "abort": "{}"},
    ):
        with pytest.raises(StoreError, match="stored event"):
            decode_event(canonical_json(wrong), told.blobs.__getitem__)
    with pytest.raises(StoreError):
        decode_event(b"not json", told.blobs.__getitem__)


def test_secrets_do_not_print(told: Story) -> None:
    shown = repr(told.events)
    for content in told.blobs.values():
        assert repr(content[:16])[2:-1] not in shown


def test_steps_cover_the_story() -> None:
    assert len(story().events) == 1 + 5 + 1 + 5 * 3 + 5 + 4 + 1 + 5 + 1
