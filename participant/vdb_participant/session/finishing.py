"""After the rounds: audit the draft, countersign it, keep the published result.

Promises that what is kept passed the audit with our own part in it, and that a second, different result of the session is
refused: the result that we countersigned is recorded before the countersignature is sent. Secrets are erased before the
countersignature leaves.

Source: protos/README.md §9.5, §11.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vdb_participant.session import records
from vdb_participant.session.codec import decode_signed, decode_upload
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.countersigning import (
    OwnPart,
    audit_draft,
    audit_published,
    audit_without_us,
    countersignature,
)
from vdb_participant.session.exchange import AGREE_SENT, MASK_SENT
from vdb_participant.session.records import in_attempt, present_attempt
from vdb_participant.session.terms import Opening, SealedTerms
from vdb_participant.session.witnessing import Witness
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.journal import Journal
from vdb_participant.site.storage import write_durably
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import RESULT_PROOF
from vdb_shared.errors import ProtocolError, RoundsRestartedError
from vdb_shared.identity import Signer
from vdb_shared.wire.status import Phase

RESULT_FILE: Final = "result.vdbb"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of a session works with.

    Attributes:
        post: the session's journal and link.
        sealed: its terms.
        witness: who sees that the result is in the log.
        signer: our statement key.
        root: the pinned trust root.
        folder: where the result is kept.
        failpoints: none outside tests.
    """

    post: Correspondence
    sealed: SealedTerms
    witness: Witness
    signer: Signer = field(repr=False)
    root: str
    folder: Path
    failpoints: Failpoints = field(default_factory=Failpoints)


def finish(end: Ending) -> None:
    """Countersign the draft and keep the published result.

    Raises:
        VerificationError: draft or result fail the audit, or are not what we took part in.
        SessionAbortedError: the session was aborted all the same.
        ProtocolError: the coordinator restarts rounds that had ended.
    """
    try:
        _finish(end)
    except RoundsRestartedError as error:
        raise ProtocolError("restarts the rounds after they had ended", peer="coordinator") from error


def _finish(end: Ending) -> None:
    post, attempt = end.post, present_attempt(end.post.journal)

    def sign() -> bytes:
        post.wait_in(attempt, Phase.FINALISING)
        draft = post.link.bundle(post.session)
        audit_draft(draft, _own_part(end), end.sealed, end.root, datetime.now(UTC))
        return countersignature(draft, end.signer)

    signed = post.journal.once(records.COUNTERSIGN_SENT, sign)
    post.journal.erase_secrets()  # no round needs them any more, and there is no deadline for the witnesses
    end.failpoints.reach("before-countersign")
    post.in_time(
        attempt, lambda: post.deliver(records.COUNTERSIGN_SENT, lambda: post.link.countersign(post.session, signed))
    )
    end.failpoints.reach("after-countersign")
    end.witness.wait_in(attempt, Phase.PUBLISHED)
    published = post.link.bundle(post.session)
    audit_published(published, signed, end.sealed, end.root)
    end.witness.recognise(read_archive(published)[RESULT_PROOF])
    write_durably(end.folder / RESULT_FILE, published)


def keep_without_us(post: Correspondence, opening: Opening, witness: Witness, root: str, folder: Path) -> Path | None:
    """Return where the published result of a session lies that ended without us; None while it has none.

    Every institution of the session's roster may read its result.

    Raises:
        VerificationError: it fails the audit.
        ProtocolError: it is not in the log that we know.
        UnreachableError: the coordinator.
    """
    kept = folder / RESULT_FILE
    if not kept.exists():
        if post.link.details(post.session).status.phase is not Phase.PUBLISHED:
            return None
        published = post.link.bundle(post.session)
        audit_without_us(published, opening, root)
        witness.recognise(read_archive(published)[RESULT_PROOF])
        write_durably(kept, published)
    return kept


def signed_view(journal: Journal) -> bytes | None:
    """Return the body of the consistency statement that we signed, acknowledged or not; None if we signed none.

    A coordinator that withholds the acknowledgement must not be able to publish another set of survivors. Only in the last
    attempt can there be one: after it no restart is followed.
    """
    signed = in_attempt(present_attempt(journal), AGREE_SENT)
    return decode_signed(journal.recall(signed)).body if signed in journal else None


def _own_part(end: Ending) -> OwnPart:
    journal, opening = end.post.journal, end.sealed.opening
    upload = decode_upload(journal.recall(in_attempt(present_attempt(journal), MASK_SENT)))
    return OwnPart(
        institution=opening.member.institution,
        seat=opening.seat,
        session=opening.session,
        seal=end.sealed.seal,
        spec=opening.spec.canonical(),
        join=journal.recall(records.JOIN_SENT),
        contribution=upload.contribution,
        header=upload.header,
        survivors=signed_view(journal),
    )
