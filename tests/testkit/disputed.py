"""A result to which others object, which is withdrawn and replaced: the session, what was said of it, its successor, the log.

Keys follow from a seed; times are fixed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from testkit.bundles import Past, SmallSession, logged, small_session
from testkit.consortium import signer
from testkit.fates import Fate
from testkit.logs import MadeLog
from testkit.small_specs import small_spec
from testkit.statements import AUDITOR, INSTITUTIONS, auditor_key, coordinator_key, sign
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import ObjectionRecord, WithdrawalRecord, encode_record
from vdb_shared.bundle.objections import Objection, Withdrawal, files_of
from vdb_shared.bundle.record import RESULT, read_envelope
from vdb_shared.identity import StatementKey
from vdb_shared.spec import Spec

SEAT = 3
"""Of the institution that objects."""

OBJECTED = "2026-02-02T09:00:00Z"
RECEIVED = "2026-02-02T09:00:05Z"
WITHDRAWN = "2026-02-03T10:00:00Z"


def session_id(session: SmallSession) -> str:
    """Return the id of a session."""
    return session.record.open.payload_digest


def result_digest(session: SmallSession) -> str:
    """Return the digest of a session's result statement."""
    return read_envelope(session.members, RESULT).payload_digest


def objection(session: SmallSession, objector: str = INSTITUTIONS[SEAT], /, **changes: Any) -> Objection:
    """Return an objection to a session's result."""
    fields: dict[str, Any] = {
        "session": session_id(session),
        "result": result_digest(session),
        "objector": objector,
        "reason": "model",
        "text": "Our driver was broken; the clips of one model are of another.",
        "objected": OBJECTED,
    }
    return Objection(**(fields | changes))


def withdrawal(session: SmallSession, /, **changes: Any) -> Withdrawal:
    """Return the withdrawal of a session's result."""
    fields: dict[str, Any] = {
        "session": session_id(session),
        "result": result_digest(session),
        "reason": "A site measured clips of another model.",
        "withdrawn": WITHDRAWN,
    }
    return Withdrawal(**(fields | changes))


def salt_of(stated: Envelope) -> str:
    """Return a made-up salt of the entry of a statement, hex."""
    return hashlib.sha256(b"salt of " + stated.payload).hexdigest()


def objection_entry(stated: Envelope, said: Objection, received: str = RECEIVED) -> bytes:
    """Return the log's entry of an objection."""
    record = ObjectionRecord(
        session=said.session,
        result=said.result,
        objector=said.objector,
        objection=stated.payload_digest,
        received=received,
        salt=salt_of(stated),
    )
    return encode_record(record)


def withdrawal_entry(stated: Envelope, said: Withdrawal) -> bytes:
    """Return the log's entry of a withdrawal."""
    record = WithdrawalRecord(
        session=said.session,
        result=said.result,
        withdrawal=stated.payload_digest,
        superseded_by=said.superseded_by,
        withdrawn=said.withdrawn,
        salt=salt_of(stated),
    )
    return encode_record(record)


@dataclass(frozen=True)
class Dispute:
    """A result and what became of it.

    Attributes:
        first: the session with the result.
        objections: of an institution and of an auditor.
        withdrawal: of the result.
        second: the session that replaces it, of the same spec.
        log: with both sessions and all that was said between them.
    """

    first: SmallSession
    objections: tuple[Envelope, ...]
    withdrawal: Envelope
    second: SmallSession
    log: MadeLog

    @property
    def statements(self) -> dict[str, bytes]:
        """Statement files, by name."""
        return files_of([item.to_json() for item in self.objections], self.withdrawal.to_json())


@cache
def dispute(seed: object = "dispute", spec: Spec | None = None) -> Dispute:
    """Return a session whose result is objected to twice, withdrawn, and replaced."""
    spec = spec or small_spec()
    first = small_session(seed, spec, fate=Fate.STAYS, past=Past(auditor=True))
    said = (objection(first), objection(first, AUDITOR, reason="figures", text="The ranks rest on those clips."))
    keys: tuple[StatementKey, ...] = (signer(seed, SEAT), auditor_key(seed))
    objections = tuple(sign(item, key) for item, key in zip(said, keys, strict=True))
    taken_back = withdrawal(first)
    withdrawn = sign(taken_back, coordinator_key(seed))
    entries = (
        *logged(first).entries,
        *(objection_entry(stated, item) for stated, item in zip(objections, said, strict=True)),
        withdrawal_entry(withdrawn, taken_back),
    )
    past = Past(entries, session_id(first), auditor=True)
    second = small_session(seed, spec, fate=Fate.STAYS, past=past)
    return Dispute(first, objections, withdrawn, second, logged(second))
