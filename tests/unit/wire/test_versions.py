"""Two programs find what both speak, each from its own side, and nonsense is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.compatibility import check_version
from vdb_shared.errors import FormatError
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons
from vdb_shared.wire.versions import (
    CURRENT,
    KEY,
    METADATA,
    OLDEST,
    UNSTATED,
    Agreement,
    Offer,
    Version,
    agree,
    own_offer,
    stated,
)

VERSIONS = st.builds(Version, st.integers(1, 4), st.integers(0, 4))
NAMES = st.frozensets(st.sampled_from(["certificate-renewal", "approvals", "of-tomorrow", "of-yesterday"]))


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    oldest, newest = sorted((draw(VERSIONS), draw(VERSIONS)))
    return Offer(oldest, newest, draw(NAMES))


@given(offers(), offers())
def test_both_sides_come_to_the_same_answer(one: Offer, other: Offer) -> None:
    mine, theirs = agree(one, other), agree(other, one)
    assert (mine is None) is (theirs is None)
    if mine is None or theirs is None:
        assert one.newest < other.oldest or other.newest < one.oldest
        return
    assert (mine.version, mine.capabilities) == (theirs.version, theirs.capabilities)
    for offer in (one, other):
        assert offer.oldest <= mine.version <= offer.newest
        assert mine.capabilities <= offer.capabilities
    assert mine.version in (one.newest, other.newest), "there is no newer one that both speak"


@given(offers())
def test_offers_and_agreements_survive_the_wire(offer: Offer) -> None:
    assert Offer.from_wire(pb.NegotiateRequest.FromString(offer.to_wire().SerializeToString())) == offer
    agreed = Agreement(offer.newest, offer.capabilities, "")
    assert Agreement.from_wire(agreed.to_wire("")) == agreed


@given(VERSIONS)
def test_versions_are_written_in_one_way(version: Version) -> None:
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "01.0", "1.00", "1.1.1", "v1.1", "1,1", "1.10000", "1.1\n", "١.١"]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(FormatError, match="no version"):
        Version.parse(text)


@pytest.mark.parametrize(
    "message",
    [
        pb.NegotiateRequest(),
        pb.NegotiateRequest(oldest=pb.ProtocolVersion(major=1, minor=2), newest=pb.ProtocolVersion(major=1, minor=1)),
        pb.NegotiateRequest(oldest=pb.ProtocolVersion(major=1), newest=pb.ProtocolVersion(major=10_000)),
        Offer(OLDEST, CURRENT, frozenset(f"name-{n}" for n in range(65))).to_wire(),
        Offer(OLDEST, CURRENT, frozenset({"x" * 65})).to_wire(),
        Offer(OLDEST, CURRENT, frozenset({"two words"})).to_wire(),
    ],
)
def test_what_is_no_offer(message: pb.NegotiateRequest) -> None:
    with pytest.raises(FormatError):
        Offer.from_wire(message)


def test_names_of_programs_do_not_rewrite_the_screen() -> None:
    offer = Offer(OLDEST, CURRENT, frozenset(), "evil\x1b[2J" + "x" * 200)
    assert Offer.from_wire(offer.to_wire()).program == "evil [2J" + "x" * 92


def test_who_states_nothing_speaks_the_version_of_before() -> None:
    assert stated(()) == UNSTATED
    assert stated((("user-agent", "x"), (KEY, "1.7"))) == Version(1, 7)
    assert stated(METADATA) == CURRENT
    with pytest.raises(FormatError):
        stated(((KEY, "nonsense"),))


@pytest.mark.parametrize(
    ("version", "oldest", "words"),
    [
        (None, "1.0", ""),
        ("1.0", "1.0", ""),
        ("1.9", "1.1", ""),
        (None, "1.1", "your program speaks protocol 1.0, this coordinator wants 1.1 or newer: install a newer release"),
        ("1.0", "1.1", "wants 1.1 or newer"),
        ("0.9", "1.0", "wants 1.0 or newer"),
        ("2.0", "1.0", "speaks protocol 2.0, this coordinator 1.1 at most; ask the lead to update it"),
    ],
)
def test_which_programs_may_call(version: str | None, oldest: str, words: str) -> None:
    metadata = () if version is None else ((KEY, version),)
    for method in ("/vdb.v1.SessionService/ListSessions", "/vdb.v1.EnrolmentService/Enrol"):
        if not words:
            check_version(method, metadata, Version.parse(oldest))
            continue
        with pytest.raises(RefusedError, match=words) as caught:
            check_version(method, metadata, Version.parse(oldest))
        assert caught.value.reason == reasons.VERSION
    for method in ("/vdb.v1.ProtocolService/Negotiate", "/grpc.health.v1.Health/Check"):
        check_version(method, metadata, Version.parse(oldest))


def test_a_coordinator_may_want_newer_programs_than_it_could_speak_with() -> None:
    assert own_offer("x", Version(1, 1)).oldest == Version(1, 1)
    assert own_offer("x", Version(0, 1)).oldest == OLDEST
