"""A log as files: what is written once never changes, and no changed byte is read."""

from __future__ import annotations

import pytest

from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementKey
from vdb_shared.transparency.checkpoint import Checkpoint, cosign, sign_checkpoint
from vdb_shared.transparency.merkle import check_consistency, check_inclusion, leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import COSIGNATURE, ED25519, NoteKey
from vdb_shared.transparency.proof import LogProof, parse_proof, verify_proof
from vdb_shared.transparency.tiles import TiledLog, decode_entries, encode_entries, grown_files, tile_path

LOG = "coordinator.example/vdb"


class Log:
    """A log in memory, grown step by step; a file that is written twice must be the same."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.files: dict[str, bytes] = {}

    def grow(self, count: int) -> None:
        old = len(self.entries)
        self.entries += [f"entry {number}".encode() * (number % 5) for number in range(old, old + count)]
        leaves = [leaf_hash(entry) for entry in self.entries]
        for path, data in grown_files(old, self.entries[old - old % 256 :], leaves):
            assert self.files.setdefault(path, data) == data
        self.checkpoint = Checkpoint(LOG, len(leaves), tree_root(len(leaves), of_leaves(leaves)))

    def read(self) -> TiledLog:
        return TiledLog(self.checkpoint, self.files.__getitem__)


@pytest.mark.parametrize(
    ("number", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (67, 256, "tile/0/067"),
        (1234067, 256, "tile/0/x001/x234/067"),
        (273, 112, "tile/0/273.p/112"),
        (1000, 1, "tile/0/x001/000.p/1"),
    ],
)
def test_paths_are_those_of_the_specification(number: int, width: int, path: str) -> None:
    assert tile_path(0, number, width) == path


def test_a_log_of_70000_entries_has_the_tiles_of_the_specification_s_example() -> None:
    leaves = [bytes(32)] * 70_000
    paths = {path for path, _ in grown_files(0, [b""] * 70_000, leaves) if not path.startswith("tile/entries")}
    partial = {path for path in paths if ".p/" in path}
    assert partial == {"tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"}
    assert len([path for path in paths if path.startswith("tile/0/")]) == 274
    assert "tile/1/000" in paths


def test_a_log_of_256_entries_has_a_full_tile_and_one_above_it() -> None:
    log = Log()
    log.grow(256)
    assert set(log.files) == {"tile/entries/000", "tile/0/000", "tile/1/000.p/1"}


@pytest.mark.parametrize("steps", [[1, 1, 1], [255, 1, 1], [300, 300, 1], [256, 512, 3], [700]])
def test_a_log_that_grew_in_steps_is_read_whole(steps: list[int]) -> None:
    log = Log()
    earlier: list[Checkpoint] = []
    for count in steps:
        log.grow(count)
        earlier.append(log.checkpoint)
    found = log.read()
    assert list(found.entries()) == log.entries
    assert list(found.entries(steps[0])) == log.entries[steps[0] :]
    for before in earlier:
        assert found.root_at(before.size) == before.root
        check_consistency(before.size, before.root, log.checkpoint.size, log.checkpoint.root, found.growth(before.size))
    for index in {0, len(log.entries) // 2, len(log.entries) - 1}:
        proof = found.inclusion(index)
        check_inclusion(leaf_hash(log.entries[index]), index, len(log.entries), proof, log.checkpoint.root)


def test_no_changed_byte_of_any_file_is_read() -> None:
    log = Log()
    log.grow(300)
    for path, data in list(log.files.items()):
        for changed in (bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 1]), data[:-1], data + b"x"):
            log.files[path] = changed
            with pytest.raises(FormatError):
                list(log.read().entries())
        log.files[path] = data
    assert list(log.read().entries()) == log.entries


@pytest.mark.parametrize("index", [7, 255, 256, 511])
def test_a_full_tile_and_its_entries_cannot_be_swapped_together(index: int) -> None:
    """The root of a log of 600 comes from the tile above; a full tile must lead there, or anybody could forge its entries."""
    log = Log()
    log.grow(600)
    forged = [*log.entries[:index], b"forged", *log.entries[index + 1 :]]
    number = index // 256
    chosen = forged[number * 256 : (number + 1) * 256]
    log.files[tile_path("entries", number)] = encode_entries(chosen)
    log.files[tile_path(0, number)] = b"".join(leaf_hash(entry) for entry in chosen)
    size = number * 256 + 8  # its root is made of hashes of the forged tile
    with pytest.raises(FormatError, match=r"tile 0/. of the log is not the one that the tile above it holds"):
        log.read().root_at(size)
    for read in (TiledLog.entries, TiledLog.leaves):
        with pytest.raises(FormatError, match=r"tile 0/. of the log is not the one that the tile above it holds"):
            list(read(log.read()))


def test_a_rewritten_past_below_a_signed_root_is_refused() -> None:
    """A log signs a tree whose past it changed, and serves the old tiles to who remembers the old root."""
    honest, rewritten = Log(), Log()
    honest.grow(300)
    before = honest.checkpoint
    rewritten.entries = [*honest.entries[:270], b"never happened", *honest.entries[271:]]
    honest.grow(300)
    rewritten.files = dict(honest.files)
    entries = [*rewritten.entries, *honest.entries[300:]]
    leaves = [leaf_hash(entry) for entry in entries]
    rewritten.files.update((path, data) for path, data in grown_files(0, entries, leaves) if path != "tile/0/001")
    rewritten.checkpoint = Checkpoint(LOG, 600, tree_root(600, of_leaves(leaves)))
    with pytest.raises(FormatError, match="is not the one that the tile above it holds"):
        assert rewritten.read().root_at(before.size) == before.root


def test_another_log_s_files_are_refused() -> None:
    log, other = Log(), Log()
    log.grow(20)
    other.entries = [b"first"]
    other.grow(19)
    with pytest.raises(FormatError, match="root"):
        TiledLog(log.checkpoint, other.files.__getitem__)


def test_entries_survive_their_bundle() -> None:
    entries = [b"", b"a", b"b" * 65_535]
    assert decode_entries(encode_entries(entries)) == tuple(entries)
    with pytest.raises(FormatError, match="cut short"):
        decode_entries(encode_entries(entries)[:-1])
    with pytest.raises(ValueError, match="65536 bytes"):
        encode_entries([b"c" * 65_536])


log_private = StatementKey.from_seed(b"l" * 32)
LOG_KEY = NoteKey(LOG, ED25519, log_private.public_key.raw)
PRIVATE = [StatementKey.from_seed(bytes([number]) * 32) for number in (1, 2, 3)]
WITNESSES = [
    NoteKey(f"site-{number}.example", COSIGNATURE, private.public_key.raw) for number, private in enumerate(PRIVATE)
]


def proof_of(index: int, *, witnesses: int) -> tuple[LogProof, bytes]:
    log = Log()
    log.grow(300)
    note = sign_checkpoint(log.checkpoint, log_private).with_signatures(
        cosign(log.checkpoint, key.name, private, 1_790_000_000)
        for key, private in list(zip(WITNESSES, PRIVATE, strict=True))[:witnesses]
    )
    return LogProof(index, tuple(log.read().inclusion(index)), note.to_bytes()), log.entries[index]


def test_a_proof_file_shows_an_entry_to_who_knows_log_and_witnesses() -> None:
    proof, entry = proof_of(257, witnesses=2)
    assert parse_proof(proof.to_bytes()) == proof
    found = verify_proof(proof, entry, LOG_KEY, WITNESSES, 2)
    assert (found.index, found.checkpoint.size) == (257, 300)
    assert set(found.times) == {"site-0.example", "site-1.example"}
    with pytest.raises(SignatureError, match="2 of 3 witnesses cosigned the log, 3 are needed"):
        verify_proof(proof, entry, LOG_KEY, WITNESSES, 3)
    with pytest.raises(FormatError, match="does not lead"):
        verify_proof(proof, entry + b"x", LOG_KEY, WITNESSES, 2)
    with pytest.raises(FormatError):
        verify_proof(LogProof(256, proof.path, proof.checkpoint), entry, LOG_KEY, WITNESSES, 2)


def test_every_changed_byte_of_a_proof_file_is_refused_or_changes_nothing() -> None:
    """A name or id below a checkpoint may be made a stranger's: then the quorum fails."""
    proof, entry = proof_of(257, witnesses=3)
    data = proof.to_bytes()
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises((FormatError, SignatureError)):
            verify_proof(parse_proof(changed), entry, LOG_KEY, WITNESSES, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\nindex 1\n",
        b"c2sp.org/tlog-proof@v1\nextra AA==\nindex 1\n\n",
        b"\xff\n\n",
        b"x" * 400_000,
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_proof(data)
