"""The spot check: whether records that an institution opened are those that the log chose from the list it had committed to.

Promises one line for each question, in the words of the audit, and that nothing counts as shown which a file only says. What
it shows is that the list was fixed before anybody knew what would be asked. That the records are real, and that the sums were
made of them, no file can show; the report says so each time.

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from vdb_shared import labels
from vdb_shared.audit.checks.base import Finding, answered, counted, demand, demand_equal, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Line, Status
from vdb_shared.audit.sampled_records import check_records, check_total, shown_clips
from vdb_shared.audit.spot_report import SampleReport
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.sample_choice import parse_choice, verify_choice
from vdb_shared.bundle.sample_file import SampleFile, read_samples
from vdb_shared.bundle.samples import chosen_lines, parse_line, sample_root
from vdb_shared.bundle.statement import Contribution
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.canonical import decode_base64, sha256_digest
from vdb_shared.errors import FormatError, VerificationError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import check_inclusion, leaf_hash
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, Fetch, TiledLog


@dataclass(frozen=True, slots=True)
class Asked:
    """What the auditor demands.

    Attributes:
        count: fewest lines, where the list has as many.
        root: digest of the trust root known from elsewhere, or None.
        policy: the auditor's demands on the bundle.
        fetch: reads files of the consortium's log; None without access to it.
        remembered: a checkpoint of the log that the auditor kept, as a note, or the file from which it asked.
    """

    count: int
    root: str | None
    policy: Policy = DEFAULT_POLICY
    fetch: Fetch | None = None
    remembered: bytes | None = None


@dataclass(frozen=True)
class Sampled:
    """A bundle and a file of opened lines under check; each property raises what the question that needs it reports."""

    evidence: Evidence
    data: bytes = field(repr=False)
    asked: Asked

    @cached_property
    def file(self) -> SampleFile:
        """The file, read."""
        return read_samples(self.data)

    @property
    def institution(self) -> str:
        """Whose list it says it opens."""
        return self.file.opening.institution

    @cached_property
    def contribution(self) -> Contribution:
        """That institution's contribution in the bundle.

        Raises:
            FormatError: it is not in the sum.
        """
        if self.institution not in self.evidence.contributions:
            raise FormatError(f"{self.institution} is not in the sum of this result, so it committed to no list in it")
        return self.evidence.contributions[self.institution]

    @cached_property
    def heads(self) -> tuple[Checkpoint, Checkpoint]:
        """The state of the log that chooses, and the later one that the log signed."""
        key = log_key(self.evidence.roster)
        logged, _ = read_checkpoint(self.evidence.result_proof.checkpoint, key)
        return verify_choice(parse_choice(self.file.choice), logged, key)


Attempt: TypeAlias = Callable[[Sampled], Finding]


def _form(sampled: Sampled) -> Finding:
    opening = sampled.file.opening
    for item in opening.opened:
        parse_line(item.line.encode())
    return passed(f"The file opens {counted(len(opening.opened), 'record')}, in the exact format of this version.")


def _signed(sampled: Sampled) -> Finding:
    opening, evidence = sampled.file.opening, sampled.evidence
    demand_equal("S03", "session", evidence.record.open.payload_digest, opening.session)
    contribution = sampled.contribution
    key = evidence.roster.member(sampled.institution).public_key
    sampled.file.envelope.verify(labels.TYPE_STATEMENT, [key])
    fixed = evidence.record.contributions[contribution.institution].payload_digest
    demand_equal("S03", "contribution that fixed the list", fixed, opening.contribution)
    accredited = any(
        member.institution == opening.auditor and member.role == "auditor" for member in evidence.roster.members
    )
    words = (
        "whom the roster names as an auditor" if accredited else "whom the session's roster does not know as an auditor"
    )
    return passed(
        f"{opening.institution} signed the file on {opening.made}, by its clock, for {opening.auditor}, {words}."
    )


def _chosen(sampled: Sampled) -> Finding:
    opening, (head, _) = sampled.file.opening, sampled.heads
    root = sampled.contribution.manifest.sample_root
    found = tuple(item.number for item in opening.opened)
    expected = chosen_lines(
        opening.session, opening.institution, root, (head.size, head.root), opening.total, len(found)
    )
    demand("S04", found == expected, "Other lines are opened than the log chose, or in another order.")
    wanted = min(sampled.asked.count, opening.total)
    demand(
        "S04",
        len(found) >= wanted,
        f"{counted(len(found), 'line')} of {opening.total} opened, {wanted} were asked for.",
    )
    return passed(
        f"The lines are the first {len(found)} that the public log chooses from this list: by its state after entry "
        f"{head.size - 1}, the first one after the result. Nobody knew it when the list was fixed, and neither institution nor "
        "auditor had a choice."
    )


def _known_log(sampled: Sampled) -> Finding:
    head, signed = sampled.heads
    key = log_key(sampled.evidence.roster)
    known = []
    if sampled.asked.remembered is not None:
        kept = _remembered(sampled, sampled.asked.remembered)
        if kept.size in {head.size, signed.size}:
            shown = head if kept.size == head.size else signed
            demand(
                "S05",
                kept.root == shown.root,
                f"your checkpoint and the file show two different logs of {kept.size} entries.",
            )
            known.append("your checkpoint")
    if sampled.asked.fetch is not None:
        log = TiledLog(read_checkpoint(sampled.asked.fetch(CHECKPOINT_PATH), key)[0], sampled.asked.fetch)
        demand(
            "S05",
            log.root_at(head.size) == head.root,
            f"the log does not begin with the {head.size} entries that chose.",
        )
        known.append("the log")
    if known:
        return passed(f"The log that chose is the one shown by {' and '.join(known)}.")
    return not_proven(
        "That the coordinator did not show this institution a log of its own is seen in the log itself: give it with --log, or "
        "with --checkpoint the file with which you asked."
    )


def _remembered(sampled: Sampled, data: bytes) -> Checkpoint:
    """Return the state of the log that the auditor kept: the one from which it asked, or any checkpoint."""
    key = log_key(sampled.evidence.roster)
    if not data.startswith(b"{"):
        return read_checkpoint(data, key)[0]
    logged, _ = read_checkpoint(sampled.evidence.result_proof.checkpoint, key)
    return verify_choice(parse_choice(data), logged, key)[0]


def _committed(sampled: Sampled) -> Finding:
    opening = sampled.file.opening
    tree = bytes.fromhex(opening.tree)
    demand_equal(
        "S06",
        "digest of the list in the contribution",
        sampled.contribution.manifest.sample_root,
        sample_root(tree, opening.total, bytes.fromhex(opening.salt)),
    )
    for item in opening.opened:
        path = [decode_base64(found) for found in item.path]
        try:
            check_inclusion(leaf_hash(item.line.encode()), item.number, opening.total, path, tree)
        except FormatError as error:
            raise VerificationError(
                f"line {item.number} is not the one that the list has there.", check="S06"
            ) from error
    return passed(
        f"Each opened line is the one that stands in its place in the list of {opening.total} to which {opening.institution} "
        "committed under its signature, before anything was unmasked. None was put there afterwards."
    )


def _fitting(sampled: Sampled) -> Finding:
    opening, evidence = sampled.file.opening, sampled.evidence
    seat = next(item.seat for item in evidence.seal.joins if item.institution == opening.institution)
    place = evidence.terms.position(seat), len(evidence.terms.seats)
    check_total(evidence.spec, place, sampled.contribution.manifest, opening.total)
    sides = check_records(evidence.spec, place, opening)
    found = ", ".join(f"{number} {side}" for side, number in sides.items())
    return passed(f"The records are ones that the spec asks of this institution, none twice: {found or 'none'}.")


def _clips(sampled: Sampled) -> Finding:
    shown, possible = shown_clips(sampled.file)
    if not shown:
        return not_proven(
            f"No clip is shown, of {counted(possible, 'opened record')} with one. Ask the institution for --with-clips."
        )
    return passed(
        f"The frames of {counted(shown, 'clip')} of {possible} are those whose digest stands in the list. What features they "
        "have, and so what they added to the sums, takes the extractors to recompute."
    )


def _summed(sampled: Sampled) -> Finding:
    return not_proven(
        f"That the vector which {sampled.institution} masked is the sum of what the lines in its list added: the vector stays "
        "hidden, with its noise. Nor that nothing is in the list only to fill it: true lines that nothing was measured of make "
        "false ones rarer."
    )


def _real(_sampled: Sampled) -> Finding:
    return not_proven(
        "That the data are real (N01), and that whoever opened them measured them as the spec says. An institution that "
        "conspires with the coordinator can try entries of the log until they choose harmless lines."
    )


@dataclass(frozen=True, slots=True)
class _Question:
    id: str
    title: str
    broken: str
    needs: tuple[str, ...]
    attempt: Attempt


QUESTIONS: Final = (
    _Question("S02", "File", "The file is not one of opened samples in its one form.", (), _form),
    _Question("S03", "Signed", "The file is not signed by the institution for this result.", ("S02",), _signed),
    _Question("S04", "Chosen by the log", "These are not the lines that the log chose.", ("S03",), _chosen),
    _Question("S05", "Log", "The log that chose is not the one that you know.", ("S04",), _known_log),
    _Question("S06", "Committed", "The list is not the one that the institution committed to.", ("S03",), _committed),
    _Question("S07", "Fits the spec", "The list has records that the spec does not ask for.", ("S06",), _fitting),
    _Question("S08", "Clips", "A clip is not the one in the list.", ("S06",), _clips),
    _Question("S09", "In the sum", "", ("S03",), _summed),
    _Question("N01", "Data are real", "", (), _real),
)


def check_samples(bundle: bytes, data: bytes, asked: Asked) -> SampleReport:
    """Return the report of a spot check.

    Args:
        bundle: the published result, which is audited first.
        data: the file that the institution handed over.
        asked: what the auditor demands.

    Raises:
        UsageError: `asked` names two different trust roots.
    """
    report = verify(bundle, root=asked.root, policy=asked.policy)
    failure = report.first_failure
    title, words = "Result", "The result itself does not pass its audit."
    if report.exit_code:
        detail = (
            f"{failure.id}: {failure.sentence} {failure.detail}".strip() if failure else "A check could not be tried."
        )
        first = Line("S01", title, Status.FAIL, words, detail)
        rest = tuple(_unreached(item, "S01") for item in QUESTIONS)
        return SampleReport(report.bundle, sha256_digest(data), (first, *rest), 0, 0)
    first = Line("S01", title, Status.PASS, "The result passes its audit: vdb-audit verify.")
    return check_opening(
        Evidence(bundle, asked.root or asked.policy.root, asked.policy, draft=False), data, asked, first
    )


def check_opening(evidence: Evidence, data: bytes, asked: Asked, *before: Line) -> SampleReport:
    """Return the report of a spot check of a result that was audited already; arguments as in `check_samples`."""
    sampled = Sampled(evidence, data, asked)
    lines: dict[str, Line] = {}
    for question in QUESTIONS:
        lines[question.id] = _line(question, sampled, lines)
    readable = lines["S02"].status is Status.PASS
    opened, total = (len(sampled.file.opening.opened), sampled.file.opening.total) if readable else (0, 0)
    return SampleReport(sha256_digest(evidence.data), sha256_digest(data), (*before, *lines.values()), opened, total)


def _line(question: _Question, sampled: Sampled, known: Mapping[str, Line]) -> Line:
    for needed in question.needs:
        if known[needed].status in (Status.FAIL, Status.NOT_REACHED):
            return _unreached(question, needed)
    return answered(question.id, question.title, question.broken, lambda: question.attempt(sampled))


def _unreached(question: _Question, needed: str) -> Line:
    sentence = f"Not tried: it builds on {needed}, which did not pass."
    return Line(question.id, question.title, Status.NOT_REACHED, sentence)
