"""Opening lines of a site's list to an auditor: which lines, and what the file says of them.

Promises that the lines are those that the log chose after the result, of the list that our own contribution in the published
result names; that words of private records and clips, and reasons of failures in free words, are in the file only if the site
wishes; and that asking again, with
whatever later checkpoint of the same log, opens no other lines. Leaves that there is one log to `chosen_once.py` and
`known_log.py`, finding clips to `shown_clips.py`, and asking the operator to `commands/sampling.py`.

Source: protos/README.md §10.14, §12.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vdb_participant.session.samples import KeptSamples
from vdb_shared import labels
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.logged import opened_entry
from vdb_shared.bundle.record import RESULT_PROOF, SessionRecord, of_record, read_proof
from vdb_shared.bundle.sample_choice import ResultPlace, parse_choice, place_of, verify_choice
from vdb_shared.bundle.sample_file import OpenedLine, OpenedWords, SampleOpening, ShownClip, write_samples
from vdb_shared.bundle.samples import chosen_lines, is_closed_reason, tree_of
from vdb_shared.bundle.statement import Contribution, SessionOpen, parse_statement
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import encode_base64
from vdb_shared.errors import StoreError, UsageError
from vdb_shared.identity import Signer
from vdb_shared.roster import Roster
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.transparency.merkle import inclusion_proof, leaf_hash, of_leaves
from vdb_shared.transparency.proof import LogProof

Frames: TypeAlias = NDArray[np.uint8]

Shown = Callable[[Mapping[str, Any]], Frames | None]
"""Returns the frames of a kept sample, uint8 (T, H, W, 3); None where it has none."""

OPEN_SIDES: Final = ("public", "second")
"""Sides whose words stand in the spec."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        choice: the file that chooses the lines, as the auditor handed it over.
        count: how many lines to open.
        auditor: for whom.
        shown: finds frames; None where neither clips nor private words are told.
    """

    choice: bytes = field(repr=False)
    count: int
    auditor: str
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class OwnResult:
    """A published result that we are part of.

    Attributes:
        spec: that all agreed on.
        session: its id.
        roster: verified under the pinned root.
        contribution: our statement in it, verified.
        statement: digest of its payload.
        opened: entry of the session's opening, which the log must hold.
        proof: that the log has the result.
        place: where that is.
    """

    spec: Spec
    session: str
    roster: Roster
    contribution: Contribution
    statement: str
    opened: bytes = field(repr=False)
    proof: LogProof = field(repr=False)
    place: ResultPlace


def own_result(bundle: bytes, institution: str, root: str) -> OwnResult:
    """Return what a spot check rests on of a published result.

    Args:
        bundle: the published result, which this site has audited.
        institution: ours.
        root: the pinned trust root.

    Raises:
        UsageError: we are not in its sum.
        FormatError, IdentityError, SignatureError: it is not the result of our consortium that we kept.
    """
    members = read_archive(bundle)
    record = SessionRecord.from_members(of_record(members))
    roster = record.roster.verify(root, None)
    statement = record.contributions.get(institution)
    if statement is None:
        raise UsageError(f"{institution} is not in the sum of this result, so there is no list to open for it")
    payload = statement.verify(labels.TYPE_STATEMENT, [roster.member(institution).public_key])
    contribution, _ = parse_statement(payload, Contribution)
    opening, _ = parse_statement(record.open.payload, SessionOpen)
    spec, proof = parse_spec_json(record.spec), read_proof(members, RESULT_PROOF)
    return OwnResult(
        spec=spec,
        session=contribution.session,
        roster=roster,
        contribution=contribution,
        statement=statement.payload_digest,
        opened=opened_entry(contribution.session, opening, spec.deadlines),
        proof=proof,
        place=place_of(proof, log_key(roster)),
    )


def open_lines(
    result: OwnResult, kept: KeptSamples, question: Question, made: str
) -> tuple[SampleOpening, dict[int, bytes]]:
    """Return what an opening says, and the frames that it shows by number of the line.

    Args:
        result: of the session.
        kept: our list.
        question: what is asked.
        made: the present time, as statements write it.

    Raises:
        StoreError: the list that is kept is not the one that the contribution fixed, or a clip cannot be found.
        UsageError: a line holds a reason in free words, and words are not to be told.
        FormatError, SignatureError: the choice is none of this log after this result.
    """
    own = result.contribution
    if kept.root != own.manifest.sample_root:
        raise StoreError(
            f"the list that is kept of session {result.session[:19]} is not the one that was signed for; restore it "
            "from a backup"
        )
    head, _ = verify_choice(parse_choice(question.choice), result.place, log_key(result.roster))
    total = len(kept.samples)
    numbers = chosen_lines(
        result.session, own.institution, own.manifest.sample_root, (head.size, head.root), total, question.count
    )
    lines = kept.lines()
    complete = of_leaves([leaf_hash(line) for line in lines])
    clips: dict[int, bytes] = {}
    opened = []
    for number in numbers:
        if question.shown is None:
            _check_reason(number, kept.samples[number]["failure"])
        frames = question.shown(kept.samples[number]) if question.shown else None
        if frames is not None:
            clips[number] = np.ascontiguousarray(frames).tobytes()
        path = tuple(encode_base64(item) for item in inclusion_proof(number, total, complete))
        opened.append(
            OpenedLine(
                number=number,
                line=lines[number].decode(),
                path=path,
                words=_words(kept, number, told=question.shown is not None),
                clip=None if frames is None else _size(frames),
            )
        )
    opening = SampleOpening(
        session=result.session,
        institution=own.institution,
        contribution=result.statement,
        auditor=question.auditor,
        total=total,
        tree=tree_of(lines).hex(),
        salt=kept.salt.hex(),
        opened=tuple(opened),
        made=made,
    )
    return opening, clips


def answer(opening: SampleOpening, clips: Mapping[int, bytes], question: Question, signer: Signer) -> bytes:
    """Return the file for the auditor, signed.

    Raises:
        FormatError: it would be larger than such a file may be; ask for fewer lines, or leave the clips out.
    """
    return write_samples(opening, question.choice, clips, signer)


def revealed(opening: SampleOpening) -> tuple[str, ...]:
    """Return in words everything that an opening tells of this site, a line for each record."""
    known = (
        f"the list has {opening.total} lines, which tells how many private records were measured",
        *(_revealed_line(item) for item in opening.opened),
    )
    return (*known, "each with digests of its frames and of what it added to the sums")


def _revealed_line(item: OpenedLine) -> str:
    words = f"the words {item.words.text!r}" if item.words else "a salted digest of its words"
    clip = f", its {item.clip.frames} frames" if item.clip else ""
    return f"line {item.number}: {item.line}; {words}{clip}"


def _check_reason(number: int, failure: str) -> None:
    """Refuse to open words of a model or a library, which older releases wrote into lines and which may quote a prompt."""
    if not is_closed_reason(failure):
        raise UsageError(
            f"line {number}: says in free words of an older release why its clip failed, and they may quote a private prompt; "
            "open it with --with-clips, which tells words as well, or not at all"
        )


def _words(kept: KeptSamples, number: int, *, told: bool) -> OpenedWords | None:
    sample = kept.samples[number]
    if not told and sample["side"] not in OPEN_SIDES:
        return None
    return OpenedWords(text=sample["prompt"], salt=kept.words_salt(number).hex())


def _size(frames: Frames) -> ShownClip:
    count, height, width, _ = frames.shape
    return ShownClip(frames=count, height=height, width=width)
