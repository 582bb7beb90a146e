"""Which state of the log chooses the lines of a spot check: the first one that nobody could foresee, and no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from testkit.bundles import logged, witnesses_of
from testkit.disputed import objection, objection_entry, withdrawal, withdrawal_entry
from testkit.logs import MadeLog
from testkit.opened_lines import INSTITUTION, MADE, SEAT, Story, entry_of, growth_of, kept_list, root_of, shown_of
from testkit.statements import coordinator_key, sign
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.logged import (
    AbortedRecord,
    ObjectionRecord,
    PublishedRecord,
    RevokedRecord,
    encode_record,
    parse_record,
)
from vdb_shared.bundle.record import RESULT_PROOF
from vdb_shared.bundle.sample_choice import SampleChoice, may_choose, place_of, verify_choice
from vdb_shared.bundle.samples import chosen_lines
from vdb_shared.bundle.statement import Statement
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError

OTHER = sha256_digest(b"another session")
SALT = "5a" * 32


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(kept_list())


def another_result(story: Story) -> bytes:
    """Return the entry of another session's result, which whoever countersigned it knew before it was logged."""
    known = parse_record(logged(story.session).entries[-1])
    assert isinstance(known, PublishedRecord)
    return encode_record(known.model_copy(update={"session": OTHER, "result": OTHER}))


def ended(story: Story, length: int, entries: list[bytes]) -> SampleChoice:
    """Return the choice that ends with the last of these entries of a log, whether or not it may."""
    after = len(logged(story.session).entries)
    return SampleChoice(
        MadeLog(story.log.consortium, story.log.signer, entries).files()["checkpoint"],
        root_of(entries[:length]),
        shown_of(entries, after, length),
        growth_of(entries, after, length),
        growth_of(entries, length, len(entries)),
    )


def ground(story: Story, false: set[int], salt: str) -> Iterator[bytes]:
    """Yield entries of objections with ever other texts, under one salt, of those that would choose no false line."""
    said = objection(story.session, INSTITUTION, text="TOKEN")
    payload, digest = Statement((), said).encode(), "sha256:" + "0" * 64
    record = ObjectionRecord(
        session=said.session, result=said.result, objector=INSTITUTION, objection=digest, received=MADE, salt=salt
    )
    own, entries = story.result.contribution, logged(story.session).entries
    for number in range(10_000):
        found = hashlib.sha256(payload.replace(b"TOKEN", f"I wonder ({number}).".encode())).hexdigest()
        entry = encode_record(record).replace(b"0" * 64, found.encode(), 1)
        head = len(entries) + 1, root_of([*entries, entry])
        total, root = len(story.kept.samples), own.manifest.sample_root
        if not false & set(chosen_lines(story.result.session, INSTITUTION, root, head, total, 10)):
            yield entry


def test_an_institution_cannot_try_objections_until_one_chooses_lines_that_suit_it(story: Story) -> None:
    """It is free to pick the text, and knows everything of the entry but the salt, which the coordinator draws afterwards."""
    false = set(range(0, len(story.kept.samples), 3))
    best = next(ground(story, false, SALT))
    foreseen = Story(story.kept, later=(best,))
    assert not false & {item.number for item in foreseen.opened(foreseen.question(10))[0].opened}
    suits = 0
    for number in range(20):
        salt = hashlib.sha256(bytes([number])).hexdigest()
        drawn = Story(story.kept, later=(best.replace(SALT.encode(), salt.encode()),))
        suits += not false & {item.number for item in drawn.opened(drawn.question(10))[0].opened}
    assert suits <= 5  # each with a chance of 0.015, whatever the text


def test_every_kind_of_entry_has_bytes_that_nobody_could_foresee_or_chooses_nothing(story: Story) -> None:
    said, taken_back = objection(story.session), withdrawal(story.session)
    objected = objection_entry(sign(said, story.session.key(SEAT)), said)
    entries = [
        objected,
        withdrawal_entry(sign(taken_back, coordinator_key(0)), taken_back),
        encode_record(AbortedRecord(session=OTHER, abort=OTHER, stage="joining", aborted=MADE, salt=SALT)),
        encode_record(RevokedRecord(institution=INSTITUTION, key="5" * 64, reason="left", revoked=MADE, salt=SALT)),
    ]
    assert all(may_choose(entry) for entry in [*entries, entry_of("another session")])
    assert not may_choose(another_result(story))
    for entry in entries:
        fields = parse_canonical_json(entry)
        for salt in (None, "5a" * 31, "5A" * 32, ""):
            without = {name: value for name, value in fields.items() if name != "salt"}
            poor = canonical_json(without if salt is None else without | {"salt": salt})
            assert not may_choose(poor)
            with pytest.raises(FormatError):
                parse_record(poor)


def test_a_result_that_its_signers_knew_before_chooses_nothing(story: Story) -> None:
    """Nor does what is no record: the first entry after them does, and all of them are shown."""
    later = (another_result(story), b"no record", entry_of("second"), entry_of("third"))
    passed = Story(story.kept, later=later)
    choice, place, key = passed.choice(), story.result.place, log_key(story.result.roster)
    assert [shown.entry for shown in choice.entries] == list(later[:3])
    head, _ = verify_choice(choice, place, key)
    assert (head.size, head.root) == (5, root_of(passed.log.entries[:5]))
    for length in (3, 4, 6):
        with pytest.raises(FormatError, match="the first entry behind the result's that nobody could foresee"):
            verify_choice(ended(story, length, passed.log.entries), place, key)
    verify_choice(ended(story, 5, passed.log.entries), place, key)
    with pytest.raises(FormatError, match="nothing chooses lines yet"):
        Story(story.kept, later=later[:2]).choice()


def test_an_entry_that_is_passed_over_cannot_be_left_out_or_changed(story: Story) -> None:
    """Otherwise who makes the file could pretend that the next one comes first."""
    later = (another_result(story), entry_of("second"), entry_of("third"))
    good = Story(story.kept, later=later).choice()
    place, key = story.result.place, log_key(story.result.roster)
    first, last = good.entries
    for wrong in (
        (last,),
        (replace(first, entry=b"something else"), last),
        (first, replace(last, entry=entry_of("a better one"))),
        (last, first),
        (first, first, last),
        (),
    ):
        with pytest.raises(FormatError):
            verify_choice(replace(good, entries=wrong), place, key)


def test_another_log_or_result_is_named_with_what_to_do(story: Story) -> None:
    before, place, key = logged(story.session), story.result.place, log_key(story.result.roster)
    for entries, problem in (
        (before.entries[:1], "an older copy; read the log anew"),
        ([before.entries[0], b"another result", *story.later], "give the log of this consortium"),
    ):
        with pytest.raises(FormatError, match=problem):
            story.choice(MadeLog(before.consortium, before.signer, entries))
    good, other = story.choice(), Story(story.kept, seed="another session").choice()
    for wrong in (replace(good, grown=other.grown, root=other.root), replace(good, continued=good.continued[1:])):
        with pytest.raises(FormatError, match="writes of this very bundle"):
            verify_choice(wrong, place, key)


def test_one_result_has_one_choice_whenever_its_witnesses_signed(story: Story) -> None:
    """The coordinator may hold several proofs of a result, and give bundles with one or the other: all choose the same."""
    before, chosen = logged(story.session), set()
    for more in range(4):
        log = MadeLog(before.consortium, before.signer, [*before.entries, *story.later[:more]])
        seats = sorted(story.session.record.masked)
        proof = log.proof(len(before.entries) - 1, witnesses_of(story.seed, seats))
        bundle = write_archive({**story.session.members, RESULT_PROOF: proof.to_bytes()})
        assert verify(bundle, root=story.session.root).exit_code == 0
        key = log_key(story.result.roster)
        result = replace(story.result, proof=proof, place=place_of(proof, key))
        for held in (Story(story.kept), Story(story.kept, later=(*story.later, entry_of("years after")))):
            object.__setattr__(held, "result", result)
            head, _ = verify_choice(held.choice(), result.place, key)
            chosen.add((head.size, head.root))
    assert len(chosen) == 1
