"""The profile `full`: unmasking played again, who is at fault where the total does not fit, and what stays hidden."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations

import numpy as np
import pytest

from testkit.bundles import DROPOUT, SmallSession, small_session
from testkit.fates import Fate
from testkit.made_up import noised_lanes
from testkit.statements import INSTITUTIONS
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Status, Verdict
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.messages import KeptMessages, is_message
from vdb_shared.bundle.record import AGGREGATE
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.secagg import agreement
from vdb_shared.secagg.encoding import LANE_OFFSET, Ring
from vdb_shared.secagg.masking import pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import UnmaskingShares
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Transcript, open_unmasking
from vdb_shared.secagg.unmasking import Recovered, recover
from vdb_shared.secagg.vectors import Vector
from vdb_shared.spec import parse_spec_json

NAMES = [INSTITUTIONS[seat] for seat in range(5) if seat != DROPOUT]


@pytest.fixture(scope="module")
def session() -> SmallSession:
    return small_session()


def failures(bundle: bytes, session: SmallSession) -> dict[str, str]:
    return {line.id: line.detail for line in verify(bundle, root=session.root).lines if line.status == "FAIL"}


def altered(session: SmallSession) -> dict[str, bytes]:
    """Return an aggregate of which the coordinator changed one lane."""
    lanes = np.frombuffer(session.members[AGGREGATE], dtype="<u8").copy()
    lanes[-1] += 1
    return {AGGREGATE: lanes.tobytes()}


def forged(session: SmallSession) -> bytes:
    """Return the profile full of a result whose total the coordinator altered; it signed the result again."""
    members = read_archive(session.forged(altered(session)))
    extra = {name: data for name, data in read_archive(session.full()).items() if is_message(name)}
    return SmallSession(session.record, members | extra, session.seed, session.terms, session.messages).bundle()


def test_a_vector_that_the_coordinator_altered_with_the_total_is_not_the_one_that_was_signed(
    session: SmallSession,
) -> None:
    members = read_archive(forged(session))
    name = f"messages/{NAMES[0]}.masked"
    lanes = session.record.aggregate.size
    vector = np.frombuffer(members[name][: 8 * lanes], dtype="<u8").copy()
    vector[-1] += 1
    members[name] = vector.tobytes() + members[name][8 * lanes :]
    bundle = SmallSession(session.record, members, session.seed, session.terms, session.messages).bundle()
    assert "is not the one that its signed header names" in failures(bundle, session)["V33"]


@pytest.mark.parametrize("fate", [Fate.STAYS, Fate.DROPS_OUT, Fate.ACCUSED])
def test_unmasking_can_be_played_again_whatever_befell_the_session(fate: Fate) -> None:
    session = small_session(fate=fate)
    public, full = verify(session.bundle(), root=session.root), verify(session.full(), root=session.root)
    assert not failures(session.full(), session)
    told = {line.id: line for line in full.lines}
    assert told["V33"].status == "PASS"
    assert "give the published total" in told["V33"].sentence
    before = {line.id: line.status for line in public.lines}
    assert before["V33"] == "NOT PROVEN"
    assert {name: line.status for name, line in told.items()} == before | {"V33": "PASS"}


def test_the_coordinator_is_named_when_it_altered_the_total(session: SmallSession) -> None:
    found = failures(forged(session), session)
    assert "published a total that it did not receive" in found["V33"]
    assert found["V34.commitments"].startswith("The coordinator lied")
    public = failures(session.forged(altered(session)), session)
    assert "V33" not in public
    assert "a public bundle cannot show" in public["V34.commitments"]


def test_an_institution_that_masked_something_else_is_not_the_coordinators_fault() -> None:
    """Nor is it named: that would take a single vector."""
    session = small_session(fate=Fate.DECEIVES)
    found = failures(session.full(), session)
    assert "V33" not in found
    assert found["V34.commitments"].startswith("A commitment does not match")
    assert "oordinator" not in found["V34.commitments"]
    assert all(name in found["V34.commitments"] for name in INSTITUTIONS)


def test_both_may_be_at_fault() -> None:
    session = small_session(fate=Fate.DECEIVES)
    found = failures(forged(session), session)
    assert "V33" in found
    assert found["V34.commitments"].startswith("A commitment does not match")
    assert "Besides, the coordinator published another total" in found["V34.commitments"]


def test_no_byte_of_the_messages_can_be_changed(session: SmallSession) -> None:
    members = read_archive(session.full())
    for name in (f"messages/{name}.{kind}" for name in NAMES[1:3] for kind in ("masked", "shares")):
        data = members[name]
        for place in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            assert "V33" in failures(session.full({name: bytes(changed)}), session), (name, place)
        for other in (data[:-1], data + b"\0"):
            assert "V33" in failures(session.full({name: other}), session), name


def test_the_members_are_those_of_the_survivors_and_no_others(session: SmallSession) -> None:
    some = f"messages/{NAMES[0]}.masked"
    for edits in (
        {some: None},
        {f"messages/{INSTITUTIONS[DROPOUT]}.masked": b"late"},
        {"messages/notes.txt": b""},
        {f"messages/{NAMES[0]}.pairs": b""},
    ):
        assert list(failures(session.full(edits), session)) == ["V03"], edits
    alone = session.edited({some: read_archive(session.full())[some]})
    assert list(failures(alone, session)) == ["V03"]


def test_a_draft_shows_nobody_the_messages(session: SmallSession) -> None:
    """Institutions countersign public drafts; one with everybody's vectors in it would be a coordinator that leaks."""
    full = {name: data for name, data in read_archive(session.full()).items() if "countersign" not in name}
    full.pop("result.proof")
    draft = SmallSession(session.record, full, session.seed, session.terms, session.messages).bundle()
    report = verify(draft, root=session.root, draft=True)
    assert report.first_failure is not None
    assert report.first_failure.id == "V03"


def test_fewer_shares_than_the_threshold_give_no_total_and_accuse_nobody(session: SmallSession) -> None:
    """Nothing that is signed names them, so whoever passes the file on can leave some out: no failure of a true result."""
    shares = sorted(name for name in read_archive(session.full()) if name.endswith(".shares"))
    threshold = 4
    assert not failures(session.full(dict.fromkeys(shares[threshold:])), session)
    report = verify(session.full(dict.fromkeys(shares[threshold - 1 :])), root=session.root)
    line = next(line for line in report.lines if line.id == "V33")
    assert (line.status, report.verdict) == (Status.SKIPPED, Verdict.INCOMPLETE)
    assert "do not give the self-mask seed" in line.sentence


def test_shares_of_another_sender_are_refused(session: SmallSession) -> None:
    members = read_archive(session.full())
    first, second = (f"messages/{name}.shares" for name in NAMES[:2])
    assert "V33" in failures(session.full({first: members[second]}), session)
    body, _ = decode_fields(members[first], 2)
    _, signature = decode_fields(members[second], 2)
    assert "V33" in failures(session.full({first: encode_fields(body, signature)}), session)


def known_to_the_reader(session: SmallSession) -> tuple[Transcript, Recovered, KeptMessages]:
    """Return all that follows from a bundle of the profile full: transcript, rebuilt seeds, masked vectors."""
    evidence = Evidence(session.full(), session.root, DEFAULT_POLICY, draft=False)
    rounds = evidence.rounds
    transcript = Transcript(evidence.parameters, rounds.advertised, rounds.shared, rounds.masked)
    statement = rounds.masked.statement
    shares = {
        seat: open_unmasking(evidence.parameters, statement, seat, signed, "reader")
        for seat, signed in session.messages.revealed.items()
    }
    seeds = recover(transcript, shares)
    assert isinstance(seeds, Recovered)
    return transcript, seeds, session.messages


def without_known_masks(session: SmallSession) -> dict[Seat, Ring]:
    """Return each masked vector without every mask that a reader can compute: its own, and those shared with dropouts."""
    transcript, seeds, messages = known_to_the_reader(session)
    t2, found = transcript.shared.t2, {}
    for seat, masked in messages.masked.items():
        vector = Vector.from_bytes(masked, transcript.parameters.lanes).copy()
        keys = [(self_mask_key(seeds.self_mask[seat], t2, seat), -1)]
        for dropped, seed in seeds.mask_key.items():
            private = agreement.load_private_key(agreement.mask_private_key(seed, transcript.parameters.session))
            shared = agreement.agree(private, transcript.advertised.keys[seat].mask_key)
            keys.append((pair_mask_key(shared, t2, (seat, dropped)), -pair_sign(seat, dropped)))
        vector.add_masks(iter(keys), 1)
        found[seat] = vector.lanes
    return found


def proper_subsets(seats: list[Seat]) -> Iterator[tuple[Seat, ...]]:
    return chain.from_iterable(combinations(seats, size) for size in range(1, len(seats)))


@pytest.mark.parametrize("fate", [Fate.STAYS, Fate.DROPS_OUT, Fate.ACCUSED])
def test_no_vector_and_no_partial_sum_can_be_told_from_noise(fate: Fate) -> None:
    """With every mask taken off that the messages give, only all survivors together leave a sum.

    What is left on any fewer of them is uniform in the ring: half of all lanes have the highest bit set, and none is the sum of
    what these institutions encoded.
    """
    session = small_session(fate=fate)
    left = without_known_masks(session)
    spec, seats = parse_spec_json(session.record.spec), sorted(left)
    plain = {seat: noised_lanes(spec, session.terms, session.seed, seat) for seat in seats}
    whole = np.sum([left[seat] for seat in seats], axis=0, dtype=np.uint64)
    offset = len(seats) * LANE_OFFSET
    np.testing.assert_array_equal(whole.view(np.int64) - offset, np.sum([plain[seat] for seat in seats], axis=0))
    for some in proper_subsets(seats):
        partial = np.sum([left[seat] for seat in some], axis=0, dtype=np.uint64)
        true = np.sum([plain[seat] for seat in some], axis=0) + len(some) * LANE_OFFSET
        assert not (partial == true.astype(np.uint64)).any(), some
        high = float(np.mean(partial >> np.uint64(63)))
        assert abs(high - 0.5) < 5 * 0.5 / np.sqrt(partial.size), some


@pytest.mark.parametrize("fate", [Fate.STAYS, Fate.DROPS_OUT, Fate.ACCUSED])
def test_of_nobody_both_seeds_can_be_rebuilt(fate: Fate) -> None:
    """A survivor's own seed and a dropout's key: never the two of one institution, whose masked vector they would open."""
    session = small_session(fate=fate)
    transcript, seeds, messages = known_to_the_reader(session)
    assert seeds.self_mask.keys() == transcript.survivors == messages.masked.keys()
    assert seeds.mask_key.keys() == transcript.dropped_with_masks
    assert not seeds.self_mask.keys() & seeds.mask_key.keys()
    for signed in messages.revealed.values():
        shares = UnmaskingShares.decode(signed.body)
        assert not shares.mask_key.keys() & transcript.survivors
        assert not shares.self_mask.keys() & transcript.dropped_with_masks


def test_a_damaged_file_fails_where_it_is_damaged_alone(session: SmallSession) -> None:
    """That its unmasking cannot be replayed is no second fault."""
    assert list(failures(session.full()[:-1], session)) == ["V01"]
    assert list(failures(session.full({"metrics.json": b"{}"}), session)) == ["V04"]


def test_neither_sealed_pairs_nor_vectors_of_dropouts_are_in_the_file(session: SmallSession) -> None:
    names = {name for name in read_archive(session.full()) if is_message(name)}
    assert names == {f"messages/{name}.{kind}" for name in NAMES for kind in ("masked", "shares")}
