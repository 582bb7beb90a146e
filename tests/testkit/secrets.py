"""Looking for secrets in all that a program shows: every form in which one could be recognised."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from vdb_participant import rounds
from vdb_participant.session.codec import decode_shared
from vdb_participant.session.exchange import (
    ADVERTISE_ENTROPY,
    MASK_RECEIVED,
    SHARE_BLINDERS,
    SHARE_ENTROPY,
)
from vdb_participant.site.journal import Journal
from vdb_shared.secagg.agreement import KEY_BYTES, SEED_BYTES
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.field import UNIFORM_BYTES, encode_scalar, reduce_uniform
from vdb_shared.secagg.sealing import SharePair


@dataclass
class Haystack:
    """All that was shown, in the clear."""

    parts: list[bytes] = field(default_factory=list)

    def add(self, shown: object) -> None:
        """Add what would be seen of a value: bytes as they are, an exception's words and notes, anything else's repr."""
        if isinstance(shown, bytes):
            self.parts.append(shown)
            return
        words = (
            f"{shown!r}\n{shown}"
            if isinstance(shown, BaseException)
            else shown
            if isinstance(shown, str)
            else repr(shown)
        )
        self.parts.append(words.encode("utf-8", "surrogateescape"))

    def holds(self, secrets: Mapping[str, bytes]) -> set[str]:
        """Return the names of the secrets that are in it, in whatever form."""
        shown = b"\n".join(self.parts)
        return {name for name, secret in secrets.items() if any(form in shown for form in forms(secret))}


def forms(secret: bytes) -> Iterator[bytes]:
    """Yield what a secret looks like raw, in hex, in base64, in Python's notation of bytes and lists, and as an integer."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield base64.b64encode(secret).rstrip(b"=")[:-1]
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")[:-1]
    yield repr(secret)[2:-1].encode()
    yield ", ".join(map(str, secret)).encode()
    for order in ("little", "big"):
        number = int.from_bytes(secret, order)
        yield str(number).encode()
        yield f"{number:x}".encode()


def lane_secrets(lanes: Lanes) -> dict[str, bytes]:
    """Return each lane as its eight bytes, plain and with the offset."""
    found = {f"lane {n}": int(lane).to_bytes(8, "little", signed=True) for n, lane in enumerate(lanes)}
    offset = (lanes + 2**47).astype(np.uint64)
    return found | {f"lane {n} with offset": int(lane).to_bytes(8, "little") for n, lane in enumerate(offset)}


def journal_secrets(journal: Journal, prefix: str = "") -> dict[str, bytes]:
    """Return the seeds, keys and blinders of one attempt, from the entropy that a journal still holds."""
    first = journal.recall(prefix + ADVERTISE_ENTROPY)
    second = journal.recall(prefix + SHARE_ENTROPY)
    blinders = journal.recall(prefix + SHARE_BLINDERS)
    found = {
        "mask-key seed k": first[:SEED_BYTES],
        "channel private key": first[SEED_BYTES : SEED_BYTES + KEY_BYTES],
        "self-mask seed b": second[:SEED_BYTES],
        "coefficient seed": second[SEED_BYTES:],
    }
    for block, blinder in enumerate(reduce_uniform(blinders)):
        found[f"entropy of blinder {block}"] = blinders[UNIFORM_BYTES * block :][:UNIFORM_BYTES]
        found[f"blinder {block}"] = encode_scalar(blinder)
    assert len(second) == rounds.SHARE_KEYS_ENTROPY_BYTES
    assert decode_shared(journal.recall(prefix + MASK_RECEIVED))[1]
    return found


def share_secrets(held: Mapping[int, SharePair]) -> dict[str, bytes]:
    """Return the shares that are held, as field elements."""
    return {
        f"share of {kind} of seat {seat}": encode_scalar(share)
        for seat, pair in held.items()
        for kind, share in (("k", pair.mask_key), ("b", pair.self_mask))
    }
