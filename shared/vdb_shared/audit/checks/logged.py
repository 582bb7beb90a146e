"""V21.log and V60 to V65: what the transparency log shows of a session, and what only reading the log itself shows.

A bundle holds proofs that its opening and its result stand in the log, signed by the institutions that saw them there. That
the log says nothing else of the session, and was not rewritten since, is seen by who reads the log (`--log`).

Source: protos/README.md §9.8, §10.9.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Final

from vdb_shared.audit.checks.base import DRAFT, Check, Finding, clock, demand, demand_equal, not_proven, passed
from vdb_shared.audit.checks.stamped import STAMPED
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Status
from vdb_shared.audit.revocations import LoggedRevocation
from vdb_shared.audit.standing_words import named_entries, summary_of, unread, words_of
from vdb_shared.bundle.witnessed import check_logged, log_key
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, SignatureError, UnreachableError, UsageError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.proof import verify_proof
from vdb_shared.wording import counted


def _announced(evidence: Evidence) -> Finding:
    proof = evidence.record.open_proof
    demand_equal("V21.log", "proof that the seal names", sha256_digest(proof.to_bytes()), evidence.seal.log)
    seen = check_logged(proof, evidence.opened_entry, evidence.roster, evidence.joins, evidence.quorum)
    return passed(
        f"Entry {seen.index} of the consortium's public log announces the session. {counted(len(seen.times), 'institution')} "
        f"of the {len(evidence.joins)} that joined signed that they saw it there ({_between(tuple(seen.times.values()))}; "
        f"{evidence.quorum} were needed). The seal names their signatures and each contribution names the seal, so the "
        "announcement came first."
    )


def _logged(evidence: Evidence) -> Finding:
    if evidence.draft:
        return DRAFT
    found = verify_proof(evidence.result_proof, evidence.published_entry, log_key(evidence.roster), (), 0)
    opened = evidence.record.open_proof.index
    demand("V60", found.index > opened, f"the result is entry {found.index}, its announcement entry {opened}.")
    return passed(
        f"Entry {found.index} of the consortium's public log names this very result; the coordinator signed the log with it."
    )


def _witnessed(evidence: Evidence) -> Finding:
    if evidence.draft:
        return DRAFT
    proof, joined = evidence.result_proof, evidence.joins
    seen = check_logged(proof, evidence.published_entry, evidence.roster, joined, evidence.quorum)
    return passed(
        f"{counted(len(seen.times), 'institution')} of the {len(joined)} that joined signed that the log with this result "
        f"is the one log they know ({_between(tuple(seen.times.values()))}; {evidence.quorum} were needed). As many cannot "
        f"have signed another log, unless more than {evidence.spec.cohort.collusion} of them are dishonest."
    )


def _between(times: Collection[int]) -> str:
    """Return when witnesses say that they signed."""
    first, last = clock(min(times)), clock(max(times))
    return f"by their clocks at {first}" if first == last else f"by their clocks from {first} to {last}"


def _not_rewritten(evidence: Evidence) -> Finding:
    known = list(_known(evidence))
    for one, other in pairwise(known):
        _check_same_size(one, other)
    log = evidence.log
    if log is None:
        return not_proven(
            "That the log was not rewritten since these proofs were made is seen in the log itself: give its folder or address "
            "with --log, and with --checkpoint what you saw of it before."
        )
    newest = log.checkpoint
    for one in known:
        _check_same_size(one, ("the log", newest))
    _check_not_older(newest, known[-1])
    for what, checkpoint in known:
        demand(
            "V62",
            log.root_at(checkpoint.size) == checkpoint.root,
            f"the log of {_entries(newest)} does not begin with the {checkpoint.size} of {what}.",
        )
    return passed(
        f"The log, now of {_entries(log.checkpoint)}, begins with what "
        f"{' and '.join(what for what, _ in known)} showed."
    )


def _known(evidence: Evidence) -> Iterator[tuple[str, Checkpoint]]:
    """Yield every checkpoint of the log at hand, and what it comes from, by size."""
    key = log_key(evidence.roster)
    found = [("the proof of the opening", read_checkpoint(evidence.record.open_proof.checkpoint, key)[0])]
    if not evidence.draft:
        found.append(("the proof of the result", read_checkpoint(evidence.result_proof.checkpoint, key)[0]))
    if evidence.remembered is not None:
        found.append(("the checkpoint you kept", _kept(evidence.remembered, key)))
    yield from sorted(found, key=lambda item: item[1].size)


def _kept(remembered: bytes, key: NoteKey) -> Checkpoint:
    """Return the checkpoint that the auditor kept.

    Raises:
        _KeptError: it is none of this log.
    """
    try:
        return read_checkpoint(remembered, key)[0]
    except (FormatError, SignatureError) as error:
        raise _KeptError(str(error)) from error


class _KeptError(UsageError):
    """What the auditor kept of a log is of another one: no fault of the log at hand, nor shown to be one of the bundle."""


def _check_same_size(one: tuple[str, Checkpoint], other: tuple[str, Checkpoint]) -> None:
    """Check that two checkpoints of one size are of one log."""
    demand(
        "V62",
        one[1].size != other[1].size or one[1].root == other[1].root,
        f"{one[0]} and {other[0]} show two different logs of {one[1].size} entries, both signed by the coordinator.",
    )


def _check_not_older(log: Checkpoint, known: tuple[str, Checkpoint]) -> None:
    """Check that a log is not an older copy of what is known of it, which proves nothing.

    Raises:
        UsageError: it is.
    """
    what, latest = known
    if log.size < latest.size:
        raise UsageError(f"it has {_entries(log)}, fewer than the {latest.size} of {what}: an older copy of it")


def _entries(checkpoint: Checkpoint) -> str:
    return counted(checkpoint.size, "entry", "entries")


def _no_second(evidence: Evidence) -> Finding:
    log, found = evidence.log, evidence.monitored
    if log is None or found is None:
        return not_proven(
            "That the session has no other result is seen in the log itself: give its folder or address with --log."
        )
    _check_not_older(log.checkpoint, list(_known(evidence))[-1])
    session = evidence.record.open.payload_digest
    wrong = [fault.sentence for fault in found.faults if fault.session == session and not fault.afterwards]
    demand("V63", not wrong, f"{'; '.join(wrong)}.")
    ends = [item for item in found.sessions if item.session == session]
    if evidence.draft and ends and ends[0].state in {"open", "overdue"}:
        return DRAFT
    expected = evidence.result_envelope.payload_digest
    statements = [item.statement for item in ends if item.state == "published"]
    demand_equal("V63", "result that the log names", [expected], statements)
    if found.unreadable:
        return not_proven(unread(found.unreadable, "what is said there of the session"))
    same = sum(item.spec == evidence.opening.spec for item in found.sessions)
    others = "no other session with this spec" if same == 1 else f"{counted(same - 1, 'other session')} with this spec"
    size = counted(log.checkpoint.size, "entry", "entries")
    return passed(f"The log of {size} names one result of this session, this one, and {others}.")


def _stands(evidence: Evidence) -> Finding:
    if evidence.draft:
        return not_proven("This is a draft: nobody can object to it yet, nor withdraw it.")
    standing = evidence.standing
    said = () if standing is None else words_of(standing)
    summary = summary_of(standing) if standing is not None and said else ""
    if standing is None or not standing.read:
        logged = "That nobody objects to the result, and that it was not withdrawn or replaced, is seen in the log: give --log."
        return not_proven(f"{summary} {logged}".strip(), said)
    if said:
        return not_proven(summary, said)
    replaced = f" It was opened to replace the result of session {standing.supersedes}." if standing.supersedes else ""
    return passed(
        f"The log has no objection to the result, no withdrawal of it, and no session that replaces it.{replaced}"
    )


def _no_revoked_key(evidence: Evidence) -> Finding:
    log, found = evidence.log, evidence.monitored
    if log is None or found is None:
        return not_proven(
            "That no signer's key was revoked before the session was sealed is seen in the log itself: give its folder or "
            "address with --log."
        )
    _check_not_older(log.checkpoint, list(_known(evidence))[-1])
    revoked = _of_signers(evidence, found.revocations)
    opened = evidence.record.open_proof
    seen, _ = read_checkpoint(opened.checkpoint, log_key(evidence.roster))
    early = [
        f"the key of {item.institution} was revoked in entry {item.index} of the log ({item.reason}), and the session was "
        f"{'opened' if item.index < opened.index else 'sealed'} after that"
        for item in revoked
        if item.index < seen.size
    ]
    demand("V65", not early, f"{'; '.join(early)}.")
    end = log.checkpoint.size if evidence.draft else evidence.result_proof.index
    meanwhile, later = ([item for item in revoked if (item.index < end) == before] for before in (True, False))
    hidden, behind = ([item for item in found.unreadable if (item < end) == before] for before in (True, False))
    open_questions = []
    if meanwhile:
        open_questions.append(f"{_MEANWHILE}: {_named(meanwhile)}. That they signed their part before is not shown.")
    if hidden:
        open_questions.append(unread(hidden, "whether a key is revoked there"))
    if open_questions:
        return not_proven(" ".join(open_questions))
    since = f" Revoked since: {_named(later)}; what was signed before stays valid." if later else ""
    newer = f" {named_entries(behind)}, behind that, cannot be read." if behind else ""
    return passed(
        f"The log revokes no signer's key before its entry {end}, up to which the session took place.{since}{newer}"
    )


_MEANWHILE: Final = "After the session was sealed and before its result stood in the log, keys were revoked"


def _of_signers(evidence: Evidence, revocations: Sequence[LoggedRevocation]) -> list[LoggedRevocation]:
    """Return the revocations of keys under which somebody signed in this bundle."""
    signers = [evidence.roster.coordinator, *(evidence.roster.member(name) for name in evidence.joins)]
    keys = {member.public_key.key_id for member in signers}
    return [item for item in revocations if item.key in keys]


def _named(revocations: Sequence[LoggedRevocation]) -> str:
    return ", ".join(f"{item.institution} ({item.reason}, entry {item.index})" for item in revocations)


def _reading(attempt: Callable[[Evidence], Finding]) -> Callable[[Evidence], Finding]:
    """Return a check that is SKIPPED where what it reads beside the bundle cannot be read, or is not the log's.

    Bytes that no key of the consortium vouches for prove nothing against the bundle.
    """

    def attempt_reading(evidence: Evidence) -> Finding:
        try:
            return attempt(evidence)
        except _KeptError as error:
            return Finding(Status.SKIPPED, f"What you kept of the log could not be compared: {error}.")
        except (UnreachableError, UsageError, FormatError, SignatureError) as error:
            return Finding(Status.SKIPPED, f"The log could not be read: {error}.")

    return attempt_reading


ANNOUNCED: Final = Check(
    "V21.log",
    "Announced beforehand",
    "That the session stood in the public log before anyone contributed, and that enough institutions saw it there, is not "
    "shown.",
    ("V12", "V20"),
    _announced,
)

CHECKS: Final = (
    Check("V60", "Logged", "The result does not stand in the consortium's public log.", ("V20", "V50"), _logged),
    Check(
        "V61",
        "Witnessed",
        "Too few institutions signed that they saw the result in the log, or a signature below it is not theirs.",
        ("V60",),
        _witnessed,
    ),
    Check(
        "V62",
        "Log not rewritten",
        "The log was rewritten, or different logs were shown.",
        ("V60",),
        _reading(_not_rewritten),
    ),
    Check("V63", "No second result", "The log says something else of this session.", ("V62",), _reading(_no_second)),
    Check(
        "V63.standing",
        "Since publication",
        "Objections, withdrawals and later sessions never fail a bundle.",
        ("V62",),
        _reading(_stands),
    ),
    STAMPED,
    Check(
        "V65",
        "No revoked key",
        "The session was opened or sealed after the key of one of its signers had been revoked.",
        ("V62",),
        _reading(_no_revoked_key),
    ),
)
