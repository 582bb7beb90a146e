"""The file that opens lines and the file that chooses them: each has one form, and every other part is named or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from testkit.logs import MadeLog
from testkit.opened_lines import SEAT, Story, entry_of, growth_of, own_checkpoint, root_of, shown_of
from testkit.spot_shown import answered, opened, story
from vdb_shared.bundle import sample_choice
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.record import RESULT_PROOF, read_proof
from vdb_shared.bundle.sample_choice import (
    MAX_CHOICE_BYTES,
    ResultPlace,
    SampleChoice,
    ShownEntry,
    choice_of,
    may_choose,
    parse_choice,
    place_of,
    verify_choice,
)
from vdb_shared.bundle.sample_file import CHOICE, OPENING, VERSION, SampleOpening, read_samples, write_samples
from vdb_shared.bundle.statement import Statement, subject_of
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import canonical_json, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import Checkpoint, parse_checkpoint
from vdb_shared.transparency.merkle import MAX_PROOF
from vdb_shared.transparency.note import NoteKey, parse_note
from vdb_shared.transparency.tiles import MAX_ENTRY_BYTES, TiledLog

# The file that opens.


def packed(
    others: Mapping[str, bytes], opening: SampleOpening | None = None, named: Mapping[str, bytes] | None = None
) -> bytes:
    """Return a file with these members besides the statement, which names these, or others in their place."""
    told = opening or opened(12, clips=False)[0]
    names = {**others, **(named or {})}
    subjects = tuple(subject_of(name, names[name]) for name in sorted(names))
    statement = Statement(subjects, told).sign(story().session.key(SEAT)).to_json()
    return write_archive({**others, OPENING: statement})


def parts() -> dict[str, bytes]:
    """Return the members of an honest answer without clips, but for its statement."""
    return {name: data for name, data in read_archive(answered()).items() if name != OPENING}


def refused(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        read_samples(data)
    return str(caught.value)


def test_what_is_written_is_read_back() -> None:
    for clips in (True, False):
        opening, shown = opened(12, clips=clips)
        choice, key = story().choice().encode(), story().session.key(SEAT)
        data = write_samples(opening, choice, dict(shown), key)
        found = read_samples(data)
        assert (found.opening, found.choice, found.clips) == (opening, choice, shown)
        assert [item.key_id for item in found.envelope.signatures] == [key.public_key.key_id]
    members = read_archive(data)
    assert set(members) == {"vdb-samples", "opening.dsse.json", "choice.json"}
    assert members[VERSION] == b"vdb-samples/1\n"
    assert packed(parts()) == data, "written once more by hand"


def test_a_file_without_one_of_its_parts_is_none() -> None:
    words = "not a file of opened samples of the version vdb-samples/1"
    whole = parts()
    for name in (VERSION, CHOICE):
        assert refused(packed({other: data for other, data in whole.items() if other != name})) == words
    assert refused(write_archive(whole)) == words
    assert refused(packed({**whole, VERSION: b"vdb-samples/2\n"})) == words


def test_the_statement_names_exactly_the_other_members() -> None:
    words = "opening.dsse.json does not name exactly the other members with their digests"
    whole = parts()
    assert refused(packed(whole, named={CHOICE: b"{}"})) == words
    assert refused(packed(whole, named={"more": b""})) == words
    turned = Statement(
        tuple(subject_of(name, whole[name]) for name in sorted(whole, reverse=True)), opened(12, clips=False)[0]
    )
    assert refused(write_archive({**whole, OPENING: turned.sign(story().session.key(SEAT)).to_json()})) == words


def test_clips_are_those_that_are_announced_and_of_their_size() -> None:
    opening, clips = opened(12, clips=True)
    number = next(iter(clips))
    named = {f"clips/{place}.rgb": data for place, data in clips.items()}
    assert read_samples(packed({**parts(), **named}, opening)).clips == clips
    other = "the file has other clips than those it announces"
    assert refused(packed({**parts(), **named, "clips/99999.rgb": b""}, opening)) == other
    assert refused(packed({**parts(), **named}, opened(12, clips=False)[0])) == other
    short = {**named, f"clips/{number}.rgb": clips[number][:-1]}
    size = next(item.clip for item in opening.opened if item.number == number)
    assert refused(packed({**parts(), **short}, opening)) == f"clips/{number}.rgb: has another size than its {size}"
    with pytest.raises(FormatError, match="has another size"):
        write_samples(opening, story().choice().encode(), {**clips, number: b""}, story().session.key(SEAT))


# The file that chooses.


def result() -> ResultPlace:
    """Return the place of the result in the log, and the state of it, in the proof of the result."""
    proof = read_proof(story().session.members, RESULT_PROOF)
    return ResultPlace(proof.index, parse_checkpoint(parse_note(proof.checkpoint).text))


def key() -> NoteKey:
    return log_key(parse_roster(story().session.record.roster.roster))


def test_a_choice_has_one_form() -> None:
    good = story().choice()
    fields = {
        "checkpoint": encode_base64(good.checkpoint),
        "continued": [encode_base64(item) for item in good.continued],
        "entries": [
            {"entry": encode_base64(item.entry), "path": [encode_base64(found) for found in item.path]}
            for item in good.entries
        ],
        "grown": [encode_base64(item) for item in good.grown],
        "root": encode_base64(good.root),
        "version": "vdb-samples/1",
    }
    assert good.encode() == canonical_json(fields)
    assert parse_choice(good.encode()) == good
    words = "^not a file that chooses lines; make one with `vdb-audit choose-sample`$"
    nothing: dict[str, object] = {}
    for name, value in (
        ("version", "vdb-samples/2"),
        ("more", 1),
        ("root", 1),
        ("grown", "x"),
        ("continued", nothing),
        ("entries", nothing),
    ):
        with pytest.raises(FormatError, match=words):
            parse_choice(canonical_json(fields | {name: value}))
    for name in fields:
        with pytest.raises(FormatError, match=words):
            parse_choice(canonical_json({other: value for other, value in fields.items() if other != name}))


def test_an_entry_that_is_shown_has_one_form_and_the_size_of_one() -> None:
    good, words = story().choice(), "^an entry of the log stands there as `entry` and `path`, and nothing else$"
    fields = parse_canonical_json(good.encode())
    (told,) = fields["entries"]
    others: list[object] = [
        "x",
        {"entry": told["entry"]},
        {"path": []},
        told | {"more": 1},
        told | {"path": "x"},
        [told],
    ]
    for wrong in others:
        with pytest.raises(FormatError, match=words):
            parse_choice(canonical_json(fields | {"entries": [wrong]}))
    largest = replace(good, entries=(ShownEntry(bytes(MAX_ENTRY_BYTES), ()),))
    assert parse_choice(largest.encode()) == largest
    larger = replace(good, entries=(ShownEntry(bytes(MAX_ENTRY_BYTES + 1), ()),))
    with pytest.raises(FormatError) as caught:
        parse_choice(larger.encode())
    assert str(caught.value) == f"an entry of {MAX_ENTRY_BYTES + 1} bytes; the log's have at most {MAX_ENTRY_BYTES}"


def test_hashes_of_a_choice_have_32_bytes_and_are_no_more_than_a_proof_needs() -> None:
    good, words = story().choice(), f"^a proof is at most {MAX_PROOF + 1} hashes of 32 bytes$"
    most = (bytes(32),) * (MAX_PROOF + 1)
    assert parse_choice(replace(good, grown=most, continued=most).encode()) == replace(good, grown=most, continued=most)
    for wrong in (
        replace(good, grown=(*most, bytes(32))),
        replace(good, continued=(*most, bytes(32))),
        replace(good, grown=(bytes(31),)),
        replace(good, continued=(bytes(33),)),
        replace(good, root=bytes(31)),
        replace(good, entries=(ShownEntry(b"", (*most, bytes(32))),)),
        replace(good, entries=(ShownEntry(b"", (bytes(31),)),)),
    ):
        with pytest.raises(FormatError, match=words):
            parse_choice(wrong.encode())
    with pytest.raises(FormatError, match=words):
        parse_choice(good.encode().replace(b'"grown":[', b'"grown":[1,'))


def test_a_choice_is_bounded_to_the_byte() -> None:
    with pytest.raises(FormatError) as caught:
        parse_choice(bytes(MAX_CHOICE_BYTES + 1))
    assert str(caught.value) == f"a file of {2**20 + 1} bytes; one that chooses lines has at most {2**20}"
    with pytest.raises(FormatError) as caught:
        parse_choice(bytes(MAX_CHOICE_BYTES))
    assert "at most" not in str(caught.value)


def test_the_place_of_a_result_is_what_its_proof_says_under_the_logs_signature() -> None:
    proof = read_proof(story().session.members, RESULT_PROOF)
    assert place_of(proof, key()) == result() == story().result.place
    with pytest.raises(SignatureError):
        place_of(replace(proof, checkpoint=own_checkpoint(story(), story().log)), key())


def test_one_entry_after_the_result_is_enough_and_none_is_not() -> None:
    one = Story(story().kept, later=story().later[:1])
    assert one.choice().root == story().choice().root
    head, signed = verify_choice(one.choice(), result(), key())
    assert head == signed == Checkpoint(result().checkpoint.origin, 3, one.choice().root)
    with pytest.raises(FormatError) as caught:
        Story(story().kept, later=()).choice()
    assert str(caught.value) == (
        "the log has 2 entries, and none behind the result's, 1, chooses lines: nothing chooses lines yet; wait until another "
        "session is opened or aborted"
    )


def test_a_log_that_does_not_continue_the_result_chooses_nothing() -> None:
    log = story().log
    other = MadeLog(log.consortium, log.signer, [b"x", b"y", *log.entries[2:]])
    files = other.files()
    tiles = TiledLog(other.checkpoint, files.__getitem__)
    with pytest.raises(FormatError, match=r"^its first 2 entries are not those that the result's witnesses signed"):
        choice_of(tiles, files["checkpoint"], result())


def test_the_state_that_chooses_lies_between_the_result_and_what_the_log_signed() -> None:
    good, entries = story().choice(), story().log.entries
    head, signed = verify_choice(good, result(), key())
    assert (head.size, head.root, signed) == (3, good.root, story().log.checkpoint)
    fork = [b"x", b"y", *entries[2:]]
    not_after_the_result = SampleChoice(
        MadeLog(story().log.consortium, story().log.signer, fork).files()["checkpoint"],
        root_of(fork[:3]),
        shown_of(fork, 2, 3),
        growth_of(fork, 2, 3),
        growth_of(fork, 3, 5),
    )
    not_before_the_signed_one = replace(good, continued=tuple(bytes(32) for _ in good.continued))
    for wrong in (not_after_the_result, not_before_the_signed_one):
        with pytest.raises(FormatError):
            verify_choice(wrong, result(), key())
    early = MadeLog(story().log.consortium, story().log.signer, entries[:2]).files()["checkpoint"]
    with pytest.raises(FormatError) as caught:
        verify_choice(replace(good, checkpoint=early), result(), key())
    assert str(caught.value) == "its checkpoint has 2 entries, fewer than the 3 that choose"


def test_a_choice_without_an_entry_or_behind_the_one_that_chooses_is_none() -> None:
    good, entries = story().choice(), story().log.entries
    words = "^it does not end with the first entry behind the result's that nobody could foresee$"
    longer = replace(good, entries=shown_of(entries, 2, 4), root=root_of(entries[:4]))
    for wrong in (replace(good, entries=()), longer):
        with pytest.raises(FormatError, match=words):
            verify_choice(wrong, result(), key())
    for unforeseen, entry in ((False, b"no record"), (False, b""), (False, entries[1]), (True, entries[2])):
        assert may_choose(entry) is unforeseen


def test_an_older_copy_of_the_log_chooses_nothing() -> None:
    log = story().log
    older = MadeLog(log.consortium, log.signer, log.entries[:1])
    files = older.files()
    tiles = TiledLog(older.checkpoint, files.__getitem__)
    with pytest.raises(FormatError) as caught:
        choice_of(tiles, files["checkpoint"], result())
    assert str(caught.value) == (
        "the log has 1 entries and had 2 when the result was witnessed: an older copy; read the log anew"
    )


def test_a_choice_is_written_only_if_it_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that choose nothing make it longer; what is written has at most as many bytes as what is read."""
    many = Story(story().kept, later=(*(bytes([number]) * 60_000 for number in range(14)), entry_of("at last")))
    with pytest.raises(FormatError, match=r"^15 entries of the log choose, more than a file of 1048576 bytes holds$"):
        many.choice()
    size = len(story().choice().encode())
    monkeypatch.setattr(sample_choice, "MAX_CHOICE_BYTES", size)
    assert len(story().choice().encode()) == size
    monkeypatch.setattr(sample_choice, "MAX_CHOICE_BYTES", size - 1)
    with pytest.raises(FormatError, match="entries of the log choose"):
        story().choice()
