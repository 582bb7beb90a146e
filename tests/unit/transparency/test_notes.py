"""Signed notes, checkpoints and cosignatures: the examples of their specifications, and what must be refused."""

from __future__ import annotations

import pytest

from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementKey, pre_authentication_encoding
from vdb_shared.transparency.checkpoint import (
    Checkpoint,
    cosign,
    cosigned_by,
    parse_checkpoint,
    read_checkpoint,
    sign_checkpoint,
)
from vdb_shared.transparency.merkle import EMPTY_ROOT
from vdb_shared.transparency.note import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    NoteKey,
    parse_key,
    parse_note,
    sign_text,
    verified_by,
)

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
"""The example of C2SP's signed-note."""

GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
"""The example of Go's package note, which the format comes from."""

LOG = "coordinator.example/vdb"
WITNESS = "hospital.example/witness"
MOMENT = 1_790_000_000

log_private = StatementKey.from_seed(b"l" * 32)
witness_private = StatementKey.from_seed(b"w" * 32)
log_key = NoteKey(LOG, ED25519, log_private.public_key.raw)
witness_key = NoteKey(WITNESS, COSIGNATURE, witness_private.public_key.raw)
checkpoint = Checkpoint(LOG, 12, b"r" * 32)


@pytest.mark.parametrize(("key", "data"), [(EXAMPLE_KEY, EXAMPLE_NOTE), (GO_KEY, GO_NOTE)])
def test_the_published_examples_verify(key: str, data: bytes) -> None:
    known = parse_key(key)
    assert str(known) == key
    note = parse_note(data)
    assert note.to_bytes() == data
    assert verified_by(note, [known]) == (known,)
    with pytest.raises(SignatureError, match="does not verify"):
        verified_by(parse_note(data.replace(b"e", b"E", 1)), [known])


def test_signatures_of_unknown_keys_change_nothing() -> None:
    note = parse_note(EXAMPLE_NOTE).with_signatures([sign_text("another\n", "stranger", log_private)])
    assert verified_by(note, [parse_key(EXAMPLE_KEY)])
    assert verified_by(note, [log_key]) == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash x08g\n",
        EXAMPLE_NOTE.removesuffix(b"\n"),
        EXAMPLE_NOTE.replace(b"message", b"mess\x07age"),
        EXAMPLE_NOTE.replace(b"message", b"mess\xffage"),
        EXAMPLE_NOTE.replace(b"aQM=", b"aQM"),
        EXAMPLE_NOTE.replace("— example.com/foo ".encode(), "— example.com/f+o ".encode()),
        "text\n\n— short AAAAAA==\n".encode(),
        EXAMPLE_NOTE + EXAMPLE_NOTE.split(b"\n\n")[1] * MAX_SIGNATURES,
        b"x" * (MAX_NOTE_BYTES + 1),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_note(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        "a+00000000+AQ==",
        EXAMPLE_KEY.replace("530d", "530e"),
        EXAMPLE_KEY.replace("+Aek", "+Cek"),
        "a b+1+AQ==",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_key(text)


def test_a_key_of_small_order_verifies_nothing() -> None:
    anybody = NoteKey("anybody", ED25519, b"\x01" + bytes(31))
    assert not anybody.verifies(b"text\n", b"\x01" + bytes(63))


def test_a_checkpoint_survives_the_way_and_is_one_log_s() -> None:
    data = sign_checkpoint(checkpoint, log_private).to_bytes()
    found, note = read_checkpoint(data, log_key)
    assert found == checkpoint
    assert note.text == f"{LOG}\n12\n{'cnJy' * 10}cnI=\n"
    with pytest.raises(FormatError, match="expected one of elsewhere"):
        read_checkpoint(data, NoteKey("elsewhere", ED25519, log_key.public))
    with pytest.raises(SignatureError, match="no signature of its log"):
        read_checkpoint(data, NoteKey(LOG, ED25519, witness_key.public))


@pytest.mark.parametrize(
    "text",
    [
        "log\n1\n",
        "log\n1\n" + "A" * 43 + "=\nextension\n",
        "log\n01\n" + "A" * 43 + "=\n",
        "log\n-1\n" + "A" * 43 + "=\n",
        f"log\n{2**63}\n" + "A" * 43 + "=\n",
        "\n1\n" + "A" * 43 + "=\n",
        "log\n1\nAAAA\n",
        "log\n0\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_checkpoint(text)


def test_an_empty_log_has_the_empty_root() -> None:
    empty = Checkpoint("log", 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.text) == empty


def test_a_cosignature_counts_for_its_witness_text_and_time_alone() -> None:
    note = sign_checkpoint(checkpoint, log_private)
    cosignature = cosign(checkpoint, WITNESS, witness_private, MOMENT)
    both = note.with_signatures([cosignature])
    assert read_checkpoint(both.to_bytes(), log_key)[0] == checkpoint
    assert cosigned_by(both, [witness_key]) == {WITNESS: MOMENT}
    assert cosigned_by(note, [witness_key]) == {}
    stranger = NoteKey("other.example/witness", COSIGNATURE, witness_key.public)
    assert cosigned_by(both, [stranger]) == {}
    other = sign_checkpoint(Checkpoint(LOG, 13, b"r" * 32), log_private).with_signatures([cosignature])
    with pytest.raises(SignatureError, match=r"hospital\.example/witness"):
        cosigned_by(other, [witness_key])
    for place in (4, 11):  # a byte of the time
        wrong = bytearray(cosignature.id + cosignature.value)
        wrong[place] ^= 1
        moved = type(cosignature)(WITNESS, bytes(wrong[:4]), bytes(wrong[4:]))
        with pytest.raises(SignatureError):
            cosigned_by(note.with_signatures([moved]), [witness_key])


def test_a_plain_signature_is_no_cosignature() -> None:
    """The same key signs the text itself under another id, so neither can be taken for the other."""
    plain = sign_text(checkpoint.text, WITNESS, witness_private)
    note = sign_checkpoint(checkpoint, log_private).with_signatures([plain])
    assert cosigned_by(note, [witness_key]) == {}
    assert verified_by(note, [NoteKey(WITNESS, ED25519, witness_key.public)])


def test_a_note_and_a_statement_never_share_a_signature() -> None:
    """One key signs both: whatever is a payload's encoding is refused as a note."""
    encoding = pre_authentication_encoding("application/x", b"payload").decode()
    with pytest.raises(ValueError, match="DSSEv1"):
        log_private.sign_note(encoding)


@pytest.mark.parametrize("end", ["", "x", "\n", "extension\n"])
def test_a_checkpoint_has_three_lines_and_the_end_of_the_last(end: str) -> None:
    text = Checkpoint("testbed/vdb-log", 3, bytes(32)).text
    assert parse_checkpoint(text).size == 3
    with pytest.raises(FormatError):
        parse_checkpoint(text + end if end else text.removesuffix("\n"))
