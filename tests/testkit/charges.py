"""Charges and lists of records for tests of the ledger."""

from __future__ import annotations

from decimal import Decimal

from vdb_shared.privacy.ledger import Charge
from vdb_shared.privacy.record_list import NONE, RecordList, part_of_file, part_of_words

CAP = Decimal("0.1")
NOW = "2026-03-01T12:00:00Z"

NONCE = "a" * 64
"""Of the first life of every journal."""

OTHER_LIFE = "b" * 64


def list_of(*records: str) -> RecordList:
    """Return a list: "words", "/file", or "words/file" that go together."""
    return RecordList.of(_record(*record.partition("/")) for record in records)


def _record(words: str, _: str, file: str) -> tuple[bytes, bytes]:
    return part_of_words(words) if words else NONE, part_of_file(file.encode()) if file else NONE


def charge(number: int, data: RecordList, rho: str = "0.03", nonce: str = NONCE, folder: str = "/data") -> Charge:
    """Return the charge of the session with a number."""
    session, spec = f"sha256:{number:064x}", "sha256:" + "5" * 64
    return Charge(
        session, spec, data.dataset, data.digest, folder, Decimal(rho), Decimal("1234.5"), 4, 1, nonce
    )  # fmt: skip
